//! Timelines: what closes the experiments that the same windows are about, computed for a page of time at once.
//!
//! Pure. A page answers by binary search what would else be asked of every window: which blackout is the strictest at an
//! instant, and which time lies outside of all allowed windows. Only instants of its own range may be asked of it; the
//! stretches in it have their true edges, wherever these lie. Where nobody knows whether a window is open, it is a
//! blackout, of whatever kind it is.

use std::{cmp::Reverse, collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{HORIZON, Interval, Intervals, OnEntry, Window, WindowKind, Windows};

/// Seconds of time on a page: some weeks, since most questions are about hours and most windows change within days.
const PAGE_SECONDS: i64 = 32 * 86_400;

/// Returns the number of the page that an instant is on.
pub(super) fn page_of(at: Timestamp) -> i64 {
    let second = at.as_second() - i64::from(at.subsec_nanosecond() < 0);
    second.div_euclid(PAGE_SECONDS)
}

/// Returns the range of a page, cut off where time ends.
pub(super) fn range_of(page: i64) -> Interval {
    let at = |page: i64, end| Timestamp::from_second(page.saturating_mul(PAGE_SECONDS)).unwrap_or(end);
    Interval { start: at(page, Timestamp::MIN), end: at(page + 1, Timestamp::MAX) }
}

/// What one window contributes to a page.
#[derive(Debug)]
pub(super) struct Strip {
    /// Its stretches that meet the page, with their true edges.
    stretches: Vec<Interval>,
    /// From when on nobody knows, and why.
    unknown: Option<(Interval, Arc<str>)>,
    /// For an allowed window, its last end up to the page's start (inclusive) and its first start behind the page.
    around: (Option<Timestamp>, Option<Timestamp>),
}

impl Strip {
    /// Computes what a window contributes to a page.
    pub(super) fn of(window: &Window, page: i64) -> Self {
        let range = range_of(page);
        let last = range.end.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(range.end);
        let exact = |mut stretch: Interval| {
            if stretch.start <= range.start {
                stretch.start = window.covering(range.start).map_or(stretch.start, |true_one| true_one.start);
            }
            if stretch.end >= range.end {
                stretch.end = window.covering(last).map_or(stretch.end, |true_one| true_one.end);
            }
            stretch
        };
        let around = match window.kind {
            WindowKind::Blackout => (None, None),
            WindowKind::Allowed => (window.last_end(range.start), window.next_start(last)),
        };
        Self {
            stretches: window.intervals(range.start, range.end).into_iter().map(exact).collect(),
            unknown: unknown(window, range),
            around,
        }
    }

    /// Returns the strip of an allowed window that may be about others only.
    pub(super) fn without_open_time(&self) -> Self {
        Self { stretches: Vec::new(), unknown: self.unknown.clone(), around: (None, None) }
    }
}

/// Finds from when on nobody knows of a page whether a window is open, and why. How old a reading is does not matter here.
fn unknown(window: &Window, range: Interval) -> Option<(Interval, Arc<str>)> {
    let readings = window.calendars.iter().filter_map(|reading| Some((reading, reading.content.as_ref()?)));
    let doubts = readings.filter_map(|(reading, content)| {
        let name = &reading.calendar;
        if let Err(error) = content.calendar.spans(range.start, range.end) {
            return Some((range.start, format!("calendar `{name}` cannot be followed: {error}")));
        }
        let until = content.known_until.filter(|until| *until < range.end)?;
        let shown = until.strftime("%Y-%m-%dT%H:%M:%SZ");
        Some((until, format!("calendar `{name}` says nothing of the time after {shown}")))
    });
    let (start, doubt) = doubts.min_by_key(|(start, _)| *start)?;
    Some((Interval { start, end: Timestamp::MAX }, doubt.into()))
}

/// A time at which a blackout closes.
#[derive(Debug)]
pub(super) struct Stretch {
    /// Its true edges.
    pub(super) time: Interval,
    /// Number of the window.
    pub(super) window: usize,
    /// Why nobody knows whether it is open, when that is what closes it.
    pub(super) unknown: Option<Arc<str>>,
}

/// A time outside of all allowed windows.
#[derive(Debug)]
pub(super) struct Outside {
    /// Its true edges.
    time: Interval,
    /// Number of the window whose end opens it; of several that end together, by either [`Order`], the first to act.
    ended: Option<ByOrder>,
    /// Number of the window whose start ends it.
    begins: Option<usize>,
}

impl Outside {
    /// Returns the first instant behind it, if it is known at `at`.
    pub(super) fn until(&self, at: Timestamp) -> Option<Timestamp> {
        known(self.time.end, at)
    }

    /// Returns the window that ended last, if that is known at `at`, else the one that begins next.
    pub(super) fn named(&self, order: Order, at: Timestamp) -> Option<usize> {
        let begun = at.checked_sub(HORIZON).unwrap_or(Timestamp::MIN);
        let ended = self.ended.filter(|_| self.time.start >= begun).map(|ended| match order {
            Order::Stops => ended.stops.1,
            Order::Starts => ended.starts.1,
        });
        ended.or_else(|| self.begins.filter(|_| self.until(at).is_some()))
    }

    /// Returns its first instant.
    pub(super) fn start(&self) -> Timestamp {
        self.time.start
    }
}

/// Returns an end if it is near enough to `at` to be known.
pub(super) fn known(end: Timestamp, at: Timestamp) -> Option<Timestamp> {
    let horizon = at.saturating_add(HORIZON).unwrap_or(Timestamp::MAX);
    (end < horizon && end < Timestamp::MAX).then_some(end)
}

/// What closes the experiments of a group on a page.
#[derive(Debug, Default)]
pub(super) struct Page {
    stretches: Vec<Stretch>,
    /// From when on which stretch is the strictest for what runs; `None` where there is no blackout.
    strictest: Vec<Segment>,
    /// The same for what is to start, where leads make a difference.
    earliest: Option<Vec<Segment>>,
    outside: Vec<Outside>,
}

/// By which lead closures are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// By how long before it opens what runs is stopped.
    Stops,
    /// By how long before it opens nothing may start any more.
    Starts,
}

impl Order {
    /// Returns the lead of a window; `None` when the window does not count.
    pub(super) fn lead(self, window: &Window) -> Option<SignedDuration> {
        match (self, window.on_entry) {
            (Self::Starts, _) => Some(window.lead),
            (Self::Stops, OnEntry::Stop { lead }) => Some(lead),
            (Self::Stops, OnEntry::Finish) => None,
        }
    }

    /// Returns the longest lead of any window.
    pub(super) fn longest(self, windows: &Windows) -> SignedDuration {
        match self {
            Self::Starts => windows.longest_lead(),
            Self::Stops => windows.longest_stop_lead(),
        }
    }
}

/// The stretch that rules from an instant on.
type Segment = (Timestamp, Option<usize>);

impl Page {
    /// Compiles the strips of windows, each with the window's number.
    pub(super) fn of(windows: &[Window], strips: &[(usize, Arc<Strip>)], page: i64) -> Self {
        let mut stretches = Vec::new();
        for (number, strip) in strips {
            let stretch = |time, unknown| Stretch { time, window: *number, unknown };
            if windows[*number].kind == WindowKind::Blackout {
                stretches.extend(strip.stretches.iter().map(|time| stretch(*time, None)));
            }
            stretches.extend(strip.unknown.iter().map(|(time, why)| stretch(*time, Some(why.clone()))));
        }
        let strictness = |s: &Stretch| strictness(&windows[s.window], s.time.end);
        let strictest = segments(&stretches, strictness);
        let has_lead = strips.iter().any(|(number, _)| windows[*number].lead > SignedDuration::ZERO);
        let earliest = has_lead.then(|| segments(&stretches, |s| (Reverse(windows[s.window].lead), strictness(s))));
        Self { stretches, strictest, earliest, outside: outside(windows, strips, page) }
    }

    /// Returns all time that is closed; beyond the page it is not all.
    pub(super) fn closed(&self) -> Intervals {
        let blackouts = self.stretches.iter().map(|stretch| stretch.time);
        Intervals::of(blackouts.chain(self.outside.iter().map(|outside| outside.time)))
    }

    /// Finds the strictest blackout at an instant.
    pub(super) fn blackout_at(&self, at: Timestamp) -> Option<&Stretch> {
        let next = self.strictest.partition_point(|(start, _)| *start <= at);
        let (_, stretch) = self.strictest[..next].last()?;
        Some(&self.stretches[(*stretch)?])
    }

    /// Finds the time outside of allowed windows that an instant lies in.
    pub(super) fn outside_at(&self, at: Timestamp) -> Option<&Outside> {
        self.outside_from(at).next().filter(|outside| outside.time.holds(at))
    }

    /// Lists the times outside of allowed windows that have not ended at an instant.
    pub(super) fn outside_from(&self, at: Timestamp) -> impl Iterator<Item = &Outside> {
        self.outside[self.outside.partition_point(|outside| outside.time.end <= at)..].iter()
    }

    /// Lists the blackouts that rule from an instant on, each with the instant from which on it does.
    pub(super) fn ruling(&self, order: Order, from: Timestamp) -> impl Iterator<Item = (Timestamp, &Stretch)> {
        let segments = match order {
            Order::Stops => &self.strictest,
            Order::Starts => self.earliest.as_ref().unwrap_or(&self.strictest),
        };
        let first = segments.partition_point(|(start, _)| *start <= from).saturating_sub(1);
        segments[first..].iter().filter_map(|(start, stretch)| Some((*start, &self.stretches[(*stretch)?])))
    }

    /// Finds the next instant strictly after another at which something may change.
    pub(super) fn next_edge(&self, after: Timestamp) -> Option<Timestamp> {
        let next = self.strictest.partition_point(|(start, _)| *start <= after);
        let segment = self.strictest.get(next).map(|(start, _)| *start);
        let edges =
            self.outside_from(after).next().map(|o| if o.time.start > after { o.time.start } else { o.time.end });
        segment.into_iter().chain(edges).min()
    }
}

/// Orders blackouts of one instant: what stops runs first, the longer lead first, the later end first.
pub(super) type Strictness = (Reverse<SignedDuration>, Reverse<Timestamp>);

/// Returns how strict a blackout is until its end.
pub(super) fn strictness(window: &Window, end: Timestamp) -> Strictness {
    (stop_rank(window), Reverse(end))
}

/// Orders windows by how soon they stop runs, the soonest first.
pub(super) fn stop_rank(window: &Window) -> Reverse<SignedDuration> {
    match window.on_entry {
        OnEntry::Stop { lead } => Reverse(lead),
        OnEntry::Finish => Reverse(SignedDuration::MIN),
    }
}

/// Finds which stretch rules when, by a rank of which the least wins; of equals the first.
fn segments<K: Ord + Copy>(stretches: &[Stretch], rank: impl Fn(&Stretch) -> K) -> Vec<Segment> {
    let mut edges: Vec<(Timestamp, bool, usize)> = Vec::with_capacity(stretches.len() * 2);
    for (number, stretch) in stretches.iter().enumerate() {
        edges.extend([(stretch.time.start, true, number), (stretch.time.end, false, number)]);
    }
    edges.sort_unstable();
    let mut active = BTreeSet::new();
    let mut segments: Vec<Segment> = Vec::new();
    for (index, (at, begins, number)) in edges.iter().enumerate() {
        let key = (rank(&stretches[*number]), *number);
        if *begins {
            active.insert(key);
        } else {
            active.remove(&key);
        }
        // Only when all that happens at an instant has happened.
        if edges.get(index + 1).is_none_or(|next| next.0 > *at) {
            let ruling = active.first().map(|(_, number)| *number);
            if segments.last().is_none_or(|(_, last)| *last != ruling) {
                segments.push((*at, ruling));
            }
        }
    }
    segments
}

/// Finds the times outside of all allowed windows; none when there is no allowed window.
fn outside(windows: &[Window], strips: &[(usize, Arc<Strip>)], page: i64) -> Vec<Outside> {
    let allowed = || strips.iter().filter(|(number, _)| windows[*number].kind == WindowKind::Allowed);
    if allowed().next().is_none() {
        return Vec::new();
    }
    let mut open: Vec<(Timestamp, Reverse<SignedDuration>, usize, Timestamp)> = Vec::new();
    let (mut end, mut ended): (_, Option<ByOrder>) = (Timestamp::MIN, None);
    let mut after = None;
    for (number, strip) in allowed() {
        let rank = stop_rank(&windows[*number]);
        open.extend(strip.stretches.iter().map(|time| (time.start, rank, *number, time.end)));
        if let Some(before) = strip.around.0 {
            end_later(&mut end, &mut ended, before, ByOrder::of(windows, *number));
        }
        after = strip.around.1.map(|start| (start, rank, *number)).into_iter().chain(after).min();
    }
    open.sort_unstable();
    let next = after.map(|(start, rank, number)| (start, rank, number, start));
    let mut found = Vec::new();
    for (start, _, number, stops) in open.into_iter().chain(next) {
        if start > end {
            found.push(Outside { time: Interval { start: end, end: start }, ended, begins: Some(number) });
        }
        end_later(&mut end, &mut ended, stops, ByOrder::of(windows, number));
    }
    if after.is_none() && end < Timestamp::MAX {
        found.push(Outside { time: Interval { start: end, end: Timestamp::MAX }, ended, begins: None });
    }
    let range = range_of(page);
    found.retain(|outside| outside.time.start < range.end && range.start < outside.time.end);
    found
}

/// Of allowed windows that end together, the number of the one that acts first, after what ranks it.
#[derive(Debug, Clone, Copy)]
struct ByOrder {
    stops: (Reverse<SignedDuration>, usize),
    starts: ((Reverse<SignedDuration>, Reverse<SignedDuration>), usize),
}

impl ByOrder {
    fn of(windows: &[Window], number: usize) -> Self {
        let window = &windows[number];
        let rank = stop_rank(window);
        Self { stops: (rank, number), starts: ((Reverse(window.lead), rank), number) }
    }

    fn and(self, other: Self) -> Self {
        Self { stops: self.stops.min(other.stops), starts: self.starts.min(other.starts) }
    }
}

/// Notes an end of an allowed window, if it is the latest.
fn end_later(end: &mut Timestamp, ended: &mut Option<ByOrder>, other: Timestamp, by: ByOrder) {
    if other > *end {
        (*end, *ended) = (other, Some(by));
    } else if other == *end {
        *ended = Some(ended.map_or(by, |known| known.and(by)));
    }
}
