//! Windows with calendars: whose time is closed, and what closes when nobody knows.

use std::{collections::BTreeMap, sync::Arc};

use firedrill::domain::{
    calendar::{
        Calendar,
        reading::{Content, Reading},
    },
    window::{Window, WindowKind, Windows, closed_at, first_closure, free_slot, open_times},
};
use jiff::SignedDuration;

use super::{at, experiment, name, weekly, window};

/// One event on 5 June 2026 from 10:00 to 12:00.
const EVENT: &str = "BEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260605T100000Z\r\n\
                     DTEND:20260605T120000Z\r\nSUMMARY:freeze\r\nEND:VEVENT\r\n";

/// What was read at 09:00 on that day, good for an hour; `kind` is AWS's type of calendar.
fn reading(kind: &str) -> Reading {
    let kind = if kind.is_empty() { String::new() } else { format!("X-CALENDAR-TYPE:{kind}\r\n") };
    let text = format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n{kind}{EVENT}END:VCALENDAR\r\n");
    let calendar = Arc::new(Calendar::parse(&text).expect("a calendar"));
    let content = Content { calendar, read_at: at("2026-06-05T09:00:00Z"), known_until: None };
    Reading { content: Some(content), ..Reading::unread(name("changes"), SignedDuration::from_hours(1)) }
}

fn with(kind: WindowKind, reading: Reading) -> Window {
    Window { calendars: vec![reading], ..window("w", kind, "UTC", Vec::new()) }
}

/// Checks whether an experiment may run during the event, and after it.
#[track_caller]
fn check(kind: WindowKind, calendar: &str, expected: (bool, bool)) {
    let windows = Windows::from(vec![with(kind, reading(calendar))]).judged_at(at("2026-06-05T09:30:00Z"));
    let open = |text: &str| closed_at(&windows, &experiment("checkout"), at(text)).is_none();
    assert_eq!((open("2026-06-05T11:59:59Z"), open("2026-06-05T12:00:00Z")), expected, "{kind:?} {calendar}");
}

#[test]
fn change_calendars_close_what_they_say_is_closed() {
    check(WindowKind::Blackout, "", (false, true));
    check(WindowKind::Blackout, "DEFAULT_OPEN", (false, true));
    check(WindowKind::Blackout, "DEFAULT_CLOSED", (true, false));
    check(WindowKind::Allowed, "", (true, false));
    check(WindowKind::Allowed, "DEFAULT_OPEN", (false, true));
    check(WindowKind::Allowed, "DEFAULT_CLOSED", (true, false));
}

#[test]
fn calendar_that_is_not_believed_closes_whatever_its_window_does() {
    let e = experiment("checkout");
    for kind in [WindowKind::Blackout, WindowKind::Allowed] {
        let fresh = reading("");
        let windows = Windows::from(vec![with(kind, fresh.clone()), super::blackout("UTC", vec![weekly("Sun")])]);
        let unknown =
            |windows: &Windows, text: &str| closed_at(windows, &e, at(text)).and_then(|closure| closure.unknown);
        assert_eq!(unknown(&windows, "2026-06-05T10:00:00Z"), None);
        // An hour later it is too old, and a minute before it was read it is from the future.
        for text in ["2026-06-05T10:00:00.000000001Z", "2026-06-05T08:59:00Z"] {
            assert_eq!(
                unknown(&windows, text).expect("unknown"),
                "calendar `changes` was last read at 2026-06-05T09:00:00Z"
            );
        }
        let closure = closed_at(&windows, &e, at("2026-06-05T11:00:00Z")).expect("closed");
        assert_eq!((closure.window.as_str(), closure.until), ("w", None));
        let failed = Reading { failure: Some("access denied".to_owned()), content: None, ..fresh };
        let readings = BTreeMap::from([(name("changes"), failed)]);
        let unread = windows.with_readings(&readings);
        let said = unknown(&unread, "2026-06-05T09:30:00Z").expect("unknown");
        assert_eq!(said, "calendar `changes` was not read yet: access denied");
        let day = SignedDuration::from_hours(24);
        assert_eq!(free_slot(&unread, &e, SignedDuration::from_mins(1), at("2026-06-05T09:30:00Z"), day), None);
        assert!(open_times(&unread, &e, at("2026-06-05T09:30:00Z"), at("2026-06-06T09:30:00Z")).is_empty());
    }
}

#[test]
fn age_is_judged_now_and_not_for_the_time_ahead() {
    let windows = Windows::from(vec![with(WindowKind::Blackout, reading(""))]);
    let e = experiment("checkout");
    let (now, later) = (at("2026-06-05T09:30:00Z"), at("2026-06-05T11:30:00Z"));
    let first = first_closure(&windows, &e, now, later).expect("the event");
    assert_eq!((first.opens, first.unknown), (at("2026-06-05T10:00:00Z"), None));
    // Nobody has read it since, so later it is closed; a forecast takes it to be read again and again.
    assert!(closed_at(&windows, &e, at("2026-06-05T13:00:00Z")).is_some());
    assert!(closed_at(&windows.judged_at(now), &e, at("2026-06-05T13:00:00Z")).is_none());
    // What is not believed at the forecast's start never is.
    let stale = windows.judged_at(at("2026-06-05T13:00:00Z"));
    assert!(closed_at(&stale, &e, at("2026-06-05T09:30:00Z")).is_some());
}

#[test]
fn beyond_what_a_calendar_knows_it_is_closed() {
    let e = experiment("checkout");
    for kind in [WindowKind::Blackout, WindowKind::Allowed] {
        let mut known = reading("");
        let until = at("2026-06-05T11:00:00Z");
        known.content = known.content.map(|content| Content { known_until: Some(until), ..content });
        let windows = Windows::from(vec![with(kind, known)]);
        let closure =
            first_closure(&windows, &e, at("2026-06-05T10:00:00Z"), at("2026-06-05T12:00:00Z")).expect("closed");
        if kind == WindowKind::Allowed {
            assert_eq!(closure.opens, until);
            let doubt = "calendar `changes` says nothing of the time after 2026-06-05T11:00:00Z";
            assert_eq!(closure.unknown.as_deref(), Some(doubt));
        }
        let windows = windows.judged_at(at("2026-06-05T10:00:00Z"));
        assert!(closed_at(&windows, &e, at("2027-06-05T00:00:00Z")).expect("closed").unknown.is_some());
        assert!(closed_at(&windows, &e, until).is_some());
    }
}

#[test]
fn new_reading_replaces_what_was_computed_of_the_old() {
    let e = experiment("checkout");
    let now = at("2026-06-05T10:30:00Z");
    let mut long = reading("");
    long.good_for = SignedDuration::from_hours(24);
    let windows = Windows::from(vec![with(WindowKind::Blackout, long)]);
    assert!(closed_at(&windows, &e, now).is_some());
    let empty = Calendar::parse("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nEND:VCALENDAR\r\n").expect("a calendar");
    let content = Content { calendar: Arc::new(empty), read_at: at("2026-06-05T10:00:00Z"), known_until: None };
    let changed = Reading { content: Some(content), ..Reading::unread(name("changes"), SignedDuration::from_hours(1)) };
    let windows = windows.with_readings(&BTreeMap::from([(name("changes"), changed)]));
    assert_eq!(closed_at(&windows, &e, now), None);
}
