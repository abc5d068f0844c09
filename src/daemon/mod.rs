//! The daemon: the one place that knows every part and puts them together.
//!
//! [`agent`] composes and supervises, [`heartbeat`] wakes, [`witness`] tells, [`courier`] carries the journal outwards,
//! [`calendars`] reads calendars,
//! [`service`] is the process around it: signals, systemd, exit.

pub mod agent;
pub mod calendars;
pub mod courier;
pub mod heartbeat;
pub mod reload;
pub mod service;
pub mod witness;
