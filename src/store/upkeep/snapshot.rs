//! One consistent picture of a whole store, read row by row, also while an agent writes.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use sqlx::{AssertSqlSafe, Connection as _, Executor, PgConnection, SqlSafeStr, SqliteConnection};

use super::{
    UpkeepError,
    tables::{Dialect, TABLES},
};
use crate::{
    config::settings,
    engine::ports::StoreError,
    store::{
        OpenError,
        database::Columns,
        open::DATABASE_FILE,
        postgres,
        rows::read_failed,
        schema::{SCHEMA, Schema},
        sqlite,
    },
};

/// Longest wait for the next row: with all rows sorted first it takes longer than for most.
const ROW_TIMEOUT: Duration = Duration::from_secs(120);

/// Rows of each table.
pub type Counts = BTreeMap<&'static str, u64>;

/// One consistent picture of a store of this program's schema.
pub struct Snapshot {
    /// Where it is, for people.
    pub store: String,
    /// Its schema.
    pub schema: Schema,
    connection: Connection,
}

enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Snapshot {
    /// Takes a picture of the configured store.
    ///
    /// # Errors
    /// [`UpkeepError::Open`], or [`UpkeepError::Schema`] of an older one.
    pub async fn of(state: &settings::State) -> Result<Self, UpkeepError> {
        match &state.postgres {
            None => Self::of_file(&state.directory.join(DATABASE_FILE)).await,
            Some(at) => {
                let mut connection = postgres::open::connect(at).await?;
                let schema = postgres::open::allow(&mut connection, at).await?;
                let schema = schema.ok_or_else(|| OpenError::Missing { store: at.shown() })?;
                Self::begin(at.shown(), schema, Connection::Postgres(connection)).await
            }
        }
    }

    /// Takes a picture of an SQLite file.
    ///
    /// # Errors
    /// As [`Snapshot::of`].
    pub async fn of_file(path: &Path) -> Result<Self, UpkeepError> {
        let mut connection = sqlite::connect_to_read(path).await?;
        let store = path.display().to_string();
        let schema = match sqlite::allow(&mut connection, path).await? {
            Some(schema) => schema,
            None => match sqlite::migrated(&mut connection, path).await? {
                Some(version) => Schema { version, oldest: version },
                None => return Err(UpkeepError::NotAStore { store }),
            },
        };
        Self::begin(store, schema, Connection::Sqlite(connection)).await
    }

    async fn begin(store: String, schema: Schema, mut connection: Connection) -> Result<Self, UpkeepError> {
        if schema.version < SCHEMA {
            let hint = "`firedrill store migrate` brings it up to date, and so does the agent at its start";
            return Err(UpkeepError::Schema { store, version: schema.version, hint });
        }
        let begun = match &mut connection {
            Connection::Sqlite(connection) => connection.execute("BEGIN").await.map(|_| ()),
            Connection::Postgres(connection) => {
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY").await.map(|_| ())
            }
        };
        begun.map_err(|error| UpkeepError::store(&store)(read_failed(error)))?;
        Ok(Self { store, schema, connection })
    }

    /// Returns which SQL it takes.
    pub fn dialect(&self) -> Dialect {
        match &self.connection {
            Connection::Sqlite(_) => Dialect::Sqlite,
            Connection::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Reads rows one after the other, so that no more than a few are in memory.
    pub(super) fn rows<T: Columns>(&mut self, sql: String) -> BoxStream<'_, Result<T, StoreError>> {
        let sql = AssertSqlSafe(sql).into_sql_str();
        let rows: BoxStream<'_, Result<T, sqlx::Error>> = match &mut self.connection {
            Connection::Sqlite(connection) => sqlx::query_as(sql).fetch(connection),
            Connection::Postgres(connection) => sqlx::query_as(sql).fetch(connection),
        };
        let waiting = futures_util::stream::try_unfold(rows, |mut rows| async {
            match tokio::time::timeout(ROW_TIMEOUT, rows.try_next()).await {
                Ok(row) => Ok(row?.map(|row| (row, rows))),
                Err(_elapsed) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
            }
        });
        waiting.map_err(read_failed).boxed()
    }

    /// Reads the only row.
    pub(super) async fn row<T: Columns>(&mut self, sql: String) -> Result<T, StoreError> {
        self.rows(sql).try_next().await?.ok_or_else(|| read_failed(sqlx::Error::RowNotFound))
    }

    /// Counts the rows of each table.
    ///
    /// # Errors
    /// [`UpkeepError::Store`] when it cannot be read.
    pub async fn counts(&mut self) -> Result<Counts, UpkeepError> {
        let failed = UpkeepError::store(&self.store);
        let mut counts = Counts::new();
        for table in &TABLES {
            let (count,): (i64,) = self.row(format!("SELECT COUNT(*) FROM {}", table.name)).await.map_err(&failed)?;
            counts.insert(table.name, u64::try_from(count).unwrap_or_default());
        }
        Ok(counts)
    }

    /// Returns the highest position that the journal has ever given away.
    pub(super) async fn last_seq(&mut self) -> Result<i64, StoreError> {
        let sql = match self.dialect() {
            Dialect::Sqlite => "SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = 'journal'",
            Dialect::Postgres => {
                "SELECT COALESCE(pg_sequence_last_value(pg_get_serial_sequence('journal', 'seq')::regclass), 0)"
            }
        };
        self.row(sql.to_owned()).await.map(|(seq,)| seq)
    }

    /// Ends the connection.
    pub async fn close(self) {
        // Nothing was written; an end that fails changes nothing.
        let _ended = match self.connection {
            Connection::Sqlite(connection) => connection.close().await,
            Connection::Postgres(connection) => connection.close().await,
        };
    }
}
