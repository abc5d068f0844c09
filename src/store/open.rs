//! Opening the store: one writer or a lease, sound rows, the right schema, or a refusal that says why.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Mutex,
};

use sqlx::migrate::MigrateError;

use super::{
    database::Database,
    postgres::Postgres,
    schema::{Outdated, SCHEMA, Schema},
    sql::Parsed,
    sqlite::{self, seat::Seat},
};
use crate::config::settings;

/// Name of the database inside the state directory.
pub const DATABASE_FILE: &str = "firedrill.db";
/// Name of the file whose lock keeps a second agent out.
pub const LOCK_FILE: &str = "firedrill.lock";

/// What the name of a backup begins with while it is taken back.
pub(super) const RESTORE_PREFIX: &str = ".firedrill-restore-";

/// An open store.
#[derive(Debug)]
pub struct SqlStore {
    pub(super) database: Database,
    /// Whose turn it is to write.
    pub(super) turn: tokio::sync::Mutex<()>,
    /// What the rows of the last pass said.
    pub(super) parsed: Mutex<Parsed>,
    /// The file that is written to, if it is one.
    pub(super) seat: Option<Seat>,
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
    #[error("there is no store at `{store}`: no agent has run with it")]
    Missing {
        /// Where.
        store: String,
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
    #[error("could not open the store `{store}`")]
    Database {
        /// Which.
        store: String,
        /// Why.
        #[source]
        source: sqlx::Error,
    },
    /// The schema could not be brought up to date.
    #[error("could not bring the store `{store}` up to date")]
    Migrate {
        /// Which.
        store: String,
        /// Why.
        #[source]
        source: MigrateError,
    },
    /// A newer program has changed it beyond what this one knows.
    #[error("cannot work on the store `{store}`")]
    Outdated {
        /// Which.
        store: String,
        /// What it takes.
        #[source]
        source: Outdated,
    },
}

impl OpenError {
    /// Refuses a schema that this program does not know, unless it need not know it.
    pub(super) fn unless_allowed(store: &str, schema: Schema) -> Result<(), Self> {
        let Schema { version, oldest } = schema;
        if oldest > SCHEMA {
            return Err(Self::Outdated { store: store.to_owned(), source: Outdated { oldest } });
        }
        if version > SCHEMA {
            tracing::warn!(
                store,
                version,
                known = SCHEMA,
                "a newer version has been here; this one works on beside it"
            );
        }
        Ok(())
    }
}

impl SqlStore {
    /// Opens the store in a state directory for the agent: makes what is missing (folder 0700, files 0600), keeps other
    /// agents out, checks the file and migrates it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing may be started then.
    pub async fn open(directory: &Path) -> Result<Self, OpenError> {
        Self::open_locked(directory, lock(directory)?).await
    }

    /// As [`SqlStore::open`], under a lock that is held already.
    pub(super) async fn open_locked(directory: &Path, lock: File) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE_FILE);
        private_file(&path).map_err(|source| OpenError::File { path: path.clone(), source })?;
        let store = Self::on(Database::Sqlite(sqlite::open(&path).await?), Some(lock));
        let seat = Seat::of(&path).map_err(|source| OpenError::File { path, source })?;
        Ok(Self { seat: Some(seat), ..store })
    }

    /// Opens the store to read from it, also while an agent writes.
    ///
    /// # Errors
    /// [`OpenError::Missing`] when no agent has made one yet, others as [`SqlStore::open`].
    pub async fn open_to_read(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE_FILE);
        if !path.exists() {
            return Err(OpenError::Missing { store: path.display().to_string() });
        }
        Ok(Self::on(Database::Sqlite(sqlite::open_to_read(&path).await?), None))
    }

    /// Opens the store of an agent, wherever it is configured to be; the state directory is kept from other agents in any case.
    ///
    /// # Errors
    /// As [`SqlStore::open`].
    pub async fn open_at(state: &settings::State) -> Result<Self, OpenError> {
        match &state.postgres {
            None => Self::open(&state.directory).await,
            Some(at) => {
                let lock = lock(&state.directory)?;
                Ok(Self::on(Database::Postgres(Box::new(Postgres::open(at).await?)), Some(lock)))
            }
        }
    }

    /// Opens the store to read from it, wherever it is.
    ///
    /// # Errors
    /// As [`SqlStore::open_to_read`].
    pub async fn read_at(state: &settings::State) -> Result<Self, OpenError> {
        match &state.postgres {
            None => Self::open_to_read(&state.directory).await,
            Some(at) => Ok(Self::on(Database::Postgres(Box::new(Postgres::open_to_read(at).await?)), None)),
        }
    }

    fn on(database: Database, lock: Option<File>) -> Self {
        Self { database, turn: tokio::sync::Mutex::default(), parsed: Mutex::default(), seat: None, _lock: lock }
    }

    /// Closes every connection; what was committed is durable already.
    pub async fn close(&self) {
        match &self.database {
            Database::Sqlite(pool) => pool.close().await,
            Database::Postgres(postgres) => postgres.close().await,
        }
    }
}

pub(super) fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes a state directory if need be, and keeps other agents out of it.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|source| OpenError::File { path: directory.to_owned(), source })?;
    let path = directory.join(LOCK_FILE);
    let failed = |source| OpenError::File { path: path.clone(), source };
    let file = private_file(&path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => sweep(directory).map(|()| file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// Deletes what a restore has left that was killed. Under the lock no other is under way.
fn sweep(directory: &Path) -> Result<(), OpenError> {
    let failed = |path: &Path, source| OpenError::File { path: path.to_owned(), source };
    for entry in std::fs::read_dir(directory).map_err(|source| failed(directory, source))? {
        let path = entry.map_err(|source| failed(directory, source))?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(RESTORE_PREFIX)) {
            std::fs::remove_file(&path).map_err(|source| failed(&path, source))?;
        }
    }
    Ok(())
}
