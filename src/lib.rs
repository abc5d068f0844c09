//! Firedrill runs AWS FIS experiments by itself: at cron slots and after deployments, never twice, never in a blackout.
//!
//! # The map
//! Every input becomes a row, a pure planner reads all rows and the time and says what to do, a small shell does it and
//! records what it saw. Start-up, recovery, forecast and the normal path are the same code.
//!
//! | module | what it is | may use |
//! |---|---|---|
//! | [`domain`] | names, time, windows, runs, the planner; pure | nothing of ours |
//! | [`config`] | files and environment to settings, or every mistake | `domain` |
//! | [`engine`] | the loop around the planner, and its ports | `domain` |
//! | [`ingest`] | messages and operators' wishes to rows | `domain`, `engine::ports` |
//! | [`store`] | rows on SQLite | `domain`, `engine::ports` |
//! | [`aws`] | FIS, SQS, EventBridge and change calendars by the SDK | `domain`, `engine::ports`, `config::settings`, `ingest` |
//! | [`http`] | the operators' socket and the probes' port | `domain`, `engine::ports`, `ingest` |
//! | [`telemetry`] | logs, traces, metrics | `domain`, `config::settings` |
//! | [`simulator`] | FIS and what is around it, on loopback | `domain` |
//! | [`daemon`] | puts the agent together and supervises it | all |
//! | [`cli`] | one file a subcommand | all |
//!
//! # Rules
//! Only `domain` decides, and it never reads a clock, chance or the environment. Only `engine` changes a run. What is not
//! known never allows a start. Files have at most 500 lines, functions 70. A test holds the directions and the limits.

pub mod aws;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod http;
pub mod ingest;
pub mod simulator;
pub mod store;
pub mod telemetry;
