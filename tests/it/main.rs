//! The one integration binary. Each area is a module; what they share is in [`support`].

mod support;

mod config;
mod house;
mod moto;
mod packaging;
mod pattern;
mod process;
mod readme;
mod schedule;
mod sim;
mod simulator;
mod telemetry;
mod window;
