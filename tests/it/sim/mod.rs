//! The deterministic simulation: the real engine and ingest in a simulated world, one world a seed.
//!
//! Time, chance, FIS, the store, the queue and the operators are simulated; the planner, the reactions, the loop and the
//! ingest are the real ones. [`world`] drives, [`scenario`] draws what happens, [`check`] says what must hold. A seed
//! that fails is named with the command that replays it and prints its timeline.

mod check;
mod closing;
mod fis;
mod latest;
mod month;
pub mod nature;
mod queue;
mod releases;
mod scenario;
pub mod store;
mod storm;
mod truth;
mod turns;
mod windows;
mod world;

use std::collections::BTreeSet;

use nature::Timeline;
use world::{Planted, SOUND, World};

use self::{
    check::Evidence,
    fis::Tokens,
    store::{Intent, Memory},
};

/// Names the seed that [`replay_one_seed`] runs.
const SEED_VARIABLE: &str = "FIREDRILL_SIM_SEED";

/// How a world went.
struct Life {
    broken: Vec<String>,
    seen: BTreeSet<String>,
    timeline: Vec<String>,
}

fn live(seed: u64, planted: Planted, timeline: Timeline) -> Life {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(seed, planted, timeline);
        world.live().await;
        let evidence = Evidence::new(&world);
        Life { broken: check::broken(&evidence), seen: check::seen(&evidence), timeline: world.nature.timeline() }
    })
}

/// What has to happen in some of the worlds, else they are too dull to prove anything.
const HAPPENS: [&str; 51] = [
    "started",
    "adopted",
    "start-refused",
    "start-unclear",
    "not-found",
    "look-failed",
    "poll-failed",
    "stop-failed",
    "held busy",
    "held closed",
    "held gap",
    "held template-unread",
    "started again",
    "started over windows",
    "deployment late",
    "deployment not drawn",
    "hold expired",
    "settling cut short",
    "started in order",
    "stop for a newer version",
    "superseded while held",
    "version started again",
    "skipped budget",
    "skipped closed",
    "skipped cooling-down",
    "skipped excluded",
    "skipped failing",
    "skipped gap",
    "skipped halted",
    "skipped late",
    "skipped missed",
    "skipped not-drawn",
    "skipped overlap",
    "skipped paused",
    "skipped queue-full",
    "skipped repeated",
    "skipped rollback",
    "skipped runs-used-up",
    "skipped stale",
    "skipped superseded",
    "skipped template",
    "skipped unknown",
    "skipped would-cross",
    "stop closed",
    "stop halt",
    "stop max-duration",
    "stop operator",
    "stop replaced",
    "stop unknown",
    "finished completed",
    "finished stopped",
];

#[track_caller]
fn check_seeds(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let mut seen = BTreeSet::new();
    let mut broken: Vec<(u64, Vec<String>)> = Vec::new();
    for seed in seeds {
        let life = live(seed, SOUND, Timeline::Dropped);
        seen.extend(life.seen);
        if !life.broken.is_empty() {
            broken.push((seed, life.broken));
        }
    }
    let told: Vec<String> = broken
        .iter()
        .map(|(seed, broken)| {
            let command = format!("{SEED_VARIABLE}={seed} cargo test --test it sim::replay_one_seed -- --nocapture");
            format!("SEED={seed}\n  replay: {command}\n  {}", broken.join("\n  "))
        })
        .collect();
    assert!(broken.is_empty(), "{} of {count} worlds broke a promise:\n{}", broken.len(), told.join("\n"));
    let unseen: Vec<&str> = HAPPENS.into_iter().filter(|what| !seen.contains(*what)).collect();
    assert!(unseen.is_empty(), "in {count} worlds this never happened: {unseen:?}");
}

/// Finds the first seed whose world breaks a promise.
fn first_broken(planted: Planted, seeds: std::ops::Range<u64>) -> Option<(u64, Vec<String>)> {
    seeds.map(|seed| (seed, live(seed, planted, Timeline::Dropped).broken)).find(|(_, broken)| !broken.is_empty())
}

#[test]
fn simulation_holds_for_a_thousand_seeds_1() {
    check_seeds(0..250);
}

#[test]
fn simulation_holds_for_a_thousand_seeds_2() {
    check_seeds(250..500);
}

#[test]
fn simulation_holds_for_a_thousand_seeds_3() {
    check_seeds(500..750);
}

#[test]
fn simulation_holds_for_a_thousand_seeds_4() {
    check_seeds(750..1_000);
}

#[test]
fn same_seed_twice_is_the_same_world() {
    for seed in [7, 77, 777] {
        let [once, again] = [(); 2].map(|()| live(seed, SOUND, Timeline::Kept).timeline);
        assert!(once.len() > 10, "seed {seed} is a dull world");
        assert_eq!(once, again, "seed {seed}");
    }
}

#[test]
fn planted_bug_start_then_record_is_caught() {
    let planted = Planted { intent: Intent::WithTheAnswer, ..SOUND };
    let caught = first_broken(planted, 0..300);
    assert!(caught.is_some(), "300 worlds did not notice that starts are recorded too late");
}

#[test]
fn planted_bug_token_from_the_clock_is_caught() {
    let planted = Planted { tokens: Tokens::FromTheClock, ..SOUND };
    let caught = first_broken(planted, 0..300);
    assert!(caught.is_some(), "300 worlds did not notice that every call has a token of its own");
}

#[test]
fn planted_bug_last_event_wins_is_caught() {
    let planted = Planted { memory: Memory::LastIsNewest, ..SOUND };
    let caught = first_broken(planted, 0..300);
    assert!(caught.is_some(), "300 worlds did not notice that an older deployment wins when its event comes later");
}

#[test]
fn planted_bug_settling_that_does_not_begin_anew_is_caught() {
    let planted = Planted { memory: Memory::SettlesOnce, ..SOUND };
    let caught = first_broken(planted, 0..300);
    assert!(caught.is_some(), "300 worlds did not notice that further events postpone nothing");
}

#[test]
fn planted_bug_deployments_noted_in_another_transaction_is_caught() {
    let planted = Planted { memory: Memory::Afterwards, ..SOUND };
    let caught = first_broken(planted, 0..300);
    assert!(caught.is_some(), "300 worlds did not notice that rows of deployments are written too late");
}

#[test]
fn replay_one_seed() {
    let seed = std::env::var(SEED_VARIABLE).ok().map_or(1, |text| text.parse().expect("a seed is a number"));
    let life = live(seed, SOUND, Timeline::Kept);
    if !life.broken.is_empty() || std::env::var_os(SEED_VARIABLE).is_some() {
        println!("{}", life.timeline.join("\n"));
    }
    assert!(life.broken.is_empty(), "SEED={seed}\n{}", life.broken.join("\n"));
}
