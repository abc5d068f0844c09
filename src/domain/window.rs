//! Blackout and allowed windows: instants at which no run may start, and what happens to runs when one begins.
//!
//! Pure. Every interval is `[start, end)`: a run may start exactly at `end`.

use jiff::{SignedDuration, Timestamp};

use super::{experiment::Experiment, ids::WindowName};

/// A window of the configuration.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its name, unique in the configuration.
    pub name: WindowName,
}

/// What happens to runs that are going on when nothing may run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnEntry {
    /// They are stopped, this long before the window opens (zero or more), since FIS takes time to stop.
    Stop {
        /// Time between the stop and the window's opening.
        lead: SignedDuration,
    },
    /// They may finish; only new starts are refused.
    Finish,
}

/// A time at which an experiment may not run: a blackout, or the time outside its allowed windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closure {
    /// The blackout, or the allowed window that ended last (or begins next), that says so.
    pub window: WindowName,
    /// First closed instant (inclusive). Clipped to the instant asked for when it lies before.
    pub opens: Timestamp,
    /// First instant after it that is not closed by this closure (exclusive end); `None` when it has no known end.
    pub until: Option<Timestamp>,
    /// What happens to runs that are going on when it opens.
    pub on_entry: OnEntry,
}

/// Finds what closes the instant `at` to an experiment, if anything does. Deny wins over allow.
pub fn closed_at(_windows: &[Window], _experiment: &Experiment, _at: Timestamp) -> Option<Closure> {
    None
}

/// Finds the earliest closure that meets `[from, to)`; with `from` closed it is that of `from`.
pub fn first_closure(
    _windows: &[Window],
    _experiment: &Experiment,
    _from: Timestamp,
    _to: Timestamp,
) -> Option<Closure> {
    None
}
