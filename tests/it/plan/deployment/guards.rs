//! What refuses a deployment: its version was run, it is a rollback, too soon, too old, not drawn; and what holds it.

use firedrill::domain::{
    deployment::Supersede,
    experiment::{EventTrigger, Rollbacks},
    fis::FailureClass,
    outcome::Outcome,
    run::Observation,
};

use super::{Deploy, MIN, S, Town, settling, shop, trigger};
use crate::support::world::{blackout, t};

fn closed(mut town: Town, from: &str, to: &str) -> Town {
    town.world = town.world.with_window(blackout(from, to));
    town
}

#[test]
fn version_is_started_once_however_often_it_is_told_of() {
    let again = |at: &'static str| Deploy::of(at, "v1");
    let mut town = Town::new(trigger());
    town.event("10:00:00", again("10:00:00")).event("10:00:01", again("10:00:01"));
    town.tells(&["10:00:00 v1 starts"]);
    town.runs("10:00:02", "v1").event("10:00:03", again("10:00:02")).reopened();
    town.tells(&[
        "10:00:02 v1' skipped: run v1 was started for version v1 already",
        "10:00:03 v1'' skipped: run v1 was started for version v1 already",
    ]);
    town.ends("10:05:00", "v1").reopened().event("11:00:00", again("11:00:00"));
    town.tells(&["11:00:00 v1''' skipped: run v1 was started for version v1 already"]);
    // Another key, or another version in between, is another matter.
    town.event("11:01:00", Deploy { app: Some("stock"), ..again("11:01:00") }).tells(&["11:01:00 v1'''' starts"]);
    town.event("12:00:00", Deploy::of("12:00:00", "v2")).runs("12:00:01", "v2").event("12:30:00", again("12:30:00"));
    town.tells(&["12:00:00 v2 starts", "12:30:00 v1''''' starts"]);
}

#[test]
fn version_whose_start_was_refused_for_good_may_be_deployed_again() {
    let mut town = Town::new(EventTrigger { cool_down: MIN * 30, ..trigger() });
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").ends("10:05:00", "v1").event("11:00:00", shop("v2"));
    let (class, message) = (FailureClass::Denied, "no".to_owned());
    let refused = Observation::StartRefused { class, message: message.clone(), retry_at: t("11:00:02") };
    town.see("11:00:01", "v2", refused);
    town.see("11:00:01", "v2", Observation::Finished { outcome: Outcome::NotStarted { class, message } });
    town.event("11:10:00", shop("v2"));
    town.tells(&["10:00:00 v1 starts", "11:00:00 v2 starts", "11:10:00 v2' starts"]);
}

#[test]
fn events_without_a_version_are_told_apart_by_nothing_but_their_order() {
    let mut town = Town::new(EventTrigger { reading: Default::default(), ..trigger() });
    town.event("10:00:00", shop("v1"))
        .event("10:00:01", shop("v1"))
        .tells(&["10:00:00 v1 starts", "10:00:01 v1' starts"]);
}

#[test]
fn rollback_runs_or_is_skipped_and_either_way_ends_what_waits_for_the_newer_version() {
    let back = || Deploy { rollback: true, ..shop("v1") };
    let mut town = Town::new(settling());
    town.event("10:00:00", shop("v2")).event("10:01:00", back()).look("10:06:00");
    town.tells(&["10:01:00 v2 skipped: run v1 is about newer version v1", "10:06:00 v1 starts"]);
    let mut town = Town::new(EventTrigger { rollbacks: Rollbacks::Skip, ..settling() });
    town.event("10:00:00", shop("v2")).event("10:01:00", back()).look("10:06:00");
    town.tells(&[
        "10:01:00 v1 skipped: it is a rollback, and its trigger skips those",
        "10:01:00 v2 skipped: run v1 is about newer version v1",
    ]);
    // To a version that was run it goes back in vain.
    let mut town = Town::new(EventTrigger { supersede: Supersede::Running, ..trigger() });
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:01:00", back());
    town.tells(&["10:00:00 v1 starts", "10:01:00 v1' skipped: run v1 was started for version v1 already"]);
}

#[test]
fn one_deployment_in_so_many_is_taken_the_same_ones_each_time_and_others_end_what_waits() {
    let drawn = || {
        let mut town = Town::new(EventTrigger { one_in: 5, cool_down: MIN, ..trigger() });
        let versions: Vec<String> = (0..1_000).map(|n| format!("r{n}.")).collect();
        let mut taken = Vec::new();
        for version in versions {
            let before = town.told.len();
            town.event("10:00:00", shop(version.clone().leak()));
            taken.push(!town.told[before].contains("one in 5 is taken"));
            town.world.runs.clear();
        }
        taken
    };
    let taken = drawn();
    let count = taken.iter().filter(|taken| **taken).count();
    assert!((160..=240).contains(&count), "{count} of 1,000 with one in five");
    assert_eq!(taken, drawn(), "a draw depends on key and version alone");
    let mut town = Town::new(settling());
    town.event("10:00:00", shop("v1"));
    town.declared().triggers[0].one_in = u32::MAX;
    town.event("10:01:00", shop("v2")).look("10:06:00").tells(&[
        "10:01:00 v2 skipped: one in 4294967295 is taken, and this one was not drawn",
        "10:01:00 v1 skipped: run v2 is about newer version v2",
    ]);
}

#[test]
fn cool_down_counts_from_start_to_start_of_a_key() {
    let mut town = Town::new(EventTrigger { cool_down: MIN * 30, ..settling() });
    town.event("09:55:00", shop("v1")).look("10:00:00").runs("10:00:01", "v1").ends("10:03:00", "v1");
    town.event("10:10:00", shop("v2"));
    town.tells(&[
        "10:00:00 v1 starts",
        "10:10:00 v2 skipped: run v1 of the same began too short a time ago; it cools down until 10:30:00Z",
    ]);
    town.event("10:10:00", Deploy { app: Some("stock"), ..shop("w1") }).look("10:15:00").tells(&["10:15:00 w1 starts"]);
    // One that is to start after the cool-down is not refused before.
    town.event("10:25:00", shop("v3")).look("10:29:59").tells(&[]).look("10:30:00").tells(&["10:30:00 v3 starts"]);
}

#[test]
fn event_that_is_too_old_at_the_start_is_skipped() {
    let fresh = || EventTrigger { max_age: Some(MIN * 60), ..settling() };
    let mut town = Town::new(fresh());
    town.event("10:55:00", Deploy::of("10:00:00", "v1")).look("11:00:00").tells(&["11:00:00 v1 starts"]);
    let mut town = Town::new(fresh());
    town.event("10:55:01", Deploy::of("10:00:00", "v1")).look("11:00:01");
    town.tells(&["11:00:01 v1 skipped: its event was fresh until 11:00:00Z"]);
    // Without a time it is as old as its receipt; one from the future, too.
    for deploy in [shop("v1"), Deploy::of("23:00:00", "v1")] {
        let mut town = Town::new(EventTrigger { max_age: Some(MIN * 6), ..settling() });
        town.event("10:00:00", deploy)
            .look("10:06:01")
            .tells(&["10:06:01 v1 skipped: its event was fresh until 10:06:00Z"]);
        let mut town = Town::new(EventTrigger { max_age: Some(MIN * 6), ..settling() });
        town.event("10:00:00", deploy).look("10:06:00").tells(&["10:06:00 v1 starts"]);
    }
    // It may be too old to run and yet the newest of its key.
    let mut town = Town::new(EventTrigger { max_age: Some(S * 30), ..trigger() });
    town.event("10:00:00", Deploy::of("09:00:00", "v1")).event("10:00:01", Deploy::of("08:00:00", "v0"));
    town.tells(&[
        "10:00:00 v1 skipped: its event was fresh until 09:00:30Z",
        "10:00:01 v0 skipped: run v1 is about newer version v1",
    ]);
}

#[test]
fn held_run_is_superseded_judged_again_or_expires_with_its_reason() {
    let hold = || EventTrigger { hold_for: MIN * 60, max_age: Some(MIN * 10), ..settling() };
    let held = |at: &str| format!("{at} held: window `freeze` forbids it until 11:00:00Z");
    let mut town = closed(Town::new(hold()), "09:00:00", "11:00:00");
    town.event("10:30:00", shop("v1")).look("10:35:00").reopened().event("10:50:00", shop("v2")).look("10:55:00");
    town.tells(&[&held("10:35:00 v1"), "10:50:00 v1 skipped: run v2 is about newer version v2", &held("10:55:00 v2")]);
    // Time held is not held against it: it is fresh again when the window lifts.
    town.wakes("10:55:00", "11:00:00");
    town.look("11:00:00").tells(&["11:00:00 v2 starts"]);
    // It expires at its deadline.
    let mut town = closed(Town::new(hold()), "09:00:00", "13:00:00");
    town.event("10:00:00", shop("v1")).look("10:05:00").look("11:04:59").reopened();
    town.tells(&["10:05:00 v1 held: window `freeze` forbids it until 13:00:00Z"]);
    town.look("11:05:00").tells(&["11:05:00 v1 skipped: window `freeze` forbids it until 13:00:00Z"]);
    // Without leave to hold it is skipped at once.
    let mut town = closed(Town::new(settling()), "09:00:00", "11:00:00");
    town.event("10:00:00", shop("v1")).look("10:05:00");
    town.tells(&["10:05:00 v1 skipped: window `freeze` forbids it until 11:00:00Z"]);
    // The guards are asked again when the window lifts.
    let cooling = EventTrigger { cool_down: MIN * 600, ..hold() };
    let mut town = closed(Town::new(cooling), "10:10:00", "11:00:00");
    town.event("10:00:00", shop("v1")).look("10:05:00").event("10:06:00", shop("v2"));
    town.tells(&["10:05:00 v1 starts"])
        .runs("10:06:01", "v1")
        .tells(&["10:06:01 v2 skipped: run v1 of the same began too short a time ago; it cools down until 20:05:00Z"]);
}

#[test]
fn run_that_nobody_looked_at_in_time_was_not_held() {
    let mut town = Town::new(EventTrigger { max_age: Some(MIN * 10), hold_for: MIN * 60, ..settling() });
    town.event("10:00:00", shop("v1"))
        .look("10:10:01")
        .tells(&["10:10:01 v1 skipped: its event was fresh until 10:10:00Z"]);
}
