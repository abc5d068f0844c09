//! After failures and over time, through the real binary: each kind of failure takes its own path, a halt outlives a kill,
//! and what goes on too long is stopped, whoever watches it and however badly.

use firedrill::domain::run::{Run, RunState};

use crate::{
    process::telemetry::lines,
    support::{
        agent::{Home, Said},
        eventually,
        otlp::{Collector, Mode},
        stage::Stage,
    },
};

#[track_caller]
fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stdout.contains(words) || said.stderr.contains(words), "no `{words}` in {said:?}");
}

/// Waits until the collector was told last why `drill` waits, or that it does not.
#[track_caller]
fn waits(collector: &Collector, reason: &str) {
    let expected = format!("{{firedrill.experiment=drill,firedrill.reason={reason}}} 1");
    eventually(reason, || (lines(collector, "firedrill.experiments.waiting") == [expected.as_str()]).then_some(()));
}

#[test]
fn each_kind_of_failure_takes_its_own_path() {
    let (stage, collector) = (Stage::start(600.0), Collector::start(Mode::Normal));
    let template = stage.template(&[("wait", "PT20M", &[])]);
    let other = stage.template(&[("other", "PT1M", &[])]);
    let tables = |template: &str| {
        let telemetry = format!("otlp_endpoint = \"{}\"\nmetric_interval = \"1s\"", collector.url());
        format!("[telemetry]\n{telemetry}\n[experiments.drill]\ntemplate = \"{template}\"\non_failure = \"classify\"\n")
    };
    let home = Home::new(&stage.url(), &tables(&template));
    let _agent = home.agent();
    let start = || home.run(&["start", "drill", "--wait"]);

    // Throttled: tried again, and nothing is remembered.
    stage.fault("StartExperiment", "throttle", 2);
    exits(&start(), 0, "completed");

    // Unhealthy: it waits for a time, or for somebody.
    exits(&home.run(&["start", "drill"]), 0, "run ");
    let going = home.wait_for("a running run", |run| matches!(run.state, RunState::Running { .. }));
    stage.fail_action(&going.fis.as_ref().expect("an experiment").id, "wait");
    home.wait_for("a failed run", |run| run.id == going.id && run.is_over());
    waits(&collector, "unhealthy");
    exits(&home.run(&["status"]), 0, "waits       drill: the last run failed; it waits until");
    exits(&start(), 12, "the last run failed; it waits until");
    let skipped = home.wait_for("a skipped run", |run| matches!(run.state, RunState::Skipped { .. }));
    exits(&home.run(&["why", skipped.id.as_str()]), 0, "failures: 1 in a row (unhealthy)");
    exits(&home.run(&["resume", "drill"]), 0, "its failures are forgiven");
    exits(&start(), 0, "completed");

    // Configuration: it waits for a change, or for somebody.
    stage.fault("StartExperiment", "denied", 1);
    exits(&start(), 11, "denied");
    waits(&collector, "configuration");
    exits(&start(), 12, "it waits for another template or place, or for `resume`");
    home.configure(&tables(&other));
    exits(&home.run(&["reload"]), 0, "in force");
    exits(&start(), 0, "completed");
    assert_eq!(home.json(&["status"])["paused"], serde_json::json!({}));
}

#[test]
fn halt_survives_a_kill_right_after_its_answer() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n"));
    let agent = home.agent();
    exits(&home.run(&["halt", "--reason", "incident"]), 0, "halted");
    agent.kill_nine();
    let _agent = home.agent();
    exits(&home.run(&["start", "drill", "--wait"]), 12, "all chaos is halted by tester");
    assert_eq!(stage.experiments().len(), 0);
    exits(&home.run(&["resume"]), 0, "resumed");
    exits(&home.run(&["start", "drill", "--wait"]), 0, "completed");
}

#[test]
fn run_is_stopped_after_its_time_though_the_agent_was_killed_and_polls_fail() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT10H", &[])]);
    let tables = format!("[experiments.drill]\ntemplate = \"{template}\"\nmax_duration = \"4s\"\n");
    let home = Home::new(&stage.url(), &tables);
    let agent = home.agent();
    home.json(&["start", "drill"]);
    home.wait_for("a running run", |run| matches!(run.state, RunState::Running { .. }));
    agent.kill_nine();
    stage.fault("GetExperiment", "500-before", 1_000);
    let _agent = home.agent();
    eventually("a stop that FIS took", || {
        let all = stage.experiments();
        (all.len() == 1 && all[0].status.as_str() == "stopped").then_some(())
    });
    stage.no_faults();
    let run = home.wait_for("the end of the run", Run::is_over);
    let RunState::Finished { outcome, .. } = &run.state else { panic!("{run:?}") };
    assert_eq!(outcome.to_string(), "stopped by its `max_duration`");
}
