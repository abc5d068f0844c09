//! What users of other schedulers suffered from: each bug story, and each pain and trap about schedules, as a test.
//!
//! The numbers are those of the list of stories (`story`) and of the list of pains (`pain`) that the product was built from;
//! stories of one cause share a test.

use firedrill::domain::{
    experiment::Experiment,
    fis::{CallFailure, FailureClass, FisStatus},
    plan::NOT_FOUND_LOST_AFTER,
    react,
    run::Observation,
    schedule::{MissedPolicy, Schedule},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{at, check, zone};
use crate::support::{
    runs::name,
    world::{World, applied, experiment, fis, opened_at, read, running, schedule, slot_run, t},
};

fn world(expression: &str, missed: MissedPolicy) -> World {
    World::of(Experiment { schedules: vec![schedule("nightly", expression, missed)], ..experiment() }, Vec::new())
}

fn opened(world: &mut World, now: &str) -> Vec<&'static str> {
    opened_at(world, now).iter().map(|run| run.state.as_str()).collect()
}

/// Walks a schedule, and lets a condition hold for each slot and the one before it.
fn walk(schedule: &Schedule, from: &str, until: &str, mut holds: impl FnMut(Timestamp, Timestamp)) -> usize {
    let (mut last, until) = (at(from), at(until));
    let mut count = 0;
    while let Some(slot) = schedule.next_after(last).filter(|slot| slot.at < until) {
        holds(last, slot.at);
        (last, count) = (slot.at, count + 1);
    }
    count
}

#[test]
fn story_01_02_pain_01_a_hundred_missed_slots_and_more_stop_no_schedule() {
    for (expression, down_since) in [("* * * * *", "07:00:00"), ("*/20 * * * * *", "09:20:00")] {
        let mut world = world(expression, MissedPolicy::Latest).with_cursor("nightly", down_since);
        assert_eq!(opened(&mut world, "10:00:00"), ["skipped", "requested"], "{expression}");
        assert_eq!(opened(&mut world, "10:01:00").last(), Some(&"requested"), "{expression}");
    }
}

#[test]
fn story_03_pain_03_thursday_means_thursday_and_nothing_starts_when_it_is_applied() {
    let weekly = super::schedule("0 18 * * 4", "Asia/Shanghai");
    let count = walk(&weekly, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", |_, slot| {
        let local = slot.to_zoned(zone("Asia/Shanghai")).strftime("%a %H:%M").to_string();
        assert_eq!(local, "Thu 18:00");
    });
    assert_eq!(count, 53);
    let mut applied = world("0 18 * * 4", MissedPolicy::Latest);
    assert_eq!(opened(&mut applied, "18:00:01"), Vec::<&str>::new());
}

#[test]
fn story_04_pain_02_five_seconds_deadline_with_overlap_skip_still_starts() {
    let mut world = world("0 * * * *", MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    world.rules.experiments.get_mut(&name("probe")).expect("probe").schedules[0].start_deadline =
        SignedDuration::from_secs(5);
    let run = opened_at(&mut world, "10:00:01").pop().expect("a run");
    world.runs.push(read(run, "10:00:02", 600));
    assert_eq!(world.says(t("10:00:02")), ["A start EXT1"]);
}

#[test]
fn story_05_06_pain_11_passes_and_restarts_around_a_slot_run_it_once_and_no_other() {
    let mut world = world("0 10 * * *", MissedPolicy::Latest).with_cursor("nightly", "04:00:00");
    let mut count = 0;
    for now in ["04:00:00", "09:59:59", "10:00:00", "10:00:00.054", "10:00:01", "10:05:00", "16:00:00"] {
        count += opened_at(&mut world, now).len();
    }
    assert_eq!(count, 1);
    assert_eq!(opened(&mut world, "2026-03-03T10:00:00Z"), ["requested"], "the next day's slot is not skipped");
}

#[test]
fn story_07_08_19_pain_06_the_night_of_a_clock_change_runs_once_or_elapses() {
    // 02:00 in Berlin on the day on which it came twice, and on the one on which it did not come.
    check(
        "0 2 * * *",
        "Europe/Berlin",
        "2023-10-28T12:00:00Z",
        &["2023-10-29 02:00:00 +02:00", "2023-10-30 02:00:00 +01:00"],
    );
    check(
        "0 2 * * *",
        "Europe/Berlin",
        "2023-03-25T12:00:00Z",
        &["2023-03-26 03:00:00 +02:00 !", "2023-03-27 02:00:00 +02:00"],
    );
    // Half-hourly in the repeated hour: both passes, with fixed seconds too.
    for (expression, step) in [("*/30 * * * *", 1_800), ("0 0,15,30,45 * * * *", 900)] {
        let often = super::schedule(expression, "America/New_York");
        walk(&often, "2026-10-31T00:00:00Z", "2026-11-03T00:00:00Z", |last, slot| {
            assert_eq!(slot.duration_since(last).as_secs(), step, "{expression} at {slot}");
        });
    }
}

#[test]
fn story_09_pain_07_nothing_stops_or_shifts_at_a_clock_change() {
    for (zone_name, expression) in
        [("Europe/Berlin", "0 9 * * *"), ("America/Chicago", "0 9 * * *"), ("America/Santiago", "30 9 * * *")]
    {
        let daily = super::schedule(expression, zone_name);
        let count = walk(&daily, "2020-01-01T12:00:00Z", "2030-01-01T12:00:00Z", |_, slot| {
            assert_eq!(slot.to_zoned(zone(zone_name)).hour(), 9);
        });
        assert_eq!(count, 3_653, "{zone_name}");
    }
}

#[test]
fn story_10_a_schedule_in_utc_knows_no_other_zone() {
    let hourly = super::schedule("0 * * * *", "UTC");
    let count = walk(&hourly, "2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z", |last, slot| {
        assert_eq!(slot.duration_since(last), SignedDuration::from_hours(1));
    });
    assert_eq!(count, 47);
}

#[test]
fn story_11_12_13_times_only_rise_and_no_day_is_lost() {
    for zone_name in
        ["Africa/Cairo", "America/Santiago", "America/Asuncion", "Asia/Beirut", "Europe/London", "Asia/Tehran"]
    {
        let midnight = super::schedule("0 0 * * *", zone_name);
        let mut last_day = None;
        walk(&midnight, "2015-01-01T12:00:00Z", "2027-01-01T12:00:00Z", |last, slot| {
            assert!(slot > last);
            let day = slot.to_zoned(zone(zone_name)).date();
            let follows = last_day.replace(day).is_none_or(|last| last.tomorrow().ok() == Some(day));
            assert!(follows, "{day} in {zone_name}");
        });
    }
}

#[test]
fn story_14_each_day_around_a_change_has_exactly_one_run() {
    let daily = super::schedule("30 2 * * *", "America/New_York");
    for day in ["2026-03-07", "2026-03-08", "2026-03-09", "2026-10-31", "2026-11-01", "2026-11-02"] {
        let day: jiff::civil::Date = day.parse().expect("a date");
        let midnight = |day: jiff::civil::Date| day.to_zoned(zone("America/New_York")).expect("a day").timestamp();
        let before = midnight(day) - SignedDuration::from_nanos(1);
        assert_eq!(daily.count_in(before, midnight(day.tomorrow().expect("a day")), 9), 1, "{day}");
    }
}

#[test]
fn story_15_trap_clock_set_back_freezes_nothing_and_forward_bursts_nothing() {
    let mut back = world("*/5 * * * *", MissedPolicy::Latest).with_cursor("nightly", "10:00:00");
    assert_eq!(opened(&mut back, "09:00:00"), Vec::<&str>::new());
    assert_eq!(opened(&mut back, "10:05:00"), ["requested"]);
    let mut forward = world("*/5 * * * *", MissedPolicy::Latest).with_cursor("nightly", "10:00:00");
    assert_eq!(opened(&mut forward, "2026-03-05T10:00:00Z"), ["skipped", "requested"]);
}

#[test]
fn story_16_pain_05_suspended_or_stopped_overnight_it_goes_on_in_the_morning() {
    let mut world = world("30 * * * *", MissedPolicy::Latest).with_cursor("nightly", "2026-03-01T18:30:00Z");
    assert_eq!(opened(&mut world, "08:00:00"), ["skipped"]);
    assert_eq!(opened(&mut world, "08:30:00"), ["requested"]);
}

#[test]
fn story_17_pain_10_a_new_leader_goes_on_where_the_old_one_stopped() {
    let mut world = world("0 * * * *", MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let lost = opened_at(&mut world.clone(), "10:00:00");
    // The old leader died before its record was written.
    let taken_over = opened_at(&mut world, "10:00:20");
    assert_eq!(taken_over[0].id, lost[0].id);
    assert_eq!(opened(&mut world, "11:00:00"), ["requested"]);
}

#[test]
fn story_18_a_repeated_start_carries_the_same_token() {
    assert_eq!(slot_run("10:00:00").id.client_token(), slot_run("10:00:00").id.client_token());
    assert_ne!(slot_run("10:00:00").id.client_token(), slot_run("11:00:00").id.client_token());
}

#[test]
fn pain_04_stale_runs_do_not_block_a_schedule_for_good() {
    let mut stale = running(slot_run("08:00:00"), "08:00:00");
    let mut now = t("08:00:02");
    while now <= t("08:00:02") + NOT_FOUND_LOST_AFTER {
        let gone = react::poll(Err(CallFailure { class: FailureClass::NotFound, message: String::new() }));
        stale = applied(stale, &[(&now.to_string(), gone)]);
        now += SignedDuration::from_secs(60);
    }
    let mut world = world("0 * * * *", MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    world.runs.push(stale.clone());
    let said = world.says(now);
    assert!(said[0].starts_with("A finished"), "{said:?}");
    world.runs =
        vec![applied(stale, &[("09:00:00", Observation::Polled { fis: fis(FisStatus::Completed, t("08:00:00")) })])];
    let run = opened_at(&mut world, "10:00:00").pop().expect("a run");
    assert_eq!(run.state.as_str(), "requested");
}

#[test]
fn pain_08_ten_seconds_deadline_misses_no_day() {
    let mut world = world("0 6 * * *", MissedPolicy::Latest).with_cursor("nightly", "2026-03-01T06:00:00Z");
    world.rules.experiments.get_mut(&name("probe")).expect("probe").schedules[0].start_deadline =
        SignedDuration::from_secs(10);
    for day in 2..=31 {
        // The wall clock is looked at at least every second.
        let late = format!("2026-03-{day:02}T06:00:01Z");
        assert_eq!(opened(&mut world, &late), ["requested"], "{late}");
    }
}

#[test]
fn pain_09_runs_that_were_lost_while_down_are_on_record() {
    let mut world = world("0 * * * *", MissedPolicy::Skip).with_cursor("nightly", "05:00:00");
    let record = opened_at(&mut world, "10:30:00").pop().expect("a record");
    let said = match &record.state {
        firedrill::domain::run::RunState::Skipped { reason, .. } => reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(said, "5 slots up to 2026-03-02T10:00:00Z passed while the agent was away");
}

#[test]
fn trap_three_days_down_with_a_minutely_schedule_is_one_decision_and_bounded_work() {
    let mut world = world("* * * * *", MissedPolicy::Latest).with_cursor("nightly", "2026-02-27T10:00:00Z");
    assert_eq!(opened(&mut world, "10:00:00"), ["skipped", "requested"]);
}

#[test]
fn trap_dates_are_those_of_the_schedules_zone() {
    check("0 1 1 * *", "Pacific/Kiritimati", "2026-02-15T00:00:00Z", &["2026-03-01 01:00:00 +14:00"]);
    check("0 23 L * *", "Pacific/Pago_Pago", "2026-02-15T00:00:00Z", &["2026-02-28 23:00:00 -11:00"]);
    let sunday = super::schedule("0 1 * * SUN", "Asia/Tokyo").next_after(at("2026-02-25T00:00:00Z")).expect("a slot");
    assert_eq!(sunday.at.to_zoned(TimeZone::UTC).strftime("%a").to_string(), "Sat");
}
