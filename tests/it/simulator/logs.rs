//! Experiment logs, line by line in the documented shape and order.

use firedrill::simulator::Logs;

use super::{raw::*, *};

/// Follows a template to its end and returns its log, with ids and times made plain.
fn log(parts: &Value, mode: &'static str, doomed: Option<&'static str>) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    let resources = vec![instance("i-1", ("env", "test")), instance("i-2", ("env", "test"))];
    let options = Options { logs: Logs::Kept, inventory: Inventory::Listed(resources), ..slow() };
    simulated(options, async |world| {
        world.freeze().await;
        let template = world.drafted(parts).await;
        let id = world.begun(&template, mode).await;
        if let Some(action) = doomed {
            let body = json!({"action": action, "reason": "Boom."});
            world.control("POST", &format!("experiments/{id}/fail-action"), body).await;
        }
        let start = world.record(&id).created_at;
        world.jump("PT20M").await;
        let plain = |line: String| {
            let mut line = line.replace(&id, "EXP").replace(&template, "EXT");
            for seconds in 0..=1_200 {
                let at = start + jiff::SignedDuration::from_secs(seconds);
                let at = jiff::Timestamp::from_second(at.as_second()).expect("an instant").to_string();
                line = line.replace(&at, &format!("+{seconds}"));
            }
            line
        };
        let lines = world.simulator.take_log();
        assert!(lines.iter().all(|(of, _)| *of == id), "{lines:?}");
        found.borrow_mut().extend(lines.into_iter().map(|(_, line)| plain(line)));
        assert!(world.simulator.take_log().is_empty());
        world
    });
    found.into_inner()
}

fn parts(version: Option<u8>, tag: &str) -> Value {
    let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"env": tag}});
    let stop = json!({
        "actionId": "aws:ec2:stop-instances",
        "parameters": {"startInstancesAfterDuration": "PT1M"},
        "targets": {"Instances": "t"},
    });
    let mut parts = json!({
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

fn record(kind: &str, at: u32, version: &str, details: &str) -> String {
    format!(
        r#"{{"id":"EXP","log_type":"{kind}","event_timestamp":"+{at}","version":"{version}","details":{{{details}}}}}"#
    )
}

#[test]
fn a_log_has_the_documented_records() {
    for version in [None, Some(2), Some(1)] {
        let shown = if version == Some(1) { "1" } else { "2" };
        let record = |kind: &str, at: u32, details: &str| record(kind, at, shown, details);
        let resolved = if version == Some(1) {
            format!(r#""resolved_targets":["{I1}","{I2}"]"#)
        } else {
            format!(r#""target_type":"aws:ec2:instance","resolved_targets":[{{"arn":"{I1}"}},{{"arn":"{I2}"}}]"#)
        };
        let done = r#""action_state":{"status":"completed","reason":"Action was completed."}"#;
        let mut expected = vec![
            record("experiment-start", 0, r#""experiment_template_id":"EXT","experiment_start_time":"+0""#),
            record("target-resolution-start", 10, r#""target_resolution_start_time":"+10","target_name":"t""#),
            record(
                "target-resolution-detail",
                10,
                r#""target_resolution_end_time":"+10","target_name":"t","target_type":"aws:ec2:instance","account_id":"123456789012","resolved_targets_count":2,"status":"completed""#,
            ),
            record(
                "target-resolution-end",
                10,
                &format!(r#""target_resolution_end_time":"+10","target_name":"t",{resolved},"page":1,"total_pages":1"#),
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
        assert_eq!(log(&parts(version, "test"), "run-all", None), expected);
    }
}

#[test]
fn a_log_tells_of_failures() {
    let kinds = |lines: &[String]| {
        let kind = |line: &String| serde_json::from_str::<Value>(line).expect("JSON")["log_type"].clone();
        lines.iter().map(kind).collect::<Vec<_>>()
    };
    let lines = log(&parts(None, "test"), "run-all", Some("a"));
    let error = r#""action_name":"a","action_id":"aws:ec2:stop-instances","account_id":"123456789012","action_state":{"status":"failed","reason":"Boom."}"#;
    assert_eq!(lines[5], record("action-error", 10, "2", error));
    let end = r#""experiment_end_time":"+10","experiment_state":{"status":"failed","reason":"Boom."}"#;
    assert_eq!(lines.last(), Some(&record("experiment-end", 10, "2", end)));
    assert_eq!(kinds(&lines)[5..], ["action-error", "action-end", "experiment-end"]);

    let lines = log(&parts(None, "none"), "run-all", None);
    let ends = [
        "experiment-start",
        "target-resolution-start",
        "target-resolution-detail",
        "target-resolution-end",
        "experiment-end",
    ];
    assert_eq!(kinds(&lines), ends);
    let detail = r#""target_resolution_end_time":"+10","target_name":"t","target_type":"aws:ec2:instance","account_id":"123456789012","resolved_targets_count":0,"status":"failed","error_information":"Target resolution returned empty set.""#;
    assert_eq!(lines[2], record("target-resolution-detail", 10, "2", detail));

    let lines = log(&parts(Some(1), "test"), "run-all", Some("a"));
    assert!(!kinds(&lines).contains(&json!("action-error")), "schema 1 has no such record");
    assert_eq!(kinds(&log(&parts(None, "test"), "skip-all", None)), ends);
}

#[test]
fn nothing_is_recorded_unless_it_is_wanted() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let template = world.drafted(&json!({"actions": {"a": waits("PT1M", &[])}})).await;
        world.begun(&template, "run-all").await;
        world.jump("PT2M").await;
        assert!(world.simulator.take_log().is_empty());
        world
    });
}
