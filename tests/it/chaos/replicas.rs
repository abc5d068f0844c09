//! Two replicas on a server, of which one or the other is killed at any moment and started again: nothing is started twice,
//! nothing is lost, and there is an active one again within seconds.

use std::time::{Duration, Instant};

use super::{
    kills::{every_end_is_told, something_was_tried},
    scene::{DATABASE, Scene, Schedules, StoreKind},
    seed, size,
};
use crate::support::{
    agent::{Agent, Home},
    chance::Chance,
    let_pass, within,
};

/// Pairs of replicas side by side, each on a server of its own.
const LANES: u64 = 4;

/// How often a replica is killed, all together.
const KILLS: u64 = 20;

/// Longest time without an active replica after a crash: what the README promises.
pub const TAKEOVER: Duration = Duration::from_secs(10);

/// Longest life of an active replica.
const LONGEST_LIFE_MS: u64 = 1_200;

/// Longest life of one that was started again while nobody is active.
const SHORT_LIFE_MS: u64 = 700;

/// One life in so many is long enough to catch up.
const LIVES_ON: u64 = 8;

/// Longest time until something starts.
const STARTS: Duration = Duration::from_secs(60);

/// Time between two looks at the lease.
const LOOK: Duration = Duration::from_millis(40);

/// Two replicas, of which both run but for moments.
struct Pair {
    scene: Scene,
    agents: [Option<Agent>; 2],
}

impl Pair {
    fn start(scene: Scene) -> Self {
        let mut pair = Self { scene, agents: [None, None] };
        pair.revive(0);
        pair.revive(1);
        pair
    }

    fn home(&self, replica: usize) -> &Home {
        self.scene.homes().nth(replica).expect("two replicas")
    }

    fn revive(&mut self, replica: usize) {
        self.agents[replica] = Some(self.home(replica).spawn());
    }

    fn kill(&mut self, replica: usize) {
        self.agents[replica].take().expect("a running replica").kill_nine();
        self.scene.kills += 1;
    }

    /// Which replica is active, and under which number.
    fn lease(&self) -> (Option<usize>, i64) {
        let (holder, fence) = self.scene.server().lease(DATABASE);
        (["one", "two"].iter().position(|name| *name == holder), fence)
    }

    /// Lets the active replica live for a while, in half of its lives until it has just had an experiment started.
    fn lives(&mut self, chance: &mut Chance, event: &str) {
        let_pass(Duration::from_millis(chance.between(0, LONGEST_LIFE_MS / 2)));
        self.scene.send(event, chance.between(1, 2));
        if chance.one_in(2) {
            // Where nothing goes on nothing more can start.
            self.scene.sticks(&[]);
            let before = self.scene.stage.experiments().len();
            within(STARTS, "a start", || (self.scene.stage.experiments().len() > before).then_some(()));
        } else {
            let_pass(Duration::from_millis(chance.between(0, LONGEST_LIFE_MS / 2)));
        }
    }

    /// Waits until a replica is active under a higher number; another one has been killed.
    fn is_active(&mut self, after: i64) -> (usize, i64) {
        within(TAKEOVER, "an active replica", || match self.lease() {
            (Some(holder), fence) if fence > after => Some((holder, fence)),
            _ => None,
        })
    }

    /// Kills the active replica and starts it again, kills it further while nobody is active, and notes how long that is.
    fn is_taken_over(&mut self, chance: &mut Chance, most: u64) {
        let (victim, before) = self.is_active(0);
        self.kill(victim);
        let killed = Instant::now();
        self.revive(victim);
        let mut life = Duration::from_millis(chance.between(0, SHORT_LIFE_MS));
        let mut revived = killed;
        within(TAKEOVER, "an active replica after a crash", || {
            let (holder, fence) = self.lease();
            if holder.is_some() && fence > before {
                return Some(());
            }
            if revived.elapsed() > life && self.scene.kills < most && chance.one_in(2) {
                self.kill(victim);
                self.revive(victim);
                revived = Instant::now();
            } else if revived.elapsed() > life {
                life += Duration::from_millis(chance.between(0, SHORT_LIFE_MS));
            }
            let_pass(LOOK);
            None
        });
        self.scene.longest_gap = self.scene.longest_gap.max(killed.elapsed());
        self.scene.takeovers += 1;
    }

    fn end(mut self) -> Scene {
        for (home, agent) in self.scene.homes().zip(&mut self.agents) {
            // Before it listens for signals, one ends it as such.
            let agent = home.answering(agent.take().expect("a running replica"));
            assert_eq!(agent.terminate(), 0);
        }
        self.scene
    }
}

/// Two replicas' lives in a hurry, and what is to be found after them.
fn lane(number: u64, kills: u64) {
    let seed = seed() + number;
    let mut chance = Chance::new(seed);
    let mut pair = Pair::start(Scene::new(StoreKind::Postgres, 6_000.0, Schedules::On).with_a_second_replica());
    while pair.scene.kills < kills {
        let (kill, started) = (pair.scene.kills, Instant::now());
        pair.scene.meddle(&mut chance);
        pair.lives(&mut chance, &format!("event-{seed}-{kill}"));
        if chance.one_in(LIVES_ON) {
            pair.scene.catches_up(started);
        }
        pair.is_taken_over(&mut chance, kills);
        if kill / 50 != pair.scene.kills / 50 {
            eprintln!("replicas: lane {number}: {} of {kills}", pair.scene.kills);
        }
    }
    let mut scene = pair.end();
    scene.ends();
    let agent = scene.home.agent();
    every_end_is_told(&scene);
    assert_eq!(agent.terminate(), 0);
    let _doubts = something_was_tried(&scene);
    scene.verdict("replicas");
}

#[test]
fn kill_nine_of_one_replica_after_another_starts_nothing_twice() {
    let kills = size("KILLS", KILLS);
    println!("SEED={}, {kills} kills", seed());
    std::thread::scope(|scope| {
        for number in 0..LANES {
            scope.spawn(move || lane(number, kills.div_ceil(LANES)));
        }
    });
}
