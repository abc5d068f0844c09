//! Every clock change of every zone from 1990 to 2040, against a clock that is looked at minute by minute.
//!
//! The oracle knows no search, no intervals and no parser: it shows a cron daemon's clock to a set of minutes, as the
//! policy is written. Zones that share a change share its answer, so each kind of change is walked through once.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::schedule::{Bounds, Gaps, Schedule, Slot, Timing, cron::CORRECTION};
use jiff::{
    SignedDuration, Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{at, cron};
use crate::support::runs::name;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// What is looked at before a change, and after the time that it moved clocks by.
const AROUND: SignedDuration = SignedDuration::from_mins(150);

/// A change: when, and the offsets before and after it.
type Change = (Timestamp, Offset, Offset);

/// Minutes of the day, and how they pass a change.
#[derive(Debug, Clone)]
struct Daily {
    text: String,
    minutes: BTreeSet<i64>,
    is_fixed: bool,
    gaps: Gaps,
}

/// Schedules that have something to do at a change whose gap or overlap begins at a minute of the day.
fn dailies(begins: i64) -> Vec<Daily> {
    let (hour, inside) = (begins / 60 % 24, (begins + 7) % 1_440);
    let next = (hour + 1) % 24;
    let all = |hours: &[i64], minutes: &[i64]| -> BTreeSet<i64> {
        hours.iter().flat_map(|hour| minutes.iter().map(move |minute| hour * 60 + minute)).collect()
    };
    let every: Vec<i64> = (0..24).collect();
    let fixed = |text: String, minutes| Daily { text, minutes, is_fixed: true, gaps: Gaps::Shift };
    let interval = |text: String, minutes| Daily { text, minutes, is_fixed: false, gaps: Gaps::Shift };
    let one = fixed(format!("{} {} * * *", inside % 60, inside / 60), BTreeSet::from([inside]));
    vec![
        Daily { gaps: Gaps::Skip, ..one.clone() },
        one,
        fixed(format!("0,30 {hour},{next} * * *"), all(&[hour, next], &[0, 30])),
        fixed("10-50/20 0-23 * * *".to_owned(), all(&every, &[10, 30, 50])),
        interval("*/15 * * * *".to_owned(), all(&every, &[0, 15, 30, 45])),
        interval(format!("*/20 {hour} * * *"), all(&[hour], &[0, 20, 40])),
        interval("20 * * * *".to_owned(), all(&every, &[20])),
    ]
}

/// Shows the clock to a schedule, minute by minute, and returns when it fires in `(from, until]`.
fn shown_minute_by_minute(daily: &Daily, change: Change, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
    let (changes_at, before, after) = change;
    let local = |at: Timestamp| if at < changes_at { before.to_datetime(at) } else { after.to_datetime(at) };
    let names = |local: DateTime| daily.minutes.contains(&minute_of_day(local));
    let mut fires = Vec::new();
    // The latest minute that the clock has shown: a fixed schedule looks at no earlier one again.
    let mut shown = local(from);
    let mut now = from;
    while now < until {
        now += MINUTE;
        let reads = local(now);
        let due = if daily.is_fixed {
            let skipped = shown.duration_until(reads) - MINUTE;
            let makes_up = daily.gaps == Gaps::Shift && skipped < CORRECTION;
            let mut minute = if makes_up { shown + MINUTE } else { reads.max(shown + MINUTE) };
            let mut due = false;
            while minute <= reads {
                due |= names(minute);
                minute += MINUTE;
            }
            shown = shown.max(reads);
            due
        } else {
            names(reads)
        };
        if due {
            fires.push(now);
        }
    }
    fires
}

fn minute_of_day(local: DateTime) -> i64 {
    i64::from(local.hour()) * 60 + i64::from(local.minute())
}

/// Every change between two years, and the zones that have it; of several names for the same changes, the first.
fn changes() -> BTreeMap<(Timestamp, i32, i32), Vec<String>> {
    let (from, until) = (at("1990-01-01T00:00:00Z"), at("2040-01-01T00:00:00Z"));
    let mut zones: BTreeMap<Vec<(Timestamp, i32, i32)>, String> = BTreeMap::new();
    for zone_name in jiff::tz::db().available().map(|name| name.to_string()) {
        let zone = TimeZone::get(&zone_name).expect("a zone that is available");
        let mut before = zone.to_offset(from).seconds();
        let changes = zone.following(from).take_while(|change| change.timestamp() < until);
        let changes = changes.map(|change| {
            let after = change.offset().seconds();
            (change.timestamp(), std::mem::replace(&mut before, after), after)
        });
        zones.entry(changes.filter(|(_, before, after)| before != after).collect()).or_insert(zone_name);
    }
    let mut changes: BTreeMap<(Timestamp, i32, i32), Vec<String>> = BTreeMap::new();
    for (of_zone, zone) in zones {
        for change in of_zone {
            changes.entry(change).or_default().push(zone.clone());
        }
    }
    changes
}

fn walked(schedule: &Schedule, after: Timestamp, until: Timestamp) -> Vec<Slot> {
    let mut from = after;
    std::iter::from_fn(|| {
        let slot = schedule.next_after(from).filter(|slot| slot.at <= until)?;
        from = slot.at;
        Some(slot)
    })
    .collect()
}

fn check_change(change: Change, zones: &[String], number: usize) {
    let (changes_at, before, after) = change;
    let moved = SignedDuration::from_secs(i64::from(after.seconds() - before.seconds()));
    let (from, until) = (changes_at - AROUND, changes_at + AROUND + moved.abs().min(SignedDuration::from_hours(4)));
    // A gap begins where clocks stood, an overlap where they were put back to.
    let begins = minute_of_day(before.to_datetime(changes_at).min(after.to_datetime(changes_at)));
    let dailies = dailies(begins);
    // Every change meets three of them, every kind of change (they recur each year) all of them.
    for daily in [0, 2, 4].map(|other| &dailies[(number + other) % dailies.len()]) {
        let expected = shown_minute_by_minute(daily, change, from, until);
        for zone in zones {
            // Another change of the same zone so close by would not be the oracle's.
            let zone_of = TimeZone::get(zone).expect("a zone");
            if zone_of.following(changes_at).next().is_some_and(|next| next.timestamp() <= until) {
                continue;
            }
            let cron = cron(&daily.text, zone).with_gaps(daily.gaps);
            let schedule = Schedule::new(&name("probe"), name("daily"), Timing::Cron(cron), Bounds::default());
            let slots = walked(&schedule, from, until);
            let found: Vec<Timestamp> = slots.iter().map(|slot| slot.at).collect();
            assert_eq!(found, expected, "`{}` ({:?}) in {zone} around {changes_at}", daily.text, daily.gaps);
            let latest = schedule.latest_in(from, until).map(|slot| slot.at);
            assert_eq!(latest, expected.last().copied(), "latest of `{}` in {zone} at {changes_at}", daily.text);
        }
    }
}

#[test]
fn every_change_of_every_zone_from_1990_to_2040_loses_and_doubles_nothing() {
    let changes: Vec<_> = changes().into_iter().collect();
    assert!(changes.len() > 2_000, "only {} changes", changes.len());
    let walked: usize = changes.iter().map(|(_, zones)| zones.len()).sum();
    assert!(walked > 9_000, "only {walked} changes of zones");
    let offset = |seconds: i32| Offset::from_seconds(seconds).expect("an offset");
    std::thread::scope(|scope| {
        for part in 0..2 {
            let changes = &changes;
            scope.spawn(move || {
                for (number, ((changes_at, before, after), zones)) in changes.iter().enumerate() {
                    if number % 2 == part {
                        check_change((*changes_at, offset(*before), offset(*after)), zones, number);
                    }
                }
            });
        }
    });
}

#[test]
fn zones_of_odd_offsets_keep_their_local_time() {
    for (zone, offset) in [("Asia/Kathmandu", "+05:45"), ("Pacific/Chatham", "+12:45"), ("Australia/Eucla", "+08:45")] {
        let schedule = super::schedule("30 7 * * *", zone);
        let mut slot = at("2026-06-01T00:00:00Z");
        for _ in 0..30 {
            slot = schedule.next_after(slot).expect("a slot").at;
            let local = slot.to_zoned(super::zone(zone)).strftime("%H:%M %:z").to_string();
            assert_eq!(local, format!("07:30 {offset}"), "{zone}");
        }
    }
}
