//! A store moves to a server with the commands that are there for it, and the agent goes on there.

use firedrill::domain::run::Run;
use serde_json::Value;

use super::{exits, is_running, tables};
use crate::support::{
    PATIENCE,
    agent::{Agent, Home},
    eventually,
    postgres::Postgres,
    stage::Stage,
};

/// Every run as the command line tells of it.
fn runs(home: &Home) -> Vec<Run> {
    serde_json::from_value(home.json(&["runs", "--limit", "100"])).expect("runs")
}

#[test]
fn store_moves_to_postgres_and_the_agent_goes_on() {
    let (stage, server) = (Stage::start(600.0), Postgres::start());
    let experiments = tables(&stage);
    let home = Home::new(&stage.url(), &experiments);
    let agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    exits(&home.run(&["halt", "--finish", "--reason", "moves"]), 0, "halted");
    assert_eq!(agent.terminate(), 0);
    let file = home.path().join("moves.db").display().to_string();
    let made = home.json(&["store", "backup", &file]);
    let before = runs(&home);

    home.configure(&format!("state = \"{}\"\n{experiments}", server.database("moved")));
    exits(&home.run(&["store", "check"]), 3, "no agent has run with it");
    exits(&home.run(&["store", "migrate", "--dry-run"]), 5, "would have schema 9; there was none");
    let restored = home.json(&["store", "restore", &file]);
    assert_eq!(restored["rows"], made["rows"]);
    assert_eq!(runs(&home), before);
    exits(&home.run(&["store", "migrate"]), 0, "is up to date: schema 9");
    exits(&home.run(&["store", "check"]), 0, "is sound: 2 runs");
    exits(&home.run(&["store", "restore", "--force", &file]), 2, "it has 2 rows in `runs`");

    let agent = home.agent();
    let halt = eventually("the halt", || Some(home.json(&["status"])["halt"].clone()).filter(Value::is_object));
    assert_eq!(halt["reason"], "moves");
    exits(&home.run(&["resume"]), 0, "resumed");
    exits(&home.run(&["stop", slow.id.as_str(), "--reason", "enough"]), 0, "is being stopped");
    let stopped = || runs(&home).into_iter().find(|run| run.id == slow.id && run.is_over());
    let stopped = eventually("the end of what ran", stopped);
    assert_eq!(stopped.fis.map(|fis| fis.id), slow.fis.map(|fis| fis.id));
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    assert_eq!(stage.experiments().len(), 3, "nothing was started again");
    exits(&home.run(&["store", "restore", &file]), 1, "is in use by another agent");
    exits(&home.run(&["store", "check"]), 0, "is sound: 3 runs");
    let exported = home.run(&["store", "export"]);
    let lines: Vec<Value> = exported.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines.is_sorted_by(|a, b| a["seq"].as_i64() < b["seq"].as_i64()), "{exported:?}");
    let back = home.path().join("back.db").display().to_string();
    exits(&home.run(&["store", "backup", &back]), 0, "3 runs");
    exits(&home.run(&["store", "check", &back]), 0, "is sound: 3 runs");
    assert_eq!(agent.terminate(), 0);
}

/// Reads a set of signals that the system keeps of a process.
fn signals(process: &Agent, set: &str) -> u64 {
    let status = process.told_by_system("status");
    let line = status.lines().find_map(|line| line.strip_prefix(set)).expect("a set");
    u64::from_str_radix(line.trim(), 16).expect("a number")
}

#[test]
fn restore_can_be_ended_up_to_its_last_step_which_is_waited_for() {
    let server = Postgres::start();
    let home = Home::new("http://127.0.0.1:9", "");
    assert_eq!(home.agent().terminate(), 0);
    let file = home.path().join("moves.db").display().to_string();
    exits(&home.run(&["store", "backup", &file]), 0, "0 runs");
    home.configure(&format!("state = \"{}\"\n", server.database("moved")));
    exits(&home.run(&["store", "migrate"]), 0, "has schema 9 now");

    // The server says nothing, so nothing is done yet.
    server.signal("STOP");
    let mut restore = home.spawned(home.command(&["store", "restore", &file]));
    let (interrupt, terminate) = (1 << 1, 1 << 14);
    eventually("somebody who hears of it", || (signals(&restore, "SigCgt:") & interrupt != 0).then_some(()));
    restore.signal("INT");
    assert_eq!(restore.ends(PATIENCE).code(), Some(1));
    home.wait_for_log("ended before it was done: nothing was kept");
    server.signal("CONT");

    // The server does not acknowledge, and nobody could say whether it was done.
    let synchronous = |change: &str| {
        server.sql("postgres", &format!("ALTER SYSTEM {change}"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    synchronous("SET synchronous_standby_names = 'nobody'");
    let mut restore = home.spawned(home.command(&["store", "restore", &file]));
    let waits = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    eventually("the last step", || (server.sql("moved", waits) == "1").then_some(()));
    for signal in ["INT", "TERM"] {
        restore.signal(signal);
    }
    let taken = || (signals(&restore, "ShdPnd:") & (interrupt | terminate) == 0).then_some(());
    eventually("somebody who hears of it", taken);
    synchronous("RESET synchronous_standby_names");
    assert_eq!(restore.ends(PATIENCE).code(), Some(0));
    home.wait_for_log("has what was in");
}
