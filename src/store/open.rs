//! Opening the store: one writer, a sound file, the right schema, or a refusal that says why.

use std::{
    borrow::Cow,
    fs::{File, OpenOptions},
    future::ready,
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use sqlx::{
    Connection, SqlSafeStr, SqlitePool,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::sqlite::Parsed;

/// Name of the database inside the state directory.
pub const DATABASE_FILE: &str = "firedrill.db";
/// Name of the file whose lock keeps a second agent out.
pub const LOCK_FILE: &str = "firedrill.lock";

/// How long a query waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Rows that a connection reads ahead of whoever takes them: each time that one waits for the other costs more than a row.
const ROWS_AHEAD: usize = 1_024;
/// Connections of the agent: one writes, the others read for couriers and people.
const MAX_CONNECTIONS: u32 = 4;

/// An open store.
#[derive(Debug)]
pub struct SqliteStore {
    pub(super) pool: SqlitePool,
    /// Whose turn it is to write.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// What the rows of the last pass said.
    pub(super) parsed: Mutex<Parsed>,
    /// Held as long as the store is open for writing.
    _lock: Option<File>,
}

/// Why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder or a file could not be made or opened.
    #[error("could not open `{}`", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent has it.
    #[error("`{}` is in use by another agent", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// There is no store yet.
    #[error("there is no store at `{}`: no agent has run with this state directory", path.display())]
    Missing {
        /// Where.
        path: PathBuf,
    },
    /// It is damaged.
    #[error("the store `{}` is damaged: {finding}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// The first thing that SQLite's check found.
        finding: String,
    },
    /// The database could not be opened.
    #[error("could not open the store `{}`", path.display())]
    Database {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("could not bring the store `{}` up to date", path.display())]
    Migrate {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: MigrateError,
    },
}

impl SqliteStore {
    /// Opens the store in a state directory for the agent: makes what is missing (folder 0700, files 0600), keeps other
    /// agents out, checks the file and migrates it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing may be started then.
    pub async fn open(directory: &Path) -> Result<Self, OpenError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|source| OpenError::File { path: directory.to_owned(), source })?;
        let lock = lock(&directory.join(LOCK_FILE))?;
        let path = directory.join(DATABASE_FILE);
        private_file(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROWS_AHEAD);
        let store = Self::connect(options, &path, Some(lock)).await?;
        store.check(&path).await?;
        migrator().run(&store.pool).await.map_err(|source| OpenError::Migrate { path, source })?;
        Ok(store)
    }

    /// Opens the store to read from it, also while an agent writes.
    ///
    /// # Errors
    /// [`OpenError::Missing`] when no agent has made one yet, others as [`SqliteStore::open`].
    pub async fn open_to_read(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE_FILE);
        if !path.exists() {
            return Err(OpenError::Missing { path });
        }
        let options = SqliteConnectOptions::new().filename(&path).read_only(true).busy_timeout(BUSY_TIMEOUT);
        Self::connect(options, &path, None).await
    }

    async fn connect(options: SqliteConnectOptions, path: &Path, lock: Option<File>) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Database { path: path.to_owned(), source };
        let pool = SqlitePoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            // A connection to a file does not go stale.
            .test_before_acquire(false)
            // SQLite itself takes back what it had no room for; sqlx goes on to believe in that transaction, for ever.
            .before_acquire(|connection, _| Box::pin(ready(Ok(!connection.is_in_transaction()))))
            .connect_with(options)
            .await
            .map_err(failed)?;
        Ok(Self { pool, turn: tokio::sync::Mutex::default(), parsed: Mutex::default(), _lock: lock })
    }

    /// Reads the whole file once and refuses a damaged one.
    async fn check(&self, path: &Path) -> Result<(), OpenError> {
        let asked: Result<String, _> = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.pool).await;
        let finding = asked.map_err(|source| OpenError::Database { path: path.to_owned(), source })?;
        if finding == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), finding }) }
    }

    /// Closes every connection; what was committed is on disk already.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::File { path: path.to_owned(), source };
    let file = private_file(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.to_owned() }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn migrator() -> Migrator {
    let step = |version, name, sql: &'static str| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(vec![
        step(1, "rows", include_str!("migrations/0001_rows.sql")),
        step(2, "calendars", include_str!("migrations/0002_calendars.sql")),
        step(3, "ledgers", include_str!("migrations/0003_ledgers.sql")),
        step(4, "deployments", include_str!("migrations/0004_deployments.sql")),
        step(5, "quarantine", include_str!("migrations/0005_quarantine.sql")),
        step(6, "bodies", include_str!("migrations/0006_bodies.sql")),
    ])
}
