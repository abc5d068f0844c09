//! The experiment that the demo plays: its six actions in their order, with their overlap and times.

use super::*;
use crate::support::repository;

/// Speed of the check, and so the length of a tick: what AWS shows, a millisecond, is this much there.
const SPEED: f64 = 600.0;
const TICK_MILLIS: i64 = 600;

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

#[test]
fn the_article_s_six_actions_keep_their_order_and_times() {
    simulated(Options { speed: SPEED, ..Options::default() }, async |world| {
        let template = world.drafted(&template()).await;
        let id = world.begun(&template, "run-all").await;
        let record = world.until(&id, FisStatus::Completed).await;
        let nodes = BEGIN + ENGINE;
        let databases = nodes + CALL;
        let wait = databases + CALL;
        let command = wait + WAIT;
        let expected = [
            ("instance-cpu-stress", command, command + COMMAND),
            ("pod-cpu-stress", BEGIN, BEGIN + ENGINE),
            ("pod-delete", BEGIN, BEGIN + ENGINE),
            ("reboot-databases", databases, databases + CALL),
            ("terminate-nodes", nodes, nodes + CALL),
            ("wait", wait, wait + WAIT),
        ];
        assert_eq!(record.actions.keys().map(String::as_str).collect::<Vec<_>>(), expected.map(|(name, ..)| name));
        for (name, begins, ends) in expected {
            let action = &record.actions[name];
            let since = |at: Option<jiff::Timestamp>| {
                let real = at.expect("a time").duration_since(record.created_at);
                real.as_micros() * 600 / 1_000
            };
            let off = |at, declared: i64| (since(at) - i128::from(declared * 1_000)).abs();
            let (late, long) = (off(action.started_at, begins), off(action.ended_at, ends));
            assert!(late <= i128::from(TICK_MILLIS) && long <= i128::from(TICK_MILLIS), "{name}: {late} ms, {long} ms");
        }
        // What starts after something starts at its end, and the two engines overlap wholly.
        let at = |name: &str| (record.actions[name].started_at, record.actions[name].ended_at);
        assert_eq!(at("pod-cpu-stress"), at("pod-delete"));
        for (before, after) in [
            ("pod-cpu-stress", "terminate-nodes"),
            ("terminate-nodes", "reboot-databases"),
            ("reboot-databases", "wait"),
            ("wait", "instance-cpu-stress"),
        ] {
            assert_eq!(at(before).1, at(after).0, "{before} and {after}");
        }
        assert_eq!(record.ended_at, at("instance-cpu-stress").1);
        world
    });
}
