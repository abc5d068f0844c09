//! Closures: when the windows of an experiment, taken together, forbid it to run.
//!
//! Pure. Blackouts win over allowed windows; allowed windows of one experiment union; an experiment that no allowed
//! window is about may run at any time outside its blackouts. A calendar that is not believed closes every window that
//! refers to it. Whether it is, is judged at the instant that a question begins with, which is the planner's now, since
//! nobody knows how fresh it will be later. Answers come from `timeline`.

use jiff::{SignedDuration, Timestamp};

use super::{
    Interval, Intervals, OnEntry, Window, Windows,
    timeline::{self, Order, Outside, Stretch, Strictness},
    windows::Group,
};
use crate::domain::{experiment::Experiment, ids::WindowName};

/// Most closures that a search for a free slot looks behind.
const MAX_TRIES: usize = 10_000;

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
    let asked = Asked::of(windows, experiment)?;
    let page = windows.page(&asked.group, timeline::page_of(at));
    let blackout = page.blackout_at(at).map(|stretch| asked.blackout(stretch, at));
    let denied = asked.doubts(at, at).into_iter().chain(blackout).min_by_key(Found::strictness);
    denied.or_else(|| Some(asked.outside(Order::Stops, page.outside_at(at)?, at))).map(Found::closure)
}

/// Finds the earliest closure that meets `[from, to)`, each window counted as closing its lead earlier than it does; with
/// `from` closed it is one of `from`.
pub fn first_closure(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    Asked::of(windows, experiment)?.first_closure(from, to, from).map(Found::closure)
}

/// Finds the closure that meets `[from, to)`, stops runs, and does so first: its opening less its lead is the earliest.
pub fn first_stop(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Option<Closure> {
    let asked = Asked::of(windows, experiment)?;
    asked.first(Order::Stops, (from, to), to, from).map(Found::closure)
}

/// Finds the first instant `t` in `[after, after + within]` at which a run that takes `length` could start: nothing
/// closes `[t, t + length)`, leads included.
pub fn free_slot(
    windows: &Windows,
    experiment: &Experiment,
    length: SignedDuration,
    after: Timestamp,
    within: SignedDuration,
) -> Option<Timestamp> {
    let Some(asked) = Asked::of(windows, experiment) else { return Some(after) };
    let last = after.saturating_add(within).ok()?;
    let mut at = after;
    for _ in 0..MAX_TRIES {
        let end = at.saturating_add(length.max(SignedDuration::from_nanos(1))).ok()?;
        match asked.first_closure(at, end, after) {
            None => return Some(at),
            Some(found) => at = found.until.filter(|until| at < *until && *until <= last)?,
        }
    }
    None
}

/// Finds the next instant strictly after `after` at which an experiment may become closed or open. It may name an
/// instant at which nothing changes, never miss one within [`super::HORIZON`].
pub fn next_change(windows: &Windows, experiment: &Experiment, after: Timestamp) -> Option<Timestamp> {
    let horizon = after.saturating_add(super::HORIZON).unwrap_or(Timestamp::MAX);
    change_before(windows, experiment, after, horizon)
}

/// As [`next_change`], strictly before an instant: where nothing changes, a year is long to search.
pub fn change_before(
    windows: &Windows,
    experiment: &Experiment,
    after: Timestamp,
    horizon: Timestamp,
) -> Option<Timestamp> {
    let asked = Asked::of(windows, experiment)?;
    let pages = timeline::page_of(after)..=timeline::page_of(horizon);
    pages.into_iter().find_map(|page| {
        let range = timeline::range_of(page);
        let before = range.start.checked_sub(INSTANT).unwrap_or(Timestamp::MIN);
        let edge = windows.page(&asked.group, page).next_edge(after.max(before))?;
        // What ends with a page is nothing that the next page knows of.
        (edge <= range.end && edge < horizon).then_some(edge)
    })
}

/// Finds the first instant strictly after `after` at which an experiment that is open is closed, or the other way round,
/// within [`super::HORIZON`]. Calendars are believed as they are at `after`.
pub fn next_transition(windows: &Windows, experiment: &Experiment, after: Timestamp) -> Option<Timestamp> {
    let asked = Asked::of(windows, experiment).filter(|asked| asked.doubts(after, after).is_empty())?;
    let is_closed = |at: Timestamp| {
        let page = windows.page(&asked.group, timeline::page_of(at));
        page.blackout_at(at).is_some() || page.outside_at(at).is_some()
    };
    let horizon = after.saturating_add(super::HORIZON).unwrap_or(Timestamp::MAX);
    let was_closed = is_closed(after);
    std::iter::successors(next_change(windows, experiment, after), |at| next_change(windows, experiment, *at))
        .take_while(|at| *at < horizon)
        .find(|at| is_closed(*at) != was_closed)
}

/// Lists when in `[from, to)` nothing closes an experiment. Leads are not counted, and calendars are believed as they are
/// at `from`.
pub fn open_times(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Intervals {
    let asked_for = Interval { start: from, end: to };
    let all = Intervals::of([asked_for]);
    let Some(asked) = Asked::of(windows, experiment) else { return all };
    if from >= to || !asked.doubts(from, from).is_empty() {
        return Intervals::default();
    }
    let pages = timeline::page_of(from)..=timeline::page_of(to);
    let open = pages.flat_map(|page| {
        let range = Intervals::of([asked_for]).clipped(timeline::range_of(page));
        let closed = windows.page(&asked.group, page).closed();
        range.as_slice().iter().flat_map(|range| closed.complement(*range)).collect::<Vec<_>>()
    });
    Intervals::of(open)
}

/// The least time there is.
const INSTANT: SignedDuration = SignedDuration::from_nanos(1);

/// What was found, before it is put into words.
struct Found<'w> {
    window: &'w Window,
    opens: Timestamp,
    until: Option<Timestamp>,
    unknown: Option<String>,
}

impl Found<'_> {
    fn strictness(&self) -> Strictness {
        timeline::strictness(self.window, self.until.unwrap_or(Timestamp::MAX))
    }

    fn closure(self) -> Closure {
        let Self { window, opens, until, unknown } = self;
        Closure { window: window.name.clone(), opens, until, on_entry: window.on_entry, unknown }
    }
}

/// A question about one experiment.
struct Asked<'w> {
    windows: &'w Windows,
    group: std::sync::Arc<Group>,
}

impl<'w> Asked<'w> {
    /// Returns nothing when no window is about the experiment.
    fn of(windows: &'w Windows, experiment: &Experiment) -> Option<Self> {
        if windows.is_empty() {
            return None;
        }
        let group = windows.group(experiment);
        (!group.is_empty()).then_some(Self { windows, group })
    }

    fn blackout(&self, stretch: &Stretch, from: Timestamp) -> Found<'w> {
        let opens = stretch.time.start.max(from);
        let unknown = stretch.unknown.as_ref().map(ToString::to_string);
        Found { window: &self.windows[stretch.window], opens, until: timeline::known(stretch.time.end, opens), unknown }
    }

    fn outside(&self, order: Order, outside: &Outside, from: Timestamp) -> Found<'w> {
        let opens = outside.start().max(from);
        let named = outside.named(order, opens).or(self.group.allowed.map(|(number, _)| number)).unwrap_or_default();
        Found { window: &self.windows[named], opens, until: outside.until(opens), unknown: None }
    }

    /// Lists what closes because a calendar is not believed at `judged`.
    fn doubts(&self, from: Timestamp, judged: Timestamp) -> Vec<Found<'w>> {
        let windows = self.group.with_calendars.iter().map(|number| &self.windows[*number]);
        let doubt = |window: &'w Window| {
            let doubt = window.calendars.iter().find_map(|reading| reading.believed(judged).err())?;
            Some(Found { window, opens: from, until: None, unknown: Some(doubt) })
        };
        windows.filter_map(doubt).collect()
    }

    fn first_closure(&self, from: Timestamp, to: Timestamp, judged: Timestamp) -> Option<Found<'w>> {
        let opens_before = to.saturating_add(self.windows.longest_lead()).unwrap_or(Timestamp::MAX);
        self.first(Order::Starts, (from, to), opens_before, judged)
    }

    /// Finds the closure that opens, less its lead, in `[from, to)` and first; with `from` closed that is now. None that
    /// opens at `opens_before` or later counts, its lead not deducted.
    fn first(
        &self,
        order: Order,
        (from, to): (Timestamp, Timestamp),
        opens_before: Timestamp,
        judged: Timestamp,
    ) -> Option<Found<'w>> {
        if from >= to {
            return None;
        }
        let mut best = Best { order, to, opens_before, longest: order.longest(self.windows), found: None };
        self.doubts(from, judged).into_iter().for_each(|doubt| best.offer(doubt));
        for number in timeline::page_of(from)..=timeline::page_of(opens_before) {
            let range = timeline::range_of(number);
            if range.start >= best.opens_before {
                break;
            }
            let page = self.windows.page(&self.group, number);
            let start = from.max(range.start);
            for (at, stretch) in page.ruling(order, start) {
                if at >= best.opens_before.min(range.end) {
                    break;
                }
                best.offer(self.blackout(stretch, from));
            }
            for outside in page.outside_from(start) {
                if outside.start() >= best.opens_before.min(range.end) {
                    break;
                }
                best.offer(self.outside(order, outside, from));
            }
        }
        best.found.map(|(_, found)| found)
    }
}

/// The best answer so far, and how far it makes sense to look on.
struct Best<'w> {
    order: Order,
    to: Timestamp,
    /// What opens at this instant or later cannot be better.
    opens_before: Timestamp,
    /// The longest lead of any window, by the order's kind of lead.
    longest: SignedDuration,
    found: Option<((Timestamp, Strictness), Found<'w>)>,
}

impl<'w> Best<'w> {
    fn offer(&mut self, found: Found<'w>) {
        let Some(lead) = self.order.lead(found.window) else { return };
        let counted = found.opens.checked_sub(lead).unwrap_or(Timestamp::MIN);
        let key = (counted, found.strictness());
        if counted >= self.to
            || found.opens >= self.opens_before
            || self.found.as_ref().is_some_and(|(known, _)| *known <= key)
        {
            return;
        }
        let bound = counted.saturating_add(self.longest + INSTANT).unwrap_or(Timestamp::MAX);
        self.opens_before = self.opens_before.min(bound);
        self.found = Some((key, found));
    }
}
