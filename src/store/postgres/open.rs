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

/// The hosts of a store, of which one takes writes, and where the password for them is.
pub(super) struct Hosts {
    hosts: Vec<PgConnectOptions>,
    password_file: Option<PathBuf>,
}

impl fmt::Debug for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hosts").field(&self.hosts.len()).field(&self.password_file).finish()
    }
}

impl Hosts {
    fn of(at: &settings::Postgres, more: &[(&str, &str)]) -> Result<Self, sqlx::Error> {
        let host = |url: &String| {
            let mut options = PgConnectOptions::from_str(url)?.application_name("firedrill");
            let is_local = options.get_socket().is_some() || options.get_host().starts_with('/');
            if !url.contains("sslmode=") && !is_local {
                options = options.ssl_mode(PgSslMode::VerifyFull);
            }
            Ok(options.options(SESSION).options(more.iter().copied()))
        };
        let hosts = at.hosts().iter().map(host).collect::<Result<_, sqlx::Error>>()?;
        Ok(Self { hosts, password_file: at.password_file.clone() })
    }

    /// Connects to the first host that takes writes, with the password as it is now; returns how, and the connection, which
    /// has some more settings.
    ///
    /// # Errors
    /// What each of them said.
    pub(super) async fn primary(&self, more: &[(&str, &str)]) -> Result<(PgConnectOptions, PgConnection), sqlx::Error> {
        let password = self.password_file.as_ref().map(std::fs::read_to_string).transpose()?;
        let mut refusals = Vec::new();
        for host in &self.hosts {
            let host = match &password {
                Some(text) => host.clone().password(text.trim_end_matches(['\r', '\n'])),
                None => host.clone(),
            };
            match tokio::time::timeout(CONNECT_TIMEOUT, connect_to(&host, more)).await {
                Ok(Ok(connection)) => return Ok((host, connection)),
                Ok(Err(error)) => refusals.push((host, error)),
                Err(_elapsed) => refusals.push((host, sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))),
            }
        }
        if let [(_, error)] = &mut refusals[..] {
            return Err(std::mem::replace(error, sqlx::Error::PoolClosed));
        }
        let said = |(host, error): &(PgConnectOptions, sqlx::Error)| format!("{}: {error}", shown(host));
        Err(sqlx::Error::Io(std::io::Error::other(refusals.iter().map(said).collect::<Vec<_>>().join("; "))))
    }
}

async fn connect_to(host: &PgConnectOptions, more: &[(&str, &str)]) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&host.clone().options(more.iter().copied())).await?;
    takes_writes(&mut connection).await?;
    Ok(connection)
}

/// Refuses a server that only follows another one, whose rows may be old, and one that was told to take no writes.
async fn takes_writes(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // What we ask for ourselves ('client') is no property of the server.
    const ASK: &str = "SELECT pg_is_in_recovery(), EXISTS (SELECT FROM pg_settings
         WHERE name = 'default_transaction_read_only' AND setting = 'on' AND source <> 'client')";
    match sqlx::query_as(ASK).fetch_one(connection).await? {
        (true, _) => Err(sqlx::Error::Io(std::io::Error::other("the server only follows another one"))),
        (false, true) => Err(sqlx::Error::Io(std::io::Error::other("the server takes no writes"))),
        (false, false) => Ok(()),
    }
}

/// Names a host, for people.
fn shown(host: &PgConnectOptions) -> String {
    let socket = host.get_socket().map(|path| path.display().to_string());
    socket.unwrap_or_else(|| format!("{}:{}", host.get_host(), host.get_port()))
}

impl Postgres {
    /// Opens a store for the agent, and brings it up to date; replicas that do so at once wait for each other.
    pub(in crate::store) async fn open(at: &settings::Postgres) -> Result<Self, OpenError> {
        let hosts = hosts(at, &[])?;
        let failed = |source| OpenError::Database { store: at.shown(), source };
        let (options, mut connection) = hosts.primary(&MIGRATING).await.map_err(failed)?;
        allow(&mut connection, at).await?;
        let migrated = schema::postgres().run_direct(None, &mut connection, false).await;
        migrated.map_err(|source| OpenError::Migrate { store: at.shown(), source })?;
        connection.close().await.map_err(failed)?;
        Ok(Self::on(options, hosts, at))
    }

    /// Opens a store to read from it.
    pub(in crate::store) async fn open_to_read(at: &settings::Postgres) -> Result<Self, OpenError> {
        let hosts = hosts(at, &READING)?;
        let failed = |source| OpenError::Database { store: at.shown(), source };
        let (options, mut connection) = hosts.primary(&[]).await.map_err(failed)?;
        allow(&mut connection, at).await?.ok_or_else(|| OpenError::Missing { store: at.shown() })?;
        connection.close().await.map_err(failed)?;
        Ok(Self::on(options, hosts, at))
    }

    fn on(options: PgConnectOptions, hosts: Hosts, at: &settings::Postgres) -> Self {
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS).acquire_timeout(CONNECT_TIMEOUT);
        // A name may lead to another server by now.
        let pool = pool.after_connect(|connection, _| Box::pin(takes_writes(connection)));
        let pool: PgPool = pool.connect_lazy_with(options);
        Self {
            pool,
            seat: Seat::new(settings::replica(at.replica.as_deref())),
            hosts,
            looking: tokio::sync::Mutex::default(),
        }
    }
}

/// Opens one connection for work on a store as a whole.
pub(in crate::store) async fn connect(at: &settings::Postgres) -> Result<PgConnection, OpenError> {
    let opened = hosts(at, &[])?.primary(&UPKEEP).await;
    opened.map(|(_, connection)| connection).map_err(|source| OpenError::Database { store: at.shown(), source })
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

fn hosts(at: &settings::Postgres, more: &[(&str, &str)]) -> Result<Hosts, OpenError> {
    let unreadable = |path: &PathBuf| std::fs::read_to_string(path).err().map(|source| (path.clone(), source));
    if let Some((path, source)) = at.password_file.as_ref().and_then(unreadable) {
        return Err(OpenError::File { path, source });
    }
    Hosts::of(at, more).map_err(|source| OpenError::Database { store: at.shown(), source })
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
