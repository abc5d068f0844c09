//! Proof of life: which slots were due of each schedule, and which of them were taken up.
//!
//! Asked whenever metrics are read, by the clock of that moment, and never by the engine: an engine that stands still tells
//! nothing of itself, but its slots go on being due. A replica that stands by says nothing.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::{
    domain::{
        experiment::Rules,
        ids::{ExperimentName, ScheduleName},
        plan::{Cursor, Cursors, MISSED_COUNT_LIMIT},
        run::{Run, RunState, SkipReason, Trigger},
        schedule::Schedule,
    },
    telemetry::Slots,
};

/// How far a cursor may be ahead of the clock without a word: clocks are kept by small steps.
const AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// What is known of schedules.
pub struct Life {
    rules: watch::Receiver<Arc<Rules>>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// The last slot taken up, as the rows say.
    cursors: Cursors,
    /// Slots taken up since this process began.
    taken: BTreeMap<(ExperimentName, ScheduleName), u64>,
}

impl Life {
    /// Knows nothing yet.
    pub fn new(rules: watch::Receiver<Arc<Rules>>) -> Self {
        Self { rules, known: Mutex::default() }
    }

    /// Takes the cursors as the rows say, and tells of those that lie ahead of the clock.
    pub fn surveyed(&self, cursors: &Cursors, now: Timestamp) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Mostly they were seen to move already.
        if known.cursors == *cursors {
            return;
        }
        let is_ahead = |at: Timestamp| at.duration_since(now) > AHEAD;
        let news = cursors.iter().filter(|(key, cursor)| is_ahead(cursor.at) && known.cursors.get(key) != Some(cursor));
        for ((experiment, _), Cursor { at, .. }) in news.filter(|(_, cursor)| cursor.left_at.is_none()) {
            tracing::warn!(%experiment, "the clock was set back: a schedule fires nothing before {at}, up to where its slots were taken up");
        }
        known.cursors.clone_from(cursors);
    }

    /// Counts what a run that was opened took up: its slot, or all that were missed.
    pub fn opened(&self, run: &Run) {
        let Trigger::Slot { schedule, at, .. } = &run.trigger else { return };
        let (through, count) = match &run.state {
            RunState::Skipped { reason: SkipReason::Missed { through, count, .. }, .. } => {
                (*through, u64::from(*count))
            }
            _ => (*at, 1),
        };
        let rules = self.rules.borrow().clone();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.taken.entry((run.experiment.clone(), schedule.clone())).or_default() += count;
        let declared = rules.experiments.get(&run.experiment);
        let declared = declared.and_then(|experiment| experiment.schedules.iter().find(|own| own.name() == schedule));
        if let Some(declared) = declared {
            let key = (run.experiment.clone(), declared.timetable().clone());
            let cursor = known.cursors.entry(key).or_insert(through.into());
            *cursor = through.max(cursor.at).into();
        }
    }

    /// Forgets the cursors, which another replica moves now.
    pub fn stands_by(&self) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).cursors.clear();
    }

    /// Returns the slots of every schedule that is looked after here, by the clock; those that have waited longest, or
    /// have longest to wait, first, so that they are told if not all can be.
    pub fn slots(&self, now: Timestamp) -> Vec<Slots> {
        let rules = self.rules.borrow().clone();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for experiment in rules.experiments.values() {
            for schedule in &experiment.schedules {
                let Some(cursor) = known.cursors.get(&(experiment.name.clone(), schedule.timetable().clone())) else {
                    continue;
                };
                let decided = known.taken.get(&(experiment.name.clone(), schedule.name().clone()));
                all.push(slots(&experiment.name, schedule, cursor.at, decided.copied().unwrap_or_default(), now));
            }
        }
        all.sort_by_key(|slots| std::cmp::Reverse(slots.staleness_s.max(slots.ahead_s)));
        all
    }
}

fn slots(experiment: &ExperimentName, schedule: &Schedule, cursor: Timestamp, decided: u64, now: Timestamp) -> Slots {
    let overdue = schedule.next_after(cursor).map(|slot| slot.at).filter(|slot| *slot <= now);
    let count = overdue.map_or(0, |_| schedule.count_in(cursor, now, MISSED_COUNT_LIMIT));
    let seconds = |from: Timestamp, to: Timestamp| u64::try_from(to.duration_since(from).as_secs()).unwrap_or_default();
    Slots {
        experiment: experiment.to_string(),
        schedule: schedule.name().to_string(),
        expected: decided.saturating_add(u64::from(count)),
        decided,
        staleness_s: overdue.map_or(0, |slot| seconds(slot, now)),
        ahead_s: seconds(now, cursor),
    }
}
