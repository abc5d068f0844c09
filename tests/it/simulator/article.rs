//! The experiment that the demo plays: its six actions in their order, with their overlap and times.

use super::{script::*, *};
use crate::support::repository;

/// The speed at which the times must hold within one tick.
const SPEED: u16 = 600;

/// Declared seconds: `initiating`, a call without a hold time, Litmus's own start and recovery (the simulator's choices);
/// then what the files say.
const BEGIN: i64 = 10;
const CALL: i64 = 1;
const ENGINE: i64 = 300 + 10;
const WAIT: i64 = 300;
const COMMAND: i64 = 300;

/// The demo's template with the engines embedded, as the demo does it.
fn template() -> Value {
    let file = |name: &str| std::fs::read_to_string(repository().join("config/demo").join(name)).expect("a file");
    let mut template: Value = serde_json::from_str(&file("template.json")).expect("JSON");
    for action in template["actions"].as_object_mut().expect("actions").values_mut() {
        if let Some(spec) = action["parameters"].get_mut("kubernetesSpec") {
            let name = spec.as_str().and_then(|name| name.strip_prefix('@')).expect("a file's name");
            *spec = json!(serde_yaml_ng::from_str::<Value>(&file(name)).expect("YAML").to_string());
        }
    }
    template
}

/// Declared start and end of each action, counted from the start of the experiment.
fn expected() -> [(&'static str, i64, i64); 6] {
    let nodes = BEGIN + ENGINE;
    let databases = nodes + CALL;
    let wait = databases + CALL;
    let command = wait + WAIT;
    [
        ("instance-cpu-stress", command, command + COMMAND),
        ("pod-cpu-stress", BEGIN, BEGIN + ENGINE),
        ("pod-delete", BEGIN, BEGIN + ENGINE),
        ("reboot-databases", databases, databases + CALL),
        ("terminate-nodes", nodes, nodes + CALL),
        ("wait", wait, wait + WAIT),
    ]
}

/// Holds a record against [`expected`]. The simulator writes times down in ticks of a millisecond of its clock, each of
/// which is so many declared ones: one tick off is as near as they can be.
fn check(record: &ExperimentRecord, speed: i128, ticks: i128) {
    assert_eq!(record.actions.keys().map(String::as_str).collect::<Vec<_>>(), expected().map(|(name, ..)| name));
    for (name, begins, ends) in expected() {
        let action = &record.actions[name];
        for (at, declared) in [(action.started_at, begins), (action.ended_at, ends)] {
            let since = at.expect("a time").duration_since(record.created_at).as_micros();
            let off = (since - i128::from(declared) * 1_000_000 / speed).abs();
            assert!(off <= ticks * 1_000, "{name}: {off} µs off its time, {declared} declared seconds");
        }
    }
    let last = record.actions["instance-cpu-stress"].ended_at;
    assert_eq!((record.ended_at, &record.status), (last, &FisStatus::Completed));
}

#[test]
fn the_article_s_six_actions_keep_their_times_at_speed_600() {
    simulated(Options { speed: f64::from(SPEED), ..Options::default() }, async |world| {
        let template = world.drafted(&template()).await;
        let id = world.begun(&template, "run-all").await;
        check(&world.until(&id, FisStatus::Completed).await, SPEED.into(), 1);
        world
    });
}

#[test]
fn the_article_s_six_actions_are_exact_at_aws_s_speed() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let template = world.drafted(&template()).await;
        let id = world.begun(&template, "run-all").await;
        world.jump("PT1H").await;
        check(&world.record(&id), 1, 0);
        world
    });
}
