//! Runs that go on: how often FIS is asked, what stops them, when they end, and when they count as lost.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Place, Ties},
    fis::{CallFailure, FailureClass, FisStatus},
    plan::{HaltRunning, LOST_AFTER_FAILURES, LOST_AFTER_UNKNOWN, Mode, Withheld},
    react,
    run::{Adopted, Observation, Run, RunState, StopCause},
    window::{NameGlob, OnEntry, Scope, Window, WindowKind, Windows},
};
use jiff::SignedDuration;

use super::check;
use crate::support::world::{World, applied, asked, blackout, experiment, fis, read, running, slot_run, t, window};

/// A run that was seen running at 10:00.
fn going() -> Run {
    running(slot_run("10:00:00"), "10:00:00")
}

/// The run after FIS said at an instant that it goes on.
fn seen(run: Run, at: &str) -> Run {
    applied(run, &[(at, Observation::Polled { fis: fis(FisStatus::Running, t("10:00:00")) })])
}

fn unseen(run: Run, at: &str, class: FailureClass) -> Run {
    let observed = react::poll(Err(CallFailure { class, message: String::new() }));
    applied(run, &[(at, observed)])
}

fn stopping(run: Run, at: &str) -> Run {
    applied(run, &[(at, Observation::StopAsked { cause: StopCause::MaxDuration })])
}

fn world(run: Run) -> World {
    World::of(experiment(), vec![run])
}

#[test]
fn experiment_is_polled_often_at_first_and_seldom_later() {
    check(&world(going()), "10:00:01.999", &["wake 10:00:02"]);
    check(&world(going()), "10:00:02", &["A poll"]);
    check(&world(seen(going(), "10:00:58")), "10:00:58", &["wake 10:01:00"]);
    check(&world(seen(going(), "10:01:00")), "10:01:00", &["wake 10:01:10"]);
    check(&world(seen(going(), "10:30:00")), "10:30:10", &["A poll"]);
    // The clock was set back: the last answer lies in the future.
    check(&world(seen(going(), "10:30:00")), "10:20:00", &["A poll"]);
}

#[test]
fn experiment_of_which_fis_told_is_polled_at_once_but_not_within_a_second() {
    let told = |run: Run, at: &str| {
        let fis_id = run.fis.as_ref().expect("an experiment").id.clone();
        World { hints: BTreeMap::from([(fis_id, t(at))]), ..world(run) }
    };
    let going = || seen(going(), "10:30:00");
    check(&world(going()), "10:30:05", &["wake 10:30:10"]);
    check(&told(going(), "10:30:05"), "10:30:05", &["A poll"]);
    check(&told(going(), "10:30:00.500"), "10:30:00.600", &["wake 10:30:01"]);
    check(&told(going(), "10:30:00.500"), "10:30:01", &["A poll"]);
    // It was asked after that.
    check(&told(going(), "10:29:59"), "10:30:05", &["wake 10:30:10"]);
    // It was told before the clock was set back.
    check(&told(going(), "10:45:00"), "10:30:05", &["wake 10:30:10"]);
    // FIS does not answer: being asked more often does not help it.
    let failing = unseen(going(), "10:30:10", FailureClass::Throttled);
    check(&told(failing, "10:30:12"), "10:30:12", &["wake 10:30:30"]);
    let foreign = World { hints: BTreeMap::from([("EXPforeign".to_owned(), t("10:30:05"))]), ..world(going()) };
    check(&foreign, "10:30:05", &["wake 10:30:10"]);
}

#[test]
fn polls_that_fail_become_rarer_up_to_a_minute() {
    let once = unseen(going(), "10:00:02", FailureClass::Unavailable);
    check(&world(once.clone()), "10:00:02", &["wake 10:00:06"]);
    let many = (3..20).fold(once, |run, second| unseen(run, &format!("10:00:{second:02}"), FailureClass::Timeout));
    check(&world(many), "10:00:19", &["wake 10:01:19"]);
}

#[test]
fn experiment_that_ended_finishes_the_run() {
    let ended =
        applied(going(), &[("10:00:02", Observation::Polled { fis: fis(FisStatus::Completed, t("10:00:00")) })]);
    check(&world(ended), "10:00:02", &["A finished: every action completed"]);
}

#[test]
fn stop_has_its_cause_in_one_order() {
    let freeze = || world(going()).with_window(blackout("10:00:01", "12:00:00"));
    let all = World { mode: Mode::DrainingWithStop, ..freeze().with_halt(HaltRunning::Stop).with_stop() };
    check(&all, "11:00:00", &["A stop: operator bob"]);
    let no_stop = World { stops: Default::default(), ..all };
    check(&no_stop, "11:00:00", &["A stop: a halt by ann"]);
    let no_halt = World { halt: None, ..no_stop };
    check(&no_halt, "11:00:00", &["A stop: the agent's shutdown"]);
    let active = World { mode: Mode::Active, ..no_halt };
    check(&active, "11:00:00", &["A stop: its `max_duration`"]);
    check(&World { withheld: Withheld::All, ..active.clone() }, "11:00:00", &["A stop: its `max_duration`"]);
    check(&active, "10:00:01", &["A stop: window `freeze`"]);
    check(&active, "10:00:00", &["wake 10:00:01"]);
}

#[test]
fn halt_may_let_runs_finish() {
    check(&world(going()).with_halt(HaltRunning::Finish), "10:00:00", &["wake 10:00:02"]);
    let draining = World { mode: Mode::Draining, ..world(going()) };
    check(&draining, "10:00:00", &["wake 10:00:02"]);
}

#[test]
fn window_stops_a_run_its_lead_before_it_opens() {
    let opens = |on_entry| {
        world(seen(going(), "10:10:00")).with_window(window(
            "freeze",
            WindowKind::Blackout,
            "10:20:00",
            "11:00:00",
            on_entry,
        ))
    };
    let lead = OnEntry::Stop { lead: SignedDuration::from_secs(595) };
    check(&opens(lead), "10:10:04", &["wake 10:10:05"]);
    check(&opens(lead), "10:10:05", &["A stop: window `freeze`"]);
    let none = OnEntry::Stop { lead: SignedDuration::ZERO };
    check(&opens(none), "10:10:05", &["wake 10:10:10"]);
    check(&opens(none), "10:20:00", &["A stop: window `freeze`"]);
    check(&opens(OnEntry::Finish), "10:20:00", &["A poll"]);
    // What begins at its end is not stopped by it.
    check(&opens(none), "11:00:00", &["A stop: its `max_duration`"]);
}

#[test]
fn end_of_an_allowed_window_stops_a_run() {
    let stop = OnEntry::Stop { lead: SignedDuration::from_mins(1) };
    let office = window("office", WindowKind::Allowed, "09:00:00", "10:20:00", stop);
    let world = world(seen(going(), "10:18:59")).with_window(office);
    check(&world, "10:18:59", &["wake 10:19:00"]);
    check(&world, "10:19:00", &["A stop: window `office`"]);
}

#[test]
fn run_longer_than_its_limit_is_stopped() {
    check(&world(seen(going(), "10:59:55")), "10:59:55", &["wake 11:00:00"]);
    check(&world(seen(going(), "10:59:55")), "11:00:00", &["A stop: its `max_duration`"]);
}

#[test]
fn limit_counts_from_the_experiments_own_start_when_it_was_found_late() {
    let fis = fis(FisStatus::Running, t("10:00:00"));
    let found = [("10:40:00", Observation::Started { fis, adopted: Adopted::ByTag })];
    let world = world(applied(asked(slot_run("10:00:00"), "10:00:00"), &found));
    check(&world, "10:59:59", &["A poll"]);
    check(&world, "11:00:00", &["A stop: its `max_duration`"]);
}

#[test]
fn experiment_that_left_the_configuration_is_watched_and_bound_by_windows() {
    let mut gone = world(going()).with_window(blackout("10:30:00", "11:00:00"));
    gone.rules.experiments.clear();
    check(&gone, "10:00:02", &["A poll"]);
    check(&gone, "10:30:00", &["A stop: window `freeze`"]);
    gone.rules.windows = Windows::default();
    check(&gone, "11:30:00", &["A poll"]);
    check(&gone, "22:00:00", &["A stop: its `max_duration`"]);
}

#[test]
fn experiment_that_left_the_configuration_is_bound_by_the_length_it_was_begun_with() {
    let declared = Experiment { max_duration: SignedDuration::from_mins(5), ..experiment() };
    let mut gone = World::of(declared.clone(), vec![going()]);
    gone.runs[0].ties = Some(Box::new(Ties::of(&declared)));
    gone.rules.experiments.clear();
    gone.runs[0] = seen(gone.runs[0].clone(), "10:04:55");
    check(&gone, "10:04:59.999", &["wake 10:05:00"]);
    check(&gone, "10:05:00", &["A stop: its `max_duration`"]);
    // What is declared says how long it may take now.
    gone.rules.experiments.insert(declared.name.clone(), experiment());
    check(&gone, "10:05:00", &["wake 10:05:05"]);
}

#[test]
fn experiment_that_left_the_configuration_is_where_it_runs_and_of_any_environment() {
    let here = Place {
        region: Some("eu-west-1".to_owned()),
        role_arn: Some("arn:aws:iam::123456789012:role/chaos".to_owned()),
        ..Place::default()
    };
    let mut run = going();
    if let RunState::Running { place, .. } = &mut run.state {
        *place = here;
    }
    let stops = |scope: Scope| {
        let mut gone = world(run.clone()).with_window(Window { scope, ..blackout("10:00:00", "11:00:00") });
        gone.rules.experiments.clear();
        gone.says(t("10:30:00")).iter().any(|said| said.contains("stop: window `freeze`"))
    };
    let glob = |text: &str| vec![NameGlob::new(text)];
    assert!(stops(Scope { environments: glob("prod"), ..Scope::default() }));
    assert!(stops(Scope { regions: glob("eu-*"), accounts: vec!["123456789012".to_owned()], ..Scope::default() }));
    assert!(!stops(Scope { regions: glob("us-*"), ..Scope::default() }));
    assert!(!stops(Scope { accounts: vec!["210987654321".to_owned()], ..Scope::default() }));
}

/// A configuration may move an experiment; what was begun of it goes on where it is.
#[test]
fn experiment_that_was_moved_is_bound_by_windows_about_where_it_was_begun() {
    let place = |region: &str, account: &str| Place {
        region: Some(region.to_owned()),
        role_arn: Some(format!("arn:aws:iam::{account}:role/chaos")),
        ..Place::default()
    };
    let (here, there) = (place("eu-west-1", "123456789012"), place("us-east-1", "210987654321"));
    let moved = |mut run: Run, scope: Scope| {
        if let RunState::Running { place, .. } | RunState::Starting { place, .. } = &mut run.state {
            *place = here.clone();
        }
        let declared = Experiment { account: there.account(), place: there.clone(), ..experiment() };
        let window = Window { scope, ..blackout("10:00:00", "11:00:00") };
        World::of(declared, vec![run]).with_window(window).says(t("10:30:00")).join("\n")
    };
    let regions = |text: &str| Scope { regions: vec![NameGlob::new(text)], ..Scope::default() };
    let accounts = |text: &str| Scope { accounts: vec![text.to_owned()], ..Scope::default() };
    let refused = || {
        let retry_at = t("10:30:00");
        let class = FailureClass::Throttled;
        let observation = Observation::StartRefused { class, message: String::new(), retry_at };
        applied(asked(read(slot_run("10:29:00"), "10:29:00", 60), "10:29:00"), &[("10:29:01", observation)])
    };
    for (scope, is_bound) in [
        (regions("eu-*"), true),
        (accounts("123456789012"), true),
        (regions("us-*"), false),
        (accounts("210987654321"), false),
    ] {
        let (stopped, skipped) = (moved(going(), scope.clone()), moved(refused(), scope.clone()));
        assert_eq!(stopped.contains("stop: window `freeze`"), is_bound, "{scope:?}: {stopped}");
        assert_eq!(skipped.contains("skipped"), is_bound, "{scope:?}: {skipped}");
    }
}

#[test]
fn stop_is_asked_for_until_fis_takes_it() {
    let run = stopping(going(), "10:00:01");
    check(&world(run.clone()), "10:00:01", &["A stop: its `max_duration`"]);
    let throttled = CallFailure { class: FailureClass::Throttled, message: String::new() };
    let once = react::stop(&run, Err(throttled.clone()), t("10:00:01"));
    let run = applied(run, &[("10:00:01", once)]);
    check(&world(run.clone()), "10:00:01", &["wake 10:00:02"]);
    check(&world(run.clone()), "10:00:02", &["A poll"]);
    check(&world(run.clone()), "10:00:03", &["A stop: its `max_duration`"]);
    let twice = react::stop(&run, Err(throttled), t("10:00:03"));
    let run = applied(seen(run, "10:00:03"), &[("10:00:03", twice)]);
    check(&world(run.clone()), "10:00:04", &["wake 10:00:05"]);
    let taken = applied(seen(run, "10:00:07"), &[("10:00:07", Observation::StopTaken)]);
    check(&world(taken.clone()), "10:00:08", &["wake 10:00:09"]);
    let stopped = fis(FisStatus::Stopped, t("10:00:00"));
    let ended = applied(taken, &[("10:00:09", Observation::Polled { fis: stopped })]);
    check(&world(ended), "10:00:09", &["A finished: stopped by its `max_duration`"]);
}

/// The run after nine failures within nine seconds, from 10:00:02 on.
fn nine_times(run: Run, class: FailureClass) -> Run {
    (2..11).fold(run, |run, second| unseen(run, &format!("10:00:{second:02}"), class))
}

#[test]
fn experiment_that_fis_denies_ten_times_over_a_quarter_of_an_hour_is_lost() {
    let lost = "A finished: FIS told nothing of it for too long (not-found)";
    let nine = nine_times(going(), FailureClass::NotFound);
    check(&world(unseen(nine.clone(), "10:15:01.9", FailureClass::NotFound)), "10:17:00", &["A poll"]);
    check(&world(unseen(nine, "10:15:02", FailureClass::NotFound)), "10:15:02", &[lost]);
}

#[test]
fn experiment_is_not_lost_without_having_been_asked_for() {
    // The agent was away; nobody asked FIS meanwhile.
    let denied_once = unseen(going(), "10:00:02", FailureClass::NotFound);
    check(&world(denied_once), "10:30:00", &["A poll"]);
    let stopping = stopping(seen(going(), "10:00:02"), "10:00:02");
    let taken = applied(stopping, &[("10:00:02", Observation::StopTaken)]);
    check(&world(taken), "2026-03-04T10:00:00Z", &["A poll"]);
}

#[test]
fn one_denial_after_an_outage_is_not_a_quarter_of_an_hour_of_denials() {
    let outage = nine_times(going(), FailureClass::Unavailable);
    let denied = unseen(unseen(outage, "10:20:00", FailureClass::Unavailable), "10:21:00", FailureClass::NotFound);
    check(&world(denied.clone()), "10:21:00", &["wake 10:22:00"]);
    check(&world(unseen(denied, "10:36:00", FailureClass::NotFound)), "10:36:00", &["wake 10:37:00"]);
}

#[test]
fn experiment_that_fis_tells_nothing_of_is_stopped_and_lost_after_thirteen_hours() {
    let taken = |told: &str| applied(stopping(going(), told), &[(told, Observation::StopTaken)]);
    let many = |run| (1..LOST_AFTER_FAILURES).fold(run, |run, _| unseen(run, "10:00:10", FailureClass::Timeout));
    let silent = |told, last| unseen(many(taken(told)), last, FailureClass::Timeout);
    let lost = "A finished: FIS told nothing of it for too long (timeout)";
    check(&world(silent("22:00:00", "23:00:00")), "23:00:00", &[lost]);
    check(&world(silent("22:00:00", "22:59:59")), "22:59:59", &["wake 23:00:59"]);
    check(&world(silent("22:00:01", "23:00:00")), "23:00:00", &["wake 23:01:00"]);
    // The clock was set forward: ten silences are some minutes, whatever it says.
    let ten = unseen(nine_times(taken("22:00:00"), FailureClass::Timeout), "23:00:00", FailureClass::Timeout);
    check(&world(ten), "23:00:00", &["wake 23:01:00"]);
    // One silence after many answers proves nothing, and what FIS says goes on is not lost.
    check(&world(unseen(taken("22:00:00"), "23:00:00", FailureClass::Timeout)), "23:00:00", &["wake 23:00:20"]);
    // It is told to stop again.
    check(&world(seen(taken("22:00:00"), "23:00:00")), "23:00:00", &["A stop: its `max_duration`"]);
    let unknown = |times: u32| {
        let observed = Observation::Polled { fis: fis(FisStatus::from_text("paused"), t("10:00:00")) };
        applied(taken("22:00:00"), &vec![("23:00:00", observed); times as usize])
    };
    // However far the clock was set forward, it was asked for thirteen hours.
    check(&world(unknown(LOST_AFTER_UNKNOWN - 1)), "23:00:00", &["wake 23:00:10"]);
    let unreadable = "A finished: FIS told nothing of it for too long (unreadable)";
    check(&world(unknown(LOST_AFTER_UNKNOWN)), "23:00:00", &[unreadable]);
}

#[test]
fn status_that_nobody_knows_keeps_the_run_open() {
    let unknown = fis(FisStatus::from_text("paused"), t("10:00:00"));
    let run = applied(going(), &[("10:00:02", Observation::Polled { fis: unknown })]);
    check(&world(run), "10:00:04", &["A poll"]);
}
