//! What users of other systems suffer from in windows, each as a test of its own, and the traps that are bugs elsewhere.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Experiment,
    run::{Observation, Run, RunState, RunTimes, Trigger, WindowRule},
    window::{Days, OnEntry, Span, Window, WindowKind, Windows, closed_at, first_closure, free_slot, next_transition},
};
use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};

use super::{at, blackout, dates, experiment, month_days, name, weekly, window};
use crate::support::world::{self, World, t};

fn allowed(zone: &str, spans: Vec<Span>) -> Window {
    window("allowed", WindowKind::Allowed, zone, spans)
}

/// Checks whether an experiment may run at local times of a zone.
#[track_caller]
fn check(windows: Vec<Window>, zone: &str, expected: &[(&str, bool)]) {
    let (windows, zone) = (Windows::from(windows), TimeZone::get(zone).expect("a zone"));
    for (local, open) in expected {
        let local: jiff::civil::DateTime = local.parse().expect("a local time");
        let instant = zone.to_timestamp(local).expect("an instant");
        assert_eq!(closed_at(&windows, &experiment("checkout"), instant).is_none(), *open, "{local}");
    }
}

/// §9, 12: chaoskube killed at 13:59:27 and 23:59:27, inside an excluded range.
#[test]
fn last_seconds_of_a_range_are_inside_of_it() {
    let windows = vec![blackout("Europe/Berlin", vec![weekly("Mon-Fri 08:00-14:00"), weekly("Sat 00:00-24:00")])];
    let expected = [
        ("2026-06-01T07:59:59", true),
        ("2026-06-01T08:00:00", false),
        ("2026-06-01T13:59:27", false),
        ("2026-06-01T13:59:59", false),
        ("2026-06-01T14:00:00", true),
        ("2026-06-06T23:59:27", false),
        ("2026-06-06T23:59:59.999", false),
        ("2026-06-07T00:00:00", true),
    ];
    check(windows, "Europe/Berlin", &expected);
}

/// §9, 13: business hours with holidays, and weekends that are not Saturday and Sunday.
#[test]
fn business_hours_have_holidays_and_weekends_of_any_days() {
    let office = allowed("Asia/Dubai", vec![weekly("Mon-Thu 09:00-17:00"), weekly("Fri 09:00-12:00")]);
    let holidays = blackout("Asia/Dubai", vec![month_days("12-02 - 12-03"), dates("2026-06-16")]);
    let expected = [
        ("2026-06-05T11:59:59", true),
        ("2026-06-05T12:00:00", false),
        ("2026-06-06T10:00:00", false),
        ("2026-06-15T10:00:00", true),
        ("2026-06-16T10:00:00", false),
        ("2026-12-02T10:00:00", false),
        ("2027-12-03T10:00:00", false),
    ];
    check(vec![office, holidays], "Asia/Dubai", &expected);
}

/// §9, 14: an Israeli team could not run on Sundays.
#[test]
fn week_may_begin_on_sunday() {
    let work = allowed("Asia/Jerusalem", vec![weekly("Sun-Thu 09:00-17:00")]);
    let expected = [("2026-06-07T10:00:00", true), ("2026-06-05T10:00:00", false), ("2026-06-06T10:00:00", false)];
    check(vec![work], "Asia/Jerusalem", &expected);
}

fn manual(windows: WindowRule) -> Run {
    let trigger = Trigger::Manual { request: "r".to_owned(), by: "ann".to_owned(), reason: None, windows };
    let times =
        RunTimes { opened_at: t("10:00:00"), not_before: t("10:00:00"), start_by: t("10:10:00"), hold_until: None };
    world::read(Run::open(name("probe"), trigger, RunState::Requested, times), "10:00:00", 600)
}

/// §9, 15: kube-monkey went on killing after `end_hour` in debug mode.
#[test]
fn no_other_way_to_start_passes_by_a_window() {
    let closed = |run| World::of(world::experiment(), vec![run]).with_window(world::blackout("10:00:00", "12:00:00"));
    let refused = ["A skipped: window `freeze` forbids it until 12:00:00Z"];
    assert_eq!(closed(manual(WindowRule::Hold)).says(t("10:00:00")), refused);
    let by_event = world::read(world::event_run("10:00:00", world::trigger("deploy", 0, 0)), "10:00:00", 600);
    assert_eq!(closed(by_event).says(t("10:00:00")), refused);
}

/// §9, 16: Black Friday and the end of the year blocked by date. §9, 22: Airflow's users ask for blackouts since 2016.
#[test]
fn black_friday_and_the_end_of_the_year_are_blocked_by_date() {
    let freeze =
        blackout("America/New_York", vec![dates("2026-11-26T18:00 - 2026-11-30T06:00"), month_days("12-20 - 01-02")]);
    let expected = [
        ("2026-11-26T17:59:59", true),
        ("2026-11-27T00:00:00", false),
        ("2026-11-30T06:00:00", true),
        ("2026-12-19T23:59:59", true),
        ("2026-12-20T00:00:00", false),
        ("2027-01-02T23:59:59", false),
        ("2027-01-03T00:00:00", true),
        ("2027-12-31T12:00:00", false),
    ];
    check(vec![freeze], "America/New_York", &expected);
}

/// §9, 17: two allow windows in Argo CD blocked each other.
#[test]
fn two_allowed_windows_allow_what_either_does() {
    let named = |label: &str, text: &str| Window { name: name(label), ..allowed("UTC", vec![weekly(text)]) };
    let windows = vec![named("morning", "Mon-Fri 08:00-10:00"), named("evening", "Mon-Fri 18:00-20:00")];
    let expected = [
        ("2026-06-01T09:00:00", true),
        ("2026-06-01T12:00:00", false),
        ("2026-06-01T19:00:00", true),
        ("2026-06-06T09:00:00", false),
    ];
    check(windows, "UTC", &expected);
}

/// §9, 18: a change pushed in a deny window never synced after it lifted.
#[test]
fn what_was_held_starts_when_the_window_lifts() {
    let run = world::read(world::event_run("10:00:00", world::trigger("deploy", 0, 3600)), "10:00:00", 600);
    let held = World::of(world::experiment(), vec![run.clone()]).with_window(world::blackout("09:00:00", "10:40:00"));
    let snapshot = held.snapshot();
    let effects = firedrill::domain::plan::plan(&snapshot, t("10:00:00"));
    let [firedrill::domain::plan::Effect::Record { observation, .. }] = &effects[..] else { panic!("{effects:?}") };
    let Observation::Held { look_at, .. } = observation else { panic!("{observation:?}") };
    assert_eq!(*look_at, t("10:40:00"));
    let waiting = world::read(world::applied(run, &[("10:00:00", observation.clone())]), "10:39:00", 600);
    let after = World { runs: vec![waiting], ..held };
    assert_eq!(after.says(t("10:40:00")), ["A start EXT1"]);
}

/// §9, 19: a one-minute allow window proved unreliable.
#[test]
fn allowed_window_of_one_minute_is_open_for_it_every_day() {
    let minute = allowed("Europe/Berlin", vec![weekly("02:30-02:31")]);
    let (windows, e) = (Windows::from(vec![minute]), experiment("checkout"));
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let mut open = 0;
    for day in 0..365 {
        let date = jiff::civil::date(2026, 1, 1) + day.days();
        let from = zone.to_timestamp(date.at(0, 0, 0, 0)).expect("an instant");
        let Some(slot) = free_slot(&windows, &e, SignedDuration::from_secs(60), from, SignedDuration::from_hours(20))
        else {
            continue;
        };
        assert_eq!(zone.to_datetime(slot).time(), jiff::civil::time(2, 30, 0, 0));
        assert!(closed_at(&windows, &e, slot + SignedDuration::from_secs(59)).is_none());
        assert!(closed_at(&windows, &e, slot + SignedDuration::from_secs(60)).is_some());
        assert!(closed_at(&windows, &e, slot - SignedDuration::from_secs(1)).is_some());
        open += 1;
    }
    // Once a year clocks skip it; where it comes twice it would begin in the second pass and end in the first.
    assert_eq!(open, 363);
}

/// §9, 20: Alertmanager fired always or never, not in office hours.
#[test]
fn office_hours_in_alertmanager_s_words_open_and_close_each_day() {
    let mut days = Days::default();
    days.add_weekdays("monday:friday").expect("weekdays");
    let office = allowed("America/New_York", vec![Span::parse_clock(days, "09:00-17:00").expect("times")]);
    let (windows, e) = (Windows::from(vec![office]), experiment("checkout"));
    let mut changes = Vec::new();
    let mut now = at("2026-06-01T00:00:00Z");
    while let Some(next) = next_transition(&windows, &e, now).filter(|next| *next < at("2026-06-08T00:00:00Z")) {
        changes.push(next.strftime("%a %H:%M").to_string());
        now = next;
    }
    let expected = ["Mon", "Tue", "Wed", "Thu", "Fri"].map(|day| [format!("{day} 13:00"), format!("{day} 21:00")]);
    assert_eq!(changes, expected.concat());
}

/// §9, 21: Grafana's users cannot write 22:00–07:00, and 23:59 leaks a minute.
#[test]
fn night_is_one_window_without_a_leak_at_midnight() {
    let night = || vec![Span::parse_clock(Days::default(), "22:00-07:00").expect("times")];
    for w in [blackout("UTC", night()), blackout("UTC", vec![weekly("22:00-07:00")])] {
        let expected = [
            ("2026-06-01T21:59:59", true),
            ("2026-06-01T22:00:00", false),
            ("2026-06-01T23:59:00", false),
            ("2026-06-01T23:59:59.999999999", false),
            ("2026-06-02T00:00:00", false),
            ("2026-06-02T06:59:59", false),
            ("2026-06-02T07:00:00", true),
        ];
        check(vec![w], "UTC", &expected);
    }
}

/// §10: a window edge at exactly hh:mm:00 and at hh:mm:59.
#[test]
fn edges_are_exact_to_the_second() {
    let w = blackout("UTC", vec![weekly("Mon 10:00:00-11:59:59"), weekly("Tue 10:00:59-12:00:00")]);
    let expected = [
        ("2026-06-01T09:59:59.999", true),
        ("2026-06-01T10:00:00", false),
        ("2026-06-01T11:59:58.999", false),
        ("2026-06-01T11:59:59", true),
        ("2026-06-02T10:00:58", true),
        ("2026-06-02T10:00:59", false),
        ("2026-06-02T11:59:59", false),
        ("2026-06-02T12:00:00", true),
    ];
    check(vec![w], "UTC", &expected);
}

/// §10: an overnight window on the night of a change of the clock.
#[test]
fn overnight_window_lasts_through_both_clock_changes() {
    for (zone, evening, hours) in [
        ("Europe/Berlin", "2026-03-28T22:00:00", 7),
        ("Europe/Berlin", "2026-10-24T22:00:00", 9),
        ("America/New_York", "2026-03-07T22:00:00", 7),
        ("America/New_York", "2026-10-31T22:00:00", 9),
    ] {
        let w = blackout(zone, vec![weekly("22:00-06:00")]);
        let begins = w.zone.to_timestamp(evening.parse().expect("a local time")).expect("an instant");
        let found = w.covering(begins + SignedDuration::from_hours(4)).expect("covered");
        assert_eq!((found.start, found.end), (begins, begins + SignedDuration::from_hours(hours)), "{evening}");
    }
}

/// §10: allow inside deny; deny with zero allow; no windows at all.
#[test]
fn deny_wins_over_allow_and_nothing_is_no_obstacle() {
    let deny = || blackout("UTC", vec![weekly("Mon 08:00-18:00")]);
    let inside = allowed("UTC", vec![weekly("Mon 10:00-12:00")]);
    check(vec![deny(), inside], "UTC", &[("2026-06-01T11:00:00", false), ("2026-06-02T11:00:00", false)]);
    check(vec![deny()], "UTC", &[("2026-06-01T11:00:00", false), ("2026-06-01T18:00:00", true)]);
    check(Vec::new(), "UTC", &[("2026-06-01T11:00:00", true)]);
    let always = SignedDuration::from_hours(12);
    let now = at("2026-06-01T11:00:00Z");
    assert_eq!(free_slot(&Windows::default(), &experiment("checkout"), always, now, always), Some(now));
}

/// §10: dates are computed in the zone of the window, not the host's.
#[test]
fn dates_are_those_of_the_window_s_own_zone() {
    let day = |zone: &str| Windows::from(vec![blackout(zone, vec![dates("2026-06-01")])]);
    let e = experiment("checkout");
    for (zone, first) in [("Pacific/Kiritimati", "2026-05-31T10:00:00Z"), ("Pacific/Pago_Pago", "2026-06-01T11:00:00Z")]
    {
        let second = SignedDuration::from_secs(1);
        assert!(closed_at(&day(zone), &e, at(first) - second).is_none(), "{zone}");
        assert!(closed_at(&day(zone), &e, at(first)).is_some(), "{zone}");
    }
}

/// §10: a blackout begins while the experiment is being stopped: it is not told again.
#[test]
fn blackout_that_opens_while_stopping_changes_nothing() {
    let going = world::running(world::slot_run("09:50:00"), "09:50:00");
    let cause = firedrill::domain::run::StopCause::MaxDuration;
    let asked = Observation::StopAsked { cause };
    let stopping = world::applied(going, &[("09:59:58", asked), ("09:59:58", Observation::StopTaken)]);
    let world = World::of(world::experiment(), vec![stopping]).with_window(world::blackout("10:00:00", "12:00:00"));
    let says = world.says(t("10:00:00"));
    assert!(says.iter().all(|line| !line.contains("stop")), "{says:?}");
}

/// Years 0 and 9999: every question has an answer at either end of time.
#[test]
fn ends_of_time_are_answered() {
    let spans = || vec![weekly("22:00-06:00"), month_days("12-31 - 01-02"), dates("0001-01-02"), dates("9998-12-30")];
    let e = experiment("checkout");
    for kind in [WindowKind::Blackout, WindowKind::Allowed] {
        let windows = Windows::from(vec![window("w", kind, "Pacific/Apia", spans())]);
        for instant in [Timestamp::MIN, Timestamp::MAX, Timestamp::UNIX_EPOCH] {
            for to in [Timestamp::MAX, instant] {
                let closed = closed_at(&windows, &e, instant);
                let first = first_closure(
                    &windows,
                    &e,
                    instant,
                    instant.saturating_add(SignedDuration::from_hours(9)).unwrap_or(to),
                );
                assert!(closed.is_none() || first.is_some() || instant == Timestamp::MAX, "{closed:?} {first:?}");
            }
            let slot = free_slot(&windows, &e, SignedDuration::from_hours(1), instant, SignedDuration::from_hours(48));
            assert!(slot.is_none_or(|slot| slot >= instant));
            assert!(next_transition(&windows, &e, instant).is_none_or(|next| next > instant));
        }
    }
}

/// A lead keeps starts away, and what runs is stopped only by the window itself.
#[test]
fn lead_refuses_starts_that_could_still_run_then_and_stops_nothing() {
    let mut freeze = world::blackout("12:00:00", "13:00:00");
    freeze.lead = SignedDuration::from_hours(1);
    freeze.on_entry = OnEntry::Stop { lead: SignedDuration::ZERO };
    let due = |at: &str| World::of(world::experiment(), vec![world::read(world::slot_run(at), at, 600)]);
    assert_eq!(due("10:50:00").with_window(freeze.clone()).says(t("10:50:00"))[0], "A start EXT1");
    let refused = due("10:50:01").with_window(freeze.clone()).says(t("10:50:01"));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(
        refused[0].contains("skipped")
            && refused[0].contains("within the lead of window `freeze`, which opens at 12:00:00Z"),
        "{refused:?}"
    );
    let going = world::running(world::slot_run("10:40:00"), "10:40:00");
    let long = Experiment { max_duration: SignedDuration::from_hours(6), ..world::experiment() };
    let going = World::of(long, vec![going]).with_window(freeze);
    assert!(going.says(t("11:30:00")).iter().all(|line| !line.contains("stop")));
    assert!(going.says(t("12:00:00")).iter().any(|line| line.contains("stop: window `freeze`")));
}

/// Scopes by environment, account and Region; what is not known of an experiment is taken to be in scope.
#[test]
fn scopes_hold_what_is_in_them_and_what_is_not_known() {
    use firedrill::domain::window::{NameGlob, Scope};
    let globs = |texts: &[&str]| texts.iter().map(|text| NameGlob::new(text)).collect();
    let scope = Scope {
        environments: globs(&["prod*"]),
        accounts: vec!["123456789012".to_owned()],
        regions: globs(&["eu-*"]),
        ..Scope::default()
    };
    let of = |environment: Option<&str>, account: Option<&str>, region: Option<&str>| {
        let mut e = experiment("checkout");
        (e.environment, e.account) = (environment.map(str::to_owned), account.map(str::to_owned));
        e.place.region = region.map(str::to_owned);
        e.tags = BTreeMap::new();
        e
    };
    let here = Some("123456789012");
    assert!(scope.holds(&of(Some("prod-eu"), here, Some("eu-west-1"))));
    assert!(scope.holds(&of(Some("prod"), None, None)));
    assert!(!scope.holds(&of(Some("staging"), here, Some("eu-west-1"))));
    assert!(!scope.holds(&of(None, here, Some("eu-west-1"))));
    assert!(!scope.holds(&of(Some("prod"), Some("210987654321"), Some("eu-west-1"))));
    assert!(!scope.holds(&of(Some("prod"), here, Some("us-east-1"))));
}
