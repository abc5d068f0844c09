//! How long each kind of action takes and how it ends, in declared seconds.

use firedrill::domain::catalogue;

use super::{script::*, *};

/// A template of one action with a target that fits it, found by tag, or by ARN where FIS wants it so.
fn single(id: &str, parameters: &Value) -> Value {
    let known = catalogue::action(id).expect("a known action");
    let mut action = json!({"actionId": id, "parameters": parameters});
    let mut targets = json!({});
    for (key, kind) in &known.targets {
        action["targets"] = json!({key: "t"});
        targets["t"] = json!({"resourceType": kind, "selectionMode": "ALL", "resourceTags": {"env": "test"}});
        if kind == "aws:eks:cluster" {
            let arn = "arn:aws:eks:us-east-1:123456789012:cluster/c";
            targets["t"] = json!({"resourceType": kind, "selectionMode": "ALL", "resourceArns": [arn]});
        }
    }
    json!({"actions": {"a": action}, "targets": targets})
}

/// An engine of two experiments; the first one takes a second.
fn engine(seconds: &str, more: &Value) -> Value {
    let experiment = |seconds: &str| {
        let env = json!([{"name": "X", "value": "1"}, {"name": "TOTAL_CHAOS_DURATION", "value": seconds}]);
        json!({"spec": {"components": {"env": env}}})
    };
    let spec = json!({"experiments": [experiment("1"), experiment(seconds)]});
    resource_of("litmuschaos.io/v1alpha1", "ChaosEngine", &spec, more)
}

fn resource_of(version: &str, kind: &str, spec: &Value, more: &Value) -> Value {
    let mut parameters = json!({
        "kubernetesApiVersion": version,
        "kubernetesKind": kind,
        "kubernetesNamespace": "litmus",
        "kubernetesSpec": spec.to_string(),
        "maxDuration": "PT2M",
    });
    for (key, value) in more.as_object().expect("an object") {
        parameters[key] = value.clone();
    }
    parameters
}

/// Action, parameters, seconds from its start to its end, and what becomes of it.
fn cases() -> Vec<(&'static str, Value, i64, &'static str)> {
    const DONE: &str = "completed Action was completed.";
    const EXCEEDED: &str = "failed Action exceeded the specified maximum duration.";
    const NO_RESOURCE: &str = "failed Unable to get custom resource: Unexpected status.";
    const CUSTOM: &str = "aws:eks:inject-kubernetes-custom-resource";
    const ASSERT: &str = "aws:cloudwatch:assert-alarm-state";
    const MESH: &str = "chaos-mesh.org/v1alpha1";
    let document = "arn:aws:ssm:us-east-1::document/AWSFIS-Run-CPU-Stress";
    let arn = |name: &str| format!("arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}");
    let alarms = |names: &str, states: &str| {
        let arns: Vec<_> = names.split(',').map(arn).collect();
        json!({"alarmArns": arns.join(","), "alarmStates": states})
    };
    vec![
        ("aws:fis:wait", json!({"duration": "PT90S"}), 90, DONE),
        ("aws:ssm:send-command", json!({"documentArn": document, "duration": "PT5M"}), 300, DONE),
        ("aws:network:disrupt-connectivity", json!({"scope": "all", "duration": "PT5M"}), 310, DONE),
        ("aws:network:disrupt-vpc-endpoint", json!({"duration": "PT5M"}), 310, DONE),
        ("aws:ec2:reboot-instances", json!({}), 1, DONE),
        ("aws:rds:failover-db-cluster", json!({}), 1, DONE),
        ("aws:ec2:stop-instances", json!({}), 1, DONE),
        ("aws:ec2:stop-instances", json!({"startInstancesAfterDuration": "PT10M"}), 630, DONE),
        ("aws:ec2:send-spot-instance-interruptions", json!({"durationBeforeInterruption": "PT2M"}), 1, DONE),
        ("aws:ec2:send-spot-instance-interruptions", json!({"durationBeforeInterruption": "PT5M"}), 180, DONE),
        ("aws:ssm:start-automation-execution", json!({"documentArn": document, "maxDuration": "PT3M"}), 60, DONE),
        (CUSTOM, engine("30", &json!({})), 41, DONE),
        (CUSTOM, engine("109", &json!({})), 120, DONE),
        (CUSTOM, engine("110", &json!({})), 120, EXCEEDED),
        (CUSTOM, engine("30", &json!({"kubernetesKind": "ChaosPanther"})), 1, NO_RESOURCE),
        (CUSTOM, resource_of(MESH, "PodChaos", &json!({"duration": "1m"}), &json!({})), 70, DONE),
        (CUSTOM, resource_of(MESH, "PodChaos", &json!({"duration": "2m"}), &json!({})), 120, EXCEEDED),
        (CUSTOM, resource_of(MESH, "PodChaos", &json!({"action": "pod-kill"}), &json!({})), 40, DONE),
        (CUSTOM, resource_of(MESH, "ChaosEngine", &json!({}), &json!({})), 1, NO_RESOURCE),
        (ASSERT, alarms("fine", "OK"), 1, DONE),
        (ASSERT, alarms("fine,loud", "ALARM,OK"), 1, DONE),
        (
            ASSERT,
            alarms("fine,loud", "OK"),
            1,
            "failed Alarm arn:aws:cloudwatch:us-east-1:123456789012:alarm:loud is in state ALARM, not in OK.",
        ),
        (
            ASSERT,
            alarms("none", "OK"),
            1,
            "failed Alarm arn:aws:cloudwatch:us-east-1:123456789012:alarm:none does not exist.",
        ),
    ]
}

#[test]
fn actions_take_the_time_that_the_catalogue_says() {
    simulated(slow(), async |world| {
        world.freeze().await;
        world.alarm("fine", "OK").await;
        world.alarm("loud", "ALARM").await;
        for (action, parameters, seconds, end) in cases() {
            let template = world.drafted(&single(action, &parameters)).await;
            let id = world.begun(&template, "run-all").await;
            world.jump("PT13H").await;
            let record = world.record(&id);
            let run = &record.actions["a"];
            let length = run.ended_at.expect("an end").duration_since(run.started_at.expect("a start"));
            let seen = (length.as_millis(), format!("{} {}", run.status.as_str(), run.reason));
            assert_eq!(seen, (i128::from(seconds * 1_000), end.to_owned()), "{action} {parameters}");
            let reason = if end.starts_with("failed") { &run.reason } else { "Experiment completed." };
            assert_eq!(record.reason, reason, "{action} {parameters}");
        }
        world
    });
}
