//! Every so often: instants that lie a whole number of periods after an anchor.
//!
//! Pure. Elapsed time counts, so no clock change moves, doubles or skips anything: `every = "24h"` is not "daily", it
//! comes an hour later by the clock in summer.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// The instants `anchor + n × period`, n from 0.
#[derive(Debug, Clone)]
pub struct Every {
    period: SignedDuration,
    anchor: Timestamp,
    zone: TimeZone,
}

impl Every {
    /// Makes one; a period is at least one second and of whole seconds, what is shorter is rounded up.
    pub fn new(period: SignedDuration, anchor: Timestamp, zone: TimeZone) -> Self {
        let whole = period.as_secs() + i64::from(period.subsec_nanos() > 0);
        Self { period: SignedDuration::from_secs(whole.max(1)), anchor, zone }
    }

    /// Returns the time between two of them.
    pub fn period(&self) -> SignedDuration {
        self.period
    }

    /// Returns the first of them.
    pub fn anchor(&self) -> Timestamp {
        self.anchor
    }

    /// Returns the zone in which the anchor was written.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Finds the first strictly after an instant.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        if after < self.anchor {
            return Some(self.anchor);
        }
        self.number(self.passed(after).checked_add(1)?)
    }

    /// Finds the latest at or before an instant.
    pub fn latest_until(&self, until: Timestamp) -> Option<Timestamp> {
        if until < self.anchor { None } else { self.number(self.passed(until)) }
    }

    /// How many whole periods passed between the anchor and a later instant.
    fn passed(&self, at: Timestamp) -> i64 {
        at.duration_since(self.anchor).as_secs() / self.period.as_secs()
    }

    fn number(&self, number: i64) -> Option<Timestamp> {
        let seconds = self.period.as_secs().checked_mul(number)?;
        self.anchor.checked_add(SignedDuration::from_secs(seconds)).ok()
    }
}
