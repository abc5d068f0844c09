//! Turns: which runs may go on at the same time, who waits for whom, and how long after one the next may begin.
//!
//! A run waits for its turn in its row, oldest first, no longer than its experiment's `queue_for`. A refilled slot of the
//! past always waits for its turn.

use jiff::{SignedDuration, Timestamp};

use super::{
    Snapshot, deploy,
    guards::{self, Beside, Case, Judgement},
    place,
};
use crate::domain::{
    civil::later,
    deployment::Supersede,
    experiment::{Experiment, MAX_QUEUED, Overlap, Targets},
    ids::{ExperimentName, Name},
    ledger::Ledger,
    run::{Conflict, HoldReason, Run, RunState, STOP_OPERATION, SkipReason, StopCause, Trigger},
    schedule::Spread,
    target,
};

/// What happens to a run while another is in its way.
pub(super) fn policy(case: &Case<'_>) -> Overlap {
    if deploy::predecessor(case).is_some() { Overlap::StopOther } else { policy_of(case.experiment, case.run) }
}

/// Tells whether a run takes the place of the running one of its key: it waits for its end, and for whatever follows from that.
fn supersedes(run: &Run) -> bool {
    run.trigger.deployment().is_some() && run.trigger.terms().supersede == Supersede::Running
}

fn policy_of(experiment: &Experiment, run: &Run) -> Overlap {
    match run.trigger {
        Trigger::Backfill { .. } => Overlap::QueueAll,
        // What stops another is not skipped because of it, nor because of what happens when that has ended.
        Trigger::Event { .. } if supersedes(run) && experiment.overlap == Overlap::Skip => Overlap::QueueOne,
        Trigger::Slot { .. } | Trigger::Event { .. } | Trigger::Manual { .. } => experiment.overlap,
    }
}

/// Until when a run may wait for its turn: no longer than its span, if its schedule gives it one. What was granted while
/// another configuration was in force stays granted, so that nobody waits for an instant that is past.
fn queued_until(case: &Case<'_>) -> Timestamp {
    let (experiment, run) = (case.experiment, case.run);
    let span = match &run.trigger {
        Trigger::Slot { schedule, at, .. } => {
            let declared = experiment.schedules.iter().find(|declared| declared.name() == schedule);
            declared
                .filter(|declared| matches!(declared.spread, Spread::Within(_)))
                .map(|declared| declared.start_by(*at))
        }
        Trigger::Event { .. } | Trigger::Manual { .. } | Trigger::Backfill { .. } => None,
    };
    let patience = later(run.not_before, experiment.limits.queue_for).max(run.deadline());
    span.map_or(patience, |end| end.min(patience).max(run.deadline()))
}

/// Until when a run may wait for others that are no run of ours: as for its turn, if its experiment queues runs.
pub(super) fn patience(case: &Case<'_>) -> Timestamp {
    match policy(case) {
        Overlap::Skip | Overlap::Allow => case.run.deadline(),
        Overlap::QueueOne | Overlap::QueueAll | Overlap::StopOther => queued_until(case),
    }
}

/// Other runs that go on.
fn others<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Run> {
    case.going.iter().copied().filter(|other| other.id != case.run.id)
}

fn own<'a>(case: &'a Case<'_>) -> Option<&'a Run> {
    deploy::predecessor(case).or_else(|| others(case).find(|other| other.is_of(case.experiment, case.snapshot.rules)))
}

/// A run under another name in one of the groups, and that group; [`Run::is_of`] lifts nothing here, since a run of an
/// experiment that was removed may also have been another's.
fn of_group<'a>(case: &'a Case<'_>) -> Option<(&'a Run, &'a Name)> {
    let groups = &case.experiment.limits.groups;
    if groups.is_empty() {
        return None;
    }
    others(case).filter(|other| other.experiment != case.experiment.name).find_map(|other| {
        let theirs = other.under(case.snapshot.rules);
        Some((other, groups.iter().find(|group| theirs.limits.groups.contains(group))?))
    })
}

/// Asks whether another run of the experiment or of its groups goes on.
pub(super) fn overlap(case: &Case<'_>) -> Judgement {
    match (own(case), policy(case)) {
        (None, _) | (_, Overlap::Allow | Overlap::StopOther) => {}
        (Some(with), Overlap::Skip) => return Judgement::Skip(SkipReason::Overlap { with: with.id.clone() }),
        (Some(with), Overlap::QueueOne | Overlap::QueueAll) => return busy(case, with, Conflict::Experiment),
    }
    match of_group(case) {
        None => Judgement::Clear,
        Some((with, group)) => busy(case, with, Conflict::Group { group: group.clone() }),
    }
}

pub(super) fn overlap_input(case: &Case<'_>) -> String {
    let policy = policy(case);
    match (own(case), of_group(case)) {
        (Some(with), _) => format!("run {} of it goes on; overlap {policy:?}", with.id),
        (None, Some((with, group))) => format!("run {} of group `{group}` goes on; overlap {policy:?}", with.id),
        (None, None) => format!("no other run of it or its groups goes on; overlap {policy:?}"),
    }
}

/// Waits for a turn if there is room, else refuses.
fn busy(case: &Case<'_>, with: &Run, conflict: Conflict) -> Judgement {
    let with = with.id.clone();
    match turn(case) {
        Turn::Waits { give_up_at } => {
            let late = later(give_up_at, SignedDuration::from_nanos(1));
            Judgement::Hold(HoldReason::Busy { with, conflict, give_up_at }, late)
        }
        Turn::Full { limit } => Judgement::Skip(SkipReason::QueueFull { limit }),
        Turn::None => Judgement::Skip(match conflict {
            Conflict::Experiment => SkipReason::Overlap { with },
            conflict => SkipReason::Excluded { with, conflict },
        }),
    }
}

/// Whether a run may wait for its turn.
enum Turn {
    /// It may, until then.
    Waits { give_up_at: Timestamp },
    /// As many as may wait already.
    Full { limit: usize },
    /// Its experiment does not queue runs.
    None,
}

fn turn(case: &Case<'_>) -> Turn {
    // Only the newest of its key waits, so there is one at most for each.
    if supersedes(case.run) {
        return Turn::Waits { give_up_at: queued_until(case) };
    }
    let limit = match policy(case) {
        Overlap::Skip | Overlap::Allow => return Turn::None,
        Overlap::QueueOne | Overlap::StopOther => 1,
        Overlap::QueueAll => MAX_QUEUED,
    };
    let is_backfill = |run: &Run| matches!(run.trigger, Trigger::Backfill { .. });
    // Who was due before this one, or stands before it, has been waiting longer. Slots of the past take no room from those of
    // today.
    let place = case.snapshot.runs.iter().position(|other| other.id == case.run.id);
    let is_before = |n: usize, other: &Run| (other.not_before, Some(n)) < (case.run.not_before, place);
    let others = case.snapshot.runs.iter().enumerate();
    let before = others.filter(|(n, other)| is_before(*n, other)).map(|(_, other)| other);
    // One whose settling was cut short is held before it would have been due.
    let is_due = |other: &Run| case.now >= other.not_before || matches!(other.state, RunState::Held { .. });
    let waiting = before.filter(|other| {
        other.experiment == case.experiment.name
            && !other.may_be_running()
            && !other.is_over()
            && is_due(other)
            && (is_backfill(case.run) || !is_backfill(other))
            && !case.going.iter().any(|going| going.id == other.id)
    });
    if waiting.count() >= limit { Turn::Full { limit } } else { Turn::Waits { give_up_at: queued_until(case) } }
}

/// A time after a run in which the next one may not begin.
struct Gap<'a> {
    until: Timestamp,
    group: Option<&'a Name>,
}

/// The gap that ends last. An end that lies ahead was seen before the clock was set back and says nothing.
fn last_gap<'a>(case: &'a Case<'_>) -> Option<Gap<'a>> {
    let (rules, ledgers) = (case.snapshot.rules, &case.snapshot.ledgers);
    let ended = |ledger: &Ledger| ledger.ended_at.filter(|ended| *ended <= case.now);
    let limits = &case.experiment.limits;
    let gap = |ended, length, group| Gap { until: later(ended, length), group };
    let own = ledgers.get(&case.experiment.name).filter(|_| limits.min_gap > SignedDuration::ZERO).and_then(ended);
    let own = own.map(|ended| gap(ended, limits.min_gap, None));
    let of_groups = limits.groups.iter().filter_map(|group| {
        let length = rules.groups.get(group).map(|group| group.min_gap).filter(|gap| !gap.is_zero())?;
        let is_member = |(name, ledger): &(&ExperimentName, &Ledger)| {
            let declared = rules.experiments.get(*name).map(|declared| &declared.limits.groups);
            declared.unwrap_or(&ledger.groups).contains(group)
        };
        let ended = ledgers.iter().filter(is_member).filter_map(|(_, ledger)| ended(ledger)).max()?;
        Some(gap(ended, length, Some(group)))
    });
    own.into_iter().chain(of_groups).max_by_key(|gap| gap.until)
}

/// Asks whether the last run of the experiment and of its groups ended long enough ago.
pub(super) fn gap(case: &Case<'_>) -> Judgement {
    let Some(Gap { until, group }) = last_gap(case).filter(|gap| case.now < gap.until) else {
        return Judgement::Clear;
    };
    let group = group.cloned();
    match turn(case) {
        Turn::Waits { give_up_at } => {
            let late = later(give_up_at, SignedDuration::from_nanos(1));
            Judgement::Hold(HoldReason::Gap { until, group, give_up_at }, until.min(late))
        }
        Turn::Full { limit } => Judgement::Skip(SkipReason::QueueFull { limit }),
        Turn::None => Judgement::Skip(SkipReason::Gap { until, group }),
    }
}

pub(super) fn gap_input(case: &Case<'_>) -> String {
    match last_gap(case) {
        None => "no gap is asked for, or nothing has ended yet".to_owned(),
        Some(Gap { until, group: None }) => format!("`min_gap` after its last run ends at {until}"),
        Some(Gap { until, group: Some(group) }) => format!("the gap of group `{group}` ends at {until}"),
    }
}

/// A run that goes on where this one would start, and that FIS refuses to stop.
fn unstoppable<'a>(case: &'a Case<'_>) -> Option<&'a Run> {
    let is_here = |other: &&Run| matches!(&other.state, RunState::Stopping { place: at, .. } if at == place::of(case));
    others(case).filter(is_here).find(|other| other.denied() == Some(STOP_OPERATION))
}

/// Asks whether FIS would stop what is started there: while it refuses that as denied, nothing else begins.
pub(super) fn stops(case: &Case<'_>) -> Judgement {
    let target = || format!("a place in which FIS denies {STOP_OPERATION}");
    unstoppable(case).map_or(Judgement::Clear, |with| busy(case, with, Conflict::Target { target: target() }))
}

pub(super) fn stops_input(case: &Case<'_>) -> String {
    match unstoppable(case) {
        None => "no stop is denied in its place".to_owned(),
        Some(with) => format!("FIS denies {STOP_OPERATION} of run {}", with.id),
    }
}

/// A run under another name whose template shares a target with this one's, and what they share.
fn sharing<'a>(case: &'a Case<'_>) -> Option<(&'a Run, String)> {
    let facts = case.run.facts.as_ref().filter(|facts| !facts.targets.is_empty())?;
    others(case).filter(|other| other.experiment != case.experiment.name).find_map(|other| {
        let theirs = other.under(case.snapshot.rules);
        let both = [case.experiment, &theirs].iter().all(|e| e.limits.targets == Targets::Shared);
        let shared = target::shares_target(facts, other.facts.as_ref()?)?;
        (!both).then(|| (other, shared.to_string()))
    })
}

/// Asks whether a run of another experiment acts on the same targets.
pub(super) fn targets(case: &Case<'_>) -> Judgement {
    match sharing(case) {
        None => Judgement::Clear,
        Some((with, target)) => busy(case, with, Conflict::Target { target }),
    }
}

pub(super) fn targets_input(case: &Case<'_>) -> String {
    match sharing(case) {
        None => "no run of another experiment acts on the same targets".to_owned(),
        Some((with, target)) => format!("run {} acts on {target} too", with.id),
    }
}

/// The run whose place this one takes: it is stopped first.
pub(super) fn replaces<'a>(case: &'a Case<'_>) -> Option<&'a Run> {
    own(case).filter(|_| policy(case) == Overlap::StopOther)
}

/// Waits for the run whose place this one takes. Asked last: only what may start otherwise stops another.
pub(super) fn replace(case: &Case<'_>) -> Judgement {
    replaces(case).map_or(Judgement::Clear, |with| busy(case, with, Conflict::Experiment))
}

/// Finds the run that takes the place of one that goes on: of those that are `held`, it waits for that one, and would start
/// now without it.
pub(super) fn replaced_by(
    snapshot: &Snapshot<'_>,
    held: &[&Run],
    experiment: &Experiment,
    run: &Run,
    now: Timestamp,
) -> Option<StopCause> {
    let waits_for_it = |reason: &HoldReason| matches!(reason, HoldReason::Busy { with, conflict: Conflict::Experiment, .. } if *with == run.id);
    let replaces = |other: &&&Run| {
        let RunState::Held { reason, .. } = &other.state else { return false };
        let is_meant = !matches!(other.trigger, Trigger::Backfill { .. }) && waits_for_it(reason);
        is_meant && {
            let Beside { going, around, .. } = &Beside::of(snapshot, now);
            let case = Case { snapshot, experiment, run: other, going, around, now };
            policy(&case) == Overlap::StopOther
                && matches!(guards::judge(&case), Judgement::Hold(reason, _) if waits_for_it(&reason))
        }
    };
    held.iter()
        .filter(|other| other.experiment == run.experiment)
        .find(replaces)
        .map(|other| StopCause::Replaced { by: other.id.clone() })
}
