//! `halt --lever` and `resume` through the real binary, two accounts beside each other: what we engaged is let go, what
//! somebody else engaged never is, and what failed is told and can be asked for again.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{
    agent::{Home, Said},
    disk::Lock,
    eventually,
    stage::Stage,
};

/// Two accounts with an experiment each, and an agent's home for both.
struct Towns {
    east: Stage,
    west: Stage,
    home: Home,
}

impl Towns {
    fn start() -> Self {
        let (east, west) = (Stage::start(600.0), Stage::start(600.0));
        let long = &[("wait", "PT10H", &[][..])][..];
        let (here, there) = (east.template(long), west.template(long));
        let tables = format!(
            "[experiments.east]\ntemplate = \"{here}\"\n\
             [experiments.west]\ntemplate = \"{there}\"\nregion = \"us-west-2\"\nendpoint_url = \"{}\"\n",
            west.url()
        );
        let home = Home::new(&east.url(), &tables);
        Self { east, west, home }
    }

    fn levers(&self) -> [(String, String); 2] {
        [self.east.lever(), self.west.lever()]
    }

    /// Waits until both levers have ended what ran.
    fn both_engaged(&self) -> [(String, String); 2] {
        eventually("two engaged levers", || {
            let levers = self.levers();
            levers.iter().all(|(status, _)| status == "engaged").then_some(levers)
        })
    }

    /// Waits until the status says this of the halt's levers.
    #[track_caller]
    fn stand(&self, expected: &[&str]) {
        let standing = |held: &Value| held["standing"]["standing"].as_str().unwrap_or_default().to_owned();
        eventually("levers of the halt", || {
            let status = self.home.json(&["status"]);
            let levers = status["halt"]["levers"].as_array().cloned().unwrap_or_default();
            (levers.iter().map(standing).collect::<Vec<_>>() == expected).then_some(())
        });
    }
}

#[track_caller]
fn exits(said: &Said, code: i32, words: &[&str]) {
    assert_eq!(said.code, code, "{said:?}");
    for word in words {
        assert!(said.stdout.contains(word) || said.stderr.contains(word), "no `{word}` in {said:?}");
    }
}

const HALT: &[&str] = &["halt", "--lever", "--reason", "incident"];

#[test]
fn levers_of_every_place_are_engaged_outlive_a_kill_and_are_let_go_by_resume() {
    let towns = Towns::start();
    let agent = towns.home.agent();
    towns.home.json(&["start", "east"]);
    eventually("an experiment", || towns.east.experiments().first().cloned());
    exits(&towns.home.run(HALT), 0, &["lever of us-east-1: engaged", "lever of us-west-2: engaged"]);
    agent.kill_nine();
    for (_, reason) in towns.both_engaged() {
        assert!(reason.starts_with("firedrill halt of ") && reason.ends_with(" by tester: incident"), "{reason}");
    }

    let agent = towns.home.agent();
    towns.stand(&["engaged", "engaged"]);
    exits(&towns.home.run(&["start", "west", "--wait"]), 12, &["all chaos is halted by tester"]);
    exits(&towns.home.run(&["status"]), 0, &["HALTED      by tester", "lever       us-west-2: engaged"]);
    exits(&towns.home.run(&["resume"]), 0, &["resumed", "lever of us-east-1: let go", "lever of us-west-2: let go"]);
    assert!(towns.levers().iter().all(|(status, _)| status == "disengaged"), "{:?}", towns.levers());
    assert_eq!(agent.terminate(), 0);

    let _agent = towns.home.agent();
    towns.home.json(&["start", "west"]);
    eventually("an experiment after the halt", || towns.west.experiments().first().cloned());
}

#[test]
fn lever_that_somebody_else_engaged_before_or_since_is_left_alone() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    towns.west.pull("engaged", "a person, before");
    exits(&towns.home.run(HALT), 0, &["us-west-2: engaged by somebody else already: a person, before"]);
    towns.stand(&["engaged", "others"]);
    towns.both_engaged();
    towns.east.pull("engaged", "a person, since");
    let said = towns.home.run(&["resume"]);
    let left = "left engaged, since it is somebody else's: a person, ";
    exits(&said, 0, &[&format!("us-east-1: {left}since"), &format!("us-west-2: {left}before"), "resumed"]);
    assert!(towns.levers().iter().all(|(status, _)| status == "engaged"), "{:?}", towns.levers());
    assert_eq!(towns.home.json(&["status"])["halt"], Value::Null);
}

#[test]
fn lever_that_could_not_be_moved_is_told_and_asked_for_again() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    towns.west.fault("UpdateSafetyLeverState", "denied", 1);
    let halted = towns.home.run(HALT);
    exits(&halted, 7, &["halted", "us-east-1: engaged", "us-west-2: NOT ENGAGED: denied", "firedrill halt --lever"]);
    towns.stand(&["engaged", "failed"]);
    let first = towns.east.lever();
    // A halt without levers leaves them to the one that asked for them.
    exits(&towns.home.run(&["halt", "--reason", "another"]), 0, &["halted"]);
    towns.stand(&["engaged", "failed"]);
    exits(&towns.home.run(HALT), 0, &["us-east-1: engaged", "us-west-2: engaged"]);
    towns.both_engaged();
    assert_eq!(towns.east.lever(), first, "it was moved again");

    towns.west.fault("UpdateSafetyLeverState", "throttle", 1);
    exits(&towns.home.run(&["resume"]), 7, &["STILL HALTED", "us-east-1: let go", "us-west-2: NOT LET GO: throttled"]);
    exits(&towns.home.run(&["start", "east", "--wait"]), 12, &["all chaos is halted"]);
    exits(&towns.home.run(&["resume"]), 0, &["resumed", "us-west-2: let go"]);
    assert_eq!(towns.levers().map(|(status, _)| status), ["disengaged", "disengaged"]);

    exits(&towns.home.run(HALT), 0, &["us-east-1: engaged"]);
    exits(&towns.home.run(&["resume", "--keep-levers"]), 0, &["resumed"]);
    assert!(towns.levers().iter().all(|(status, _)| status.starts_with("engag")), "{:?}", towns.levers());
}

#[test]
fn lost_answer_of_a_lever_is_ours_all_the_same() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    towns.east.fault("UpdateSafetyLeverState", "500-after", 1);
    exits(&towns.home.run(HALT), 7, &["us-east-1: NOT ENGAGED: unavailable", "us-west-2: engaged"]);
    towns.both_engaged();
    exits(&towns.home.run(&["resume"]), 0, &["us-east-1: let go", "us-west-2: let go"]);
    assert_eq!(towns.levers().map(|(status, _)| status), ["disengaged", "disengaged"]);
}

#[test]
fn agent_killed_between_the_halt_and_its_levers_engages_them_after_its_start() {
    let towns = Towns::start();
    let agent = towns.home.agent();
    for town in [&towns.east, &towns.west] {
        town.fault("UpdateSafetyLeverState", "hang-before", 1);
    }
    let mut asking = towns.home.command(HALT).stderr(Stdio::null()).spawn().expect("the command runs");
    towns.stand(&["asked", "asked"]);
    agent.kill_nine();
    assert!(!asking.wait().expect("an end").success());
    assert_eq!(towns.levers(), [("disengaged".to_owned(), String::new()), ("disengaged".to_owned(), String::new())]);
    for town in [&towns.east, &towns.west] {
        town.no_faults();
    }
    let _agent = towns.home.agent();
    towns.both_engaged();
    towns.stand(&["engaged", "engaged"]);
    exits(&towns.home.run(&["resume"]), 0, &["us-east-1: let go", "us-west-2: let go"]);
}

#[test]
fn halt_that_is_lifted_while_its_levers_are_engaged_leaves_none_engaged() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    for town in [&towns.east, &towns.west] {
        town.fault("UpdateSafetyLeverState", "hang-after", 1);
    }
    let mut asking = towns.home.command(HALT).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    towns.both_engaged();
    // As another replica would, which waits for nobody here.
    exits(&towns.home.run(&["resume", "--keep-levers"]), 0, &["resumed"]);
    asking.wait().expect("an end");
    assert_eq!(towns.levers().map(|(status, _)| status), ["disengaged", "disengaged"]);
    assert_eq!(towns.home.json(&["status"])["halt"], Value::Null);
}

#[test]
fn halt_without_levers_moves_none() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    exits(&towns.home.run(&["halt"]), 0, &["halted"]);
    assert_eq!(towns.home.json(&["halt"]), json!({"halted": true, "levers": []}));
    assert_eq!(towns.home.json(&["resume"]), json!({"halted": false, "levers": []}));
    assert!(towns.levers().iter().all(|(status, _)| status == "disengaged"));
    exits(&towns.home.run(&["halt", "--lever", "--finish"]), 2, &["cannot be used with"]);
}

#[test]
fn levers_are_engaged_though_the_halt_cannot_be_recorded_and_are_let_go_by_hand_only() {
    let towns = Towns::start();
    let _agent = towns.home.agent();
    let lock = Lock::take(&towns.home);
    let said = ["the halt is NOT recorded", "us-east-1: engaged", "us-west-2: engaged", "run it again", "by hand"];
    exits(&towns.home.run(HALT), 1, &said);
    let engaged = towns.both_engaged();
    drop(lock);
    assert_eq!(towns.home.json(&["status"])["halt"], Value::Null);
    exits(&towns.home.run(&["resume"]), 0, &["resumed"]);
    assert_eq!(towns.levers(), engaged, "no row says that they are ours");

    exits(&towns.home.run(HALT), 0, &["halted", "us-east-1: engaged by somebody else already: firedrill halt of "]);
    let left = "left engaged, since it is somebody else's: firedrill halt of ";
    exits(&towns.home.run(&["resume"]), 0, &["resumed", &format!("us-east-1: {left}"), &format!("us-west-2: {left}")]);
    assert_eq!(towns.levers(), engaged);
}
