//! What must hold in every world, each promise by itself; [`check`] asks all of them.
//!
//! Judged is by what FIS ran and what became durable when, never by what the planner thinks.

pub mod check;
pub mod closing;
pub mod heeded;
pub mod latest;
pub mod opened;
pub mod past;
pub mod replicas;
pub mod turns;
