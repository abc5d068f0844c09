//! PostgreSQL: a server that several replicas share. One of them is active (see `lease`); all write one after the other.
//!
//! A replica that is paused or cut off must not hold up the others: the server ends what waits or idles too long, and a
//! connection whose transaction did not come to its end is closed and never used again.

pub(super) mod lease;
pub(super) mod open;
pub(super) mod statements;

use std::{future::Future, time::Duration};

use sqlx::{PgConnection, PgPool, Postgres as Server, SqlSafeStr, pool::PoolConnection};

use super::{
    database::{Columns, Writer},
    rows::{read_failed, write_failed},
    schema::{self, SCHEMA},
    statement::Statement,
    text,
};
use crate::engine::ports::StoreError;
use lease::{Known, Seat};

/// Longest time for an answer of the server: longer than it lets anything take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// What a server answers that takes no writes, by SQLSTATE.
const READ_ONLY: &str = "25006";

/// Whose turn it is to write: one writer at a time, as in SQLite, so that the journal is numbered in the order in which it
/// can be seen. Migrations take it too.
pub(super) const BEGIN: &str = "BEGIN; SELECT pg_advisory_xact_lock(7235142980551)";

/// A server, and this replica's place at it.
#[derive(Debug)]
pub struct Postgres {
    pool: PgPool,
    seat: Seat,
    hosts: open::Hosts,
    /// Whose turn it is to look for the host that takes writes, and what the last one was answered who found none.
    looking: tokio::sync::Mutex<Option<String>>,
}

/// A connection that is closed unless it is given back: in the middle of something it is of no use to anybody.
struct Connection(Option<PoolConnection<Server>>);

/// A transaction that writes, as the only one.
pub(super) struct Tx<'a> {
    connection: Connection,
    /// What is known of the lease when this is durable.
    renewed: Option<(&'a Seat, Known)>,
}

impl Postgres {
    /// Reads rows.
    pub(super) async fn read<T: Columns>(&self, statement: Statement, parameter: String) -> Result<Vec<T>, StoreError> {
        let mut connection = self.connection().await.map_err(read_failed)?;
        let found = rows(connection.get().map_err(read_failed)?, statement, parameter).await;
        connection.after(&found);
        found.map_err(read_failed)
    }

    /// Begins a transaction as soon as no other is under way. What the engine writes also renews the lease.
    pub(super) async fn begin(&self, writer: Writer) -> Result<Tx<'_>, StoreError> {
        let mut tx = Tx { connection: self.connection().await.map_err(write_failed)?, renewed: None };
        answer(sqlx::raw_sql(BEGIN.into_sql_str()).execute(tx.get()?)).await.map_err(write_failed)?;
        match writer {
            Writer::Engine => self.seat.keep(&mut tx, true).await?,
            Writer::Active => self.seat.keep(&mut tx, false).await?,
            Writer::Anyone => {
                let oldest: Option<i64> =
                    answer(sqlx::query_scalar("SELECT oldest FROM schema").fetch_optional(tx.get()?))
                        .await
                        .map_err(write_failed)?;
                schema::allows(oldest.unwrap_or(SCHEMA))?;
            }
        }
        Ok(tx)
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        // A server that does not answer must not hold up the end.
        let _closed_or_cut = tokio::time::timeout(ANSWER_TIMEOUT, self.pool.close()).await;
    }

    async fn connection(&self) -> Result<Connection, sqlx::Error> {
        let acquired = match self.pool.acquire().await {
            Err(error @ sqlx::Error::PoolClosed) => return Err(error),
            // Another host may take writes by now, or another password be asked for; and a pool does not say what is wrong.
            Err(_) => {
                self.find_primary().await?;
                self.pool.acquire().await
            }
            acquired => acquired,
        };
        acquired.map(|connection| Connection(Some(connection)))
    }

    /// Looks for the host that takes writes. Only one looks at a time: a server that is too busy has enough to do, and what
    /// is found or not holds for all who wait.
    async fn find_primary(&self) -> Result<(), sqlx::Error> {
        let Ok(mut refusal) = self.looking.try_lock() else {
            let refusal = self.looking.lock().await.clone();
            return refusal.map_or(Ok(()), |refusal| Err(sqlx::Error::Io(std::io::Error::other(refusal))));
        };
        let found = self.hosts.primary(&[]).await;
        *refusal = found.as_ref().err().map(ToString::to_string);
        self.pool.set_connect_options(found?.0);
        Ok(())
    }
}

impl Connection {
    fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        // It is there until it is given back.
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives it back after an answer; also one that says no was an answer, unless the server takes no writes any more.
    fn after<T>(mut self, answered: &Result<T, sqlx::Error>) {
        let is_of_use = match answered {
            Ok(_) => true,
            Err(sqlx::Error::Database(error)) => error.code().as_deref() != Some(READ_ONLY),
            Err(_) => false,
        };
        if is_of_use {
            drop(self.0.take());
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Dropped outside of the pool it is closed at once, without a word that nobody may be there to hear.
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Tx<'_> {
    fn get(&mut self) -> Result<&mut PgConnection, StoreError> {
        self.connection.get().map_err(write_failed)
    }

    /// Runs a statement; tells how many rows it changed.
    pub(super) async fn run(&mut self, statement: Statement, parameter: String) -> Result<u64, StoreError> {
        let query = sqlx::query(statements::sql(statement)).bind(text::to_postgres(parameter));
        Ok(answer(query.execute(self.get()?)).await.map_err(write_failed)?.rows_affected())
    }

    /// Runs a statement and returns what it returns.
    pub(super) async fn rows<T: Columns>(
        &mut self,
        statement: Statement,
        parameter: String,
    ) -> Result<Vec<T>, StoreError> {
        rows(self.get()?, statement, parameter).await.map_err(write_failed)
    }

    /// Makes everything durable.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        let done = answer(sqlx::raw_sql("COMMIT".into_sql_str()).execute(self.get()?)).await;
        if done.is_ok() {
            self.connection.after(&done);
            if let Some((seat, renewed)) = self.renewed {
                seat.renewed(renewed);
            }
        }
        done.map(|_| ()).map_err(write_failed)
    }
}

async fn rows<T: Columns>(
    connection: &mut PgConnection,
    statement: Statement,
    parameter: String,
) -> Result<Vec<T>, sqlx::Error> {
    let query = sqlx::query_as(statements::sql(statement)).bind(text::to_postgres(parameter));
    answer(query.fetch_all(connection)).await
}

/// Waits for an answer, not for ever.
async fn answer<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    match tokio::time::timeout(ANSWER_TIMEOUT, asked).await {
        Ok(answered) => answered,
        Err(_elapsed) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}
