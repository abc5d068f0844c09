//! The searches against a walk over every minute, for random expressions around clock changes.

use firedrill::domain::schedule::{CronSchedule, Schedule, Slot};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;

use super::{at, cron, of, schedule, zone};

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
    #![proptest_config(crate::support::chance::cases(96))]

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
    fn days_agree_with_the_parsers_own_opinion(
        day in prop_oneof!["[1-9]|[12][0-9]|3[01]", "([1-9]|1[0-9]|2[0-9])W", Just("L".to_owned()), Just("LW".to_owned()),
            Just("31W,1W,15W".to_owned()), Just("*".to_owned()), Just("*/9".to_owned()), Just("L,14".to_owned())],
        month in prop_oneof![Just("*"), Just("2"), Just("2,3,11"), Just("*/5")],
        weekday in prop_oneof!["[0-7]#[1-5]", "[0-7]L", Just("*".to_owned()), Just("1-5".to_owned()),
            Just("FRI#2,MONL".to_owned()), Just("+2,4".to_owned()), Just("*/3".to_owned())],
        year in 1990_i16..2030,
    ) {
        let expression = format!("0 0 {day} {month} {weekday}");
        let starred = day.starts_with('*') || weekday.starts_with('*');
        let parser = croner::parser::CronParser::builder().dom_and_dow(starred).build();
        let theirs = parser.parse(&expression).expect("a good expression");
        let begin = jiff::civil::date(year, 1, 1);
        let days = std::iter::successors(Some(begin), |day| day.tomorrow().ok()).take(800);
        let expected: Vec<DateTime> =
            days.map(|day| day.at(0, 0, 0, 0)).filter(|day| theirs.is_time_matching(day).expect("a year in range")).collect();
        let found: Vec<DateTime> = match CronSchedule::parse(&expression, TimeZone::UTC, "") {
            Ok(cron) => {
                let begin = begin.to_zoned(TimeZone::UTC).expect("an instant").timestamp();
                let slots = walked(&of(cron), begin - SignedDuration::from_nanos(1), begin + SignedDuration::from_hours(24 * 800 - 1));
                slots.iter().map(|slot| TimeZone::UTC.to_datetime(slot.at)).collect()
            }
            Err(_) => Vec::new(),
        };
        prop_assert_eq!(found, expected, "{}", expression);
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
    fn any_text_is_parsed_or_refused(
        text in "[-*/,0-9LW#?+A-Z@H() ]{0,24}",
        fields in "([-*/,0-9LWH#?]{1,5} ){4}[-*0-9,L#]{1,4}",
        anything in ".{0,60}",
    ) {
        for text in [text, fields, anything] {
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
