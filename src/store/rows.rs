//! Rows to domain values and back. A stored value that cannot be read is an error, never skipped.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    domain::{ids::Name, run::Run},
    engine::ports::StoreError,
};

/// Wraps a failed query that read.
pub fn read_failed(source: sqlx::Error) -> StoreError {
    StoreError::Query { action: "read", source: Box::new(source) }
}

/// Wraps a failed query that wrote.
pub fn write_failed(source: sqlx::Error) -> StoreError {
    let is_refusal = is_refusal(&source);
    let source = Box::new(source);
    if is_refusal { StoreError::Refused { source } } else { StoreError::Query { action: "write", source } }
}

/// Tells whether SQLite could write, and did not take the row itself: the low byte of its code tells the kind of error
/// (SQLite, result codes).
fn is_refusal(error: &sqlx::Error) -> bool {
    const TOO_BIG: i32 = 18;
    const CONSTRAINT: i32 = 19;
    const MISMATCH: i32 = 20;
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| [TOO_BIG, CONSTRAINT, MISMATCH].contains(&(code & 0xff)))
}

/// Reads a JSON column.
///
/// # Errors
/// [`StoreError::Row`] when this version cannot read it.
pub fn from_json<T: DeserializeOwned>(row: &str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|source| StoreError::Row { row: row.to_owned(), source: Box::new(source) })
}

/// Writes a JSON column.
///
/// # Errors
/// [`StoreError::Row`] when the value has no JSON form.
pub fn to_json<T: Serialize>(row: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Row { row: row.to_owned(), source: Box::new(source) })
}

/// Reads a time column.
///
/// # Errors
/// [`StoreError::Row`] when it is outside the years that there are.
pub fn from_us(row: &str, us: i64) -> Result<Timestamp, StoreError> {
    Timestamp::from_microsecond(us).map_err(|source| StoreError::Row { row: row.to_owned(), source: Box::new(source) })
}

/// Reads a name column.
///
/// # Errors
/// [`StoreError::Row`] when it is not a name.
pub fn name(row: &str, text: &str) -> Result<Name, StoreError> {
    Name::parse(text).map_err(|source| StoreError::Row { row: row.to_owned(), source: Box::new(source) })
}

/// Reads a run from its body.
///
/// # Errors
/// [`StoreError::Row`] when this version cannot read it.
pub fn run(body: &str) -> Result<Run, StoreError> {
    from_json("runs", body)
}

/// The columns of a run: what never changes, then the rest.
pub type RunColumns<'a> = (&'a str, &'a str, &'static str, String, i64, &'static str, i64, i64, i64, String);

/// Returns the columns of a run that changed at an instant.
///
/// # Errors
/// [`StoreError::Row`] when it has no JSON form.
pub fn run_columns(run: &Run, at: Timestamp) -> Result<RunColumns<'_>, StoreError> {
    Ok((
        run.id.as_str(),
        run.experiment.as_str(),
        run.trigger.kind(),
        run.trigger.key(),
        run.opened_at.as_microsecond(),
        run.state.as_str(),
        i64::from(!run.is_over()),
        at.as_microsecond(),
        i64::try_from(run.revision).unwrap_or(i64::MAX),
        to_json("runs", run)?,
    ))
}
