//! Schedules: Debian cron's rule through gaps and overlaps, and the searches against a walk over every second.

use firedrill::domain::{
    ids::Name,
    schedule::{Bounds, CronError, CronSchedule, Schedule, Slot, Timing},
};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a known zone")
}

fn cron(expression: &str, zone_name: &str) -> CronSchedule {
    CronSchedule::parse(expression, zone(zone_name), "").expect("a good expression")
}

fn of(cron: CronSchedule) -> Schedule {
    let name = |text| Name::parse(text).expect("a name");
    Schedule::new(&name("probe"), name("nightly"), Timing::Cron(cron), Bounds::default())
}

fn schedule(expression: &str, zone_name: &str) -> Schedule {
    of(cron(expression, zone_name))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Checks the next fires after an instant, written with their offset; `!` marks a shifted one.
fn check(expression: &str, zone_name: &str, after: &str, expected: &[&str]) {
    let schedule = schedule(expression, zone_name);
    let mut from = at(after);
    let found: Vec<String> = expected
        .iter()
        .map(|_| {
            let slot = schedule.next_after(from).expect("a slot");
            from = slot.at;
            let local = slot.at.to_zoned(zone(zone_name)).strftime("%F %T %:z").to_string();
            if slot.shifted { format!("{local} !") } else { local }
        })
        .collect();
    assert_eq!(found, expected, "{expression} in {zone_name}");
}

#[test]
fn row_01_fixed_in_gap_fires_once_after_it() {
    let expected = ["2026-03-28 02:30:00 +01:00", "2026-03-29 03:00:00 +02:00 !", "2026-03-30 02:30:00 +02:00"];
    check("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", &expected);
}

#[test]
fn row_02_list_in_gap_fires_once_after_it() {
    let expected = ["2026-03-29 03:00:00 +02:00 !", "2026-03-30 02:00:00 +02:00", "2026-03-30 02:30:00 +02:00"];
    check("0,30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &expected);
    check("20 2,14 * * *", "Europe/Berlin", "2026-03-28T14:00:00Z", &[expected[0], "2026-03-29 14:20:00 +02:00"]);
}

#[test]
fn row_02_time_named_anyway_is_not_shifted() {
    let expected = ["2026-03-29 01:30:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 03:30:00 +02:00"];
    check("0,30 1-3 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &expected);
}

#[test]
fn row_03_interval_in_gap_follows_elapsed_time() {
    let expected = ["2026-03-29 01:45:00 +01:00", "2026-03-29 03:00:00 +02:00", "2026-03-29 03:15:00 +02:00"];
    check("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", &expected);
    check("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-30 02:00:00 +02:00"]);
}

#[test]
fn row_04_fixed_in_overlap_fires_in_first_pass() {
    let expected = ["2026-10-25 02:30:00 +02:00", "2026-10-26 02:30:00 +01:00"];
    check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &expected);
    check("30 2 * * *", "Europe/Berlin", "2026-10-25T01:10:00Z", &expected[1..]);
}

#[test]
fn row_05_list_in_overlap_fires_in_first_pass() {
    let expected = [
        "2026-10-25 01:45:00 +02:00",
        "2026-10-25 02:15:00 +02:00",
        "2026-10-25 02:45:00 +02:00",
        "2026-10-25 03:15:00 +01:00",
    ];
    check("15,45 0-4 * * *", "Europe/Berlin", "2026-10-24T23:30:00Z", &expected);
}

#[test]
fn row_06_interval_in_overlap_fires_in_both_passes() {
    let expected = [
        "2026-10-25 02:30:00 +02:00",
        "2026-10-25 02:00:00 +01:00",
        "2026-10-25 02:30:00 +01:00",
        "2026-10-25 03:00:00 +01:00",
    ];
    check("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &expected);
}

#[test]
fn row_07_midnight_gap_keeps_the_day() {
    let days = [
        ("Africa/Cairo", "2026-04-23T12:00:00Z", "2026-04-24 01:00:00 +03:00 !"),
        ("Asia/Beirut", "2026-03-28T12:00:00Z", "2026-03-29 01:00:00 +03:00 !"),
        ("America/Havana", "2026-03-07T12:00:00Z", "2026-03-08 01:00:00 -04:00 !"),
        ("America/Santiago", "2026-09-05T12:00:00Z", "2026-09-06 01:00:00 -03:00 !"),
    ];
    for (zone, after, expected) in days {
        check("0 0 * * *", zone, after, &[expected]);
    }
}

#[test]
fn row_08_odd_gaps_and_overlaps_are_not_one_hour() {
    let lord_howe = ["2026-10-04 02:30:00 +11:00 !", "2026-10-05 02:15:00 +11:00"];
    check("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00:00Z", &lord_howe);
    let overlap = ["2026-04-05 01:45:00 +11:00", "2026-04-06 01:45:00 +10:30"];
    check("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", &overlap);
    check("0 3 * * *", "Pacific/Chatham", "2026-09-26T12:00:00Z", &["2026-09-27 03:45:00 +13:45 !"]);
    check("30 1 * * *", "Antarctica/Troll", "2026-03-28T12:00:00Z", &["2026-03-29 03:00:00 +02:00 !"]);
    let hourly = ["2026-10-04 01:00:00 +10:30", "2026-10-04 03:00:00 +11:00"];
    check("0 * * * *", "Australia/Lord_Howe", "2026-10-03T14:00:00Z", &hourly);
}

#[test]
fn row_09_change_of_the_zone_itself_is_gap_or_overlap() {
    let almaty = ["2024-02-29 23:30:00 +06:00", "2024-03-01 23:30:00 +05:00"];
    check("30 23 * * *", "Asia/Almaty", "2024-02-29T12:00:00Z", &almaty);
    check("45 23 4 5 *", "Asia/Pyongyang", "2018-05-01T00:00:00Z", &["2018-05-05 00:00:00 +09:00 !"]);
    check("45 2 1 5 *", "America/Caracas", "2016-04-30T00:00:00Z", &["2016-05-01 03:00:00 -04:00 !"]);
}

#[test]
fn row_10_skipped_day_loses_its_slot() {
    let expected = ["2011-12-29 00:00:00 -10:00", "2011-12-31 00:00:00 +14:00", "2012-01-01 00:00:00 +14:00"];
    check("0 0 * * *", "Pacific/Apia", "2011-12-28T23:00:00Z", &expected);
    let interval = ["2011-12-29 12:30:00 -10:00", "2011-12-31 12:00:00 +14:00"];
    check("*/30 12 * * *", "Pacific/Apia", "2011-12-29T22:00:00Z", &interval);
    check("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2012-12-30 12:00:00 +14:00"]);
    let slot =
        schedule("30 12 * * *", "Pacific/Apia").latest_in(at("2011-12-29T23:00:00Z"), at("2011-12-30T12:00:00Z"));
    assert_eq!(slot, None);
}

#[test]
fn row_11_negative_dst_goes_by_offset() {
    check("30 1 * * *", "Europe/Dublin", "2026-03-28T12:00:00Z", &["2026-03-29 02:00:00 +01:00 !"]);
    check("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00:00Z", &["2026-02-15 02:30:00 +01:00"]);
    check("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00:00Z", &["2026-03-22 03:00:00 +01:00 !"]);
}

#[test]
fn row_12_offsets_that_are_not_whole_hours() {
    check("0 9 * * *", "Asia/Kathmandu", "2026-01-01T00:00:00Z", &["2026-01-01 09:00:00 +05:45"]);
    check("0 9 * * *", "Australia/Eucla", "2026-01-01T12:00:00Z", &["2026-01-02 09:00:00 +08:45"]);
    check("0 9 * * *", "Australia/Darwin", "2026-01-01T12:00:00Z", &["2026-01-02 09:00:00 +09:30"]);
    check("0 9 * * *", "Pacific/Marquesas", "2026-01-01T12:00:00Z", &["2026-01-01 09:00:00 -09:30"]);
    check("0 9 * * *", "America/St_Johns", "2026-01-01T00:00:00Z", &["2026-01-01 09:00:00 -03:30"]);
}

#[test]
fn row_13_rare_days_are_found_and_impossible_ones_refused() {
    check("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", &["2104-02-29 00:00:00 +00:00"]);
    check("* * 29 2 *", "Europe/Berlin", "2096-03-01T00:00:00Z", &["2104-02-29 00:00:00 +01:00"]);
    check("0 0 31 * *", "UTC", "2026-03-31T00:00:00Z", &["2026-05-31 00:00:00 +00:00"]);
    let never = CronSchedule::parse("30 2 30 2 *", TimeZone::UTC, "");
    assert!(matches!(never, Err(CronError::Never { .. })), "{never:?}");
}

#[test]
fn row_14_both_day_fields_are_or_unless_one_begins_with_a_star() {
    let either = ["2026-06-05 00:00:00 +00:00", "2026-06-12 00:00:00 +00:00", "2026-06-13 00:00:00 +00:00"];
    check("0 0 13 * FRI", "UTC", "2026-06-01T00:00:00Z", &either);
    let both = ["2026-06-05 00:00:00 +00:00", "2026-06-19 00:00:00 +00:00"];
    check("0 0 */2 * FRI", "UTC", "2026-06-01T00:00:00Z", &both);
    assert!(cron("0 0 13 * FRI", "UTC").has_two_day_fields());
    assert!(!cron("0 0 */2 * FRI", "UTC").has_two_day_fields());
}

#[test]
fn row_15_next_is_strictly_after() {
    let next = |after: &str| schedule("30 2 * * *", "UTC").next_after(at(after)).map(|slot| slot.at);
    assert_eq!(next("2026-01-01T02:30:00Z"), Some(at("2026-01-02T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:29:59Z"), Some(at("2026-01-01T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:29:59.5Z"), Some(at("2026-01-01T02:30:00Z")));
    assert_eq!(next("2026-01-01T02:30:00.5Z"), Some(at("2026-01-02T02:30:00Z")));
}

#[test]
fn names_seconds_and_macros_are_understood() {
    check("15 30 2 * * *", "UTC", "2026-01-01T00:00:00Z", &["2026-01-01 02:30:15 +00:00"]);
    check("0 0 L * *", "UTC", "2026-02-01T00:00:00Z", &["2026-02-28 00:00:00 +00:00"]);
    check("0 0 15W * *", "UTC", "2026-08-01T00:00:00Z", &["2026-08-14 00:00:00 +00:00"]);
    check("0 0 * * FRI#2", "UTC", "2026-08-01T00:00:00Z", &["2026-08-14 00:00:00 +00:00"]);
    check("0 0 * * FRIL", "UTC", "2026-08-01T00:00:00Z", &["2026-08-28 00:00:00 +00:00"]);
    check("0 0 * * 7", "UTC", "2026-08-01T00:00:00Z", &["2026-08-02 00:00:00 +00:00"]);
    check("0 0 1 JAN *", "UTC", "2026-08-01T00:00:00Z", &["2027-01-01 00:00:00 +00:00"]);
    check("@midnight", "UTC", "2026-08-01T00:00:00Z", &["2026-08-02 00:00:00 +00:00"]);
    check("@Weekly", "UTC", "2026-08-01T00:00:00Z", &["2026-08-02 00:00:00 +00:00"]);
    assert!(cron("@daily", "UTC").is_fixed());
    assert!(!cron("@hourly", "UTC").is_fixed());
    assert!(cron("* 0-30 2,3 * * *", "UTC").is_fixed());
}

#[test]
fn bad_expressions_say_what_is_wrong() {
    let error = |text: &str| CronSchedule::parse(text, TimeZone::UTC, "").expect_err("a bad expression").to_string();
    let texts = ["", "@reboot", "@every 5m", "0 0 * *", "0 0 * * * * 2026", "MON 0 * * *", "61 0 * * *", "0 0 * * FRY"];
    insta::assert_snapshot!(texts.map(error).join("\n"), @r#"
    the cron expression is empty
    `@reboot` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five or six fields
    `@every 5m` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five or six fields
    a cron expression has five fields (minute first) or six (second first), this one has 4
    a cron expression has five fields (minute first) or six (second first), this one has 7
    `MON` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/`
    `61` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/`
    `FRY` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/`
    "#);
}

#[test]
fn count_is_bounded() {
    let every_second = schedule("* * * * * *", "UTC");
    assert_eq!(every_second.count_in(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), 100), 100);
    assert_eq!(every_second.count_in(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:07Z"), 100), 7);
}

const ZONES: [&str; 6] =
    ["Europe/Berlin", "Africa/Cairo", "America/Santiago", "Australia/Lord_Howe", "Pacific/Apia", "Antarctica/Troll"];

/// Starts a few days before a clock change of each zone, and elsewhere.
fn starts() -> impl Strategy<Value = (usize, i64)> {
    let change = ["2026-03-29", "2026-04-24", "2026-09-06", "2026-10-04", "2011-12-30", "2026-10-25"];
    (0..ZONES.len(), 0..change.len(), -4i64 * 86_400..86_400).prop_map(move |(zone, change_of, offset)| {
        let day: jiff::civil::Date = change[if offset % 3 == 0 { change_of } else { zone }].parse().expect("a date");
        let midnight = day.to_zoned(TimeZone::UTC).expect("an instant").timestamp().as_second();
        (zone, midnight + offset)
    })
}

fn expressions() -> impl Strategy<Value = String> {
    let minute = prop_oneof![Just("0"), Just("30"), Just("0,30"), Just("*/15"), Just("5-20/5"), Just("*")];
    let hour = prop_oneof![Just("*"), Just("2"), Just("0"), Just("1,2,3"), Just("0-4"), Just("*/2"), Just("12")];
    let day = prop_oneof![Just("*"), Just("*"), Just("29"), Just("L"), Just("*/2")];
    let weekday = prop_oneof![Just("*"), Just("*"), Just("SUN"), Just("1-5")];
    (minute, hour, day, weekday).prop_map(|(m, h, d, w)| format!("{m} {h} {d} * {w}"))
}

/// Lists the slots of `(after, after + days]` by looking at every minute: no search, no arithmetic of ours.
fn minute_by_minute(schedule: &CronSchedule, after: Timestamp, minutes: i64) -> Vec<Timestamp> {
    let pattern: croner::Cron = croner_of(schedule.expression());
    let matches = |local: DateTime| pattern.is_time_matching(&local).expect("a year in range");
    let local = |at: Timestamp| schedule.zone().to_datetime(at);
    let minute = SignedDuration::from_mins(1);
    let lookback = 3 * 24 * 60;
    let start = after - minute * lookback;
    let mut found = Vec::new();
    // The local minute that clocks have shown so far, and that a fixed schedule need not look at again.
    let mut shown = local(start);
    for step in 1..=minutes + i64::from(lookback) {
        let now = start + SignedDuration::from_mins(step);
        let due = if schedule.is_fixed() {
            let mut due = false;
            let skipped = shown.duration_until(local(now)) - minute;
            if skipped >= SignedDuration::from_hours(3) {
                due = matches(local(now));
            } else {
                let mut minute_shown = shown + minute;
                while minute_shown <= local(now) {
                    due |= matches(minute_shown);
                    minute_shown += minute;
                }
            }
            shown = shown.max(local(now));
            due
        } else {
            matches(local(now))
        };
        if due && now > after {
            found.push(now);
        }
    }
    found
}

fn croner_of(expression: &str) -> croner::Cron {
    let starred = expression.split(' ').skip(2).step_by(2).any(|field| field.starts_with('*'));
    croner::parser::CronParser::builder().dom_and_dow(starred).build().parse(expression).expect("a good expression")
}

fn walked(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Slot> {
    let mut slots = Vec::new();
    let mut from = after;
    while let Some(slot) = schedule.next_after(from).filter(|slot| slot.at <= until) {
        assert!(slot.at > from, "slots must increase");
        from = slot.at;
        slots.push(slot);
    }
    slots
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn walk_agrees_with_every_minute((zone, start) in starts(), expression in expressions()) {
        let cron = cron(&expression, ZONES[zone]);
        let schedule = of(cron.clone());
        let after = Timestamp::from_second(start / 60 * 60).expect("an instant");
        let until = after + SignedDuration::from_hours(24 * 6);
        let found: Vec<Timestamp> = walked(&schedule, after, until).iter().map(|slot| slot.at).collect();
        prop_assert_eq!(found, minute_by_minute(&cron, after, 24 * 60 * 6), "{} in {}", expression, ZONES[zone]);
    }

    #[test]
    fn latest_agrees_with_walk((zone, start) in starts(), expression in expressions(), length in 0i64..9 * 86_400) {
        let schedule = schedule(&expression, ZONES[zone]);
        let after = Timestamp::from_second(start).expect("an instant");
        let until = after + SignedDuration::from_secs(length);
        let slots = walked(&schedule, after, until);
        prop_assert_eq!(schedule.latest_in(after, until), slots.last().copied(), "{} in {}", expression, ZONES[zone]);
        prop_assert_eq!(schedule.count_in(after, until, 1_000_000), slots.len() as u32);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "[-*/,0-9LW#?+A-Z@ ]{0,24}", fields in "([-*/,0-9LW#?]{1,5} ){4}[-*0-9,L#]{1,4}") {
        for text in [text, fields] {
            if let Ok(cron) = CronSchedule::parse(&text, zone("Europe/Berlin"), "") {
                let schedule = of(cron);
                let after = at("2026-03-28T12:00:00Z");
                let next = schedule.next_after(after).expect("a slot");
                prop_assert!(next.at > after);
                prop_assert_eq!(schedule.latest_in(after, next.at), Some(next), "{}", text);
            }
        }
    }
}
