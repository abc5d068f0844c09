//! Too few file descriptors: whoever holds connections open can starve the agent for a while, and nothing is lost by it.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use super::scene::{Scene, Schedules, StoreKind};
use crate::support::{PATIENCE, agent::Agent, within};

/// Connections that are opened and held: more than the smaller limit, and more than the port serves at a time.
const HELD: usize = 150;

/// How long they are held.
const STARVES: Duration = Duration::from_secs(2);

/// What whoever finds none says: the system, or SQLite in its place.
const SHORT: [&str; 2] = ["Too many open files", "unable to open database file"];

/// Events that come meanwhile. Of those whose start is in doubt all are tried again at once, and FIS takes five: where
/// everything is in doubt fewer do.
const STORM: usize = 40;
const EVENTS: usize = 10;

/// Longest time until the agent does its work again: its clients keep few connections that nobody uses, for 15 s.
const RECOVERS: Duration = Duration::from_secs(40);

/// What an agent has open.
fn open(agent: &Agent) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", agent.pid())).map_or(0, Iterator::count)
}

/// What an agent opens at most, whatever is held: the port and the socket take 128 connections each, 128 calls are under way at
/// most, and the rest is the store, the queue, the bus and the log. Most of the time there are some 300.
const OWN: usize = 420;

/// Opens so many files for whom it becomes.
const INHERITS: &str = "for ((n = 0; n < $0; n++)); do exec {file}</dev/null; done; exec \"$@\"";

/// Runs an agent that may open so many files, of which it is started with some, and opens connections to it until there are no
/// more.
fn starved(store: StoreKind, limit: usize, inherited: usize, events: usize) {
    // FIS runs five at a time: they are short, so that the events need not wait for each other for long.
    let mut scene = Scene::new(store, 30_000.0, Schedules::On);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    scene.home.set("FIREDRILL__HTTP__LISTEN", &port.to_string());
    let nofile = format!("--nofile={limit}:{limit}");
    let files = inherited.to_string();
    scene.home.wrap(&["prlimit", &nofile, "bash", "-c", INHERITS, &files]);
    let started = Instant::now();
    let agent = scene.home.agent();
    scene.catches_up(started);
    let held = (hold(port), hold_socket(&scene));
    let (until, mut most) = (Instant::now() + STARVES, 0);
    for number in 0..events {
        scene.send(&format!("event-{number}"), 1);
        most = most.max(open(&agent));
    }
    let is_short = |scene: &Scene| {
        let log = scene.home.log();
        SHORT.iter().any(|said| log.contains(said))
    };
    let runs_short = limit < HELD;
    within(PATIENCE, "descriptors that are wanting, or the time that they are held", || {
        most = most.max(open(&agent));
        (Instant::now() > until && is_short(&scene) >= runs_short).then_some(())
    });
    println!("limit {limit}: at most {most} open");
    assert_eq!(is_short(&scene), runs_short, "at most {most} of {limit} were open: {}", scene.home.log());
    assert!(most * 100 > limit * 80, "{most} of {limit} are far from it");
    drop(held);
    let freed = Instant::now();
    within(RECOVERS, "an agent that answers", || (scene.home.run(&["status"]).code == 0).then_some(()));
    scene.catches_up(freed);
    assert_eq!(agent.terminate(), 0);
    scene.ends();
    scene.verdict(&format!("{limit} descriptors"));
}

fn hold(port: SocketAddr) -> Vec<TcpStream> {
    (0..HELD).map(|_| TcpStream::connect(port).expect("a connection")).collect()
}

fn hold_socket(scene: &Scene) -> Vec<UnixStream> {
    let path = scene.home.state().join("firedrill.sock");
    (0..HELD).map(|_| UnixStream::connect(&path).expect("a connection")).collect()
}

#[test]
fn a_thousand_descriptors_are_enough_for_a_storm() {
    starved(StoreKind::asked(), 1_000, 1_000 - OWN, STORM);
}

#[test]
fn a_thousand_descriptors_are_enough_for_a_storm_over_postgres() {
    starved(StoreKind::Postgres, 1_000, 1_000 - OWN, STORM);
}

#[test]
fn a_process_without_descriptors_loses_nothing_and_recovers() {
    starved(StoreKind::asked(), 64, 0, EVENTS);
}

#[test]
fn a_process_without_descriptors_loses_nothing_and_recovers_over_postgres() {
    starved(StoreKind::Postgres, 64, 0, EVENTS);
}
