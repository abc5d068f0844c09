//! AWS: the SDK's clients behind our ports.
//!
//! [`sdk`] builds clients, [`classify`] says what a failed call means, [`fis`] is the engine's fault injector, [`sqs`] feeds
//! the ingest, [`eventbridge`] publishes what happened, [`ssm`] reads change calendars.

pub mod classify;
pub mod dead_letters;
pub mod eventbridge;
pub mod fis;
pub mod lever;
pub mod provision;
pub mod sdk;
pub mod sqs;
pub mod ssm;
