//! Opening in a world: a schedule is adopted once, of slots that passed unseen no more are made up for than it says, and none
//! that it would have named while it had left.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Rules,
    plan::ScheduleKey,
    run::{RunState, SkipReason},
    schedule::{MissedPolicy, Schedule},
};
use jiff::{SignedDuration, Timestamp};

use super::check::Evidence;
use crate::sim::simulated::tables::{Durable, slot_of};

/// A slot that was seen so late passed unseen: a pass may take its time.
const UNSEEN_AFTER: SignedDuration = SignedDuration::from_secs(36);

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    evidence.world.store.with(|tables| {
        let mut known: BTreeMap<&ScheduleKey, u64> = BTreeMap::new();
        for (ms, durable) in &tables.log {
            match durable {
                Durable::Adopted { key, before: Some(before), at } => {
                    let between = |schedule: &Schedule| schedule.next_after(before.at).filter(|slot| slot.at <= *at);
                    let declared = evidence.rules_about(*ms).into_iter().filter_map(|rules| declared(rules, key));
                    if let Some(slot) = declared.filter_map(between).next() {
                        found.push(format!("lost: {key:?} was taken up at {ms} ms past its slot {}", slot.at));
                    }
                }
                Durable::Forgotten { key, left_at: None } => {
                    found.push(format!("lost: {key:?} was forgotten at {ms} ms without having left"));
                }
                Durable::Adopted { key, before: None, .. } => {
                    if let Some(before) = known.insert(key, *ms)
                        && is_there_all_along(evidence, key, before, *ms)
                    {
                        found.push(format!("lost: {key:?} was adopted at {before} ms and again at {ms} ms"));
                    }
                }
                Durable::Opened { key, before: Some(before), after, at } => {
                    let taken_up = taken_up(evidence, key, before.at, *after, *at);
                    if before.left_at.is_some() && !taken_up.is_empty() {
                        found.push(format!("late: {taken_up:?} of {key:?}, which had left"));
                    }
                    let declared = evidence.rules_about(*ms).into_iter().filter_map(|rules| declared(rules, key));
                    let is_meant = |schedule: &Schedule| are_meant(schedule, &taken_up);
                    if !taken_up.is_empty() && !declared.into_iter().any(is_meant) {
                        found.push(format!("missed: {taken_up:?} of {key:?} are made up for"));
                    }
                }
                _ => {}
            }
        }
    });
}

fn declared<'r>(rules: &'r Rules, key: &ScheduleKey) -> Option<&'r Schedule> {
    rules.experiments.get(&key.0)?.schedules.iter().find(|schedule| *schedule.timetable() == key.1)
}

/// Whether a schedule is in each configuration that any replica had from one true time to another.
fn is_there_all_along(evidence: &Evidence<'_>, key: &ScheduleKey, from: u64, to: u64) -> bool {
    evidence.rules_between(from, to).iter().all(|rules| declared(rules, key).is_some())
}

/// The slots of `(before, after]` that were opened at an instant and not missed.
fn taken_up(
    evidence: &Evidence<'_>,
    key: &ScheduleKey,
    before: Timestamp,
    after: Timestamp,
    at: Timestamp,
) -> Vec<(Timestamp, Timestamp)> {
    let of_key = evidence.runs.values().filter(|run| run.experiment == key.0 && run.opened_at == at);
    let is_missed = |state: &RunState| matches!(state, RunState::Skipped { reason: SkipReason::Missed { .. }, .. });
    let slots =
        of_key.filter(|run| !is_missed(&run.state)).filter_map(|run| Some((slot_of(run, &key.1)?, run.opened_at)));
    slots.filter(|(slot, _)| before < *slot && *slot <= after).collect()
}

/// Whether a schedule makes up for these.
fn are_meant(schedule: &Schedule, taken_up: &[(Timestamp, Timestamp)]) -> bool {
    let most = match schedule.missed {
        MissedPolicy::Skip | MissedPolicy::Latest => 1,
        MissedPolicy::All { most } => most as usize,
    };
    let is_seen = |(slot, opened): &(Timestamp, Timestamp)| {
        schedule.missed != MissedPolicy::Skip || *opened <= schedule.due(*slot) + UNSEEN_AFTER
    };
    taken_up.len() <= most && taken_up.iter().all(is_seen)
}
