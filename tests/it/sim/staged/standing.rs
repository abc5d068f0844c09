//! A start, an event that is taken in, and a halt, each with a process that falls after every single step of it, also of what
//! was asked of it; and a start whose process stands still there, while a blackout opens.
//!
//! The seeds of the simulation meet such a step by chance; here none is left out.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{EventTrigger, Experiment, Rules, TemplateSelector},
    pattern::Pattern,
    run::WindowRule,
    template::{TemplateAction, TemplateFacts},
    window::{OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use crate::sim::{
    drawn::{
        happening::{Happening, Whom},
        scenario::{MINUTE_MS, SECOND_MS, experiment_name, name},
    },
    driven::{replica::Why, world::World},
    judged::check::{self, Evidence},
    planted::Bug,
    simulated::{
        nature::{Nature, Timeline},
        tables::Durable,
    },
};

/// When somebody asks for something.
const ASKED_MS: u64 = 15 * SECOND_MS;

/// Steps of a process after which something happens to it; what is asked of it takes fewer.
const STEPS: u64 = 50;

/// A world with an experiment of so many seconds that events ask for.
pub fn calm_world(seed: u64, bug: Bug, seconds: u64, restrict: impl FnOnce(&mut Rules)) -> World {
    let base: Timestamp = "2026-06-17T12:00:00Z".parse().expect("an instant");
    let pattern = Pattern::parse(&json!({ "source": ["app.one"] })).expect("a pattern");
    let declared = Experiment {
        template: TemplateSelector::Id("EXT0".to_owned()),
        triggers: vec![EventTrigger::new(pattern)],
        ..Experiment::gone(experiment_name(0))
    };
    let action = TemplateAction {
        action_id: "aws:fis:wait".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), format!("PT{seconds}S"))]),
        ..TemplateAction::default()
    };
    let actions = BTreeMap::from([("wait".to_owned(), action)]);
    let facts = TemplateFacts { id: "EXT0".to_owned(), actions, read_at: base, ..TemplateFacts::default() };
    let mut rules = Rules { experiments: BTreeMap::from([(declared.name.clone(), declared)]), ..Rules::default() };
    restrict(&mut rules);
    let nature = Nature::new(seed, base, Timeline::Dropped).planted(bug);
    World::of(nature, rules, vec![(BTreeMap::new(), facts)])
}

/// The same without a bug and of so many replicas.
fn replicated(seed: u64, replicas: u64, seconds: u64, restrict: impl FnOnce(&mut Rules)) -> World {
    let mut world = calm_world(seed, Bug::None, seconds, restrict);
    if replicas > 1 {
        world.several(replicas, 5 * SECOND_MS);
    }
    world
}

/// A world with an experiment of five seconds, and a blackout from the first minute on, so near that a start just fits.
fn world(seed: u64, replicas: u64) -> World {
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
    replicated(seed, replicas, 5, |rules| rules.windows = [window].into_iter().collect())
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

/// Lives through some minutes of a world in which processes fall; tells what it saw of what was asked before the first fell
/// whose steps were counted.
fn with_a_fall<T>(
    (seed, replicas): (u64, u64),
    seconds: u64,
    happenings: &[(u64, Happening)],
    judge: impl FnOnce(&Evidence<'_>, u64) -> T,
) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut world = replicated(seed, replicas, seconds, |_| {});
        world.restart();
        happenings.iter().for_each(|(at, happening)| world.schedule(*at, happening.clone()));
        world.live_until(30 * MINUTE_MS).await;
        let label = format!("SEED={seed}, {replicas} replicas, {happenings:?}");
        assert!(world.store.with(|tables| tables.runs.values().all(|run| run.is_over())), "{label}: a run goes on");
        let evidence = Evidence::new(&world);
        assert_eq!(check::broken(&evidence), Vec::<String>::new(), "{label}");
        let outages = world.replicas.iter().flat_map(|replica| &replica.outages);
        let falls = outages.filter(|outage| outage.why == Why::Down && outage.from >= ASKED_MS);
        judge(&evidence, falls.map(|outage| outage.from).min().unwrap_or(u64::MAX))
    })
}

/// Sweeps over the steps of a process, and over those of what was asked of it alone; something has to have become durable
/// before some falls, after others, and in the end before any.
#[track_caller]
fn check_every_fall(lives: impl Fn((u64, u64), (u64, Happening)) -> Option<bool>) {
    let down_ms = MINUTE_MS;
    for replicas in [1, 2] {
        let crash = |polls| (ASKED_MS, Happening::Crash { whom: Whom::Active, polls, down_ms });
        let short = |polls| (ASKED_MS - 1, Happening::CutShort { polls, down_ms });
        for seed in 0..2 {
            (0..STEPS).for_each(|polls| _ = lives((seed, replicas), crash(polls)));
            let seen: Vec<_> = (0..STEPS).map(|polls| lives((seed, replicas), short(polls))).collect();
            assert!(seen.contains(&Some(false)) && seen.contains(&Some(true)), "all went one way: {seen:?}");
            assert_eq!(seen.last(), Some(&None), "it takes more steps: {seen:?}");
        }
    }
}

#[test]
fn event_is_taken_in_once_wherever_its_process_falls() {
    check_every_fall(|world, falls| {
        let event = (ASKED_MS, Happening::Deliver { event: 0, source: "app.one" });
        with_a_fall(world, 5, &[falls, event], |evidence, fell| {
            assert_eq!((evidence.runs.len(), evidence.experiments.len()), (1, 1), "{world:?} {:?}", evidence.runs);
            assert!(evidence.world.deleted.contains(&("app.one", 0)), "it is left in the queue");
            let known = evidence.world.store.with(|tables| {
                tables.log.iter().find(|(_, what)| matches!(what, Durable::Arrived { .. })).map(|(ms, _)| *ms)
            });
            (fell < u64::MAX).then(|| known.is_some_and(|known| known <= fell))
        })
    });
}

#[test]
fn halt_holds_or_was_not_made_wherever_its_process_falls() {
    check_every_fall(|world, falls| {
        let (request, windows) = (0, WindowRule::Hold);
        let start = (ASKED_MS - 1, Happening::StartByHand { request, experiment: 0, windows });
        // Another one meets whatever stands by then.
        let late = (3 * MINUTE_MS, Happening::StartByHand { request: 1, experiment: 0, windows });
        with_a_fall(world, 60, &[start, falls, (ASKED_MS, Happening::Halt), late], |evidence, fell| {
            let is_halted = evidence.world.store.with(|tables| tables.halt.is_some());
            (fell < u64::MAX).then_some(is_halted)
        })
    });
}

/// Whoever stands by looks each second; when the lease is given back it need not wait for that.
#[test]
fn lease_that_is_given_back_is_taken_at_once() {
    for seed in 0..20 {
        let replica =
            (ASKED_MS + 37 * seed, Happening::Drain { whom: Whom::Active, stops_within: None, down_ms: MINUTE_MS });
        with_a_fall((seed, 2), 5, &[replica], |evidence, _| {
            let terms = evidence.world.store.with(|tables| tables.lease.terms.clone());
            let released = terms[0].released.expect("it was told to end");
            assert!(terms[1].from - released < SECOND_MS / 10, "SEED={seed}: {terms:?}");
        });
    }
}

/// Wherever a start without an answer took effect, its experiment is found and stopped; where it did not, that is certain.
#[test]
fn process_that_stops_what_runs_ends_by_itself_with_nothing_left() {
    let (request, windows, whom) = (0, WindowRule::Hold, Whom::Active);
    for effect_ms in [None, Some(0), Some(20 * SECOND_MS), Some(100 * SECOND_MS)] {
        let lost = (ASKED_MS - 1, Happening::LoseAnswer { experiment: 0, effect_ms });
        let start = (ASKED_MS, Happening::StartByHand { request, experiment: 0, windows });
        let told = ASKED_MS + 5 * SECOND_MS;
        let (stops_within, down_ms) = (Some(4 * MINUTE_MS), 10 * MINUTE_MS);
        let ends = (told, Happening::Drain { whom, stops_within, down_ms });
        with_a_fall((3, 1), 120, &[lost, start, ends], |evidence, fell| {
            assert!(fell < told + 3 * MINUTE_MS, "{effect_ms:?}: it ended at {fell} ms");
            let began = evidence.experiments.iter().filter(|e| e.created_at < fell).collect::<Vec<_>>();
            assert_eq!(began.len(), usize::from(effect_ms.is_some()), "{effect_ms:?}");
            assert!(began.iter().all(|e| e.stopped_at.is_some() && e.has_ended(fell)), "{effect_ms:?}: {began:?}");
        });
    }
}
