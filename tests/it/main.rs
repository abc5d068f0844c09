//! The one integration binary. Each area is a module; what they share is in [`support`].

mod support;

mod alerts;
mod calendar;
mod chaos;
mod config;
mod deployment;
mod event;
mod forecast;
mod fuzz;
mod house;
mod lever;
mod moto;
mod outcome;
mod packaging;
mod pattern;
mod plan;
mod policy;
mod process;
mod provision;
mod quarantine;
mod queue;
mod react;
mod readme;
mod run;
mod schedule;
mod sim;
mod simulator;
mod store;
mod stray;
mod telemetry;
mod template;
mod webhook;
mod window;
