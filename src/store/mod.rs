//! The store: rows that survive everything.
//!
//! [`open`] opens or refuses a database file, [`sqlite`] is the engine's [`crate::engine::ports::Store`], [`history`] is
//! what people and couriers read, [`calendars`] what was read of calendars. Every write is one transaction;
//! `changes` makes the engine's.

pub mod calendars;
mod changes;
pub mod history;
pub mod open;
pub mod rows;
pub mod sqlite;

pub use open::{OpenError, SqliteStore};
