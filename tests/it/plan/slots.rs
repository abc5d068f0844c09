//! Slots: adopted, opened once, missed as one, forgotten; and clocks that jump.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Experiment,
    plan::{Mode, Withheld},
    run::RunState,
    schedule::{MissedPolicy, Schedule},
};
use jiff::SignedDuration;

use super::check;
use crate::support::{
    runs::name,
    world::{World, experiment, opened_at, schedule, short, slot_run, t},
};

const HOURLY: &str = "0 * * * *";

fn world(schedules: Vec<Schedule>) -> World {
    World::of(Experiment { schedules, ..experiment() }, Vec::new())
}

fn hourly(missed: MissedPolicy) -> World {
    world(vec![schedule("nightly", HOURLY, missed)])
}

#[test]
fn new_schedule_is_adopted_and_fires_nothing() {
    check(&hourly(MissedPolicy::Latest), "10:00:00", &["adopt nightly at 10:00:00"]);
    let mut world = hourly(MissedPolicy::Latest);
    assert_eq!(opened_at(&mut world, "10:00:00"), []);
    check(&world, "10:00:00", &["wake 11:00:00"]);
}

#[test]
fn schedule_that_left_is_remembered_for_a_day_and_is_new_after_that() {
    let leaves = ["leave nightly at 10:00:00"];
    check(&world(Vec::new()).with_cursor("nightly", "08:00:00"), "10:00:00", &leaves);
    let mut gone = hourly(MissedPolicy::Latest).with_cursor("nightly", "08:00:00");
    gone.rules.experiments.clear();
    check(&gone, "10:00:00", &leaves);
    opened_at(&mut gone, "10:00:00");
    let tomorrow = |time: &str| format!("2026-03-03T{time}Z");
    check(&gone, "10:00:00", &["wake 2026-03-03T10:00:00"]);
    check(&gone, &tomorrow("09:59:59"), &["wake 2026-03-03T10:00:00"]);
    opened_at(&mut gone, &tomorrow("10:00:00"));
    let back = World { cursors: gone.cursors, ..hourly(MissedPolicy::Latest) };
    check(&back, &tomorrow("10:30:00"), &["adopt nightly at 2026-03-03T10:30:00"]);
}

#[test]
fn schedule_that_is_back_records_what_it_would_have_named_and_starts_nothing_late() {
    for missed in [MissedPolicy::Skip, MissedPolicy::Latest, MissedPolicy::All { most: 9 }] {
        let mut back = hourly(missed).with_cursor("nightly", "09:00:00");
        back.cursors.values_mut().for_each(|cursor| cursor.left_at = Some(t("09:30:00")));
        check(&back, "09:59:59", &["adopt nightly at 09:59:59"]);
        check(&back, "10:00:00", &["open nightly to 10:00:00: absent 1 from 10:00:00 through 10:00:00"]);
        check(&back, "12:01:00", &["open nightly to 12:00:00: absent 3 from 10:00:00 through 12:00:00"]);
        // A clock that was set back sees it leave later than now.
        check(&back, "08:00:00", &["adopt nightly at 08:00:00"]);
        let run = opened_at(&mut back, "12:01:00").pop().expect("a run");
        let RunState::Skipped { reason, .. } = &run.state else { panic!("{:?}", run.state) };
        let said = "3 slots up to 2026-03-02T12:00:00Z passed while its schedule was not in the configuration";
        assert_eq!(reason.to_string(), said);
        assert_ne!(run.id, slot_run("10:00:00").id, "beside what other times of its name have taken up meanwhile");
        check(&back, "12:01:00", &["wake 13:00:00"]);
    }
}

#[test]
fn edited_schedule_is_new_and_fires_nothing() {
    let edited = world(vec![schedule("nightly", "30 * * * *", MissedPolicy::Latest)]);
    let before = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let after = World { cursors: before.cursors, ..edited };
    check(&after, "09:45:00", &["adopt nightly at 09:45:00", "leave nightly at 09:45:00"]);
}

#[test]
fn slot_is_opened_at_its_instant_and_not_before() {
    for missed in [MissedPolicy::Skip, MissedPolicy::Latest] {
        let world = hourly(missed).with_cursor("nightly", "09:00:00");
        check(&world, "09:59:59.999999999", &["wake 10:00:00"]);
        check(&world, "10:00:00", &["open nightly to 10:00:00: requested 10:00:00"]);
        check(&world.with_cursor("nightly", "10:00:00"), "10:00:00", &["wake 11:00:00"]);
    }
}

#[test]
fn slot_seen_late_is_run_within_its_deadline_as_the_policy_says() {
    let requested = "open nightly to 10:00:00: requested 10:00:00";
    let missed = "open nightly to 10:00:00: missed 1 from 10:00:00 through 10:00:00";
    let skip = hourly(MissedPolicy::Skip).with_cursor("nightly", "09:00:00");
    check(&skip, "10:00:30", &[requested]);
    check(&skip, "10:00:30.000000001", &[missed]);
    let latest = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    check(&latest, "10:10:00", &[requested]);
    check(&latest, "10:10:00.000000001", &[missed]);
    // A deadline shorter than the tolerance of the policy counts.
    let mut short = schedule("nightly", HOURLY, MissedPolicy::Skip);
    short.start_deadline = SignedDuration::from_secs(5);
    let short = world(vec![short]).with_cursor("nightly", "09:00:00");
    check(&short, "10:00:05", &[requested]);
    check(&short, "10:00:05.1", &[missed]);
}

#[test]
fn several_missed_slots_become_one_record_and_at_most_one_run() {
    let latest = hourly(MissedPolicy::Latest).with_cursor("nightly", "07:00:00");
    let both = "open nightly to 10:00:00: missed 2 from 08:00:00 through 09:00:00, requested 10:00:00";
    check(&latest, "10:05:00", &[both]);
    check(&latest, "10:30:00", &["open nightly to 10:00:00: missed 3 from 08:00:00 through 10:00:00"]);
    let skip = hourly(MissedPolicy::Skip).with_cursor("nightly", "07:00:00");
    check(&skip, "10:05:00", &["open nightly to 10:00:00: missed 3 from 08:00:00 through 10:00:00"]);
    check(&skip, "10:00:10", &[both]);
}

#[test]
fn record_of_missed_slots_is_none_of_the_runs_that_had_one_of_them() {
    // A clock that was set back and two edits have it name again what was taken up under its name.
    let taken_up = |at: &str, now: &str| {
        opened_at(&mut hourly(MissedPolicy::Latest).with_cursor("nightly", at), now).into_iter().map(|run| run.id)
    };
    let run: Vec<_> = taken_up("09:00:00", "10:00:00").collect();
    let record: Vec<_> = taken_up("09:00:00", "12:30:00").collect();
    assert_eq!((run.len(), record.len()), (1, 1), "a run; a record of three slots, of which the first is its own");
    assert_ne!(run, record, "the store leaves a run that it knows as it is");
}

#[test]
fn ten_thousand_missed_slots_cost_no_more_than_their_count() {
    let world = world(vec![schedule("nightly", "* * * * * *", MissedPolicy::Latest)]);
    let world = world.with_cursor("nightly", "2026-02-01T00:00:00Z");
    let missed = "missed 10000 from 2026-02-01T00:00:01 through 09:59:59";
    check(&world, "10:00:00", &[&format!("open nightly to 10:00:00: {missed}, requested 10:00:00")]);
}

#[test]
fn clock_set_back_opens_no_slot_twice_and_later_ones_go_on() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    assert_eq!(opened_at(&mut world, "10:00:00").len(), 1);
    check(&world, "09:00:00", &["wake 11:00:00"]);
    assert_eq!(opened_at(&mut world, "09:30:00"), []);
    assert_eq!(opened_at(&mut world, "10:00:00"), []);
    assert_eq!(opened_at(&mut world, "11:00:00").len(), 1);
}

#[test]
fn clock_set_forward_three_days_starts_at_most_one_run() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "10:00:00");
    let opened = opened_at(&mut world, "2026-03-05T10:01:00Z");
    let states: Vec<&str> = opened.iter().map(|run| run.state.as_str()).collect();
    assert_eq!(states, ["skipped", "requested"]);
    assert_eq!(opened_at(&mut world, "2026-03-05T10:01:00Z"), []);
    // Set right again, nothing that was decided is decided again.
    assert_eq!(opened_at(&mut world, "12:00:00"), []);
}

#[test]
fn two_schedules_at_one_instant_are_two_runs() {
    let pair = vec![
        schedule("nightly", HOURLY, MissedPolicy::Latest),
        schedule("twice", "*/30 * * * *", MissedPolicy::Latest),
    ];
    let mut world = world(pair).with_cursor("nightly", "09:00:00").with_cursor("twice", "09:30:00");
    let both = ["open nightly to 10:00:00: requested 10:00:00", "open twice to 10:00:00: requested 10:00:00"];
    check(&world, "10:00:00", &both);
    let opened = opened_at(&mut world, "10:00:00");
    assert_ne!(opened[0].id, opened[1].id);
}

#[test]
fn same_slot_of_two_experiments_is_two_runs() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let other = Experiment { name: name("other"), ..world.rules.experiments[&name("probe")].clone() };
    world.rules.experiments.insert(name("other"), other);
    let timetable = world.rules.experiments[&name("probe")].schedules[0].timetable().clone();
    world.cursors.insert((name("other"), timetable), t("09:00:00").into());
    let opened = opened_at(&mut world, "10:00:00");
    assert_eq!(opened.len(), 2);
    assert_ne!(opened[0].id, opened[1].id);
}

#[test]
fn times_of_a_slots_run_follow_from_the_slot_and_not_from_now() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let run = opened_at(&mut world, "10:04:00").pop().expect("a run");
    let times = [run.opened_at, run.not_before, run.start_by].map(short);
    assert_eq!(times, ["10:04:00", "10:00:00", "10:10:00"]);
    assert_eq!(run.hold_until, None);
}

#[test]
fn nothing_is_opened_or_forgotten_of_what_a_row_that_cannot_be_read_is_about() {
    let world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00").with_cursor("gone", "09:00:00");
    for withheld in [Withheld::All, Withheld::Some([name("probe")].into())] {
        check(&World { withheld: withheld.clone(), ..world.clone() }, "10:00:00", &[]);
        // The cursor may be the very row.
        check(&World { cursors: BTreeMap::new(), withheld, ..world.clone() }, "10:00:00", &[]);
    }
}

#[test]
fn nothing_is_opened_while_the_agent_shuts_down() {
    let world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00").with_cursor("gone", "09:00:00");
    for mode in [Mode::Draining, Mode::DrainingWithStop] {
        check(&World { mode, ..world.clone() }, "10:00:00", &[]);
    }
    let none = World { cursors: BTreeMap::new(), mode: Mode::Draining, ..world };
    check(&none, "10:00:00", &[]);
}
