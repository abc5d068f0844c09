//! Recurrence bombs: whatever a calendar asks for, reading it and asking it ends soon, with a reason where it is refused.

use std::time::{Duration, Instant};

use firedrill::domain::calendar::{Calendar, MAX_TEXT};

use super::{at, calendar};

/// Longest time for reading a calendar and asking it once, in a build without optimisations on a busy machine. The worst
/// takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(40);

fn one(start: &str, rule: &str) -> String {
    format!("BEGIN:VEVENT\nDTSTART:{start}\nDURATION:PT1M\nRRULE:{rule}\nEND:VEVENT")
}

/// Reads a calendar and asks it once: how many spans a day of 2026 has, or why that is not told.
#[track_caller]
fn asked(text: &str) -> Result<usize, String> {
    let began = Instant::now();
    let calendar = Calendar::parse(text);
    let spans = calendar.and_then(|calendar| calendar.spans(at("2026-06-01T00:00:00Z"), at("2026-06-02T00:00:00Z")));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    spans.map(|spans| spans.len()).map_err(|error| error.to_string())
}

#[test]
fn one_rule_ends_soon_whatever_it_asks_for() {
    let all_day = (0..24).map(|hour| hour.to_string()).collect::<Vec<_>>().join(",");
    let all_minutes = (0..60).map(|minute| minute.to_string()).collect::<Vec<_>>().join(",");
    let seconds = format!("FREQ=DAILY;BYHOUR={all_day};BYMINUTE={all_minutes};BYSECOND={all_minutes}");
    for (start, rule, expected) in [
        ("20260101", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", Err("no second date within 41 years")),
        ("20260101", "FREQ=DAILY;INTERVAL=10000;BYMONTH=2;BYMONTHDAY=30", Err("no second date within 41 years")),
        ("20260101", "FREQ=YEARLY;BYWEEKNO=53;BYMONTH=6", Err("no second date within 41 years")),
        ("20260101", "FREQ=WEEKLY;BYMONTH=2;BYDAY=MO;BYSETPOS=7", Err("no second date within 41 years")),
        ("20260101", "FREQ=HOURLY;INTERVAL=24;BYHOUR=5", Err("no second date within 41 years")),
        ("20260101", "FREQ=YEARLY;INTERVAL=10000", Err("no second date within 41 years")),
        ("20260101", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;COUNT=9", Err("no second date within 41 years")),
        ("20240229", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH;COUNT=100000", Ok(0)),
        ("19000101", "FREQ=DAILY", Ok(1)),
        ("20260101", "FREQ=DAILY;COUNT=100000", Ok(1)),
        ("20260101", "FREQ=YEARLY;COUNT=100000", Ok(0)),
        ("20260101", "FREQ=DAILY;UNTIL=99991231T235959Z", Ok(1)),
        ("20260101", &seconds, Err("more than 100000 occurrences to look at: let the event begin later")),
        ("19700101", "FREQ=HOURLY", Err("more than 100000 occurrences to look at")),
        ("20260101", "FREQ=SECONDLY", Err("FREQ=DAILY with BYHOUR and BYMINUTE")),
        ("00000101", "FREQ=DAILY", Err("line 5: the year 0 is out of range: from 1900 to 9998")),
        ("00010101", "FREQ=HOURLY", Err("line 5: the year 1 is out of range")),
        ("99991231", "FREQ=DAILY", Err("line 5: the year 9999 is out of range")),
        ("99980101", "FREQ=DAILY", Ok(0)),
        ("20260101", "FREQ=DAILY;BYDAY=1MO", Err("line 7: BYDAY with numbers does not go with FREQ=DAILY")),
        ("20260101", "FREQ=YEARLY;BYWEEKNO=2;BYDAY=1MO", Err("BYDAY with numbers, with BYWEEKNO,")),
        ("20260101", "FREQ=WEEKLY;BYMONTHDAY=1", Err("BYMONTHDAY does not go with FREQ=WEEKLY")),
        ("20260101", "FREQ=MONTHLY;BYYEARDAY=1", Err("BYYEARDAY does not go with FREQ=MONTHLY")),
        ("20260101", "FREQ=MONTHLY;BYWEEKNO=1", Err("BYWEEKNO does not go with FREQ=MONTHLY")),
        ("20260101", "FREQ=DAILY;BYSETPOS=1", Err("BYSETPOS without another BY part")),
    ] {
        match (asked(&calendar(&one(&format!("{start}T000000Z"), rule))), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{rule}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{rule}: {error}"),
            (found, expected) => panic!("{rule}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn many_rules_end_soon_too() {
    for (count, start, rule, expected) in [
        (2_000, "20260101", "FREQ=YEARLY", Ok(0)),
        (20_000, "20260101", "FREQ=DAILY;UNTIL=20260110T000000Z", Err("more than 1000000 occurrences")),
        (1_000, "20260101", "FREQ=DAILY", Err("more than 100000 occurrences")),
        // Each takes 28 years of days to come again.
        (1_000, "20240229", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=29;BYDAY=TH", Err("more than 1000000 occurrences")),
        (1_000, "19000101", "FREQ=YEARLY;BYDAY=MO;BYWEEKNO=1,53;COUNT=100000", Err("more than 100000 occurrences")),
    ] {
        let events: Vec<String> = (0..count).map(|_| one(&format!("{start}T000000Z"), rule)).collect();
        match (asked(&calendar(&events.join("\n"))), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{rule}"),
            (Err(error), Err(part)) => assert!(error.contains(part), "{rule}: {error}"),
            (found, expected) => panic!("{rule}: {found:?} instead of {expected:?}"),
        }
    }
}

#[test]
fn exceptions_are_not_looked_through_for_each_occurrence() {
    let excepted = |number: usize| {
        format!(
            "EXDATE:19{:02}{:02}01T{:02}{:02}00Z",
            number % 100,
            number / 100 % 12 + 1,
            number / 1_200 % 24,
            number / 28_800 % 60
        )
    };
    let excepted: Vec<String> = (0..90_000).map(excepted).collect();
    let event = one("20160101T000000Z", "FREQ=HOURLY");
    let event = event.replace("RRULE", &format!("{}\nEXDATE:20260601T030000Z\nRRULE", excepted.join("\n")));
    assert_eq!(asked(&calendar(&event)), Ok(23));
}

#[test]
fn the_longest_text_is_read_and_a_longer_one_is_not() {
    let event = |number: usize| {
        format!("BEGIN:VEVENT\nUID:{number}\nDTSTART:20260601T{:02}0000Z\nDURATION:PT1M\nEND:VEVENT", number % 24)
    };
    let events: Vec<String> = (0..40_000).map(event).collect();
    let text = calendar(&events.join("\n"));
    assert!(text.len() < MAX_TEXT && MAX_TEXT < text.len() * 2, "{}", text.len());
    assert_eq!(asked(&text), Ok(24));
    let error = asked(&format!("{text}{}", " ".repeat(MAX_TEXT))).expect_err("too long");
    assert!(error.contains("longer than 4194304 bytes"), "{error}");
}
