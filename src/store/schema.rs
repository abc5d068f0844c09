//! Which schema the rows have, and who may work on them.
//!
//! Migrations expand first: they add what the older program can do without, and leave `oldest` in the table `schema` as it
//! is, so that a replica of before goes on. A later one takes away what only that program needed and raises `oldest`: from
//! then on it is refused, at its opening and at its next write. Each ends with an update of that table.

use std::borrow::Cow;

use sqlx::{
    SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};

use crate::engine::ports::StoreError;

/// The newest schema that this program knows.
pub const SCHEMA: i64 = 9;

/// The schema that a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schema {
    /// Its own.
    pub version: i64,
    /// The oldest one that a program must know to work on it.
    pub oldest: i64,
}

/// A newer program has changed the rows so that this one must not touch them.
#[derive(Debug, thiserror::Error)]
#[error(
    "a newer version has changed the store: it takes a program that knows schema {oldest}, and this one knows {SCHEMA}"
)]
pub struct Outdated {
    /// What it takes.
    pub oldest: i64,
}

/// Allows work on rows that ask for a schema, or refuses it.
///
/// # Errors
/// [`StoreError::Query`] when this program does not know that schema.
pub(super) fn allows(oldest: i64) -> Result<(), StoreError> {
    if oldest <= SCHEMA {
        return Ok(());
    }
    Err(StoreError::Query { action: "write", source: Box::new(Outdated { oldest }) })
}

fn step(version: i64, name: &'static str, sql: &'static str) -> Migration {
    Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
}

/// Migrations that are not known here are no hindrance: whether they are, the table `schema` tells.
fn migrator(steps: Vec<Migration>) -> Migrator {
    let mut migrator = Migrator::with_migrations(steps);
    migrator.set_ignore_missing(true);
    migrator
}

/// What makes and changes tables in SQLite.
pub(super) fn sqlite() -> Migrator {
    migrator(vec![
        step(1, "rows", include_str!("sqlite/migrations/0001_rows.sql")),
        step(2, "calendars", include_str!("sqlite/migrations/0002_calendars.sql")),
        step(3, "ledgers", include_str!("sqlite/migrations/0003_ledgers.sql")),
        step(4, "deployments", include_str!("sqlite/migrations/0004_deployments.sql")),
        step(5, "quarantine", include_str!("sqlite/migrations/0005_quarantine.sql")),
        step(6, "bodies", include_str!("sqlite/migrations/0006_bodies.sql")),
        step(7, "schema", include_str!("sqlite/migrations/0007_schema.sql")),
        step(8, "restored", include_str!("sqlite/migrations/0008_restored.sql")),
        step(9, "left", include_str!("sqlite/migrations/0009_left.sql")),
    ])
}

/// What makes and changes tables in PostgreSQL; the first one makes what SQLite has by then.
pub(super) fn postgres() -> Migrator {
    migrator(vec![
        step(7, "rows", include_str!("postgres/migrations/0007_rows.sql")),
        step(8, "restored", include_str!("postgres/migrations/0008_restored.sql")),
        step(9, "left", include_str!("postgres/migrations/0009_left.sql")),
    ])
}
