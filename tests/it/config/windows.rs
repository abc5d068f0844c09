//! Windows in the configuration: what is refused and where, and what can never happen.

use jiff::Timestamp;

use super::{loaded, refused};

#[test]
fn mistakes_in_times_are_named_with_place_and_hint() {
    let text = r#"
[experiments.checkout]
template = "EXT1"
account = "1234"
[windows.a]
weekly = ["Fri 24:00 - Sat 06:00", "Fri 18:00-18:00"]
dates = ["2026-12-26 - 2026-12-24", "0000-00-00", "10000-01-01"]
times = [
    { weekdays = ["Mon-Fri"], days_of_month = ["32"], months = ["apirl"], years = ["2027:2026", "9999"] },
    { months = ["february"], days_of_month = ["30"] },
    { times = ["09:00-24:30", "22:00"], hours = ["9"] },
]
[windows.b]
cron = "61 * * * *"
duration = "0s"
[windows.c]
duration = "1h"
lead = "30d"
accounts = ["12"]
regions = ["eu-west1"]
[windows.d]
cron = "@daily"
[windows.e]
times = [{ timezone = "UTC" }]
"#;
    insta::assert_snapshot!(refused(&[("team.toml", text)], &[]), @r##"
    team.toml:4:11 experiments.checkout.account: `1234` is not an AWS account
      hint: write its 12 digits in quotes, such as `"123456789012"`
    team.toml:6:11 windows.a.weekly[0]: `Fri 24:00 - Sat 06:00` begins at 24:00, which can only end a span
      hint: write 00:00 of the next day
    team.toml:6:36 windows.a.weekly[1]: `Fri 18:00-18:00` has no length: it ends when it begins
      hint: a whole day is `Sat` or `2026-12-24`
    team.toml:7:10 windows.a.dates[0]: `2026-12-26 - 2026-12-24` ends before it begins
    team.toml:7:37 windows.a.dates[1]: `0000-00-00` is not a date: write `2026-12-24` or `2026-12-24T18:00`, a range with ` - ` between
    team.toml:7:51 windows.a.dates[2]: `10000-01-01` is not a date: write `2026-12-24` or `2026-12-24T18:00`, a range with ` - ` between
    team.toml:9:19 windows.a.times[0].weekdays[0]: `Mon-Fri` is not a weekday
      hint: write a range as `monday:friday`
    team.toml:9:48 windows.a.times[0].days_of_month[0]: `32` is not a day of the month: write `15`, `-1` for the last one, or a range such as `1:5` or `-3:-1`
    team.toml:9:65 windows.a.times[0].months[0]: `apirl` is not a month: write `april`, `4`, or a range such as `april:june`
      hint: did you mean `april`?
    team.toml:9:84 windows.a.times[0].years[0]: `2027:2026` ends before it begins
    team.toml:9:97 windows.a.times[0].years[1]: `9999` is not a year: write `2026`, or a range such as `2026:2027`
    team.toml:10:5 windows.a.times[1]: no date matches all of its fields, so it is never
    team.toml:11:16 windows.a.times[2].times[0]: `24:30` is not a time of day (`HH:MM` or `HH:MM:SS`, up to 24:00)
    team.toml:11:31 windows.a.times[2].times[1]: `22:00` is not a range of times: write `09:00-17:00`, or `22:00-06:00` for a night
    team.toml:11:41 windows.a.times[2].hours: unknown key `hours`
    team.toml:14:8 windows.b.cron: `61` cannot stand in the minute field: it takes 0-59, with `*` `,` `-` `/` and `H`
    team.toml:15:12 windows.b.duration: `0s` is out of range: from 1m to 31d is possible
    team.toml:16:1 windows.c: names no time, so it is never
      hint: write `weekly`, `dates`, `month_days`, `times`, `cron` or `calendars`; `weekly = ["always"]` is all the time
    team.toml:17:12 windows.c.duration: has no `cron` to begin at
    team.toml:18:8 windows.c.lead: `30d` is out of range: from 0s to 7d is possible
    team.toml:19:13 windows.c.accounts[0]: `12` is not an AWS account
      hint: write its 12 digits in quotes, such as `"123456789012"`
    team.toml:20:12 windows.c.regions[0]: `eu-west1` is not an AWS Region
      hint: write it as AWS does, such as `eu-west-1`
    team.toml:21:1 windows.d.duration: is missing
      hint: write how long it lasts from each instant of `cron`: `duration = "8h"`
    team.toml:24:12 windows.e.times[0].timezone: unknown key `timezone`
    "##);
}

/// An offset and a zone in brackets were read, and left out.
#[test]
fn dates_are_local_times_and_nothing_more() {
    let times = [
        "2026-12-24T18:00-05:00 - 2026-12-25",
        "2026-12-24T18:00[Europe/Berlin] - 2026-12-25",
        "2026-12-24T18:00:00Z - 2026-12-25",
        "2026-12-24T18:00:00.5 - 2026-12-25",
        "2026-12-24T18 - 2026-12-25",
        "20261224T180000 - 2026-12-25",
        "20261224",
        "2026-12-24T18:00:60 - 2026-12-25",
    ];
    for times in times {
        let text = format!("[experiments.checkout]\ntemplate = \"EXT1\"\n[windows.a]\ndates = [\"{times}\"]\n");
        let said = refused(&[("team.toml", &text)], &[]);
        assert!(said.contains("team.toml:4:10 windows.a.dates[0]: ") && said.contains("is not a date"), "{said}");
        assert_eq!(
            said.contains("of the window's `timezone`"),
            times.split(" - ").next().is_some_and(|t| t.contains(':'))
        );
    }
    let good = "[experiments.checkout]\ntemplate = \"EXT1\"\n[windows.a]\n\
                dates = [\"2026-12-24 18:00 - 2026-12-25T06:00:30\"]\n";
    assert_eq!(loaded(&[("team.toml", good)], &[]).warnings, []);
}

/// What can never happen, as said on 1 June 2026.
fn findings(text: &str) -> String {
    let now: Timestamp = "2026-06-01T00:00:00Z".parse().expect("an instant");
    let loaded = loaded(&[("team.toml", text)], &[]);
    let found = loaded.findings(now);
    let line = |problem: &firedrill::config::problem::Problem| {
        let position = problem.place.as_ref().and_then(|place| place.position).expect("a position");
        format!("{}:{} {}: {}", position.line, position.column, problem.path, problem.message)
    };
    found.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_can_never_happen_is_found_before_it_does_not() {
    let text = r#"
[experiments.frozen]
template = "EXT1"
[experiments.covered]
template = "EXT1"
[experiments.nightly]
template = "EXT1"
[[experiments.nightly.schedules]]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
[[experiments.nightly.schedules]]
cron = "30 12 * * *"
timezone = "Europe/Berlin"
[experiments.long]
template = "EXT1"
max_duration = "3h"
[experiments.patient]
template = "EXT1"
[[experiments.patient.schedules]]
cron = "30 2 * * *"
timezone = "Europe/Berlin"
hold_for = "5h"
[windows.always]
weekly = ["always"]
experiments = ["frozen"]
[windows.office]
kind = "allowed"
weekly = ["Mon-Fri 09:00-11:00"]
experiments = ["covered", "long"]
[windows.lunch]
weekly = ["Mon-Sun 08:00-12:00"]
experiments = ["covered"]
[windows.night]
timezone = "Europe/Berlin"
weekly = ["22:00-06:00"]
experiments = ["nightly", "patient"]
[windows.last-year]
dates = ["2025-12-24 - 2025-12-26"]
times = [{ years = ["2024"] }]
[windows.this-year]
dates = ["2025-12-24", "2026-12-24"]
"#;
    insta::assert_snapshot!(findings(text), @r##"
    37:1 windows.last-year: never comes again: all of its times have passed
    26:1 windows.office: never allows `covered` anything in the next year: blackouts cover all of its allowed windows
    2:1 experiments.frozen: can never run in the next year: it is closed all the time, now by window `always`
    14:1 experiments.long: may take `3h 1m`, but no open time of the next year is longer than `2h`: a run that could last so long never starts
    8:1 experiments.nightly.schedules[0]: can never fire in the next year: every slot lies in a closed time, the next one in that of window `night`
    "##);
}

#[test]
fn good_windows_raise_no_finding() {
    let text = r#"
[experiments.checkout]
template = "EXT1"
max_duration = "1h"
[[experiments.checkout.schedules]]
cron = "30 2 * * 1"
[windows.leap]
month_days = ["02-29"]
[windows.weekend]
kind = "allowed"
weekly = ["Mon-Fri"]
"#;
    assert_eq!(findings(text), "");
}

#[test]
fn span_of_nearly_a_week_is_a_doubt() {
    let text = "[experiments.checkout]\ntemplate = \"EXT1\"\n[windows.w]\nweekly = [\"Mon 18:00 - Mon 06:00\"]\n";
    let warnings = loaded(&[("team.toml", text)], &[]).warnings;
    assert_eq!(warnings[0].message, "`Mon 18:00 - Mon 06:00` ends in the next week, before it begins again");
}

#[test]
fn keys_of_windows_reach_the_planner() {
    let text = r#"
[experiments.checkout]
template = "EXT1"
environment = "staging"
role_arn = "arn:aws:iam::123456789012:role/chaos"
region = "eu-west-1"
[windows.w]
times = [{ weekdays = ["saturday:sunday"] }]
lead = "2h"
stop_lead = "90s"
environments = ["stag*"]
accounts = ["123456789012"]
regions = ["eu-*"]
"#;
    let loaded = loaded(&[("team.toml", text)], &[]);
    assert_eq!(loaded.warnings, []);
    let (windows, experiments) = (&loaded.settings.rules.windows, &loaded.settings.rules.experiments);
    let experiment = experiments.values().next().expect("an experiment");
    assert_eq!(experiment.account.as_deref(), Some("123456789012"));
    assert!(windows[0].scope.holds(experiment));
    assert_eq!(windows[0].lead, jiff::SignedDuration::from_hours(2));
}
