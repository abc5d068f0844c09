//! Guards: every rule that a start has to pass, in one order, cheapest first.
//!
//! [`judge`] stops at the first that does not allow the start. [`explain`] asks all of them and says what each looked at,
//! so that what is told and what is decided are one piece of code. What is not known never allows a start.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    PauseRow, Snapshot, deploy,
    place::{self, Around},
    start::{has_fresh_facts, informed, longest_lead, read_lately},
    turn,
};
use crate::domain::{
    civil::later,
    cost::{self, OnExceeded, Usd},
    estimate,
    experiment::{Experiment, OnFailure},
    ids::ExperimentName,
    ledger::{self, Definition, Failing, Ledger, Trouble},
    run::{HoldReason, Run, RunState, SkipReason, Trigger, WindowRule},
    template::TemplateFacts,
    window::{self, Closure},
};

/// First wait after a run that failed, with `on_failure = "classify"`; doubled with each further one.
const BACK_OFF_FIRST: SignedDuration = SignedDuration::from_hours(1);

/// Longest such wait.
const BACK_OFF_LIMIT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// So many doublings reach any longest wait.
const MOST_DOUBLINGS: u32 = 16;

/// A start to be judged.
pub(super) struct Case<'a> {
    /// All rows.
    pub(super) snapshot: &'a Snapshot<'a>,
    /// The run's experiment.
    pub(super) experiment: &'a Experiment,
    /// The run.
    pub(super) run: &'a Run,
    /// Runs that go on, those that begin in this very pass among them.
    pub(super) going: &'a [&'a Run],
    /// What is known of places.
    pub(super) around: &'a Around<'a>,
    /// The time.
    pub(super) now: Timestamp,
}

/// What a run is judged beside: gathered once for all that are judged at one instant.
#[derive(Debug)]
pub struct Beside<'a> {
    /// Runs that go on; those that begin in this very pass are to be added.
    pub going: Vec<&'a Run>,
    /// What was read of templates lately.
    templates: BTreeMap<&'a ExperimentName, &'a TemplateFacts>,
    /// What was read of places lately.
    pub(super) around: Around<'a>,
}

impl<'a> Beside<'a> {
    /// Gathers it from the rows.
    pub fn of(snapshot: &'a Snapshot<'_>, now: Timestamp) -> Self {
        Self { going: super::going(snapshot), templates: read_lately(snapshot, now), around: Around::of(snapshot, now) }
    }

    /// A run that waits, with what was read lately of its template for another one; `None` when it has or needs nothing
    /// of it.
    pub(super) fn informed(&self, snapshot: &Snapshot<'_>, run: &Run, now: Timestamp) -> Option<Run> {
        informed(snapshot, run, &self.templates, now)
    }
}

/// The answer of a guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It allows the start.
    Clear,
    /// Not now; ask again then.
    Wait(Timestamp),
    /// Not now, and that is worth recording.
    Hold(HoldReason, Timestamp),
    /// Never.
    Skip(SkipReason),
    /// The template has to be read first.
    NeedsTemplate,
    /// The place has to be asked first.
    NeedsPlace,
}

/// One rule with what it looked at and what it answered, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    /// Which rule.
    pub rule: String,
    /// What it looked at.
    pub input: String,
    /// What it answered: `passes`, `waits until …`, `holds: …`, `refuses: …`.
    pub answer: String,
    /// Whether it allows the start.
    pub passes: bool,
}

struct Guard {
    rule: &'static str,
    ask: fn(&Case<'_>) -> Judgement,
    input: fn(&Case<'_>) -> String,
}

/// All guards, in the order in which they are asked.
const GUARDS: [Guard; 22] = [
    Guard {
        rule: "withdrawn",
        ask: withdrawn,
        input: |case| {
            found(case.snapshot.stops.get(&case.run.id), |s| format!("a stop asked for by {} at {}", s.by, s.at))
        },
    },
    Guard {
        rule: "halt",
        ask: halt,
        input: |case| found(case.snapshot.halt.as_ref(), |h| format!("a halt by {} since {}", h.by, h.at)),
    },
    Guard { rule: "deployment", ask: deploy::deployment, input: deploy::input },
    Guard { rule: "due", ask: due, input: |case| format!("not before {}", deploy::not_before(case)) },
    Guard { rule: "pause", ask: pause, input: pause_input },
    Guard { rule: "deadline", ask: late, input: |case| format!("start by {}", case.run.deadline()) },
    Guard { rule: "freshness", ask: deploy::freshness, input: deploy::freshness_input },
    Guard { rule: "max-runs", ask: runs_left, input: runs_left_input },
    Guard { rule: "window", ask: window_now, input: window_input },
    Guard { rule: "overlap", ask: turn::overlap, input: turn::overlap_input },
    Guard { rule: "gap", ask: turn::gap, input: turn::gap_input },
    Guard { rule: "stops", ask: turn::stops, input: turn::stops_input },
    Guard { rule: "template", ask: template, input: template_input },
    Guard { rule: "policy", ask: policy, input: policy_input },
    Guard { rule: "look-ahead", ask: ahead, input: ahead_input },
    Guard { rule: "budget", ask: budget, input: budget_input },
    Guard { rule: "targets", ask: turn::targets, input: turn::targets_input },
    Guard { rule: "lever", ask: place::lever, input: place::lever_input },
    Guard { rule: "account", ask: place::account, input: place::account_input },
    Guard { rule: "active-experiments", ask: place::crowd, input: place::crowd_input },
    Guard { rule: "health", ask: place::health, input: place::health_input },
    Guard { rule: "replace", ask: turn::replace, input: |case| format!("overlap {:?}", turn::policy(case)) },
];

/// Asks the guards one after the other, up to the first that does not allow the start.
pub(super) fn judge(case: &Case<'_>) -> Judgement {
    GUARDS.iter().map(|guard| (guard.ask)(case)).find(|answer| *answer != Judgement::Clear).unwrap_or(Judgement::Clear)
}

/// Asks every guard about a run that has not been started, as [`super::plan`] would now.
pub fn explain(snapshot: &Snapshot<'_>, run: &Run, now: Timestamp) -> Vec<Explained> {
    explain_beside(snapshot, &Beside::of(snapshot, now), run, now)
}

/// As [`explain`], for someone who asks about many runs.
pub fn explain_beside(snapshot: &Snapshot<'_>, beside: &Beside<'_>, run: &Run, now: Timestamp) -> Vec<Explained> {
    let Some(experiment) = snapshot.rules.experiments.get(&run.experiment) else {
        let answer = format!("refuses: {}", SkipReason::Removed);
        let input = format!("there is no experiment `{}`", run.experiment);
        return vec![Explained { rule: "configuration".to_owned(), input, answer, passes: false }];
    };
    let informed = beside.informed(snapshot, run, now);
    let run = informed.as_ref().unwrap_or(run);
    let case = Case { snapshot, experiment, run, going: &beside.going, around: &beside.around, now };
    let told = |guard: &Guard| {
        let judgement = (guard.ask)(&case);
        let answer = match &judgement {
            Judgement::Clear => "passes".to_owned(),
            Judgement::Wait(until) => format!("waits until {until}"),
            Judgement::Hold(reason, _) => format!("holds: {reason}"),
            Judgement::Skip(reason) => format!("refuses: {reason}"),
            Judgement::NeedsTemplate => "reads the template first".to_owned(),
            Judgement::NeedsPlace => "asks AWS first".to_owned(),
        };
        let passes = judgement == Judgement::Clear;
        Explained { rule: guard.rule.to_owned(), input: (guard.input)(&case), answer, passes }
    };
    GUARDS.iter().map(told).collect()
}

pub(super) fn found<T>(row: Option<T>, told: impl FnOnce(T) -> String) -> String {
    row.map_or_else(|| "none".to_owned(), told)
}

fn withdrawn(case: &Case<'_>) -> Judgement {
    match case.snapshot.stops.get(&case.run.id) {
        Some(stop) => Judgement::Skip(SkipReason::Withdrawn { by: stop.by.clone(), reason: stop.reason.clone() }),
        None => Judgement::Clear,
    }
}

fn halt(case: &Case<'_>) -> Judgement {
    match &case.snapshot.halt {
        Some(halt) => Judgement::Skip(SkipReason::Halted { by: halt.by.clone() }),
        None => Judgement::Clear,
    }
}

/// Says why nothing of an experiment starts, whatever it is that is due: it is paused, or waits after failures.
pub fn standing(
    experiment: &Experiment,
    ledgers: &BTreeMap<ExperimentName, Ledger>,
    pauses: &BTreeMap<ExperimentName, PauseRow>,
    now: Timestamp,
) -> Option<SkipReason> {
    let paused = paused(&experiment.name, pauses, now);
    paused.or_else(|| waiting(experiment, failing(experiment, ledgers.get(&experiment.name))?, now))
}

/// Says that whatever has a name is paused.
pub fn paused(
    name: &ExperimentName,
    pauses: &BTreeMap<ExperimentName, PauseRow>,
    now: Timestamp,
) -> Option<SkipReason> {
    let pause = pauses.get(name)?.in_force(now)?;
    Some(SkipReason::Paused { by: pause.by.clone(), reason: pause.reason.clone(), until: pause.until })
}

fn pause(case: &Case<'_>) -> Judgement {
    let of = standing(case.experiment, &case.snapshot.ledgers, &case.snapshot.pauses, case.now);
    of.map_or(Judgement::Clear, Judgement::Skip)
}

fn pause_input(case: &Case<'_>) -> String {
    let snapshot = case.snapshot;
    let row = snapshot.pauses.get(&case.experiment.name);
    let paused = found(row.and_then(|row| row.in_force(case.now)), |pause| {
        let until = pause.until.map_or_else(String::new, |until| format!(" until {until}"));
        format!("by {} since {}{until}", pause.by, pause.at)
    });
    let failed = found(failing(case.experiment, snapshot.ledgers.get(&case.experiment.name)), |failing| {
        format!("{} in a row ({}), the last at {}", failing.count, failing.trouble.as_str(), failing.at)
    });
    format!("pause: {paused}; failures: {failed}; on_failure: {:?}", case.experiment.limits.on_failure)
}

fn due(case: &Case<'_>) -> Judgement {
    let not_before = deploy::not_before(case);
    if case.now < not_before { Judgement::Wait(not_before) } else { Judgement::Clear }
}

fn late(case: &Case<'_>) -> Judgement {
    let deadline = case.run.deadline();
    if case.now <= deadline {
        return Judgement::Clear;
    }
    let waited_for = match &case.run.state {
        RunState::Held { reason, .. } => Some(reason.clone()),
        _ => None,
    };
    Judgement::Skip(SkipReason::Late { start_by: deadline, waited_for })
}

/// The failures that still say something: of what is run today.
fn failing<'a>(experiment: &Experiment, ledger: Option<&'a Ledger>) -> Option<&'a Failing> {
    let failing = ledger?.failing.as_ref()?;
    let is_of_another = failing.of.as_ref().is_some_and(|of| *of != Definition::of(experiment));
    (!is_of_another).then_some(failing)
}

/// Says that an experiment waits after failures, if it does.
fn waiting(experiment: &Experiment, failing: &Failing, now: Timestamp) -> Option<SkipReason> {
    let until = match (experiment.limits.on_failure, failing.trouble) {
        (OnFailure::Continue, _) => return None,
        (OnFailure::Pause, _) | (OnFailure::Classify, Trouble::Configuration) => None,
        (OnFailure::Classify, Trouble::Unhealthy) => {
            let doublings = failing.count.saturating_sub(1).min(MOST_DOUBLINGS);
            Some(later(failing.at, (BACK_OFF_FIRST * 2_i32.pow(doublings)).min(BACK_OFF_LIMIT)))
        }
    };
    // One that lies farther ahead was named before the clock was set back.
    let is_over = until.is_some_and(|until| now >= until || until > later(now, BACK_OFF_LIMIT));
    (!is_over).then_some(SkipReason::Failing { trouble: failing.trouble, failures: failing.count, until })
}

/// How many runs the run's schedule has begun, those that begin in this very pass among them, and how many it may.
fn runs_of_schedule(case: &Case<'_>) -> Option<(u32, u32)> {
    let Trigger::Slot { schedule, .. } = &case.run.trigger else { return None };
    let declared = case.experiment.schedules.iter().find(|declared| declared.name() == schedule)?;
    let ledger = case.snapshot.ledgers.get(&case.experiment.name);
    let begun = ledger.and_then(|ledger| ledger.begun.get(schedule)).copied().unwrap_or_default();
    let begins_now = |other: &&&Run| {
        let is_of_schedule = matches!(&other.trigger, Trigger::Slot { schedule: of, .. } if of == schedule);
        is_of_schedule && other.experiment == case.run.experiment && !other.may_be_running()
    };
    let now = u32::try_from(case.going.iter().filter(begins_now).count()).unwrap_or(u32::MAX);
    Some((begun.saturating_add(now), declared.max_runs?))
}

fn runs_left(case: &Case<'_>) -> Judgement {
    match (runs_of_schedule(case), &case.run.trigger) {
        // One that was begun is counted already, however often the start is tried.
        (Some((begun, limit)), Trigger::Slot { schedule, .. }) if begun >= limit && !case.run.may_be_running() => {
            Judgement::Skip(SkipReason::RunsUsedUp { schedule: schedule.clone(), limit })
        }
        _ => Judgement::Clear,
    }
}

fn runs_left_input(case: &Case<'_>) -> String {
    found(runs_of_schedule(case), |(begun, limit)| format!("{begun} of {limit} begun"))
}

fn is_overridden(case: &Case<'_>) -> bool {
    case.run.trigger.windows() == WindowRule::Overridden
}

fn window_now(case: &Case<'_>) -> Judgement {
    if is_overridden(case) {
        return Judgement::Clear;
    }
    let experiment = &case.run.under(case.snapshot.rules);
    let Some(closure) = window::closed_at(&case.snapshot.rules.windows, experiment, case.now) else {
        return Judgement::Clear;
    };
    match case.run.hold_until {
        Some(hold_until) if case.now < hold_until => {
            let look_at = closure.until.map_or(hold_until, |until| until.min(hold_until));
            Judgement::Hold(
                HoldReason::Closed { window: closure.window, until: closure.until, unknown: closure.unknown },
                look_at,
            )
        }
        _ => Judgement::Skip(SkipReason::Closed {
            window: closure.window,
            until: closure.until,
            unknown: closure.unknown,
        }),
    }
}

fn window_input(case: &Case<'_>) -> String {
    let Trigger::Manual { by, .. } = &case.run.trigger else { return window_said(case) };
    if is_overridden(case) { format!("overridden by {by}; {}", window_said(case)) } else { window_said(case) }
}

fn window_said(case: &Case<'_>) -> String {
    let (windows, experiment) = (&case.snapshot.rules.windows, &case.run.under(case.snapshot.rules));
    let about = windows.iter().filter(|window| window.scope.holds(experiment)).count();
    match window::closed_at(windows, experiment, case.now) {
        Some(closure) => format!("{about} windows in scope, `{}` closes", closure.window),
        None => format!("{about} windows in scope, none closes at {}", case.now),
    }
}

fn template(case: &Case<'_>) -> Judgement {
    if case.run.facts.is_some() { Judgement::Clear } else { Judgement::NeedsTemplate }
}

fn template_input(case: &Case<'_>) -> String {
    found(case.run.facts.as_ref(), |facts| {
        let age = if has_fresh_facts(case.snapshot, case.run, case.now) { "" } else { ", which is too long ago" };
        format!("{} read at {}{age}", facts.id, facts.read_at)
    })
}

/// Asks whether the template is as safe as the configuration demands.
fn policy(case: &Case<'_>) -> Judgement {
    let policy = &case.experiment.policy;
    match &case.run.facts {
        Some(facts) if !policy.demands_nothing() => match &facts.safeguards {
            // It was read by a version that did not look at them.
            None => Judgement::NeedsTemplate,
            Some(found) => {
                policy.breach(found).map_or(Judgement::Clear, |breach| Judgement::Skip(SkipReason::Policy { breach }))
            }
        },
        _ => Judgement::Clear,
    }
}

fn policy_input(case: &Case<'_>) -> String {
    format!("demands {}", case.experiment.policy)
}

/// Refuses what could still be running when a window opens, or moves it to the first time that fits.
fn ahead(case: &Case<'_>) -> Judgement {
    let Some(facts) = case.run.facts.as_ref().filter(|_| !is_overridden(case)) else { return Judgement::Clear };
    let (windows, experiment) = (&case.snapshot.rules.windows, &case.run.under(case.snapshot.rules));
    let takes = length(case.snapshot, case.experiment, facts).saturating_add(longest_lead(case.snapshot));
    let ends = later(case.now, takes);
    let Some(Closure { window, opens, until, unknown, .. }) =
        window::first_closure(windows, experiment, case.now, ends)
    else {
        return Judgement::Clear;
    };
    let patience = case.run.hold_until.map(|hold_until| hold_until.duration_since(case.now));
    let fits = patience.filter(|patience| patience.is_positive());
    match fits.and_then(|patience| window::free_slot(windows, experiment, takes, case.now, patience)) {
        Some(at) => Judgement::Hold(HoldReason::Closed { window, until, unknown }, at),
        None => Judgement::Skip(SkipReason::WouldCross { window, opens, ends, unknown }),
    }
}

fn ahead_input(case: &Case<'_>) -> String {
    if is_overridden(case) {
        return "overridden".to_owned();
    }
    found(case.run.facts.as_ref(), |facts| {
        let length = length(case.snapshot, case.experiment, facts);
        format!("expected to take {length:#} by its {:?} estimate", case.experiment.estimate)
    })
}

/// How long a run of an experiment is judged to take, by the estimate that it chose.
pub(super) fn length(snapshot: &Snapshot<'_>, experiment: &Experiment, facts: &TemplateFacts) -> SignedDuration {
    let ledger = snapshot.ledgers.get(&experiment.name);
    estimate::expected(experiment, facts, ledger.and_then(|ledger| ledger.learned(facts)))
}

/// What the month's runs have cost, what those that go on may cost, and what this one may.
fn costs(case: &Case<'_>) -> Option<(Usd, Usd, Usd)> {
    let rules = case.snapshot.rules;
    let spent = ledger::spent(rules, &case.snapshot.ledgers, &ledger::month(case.now));
    let most = |run: &Run| Some(cost::cost(&run.under(rules), run.facts.as_ref()?, &rules.budget).most_usd());
    let others = case.going.iter().filter(|other| other.id != case.run.id);
    let going = others.filter_map(|other| most(other)).fold(Usd::ZERO, Usd::plus);
    Some((spent, going, most(case.run)?))
}

fn budget(case: &Case<'_>) -> Judgement {
    let budget = &case.snapshot.rules.budget;
    let Some(limit) = budget.monthly.filter(|_| budget.on_exceeded == OnExceeded::Refuse) else {
        return Judgement::Clear;
    };
    match costs(case) {
        Some((spent, going, cost)) if spent.plus(going).plus(cost) > limit => {
            Judgement::Skip(SkipReason::Budget { spent: spent.plus(going), cost, limit })
        }
        _ => Judgement::Clear,
    }
}

fn budget_input(case: &Case<'_>) -> String {
    let Some(limit) = case.snapshot.rules.budget.monthly else { return "no limit".to_owned() };
    let policy = format!("{:?}", case.snapshot.rules.budget.on_exceeded).to_lowercase();
    found(costs(case), |(spent, going, cost)| {
        let over = if spent.plus(going).plus(cost) > limit { ", which is too much" } else { "" };
        format!("{spent} USD spent this month, {going} going on, {cost} for this run, of {limit}{over}; {policy}")
    })
}
