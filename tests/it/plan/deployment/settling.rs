//! Which event is the last one, and how long it has to be quiet after it.

use firedrill::domain::{
    event::Order,
    experiment::{EventTrigger, Experiment, Overlap, Rollbacks},
};

use super::{Deploy, MIN, S, Town, settling, shop, trigger};
use crate::support::world::experiment;

#[test]
fn settling_begins_anew_with_each_event_and_only_the_newest_runs() {
    let mut town = Town::new(settling());
    town.event("10:00:00", shop("v1")).event("10:04:00", shop("v2")).event("10:08:59", shop("v3"));
    town.tells(&[
        "10:04:00 v1 skipped: run v2 is about newer version v2",
        "10:08:59 v2 skipped: run v3 is about newer version v3",
    ]);
    town.wakes("10:08:59", "10:13:59");
    town.look("10:13:58").tells(&[]).look("10:13:59").tells(&["10:13:59 v3 starts"]);
}

#[test]
fn event_of_another_key_or_without_one_postpones_nothing() {
    let mut town = Town::new(settling());
    town.event("10:00:00", shop("v1"));
    town.event("10:01:00", Deploy { app: Some("stock"), ..shop("w1") });
    town.event("10:02:00", Deploy { app: None, ..shop("n1") }).event("10:03:00", Deploy { app: None, ..shop("n2") });
    town.tells(&[]).look("10:08:00");
    // Runs without a key know nothing of each other.
    town.tells(&["10:08:00 v1 starts", "10:08:00 w1 starts", "10:08:00 n1 starts", "10:08:00 n2 starts"]);
}

#[test]
fn older_deployment_that_is_told_of_later_never_wins_and_postpones_nothing() {
    let mut town = Town::new(settling());
    town.event("10:00:30", Deploy::of("10:00:20", "v2")).event("10:03:00", Deploy::of("10:00:10", "v1"));
    town.tells(&["10:03:00 v1 skipped: run v2 is about newer version v2"]);
    town.look("10:05:30").tells(&["10:05:30 v2 starts"]).runs("10:05:31", "v2");
    // Nor when it comes after the newer one has started, or has ended.
    town.event("10:06:00", Deploy::of("10:00:15", "v1"));
    town.tells(&["10:06:00 v1' skipped: run v2 is about newer version v2"]);
    town.ends("10:07:00", "v2").event("10:08:00", Deploy::of("10:00:15", "v1")).look("10:30:00");
    town.tells(&["10:08:00 v1'' skipped: run v2 is about newer version v2"]);
}

#[test]
fn of_deployments_in_the_same_second_the_last_one_told_wins() {
    let mut town = Town::new(settling());
    town.event("10:00:01.000001", Deploy::of("10:00:00", "v1")).event("10:00:01.000002", Deploy::of("10:00:00", "v2"));
    town.look("10:10:00");
    town.tells(&["10:00:01.000002 v1 skipped: run v2 is about newer version v2", "10:10:00 v2 starts"]);
}

#[test]
fn fifo_queue_says_the_order_whatever_the_events_say() {
    let mut town = Town::new(settling());
    let in_order = |deploy: Deploy| Deploy { order: Order::Kept, ..deploy };
    town.event("10:01:00", in_order(Deploy::of("10:00:50", "v1")));
    town.event("10:01:01", in_order(Deploy::of("10:00:10", "v2"))).look("10:10:00");
    town.tells(&["10:01:01 v1 skipped: run v2 is about newer version v2", "10:10:00 v2 starts"]);
}

#[test]
fn what_is_sent_to_a_fifo_queue_again_is_as_old_as_it_says() {
    let mut town = Town::new(settling());
    let in_order = |deploy: Deploy| Deploy { order: Order::Kept, ..deploy };
    town.event("10:01:00", in_order(Deploy::of("10:00:55", "v2")));
    town.event("10:01:01", in_order(Deploy::of("07:00:00", "v1"))).look("10:10:00");
    town.tells(&["10:01:01 v1 skipped: run v2 is about newer version v2", "10:10:00 v2 starts"]);
}

#[test]
fn order_of_a_fifo_queue_outlives_a_clock_that_is_set_back() {
    let mut town = Town::new(settling());
    let sent = |time, revision| Deploy { order: Order::Kept, sent: Some(time), ..Deploy::of(time, revision) };
    town.event("12:00:00", sent("11:59:59", "v1")).event("11:01:00", sent("12:01:00", "v2"));
    town.look("12:10:00").tells(&["11:01:00 v1 skipped: run v2 is about newer version v2", "12:10:00 v2 starts"]);
}

#[test]
fn event_from_the_future_does_not_outlive_those_after_it() {
    let mut town = Town::new(settling());
    town.event("10:00:00", Deploy::of("12:00:00", "v1")).event("10:01:00", Deploy::of("10:00:30", "v2"));
    town.look("10:10:00");
    town.tells(&["10:01:00 v1 skipped: run v2 is about newer version v2", "10:10:00 v2 starts"]);
}

#[test]
fn settle_limit_bounds_how_long_events_postpone_the_start() {
    let mut town = Town::new(EventTrigger { settle_limit: Some(MIN * 12), ..settling() });
    for (at, version) in [("10:00:00", "v1"), ("10:04:00", "v2"), ("10:08:00", "v3"), ("10:11:59", "v4")] {
        town.event(at, shop(version));
    }
    town.told.clear();
    town.wakes("10:11:59", "10:12:00");
    town.look("10:11:59.9").tells(&[]).look("10:12:00").tells(&["10:12:00 v4 starts"]);
    // What comes then begins a change of its own.
    town.runs("10:12:00.5", "v4")
        .event("10:12:01", shop("v5"))
        .look("10:17:00")
        .tells(&[])
        .look("10:17:01")
        .tells(&["10:17:01 v5 starts"]);
}

#[test]
fn settle_limit_counts_from_the_change_that_goes_on() {
    let limited = || EventTrigger { settle_limit: Some(MIN * 6), rollbacks: Rollbacks::Skip, ..settling() };
    // A late event about the past changes nothing, so that the next one settles in full.
    let mut town = Town::new(limited());
    town.event("10:00:00", Deploy::of("10:00:00", "v2")).look("10:05:00").runs("10:05:01", "v2");
    town.event("10:06:00", Deploy::of("09:59:00", "v1")).ends("10:07:00", "v2");
    town.told.clear();
    town.event("11:00:00", Deploy::of("11:00:00", "v3")).look("11:04:59").tells(&[]);
    town.look("11:05:00").tells(&["11:05:00 v3 starts"]);
    // Nor does a change that ended with a rollback that was skipped.
    let mut town = Town::new(limited());
    town.event("10:00:00", shop("v2")).event("10:01:00", Deploy { rollback: true, ..shop("v1") });
    town.told.clear();
    town.event("11:00:00", shop("v3")).look("11:04:59").tells(&[]).look("11:05:00").tells(&["11:05:00 v3 starts"]);
}

#[test]
fn change_that_came_to_rest_while_its_run_was_held_is_over() {
    let mut town = Town::new(EventTrigger { settle_limit: Some(MIN * 6), hold_for: MIN * 600, ..settling() });
    town.world = std::mem::take(&mut town.world).with_window(crate::support::world::blackout("10:04:00", "12:00:00"));
    town.event("10:00:00", shop("v1")).look("10:05:00");
    town.event("11:59:00", shop("v2")).look("12:03:59");
    town.tells(&[
        "10:05:00 v1 held: window `freeze` forbids it until 12:00:00Z",
        "11:59:00 v1 skipped: run v2 is about newer version v2",
    ]);
    town.look("12:04:00").tells(&["12:04:00 v2 starts"]);
}

#[test]
fn event_has_a_least_age_however_short_its_settling_is_cut() {
    let mut town = Town::new(EventTrigger { min_age: MIN * 10, ..settling() });
    town.event("10:02:00", Deploy::of("10:00:00", "v1")).look("10:09:59").tells(&[]);
    town.look("10:10:00").tells(&["10:10:00 v1 starts"]);
    let mut town = Town::new(EventTrigger { min_age: MIN * 10, settle_limit: Some(MIN * 6), ..settling() });
    town.event("10:02:00", Deploy::of("10:00:00", "v1")).event("10:05:00", Deploy::of("10:04:00", "v2"));
    town.told.clear();
    town.look("10:13:59").tells(&[]).look("10:14:00").tells(&["10:14:00 v2 starts"]);
    // An old one has its age already.
    let mut town = Town::new(EventTrigger { min_age: MIN * 10, settle: S * 5, ..trigger() });
    town.event("10:00:00", Deploy::of("09:00:00", "v1")).look("10:00:05").tells(&["10:00:05 v1 starts"]);
}

#[test]
fn settling_and_held_runs_keep_their_terms_through_restart_reload_and_removal_of_the_trigger() {
    let hold = EventTrigger { hold_for: MIN * 120, settle_limit: Some(MIN * 8), max_age: Some(MIN * 60), ..settling() };
    let mut town = Town::new(hold);
    town.world = std::mem::take(&mut town.world).with_window(crate::support::world::blackout("10:11:00", "10:30:00"));
    town.event("10:00:00", shop("v1")).reopened().event("10:04:30", shop("v2"));
    town.event("10:07:30", Deploy { app: Some("stock"), ..shop("w1") }).reopened();
    town.tells(&["10:04:30 v1 skipped: run v2 is about newer version v2"]);
    town.declared().triggers.clear();
    town.look("10:08:00").tells(&["10:08:00 v2 starts"]).look("10:14:00").reopened();
    town.tells(&["10:14:00 w1 held: window `freeze` forbids it until 10:30:00Z"]);
    town.look("10:30:00").tells(&["10:30:00 w1 starts"]);
}

/// Settling that is cut short ends before the instant that the row names.
#[test]
fn run_that_waits_after_a_short_settling_takes_a_place_in_the_queue() {
    let trigger = EventTrigger { settle_limit: Some(MIN * 2), ..settling() };
    let mut town = Town::of(Experiment { overlap: Overlap::QueueOne, triggers: vec![trigger], ..experiment() });
    let of = |app, revision| Deploy { app: Some(app), ..shop(revision) };
    town.event("10:00:00", shop("v1")).look("10:02:00").runs("10:02:01", "v1");
    town.event("10:02:10", of("stock", "w1")).event("10:02:20", of("cart", "x1")).look("10:04:10").look("10:04:20");
    town.tells(&[
        "10:02:00 v1 starts",
        "10:04:10 w1 held: run v1 is going on and shares the same experiment with it",
        "10:04:20 x1 skipped: a run waits for its turn already",
    ]);
}
