//! Operators' wishes about time, through the real binary: pauses, slots of the past, and starts over a window.

use firedrill::domain::run::{Run, RunState};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::support::{
    agent::{Home, Said},
    eventually,
    stage::Stage,
};

/// `drill` hourly and one after the other; `shut` inside a window that never opens.
fn drills(stage: &Stage) -> String {
    let short = stage.template(&[("wait", "PT1M", &[])]);
    format!(
        "[windows.freeze]\nweekly = [\"always\"]\nexperiments = [\"shut\"]\n\
         [experiments.shut]\ntemplate = \"{short}\"\n\
         [experiments.drill]\ntemplate = \"{short}\"\noverlap = \"queue-one\"\n\
         schedules = [{{ name = \"hourly\", cron = \"0 * * * *\", missed = \"skip\" }}]\n"
    )
}

#[track_caller]
fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stdout.contains(words) || said.stderr.contains(words), "no `{words}` in {said:?}");
}

#[test]
fn pause_survives_a_kill_and_ends_by_resume_or_by_itself() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &drills(&stage));
    let agent = home.agent();
    exits(&home.run(&["pause", "drill", "--for", "2d", "--reason", "migration"]), 0, "drill is paused");
    agent.kill_nine();

    let agent = home.agent();
    let paused = eventually("the pause after the restart", || {
        Some(home.json(&["status"])["paused"]["drill"].clone()).filter(Value::is_string)
    });
    assert!(paused.as_str().is_some_and(|why| why.ends_with(": migration")), "{paused}");
    exits(&home.run(&["start", "drill", "--wait"]), 12, "it is paused by tester");
    assert_eq!(stage.experiments().len(), 0);
    exits(&home.run(&["resume", "drill"]), 0, "drill is resumed");
    exits(&home.run(&["start", "drill", "--wait"]), 0, "completed");

    exits(&home.run(&["pause", "drill", "--for", "1s"]), 0, "until");
    eventually("the end of the pause", || (home.json(&["status"])["paused"] == json!({})).then_some(()));
    exits(&home.run(&["start", "drill", "--wait"]), 0, "completed");

    exits(&home.run(&["pause", "nobody"]), 4, "there is no experiment `nobody`");
    exits(&home.run(&["resume", "nobody"]), 4, "there is no experiment `nobody`");
    exits(&home.run(&["pause", "drill", "--for", "soon"]), 2, "it is not a time such as");
    exits(&home.run(&["pause", "drill", "--for=-1h"]), 2, "lies in the future");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn slots_of_the_past_run_one_after_the_other_and_once_a_request() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &drills(&stage));
    let _agent = home.agent();
    let ask = |arguments: &[&str]| home.run(&[&["backfill", "drill"], arguments].concat());
    let range = ["--from", "2026-03-01T00:00:00Z", "--to", "2026-03-01T02:00:00Z", "--request", "again"];
    exits(&ask(&range), 0, "3 runs asked for");
    exits(&ask(&range), 0, "3 runs asked for");
    let over = eventually("three ends", || {
        let runs: Vec<Run> = home.runs().into_iter().filter(Run::is_over).collect();
        (runs.len() == 3).then_some(runs)
    });
    let mut spans: Vec<(Timestamp, Timestamp)> = Vec::new();
    for run in &over {
        assert_eq!((run.trigger.kind(), run.state.as_str()), ("backfill", "finished"), "{run:?}");
        let fis = run.fis.as_ref().expect("it ran");
        spans.push((fis.started_at.expect("a start"), fis.ended_at.expect("an end")));
    }
    spans.sort();
    assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "two ran at once: {spans:?}");
    assert_eq!(stage.experiments().len(), 3);

    let future = (over[0].opened_at + SignedDuration::from_hours(24)).to_string();
    exits(&ask(&["--from", "2026-03-01T00:00:00Z", "--to", &future]), 2, "lies in the past");
    exits(&ask(&["--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"]), 2, "lies in the past");
    exits(&ask(&["--from", "2026-03-01T00:00:00Z", "--to", "2026-06-01T00:00:00Z"]), 2, "more than 100 slots");
    exits(&ask(&["--from", "2026-03-01T00:10:00Z", "--to", "2026-03-01T00:20:00Z"]), 2, "names no instant");
    exits(&ask(&[&range[..4], &["--schedule", "weekly"]].concat()), 4, "name one of them: `hourly`");
}

#[test]
fn start_over_a_window_needs_a_reason_and_is_recorded() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &drills(&stage));
    let _agent = home.agent();
    exits(&home.run(&["start", "shut", "--wait"]), 12, "window `freeze` forbids it");
    exits(&home.run(&["start", "shut", "--override-windows"]), 2, "--reason");
    exits(&home.run(&["start", "shut", "--override-windows", "--reason", "audit", "--wait"]), 0, "completed");
    let run = home.wait_for("the run that was let through", |run| matches!(run.state, RunState::Finished { .. }));
    assert_eq!(run.trigger.to_string(), "asked over every window by tester: audit");
    let decision = home.journal(&run).into_iter().find(|entry| !entry.explained.is_empty()).expect("a decision");
    let window = decision.explained.iter().find(|rule| rule.rule == "window").expect("the guard of windows");
    assert!(window.passes && window.input.starts_with("overridden by tester"), "{window:?}");
}
