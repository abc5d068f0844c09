//! A storm of events: 10,000 for 200 services within a minute, redelivered and out of order, while the agent falls again and
//! again.
//!
//! Ingest, planner, reactions and loop are the real ones; queue, store, FIS and time are simulated.

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::Reading,
    experiment::{EventTrigger, Experiment, Overlap, Rules, TemplateSelector},
    pattern::Pattern,
    template::{TemplateAction, TemplateFacts},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    sim::{
        drawn::{
            happening::{Happening, Whom},
            releases::{Release, Stamp},
            scenario::{MINUTE_MS, SECOND_MS, experiment_name},
        },
        driven::world::World,
        judged::check::{self, Evidence},
        simulated::{
            nature::{Nature, Timeline},
            queue::message,
        },
    },
    support::chance::Chance,
};

const SERVICES: u64 = 200;

/// Versions of each service, one after the other.
const VERSIONS: u64 = 40;

/// Events about a version that was told of already, under ids of their own, of each service.
const AGAIN: u64 = 10;

/// Longest time from a deployment until its event is in the queue.
const LATE_MS: u64 = 4 * SECOND_MS;

/// How far down its messages a queue looks for those that it delivers.
const DEPTH: u64 = 300;

/// Most passes of the engine in one second: each batch of messages, and each answer of FIS, is worth one.
const MOST_PASSES: u64 = 2_000;

/// Until when a storm is over.
const PATIENCE_MS: u64 = 20 * MINUTE_MS;

/// How often the agent falls.
const FALLS: u64 = 12;

/// A standard queue: it delivers in nearly any order, and again what was not deleted.
#[derive(Default)]
struct Queue {
    /// When each message can be received, and which event it is about.
    messages: BTreeMap<(u64, u64), Release>,
    next: u64,
}

impl Queue {
    fn put(&mut self, at: u64, release: Release) {
        self.next += 1;
        self.messages.insert((at, self.next), release);
    }

    /// Takes up to ten messages of those that can be received.
    fn receive(&mut self, now: u64, c: &mut Chance) -> Vec<Release> {
        let mut batch = Vec::new();
        while batch.len() < 10 {
            let near: Vec<_> =
                self.messages.range(..=(now, u64::MAX)).take(DEPTH as usize).map(|(key, _)| *key).collect();
            let Some(last) = near.len().checked_sub(1) else { break };
            let key = near[c.between(0, last as u64) as usize];
            batch.extend(self.messages.remove(&key));
        }
        batch
    }
}

fn trigger(settle_s: i64) -> EventTrigger {
    let pointer = |text: &str| vec![text.to_owned()];
    let reading = Reading { key: pointer("/detail/app"), version: pointer("/detail/version"), ..Reading::default() };
    let pattern = Pattern::parse(&json!({ "source": ["app.one"] })).expect("a pattern");
    EventTrigger { reading, settle: SignedDuration::from_secs(settle_s), ..EventTrigger::new(pattern) }
}

/// A world with one experiment, whose runs may go on beside each other.
fn world(seed: u64, trigger: EventTrigger) -> World {
    let base: Timestamp = "2026-06-17T12:00:00Z".parse().expect("an instant");
    let declared = Experiment {
        template: TemplateSelector::Id("EXT0".to_owned()),
        overlap: Overlap::Allow,
        triggers: vec![trigger],
        ..Experiment::gone(experiment_name(0))
    };
    let action = TemplateAction {
        action_id: "aws:fis:wait".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), "PT5S".to_owned())]),
        ..TemplateAction::default()
    };
    let actions = BTreeMap::from([("wait".to_owned(), action)]);
    let facts = TemplateFacts { id: "EXT0".to_owned(), actions, read_at: base, ..TemplateFacts::default() };
    let rules = Rules { experiments: BTreeMap::from([(declared.name.clone(), declared)]), ..Rules::default() };
    let mut world = World::of(Nature::new(seed, base, Timeline::Dropped), rules, vec![(BTreeMap::new(), facts)]);
    world.fis.with(|state| state.quota = usize::MAX);
    world.most_passes = MOST_PASSES;
    world
}

/// Everything that is deployed within the minute, and when its events are in the queue.
fn deployments(c: &mut Chance, services: u64) -> Queue {
    let mut queue = Queue::default();
    let mut event = 0;
    for service in 0..services {
        let app: &'static str = format!("service-{service}").leak();
        let pace = MINUTE_MS / VERSIONS;
        let mut put = |version: u64, c: &mut Chance, late: u64| {
            let (source, happened_ms, is_rollback) = ("app.one", (version - 1) * pace, false);
            let release = Release { event, source, app, version, is_rollback, happened_ms, stamp: Stamp::True };
            event += 1;
            queue.put(happened_ms + c.between(0, late), release);
        };
        (1..=VERSIONS).for_each(|version| put(version, c, LATE_MS));
        (0..AGAIN).for_each(|_| put(c.between(1, VERSIONS), c, 4 * LATE_MS));
    }
    queue
}

/// Lets the storm pass: the queue is emptied, and every run has ended.
async fn live(world: &mut World, queue: &mut Queue, c: &mut Chance) {
    world.restart();
    for _ in 0..FALLS {
        let crash =
            Happening::Crash { whom: Whom::Active, polls: c.between(0, 400), down_ms: c.between(100, 3 * SECOND_MS) };
        world.schedule(c.between(0, MINUTE_MS), crash);
    }
    while let Some(((at, _), _)) = queue.messages.first_key_value() {
        world.live_until(*at).await;
        let now = world.nature.elapsed();
        assert!(now < PATIENCE_MS, "{} messages are left", queue.messages.len());
        let batch = queue.receive(now, c);
        for release in &batch {
            world.releases.insert(release.event, *release);
        }
        let messages = batch.iter().map(|release| message(&release.id(), release.body(&world.nature))).collect();
        let is_taken = world.take_in(messages).await;
        for release in batch {
            if is_taken {
                world.released.insert(release.event);
            }
            if !is_taken || c.one_in(10) {
                queue.put(now + c.between(SECOND_MS, 8 * SECOND_MS), release);
            }
        }
        if !is_taken {
            world.live_until(now + 200).await;
        }
    }
    while world.store.with(|tables| tables.runs.values().any(|run| !run.is_over())) {
        assert!(world.nature.elapsed() < PATIENCE_MS, "a run does not end");
        let next = world.nature.elapsed() + 10 * SECOND_MS;
        world.live_until(next).await;
    }
}

/// Lets a storm pass and checks every promise; returns which versions FIS ran, by service.
fn pass(seed: u64, services: u64, trigger: EventTrigger) -> BTreeMap<&'static str, Vec<u64>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut c = Chance::new(seed);
        let mut world = world(seed, trigger);
        let mut queue = deployments(&mut c, services);
        let events = u64::try_from(queue.messages.len()).expect("few");
        live(&mut world, &mut queue, &mut c).await;
        let falls = world.absences(|_| true).len();
        assert!(falls > 5, "the agent fell {falls} times");
        let evidence = Evidence::new(&world);
        assert_eq!(check::broken_by_events(&evidence), Vec::<String>::new(), "SEED={seed}");
        let known = world.store.with(|tables| tables.events.len() as u64);
        assert_eq!((known, world.released.len() as u64), (events, events), "every event has a decision");
        let mut ran: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
        for experiment in &evidence.experiments {
            let run = &evidence.runs[&experiment.run()];
            let key = run.trigger.deployment().map(|deployment| (&deployment.key, &deployment.version));
            let release = world.releases.values().find(|release| {
                key.is_some_and(|(key, version)| release.app == key && Some(release.version()) == *version)
            });
            let release = release.expect("somebody released it");
            ran.entry(release.app).or_default().push(release.version);
        }
        ran
    })
}

#[test]
fn storm_of_ten_thousand_events_runs_the_newest_version_of_each_service_once() {
    let ran = pass(1, SERVICES, trigger(30));
    assert_eq!(ran.len() as u64, SERVICES);
    assert!(ran.values().all(|versions| *versions == [VERSIONS]), "{ran:?}");
}

#[test]
fn storm_that_hardly_settles_runs_no_version_twice_and_the_newest_one_last() {
    let eager = EventTrigger { settle_limit: Some(SignedDuration::from_secs(15)), ..trigger(2) };
    let ran = pass(2, SERVICES / 10, eager);
    assert_eq!(ran.len() as u64, SERVICES / 10);
    assert!(ran.values().map(Vec::len).max() > Some(1), "{ran:?}");
    for versions in ran.values() {
        assert!(versions.is_sorted_by(|a, b| a < b) && versions.last() == Some(&VERSIONS), "{ran:?}");
    }
}
