//! Planted bugs: each is built into the simulated part of a world, and some promise has to notice it.
//!
//! What an agent would do wrong is done for it by its store, its FIS, its queues, its clock or what it is told of its
//! configuration. The promises are judged by the truth, which knows nothing of the bug.

use std::{
    num::NonZero,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Life, live, nature::Timeline};

/// What is built wrong on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Bug {
    /// Nothing is.
    #[default]
    None,
    /// The intent to start is written with the answer to the call.
    StartThenRecord,
    /// Each call has a token of its own.
    TokenFromTheClock,
    /// The deployment whose event came in last is the newest.
    LastEventWins,
    /// A key settles after the first of its events.
    SettlesOnce,
    /// Deployments are noted in a transaction after the one that they follow from.
    DeploymentsNotedLater,
}

/// A planted bug, and how the promises that it breaks begin.
struct Plant {
    bug: Bug,
    breaks: &'static [&'static str],
}

const PLANTS: [Plant; 5] = [
    Plant { bug: Bug::StartThenRecord, breaks: &["lost"] },
    Plant { bug: Bug::TokenFromTheClock, breaks: &["twice"] },
    Plant { bug: Bug::LastEventWins, breaks: &["older", "reason"] },
    Plant { bug: Bug::SettlesOnce, breaks: &["unsettled"] },
    Plant { bug: Bug::DeploymentsNotedLater, breaks: &["twice", "older", "unsettled", "cool-down"] },
];

/// Worlds within which a bug has to be noticed.
const WORLDS: u64 = 2_000;

/// Finds the first seed whose world breaks one of the promises.
fn first_broken(bug: Bug, breaks: &[&str]) -> Option<(u64, String)> {
    (0..WORLDS).find_map(|seed| {
        let Life { broken, .. } = live(seed, bug, Timeline::Dropped);
        let is_meant = |told: &String| breaks.iter().any(|of| told.starts_with(&format!("{of}:")));
        Some((seed, broken.into_iter().find(is_meant)?))
    })
}

#[test]
fn every_planted_bug_is_caught() {
    let (next, caught) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let hunt = || {
        while let Some(Plant { bug, breaks }) = PLANTS.get(next.fetch_add(1, Ordering::Relaxed)) {
            let found = first_broken(*bug, breaks);
            match &found {
                Some((seed, broken)) => println!("PLANTED={bug:?} SEED={seed} {broken}"),
                None => println!("PLANTED={bug:?} not caught"),
            }
            caught.lock().expect("a list").push((*bug, found.is_some()));
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(hunt))));
    let caught = caught.into_inner().expect("a list");
    assert_eq!(caught.len(), PLANTS.len());
    let missed: Vec<Bug> = caught.into_iter().filter(|(_, caught)| !caught).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "{WORLDS} worlds did not notice {missed:?}");
}
