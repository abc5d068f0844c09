//! Slots: which instants of which schedules are due, and what becomes of those that passed unseen.
//!
//! A slot's run is opened at the slot itself and waits in its row when its schedule spreads it. What counts as late is
//! counted from when the run is due.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Effect, Mode, ScheduleKey, Snapshot, Survey, Withheld};
use crate::domain::{
    experiment::Experiment,
    ids::{ExperimentName, ScheduleName},
    run::{Run, RunState, RunTimes, SkipReason, Trigger},
    schedule::{MissedPolicy, Schedule},
};

/// A slot noticed later than this passed unseen: the agent was away, not merely busy.
const UNSEEN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Missed slots are counted up to here; "at least" is said beyond.
pub const MISSED_COUNT_LIMIT: u32 = 10_000;

pub(super) fn survey(snapshot: &Snapshot<'_>, now: Timestamp, survey: &mut Survey) {
    if snapshot.mode != Mode::Active || snapshot.withheld == Withheld::All {
        return;
    }
    // Experiments and cursors are in the same order, so one walk over both finds what belongs together.
    let mut cursors = snapshot.cursors.iter().peekable();
    let mut gone: Vec<&ScheduleKey> = Vec::new();
    for experiment in snapshot.rules.experiments.values() {
        let mut known: Vec<(&ScheduleKey, Timestamp)> = Vec::new();
        while let Some((key, cursor)) = cursors.next_if(|(key, _)| key.0 <= experiment.name) {
            if key.0 == experiment.name { known.push((key, *cursor)) } else { gone.push(key) }
        }
        if snapshot.withheld.holds(&experiment.name) {
            continue;
        }
        let declared = survey_one(experiment, &known, now, survey);
        gone.extend(known.iter().map(|(key, _)| *key).filter(|key| !declared.contains(&key.1)));
    }
    let gone = gone.into_iter().chain(cursors.map(|(key, _)| key));
    survey.effects.extend(gone.map(|key| Effect::ForgetSchedule { schedule: key.clone() }));
}

/// Surveys the schedules of one experiment; returns the names under which their cursors are kept.
fn survey_one<'a>(
    experiment: &'a Experiment,
    known: &[(&ScheduleKey, Timestamp)],
    now: Timestamp,
    survey: &mut Survey,
) -> BTreeSet<&'a ScheduleName> {
    let mut declared = BTreeSet::new();
    for schedule in &experiment.schedules {
        declared.insert(schedule.timetable());
        match known.binary_search_by(|(key, _)| key.1.cmp(schedule.timetable())) {
            Ok(index) => open(&experiment.name, schedule, known[index].1, now, survey),
            Err(_) => survey.effects.push(Effect::AdoptSchedule { schedule: key(&experiment.name, schedule), at: now }),
        }
    }
    declared
}

fn key(experiment: &ExperimentName, schedule: &Schedule) -> ScheduleKey {
    (experiment.clone(), schedule.timetable().clone())
}

/// Opens what lies between the cursor (exclusive) and now (inclusive). A cursor ahead of a clock that was set back
/// simply has nothing before it.
fn open(experiment: &ExperimentName, schedule: &Schedule, cursor: Timestamp, now: Timestamp, survey: &mut Survey) {
    let Some(first) = schedule.next_after(cursor) else { return };
    if first.at > now {
        return survey.wake_at(first.at);
    }
    let Some(latest) = schedule.latest_in(cursor, now) else { return };
    let taken_up = taken_up(schedule, cursor, latest.at, now);
    let last_missed = match taken_up.first() {
        Some(oldest) => schedule.latest_in(cursor, just_before(*oldest)),
        None => Some(latest),
    };
    let mut runs = Vec::new();
    if let Some(last) = last_missed {
        let count = schedule.count_in(cursor, last.at, MISSED_COUNT_LIMIT);
        let reason = SkipReason::Missed { through: last.at, count };
        runs.push(run_of(experiment, schedule, first.at, now, RunState::Skipped { reason, at: now }));
    }
    runs.extend(
        taken_up.into_iter().map(|slot| run_of(experiment, schedule, slot, now, state_of(schedule, slot, now))),
    );
    survey.effects.push(Effect::OpenSlots { schedule: key(experiment, schedule), cursor: latest.at, runs });
}

/// The slots up to the latest one that did not pass unseen, or are made up for; oldest first.
fn taken_up(schedule: &Schedule, cursor: Timestamp, latest: Timestamp, now: Timestamp) -> Vec<Timestamp> {
    let (most, last_chance): (u32, &dyn Fn(Timestamp) -> Timestamp) = match schedule.missed {
        MissedPolicy::Skip => (1, &|slot| {
            let seen = schedule.due(slot).saturating_add(UNSEEN_AFTER).unwrap_or(Timestamp::MAX);
            seen.min(schedule.start_by(slot))
        }),
        MissedPolicy::Latest => (1, &|slot| schedule.start_by(slot)),
        MissedPolicy::All { most } => (most, &|slot| schedule.start_by(slot)),
    };
    let mut slots = Vec::new();
    let mut next = Some(latest);
    while let Some(slot) = next.filter(|slot| now <= last_chance(*slot) && slots.len() < most as usize) {
        slots.push(slot);
        next = schedule.latest_in(cursor, just_before(slot)).map(|slot| slot.at);
    }
    slots.reverse();
    slots
}

fn state_of(schedule: &Schedule, slot: Timestamp, now: Timestamp) -> RunState {
    if !schedule.is_taken(slot) {
        return RunState::Skipped { reason: SkipReason::NotDrawn { one_in: schedule.mtbf }, at: now };
    }
    if schedule.due(slot) > slot { RunState::Settling } else { RunState::Requested }
}

fn run_of(experiment: &ExperimentName, schedule: &Schedule, slot: Timestamp, now: Timestamp, state: RunState) -> Run {
    let trigger = Trigger::Slot { schedule: schedule.name().clone(), at: slot };
    let (not_before, start_by) = (schedule.due(slot), schedule.start_by(slot));
    let hold_until = schedule.hold_until(slot);
    Run::open(experiment.clone(), trigger, state, RunTimes { opened_at: now, not_before, start_by, hold_until })
}

fn just_before(at: Timestamp) -> Timestamp {
    at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at)
}
