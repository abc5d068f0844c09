//! The real process on bad days: killed, stopped, out of disk, descriptors or time, and talking to nobody.
//!
//! Each experiment is one test at a size that takes seconds; `tests/chaos` runs the same ones for long, against the release
//! build. What happened is read from the simulator's own record of starts ([`verdict`]), never from what the agent says of
//! itself alone.

mod boundaries;
mod clock;
mod descriptors;
mod disk;
mod holes;
mod judges;
mod kills;
mod record;
mod replicas;
mod scene;
mod servers;
mod signals;
mod times;
mod verdict;

/// Reads a number that `tests/chaos` gives for a long run; in CI it is not set.
fn size(name: &str, otherwise: u64) -> u64 {
    let name = format!("FIREDRILL_CHAOS_{name}");
    std::env::var(&name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

/// Seed of everything that is drawn; each experiment prints it.
fn seed() -> u64 {
    size("SEED", 20_260_301)
}
