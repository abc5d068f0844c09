//! Opening a store on a server: encrypted unless it is told otherwise, under an account whose password comes from a file.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use sqlx::{
    Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use super::{Postgres, lease::Seat};
use crate::{
    config::settings,
    store::{
        open::OpenError,
        schema::{self, Schema},
    },
};

/// Connections of an agent: one writes, the others read for the engine, couriers and people.
const MAX_CONNECTIONS: u32 = 6;
/// Longest wait for a connection, new or free.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// What the server is told of each connection, in milliseconds where it is a time: who is paused or cut off must not hold up
/// others for longer. Rows come in the order in which they are asked for, without workers beside each other; what was
/// acknowledged is on disk.
const SESSION: [(&str, &str); 6] = [
    // Writers wait for their turn inside of a transaction, and must then see what was written before it.
    ("default_transaction_isolation", "read committed"),
    ("lock_timeout", "3000"),
    ("statement_timeout", "6000"),
    ("idle_in_transaction_session_timeout", "2000"),
    ("max_parallel_workers_per_gather", "0"),
    ("synchronous_commit", "on"),
];

/// As [`SESSION`], for migrations, of which only one is under way: others wait for it.
const MIGRATING: [(&str, &str); 2] = [("lock_timeout", "60000"), ("statement_timeout", "60000")];

/// As [`SESSION`], for what is done with a store as a whole: rows are read one after the other for as long as it takes.
const UPKEEP: [(&str, &str); 3] =
    [("lock_timeout", "60000"), ("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "120000")];

/// What reads only.
const READING: [(&str, &str); 1] = [("default_transaction_read_only", "on")];

/// Where the password is.
pub(super) struct Password {
    file: PathBuf,
    options: PgConnectOptions,
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Password").field(&self.file).finish()
    }
}

impl Password {
    /// Reads the password anew.
    pub(super) fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let text = std::fs::read_to_string(&self.file)?;
        Ok(self.options.clone().password(text.trim_end_matches(['\r', '\n'])))
    }
}

/// Tells whether the server does not take who we are.
pub(super) fn is_denied(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code.starts_with("28"))
}

impl Postgres {
    /// Opens a store for the agent, and brings it up to date; replicas that do so at once wait for each other.
    pub(in crate::store) async fn open(at: &settings::Postgres) -> Result<Self, OpenError> {
        let (options, password) = options(at)?;
        let failed = |source| OpenError::Database { store: at.shown(), source };
        let mut connection = PgConnection::connect_with(&options.clone().options(MIGRATING)).await.map_err(failed)?;
        allow(&mut connection, at).await?;
        let migrated = schema::postgres().run_direct(None, &mut connection, false).await;
        migrated.map_err(|source| OpenError::Migrate { store: at.shown(), source })?;
        connection.close().await.map_err(failed)?;
        Ok(Self::on(options, password, at))
    }

    /// Opens a store to read from it.
    pub(in crate::store) async fn open_to_read(at: &settings::Postgres) -> Result<Self, OpenError> {
        let (options, password) = options(at)?;
        let options = options.options(READING);
        let failed = |source| OpenError::Database { store: at.shown(), source };
        let mut connection = PgConnection::connect_with(&options).await.map_err(failed)?;
        allow(&mut connection, at).await?.ok_or_else(|| OpenError::Missing { store: at.shown() })?;
        connection.close().await.map_err(failed)?;
        Ok(Self::on(options, password, at))
    }

    fn on(options: PgConnectOptions, password: Option<Password>, at: &settings::Postgres) -> Self {
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(CONNECT_TIMEOUT);
        let pool: PgPool = pool.connect_lazy_with(options);
        let replica = at.replica.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            format!("{}/{}", host.trim(), std::process::id())
        });
        Self { pool, seat: Seat::new(replica), password }
    }
}

/// Opens one connection for work on a store as a whole.
pub(in crate::store) async fn connect(at: &settings::Postgres) -> Result<PgConnection, OpenError> {
    let (options, _) = options(at)?;
    let failed = |source| OpenError::Database { store: at.shown(), source };
    PgConnection::connect_with(&options.options(UPKEEP)).await.map_err(failed)
}

/// Returns the newest migration that a store has seen.
pub(in crate::store) async fn migrated(
    connection: &mut PgConnection,
    at: &settings::Postgres,
) -> Result<Option<i64>, OpenError> {
    let failed = |source| OpenError::Database { store: at.shown(), source };
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !is_there {
        return Ok(None);
    }
    let newest = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations WHERE success");
    newest.fetch_one(connection).await.map_err(failed)
}

fn options(at: &settings::Postgres) -> Result<(PgConnectOptions, Option<Password>), OpenError> {
    let failed = |source| OpenError::Database { store: at.shown(), source };
    let mut options = PgConnectOptions::from_str(&at.url).map_err(failed)?.application_name("firedrill");
    let is_local = options.get_socket().is_some() || options.get_host().starts_with('/');
    if !at.url.contains("sslmode=") && !is_local {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    options = options.options(SESSION);
    let Some(file) = at.password_file.clone() else { return Ok((options, None)) };
    let password = Password { file, options };
    let unreadable = |error: sqlx::Error| match error {
        sqlx::Error::Io(source) => OpenError::File { path: password.file.clone(), source },
        source => failed(source),
    };
    Ok((password.options().map_err(unreadable)?, Some(password)))
}

/// Returns the schema of a store, if there is one, and refuses rows that a newer program has changed beyond what this one
/// knows.
pub(in crate::store) async fn allow(
    connection: &mut PgConnection,
    at: &settings::Postgres,
) -> Result<Option<Schema>, OpenError> {
    let failed = |source| OpenError::Database { store: at.shown(), source };
    let is_there: bool = sqlx::query_scalar("SELECT to_regclass('schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    if !is_there {
        return Ok(None);
    }
    let (version, oldest) =
        sqlx::query_as("SELECT version, oldest FROM schema").fetch_one(connection).await.map_err(failed)?;
    let schema = Schema { version, oldest };
    OpenError::unless_allowed(&at.shown(), schema)?;
    Ok(Some(schema))
}
