//! Rows to domain values and back. A stored value that cannot be read is an error, never skipped.

use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use sqlx::postgres::PgDatabaseError;

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

/// Tells whether the database could write, and did not take the row itself.
fn is_refusal(error: &sqlx::Error) -> bool {
    let Some(error) = error.as_database_error() else { return false };
    let code = error.code().unwrap_or_default();
    match error.try_downcast_ref::<PgDatabaseError>() {
        // Data, a constraint, a limit (PostgreSQL, appendix A: the class is the first two characters).
        Some(_) => ["22", "23", "54"].iter().any(|class| code.starts_with(class)),
        // Too big, a constraint, a mismatch (SQLite, result codes: the low byte tells the kind).
        None => code.parse::<i32>().is_ok_and(|code| [18, 19, 20].contains(&(code & 0xff))),
    }
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

/// The columns of a run: what never changes, then the rest, then what is asked of the body where SQL does not look into it:
/// key, version and id of the deployment, and whether the template is known.
pub type RunColumns<'a> = (
    &'a str,
    &'a str,
    &'static str,
    String,
    i64,
    &'static str,
    i64,
    i64,
    i64,
    String,
    Option<&'a str>,
    Option<&'a str>,
    Option<&'a str>,
    i64,
);

/// Returns the columns of a run that changed at an instant.
///
/// # Errors
/// [`StoreError::Row`] when it has no JSON form.
pub fn run_columns(run: &Run, at: Timestamp) -> Result<RunColumns<'_>, StoreError> {
    let deployment = run.trigger.deployment();
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
        deployment.map(|deployment| deployment.key.as_str()),
        deployment.and_then(|deployment| deployment.version.as_deref()),
        deployment.and_then(|deployment| deployment.id.as_deref()),
        i64::from(run.facts.is_some()),
    ))
}
