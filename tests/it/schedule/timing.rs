//! Schedules that are no cron expression, and the dates that bound every kind.

use firedrill::domain::schedule::{Bounds, Every, Gaps, Schedule, Timing};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{at, cron, zone};
use crate::support::runs::name;

fn bounded(timing: Timing, from: Option<&str>, until: Option<&str>) -> Schedule {
    Schedule::new(&name("probe"), name("s"), timing, Bounds { from: from.map(at), until: until.map(at) })
}

fn every(period: SignedDuration, anchor: &str) -> Timing {
    Timing::Every(Every::new(period, at(anchor), TimeZone::UTC))
}

fn listed(schedule: &Schedule, after: &str, most: usize) -> Vec<String> {
    let mut from = at(after);
    let next = || {
        from = schedule.next_after(from)?.at;
        Some(from.to_string())
    };
    std::iter::from_fn(next).take(most).collect()
}

#[test]
fn every_so_often_counts_from_its_anchor_through_clock_changes() {
    let schedule = bounded(every(SignedDuration::from_hours(36), "2026-03-28T09:00:00Z"), None, None);
    let expected = ["2026-03-28T09:00:00Z", "2026-03-29T21:00:00Z", "2026-03-31T09:00:00Z"];
    assert_eq!(listed(&schedule, "2026-01-01T00:00:00Z", 3), expected);
    assert_eq!(listed(&schedule, "2026-03-28T09:00:00Z", 1), &expected[1..2]);
    assert_eq!(listed(&schedule, "2026-03-29T20:59:59.999999999Z", 1), &expected[1..2]);
    let latest = |until: &str| schedule.latest_in(Timestamp::MIN, at(until)).map(|slot| slot.at.to_string());
    assert_eq!(latest("2026-03-28T08:59:59Z"), None);
    assert_eq!(latest("2026-03-29T21:00:00Z").as_deref(), Some(expected[1]));
    assert_eq!(schedule.expression(), "every 36h");
    assert_eq!(
        listed(
            &bounded(every(SignedDuration::from_hours(24), "2026-01-01T00:00:00Z"), None, None),
            "9999-12-30T12:00:00Z",
            5
        ),
        Vec::<String>::new()
    );
}

#[test]
fn once_is_once() {
    let once = Timing::At { at: at("2026-03-01T10:00:00Z"), zone: zone("Europe/Berlin") };
    let schedule = bounded(once, None, None);
    assert_eq!(listed(&schedule, "2026-01-01T00:00:00Z", 5), ["2026-03-01T10:00:00Z"]);
    assert_eq!(listed(&schedule, "2026-03-01T10:00:00Z", 5), Vec::<String>::new());
    assert_eq!(schedule.latest_in(at("2026-03-01T10:00:00Z"), at("2027-01-01T00:00:00Z")), None);
    assert_eq!(schedule.count_in(Timestamp::MIN, Timestamp::MAX, 10), 1);
}

#[test]
fn dates_bound_the_slots_from_the_first_up_to_without_the_last() {
    let daily = || Timing::Cron(cron("0 12 * * *", "UTC"));
    let bounds = (Some("2026-03-02T12:00:00Z"), Some("2026-03-04T12:00:00Z"));
    for timing in [daily(), every(SignedDuration::from_hours(24), "2026-01-01T12:00:00Z")] {
        let schedule = bounded(timing, bounds.0, bounds.1);
        assert_eq!(listed(&schedule, "2026-01-01T00:00:00Z", 9), ["2026-03-02T12:00:00Z", "2026-03-03T12:00:00Z"]);
        assert_eq!(schedule.latest_in(Timestamp::MIN, at("2026-03-02T11:00:00Z")), None);
        let last = schedule.latest_in(Timestamp::MIN, Timestamp::MAX).map(|slot| slot.at);
        assert_eq!(last, Some(at("2026-03-03T12:00:00Z")));
        assert_eq!(schedule.count_in(Timestamp::MIN, Timestamp::MAX, 100), 2);
    }
    assert_eq!(bounded(daily(), None, Some("2026-03-04T12:00:00Z")).next_after(at("2026-03-03T12:00:00Z")), None);
}

#[test]
fn timetable_changes_with_what_it_names_and_with_nothing_else() {
    let plain = || bounded(Timing::Cron(cron("0 12 * * *", "UTC")), None, None);
    let mut jittered = plain();
    jittered.mtbf = 7;
    assert_eq!(plain().timetable(), jittered.timetable());
    let others = [
        bounded(Timing::Cron(cron("0 13 * * *", "UTC")), None, None),
        bounded(Timing::Cron(cron("0 12 * * *", "Europe/Berlin")), None, None),
        bounded(Timing::Cron(cron("0 12 * * *", "UTC").with_gaps(Gaps::Skip)), None, None),
        bounded(Timing::Cron(cron("0 12 * * *", "UTC")), Some("2026-01-01T00:00:00Z"), None),
        bounded(Timing::Cron(cron("0 12 * * *", "UTC")), None, Some("2026-01-01T00:00:00Z")),
        bounded(every(SignedDuration::from_hours(24), "2026-01-01T12:00:00Z"), None, None),
        bounded(every(SignedDuration::from_hours(24), "2026-01-01T13:00:00Z"), None, None),
        bounded(every(SignedDuration::from_hours(25), "2026-01-01T12:00:00Z"), None, None),
        bounded(Timing::At { at: at("2026-01-01T12:00:00Z"), zone: TimeZone::UTC }, None, None),
    ];
    let all: std::collections::BTreeSet<_> = others.iter().chain([&plain()]).map(|s| s.timetable().clone()).collect();
    assert_eq!(all.len(), others.len() + 1);
}

#[test]
fn lost_time_is_told_once_and_only_there() {
    let lost = |schedule: &Schedule, after: &str| {
        let slot = schedule.next_after(at(after)).expect("a slot");
        (slot.at.to_string(), slot.shifted, slot.after_lost)
    };
    let of =
        |expression: &str, zone: &str, gaps| bounded(Timing::Cron(cron(expression, zone).with_gaps(gaps)), None, None);
    let apia = of("0 12 * * *", "Pacific/Apia", Gaps::Shift);
    assert_eq!(lost(&apia, "2011-12-29T22:00:00Z"), ("2011-12-30T22:00:00Z".to_owned(), false, true));
    assert_eq!(lost(&apia, "2011-12-30T22:00:00Z"), ("2011-12-31T22:00:00Z".to_owned(), false, false));
    // The memory of an answer from before the lost day does not tell of it after that day.
    assert!(lost(&apia, "2011-12-29T22:00:00Z").2);
    assert!(!lost(&apia, "2011-12-30T12:00:00Z").2);
    assert_eq!(apia.slot_at(at("2011-12-30T22:00:00Z")).map(|slot| slot.after_lost), Some(true));
    let latest = |after: &str| apia.latest_in(at(after), at("2011-12-31T12:00:00Z")).map(|slot| slot.after_lost);
    assert_eq!(latest("2011-12-29T12:00:00Z"), Some(true));
    // From an instant on that lies behind the lost day, nothing was lost.
    assert_eq!(latest("2011-12-30T12:00:00Z"), Some(false));
    let berlin = of("30 2 * * *", "Europe/Berlin", Gaps::Skip);
    assert_eq!(lost(&berlin, "2026-03-28T12:00:00Z"), ("2026-03-30T00:30:00Z".to_owned(), false, true));
    assert_eq!(lost(&berlin, "2026-10-24T12:00:00Z"), ("2026-10-25T00:30:00Z".to_owned(), false, false));
    let shifted = of("30 2 * * *", "Europe/Berlin", Gaps::Shift);
    assert_eq!(lost(&shifted, "2026-03-28T12:00:00Z"), ("2026-03-29T01:00:00Z".to_owned(), true, false));
}

/// Two long names that begin alike were cut to one, and their schedules shared a cursor.
#[test]
fn timetables_of_long_names_differ() {
    let of = |label: String| {
        let timing = Timing::At { at: Timestamp::UNIX_EPOCH, zone: TimeZone::UTC };
        Schedule::new(&name("drill"), name(&label), timing, Bounds::default()).timetable().clone()
    };
    let long = "a".repeat(60);
    assert_ne!(of(format!("{long}-one")), of(format!("{long}-two")));
    assert!(of(format!("{long}-two")).as_str().len() <= 64);
    assert!(of("a".repeat(47)).as_str().starts_with(&format!("{}.", "a".repeat(47))));
}
