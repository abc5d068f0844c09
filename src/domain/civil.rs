//! Local times and the instants that they name, through gaps and overlaps of a zone; and how people write them.
//!
//! Pure. A gap is never assumed to be one hour: Lord Howe skips 30 minutes, Apia once skipped a day.

use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::{AmbiguousOffset, Offset, TimeZone},
};

/// The instants that a local time names in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instants {
    /// Exactly one: an ordinary local time.
    One(Timestamp),
    /// None: clocks were put forward over it.
    Gap {
        /// First instant after the gap.
        end: Timestamp,
        /// How far clocks were put forward.
        length: SignedDuration,
    },
    /// Two: clocks were put back over it.
    Overlap {
        /// The instant in the first pass.
        first: Timestamp,
        /// The instant in the second pass.
        second: Timestamp,
        /// The instant at which clocks were put back; `first` is before it, `second` is not.
        turn: Timestamp,
    },
}

/// Adds a duration, up to the last instant there is.
pub fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Reads a day, `2026-03-01`.
pub fn date(text: &str) -> Option<Date> {
    let date: Date = text.parse().ok()?;
    (date.to_string() == text).then_some(date)
}

/// Reads a local time, `2026-03-01T10:00`, also with seconds or a space for the `T`. Anything more is refused: a library
/// would read an offset or a zone too, and leave it out.
pub fn local_time(text: &str) -> Option<DateTime> {
    let local: DateTime = text.parse().ok()?;
    let is_all = |form: &str| local.strftime(form).to_string() == text.replacen(' ', "T", 1);
    ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].into_iter().any(is_all).then_some(local)
}

/// Reads an instant (`2026-03-01T10:00:00Z`), a local time of a zone (see [`local_time`]) or a day of it (its first instant).
pub fn instant(zone: &TimeZone, text: &str) -> Option<Timestamp> {
    // A zone in brackets is said besides the offset, and would be left out.
    if let Ok(at) = text.parse::<Timestamp>() {
        return (!text.contains('[')).then_some(at);
    }
    first_instant(zone, local_time(text).or_else(|| Some(date(text)?.to_datetime(Time::midnight())))?)
}

/// Finds the first instant that a local time names, the first one after the gap when clocks skip it.
pub fn first_instant(zone: &TimeZone, local: DateTime) -> Option<Timestamp> {
    instants(zone, local).map(|instants| match instants {
        Instants::One(at) | Instants::Gap { end: at, .. } | Instants::Overlap { first: at, .. } => at,
    })
}

/// Finds the instants that a local time names; `None` outside the years that can be represented.
pub fn instants(zone: &TimeZone, local: DateTime) -> Option<Instants> {
    let at = |offset: Offset| offset.to_timestamp(local).ok();
    Some(match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => Instants::One(at(offset)?),
        AmbiguousOffset::Gap { before, after } => {
            let length = SignedDuration::from_secs(i64::from(after.seconds() - before.seconds()));
            Instants::Gap { end: turn(zone, at(after)?, at(before)?, after), length }
        }
        AmbiguousOffset::Fold { before, after } => {
            let (first, second) = (at(before)?, at(after)?);
            Instants::Overlap { first, second, turn: turn(zone, first, second, after) }
        }
    })
}

/// Finds the change to an offset in `(from, to]`. There always is one when `local` was ambiguous.
fn turn(zone: &TimeZone, from: Timestamp, to: Timestamp, offset: Offset) -> Timestamp {
    zone.following(from)
        .map_while(|change| (change.timestamp() <= to).then_some(change))
        .find(|change| change.offset() == offset)
        .map_or(to, |change| change.timestamp())
}
