//! Experiment logs, line by line in the documented shape and order.

use super::*;

const RESOURCE: &str = "aws:ec2:instance";

/// Follows an experiment to its end and returns its log.
fn log(parts: &Value, mode: ActionsMode, doomed: Option<&str>) -> Vec<String> {
    let instance = |arn: &str| Resource {
        resource_type: RESOURCE.to_owned(),
        arn: arn.to_owned(),
        tags: [("env".to_owned(), "test".to_owned())].into(),
        attributes: serde_json::Map::new(),
    };
    let scene = Scene::new(Inventory::Listed(vec![instance(I1), instance(I2)]));
    let (mut experiment, _) = accepted(template(parts, &[]), Lever::Disengaged, mode, scene.world());
    if let Some(action) = doomed {
        let cause = FailureCause { code: "InternalFailure".to_owned(), reason: "Boom.".to_owned() };
        assert!(experiment.doom(action, cause, Timestamp::UNIX_EPOCH));
    }
    experiment.advance(scene.world(), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    let lines = experiment.take_log();
    assert!(experiment.take_log().is_empty());
    lines
}

fn parts(version: Option<u8>, tag: &str) -> Value {
    let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"env": tag}});
    let stop = json!({
        "actionId": "aws:ec2:stop-instances",
        "parameters": {"startInstancesAfterDuration": "PT1M"},
        "targets": {"Instances": "t"},
    });
    let mut parts = json!({
        "stopConditions": [{"source": "none"}],
        "actions": {"a": stop, "b": {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}, "startAfter": ["a"]}},
        "targets": {"t": target},
    });
    if let Some(version) = version {
        let group = "arn:aws:logs:us-east-1:123456789012:log-group:drills:*";
        parts["logConfiguration"] =
            json!({"cloudWatchLogsConfiguration": {"logGroupArn": group}, "logSchemaVersion": version});
    }
    parts
}

const I1: &str = "arn:aws:ec2:us-east-1:123456789012:instance/i-1";
const I2: &str = "arn:aws:ec2:us-east-1:123456789012:instance/i-2";

/// A record so many seconds after the start; `+10` in the details stands for the instant ten seconds after it.
fn record(kind: &str, seconds: i64, version: &str, details: &str) -> String {
    let at = |seconds| Timestamp::from_second(seconds).expect("an instant").to_string();
    let details = [0, 2, 10, 100, 101].into_iter().fold(details.to_owned(), |details, seconds| {
        details.replace(&format!("\"+{seconds}\""), &format!("\"{}\"", at(seconds)))
    });
    let head = format!(r#""id":"EXP","log_type":"{kind}","event_timestamp":"{}","version":"{version}""#, at(seconds));
    format!(r#"{{{head},"details":{{{details}}}}}"#)
}

#[test]
fn a_log_has_the_documented_records() {
    for version in [None, Some(2), Some(1)] {
        let shown = if version == Some(1) { "1" } else { "2" };
        let record = |kind: &str, seconds: i64, details: &str| record(kind, seconds, shown, details);
        let resolved = if version == Some(1) {
            format!(r#""resolved_targets":["{I1}","{I2}"]"#)
        } else {
            format!(r#""target_type":"aws:ec2:instance","resolved_targets":[{{"arn":"{I1}"}},{{"arn":"{I2}"}}]"#)
        };
        let done = r#""action_state":{"status":"completed","reason":"Action was completed."}"#;
        let mut expected = vec![
            record("experiment-start", 0, r#""experiment_template_id":"EXT","experiment_start_time":"+0""#),
            record("target-resolution-start", 2, r#""target_resolution_start_time":"+2","target_name":"t""#),
            record(
                "target-resolution-detail",
                2,
                r#""target_resolution_end_time":"+2","target_name":"t","target_type":"aws:ec2:instance","account_id":"123456789012","resolved_targets_count":2,"status":"completed""#,
            ),
            record(
                "target-resolution-end",
                2,
                &format!(r#""target_resolution_end_time":"+2","target_name":"t",{resolved},"page":1,"total_pages":1"#),
            ),
            record(
                "action-start",
                10,
                r#""action_name":"a","action_id":"aws:ec2:stop-instances","action_start_time":"+10","action_targets":{"Instances":"t"},"parameters":{"startInstancesAfterDuration":"PT1M"}"#,
            ),
            record(
                "action-end",
                100,
                &format!(r#""action_name":"a","action_id":"aws:ec2:stop-instances","action_end_time":"+100",{done}"#),
            ),
            record(
                "action-start",
                100,
                r#""action_name":"b","action_id":"aws:ec2:reboot-instances","action_start_time":"+100","action_targets":{"Instances":"t"}"#,
            ),
            record(
                "action-end",
                101,
                &format!(r#""action_name":"b","action_id":"aws:ec2:reboot-instances","action_end_time":"+101",{done}"#),
            ),
            record(
                "experiment-end",
                101,
                r#""experiment_end_time":"+101","experiment_state":{"status":"completed","reason":"Experiment completed"}"#,
            ),
        ];
        if version == Some(1) {
            expected.remove(2);
        }
        assert_eq!(log(&parts(version, "test"), ActionsMode::RunAll, None), expected);
    }
}

#[test]
fn a_log_tells_of_failures() {
    let kinds = |lines: &[String]| {
        let kind = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["log_type"].clone();
        lines.iter().map(kind).collect::<Vec<_>>()
    };
    let lines = log(&parts(None, "test"), ActionsMode::RunAll, Some("a"));
    let error = r#""action_name":"a","action_id":"aws:ec2:stop-instances","account_id":"123456789012","action_state":{"status":"failed","reason":"Boom."}"#;
    assert_eq!(lines[5], record("action-error", 10, "2", error));
    let end = r#""experiment_end_time":"+10","experiment_state":{"status":"failed","reason":"Boom."}"#;
    assert_eq!(lines.last(), Some(&record("experiment-end", 10, "2", end)));
    assert_eq!(kinds(&lines)[5..], ["action-error", "action-end", "experiment-end"]);

    let lines = log(&parts(None, "none"), ActionsMode::RunAll, None);
    let ends = [
        "experiment-start",
        "target-resolution-start",
        "target-resolution-detail",
        "target-resolution-end",
        "experiment-end",
    ];
    assert_eq!(kinds(&lines), ends);
    let detail = r#""target_resolution_end_time":"+2","target_name":"t","target_type":"aws:ec2:instance","account_id":"123456789012","resolved_targets_count":0,"status":"failed","error_information":"Target resolution returned empty set.""#;
    assert_eq!(lines[2], record("target-resolution-detail", 2, "2", detail));

    let lines = log(&parts(Some(1), "test"), ActionsMode::RunAll, Some("a"));
    assert!(!kinds(&lines).contains(&json!("action-error")), "schema 1 has no such record");
    assert_eq!(kinds(&log(&parts(None, "test"), ActionsMode::SkipAll, None)), ends);
}

#[test]
fn nothing_is_recorded_unless_it_is_wanted() {
    let mut scene = Scene::new(Inventory::Invented);
    scene.keep_log = KeepLog::No;
    let template = template(&parts(Some(2), "test"), &[]);
    let (mut experiment, _) = accepted(template, Lever::Disengaged, ActionsMode::RunAll, scene.world());
    experiment.advance(scene.world(), Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1));
    assert!(experiment.take_log().is_empty() && !experiment.is_active());
}
