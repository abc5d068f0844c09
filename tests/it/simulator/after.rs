//! What an experiment answers and leaves: replies, its report, its time on the shelf, its events when cancelled.

use super::{script::*, *};

fn minute() -> Value {
    json!({"actions": {"a": waits("PT1M", &[])}})
}

#[test]
fn a_stop_s_reply_shows_the_actions_as_they_were() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let parts = json!({"actions": {"a": waits("PT1M", &[]), "b": waits("PT1M", &["a"])}});
        let template = world.drafted(&parts).await;
        let id = world.begun(&template, "run-all").await;
        world.jump("PT10S").await;
        let reply = world.wire.call("DELETE", &format!("/experiments/{id}"), &Value::Null).await.good();
        let experiment = &reply["experiment"];
        assert_eq!(look(experiment), "stopping Stopping Experiment. | a running, b pending");
        let reasons = [&experiment["actions"]["a"]["state"]["reason"], &experiment["actions"]["b"]["state"]["reason"]];
        assert_eq!(reasons, ["", "Initial state"]);
        world
    });
}

#[test]
fn a_failure_names_its_account_and_keeps_its_times() {
    simulated(Options { inventory: Inventory::Listed(Vec::new()), ..slow() }, async |world| {
        world.freeze().await;
        let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        let reboot = json!({"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}});
        let template = world.drafted(&json!({"actions": {"a": reboot}, "targets": {"t": target}})).await;
        let id = world.begun(&template, "run-all").await;
        world.jump("PT10S").await;
        let seen = world.seen(&id).await;
        assert_eq!(
            seen["state"],
            json!({
                "status": "failed",
                "reason": "Target resolution returned empty set.",
                "error": {"accountId": "123456789012", "code": "InvalidTarget", "location": "t"},
            })
        );
        let time = |name: &str| seen[name].as_f64().expect("a time");
        // Targets are resolved two seconds after the start.
        assert!((time("endTime") - time("startTime") - 2.0).abs() < 0.01, "{seen}");
        assert_eq!(look(&seen).rsplit(" | ").next(), Some("a cancelled"));
        let late = json!({"action": "a", "reason": "It has ended."});
        assert_eq!(world.control("POST", &format!("experiments/{id}/fail-action"), late).await.0, 409);
        world
    });
}

#[test]
fn ended_experiments_are_kept_for_120_days() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let template = world.drafted(&minute()).await;
        let body = json!({"clientToken": "once", "experimentTemplateId": template});
        let first = world.wire.call("POST", "/experiments", &body).await.body["experiment"]["id"].clone();
        let path = format!("/experiments/{}", first.as_str().expect("an id"));
        world.jump("PT70S").await;
        world.jump("PT2879H59M59S").await;
        assert_eq!(world.wire.get(&path).await.status, 200);
        assert_eq!(world.wire.call("POST", "/experiments", &body).await.body["experiment"]["id"], first);
        world.jump("PT1S").await;
        assert_eq!(world.wire.get(&path).await.status, 404);
        assert_eq!(world.wire.get("/experiments").await.body["experiments"], json!([]));
        let second = world.wire.call("POST", "/experiments", &body).await.body["experiment"]["id"].clone();
        assert!(second.is_string() && second != first, "{second}");
        // What runs is never outdated.
        let path = format!("/experiments/{}", second.as_str().expect("an id"));
        assert_eq!(world.wire.get(&path).await.status, 200);
        world
    });
}

#[test]
fn retention_goes_with_the_speed() {
    simulated(Options { speed: 3600.0, ..slow() }, async |world| {
        world.freeze().await;
        let template = world.drafted(&minute()).await;
        let id = world.begun(&template, "run-all").await;
        world.jump("PT1S").await;
        assert_eq!(world.record(&id).status, FisStatus::Completed);
        // Three quarters of the time have passed; the last one takes days from now on.
        world.jump("PT36M").await;
        assert_eq!(world.control("POST", "clock", json!({"speed": 1.0})).await.0, 200);
        world.jump("PT719H").await;
        assert_eq!(world.record(&id).status, FisStatus::Completed);
        world.jump("PT2H").await;
        assert!(world.simulator.experiments().is_empty());
        world
    });
}

#[test]
fn reports_follow_their_experiments() {
    let report = |post: Option<&str>| {
        let mut configuration = json!({"outputs": {"s3Configuration": {"bucketName": "reports", "prefix": "drills"}}});
        if let Some(post) = post {
            configuration["postExperimentDuration"] = json!(post);
        }
        let mut parts = minute();
        parts["experimentReportConfiguration"] = configuration;
        parts
    };
    // Configuration, mode, and the report's status while it runs, a second before and at the end of its window.
    let cases = [
        (Some("PT5M"), "run-all", "PT4M59S", ["pending", "pending", "completed"]),
        (None, "run-all", "PT19M59S", ["pending", "pending", "completed"]),
        (Some("PT5M"), "skip-all", "PT4M59S", ["cancelled", "cancelled", "cancelled"]),
    ];
    simulated(slow(), async |world| {
        world.freeze().await;
        for (post, mode, before, expected) in cases {
            let template = world.drafted(&report(post)).await;
            let id = world.begun(&template, mode).await;
            let mut seen = Vec::new();
            world.jump("PT69S").await;
            seen.push(world.seen(&id).await["experimentReport"].clone());
            world.jump("PT1S").await;
            world.jump(before).await;
            seen.push(world.seen(&id).await["experimentReport"].clone());
            world.jump("PT1S").await;
            seen.push(world.seen(&id).await["experimentReport"].clone());
            let statuses: Vec<_> = seen.iter().map(|report| report["state"]["status"].clone()).collect();
            assert_eq!(statuses, expected, "{post:?} {mode}");
            let arn = seen[2]["s3Reports"][0]["arn"].as_str().unwrap_or_default();
            assert_eq!(arn.starts_with("arn:aws:s3:::reports/drills/"), expected[2] == "completed", "{arn}");
        }
        let plain = world.drafted(&minute()).await;
        let id = world.begun(&plain, "run-all").await;
        assert_eq!(world.seen(&id).await.get("experimentReport"), None);
        world
    });
}

#[test]
fn cancelled_is_told_by_choice_only() {
    for (choice, expected) in [("no", vec![]), ("yes", vec![json!("cancelled")])] {
        simulated(slow(), async |world| {
            world.freeze().await;
            let queue = world.subscribed("aws.fis").await;
            world.control("PATCH", "choices", json!({"cancelled-event": choice})).await;
            let lever = json!({"state": {"status": "engaged", "reason": "a test"}});
            assert_eq!(world.wire.call("PATCH", "/safetyLevers/default/state", &lever).await.status, 200);
            let template = world.drafted(&minute()).await;
            world.begun(&template, "run-all").await;
            world.jump("PT10S").await;
            let lever = json!({"state": {"status": "disengaged", "reason": "a test"}});
            assert_eq!(world.wire.call("PATCH", "/safetyLevers/default/state", &lever).await.status, 200);
            // The next experiment's first event ends the wait.
            world.begun(&template, "run-all").await;
            let bodies = world.bodies(&queue, expected.len() + 1).await;
            let mut told: Vec<_> = bodies.iter().map(|body| body["detail"]["new-state"]["status"].clone()).collect();
            told.retain(|status| status != "initiating");
            assert_eq!(told, expected);
            world
        });
    }
}
