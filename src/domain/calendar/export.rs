//! Export: planned runs and windows as iCalendar text (RFC 5545), for the calendars that people look at.
//!
//! Pure: the time of writing is an argument, so that the same plan is the same text.

use calcard::{
    common::PartialDateTime,
    icalendar::{
        ICalendar, ICalendarComponent, ICalendarComponentType, ICalendarEntry, ICalendarProperty, ICalendarStatus,
        ICalendarValue,
    },
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::later;

/// Who wrote it, as RFC 5545 asks for.
const PRODUCT: &str = "-//Firedrill//Firedrill//EN";

/// What an event without a length is given, since an event must end after it begins (RFC 5545, 3.8.2.2).
const SHORTEST: SignedDuration = SignedDuration::from_mins(1);

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Stays the same for the same thing, so that a calendar that is imported again replaces what it holds.
    pub uid: String,
    /// First instant; written to the second.
    pub start: Timestamp,
    /// First instant after it. One that is not after `start` is written as a minute later.
    pub end: Timestamp,
    /// Title.
    pub summary: String,
    /// Any text; left out when empty.
    pub description: String,
    /// Whether it takes place.
    pub status: Status,
    /// Labels.
    pub categories: Vec<String>,
}

/// Whether an event takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Confirmed,
    /// It may.
    Tentative,
    /// It does not.
    Cancelled,
}

/// Writes a calendar, its lines folded and ended by CR and LF. `written_at` is the `DTSTAMP` of every event.
pub fn export(items: &[Item], written_at: Timestamp) -> String {
    let mut calendar = ICalendarComponent::new(ICalendarComponentType::VCalendar);
    for (name, value) in [(ICalendarProperty::Version, "2.0"), (ICalendarProperty::Prodid, PRODUCT)] {
        calendar.add_property(name, ICalendarValue::Text(value.to_owned()));
    }
    let mut components = vec![calendar];
    components.extend(items.iter().map(|item| event(item, written_at)));
    let children = 1..components.len();
    if let Some(calendar) = components.first_mut() {
        calendar.component_ids = children.filter_map(|index| u32::try_from(index).ok()).collect();
    }
    ICalendar { components }.to_string()
}

fn event(item: &Item, written_at: Timestamp) -> ICalendarComponent {
    let mut event = ICalendarComponent::new(ICalendarComponentType::VEvent);
    let text = |text: &str| ICalendarValue::Text(printable(text));
    let end = if item.end.as_second() > item.start.as_second() { item.end } else { later(item.start, SHORTEST) };
    event.add_property(ICalendarProperty::Uid, text(&item.uid));
    event.add_dtstamp(in_utc(written_at));
    event.add_property(ICalendarProperty::Dtstart, in_utc(item.start));
    event.add_property(ICalendarProperty::Dtend, in_utc(end));
    event.add_property(ICalendarProperty::Summary, text(&item.summary));
    if !item.description.is_empty() {
        event.add_property(ICalendarProperty::Description, text(&item.description));
    }
    event.add_property(
        ICalendarProperty::Status,
        ICalendarValue::Status(match item.status {
            Status::Confirmed => ICalendarStatus::Confirmed,
            Status::Tentative => ICalendarStatus::Tentative,
            Status::Cancelled => ICalendarStatus::Cancelled,
        }),
    );
    if !item.categories.is_empty() {
        let categories = item.categories.iter().map(|label| text(label)).collect();
        event.entries.push(ICalendarEntry::new(ICalendarProperty::Categories).with_values(categories));
    }
    event
}

/// A text without what no calendar may hold (RFC 5545, 3.1): control characters other than the end of a line.
fn printable(text: &str) -> String {
    text.replace("\r\n", "\n").chars().filter(|c| *c == '\n' || *c == '\t' || !c.is_control()).collect()
}

fn in_utc(at: Timestamp) -> PartialDateTime {
    let at = TimeZone::UTC.to_datetime(at);
    let part = |value: i8| u8::try_from(value).ok();
    PartialDateTime {
        year: u16::try_from(at.year()).ok(),
        month: part(at.month()),
        day: part(at.day()),
        hour: part(at.hour()),
        minute: part(at.minute()),
        second: part(at.second()),
        tz_hour: Some(0),
        tz_minute: Some(0),
        tz_minus: false,
    }
}
