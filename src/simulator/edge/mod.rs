//! Where HTTP comes in: connections, requests, who may call, and which operation of which service a request is.

pub(super) mod connection;
pub(super) mod credentials;
pub(super) mod dispatch;
pub(super) mod server;
