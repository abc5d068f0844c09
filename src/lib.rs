//! Firedrill runs AWS FIS experiments by itself: at cron slots and after deployments, never twice, never in a blackout.
pub mod aws;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod domain;
pub mod engine;
pub mod http;
pub mod ingest;
pub mod store;
pub mod telemetry;
