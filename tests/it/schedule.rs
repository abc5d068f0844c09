//! Schedules: Debian cron's rule through gaps and overlaps, everything that may be written, and what becomes of slots.

mod agent;
mod notation;
mod rows;
mod search;
mod spread;
mod stories;
mod timing;
mod told;
mod transitions;

use firedrill::domain::{
    ids::Name,
    schedule::{Bounds, CronSchedule, Schedule, Timing},
};
use jiff::{Timestamp, tz::TimeZone};

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a known zone")
}

fn cron(expression: &str, zone_name: &str) -> CronSchedule {
    CronSchedule::parse(expression, zone(zone_name), "").expect("a good expression")
}

fn of(cron: CronSchedule) -> Schedule {
    let name = |text| Name::parse(text).expect("a name");
    Schedule::new(&name("probe"), name("nightly"), Timing::Cron(cron), Bounds::default())
}

fn schedule(expression: &str, zone_name: &str) -> Schedule {
    of(cron(expression, zone_name))
}

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

/// Checks the next fires after an instant, written with their offset; `!` marks a shifted one.
fn check(expression: &str, zone_name: &str, after: &str, expected: &[&str]) {
    let schedule = schedule(expression, zone_name);
    let mut from = at(after);
    let found: Vec<String> = expected
        .iter()
        .map(|_| {
            let slot = schedule.next_after(from).expect("a slot");
            from = slot.at;
            let local = slot.at.to_zoned(zone(zone_name)).strftime("%F %T %:z").to_string();
            if slot.shifted { format!("{local} !") } else { local }
        })
        .collect();
    assert_eq!(found, expected, "{expression} in {zone_name}");
}
