//! Backups: all rows as one consistent picture, in an SQLite file that can be read like any store.
//!
//! The file appears under its name when it is whole and on disk, or not at all. See [`super::restore`] for the way back.

use std::path::Path;

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqlSafeStr, SqliteConnection};
use tempfile::NamedTempFile;

use super::{
    Progress, Told, UpkeepError, folder, shown,
    snapshot::{Counts, Snapshot},
    sync_folder,
    tables::{Dialect, TABLES, Table, Values},
};
use crate::{
    config::settings,
    domain::run::Run,
    engine::ports::StoreError,
    store::{
        OpenError,
        open::DATABASE_FILE,
        rows::{from_json, to_json, write_failed},
        schema::{self, SCHEMA},
        sqlite, text,
    },
};

/// Most rows that are written at once.
const BATCH_ROWS: usize = 500;
/// Most bytes of texts that are written at once, but for one row.
const BATCH_BYTES: usize = 4 << 20;

/// What happens to a file of the name of the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It is in the way.
    Refuse,
    /// It makes room.
    Replace,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Of which store.
    pub store: String,
    /// Its schema.
    pub schema: i64,
    /// Rows of each table; of a file with an older schema they are not counted.
    pub rows: Counts,
    /// Length of the file.
    pub bytes: u64,
}

/// Writes a backup of a store, also while an agent works on it.
///
/// # Errors
/// [`UpkeepError`]; nothing is left behind then, and a file that was there stays.
pub async fn backup(
    state: &settings::State,
    to: &Path,
    existing: Existing,
    told: Told<'_>,
) -> Result<Backup, UpkeepError> {
    if existing == Existing::Refuse && to.symlink_metadata().is_ok() {
        return Err(UpkeepError::Exists { path: to.to_owned() });
    }
    let failed = UpkeepError::file("write", to);
    // Readable by its owner only, and gone when this fails.
    let file = tempfile::Builder::new().prefix(".firedrill-backup-").tempfile_in(folder(to)).map_err(&failed)?;
    let (schema, rows) = match &state.postgres {
        None => of_file(&state.directory.join(DATABASE_FILE), &file).await?,
        Some(_) => of_server(state, &file, told).await?,
    };
    file.as_file().sync_all().map_err(&failed)?;
    let bytes = file.as_file().metadata().map_err(&failed)?.len();
    match existing {
        Existing::Replace => file.persist(to),
        Existing::Refuse => file.persist_noclobber(to),
    }
    .map_err(|error| failed(error.error))?;
    sync_folder(folder(to))?;
    Ok(Backup { store: shown(state), schema, rows, bytes })
}

async fn of_file(path: &Path, file: &NamedTempFile) -> Result<(i64, Counts), UpkeepError> {
    sqlite::copy(path, file.path()).await?;
    match Snapshot::of_file(file.path()).await {
        Ok(mut snapshot) => {
            let rows = snapshot.counts().await?;
            let schema = snapshot.schema.version;
            snapshot.close().await;
            Ok((schema, rows))
        }
        // Just before an update is a good time for a backup.
        Err(UpkeepError::Schema { version, .. }) => Ok((version, Counts::new())),
        Err(other) => Err(other),
    }
}

async fn of_server(
    state: &settings::State,
    file: &NamedTempFile,
    told: Told<'_>,
) -> Result<(i64, Counts), UpkeepError> {
    let mut from = Snapshot::of(state).await?;
    if from.schema.version > SCHEMA {
        let hint = "the program that changed it makes a backup of all its rows";
        return Err(UpkeepError::Schema { store: from.store, version: from.schema.version, hint });
    }
    let mut connection = sqlite::connect_to_new(file.path()).await?;
    let migrated = schema::sqlite().run_direct(None, &mut connection, false).await;
    migrated.map_err(|source| OpenError::Migrate { store: file.path().display().to_string(), source })?;
    let mut target = Target::Sqlite(&mut connection);
    let failed = UpkeepError::store(&from.store);
    target.run("BEGIN").await.map_err(&failed)?;
    let rows = copy(&mut from, &mut target, told).await?;
    let last = from.last_seq().await.map_err(&failed)?;
    for sql in [
        "DELETE FROM sqlite_sequence WHERE name = 'journal'".to_owned(),
        format!("INSERT INTO sqlite_sequence (name, seq) VALUES ('journal', {last})"),
        "COMMIT".to_owned(),
    ] {
        target.run(sql).await.map_err(&failed)?;
    }
    let schema = from.schema.version;
    from.close().await;
    connection.close().await.map_err(sqlite::failed(file.path()))?;
    Ok((schema, rows))
}

/// A database that takes rows, in a transaction.
pub(super) enum Target<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PgConnection),
}

impl Target<'_> {
    /// Runs a statement without parameters.
    pub(super) async fn run(&mut self, sql: impl Into<String>) -> Result<(), StoreError> {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        let done = match self {
            Self::Sqlite(connection) => sql.execute(&mut **connection).await.map(|_| ()),
            Self::Postgres(connection) => sql.execute(&mut **connection).await.map(|_| ()),
        };
        done.map_err(write_failed)
    }

    /// Inserts rows; tells how many it took.
    async fn insert(&mut self, table: &Table, rows: &[Value]) -> Result<u64, StoreError> {
        let parameter = to_json(table.name, &rows)?;
        let done = match self {
            Self::Sqlite(connection) => {
                let sql = AssertSqlSafe(table.insert(Dialect::Sqlite)).into_sql_str();
                sqlx::query(sql).bind(parameter).execute(&mut **connection).await.map(|done| done.rows_affected())
            }
            Self::Postgres(connection) => {
                let sql = AssertSqlSafe(table.insert(Dialect::Postgres)).into_sql_str();
                let query = sqlx::query(sql).bind(text::to_postgres(parameter));
                query.execute(&mut **connection).await.map(|done| done.rows_affected())
            }
        };
        done.map_err(write_failed)
    }
}

/// Copies every row of every table; returns how many there are.
pub(super) async fn copy(from: &mut Snapshot, to: &mut Target<'_>, told: Told<'_>) -> Result<Counts, UpkeepError> {
    let counts = from.counts().await?;
    told(Progress::Total(counts.values().sum()));
    let (failed, dialect) = (UpkeepError::store(&from.store), from.dialect());
    for table in &TABLES {
        let (mut batch, mut bytes, mut there) = (Vec::new(), 0, 0);
        let mut rows = from.rows::<Values>(table.select(dialect));
        while let Some(Values(row)) = rows.try_next().await.map_err(&failed)? {
            bytes += row.values().filter_map(Value::as_str).map(str::len).sum::<usize>();
            let row = if let Target::Postgres(_) = to { derived(table, row).map_err(&failed)? } else { row.into() };
            batch.push(row);
            if batch.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                there += to.insert(table, &batch).await.map_err(&failed)?;
                told(Progress::Rows(batch.len() as u64));
                (batch, bytes) = (Vec::new(), 0);
            }
        }
        if !batch.is_empty() {
            there += to.insert(table, &batch).await.map_err(&failed)?;
            told(Progress::Rows(batch.len() as u64));
        }
        let here = counts.get(table.name).copied().unwrap_or_default();
        if here != there {
            return Err(UpkeepError::Lost { table: table.name, here, there });
        }
    }
    Ok(counts)
}

/// Adds what PostgreSQL has in columns of its own, and SQLite finds in the body.
fn derived(table: &Table, mut row: serde_json::Map<String, Value>) -> Result<Value, StoreError> {
    if table.name == "runs" {
        let run: Run = from_json("runs", row.get("body").and_then(Value::as_str).unwrap_or_default())?;
        let deployment = run.trigger.deployment();
        row.insert("deployment_key".to_owned(), deployment.map(|deployment| deployment.key.clone()).into());
        row.insert("deployment_version".to_owned(), deployment.and_then(|of| of.version.clone()).into());
        row.insert("deployment_id".to_owned(), deployment.and_then(|of| of.id.clone()).into());
        row.insert("has_facts".to_owned(), i64::from(run.facts.is_some()).into());
    }
    Ok(row.into())
}
