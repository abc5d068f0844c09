//! What goes on in FIS though no run of the store knows of it is told, and left alone.

use std::time::Duration;

use firedrill::domain::ids::{EXPERIMENT_TAG, RUN_TAG, RunId};
use serde_json::{Value, json};

use super::{
    store::{exits, is_running},
    telemetry::lines,
};
use crate::support::{
    agent::{Agent, Home},
    eventually,
    otlp::{Collector, Mode},
    postgres::Postgres,
    stage::Stage,
    within,
};

/// While there is something to tell, a look comes every half minute.
const LOOKS: Duration = Duration::from_secs(90);

const METRIC: &str = "firedrill.experiments.stray";

/// Begins an experiment; returns its run and its id.
fn begun(home: &Home) -> (RunId, String) {
    let id = RunId::from_text(home.json(&["start", "drill"])["run"].as_str().expect("an id"));
    let run = home.wait_for("a run that goes on", |run| run.id == id && is_running(run));
    (id, run.fis.expect("an experiment").id)
}

fn told(home: &Home, what: &str) -> Option<Value> {
    let told = home.json(&["status"])[what].clone();
    (told != json!({})).then_some(told)
}

/// Tells whether metrics came twice without one.
fn is_gone(collector: &Collector, name: &str) -> bool {
    let metrics = collector.metrics();
    let since = metrics.iter().rev().take_while(|metric| metric.name != name);
    since.filter(|metric| metric.name == "firedrill.replica.active").count() >= 2
}

#[test]
fn experiment_that_a_restored_store_does_not_know_is_told_until_it_ends() {
    let (stage, collector) = (Stage::start(60.0), Collector::start(Mode::Normal));
    let template = stage.template(&[("wait", "PT10H", &[])]);
    let tables = format!(
        "[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n\
         [experiments.drill]\ntemplate = \"{template}\"\noverlap = \"allow\"\n",
        collector.url()
    );
    let home = Home::new(&stage.url(), &tables);
    let file = home.path().join("backup.db").display().to_string();
    let agent = home.agent();
    exits(&home.run(&["store", "backup", &file]), 0, "0 runs");
    let (lost, id) = begun(&home);
    agent.kill_nine();
    exits(&home.run(&["store", "restore", "--force", &file]), 0, "is named by `firedrill status`");
    // Neither is this agent's business.
    stage.start_as_somebody_else(&template);
    stage.start_tagged(&template, &json!({RUN_TAG: lost, EXPERIMENT_TAG: "of-another-agent"}));

    let agent = home.agent();
    exits(&home.run(&["resume"]), 0, "resumed");
    let strays = eventually("a stray", || told(&home, "strays"));
    let stop = format!("aws fis stop-experiment --id {id} --region us-east-1");
    let stray = json!({"place": "us-east-1", "run": lost, "experiment": "drill", "stop_command": stop});
    assert_eq!(strays, json!({id.clone(): stray}));
    let said = home.run(&["status"]).stdout;
    assert!(said.contains(&format!("STRAY       {id} of drill, run {lost}, in us-east-1: ")), "{said}");
    eventually("its metric", || (lines(&collector, METRIC) == ["{firedrill.experiment=drill} 1"]).then_some(()));

    // One that is known is none, and comes before the next look.
    let (known, _) = begun(&home);
    let record = stage.experiments().into_iter().find(|record| record.id == id).expect("a record");
    assert!(!record.status.is_terminal(), "nothing is stopped: {:?}", record.status);
    stage.stop(&id);
    within(LOOKS, "no stray", || told(&home, "strays").is_none().then_some(()));
    eventually("no metric", || is_gone(&collector, METRIC).then_some(()));
    home.wait_for("the run", |run| run.id == known && is_running(run));
    assert_eq!(home.log().matches(&format!("`{stop}`")).count(), 1, "it is said once");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn place_that_cannot_be_listed_is_told_once_and_tried_again() {
    let stage = Stage::start(60.0);
    let template = stage.template(&[("wait", "PT10H", &[])]);
    stage.fault("ListExperiments", "denied", 2);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n"));
    let agent = home.agent();
    let unknown = eventually("what is not known", || told(&home, "strays_unknown"));
    let why = unknown["us-east-1"].as_str().expect("a place");
    assert!(why.ends_with("; allow the agent `fis:ListExperiments`"), "{why}");
    let said = home.run(&["status"]).stdout;
    assert!(said.contains(&format!("strays      us-east-1: not known: {why}")), "{said}");
    // A look comes after each reload, too.
    within(LOOKS, "a look that works", || {
        assert_eq!(home.run(&["reload"]).code, 0);
        told(&home, "strays_unknown").is_none().then_some(())
    });
    assert_eq!(home.log().matches("could not look for experiments").count(), 1, "it is said once");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn only_the_active_replica_tells_and_after_it_the_one_that_takes_over() {
    let stage = Stage::start(60.0);
    let tables = format!("[experiments.drill]\ntemplate = \"{}\"\n", stage.template(&[("wait", "PT10H", &[])]));
    let gone = Home::new(&stage.url(), &tables);
    let agent = gone.agent();
    let (_, id) = begun(&gone);
    agent.kill_nine();

    let server = Postgres::start();
    let url = server.database("drills");
    let [one, two] = ["one", "two"].map(|replica| Home::on(&stage.url(), &tables, &url, replica));
    let names = |home: &Home| told(home, "strays").filter(|strays| strays.get(&id).is_some()).map(|_| ());
    let first = one.agent();
    eventually("a stray", || names(&one));
    let second = two.agent();
    let stands_by = |home: &Home| home.json(&["status"])["role"]["standby"].is_object().then_some(());
    eventually("a standby", || stands_by(&two));
    assert_eq!(names(&two), None);
    first.signal("STOP");
    within(LOOKS, "a stray", || names(&two));
    first.signal("CONT");
    eventually("a standby", || stands_by(&one));
    assert_eq!(names(&one), None);
    assert!([first, second].map(Agent::terminate).iter().all(|code| *code == 0));
}
