//! A storm of events against the real binary, its store on disk, and the simulator's SQS, while it is killed again and again.
//!
//! The greater storm is in the simulation (`sim::staged::storm`); here it is SQLite that has to keep what is acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firedrill::domain::{
    ids::RUN_TAG,
    run::{Run, RunState, SkipReason},
};
use serde_json::{Value, json};

use crate::support::{agent::Home, chance::Chance, stage::Stage, within};

const SERVICES: u64 = 20;

/// Versions of each service, one after the other.
const VERSIONS: u64 = 40;

/// Events about a version that was told of already, under ids of their own, of each service.
const AGAIN: u64 = 10;

/// How far an event may be from its place in the order in which things happened, in versions.
const OUT_OF_ORDER: u64 = 5;

/// How often the agent is killed.
const KILLS: usize = 4;

/// Longest time until everything has come to rest.
const SETTLES: Duration = Duration::from_secs(60);

/// Makes the events of the storm, in the order in which they come into the queue; some of them come twice.
fn events(c: &mut Chance) -> Vec<Value> {
    let mut all = Vec::new();
    for service in 0..SERVICES {
        let mut put = |version: u64, c: &mut Chance| {
            let event = json!({
                "id": format!("e-{}", all.len()), "source": "com.example.ci", "detail-type": "Deployment",
                "time": format!("2026-03-01T02:00:{version:02}Z"),
                "detail": { "service": format!("service-{service}"), "version": format!("v{version:02}") },
            });
            all.push((version * 10 + c.between(0, OUT_OF_ORDER * 10), event));
        };
        (0..VERSIONS).for_each(|version| put(version, c));
        (0..AGAIN).for_each(|_| put(c.between(0, VERSIONS - 1), c));
    }
    let twice: Vec<_> = all.iter().filter(|_| c.one_in(10)).map(|(at, event)| (at + 30, event.clone())).collect();
    all.extend(twice);
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, event)| event).collect()
}

/// The service and the version that a run is about.
fn about(run: &Run) -> (String, String) {
    let deployment = run.trigger.deployment().expect("a deployment");
    (deployment.key.clone(), deployment.version.clone().expect("a version"))
}

#[test]
fn storm_of_events_and_kills_runs_the_newest_version_of_each_service_and_none_twice() {
    let stage = Stage::start(60.0);
    let (queue, template) = (stage.queue("deployments"), stage.template(&[("wait", "PT1M", &[])]));
    let home = Home::new(
        &stage.url(),
        &format!(
            "[telemetry]\nlog_filter = \"warn\"\n[queues.deployments]\nurl = \"{queue}\"\nconcurrency = 3\n\
             [experiments.drill]\ntemplate = \"{template}\"\noverlap = \"allow\"\n\
             [[experiments.drill.triggers]]\npattern = {{ source = [\"com.example.ci\"] }}\nmax_age = \"none\"\n\
             key = \"/detail/service\"\nversion = \"/detail/version\"\nsettle = \"2s\"\n"
        ),
    );
    let mut c = Chance::new(20_260_301);
    let events = events(&mut c);
    let batches: Vec<&[Value]> = events.chunks(10).collect();
    let mut agent = home.spawn();
    for (n, batch) in batches.iter().enumerate() {
        let entry = |(n, event): (usize, &Value)| json!({"Id": n.to_string(), "MessageBody": event.to_string()});
        let entries: Vec<Value> = batch.iter().enumerate().map(entry).collect();
        stage.call("AmazonSQS.SendMessageBatch", &json!({"QueueUrl": queue, "Entries": entries}));
        if n % (batches.len() / KILLS) == batches.len() / KILLS - 1 {
            agent.kill_nine();
            agent = home.spawn();
        }
    }
    let known: BTreeSet<&str> = events.iter().filter_map(|event| event["id"].as_str()).collect();
    within(SETTLES, "every event known, every run over and the queue empty", || {
        let runs = home.runs();
        (runs.len() == known.len() && runs.iter().all(Run::is_over) && stage.depth(&queue) == 0).then_some(())
    });
    assert_eq!(agent.terminate(), 0);
    let runs = home.runs();
    let skipped = |run: &&Run| matches!(run.state, RunState::Skipped { .. });
    for run in runs.iter().filter(skipped) {
        let RunState::Skipped { reason, .. } = &run.state else { continue };
        let is_known = matches!(reason, SkipReason::Superseded { .. } | SkipReason::Repeated { .. });
        assert!(is_known, "{run:?}");
    }
    // What FIS ran, in its order.
    let by_id: BTreeMap<&str, &Run> = runs.iter().map(|run| (run.id.as_str(), run)).collect();
    let mut ran: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for experiment in stage.experiments() {
        let (service, version) = about(by_id[experiment.tags[RUN_TAG].as_str()]);
        ran.entry(service).or_default().push(version);
    }
    assert_eq!(ran.len() as u64, SERVICES);
    let newest = format!("v{:02}", VERSIONS - 1);
    for versions in ran.values() {
        assert!(versions.is_sorted_by(|a, b| a < b) && versions.last() == Some(&newest), "{ran:?}");
    }
}
