//! The one harness: fakes at the wire, and waiting with a bound.
//!
//! Nothing here sets an environment variable or takes a fixed port.

pub mod agent;
pub mod cable;
pub mod chance;
pub mod disk;
pub mod keys;
pub mod log;
pub mod moto;
pub mod otlp;
pub mod postgres;
pub mod runs;
pub mod stage;
pub mod store;
pub mod tap;
pub mod venv;
pub mod wire;
pub mod world;

use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Returns the folder that holds the whole project.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Longest wait for anything that should happen.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Looks again and again until there is an answer; panics with `what` when [`PATIENCE`] runs out.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// As [`eventually`], with a bound of its own, for what is known to take its time.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, look: impl FnMut() -> Option<T>) -> T {
    looked(patience, look).unwrap_or_else(|| panic!("waited {patience:?} in vain: {what}"))
}

fn looked<T>(patience: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + patience;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= until {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

/// Lets time pass: only for a test that is about the moment itself, never to wait for something.
pub fn let_pass(time: Duration) {
    std::thread::sleep(time);
}

/// As [`eventually`], for looks that await.
pub async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(LOOK).await;
    }
}
