//! The one integration binary. Each area is a module; what they share is in [`support`].

mod support;

mod house;
mod moto;
mod packaging;
mod pattern;
mod sim;
mod telemetry;
