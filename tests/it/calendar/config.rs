//! Calendars in the configuration: one source each, and what is in a file is read when it is loaded.

use std::{fs, path::Path};

use firedrill::config::{Loaded, load, problem::Problems, settings::CalendarSource};
use jiff::SignedDuration;

use super::event;

const EXPERIMENT: &str = "[experiments.checkout]\ntemplate = \"EXT1\"\n";

/// Loads a folder of files, whose own path becomes `DIR` in what is said.
fn loaded(files: &[(&str, &str)], env: &[(&str, &str)], check: impl FnOnce(&Path, Result<Loaded, Problems>)) {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
    }
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    check(folder.path(), load(folder.path(), env));
}

fn refused(files: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    let mut said = String::new();
    loaded(files, env, |folder, loaded| {
        let problems = loaded.expect_err("a bad configuration").to_string();
        said = problems.replace(&folder.display().to_string(), "DIR");
    });
    said
}

#[test]
fn a_file_is_found_beside_the_file_that_names_it() {
    let text = event("DTSTART:20260101T000000Z\nDURATION:PT1H");
    let toml = format!(
        "{EXPERIMENT}[calendars.holidays]\nfile = \"ics/holidays.ics\"\nrefresh = \"10s\"\non_failure = \"last-known\"\n\
         [calendars.changes]\nssm = [\"change-freeze\", \"arn:aws:ssm:eu-west-1:123456789012:document/other\"]\n\
         region = \"eu-west-1\"\n[windows.freeze]\ncalendars = [\"holidays\", \"changes\"]\n"
    );
    loaded(&[("a.toml", &toml), ("ics/holidays.ics", &text)], &[], |folder, loaded| {
        let loaded = loaded.expect("a good configuration");
        assert_eq!(loaded.warnings, []);
        let [changes, holidays] = &loaded.settings.calendars[..] else { panic!("two") };
        assert_eq!(
            holidays.source,
            CalendarSource::File { path: folder.join("ics/holidays.ics"), timezone: "UTC".to_owned() }
        );
        assert_eq!((holidays.refresh.as_secs(), holidays.good_for), (10, SignedDuration::from_hours(24)));
        assert_eq!((changes.refresh.as_secs(), changes.good_for), (300, SignedDuration::from_hours(1)));
        assert!(matches!(&changes.source, CalendarSource::ChangeCalendars { names, place }
            if names.len() == 2 && place.region.as_deref() == Some("eu-west-1")));
        let readings = &loaded.settings.rules.windows[0].calendars;
        assert!(readings[0].content.is_some(), "a file has been read");
        assert!(readings[1].content.is_none(), "nobody has asked AWS");
    });
}

#[test]
fn mistakes_of_calendars_are_named_with_their_place() {
    let bomb = event("DTSTART:19700101T000000Z\nDURATION:PT1M\nRRULE:FREQ=HOURLY;BYMINUTE=0,10,20,30,40,50");
    let toml = format!(
        r#"{EXPERIMENT}[calendars.none]
refresh = "1h"
max_age = "30m"
[calendars.both]
file = "both.ics"
ssm = ["x"]
[calendars.gone]
file = "gone.ics"
[calendars.folder]
file = "ics"
[calendars.broken]
file = "ics/broken.ics"
[calendars.bomb]
file = "ics/bomb.ics"
[calendars.odd]
ssm = ["ok-name", "no name"]
[calendars.nobody]
ssm = []
on_failure = "last-known"
last_known_for = "30m"
[calendars."bad name"]
file = "ics/good.ics"
[calendars.good]
file = "ics/good.ics"
on_failure = "clsed"
[windows.freeze]
calendars = ["good", "goood", "gone"]
"#
    );
    let files = [
        ("team.toml", toml.as_str()),
        ("ics/broken.ics", &event("DTSTART:20260101T000000Z\nDURATION:PT1H\nRRULE:FREQ=SOMETIMES")),
        ("ics/bomb.ics", &bomb),
        ("ics/good.ics", &event("DTSTART:20260101T000000Z\nDURATION:PT1H")),
    ];
    insta::assert_snapshot!(refused(&files, &[]), @r#"
    DIR/ics/bomb.ics:4:1 calendars.bomb.file: the calendar has more than 100000 occurrences to look at: let the event begin later, or recur less often
    DIR/ics/broken.ics:7:1 calendars.broken.file: `FREQ=SOMETIMES` is no part of a recurrence rule
    DIR/team.toml:3:1 calendars.none: names neither `file` nor `ssm`
      hint: write one of them
    DIR/team.toml:5:11 calendars.none.max_age: is less than `refresh`: the calendar would be too old before it is read again
    DIR/team.toml:6:1 calendars.both: names both `file` and `ssm`
      hint: write one of them
    DIR/team.toml:10:8 calendars.gone.file: `DIR/gone.ics`: there is no such file
    DIR/team.toml:12:8 calendars.folder.file: `DIR/ics`: it is not a regular file
    DIR/team.toml:18:19 calendars.odd.ssm[1]: `no name` is neither the name nor the ARN of a change calendar
      hint: write a name, or `arn:aws:ssm:eu-west-1:123456789012:document/name`
    DIR/team.toml:20:7 calendars.nobody.ssm: has 0 names: from 1 to 10 are possible
    DIR/team.toml:22:18 calendars.nobody.last_known_for: is less than `max_age`
    DIR/team.toml:23:1 calendars."bad name": `bad name` is not a name: use 1 to 64 letters, digits, `_`, `-` or `.`, a letter or digit first
    DIR/team.toml:27:14 calendars.good.on_failure: `clsed` is not one of `closed` or `last-known`
      hint: did you mean `closed`?
    DIR/team.toml:29:22 windows.freeze.calendars[1]: there is no calendar `goood`
      hint: did you mean `good`?
    "#);
}

#[test]
fn a_variable_names_a_file_from_the_root() {
    let toml = format!("{EXPERIMENT}[calendars.c]\nfile = \"c.ics\"\n[windows.w]\ncalendars = [\"c\"]\n");
    let files = [("a.toml", toml.as_str()), ("c.ics", &event("DTSTART;VALUE=DATE:20260101"))];
    insta::assert_snapshot!(refused(&files, &[("FIREDRILL__CALENDARS__C__FILE", "c.ics")]), @"
    environment variable FIREDRILL__CALENDARS__C__FILE calendars.c.file: `c.ics` is not an absolute path
      hint: a path is looked for beside the file that names it, and a variable stands in none
    ");
    insta::assert_snapshot!(refused(&files, &[("FIREDRILL__CALENDARS__C__FILE", "/dev/zero")]), @"environment variable FIREDRILL__CALENDARS__C__FILE calendars.c.file: `/dev/zero`: it is not a regular file");
}

#[test]
fn doubts_about_calendars_are_warnings() {
    let toml =
        format!("{EXPERIMENT}[calendars.c]\nfile = \"c.ics\"\nregion = \"eu-west-1\"\nlast_known_for = \"1h\"\n");
    loaded(&[("a.toml", &toml), ("c.ics", "BEGIN:VCALENDAR\nEND:VCALENDAR\n")], &[], |folder, loaded| {
        let warnings = loaded.expect("a good configuration").warnings;
        let said: Vec<String> = warnings.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n").replace(&folder.display().to_string(), "DIR"), @r#"
        DIR/a.toml:6:18 calendars.c.last_known_for: has no effect without `on_failure = "last-known"`
        DIR/a.toml:3:1 calendars.c: `region`, `endpoint_url` and `role_arn` have no effect with `file`
        DIR/a.toml:3:1 calendars.c: no window refers to it
        "#);
    });
}

#[test]
fn a_file_of_fifty_megabytes_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("huge.ics");
    // Sparse: what counts is what would have to be read.
    fs::File::create(&path).and_then(|file| file.set_len(50_000_000)).expect("a file");
    let began = std::time::Instant::now();
    let refused = firedrill::config::calendar_file::load(&path, "UTC").expect_err("too large");
    assert_eq!(refused.to_string(), "it is larger than 4194304 bytes");
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
}
