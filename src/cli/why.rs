//! `firedrill why`: an answer for every slot, run and event.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    args::{Output, WhyArgs},
    context::{Context, find_run, now},
    event,
    exit::{Exit, Failure},
    plan, render,
    runs::print,
};
use crate::{
    config::settings::Settings,
    domain::{
        self,
        event::verdict::{Verdict, verdicts},
        experiment::{Experiment, Overlap, Rules},
        forecast,
        ids::Name,
        plan::Explained,
        run::{Run, RunState, SkipReason, Trigger},
        schedule::Schedule,
    },
    engine::ports::{QuarantinedMessage, StoreError},
    store::{
        SqlStore,
        history::{KnownEvent, RunFilter},
    },
};

/// Runs of one deployment that are explained, the newest: one an experiment in most configurations.
const MOST_EXPLAINED: u32 = 10;

/// Messages in quarantine looked through, the newest.
const MOST_ASIDE: u32 = 10_000;

/// Runs looked through for a slot.
const MOST_RUNS: u32 = 10_000;

/// Answers the question.
///
/// # Errors
/// [`Exit::NotFound`] when nothing is known of what was asked about.
pub async fn run(context: &Context, args: &WhyArgs) -> Result<Exit, Failure> {
    if let Some((experiment, time)) = args.question.split_once('@') {
        return slot(context, experiment, time).await;
    }
    let store = context.store().await?;
    let events = store.events(&args.question).await.map_err(internal)?;
    if events.is_empty() {
        let of_deployment =
            RunFilter { deployment: Some(args.question.clone()), limit: MOST_EXPLAINED, ..RunFilter::default() };
        let runs = store.runs(&of_deployment).await.map_err(internal)?;
        for run in &runs {
            explain(context, &store, run).await?;
        }
        if !runs.is_empty() {
            return Ok(Exit::Done);
        }
        if explain_aside(context, &store, &args.question).await? {
            return Ok(Exit::Done);
        }
        let run = find_run(&store, &args.question).await.map_err(|failure| Failure {
            exit: failure.exit,
            error: failure.error.context(format!(
                "`{}` is neither a run nor an event that is remembered, nor a deployment that has a run",
                args.question
            )),
        })?;
        return explain(context, &store, &run).await;
    }
    for event in &events {
        explain_event(context, &store, event).await?;
    }
    Ok(Exit::Done)
}

/// Explains a message that could not be read; tells whether there is one of this id.
async fn explain_aside(context: &Context, store: &SqlStore, id: &str) -> Result<bool, Failure> {
    let kept = store.quarantined(MOST_ASIDE).await.map_err(internal)?;
    let Some(kept) = kept.into_iter().find(|kept| kept.message_id == id) else { return Ok(false) };
    let QuarantinedMessage { queue, received_at, reason, .. } = &kept;
    if context.output == Output::Json {
        render::json(&json!({ "message": id, "queue": queue, "received_at": received_at, "reason": reason }))?;
    } else {
        let at = render::instant(*received_at);
        render::line(&format!("Message `{id}` of `{queue}` was put into quarantine at {at}: {reason}."))?;
        render::line(
            "hint: `firedrill queue quarantine` lists such messages, and takes them in again once they can be read",
        )?;
    }
    Ok(true)
}

async fn explain(context: &Context, store: &SqlStore, run: &Run) -> Result<Exit, Failure> {
    let journal = store.journal(&run.id).await.map_err(internal)?;
    let judged = journal.iter().rev().find(|entry| !entry.explained.is_empty());
    if context.output == Output::Json {
        let rules = judged.map(|entry| &entry.explained);
        render::json(&json!({ "run": run, "rules": rules, "journal": journal }))?;
    } else {
        render::line(&sentence(run))?;
        render::line("")?;
        if let Some(entry) = judged {
            render::line(&format!("judged at {}:", render::instant(entry.at)))?;
            render::line(&rules(&entry.explained))?;
            render::line("")?;
        }
        print(run, &journal)?;
    }
    Ok(Exit::Done)
}

/// Returns every rule with its input and its answer as a table.
fn rules(explained: &[Explained]) -> String {
    let mut table = render::table(&["rule", "input", "answer"]);
    for Explained { rule, input, answer, .. } in explained {
        table.add_row([rule, input, answer]);
    }
    table.trim_fmt()
}

/// Says in one sentence what became of a run.
fn sentence(run: &Run) -> String {
    let name = &run.experiment;
    match &run.state {
        RunState::Skipped { reason, .. } => format!("`{name}` did not run: {reason}."),
        RunState::Finished { outcome, .. } => format!("`{name}` ran and ended {}: {outcome}.", outcome.as_str()),
        RunState::Held { reason, look_at } => {
            format!("`{name}` waits: {reason}; it is judged again at {}.", render::instant(*look_at))
        }
        RunState::Settling => {
            let what = match run.trigger {
                Trigger::Slot { .. } => "the time that its schedule drew",
                Trigger::Event { .. } | Trigger::Manual { .. } | Trigger::Backfill { .. } => "the rollout to settle",
            };
            format!("`{name}` waits {} for {what}.", render::detail(run))
        }
        other => format!("`{name}` is {}.", other.as_str()),
    }
}

async fn explain_event(context: &Context, store: &SqlStore, known: &KnownEvent) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for id in &known.runs {
        runs.extend(store.run(id).await.map_err(internal)?);
    }
    if context.output == Output::Json {
        let verdicts = verdicts_on(context, known).ok();
        let mut judged = BTreeMap::new();
        for run in &runs {
            let mut journal = store.journal(&run.id).await.map_err(internal)?.into_iter().rev();
            let rules = journal.find(|entry| !entry.explained.is_empty()).map(|entry| entry.explained);
            judged.insert(run.id.as_str(), rules);
        }
        return render::json(&json!({
            "source": known.source, "detail-type": known.detail_type, "received_at": known.received_at, "runs": runs,
            "rules": judged,
            "triggers": verdicts.map(|verdicts| verdicts.iter().map(event::told).collect::<Vec<_>>()),
        }));
    }
    let received = render::instant(known.received_at);
    render::line(&format!("event of {} ({}), received {received}", known.source, known.detail_type))?;
    if known.runs.is_empty() {
        render::line("No trigger matched it, so nothing was to run.")?;
        match verdicts_on(context, known) {
            Ok(verdicts) => {
                render::line("What the triggers of the present configuration say to it, the nearest first:\n")?;
                render::line(&event::table(&verdicts))?;
            }
            Err(reason) => render::line(&format!("Why cannot be told: {reason}."))?,
        }
    }
    for run in &runs {
        render::line("")?;
        explain(context, store, run).await?;
    }
    Ok(())
}

/// Asks the triggers of the present configuration about an event that none took.
fn verdicts_on(context: &Context, known: &KnownEvent) -> Result<Vec<Verdict>, String> {
    let Some(body) = &known.body else {
        return Err("the event was too large to be kept, or came before events were".to_owned());
    };
    let rules = context.load().map_err(|failure| format!("{:#}", failure.error))?.settings.rules;
    let event = domain::event::read(body, "", &rules.mappings).map_err(|error| error.to_string())?;
    let queue = known.queue.as_deref().and_then(|name| Name::parse(name).ok());
    Ok(verdicts(&rules, &event, queue.as_ref()))
}

/// Answers for an instant of an experiment: the recorded decision, or what is going to be decided.
async fn slot(context: &Context, experiment: &str, time: &str) -> Result<Exit, Failure> {
    let name = Name::parse(experiment).map_err(|error| Failure::new(Exit::Usage, error))?;
    let at: Timestamp = time.parse().map_err(|error: jiff::Error| Failure::new(Exit::Usage, error))?;
    let store = match context.store().await {
        Ok(store) => Some(store),
        Err(Failure { exit: Exit::NoAgent, .. }) => None,
        Err(failure) => return Err(failure),
    };
    if let Some(store) = &store
        && let Some(run) = decided(store, &name, at).await?
    {
        return explain(context, store, &run).await;
    }
    let settings = plan::settings(context, now()).await?;
    let (said, explained) = undecided(&settings, &name, at).await?;
    if context.output == Output::Json {
        let known = json!({ "experiment": name, "at": at, "decided": false, "expected": said, "rules": explained });
        render::json(&known)?;
        return Ok(Exit::Done);
    }
    render::line(&said)?;
    if !explained.is_empty() {
        render::line("")?;
        render::line(&rules(&explained))?;
    }
    Ok(Exit::Done)
}

/// Finds the run that a slot opened, or stands for it, or else what happened in that second.
async fn decided(store: &SqlStore, name: &Name, at: Timestamp) -> Result<Option<Run>, Failure> {
    let filter = RunFilter { experiment: Some(name.clone()), limit: MOST_RUNS, ..RunFilter::default() };
    let runs = store.runs(&filter).await.map_err(internal)?;
    let closeness = |run: &Run| match (&run.trigger, &run.state) {
        // Beside it a run may stand that had the slot while its schedule named other times.
        (Trigger::Slot { at: first, .. }, RunState::Skipped { reason: SkipReason::Missed { through, .. }, .. }) => {
            (*first <= at && at <= *through).then_some(1)
        }
        (Trigger::Slot { at: slot, .. }, _) if *slot == at => Some(0),
        (Trigger::Event { received_at, .. }, _) => (received_at.as_second() == at.as_second()).then_some(2),
        (Trigger::Manual { .. } | Trigger::Backfill { .. }, _) => {
            (run.opened_at.as_second() == at.as_second()).then_some(2)
        }
        (Trigger::Slot { .. }, _) => None,
    };
    Ok(runs
        .into_iter()
        .filter_map(|run| Some((closeness(&run)?, run)))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, run)| run))
}

/// Says what there is to say of a slot that no run stands for.
async fn undecided(settings: &Settings, name: &Name, at: Timestamp) -> Result<(String, Vec<Explained>), Failure> {
    let unknown = |text: String| Err(Failure::say(Exit::NotFound, text));
    let Some(declared) = settings.rules.experiments.get(name) else {
        return unknown(format!("there is no experiment `{name}`, and no run of it"));
    };
    let names_it = |schedule: &&Schedule| schedule.slot_at(at).is_some();
    let Some(schedule) = declared.schedules.iter().find(names_it) else {
        let next = declared.schedules.iter().filter_map(|s| s.next_after(at)).map(|slot| slot.at).min();
        let next = next.map_or_else(String::new, |next| format!("; the next slot is {}", render::instant(next)));
        return unknown(format!("no schedule of `{name}` names {}{next}", render::instant(at)));
    };
    let mut outlook = plan::outlook(settings).await?;
    let cursor = outlook.cursors.get(&(name.clone(), schedule.timetable().clone()));
    match cursor {
        Some(cursor) if at <= cursor.at && now() < at => {
            return unknown(format!(
                "nothing will be due at {}: the clock was set back, and the slots of `{name}` are taken up through {}",
                render::instant(at),
                render::instant(cursor.at)
            ));
        }
        Some(cursor) if at <= cursor.at => {
            return unknown(format!(
                "nothing is recorded of {}: `{name}` had no such schedule then, or its history is no longer kept",
                render::instant(at)
            ));
        }
        Some(_) if at <= now() => {
            let said = format!("{} has passed and is not decided: no agent has looked since.", render::instant(at));
            return Ok((said, Vec::new()));
        }
        None if at <= now() => {
            return unknown(format!(
                "no agent has seen this schedule of `{name}`, so nothing was due at {}",
                render::instant(at)
            ));
        }
        _ => {}
    }
    // It may be decided last when it may wait no longer.
    let last = schedule.start_by(at).max(schedule.hold_until(at).unwrap_or(at));
    let to = last.checked_add(SignedDuration::from_secs(1)).unwrap_or(last);
    let mut from = now();
    if !rests_on_the_past(&settings.rules, declared) {
        // Nothing lasts longer than a day (FIS ends it after twelve hours), so what began before that is over by then.
        from = from.max(at.checked_sub(SignedDuration::from_hours(24)).unwrap_or(at));
    }
    if from > now() {
        outlook.runs.clear();
    }
    let Some((expected, explained)) = forecast::explain(&settings.rules, &outlook, (name, at), from, to) else {
        return Ok((format!("{} is too far ahead to be forecast.", render::instant(at)), Vec::new()));
    };
    let said = match expected.runs_from_to {
        None if matches!(expected.run.state, RunState::Held { .. }) => sentence(&expected.run),
        None if expected.run.is_over() => sentence(&expected.run).replace("did not run", "will not run"),
        Some((start, _)) if start > at => format!(
            "`{name}` has not been decided for {}; as things stand it will start at {}.",
            render::instant(at),
            render::instant(start)
        ),
        _ => format!("`{name}` has not been decided for {}; as things stand it will start.", render::instant(at)),
    };
    Ok((said, explained))
}

/// Tells whether a run of an experiment may depend on runs of days before.
fn rests_on_the_past(rules: &Rules, experiment: &Experiment) -> bool {
    let limits = &experiment.limits;
    let queues = matches!(experiment.overlap, Overlap::QueueOne | Overlap::QueueAll | Overlap::StopOther);
    let bounded = experiment.schedules.iter().any(|schedule| schedule.max_runs.is_some());
    queues || bounded || !limits.min_gap.is_zero() || !limits.groups.is_empty() || rules.budget.monthly.is_some()
}

fn internal(error: StoreError) -> Failure {
    Failure::internal(error.into())
}
