//! Starts without a clear answer: looked for first, judged anew, given up only when certainly nothing exists.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Overlap, Place},
    fis::{CallFailure, FailureClass},
    plan::{DOUBT_LOOKS, LOST_AFTER_FAILURES, Mode, Withheld, is_looked_for_first, left_nothing},
    react,
    run::{Observation, Run, Trigger},
};

use super::check;
use crate::support::{
    runs::name,
    world::{World, applied, asked, blackout, event_run, experiment, read, running, slot_run, t, trigger},
};

/// A run of 10:00 whose start was asked for then.
fn starting() -> Run {
    asked(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00")
}

fn world(run: Run) -> World {
    World::of(experiment(), vec![run])
}

fn failed(run: Run, at: &str, class: FailureClass) -> Run {
    let observed = react::start(&run, Err(CallFailure { class, message: "no".to_owned() }), t(at));
    applied(run, &[(at, observed)])
}

fn not_found(run: Run, at: &str) -> Run {
    applied(run, &[(at, Observation::NotFound)])
}

/// Looks, each five seconds after the one before, the last of them at an instant, that found nothing for long enough.
fn not_found_for_long(run: Run, at: &str) -> Run {
    let pause = |n: u32| react::LOOK_INTERVAL * i32::try_from(n).expect("few");
    (0..DOUBT_LOOKS).rev().fold(run, |run, n| run.apply(&Observation::NotFound, t(at) - pause(n)).expect("a look"))
}

#[test]
fn start_without_a_recorded_answer_is_looked_for_before_anything_else() {
    check(&world(starting()), "10:00:00", &["A look"]);
    let unclear = failed(starting(), "10:00:45", FailureClass::Timeout);
    check(&world(unclear.clone()), "10:00:45", &["A look"]);
    // Whatever else holds: an experiment may exist.
    let mut gone = world(unclear.clone()).with_window(blackout("09:00:00", "12:00:00")).with_stop();
    gone.rules.experiments.clear();
    check(&gone, "11:00:00", &["A look"]);
    let draining = World { mode: Mode::DrainingWithStop, ..world(unclear) };
    check(&draining, "10:00:45", &["A look"]);
}

#[test]
fn look_that_failed_is_repeated_after_a_pause() {
    let failure = CallFailure { class: FailureClass::Unavailable, message: String::new() };
    let observed = react::look(&starting(), Err(failure), t("10:00:10"));
    let world = world(applied(starting(), &[("10:00:10", observed)]));
    check(&world, "10:00:14.999", &["wake 10:00:15"]);
    check(&world, "10:00:15", &["A look"]);
    // The clock was set back behind the call: the look is due at once.
    check(&world, "09:00:00", &["A look"]);
}

#[test]
fn start_that_no_look_can_tell_of_is_lost_after_thirteen_hours() {
    let look = |run: Run, at: &str| {
        let failure = CallFailure { class: FailureClass::Unreadable, message: String::new() };
        let observed = react::look(&run, Err(failure), t(at));
        applied(run, &[(at, observed)])
    };
    let many = (1..LOST_AFTER_FAILURES).fold(starting(), |run, _| look(run, "10:30:00"));
    check(&world(look(many.clone(), "22:58:00")), "22:59:00", &["A look"]);
    let lost = "A finished: FIS told nothing of it for too long (unreadable)";
    check(&world(look(many, "23:00:00")), "23:00:00", &[lost]);
    // Nor do as many as there are in some minutes after the clock was set.
    let some = (0..30).fold(starting(), |run, _| look(run, "23:30:00"));
    check(&world(some), "23:31:00", &["A look"]);
    // One look that fails after a night proves nothing.
    check(&world(look(starting(), "23:30:00")), "23:30:05", &["A look"]);
}

#[test]
fn start_that_left_nothing_is_repeated_under_the_same_token() {
    let run = not_found(starting(), "10:00:10");
    assert_eq!(run.id.client_token(), slot_run("10:00:00").id.client_token());
    check(&world(run.clone()), "10:00:14.999", &["wake 10:00:15"]);
    check(&world(run.clone()), "10:00:15", &["A start EXT1"]);
    check(&World { withheld: Withheld::All, ..world(run.clone()) }, "10:00:15", &["A look"]);
    check(&World { mode: Mode::Draining, ..world(run) }, "10:00:15", &[]);
}

/// What an earlier call began is to be stopped as well.
#[test]
fn start_is_looked_for_and_not_repeated_while_what_runs_is_stopped() {
    let ending = |run: &Run| World { mode: Mode::DrainingWithStop, ..world(run.clone()) };
    let absent = not_found(starting(), "10:00:10");
    check(&ending(&absent), "10:00:14.999", &["wake 10:00:15"]);
    check(&ending(&absent), "10:00:15", &["A look"]);
    check(&World { withheld: Withheld::All, ..ending(&absent) }, "10:00:15", &["A look"]);
    check(&World { withheld: Withheld::All, ..world(absent.clone()) }, "10:00:14.999", &["wake 10:00:15"]);
    let gone = not_found_for_long(starting(), "10:03:00");
    check(&ending(&gone), "10:03:05", &[]);
    let refused = failed(starting(), "10:00:00", FailureClass::Throttled);
    check(&ending(&refused), "10:00:05", &[]);
    for (run, expected) in [(&absent, false), (&starting(), false), (&gone, true), (&refused, true)] {
        assert_eq!(left_nothing(run), expected, "{run:?}");
    }
}

/// FIS may have forgotten the token of a call whose effect nobody was there to see.
#[test]
fn start_whose_effect_is_open_is_not_repeated_long_after_it_was_looked_for() {
    let absent = not_found(starting(), "10:00:10");
    check(&world(absent.clone()), "10:01:10", &["A start EXT1"]);
    check(&world(absent.clone()), "10:01:10.1", &["A look"]);
    // Nor after refusals, which say nothing of that call.
    let refused = failed(asked(absent, "10:00:15"), "10:00:15", FailureClass::Throttled);
    let refused = failed(asked(refused, "10:01:05"), "10:01:05", FailureClass::Throttled);
    check(&world(refused.clone()), "10:01:13", &["A look"]);
    check(&world(not_found(refused, "10:01:13")), "10:01:13", &["A start EXT1"]);
    let once = failed(starting(), "10:00:00", FailureClass::Throttled);
    check(&world(once), "10:04:00", &["A start EXT1"]);
}

#[test]
fn run_of_before_a_restore_is_looked_for_before_it_is_started() {
    let first = |run: &Run, restored_at: Option<&str>| {
        let world = World { restored_at: restored_at.map(t), ..world(run.clone()) };
        is_looked_for_first(&world.snapshot(), run)
    };
    let slot = slot_run("10:00:00");
    assert!(!first(&slot, None), "it was never restored");
    // Clocks are not alike: that of the restore may be ahead for good, or a day behind.
    assert!(first(&slot, Some("12:00:00")) && first(&slot, Some("2026-03-01T10:00:00Z")));
    assert!(!first(&slot, Some("2026-03-01T09:59:59Z")));
    // Once it was asked for it has been looked for, whatever the clock of the restore says.
    for run in [starting(), not_found(starting(), "10:00:10")] {
        assert!(!first(&run, Some("12:00:00")));
    }
    // An event tells of its own time, however late it comes.
    let mut event = event_run("12:30:00", trigger("deploy", 0, 0));
    assert!(!first(&event, Some("2026-03-01T12:00:00Z")));
    let Trigger::Event { event_time, .. } = &mut event.trigger else { panic!("an event") };
    *event_time = Some(t("11:00:00"));
    assert!(first(&event, Some("2026-03-01T12:00:00Z")));
}

#[test]
fn start_is_repeated_where_it_was_first_asked_for() {
    let moved = Place { region: Some("eu-west-1".to_owned()), ..Place::default() };
    let world = World::of(Experiment { place: moved, ..experiment() }, vec![not_found(starting(), "10:00:10")]);
    check(&world, "10:00:15", &["A start EXT1"]);
}

#[test]
fn blackout_opened_meanwhile_forbids_the_repetition() {
    let closed = "A skipped: window `freeze` forbids it until 12:00:00Z";
    let with = |run: Run| world(run).with_window(blackout("10:00:05", "12:00:00"));
    // Not before a look two minutes after the doubtful call: an experiment may still appear.
    check(&with(not_found(starting(), "10:00:10")), "10:00:14", &["wake 10:00:15"]);
    check(&with(not_found(starting(), "10:00:10")), "10:00:15", &["A look"]);
    check(&with(not_found(starting(), "10:01:59")), "10:02:10", &["A look"]);
    check(&with(not_found_for_long(starting(), "10:02:10")), "10:02:10", &[closed]);
}

#[test]
fn clock_that_is_set_forward_proves_no_absence() {
    let closed = "A skipped: window `freeze` forbids it until 12:00:00Z";
    let with = |run: Run| world(run).with_window(blackout("10:00:05", "12:00:00"));
    // By the clock the call was nine minutes ago; it may have been made just now.
    check(&with(not_found(starting(), "10:09:00")), "10:09:05", &["A look"]);
    let unclear = failed(starting(), "10:09:00", FailureClass::Timeout);
    check(&with(not_found(unclear, "10:09:01")), "10:09:06", &["A look"]);
    // A look that fails in between proves nothing either way.
    let half = (0..DOUBT_LOOKS / 2).fold(starting(), |run, _| not_found(run, "10:09:00"));
    let failure = CallFailure { class: FailureClass::Unavailable, message: String::new() };
    let observed = react::look(&half, Err(failure), t("10:09:05"));
    let half = applied(half, &[("10:09:05", observed)]);
    let almost = (1..DOUBT_LOOKS / 2).fold(half, |run, _| not_found(run, "10:09:10"));
    check(&with(almost.clone()), "10:09:15", &["A look"]);
    check(&with(not_found(almost, "10:09:15")), "10:09:15", &[closed]);
}

#[test]
fn further_call_without_an_answer_is_doubted_anew() {
    let run = not_found_for_long(failed(starting(), "10:00:01", FailureClass::Timeout), "10:03:00");
    let again = failed(asked(run, "10:03:05"), "10:03:50", FailureClass::Timeout);
    let with = |run: Run| world(run).with_window(blackout("10:03:30", "12:00:00"));
    check(&with(not_found(again, "10:03:50")), "10:03:55", &["A look"]);
}

#[test]
fn other_guards_forbid_the_repetition_as_well() {
    let run = not_found_for_long(starting(), "10:02:10");
    let going = running(slot_run("09:50:00"), "09:50:00");
    let with_other = World::of(experiment(), vec![run.clone(), going.clone()]);
    assert_eq!(with_other.says(t("10:02:15"))[0], "A skipped: run B of the same experiment is going on");
    let both = World::of(Experiment { overlap: Overlap::Allow, ..experiment() }, vec![run.clone(), going]);
    assert_eq!(both.says(t("10:02:15"))[0], "A start EXT1");
    check(&world(run.clone()).with_stop(), "10:02:15", &["A skipped: taken back by bob"]);
    let halted = world(run.clone()).with_halt(firedrill::domain::plan::HaltRunning::Finish);
    check(&halted, "10:02:15", &["A skipped: all chaos is halted by ann"]);
    check(&world(run.clone()), "10:10:00.1", &["A skipped: it could not start by 10:10:00Z"]);
    let mut gone = world(run.clone());
    gone.rules.experiments = BTreeMap::from([(name("other"), Experiment { name: name("other"), ..experiment() })]);
    check(&gone, "10:02:15", &["A skipped: the experiment is no longer in the configuration"]);
    let crossing = world(run).with_window(blackout("10:12:00", "13:00:00"));
    let crossed = "A skipped: it could run until 10:12:15Z, but window `freeze` forbids it from 10:12:00Z";
    check(&crossing, "10:02:15", &[crossed]);
}

#[test]
fn throttled_or_over_quota_is_repeated_with_growing_pauses_until_the_deadline() {
    for class in [FailureClass::Throttled, FailureClass::Quota, FailureClass::Credentials] {
        let once = failed(starting(), "10:00:00", class);
        check(&world(once.clone()), "10:00:01.999", &["wake 10:00:02"]);
        check(&world(once.clone()), "10:00:02", &["A start EXT1"]);
        let twice = failed(asked(once, "10:00:02"), "10:00:02", class);
        check(&world(twice.clone()), "10:00:05.999", &["wake 10:00:06"]);
        // The template that it was judged by has aged meanwhile.
        check(&world(twice.clone()), "10:10:00", &["A read template"]);
        check(&world(twice), "10:10:00.1", &["A skipped: it could not start by 10:10:00Z"]);
    }
}

#[test]
fn refusal_that_will_not_change_ends_the_run() {
    for (class, shown) in
        [(FailureClass::Denied, "denied"), (FailureClass::NotFound, "not-found"), (FailureClass::Invalid, "invalid")]
    {
        let run = failed(starting(), "10:00:00", class);
        check(&world(run), "10:00:00", &[&format!("A finished: FIS refused to start it ({shown}): no")]);
    }
}

#[test]
fn refusal_after_a_doubtful_call_waits_for_certainty_and_is_not_asked_again() {
    let run = not_found(failed(starting(), "10:00:01", FailureClass::Timeout), "10:00:02");
    let run = failed(asked(run, "10:00:07"), "10:00:07", FailureClass::Denied);
    check(&world(run.clone()), "10:00:07", &["A look"]);
    let run = not_found(run, "10:00:08");
    check(&world(run.clone()), "10:00:12", &["wake 10:00:13"]);
    check(&world(run.clone()), "10:00:13", &["A look"]);
    let run = not_found_for_long(run, "10:02:15");
    check(&world(run), "10:02:15", &["A finished: FIS refused to start it (denied): no"]);
}

#[test]
fn look_found_nothing_after_a_refusal_keeps_the_retrys_own_time() {
    let run = not_found(failed(starting(), "10:00:01", FailureClass::Timeout), "10:00:02");
    let run = failed(asked(run, "10:00:07"), "10:00:07", FailureClass::Throttled);
    // The second refusal in a row: four seconds.
    check(&world(run.clone()), "10:00:08", &["wake 10:00:11"]);
    check(&world(run), "10:00:11", &["A start EXT1"]);
}
