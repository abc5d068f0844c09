//! Endpoints that swallow everything: they accept and never answer, or do not even accept. Runs go on without the collector
//! and the queue; without FIS nothing is lost, and an agent that is told to end does so in time.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use firedrill::domain::run::Run;
use tokio::net::{TcpSocket, TcpStream};

use super::scene::{Scene, Schedules, StoreKind};
use crate::support::{PATIENCE, eventually, within};

/// Longest time from SIGTERM to the end, on a busy machine: less than a call, or a drain that nothing cuts short, may take.
const ENDS: Duration = Duration::from_secs(8);

/// Longest wait for calls under way, where some are.
const DRAIN: &str = "1s";

/// Where a hole may be: what the experiment is called, and which key leads there.
const COLLECTOR: (&str, &str) = ("OTLP hole", "FIREDRILL__TELEMETRY__OTLP_ENDPOINT");
const QUEUE: (&str, &str) = ("SQS hole", "FIREDRILL__QUEUES__DEPLOYMENTS__ENDPOINT_URL");
const FIS: &str = "FIREDRILL__EXPERIMENTS__BY-HAND__ENDPOINT_URL";

/// How long a connection may take before the queue of a listener counts as full.
const FULL_AFTER: Duration = Duration::from_millis(200);

/// Most connections that a queue of one holds.
const MOST_WAITING: usize = 16;

/// A port behind which nothing happens.
struct Hole {
    url: String,
    _silent: Option<TcpListener>,
    _full: Option<(tokio::net::TcpListener, Vec<TcpStream>, tokio::runtime::Runtime)>,
}

impl Hole {
    /// Connections are accepted, by the kernel, and nobody ever answers.
    fn silent() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        Self { url, _silent: Some(listener), _full: None }
    }

    /// The queue of connections is full, so that the kernel drops every further SYN.
    fn full() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (listener, waiting) = runtime.block_on(async {
            let socket = TcpSocket::new_v4().expect("a socket");
            socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            let listener = socket.listen(1).expect("a listener");
            let address = listener.local_addr().expect("an address");
            let mut waiting = Vec::new();
            while let Ok(connected) = tokio::time::timeout(FULL_AFTER, TcpStream::connect(address)).await {
                waiting.push(connected.expect("a connection"));
                assert!(waiting.len() < MOST_WAITING, "the queue of {address} does not fill");
            }
            (listener, waiting)
        });
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        Self { url, _silent: None, _full: Some((listener, waiting, runtime)) }
    }
}

/// A scene whose agent finds a hole where a key says.
fn scene(store: StoreKind, key: &str, hole: &Hole) -> Scene {
    let mut scene = Scene::new(store, 1_500.0, Schedules::Off);
    scene.home.set(key, &hole.url);
    scene
}

/// Tries both kinds, side by side.
fn each_hole(experiment: impl Fn(&str, Hole) + Sync) {
    std::thread::scope(|scope| {
        scope.spawn(|| experiment("silent", Hole::silent()));
        scope.spawn(|| experiment("full", Hole::full()));
    });
}

/// Starts runs by hand that end, though nobody answers there; then ends the agent, in time.
fn goes_on_without(store: StoreKind, (experiment, key): (&str, &str)) {
    each_hole(|kind, hole| {
        let mut scene = scene(store, key, &hole);
        let mut agent = scene.home.agent();
        for _ in 0..3 {
            assert!(scene.start(), "a start is acknowledged: {}", scene.home.log());
            within(PATIENCE, "the end of the run", || scene.home.runs().iter().all(Run::is_over).then_some(()));
        }
        let told = Instant::now();
        agent.signal("TERM");
        let ended = agent.ends(ENDS);
        scene.longest_recovery = told.elapsed();
        assert_eq!((ended.code(), scene.stage.experiments().len()), (Some(0), 3), "{}", scene.home.log());
        scene.verdict(&format!("{experiment}, {kind}"));
    });
}

/// Asks for a run that cannot be started; the next agent finds FIS where it was before.
fn starts_nothing_without_fis(store: StoreKind) {
    each_hole(|kind, hole| {
        let mut scene = scene(store, FIS, &hole);
        scene.home.set("FIREDRILL__AGENT__DRAIN_TIMEOUT", DRAIN);
        let mut agent = scene.home.agent();
        assert!(scene.start(), "a start is acknowledged: {}", scene.home.log());
        eventually("a run that waits", || scene.home.runs().into_iter().find(|run| !run.is_over()));
        agent.signal("TERM");
        assert_eq!(agent.ends(ENDS).code(), Some(0), "{}", scene.home.log());
        // The next agent finds FIS where it was before.
        let url = scene.stage.url();
        scene.home.set(FIS, &url);
        let started = Instant::now();
        let agent = scene.home.agent();
        scene.comes_to_rest();
        scene.longest_recovery = started.elapsed();
        assert_eq!((agent.terminate(), scene.stage.experiments().len()), (0, 1));
        scene.verdict(&format!("FIS hole, {kind}"));
    });
}

#[test]
fn a_black_hole_for_a_collector_delays_neither_starts_nor_the_end() {
    goes_on_without(StoreKind::asked(), COLLECTOR);
}

#[test]
fn a_black_hole_for_a_collector_delays_neither_starts_nor_the_end_over_postgres() {
    goes_on_without(StoreKind::Postgres, COLLECTOR);
}

#[test]
fn a_black_hole_for_a_queue_delays_neither_starts_nor_the_end() {
    goes_on_without(StoreKind::asked(), QUEUE);
}

#[test]
fn a_black_hole_for_a_queue_delays_neither_starts_nor_the_end_over_postgres() {
    goes_on_without(StoreKind::Postgres, QUEUE);
}

#[test]
fn a_black_hole_for_fis_starts_nothing_and_is_left_in_time() {
    starts_nothing_without_fis(StoreKind::asked());
}

#[test]
fn a_black_hole_for_fis_starts_nothing_and_is_left_in_time_over_postgres() {
    starts_nothing_without_fis(StoreKind::Postgres);
}

/// FIS falls silent in the middle: it does what it is told, and says nothing.
fn silence(store: StoreKind) {
    let mut scene = Scene::new(store, 1_500.0, Schedules::On);
    scene.home.set("FIREDRILL__AGENT__DRAIN_TIMEOUT", DRAIN);
    let mut agent = scene.home.agent();
    scene.catches_up(Instant::now());
    for operation in ["StartExperiment", "GetExperiment", "ListExperiments"] {
        scene.stage.fault(operation, "hang", 200);
    }
    let before = scene.stage.experiments().len();
    scene.send("event-in-the-silence", 2);
    eventually("a start without an answer", || (scene.stage.experiments().len() > before).then_some(()));
    // Not before: without a template nothing starts.
    scene.stage.fault("GetExperimentTemplate", "hang", 200);
    agent.signal("TERM");
    assert_eq!(agent.ends(ENDS).code(), Some(0), "{}", scene.home.log());
    scene.stage.no_faults();
    scene.ends();
    scene.verdict("FIS silent");
}

#[test]
fn fis_that_falls_silent_is_asked_again_and_starts_nothing_twice() {
    silence(StoreKind::asked());
}

#[test]
fn fis_that_falls_silent_starts_nothing_twice_over_postgres() {
    silence(StoreKind::Postgres);
}
