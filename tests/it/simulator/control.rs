//! The simulator's own interface: the clock, alarms, stuck states, the inventory, and the look at everything.

use super::*;

fn instant(clock: &Value) -> jiff::Timestamp {
    clock["now"].as_str().and_then(|now| now.parse().ok()).expect("an instant")
}

fn seconds(from: &Value, to: &Value) -> f64 {
    instant(to).duration_since(instant(from)).as_secs_f64()
}

#[test]
fn a_frozen_clock_jumps_and_goes_on_from_there() {
    simulated(Options::default(), async |world| {
        let frozen = world.clock(json!({"frozen": true})).await;
        let jumped = world.clock(json!({"jump": "P120DT1H"})).await;
        assert_eq!(seconds(&frozen, &jumped), 121.0 * 86_400.0 - 23.0 * 3_600.0);
        assert_eq!(world.clock(json!({})).await, jumped, "it stands still");
        let thawed = world.clock(json!({"frozen": false})).await;
        soon("the clock goes on", async || (world.clock(json!({})).await != thawed).then_some(())).await;
        let later = world.clock(json!({})).await;
        assert!(seconds(&jumped, &later) < PATIENCE.as_secs_f64(), "it goes on from where it stood: {later}");
        world
    });
}

#[test]
fn a_change_of_speed_moves_the_end_exactly() {
    simulated(Options { speed: 2.0, ..Options::default() }, async |world| {
        let begun = world.clock(json!({"frozen": true})).await;
        let template = world.template([wait("w", TWO_MINUTES, &[])]).await;
        let id = world.start(&template, "t").await;
        // Preparing takes 10 s, the action 120 s, both at twice the speed: 5 s and 60 s. After 35 s half of it is left.
        world.jump("PT35S").await;
        world.clock(json!({"speed": 6})).await;
        world.jump("PT9.9S").await;
        assert_eq!(world.record(&id).status, FisStatus::Running);
        world.jump("PT1H").await;
        let ended = world.record(&id).ended_at.expect("an end");
        assert_eq!(ended.duration_since(instant(&begun)).as_millis(), 45_000);
        world
    });
}

#[test]
fn changes_that_make_no_sense_are_refused_with_their_place() {
    simulated(Options::default(), async |world| {
        for (method, path, body, place) in [
            ("POST", "clock", json!({"speed": 0}), "speed"),
            ("POST", "clock", json!({"jump": "-PT1S"}), "jump"),
            ("POST", "clock", json!({"jump": "P1M"}), "jump"),
            ("POST", "clock", json!({"jump": "soon"}), "jump"),
            ("POST", "clock", json!({"freeze": true}), "expected one of `speed`, `jump`, `frozen`"),
            (
                "POST",
                "faults",
                json!({"operation": "StartExperiment", "fault": "meteor"}),
                "expected one of `throttle`",
            ),
            ("POST", "faults", json!({"operation": "StartExperiment", "fault": "latency"}), "milliseconds"),
            ("POST", "faults", json!({"operation": "StartExperimnt", "fault": "quota"}), "`StartExperiment`?"),
            ("POST", "faults", json!({"operation": "GetAction", "fault": "quota", "milliseconds": 1}), "milliseconds"),
            ("POST", "faults", json!({"operation": "GetAction", "fault": "quota", "times": 1}), "times"),
            ("POST", "faults", json!({"operation": "GetAction", "fault": "quota", "count": 1_000_000}), "1000 faults"),
            ("POST", "faults", json!({"operation": "GetAction", "fault": "quota", "count": 0}), "count: "),
            ("PUT", "stuck", json!({"statuses": ["running"]}), "expected `initiating` or `stopping`"),
            ("PATCH", "choices", json!({"stop-of-ended": "shrug"}), "stop-of-ended"),
            ("PATCH", "choices", json!({"stop-of-end": "answer"}), "stop-of-end"),
            ("POST", "alarms", json!({"name": "a", "state": "LOUD"}), "state"),
            ("POST", "inventory", json!({"resources": [{"arn": 5}]}), "resources[0].arn"),
            (
                "POST",
                "inventory",
                json!({"resources": [{"type": "aws:ec2:instanc", "arn": "arn:aws:x:::y"}]}),
                "resources[0]: unknown resource type `aws:ec2:instanc`; did you mean `aws:ec2:instance`?",
            ),
            ("POST", "inventory", json!({}), "resources"),
            ("POST", "experiments/EXP1/fail-action", json!({"action": "w"}), "reason"),
        ] {
            let (status, answer) = world.control(method, path, body.clone()).await;
            let message = answer["message"].as_str().expect("a message");
            assert!(status == 400 && message.contains(place), "{path} {body}: {status} {message}");
        }
        let unknown = world.control("POST", "alarms", json!({"name": "none", "state": "ALARM"})).await;
        assert_eq!(unknown.0, 404, "{}", unknown.1);
        let body = json!({"action": "w", "reason": "r"});
        assert_eq!(world.control("POST", "experiments/EXP1/fail-action", body).await.0, 404);
        let (status, answer) = world.control("POST", "fault", json!({})).await;
        assert_eq!(status, 404);
        assert!(answer["message"].as_str().expect("a message").contains("POST /_simulator/faults"), "{answer}");
        world
    });
}

#[test]
fn the_state_page_shows_everything() {
    simulated(Options::default(), async |world| {
        world.freeze().await;
        world.subscribed("aws.fis").await;
        let draft = world.draft([Act("stop", "aws:ec2:stop-instances", &[], Some(("Instances", "some")), &[])]);
        let draft = draft.targets("some", tagged("aws:ec2:instance", "env", "test", "COUNT(1)"));
        let template = draft.send().await.expect("a template").experiment_template.expect("one").id.expect("an id");
        let id = world.start(&template, "token").await;
        let arn = format!("arn:aws:fis:us-east-1:123456789012:experiment/{id}");
        world.fis.tag_resource().resource_arn(arn).tags("team", "core").send().await.expect("tagged");
        world.jump("PT30S").await;
        world.fault("StartExperiment", "throttle").await;
        assert_eq!(world.control("PUT", "stuck", json!({"statuses": ["stopping"]})).await.0, 200);
        let state = world.state().await;
        assert_eq!(state["templates"][0]["id"], json!(template));
        let experiment = &state["experiments"][0];
        assert_eq!((&experiment["id"], &experiment["clientToken"]), (&json!(id), &json!("token")));
        assert_eq!((&experiment["status"], &experiment["tags"]), (&json!("completed"), &json!({"team": "core"})));
        let resolved = &state["experiments"][0]["resolvedTargets"]["some"];
        assert!(resolved[0]["arn"].as_str().is_some_and(|arn| arn.contains(":instance/")), "{resolved}");
        assert_eq!(state["eventBridge"]["buses"]["default"][0]["Name"], "all");
        assert!(state["eventBridge"]["buses"]["default"][0]["Targets"].to_string().contains(":events"));
        assert_eq!(state["queues"]["events"]["visible"], json!(3));
        let bodies = state["queues"]["events"]["messages"].as_array().expect("messages");
        assert!(bodies.len() == 3 && bodies[0]["body"].as_str().is_some_and(|body| body.contains(&id)), "{bodies:?}");
        assert_eq!(state["faults"], json!({"StartExperiment": ["throttle"]}));
        assert_eq!(state["stuck"], json!(["stopping"]));
        assert_eq!((&state["clock"]["frozen"], &state["clock"]["speed"]), (&json!(true), &json!(1.0)));
        assert_eq!(state["choices"]["stop-of-ended"], "refuse");
        assert_eq!(state["events"]["drop"], json!(0.0));
        // The template's token is the SDK's own.
        assert_eq!(state["clientTokens"], json!(2));
        assert_eq!(state["safetyLever"], json!({"status": "disengaged", "reason": ""}));
        assert_eq!(state["alarms"], json!({}));
        let keys: Vec<&str> = state.as_object().expect("an object").keys().map(String::as_str).collect();
        let all = "account alarms choices clientTokens clock documents eventBridge events experiments faults inventory logged queues \
                   region safetyLever seed sessions stuck templates";
        assert_eq!(keys.join(" "), all);
        world
    });
}

#[test]
fn a_folder_for_logs_is_made_and_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("a/b");
    simulated(Options { log_dir: Some(logs.clone()), ..Options::default() }, async |world| {
        assert!(logs.is_dir());
        assert_eq!(world.state().await["logged"], json!(true));
        world
    });
    std::fs::write(folder.path().join("file"), "").expect("a file");
    let below_a_file = Options { log_dir: Some(folder.path().join("file/logs")), ..Options::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let error = runtime.block_on(simulator::start(below_a_file)).expect_err("refused");
    assert!(error.to_string().contains("file/logs"), "{error}");
}

#[test]
fn an_inventory_is_loaded_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("inventory.json");
    let list = |ids: &[&str]| {
        let items: Vec<_> = ids.iter().map(|id| instance_json(id)).collect();
        std::fs::write(&file, json!(items).to_string()).expect("a file");
    };
    list(&["i-1"]);
    let inventory = Inventory::from_file(&file).expect("an inventory");
    let options = Options { inventory, inventory_file: Some(file.clone()), ..Options::default() };
    simulated(options, async |world| {
        world.freeze().await;
        let draft = world.draft([Act("stop", "aws:ec2:stop-instances", &[], Some(("Instances", "some")), &[])]);
        let draft = draft.targets("some", tagged("aws:ec2:instance", "env", "test", "ALL"));
        let template = draft.send().await.expect("a template").experiment_template.expect("one").id.expect("an id");
        let found = async |token: &str| {
            let id = world.start(&template, token).await;
            world.jump("PT15S").await;
            let targets = world.fis.list_experiment_resolved_targets().experiment_id(&id).send().await;
            targets.expect("targets").resolved_targets().len()
        };
        assert_eq!(found("one").await, 1);
        list(&["i-1", "i-2"]);
        assert_eq!(found("still-one").await, 1, "nothing is read unasked");
        assert_eq!(world.control("POST", "inventory", json!({})).await.0, 200);
        assert_eq!(found("two").await, 2);
        assert_eq!(world.state().await["inventory"].as_array().map(Vec::len), Some(2));
        std::fs::write(&file, "nonsense").expect("a file");
        let (status, answer) = world.control("POST", "inventory", json!({})).await;
        assert!(status == 400 && answer["message"].as_str().is_some_and(|text| text.contains("expected")), "{answer}");
        assert_eq!(found("still-two").await, 2);
        let three = json!({"resources": [instance_json("i-1"), instance_json("i-2"), instance_json("i-3")]});
        assert_eq!(world.control("POST", "inventory", three).await.0, 200);
        assert_eq!(found("three").await, 3);
        world
    });
}
