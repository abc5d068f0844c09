//! `firedrill why`: an answer for every slot, run and event.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    args::{Output, WhyArgs},
    context::{Context, find_run},
    exit::{Exit, Failure},
    render,
    runs::print,
};
use crate::{
    domain::{
        forecast::{self, Outlook},
        ids::Name,
        run::{Run, RunState, SkipReason, Trigger},
    },
    engine::ports::{Store, StoreError},
    store::{
        SqliteStore,
        history::{KnownEvent, RunFilter},
    },
};

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
        let run = find_run(&store, &args.question).await.map_err(|failure| Failure {
            exit: failure.exit,
            error: failure
                .error
                .context(format!("`{}` is neither a run nor an event that was received", args.question)),
        })?;
        return explain(context, &store, &run).await;
    }
    for event in &events {
        explain_event(context, &store, event).await?;
    }
    Ok(Exit::Done)
}

async fn explain(context: &Context, store: &SqliteStore, run: &Run) -> Result<Exit, Failure> {
    let journal = store.journal(&run.id).await.map_err(internal)?;
    if context.output == Output::Json {
        render::json(&json!({ "run": run, "journal": journal }))?;
    } else {
        render::line(&sentence(run))?;
        render::line("")?;
        print(run, &journal)?;
    }
    Ok(Exit::Done)
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
            format!("`{name}` waits until {} for the rollout to settle.", render::instant(run.not_before))
        }
        other => format!("`{name}` is {}.", other.as_str()),
    }
}

async fn explain_event(context: &Context, store: &SqliteStore, event: &KnownEvent) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for id in &event.runs {
        runs.extend(store.run(id).await.map_err(internal)?);
    }
    if context.output == Output::Json {
        return render::json(&json!({
            "source": event.source, "detail-type": event.detail_type, "received_at": event.received_at, "runs": runs,
        }));
    }
    let received = render::instant(event.received_at);
    render::line(&format!("event of {} ({}), received {received}", event.source, event.detail_type))?;
    if event.runs.is_empty() {
        render::line("No trigger matched it, so nothing was to run.")?;
    }
    for run in &runs {
        render::line("")?;
        explain(context, store, run).await?;
    }
    Ok(())
}

/// Answers for an instant of an experiment: the recorded decision, or what is going to be decided.
async fn slot(context: &Context, experiment: &str, time: &str) -> Result<Exit, Failure> {
    let name = Name::parse(experiment).map_err(|error| Failure::new(Exit::Usage, error))?;
    let at: Timestamp = time.parse().map_err(|error: jiff::Error| Failure::new(Exit::Usage, error))?;
    let rows = match context.store().await {
        Ok(store) => {
            let filter = RunFilter { experiment: Some(name.clone()), since: None, limit: MOST_RUNS };
            let runs = store.runs(&filter).await.map_err(internal)?;
            if let Some(run) = runs.iter().find(|run| covers(run, at)) {
                return explain(context, &store, run).await;
            }
            store.load().await.map_err(internal)?
        }
        Err(Failure { exit: Exit::NoAgent, .. }) => crate::engine::ports::Rows::default(),
        Err(failure) => return Err(failure),
    };
    let settings = context.load()?.settings;
    let Some(declared) = settings.rules.experiments.get(&name) else {
        return Err(Failure::say(Exit::NotFound, format!("there is no experiment `{name}`, and no run of it")));
    };
    let before = at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at);
    let named: Vec<&Name> = declared
        .schedules
        .iter()
        .filter(|schedule| schedule.cron.next_after(before).is_some_and(|slot| slot.at == at))
        .map(|schedule| &schedule.name)
        .collect();
    if named.is_empty() {
        let next =
            declared.schedules.iter().filter_map(|schedule| schedule.cron.next_after(at)).map(|slot| slot.at).min();
        let next = next.map_or_else(String::new, |next| format!("; the next slot is {}", render::instant(next)));
        return Err(Failure::say(
            Exit::NotFound,
            format!("no schedule of `{name}` names {}{next}", render::instant(at)),
        ));
    }
    let cursor =
        rows.cursors.iter().find(|((experiment, schedule), _)| *experiment == name && named.contains(&schedule));
    if let Some((_, cursor)) = cursor
        && *cursor >= at
    {
        return Err(Failure::say(
            Exit::NotFound,
            format!(
                "`{name}` had no slot then: its schedule was first seen at {}, later than {}",
                render::instant(*cursor),
                render::instant(at)
            ),
        ));
    }
    let after = at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
    let outlook = Outlook { halt: rows.halt, ..Outlook::default() };
    let forecast = forecast::forecast(&settings.rules, &outlook, at, after);
    let expected = forecast.runs.iter().find(|run| run.run.experiment == name && run.slot == at);
    let said = match expected {
        Some(expected) if expected.runs_from_to.is_none() && expected.run.is_over() => {
            sentence(&expected.run).replace("did not run", "will not run")
        }
        _ => format!("`{name}` has not been decided for {}; as things stand it will start.", render::instant(at)),
    };
    if context.output == Output::Json {
        render::json(&json!({ "experiment": name, "at": at, "decided": false, "expected": said }))?;
    } else {
        render::line(&said)?;
    }
    Ok(Exit::Done)
}

/// Tells whether a run is, or stands for, the slot at an instant; or is what happened then.
fn covers(run: &Run, at: Timestamp) -> bool {
    match (&run.trigger, &run.state) {
        (Trigger::Slot { at: first, .. }, RunState::Skipped { reason: SkipReason::Missed { through, .. }, .. }) => {
            *first <= at && at <= *through
        }
        (Trigger::Slot { at: slot, .. }, _) => *slot == at,
        (Trigger::Event { received_at, .. }, _) => received_at.as_second() == at.as_second(),
        (Trigger::Manual { .. }, _) => run.opened_at.as_second() == at.as_second(),
    }
}

fn internal(error: StoreError) -> Failure {
    Failure::internal(error.into())
}
