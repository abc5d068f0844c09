//! Our own export: what is written can be read again, by the library and by ourselves.

use calcard::icalendar::{ICalendar, ICalendarComponentType, ICalendarProperty, ICalendarValue};
use firedrill::domain::calendar::{
    Calendar,
    export::{Item, Status, export},
};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::at;

fn item(start: &str, minutes: i64) -> Item {
    let start = at(start);
    Item {
        uid: "slot-1@firedrill".to_owned(),
        start,
        end: start + SignedDuration::from_mins(minutes),
        summary: "checkout, latency; \\ \"half\"".to_owned(),
        description: String::new(),
        status: Status::Confirmed,
        categories: vec!["run".to_owned(), "a,b".to_owned()],
    }
}

#[test]
fn a_plan_is_written_as_rfc_5545_says() {
    let refused = Item {
        uid: "slot-2@firedrill".to_owned(),
        description: "blackout `freeze` until 06:00\r\nand it is said why, in a line that is longer than one may be, with ü and 日本"
            .to_owned(),
        status: Status::Cancelled,
        categories: Vec::new(),
        ..item("2026-12-24T02:00:00.9Z", 0)
    };
    let text = export(&[item("2026-12-23T02:00:00Z", 45), refused], at("2026-11-25T21:00:00Z"));
    insta::assert_snapshot!(text.replace("\r\n", "\n"), @r#"
    BEGIN:VCALENDAR
    VERSION:2.0
    PRODID:-//Firedrill//Firedrill//EN
    BEGIN:VEVENT
    UID:slot-1@firedrill
    DTSTAMP:20261125T210000Z
    DTSTART:20261223T020000Z
    DTEND:20261223T024500Z
    SUMMARY:checkout\, latency\; \\ "half"
    STATUS:CONFIRMED
    CATEGORIES:run,a\,b
    END:VEVENT
    BEGIN:VEVENT
    UID:slot-2@firedrill
    DTSTAMP:20261125T210000Z
    DTSTART:20261224T020000Z
    DTEND:20261224T020100Z
    SUMMARY:checkout\, latency\; \\ "half"
    DESCRIPTION:blackout `freeze` until 06:00\nand it is said why\, in a line t
     hat is longer than one may be\, with ü and 日本
    STATUS:CANCELLED
    END:VEVENT
    END:VCALENDAR
    "#);
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count());
    assert_eq!(export(&[], at("2026-11-25T21:00:00Z")).lines().count(), 4, "nothing planned is a calendar too");
}

fn texts(calendar: &ICalendar, uid: &str, name: &ICalendarProperty) -> Vec<String> {
    let text = |value: &ICalendarValue| match value {
        ICalendarValue::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let component = calendar.components.iter().find(|component| {
        component.component_type == ICalendarComponentType::VEvent
            && component.entries.iter().any(|entry| {
                entry.name == ICalendarProperty::Uid && entry.values.iter().any(|value| text(value) == uid)
            })
    });
    let component = component.unwrap_or_else(|| panic!("no event {uid}"));
    let entries = component.entries.iter().filter(|entry| entry.name == *name);
    entries.flat_map(|entry| &entry.values).map(text).collect()
}

proptest! {
    #![proptest_config(crate::support::chance::cases(300))]

    #[test]
    fn what_is_written_is_read_again(
        events in proptest::collection::vec(
            (
                -2_000_000_000_i64..20_000_000_000,
                0_i64..2_000_000,
                "[ -~äß日🦀\n,;:\\\\\"]{1,120}",
                "[ -~\t\r\nü]{0,200}",
                proptest::collection::vec("[a-z;,ü\\\\]{1,9}", 0..3),
                0_u8..3,
            ),
            0..6,
        ),
    ) {
        let items: Vec<Item> = events.into_iter().enumerate().map(|(number, event)| {
            let (start, length, summary, description, categories, status) = event;
            let start = Timestamp::from_second(start).expect("a time");
            let status = [Status::Confirmed, Status::Tentative, Status::Cancelled][usize::from(status)];
            let end = start + SignedDuration::from_secs(length);
            Item { uid: format!("{number}@firedrill"), start, end, summary, description, status, categories }
        }).collect();
        let text = export(&items, at("2026-11-25T21:00:00Z"));
        for line in text.split_terminator("\r\n") {
            prop_assert!(line.len() <= 75 && !line.contains(['\r', '\n']), "{line}");
        }
        let read = ICalendar::parse(&text).expect("a calendar");
        for item in &items {
            let all = |name| texts(&read, &item.uid, &name);
            prop_assert_eq!(all(ICalendarProperty::Summary), [item.summary.clone()]);
            let description = item.description.replace("\r\n", "\n").replace('\r', "");
            prop_assert_eq!(all(ICalendarProperty::Description).concat(), description);
            prop_assert_eq!(all(ICalendarProperty::Categories), item.categories.clone());
        }
        let ours = Calendar::parse(&text).expect("a calendar");
        let spans = ours.spans(Timestamp::MIN, Timestamp::MAX).expect("few");
        for item in &items {
            let end = if item.end > item.start { item.end } else { item.start + SignedDuration::from_mins(1) };
            let holds = spans.iter().any(|span| span.start <= item.start && end <= span.end);
            prop_assert!(holds || item.status == Status::Cancelled, "{item:?} {spans:?}");
        }
        let taking_place = items.iter().filter(|item| item.status != Status::Cancelled).count();
        prop_assert!(spans.len() <= taking_place);
    }
}
