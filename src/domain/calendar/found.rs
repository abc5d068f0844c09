//! What a source of a calendar said, as it is kept, and the calendar that it makes.
//!
//! Pure. Who asks a source, and when, is decided in the daemon.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::{Calendar, CalendarError, DefaultState, later, reading::Content};

/// How far from the time of reading a calendar must be computable: one that is not would fail when it is asked.
const LOOK: SignedDuration = SignedDuration::from_hours(24 * 430);

/// What a source said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Found {
    /// iCalendar text of a file.
    File {
        /// The text.
        text: String,
        /// IANA zone of what names none.
        timezone: String,
    },
    /// iCalendar texts of change calendars that are asked together: name or ARN, and text.
    ChangeCalendars(Vec<(String, String)>),
    /// What AWS says change calendars are together, where their texts are not to be had.
    State {
        /// Whether changes are allowed.
        is_open: bool,
        /// When that changes next (exclusive); `None` when AWS names no such time.
        until: Option<Timestamp>,
        /// Why the texts could not be used.
        because: String,
    },
}

/// Something was found that makes no calendar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundError {
    /// The text of a file.
    #[error(transparent)]
    File(#[from] CalendarError),
    /// The text of a change calendar.
    #[error("`{calendar}`, {error}")]
    ChangeCalendar {
        /// Its name or ARN.
        calendar: String,
        /// What is wrong.
        error: CalendarError,
    },
    /// The zone of what names none.
    #[error("`{timezone}` is not a time zone")]
    Zone {
        /// Its name.
        timezone: String,
    },
    /// A text that does not say what it is outside of its events.
    #[error("`{calendar}` is no change calendar: it has no X-CALENDAR-TYPE")]
    NoDefault {
        /// Its name or ARN.
        calendar: String,
    },
}

impl Found {
    /// Makes the calendar of what was found at an instant.
    ///
    /// # Errors
    /// [`FoundError`], also for a calendar with more occurrences than can be looked at.
    pub fn content(&self, read_at: Timestamp) -> Result<Content, FoundError> {
        let (calendar, known_until) = match self {
            Self::File { text, timezone } => {
                let zone = TimeZone::get(timezone);
                let zone = zone.map_err(|_| FoundError::Zone { timezone: timezone.clone() })?;
                let calendar = Calendar::parse_in(text, &zone)?;
                calendar.spans(read_at, later(read_at, LOOK))?;
                (calendar, None)
            }
            Self::ChangeCalendars(texts) => {
                let calendars = texts.iter().map(|(name, text)| change_calendar(name, text, read_at));
                (Calendar::all_open(calendars.collect::<Result<Vec<_>, _>>()?), None)
            }
            Self::State { is_open, until, .. } => {
                let state = if *is_open { DefaultState::Open } else { DefaultState::Closed };
                (Calendar::constant(state), *until)
            }
        };
        Ok(Content { calendar: Arc::new(calendar), read_at, known_until })
    }
}

fn change_calendar(name: &str, text: &str, read_at: Timestamp) -> Result<Calendar, FoundError> {
    let wrong = |error| FoundError::ChangeCalendar { calendar: name.to_owned(), error };
    let calendar = Calendar::parse(text).map_err(wrong)?;
    calendar.spans(read_at, later(read_at, LOOK)).map_err(wrong)?;
    match calendar.default_state() {
        Some(_) => Ok(calendar),
        None => Err(FoundError::NoDefault { calendar: name.to_owned() }),
    }
}
