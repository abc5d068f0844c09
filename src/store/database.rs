//! The databases: the same statements in each one's SQL, and transactions of those who write.

use serde::Serialize;
use sqlx::{FromRow, Sqlite, SqlitePool, Transaction, postgres::PgRow, sqlite::SqliteRow};
use tokio::sync::MutexGuard;

use super::{
    SqlStore, postgres,
    postgres::Postgres,
    rows::{read_failed, to_json, write_failed},
    sqlite::{self, seat::Seat},
    statement::Statement,
};
use crate::engine::ports::StoreError;

/// Where the rows are.
#[derive(Debug)]
pub(super) enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(Box<Postgres>),
}

/// Whose business a write is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    /// The engine of the replica that has the lease, which thereby renews it: refused to every other.
    Engine,
    /// What else belongs to that replica: refused to every other, and no sign that its engine lives.
    Active,
    /// Anyone's: what it writes is the same whoever does, and how often.
    Anyone,
}

/// A row as a tuple of its columns, out of either database.
pub(super) trait Columns:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static
{
}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin + 'static> Columns for T {}

/// A transaction that writes. Dropped before its end it leaves nothing.
pub(super) struct Tx<'a> {
    open: Open<'a>,
    /// Writers of this process take turns: SQLite lets who finds it locked sleep for up to 100 ms, whenever it is free again.
    _turn: MutexGuard<'a, ()>,
}

enum Open<'a> {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(postgres::Tx<'a>),
}

impl Database {
    /// Reads rows.
    pub(super) async fn read<T: Columns>(
        &self,
        statement: Statement,
        parameters: &impl Serialize,
    ) -> Result<Vec<T>, StoreError> {
        let parameter = to_json("parameters", parameters)?;
        match self {
            Self::Sqlite(pool) => {
                let query = sqlx::query_as(sqlite::statements::sql(statement)).bind(parameter);
                query.fetch_all(pool).await.map_err(read_failed)
            }
            Self::Postgres(postgres) => postgres.read(statement, parameter).await,
        }
    }

    /// Reads the first row, if there is one.
    pub(super) async fn first<T: Columns>(
        &self,
        statement: Statement,
        parameters: &impl Serialize,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.read(statement, parameters).await?.into_iter().next())
    }
}

impl SqlStore {
    /// Holds that what is written goes where it will be found again.
    pub(super) fn is_seated(&self) -> Result<(), StoreError> {
        self.seat.as_ref().map_or(Ok(()), Seat::check)
    }

    /// Begins a transaction that has the right to write from the start, so that it cannot fail half-way for want of it.
    pub(super) async fn write(&self, writer: Writer) -> Result<Tx<'_>, StoreError> {
        let turn = self.turn.lock().await;
        self.is_seated()?;
        let open = match &self.database {
            Database::Sqlite(pool) => Open::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await.map_err(write_failed)?),
            Database::Postgres(postgres) => Open::Postgres(postgres.begin(writer).await?),
        };
        Ok(Tx { open, _turn: turn })
    }

    /// Runs one statement in a transaction of its own; tells how many rows it changed.
    pub(super) async fn write_one(
        &self,
        writer: Writer,
        statement: Statement,
        parameters: &impl Serialize,
    ) -> Result<u64, StoreError> {
        let mut tx = self.write(writer).await?;
        let changed = tx.run(statement, parameters).await?;
        tx.commit().await?;
        Ok(changed)
    }
}

impl Tx<'_> {
    /// Runs a statement; tells how many rows it changed.
    pub(super) async fn run(&mut self, statement: Statement, parameters: &impl Serialize) -> Result<u64, StoreError> {
        let parameter = to_json("parameters", parameters)?;
        match &mut self.open {
            Open::Sqlite(tx) => {
                let query = sqlx::query(sqlite::statements::sql(statement)).bind(parameter);
                Ok(query.execute(&mut **tx).await.map_err(write_failed)?.rows_affected())
            }
            Open::Postgres(tx) => tx.run(statement, parameter).await,
        }
    }

    /// Runs a statement over rows, and returns what it returns; without rows it does nothing.
    pub(super) async fn rows<T: Columns, P: Serialize>(
        &mut self,
        statement: Statement,
        rows: &[P],
    ) -> Result<Vec<T>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let parameter = to_json("parameters", &rows)?;
        match &mut self.open {
            Open::Sqlite(tx) => {
                let query = sqlx::query_as(sqlite::statements::sql(statement)).bind(parameter);
                query.fetch_all(&mut **tx).await.map_err(write_failed)
            }
            Open::Postgres(tx) => tx.rows(statement, parameter).await,
        }
    }

    /// Runs a statement over rows that returns nothing; without rows it does nothing.
    pub(super) async fn each<P: Serialize>(&mut self, statement: Statement, rows: &[P]) -> Result<(), StoreError> {
        if !rows.is_empty() {
            self.run(statement, &rows).await?;
        }
        Ok(())
    }

    /// Makes everything durable.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.open {
            Open::Sqlite(tx) => tx.commit().await.map_err(write_failed),
            Open::Postgres(tx) => tx.commit().await,
        }
    }
}
