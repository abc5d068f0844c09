//! Files as Systems Manager, Google Calendar and Outlook export them, and what a window makes of them.

use firedrill::{
    config,
    domain::{
        calendar::{Calendar, DefaultState},
        window::Window,
    },
};
use jiff::{Timestamp, tz::TimeZone};

use super::{at, calendar, check, event};

const SSM_OPEN: &str = include_str!("ssm-open.ics");
const SSM_CLOSED: &str = include_str!("ssm-closed.ics");
const GOOGLE: &str = include_str!("google.ics");
const OUTLOOK: &str = include_str!("outlook.ics");

/// Loads one window, written as TOML, that may follow a file `c.ics`.
fn window(toml: &str, ics: &str) -> Window {
    let folder = tempfile::tempdir().expect("a folder");
    let file = if ics.is_empty() { "" } else { "[calendars.c]\nfile = \"c.ics\"\ntimezone = \"Europe/Berlin\"\n" };
    let text = format!("[experiments.drill]\ntemplate = \"EXT1\"\n{file}[windows.w]\n{toml}\n");
    std::fs::write(folder.path().join("a.toml"), text).expect("a file");
    std::fs::write(folder.path().join("c.ics"), ics).expect("a file");
    let loaded = config::load(folder.path(), []).unwrap_or_else(|problems| panic!("{problems}"));
    loaded.settings.rules.windows[0].clone()
}

/// The times of a window, in UTC without seconds.
fn times(window: &Window, from: &str, to: &str) -> Vec<(String, String)> {
    let shown = |at: Timestamp| at.strftime("%m-%d %H:%M").to_string();
    window.intervals(at(from), at(to)).as_slice().iter().map(|i| (shown(i.start), shown(i.end))).collect()
}

#[track_caller]
fn check_window(window: &Window, from: &str, to: &str, expected: &[(&str, &str)]) {
    let found = times(window, from, to);
    let found: Vec<(&str, &str)> = found.iter().map(|(start, end)| (start.as_str(), end.as_str())).collect();
    assert_eq!(found, expected);
}

#[test]
fn a_change_calendar_that_is_open_by_default_closes_during_its_events() {
    let calendar = Calendar::parse(SSM_OPEN).expect("a calendar");
    assert_eq!(calendar.default_state(), Some(DefaultState::Open));
    let (from, to) = ("2026-11-20T00:00:00Z", "2026-12-15T00:00:00Z");
    let closed = [("11-26 23:00", "12-01 11:00")];
    check_window(&window("calendars = [\"c\"]", SSM_OPEN), from, to, &closed);
    let open = [("11-20 00:00", "11-26 23:00"), ("12-01 11:00", "12-15 00:00")];
    check_window(&window("kind = \"allowed\"\ncalendars = [\"c\"]", SSM_OPEN), from, to, &open);
    // The last working day of a month.
    let payroll = window("calendars = [\"c\"]", SSM_OPEN);
    let spring = [("02-27 17:00", "02-28 01:00"), ("03-31 16:00", "04-01 00:00")];
    check_window(&payroll, "2026-02-01T00:00:00Z", "2026-04-15T00:00:00Z", &spring);
}

#[test]
fn a_change_calendar_that_is_closed_by_default_opens_during_its_events() {
    let (from, to) = ("2026-03-23T00:00:00Z", "2026-04-06T00:00:00Z");
    // The clocks change between the two Tuesdays.
    let open = [("03-24 09:00", "03-24 11:00"), ("03-31 08:00", "03-31 10:00")];
    check_window(&window("kind = \"allowed\"\ncalendars = [\"c\"]", SSM_CLOSED), from, to, &open);
    let closed = [("03-23 00:00", "03-24 09:00"), ("03-24 11:00", "03-31 08:00"), ("03-31 10:00", "04-06 00:00")];
    check_window(&window("calendars = [\"c\"]", SSM_CLOSED), from, to, &closed);
}

#[test]
fn a_file_of_google_calendar_is_read() {
    let expected = [
        ("2026-03-02T21:00:00Z", "2026-03-03T05:00:00Z"),
        ("2026-03-04T21:00:00Z", "2026-03-05T05:00:00Z"),
        // Monday 9 March is excepted, Wednesday 11 March is moved to Thursday, Monday 16 March is cancelled.
        ("2026-03-12T09:00:00Z", "2026-03-12T11:00:00Z"),
        ("2026-03-18T21:00:00Z", "2026-03-19T05:00:00Z"),
        ("2026-03-23T21:00:00Z", "2026-03-24T05:00:00Z"),
        ("2026-03-25T21:00:00Z", "2026-03-26T05:00:00Z"),
        // Two whole days, the second one of 23 hours.
        ("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z"),
        ("2026-03-30T20:00:00Z", "2026-03-31T04:00:00Z"),
        ("2026-04-01T20:00:00Z", "2026-04-02T04:00:00Z"),
    ];
    check(GOOGLE, "2026-03-01T00:00:00Z", "2026-06-01T00:00:00Z", &expected);
}

#[test]
fn a_file_of_outlook_is_read() {
    // Its zone has a name of Windows; whole days are in the zone of the configuration.
    let window = window("calendars = [\"c\"]", OUTLOOK);
    let expected = [
        ("01-31 07:00", "01-31 17:00"),
        ("02-28 07:00", "02-28 17:00"),
        ("03-31 06:00", "03-31 16:00"),
        ("04-30 06:00", "04-30 16:00"),
        ("04-30 22:00", "05-01 22:00"),
    ];
    check_window(&window, "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z", &expected);
    let unknown = OUTLOOK.replace("W. Europe Standard Time", "Customized Time Zone");
    let error = Calendar::parse(&unknown).map(drop).expect_err("a zone of nobody");
    assert_eq!(error.to_string(), "line 28: the time zone `Customized Time Zone` is not known");
}

#[test]
fn a_file_that_was_cut_short_is_refused_wherever_it_was_cut() {
    for whole in [SSM_OPEN, SSM_CLOSED, GOOGLE, OUTLOOK] {
        let end = whole.trim_end().len();
        for cut in (0..end).filter(|cut| whole.is_char_boundary(*cut)) {
            assert!(Calendar::parse(&whole[..cut]).is_err(), "{}", &whole[..cut]);
        }
    }
}

#[test]
fn a_skipped_time_moves_an_event_and_not_a_weekly_window() {
    // Clocks go from 02:00 to 03:00 on Sunday 29 March 2026, which is 01:00 in UTC.
    let rule = "RRULE:FREQ=WEEKLY;BYDAY=SU";
    let ics =
        event(&format!("DTSTART;TZID=Europe/Berlin:20260322T023000\nDTEND;TZID=Europe/Berlin:20260322T040000\n{rule}"));
    let (from, to) = ("2026-03-28T00:00:00Z", "2026-03-30T00:00:00Z");
    // RFC 5545, 3.3.5: with the offset before the gap 02:30 is 03:30. Its length is that of the first one.
    check_window(&window("calendars = [\"c\"]", &ics), from, to, &[("03-29 01:30", "03-29 03:00")]);
    let weekly = "timezone = \"Europe/Berlin\"\nweekly = [\"Sun 02:30-04:00\"]";
    check_window(&window(weekly, ""), from, to, &[("03-29 01:00", "03-29 02:00")]);
}

#[test]
fn whole_days_are_in_the_zone_of_the_file_or_else_of_the_configuration() {
    let day = "BEGIN:VEVENT\nDTSTART;VALUE=DATE:20261224\nEND:VEVENT";
    let at_home = window("calendars = [\"c\"]", &calendar(day));
    let (from, to) = ("2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z");
    check_window(&at_home, from, to, &[("12-23 23:00", "12-24 23:00")]);
    let abroad = window("calendars = [\"c\"]", &calendar(&format!("X-WR-TIMEZONE:Asia/Kathmandu\n{day}")));
    check_window(&abroad, from, to, &[("12-23 18:15", "12-24 18:15")]);
    let floating = calendar("BEGIN:VEVENT\nDTSTART:20261224T080000\nDTEND:20261224T090000\nEND:VEVENT");
    check_window(&window("calendars = [\"c\"]", &floating), from, to, &[("12-24 07:00", "12-24 08:00")]);
    let utc = Calendar::parse_in(&calendar(day), &TimeZone::UTC).expect("a calendar");
    assert_eq!(
        utc.covering(at("2026-12-24T00:00:00Z")).expect("few").map(|b| b.start),
        Some(at("2026-12-24T00:00:00Z"))
    );
}
