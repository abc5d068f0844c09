//! A replica that does not reach FIS leaves what has to be stopped to another that does, and says so.

use std::time::Duration;

use firedrill::domain::{
    fis::FisStatus,
    outcome::Outcome,
    run::{Run, RunState, StopCause},
};
use serde_json::Value;

use super::{
    store::{exits, is_running},
    telemetry::lines,
};
use crate::support::{
    agent::Home,
    cable::Cable,
    eventually,
    otlp::{Collector, Mode},
    postgres::Postgres,
    stage::Stage,
    within,
};

/// Longest time until the lease is given back: a stop has had no answer for 30 s, and its last attempt takes 45 s at most.
const GIVES_BACK: Duration = Duration::from_secs(90);

/// Longest time until a replica that left the lease to others takes it when they are gone.
const TAKES_AGAIN: Duration = Duration::from_secs(60);

fn told(home: &Home) -> Value {
    home.json(&["status"])["handed_over"].clone()
}

fn is_active(home: &Home) -> Option<()> {
    (home.json(&["status"])["role"] == "active").then_some(())
}

#[test]
fn run_that_one_replica_cannot_stop_is_stopped_by_another_that_reaches_fis() {
    let (stage, collector) = (Stage::start(60.0), Collector::start(Mode::Normal));
    let (cable, server) = (Cable::to(&stage.url()), Postgres::start());
    let url = server.database("drills");
    let template = stage.template(&[("wait", "PT10H", &[])]);
    let tables = format!("[experiments.drill]\ntemplate = \"{template}\"\n");
    let telling = format!("{tables}[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n", collector.url());
    let mut one = Home::on("", &telling, &url, "one");
    one.reach(cable.url(), &telling);
    let mut two = Home::on("", &tables, &url, "two");
    two.reach(&stage.url(), &tables);
    let _first = one.agent();
    eventually("the first one active", || is_active(&one));
    let second = two.agent();
    eventually("a standby", || (two.json(&["status"])["role"]["standby"]["holder"] == "one").then_some(()));
    one.json(&["start", "drill"]);
    let run = one.wait_for("a run that goes on", is_running);

    cable.cut();
    exits(&one.run(&["stop", run.id.as_str()]), 0, "is being stopped");
    let why = within(GIVES_BACK, "a lease that is given back", || {
        Some(told(&one)).filter(|told| !told.is_null()).map(|told| told["why"].as_str().expect("a reason").to_owned())
    });
    assert!(why.starts_with(&format!("run {}: ", run.id)), "{why}");
    let over = two.wait_for("the end of the run", Run::is_over);
    let RunState::Finished { outcome: Outcome::Stopped { cause }, .. } = &over.state else { panic!("{over:?}") };
    assert!(matches!(cause, StopCause::Operator { .. }), "{cause:?}");
    assert_eq!(stage.experiments().iter().map(|one| one.status.clone()).collect::<Vec<_>>(), [FisStatus::Stopped]);

    let said = one.run(&["status"]);
    exits(&said, 0, "role        standby; active is two");
    exits(&said, 0, &format!("FIS does not answer here: {why}"));
    assert!(said.stdout.contains("handed over 20"), "{said:?}");
    let warning = "FIS does not answer when a run is to be stopped or looked for; the lease is given back";
    let warnings: Vec<String> = one.log().lines().filter(|line| line.contains(warning)).map(str::to_owned).collect();
    assert!(
        warnings.len() == 1 && warnings[0].contains("WARN") && warnings[0].contains(run.id.as_str()),
        "{warnings:?}"
    );
    eventually("its metric", || (lines(&collector, "firedrill.replica.handovers") == ["{} 1"]).then_some(()));
    assert_eq!((told(&two), two.log().contains(warning)), (Value::Null, false), "the other one reaches FIS");

    // It reaches FIS again, and nobody else is there.
    cable.mend();
    assert_eq!(second.terminate(), 0);
    within(TAKES_AGAIN, "the first one active", || is_active(&one));
    one.json(&["start", "drill"]);
    one.wait_for("another run that goes on", is_running);
    eventually("nothing that is handed over", || told(&one).is_null().then_some(()));
}
