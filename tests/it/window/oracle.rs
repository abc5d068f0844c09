//! Closures the slow way: every window is asked on its own, for every question anew.

use std::cmp::Reverse;

use firedrill::domain::{
    experiment::Experiment,
    window::{Closure, Interval, OnEntry, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp};

/// How long before a closure a window acts; `None` when it does not.
type Lead<'a> = &'a dyn Fn(&Window) -> Option<SignedDuration>;

/// Most allowed windows that one search follows from the end of one into the next.
const MAX_CHAIN: usize = 1_000;

/// Finds what closes the instant `at` to an experiment, if anything does. Deny wins over allow; of several blackouts
/// the one that stops runs, and of those the one that ends last, is named.
pub fn closed_at(windows: &[Window], experiment: &Experiment, at: Timestamp) -> Option<Closure> {
    let blackout = in_scope(windows, experiment, WindowKind::Blackout)
        .filter_map(|window| Some(closure(window, at, window.covering(at)?)))
        .min_by_key(strictness);
    blackout.or_else(|| outside_allowed(windows, experiment, at))
}

/// Finds the closure that, its lead deducted, opens in `[from, to)` and first.
pub fn first_closure(windows: &[Window], experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    earliest(windows, experiment, from, to, &|window| Some(window.lead))
        .into_iter()
        .filter(|(counted, _)| *counted < to)
        .min_by_key(|(counted, closure)| (*counted, strictness(closure)))
        .map(|(_, closure)| closure)
}

/// Finds the closure that meets `[from, to)`, stops runs, and does so first: its opening less its lead is the earliest.
pub fn first_stop(windows: &[Window], experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    earliest(windows, experiment, from, to, &stop_lead)
        .into_iter()
        .filter(|(_, closure)| closure.opens < to)
        .min_by_key(|(stops_at, closure)| (*stops_at, strictness(closure)))
        .map(|(_, closure)| closure)
}

/// Finds the first of the instants every `step` from `after` on at which a run of a length could start.
pub fn free_slot(
    windows: &[Window],
    experiment: &Experiment,
    (length, step): (SignedDuration, SignedDuration),
    after: Timestamp,
    within: SignedDuration,
) -> Option<Timestamp> {
    let mut at = after;
    while at <= after + within {
        if first_closure(windows, experiment, at, at + length).is_none() {
            return Some(at);
        }
        at += step;
    }
    None
}

/// Lists the first closure of each blackout, and each time outside of all allowed windows, that opens before the longest
/// lead after `to`, with its opening less its lead.
fn earliest(
    windows: &[Window],
    experiment: &Experiment,
    from: Timestamp,
    to: Timestamp,
    lead: Lead<'_>,
) -> Vec<(Timestamp, Closure)> {
    let to = to + windows.iter().filter_map(lead).max().unwrap_or_default();
    let blackouts = in_scope(windows, experiment, WindowKind::Blackout);
    let mut found: Vec<Closure> =
        blackouts.filter_map(|window| Some(closure(window, from, first_meeting(window, from, to)?))).collect();
    let mut at = from;
    while let Some(outside) = first_outside_allowed(windows, experiment, at, to, lead) {
        at = outside.until.unwrap_or(to);
        found.push(outside);
    }
    let of = |closure: &Closure| windows.iter().find(|window| window.name == closure.window).expect("a window");
    found.into_iter().filter_map(|c| Some((c.opens - lead(of(&c))?, c))).collect()
}

fn in_scope<'w>(windows: &'w [Window], experiment: &Experiment, kind: WindowKind) -> impl Iterator<Item = &'w Window> {
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
fn outside_allowed(windows: &[Window], experiment: &Experiment, at: Timestamp) -> Option<Closure> {
    let covered = in_scope(windows, experiment, WindowKind::Allowed).any(|window| window.covering(at).is_some());
    if covered { None } else { allowed_over(windows, experiment, at, &stop_lead) }
}

/// Describes the time from `at` on as outside of all allowed windows; `None` when there are no allowed windows.
fn allowed_over(windows: &[Window], experiment: &Experiment, at: Timestamp, lead: Lead<'_>) -> Option<Closure> {
    let allowed = || in_scope(windows, experiment, WindowKind::Allowed);
    let any = allowed().next()?;
    let until = allowed().filter_map(|window| window.next_start(at)).min();
    let ended = allowed().filter_map(|window| Some((window.last_end(at)?, window)));
    let named = ended
        .min_by_key(|(end, window)| (Reverse(*end), Reverse(lead(window)), stop_rank(window)))
        .or_else(|| {
            let begins = allowed().filter_map(|window| Some((window.next_start(at)?, window)));
            begins.min_by_key(|(start, window)| (*start, stop_rank(window)))
        })
        .map_or(any, |(_, window)| window);
    Some(Closure { window: named.name.clone(), opens: at, until, on_entry: named.on_entry, unknown: None })
}

fn stop_lead(window: &Window) -> Option<SignedDuration> {
    match window.on_entry {
        OnEntry::Stop { lead } => Some(lead),
        OnEntry::Finish => None,
    }
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
    windows: &[Window],
    experiment: &Experiment,
    from: Timestamp,
    to: Timestamp,
    lead: Lead<'_>,
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
            None => return allowed_over(windows, experiment, at, lead),
        }
    }
    // Fail closed: what is not followed to its end is taken to end here.
    allowed_over(windows, experiment, at, lead)
}
