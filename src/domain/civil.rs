//! Local times and the instants that they name, through gaps and overlaps of a zone.
//!
//! Pure. A gap is never assumed to be one hour: Lord Howe skips 30 minutes, Apia once skipped a day.

use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
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
