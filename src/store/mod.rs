//! The store: rows that survive everything, in SQLite or in PostgreSQL.
//!
//! [`open`] opens or refuses a store, [`sql`] is the engine's [`crate::engine::ports::Store`], [`history`] is what people and
//! couriers read, [`calendars`] what was read of calendars. Every write is one transaction; `changes` makes the engine's.
//! All of that is written once: `statement` names what is asked of a database, [`sqlite`] and [`postgres`] say it in SQL,
//! `database` runs it. [`schema`] tells which versions may work on the same rows.

pub mod calendars;
mod changes;
mod database;
pub mod history;
pub mod open;
pub mod postgres;
pub mod rows;
pub mod schema;
pub mod sql;
pub mod sqlite;
mod statement;
mod text;

pub use open::{OpenError, SqlStore};
