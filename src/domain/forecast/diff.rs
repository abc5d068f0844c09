//! What a change of the configuration does to the forecast: which slots it adds, drops, moves or decides otherwise.
//!
//! Pure. A schedule keeps its identity, experiment and name, when its time is edited: its slots move then.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{SignedDuration, Timestamp};

use super::{Expected, Forecast};
use crate::domain::{
    experiment::Rules,
    ids::{ExperimentName, ScheduleName},
    run::{RunState, SkipReason, Trigger},
};

/// Slots of one schedule that lie farther apart than this are not one slot that moved.
const FARTHEST_MOVE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What a change of the configuration does.
#[derive(Debug, Default)]
pub struct Changes<'a> {
    /// Slots that are new.
    pub added: Vec<&'a Expected>,
    /// Slots that are no more.
    pub dropped: Vec<&'a Expected>,
    /// Slots of one schedule that come at another time: before and after.
    pub moved: Vec<(&'a Expected, &'a Expected)>,
    /// Slots that are decided otherwise, or whose run starts or ends at another time: before and after.
    pub decided: Vec<(&'a Expected, &'a Expected)>,
    /// How many slots stay as they are.
    pub same: usize,
    /// The instant up to which both are known (exclusive).
    pub until: Timestamp,
}

/// Compares forecasts over the same range.
pub fn compare<'a>(old: &'a Forecast, new: &'a Forecast) -> Changes<'a> {
    let until = old.until.min(new.until);
    let (old, new) = (by_schedule(old, until), by_schedule(new, until));
    let mut changes = Changes { until, ..Changes::default() };
    let schedules: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    for schedule in schedules {
        let slots = |of: &BTreeMap<_, Vec<&'a Expected>>| of.get(schedule).cloned().unwrap_or_default();
        changes.compare(&slots(&old), &slots(&new));
    }
    changes.added.sort_by_key(|run| run.slot);
    changes.dropped.sort_by_key(|run| run.slot);
    changes.moved.sort_by_key(|(_, run)| run.slot);
    changes.decided.sort_by_key(|(_, run)| run.slot);
    changes
}

/// Finds experiments that seem to have another name now: one is gone, one is new, and they run the same template. What
/// is kept under the old name (slots handled, limits) does not follow.
pub fn renamed<'a>(old: &'a Rules, new: &'a Rules) -> Vec<(&'a ExperimentName, &'a ExperimentName)> {
    let gone = old.experiments.values().filter(|experiment| !new.experiments.contains_key(&experiment.name));
    let is_new = |name: &&ExperimentName| !old.experiments.contains_key(name);
    gone.filter_map(|gone| {
        let same = new.experiments.iter().find(|(name, experiment)| {
            is_new(name) && experiment.template == gone.template && experiment.place == gone.place
        })?;
        Some((&gone.name, same.0))
    })
    .collect()
}

type Slots<'a> = BTreeMap<(&'a ExperimentName, &'a ScheduleName), Vec<&'a Expected>>;

fn by_schedule(forecast: &Forecast, until: Timestamp) -> Slots<'_> {
    let mut slots = Slots::new();
    for run in forecast.runs.iter().filter(|run| run.slot < until) {
        if let Trigger::Slot { schedule, .. } = &run.run.trigger {
            slots.entry((&run.run.experiment, schedule)).or_default().push(run);
        }
    }
    slots
}

impl<'a> Changes<'a> {
    /// Compares the slots of one schedule, both in order of time.
    fn compare(&mut self, old: &[&'a Expected], new: &[&'a Expected]) {
        let is_in = |slots: &[&Expected], at| slots.binary_search_by_key(&at, |run| run.slot).is_ok();
        let (mut gone, mut fresh) = (Vec::new(), Vec::new());
        for run in old {
            match new.binary_search_by_key(&run.slot, |run| run.slot) {
                Ok(at) if decision(run) == decision(new[at]) => self.same += 1,
                Ok(at) => self.decided.push((run, new[at])),
                Err(_) => gone.push(*run),
            }
        }
        fresh.extend(new.iter().copied().filter(|run| !is_in(old, run.slot)));
        self.pair(&gone, &fresh);
    }

    /// Pairs slots that are gone with new ones, each with the nearest that is not nearer to another.
    fn pair(&mut self, gone: &[&'a Expected], fresh: &[&'a Expected]) {
        let (mut i, mut k) = (0, 0);
        while let (Some(old), Some(new)) = (gone.get(i), fresh.get(k)) {
            let distance = old.slot.duration_since(new.slot).abs();
            let nearer = |other: Option<&&Expected>, to: Timestamp| {
                other.is_some_and(|other| other.slot.duration_since(to).abs() < distance)
            };
            let apart = distance > FARTHEST_MOVE;
            match old.slot.cmp(&new.slot) {
                Ordering::Less if apart || nearer(gone.get(i + 1), new.slot) => {
                    self.dropped.push(old);
                    i += 1;
                }
                Ordering::Greater if apart || nearer(fresh.get(k + 1), old.slot) => {
                    self.added.push(new);
                    k += 1;
                }
                _ => {
                    self.moved.push((old, new));
                    (i, k) = (i + 1, k + 1);
                }
            }
        }
        self.dropped.extend(&gone[i..]);
        self.added.extend(&fresh[k..]);
    }
}

/// What was decided of a slot, as far as an operator would call it the same.
fn decision(run: &Expected) -> (Option<(Timestamp, Timestamp)>, Option<&SkipReason>) {
    let skipped = match &run.run.state {
        RunState::Skipped { reason, .. } => Some(reason),
        _ => None,
    };
    (run.runs_from_to, skipped)
}
