//! What FIS denies of a run that goes on is told by status, metrics and a halt, and nothing else starts beside it.

use firedrill::domain::{ids::RunId, run::RunState};
use serde_json::{Value, json};

use super::{
    store::{exits, is_running},
    telemetry::lines,
};
use crate::support::{
    agent::Home,
    eventually,
    otlp::{Collector, Mode},
    stage::Stage,
};

const METRIC: &str = "firedrill.runs.denied";

/// More often than a test asks.
const LONG: usize = 100;

fn told(home: &Home) -> Option<Value> {
    let told = home.json(&["status"])["denied"].clone();
    (told != json!({})).then_some(told)
}

#[test]
fn stop_that_is_denied_is_told_and_lets_nothing_start_beside_it() {
    let (stage, collector) = (Stage::start(60.0), Collector::start(Mode::Normal));
    let template = stage.template(&[("wait", "PT10H", &[])]);
    let tables = format!(
        "[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n\
         [experiments.drill]\ntemplate = \"{template}\"\n[experiments.other]\ntemplate = \"{template}\"\n",
        collector.url()
    );
    let home = Home::new(&stage.url(), &tables);
    let _agent = home.agent();
    let id = RunId::from_text(home.json(&["start", "drill"])["run"].as_str().expect("an id"));
    let run = home.wait_for("a run that goes on", |run| run.id == id && is_running(run));
    let fis_experiment = run.fis.expect("an experiment").id;
    let denied = |operation: &str| json!({id.as_str(): {"experiment": "drill", "operation": operation, "fis_experiment": fis_experiment}});

    stage.fault("GetExperiment", "denied", LONG);
    assert_eq!(eventually("a poll that is denied", || told(&home)), denied("GetExperiment"));
    let told_by_metrics = || lines(&collector, METRIC);
    let of = |operation: &str| vec![format!("{{firedrill.experiment=drill,firedrill.operation={operation}}} 1")];
    eventually("its metric", || (told_by_metrics() == of("GetExperiment")).then_some(()));
    stage.no_faults();

    stage.fault("StopExperiment", "denied", LONG);
    exits(&home.run(&["stop", id.as_str()]), 0, "is being stopped");
    eventually("a stop that is denied", || told(&home).filter(|told| *told == denied("StopExperiment")));
    let said = home.run(&["status"]).stdout;
    assert!(
        said.contains(&format!("DENIED      run {id}: FIS denies StopExperiment of {fis_experiment} (drill)")),
        "{said}"
    );
    assert!(home.run(&["runs"]).stdout.contains("; FIS denies StopExperiment"));
    eventually("its metric", || (told_by_metrics() == of("StopExperiment")).then_some(()));
    let shares = format!("run {id} is going on and shares a place in which FIS denies StopExperiment with it");
    exits(&home.run(&["start", "other", "--wait"]), 12, &shares);
    let halted = home.run(&["halt"]);
    exits(&halted, 0, "FIS is asked to stop what runs");
    exits(&halted, 0, &format!("NOT STOPPED: run {id}: FIS denies StopExperiment"));
    exits(&home.run(&["resume"]), 0, "resumed");
    assert_eq!(stage.experiments().len(), 1);

    stage.no_faults();
    home.wait_for("its end", |run| run.id == id && matches!(run.state, RunState::Finished { .. }));
    eventually("nothing that is denied", || told(&home).is_none().then_some(()));
    home.json(&["start", "other"]);
    eventually("another experiment", || (stage.experiments().len() == 2).then_some(()));
}
