//! A start, and a process that falls or stands still after every single step of it, while a blackout opens.
//!
//! The seeds of the simulation meet such a step by chance; here none is left out.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Rules, TemplateSelector},
    run::WindowRule,
    template::{TemplateAction, TemplateFacts},
    window::{OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{
    check::{self, Evidence},
    nature::{Nature, Timeline},
    scenario::{Happening, MINUTE_MS, SECOND_MS, Whom, experiment_name, name},
    world::World,
};

/// When somebody asks for a run.
const ASKED_MS: u64 = 15 * SECOND_MS;

/// Steps of a process after which something happens to it; a start takes fewer.
const STEPS: u64 = 50;

/// A world with an experiment of five seconds, and a blackout from the first minute on, so near that a start just fits.
fn world(seed: u64, replicas: u64) -> World {
    let base: Timestamp = "2026-06-17T12:00:00Z".parse().expect("an instant");
    let declared =
        Experiment { template: TemplateSelector::Id("EXT0".to_owned()), ..Experiment::gone(experiment_name(0)) };
    let action = TemplateAction {
        action_id: "aws:fis:wait".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), "PT5S".to_owned())]),
        ..TemplateAction::default()
    };
    let actions = BTreeMap::from([("wait".to_owned(), action)]);
    let facts = TemplateFacts { id: "EXT0".to_owned(), actions, read_at: base, ..TemplateFacts::default() };
    let window = Window {
        name: name("noon"),
        kind: WindowKind::Blackout,
        scope: Scope::default(),
        on_entry: OnEntry::Stop { lead: SignedDuration::ZERO },
        lead: SignedDuration::ZERO,
        zone: TimeZone::UTC,
        spans: vec![Span::parse_dates("2026-06-17T12:01 - 2026-06-17T13:00").expect("a span")],
        calendars: Vec::new(),
    };
    let experiments = BTreeMap::from([(declared.name.clone(), declared)]);
    let rules = Rules { experiments, windows: [window].into_iter().collect(), ..Rules::default() };
    let mut world = World::of(Nature::new(seed, base, Timeline::Dropped), rules, vec![(BTreeMap::new(), facts)]);
    if replicas > 1 {
        world.several(replicas, 5 * SECOND_MS);
    }
    world
}

/// Lives through a start in which something happens to whoever decides, and that takes so long until its request leaves; tells
/// how often FIS began something.
fn start(seed: u64, replicas: u64, connects_in_ms: u64, befalls: Happening) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = world(seed, replicas);
        world.fis.with(|state| state.connects_in_ms = connects_in_ms);
        world.restart();
        let label = format!("SEED={seed}, {replicas} replicas, {befalls:?}");
        let windows = WindowRule::Hold;
        world.schedule(ASKED_MS - 1, Happening::StartByHand { request: 0, experiment: 0, windows });
        world.schedule(ASKED_MS, befalls);
        world.live_until(10 * MINUTE_MS).await;
        assert!(world.store.with(|tables| tables.runs.values().all(|run| run.is_over())), "{label}: a run goes on");
        let evidence = Evidence::new(&world);
        assert_eq!(check::broken(&evidence), Vec::<String>::new(), "{label}");
        evidence.experiments.len()
    })
}

#[track_caller]
fn check_every_step(befalls: impl Fn(u64) -> Happening) {
    let mut begun = Vec::new();
    for seed in 0..2 {
        for replicas in [1, 2] {
            begun.extend((0..STEPS).map(|polls| start(seed, replicas, 0, befalls(polls))));
        }
    }
    assert!(begun.contains(&0) && begun.contains(&1), "all went one way: {begun:?}");
}

#[test]
fn start_is_not_sent_late_wherever_its_process_stands_still() {
    check_every_step(|polls| Happening::Stand { whom: Whom::Active, polls, for_ms: MINUTE_MS });
}

#[test]
fn start_is_not_sent_once_its_judgement_is_too_old() {
    let begun = |connects_in_s: u64| start(1, 1, connects_in_s * SECOND_MS, Happening::FisTells);
    assert_eq!([0, 7, 12, 20, 40].map(begun), [1, 1, 0, 0, 0]);
}

#[test]
fn start_is_not_lost_wherever_its_process_falls() {
    check_every_step(|polls| Happening::Crash { whom: Whom::Active, polls, down_ms: MINUTE_MS });
}
