//! What a newer deployment does to runs that go on, and to starts of which nobody knows what came.

use firedrill::domain::{
    deployment::Supersede,
    experiment::{EventTrigger, Experiment, Overlap},
    fis::FailureClass,
    plan::DOUBT_LOOKS,
    run::Observation,
};

use super::{Deploy, MIN, Town, shop, trigger};
use crate::support::world::{experiment, t};

fn superseding(overlap: Overlap) -> Town {
    let trigger = EventTrigger { supersede: Supersede::Running, ..trigger() };
    Town::of(Experiment { overlap, triggers: vec![trigger], ..experiment() })
}

fn stock(revision: &'static str) -> Deploy {
    Deploy { app: Some("stock"), ..shop(revision) }
}

/// The start had no clear answer, or a look found nothing.
fn unclear(look_at: &str) -> Observation {
    let (class, message) = (FailureClass::Timeout, "no answer".to_owned());
    Observation::StartUnclear { class, message, look_at: t(look_at) }
}

#[test]
fn running_run_is_left_alone_unless_its_key_says_otherwise() {
    let mut town = Town::new(trigger());
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:01:00", shop("v2"));
    town.tells(&["10:00:00 v1 starts", "10:01:00 v2 starts"]);
}

#[test]
fn newer_deployment_stops_the_running_run_of_its_key_and_waits_for_its_end() {
    for overlap in [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::StopOther] {
        let mut town = superseding(overlap);
        town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:01:00", shop("v2"));
        town.tells(&[
            "10:00:00 v1 starts",
            "10:01:00 v2 held: run v1 is going on and shares the same experiment with it",
            "10:01:00 v1 is stopped: run v2, which takes its place",
        ]);
        // A third one takes the second one's place in the queue.
        town.event("10:01:10", shop("v3"));
        town.tells(&[
            "10:01:10 v2 skipped: run v3 is about newer version v3",
            "10:01:10 v3 held: run v1 is going on and shares the same experiment with it",
        ]);
        town.ends("10:01:20", "v1").tells(&["10:01:20 v3 starts"]);
    }
}

#[test]
fn what_stopped_another_waits_for_the_gap_after_it() {
    for overlap in [Overlap::Allow, Overlap::Skip, Overlap::QueueOne, Overlap::StopOther] {
        let mut town = superseding(overlap);
        town.declared().limits.min_gap = MIN * 10;
        town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:01:00", shop("v2"));
        town.told.clear();
        town.world.ledgers.entry(crate::support::runs::name("probe")).or_default().ended_at = Some(t("10:01:20"));
        town.ends("10:01:20", "v1").tells(&["10:01:20 v2 held: its `min_gap` lasts until 10:11:20Z"]);
        town.look("10:11:20").tells(&["10:11:20 v2 starts"]);
    }
}

#[test]
fn run_of_another_key_is_never_stopped_and_takes_no_place_in_the_queue() {
    let mut town = superseding(Overlap::Allow);
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1");
    town.event("10:00:02", stock("w1")).runs("10:00:03", "w1");
    town.tells(&["10:00:00 v1 starts", "10:00:02 w1 starts"]);
    town.event("10:01:00", shop("v2")).tells(&[
        "10:01:00 v2 held: run v1 is going on and shares the same experiment with it",
        "10:01:00 v1 is stopped: run v2, which takes its place",
    ]);
    town.event("10:01:01", stock("w2")).tells(&[
        "10:01:01 w2 held: run w1 is going on and shares the same experiment with it",
        "10:01:01 w1 is stopped: run w2, which takes its place",
    ]);
    town.event("10:01:02", Deploy { app: None, ..shop("n1") }).tells(&["10:01:02 n1 starts"]);
    town.ends("10:01:30", "w1").tells(&["10:01:30 w2 starts"]).ends("10:01:40", "v1").tells(&["10:01:40 v2 starts"]);
    // Where runs of an experiment do not overlap, it waits for one of another key, which is not stopped.
    let mut town = superseding(Overlap::Skip);
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:00:02", stock("w1"));
    town.tells(&["10:00:00 v1 starts", "10:00:02 w1 held: run v1 is going on and shares the same experiment with it"]);
    town.ends("10:01:30", "v1").tells(&["10:01:30 w1 starts"]);
}

#[test]
fn running_run_is_not_stopped_for_its_own_version_or_for_one_that_may_not_start() {
    let mut town = superseding(Overlap::Allow);
    town.event("10:00:00", shop("v1")).runs("10:00:01", "v1").event("10:01:00", shop("v1"));
    town.tells(&["10:00:00 v1 starts", "10:01:00 v1' skipped: run v1 was started for version v1 already"]);
    town.world = std::mem::take(&mut town.world).with_window(crate::support::world::blackout("10:20:00", "10:30:00"));
    let mut town = superseding(Overlap::Allow);
    let trigger = EventTrigger { settle: MIN, supersede: Supersede::Running, ..trigger() };
    town.declared().triggers = vec![trigger];
    town.event("10:00:00", shop("v1")).look("10:01:00").runs("10:01:01", "v1").event("10:02:00", shop("v2"));
    // It has to settle first.
    town.tells(&["10:01:00 v1 starts"]).look("10:03:00").tells(&[
        "10:03:00 v2 held: run v1 is going on and shares the same experiment with it",
        "10:03:00 v1 is stopped: run v2, which takes its place",
    ]);
}

#[test]
fn start_without_an_answer_is_given_up_for_a_newer_version_only_when_nothing_came_of_it() {
    let mut town = Town::new(EventTrigger { cool_down: MIN * 30, ..trigger() });
    town.event("10:00:00", shop("v1")).see("10:00:01", "v1", unclear("10:00:06"));
    town.event("10:00:02", shop("v2")).tells(&["10:00:00 v1 starts"]);
    town.see("10:00:06", "v1", Observation::NotFound).look("10:00:30").tells(&[]);
    // After two minutes of looks nothing of it can appear any more, and nothing cools down after it.
    (0..DOUBT_LOOKS).for_each(|_| _ = town.see("10:02:01", "v1", Observation::NotFound));
    town.look("10:02:01");
    town.tells(&["10:02:01 v1 skipped: run v2 is about newer version v2", "10:02:01 v2 starts"]);
}

#[test]
fn start_that_is_found_after_all_goes_on_and_the_newer_version_cools_down() {
    let mut town = Town::new(EventTrigger { cool_down: MIN * 30, ..trigger() });
    town.event("10:00:00", shop("v1")).see("10:00:01", "v1", unclear("10:00:06"));
    town.event("10:00:02", shop("v2")).runs("10:00:06", "v1");
    town.tells(&[
        "10:00:00 v1 starts",
        "10:00:06 v2 skipped: run v1 of the same began too short a time ago; it cools down until 10:30:00Z",
    ]);
}

#[test]
fn same_version_again_while_the_start_is_unclear_runs_once() {
    let begun = || {
        let mut town = Town::new(trigger());
        town.event("10:00:00", shop("v1")).see("10:00:01", "v1", unclear("10:00:06")).reopened();
        town.event("10:00:02", shop("v1")).tells(&["10:00:00 v1 starts"]);
        town
    };
    let mut found = begun();
    found.runs("10:00:06", "v1").tells(&["10:00:06 v1' skipped: run v1 was started for version v1 already"]);
    let mut lost = begun();
    lost.see("10:00:06", "v1", Observation::NotFound);
    (0..DOUBT_LOOKS).for_each(|_| _ = lost.see("10:02:01", "v1", Observation::NotFound));
    lost.look("10:02:01");
    lost.tells(&["10:02:01 v1 skipped: run v1' is about newer version v1", "10:02:01 v1' starts"]);
}
