//! Readings: whether what was last read of a calendar is believed, and the words in which it is not.

use std::{collections::BTreeMap, sync::Arc};

use firedrill::domain::{
    calendar::{
        Calendar, DefaultState,
        reading::{Content, Reading},
    },
    experiment::Rules,
    ids::Name,
    window::{OnEntry, Window, WindowKind},
};
use jiff::SignedDuration;

use super::at;
use crate::support::world::window;

/// A calendar that was read at 10:00 and is believed for an hour.
fn reading() -> Reading {
    let calendar = Arc::new(Calendar::constant(DefaultState::Open));
    let content = Content { calendar, read_at: at("2026-06-01T10:00:00Z"), known_until: None };
    let unread = Reading::unread(Name::parse("changes").expect("a name"), SignedDuration::from_hours(1));
    Reading { content: Some(content), ..unread }
}

#[test]
fn clock_set_back_by_a_little_stops_nothing() {
    let believed = |now: &str| reading().believed(at(now)).is_ok();
    assert!(believed("2026-06-01T10:00:00Z") && believed("2026-06-01T11:00:00Z"));
    assert!(!believed("2026-06-01T11:00:00.000000001Z"));
    assert!(believed("2026-06-01T09:59:59.9Z") && believed("2026-06-01T09:59:01Z"));
    assert!(!believed("2026-06-01T09:59:00Z") && !believed("2026-05-01T10:00:00Z"));
}

#[test]
fn reason_stays_the_same_while_a_call_fails_in_the_same_way() {
    let says = |failure: &str| {
        let reading = Reading { failure: Some(failure.to_owned()), ..reading() };
        reading.believed(at("2026-06-02T10:00:00Z")).map(|_| ()).expect_err("too old")
    };
    assert_eq!(says("denied: AccessDenied: request 1f2e"), says("denied: AccessDenied: request 3d4c"));
    assert_eq!(says("denied: x"), "calendar `changes` was last read at 2026-06-01T10:00:00Z: denied");
    assert!(says("`/etc/x.ics`: line 5: no zone").ends_with(": `/etc/x.ics`: line 5: no zone"));
    assert!(says("no answer within 30 s").ends_with(": no answer within 30 s"));
}

/// A start that is being written down goes by the rules of before; it need not be judged anew for a calendar that says the same.
#[test]
fn calendar_that_says_the_same_makes_no_other_rules() {
    let read = |calendar: &Arc<Calendar>, read_at: &str| {
        let content = Content { calendar: calendar.clone(), read_at: at(read_at), known_until: None };
        let reading = Reading { content: Some(content), ..reading() };
        BTreeMap::from([(reading.calendar.clone(), reading)])
    };
    let (open, closed) =
        (Arc::new(Calendar::constant(DefaultState::Open)), Arc::new(Calendar::constant(DefaultState::Closed)));
    let following = window("changes", WindowKind::Blackout, "10:00:00", "11:00:00", OnEntry::Finish);
    let following = Window { calendars: vec![reading()], ..following };
    let configured = || Rules { windows: vec![following.clone()].into(), ..Rules::default() };
    let first = configured().with_readings(&read(&open, "2026-06-01T10:00:00Z"));
    let again = first.clone().with_readings(&read(&open, "2026-06-01T10:30:00Z"));
    assert!(again.are_as(&first), "it says the same");
    let known = &again.windows.iter().next().expect("a window").calendars[0];
    assert!(known.believed(at("2026-06-01T11:30:00Z")).is_ok(), "it is not older than it is");
    assert!(!again.with_readings(&read(&closed, "2026-06-01T10:30:00Z")).are_as(&first), "it says something else");
    assert!(!configured().with_readings(&read(&open, "2026-06-01T10:30:00Z")).are_as(&first), "another configuration");
    assert!(!Rules { experiments: BTreeMap::new(), ..configured() }.are_as(&configured()), "nobody knows");
}
