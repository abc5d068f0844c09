//! The shell around the planner: it loads rows, asks the planner, performs effects and records what it saw.
//!
//! It decides nothing. [`ports`] says what it needs from outside, [`run_loop`] is the loop, [`perform`] turns one effect
//! into a call and its answer into a row, `term` says until when a replica may make one. `calls` holds those under way,
//! `unwritten` is about stops that do not wait for the store, and `reach` about those that do not get through to FIS.

mod calls;
pub mod perform;
pub mod ports;
mod reach;
pub mod run_loop;
mod term;
mod unwritten;
