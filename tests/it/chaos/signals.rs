//! Signals without end: TERM and HUP in a row and at any moment, and a process that is stopped for longer than a call lasts.

use std::time::{Duration, Instant};

use super::{
    scene::{Scene, Schedules, StoreKind},
    seed, size,
};
use crate::support::{chance::Chance, eventually, let_pass};

/// How often the agent is told to end.
const STORMS: u64 = 16;

/// As often on a server.
const STORMS_ON_A_SERVER: u64 = 6;

/// Most signals of one storm.
const SIGNALS: u64 = 4;

/// Longest time an agent takes to end, whatever it does.
const ENDS: Duration = Duration::from_secs(20);

/// How often it is stopped.
const STOPS: u64 = 4;

/// Longer than a call may take.
const STOPPED: Duration = Duration::from_secs(12);

fn storms(store: StoreKind, storms: u64) {
    println!("SEED={}, {storms} storms", seed());
    let mut scene = Scene::new(store, 1_500.0, Schedules::On);
    let mut chance = Chance::new(seed());
    for storm in 0..storms {
        let started = Instant::now();
        let mut agent = scene.home.spawn();
        scene.meddle(&mut chance);
        scene.send(&format!("event-{storm}"), 1);
        match chance.between(0, 2) {
            0 => let_pass(Duration::from_millis(chance.between(0, 100))),
            1 => let_pass(Duration::from_millis(chance.between(100, 600))),
            _long => scene.catches_up(started),
        }
        for _ in 0..chance.between(1, SIGNALS) {
            // It may have ended by the one before.
            if agent.is_running() {
                agent.signal(chance.pick(&["HUP", "TERM", "TERM"]));
            }
        }
        if agent.is_running() {
            agent.signal("TERM");
        }
        let ended = agent.ends(ENDS);
        // A signal that comes before it is listened for ends a process as such.
        assert!(ended.code().is_none_or(|code| code == 0), "{ended:?}: {}", scene.home.log());
        scene.kills += 1;
    }
    scene.ends();
    scene.verdict("SIGTERM storms");
}

#[test]
fn storms_of_sigterm_and_sighup_lose_nothing() {
    storms(StoreKind::asked(), size("STORMS", STORMS));
}

#[test]
fn storms_of_sigterm_and_sighup_lose_nothing_over_postgres() {
    storms(StoreKind::Postgres, STORMS_ON_A_SERVER);
}

/// The agent is stopped in the middle of a start whose answer is lost, for longer than the call may take, and then again and
/// again; slots pass and windows close meanwhile.
#[test]
fn a_stopped_process_goes_on_where_the_world_is_now() {
    let mut chance = Chance::new(seed());
    let mut scene = Scene::new(StoreKind::asked(), 1_500.0, Schedules::On);
    let started = Instant::now();
    let agent = scene.home.agent();
    scene.catches_up(started);
    scene.stage.fault("StartExperiment", "lost-reply", 1);
    let before = scene.stage.experiments().len();
    assert!(scene.start(), "a start by hand is acknowledged");
    eventually("a start under way", || (scene.stage.experiments().len() > before).then_some(()));
    for stop in 0..size("STOPS", STOPS) {
        agent.signal("STOP");
        scene.send(&format!("event-{stop}"), 2);
        let_pass(if stop == 0 { STOPPED } else { Duration::from_millis(chance.between(500, 2_500)) });
        let continued = Instant::now();
        agent.signal("CONT");
        scene.catches_up(continued);
        scene.kills += 1;
    }
    assert_eq!(agent.terminate(), 0);
    scene.ends();
    scene.verdict("SIGSTOP");
}
