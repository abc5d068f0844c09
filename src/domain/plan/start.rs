//! Starts: whether a run may begin now, waits, or never will; and what to do when a start had no clear answer.
//!
//! What a start has to pass stands in `guards`. What is not known never allows a start.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Effect, HaltRunning, Mode, Snapshot, Survey,
    guards::{self, Beside, Case, Judgement},
    place::{self, Around},
    watch::{LOST_AFTER, LOST_AFTER_FAILURES},
};
use crate::domain::{
    civil::later,
    deployment::filled_in,
    experiment::{Experiment, TemplateSelector, Ties},
    fis::FailureClass,
    ids::{ExperimentName, RunId},
    ledger::Definition,
    outcome::Outcome,
    react::{BACKOFF_LIMIT, LOOK_INTERVAL},
    run::{Doubt, HoldReason, Observation, Run, RunState, SkipReason},
    template::TemplateFacts,
    window,
};

/// What a template said is good for this long; older (or from the future, after a clock step) it is read again.
pub const FACTS_MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// After a start without a clear answer, an experiment may still appear for two minutes; only so many looks by tag that find
/// none prove that there is none. They are counted, each [`LOOK_INTERVAL`] after the one before, because a clock that is set
/// says nothing of how long ago the call was; each step of it costs one interval at most.
pub const DOUBT_LOOKS: u32 = 26;

/// How long a look by tag that found none lets a call be repeated whose effect is open. FIS does not say for how long it knows
/// a client token, and the agent may have been away.
const LOOK_GOOD_FOR: SignedDuration = SignedDuration::from_mins(1);

/// How far ahead a change of the windows is looked for while a run waits; the survey is repeated by then.
const CHANGE_HORIZON: SignedDuration = SignedDuration::from_hours(24);

/// What was lost with the rows of before a restore may be of an instant so long after it, by a clock that is so far ahead of
/// the one that the restore was told by. One that is behind costs looks that find nothing.
const RESTORE_MARGIN: SignedDuration = SignedDuration::from_hours(24);

/// Tells whether a run that is to be started is to be looked for by its tag before, as if its first call had got no answer: it
/// may have been started in the time of which a restored store knows nothing. One that was asked for has been looked for
/// since: a restore takes back whatever was known of those of before.
pub fn is_looked_for_first(snapshot: &Snapshot<'_>, run: &Run) -> bool {
    let is_of_before = |restored_at| run.due_from() <= later(restored_at, RESTORE_MARGIN);
    !run.may_be_running() && snapshot.restored_at.is_some_and(is_of_before)
}

/// Whether a run begins in this pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    Now,
    NotNow,
}

/// The newest that was read of each experiment's template for one of the runs, not too long ago: it is good for others too.
pub(super) fn read_lately<'a>(
    snapshot: &'a Snapshot<'_>,
    now: Timestamp,
) -> BTreeMap<&'a ExperimentName, &'a TemplateFacts> {
    let mut lately: BTreeMap<&ExperimentName, &TemplateFacts> = BTreeMap::new();
    for run in snapshot.runs.iter().filter(|run| has_fresh_facts(snapshot, run, now)) {
        let Some(facts) = &run.facts else { continue };
        let newest = lately.entry(&run.experiment).or_insert(facts);
        if newest.read_at < facts.read_at {
            *newest = facts;
        }
    }
    lately
}

/// A run that waits, with what was read lately of its template for another one; `None` when it has or needs nothing of it.
pub(super) fn informed(
    snapshot: &Snapshot<'_>,
    run: &Run,
    lately: &BTreeMap<&ExperimentName, &TemplateFacts>,
    now: Timestamp,
) -> Option<Run> {
    if run.may_be_running() || run.is_over() {
        return None;
    }
    let experiment = snapshot.rules.experiments.get(&run.experiment)?;
    if has_facts(snapshot, experiment, run, now) {
        return None;
    }
    // A reload may have changed the selector or the place since.
    let is_of = |facts: &&&TemplateFacts| facts.read_by.as_deref() == Some(&Definition::of(experiment));
    let facts = lately.get(&run.experiment).filter(is_of)?;
    Some(Run { facts: Some((*facts).clone()), ..run.clone() })
}

/// Surveys a run that has not been started, and is judged as it is [`informed`].
pub(super) fn survey(
    snapshot: &Snapshot<'_>,
    run: &Run,
    informed: Option<&Run>,
    beside: &Beside<'_>,
    now: Timestamp,
    survey: &mut Survey,
) -> Begins {
    if snapshot.mode != Mode::Active || snapshot.withheld.holds(&run.experiment) {
        return Begins::NotNow;
    }
    let Some(experiment) = snapshot.rules.experiments.get(&run.experiment) else {
        survey.record(run, Observation::Skipped { reason: SkipReason::Removed });
        return Begins::NotNow;
    };
    let (going, around) = (&beside.going, &beside.around);
    let case = Case { snapshot, experiment, run: informed.unwrap_or(run), going, around, now };
    match judge(&case) {
        Judgement::Clear => {
            let lent = informed.and_then(|informed| informed.facts.clone());
            if let Some(facts) = lent.as_ref().or(run.facts.as_ref()) {
                survey.effects.push(start(&case, facts.id.clone(), lent.clone()));
                return Begins::Now;
            }
        }
        Judgement::Wait(until) => survey.wake_at(until),
        Judgement::Hold(reason, look_at) => {
            let is_new = !matches!(&run.state, RunState::Held { reason: known, .. } if *known == reason);
            if is_new {
                survey.record(run, Observation::Held { reason, look_at });
            } else {
                survey.wake_at(look_at);
                // Another window may be the reason by then.
                let horizon = later(now, CHANGE_HORIZON);
                let change = window::change_before(&snapshot.rules.windows, experiment, now, horizon);
                survey.wake_at(change.unwrap_or(horizon));
            }
        }
        Judgement::Skip(reason) => survey.record(run, Observation::Skipped { reason }),
        Judgement::NeedsTemplate => survey.effects.push(Effect::ReadTemplate {
            run: run.id.clone(),
            place: experiment.place.clone(),
            template: experiment.template.clone(),
        }),
        Judgement::NeedsPlace => survey.asks.note(&case),
    }
    Begins::NotNow
}

/// Surveys a run whose start was asked for: it is looked for by tag before anything else, judged anew before the same
/// token is used again, and given up only when certainly no experiment exists.
pub(super) fn survey_again(
    snapshot: &Snapshot<'_>,
    run: &Run,
    beside: &Beside<'_>,
    now: Timestamp,
    survey: &mut Survey,
) {
    let RunState::Starting { place, template_id, asked_at, unclear_at, looks, doubt, .. } = &run.state else { return };
    let looked_at = doubt.looked_at();
    let next_at = match doubt {
        // The last look failed so long after the call that nothing of it can be running any more.
        Doubt::Unanswered { look_at, failed, .. }
            if *failed >= LOST_AFTER_FAILURES && *look_at >= later(*asked_at, LOST_AFTER) =>
        {
            let outcome = Outcome::Lost { class: FailureClass::Unreadable };
            return survey.record(run, Observation::Finished { outcome });
        }
        Doubt::Unanswered { look_at, .. } if is_due(*look_at, BACKOFF_LIMIT, now) => {
            return survey.effects.push(Effect::Look { run: run.id.clone() });
        }
        Doubt::Unanswered { look_at, .. } => return survey.wake_at(*look_at),
        Doubt::NotFound { looked_at } => later(*looked_at, LOOK_INTERVAL),
        Doubt::Refused { retry_at, .. } => *retry_at,
    };
    let (going, around) = (&Vec::new(), &beside.around);
    let case = |experiment| Case { snapshot, experiment, run, going, around, now };
    let read_again = || {
        let template = TemplateSelector::Id(template_id.clone());
        Effect::ReadTemplate { run: run.id.clone(), place: place.clone(), template }
    };
    let ending = match judge_again(snapshot, run, around, doubt, now) {
        again if again.goes_on() && snapshot.mode == Mode::Draining => return,
        // While shutting down, or beside what cannot be read, nothing is begun, not even again. What an earlier call began is
        // looked after all the same.
        again if again.goes_on() && (snapshot.mode != Mode::Active || snapshot.withheld.holds(&run.experiment)) => None,
        again if again.goes_on() && !is_due(next_at, BACKOFF_LIMIT, now) => return survey.wake_at(next_at),
        Again::NeedsTemplate => return survey.effects.push(read_again()),
        // What it was first judged by may have aged meanwhile.
        Again::Clear(_) | Again::NeedsPlace(_) if !has_fresh_facts(snapshot, run, now) => {
            return survey.effects.push(read_again());
        }
        Again::NeedsPlace(experiment) => return survey.asks.note(&case(experiment)),
        Again::Clear(_)
            if unclear_at.is_some() && !looked_at.is_some_and(|at| is_fresh(snapshot, at, LOOK_GOOD_FOR, now)) =>
        {
            return survey.effects.push(Effect::Look { run: run.id.clone() });
        }
        Again::Clear(experiment) => {
            return survey.effects.push(start(&case(experiment), template_id.clone(), None));
        }
        Again::Wait(until) => {
            survey.wake_at(until);
            None
        }
        Again::Never(ending) => Some(ending),
    };
    if unclear_at.is_none() || *looks >= DOUBT_LOOKS {
        if let Some(ending) = ending {
            survey.record(run, *ending);
        }
        return;
    }
    match looked_at {
        Some(looked) if now < later(looked, LOOK_INTERVAL) && now >= looked => {
            survey.wake_at(later(looked, LOOK_INTERVAL));
        }
        _ => survey.effects.push(Effect::Look { run: run.id.clone() }),
    }
}

/// Tells whether a run was asked for and certainly no experiment exists, so far: FIS refused, or nothing was found for long
/// enough.
pub fn left_nothing(run: &Run) -> bool {
    let RunState::Starting { unclear_at, looks, doubt, .. } = &run.state else { return false };
    let is_answered = !matches!(doubt, Doubt::Unanswered { .. });
    is_answered && (unclear_at.is_none() || *looks >= DOUBT_LOOKS)
}

/// Tells whether something may be done at last that waits for an instant at most `longest` ahead. One that lies farther
/// ahead was named before the clock was set back.
pub(super) fn is_due(at: Timestamp, longest: SignedDuration, now: Timestamp) -> bool {
    now >= at || at > later(now, longest)
}

/// Whether a start may be tried again.
enum Again<'a> {
    /// It may.
    Clear(&'a Experiment),
    /// The place has to be asked first.
    NeedsPlace(&'a Experiment),
    /// The template has to be read again first: a version wrote the row that did not look at all of it.
    NeedsTemplate,
    /// Not now; ask again then.
    Wait(Timestamp),
    /// Never; this is how the run ends if no experiment exists.
    Never(Box<Observation>),
}

impl Again<'_> {
    /// Whether nothing but what has to be asked first is in its way.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Clear(_) | Self::NeedsPlace(_) | Self::NeedsTemplate)
    }
}

/// Asks every guard again before the same token is used again.
fn judge_again<'a>(
    snapshot: &'a Snapshot<'_>,
    run: &Run,
    around: &Around<'_>,
    doubt: &Doubt,
    now: Timestamp,
) -> Again<'a> {
    if let Doubt::Refused { class, message, .. } = doubt
        && !class.is_transient()
    {
        let outcome = Outcome::NotStarted { class: *class, message: message.clone() };
        return Again::Never(Box::new(Observation::Finished { outcome }));
    }
    let skipped = |reason| Again::Never(Box::new(Observation::Skipped { reason }));
    let Some(experiment) = snapshot.rules.experiments.get(&run.experiment) else {
        return skipped(SkipReason::Removed);
    };
    let going: Vec<&Run> = snapshot.runs.iter().filter(|other| other.may_be_running() && other.id != run.id).collect();
    match guards::judge(&Case { snapshot, experiment, run, going: &going, around, now }) {
        Judgement::Clear => Again::Clear(experiment),
        Judgement::NeedsPlace => Again::NeedsPlace(experiment),
        Judgement::Skip(reason) => skipped(reason),
        Judgement::Hold(HoldReason::Closed { window, until, unknown }, _) => {
            skipped(SkipReason::Closed { window, until, unknown })
        }
        Judgement::Hold(_, until) | Judgement::Wait(until) => Again::Wait(until),
        Judgement::NeedsTemplate => Again::NeedsTemplate,
    }
}

/// Starts a run. The place is that of the first call, where an experiment may exist and the token is known, whatever the
/// configuration says by now.
fn start(case: &Case<'_>, template_id: String, facts: Option<TemplateFacts>) -> Effect {
    Effect::Start {
        run: case.run.id.clone(),
        place: place::of(case).clone(),
        template_id,
        tags: filled_in(&case.experiment.tags, case.run),
        facts,
        place_facts: place::read(case).cloned().map(Box::new),
        ties: Box::new(Ties::of(case.experiment)),
    }
}

/// Tells whether the template was read not too long ago.
pub(super) fn has_fresh_facts(snapshot: &Snapshot<'_>, run: &Run, now: Timestamp) -> bool {
    run.facts.as_ref().is_some_and(|facts| is_fresh(snapshot, facts.read_at, FACTS_MAX_AGE, now))
}

/// Tells whether what was read at an instant is good for so long still.
pub(super) fn is_fresh(snapshot: &Snapshot<'_>, read_at: Timestamp, good_for: SignedDuration, now: Timestamp) -> bool {
    is_recent(read_at, good_for, now) && !snapshot.aged.contains(&read_at)
}

fn is_recent(at: Timestamp, good_for: SignedDuration, now: Timestamp) -> bool {
    at <= now && now.duration_since(at) <= good_for
}

/// What a process saw when it last looked at all rows that can be read.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    runs: BTreeSet<RunId>,
    /// See [`Snapshot::aged`].
    pub aged: BTreeSet<Timestamp>,
}

impl Looked {
    /// Looks at them again. Old is what was read in the future, and stays so, since the clock was set back and nothing else
    /// tells how old it is when the clock gets there again; and what was read for a run that was not there: another process
    /// read that, or the row could not be read meanwhile, and how the clock went since nobody knows.
    pub fn again(&mut self, runs: &[Run], now: Timestamp) {
        let read = |run: &Run| {
            let template = run.facts.as_ref().map(|facts| facts.read_at);
            let place = run.place_facts.as_ref().map(|facts| facts.read_at);
            let looked_at = match &run.state {
                RunState::Starting { doubt, .. } => doubt.looked_at(),
                _ => None,
            };
            [template, place, looked_at].into_iter().flatten()
        };
        let is_old = |run: &Run, at: &Timestamp| *at > now || self.aged.contains(at) || !self.runs.contains(&run.id);
        let aged = runs.iter().flat_map(|run| read(run).filter(|at| is_old(run, at))).collect();
        *self = Self { runs: runs.iter().map(|run| run.id.clone()).collect(), aged };
    }
}

/// Tells whether the template that the configuration names was read for a run, not too long ago.
pub(super) fn has_facts(snapshot: &Snapshot<'_>, experiment: &Experiment, run: &Run, now: Timestamp) -> bool {
    has_fresh_facts(snapshot, run, now) && run.facts.as_ref().is_some_and(|facts| are_of(experiment, facts))
}

/// Tells whether what was read is still the template that the configuration names, where it names it. Rows of before do not
/// say what was read by.
fn are_of(experiment: &Experiment, facts: &TemplateFacts) -> bool {
    match (&facts.read_by, &experiment.template) {
        (Some(read_by), _) => **read_by == Definition::of(experiment),
        (None, TemplateSelector::Id(id)) => facts.id == *id,
        (None, TemplateSelector::Tags(_)) => false,
    }
}

/// Asks every guard, and whether the template was read lately: what was read of another one, or long ago, refuses nothing for
/// good and lets nobody wait.
fn judge(case: &Case<'_>) -> Judgement {
    let is_read = || has_facts(case.snapshot, case.experiment, case.run, case.now);
    let is_of_another = || case.run.facts.as_ref().is_some_and(|facts| !are_of(case.experiment, facts));
    let answer = match guards::judge(case) {
        Judgement::Skip(_) if case.run.facts.is_some() && !is_read() => judge_unread(case),
        Judgement::Hold(..) if is_of_another() => judge_unread(case),
        answer => answer,
    };
    match answer {
        Judgement::Clear | Judgement::NeedsPlace if is_read() => answer,
        Judgement::Clear | Judgement::NeedsPlace | Judgement::NeedsTemplate => match &case.run.state {
            // A read that failed is tried again at its own time only.
            RunState::Held { reason: HoldReason::TemplateUnread { .. }, look_at }
                if !is_due(*look_at, BACKOFF_LIMIT, case.now) =>
            {
                let late = later(case.run.deadline(), SignedDuration::from_nanos(1));
                Judgement::Wait((*look_at).min(late))
            }
            _ => Judgement::NeedsTemplate,
        },
        other => other,
    }
}

/// Asks the guards as if the template had not been read, so that those that rest on it ask for that.
fn judge_unread(case: &Case<'_>) -> Judgement {
    let run = &Run { facts: None, ..case.run.clone() };
    guards::judge(&Case { run, ..*case })
}

/// The longest lead of any window: how much earlier than its opening a run might have to be stopped.
pub(super) fn longest_lead(snapshot: &Snapshot<'_>) -> SignedDuration {
    snapshot.rules.windows.longest_stop_lead()
}

/// Tells whether a halt also ends what is going on.
pub(super) fn halt_stops<'a>(snapshot: &'a Snapshot<'_>) -> Option<&'a super::Halt> {
    snapshot.halt.as_ref().filter(|halt| halt.running == HaltRunning::Stop)
}
