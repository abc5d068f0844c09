//! Faults that windows once had, each with what it did.

use firedrill::domain::{
    experiment::{Experiment, Labels},
    schedule::CronSchedule,
    window::{Days, NameGlob, OnEntry, Scope, Span, Window, WindowKind, Windows, closed_at, first_closure, free_slot},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::{STOP, at, blackout, experiment, weekly, window};

/// An allowed window opened its time to an experiment of which nobody knew whether it was in scope.
#[test]
fn allowed_window_opens_nothing_to_whom_it_may_not_be_about() {
    let allowed = |label: &str, times: &str, accounts: &[&str]| {
        let accounts = accounts.iter().map(ToString::to_string).collect();
        let scope = Scope { accounts, ..Scope::default() };
        Window { scope, ..window(label, WindowKind::Allowed, "UTC", vec![weekly(times)]) }
    };
    let unknown = experiment("checkout");
    let known = Experiment { account: Some("123456789012".to_owned()), ..unknown.clone() };
    let other = Experiment { account: Some("210987654321".to_owned()), ..unknown.clone() };
    let noon = at("2026-06-03T12:00:00Z");
    let one = || allowed("office", "09:00-17:00", &["123456789012"]);
    let closed = |windows: &[Window], experiment: &Experiment| {
        let windows: Windows = windows.to_vec().into();
        let closure = closed_at(&windows, experiment, noon)?;
        assert_eq!(free_slot(&windows, experiment, SignedDuration::ZERO, noon, SignedDuration::from_hours(99)), None);
        Some((closure.window.to_string(), closure.until))
    };
    assert_eq!(closed(&[one()], &known), None);
    assert_eq!(closed(&[one()], &other), None, "no allowed window is about it");
    assert_eq!(closed(&[one()], &unknown), Some(("office".to_owned(), None)));
    // What another window allows for sure is open, and no more of it than that.
    assert_eq!(closed(&[one(), allowed("lunch", "12:00-13:00", &[])], &unknown), None);
    let night = [one(), allowed("night", "20:00-21:00", &[])];
    let windows: Windows = night.to_vec().into();
    assert_eq!(closed_at(&windows, &unknown, noon).and_then(|c| c.until), Some(at("2026-06-03T20:00:00Z")));
    assert_eq!(closed_at(&windows, &known, noon), None);
    // A blackout closes to whom it may be about.
    let freeze = Window { kind: WindowKind::Blackout, ..one() };
    assert_eq!(closed_at(&vec![freeze].into(), &unknown, noon).and_then(|c| c.until), Some(at("2026-06-03T17:00:00Z")));
}

/// The environment of an experiment that left the configuration was taken to be none.
#[test]
fn forgotten_labels_may_be_any() {
    let scope = Scope { environments: vec![NameGlob::new("prod*")], ..Scope::default() };
    let tagged = Scope { tags: [("team".to_owned(), "x".to_owned())].into(), ..Scope::default() };
    let gone = Experiment { labels: Labels::Forgotten, ..experiment("checkout") };
    assert!(scope.holds(&gone) && tagged.holds(&gone));
    assert!(!scope.holds(&experiment("checkout")) && !tagged.holds(&experiment("checkout")));
    let named = Scope { experiments: vec![NameGlob::new("other")], ..scope };
    assert!(!named.holds(&gone), "its name is known");
}

/// Every minute of 800 days was looked at for the true edges of a window without any.
#[test]
fn window_that_touches_itself_is_not_followed_for_ever() {
    let schedule = CronSchedule::parse("* * * * *", TimeZone::UTC, "w").expect("a cron expression");
    let always = blackout("UTC", vec![Span::cron(schedule, SignedDuration::from_mins(1))]);
    let now = at("2026-06-01T17:05:00Z");
    let covered = always.covering(now).expect("covered");
    assert_eq!(covered.known_end(), None);
    let looked_back = now.duration_since(covered.start);
    assert!(looked_back <= SignedDuration::from_hours(24 * 61), "followed for {looked_back:#}");
    assert_eq!(always.next_transition(now), None);
    assert!(closed_at(&vec![always].into(), &experiment("checkout"), now).is_some_and(|c| c.until.is_none()));
}

/// Of allowed windows that end together the one with the longest `stop_lead` was asked for its `lead` too.
#[test]
fn longest_lead_of_allowed_windows_that_end_together_counts() {
    let office = || vec![weekly("09:00-17:00")];
    let hour = SignedDuration::from_hours(1);
    let patient = Window { lead: hour * 2, ..window("patient", WindowKind::Allowed, "UTC", office()) };
    let strict = OnEntry::Stop { lead: hour };
    let strict = Window { on_entry: strict, ..window("strict", WindowKind::Allowed, "UTC", office()) };
    assert_eq!(patient.on_entry, STOP);
    let windows: Windows = vec![patient, strict].into();
    let checkout = experiment("checkout");
    let day = |hour: i8| at("2026-06-03T00:00:00Z") + SignedDuration::from_hours(hour.into());
    let closure = |to: Timestamp| first_closure(&windows, &checkout, day(12), to).map(|c| c.window.to_string());
    assert_eq!(closure(day(15)), None);
    assert_eq!(closure(day(16)).as_deref(), Some("patient"), "it ends at 17:00, less two hours");
    assert_eq!(closed_at(&windows, &checkout, day(18)).map(|c| c.window.to_string()).as_deref(), Some("strict"));
}

/// Each of many ranges of years was looked through by itself, day by day.
#[test]
fn many_ranges_of_years_cost_no_more_than_one() {
    let mut days = Days::default();
    (0..20_000).for_each(|_| days.add_years("1:9998").expect("years"));
    days.add_months("february").expect("a month");
    days.add_days_of_month("30").expect("a day");
    assert!(!days.exist());
}
