//! SQLite: a file that one agent has for itself. Every transaction is durable when acknowledged (WAL, `synchronous=FULL`).

pub(super) mod seat;
pub(super) mod statements;

use std::{future::ready, path::Path, time::Duration};

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
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
    allow_all(&pool, path).await?;
    let failed = |source| OpenError::Migrate { store: path.display().to_string(), source };
    schema::sqlite().run(&pool).await.map_err(failed)?;
    Ok(pool)
}

/// Opens a file to read from it.
pub(super) async fn open_to_read(path: &Path) -> Result<SqlitePool, OpenError> {
    let pool = connect(reading(path), path).await?;
    allow_all(&pool, path).await?;
    let mut connection = pool.acquire().await.map_err(failed(path))?;
    // An agent that ended in its first moment has made a file and nothing in it.
    if has_table(&mut connection, "runs", path).await? {
        Ok(pool)
    } else {
        Err(OpenError::Missing { store: path.display().to_string() })
    }
}

fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).read_only(true).busy_timeout(BUSY_TIMEOUT)
}

/// Opens one connection to read from a file.
pub(super) async fn connect_to_read(path: &Path) -> Result<SqliteConnection, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing { store: path.display().to_string() });
    }
    reading(path).connect().await.map_err(failed(path))
}

/// Opens one connection to a file that nobody else knows yet. It is durable when whoever made it has seen to that: a file
/// that was not finished is deleted.
pub(super) async fn connect_to_new(path: &Path) -> Result<SqliteConnection, OpenError> {
    let options = SqliteConnectOptions::new().filename(path).journal_mode(SqliteJournalMode::Memory);
    options.synchronous(SqliteSynchronous::Off).connect().await.map_err(failed(path))
}

/// Opens one connection to a file that is there and that nobody else is to have open.
pub(super) async fn connect_alone(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    SqliteConnectOptions::new().filename(path).busy_timeout(Duration::ZERO).connect().await
}

/// Writes all of a file, as one consistent picture, into another that is empty.
pub(super) async fn copy(from: &Path, to: &Path) -> Result<(), OpenError> {
    let mut connection = connect_to_read(from).await?;
    let copied = sqlx::query("VACUUM INTO ?1").bind(to.display().to_string()).execute(&mut connection).await;
    copied.map_err(failed(from))?;
    connection.close().await.map_err(failed(from))
}

/// Returns the newest migration that a file has seen; `None` when it is empty, or no file of ours.
pub(super) async fn migrated(connection: &mut SqliteConnection, path: &Path) -> Result<Option<i64>, OpenError> {
    if !has_table(connection, "_sqlx_migrations", path).await? {
        return Ok(None);
    }
    let newest = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success");
    newest.fetch_one(connection).await.map_err(failed(path))
}

async fn has_table(connection: &mut SqliteConnection, name: &str, path: &Path) -> Result<bool, OpenError> {
    let count = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?1").bind(name);
    let count: i64 = count.fetch_one(connection).await.map_err(failed(path))?;
    Ok(count > 0)
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

pub(super) fn failed(path: &Path) -> impl Fn(sqlx::Error) -> OpenError {
    move |source| OpenError::Database { store: path.display().to_string(), source }
}

/// Reads the whole file once and refuses a damaged one.
async fn check(pool: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let asked: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await;
    let finding = asked.map_err(failed(path))?;
    if finding == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), finding }) }
}

async fn allow_all(pool: &SqlitePool, path: &Path) -> Result<(), OpenError> {
    let mut connection = pool.acquire().await.map_err(failed(path))?;
    allow(&mut connection, path).await.map(|_| ())
}

/// Returns the schema of a file, if it says one, and refuses rows that a newer program has changed beyond what this one
/// knows.
pub(super) async fn allow(connection: &mut SqliteConnection, path: &Path) -> Result<Option<Schema>, OpenError> {
    if !has_table(connection, "schema", path).await? {
        return Ok(None);
    }
    let (version, oldest) =
        sqlx::query_as("SELECT version, oldest FROM schema").fetch_one(connection).await.map_err(failed(path))?;
    let schema = Schema { version, oldest };
    OpenError::unless_allowed(&path.display().to_string(), schema)?;
    Ok(Some(schema))
}
