//! Every sample event on its way: rules and a queue that `firedrill queue apply` made of the triggers, moto's bus and SQS,
//! the agent. Bodies that no bus delivers are sent to the queue as their senders do.

use std::{collections::BTreeMap, fmt::Write};

use firedrill::domain::event::catalogue::samples;
use serde_json::{Map, Value, json};

use super::scene::Scene;
use crate::support::{agent::Home, eventually};

/// Leaves of `detail` that make a pattern; enough to tell the samples apart, few enough for a rule of 26 patterns.
const LEAVES: usize = 4;

/// Which bodies of Argo CD and Flux are events, and which.
const MAPPINGS: &str = r#"
[mappings.argocd]
when = { app = [{ exists = true }], syncStatus = [{ exists = true }] }
source = "argocd"
detail_type = "Argo CD Sync"
[mappings.flux]
when = { involvedObject = { kind = [{ exists = true }] }, reportingController = [{ exists = true }] }
source = "flux"
detail_type = "Flux Event"
"#;

/// How a sample gets to the queue.
enum Way {
    Bus(Value),
    Queue(String),
}

struct Sample {
    name: String,
    way: Way,
    pattern: Value,
}

/// A pattern of the first scalars in a value.
fn pattern(value: &Value, left: &mut usize) -> Option<Value> {
    match value {
        Value::Object(members) => {
            let inner = |(key, value): (&String, &Value)| Some((key.clone(), pattern(value, left)?));
            let inner: Map<String, Value> = members.iter().filter_map(inner).collect();
            (!inner.is_empty()).then(|| inner.into())
        }
        Value::Array(_) => None,
        scalar => {
            *left = left.checked_sub(1)?;
            Some(json!([scalar]))
        }
    }
}

/// The pattern that takes an event.
fn taking(event: &Value) -> Value {
    let mut wanted = json!({"source": [event["source"]], "detail-type": [event["detail-type"]]});
    let mut left = LEAVES;
    if let Some(detail) = event["detail"].as_object().and_then(|_| pattern(&event["detail"], &mut left)) {
        wanted["detail"] = detail;
    }
    wanted
}

fn sample((name, body): (String, Value)) -> Sample {
    let by_queue = |event: &Value, body: &Value| (Way::Queue(body.to_string()), taking(event));
    let (way, pattern) = match name.as_str() {
        "argocd-sqs-message-body" => by_queue(&json!({"source": "argocd", "detail-type": "Argo CD Sync"}), &body),
        "flux-generic-webhook-body" => by_queue(&json!({"source": "flux", "detail-type": "Flux Event"}), &body),
        "sqs-body.sns-wrapped" => {
            // The event in it is another sample as well, and is known by its id.
            let text = body["Message"].as_str().expect("an event").replace("ddca6449", "00000001");
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let mut body = body;
            body["Message"] = json!(text);
            by_queue(&event, &body)
        }
        "scheduler-default-input" | "sqs-body.raw-eventbridge" => by_queue(&body, &body),
        _ => (Way::Bus(body.clone()), taking(&body)),
    };
    Sample { name, way, pattern }
}

fn send(scene: &Scene, queue: &str, way: &Way) {
    match way {
        Way::Queue(body) => scene.send(queue, body),
        Way::Bus(event) => {
            let entry = json!({
                "Source": event["source"], "DetailType": event["detail-type"], "Resources": event["resources"],
                "Detail": event["detail"].to_string(),
            });
            let answer = scene.call("events", "AWSEvents.PutEvents", &json!({"Entries": [entry]}));
            assert_eq!(answer["FailedEntryCount"], 0, "{answer}");
        }
    }
}

#[test]
fn every_sample_event_opens_its_run() {
    let scene = Scene::moto();
    let samples: Vec<Sample> = samples().map(sample).collect();
    assert_eq!(samples.len(), 26);
    let queue = format!("{}/123456789012/samples", scene.moto_url());
    let fis = scene.stage.url();
    let mut tables = format!(
        "[queues.samples]\nurl = \"{queue}\"\nendpoint_url = \"{}\"\nconcurrency = 3\n[queues.samples.provision]\n{MAPPINGS}",
        scene.tap.url()
    );
    for Sample { name, pattern, .. } in &samples {
        let (name, template) = (name.replace('.', "-"), scene.template());
        let trigger = format!("triggers = [{{ pattern = '''{pattern}''', max_age = \"none\" }}]");
        writeln!(tables, "[experiments.{name}]\ntemplate = \"{template}\"\nendpoint_url = \"{fis}\"\n{trigger}")
            .expect("text");
    }
    // The bus is where AWS is; FIS is the simulator's part.
    let home = Home::new(scene.moto_url(), &tables);
    let applied = home.run(&["queue", "apply", "--yes"]);
    assert_eq!(applied.code, 0, "{applied:?}");
    let _agent = home.agent();
    samples.iter().for_each(|sample| send(&scene, &queue, &sample.way));
    // Samples of the same event in another wrapping open runs of each other's experiments.
    let alike = |pattern: &Value| samples.iter().filter(|sample| sample.pattern == *pattern).count();
    let expected: BTreeMap<String, usize> =
        samples.iter().map(|sample| (sample.name.replace('.', "-"), alike(&sample.pattern))).collect();
    let opened = || {
        let mut opened: BTreeMap<String, usize> = BTreeMap::new();
        for run in home.runs() {
            *opened.entry(run.experiment.to_string()).or_default() += 1;
        }
        opened
    };
    eventually("a run of each", || {
        (opened().len() == expected.len() && opened().values().sum::<usize>() == expected.values().sum::<usize>())
            .then_some(())
    });
    assert_eq!(opened(), expected);
    scene.wait_until_empty(&queue);
    assert_eq!(home.read(async |store| store.quarantined(9).await.expect("rows").len()), Some(0));
}
