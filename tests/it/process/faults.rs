//! FIS on a bad day, switched on in the simulator: whatever it answers, a run is recorded with what went wrong, ends, and
//! has started one experiment or none.

use std::time::Duration;

use firedrill::domain::run::{Run, RunState};

use crate::support::{agent::Home, stage::Stage, within};

/// A call that hangs is given up after ten seconds, and what is in doubt is looked for after further five.
const ENDS: Duration = Duration::from_secs(60);

/// An operation, what goes wrong with it, how often; how many experiments there are then, how the run ends, and the class
/// that its journal names.
type Row = (&'static str, &'static str, usize, usize, &'static str, &'static str);

const ROWS: &[Row] = &[
    ("StartExperiment", "throttle", 2, 1, "completed", "throttled"),
    ("StartExperiment", "quota", 1, 1, "completed", "quota"),
    ("StartExperiment", "denied", 1, 0, "not-started", "denied"),
    ("StartExperiment", "500-before", 1, 1, "completed", "unavailable"),
    ("StartExperiment", "500-after", 1, 1, "completed", "unavailable"),
    ("StartExperiment", "abort-after", 1, 1, "completed", "unavailable"),
    ("StartExperiment", "reset-before", 1, 1, "completed", "unavailable"),
    ("StartExperiment", "reset-after", 1, 1, "completed", "unavailable"),
    ("StartExperiment", "hang-before", 1, 1, "completed", "timeout"),
    ("StartExperiment", "hang", 1, 1, "completed", "timeout"),
    ("StartExperiment", "null-in-map", 1, 1, "completed", "unreadable"),
    ("StartExperiment", "unknown-status", 1, 1, "completed", ""),
    ("GetExperiment", "throttle", 2, 1, "completed", "throttled"),
    ("GetExperiment", "500-before", 2, 1, "completed", "unavailable"),
    ("GetExperiment", "reset-after", 1, 1, "completed", "unavailable"),
    ("GetExperiment", "hang", 1, 1, "completed", "timeout"),
    ("GetExperiment", "denied", 1, 1, "completed", "denied"),
    ("GetExperiment", "null-in-map", 1, 1, "completed", "unreadable"),
    ("GetExperiment", "unknown-status", 2, 1, "completed", ""),
    ("GetExperimentTemplate", "throttle", 2, 1, "completed", "throttled"),
    ("GetExperimentTemplate", "500-before", 1, 1, "completed", "unavailable"),
    ("GetExperimentTemplate", "hang", 1, 1, "completed", "timeout"),
    ("GetExperimentTemplate", "null-in-map", 1, 1, "completed", "unreadable"),
    ("GetExperimentTemplate", "denied", 1, 0, "template", "denied"),
];

/// How a run ended, or why it was skipped.
fn ending(run: &Run) -> &'static str {
    match &run.state {
        RunState::Finished { outcome, .. } => outcome.as_str(),
        RunState::Skipped { reason, .. } => reason.as_str(),
        other => other.as_str(),
    }
}

fn classes(home: &Home, run: &Run) -> String {
    home.journal(run).iter().map(|entry| serde_json::to_string(&entry.observation).expect("JSON")).collect()
}

/// Starts a run of one short action while `faults` wait; returns it when it is over.
fn run_under(stage: &Stage, faults: &[(&str, &str, usize)]) -> (Home, Run) {
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n"));
    let _agent = home.agent();
    for (operation, fault, count) in faults {
        stage.fault(operation, fault, *count);
    }
    home.json(&["start", "drill"]);
    let run =
        within(ENDS, &format!("the end of a run under {faults:?}"), || home.runs().into_iter().find(Run::is_over));
    (home, run)
}

fn row((operation, fault, count, experiments, ends, class): Row) {
    let what = format!("{operation} {fault}");
    let stage = Stage::start(600.0);
    let (home, run) = run_under(&stage, &[(operation, fault, count)]);
    assert_eq!((ending(&run), stage.experiments().len()), (ends, experiments), "{what}: {run:#?}");
    let journal = classes(&home, &run);
    assert!(class.is_empty() || journal.contains(&format!("\"class\":\"{class}\"")), "{what}: {journal}");
    assert!(!class.is_empty() || !journal.contains("\"class\""), "{what}: {journal}");
}

#[test]
fn every_fault_is_recorded_and_none_starts_twice() {
    std::thread::scope(|scope| {
        for one in ROWS {
            scope.spawn(move || row(*one));
        }
    });
}

#[test]
fn a_lost_start_is_found_though_looking_fails_at_first() {
    let stage = Stage::start(600.0);
    let faults = [("StartExperiment", "reset-after", 1), ("ListExperiments", "throttle", 2)];
    let (home, run) = run_under(&stage, &faults);
    assert_eq!((ending(&run), stage.experiments().len()), ("completed", 1), "{run:#?}");
    assert!(classes(&home, &run).contains("look-failed"));
}

#[test]
fn a_stop_that_fails_is_asked_for_again() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT12H", &[])]);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n"));
    let _agent = home.agent();
    stage.fault("StopExperiment", "500-before", 1);
    stage.fault("StopExperiment", "reset-before", 1);
    let id = home.json(&["start", "drill"])["run"].as_str().expect("an id").to_owned();
    home.wait_for("a running run", |run| matches!(run.state, RunState::Running { .. }));
    home.json(&["stop", &id, "--reason", "enough"]);
    let run = home.wait_for("the end of the run", Run::is_over);
    assert_eq!((ending(&run), stage.experiments().len()), ("stopped", 1), "{run:#?}");
    assert_eq!(classes(&home, &run).matches("stop-failed").count(), 2);
}

#[test]
fn a_template_that_does_not_exist_is_a_skip_with_its_class() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), "[experiments.drill]\ntemplate = \"EXT1a2b3c4d5e6f7\"\n");
    let _agent = home.agent();
    assert_eq!(home.run(&["start", "drill", "--wait"]).code, 12);
    let run = home.runs().pop().expect("a run");
    assert!(classes(&home, &run).contains("\"class\":\"not-found\""), "{run:?}");
}
