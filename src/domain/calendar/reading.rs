//! Readings: what was last read of a calendar, and whether it may still be believed.
//!
//! Pure. Who reads is told by nobody here; a window only asks. What is not known closes: see [`Reading::believed`].

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Calendar;
use crate::domain::ids::CalendarName;

/// How far in the future a calendar may have been read, since clocks are set back by a little all the time. It is read
/// again soon, as it always is.
const CLOCKS_APART: SignedDuration = SignedDuration::from_mins(1);

/// What is known of a calendar.
#[derive(Debug, Clone)]
pub struct Reading {
    /// Its name in the configuration.
    pub calendar: CalendarName,
    /// How long after it was read the content is believed (inclusive): the calendar's `max_age`, or its `last_known_for` when
    /// a failure may be bridged by the last known content.
    pub good_for: SignedDuration,
    /// What the last successful read found; `None` before the first one.
    pub content: Option<Content>,
    /// Why the latest read failed, in words; `None` when it did not.
    pub failure: Option<String>,
}

/// What a successful read found.
#[derive(Debug, Clone)]
pub struct Content {
    /// The calendar. As long as its text does not change it is the same [`Arc`], so that nothing is computed anew.
    pub calendar: Arc<Calendar>,
    /// When it was read.
    pub read_at: Timestamp,
    /// First instant of which it says nothing any more; `None` when it speaks of all time.
    pub known_until: Option<Timestamp>,
}

impl Reading {
    /// Stands for a calendar that nobody has read yet.
    pub fn unread(calendar: CalendarName, good_for: SignedDuration) -> Self {
        Self { calendar, good_for, content: None, failure: None }
    }

    /// Returns the content if it may be believed at `now`.
    ///
    /// # Errors
    /// Why it may not, in words: it was never read, is too old, or was read a minute or more after `now` (the clock was set back).
    pub fn believed(&self, now: Timestamp) -> Result<&Content, String> {
        let because = self.failure.as_deref().map_or_else(String::new, |failure| format!(": {}", stable(failure)));
        let Some(content) = &self.content else {
            return Err(format!("calendar `{}` was not read yet{because}", self.calendar));
        };
        let age = now.duration_since(content.read_at);
        if age > self.good_for || age <= -CLOCKS_APART {
            let read_at = content.read_at.strftime("%Y-%m-%dT%H:%M:%SZ");
            return Err(format!("calendar `{}` was last read at {read_at}{because}", self.calendar));
        }
        Ok(content)
    }

    /// Makes the answer at `now` the answer of all time: what is believed does not age any more, what is not never is.
    pub fn judge_at(&mut self, now: Timestamp) {
        match self.believed(now) {
            Ok(_) => self.believe(),
            Err(_) => self.good_for = SignedDuration::MIN,
        }
    }

    /// Makes the content one that is believed at any time.
    pub fn believe(&mut self) {
        self.good_for = SignedDuration::MAX;
        if let Some(content) = &mut self.content {
            content.read_at = Timestamp::MIN;
        }
    }

    /// Tells whether two readings found the same, whenever they did.
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.content, &other.content) {
            (Some(a), Some(b)) => Arc::ptr_eq(&a.calendar, &b.calendar) && a.known_until == b.known_until,
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

/// Returns what is the same of a failure each time: of a failed call its class, as AWS's words hold numbers of the call. A
/// run that waits is written to the journal again whenever its reason changes. All of it is in the status and the log.
fn stable(failure: &str) -> &str {
    failure.split_once(": ").map_or(failure, |(class, _)| if class.contains([' ', '`']) { failure } else { class })
}
