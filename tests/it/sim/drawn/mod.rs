//! What a seed draws: the configuration of a world, what happens in it when, and its releases.
//!
//! Nothing here has lived yet. [`recipe`] puts a world together and can leave parts of it out; what only one kind of trouble
//! needs is drawn in [`super::troubles`].

pub mod edges;
pub mod happening;
pub mod recipe;
pub mod releases;
pub mod scenario;
pub mod windows;
pub mod written;
