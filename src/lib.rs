//! Firedrill runs AWS FIS experiments by itself: at cron slots and after deployments, never twice, never in a blackout.
pub mod config;
pub mod domain;
pub mod simulator;
