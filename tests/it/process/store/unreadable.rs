//! An agent whose store has a row that it cannot read: it says so, and what it knows of it goes on looking after.

use firedrill::domain::{
    fis::FisStatus,
    outcome::Outcome,
    run::{Run, RunState, SkipReason},
};
use serde_json::Value;

use super::{exits, is_running, tables};
use crate::support::{agent::Home, disk, eventually, stage::Stage};

fn over(home: &Home, run: &Run) -> Option<Run> {
    home.runs().into_iter().find(|other| other.id == run.id && other.is_over())
}

/// Waits until the agent says that it cannot read a row.
fn told(home: &Home, row: &str) {
    let said = || Some(home.json(&["status"])["store_failure"].clone()).filter(Value::is_string);
    let said = eventually("a word about the row", said).to_string();
    assert!(said.contains(&format!("the store's row `{row}` cannot be read")), "{said}");
    assert!(said.contains("`firedrill store check`"), "{said}");
}

#[test]
fn row_of_one_experiment_holds_up_that_one_and_halts_and_stops_go_on() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let agent = home.agent();
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    exits(&home.run(&["pause", "quick"]), 0, "");
    disk::execute(&home, "UPDATE pauses SET body = '{'");
    told(&home, "pauses, quick");
    exits(&home.run(&["store", "check"]), 8, "pauses");
    exits(&home.run(&["plan"]), 8, "`pauses, quick` cannot be read; `firedrill store check` names all such rows");
    home.json(&["start", "quick"]);
    // Another experiment starts beside it, which takes more than one pass.
    exits(&home.run(&["stop", slow.id.as_str()]), 0, "is being stopped");
    eventually("the end of what ran", || over(&home, &slow));
    home.json(&["start", "slow"]);
    let again = home.wait_for("another run", |run| is_running(run) && run.id != slow.id);
    assert_eq!(stage.experiments().len(), 2, "the paused one has not begun");
    exits(&home.run(&["halt", "--reason", "incident"]), 0, "halted");
    eventually("the end of what ran", || over(&home, &again));
    home.wait_for_log("a row cannot be read; nothing starts that it may be about");
    exits(&home.run(&["resume"]), 0, "resumed");
    disk::execute(&home, "DELETE FROM pauses");
    let ran = |run: &Run| run.experiment.as_str() == "quick" && run.is_over() && run.fis.is_some();
    home.wait_for("the run that waited", ran);
    assert_eq!(home.json(&["status"])["store_failure"], Value::Null);
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn run_that_may_be_running_holds_up_every_start_and_no_stop() {
    let stage = Stage::start(600.0);
    let long = stage.template(&[("wait", "PT10H", &[])]);
    let home = Home::new(&stage.url(), &format!("{}[experiments.other]\ntemplate = \"{long}\"\n", tables(&stage)));
    let agent = home.agent();
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    home.json(&["start", "other"]);
    let other = home.wait_for("another run", |run| is_running(run) && run.id != slow.id);
    disk::execute(&home, "UPDATE runs SET body = 'x' || body WHERE experiment = 'slow'");
    told(&home, &format!("runs, {}", slow.id));
    home.json(&["start", "quick"]);
    let other = |home: &Home| home.read(async |store| store.run(&other.id).await.expect("a read")).flatten();
    let id = other(&home).expect("the run").id;
    exits(&home.run(&["stop", id.as_str()]), 0, "is being stopped");
    eventually("the end of what ran", || other(&home).filter(Run::is_over));
    assert_eq!(stage.experiments().len(), 2, "nobody knows what the other one is in the way of");
    disk::execute(&home, "UPDATE runs SET body = substr(body, 2) WHERE experiment = 'slow'");
    home.wait_for("the run that waited", |run| run.experiment.as_str() == "quick" && run.fis.is_some());
    exits(&home.run(&["stop", slow.id.as_str()]), 0, "is being stopped");
    eventually("the end of what ran", || over(&home, &slow));
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn run_that_cannot_be_read_any_more_is_stopped_where_it_is_known_and_told_where_it_is_not() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let agent = home.agent();
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    disk::execute(&home, "UPDATE runs SET body = 'x' || body");
    told(&home, &format!("runs, {}", slow.id));
    let said = |words: &str| {
        let words = format!("{words}: {}", slow.id);
        let said = || home.json(&["status"])["store_failure"].as_str().filter(|said| said.contains(&words)).map(drop);
        eventually("a word about the run", said);
    };
    said("their end is not seen, and they are stopped by what was known of them");
    exits(&home.run(&["stop", slow.id.as_str()]), 0, "its row cannot be read");
    let is_stopped = || stage.experiments().iter().all(|of| of.status == FisStatus::Stopped).then_some(());
    eventually("the stop", is_stopped);
    agent.kill_nine();
    let agent = home.agent();
    said("neither watched nor stopped, end them in FIS");
    disk::execute(&home, "UPDATE runs SET body = substr(body, 2)");
    eventually("the end of what ran", || over(&home, &slow));
    assert_eq!(agent.terminate(), 0);
}

/// What a version of before left that a later one wrote, say: what it would have forbidden stays forbidden.
#[test]
fn ledger_that_cannot_be_read_is_made_anew_by_resume_and_its_gap_begins_then() {
    let stage = Stage::start(600.0);
    let limits = "groups = [\"shop\"]\n";
    let experiments = tables(&stage).replace("[experiments.slow]", &format!("{limits}[experiments.slow]"));
    let with =
        |experiments: &str| format!("[groups.shop]\nmin_gap = \"1h\"\n[budget]\nmonthly_usd = 100\n{experiments}");
    let home = Home::new(&stage.url(), &with(&format!("{experiments}{limits}")));
    let agent = home.agent();
    disk::execute(&home, "REPLACE INTO ledgers VALUES ('slow', '{\"failing\": {\"trouble\": \"novel\"}}')");
    home.json(&["start", "quick"]);
    told(&home, "ledgers, slow");
    assert!(stage.experiments().is_empty(), "nobody knows what its last run forbids");
    exits(&home.run(&["store", "check"]), 8, "`firedrill resume slow` makes it anew");
    // Also where it has left the configuration.
    let gone = experiments.split("[experiments.slow]").next().expect("a part").to_owned();
    home.configure(&with(&gone));
    exits(&home.run(&["reload"]), 0, "in force");
    let said = home.run(&["resume", "slow"]);
    exits(&said, 0, "slow is resumed");
    exits(&said, 0, "its gap, and that of every group, begins now");
    exits(&said, 0, "what this month has cost is known from those runs only");
    home.wait_for_log("its ledger is replaced, by what 0 of its 0 newest runs tell");
    let held = |run: &Run| matches!(&run.state, RunState::Skipped { reason: SkipReason::Gap { .. }, .. });
    home.wait_for("a run in the gap", held);
    assert!(stage.experiments().is_empty());
    exits(&home.run(&["resume", "slow"]), 4, "there is no experiment `slow`");
    exits(&home.run(&["store", "check"]), 0, "is sound");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn end_that_cannot_be_written_is_told_and_written_when_the_row_in_its_way_can_be_read() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let agent = home.agent();
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    disk::execute(&home, "REPLACE INTO ledgers VALUES ('slow', '{')");
    exits(&home.run(&["stop", slow.id.as_str()]), 0, "is being stopped");
    let words = format!("run {} is finished, which cannot be written", slow.id);
    let said =
        || home.json(&["status"])["store_failure"].as_str().filter(|said| said.contains(&words)).map(str::to_owned);
    let said = eventually("a word about the end", said);
    assert!(said.contains("the store's row `ledgers, slow` cannot be read; `firedrill store check` names"), "{said}");
    assert!(over(&home, &slow).is_none());
    disk::execute(&home, "DELETE FROM ledgers");
    let end = eventually("the end", || over(&home, &slow));
    let RunState::Finished { outcome: Outcome::Stopped { .. }, .. } = end.state else { panic!("{end:?}") };
    assert_eq!(agent.terminate(), 0);
}
