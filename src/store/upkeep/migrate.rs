//! Bringing a store up to date without an agent, and telling what that takes.

use sqlx::{Connection, migrate::Migrator};

use super::shown;
use crate::{
    config::settings,
    store::{
        OpenError, SqlStore,
        open::{DATABASE_FILE, lock},
        postgres::{self, Postgres},
        schema, sqlite,
    },
};

/// Whether anything is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intent {
    /// It is only told.
    Tell,
    /// It is done.
    Do,
}

/// What it took, or takes, to bring a store up to date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// Where the store is.
    pub store: String,
    /// The newest migration that it had seen; `None` when there was no store.
    pub from: Option<i64>,
    /// The newest one that it has seen then.
    pub to: i64,
    /// Those between, each by its number and its name.
    pub steps: Vec<(i64, String)>,
}

/// Brings a store up to date, or tells what that takes. A second time it does nothing.
///
/// # Errors
/// [`OpenError::Outdated`] when a newer program has changed it so that this one must not touch it; [`OpenError::InUse`] of a
/// file that has to be changed while an agent works on it.
pub async fn migrate(state: &settings::State, intent: Intent) -> Result<Migrated, OpenError> {
    // An agent at work has brought its store up to date: nothing is to be done then, and nobody is in the way.
    let look = seen(state).await?;
    if intent == Intent::Tell || look.steps.is_empty() {
        return Ok(look);
    }
    if let Some(at) = &state.postgres {
        // Whoever does it at the same time waits for the other, and finds it done.
        Postgres::open(at).await?.close().await;
        return Ok(look);
    }
    let lock = lock(&state.directory)?;
    // Another may have done it before this one had the lock.
    let look = seen(state).await?;
    SqlStore::open_locked(&state.directory, lock).await?.close().await;
    Ok(look)
}

/// Looks what is to be done.
async fn seen(state: &settings::State) -> Result<Migrated, OpenError> {
    let (from, migrator) = match &state.postgres {
        None => {
            let path = state.directory.join(DATABASE_FILE);
            // The agent makes an empty file first.
            let from = if path.metadata().is_ok_and(|file| file.len() > 0) {
                let mut connection = sqlite::connect_to_read(&path).await?;
                sqlite::allow(&mut connection, &path).await?;
                let from = sqlite::migrated(&mut connection, &path).await?;
                connection.close().await.map_err(sqlite::failed(&path))?;
                from
            } else {
                None
            };
            (from, schema::sqlite())
        }
        Some(at) => {
            let mut connection = postgres::open::connect(at).await?;
            postgres::open::allow(&mut connection, at).await?;
            let from = postgres::open::migrated(&mut connection, at).await?;
            let failed = |source| OpenError::Database { store: at.shown(), source };
            connection.close().await.map_err(failed)?;
            (from, schema::postgres())
        }
    };
    Ok(told(shown(state), from, &migrator))
}

fn told(store: String, from: Option<i64>, migrator: &Migrator) -> Migrated {
    let new = migrator.iter().filter(|step| from.is_none_or(|from| step.version > from));
    let steps: Vec<_> = new.map(|step| (step.version, step.description.to_string())).collect();
    let to = steps.last().map(|(version, _)| *version).or(from).unwrap_or_default();
    Migrated { store, from, to, steps }
}
