//! The agent's database as others get at it while the agent runs.

use sqlx::{ConnectOptions, Connection, Executor, SqliteConnection, sqlite::SqliteConnectOptions};
use tokio::runtime::{Builder, Runtime};

use super::{PATIENCE, agent::Home};

/// Another process that holds the database, so that nothing can be written; it lets go when dropped.
pub struct Lock {
    runtime: Runtime,
    connection: Option<SqliteConnection>,
}

impl Lock {
    pub fn take(home: &Home) -> Self {
        let (runtime, mut connection) = connect(home);
        runtime.block_on(connection.execute("BEGIN EXCLUSIVE")).expect("a lock");
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.runtime.block_on(connection.close()).expect("an end");
        }
    }
}

/// Runs a statement.
pub fn execute(home: &Home, sql: &'static str) {
    let (runtime, mut connection) = connect(home);
    runtime.block_on(connection.execute(sql)).expect("a change");
    runtime.block_on(connection.close()).expect("an end");
}

/// What the database's own check finds, `ok` when nothing.
pub fn integrity(home: &Home) -> String {
    let (runtime, mut connection) = connect(home);
    let found = runtime.block_on(sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut connection));
    runtime.block_on(connection.close()).expect("an end");
    found.unwrap_or_else(|error| error.to_string())
}

fn connect(home: &Home) -> (Runtime, SqliteConnection) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let options = SqliteConnectOptions::new().filename(home.state().join("firedrill.db")).busy_timeout(PATIENCE);
    let connection = runtime.block_on(options.connect()).expect("a connection");
    (runtime, connection)
}
