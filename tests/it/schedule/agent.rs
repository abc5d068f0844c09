//! The scenarios of clock changes, sixteen to twenty-four: what the agent makes of slots, whatever happens to it.
//!
//! The planner alone, over rows; the same under crashes and with FIS is in the simulation.

use firedrill::domain::{
    experiment::{Experiment, Rules},
    plan::{Effect, plan},
    run::Run,
    schedule::{Bounds, CronSchedule, MissedPolicy, Schedule, Spread, Timing},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::support::{
    runs::name,
    world::{World, experiment, opened_at, running, schedule, slot_run, t},
};

const HOURLY: &str = "0 * * * *";

fn world(schedules: Vec<Schedule>) -> World {
    World::of(Experiment { schedules, ..experiment() }, Vec::new())
}

fn hourly(missed: MissedPolicy) -> World {
    world(vec![schedule("nightly", HOURLY, missed)])
}

fn states(runs: &[Run]) -> Vec<String> {
    runs.iter()
        .map(|run| format!("{} {}", run.trigger.to_string().split(' ').nth(1).expect("a slot"), run.state.as_str()))
        .collect()
}

#[test]
fn row_16_restart_at_the_fire_instant_opens_one_run() {
    let mut before_the_record = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let first = opened_at(&mut before_the_record.clone(), "10:00:00");
    let again = opened_at(&mut before_the_record, "10:00:01");
    assert_eq!(first.len(), 1);
    assert_eq!((&first[0].id, first[0].id.client_token()), (&again[0].id, again[0].id.client_token()));
    let mut after_the_record = before_the_record;
    assert_eq!(opened_at(&mut after_the_record, "10:00:01"), []);
}

#[test]
fn row_17_down_for_one_three_or_ten_thousand_slots() {
    for (down_since, missed) in [("09:00:00", 0), ("07:00:00", 2), ("2025-01-08T00:00:00Z", 10_000)] {
        let begun = std::time::Instant::now();
        let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", down_since);
        let opened = opened_at(&mut world, "10:05:00");
        assert!(begun.elapsed() < std::time::Duration::from_secs(5), "{:?}", begun.elapsed());
        let (last, skipped) = opened.split_last().expect("a run");
        assert_eq!(last.state.as_str(), "requested");
        assert_eq!(skipped.len(), usize::from(missed > 0));
    }
    let mut none = hourly(MissedPolicy::Skip).with_cursor("nightly", "07:00:00");
    assert_eq!(states(&opened_at(&mut none, "10:05:00")), ["2026-03-02T08:00:00Z skipped"]);
}

#[test]
fn row_17_all_up_to_a_number_are_made_up_for_oldest_first() {
    let mut all = schedule("nightly", HOURLY, MissedPolicy::All { most: 3 });
    all.start_deadline = SignedDuration::from_hours(24);
    let mut world = world(vec![all.clone()]).with_cursor("nightly", "02:00:00");
    let opened = opened_at(&mut world, "10:05:00");
    let expected = [
        "2026-03-02T03:00:00Z skipped",
        "2026-03-02T08:00:00Z requested",
        "2026-03-02T09:00:00Z requested",
        "2026-03-02T10:00:00Z requested",
    ];
    assert_eq!(states(&opened), expected);
    // What is beyond its deadline is not made up for.
    all.start_deadline = SignedDuration::from_mins(90);
    let mut world = super::agent::world(vec![all]).with_cursor("nightly", "02:00:00");
    let expected = ["2026-03-02T03:00:00Z skipped", "2026-03-02T09:00:00Z requested", "2026-03-02T10:00:00Z requested"];
    assert_eq!(states(&opened_at(&mut world, "10:05:00")), expected);
}

#[test]
fn row_18_clock_set_back_fires_nothing_twice_and_does_not_freeze() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    assert_eq!(opened_at(&mut world, "10:00:00").len(), 1);
    for now in ["09:00:00", "09:30:00", "10:00:00", "10:59:59"] {
        assert_eq!(opened_at(&mut world, now), [], "at {now}");
    }
    assert_eq!(opened_at(&mut world, "11:00:00").len(), 1);
}

#[test]
fn row_19_clock_set_forward_is_downtime() {
    for now in ["12:05:00", "2026-04-01T10:05:00Z"] {
        let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "10:00:00");
        let opened = opened_at(&mut world, now);
        assert_eq!(
            opened.iter().map(|run| run.state.as_str()).collect::<Vec<_>>(),
            ["skipped", "requested"],
            "at {now}"
        );
        let mut late = hourly(MissedPolicy::Latest).with_cursor("nightly", "10:00:00");
        let later = t(now) + SignedDuration::from_mins(6);
        assert_eq!(opened_at(&mut late, &later.to_string()).len(), 1, "the deadline holds at {later}");
    }
}

#[test]
fn row_20_suspended_over_a_slot() {
    let woken = |now: &str| {
        let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
        states(&opened_at(&mut world, now))
    };
    assert_eq!(woken("10:09:00"), ["2026-03-02T10:00:00Z requested"]);
    assert_eq!(woken("10:11:00"), ["2026-03-02T10:00:00Z skipped"]);
}

#[test]
fn row_21_slot_that_finds_a_run_going_on_is_recorded_and_the_next_is_unaffected() {
    let mut world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let going = running(slot_run("09:00:00"), "09:00:00");
    world.runs.push(going);
    let due = opened_at(&mut world, "10:00:00");
    world.runs.extend(due);
    let overlap = world.says(t("10:00:00"));
    assert!(overlap.iter().any(|line| line.starts_with("B skipped: run A of the same experiment")), "{overlap:?}");
    world.runs.clear();
    assert_eq!(states(&opened_at(&mut world, "11:00:00")), ["2026-03-02T11:00:00Z requested"]);
}

#[test]
fn row_22_a_thousand_schedules_at_midnight_open_in_one_pass_in_a_stable_order() {
    let experiments = (0..1_000).map(|number| {
        let own = name(&format!("e{number:04}"));
        (
            own.clone(),
            Experiment {
                name: own,
                schedules: vec![schedule("nightly", "@daily", MissedPolicy::Latest)],
                ..experiment()
            },
        )
    });
    let mut world =
        World { rules: Rules { experiments: experiments.collect(), ..Rules::default() }, ..World::default() };
    assert_eq!(opened_at(&mut world, "2026-03-01T12:00:00Z"), []);
    let order = |world: &World| -> Vec<String> {
        let effects = plan(&world.snapshot(), t("00:00:00"));
        effects
            .iter()
            .map(|effect| match effect {
                Effect::OpenSlots { schedule, .. } => schedule.0.to_string(),
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let opened = order(&world);
    assert_eq!(opened.len(), 1_000);
    assert!(opened.is_sorted());
    assert_eq!(opened, order(&world));
}

#[test]
fn row_23_new_rules_of_a_zone_fire_no_slot_twice() {
    let under = |rule: &str| {
        let zone = TimeZone::posix(rule).expect("a zone");
        let cron = CronSchedule::parse("30 2 * * *", zone, "").expect("an expression");
        Schedule::new(&name("probe"), name("nightly"), Timing::Cron(cron), Bounds::default())
    };
    let (old, new) = (under("XST-1"), under("XST-2"));
    assert_eq!(old.timetable(), new.timetable(), "the same schedule, whatever its zone's rules are");
    let mut world = world(vec![old]).with_cursor("nightly", "2026-03-01T12:00:00Z");
    assert_eq!(states(&opened_at(&mut world, "01:30:00")), ["2026-03-02T01:30:00Z requested"]);
    world.rules.experiments.get_mut(&name("probe")).expect("probe").schedules = vec![new];
    assert_eq!(opened_at(&mut world, "01:31:00"), []);
    assert_eq!(states(&opened_at(&mut world, "2026-03-03T00:30:00Z")), ["2026-03-03T00:30:00Z requested"]);
}

#[test]
fn row_24_two_daemons_on_one_state_mean_the_same_run() {
    let world = hourly(MissedPolicy::Latest).with_cursor("nightly", "09:00:00");
    let (one, other) = (opened_at(&mut world.clone(), "10:00:00"), opened_at(&mut world.clone(), "10:00:02"));
    assert_eq!(one[0].id, other[0].id);
    assert_eq!(one[0].id.client_token(), other[0].id.client_token());
}

#[test]
fn run_waits_in_its_row_until_the_time_that_was_drawn() {
    let mut jittered = schedule("nightly", HOURLY, MissedPolicy::Latest);
    jittered.spread = Spread::Jitter(SignedDuration::from_mins(30));
    jittered.hold_for = SignedDuration::from_mins(5);
    let due = jittered.due(t("10:00:00"));
    assert!(due > t("10:00:00"));
    let mut world = world(vec![jittered]).with_cursor("nightly", "09:00:00");
    let run = opened_at(&mut world, "10:00:00").pop().expect("a run");
    assert_eq!((run.state.as_str(), run.not_before), ("settling", due));
    assert_eq!(run.start_by, due + SignedDuration::from_mins(10));
    assert_eq!(run.hold_until, Some(due + SignedDuration::from_mins(5)));
    world.runs.push(run);
    assert_eq!(world.says(t("10:00:00")), [format!("wake {}", due.strftime("%H:%M:%S"))]);
    assert_eq!(world.says(due), ["A read template"]);
}

#[test]
fn lateness_of_a_spread_slot_counts_from_when_it_is_due() {
    let mut jittered = schedule("nightly", HOURLY, MissedPolicy::Skip);
    jittered.spread = Spread::Jitter(SignedDuration::from_mins(50));
    let due = jittered.due(t("10:00:00"));
    let seen = |now: Timestamp| {
        let mut world = world(vec![jittered.clone()]).with_cursor("nightly", "09:00:00");
        opened_at(&mut world, &now.to_string()).pop().expect("a run").state.as_str()
    };
    assert_eq!(seen(due - SignedDuration::from_secs(1)), "settling");
    assert_eq!(seen(due + SignedDuration::from_secs(30)), "settling");
    assert_eq!(seen(due + SignedDuration::from_secs(31)), "skipped");
}

#[test]
fn slot_that_is_not_drawn_is_recorded_with_its_reason() {
    let mut seldom = schedule("nightly", HOURLY, MissedPolicy::Latest);
    seldom.mtbf = 5;
    let mut world = world(vec![seldom.clone()]).with_cursor("nightly", "00:00:00");
    let mut counts = [0, 0];
    for hour in 1..24 {
        let now = format!("{hour:02}:00:00");
        let run = opened_at(&mut world, &now).pop().expect("a run");
        let taken = seldom.is_taken(t(&now));
        let expected = if taken { "requested" } else { "skipped" };
        assert_eq!(run.state.as_str(), expected, "at {now}");
        counts[usize::from(taken)] += 1;
        if let firedrill::domain::run::RunState::Skipped { reason, .. } = &run.state {
            assert_eq!(reason.to_string(), "one in 5 is taken, and this one was not drawn");
        }
    }
    assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
}
