//! Messages of every kind through a real queue, and run events out to a bus.

use std::net::TcpListener;

use firedrill::{
    domain::run::{Run, RunState},
    engine::ports::QuarantinedMessage,
};
use serde_json::{Value, json};

use super::deployment;
use crate::support::{agent::Home, disk::Lock, eventually, stage::Stage, wire::Wire};

/// An experiment for each deployment, read from a queue.
fn after_deployments(template: &str, queue: &str) -> String {
    format!(
        "[queues.deployments]\nurl = \"{queue}\"\n[experiments.drill]\ntemplate = \"{template}\"\n\
         overlap = \"allow\"\ntriggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n"
    )
}

fn quarantined(home: &Home) -> Vec<QuarantinedMessage> {
    home.read(async |store| store.quarantined(100).await.expect("rows")).unwrap_or_default()
}

#[test]
fn unreadable_messages_are_put_aside_and_the_rest_goes_on() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let home = Home::new(&stage.url(), &after_deployments(&stage.template(&[("wait", "PT1M", &[])]), &queue));
    let _agent = home.agent();
    let nested = format!("{{\"detail\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let huge = deployment("e-huge").replace("succeeded", &"x".repeat(256 * 1024));
    let bodies = [
        ("not JSON at all", "the body is not JSON that can be read"),
        ("{\"source\": \"com.example.ci\"}", "it has no `detail-type`"),
        ("{\"Type\": \"SubscriptionConfirmation\", \"Message\": \"{}\"}", "an SNS message of type"),
        // Half a character: the nearest that a queue comes to text that is not Unicode.
        ("{\"source\": \"\\ud800\"}", "hex escape"),
        (&nested, "recursion limit"),
        (&huge, "262144 or more are not read"),
    ];
    for (body, _) in bodies {
        stage.send(&queue, body);
    }
    stage.send(&queue, &deployment("e-last"));
    let run = home.wait_for("the run of the good message", Run::is_over);
    assert_eq!(run.trigger.key(), "event:com.example.ci:e-last");
    eventually("an empty queue", || (stage.depth(&queue) == 0).then_some(()));
    let aside = quarantined(&home);
    assert_eq!(aside.len(), bodies.len());
    for (_, reason) in bodies {
        assert!(aside.iter().any(|message| message.reason.contains(reason)), "{reason}: {aside:?}");
    }
    let why = home.run(&["why", &aside[0].message_id]);
    assert_eq!(why.code, 0, "{why:?}");
    assert!(why.stdout.contains(&aside[0].reason), "{why:?}");
    let fits = |message: &QuarantinedMessage| message.body.len() <= 16 * 1024 || !message.is_cut();
    assert!(aside.iter().all(|message| message.queue == "deployments" && fits(message)));
}

#[test]
fn a_message_that_cannot_be_recorded_is_kept_and_taken_in_once() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let home = Home::new(&stage.url(), &after_deployments(&stage.template(&[("wait", "PT1M", &[])]), &queue));
    let _agent = home.agent();
    let health = || home.json(&["status"])["queues"]["deployments"].as_str().map(str::to_owned);
    eventually("a queue that is read", || (health()? == "ready").then_some(()));

    let lock = Lock::take(&home);
    stage.send(&queue, &deployment("e-kept"));
    eventually("the failure in the queue's health", || health()?.contains("cannot be recorded").then_some(()));
    assert_eq!(stage.depth(&queue), 1, "nothing is deleted that is not recorded");

    drop(lock);
    let run = home.wait_for("the run of the message", Run::is_over);
    assert_eq!(run.trigger.key(), "event:com.example.ci:e-kept");
    eventually("an empty queue", || (stage.depth(&queue) == 0).then_some(()));
    assert_eq!(stage.experiments().len(), 1);
    eventually("a queue that is read again", || (health()? == "ready").then_some(()));
    assert_eq!(home.log().matches("could not be recorded").count(), 1, "said once");
}

#[test]
fn wrapped_scheduled_and_doubled_events_open_one_run_each() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let home = Home::new(&stage.url(), &after_deployments(&stage.template(&[("wait", "PT1M", &[])]), &queue));
    let _agent = home.agent();
    let wrapped = json!({"Type": "Notification", "MessageId": "m-1", "Message": deployment("e-sns")}).to_string();
    // What EventBridge Scheduler sends is what its user wrote; without an id the message's own stands in.
    let scheduled = json!({"source": "com.example.ci", "detail-type": "Nightly", "detail": {}}).to_string();
    for _copy in 0..5 {
        stage.send(&queue, &deployment("e-twice"));
        stage.send(&queue, &wrapped);
    }
    stage.send(&queue, &scheduled);
    eventually("three runs that are over", || {
        (home.runs().iter().filter(|run| run.is_over()).count() == 3 && stage.depth(&queue) == 0).then_some(())
    });
    assert_eq!(home.runs().len(), 3);
    assert_eq!(stage.experiments().len(), 3);
    let keys: Vec<String> = home.runs().iter().map(|run| run.trigger.key()).collect();
    for key in ["event:com.example.ci:e-twice", "event:com.example.ci:e-sns"] {
        assert_eq!(keys.iter().filter(|found| *found == key).count(), 1, "{keys:?}");
    }
}

#[test]
fn custom_bodies_become_events_by_mappings_that_a_reload_changes() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let rules = format!(
        "[queues.deployments]\nurl = \"{queue}\"\n[experiments.drill]\ntemplate = \"{template}\"\noverlap = \"allow\"\n\
         triggers = [{{ on = \"argocd-synced\", application = \"shop\", max_age = \"none\" }}, \
         {{ pattern = {{ source = [\"ci\"] }} }}]\n"
    );
    let home = Home::new(&stage.url(), &rules);
    let _agent = home.agent();
    let synced = json!({
        "app": "shop", "phase": "Succeeded", "syncStatus": "Synced", "healthStatus": "Healthy", "revision": "0f3a9c1d",
        "finishedAt": "2024-05-10T09:00:00Z",
    });
    let other = json!({ "pipeline": "shop", "status": "deployed" }).to_string();
    // Notified twice: equal bodies that say when it happened are one event.
    for body in [&synced.to_string(), &synced.to_string(), &other] {
        stage.send(&queue, body);
    }
    let run = home.wait_for("the end of the run", firedrill::domain::run::Run::is_over);
    let deployment = run.trigger.deployment().expect("a deployment");
    assert_eq!((deployment.key.as_str(), deployment.version.as_deref()), ("shop", Some("0f3a9c1d")));
    eventually("an empty queue", || (stage.depth(&queue) == 0).then_some(()));
    let aside = quarantined(&home);
    assert_eq!(aside.len(), 1, "{aside:?}");
    assert!(aside[0].reason.ends_with("the one mapping does not take it; it has `pipeline`, `status`"), "{aside:?}");
    let mapping =
        "[mappings.ci]\nwhen = { pipeline = [{ exists = true }] }\nsource = \"ci\"\ndetail_type = \"Deployed\"\n";
    home.configure(&format!("{rules}{mapping}"));
    assert_eq!(home.run(&["reload"]).code, 0);
    stage.send(&queue, &other);
    eventually("a second run", || (home.runs().iter().filter(|run| run.is_over()).count() == 2).then_some(()));
    assert_eq!(home.runs().len(), 2);
}

#[test]
fn a_missing_queue_keeps_the_agent_unready_and_hinders_no_schedule() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let tables = after_deployments(&template, &stage.queue_url("deployments"));
    let home = Home::new(
        &stage.url(),
        &format!("{tables}schedules = [{{ cron = \"* * * * * *\" }}]\n[http]\nlisten = \"{port}\"\n"),
    );
    let _agent = home.agent();
    let http = Wire::new(format!("http://{port}"));
    let ready = || {
        let answer = stage.wait(http.get("/readyz"));
        (answer.status, answer.text)
    };
    eventually("an experiment by schedule", || stage.experiments().first().cloned());
    let (status, said) =
        eventually("the queue's failure", || Some(ready()).filter(|(_, said)| said.contains("deployments: ")));
    assert_eq!(status, 503);
    assert!(said.contains("QueueDoesNotExist") || said.contains("does not exist"), "{said}");
    assert_eq!(stage.wait(http.get("/healthz")).status, 200);
    assert!(home.run(&["status"]).stdout.contains("NOT READY"));
    // The probes' port tells and never acts.
    let acted = stage.wait(http.call("POST", "/v1/halt", &json!({})));
    assert!([404, 405].contains(&acted.status), "{acted:?}");

    let queue = stage.queue("deployments");
    stage.send(&queue, &deployment("e-1"));
    eventually("readiness", || (ready().0 == 200).then_some(()));
    home.wait_for("the event's run", |run| run.trigger.kind() == "event");
}

/// What leaves for the bus, and what has to be true of it.
fn check_run_event(event: &Value) {
    let schema: Value =
        serde_json::from_str(include_str!("../../../deploy/events/run-event.schema.json")).expect("JSON");
    let properties = &schema["properties"]["detail"]["properties"];
    assert_eq!((&event["source"], &event["detail-type"]), (&json!("firedrill"), &json!("Firedrill Run State Change")));
    let detail = event["detail"].as_object().expect("an object");
    for key in schema["properties"]["detail"]["required"].as_array().expect("keys") {
        assert!(detail.contains_key(key.as_str().expect("a key")), "no {key} in {event}");
    }
    for (key, value) in detail {
        let known = properties.get(key).unwrap_or_else(|| panic!("{key} of {event} is not in the schema"));
        if let Some(values) = known["enum"].as_array() {
            assert!(values.contains(value), "{key}: {value} is not in the schema");
        }
    }
}

#[test]
fn run_events_reach_a_bus_in_the_shape_of_the_schema() {
    let stage = Stage::start(600.0);
    let (queue, heard) = (stage.queue("deployments"), stage.subscribe("firedrill", "heard"));
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let more = format!(
        "[experiments.held]\ntemplate = \"{template}\"\n\
         triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, hold_for = \"1h\", max_age = \"none\" }}]\n\
         [experiments.shut]\ntemplate = \"{template}\"\n[event_bus]\nname = \"default\"\n\
         [windows.freeze]\nweekly = [\"Mon-Sun\"]\nexperiments = [\"held\", \"shut\"]\n"
    );
    let home = Home::new(&stage.url(), &(after_deployments(&template, &queue) + &more));
    let _agent = home.agent();
    // The first delivery fails, and is tried again.
    stage.fault("PutEvents", "500-before", 2);
    stage.send(&queue, &deployment("e-1"));
    let shut = home.json(&["start", "shut"])["run"].as_str().expect("an id").to_owned();
    let withdrawn = home.wait_for("a held run", |run| matches!(run.state, RunState::Held { .. }));
    home.json(&["stop", withdrawn.id.as_str()]);
    let mut events = Vec::new();
    eventually("every event on the bus", || {
        events.extend(stage.drain(&heard));
        (events.len() >= 5).then_some(())
    });
    events.iter().for_each(check_run_event);
    let told: Vec<(&str, &str)> = events
        .iter()
        .map(|event| {
            let detail = &event["detail"];
            let why = detail["reason"].as_str().or(detail["outcome"].as_str()).unwrap_or_default();
            (detail["state"].as_str().expect("a state"), why)
        })
        .collect();
    for one in [("started", ""), ("finished", "completed"), ("held", "closed"), ("skipped", "closed")] {
        assert!(told.contains(&one), "{one:?} is missing in {told:?}");
    }
    assert!(told.contains(&("skipped", "withdrawn")), "{told:?}");
    let of_shut = events.iter().find(|event| event["detail"]["run"] == json!(shut)).expect("an event of the shut one");
    assert_eq!(of_shut["detail"]["trigger"]["kind"], "manual");
}

#[test]
fn a_bus_that_cannot_be_reached_hurts_no_run() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let nowhere = crate::support::otlp::refused_url();
    let tables = format!(
        "[event_bus]\nname = \"default\"\nendpoint_url = \"{nowhere}\"\n[experiments.drill]\ntemplate = \"{template}\"\n"
    );
    let home = Home::new(&stage.url(), &tables);
    let agent = home.agent();
    assert_eq!(home.run(&["start", "drill", "--wait"]).code, 0);
    assert_eq!(home.run(&["start", "drill", "--wait"]).code, 0);
    assert_eq!(home.log().matches("run event could not be put on the bus").count(), 1, "{}", home.log());
    assert_eq!(agent.terminate(), 0);
}
