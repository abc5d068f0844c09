//! Turns: which runs may go on at the same time, who waits for whom, and how long after one the next may begin.
//!
//! A run waits for its turn in its row, oldest first, no longer than its experiment's `queue_for`. A refilled slot of the
//! past always waits for its turn.

use jiff::{SignedDuration, Timestamp};

use super::{
    guards::{Case, Judgement},
    start::{after, deadline},
};
use crate::domain::{
    experiment::{Experiment, MAX_QUEUED, Overlap, Targets},
    ids::Name,
    run::{Conflict, HoldReason, Run, RunState, SkipReason, StopCause, Trigger},
    target,
};

/// What happens to a run while another is in its way.
pub(super) fn policy(case: &Case<'_>) -> Overlap {
    policy_of(case.experiment, case.run)
}

fn policy_of(experiment: &Experiment, run: &Run) -> Overlap {
    match run.trigger {
        Trigger::Backfill { .. } => Overlap::QueueAll,
        Trigger::Slot { .. } | Trigger::Event { .. } | Trigger::Manual { .. } => experiment.overlap,
    }
}

/// Until when a run may wait for its turn; `None` when it never waits.
pub(super) fn queued_until(experiment: &Experiment, run: &Run) -> Option<Timestamp> {
    match policy_of(experiment, run) {
        Overlap::QueueOne | Overlap::QueueAll | Overlap::StopOther => {
            Some(after(run.not_before, experiment.limits.queue_for))
        }
        Overlap::Skip | Overlap::Allow => None,
    }
}

/// Other runs that go on.
fn others<'a>(case: &'a Case<'_>) -> impl Iterator<Item = &'a Run> {
    case.going.iter().copied().filter(|other| other.id != case.run.id)
}

fn own<'a>(case: &'a Case<'_>) -> Option<&'a Run> {
    others(case).find(|other| other.experiment == case.experiment.name)
}

/// A run of another experiment of one of the groups, and that group.
fn of_group<'a>(case: &'a Case<'_>) -> Option<(&'a Run, &'a Name)> {
    let groups = &case.experiment.limits.groups;
    others(case).filter(|other| other.experiment != case.experiment.name).find_map(|other| {
        let declared = case.snapshot.rules.experiments.get(&other.experiment)?;
        Some((other, groups.iter().find(|group| declared.limits.groups.contains(group))?))
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
    queue(case, HoldReason::Busy { with: with.id.clone(), conflict: conflict.clone() }, None).unwrap_or_else(|| {
        Judgement::Skip(match conflict {
            Conflict::Experiment => SkipReason::Overlap { with: with.id.clone() },
            conflict => SkipReason::Excluded { with: with.id.clone(), conflict },
        })
    })
}

/// Lets the run wait; `None` when its experiment does not queue runs.
fn queue(case: &Case<'_>, reason: HoldReason, until: Option<Timestamp>) -> Option<Judgement> {
    let limit = match policy(case) {
        Overlap::Skip | Overlap::Allow => return None,
        Overlap::QueueOne | Overlap::StopOther => 1,
        Overlap::QueueAll => MAX_QUEUED,
    };
    // Rows are in the order in which they were opened: who stands before this one has been waiting longer.
    let before = case.snapshot.runs.iter().take_while(|other| other.id != case.run.id);
    let waiting = before.filter(|other| {
        other.experiment == case.experiment.name
            && !other.may_be_running()
            && !other.is_over()
            && case.now >= other.not_before
            && !case.going.iter().any(|going| going.id == other.id)
    });
    if waiting.count() >= limit {
        return Some(Judgement::Skip(SkipReason::QueueFull { limit }));
    }
    // Its patience begins with this very decision.
    let patience = queued_until(case.experiment, case.run).into_iter();
    let last = patience.fold(deadline(case.experiment, case.run), Timestamp::max);
    let given_up = after(last, SignedDuration::from_nanos(1));
    Some(Judgement::Hold(reason, until.map_or(given_up, |until| until.min(given_up))))
}

/// The latest end of a gap, and the group whose gap it is.
fn gap_end<'a>(case: &'a Case<'_>) -> Option<(Timestamp, Option<&'a Name>)> {
    let ended = |name| case.snapshot.ledgers.get(name).and_then(|ledger| ledger.ended_at);
    let limits = &case.experiment.limits;
    let own = ended(&case.experiment.name).filter(|_| limits.min_gap > SignedDuration::ZERO);
    let own = own.map(|ended| (after(ended, limits.min_gap), None));
    let of_groups = limits.groups.iter().filter_map(|group| {
        let gap = case.snapshot.rules.groups.get(group).map(|group| group.min_gap).filter(|gap| !gap.is_zero())?;
        let members = case.snapshot.rules.experiments.values().filter(|other| other.limits.groups.contains(group));
        let ended = members.filter_map(|member| ended(&member.name)).max()?;
        Some((after(ended, gap), Some(group)))
    });
    own.into_iter().chain(of_groups).max_by_key(|(end, _)| *end)
}

/// Asks whether the last run of the experiment and of its groups ended long enough ago.
pub(super) fn gap(case: &Case<'_>) -> Judgement {
    let Some((until, group)) = gap_end(case).filter(|(until, _)| case.now < *until) else { return Judgement::Clear };
    let group = group.cloned();
    queue(case, HoldReason::Gap { until, group: group.clone() }, Some(until))
        .unwrap_or(Judgement::Skip(SkipReason::Gap { until, group }))
}

pub(super) fn gap_input(case: &Case<'_>) -> String {
    match gap_end(case) {
        None => "no gap is asked for, or nothing has ended yet".to_owned(),
        Some((until, None)) => format!("`min_gap` after its last run ends at {until}"),
        Some((until, Some(group))) => format!("the gap of group `{group}` ends at {until}"),
    }
}

/// A run of another experiment whose template shares a target with this one's, and what they share.
fn sharing<'a>(case: &'a Case<'_>) -> Option<(&'a Run, String)> {
    let facts = case.run.facts.as_ref()?;
    others(case).filter(|other| other.experiment != case.experiment.name).find_map(|other| {
        let declared = case.snapshot.rules.experiments.get(&other.experiment);
        let both = case.experiment.limits.targets == Targets::Shared
            && declared.is_some_and(|declared| declared.limits.targets == Targets::Shared);
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

/// Waits for the run whose place this one takes. Asked last: only what may start otherwise stops another.
pub(super) fn replace(case: &Case<'_>) -> Judgement {
    match own(case) {
        Some(with) if policy(case) == Overlap::StopOther => busy(case, with, Conflict::Experiment),
        _ => Judgement::Clear,
    }
}

/// Finds the run that takes the place of one that goes on.
pub(super) fn replaced_by(snapshot: &super::Snapshot<'_>, experiment: &Experiment, run: &Run) -> Option<StopCause> {
    if experiment.overlap != Overlap::StopOther {
        return None;
    }
    let waits = |other: &&Run| {
        let reason = match &other.state {
            RunState::Held { reason, .. } if other.experiment == run.experiment => reason,
            _ => return false,
        };
        let replaces = !matches!(other.trigger, Trigger::Backfill { .. });
        let HoldReason::Busy { with, conflict: Conflict::Experiment } = reason else { return false };
        replaces && *with == run.id
    };
    snapshot.runs.iter().find(waits).map(|other| StopCause::Replaced { by: other.id.clone() })
}
