//! SQLite: a file that one agent has for itself. Every transaction is durable when acknowledged (WAL, `synchronous=FULL`).

pub(super) mod seat;
pub(super) mod statements;

use std::{future::ready, path::Path, time::Duration};

use sqlx::{
    Connection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    open::OpenError,
    schema::{self, Schema},
};

/// How long a query waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows that a connection reads ahead of whoever takes them: each time that one waits for the other costs more than a row.
const ROWS_AHEAD: usize = 1_024;
/// Connections of the agent: one writes, the others read for couriers and people.
const MAX_CONNECTIONS: u32 = 4;

/// Opens a file for the agent: checks it and brings it up to date.
pub(super) async fn open(path: &Path) -> Result<SqlitePool, OpenError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .row_buffer_size(ROWS_AHEAD);
    let pool = connect(options, path).await?;
    check(&pool, path).await?;
    allow(&pool, path).await?;
    let failed = |source| OpenError::Migrate { store: path.display().to_string(), source };
    schema::sqlite().run(&pool).await.map_err(failed)?;
    Ok(pool)
}

/// Opens a file to read from it.
pub(super) async fn open_to_read(path: &Path) -> Result<SqlitePool, OpenError> {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT);
    let pool = connect(options, path).await?;
    allow(&pool, path).await?;
    Ok(pool)
}

async fn connect(options: SqliteConnectOptions, path: &Path) -> Result<SqlitePool, OpenError> {
    SqlitePoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        // A connection to a file does not go stale.
        .test_before_acquire(false)
        // SQLite itself takes back what it had no room for; sqlx goes on to believe in that transaction, for ever.
        .before_acquire(|connection, _| Box::pin(ready(Ok(!connection.is_in_transaction()))))
        .connect_with(options)
        .await
        .map_err(failed(path))
}

fn failed(path: &Path) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { store: path.display().to_string(), source }
}

/// Reads the whole file once and refuses a damaged one.
async fn check(pool: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let asked: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await;
    let finding = asked.map_err(failed(path))?;
    if finding == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), finding }) }
}

/// Refuses rows that a newer program has changed beyond what this one knows.
async fn allow(pool: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let tables: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = 'schema'")
        .fetch_one(pool)
        .await
        .map_err(failed(path))?;
    if tables == 0 {
        return Ok(());
    }
    let (version, oldest) =
        sqlx::query_as("SELECT version, oldest FROM schema").fetch_one(pool).await.map_err(failed(path))?;
    OpenError::unless_allowed(&path.display().to_string(), Schema { version, oldest })
}
