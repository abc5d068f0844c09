//! Calendars as they were last read: what holds after a restart, and for commands while no agent runs.

use jiff::Timestamp;

use super::{
    SqliteStore,
    rows::{from_json, from_us, name, read_failed, to_json, write_failed},
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

type Columns = (String, String, Option<i64>, Option<String>, Option<String>);

impl SqliteStore {
    /// Returns every calendar that was ever read or tried.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn calendars(&self) -> Result<Vec<CalendarRow>, StoreError> {
        let rows: Vec<Columns> = sqlx::query_as("SELECT name, source, read_at_us, found, failure FROM calendars")
            .fetch_all(&self.pool)
            .await
            .map_err(read_failed)?;
        rows.into_iter().map(row).collect()
    }

    /// Keeps what was read of a calendar, instead of what was kept before.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn keep_calendar(&self, row: &CalendarRow) -> Result<(), StoreError> {
        let found = row.found.as_ref().map(|(_, found)| to_json("calendars", found)).transpose()?;
        sqlx::query(
            "INSERT OR REPLACE INTO calendars (name, source, read_at_us, found, failure) VALUES (?, ?, ?, ?, ?)",
        )
        .bind(row.name.as_str())
        .bind(&row.source)
        .bind(row.found.as_ref().map(|(at, _)| at.as_microsecond()))
        .bind(found)
        .bind(&row.failure)
        .execute(&self.pool)
        .await
        .map_err(write_failed)?;
        Ok(())
    }

    /// Forgets all calendars but those of these names.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn forget_other_calendars(&self, names: &[CalendarName]) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM calendars WHERE name NOT IN (SELECT value FROM json_each(?))")
            .bind(to_json("calendars", &names)?)
            .execute(&self.pool)
            .await
            .map_err(write_failed)?;
        Ok(())
    }
}

fn row((text, source, read_at, found, failure): Columns) -> Result<CalendarRow, StoreError> {
    let found = match read_at.zip(found) {
        Some((us, found)) => Some((from_us("calendars", us)?, from_json("calendars", &found)?)),
        None => None,
    };
    Ok(CalendarRow { name: name("calendars", &text)?, source, found, failure })
}
