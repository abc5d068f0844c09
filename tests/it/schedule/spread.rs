//! The spread of slots: drawn from the slot alone, inside its bounds, evenly.

use firedrill::domain::schedule::{Bounds, Schedule, Spread, Timing};
use jiff::{SignedDuration, Timestamp};

use super::{at, cron};
use crate::support::runs::name;

fn spread(spread: Spread) -> Schedule {
    let hourly = Timing::Cron(cron("0 * * * *", "UTC"));
    let mut schedule = Schedule::new(&name("checkout"), name("hourly"), hourly, Bounds::default());
    schedule.spread = spread;
    schedule
}

fn slots(schedule: &Schedule, count: usize) -> Vec<Timestamp> {
    let mut from = at("2026-01-01T00:00:00Z");
    let mut next = || {
        from = schedule.next_after(from).expect("a slot").at;
        from
    };
    (0..count).map(|_| next()).collect()
}

/// Counts offsets by tenths of a length.
fn tenths(schedule: &Schedule, length: SignedDuration) -> [u32; 10] {
    let mut tenths = [0; 10];
    for slot in slots(schedule, 10_000) {
        let offset = schedule.due(slot).duration_since(slot);
        assert!(!offset.is_negative() && offset < length, "{slot} is due {offset:#} later");
        assert_eq!(offset.subsec_nanos(), 0);
        tenths[usize::try_from(offset.as_secs() * 10 / length.as_secs()).expect("a tenth")] += 1;
    }
    tenths
}

#[test]
fn jitter_is_even_and_inside_its_bounds() {
    let length = SignedDuration::from_mins(20);
    let tenths = tenths(&spread(Spread::Jitter(length)), length);
    assert!(tenths.iter().all(|count| (880..=1_120).contains(count)), "{tenths:?}");
}

#[test]
fn random_time_inside_a_span_is_even_and_leaves_time_to_start() {
    let span = SignedDuration::from_mins(50);
    let schedule = spread(Spread::Within(span));
    let tenths = tenths(&schedule, SignedDuration::from_mins(49));
    assert!(tenths.iter().all(|count| (880..=1_120).contains(count)), "{tenths:?}");
    for slot in slots(&schedule, 1_000) {
        assert_eq!(schedule.start_by(slot), slot + span);
        assert!(schedule.due(slot) + SignedDuration::from_secs(60) <= schedule.start_by(slot));
    }
}

#[test]
fn draws_follow_from_the_names_and_the_slot_alone() {
    let length = SignedDuration::from_mins(20);
    let (one, again) = (spread(Spread::Jitter(length)), spread(Spread::Jitter(length)));
    let of = |experiment: &str, schedule: &str| {
        let timing = Timing::Cron(cron("0 * * * *", "UTC"));
        let mut other = Schedule::new(&name(experiment), name(schedule), timing, Bounds::default());
        other.spread = Spread::Jitter(length);
        other
    };
    let (cousin, sibling) = (of("search", "hourly"), of("checkout", "other"));
    let all = slots(&one, 1_000);
    assert!(all.iter().all(|slot| one.due(*slot) == again.due(*slot)));
    for other in [cousin, sibling] {
        let same = all.iter().filter(|slot| one.due(**slot) == other.due(**slot)).count();
        assert!(same < 20, "{same} of 1000 slots are due at the same time");
    }
    // Pinned: another draw after an update would move runs that are waiting.
    let due = one.due(at("2026-03-01T02:00:00Z"));
    assert_eq!(due.to_string(), "2026-03-01T02:11:45Z");
}

#[test]
fn one_slot_in_so_many_is_taken() {
    let mut schedule = spread(Spread::None);
    assert!(slots(&schedule, 100).iter().all(|slot| schedule.is_taken(*slot)));
    schedule.mtbf = 5;
    let taken: Vec<bool> = slots(&schedule, 10_000).iter().map(|slot| schedule.is_taken(*slot)).collect();
    let count = taken.iter().filter(|taken| **taken).count();
    assert!((1_880..=2_120).contains(&count), "{count} of 10000 were taken");
    // Nothing but chance: a slot after one that was taken is taken as often as any.
    let pairs = taken.windows(2).filter(|pair| pair[0] && pair[1]).count();
    assert!((330..=470).contains(&pairs), "{pairs} pairs");
}

#[test]
fn shortest_interval_is_found() {
    let of = |expression: &str| {
        let timing = Timing::Cron(cron(expression, "UTC"));
        Schedule::new(&name("a"), name("b"), timing, Bounds::default()).shortest_interval()
    };
    assert_eq!(of("0 0 * * *"), Some(SignedDuration::from_hours(24)));
    assert_eq!(of("50 8,9 * * *"), Some(SignedDuration::from_hours(1)));
    assert_eq!(of("0,50 0 * * *"), Some(SignedDuration::from_mins(50)));
    assert_eq!(of("* * * * * *"), Some(SignedDuration::from_secs(1)));
    assert_eq!(of("0 0 12 1 1 ? 2030"), None);
}
