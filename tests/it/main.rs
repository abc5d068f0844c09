//! The one integration test binary.
mod pattern;
mod simulator;
