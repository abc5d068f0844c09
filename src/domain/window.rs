//! Blackout and allowed windows: instants at which no run may start, and what happens to runs when one begins.
//!
//! Pure. Every interval is `[start, end)`: a run may start exactly at `end`. A local time that clocks skip stands for
//! the first instant after the gap. One that comes twice is taken so that less is permitted: a blackout begins at its
//! first and ends at its second pass, an allowed window begins at its second and ends at its first. Spans that touch
//! in local time are one. See [`span`] for what can be written, [`closure`] for the questions of the planner.

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    calendar::{DefaultState, reading::Reading},
    civil::{self, Instants},
    ids::WindowName,
};

pub mod closure;
pub mod finding;
pub mod intervals;
pub mod scope;
pub mod span;
mod timeline;
mod windows;

pub use closure::{
    Closure, change_before, closed_at, first_closure, first_stop, free_slot, next_change, next_transition, open_times,
};
pub use finding::{Finding, findings};
pub use intervals::{Interval, Intervals};
pub use scope::{Membership, NameGlob, Scope};
pub use span::{Days, Span, SpanError};
pub use windows::Windows;

/// How far from an instant its windows are looked at. What lies farther is not known, and said so.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How far a search looks, in days, one after the other: most windows change within a week.
const REACHES: [i64; 3] = [10, 60, 400];

/// A window of the configuration.
#[derive(Debug, Clone)]
pub struct Window {
    /// Its name, unique in the configuration.
    pub name: WindowName,
    /// Whether it forbids or permits.
    pub kind: WindowKind,
    /// Which experiments it is about.
    pub scope: Scope,
    /// What happens to runs that are going on when a blackout opens or an allowed window ends.
    pub on_entry: OnEntry,
    /// Nothing starts that could still run this long before a blackout opens or an allowed window ends (zero or more).
    pub lead: SignedDuration,
    /// Zone of its local times.
    pub zone: TimeZone,
    /// When it is; their union counts.
    pub spans: Vec<Span>,
    /// Calendars whose times it has besides; an ordinary calendar's events, or the time that a change calendar of AWS
    /// says is closed (for an allowed window: open).
    pub calendars: Vec<Reading>,
}

/// Whether a window forbids or permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// Nothing may run inside.
    Blackout,
    /// Nothing may run outside of it and of the other allowed windows of the same experiment.
    Allowed,
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

impl OnEntry {
    /// Returns how long before the window opens a run has to be stopped; zero when it may finish.
    pub fn lead(self) -> SignedDuration {
        match self {
            Self::Stop { lead } => lead,
            Self::Finish => SignedDuration::ZERO,
        }
    }
}

impl Window {
    /// Finds the stretch that covers an instant.
    pub fn covering(&self, at: Timestamp) -> Option<Interval> {
        let mut found = None;
        for days in REACHES {
            let (from, to) = (shifted(at, -days), shifted(at, days));
            let interval = self.merged(from, to).into_iter().find(|i| i.start <= at && at < i.end)?;
            // One without an end was not followed to the end of the look.
            if interval.start > from && interval.end < to || interval.end == Timestamp::MAX {
                return Some(Interval { start: interval.start.max(from), ..interval });
            }
            let end = if interval.end < to { interval.end } else { Timestamp::MAX };
            found = Some(Interval { start: interval.start.max(from), end });
        }
        found
    }

    /// Finds the first instant strictly after another at which the window begins or ends, within [`HORIZON`].
    pub fn next_transition(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_edge(after, |interval| [interval.start, interval.end])
    }

    /// Finds the first instant strictly after another at which the window begins, within [`HORIZON`].
    pub fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        self.next_edge(after, |interval| [interval.start, interval.start])
    }

    /// Finds the last instant up to another (inclusive) at which the window ended, within [`HORIZON`].
    pub fn last_end(&self, until: Timestamp) -> Option<Timestamp> {
        REACHES.into_iter().find_map(|days| {
            let intervals = self.merged(shifted(until, -days), shifted(until, 1));
            intervals.into_iter().map(|i| i.end).filter(|&end| end <= until).max()
        })
    }

    /// Returns the window with calendars that are believed for ever.
    #[must_use]
    fn with_calendars_believed(mut self) -> Self {
        for reading in &mut self.calendars {
            reading.believe();
        }
        self
    }

    /// Tells whether all that the window names lies before an instant, so that it never comes again.
    pub fn is_over(&self, at: Timestamp) -> bool {
        self.calendars.is_empty() && self.spans.iter().all(|span| span.is_over(self.zone.to_datetime(at)))
    }

    /// Lists the stretches that meet `[from, to)`, clipped to it; `to` is taken as at most [`HORIZON`] later.
    pub fn intervals(&self, from: Timestamp, to: Timestamp) -> Intervals {
        let to = to.min(from.saturating_add(HORIZON).unwrap_or(to));
        self.merged(from, to).clipped(Interval { start: from, end: to })
    }

    fn next_edge(&self, after: Timestamp, edges: fn(Interval) -> [Timestamp; 2]) -> Option<Timestamp> {
        REACHES.into_iter().find_map(|days| {
            let to = shifted(after, days);
            let intervals = self.merged(shifted(after, -REACHES[0]), to);
            intervals.into_iter().flat_map(edges).filter(|&edge| after < edge && edge < to).min()
        })
    }

    /// Lists the stretches that meet `[from, to]`. Edges strictly inside are exact, those outside may not be.
    fn merged(&self, from: Timestamp, to: Timestamp) -> Intervals {
        if self.spans.iter().any(Span::is_always) {
            return Intervals::of([Interval::ALL]);
        }
        let local = self.local_intervals(from, to).into_iter();
        let local =
            local.filter_map(|(start, end)| Some(Interval { start: self.start_of(start)?, end: self.end_of(end)? }));
        let fires = self.spans.iter().flat_map(|span| span.fires(from, to));
        let calendars = self.calendars.iter().flat_map(|reading| self.calendar_intervals(reading, from, to));
        Intervals::of(
            local.filter(|interval| interval.start <= to && from <= interval.end).chain(fires).chain(calendars),
        )
    }

    /// Lists the stretches that a calendar gives the window in `[from, to]`. A calendar that cannot be expanded gives
    /// none; it is asked again, for its error, where closures are made.
    fn calendar_intervals(&self, reading: &Reading, from: Timestamp, to: Timestamp) -> Intervals {
        let Some(content) = &reading.content else { return Intervals::default() };
        let busy = content.calendar.spans(from, to).unwrap_or_default();
        let events = Intervals::of(busy.into_iter().map(|busy| Interval { start: busy.start, end: busy.end }));
        match (content.calendar.default_state(), self.kind) {
            // The closed time of a change calendar, or its open time, is what is outside of its events.
            (Some(DefaultState::Closed), WindowKind::Blackout) | (Some(DefaultState::Open), WindowKind::Allowed) => {
                events.complement(Interval { start: from, end: to })
            }
            _ => events,
        }
    }

    /// Lists the local intervals that may meet `[from, to]`, merged in local time.
    fn local_intervals(&self, from: Timestamp, to: Timestamp) -> Vec<(DateTime, DateTime)> {
        let (local_from, local_to) = (self.zone.to_datetime(from), self.zone.to_datetime(to));
        // One day more on both sides than the longest span needs, since clocks may jump over a midnight.
        let mut date = local_from.date().saturating_sub(SignedDuration::from_hours(24 * (span::MAX_WEEKLY_DAYS + 1)));
        let last = local_to.date().saturating_add(SignedDuration::from_hours(24));
        let mut found: Vec<(DateTime, DateTime)> = self.spans.iter().filter_map(Span::once).collect();
        let recurring: Vec<&Span> = self.spans.iter().filter(|span| span.is_daily()).collect();
        while date <= last && !recurring.is_empty() {
            found.extend(recurring.iter().filter_map(|span| span.beginning_on(date)));
            match date.tomorrow() {
                Ok(next) => date = next,
                Err(_end_of_calendar) => break,
            }
        }
        intervals::joined(found)
    }

    fn start_of(&self, local: DateTime) -> Option<Timestamp> {
        Some(match (civil::instants(&self.zone, local)?, self.kind) {
            (Instants::One(at) | Instants::Gap { end: at, .. }, _) => at,
            (Instants::Overlap { first, .. }, WindowKind::Blackout) => first,
            (Instants::Overlap { second, .. }, WindowKind::Allowed) => second,
        })
    }

    fn end_of(&self, local: DateTime) -> Option<Timestamp> {
        Some(match (civil::instants(&self.zone, local)?, self.kind) {
            (Instants::One(at) | Instants::Gap { end: at, .. }, _) => at,
            (Instants::Overlap { second, .. }, WindowKind::Blackout) => second,
            (Instants::Overlap { first, .. }, WindowKind::Allowed) => first,
        })
    }
}

fn shifted(at: Timestamp, days: i64) -> Timestamp {
    let by = SignedDuration::from_hours(24 * days);
    let edge = if days < 0 { Timestamp::MIN } else { Timestamp::MAX };
    at.checked_add(by).unwrap_or(edge)
}
