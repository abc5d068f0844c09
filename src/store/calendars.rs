//! Calendars as they were last read: what holds after a restart, and for commands while no agent runs.

use jiff::Timestamp;

use super::{
    SqlStore,
    database::Writer,
    rows::{from_json, from_us, name, to_json},
    statement::Statement,
    text::Text,
};
use crate::{
    domain::{calendar::found::Found, ids::CalendarName},
    engine::ports::StoreError,
};

/// What was last read of a calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CalendarRow {
    /// Its name in the configuration.
    pub name: CalendarName,
    /// The source in the words of [`crate::config::settings::CalendarSource::identity`]: what was read of another one is
    /// of no use.
    pub source: String,
    /// What the last successful read found, and when; `None` before the first one.
    pub found: Option<(Timestamp, Found)>,
    /// Why the latest read failed; `None` when it did not.
    pub failure: Option<String>,
}

type Columns = (Text, Text, Option<i64>, Option<Text>, Option<Text>);

impl SqlStore {
    /// Returns every calendar that was ever read or tried.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn calendars(&self) -> Result<Vec<CalendarRow>, StoreError> {
        let rows: Vec<Columns> = self.database.read(Statement::Calendars, &[(); 0]).await?;
        rows.into_iter().map(row).collect()
    }

    /// Keeps what was read of a calendar, instead of what was kept before.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn keep_calendar(&self, row: &CalendarRow) -> Result<(), StoreError> {
        let found = row.found.as_ref().map(|(_, found)| to_json("calendars", found)).transpose()?;
        let read_at = row.found.as_ref().map(|(at, _)| at.as_microsecond());
        let columns = (row.name.as_str(), &row.source, read_at, found, &row.failure);
        self.write_one(Writer::Anyone, Statement::KeepCalendar, &columns).await.map(|_| ())
    }

    /// Forgets all calendars but those of these names.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn forget_other_calendars(&self, names: &[CalendarName]) -> Result<(), StoreError> {
        self.write_one(Writer::Anyone, Statement::ForgetOtherCalendars, &names).await.map(|_| ())
    }
}

fn row((text, source, read_at, found, failure): Columns) -> Result<CalendarRow, StoreError> {
    let found = match read_at.zip(found) {
        Some((us, found)) => Some((from_us("calendars", us)?, from_json("calendars", &found)?)),
        None => None,
    };
    Ok(CalendarRow { name: name("calendars", &text)?, source: source.0, found, failure: failure.map(|text| text.0) })
}
