//! Slots: which instants of which schedules are due, and what becomes of those that passed unseen.
//!
//! A slot's run is opened at the slot itself and waits in its row when its schedule spreads it. What counts as late is
//! counted from when the run is due. A schedule that leaves the configuration is remembered for a while: that may be a file cut
//! short, or a replica with an older one, and what it would have named meanwhile is recorded when it is back.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Effect, Mode, ScheduleKey, Snapshot, Survey, Withheld};
use crate::domain::{
    experiment::Experiment,
    ids::{ExperimentName, ScheduleName},
    run::{Away, Run, RunState, RunTimes, SkipReason, Trigger},
    schedule::{MissedPolicy, Schedule},
};

/// A slot noticed later than this passed unseen: the agent was away, not merely busy.
const UNSEEN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// How long a schedule that has left the configuration is remembered; one that comes back later is new.
const REMEMBERED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// How far the slots of a schedule are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Up to here (inclusive).
    pub at: Timestamp,
    /// When it was first seen that the configuration has no such schedule any more; `None` while it has.
    pub left_at: Option<Timestamp>,
}

impl From<Timestamp> for Cursor {
    fn from(at: Timestamp) -> Self {
        Self { at, left_at: None }
    }
}

/// Cursors by what they are of.
pub type Cursors = BTreeMap<ScheduleKey, Cursor>;

/// Missed slots are counted up to here; "at least" is said beyond.
pub const MISSED_COUNT_LIMIT: u32 = 10_000;

pub(super) fn survey(snapshot: &Snapshot<'_>, now: Timestamp, survey: &mut Survey) {
    if snapshot.mode != Mode::Active || snapshot.withheld == Withheld::All {
        return;
    }
    // Experiments and cursors are in the same order, so one walk over both finds what belongs together.
    let mut cursors = snapshot.cursors.iter().peekable();
    let mut gone: Vec<(&ScheduleKey, Cursor)> = Vec::new();
    for experiment in snapshot.rules.experiments.values() {
        let mut known: Vec<(&ScheduleKey, Cursor)> = Vec::new();
        while let Some((key, cursor)) = cursors.next_if(|(key, _)| key.0 <= experiment.name) {
            if key.0 == experiment.name { known.push((key, *cursor)) } else { gone.push((key, *cursor)) }
        }
        if snapshot.withheld.holds(&experiment.name) {
            continue;
        }
        let declared = survey_one(experiment, &known, now, survey);
        gone.extend(known.iter().filter(|(key, _)| !declared.contains(&key.1)));
    }
    gone.extend(cursors.map(|(key, cursor)| (key, *cursor)));
    gone.into_iter().for_each(|(key, cursor)| leave(key, cursor, now, survey));
}

/// Remembers for a while that a schedule has left.
fn leave(key: &ScheduleKey, cursor: Cursor, now: Timestamp, survey: &mut Survey) {
    let Some(left_at) = cursor.left_at else {
        return survey.effects.push(Effect::LeaveSchedule { schedule: key.clone(), at: now });
    };
    let forgotten_at = left_at.saturating_add(REMEMBERED_FOR).unwrap_or(Timestamp::MAX);
    if now < forgotten_at {
        return survey.wake_at(forgotten_at);
    }
    survey.effects.push(Effect::ForgetSchedule { schedule: key.clone() });
}

/// Surveys the schedules of one experiment; returns the names under which their cursors are kept.
fn survey_one<'a>(
    experiment: &'a Experiment,
    known: &[(&ScheduleKey, Cursor)],
    now: Timestamp,
    survey: &mut Survey,
) -> BTreeSet<&'a ScheduleName> {
    let mut declared = BTreeSet::new();
    for schedule in &experiment.schedules {
        declared.insert(schedule.timetable());
        match known.binary_search_by(|(key, _)| key.1.cmp(schedule.timetable())) {
            Ok(index) => match known[index].1 {
                Cursor { at, left_at: None } => open(&experiment.name, schedule, at, now, survey),
                Cursor { at, left_at: Some(_) } => take_back(&experiment.name, schedule, at, now, survey),
            },
            Err(_) => survey.effects.push(adopt(&experiment.name, schedule, now)),
        }
    }
    declared
}

fn key(experiment: &ExperimentName, schedule: &Schedule) -> ScheduleKey {
    (experiment.clone(), schedule.timetable().clone())
}

fn adopt(experiment: &ExperimentName, schedule: &Schedule, now: Timestamp) -> Effect {
    Effect::AdoptSchedule { schedule: key(experiment, schedule), at: now }
}

/// Takes up a schedule again that had left. What it named meanwhile is one record, and none of it is made up for: nothing
/// starts because a configuration changes.
fn take_back(experiment: &ExperimentName, schedule: &Schedule, cursor: Timestamp, now: Timestamp, survey: &mut Survey) {
    let first = schedule.next_after(cursor).filter(|first| first.at <= now);
    survey.effects.push(match first.zip(schedule.latest_in(cursor, now)) {
        Some((first, last)) => {
            let missed = missed(schedule, cursor, last.at, Away::Schedule, now);
            let run = run_of(experiment, schedule, first.at, now, missed);
            Effect::OpenSlots { schedule: key(experiment, schedule), cursor: last.at, runs: vec![run] }
        }
        None => adopt(experiment, schedule, now),
    });
}

/// The state of one record of all slots after a cursor, up to the last of them (inclusive).
fn missed(schedule: &Schedule, cursor: Timestamp, through: Timestamp, away: Away, now: Timestamp) -> RunState {
    let count = schedule.count_in(cursor, through, MISSED_COUNT_LIMIT);
    RunState::Skipped { reason: SkipReason::Missed { through, count, away }, at: now }
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
        let missed = missed(schedule, cursor, last.at, Away::Agent, now);
        runs.push(run_of(experiment, schedule, first.at, now, missed));
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
    // A run of the same name may have had this slot: before an edit of its times, or before the clock was set back.
    let is_record = matches!(&state, RunState::Skipped { reason: SkipReason::Missed { .. }, .. });
    let timetable = is_record.then(|| schedule.timetable().clone());
    let trigger = Trigger::Slot { schedule: schedule.name().clone(), at: slot, timetable };
    let (not_before, start_by) = (schedule.due(slot), schedule.start_by(slot));
    let hold_until = schedule.hold_until(slot);
    Run::open(experiment.clone(), trigger, state, RunTimes { opened_at: now, not_before, start_by, hold_until })
}

fn just_before(at: Timestamp) -> Timestamp {
    at.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(at)
}
