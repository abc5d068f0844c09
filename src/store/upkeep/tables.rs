//! The tables, for those who take all rows from one database to another. Rows travel as JSON objects.
//!
//! Left out are `schema` and `lease`: each database has its own.

use serde_json::{Map, Value};
use sqlx::{Column, Decode, FromRow, Row, Type, TypeInfo, postgres::PgRow, sqlite::SqliteRow};

use crate::store::text::Text;

/// A database, as far as its SQL differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

/// A table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// The columns that both databases have.
    columns: &'static [&'static str],
    /// Columns that only PostgreSQL has, and that follow from the others.
    derived: &'static [&'static str],
    /// Whether it matters which row came first, though no column that both have tells.
    has_order: bool,
}

const fn table(name: &'static str, columns: &'static [&'static str]) -> Table {
    Table { name, columns, derived: &[], has_order: false }
}

/// All of them.
pub const TABLES: [Table; 12] = [
    Table {
        name: "runs",
        columns: &[
            "id",
            "experiment",
            "trigger_kind",
            "trigger_key",
            "phase",
            "is_open",
            "opened_at_us",
            "changed_at_us",
            "revision",
            "body",
        ],
        derived: &["deployment_key", "deployment_version", "deployment_id", "has_facts"],
        has_order: true,
    },
    table("journal", &["seq", "at_us", "run", "kind", "observation", "explained"]),
    table("cursors", &["experiment", "schedule", "at_us", "left_at_us"]),
    table("events", &["source", "event_id", "detail_type", "received_at_us", "runs", "queue", "body"]),
    Table {
        name: "quarantine",
        columns: &["queue", "message_id", "received_at_us", "reason", "body", "body_bytes"],
        derived: &[],
        has_order: true,
    },
    table("stop_requests", &["run", "at_us", "body"]),
    table("halt", &["id", "body"]),
    table("couriers", &["name", "seq"]),
    table("calendars", &["name", "source", "read_at_us", "found", "failure"]),
    table("ledgers", &["experiment", "body"]),
    table("pauses", &["experiment", "body"]),
    table("deployments", &["experiment", "key", "changed_at_us", "body"]),
];

impl Table {
    /// Returns the SQL that reads every row.
    pub(super) fn select(&self, dialect: Dialect) -> String {
        let order = match (self.has_order, dialect) {
            (false, _) => "",
            (true, Dialect::Sqlite) => " ORDER BY rowid",
            (true, Dialect::Postgres) => " ORDER BY seq",
        };
        format!("SELECT {} FROM {}{order}", self.columns.join(", "), self.name)
    }

    /// Returns the SQL that writes the rows of a JSON list of objects, in their order.
    pub(super) fn insert(&self, dialect: Dialect) -> String {
        let Self { name, columns, derived, .. } = self;
        match dialect {
            Dialect::Sqlite => {
                let values: Vec<String> = columns.iter().map(|column| format!("value ->> '{column}'")).collect();
                let (columns, values) = (columns.join(", "), values.join(", "));
                format!("INSERT INTO {name} ({columns}) SELECT {values} FROM json_each(?1)")
            }
            Dialect::Postgres => {
                let columns = [columns, *derived].concat().join(", ");
                format!(
                    "INSERT INTO {name} ({columns}) SELECT {columns} FROM jsonb_populate_recordset(NULL::{name}, $1::jsonb)"
                )
            }
        }
    }
}

/// A row by the names of its columns.
pub(super) struct Values(pub Map<String, Value>);

impl<'r> FromRow<'r, SqliteRow> for Values {
    fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
        values(row, "INTEGER")
    }
}

impl<'r> FromRow<'r, PgRow> for Values {
    fn from_row(row: &'r PgRow) -> Result<Self, sqlx::Error> {
        values(row, "INT8")
    }
}

/// Reads a row whose columns are numbers, of a type of that name, or texts.
fn values<'r, R: Row>(row: &'r R, number: &str) -> Result<Values, sqlx::Error>
where
    usize: sqlx::ColumnIndex<R>,
    Option<i64>: Decode<'r, R::Database> + Type<R::Database>,
    Option<Text>: Decode<'r, R::Database> + Type<R::Database>,
{
    let mut values = Map::new();
    for (at, column) in row.columns().iter().enumerate() {
        let value = if column.type_info().name() == number {
            row.try_get::<Option<i64>, _>(at)?.map_or(Value::Null, Value::from)
        } else {
            row.try_get::<Option<Text>, _>(at)?.map_or(Value::Null, |text| Value::from(text.0))
        };
        values.insert(column.name().to_owned(), value);
    }
    Ok(Values(values))
}
