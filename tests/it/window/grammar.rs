//! Grammars of windows: Alertmanager's words, cron with a duration, and what ARC and SSM write.

use firedrill::domain::{
    schedule::CronSchedule,
    window::{Days, Interval, Intervals, Span, SpanError, WindowKind},
};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

use super::{at, blackout, check, weekly, window};

/// One item of `times`: weekdays, days of the month, months, years, separated by spaces within a field.
fn days(weekdays: &str, days_of_month: &str, months: &str, years: &str) -> Days {
    let mut days = Days::default();
    weekdays.split_whitespace().for_each(|entry| days.add_weekdays(entry).expect("weekdays"));
    days_of_month.split_whitespace().for_each(|entry| days.add_days_of_month(entry).expect("days of the month"));
    months.split_whitespace().for_each(|entry| days.add_months(entry).expect("months"));
    years.split_whitespace().for_each(|entry| days.add_years(entry).expect("years"));
    days
}

fn clock(days: Days, text: &str) -> Span {
    Span::parse_clock(days, text).expect("times")
}

#[test]
fn fields_of_times_and_items_or() {
    let first = clock(days("monday:friday", "1:7", "april:june", "2026:2027"), "09:00-17:00");
    let second = Span::whole(days("", "-1", "12", ""));
    let w = blackout("UTC", vec![first, second]);
    // The first working days of April 2026 are Wednesday to Friday, and Monday and Tuesday after Easter.
    let day = |day: u32| (format!("2026-04-{day:02}T09:00:00Z"), format!("2026-04-{day:02}T17:00:00Z"));
    let expected: Vec<_> = [1, 2, 3, 6, 7].map(day).into();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(from, to)| (from.as_str(), to.as_str())).collect();
    check(&w, "2026-03-01T00:00:00Z", "2026-05-01T00:00:00Z", &expected);
    let expected = [("2028-12-31T00:00:00Z", "2029-01-01T00:00:00Z")];
    check(&w, "2028-02-01T00:00:00Z", "2029-02-01T00:00:00Z", &expected);
}

#[test]
fn times_overnight_belong_to_the_day_on_which_they_begin() {
    let w = blackout("UTC", vec![clock(days("friday", "", "", ""), "22:00-06:00")]);
    let expected = [("2026-06-05T22:00:00Z", "2026-06-06T06:00:00Z")];
    check(&w, "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z", &expected);
    let w = blackout("UTC", vec![clock(days("", "-1", "", ""), "23:30-24:00")]);
    let expected = [("2026-06-30T23:30:00Z", "2026-07-01T00:00:00Z")];
    check(&w, "2026-06-15T00:00:00Z", "2026-07-15T00:00:00Z", &expected);
}

#[test]
fn ranges_of_days_wrap_week_month_and_year() {
    let hold = |days: &Days, text: &str| days.hold(text.parse::<Date>().expect("a date"));
    let weekend = days("friday:monday", "", "", "");
    assert!(hold(&weekend, "2026-06-05") && hold(&weekend, "2026-06-08") && !hold(&weekend, "2026-06-09"));
    let turn = days("", "28:3", "", "");
    assert!(hold(&turn, "2026-06-28") && hold(&turn, "2026-07-03") && !hold(&turn, "2026-07-04"));
    let last = days("", "-3:-1", "", "");
    assert!(hold(&last, "2026-02-26") && hold(&last, "2028-02-27") && !hold(&last, "2028-02-26"));
    let winter = days("", "", "november:Feb", "");
    assert!(hold(&winter, "2026-01-15") && hold(&winter, "2026-11-01") && !hold(&winter, "2026-03-01"));
    // What ends with the month does not wrap it.
    let end = days("", "30:-1", "", "");
    assert!(hold(&end, "2026-04-30") && hold(&end, "2026-05-31") && !hold(&end, "2026-05-29"));
    assert!(!hold(&end, "2027-02-01") && !hold(&end, "2027-02-28") && !hold(&end, "2028-02-29"));
    let years = days("", "", "", "2026 2028:2029");
    assert!(hold(&years, "2026-01-15") && hold(&years, "2029-12-31") && !hold(&years, "2027-03-01"));
}

#[test]
fn bad_words_of_times_are_named() {
    let mut any = Days::default();
    assert_eq!(any.add_weekdays("moonday"), Err(SpanError::Weekday { word: "moonday".to_owned() }));
    assert_eq!(any.add_weekdays("Mon-Fri"), Err(SpanError::Weekday { word: "Mon-Fri".to_owned() }));
    assert_eq!(any.add_months("13"), Err(SpanError::Month { word: "13".to_owned() }));
    for text in ["0", "32", "1-5", "x", "1:", "99999999999"] {
        assert_eq!(any.add_days_of_month(text), Err(SpanError::DayOfMonth { text: text.to_owned() }));
    }
    for text in ["0", "-1", "9999", "99999999", "26:x"] {
        assert_eq!(any.add_years(text), Err(SpanError::Year { text: text.to_owned() }));
    }
    assert_eq!(any.add_years("2027:2026"), Err(SpanError::Backwards { text: "2027:2026".to_owned() }));
    let clock = |text: &str| Span::parse_clock(Days::default(), text).expect_err("bad times");
    assert!(matches!(clock("09:00"), SpanError::Clock { .. }));
    assert!(matches!(clock("Mon 09:00-10:00"), SpanError::Clock { .. }));
    assert!(matches!(clock("09:00-09:00"), SpanError::NoLength { .. }));
    assert!(matches!(clock("24:00-09:00"), SpanError::BeginsAtEnd { .. }));
    assert!(matches!(clock("09:00-24:01"), SpanError::Time { .. }));
    assert!(!days("", "30", "february", "").exist());
    assert!(!days("", "29", "february", "2026:2027").exist());
    assert!(days("monday", "29", "february", "").exist());
    // The first year and the last have no neighbours to look at.
    assert!(days("", "", "", "1").exist() && days("", "31", "12", "9998").exist());
}

#[test]
fn zonal_autoshift_s_windows_are_weekly_spans() {
    let w = blackout("UTC", vec![weekly("Mon:22:00-Tue:06:00"), weekly("Fri:20:30-Fri:21:30")]);
    let expected = [("2026-06-01T22:00:00Z", "2026-06-02T06:00:00Z"), ("2026-06-05T20:30:00Z", "2026-06-05T21:30:00Z")];
    check(&w, "2026-06-01T00:00:00Z", "2026-06-08T00:00:00Z", &expected);
}

fn cron(expression: &str, zone: &str, minutes: i64) -> Span {
    let zone = TimeZone::get(zone).expect("a zone");
    Span::cron(
        CronSchedule::parse(expression, zone, "w").expect("a cron expression"),
        SignedDuration::from_mins(minutes),
    )
}

#[test]
fn cron_with_a_duration_lasts_so_long_from_each_fire() {
    let w = blackout("Europe/Berlin", vec![cron("0 22 * * FRI", "Europe/Berlin", 8 * 60)]);
    // The night in which clocks go back lasts as long as any other.
    let expected = [("2026-10-16T20:00:00Z", "2026-10-17T04:00:00Z"), ("2026-10-23T20:00:00Z", "2026-10-24T04:00:00Z")];
    check(&w, "2026-10-16T00:00:00Z", "2026-10-25T00:00:00Z", &expected);
    // Fires that touch or overlap are one stretch, wherever one looks from.
    let w = blackout("UTC", vec![cron("*/10 9-16 * * *", "UTC", 15)]);
    let expected = [("2026-06-01T09:00:00Z", "2026-06-01T17:05:00Z")];
    check(&w, "2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", &expected);
    let stretch = Interval { start: at("2026-06-01T09:00:00Z"), end: at("2026-06-01T17:05:00Z") };
    for instant in ["2026-06-01T09:00:00Z", "2026-06-01T12:34:56Z", "2026-06-01T17:04:59Z"] {
        assert_eq!(w.covering(at(instant)), Some(stretch));
    }
    assert_eq!(w.covering(at("2026-06-01T17:05:00Z")), None);
    let always = window("always", WindowKind::Allowed, "UTC", vec![cron("* * * * *", "UTC", 1)]);
    let covered = always.covering(at("2026-06-01T17:05:00Z")).expect("covered");
    assert_eq!(covered.known_end(), None);
}

/// Sets of hours of a few days, as bits.
fn set(bits: u64) -> Intervals {
    let hour = |n: u64| Timestamp::from_second(i64::try_from(n).expect("small") * 3600).expect("an instant");
    Intervals::of((0..64).filter(|n| bits & (1 << n) != 0).map(|n| Interval { start: hour(n), end: hour(n + 1) }))
}

proptest::proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn the_algebra_of_intervals_keeps_its_laws(a: u64, b: u64, c: u64, by in -5..5_i64) {
        let within = Interval { start: Timestamp::UNIX_EPOCH, end: Timestamp::from_second(64 * 3600).expect("an instant") };
        let (x, y, z) = (set(a), set(b), set(c));
        proptest::prop_assert_eq!(&x.union(&y), &set(a | b));
        proptest::prop_assert_eq!(&x.intersection(&y), &set(a & b));
        proptest::prop_assert_eq!(&x.complement(within), &set(!a));
        proptest::prop_assert_eq!(x.union(&y).complement(within), x.complement(within).intersection(&y.complement(within)));
        proptest::prop_assert_eq!(x.intersection(&y.union(&z)), x.intersection(&y).union(&x.intersection(&z)));
        let hours = SignedDuration::from_hours(by);
        proptest::prop_assert_eq!(x.shifted(hours).shifted(-hours), x.clone());
        proptest::prop_assert_eq!(x.union(&y).shifted(hours), x.shifted(hours).union(&y.shifted(hours)));
        for (index, interval) in x.as_slice().iter().enumerate() {
            proptest::prop_assert!(interval.start < interval.end);
            proptest::prop_assert!(x.as_slice().get(index + 1).is_none_or(|next| interval.end < next.start));
            proptest::prop_assert_eq!(x.covering(interval.start), Some(*interval));
            proptest::prop_assert_eq!(x.covering(interval.end), None);
        }
    }
}
