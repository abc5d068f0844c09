//! Closures: when the windows of an experiment, taken together, forbid it to run.
//!
//! Pure. Blackouts win over allowed windows; allowed windows of one experiment union; an experiment that no allowed
//! window is about may run at any time outside its blackouts.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::{Interval, OnEntry, Window, WindowKind, Windows};
use crate::domain::{experiment::Experiment, ids::WindowName};

/// Most allowed windows that one search follows from the end of one into the next.
const MAX_CHAIN: usize = 1_000;

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
    /// Why nobody knows whether the window is open, when that is what closes it.
    pub unknown: Option<String>,
}

/// Finds what closes the instant `at` to an experiment, if anything does. Deny wins over allow; of several blackouts
/// the one that stops runs, and of those the one that ends last, is named.
pub fn closed_at(windows: &Windows, experiment: &Experiment, at: Timestamp) -> Option<Closure> {
    let blackout = in_scope(windows, experiment, WindowKind::Blackout)
        .filter_map(|window| Some(closure(window, at, window.covering(at)?)))
        .min_by_key(strictness);
    blackout.or_else(|| outside_allowed(windows, experiment, at))
}

/// Finds the earliest closure that meets `[from, to)`; with `from` closed it is that of `from`.
pub fn first_closure(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    closures(windows, experiment, from, to).min_by_key(|closure| (closure.opens, strictness(closure)))
}

/// Finds the closure that meets `[from, to)`, stops runs, and does so first: its opening less its lead is the earliest.
pub fn first_stop(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    closures(windows, experiment, from, to)
        .filter_map(|closure| match closure.on_entry {
            OnEntry::Stop { lead } => Some((closure.opens.checked_sub(lead).unwrap_or(Timestamp::MIN), closure)),
            OnEntry::Finish => None,
        })
        .min_by_key(|(stops_at, closure)| (*stops_at, strictness(closure)))
        .map(|(_, closure)| closure)
}

/// Finds the next instant strictly after `after` at which an experiment may become closed or open. It may name an
/// instant at which nothing changes, never miss one within [`super::HORIZON`].
pub fn next_change(windows: &Windows, experiment: &Experiment, after: Timestamp) -> Option<Timestamp> {
    windows.iter().filter(|w| w.scope.holds(experiment)).filter_map(|w| w.next_transition(after)).min()
}

/// Lists the first closure of each blackout that meets `[from, to)`, and the first time outside all allowed windows.
fn closures(
    windows: &Windows,
    experiment: &Experiment,
    from: Timestamp,
    to: Timestamp,
) -> impl Iterator<Item = Closure> {
    let blackouts = in_scope(windows, experiment, WindowKind::Blackout).filter_map(move |window| {
        let interval = first_meeting(window, from, to)?;
        Some(closure(window, from, interval))
    });
    blackouts.chain(first_outside_allowed(windows, experiment, from, to))
}

fn in_scope<'w>(windows: &'w Windows, experiment: &Experiment, kind: WindowKind) -> impl Iterator<Item = &'w Window> {
    windows.iter().filter(move |window| window.kind == kind && window.scope.holds(experiment))
}

fn closure(window: &Window, from: Timestamp, interval: Interval) -> Closure {
    Closure {
        window: window.name.clone(),
        opens: interval.start.max(from),
        until: interval.known_end(),
        on_entry: window.on_entry,
        unknown: None,
    }
}

/// Orders closures of one instant: what stops runs first, the longer lead first, the later end first.
fn strictness(closure: &Closure) -> (Reverse<SignedDuration>, Reverse<Timestamp>) {
    let lead = match closure.on_entry {
        OnEntry::Stop { lead } => lead,
        OnEntry::Finish => SignedDuration::MIN,
    };
    (Reverse(lead), Reverse(closure.until.unwrap_or(Timestamp::MAX)))
}

fn first_meeting(window: &Window, from: Timestamp, to: Timestamp) -> Option<Interval> {
    if from >= to {
        return None;
    }
    window.covering(from).or_else(|| {
        let start = window.next_start(from).filter(|&start| start < to)?;
        window.covering(start)
    })
}

/// Finds what closes `at` because allowed windows are about the experiment and none covers it.
fn outside_allowed(windows: &Windows, experiment: &Experiment, at: Timestamp) -> Option<Closure> {
    let covered = in_scope(windows, experiment, WindowKind::Allowed).any(|window| window.covering(at).is_some());
    if covered { None } else { allowed_over(windows, experiment, at) }
}

/// Describes the time from `at` on as outside of all allowed windows; `None` when there are no allowed windows.
fn allowed_over(windows: &Windows, experiment: &Experiment, at: Timestamp) -> Option<Closure> {
    let allowed = || in_scope(windows, experiment, WindowKind::Allowed);
    let any = allowed().next()?;
    let until = allowed().filter_map(|window| window.next_start(at)).min();
    let ended = allowed().filter_map(|window| Some((window.last_end(at)?, window)));
    let named = ended
        .min_by_key(|(end, window)| (Reverse(*end), stop_rank(window)))
        .or_else(|| {
            let begins = allowed().filter_map(|window| Some((window.next_start(at)?, window)));
            begins.min_by_key(|(start, window)| (*start, stop_rank(window)))
        })
        .map_or(any, |(_, window)| window);
    Some(Closure { window: named.name.clone(), opens: at, until, on_entry: named.on_entry, unknown: None })
}

/// Orders windows by how soon they stop runs, the soonest first.
fn stop_rank(window: &Window) -> Reverse<SignedDuration> {
    match window.on_entry {
        OnEntry::Stop { lead } => Reverse(lead),
        OnEntry::Finish => Reverse(SignedDuration::MIN),
    }
}

/// Finds the first time in `[from, to)` that no allowed window covers, following one window into the next.
fn first_outside_allowed(
    windows: &Windows,
    experiment: &Experiment,
    from: Timestamp,
    to: Timestamp,
) -> Option<Closure> {
    let mut at = from;
    for _ in 0..MAX_CHAIN {
        if at >= to {
            return None;
        }
        let allowed = in_scope(windows, experiment, WindowKind::Allowed);
        let longest = allowed.filter_map(|window| window.covering(at)).map(|interval| interval.end).max();
        match longest {
            Some(end) => at = end,
            None => return allowed_over(windows, experiment, at),
        }
    }
    // Fail closed: what is not followed to its end is taken to end here.
    allowed_over(windows, experiment, at)
}
