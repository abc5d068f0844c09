//! kill −9 at any moment, while FIS and SQS lose answers: nothing is started twice, nothing is lost.
//!
//! Over SQLite: on a server a life would end before the lease of the one before has (`replicas`).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    scene::{SETTLES, Scene, Schedules, StoreKind},
    seed, size,
};
use crate::support::{chance::Chance, let_pass, within};

/// Agents that are killed side by side.
const LANES: u64 = 4;

/// How often they are killed, all together.
const KILLS: u64 = 100;

/// Longest life of an agent; the shortest ends within its start.
const LONGEST_LIFE_MS: u64 = 700;

/// One life in so many is long enough to catch up.
const LIVES_ON: u64 = 8;

/// The life in which a window closes under what goes on; the next ones find it closed.
const CUTS_OFF: u64 = 4;

/// One agent's life in a hurry, and what is to be found after it.
fn lane(number: u64, kills: u64) {
    let seed = seed() + number;
    // FIS runs five at a time: they are short, so that what has piled up need not wait for its turn for minutes.
    let mut scene = Scene::new(StoreKind::Sqlite, 6_000.0, Schedules::On);
    let mut chance = Chance::new(seed);
    for kill in 0..kills {
        let started = Instant::now();
        let agent = scene.home.spawn();
        scene.meddle(&mut chance);
        let_pass(Duration::from_millis(chance.between(0, LONGEST_LIFE_MS / 2)));
        scene.send(&format!("event-{seed}-{kill}"), chance.between(1, 2));
        let_pass(Duration::from_millis(chance.between(0, LONGEST_LIFE_MS / 2)));
        if chance.one_in(LIVES_ON) {
            scene.catches_up(started);
        }
        if kill == CUTS_OFF {
            scene.cuts_off(&[&agent], |_| ());
        }
        agent.kill_nine();
        scene.kills += 1;
        if kill % 50 == 49 {
            eprintln!("kills: lane {number}: {} of {kills}", kill + 1);
        }
    }
    scene.ends();
    let agent = scene.home.agent();
    every_end_is_told(&scene);
    assert_eq!(agent.terminate(), 0);
    assert!(something_was_tried(&scene) > 0, "no kill hit a start");
    scene.verdict("kills");
}

/// The end of every run reaches the bus, at least once.
pub fn every_end_is_told(scene: &Scene) {
    let mut told = BTreeSet::new();
    let runs = scene.home.runs();
    within(SETTLES, "every end on the bus", || {
        let ends = |event: &serde_json::Value| {
            ["finished", "skipped"]
                .contains(&event["detail"]["state"].as_str()?)
                .then(|| event["detail"]["run"].as_str().map(str::to_owned))?
        };
        told.extend(scene.stage.drain(&scene.heard).iter().filter_map(ends));
        runs.iter().all(|run| told.contains(run.id.as_str())).then_some(())
    });
}

/// Kills that hit nothing would show nothing. Returns how many starts were in doubt, each for a reason.
pub fn something_was_tried(scene: &Scene) -> usize {
    let record = scene.record();
    let (doubts, unexplained) = record.doubts();
    println!("{} runs, {doubts} starts in doubt, {unexplained} without a kill", record.runs.len());
    let weak = record.weaknesses();
    assert!(weak.is_empty(), "{weak:?}: {:#?}", record.runs);
    doubts
}

#[test]
fn kill_nine_at_random_moments_starts_nothing_twice() {
    let kills = size("KILLS", KILLS);
    println!("SEED={}, {kills} kills", seed());
    std::thread::scope(|scope| {
        for number in 0..LANES {
            scope.spawn(move || lane(number, kills.div_ceil(LANES)));
        }
    });
}
