//! Telemetry: what the agent says of itself, as log lines, traces and metrics.
//!
//! It may lose what it has to say, but never holds up or loses a run: nothing here waits for a collector except
//! [`Telemetry::shutdown`], which has a deadline. Nothing is global but the log, and that only after
//! [`Telemetry::install`]. Start reading at [`init()`].

pub mod init;
pub mod logs;
pub mod metrics;
pub mod names;
mod otlp;
mod outage;
pub mod traces;

pub use init::{InitError, Telemetry, init};
pub use metrics::{Metrics, Slots, Status};
pub use traces::Traces;
