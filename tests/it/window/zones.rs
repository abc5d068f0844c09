//! Windows in every zone: the minutes around changes of the clock against what clocks show, and ten years of dates.

use std::collections::BTreeSet;

use firedrill::domain::window::{Days, Span, Window, WindowKind, Windows, closed_at};
use jiff::{
    SignedDuration, Timestamp,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};
use proptest::prelude::*;

use super::{at, experiment, weekly, window};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Minutes that are looked at before and after a change of the clock; those of the inner half are compared.
const AROUND: i32 = 60 * 60;

/// Changes that are looked at of one zone.
const CHANGES: usize = 8;

/// Lists the zones of the tz database that differ within the years that are looked at, with their changes.
fn zones() -> Vec<(String, TimeZone, Vec<Timestamp>)> {
    let mut known = BTreeSet::new();
    let mut zones = Vec::new();
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str()).expect("a zone of the database");
        let changes =
            zone.following(at("2010-01-01T00:00:00Z")).take_while(|c| c.timestamp() < at("2037-01-01T00:00:00Z"));
        let changes: Vec<(Timestamp, i32)> = changes.map(|c| (c.timestamp(), c.offset().seconds())).collect();
        let first = zone.to_offset(at("2010-01-01T00:00:00Z")).seconds();
        if known.insert((first, changes.clone())) {
            zones.push((name.to_string(), zone, changes.into_iter().map(|(change, _)| change).collect()));
        }
    }
    assert!(zones.len() > 80, "{} zones", zones.len());
    zones
}

/// The daily span between two local times, of which the second may lie on the next day.
fn daily(from: Time, to: Time) -> Span {
    weekly(&format!("{from}-{to}"))
}

/// Tells for each minute whether a daily span covers it, from what clocks show alone. A local time that comes twice is
/// taken so that less is permitted; one that never comes is the first minute after it.
fn minute_by_minute(kind: WindowKind, locals: &[DateTime], from: Time, to: Time) -> Vec<bool> {
    let mut covered = vec![false; locals.len()];
    let overnight = to <= from;
    let first = locals[0].date();
    for days in 0..=(locals.len() as i64 / 1440) {
        let date = first + SignedDuration::from_hours(24 * days);
        let end_date = if overnight { date.tomorrow().expect("a date") } else { date };
        let (begins, ends) = (date.to_datetime(from), end_date.to_datetime(to));
        let first_at = |local: DateTime| locals.iter().position(|shown| *shown >= local).unwrap_or(locals.len());
        let last_at = |local: DateTime| {
            let shown_last = locals.iter().rposition(|shown| *shown == local);
            shown_last.unwrap_or_else(|| locals.iter().rposition(|shown| *shown < local).map_or(0, |at| at + 1))
        };
        let range = match kind {
            WindowKind::Blackout => first_at(begins)..last_at(ends),
            WindowKind::Allowed => last_at(begins)..first_at(ends),
        };
        covered[range.start..range.end.max(range.start)].fill(true);
    }
    covered
}

/// Compares a window with what clocks show in the minutes around a change, by its stretches and by closures.
fn compare(label: &str, w: &Window, covered: &[bool], base: Timestamp) {
    let instant = |minute: usize| base + MINUTE * i32::try_from(minute).expect("small");
    let inner = covered.len() / 4..covered.len() * 3 / 4;
    let mut expected = Vec::new();
    let mut since = None;
    for minute in inner.clone() {
        match (since, covered[minute]) {
            (None, true) => since = Some(minute),
            (Some(start), false) => {
                expected.push((instant(start), instant(minute)));
                since = None;
            }
            _ => {}
        }
    }
    expected.extend(since.map(|start| (instant(start), instant(inner.end))));
    let found = w.intervals(instant(inner.start), instant(inner.end));
    let found: Vec<_> = found.as_slice().iter().map(|i| (i.start, i.end)).collect();
    assert_eq!(found, expected, "{label} {:?}", w.kind);
    let (windows, e) = (Windows::from(vec![w.clone()]), experiment("e"));
    let second = SignedDuration::from_secs(1);
    for edge in expected.iter().flat_map(|(start, end)| [*start, *end]) {
        for instant in [edge - second, edge, edge + second] {
            if instant < base + MINUTE * AROUND / 2 || instant >= base + MINUTE * (AROUND * 3 / 2) {
                continue;
            }
            let inside = expected.iter().any(|(start, end)| *start <= instant && instant < *end);
            let closed = closed_at(&windows, &e, instant).is_some();
            assert_eq!(closed, inside == (w.kind == WindowKind::Blackout), "{label} {instant}");
        }
    }
}

#[test]
fn minutes_around_clock_changes_of_every_zone_agree_with_clocks() {
    let mut looked_at = 0;
    for (index, (name, zone, changes)) in zones().into_iter().enumerate() {
        // A zone without changes has an ordinary day.
        let ordinary = [at("2026-05-05T00:00:00Z")];
        let changes = if changes.is_empty() { &ordinary[..] } else { &changes[..] };
        for (number, change) in changes.iter().step_by(changes.len().div_ceil(CHANGES)).enumerate() {
            let base = *change - MINUTE * AROUND;
            let locals: Vec<DateTime> = (0..AROUND * 2).map(|m| zone.to_datetime(base + MINUTE * m)).collect();
            // Edges before, at, in and after what is skipped or repeated, and a night over it.
            let before = zone.to_datetime(*change - MINUTE).time();
            let shift = |minutes: i64| before.wrapping_add(SignedDuration::from_mins(minutes));
            let spans =
                [(shift(-90), shift(11)), (shift(1), shift(31)), (shift(16), shift(61)), (shift(-720), shift(121))];
            let (from, to) = spans[(index + number) % spans.len()];
            let kind = if (index + number / 4) % 2 == 0 { WindowKind::Blackout } else { WindowKind::Allowed };
            let w = window("w", kind, &name, vec![daily(from, to)]);
            compare(&format!("{name} {change} {from}-{to}"), &w, &minute_by_minute(kind, &locals, from, to), base);
            looked_at += 1;
        }
    }
    assert!(looked_at > 500, "{looked_at} changes");
}

/// An item of `times`, as its fields and as texts of its own.
#[derive(Debug, Clone)]
struct Item {
    weekdays: (i8, i8),
    days: (i8, i8),
    months: (i8, i8),
    years: (i16, i16),
    clock: (i16, i16),
}

impl Item {
    fn span(&self) -> Span {
        let names = ["monday", "tue", "Wednesday", "thu", "friday", "sat", "sunday"];
        let mut days = Days::default();
        let name = |day: i8| names[usize::try_from(day).expect("a weekday")];
        days.add_weekdays(&format!("{}:{}", name(self.weekdays.0), name(self.weekdays.1))).expect("weekdays");
        days.add_days_of_month(&format!("{}:{}", self.days.0, self.days.1)).expect("days");
        days.add_months(&format!("{}:{}", self.months.0, self.months.1)).expect("months");
        days.add_years(&format!("{}:{}", self.years.0, self.years.1)).expect("years");
        let clock = |minutes: i16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        Span::parse_clock(days, &format!("{}-{}", clock(self.clock.0), clock(self.clock.1))).expect("times")
    }

    fn begins_on(&self, date: Date) -> bool {
        let between = |value: i16, (first, last): (i16, i16)| {
            if first <= last { (first..=last).contains(&value) } else { value >= first || value <= last }
        };
        let wide = |(first, last): (i8, i8)| (i16::from(first), i16::from(last));
        let length = i16::from(date.days_in_month());
        let day = |day: i16| if day < 0 { length + 1 + day } else { day };
        let (first, last) = wide(self.days);
        between(i16::from(date.weekday().to_monday_zero_offset()), wide(self.weekdays))
            && between(i16::from(date.month()), wide(self.months))
            && (self.years.0..=self.years.1).contains(&date.year())
            && !(first > 0 && last < 0 && day(first) > day(last))
            && between(i16::from(date.day()), (day(first), day(last)))
    }

    /// Tells whether clocks that show a local time are inside, on a day without a change.
    fn holds(&self, local: DateTime) -> bool {
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        let (from, to) = self.clock;
        let yesterday = local.date().yesterday().expect("a date");
        if from < to {
            return self.begins_on(local.date()) && from <= minute && minute < to;
        }
        self.begins_on(local.date()) && minute >= from || self.begins_on(yesterday) && minute < to
    }
}

fn items() -> impl Strategy<Value = Item> {
    let days = (prop_oneof![1..=31_i8, -31..=-1_i8], prop_oneof![1..=31_i8, -31..=-1_i8]);
    let clock = (0..1440_i16, 0..1440_i16).prop_filter("no length", |(from, to)| from != to);
    let years = (2022..2030_i16, 0..4_i16).prop_map(|(first, more)| (first, first + more));
    ((0..7_i8, 0..7_i8), days, (1..=12_i8, 1..=12_i8), years, clock)
        .prop_map(|(weekdays, days, months, years, clock)| Item { weekdays, days, months, years, clock })
}

proptest! {
    #![proptest_config(crate::support::chance::cases(48))]

    #[test]
    fn ten_years_of_times_agree_with_the_calendar(
        items in prop::collection::vec(items(), 1..4),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"]),
        minutes in prop::collection::vec(0..10 * 365 * 1440_i64, 150),
    ) {
        let w = window("w", WindowKind::Blackout, zone, items.iter().map(Item::span).collect());
        let (windows, e) = (Windows::from(vec![w.clone()]), experiment("e"));
        for minute in minutes {
            let instant = at("2021-06-01T00:00:00Z") + SignedDuration::from_mins(minute);
            // Days around a change are looked at minute by minute elsewhere.
            let day = SignedDuration::from_hours(30);
            if w.zone.following(instant - day).next().is_some_and(|change| change.timestamp() < instant + day) {
                continue;
            }
            let local = w.zone.to_datetime(instant);
            let inside = items.iter().any(|item| item.holds(local));
            prop_assert_eq!(closed_at(&windows, &e, instant).is_some(), inside, "{}", local);
            let end = instant + SignedDuration::from_secs(59);
            prop_assert_eq!(closed_at(&windows, &e, end).is_some(), inside, "{}", local);
        }
    }
}
