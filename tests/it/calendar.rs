//! Calendars: what their text means, and which texts are refused.

use firedrill::domain::calendar::{Calendar, DefaultState};
use jiff::Timestamp;

mod agent;
mod bombs;
mod config;
mod export;
mod files;
mod reading;
mod rfc;

/// A calendar around some lines.
fn calendar(lines: &str) -> String {
    let lines = lines.trim().lines().map(str::trim).collect::<Vec<_>>().join("\r\n");
    format!("BEGIN:VCALENDAR\r\nPRODID:-//test\r\nVERSION:2.0\r\n{lines}\r\nEND:VCALENDAR\r\n")
}

fn event(lines: &str) -> String {
    calendar(&format!("BEGIN:VEVENT\n{lines}\nEND:VEVENT"))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Compares the spans between two instants with those that are expected.
fn check(text: &str, from: &str, to: &str, expected: &[(&str, &str)]) {
    let calendar = Calendar::parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    let spans = calendar.spans(at(from), at(to)).expect("few enough");
    let spans: Vec<_> = spans.iter().map(|span| (span.start.to_string(), span.end.to_string())).collect();
    let expected: Vec<_> = expected.iter().map(|(start, end)| ((*start).to_owned(), (*end).to_owned())).collect();
    assert_eq!(spans, expected, "{text}");
}

#[test]
fn events_become_spans() {
    // A zone, a folded line, a quoted parameter, and things that do not matter.
    let text = calendar(
        "X-WR-TIMEZONE:Europe/Berlin\nBEGIN:VTODO\nSUMMARY:Add events.\nEND:VTODO\nBEGIN:VEVENT\n\
         DTSTART;TZID=\"Europe/Berlin\":20260310T090000\nDTEND;TZID=Europe/Berlin:20260310T103000\nBEGIN:VALARM\n\
         TRIGGER:-PT5M\nEND:VALARM\nEND:VEVENT",
    );
    check(&text, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", &[("2026-03-10T08:00:00Z", "2026-03-10T09:30:00Z")]);
    // Half-open: what ends at the beginning, and what begins at the end, is not there.
    check(&text, "2026-03-10T09:30:00Z", "2026-03-11T00:00:00Z", &[]);
    check(&text, "2026-03-10T00:00:00Z", "2026-03-10T08:00:00Z", &[]);
    let day = calendar(
        "X-WR-TIMEZONE:Europe/Berlin\nBEGIN:VEVENT\nDTSTART;VALUE=DATE:20260328\nDTEND;VALUE=DATE:20260330\nEND:VEVENT",
    );
    // Two days of which the second one has 23 hours.
    check(&day, "2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", &[("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z")]);
    let one_day = event("DTSTART;VALUE=DATE:20260101");
    check(
        &one_day,
        "2025-12-01T00:00:00Z",
        "2026-02-01T00:00:00Z",
        &[("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")],
    );
    let joined = calendar(
        "BEGIN:VEVENT\nDTSTART:20260101T000000Z\nDURATION:PT1H\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20260101T010000Z\n\
         DURATION:P1DT1H\nEND:VEVENT\nBEGIN:VEVENT\nDTSTART:20260101T003000Z\nDURATION:PT1H\nSTATUS:CANCELLED\nEND:VEVENT",
    );
    check(&joined, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", &[("2026-01-01T00:00:00Z", "2026-01-02T02:00:00Z")]);
}

#[test]
fn recurring_events_keep_their_local_time() {
    // New York goes to summer time on 8 March 2026, so 02:30 does not exist that day: the offset before the gap holds.
    let text =
        event("DTSTART;TZID=America/New_York:20260307T023000\nDURATION:PT1H\nRRULE:FREQ=DAILY;UNTIL=20260309T063000Z");
    let expected = [
        ("2026-03-07T07:30:00Z", "2026-03-07T08:30:00Z"),
        ("2026-03-08T07:30:00Z", "2026-03-08T08:30:00Z"),
        ("2026-03-09T06:30:00Z", "2026-03-09T07:30:00Z"),
    ];
    check(&text, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", &expected);
    // In the hour that comes twice, the first pass.
    let text = event("DTSTART;TZID=America/New_York:20261101T013000\nDURATION:PT30M");
    check(&text, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z", &[("2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z")]);
    // A time between start and end is exact, a day is one of the calendar.
    let text = event("DTSTART;TZID=Europe/Berlin:20260327T120000\nDURATION:P1D\nRRULE:FREQ=DAILY;INTERVAL=2;COUNT=2");
    let expected = [("2026-03-27T11:00:00Z", "2026-03-28T11:00:00Z"), ("2026-03-29T10:00:00Z", "2026-03-30T10:00:00Z")];
    check(&text, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", &expected);
    // Endless, with exceptions, a replaced occurrence, a cancelled one and one more.
    let text = calendar(
        "BEGIN:VEVENT\nUID:a\nDTSTART;TZID=Europe/Berlin:20200106T100000\nDTEND;TZID=Europe/Berlin:20200106T110000\n\
         RRULE:FREQ=WEEKLY;BYDAY=MO\nEXDATE;TZID=Europe/Berlin:20260309T100000\n\
         RDATE;VALUE=PERIOD:20260311T000000Z/PT15M\nEND:VEVENT\n\
         BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;TZID=Europe/Berlin:20260316T100000\nDTSTART:20260317T090000Z\nDURATION:PT30M\n\
         END:VEVENT\n\
         BEGIN:VEVENT\nUID:a\nRECURRENCE-ID;TZID=Europe/Berlin:20260323T100000\nDTSTART:20260323T090000Z\nDURATION:PT1H\n\
         STATUS:CANCELLED\nEND:VEVENT",
    );
    let expected = [
        ("2026-03-02T09:00:00Z", "2026-03-02T10:00:00Z"),
        ("2026-03-11T00:00:00Z", "2026-03-11T00:15:00Z"),
        ("2026-03-17T09:00:00Z", "2026-03-17T09:30:00Z"),
        ("2026-03-30T08:00:00Z", "2026-03-30T09:00:00Z"),
    ];
    check(&text, "2026-03-01T00:00:00Z", "2026-04-01T00:00:00Z", &expected);
    let last = event("DTSTART:20260130T000000Z\nDURATION:PT1H\nRRULE:FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1");
    let expected = [("2026-01-30T00:00:00Z", "2026-01-30T01:00:00Z"), ("2026-02-27T00:00:00Z", "2026-02-27T01:00:00Z")];
    check(&last, "2026-01-01T00:00:00Z", "2026-03-01T00:00:00Z", &expected);
}

#[test]
fn transitions_are_found_near_and_far() {
    let text = event("DTSTART;VALUE=DATE:20240229\nRRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29");
    let calendar = Calendar::parse(&text).expect("a calendar");
    let next = |from: &str| calendar.next_transition(at(from)).expect("few").map(|at| at.to_string());
    assert_eq!(next("2024-03-01T00:00:00Z").as_deref(), Some("2028-02-29T00:00:00Z"));
    assert_eq!(next("2028-02-29T00:00:00Z").as_deref(), Some("2028-03-01T00:00:00Z"));
    let covering = |from: &str| calendar.covering(at(from)).expect("few").is_some();
    assert!(covering("2028-02-29T00:00:00Z") && !covering("2028-03-01T00:00:00Z"), "half-open");
    let over = Calendar::parse(&event("DTSTART:20200101T000000Z\nDURATION:PT1H")).expect("a calendar");
    assert_eq!(over.next_transition(at("2026-01-01T00:00:00Z")).expect("few"), None);
    let always = Calendar::parse(&event("DTSTART;VALUE=DATE:20200101\nRRULE:FREQ=DAILY")).expect("a calendar");
    assert_eq!(always.next_transition(at("2026-01-01T00:00:00Z")).expect("few"), None);
}

#[test]
fn aws_calendars_say_what_they_are_otherwise() {
    for (line, state) in [
        ("X-CALENDAR-TYPE:DEFAULT_OPEN", Some(DefaultState::Open)),
        ("X-CALENDAR-TYPE:DEFAULT_CLOSED", Some(DefaultState::Closed)),
        ("X-WR-CALDESC:none", None),
    ] {
        assert_eq!(Calendar::parse(&calendar(line)).expect("a calendar").default_state(), state);
    }
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    let timed = "DTSTART:20260101T000000Z\nDURATION:PT1H\n";
    let rule = |rule: &str| event(&format!("{timed}RRULE:{rule}"));
    let whole = rule("FREQ=DAILY");
    let cut = whole.split("END:VEVENT").next().expect("a beginning");
    for (text, line, problem) in [
        (String::new(), 1, "BEGIN:VCALENDAR"),
        ("hello".to_owned(), 1, "no property"),
        (cut.to_owned(), 4, "not ended"),
        (whole.replace("END:VEVENT\r\n", ""), 8, "not ended"),
        (format!("{whole}{whole}"), 10, "more than one calendar"),
        (event("DURATION:PT1H"), 4, "no DTSTART"),
        (event("DTSTART:20260101T000000Z"), 4, "no DTEND or DURATION"),
        (event(&format!("{timed}DTEND:20260101T020000Z")), 6, "more than one end"),
        (event(&format!("{timed}DTSTART:20260101T000000Z")), 7, "more than one DTSTART"),
        (event("DTSTART:20260231T000000Z\nDURATION:PT1H"), 5, "`20260231T000000Z` is no value for DTSTART"),
        (event("DTSTART:2026\nDURATION:PT1H"), 5, "no value for DTSTART"),
        (event("DTSTART:20260101T000000Z\nDTEND:20251231T000000Z"), 6, "no value for DTEND"),
        (event("DTSTART:20260101T000000Z\nDTEND;VALUE=DATE:20260102"), 6, "no value for DTEND"),
        (event("DTSTART:20260101T000000Z\nDURATION:-PT1H"), 6, "no value for DURATION"),
        (event("DTSTART:20260101T000000Z\nDURATION:P1M"), 6, "no value for DURATION"),
        (event("DTSTART;TZID=Mars/Olympus:20260101T000000\nDURATION:PT1H"), 5, "`Mars/Olympus` is not known"),
        (calendar("X-WR-TIMEZONE:Nowhere"), 4, "`Nowhere` is not known"),
        (event(&format!("{timed}EXRULE:FREQ=DAILY")), 7, "EXRULE is not supported"),
        (event(&format!("{timed}EXDATE;VALUE=DATE:20260102")), 7, "no value for EXDATE"),
        (event(&format!("{timed}RECURRENCE-ID;RANGE=THISANDFUTURE:20260101T000000Z")), 7, "RANGE is not supported"),
        (rule("FREQ=SOMETIMES"), 7, "`FREQ=SOMETIMES`"),
        (rule("BYDAY=MO"), 7, "`BYDAY=MO`"),
        (rule("FREQ=WEEKLY;BYDAY=XX"), 7, "`BYDAY=XX`"),
        (rule("FREQ=DAILY;BYHOUR=24"), 7, "`BYHOUR=24`"),
        (rule("FREQ=DAILY;INTERVAL=0"), 7, "`INTERVAL=0`"),
        (rule("FREQ=DAILY;COUNT=256;UNTIL=20270101"), 7, "COUNT=256"),
        (rule("FREQ=DAILY;FREQ=WEEKLY"), 7, "`FREQ=WEEKLY`"),
        (rule("FREQ=DAILY;X-ODD=1"), 7, "`X-ODD=1`"),
        (rule("FREQ=DAILY;UNTIL=20200101T000000Z"), 7, "UNTIL=2020"),
        (rule("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"), 7, "BYMONTHDAY=30"),
        (rule("FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30"), 7, "FREQ=DAILY with BYHOUR"),
        (rule("FREQ=HOURLY;INTERVAL=24;BYHOUR=5;UNTIL=20991231"), 7, "BYHOUR=5"),
        (rule("FREQ=MINUTELY"), 7, "FREQ=DAILY with BYHOUR and BYMINUTE"),
        (rule("FREQ=DAILY;COUNT=4294967297"), 7, "COUNT"),
        (calendar("X-CALENDAR-TYPE:SOMETIMES"), 4, "no value for X-CALENDAR-TYPE"),
    ] {
        let error = Calendar::parse(&text).map(drop).expect_err(&text).to_string();
        assert!(error.starts_with(&format!("line {line}: ")) && error.contains(problem), "{error}\n{text}");
    }
    // Every hour for ages is more than anybody looks through.
    let often = event("DTSTART:19700101T000000Z\nDURATION:PT1M\nRRULE:FREQ=HOURLY;BYMINUTE=0,10,20,30,40,50");
    let often = Calendar::parse(&often).expect("a calendar");
    let error = often.covering(at("2026-01-01T00:00:00Z")).expect_err("too many");
    assert!(error.to_string().contains("more than"), "{error}");
}

proptest::proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn no_text_makes_it_panic(cut in 0_usize..400, put in "[A-Z0-9:;=,/\\-+TZ\n ]{0,12}") {
        let text = event(
            "UID:a\nDTSTART;TZID=Europe/Berlin:20260101T000000\nDURATION:P1DT1H\nRRULE:FREQ=WEEKLY;BYDAY=MO,-1FR;INTERVAL=2\n\
             EXDATE;TZID=Europe/Berlin:20260105T000000\nRDATE;VALUE=PERIOD:20260111T000000Z/PT15M",
        );
        let cut = cut.min(text.len());
        let text = format!("{}{put}{}", &text[..cut], &text[cut..]);
        if let Ok(calendar) = Calendar::parse(&text) {
            let spans = calendar.spans(at("2026-01-01T00:00:00Z"), at("2026-06-01T00:00:00Z"));
            for span in spans.into_iter().flatten() {
                proptest::prop_assert!(span.start < span.end);
            }
        }
    }
}
