//! PostgreSQL on bad days, while runs are going on: restarted, killed and stopped in the middle of a commit, and failed over.
//! Nothing is started twice or lost by it, and whoever asks the agent meanwhile is told what is wrong.

use std::time::{Duration, Instant};

use super::{
    scene::{DATABASE, Scene, Schedules, StoreKind},
    size,
};
use crate::support::{agent::Agent, eventually, let_pass, postgres::Postgres, within};

/// How often each thing is done to a server.
const ROUNDS: u64 = 1;

/// How long a server is gone.
const GONE: Duration = Duration::from_secs(1);

/// Shorter than a lease, and longer than it and than the longest wait for an answer.
const STOPPED: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(12)];

/// Longest time until the agent says that something is wrong: it waits for each answer, and for a commit's too.
const NOTICED: Duration = Duration::from_secs(40);

/// So long after the last answer of a server a lease is over, and what was under way has arrived.
const TERM: Duration = Duration::from_secs(6);

/// What a server logs when it acknowledges what its standby does not have.
const UNSAFE: &str = "canceling wait for synchronous replication";

/// How many replicas there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Replicas {
    One,
    Two,
}

/// A scene with its server and its agents, which run all the time.
struct Drill {
    scene: Scene,
    agents: Vec<Agent>,
}

impl Drill {
    fn start(store: StoreKind, replicas: Replicas) -> Self {
        let mut scene = Scene::new(store, 1_500.0, Schedules::On);
        if replicas == Replicas::Two {
            scene = scene.with_a_second_replica();
        }
        let started = Instant::now();
        let agents = scene.homes().map(|home| home.agent()).collect();
        scene.catches_up(started);
        Self { scene, agents }
    }

    fn asks(&mut self) {
        let id = format!("event-{}", self.scene.done.sent.len());
        self.scene.send(&id, 2);
    }

    /// Does something to the server while a commit is under way, and undoes it after a time.
    fn survives(&mut self, time: Duration, harm: impl FnOnce(&mut Postgres), undo: impl FnOnce(&mut Postgres)) {
        self.asks();
        let harm = |scene: &mut Scene| {
            let server = scene.server.as_mut().expect("a server");
            server.commits(DATABASE);
            harm(server);
        };
        if time > TERM {
            // What runs is stopped by the one that was active last.
            self.scene.cuts_off(&self.agents.iter().collect::<Vec<_>>(), harm);
        } else {
            harm(&mut self.scene);
        }
        let harmed = Instant::now();
        self.scene.kills += 1;
        self.asks();
        let_pass(TERM.min(time).saturating_sub(harmed.elapsed()));
        let before = self.scene.stage.experiments().len();
        if time > TERM {
            self.is_told(harmed);
        }
        let_pass(time.saturating_sub(harmed.elapsed()));
        if time > TERM {
            let after = self.scene.stage.experiments().len();
            assert_eq!(after, before, "a start without a lease: {}", self.scene.home.log());
        }
        let server = self.scene.server.as_mut().expect("a server");
        undo(server);
        server.commits_at_once();
        self.asks();
        let undone = Instant::now();
        self.scene.catches_up(undone);
        let said = || self.scene.home.run(&["status"]).stdout;
        eventually("a store that is used again", || said().contains("store       ok").then_some(()));
    }

    /// Kills the server in the middle of a commit and lets its standby take over, which was not there for a time.
    fn fails_over(&mut self, away: Duration) {
        self.asks();
        let mut standby = self.scene.standby.take().expect("a standby");
        let server = self.scene.server.as_mut().expect("a server");
        if away.is_zero() {
            server.commits(DATABASE);
        } else {
            standby.stop("QUIT");
        }
        self.asks();
        let_pass(away);
        let mut server = self.scene.server.take().expect("a server");
        server.kill_nine();
        assert!(!server.log().contains(UNSAFE), "an answer for what only one server has: {}", server.log());
        let harmed = Instant::now();
        self.scene.kills += 1;
        if !away.is_zero() {
            standby.run();
        }
        standby.promote();
        self.scene.server = Some(standby);
        self.asks();
        self.scene.catches_up(harmed);
    }

    /// Waits until each agent says what is wrong to whoever asks for its status.
    fn is_told(&self, harmed: Instant) {
        for home in self.scene.homes() {
            let told = within(NOTICED, "the failure in the status", || {
                let said = home.run(&["status"]);
                assert_eq!(said.code, 0, "{said:?}");
                said.stdout.lines().find(|line| line.starts_with("store") && !line.ends_with("ok")).map(str::to_owned)
            });
            println!("after {:.1} s: {told}", harmed.elapsed().as_secs_f64());
            assert!(told.contains("could not"), "{told}");
        }
    }

    fn ends(mut self, experiment: &str) {
        for agent in self.agents.drain(..) {
            assert_eq!(agent.terminate(), 0);
        }
        self.scene.ends();
        self.scene.verdict(experiment);
    }
}

/// Tries it with one replica and with two, side by side.
fn with_one_and_two(experiment: &str, store: StoreKind, what: impl Fn(&mut Drill) + Sync) {
    std::thread::scope(|scope| {
        for replicas in [Replicas::One, Replicas::Two] {
            let what = &what;
            scope.spawn(move || {
                for _ in 0..size("ROUNDS", ROUNDS) {
                    let mut drill = Drill::start(store, replicas);
                    what(&mut drill);
                    drill.ends(&format!("{experiment}, {replicas:?}"));
                }
            });
        }
    });
}

#[test]
fn a_server_that_is_restarted_or_killed_in_a_commit_loses_nothing() {
    with_one_and_two("restarts", StoreKind::Postgres, |drill| {
        drill.survives(Duration::ZERO, |server| server.stop("INT"), Postgres::run);
        drill.survives(GONE, |server| server.stop("QUIT"), Postgres::run);
        drill.survives(GONE, Postgres::kill_nine, Postgres::run);
    });
}

#[test]
fn a_server_that_stands_still_in_a_commit_loses_nothing_and_starts_nothing() {
    with_one_and_two("stops", StoreKind::Postgres, |drill| {
        for time in STOPPED {
            drill.survives(time, |server| server.signal("STOP"), |server| server.signal("CONT"));
        }
    });
}

#[test]
fn a_failover_in_a_commit_loses_nothing() {
    with_one_and_two("failover", StoreKind::Followed, |drill| drill.fails_over(Duration::ZERO));
}

/// Nothing is acknowledged that only one server has, for however long the other one is away.
#[test]
fn a_failover_to_a_server_that_was_away_loses_nothing() {
    with_one_and_two("failover, behind", StoreKind::Followed, |drill| drill.fails_over(STOPPED[1]));
}
