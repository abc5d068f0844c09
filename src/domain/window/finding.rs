//! Findings: what is right in every part of a configuration and yet can never happen.
//!
//! Pure. They look at the year ahead; calendars count as they were read, and a window with one that was not read yet is
//! left out, since nothing is known of it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Intervals, Windows, closure, scope::Membership, windows::Group};
use crate::domain::{
    experiment::{Experiment, FIS_MAX_DURATION, Rules},
    ids::{ExperimentName, ScheduleName, WindowName},
    schedule::{Schedule, Spread},
};

/// How far ahead is looked.
pub const YEAR: SignedDuration = SignedDuration::from_hours(366 * 24);

/// Something that can never happen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// An experiment that may not run at any instant.
    #[error("can never run in the next year: it is closed all the time, now by window `{window}`")]
    Closed {
        /// Which.
        experiment: ExperimentName,
        /// A window that is closed now.
        window: WindowName,
    },
    /// Allowed windows of an experiment that blackouts cover.
    #[error("never allows `{experiment}` anything in the next year: blackouts cover all of its allowed windows")]
    Covered {
        /// The experiment.
        experiment: ExperimentName,
        /// One of its allowed windows.
        window: WindowName,
    },
    /// A schedule all of whose slots are closed.
    #[error(
        "can never fire in the next year: every slot lies in a closed time, the next one in that of window `{window}`"
    )]
    SlotsClosed {
        /// The experiment.
        experiment: ExperimentName,
        /// Number of the schedule, from 0.
        schedule: usize,
        /// The window that closes the next slot.
        window: WindowName,
    },
    /// A schedule without a slot to come.
    #[error("`{name}` ({expression}) is over: it names no instant any more")]
    Past {
        /// The experiment.
        experiment: ExperimentName,
        /// Number of the schedule, from 0.
        schedule: usize,
        /// Its name.
        name: ScheduleName,
        /// Which instants it names.
        expression: String,
    },
    /// An experiment that needs more time than it has.
    #[error(
        "may take `{needs:#}`, but no open time of the next year is longer than `{longest:#}`: a run that could last so long never starts"
    )]
    NoRoom {
        /// Which.
        experiment: ExperimentName,
        /// What it may take, the time to stop it included.
        needs: SignedDuration,
        /// The longest time between two closures.
        longest: SignedDuration,
    },
    /// A window whose times have all passed.
    #[error("never comes again: all of its times have passed")]
    Over {
        /// Which.
        window: WindowName,
    },
}

/// Lists what can never happen from an instant on.
pub fn findings(rules: &Rules, now: Timestamp) -> Vec<Finding> {
    let over = rules.windows.iter().filter(|window| window.is_over(now));
    let mut found: Vec<Finding> = over.map(|window| Finding::Over { window: window.name.clone() }).collect();
    let read = rules.windows.iter().filter(|window| window.calendars.iter().all(|c| c.content.is_some()));
    // What was read is believed here however old it is.
    let windows: Windows = read.cloned().map(super::Window::with_calendars_believed).collect();
    let mut known: Vec<(Arc<Group>, Arc<Intervals>)> = Vec::new();
    for experiment in rules.experiments.values() {
        let group = windows.group(experiment);
        let open = known.iter().find(|(other, _)| Arc::ptr_eq(other, &group)).map(|(_, open)| open.clone());
        let open = open.unwrap_or_else(|| {
            let to = now.saturating_add(YEAR).unwrap_or(Timestamp::MAX);
            let open = Arc::new(closure::open_times(&windows, experiment, now, to));
            known.push((group, open.clone()));
            open
        });
        of_experiment(&windows, experiment, &open, now, &mut found);
    }
    found
}

fn of_experiment(
    windows: &Windows,
    experiment: &Experiment,
    open: &Intervals,
    now: Timestamp,
    found: &mut Vec<Finding>,
) {
    let name = || experiment.name.clone();
    for (number, schedule) in experiment.schedules.iter().enumerate().filter(|(_, s)| s.next_after(now).is_none()) {
        let (schedule_name, expression) = (schedule.name().clone(), schedule.expression());
        found.push(Finding::Past { experiment: name(), schedule: number, name: schedule_name, expression });
    }
    if open.is_empty() {
        let Some(closure) = closure::closed_at(windows, experiment, now) else { return };
        let group = windows.group(experiment);
        found.push(match group.allowed {
            Some((allowed, Membership::Sure)) => {
                Finding::Covered { experiment: name(), window: windows[allowed].name.clone() }
            }
            Some((_, Membership::Possible)) | None => Finding::Closed { experiment: name(), window: closure.window },
        });
        return;
    }
    for (number, schedule) in experiment.schedules.iter().enumerate() {
        let Some(slot) = schedule.next_after(now) else { continue };
        let closure = || closure::closed_at(windows, experiment, schedule.due(slot.at));
        if !can_fire(schedule, open, now)
            && let Some(closure) = closure()
        {
            found.push(Finding::SlotsClosed { experiment: name(), schedule: number, window: closure.window });
        }
    }
    let needs = experiment.max_duration.saturating_add(windows.longest_stop_lead());
    let longest = open.as_slice().iter().map(|time| time.end.duration_since(time.start)).max().unwrap_or_default();
    // Without a limit of its own an experiment takes as long as its template says, which is not known here.
    if experiment.max_duration < FIS_MAX_DURATION && longest < needs {
        found.push(Finding::NoRoom { experiment: name(), needs, longest });
    }
}

/// Tells whether a run of any slot of the year may start in an open time, later than its slot where that is permitted.
fn can_fire(schedule: &Schedule, open: &Intervals, now: Timestamp) -> bool {
    let spread = match schedule.spread {
        Spread::None => SignedDuration::ZERO,
        Spread::Jitter(length) | Spread::Within(length) => length,
    };
    let patience = schedule.hold_for.saturating_add(spread).saturating_add(SignedDuration::from_nanos(1));
    open.as_slice().iter().any(|time| {
        let after = time.start.checked_sub(patience).unwrap_or(Timestamp::MIN).max(now);
        schedule.next_after(after).is_some_and(|slot| slot.at < time.end)
    })
}
