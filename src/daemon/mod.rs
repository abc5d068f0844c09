//! The daemon: the one place that knows every part and puts them together.
//!
//! [`agent`] composes and supervises, [`heartbeat`] wakes, [`witness`] tells, [`courier`] carries the journal outwards,
//! [`housekeeping`] deletes what is old, [`calendars`] reads calendars, [`directory`] keeps the state to ourselves,
//! [`service`] is the process around it: signals, systemd, exit.

pub mod agent;
pub mod calendars;
pub mod courier;
pub mod directory;
pub mod heartbeat;
pub mod housekeeping;
mod identities;
mod levers;
mod life;
pub mod reload;
pub mod service;
mod strays;
pub mod witness;
