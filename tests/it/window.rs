//! Windows: what their texts mean, exact edges through clock changes, and closures against a look at every minute.

mod calendars;
mod closures;
mod faults;
mod grammar;
mod oracle;
mod pains;
mod zones;

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Experiment,
    ids::Name,
    window::{
        self, NameGlob, OnEntry, Scope, Span, SpanError, Window, WindowKind, Windows, closed_at, first_closure,
        first_stop, next_change,
    },
};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use proptest::prelude::*;

const STOP: OnEntry = OnEntry::Stop { lead: SignedDuration::from_secs(60) };

fn at(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a name")
}

fn weekly(text: &str) -> Span {
    Span::parse_weekly(text).expect("a weekly span")
}

fn dates(text: &str) -> Span {
    Span::parse_dates(text).expect("dates")
}

fn month_days(text: &str) -> Span {
    Span::parse_month_days(text).expect("days")
}

fn window(label: &str, kind: WindowKind, zone: &str, spans: Vec<Span>) -> Window {
    let zone = TimeZone::get(zone).expect("a zone");
    Window {
        name: name(label),
        kind,
        scope: Scope::default(),
        on_entry: STOP,
        lead: SignedDuration::ZERO,
        zone,
        spans,
        calendars: Vec::new(),
    }
}

fn blackout(zone: &str, spans: Vec<Span>) -> Window {
    window("blackout", WindowKind::Blackout, zone, spans)
}

fn experiment(label: &str) -> Experiment {
    let tags = BTreeMap::from([("team".to_owned(), "payments".to_owned())]);
    Experiment { tags, ..Experiment::gone(name(label)) }
}

/// Checks the stretches of a window in UTC between two instants.
fn check(window: &Window, from: &str, to: &str, expected: &[(&str, &str)]) {
    let found = window.intervals(at(from), at(to));
    let found: Vec<_> = found.as_slice().iter().map(|i| (i.start.to_string(), i.end.to_string())).collect();
    let found: Vec<_> = found.iter().map(|(start, end)| (start.as_str(), end.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn weekly_spans_may_wrap_night_and_week() {
    let weekend = blackout("UTC", vec![weekly("Fri 18:00 - Mon 06:00")]);
    let expected = [("2026-06-05T18:00:00Z", "2026-06-08T06:00:00Z"), ("2026-06-12T18:00:00Z", "2026-06-14T00:00:00Z")];
    check(&weekend, "2026-06-01T06:00:00Z", "2026-06-14T00:00:00Z", &expected);
    let nights = blackout("UTC", vec![weekly("Mon,Sun 22:00-06:00:30")]);
    let expected = [("2026-06-01T22:00:00Z", "2026-06-02T06:00:30Z"), ("2026-06-07T22:00:00Z", "2026-06-08T06:00:30Z")];
    check(&nights, "2026-06-01T12:00:00Z", "2026-06-08T12:00:00Z", &expected);
    let days = blackout("UTC", vec![weekly("Sat,Sun"), weekly("Mon 00:00-24:00")]);
    check(
        &days,
        "2026-06-01T12:00:00Z",
        "2026-06-10T00:00:00Z",
        &[("2026-06-01T12:00:00Z", "2026-06-02T00:00:00Z"), ("2026-06-06T00:00:00Z", "2026-06-09T00:00:00Z")],
    );
    let nearly_a_week = blackout("UTC", vec![weekly("Fri 18:00 - Fri 17:00")]);
    let expected = [("2026-06-01T00:00:00Z", "2026-06-05T17:00:00Z"), ("2026-06-05T18:00:00Z", "2026-06-06T00:00:00Z")];
    check(&nearly_a_week, "2026-06-01T00:00:00Z", "2026-06-06T00:00:00Z", &expected);
}

#[test]
fn dates_come_once_and_include_the_last_whole_day() {
    let freeze = blackout("Europe/Berlin", vec![dates("2026-12-20T18:00 - 2027-01-02T06:00"), dates("2027-01-05")]);
    let expected = [("2026-12-20T17:00:00Z", "2027-01-02T05:00:00Z"), ("2027-01-04T23:00:00Z", "2027-01-05T23:00:00Z")];
    check(&freeze, "2026-11-01T00:00:00Z", "2027-11-01T00:00:00Z", &expected);
    let days = blackout("UTC", vec![dates("2026-12-24 - 2026-12-26")]);
    let expected = [("2026-12-24T00:00:00Z", "2026-12-27T00:00:00Z")];
    check(&days, "2026-11-01T00:00:00Z", "2027-11-01T00:00:00Z", &expected);
}

#[test]
fn days_of_year_and_month_come_again() {
    let turn = blackout("UTC", vec![month_days("12-31 - 01-02"), month_days("02-29")]);
    check(
        &turn,
        "2027-12-01T00:00:00Z",
        "2028-12-01T00:00:00Z",
        &[("2027-12-31T00:00:00Z", "2028-01-03T00:00:00Z"), ("2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z")],
    );
    let months = blackout("UTC", vec![month_days("-1"), month_days("15"), month_days("1")]);
    check(
        &months,
        "2026-02-10T00:00:00Z",
        "2026-03-20T00:00:00Z",
        &[
            ("2026-02-15T00:00:00Z", "2026-02-16T00:00:00Z"),
            ("2026-02-28T00:00:00Z", "2026-03-02T00:00:00Z"),
            ("2026-03-15T00:00:00Z", "2026-03-16T00:00:00Z"),
        ],
    );
}

#[test]
fn edge_in_gap_is_the_first_instant_after_it() {
    let from_gap = blackout("Europe/Berlin", vec![weekly("Sun 02:30-05:00")]);
    check(
        &from_gap,
        "2026-03-29T00:00:00Z",
        "2026-03-30T00:00:00Z",
        &[("2026-03-29T01:00:00Z", "2026-03-29T03:00:00Z")],
    );
    let to_gap = blackout("Europe/Berlin", vec![weekly("Sun 01:30-02:30")]);
    check(&to_gap, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", &[("2026-03-29T00:30:00Z", "2026-03-29T01:00:00Z")]);
    let inside = blackout("Europe/Berlin", vec![weekly("Sun 02:15-02:45")]);
    check(&inside, "2026-03-29T00:00:00Z", "2026-03-30T00:00:00Z", &[]);
}

#[test]
fn edge_in_overlap_permits_less() {
    let spans = || vec![weekly("Sun 02:30-05:00")];
    let (day, end) = ("2026-10-25T00:00:00Z", "2026-10-26T00:00:00Z");
    check(&blackout("Europe/Berlin", spans()), day, end, &[("2026-10-25T00:30:00Z", "2026-10-25T04:00:00Z")]);
    let allowed = window("allowed", WindowKind::Allowed, "Europe/Berlin", spans());
    check(&allowed, day, end, &[("2026-10-25T01:30:00Z", "2026-10-25T04:00:00Z")]);
    let spans = || vec![weekly("Sun 00:00-02:30")];
    check(&blackout("Europe/Berlin", spans()), day, end, &[("2026-10-25T00:00:00Z", "2026-10-25T01:30:00Z")]);
    let allowed = window("allowed", WindowKind::Allowed, "Europe/Berlin", spans());
    check(&allowed, day, end, &[("2026-10-25T00:00:00Z", "2026-10-25T00:30:00Z")]);
}

#[test]
fn whole_days_touch_through_a_repeated_midnight() {
    // In Havana clocks go back from 01:00 to 00:00 on 1 November 2026.
    let allowed = window("allowed", WindowKind::Allowed, "America/Havana", vec![weekly("Sat,Sun")]);
    let expected = [("2026-10-31T04:00:00Z", "2026-11-02T05:00:00Z")];
    check(&allowed, "2026-10-30T12:00:00Z", "2026-11-03T00:00:00Z", &expected);
}

#[test]
fn bad_spans_say_what_is_wrong() {
    let weekly = |text: &str| Span::parse_weekly(text).expect_err("a bad span");
    assert_eq!(weekly("Fry 18:00 - Mon 06:00"), SpanError::Weekday { word: "Fry".to_owned() });
    assert_eq!(weekly("Fri 18:61-19:00"), SpanError::Time { text: "18:61".to_owned() });
    assert!(matches!(weekly("Fri 18:00-18:00"), SpanError::NoLength { .. }));
    for text in ["Fri 24:00-06:00", "Fri 24:00 - Sat 06:00", "24:00-24:00"] {
        assert!(matches!(weekly(text), SpanError::BeginsAtEnd { .. }), "{text}: {:?}", weekly(text));
    }
    for text in ["Fri 18:00-24:01", "Fri 25:00-26:00", "Fri:9-Sat:10:00"] {
        assert!(matches!(weekly(text), SpanError::Time { .. }), "{text}: {:?}", weekly(text));
    }
    assert!(matches!(weekly("Fri 18:00 - Fri 18:00"), SpanError::NoLength { .. }));
    for text in ["", "Fri 18:00", "Fri -", "18:00", "Fri,,Sat", "Fri 18:00 - 19:00 - 20:00"] {
        assert!(matches!(weekly(text), SpanError::Weekly { .. }), "{text}: {:?}", weekly(text));
    }
    let dates = |text: &str| Span::parse_dates(text).expect_err("bad dates");
    assert!(matches!(dates("2026-02-30"), SpanError::Date { .. }));
    assert!(matches!(dates("2026-12-24T18:00"), SpanError::NoLength { .. }));
    assert!(matches!(dates("2026-12-24 - 2026-12-20"), SpanError::Backwards { .. }));
    for text in ["", "0", "32", "-32", "13-01", "02-30", "12-24 - 15", "2026-12-24"] {
        assert!(matches!(Span::parse_month_days(text), Err(SpanError::Day { .. })), "{text}");
    }
}

#[test]
fn closure_of_a_blackout_has_exact_edges() {
    let windows = Windows::from(vec![blackout("UTC", vec![weekly("Fri 18:00 - Mon 06:00")])]);
    let e = experiment("checkout");
    let until = Some(at("2026-06-08T06:00:00Z"));
    assert_eq!(closed_at(&windows, &e, at("2026-06-05T17:59:59.999Z")), None);
    let closure = closed_at(&windows, &e, at("2026-06-05T18:00:00Z")).expect("closed");
    assert_eq!((closure.opens, closure.until), (at("2026-06-05T18:00:00Z"), until));
    assert_eq!(closed_at(&windows, &e, at("2026-06-08T06:00:00Z")), None);
    let first = first_closure(&windows, &e, at("2026-06-05T10:00:00Z"), at("2026-06-05T18:00:01Z")).expect("closed");
    assert_eq!((first.opens, first.until), (at("2026-06-05T18:00:00Z"), until));
    assert_eq!(first_closure(&windows, &e, at("2026-06-05T10:00:00Z"), at("2026-06-05T18:00:00Z")), None);
    let change = next_change(&windows, &e, at("2026-06-05T18:00:00Z"));
    assert_eq!(change, until);
}

/// Time is looked up in pages of 32 days, of which one begins with 2026-04-01.
#[test]
fn what_changes_where_a_page_begins_is_not_missed() {
    let e = experiment("checkout");
    for kind in [WindowKind::Blackout, WindowKind::Allowed] {
        for span in
            ["2026-03-20 - 2026-03-31", "2026-04-01 - 2026-04-10", "2026-03-01 - 2026-03-20, 2026-04-01 - 2026-04-10"]
        {
            let spans = span.split(", ").map(dates).collect();
            let windows = Windows::from(vec![window("w", kind, "UTC", spans)]);
            let change = next_change(&windows, &e, at("2026-03-25T00:00:00Z"));
            assert_eq!(change, Some(at("2026-04-01T00:00:00Z")), "{kind:?} {span}");
        }
    }
}

#[test]
fn allowed_windows_union_and_blackouts_win() {
    let allowed = [
        window("morning", WindowKind::Allowed, "UTC", vec![weekly("Mon-Fri 08:00-12:00")]),
        window("noon", WindowKind::Allowed, "UTC", vec![weekly("Mon-Fri 12:00-14:00")]),
    ];
    let windows: Windows = allowed.iter().cloned().collect();
    let e = experiment("checkout");
    let first = first_closure(&windows, &e, at("2026-06-01T09:00:00Z"), at("2026-06-02T00:00:00Z")).expect("closed");
    assert_eq!((first.window.as_str(), first.opens), ("noon", at("2026-06-01T14:00:00Z")));
    assert_eq!(first.until, Some(at("2026-06-02T08:00:00Z")));
    let closed = closed_at(&windows, &e, at("2026-06-01T07:00:00Z")).expect("closed");
    assert_eq!((closed.window.as_str(), closed.until), ("noon", Some(at("2026-06-01T08:00:00Z"))));
    let deny = window("deny", WindowKind::Blackout, "UTC", vec![dates("2026-06-01T11:00 - 2026-06-01T13:00")]);
    let windows: Windows = allowed.into_iter().chain([deny]).collect();
    let first = first_closure(&windows, &e, at("2026-06-01T09:00:00Z"), at("2026-06-02T00:00:00Z")).expect("closed");
    assert_eq!((first.window.as_str(), first.opens), ("deny", at("2026-06-01T11:00:00Z")));
    assert_eq!(closed_at(&windows, &e, at("2026-06-01T12:30:00Z")).expect("closed").window.as_str(), "deny");
    assert_eq!(closed_at(&windows, &e, at("2026-06-01T13:00:00Z")), None);
}

#[test]
fn allowed_window_that_is_over_closes_for_good() {
    let windows = Windows::from(vec![window("once", WindowKind::Allowed, "UTC", vec![dates("2026-06-01")])]);
    let closed = closed_at(&windows, &experiment("checkout"), at("2026-06-05T00:00:00Z")).expect("closed");
    assert_eq!(closed.until, None);
}

#[test]
fn endless_blackout_has_no_known_end() {
    for span in [Span::ALWAYS, weekly("always"), weekly("Mon-Sun")] {
        let windows = Windows::from(vec![blackout("Europe/Berlin", vec![span])]);
        let closed = closed_at(&windows, &experiment("checkout"), at("2026-06-05T00:00:00Z")).expect("closed");
        assert_eq!((closed.opens, closed.until), (at("2026-06-05T00:00:00Z"), None));
        assert_eq!(next_change(&windows, &experiment("checkout"), at("2026-06-05T00:00:00Z")), None);
    }
}

#[test]
fn scope_selects_by_name_and_tag() {
    let tags = |value: &str| BTreeMap::from([("team".to_owned(), value.to_owned())]);
    let scope = |glob: &str, value: &str| Scope {
        experiments: vec![NameGlob::new(glob)],
        tags: tags(value),
        ..Scope::default()
    };
    let e = experiment("checkout-latency");
    assert!(scope("checkout-*", "payments").holds(&e));
    assert!(!scope("checkout-*", "search").holds(&e));
    assert!(!scope("checkout", "payments").holds(&e));
    for (glob, matches) in
        [("*", true), ("*latency", true), ("c*-*y", true), ("*x*", false), ("checkout-latency*", true)]
    {
        assert_eq!(NameGlob::new(glob).matches("checkout-latency"), matches, "{glob}");
    }
    assert!(!NameGlob::new("ab*bc").matches("abc"));
}

#[test]
fn first_stop_looks_past_a_blackout_that_lets_runs_finish() {
    let mut finish = window("finish", WindowKind::Blackout, "UTC", vec![dates("2026-06-01T10:00 - 2026-06-01T20:00")]);
    finish.on_entry = OnEntry::Finish;
    let stop = window("stop", WindowKind::Blackout, "UTC", vec![dates("2026-06-01T12:00 - 2026-06-01T13:00")]);
    let windows = Windows::from(vec![finish, stop]);
    let (from, to) = (at("2026-06-01T09:00:00Z"), at("2026-06-01T21:00:00Z"));
    let e = experiment("checkout");
    assert_eq!(first_closure(&windows, &e, from, to).expect("closed").window.as_str(), "finish");
    assert_eq!(first_stop(&windows, &e, from, to).expect("stops").window.as_str(), "stop");
    assert_eq!(closed_at(&windows, &e, at("2026-06-01T12:00:00Z")).expect("closed").window.as_str(), "stop");
}

/// A weekly span as numbers: weekday and minute of its edges, and how it is written.
fn weekly_spans() -> impl Strategy<Value = (String, i8, i16, i64, i16)> {
    (0i8..7, 0i16..96, 0i64..7, 0i16..96).prop_filter_map("no length", |(day, from, days_on, to)| {
        let (from, to) = (from * 15, to * 15);
        if days_on == 0 && to <= from {
            return None;
        }
        let names = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        let last = names[(day as usize + days_on as usize) % 7];
        let clock = |minutes: i16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        let text = format!("{} {} - {last} {}", names[day as usize], clock(from), clock(to));
        Some((text, day, from, days_on, to))
    })
}

const STARTS: [(&str, &str); 6] = [
    ("Europe/Berlin", "2026-03-25T00:00:00Z"),
    ("Europe/Berlin", "2026-10-21T00:00:00Z"),
    ("America/Havana", "2026-10-28T00:00:00Z"),
    ("Africa/Cairo", "2026-04-21T00:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-01T00:00:00Z"),
    ("Pacific/Apia", "2011-12-27T00:00:00Z"),
];

/// Minutes that are looked at on each side of those that are compared.
const MARGIN: usize = 10 * 24 * 60;
/// Minutes that are compared.
const LENGTH: usize = 10 * 24 * 60;

/// Tells for each minute whether a weekly span covers it, from what clocks show alone.
fn minute_by_minute(kind: WindowKind, locals: &[DateTime], span: (i8, i16, i64, i16)) -> Vec<bool> {
    let (day, from, days_on, to) = span;
    let mut covered = vec![false; locals.len()];
    let first = locals[0].date();
    for offset in 0..(locals.len() / 1440) as i64 {
        let date = first + SignedDuration::from_hours(24 * offset);
        if date.weekday().to_monday_zero_offset() != day {
            continue;
        }
        let time = |minutes: i16| jiff::civil::time((minutes / 60) as i8, (minutes % 60) as i8, 0, 0);
        let begins = date.to_datetime(time(from));
        let ends = (date + SignedDuration::from_hours(24 * days_on)).to_datetime(time(to));
        let first_at = |local: DateTime| locals.iter().position(|shown| *shown >= local).unwrap_or(locals.len());
        // The second pass of what comes twice, even where clocks turn at this very time.
        let last_before = |local: DateTime| {
            let shown_last = locals.iter().rposition(|shown| *shown == local);
            shown_last.unwrap_or_else(|| locals.iter().rposition(|shown| *shown < local).map_or(0, |at| at + 1))
        };
        let range = match kind {
            WindowKind::Blackout => first_at(begins)..last_before(ends),
            WindowKind::Allowed => last_before(begins)..first_at(ends),
        };
        covered[range.start..range.end.max(range.start)].fill(true);
    }
    covered
}

proptest! {
    #![proptest_config(crate::support::chance::cases(64))]

    #[test]
    fn closures_agree_with_every_minute(
        start in 0..STARTS.len(),
        allowed in any::<bool>(),
        spans in proptest::collection::vec(weekly_spans(), 1..4),
        asked in 0..LENGTH,
        length in 1usize..24 * 60,
    ) {
        let kind = if allowed { WindowKind::Allowed } else { WindowKind::Blackout };
        let (zone, from) = STARTS[start];
        // Allowed spans that touch are one before clock changes are looked at; the oracle looks at one span alone.
        let spans = if allowed { &spans[..1] } else { &spans[..] };
        let text = spans.iter().map(|span| span.0.as_str()).collect::<Vec<_>>().join(", ");
        let w = window("w", kind, zone, spans.iter().map(|span| weekly(&span.0)).collect());
        let base = at(from) - SignedDuration::from_mins(MARGIN as i64);
        let instant = |minute: usize| base + SignedDuration::from_mins(minute as i64);
        let locals: Vec<_> = (0..MARGIN * 2 + LENGTH).map(|minute| w.zone.to_datetime(instant(minute))).collect();
        let each = spans.iter().map(|&(_, day, from, days_on, to)| minute_by_minute(kind, &locals, (day, from, days_on, to)));
        let covered = each.reduce(|a, b| a.iter().zip(&b).map(|(a, b)| *a || *b).collect()).expect("a span");
        let closed = |minute: usize| covered[minute] != allowed;
        let (windows, e) = (&Windows::from(vec![w.clone()]), experiment("e"));
        for step in 0..300 {
            let minute = MARGIN + (asked + step * 7) % LENGTH;
            prop_assert_eq!(w.covering(instant(minute)).is_some(), covered[minute], "{} {}", &text, instant(minute));
            prop_assert_eq!(closed_at(windows, &e, instant(minute)).is_some(), closed(minute));
        }
        let minute = MARGIN + asked;
        let opens = (minute..minute + length).find(|&m| closed(m)).map(instant);
        let found = first_closure(windows, &e, instant(minute), instant(minute + length));
        prop_assert_eq!(found.as_ref().map(|closure| closure.opens), opens, "{} {} {}", zone, &text, instant(minute));
        let change = (minute + 1..covered.len() - MARGIN).find(|&m| covered[m] != covered[m - 1]).map(instant);
        if let Some(change) = change {
            prop_assert_eq!(window::next_change(windows, &e, instant(minute)), Some(change), "{} {}", zone, &text);
        }
    }

    #[test]
    fn any_text_is_a_span_or_refused(text in "\\PC{0,20}", like in "[MTWFSadeinorstuhy0-9:,T -]{0,20}") {
        for text in [text, like] {
            for span in [Span::parse_weekly(&text), Span::parse_dates(&text), Span::parse_month_days(&text)].into_iter().flatten() {
                let w = blackout("Europe/Berlin", vec![span]);
                let now = at("2026-03-28T12:00:00Z");
                prop_assert!(w.next_transition(now).is_none_or(|next| next > now));
            }
        }
    }
}
