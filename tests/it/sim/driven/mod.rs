//! What drives a world: its agenda, the processes of its replicas, its operators; what is told of it, and how it is shrunk.
//!
//! Whatever the processes ask of the outside is in [`super::simulated`].

pub mod fate;
pub mod operators;
pub mod replica;
pub mod shrink;
pub mod told;
pub mod world;
