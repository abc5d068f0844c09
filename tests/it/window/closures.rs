//! Closures from timelines against asking every window on its own, for sets of windows of every kind.

use firedrill::domain::{
    experiment::Experiment,
    plan::{self, Effect},
    window::{self, OnEntry, Scope, Span, Window, WindowKind, Windows},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use proptest::prelude::*;

use super::{at, experiment, name, oracle};
use crate::support::world::{self, World};

/// Steps of a quarter of an hour in which generated edges and questions lie.
const STEP: SignedDuration = SignedDuration::from_mins(15);

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/Havana", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham"];

fn spans() -> impl Strategy<Value = Span> {
    let clock = |quarters: u32| format!("{:02}:{:02}", quarters / 4, quarters % 4 * 15);
    let days = prop::sample::select(vec!["Mon", "Tue-Thu", "Fri,Sun", "Sat", "Mon-Sun"]);
    let daily = (days, 0..96_u32, 0..96_u32).prop_filter_map("no length", move |(days, from, to)| {
        Span::parse_weekly(&format!("{days} {}-{}", clock(from), clock(to))).ok()
    });
    let weekly = prop::sample::select(vec!["Fri 18:00 - Mon 06:00", "Sat,Sun", "Sun 23:00 - Sun 22:00", "always"]);
    let dates = (1..28_u32, 0..96_u32, 1..300_u32).prop_map(|(day, quarter, length)| {
        let from = at(&format!("2026-10-{day:02}T00:00:00Z")) + STEP * quarter as i32;
        let shown = |at: Timestamp| at.to_zoned(TimeZone::UTC).datetime().to_string();
        Span::parse_dates(&format!("{} - {}", shown(from), shown(from + STEP * length as i32))).expect("dates")
    });
    let days = prop::sample::select(vec!["-1", "1", "15 - 20", "10-24 - 10-26", "12-31 - 01-02", "02-29"]);
    prop_oneof![
        4 => daily,
        1 => weekly.prop_map(|text| Span::parse_weekly(text).expect("a span")),
        3 => dates,
        1 => days.prop_map(|text| Span::parse_month_days(text).expect("days")),
    ]
}

fn windows() -> impl Strategy<Value = Vec<Window>> {
    let entry = prop_oneof![
        Just(OnEntry::Finish),
        (0..3_i64).prop_map(|hours| OnEntry::Stop { lead: SignedDuration::from_hours(hours) })
    ];
    let kind = prop_oneof![3 => Just(WindowKind::Blackout), 2 => Just(WindowKind::Allowed)];
    let lead = prop_oneof![3 => Just(0_i64), 1 => 1..300_i64];
    let window = (kind, prop::collection::vec(spans(), 1..3), 0..ZONES.len(), entry, lead);
    prop::collection::vec(window, 1..6).prop_map(|drawn| {
        let window = |(index, (kind, spans, zone, on_entry, lead)): (usize, (_, _, usize, _, i64))| Window {
            name: name(&format!("w{index}")),
            kind,
            scope: Scope::default(),
            on_entry,
            lead: SignedDuration::from_mins(lead * 15),
            zone: TimeZone::get(ZONES[zone]).expect("a zone"),
            spans,
            calendars: Vec::new(),
        };
        drawn.into_iter().enumerate().map(window).collect()
    })
}

proptest! {
    #![proptest_config(crate::support::chance::cases(48))]

    #[test]
    fn timelines_answer_as_every_window_on_its_own(
        list in windows(),
        asked in prop::collection::vec((0..70 * 96_i32, 1..200_i32), 12),
    ) {
        let windows = Windows::from(list.clone());
        let e = experiment("checkout");
        for (steps, length) in asked {
            let from = at("2026-09-15T00:00:00Z") + STEP * steps;
            let to = from + STEP * length;
            prop_assert_eq!(window::closed_at(&windows, &e, from), oracle::closed_at(&list, &e, from), "{}", from);
            // The same without anything remembered.
            let forgetful = Windows::from(list.clone());
            prop_assert_eq!(window::closed_at(&windows, &e, from), window::closed_at(&forgetful, &e, from));
            let expected = oracle::first_closure(&list, &e, from, to);
            prop_assert_eq!(window::first_closure(&windows, &e, from, to), expected, "{} {}", from, to);
            let expected = oracle::first_stop(&list, &e, from, to);
            prop_assert_eq!(window::first_stop(&windows, &e, from, to), expected, "{} {}", from, to);
        }
    }

    #[test]
    fn free_slot_is_the_first_that_fits(list in windows(), steps in 0..70 * 96_i32, length in 1..40_i32) {
        let windows = Windows::from(list.clone());
        let e = experiment("checkout");
        let (from, within) = (at("2026-09-15T00:00:00Z") + STEP * steps, SignedDuration::from_hours(24));
        let length = STEP * length;
        let expected = oracle::free_slot(&list, &e, (length, STEP), from, within);
        prop_assert_eq!(window::free_slot(&windows, &e, length, from, within), expected, "{} {}", from, length);
    }

    #[test]
    fn run_that_is_admitted_meets_no_window_and_one_that_would_not_is_admitted(
        list in windows(),
        steps in 0..70 * 96_i32,
        takes in 1..48_i32,
    ) {
        let now = at("2026-09-15T00:00:00Z") + STEP * steps;
        let length = STEP * takes;
        let run = world::read(world::slot_run(&now.to_string()), &now.to_string(), length.as_secs());
        let declared = Experiment { max_duration: SignedDuration::from_hours(12), ..world::experiment() };
        let world = list.iter().cloned().fold(World::of(declared.clone(), vec![run]), World::with_window);
        let effects = plan::plan(&world.snapshot(), now);
        let is_admitted = effects.iter().any(|effect| matches!(effect, Effect::Start { .. }));
        let meets = |length| oracle::first_closure(&list, &declared, now, now + length).is_some();
        if is_admitted {
            prop_assert!(!meets(length), "admitted at {}", now);
        } else {
            let stop_lead = list.iter().map(|window| window.on_entry.lead()).max().unwrap_or_default();
            prop_assert!(meets(length + stop_lead), "refused at {}: {:?}", now, effects);
        }
    }
}
