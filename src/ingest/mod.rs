//! Ingest: everything that comes from outside becomes a row, then the planner is poked.
//!
//! Queue messages in [`event`], those that could not be read in [`quarantine`], operators in [`manual`]. Nothing here decides whether a run starts.

pub mod event;
pub mod manual;
pub mod quarantine;
