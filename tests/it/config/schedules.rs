//! Schedules in the configuration: every key, what excludes what, and what could never work.

use firedrill::domain::{
    ids::Name,
    schedule::{MissedPolicy, Schedule, Spread},
};
use jiff::SignedDuration;

use super::{GOOD, loaded, refused};

/// A configuration with schedules, each of them given by its keys.
fn with(schedules: &[&str]) -> String {
    let tables = schedules.iter().enumerate().map(|(number, keys)| {
        let name = if keys.contains("name = ") { String::new() } else { format!("name = \"s{number}\"\n") };
        format!("[[experiments.checkout.schedules]]\n{name}{keys}\n")
    });
    GOOD.to_owned() + &tables.collect::<String>()
}

fn schedule(keys: &str) -> Schedule {
    let settings = loaded(&[("a.toml", &with(&[keys]))], &[]).settings;
    settings.rules.experiments[&Name::parse("checkout").expect("a name")].schedules[0].clone()
}

fn next(keys: &str, after: &str) -> String {
    let slot = schedule(keys).next_after(after.parse().expect("an instant"));
    slot.map_or_else(|| "never".to_owned(), |slot| slot.at.to_string())
}

#[test]
fn every_kind_of_schedule_is_understood() {
    let berlin = "timezone = \"Europe/Berlin\"";
    assert_eq!(next("every = \"36h\"", "1970-01-01T00:00:00Z"), "1970-01-02T12:00:00Z");
    assert_eq!(
        next(&format!("every = \"1d\"\nanchor = \"2026-03-02T09:00\"\n{berlin}"), "2026-01-01T00:00:00Z"),
        "2026-03-02T08:00:00Z"
    );
    assert_eq!(next("every = \"36h\"\nstart_date = \"2026-03-02\"", "2026-01-01T00:00:00Z"), "2026-03-02T00:00:00Z");
    assert_eq!(next(&format!("at = \"2026-07-01T10:00\"\n{berlin}"), "2026-01-01T00:00:00Z"), "2026-07-01T08:00:00Z");
    assert_eq!(next("at = \"2026-07-01T10:00:00+05:30\"", "2026-01-01T00:00:00Z"), "2026-07-01T04:30:00Z");
    // One whose time clocks skip is at the end of the gap.
    assert_eq!(next(&format!("at = \"2026-03-29T02:30\"\n{berlin}"), "2026-01-01T00:00:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(next("cron = \"@daily\"\nend_date = \"2026-03-02\"", "2026-03-01T12:00:00Z"), "2026-03-02T00:00:00Z");
    assert_eq!(next("cron = \"@daily\"\nend_date = \"2026-03-02\"", "2026-03-02T00:00:00Z"), "never");
    let skip = format!("cron = \"30 2 * * *\"\ndst = \"skip\"\n{berlin}");
    assert_eq!(next(&skip, "2026-03-28T12:00:00Z"), "2026-03-30T00:30:00Z");
    let hashed = (
        next("cron = \"H * * * *\"\nname = \"one\"", "2026-01-01T00:00:00Z"),
        next("cron = \"H * * * *\"\nname = \"other\"", "2026-01-01T00:00:00Z"),
    );
    assert_ne!(hashed.0, hashed.1);
}

#[test]
fn policies_are_taken_over() {
    let keys = "cron = \"0 9 * * MON-FRI\"\njitter = \"5m\"\nmtbf = 5\nmax_runs = 3\nmissed = \"all\"\nmax_missed = 4\nhold_for = \"1h\"";
    let schedule = schedule(keys);
    assert_eq!(schedule.spread, Spread::Jitter(SignedDuration::from_mins(5)));
    assert_eq!((schedule.mtbf, schedule.max_runs), (5, Some(3)));
    assert_eq!(schedule.missed, MissedPolicy::All { most: 4 });
    assert_eq!(schedule.hold_for, SignedDuration::from_hours(1));
    let warnings = loaded(&[("a.toml", &with(&[keys]))], &[]).warnings;
    let warnings: Vec<String> = warnings.into_iter().map(|warning| warning.message).collect();
    assert_eq!(
        warnings,
        ["all missed slots are made up for, but `overlap = \"skip\"` lets only the first of them run"]
    );
}

#[test]
fn mistakes_in_schedules_are_named_with_place_and_hint() {
    let text = with(&[
        "every = \"0s\"",
        "cron = \"@daily\"\nevery = \"1h\"",
        "at = \"tomorrow\"\ndst = \"skip\"",
        "cron = \"@daily\"\nanchor = \"2026-01-01\"\ndst = \"fold\"",
        "cron = \"0 8,9 * * *\"\njitter = \"2h\"",
        "every = \"36h\"\nwithin = \"2d\"\nstart_deadline = \"1h\"",
        "cron = \"@daily\"\njitter = \"1h\"\nwithin = \"1h\"\nmax_missed = 3",
        "cron = \"@daily\"\nmtbf = 0\nmax_runs = 0\nmissed = \"all\"\nmax_missed = 1000",
        "cron = \"@daily\"\nstart_date = \"2026-03-02\"\nend_date = \"2026-03-01\"",
        "cron = \"0 0 29 2 *\"\nstart_date = \"2026-01-01\"\nend_date = \"2027-12-31\"",
        "cron = \"@daily\"\nstart_date = \"9999-12-31\"\nend_date = \"2026-02-30\"",
        "cron = \"@every 36h\"",
        "cron = \"0 22-2 * * *\"",
        "cron = \"5/15 24:00 * * *\"",
        "at = \"2026-03-01T24:00\"",
        "missed = \"latest\"",
        "cron = \"@daily\"\nmissed = \"later\"",
    ]);
    insta::assert_snapshot!(refused(&[("a.toml", &text)], &[]), @r#"
    a.toml:5:9 experiments.checkout.schedules[0].every: `0s` is out of range: from 1s to 3660d is possible
    a.toml:9:9 experiments.checkout.schedules[1].every: `cron` and `every` exclude each other
      hint: remove one of them, or make it a schedule of its own
    a.toml:12:6 experiments.checkout.schedules[2].at: `tomorrow` is not a time
      hint: write `2026-03-01T10:00` (in `timezone`), `2026-03-01T10:00:00Z` or `2026-03-01`
    a.toml:13:7 experiments.checkout.schedules[2].dst: has no meaning without `cron`
    a.toml:17:10 experiments.checkout.schedules[3].anchor: has no meaning without `every`
    a.toml:18:7 experiments.checkout.schedules[3].dst: `fold` is not one of `shift` or `skip`
    a.toml:22:10 experiments.checkout.schedules[4].jitter: `2h` is longer than the shortest time between two slots, which is 1h
      hint: write at most `1h`
    a.toml:26:10 experiments.checkout.schedules[5].within: `2d` is longer than the shortest time between two slots, which is 36h
      hint: write at most `36h`
    a.toml:27:18 experiments.checkout.schedules[5].start_deadline: has no meaning with `within`, whose end is the deadline
    a.toml:32:10 experiments.checkout.schedules[6].within: `jitter` and `within` exclude each other
    a.toml:33:14 experiments.checkout.schedules[6].max_missed: has no meaning without `missed = "all"`
    a.toml:37:8 experiments.checkout.schedules[7].mtbf: `0` is out of range: from 1 to 1000000 is possible
    a.toml:38:12 experiments.checkout.schedules[7].max_runs: `0` is out of range: from 1 to 1000000 is possible
    a.toml:40:14 experiments.checkout.schedules[7].max_missed: `1000` is out of range: from 1 to 100 is possible
    a.toml:45:12 experiments.checkout.schedules[8].end_date: is not after `start_date`
    a.toml:46:1 experiments.checkout.schedules[9]: never fires: no slot lies between its `start_date` and `end_date`
    a.toml:54:14 experiments.checkout.schedules[10].start_date: `9999-12-31` is not a time
      hint: write `2026-03-01T10:00` (in `timezone`), `2026-03-01T10:00:00Z` or `2026-03-01`
    a.toml:55:12 experiments.checkout.schedules[10].end_date: `2026-02-30` is not a time
      hint: write `2026-03-01T10:00` (in `timezone`), `2026-03-01T10:00:00Z` or `2026-03-01`
    a.toml:58:8 experiments.checkout.schedules[11].cron: `@every 36h` is not supported: use @hourly, @daily, @weekly, @monthly, @yearly or five to seven fields
      hint: a period is no cron expression: `every = "36h"`
    a.toml:61:8 experiments.checkout.schedules[12].cron: `22-2` cannot stand in the hour field: it takes 0-23, with `*` `,` `-` `/` and `H`
      hint: a range goes forward, so write two: `22-23,0-2`
    a.toml:64:8 experiments.checkout.schedules[13].cron: `24:00` cannot stand in the hour field: it takes 0-23, with `*` `,` `-` `/` and `H`
    a.toml:67:6 experiments.checkout.schedules[14].at: `2026-03-01T24:00` is not a time
      hint: write `2026-03-01T10:00` (in `timezone`), `2026-03-01T10:00:00Z` or `2026-03-01`
    a.toml:68:1 experiments.checkout.schedules[15].cron: is missing
      hint: say when: `cron = "30 2 * * MON-FRI"`, `every = "36h"` or `at = "2026-03-01T10:00"`
    a.toml:74:10 experiments.checkout.schedules[16].missed: `later` is not one of `latest`, `skip` or `all`
    "#);
}

/// A fraction made a slot that its own cursor never reached; an offset, a zone and an hour alone were read as something else.
#[test]
fn times_of_schedules_are_read_strictly() {
    let every = |key: &str, text: &str| format!("every = \"36h\"\n{key} = \"{text}\"");
    for text in [
        "2026-03-01T10:00:00.123456789Z",
        "2026-03-01T10:00:00.5",
        "2026-03-01T10:00[Europe/Berlin]",
        "2026-03-01T10:00:00+01:00[Europe/Berlin]",
        "2026-03-01T10",
        "20260301T100000",
        "20260301",
        "2026-03-01T10:00:60",
    ] {
        for keys in
            [format!("at = \"{text}\""), every("anchor", text), every("start_date", text), every("end_date", text)]
        {
            let said = refused(&[("a.toml", &with(&[&keys]))], &[]);
            assert!(said.contains(&format!("`{text}` is not a ")) && said.contains("hint: "), "{said}");
        }
    }
    assert_eq!(next("at = \"2026-03-01 10:00\"", "2026-01-01T00:00:00Z"), "2026-03-01T10:00:00Z");
    assert_eq!(next("at = \"2026-03-01T10:00+01:00\"", "2026-01-01T00:00:00Z"), "2026-03-01T09:00:00Z");
}
