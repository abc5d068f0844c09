//! What the engine meets instead of the world outside: time and chance, store, lease, FIS, queues, a bus and a collector.
//!
//! Each behaves as the real one does on bad days, and keeps the truth by which [`super::judged`] judges.

pub mod couriers;
pub mod cursors;
pub mod fis;
pub mod lease;
pub mod nature;
pub mod queue;
pub mod store;
pub mod tables;
pub mod truth;
