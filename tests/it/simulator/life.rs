//! The rules of an experiment's life, each as a script with exact times.

use super::{script::*, *};

/// Follows scripts, each in a simulator of its own.
fn scripts(choices: &Value, cases: &[(Value, &str)]) {
    for (parts, script) in cases {
        simulated(slow(), async |world| {
            world.freeze().await;
            assert_eq!(world.control("PATCH", "choices", choices.clone()).await.0, 200);
            world.follow(parts, script).await;
            world
        });
    }
}

fn chain() -> Value {
    json!({"actions": {"a": waits("PT1M", &[]), "b": waits("PT2M", &[]), "c": waits("PT1M", &["a", "b"])}})
}

fn guarded() -> Value {
    let alarm = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors";
    json!({"actions": {"a": waits("PT1M", &[])}, "stopConditions": [{"source": "aws:cloudwatch:alarm", "value": alarm}]})
}

#[test]
fn actions_begin_together_and_after_others() {
    let script = "
        wait => initiating Experiment is initiating. | a pending, b pending, c pending
        jump PT9S => initiating Experiment is initiating. | a pending, b pending, c pending
        jump PT1S => running Experiment is running. | a running, b running, c pending
        jump PT59S => running Experiment is running. | a running, b running, c pending
        jump PT1S => running Experiment is running. | a completed, b running, c pending
        jump PT1M => running Experiment is running. | a completed, b completed, c running
        jump PT1M => completed Experiment completed. | a completed, b completed, c completed
        jump PT12H => completed Experiment completed. | a completed, b completed, c completed";
    scripts(&json!({}), &[(chain(), script)]);
}

#[test]
fn stops_pass_through_stopping() {
    let running = "
        jump PT70S => running Experiment is running. | a completed, b running, c pending
        stop => stopping Stopping Experiment. | a completed, b stopping, c cancelled
        stop => stopping Stopping Experiment. | a completed, b stopping, c cancelled
        jump PT4S => stopping Stopping Experiment. | a completed, b stopping, c cancelled
        jump PT1S => stopped Experiment stopped. | a completed, b stopped, c cancelled";
    let initiating = "
        stop => stopping Stopping Experiment. | a cancelled, b cancelled, c cancelled
        jump PT5S => stopped Experiment stopped. | a cancelled, b cancelled, c cancelled";
    let pending = "
        + lever engaged
        wait => pending Experiment is pending. | a pending, b pending, c pending
        stop => stopping Stopping Experiment. | a cancelled, b cancelled, c cancelled
        jump PT5S => stopped Experiment stopped. | a cancelled, b cancelled, c cancelled";
    scripts(&json!({}), &[(chain(), running), (chain(), initiating), (chain(), pending)]);
}

#[test]
fn post_actions_are_done_before_an_experiment_is_stopped() {
    let stop = json!({
        "actionId": "aws:ec2:stop-instances",
        "parameters": {"startInstancesAfterDuration": "PT5M"},
        "targets": {"Instances": "t"},
    });
    let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    let parts = json!({"actions": {"a": stop, "b": waits("PT1M", &["a"])}, "targets": {"t": target}});
    let undisturbed = "
        jump PT10S => running Experiment is running. | a running, b pending
        jump PT5M => running Experiment is running. | a running, b pending
        jump PT30S => running Experiment is running. | a completed, b running
        jump PT1M => completed Experiment completed. | a completed, b completed";
    let stopped_while_holding = "
        jump PT1M => running Experiment is running. | a running, b pending
        stop => stopping Stopping Experiment. | a stopping, b cancelled
        jump PT29S => stopping Stopping Experiment. | a stopping, b cancelled
        jump PT1S => stopped Experiment stopped. | a stopped, b cancelled";
    let stopped_while_restoring = "
        jump PT5M20S => running Experiment is running. | a running, b pending
        stop => stopping Stopping Experiment. | a stopping, b cancelled
        jump PT19S => stopping Stopping Experiment. | a stopping, b cancelled
        jump PT1S => stopped Experiment stopped. | a stopped, b cancelled";
    let scenes = [undisturbed, stopped_while_holding, stopped_while_restoring];
    scripts(&json!({}), &scenes.map(|script| (parts.clone(), script)));
}

#[test]
fn a_failed_action_ends_its_siblings_and_the_experiment() {
    let running = "
        jump PT10S => running Experiment is running. | a running, b running, c pending
        fail b => running Experiment is running. | a stopping, b failed, c cancelled
        stop => running Experiment is running. | a stopping, b failed, c cancelled
        jump PT5S => failed b went wrong. (DependentServiceFailure at b) | a stopped, b failed, c cancelled";
    let alone = "
        jump PT70S => running Experiment is running. | a completed, b running, c pending
        fail b => failed b went wrong. (DependentServiceFailure at b) | a completed, b failed, c cancelled";
    let several = "
        fail b => initiating Experiment is initiating. | a pending, b pending, c pending
        fail a => initiating Experiment is initiating. | a pending, b pending, c pending
        jump PT10S => failed a went wrong. (DependentServiceFailure at a) | a failed, b failed, c cancelled";
    let later = "
        fail c => initiating Experiment is initiating. | a pending, b pending, c pending
        jump PT129S => running Experiment is running. | a completed, b running, c pending
        jump PT1S => failed c went wrong. (DependentServiceFailure at c) | a completed, b completed, c failed";
    scripts(&json!({}), &[running, alone, several, later].map(|script| (chain(), script)));
}

#[test]
fn an_action_without_targets_is_skipped_and_the_next_goes_on() {
    let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    let reboot = json!({"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}});
    let parts = json!({
        "actions": {"a": reboot, "b": waits("PT1M", &["a"])},
        "targets": {"t": target},
        "experimentOptions": {"emptyTargetResolutionMode": "skip"},
    });
    let script = "
        jump PT10S => running Experiment is running. | a skipped, b running
        jump PT1M => completed Experiment completed. | a skipped, b completed";
    simulated(Options { inventory: Inventory::Listed(Vec::new()), ..slow() }, async |world| {
        world.freeze().await;
        world.follow(&parts, script).await;
        world
    });
}

#[test]
fn alarms_stop_what_runs() {
    let later = "
        + alarm errors OK
        jump PT10S => running Experiment is running. | a running
        alarm errors INSUFFICIENT_DATA => running Experiment is running. | a running
        alarm errors ALARM => stopping Stopping Experiment. | a stopping
        alarm errors OK => stopping Stopping Experiment. | a stopping
        jump PT5S => stopped Experiment halted by stop condition. | a stopped";
    let at_the_start = "
        + alarm errors ALARM
        jump PT10S => stopping Stopping Experiment. | a cancelled
        jump PT5S => stopped Experiment halted by stop condition. | a cancelled";
    let without_data = "
        + alarm errors INSUFFICIENT_DATA
        jump PT10S => running Experiment is running. | a running";
    let missing = "
        jump PT10S => failed The alarm arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors of a stop condition does \
                   not exist. (ConfigurationFailure at -) | a cancelled";
    scripts(&json!({}), &[later, at_the_start, without_data, missing].map(|script| (guarded(), script)));
    let strict = "
        + alarm errors INSUFFICIENT_DATA
        jump PT10S => failed The alarm arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors of a stop condition has \
                  insufficient data. (ConfigurationFailure at -) | a cancelled";
    let alarmed = "
        + alarm errors ALARM
        jump PT10S => failed Experiment halted by stop condition. (ConfigurationFailure at -) | a cancelled";
    let choices = json!({"alarm-without-data": "fail", "alarm-at-start": "fail"});
    scripts(&choices, &[strict, alarmed].map(|script| (guarded(), script)));
    let lenient = "
        jump PT10S => running Experiment is running. | a running";
    scripts(&json!({"missing-alarm": "ignore"}), &[(guarded(), lenient)]);
}

#[test]
fn the_lever_stops_what_runs_and_cancels_what_comes() {
    let running = "
        jump PT10S => running Experiment is running. | a running, b running, c pending
        lever engaged => stopping Stopping Experiment. | a stopping, b stopping, c cancelled
        jump PT5S => stopped Experiment stopped by the safety lever. | a stopped, b stopped, c cancelled";
    let initiating = "
        lever engaged => cancelled Experiment was cancelled. | a cancelled, b cancelled, c cancelled";
    let coming = "
        + lever engaged
        wait => pending Experiment is pending. | a pending, b pending, c pending
        lever disengaged => pending Experiment is pending. | a pending, b pending, c pending
        jump PT10S => cancelled Experiment was cancelled. | a cancelled, b cancelled, c cancelled";
    scripts(&json!({}), &[running, initiating, coming].map(|script| (chain(), script)));
}

#[test]
fn an_engaged_lever_stays_so_when_a_later_experiment_is_stopped() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let lever = json!({"state": {"status": "engaged", "reason": "why"}});
        assert_eq!(world.wire.call("PATCH", "/safetyLevers/default/state", &lever).await.status, 200);
        let template = world.drafted(&chain()).await;
        let late = world.begun(&template, "run-all").await;
        assert_eq!(world.wire.call("DELETE", &format!("/experiments/{late}"), &Value::Null).await.status, 200);
        let lever = world.wire.call("GET", "/safetyLevers/default", &Value::Null).await;
        assert_eq!(lever.body["safetyLever"]["state"]["status"], "engaged");
        let lever = json!({"state": {"status": "disengaged", "reason": "why"}});
        assert_eq!(world.wire.call("PATCH", "/safetyLevers/default/state", &lever).await.status, 200);
        world
    });
}

#[test]
fn twelve_hours_are_the_end() {
    let parts = json!({"actions": {"a": waits("PT12H", &[]), "b": waits("PT11H", &[]), "c": waits("PT2H", &["b"])}});
    let just = "
        jump PT12H10S => completed Experiment completed. | a completed, b completed";
    let fits = json!({"actions": {"a": waits("PT12H", &[]), "b": waits("PT11H", &[])}});
    let stopped = "
        jump PT12H9S => running Experiment is running. | a running, b completed, c running
        jump PT1S => stopping Stopping Experiment. | a completed, b completed, c stopping
        jump PT5S => stopped Experiment exceeded the maximum duration. | a completed, b completed, c stopped";
    scripts(&json!({}), &[(fits, just), (parts.clone(), stopped)]);
    let failed = "
        jump PT12H10S => running Experiment is running. | a completed, b completed, c stopping
        jump PT5S => failed Experiment exceeded the maximum duration. (QuotaExceededFailure at -) | a completed, \
                  b completed, c stopped";
    scripts(&json!({"at-twelve-hours": "failed"}), &[(parts, failed)]);
}
