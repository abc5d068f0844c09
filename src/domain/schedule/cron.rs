//! Cron: which instants an expression names in a zone, and Debian cron's rule for clock changes.
//!
//! Pure. [`notation`] reads an expression into the local times that it names, which know no clock
//! changes; the way from local times to instants is here. Which rule holds is decided by the form of the fields:
//!
//! - A *fixed* schedule has no `*` at the beginning of its minute and hour field; lists, ranges and `H` are fixed. A time
//!   that clocks skip is made up for at the first instant after the gap: `30 2 * * *` in Europe/Berlin fires at
//!   2026-03-29 03:00 +02:00. A time that comes twice counts in the first pass only: 2026-10-25 02:30 +02:00.
//! - Any other is an *interval* schedule and follows elapsed time: `*/30 * * * *` has nothing between 01:30 +01:00 and
//!   03:00 +02:00, which are half an hour apart, and fires at 02:00 and 02:30 of both passes in October. `*/30 2 * * *`
//!   therefore has no slot at all on the day of the gap.
//! - One instant is one slot: `0,30 2 * * *` fires once at 03:00 on the day of the gap, and `0 2,3 * * *` too.
//! - A gap of [`CORRECTION`] or more is a correction of the calendar, and its times are lost: 2011-12-30, a day that
//!   Pacific/Apia left out, has no slot, and the next one says so ([`Slot::after_lost`]).
//! - With [`Gaps::Skip`] (`dst = "skip"`) every time that clocks skip is lost in that way: `30 2 * * *` has no slot on
//!   2026-03-29. Nothing else changes.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{
    Slot,
    fields::{DayRule, Edge, Fields},
    notation::{self, CronError, Notation},
};
use crate::domain::civil::{self, Instants};

/// A gap of this length or more is a correction of the calendar and not a change of the clock (Debian cron(8)).
pub const CORRECTION: SignedDuration = SignedDuration::from_hours(3);

/// Most stretches between two clock changes that one search looks at. Those without a local time that matches are passed
/// over, so this is far more than there can be.
const MAX_STRETCHES: usize = 4_096;

/// More than two offsets of a zone can differ by: so far from a local time, no clock change brings it back.
const FAR: SignedDuration = SignedDuration::from_hours(48);

/// A parsed cron expression with its zone. Clones share what is large.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    expression: Arc<str>,
    zone: TimeZone,
    fields: Arc<Fields>,
    form: Form,
    rule: DayRule,
    gaps: Gaps,
}

/// How a schedule passes a clock change; see the head of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Times that are skipped are made up for, times that come twice count once.
    Fixed,
    /// Elapsed time counts.
    Interval,
}

/// What becomes of a time of a fixed schedule that clocks skip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gaps {
    /// It is made up for at the first instant after the gap, unless the gap is a [`CORRECTION`].
    #[default]
    Shift,
    /// It is lost.
    Skip,
}

impl CronSchedule {
    /// Parses an expression of five fields, six (seconds first), seven (year last) or a macro such as `@daily`; see
    /// [`notation`] for everything that may be written. The seed decides what `H` stands for.
    ///
    /// # Errors
    /// [`CronError`] for text that is no schedule, and for one that never fires.
    pub fn parse(expression: &str, zone: TimeZone, seed: &str) -> Result<Self, CronError> {
        let Notation { fields, form, rule } = notation::read(expression, seed)?;
        let expression = expression.trim();
        if fields.after(DateTime::constant(1, 1, 1, 0, 0, 0, 0), Edge::Included).is_none() {
            return Err(CronError::Never { expression: expression.to_owned() });
        }
        Ok(Self { expression: expression.into(), zone, fields: Arc::new(fields), form, rule, gaps: Gaps::Shift })
    }

    /// Returns the same schedule with another rule for times that clocks skip.
    pub fn with_gaps(self, gaps: Gaps) -> Self {
        Self { gaps, ..self }
    }

    /// Returns what becomes of a time that clocks skip.
    pub fn gaps(&self) -> Gaps {
        self.gaps
    }

    /// Returns the expression as written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Returns the zone in which dates are computed.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Tells whether the schedule is fixed (see the head of this file) and not an interval schedule.
    pub fn is_fixed(&self) -> bool {
        self.form == Form::Fixed
    }

    /// Tells whether both day of month and day of week are set, so that either may match: seldom meant.
    pub fn has_two_day_fields(&self) -> bool {
        self.rule == DayRule::Either
    }

    /// Finds the first slot strictly after an instant; `None` when there is none in the searched years.
    pub fn next_after(&self, after: Timestamp) -> Option<Slot> {
        match self.form {
            Form::Fixed => self.fixed_after(after),
            Form::Interval => self.interval_after(after),
        }
    }

    /// Finds the instant of the latest slot at or before another.
    pub fn latest_until(&self, until: Timestamp) -> Option<Timestamp> {
        match self.form {
            Form::Fixed => self.fixed_until(until),
            Form::Interval => self.interval_until(until),
        }
    }

    fn fixed_after(&self, after: Timestamp) -> Option<Slot> {
        let (mut from, mut edge) = (self.zone.to_datetime(after), Edge::Excluded);
        let mut after_lost = false;
        for _ in 0..MAX_STRETCHES {
            let local = self.fields.after(from, edge)?;
            edge = Edge::Included;
            match civil::instants(&self.zone, local)? {
                Instants::One(at) if at > after => return Some(Slot { after_lost, ..Slot::plain(at) }),
                Instants::Overlap { first, .. } if first > after => {
                    return Some(Slot { after_lost, ..Slot::plain(first) });
                }
                Instants::Gap { end, length } if end > after && self.makes_up_for(length) => {
                    return Some(Slot { after_lost, ..self.slot_after_gap(end) });
                }
                Instants::Gap { end, .. } => {
                    after_lost |= end > after;
                    from = self.zone.to_datetime(end);
                }
                Instants::Overlap { turn, .. } => from = self.end_of_overlap(turn),
                Instants::One(_) => (from, edge) = (local, Edge::Excluded),
            }
        }
        None
    }

    fn makes_up_for(&self, gap: SignedDuration) -> bool {
        self.gaps == Gaps::Shift && gap < CORRECTION
    }

    fn fixed_until(&self, until: Timestamp) -> Option<Timestamp> {
        let local_until = self.zone.to_datetime(until);
        let (mut from, mut edge) = match civil::instants(&self.zone, local_until)? {
            // The second pass: everything that the overlap holds has fired in the first.
            Instants::Overlap { turn, .. } if until >= turn => (self.end_of_overlap(turn), Edge::Excluded),
            _ => (local_until, Edge::Included),
        };
        for _ in 0..MAX_STRETCHES {
            let local = self.fields.before(from, edge)?;
            match civil::instants(&self.zone, local)? {
                Instants::One(at) | Instants::Overlap { first: at, .. } => return Some(at),
                Instants::Gap { end, length } if self.makes_up_for(length) => return Some(end),
                Instants::Gap { end, length } => {
                    from = self.zone.to_datetime(end).checked_sub(length).ok()?;
                    edge = Edge::Excluded;
                }
            }
        }
        None
    }

    /// Makes the slot that a gap moved to its end, which may be a time that the expression names anyway.
    fn slot_after_gap(&self, end: Timestamp) -> Slot {
        let local = self.zone.to_datetime(end);
        Slot { shifted: self.fields.after(local, Edge::Included) != Some(local), ..Slot::plain(end) }
    }

    /// Finds the first local time after those that an overlap repeats: what clocks showed when they were put back.
    fn end_of_overlap(&self, turn: Timestamp) -> DateTime {
        let before = turn.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(turn);
        self.zone.to_offset(before).to_datetime(turn)
    }

    fn interval_after(&self, after: Timestamp) -> Option<Slot> {
        let (mut stretch, mut edge) = (after, Edge::Excluded);
        for _ in 0..MAX_STRETCHES {
            let offset = self.zone.to_offset(stretch);
            let end = self.zone.following(stretch).next().map(|change| change.timestamp());
            let at = offset.to_timestamp(self.fields.after(offset.to_datetime(stretch), edge)?).ok()?;
            let Some(end) = end.filter(|end| at >= *end) else { return Some(Slot::plain(at)) };
            // What clocks show from here on lies between two local times that match, until shortly before the second.
            let passed_over = at.checked_sub(FAR).ok().filter(|_| end.duration_since(stretch) > FAR);
            (stretch, edge) = (passed_over.map_or(end, |near| near.max(end)), Edge::Included);
        }
        None
    }

    fn interval_until(&self, until: Timestamp) -> Option<Timestamp> {
        let (mut stretch, mut edge) = (until, Edge::Included);
        for _ in 0..MAX_STRETCHES {
            // With the edge excluded `stretch` is the change that ends the stretch asked about.
            let inside = match edge {
                Edge::Included => stretch,
                Edge::Excluded => stretch.checked_sub(SignedDuration::from_nanos(1)).ok()?,
            };
            let offset = self.zone.to_offset(inside);
            let just_after = inside.checked_add(SignedDuration::from_nanos(1)).unwrap_or(inside);
            let start = self.zone.preceding(just_after).next().map(|change| change.timestamp());
            let at = offset.to_timestamp(self.fields.before(offset.to_datetime(stretch), edge)?).ok()?;
            let Some(start) = start.filter(|start| at < *start) else { return Some(at) };
            let passed_over = at.checked_add(FAR).ok().filter(|_| stretch.duration_since(start) > FAR);
            (stretch, edge) = match passed_over {
                Some(near) if near < start => (near, Edge::Included),
                _ => (start, Edge::Excluded),
            };
        }
        None
    }
}
