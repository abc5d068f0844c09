//! The notation: everything that may be written, and what is said of the rest.

use firedrill::domain::schedule::{CronError, CronSchedule};
use jiff::{Timestamp, tz::TimeZone};

use super::{at, check, cron, schedule};

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
fn fields_are_read_as_debian_cron_reads_them() {
    let dates = |expression: &str, after: &str, expected: &[&str]| check(expression, "UTC", after, expected);
    dates("10-50/20 0 * * *", "2026-08-01T00:15:00Z", &["2026-08-01 00:30:00 +00:00", "2026-08-01 00:50:00 +00:00"]);
    dates("*/25 0 * * *", "2026-08-01T00:01:00Z", &["2026-08-01 00:25:00 +00:00", "2026-08-01 00:50:00 +00:00"]);
    dates("*/90 0 * * *", "2026-08-01T00:01:00Z", &["2026-08-02 00:00:00 +00:00"]);
    dates("5,*,7 * * * *", "2026-08-01T00:01:00Z", &["2026-08-01 00:02:00 +00:00"]);
    dates("0 0 * * 5-7", "2026-08-07T00:00:00Z", &["2026-08-08 00:00:00 +00:00", "2026-08-09 00:00:00 +00:00"]);
    dates("0 0 * * fri-sun", "2026-08-09T00:00:00Z", &["2026-08-14 00:00:00 +00:00"]);
    dates("0 0 1 jan,Mar *", "2026-01-01T00:00:00Z", &["2026-03-01 00:00:00 +00:00"]);
    dates("0 0 ? * MON", "2026-08-01T00:00:00Z", &["2026-08-03 00:00:00 +00:00"]);
    dates("0 9 LW * *", "2026-01-31T00:00:00Z", &["2026-02-27 09:00:00 +00:00", "2026-03-31 09:00:00 +00:00"]);
    dates("0 9 1W * *", "2026-07-31T00:00:00Z", &["2026-08-03 09:00:00 +00:00", "2026-09-01 09:00:00 +00:00"]);
    dates("0 9 31W * *", "2026-04-30T00:00:00Z", &["2026-05-29 09:00:00 +00:00"]);
    dates("0 0 * * MON#5", "2026-04-01T00:00:00Z", &["2026-06-29 00:00:00 +00:00"]);
    dates("0 0 31 * *", "2026-01-31T00:00:00Z", &["2026-03-31 00:00:00 +00:00"]);
    dates("0 0 30 2,4 *", "2026-01-31T00:00:00Z", &["2026-04-30 00:00:00 +00:00"]);
    dates("0 0 12 1 * ? 2030-2032/2", "2026-01-31T00:00:00Z", &["2030-01-01 12:00:00 +00:00"]);
    dates("0 0 12 1 6 ? 2031,2027", "2027-06-01T12:00:00Z", &["2031-06-01 12:00:00 +00:00"]);
    let over = schedule("0 0 12 1 6 ? 2027", "UTC").next_after(at("2027-06-01T12:00:00Z"));
    assert_eq!(over, None, "a year that is over has nothing more");
}

#[test]
fn rare_leap_days_are_found_and_what_never_comes_is_refused() {
    let monday = ["2044-02-29 02:29:00 +01:00", "2072-02-29 02:29:00 +01:00"];
    check("29 2 29 2 +MON", "Europe/Berlin", "2026-01-01T00:00:00Z", &monday);
    check("29 2 29 2 */7", "UTC", "2026-01-01T00:00:00Z", &["2032-02-29 02:29:00 +00:00"]);
    // Over the leap day that 2100 does not have.
    check("0 0 29 2 *", "UTC", "2096-02-29T00:00:00Z", &["2104-02-29 00:00:00 +00:00"]);
    // `29 2 * MON` is either: the 29th of March and every Monday of it.
    check("0 0 29 3 MON", "UTC", "2026-03-23T00:00:00Z", &["2026-03-29 00:00:00 +00:00", "2026-03-30 00:00:00 +00:00"]);
    for never in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "* * 31 NOV ?", "0 0 0 29 2 ? 2025-2027", "0 0 29 2 +MON#2"] {
        let refused = CronSchedule::parse(never, TimeZone::UTC, "").map(|_| ());
        assert!(matches!(refused, Err(CronError::Never { .. })), "{never}: {refused:?}");
    }
}

/// The time a call takes at best: what else the machine does can only add to it.
fn best_time<T>(mut call: impl FnMut() -> T) -> std::time::Duration {
    let mut timed = || {
        let begun = std::time::Instant::now();
        std::hint::black_box(call());
        begun.elapsed()
    };
    (0..20).map(|_| timed()).min().expect("some")
}

#[test]
fn patterns_that_never_or_seldom_fire_end_at_once() {
    // A search through every day of some centuries would be thousands of times as long as the reading of a plain one.
    let plain = best_time(|| CronSchedule::parse("30 2 * * MON-FRI", TimeZone::UTC, "").is_ok());
    let bound = plain * 100;
    for text in ["0 0 30 2 *", "* * * 31 2,4,6,9,11 ?", "0 0 29 2 +MON#2", "0 0 0 30 2 ? 1-5000/3"] {
        let took = best_time(|| CronSchedule::parse(text, TimeZone::UTC, "").is_err());
        assert!(took < bound, "`{text}` took {took:?} to be refused");
    }
    for text in ["0 0 29 2 +MON", "* * 29 2 +MON", "* * * * * * 4999", "0 0 12 29 2 ? 4000-4999", "0 0 0 1 1 ? 2000"] {
        let schedule = cron(text, "Europe/Berlin");
        let took = best_time(|| schedule.next_after(at("2026-01-01T00:00:00Z")));
        assert!(took < bound, "`{text}` took {took:?}");
    }
}

#[test]
fn last_years_there_are_end_the_search() {
    let minutely = schedule("* * * * *", "Europe/Berlin");
    assert_eq!(minutely.next_after(Timestamp::MAX), None);
    assert!(minutely.next_after(Timestamp::MIN).is_some());
    assert_eq!(minutely.latest_in(Timestamp::MIN, Timestamp::MIN), None);
    assert!(minutely.latest_in(Timestamp::MIN, Timestamp::MAX).is_some());
    let yearly = schedule("@yearly", "Pacific/Kiritimati");
    assert_eq!(yearly.next_after(at("9999-01-01T00:00:00Z")), None);
    let first = yearly.next_after(at("-000001-12-31T00:00:00Z")).expect("a slot");
    assert_eq!(first.at.strftime("%Y-%m").to_string(), "0000-01");
}

#[test]
fn hash_fields_choose_the_same_value_for_ever() {
    let next = |expression: &str, seed: &str| {
        let cron = CronSchedule::parse(expression, TimeZone::UTC, seed).expect("a good expression");
        let slot = cron.next_after(at("2026-01-01T00:00:00Z")).expect("a slot");
        slot.at.strftime("%d %H:%M").to_string()
    };
    assert_eq!(next("H H * * *", "checkout nightly"), next("h h * * *", "checkout nightly"));
    // Pinned: another value after an update would move every such schedule there is.
    let drawn = ["H * * * *", "H H * * *", "H(10-19) H(1-5) * * *", "H H H * *", "H/15 0 * * *", "H(30-59)/10 0 1 * *"];
    let drawn = drawn.map(|expression| format!("{expression:22}{}", next(expression, "checkout nightly")));
    insta::assert_snapshot!(drawn.join("\n"), @r#"
    H * * * *             01 00:59
    H H * * *             01 17:59
    H(10-19) H(1-5) * * * 01 01:19
    H H H * *             10 17:59
    H/15 0 * * *          01 00:14
    H(30-59)/10 0 1 * *   01 00:39
    "#);
    check_hash("H(0-90) * * * *");
    check_hash("H(20-10) * * * *");
    check_hash("H/61 * * * *");
    check_hash("H/0 * * * *");
    check_hash("Hx * * * *");
    check_hash("0 0 0 1 1 ? H");
}

#[track_caller]
fn check_hash(refused: &str) {
    let error = CronSchedule::parse(refused, TimeZone::UTC, "any").expect_err("no such hash");
    assert!(matches!(error, CronError::Field { .. }), "{error:?}");
}

#[test]
fn hash_fields_spread_a_thousand_schedules_evenly() {
    let mut minutes = [0_u32; 60];
    let mut hours = [0_u32; 24];
    let mut days = std::collections::BTreeSet::new();
    for number in 0..6_000 {
        let seed = format!("experiment-{number} nightly");
        let cron = CronSchedule::parse("H H H * *", TimeZone::UTC, &seed).expect("a good expression");
        let slot = cron.next_after(at("2026-01-31T23:59:59Z")).expect("a slot").at.to_zoned(TimeZone::UTC);
        minutes[usize::try_from(slot.minute()).expect("a minute")] += 1;
        hours[usize::try_from(slot.hour()).expect("an hour")] += 1;
        days.insert(slot.day());
    }
    assert!(minutes.iter().all(|count| (60..=140).contains(count)), "{minutes:?}");
    assert!(hours.iter().all(|count| (190..=310).contains(count)), "{hours:?}");
    assert_eq!(days.into_iter().collect::<Vec<i8>>(), (1..=28).collect::<Vec<i8>>());
}

#[test]
fn bad_expressions_say_what_is_wrong_and_what_would_be_right() {
    let error = |text: &str| {
        let error = CronSchedule::parse(text, TimeZone::UTC, "").expect_err("a bad expression");
        error.hint().map_or_else(|| error.to_string(), |hint| format!("{error}\n  {hint}"))
    };
    let texts = [
        "",
        "@reboot",
        "@dayly",
        "@every 5m",
        "0 0 * *",
        "0 0 * * * * * *",
        "MON 0 * * *",
        "61 0 * * *",
        "0 0 * * FRY",
        "0/10 * * * *",
        "5/15 * * * *",
        "/5 * * * *",
        "0 22-2 * * *",
        "0 0 * * FRI-MON",
        "0 0 * NOV-FEB *",
        "0 0 1,,2 * *",
        "0 0 * * L",
        "0 0 * * 1,+2",
        "0 0 L-3 * *",
        "0 0 * * SUNMON",
        "0 24 * * *",
        "*/0 * * * *",
        "0 0 0 1 1 ? 6000",
        "0 0 30 2 *",
    ];
    insta::assert_snapshot!(texts.map(error).join("\n"), @r#"
    the cron expression is empty
    `@reboot` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five to seven fields
    `@dayly` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five to seven fields
      did you mean `@daily`?
    `@every 5m` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five to seven fields
      a period is no cron expression: `every = "5m"`
    a cron expression has five fields (minute first), six (second first) or seven (year last), this one has 4
      minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`
    a cron expression has five fields (minute first), six (second first) or seven (year last), this one has 8
      minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`
    `MON` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
    `61` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
    `FRY` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/` and `H`
      did you mean `FRI`?
    `0/10` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
      write `*/10`
    `5/15` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
      write `5-59/15` or `*/15`
    `/5` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
      write `*/5`
    `22-2` cannot stand in the hour field: it takes 0-23, with `*` `,` `-` `/` and `H`
      a range goes forward, so write two: `22-23,0-2`
    `FRI-MON` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/` and `H`
      a range goes forward, so write two: `FRI-SAT,SUN-MON`
    `NOV-FEB` cannot stand in the month field: it takes 1-12 or JAN-DEC, with `*` `,` `-` `/` and `H`
      a range goes forward, so write two: `NOV-DEC,JAN-FEB`
    `1,,2` cannot stand in the day of month field: it takes 1-31, `L`, `15W` or `LW`, with `*` `,` `-` `/` and `H`
    `L` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/` and `H`
    `1,+2` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/` and `H`
    `L-3` cannot stand in the day of month field: it takes 1-31, `L`, `15W` or `LW`, with `*` `,` `-` `/` and `H`
    `SUNMON` cannot stand in the day of week field: it takes 0-7 (0 and 7 are Sunday), SUN-SAT, `FRI#2` or `FRIL`, with `*` `,` `-` `/` and `H`
    `24` cannot stand in the hour field: it takes 0-23, with `*` `,` `-` `/` and `H`
    `*/0` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
    `6000` cannot stand in the year field: it takes 1-5000, with `*` `,` `-` `/` and `H`
    `0 0 30 2 *` never fires: no date matches it
    "#);
    let long = format!("{} * * * *", "1,".repeat(2_000));
    assert!(matches!(CronSchedule::parse(&long, TimeZone::UTC, ""), Err(CronError::Long { .. })));
}

#[test]
fn count_is_bounded() {
    let every_second = schedule("* * * * * *", "UTC");
    assert_eq!(every_second.count_in(at("2026-01-01T00:00:00Z"), at("2027-01-01T00:00:00Z"), 100), 100);
    assert_eq!(every_second.count_in(at("2026-01-01T00:00:00Z"), at("2026-01-01T00:00:07Z"), 100), 7);
}
