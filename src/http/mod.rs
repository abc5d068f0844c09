//! HTTP: what the agent answers to operators (on a Unix socket) and to probes (on an optional TCP listener).
//!
//! [`api`] holds the routes, [`webhook`] the one for signed events, [`status`] what they tell, [`serve`] the listeners. Commands become rows by way of the
//! ingest; nothing is decided here.

pub mod api;
pub mod serve;
pub mod status;
pub mod webhook;
