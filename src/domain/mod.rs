//! The core: names, time, windows, runs and the planner.
//!
//! Pure: no tokio, no SDK, no SQL, no environment, no clock, no randomness. Every function can be called with any
//! arguments and fails only because of them. Start reading at [`plan`].

pub mod calendar;
pub mod catalogue;
pub mod civil;
pub mod cost;
pub mod departed;
pub mod deployment;
pub mod estimate;
pub mod event;
pub mod experiment;
pub mod fis;
pub mod forecast;
pub mod ids;
pub mod ledger;
pub mod lever;
pub mod outcome;
pub mod pattern;
pub mod place;
pub mod plan;
pub mod policy;
pub mod provision;
pub mod react;
pub mod run;
pub mod schedule;
pub mod stray;
pub mod target;
pub mod template;
pub mod trace;
pub mod window;
pub mod words;
