//! Windows of a world and the calendars they refer to, drawn.

use std::{collections::BTreeMap, sync::Arc};

use firedrill::domain::{
    calendar::{
        found::Found,
        reading::{Content, Reading},
    },
    experiment::Rules,
    window::{NameGlob, OnEntry, Scope, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp};

use super::scenario::{minutes, name, zone};
use crate::support::chance::Chance;

/// The one calendar that windows refer to.
const CALENDAR: &str = "holidays";

/// Draws a window that begins within some hours of an instant.
pub fn window(c: &mut Chance, n: u64, near: Timestamp) -> Window {
    let zone = zone(c);
    let is_allowed = c.one_in(4);
    let from = zone.to_datetime(near + minutes(c.between(0, 240)) - minutes(if is_allowed { 120 } else { 30 }));
    let length = if is_allowed { c.between(60, 300) } else { c.between(1, 90) };
    let to = from.saturating_add(minutes(length));
    let span = if c.one_in(2) {
        let text = format!("{}-{}", from.strftime("%H:%M"), to.strftime("%H:%M"));
        Span::parse_weekly(&text)
    } else {
        let text = format!("{} - {}", from.strftime("%Y-%m-%dT%H:%M"), to.strftime("%Y-%m-%dT%H:%M"));
        Span::parse_dates(&text)
    };
    let scope = match c.between(0, 4) {
        0 => Scope { experiments: vec![NameGlob::new("drill-1")], ..Scope::default() },
        1 => Scope { experiments: vec![NameGlob::new("drill-*")], ..Scope::default() },
        2 => Scope { tags: BTreeMap::from([("team".to_owned(), "red".to_owned())]), ..Scope::default() },
        3 => Scope { regions: vec![NameGlob::new(c.pick(&["eu-*", "us-*"]))], ..Scope::default() },
        _ => Scope::default(),
    };
    let stop_lead = SignedDuration::from_secs(c.pick(&[0, 0, 30, 120, 600]));
    Window {
        name: name(&format!("w{n}")),
        kind: if is_allowed { WindowKind::Allowed } else { WindowKind::Blackout },
        scope,
        on_entry: if c.one_in(3) { OnEntry::Finish } else { OnEntry::Stop { lead: stop_lead } },
        lead: minutes(c.pick(&[0, 0, 0, 5, 20])),
        zone,
        spans: vec![span.expect("a span")],
        calendars: if c.one_in(3) { vec![reading(c, near)] } else { Vec::new() },
    }
}

/// Draws what is known of the calendar: nothing, or what was read just now or long ago.
fn reading(c: &mut Chance, near: Timestamp) -> Reading {
    let unread = Reading::unread(name(CALENDAR), minutes(c.pick(&[10, 45, 600])));
    let age = match c.between(0, 3) {
        0 => return unread,
        1 => minutes(c.between(20, 700)),
        _ => SignedDuration::ZERO,
    };
    Reading { content: Some(content(c, near, near - age)), ..unread }
}

fn content(c: &mut Chance, near: Timestamp, read_at: Timestamp) -> Content {
    let begin = near - minutes(60) + minutes(c.between(0, 300));
    let end = begin + minutes(c.between(1, 120));
    let kind = c.pick(&["", "X-CALENDAR-TYPE:DEFAULT_OPEN\n", "X-CALENDAR-TYPE:DEFAULT_CLOSED\n"]);
    let text = format!(
        "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//firedrill//simulation//EN\n{kind}BEGIN:VEVENT\nUID:1\n\
         DTSTAMP:20260101T000000Z\nDTSTART:{}\nDTEND:{}\nEND:VEVENT\nEND:VCALENDAR\n",
        begin.strftime("%Y%m%dT%H%M%SZ"),
        end.strftime("%Y%m%dT%H%M%SZ"),
    );
    let found = if kind.is_empty() {
        Found::File { text, timezone: "UTC".to_owned() }
    } else {
        Found::ChangeCalendars(vec![(CALENDAR.to_owned(), text)])
    };
    found.content(read_at).expect("a calendar")
}

/// Draws what a read of the calendar ends with: the same, something else, or a failure.
pub fn read_again(c: &mut Chance, rules: &Rules, now: Timestamp) -> Rules {
    let known = rules.windows.iter().flat_map(|window| &window.calendars).next();
    let Some(known) = known.cloned() else { return rules.clone() };
    let (content, failure) = match (c.between(0, 3), known.content) {
        (0, known) => (known, Some("no answer".to_owned())),
        (1, Some(known)) => (Some(Content { calendar: Arc::clone(&known.calendar), read_at: now, ..known }), None),
        _ => (Some(content(c, now, now)), None),
    };
    let readings = BTreeMap::from([(name(CALENDAR), Reading { content, failure, ..known })]);
    Rules { windows: rules.windows.with_readings(&readings), ..rules.clone() }
}
