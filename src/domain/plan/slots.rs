//! Slots: which instants of which schedules are due, and what becomes of those that passed unseen.

use jiff::{SignedDuration, Timestamp};

use super::{Effect, Mode, ScheduleKey, Snapshot, Survey};
use crate::domain::{
    experiment::{MissedPolicy, Schedule},
    ids::ExperimentName,
    run::{Run, RunState, RunTimes, SkipReason, Trigger},
};

/// A slot noticed later than this passed unseen: the agent was away, not merely busy.
const UNSEEN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// Missed slots are counted up to here; "at least" is said beyond.
pub const MISSED_COUNT_LIMIT: u32 = 10_000;

pub(super) fn survey(snapshot: &Snapshot<'_>, now: Timestamp, survey: &mut Survey) {
    if snapshot.mode != Mode::Active {
        return;
    }
    for (experiment, schedule) in
        snapshot.rules.experiments.values().flat_map(|e| e.schedules.iter().map(move |s| (&e.name, s)))
    {
        let key = (experiment.clone(), schedule.timetable());
        match snapshot.cursors.get(&key) {
            None => survey.effects.push(Effect::AdoptSchedule { schedule: key, at: now }),
            Some(&cursor) => open(key, schedule, cursor, now, survey),
        }
    }
    for (experiment, timetable) in snapshot.cursors.keys() {
        let declared = snapshot.rules.experiments.get(experiment);
        if !declared.is_some_and(|declared| declared.schedules.iter().any(|s| s.timetable() == *timetable)) {
            survey.effects.push(Effect::ForgetSchedule { schedule: (experiment.clone(), timetable.clone()) });
        }
    }
}

/// Opens what lies between the cursor (exclusive) and now (inclusive). A cursor ahead of a clock that was set back
/// simply has nothing before it.
fn open(key: ScheduleKey, schedule: &Schedule, cursor: Timestamp, now: Timestamp, survey: &mut Survey) {
    let Some(latest) = schedule.cron.latest_in(cursor, now) else {
        if let Some(next) = schedule.cron.next_after(cursor.max(now)) {
            survey.wake_at(next.at);
        }
        return;
    };
    let lateness = now.duration_since(latest.at);
    let runs_latest = match schedule.missed {
        MissedPolicy::Skip => lateness <= UNSEEN_AFTER.min(schedule.start_deadline),
        MissedPolicy::Latest => lateness <= schedule.start_deadline,
    };
    let last_missed = if runs_latest {
        latest
            .at
            .checked_sub(SignedDuration::from_nanos(1))
            .ok()
            .and_then(|before| schedule.cron.latest_in(cursor, before))
    } else {
        Some(latest)
    };
    let mut runs = Vec::new();
    if let Some(last) = last_missed
        && let Some(first) = schedule.cron.next_after(cursor)
    {
        let count = schedule.cron.count_in(cursor, last.at, MISSED_COUNT_LIMIT);
        let reason = SkipReason::Missed { through: last.at, count };
        runs.push(run_of(&key.0, schedule, first.at, now, RunState::Skipped { reason, at: now }));
    }
    if runs_latest {
        runs.push(run_of(&key.0, schedule, latest.at, now, RunState::Requested));
    }
    survey.effects.push(Effect::OpenSlots { schedule: key, cursor: latest.at, runs });
}

fn run_of(experiment: &ExperimentName, schedule: &Schedule, slot: Timestamp, now: Timestamp, state: RunState) -> Run {
    let trigger = Trigger::Slot { schedule: schedule.name.clone(), at: slot };
    let start_by = slot.saturating_add(schedule.start_deadline).unwrap_or(Timestamp::MAX);
    let times = RunTimes { opened_at: now, not_before: slot, start_by, hold_until: None };
    Run::open(experiment.clone(), trigger, state, times)
}
