//! AWS: the SDK's clients behind our ports.
//!
//! [`sdk`] builds clients, [`classify`] says what a failed call means, [`fis`] is the engine's fault injector (with
//! `place` and `cloudwatch`, which tell of a place), [`sqs`] feeds
//! the ingest, [`eventbridge`] publishes what happened, [`ssm`] reads change calendars.

pub mod classify;
mod cloudwatch;
pub mod dead_letters;
pub mod eventbridge;
pub mod fis;
pub mod lever;
pub mod place;
pub mod provision;
pub mod sdk;
pub mod sqs;
pub mod ssm;
