//! Firedrill runs AWS FIS experiments by itself: at cron slots and after deployments, never twice, never in a blackout.
pub mod aws;
pub mod config;
pub mod domain;
pub mod engine;
pub mod ingest;
pub mod store;
pub mod telemetry;
