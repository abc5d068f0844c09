//! What people do with a store as a whole: look whether it is sound, bring it up to date, keep a copy of it, take one back.
//!
//! Everything reads one consistent picture ([`snapshot`]), also while an agent writes. A copy is always an SQLite file of the
//! same schema, wherever the rows come from: so moving from one database to the other is a [`backup`] and a [`restore`].

pub mod backup;
pub mod check;
pub mod migrate;
pub mod restore;
mod retold;
pub mod snapshot;
pub mod tables;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use super::OpenError;
use crate::{config::settings, engine::ports::StoreError};

/// How far something has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many rows are to be looked at from now on.
    Total(u64),
    /// So many more were.
    Rows(u64),
    /// The step is being made that makes all of it durable.
    Ending,
}

/// Who is told of it.
pub type Told<'a> = &'a (dyn Fn(Progress) + Send + Sync);

/// Why a store was not copied, checked or taken back.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// It could not be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It could not be read or written.
    #[error("the store `{store}` failed")]
    Store {
        /// Which.
        store: String,
        /// How.
        #[source]
        source: StoreError,
    },
    /// A file could not be read, written or moved.
    #[error("could not {action} `{}`", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// There is a file of that name.
    #[error("`{}` is there already\nhint: `--force` replaces it", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// It is something else.
    #[error("`{store}` is not a store of firedrill")]
    NotAStore {
        /// What was taken for one.
        store: String,
    },
    /// Its schema is not the one that this program copies and checks.
    #[error("the store `{store}` has schema {version}, and this program knows {known}\nhint: {hint}", known = super::schema::SCHEMA)]
    Schema {
        /// Which.
        store: String,
        /// Its schema.
        version: i64,
        /// What to do.
        hint: &'static str,
    },
    /// Something is wrong with the copy.
    #[error("`{}` is not sound: {count} findings, the first in {first}\nhint: `firedrill store check FILE` shows them", path.display())]
    Unsound {
        /// Which.
        path: PathBuf,
        /// How many.
        count: u64,
        /// The first.
        first: check::Finding,
    },
    /// The store that was to take the rows has some.
    #[error("the store `{store}` is not empty: it has {rows} rows in `{table}`\nhint: {hint}")]
    NotEmpty {
        /// Which.
        store: String,
        /// The first table that has some.
        table: &'static str,
        /// How many.
        rows: u64,
        /// What to do.
        hint: &'static str,
    },
    /// An agent works on it.
    #[error("the store `{store}` is in use by the agent `{holder}`\nhint: stop it, and all that stand by, first")]
    Held {
        /// Which.
        store: String,
        /// The agent.
        holder: String,
    },
    /// Somebody reads the file that is to be put aside.
    #[error("`{}` is being read by somebody else\nhint: try again when that has ended", path.display())]
    Read {
        /// Which.
        path: PathBuf,
    },
    /// Not every row arrived.
    #[error("`{table}` has {there} rows in the copy instead of {here}: nothing was kept")]
    Lost {
        /// Which table.
        table: &'static str,
        /// Rows that there are.
        here: u64,
        /// Rows that arrived.
        there: u64,
    },
}

impl UpkeepError {
    fn store(store: &str) -> impl Fn(StoreError) -> Self + use<> {
        let store = store.to_owned();
        move |source| Self::Store { store: store.clone(), source }
    }

    fn file(action: &'static str, path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::File { action, path: path.to_owned(), source }
    }
}

/// Says where a store is, for people.
pub fn shown(state: &settings::State) -> String {
    match &state.postgres {
        None => state.directory.join(super::open::DATABASE_FILE).display().to_string(),
        Some(at) => at.shown(),
    }
}

/// Returns the folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes it durable which files a folder has.
fn sync_folder(folder: &Path) -> Result<(), UpkeepError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(UpkeepError::file("sync", folder))
}
