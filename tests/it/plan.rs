//! The planner: each rule as a named case, rows and an instant in, effects and the next wake-up out.

mod deployment;
mod place;
mod quiet;
mod retry;
mod slots;
mod standing;
mod start;
mod turn;
mod watch;

use crate::support::world::{World, t};

/// Checks all that the planner says of a world at an instant.
#[track_caller]
fn check(world: &World, now: &str, expected: &[&str]) {
    assert_eq!(world.says(t(now)), expected, "at {now}");
}
