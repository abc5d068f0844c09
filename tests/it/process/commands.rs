//! The command line against a running agent and without one: exit codes, JSON, files and their modes.

use std::os::unix::fs::PermissionsExt;

use firedrill::domain::run::RunState;
use serde_json::{Value, json};

use super::{deployment, service};
use crate::support::{
    agent::{Home, Said},
    eventually,
    stage::Stage,
};

/// Experiments of every kind of ending, beside a window that is always shut.
fn endings(stage: &Stage) -> String {
    let (short, long) = (stage.template(&[("wait", "PT1M", &[])]), stage.template(&[("wait", "PT10H", &[])]));
    let mut tables = "[windows.freeze]\nweekly = [\"Mon-Sun\"]\nexperiments = [\"shut\"]\n".to_owned();
    for (name, template) in
        [("quick", &short), ("shut", &short), ("stopped", &long), ("broken", &long), ("slow", &long)]
    {
        tables.push_str(&format!("[experiments.{name}]\ntemplate = \"{template}\"\n"));
    }
    tables
}

#[track_caller]
fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stdout.contains(words) || said.stderr.contains(words), "no `{words}` in {said:?}");
}

/// The id of the experiment's run, and of its FIS experiment, once it runs.
fn running(home: &Home, experiment: &str) -> (String, String) {
    let run = home.wait_for(experiment, |run| {
        run.experiment.as_str() == experiment && matches!(run.state, RunState::Running { .. })
    });
    (run.id.to_string(), run.fis.expect("a running run has one").id)
}

/// As of `| head`, once it has its lines.
#[test]
fn reader_that_has_seen_enough_is_no_failure() {
    let home = Home::new("http://127.0.0.1:9", "");
    let commands: [&[&str]; 6] = [
        &["--help"],
        &["completions", "bash"],
        &["check", "--schema"],
        &["event", "presets"],
        &["schedule", "next", "* * * * *"],
        &["plan", "-o", "ics"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = home.command(arguments).stdout(writer).output().expect("the binary runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {:?}: {said}", output.status);
    }
}

#[test]
fn start_and_wait_exits_with_the_outcome() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &endings(&stage));
    exits(&home.run(&["start", "quick"]), 3, "no agent answers");
    exits(&home.run(&["runs"]), 3, "no agent has run");
    let _agent = home.agent();
    let home = &home;
    std::thread::scope(|scope| {
        let wait = |experiment| scope.spawn(move || home.run(&["start", experiment, "--wait"]));
        let (quick, stopped, broken, shut) = (wait("quick"), wait("stopped"), wait("broken"), wait("shut"));
        let slow = scope.spawn(|| home.run(&["start", "slow", "--wait", "--timeout", "1s"]));
        exits(&home.run(&["stop", &running(home, "stopped").0[..12], "--reason", "enough"]), 0, "is being stopped");
        stage.fail_action(&running(home, "broken").1, "wait");
        exits(&quick.join().expect("no panic"), 0, "completed");
        exits(&stopped.join().expect("no panic"), 10, "stopped");
        exits(&broken.join().expect("no panic"), 11, "failed");
        exits(&shut.join().expect("no panic"), 12, "freeze");
        exits(&slow.join().expect("no panic"), 13, "goes on after");
    });
    exits(&home.run(&["start", "nobody"]), 4, "there is no experiment `nobody`");
    exits(&home.run(&["show", "ffffff"]), 4, "there is no run");
    exits(&home.run(&["stop", "ffffff"]), 4, "there is no run");
    exits(&home.run(&["why", "ffffff"]), 4, "neither a run nor an event");
    exits(&home.run(&["start", "quick", "--wait", "--timeout", "soon"]), 2, "--timeout");
    exits(&home.run(&["strat"]), 2, "start");
    exits(&home.run(&["--help"]), 0, "13  `start --wait`");

    let request = ["start", "slow", "--request", "r-1"];
    let (first, second) = (home.json(&request), home.json(&request));
    assert_eq!((&second["run"], &second["known"]), (&first["run"], &json!(true)), "{first} {second}");
}

#[test]
fn check_names_five_mistakes_with_place_and_hint() {
    let home = Home::new("http://127.0.0.1:9", service::MISTAKES);
    for command in ["check", "run"] {
        let said = home.run(&[command]);
        exits(&said, 2, "5 mistakes");
        for place in service::PLACES {
            assert!(said.stderr.contains(place), "{place}: {}", said.stderr);
        }
        assert_eq!(said.stdout, "");
    }
    assert!(!home.state().exists(), "an agent that refuses its configuration leaves nothing behind");
    let said = home.run(&["check", "-o", "json"]);
    let told: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((said.code, told["problems"].as_array().map(Vec::len)), (2, Some(5)), "{told}");

    let schema = home.run(&["check", "--schema"]);
    let schema: Value = serde_json::from_str(&schema.stdout).expect("JSON");
    assert!(schema["properties"]["experiments"].is_object(), "{schema}");
}

#[test]
fn halt_survives_a_kill_and_lasts_until_resume() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &endings(&stage));
    let agent = home.agent();
    home.json(&["start", "slow"]);
    running(&home, "slow");
    assert_eq!(home.json(&["halt", "--reason", "incident 4711"])["halted"], true);
    agent.kill_nine();

    let agent = home.agent();
    let halt = eventually("the halt after the restart", || {
        Some(home.json(&["status"])["halt"].clone()).filter(Value::is_object)
    });
    assert_eq!((&halt["reason"], &halt["by"]), (&json!("incident 4711"), &json!("tester")));
    let run = home.wait_for("the end of what ran", firedrill::domain::run::Run::is_over);
    assert!(format!("{:?}", run.state).contains("Halt"), "{run:?}");
    exits(&home.run(&["start", "quick", "--wait"]), 12, "halt");
    assert_eq!(stage.experiments().len(), 1);

    // Nobody has to mend a configuration before chaos can be halted or let loose.
    home.configure(service::MISTAKES);
    exits(&home.run(&["resume"]), 0, "resumed");
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn questions_are_answered_while_the_agent_is_down() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(
        &stage.url(),
        &format!(
            "[queues.deployments]\nurl = \"{queue}\"\n[experiments.drill]\ntemplate = \"{template}\"\n\
             schedules = [{{ cron = \"30 2 * * *\" }}]\n\
             triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n"
        ),
    );
    let agent = home.agent();
    stage.send(&queue, &deployment("e-matched"));
    stage.send(&queue, &deployment("e-unmatched").replace("com.example.ci", "com.example.other"));
    let run = home.wait_for("the end of the run", firedrill::domain::run::Run::is_over);
    eventually("an empty queue", || (stage.depth(&queue) == 0).then_some(()));
    for command in [&["status"][..], &["reload"], &["halt"], &["resume"], &["check"]] {
        home.json(command);
    }
    let run = run.id.to_string();
    agent.kill_nine();

    exits(&home.run(&["status"]), 3, "no agent answers");
    exits(&home.run(&["runs"]), 0, &run);
    exits(&home.run(&["show", &run]), 0, "StartExperiment of EXT");
    exits(&home.run(&["why", &run]), 0, "`drill` ran and ended completed");
    exits(&home.run(&["why", "e-matched"]), 0, &run);
    exits(&home.run(&["why", "e-unmatched"]), 0, "No trigger matched it");
    exits(&home.run(&["why", "e-unmatched"]), 0, "`source`: found \"com.example.other\", wanted [\"com.example.ci\"]");
    assert_eq!(home.json(&["why", "e-unmatched"])["triggers"][0]["experiment"], "drill");
    exits(&home.run(&["why", "drill@2099-03-01T02:30:00Z"]), 0, "as things stand it will start");
    exits(&home.run(&["why", "drill@2099-03-01T02:31:00Z"]), 4, "the next slot is 2099-03-02 02:30:00Z");
    exits(&home.run(&["why", "drill@2020-03-01T02:30:00Z"]), 4, "had no such schedule then");
    exits(&home.run(&["plan", "--days", "2"]), 0, "02:30");
    assert_eq!(home.json(&["runs", "--experiment", "drill"]).as_array().map(Vec::len), Some(1));
    assert_eq!(home.json(&["show", &run])["run"]["id"], json!(run));
    assert_eq!(home.json(&["why", "e-matched"])["runs"][0]["id"], json!(run));
    assert_eq!(home.json(&["why", "e-unmatched"])["runs"], json!([]));
    assert_eq!(home.json(&["why", "drill@2099-03-01T02:30:00Z"])["decided"], false);
    let rules = |answer: &Value| -> Vec<String> {
        let rules = answer.as_array().expect("rules").iter();
        rules.map(|rule| format!("{}: {}", rule["rule"], rule["answer"]).replace('"', "")).collect()
    };
    for answer in [&home.json(&["why", &run])["rules"], &home.json(&["why", "e-matched"])["rules"][&run]] {
        assert!(rules(answer).contains(&"look-ahead: passes".to_owned()), "{answer}");
    }
    let ahead = home.json(&["why", "drill@2099-03-01T02:30:00Z"]);
    assert!(rules(&ahead["rules"]).contains(&"window: passes".to_owned()), "{ahead}");
    exits(&home.run(&["why", &run]), 0, "windows in scope, none closes");
    exits(&home.run(&["why", "drill@2099-03-01T02:30:00Z"]), 0, "windows in scope, none closes");
    assert!(home.json(&["plan", "--days", "2"]).to_string().contains("T02:30:00Z"));
}

#[test]
fn agent_that_cannot_listen_is_heard_by_nobody() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address");
    let home = Home::new("http://127.0.0.1:9", &format!("[http]\nlisten = \"{address}\""));
    exits(&home.run(&["run"]), 1, &format!("could not listen on `{address}`"));
    assert!(!home.state().join("firedrill.sock").exists(), "it has answered on its socket");
}

#[test]
fn state_is_private_and_has_one_agent() {
    let home = Home::new("http://127.0.0.1:9", "");
    let agent = home.agent();
    let mode = |name: &str| std::fs::metadata(home.state().join(name)).expect(name).permissions().mode() & 0o777;
    assert_eq!(mode("."), 0o700);
    for name in ["firedrill.sock", "firedrill.db", "firedrill.lock", "firedrill.db-wal"] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    exits(&home.run(&["run"]), 1, "is in use by another agent");
    home.json(&["status"]);
    agent.kill_nine();
    assert_eq!(home.agent().terminate(), 0);
}
