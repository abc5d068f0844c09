//! A machine that was suspended: monotonic clocks have not counted the time, the wall clock has. What is to be stopped by
//! then is stopped as soon as the machine goes on.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Rules, TemplateSelector},
    run::WindowRule,
    template::{TemplateAction, TemplateFacts},
};
use jiff::{SignedDuration, Timestamp};

use crate::sim::{
    drawn::{
        happening::Happening,
        scenario::{HOUR_MS, SECOND_MS, experiment_name},
    },
    driven::world::World,
    planted::Bug,
    simulated::nature::{Nature, Timeline},
};

/// When the machine is suspended.
const SUSPENDED_AT_MS: u64 = 95 * SECOND_MS;

/// Longest time until FIS is asked to stop: the clock is looked at every second, and a connection takes up to one.
const AT_ONCE_MS: u64 = 2_500;

/// A world in which an experiment begins that may run for an hour.
fn world(seed: u64, bug: Bug) -> World {
    let base: Timestamp = "2026-06-17T12:00:00Z".parse().expect("an instant");
    let declared = Experiment {
        template: TemplateSelector::Id("EXT0".to_owned()),
        max_duration: SignedDuration::from_hours(1),
        ..Experiment::gone(experiment_name(0))
    };
    let action = TemplateAction {
        action_id: "aws:fis:wait".to_owned(),
        parameters: BTreeMap::from([("duration".to_owned(), "PT1H".to_owned())]),
        ..TemplateAction::default()
    };
    let actions = BTreeMap::from([("wait".to_owned(), action)]);
    let facts = TemplateFacts { id: "EXT0".to_owned(), actions, read_at: base, ..TemplateFacts::default() };
    let rules = Rules { experiments: BTreeMap::from([(declared.name.clone(), declared)]), ..Rules::default() };
    let nature = Nature::new(seed, base, Timeline::Dropped).planted(bug);
    World::of(nature, rules, vec![(BTreeMap::new(), facts)])
}

/// How long after the machine goes on FIS is asked to stop what runs, in each of some worlds in which it still does.
fn delays(bug: Bug) -> Vec<u64> {
    let delay = |seed: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut world = world(seed, bug);
            world.restart();
            let start = Happening::StartByHand { request: 0, experiment: 0, windows: WindowRule::Hold };
            world.schedule(5 * SECOND_MS, start);
            let by_ms = i64::try_from(2 * HOUR_MS).expect("a step");
            world.schedule(SUSPENDED_AT_MS, Happening::Step { by_ms });
            world.live_until(SUSPENDED_AT_MS + 60 * SECOND_MS).await;
            let is_going = world.fis.with(|state| state.experiments.first().is_some_and(|e| e.end() > SUSPENDED_AT_MS));
            let calls = world.fis.with(|state| state.calls.clone());
            let told = calls.iter().find(|call| call.operation == "StopExperiment").map(|call| call.at);
            is_going.then(|| told.map_or(u64::MAX, |told| told.saturating_sub(SUSPENDED_AT_MS)))
        })
    };
    (0..20).filter_map(delay).collect()
}

#[test]
fn stop_that_fell_due_while_the_machine_was_suspended_is_made_at_once() {
    let delays_seen = delays(Bug::None);
    assert!(delays_seen.len() >= 10, "{delays_seen:?}");
    assert!(delays_seen.iter().all(|delay| *delay <= AT_ONCE_MS), "{delays_seen:?}");
    // Only because the clock is looked at: a timer would not have noticed.
    let unnoticed = delays(Bug::StepsUnnoticed);
    assert!(unnoticed.iter().any(|delay| *delay > AT_ONCE_MS), "{unnoticed:?}");
}
