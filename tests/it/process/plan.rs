//! What `firedrill plan` prints, by the real binary without an agent.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::support::agent::Home;

const TABLES: &str = "
[windows.weekend]
timezone = \"Europe/Berlin\"
weekly = [\"Fri 18:00 - Sun 00:00\"]
[windows.lunch]
timezone = \"Europe/Berlin\"
weekly = [\"11:30-13:30\"]
experiments = [\"check*\"]
[experiments.checkout]
template = \"EXT1\"
max_duration = \"1h\"
schedules = [{ name = \"nightly\", cron = \"30 2 * * *\", timezone = \"Europe/Berlin\" },
             { name = \"noon\", cron = \"0 12 * * FRI\", timezone = \"Europe/Berlin\", hold_for = \"2h\" }]
[experiments.search]
template = \"EXT2\"
max_duration = \"2h\"
schedules = [{ name = \"morning\", cron = \"0 9 * * MON-FRI\", timezone = \"Europe/Berlin\" }]
";

/// The days around a change of clocks.
const DAYS: [&str; 4] = ["--from", "2027-03-26", "--to", "2027-03-30"];

fn home() -> Home {
    Home::new("http://127.0.0.1:9", TABLES)
}

#[track_caller]
fn plan(home: &Home, args: &[&str]) -> String {
    let said = home.run(&[&["plan"], args].concat());
    assert_eq!((said.code, said.stderr.as_str()), (0, ""), "{said:?}");
    said.stdout
}

#[track_caller]
fn refused(home: &Home, args: &[&str], code: i32, words: &str) {
    let said = home.run(&[&["plan"], args].concat());
    assert!(said.code == code && said.stderr.contains(words), "no `{words}` in {said:?}");
}

#[test]
fn table_tells_every_slot_with_its_decision_and_what_had_to_be_assumed() {
    assert_snapshot!(plan(&home(), &DAYS), @"
     SLOT (UTC)            LOCAL                               EXPERIMENT  DECISION  STARTS (UTC)          ENDS BY (UTC)           USD  REASON
     2027-03-26 01:30:00Z  Fri 02:30:00 CET                    checkout    start                           2027-03-26 02:30:00Z *  ?
     2027-03-26 08:00:00Z  Fri 09:00:00 CET                    search      start                           2027-03-26 10:00:00Z *  ?
     2027-03-26 11:00:00Z  Fri 12:00:00 CET                    checkout    shift     2027-03-26 12:30:00Z  2027-03-26 13:30:00Z *  ?    waits: window `lunch` forbids it until 2027-03-26T12:30:00Z
     2027-03-27 01:30:00Z  Sat 02:30:00 CET                    checkout    skip                                                         window `weekend` forbids it until 2027-03-27T23:00:00Z
     2027-03-28 01:00:00Z  Sun 03:00:00 CEST (clocks changed)  checkout    start                           2027-03-28 02:00:00Z *  ?
     2027-03-29 00:30:00Z  Mon 02:30:00 CEST                   checkout    start                           2027-03-29 01:30:00Z *  ?
     2027-03-29 07:00:00Z  Mon 09:00:00 CEST                   search      start                           2027-03-29 09:00:00Z *  ?

    7 slots: 5 start, 1 start later, 1 do not start (closed 1)
    2027-03: 6 runs, their cost is not known
    clocks change: Europe/Berlin 2027-03-28 02:00→03:00
    * template never read by the agent, so `max_duration` is assumed: checkout, search
    ");
}

#[test]
fn picture_shades_windows_and_marks_starts_and_the_day_of_the_clock_change() {
    let home = home();
    let always = ["--picture", "always", "--totals"];
    assert_snapshot!(plan(&home, &[&DAYS[..], &always].concat()), @"
    hours in Europe/Berlin
                00    03    06    09    12    15    18    21
    Fri 03-26     ···A············B····░░░░A········▓▓▓▓▓▓▓▓▓▓▓▓
    Sat 03-27   ▓▓▓▓▓a▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓▓
    Sun 03-28   ····  A················░░░░·····················  02:00→03:00
    Mon 03-29   ·····A············B····░░░░·····················
    Tue 03-30   ····

    A checkout  B search
    A starts, a does not; 2-9 so many start, + more; ! several do not; windows close ░ to some, ▓ to all; a cell is 30 min

    7 slots: 5 start, 1 start later, 1 do not start (closed 1)
    2027-03: 6 runs, their cost is not known
    clocks change: Europe/Berlin 2027-03-28 02:00→03:00
    * template never read by the agent, so `max_duration` is assumed: checkout, search
    ");
    let months = ["--from", "2027-03-10", "--days", "60", "--picture", "always", "--totals"];
    assert_snapshot!(plan(&home, &months), @"
    weeks in Europe/Berlin
                Mon      Tue      Wed      Thu      Fri      Sat      Sun
    2027-03-08                    A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-03-15  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-03-22  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ ·A·░░···  Europe/Berlin 2027-03-28 02:00→03:00
    2027-03-29  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-04-05  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-04-12  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-04-19  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-04-26  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ A··░░···
    2027-05-03  A··B░··· A··B░··· A··B░··· A··B░··· A··BA·▓▓ a▓▓▓▓▓▓▓ ·

    A checkout  B search
    A starts, a does not; 2-9 so many start, + more; ! several do not; windows close ░ to some, ▓ to all; a cell is 3 h

    112 slots: 94 start, 9 start later, 9 do not start (closed 9)
    2027-03: 38 runs, their cost is not known
    2027-04: 53 runs, their cost is not known
    2027-05: 12 runs, their cost is not known
    clocks change: Europe/Berlin 2027-03-28 02:00→03:00
    * template never read by the agent, so `max_duration` is assumed: checkout, search
    ");
}

#[test]
fn json_tells_programs_the_same() {
    let report = home().json(&[&["plan"], &DAYS[..]].concat());
    let of = |key: &str| -> Vec<Value> {
        let slots = report["slots"].as_array().expect("slots");
        slots.iter().map(|slot| slot[key].clone()).collect()
    };
    assert_eq!(report["totals"]["slots"], of("slot").len());
    assert_eq!(report["clock_changes"][0]["zone"], "Europe/Berlin");
    assert_eq!(report["clock_changes"][0]["to"], "2027-03-28T03:00:00");
    assert_eq!(report["unknown"]["templates_never_read"], json!(["checkout", "search"]));
    assert_eq!((&report["until"], &report["cut"]), (&report["to"], &json!({})));
    let shifted = report["slots"].as_array().expect("slots").iter().find(|slot| slot["decision"] == "shift");
    assert_snapshot!(serde_json::to_string_pretty(&shifted).expect("JSON"), @r#"
    {
      "cost_usd": null,
      "decision": "shift",
      "end_rests_on": "max-duration",
      "ends_by": "2027-03-26T13:30:00Z",
      "experiment": "checkout",
      "moved_by_clock_change": false,
      "reason": "waits: window `lunch` forbids it until 2027-03-26T12:30:00Z",
      "run": "704cb3e7d331e11571cd",
      "schedule": "noon",
      "slot": "2027-03-26T11:00:00Z",
      "starts": "2027-03-26T12:30:00Z",
      "why": {
        "until": "2027-03-26T12:30:00Z",
        "why": "closed",
        "window": "lunch"
      },
      "zone": "Europe/Berlin"
    }
    "#);
    let totals = home().json(&[&["plan", "--totals"], &DAYS[..]].concat());
    assert_eq!((&totals["totals"], &totals["slots"]), (&report["totals"], &Value::Null));
}

#[test]
fn calendar_is_offered_by_plan_alone_and_holds_what_starts() {
    let home = home();
    let calendar = plan(&home, &[&DAYS[..], &["--output", "ics", "--experiment", "search"]].concat());
    let lines: Vec<&str> = calendar.lines().filter(|line| !line.starts_with("DTSTAMP")).collect();
    assert_snapshot!(lines.join("\n"), @r"
    BEGIN:VCALENDAR
    VERSION:2.0
    PRODID:-//Firedrill//Firedrill//EN
    BEGIN:VEVENT
    UID:abdbfa3db43bd5d45769@firedrill
    DTSTART:20270326T080000Z
    DTEND:20270326T100000Z
    SUMMARY:Chaos: search
    DESCRIPTION:The end is the experiment's `max_duration`\, since its template
      does not tell one.\nSchedule morning\, slot 2027-03-26 08:00:00Z
    STATUS:TENTATIVE
    CATEGORIES:chaos
    END:VEVENT
    BEGIN:VEVENT
    UID:5c5193db8cd7b64d1164@firedrill
    DTSTART:20270329T070000Z
    DTEND:20270329T090000Z
    SUMMARY:Chaos: search
    DESCRIPTION:The end is the experiment's `max_duration`\, since its template
      does not tell one.\nSchedule morning\, slot 2027-03-29 07:00:00Z
    STATUS:TENTATIVE
    CATEGORIES:chaos
    END:VEVENT
    END:VCALENDAR
    ");
    let said = home.run(&["runs", "--output", "ics"]);
    assert!(said.code == 2 && said.stderr.contains("ics"), "{said:?}");
    refused(&home, &["--diff", "x", "--output", "xml"], 2, "`table`, `json` or `ics`");
}

#[test]
fn comparison_tells_what_is_added_dropped_moved_and_decided_otherwise() {
    let home = home();
    let old = home.path().join("old.toml");
    std::fs::copy(home.config(), &old).expect("a copy");
    let old = old.display().to_string();
    let edited = TABLES
        .replace("0 9 * * MON-FRI", "30 9 * * MON-THU")
        .replace("[experiments.checkout]", "[experiments.check-out]")
        .replace("Sun 00:00", "Mon 12:00");
    home.configure(&edited);
    let diff = [&DAYS[..], &["--diff", &old]].concat();
    assert_snapshot!(plan(&home, &diff), @"
     CHANGE   EXPERIMENT  SCHEDULE  BEFORE (UTC)                                                                                                           AFTER (UTC)
     added    check-out   nightly                                                                                                                          2027-03-26 01:30:00Z start, ends by 2027-03-26 02:30:00Z
     dropped  checkout    nightly   2027-03-26 01:30:00Z start, ends by 2027-03-26 02:30:00Z
     dropped  search      morning   2027-03-26 08:00:00Z start, ends by 2027-03-26 10:00:00Z
     added    check-out   noon                                                                                                                             2027-03-26 11:00:00Z shift: waits: window `lunch` forbids it until 2027-03-26T12:30:00Z, ends by 2027-03-26 13:30:00Z
     dropped  checkout    noon      2027-03-26 11:00:00Z shift: waits: window `lunch` forbids it until 2027-03-26T12:30:00Z, ends by 2027-03-26 13:30:00Z
     added    check-out   nightly                                                                                                                          2027-03-27 01:30:00Z skip: window `weekend` forbids it until 2027-03-29T10:00:00Z
     dropped  checkout    nightly   2027-03-27 01:30:00Z skip: window `weekend` forbids it until 2027-03-27T23:00:00Z
     added    check-out   nightly                                                                                                                          2027-03-28 01:00:00Z skip: window `weekend` forbids it until 2027-03-29T10:00:00Z
     dropped  checkout    nightly   2027-03-28 01:00:00Z start, ends by 2027-03-28 02:00:00Z
     added    check-out   nightly                                                                                                                          2027-03-29 00:30:00Z skip: window `weekend` forbids it until 2027-03-29T10:00:00Z
     dropped  checkout    nightly   2027-03-29 00:30:00Z start, ends by 2027-03-29 01:30:00Z
     moved    search      morning   2027-03-29 07:00:00Z start, ends by 2027-03-29 09:00:00Z                                                               2027-03-29 07:30:00Z skip: window `weekend` forbids it until 2027-03-29T10:00:00Z

    5 added, 6 dropped, 1 moved, 0 decided otherwise; 0 slots as before
    hint: `check-out` runs the template of `checkout`, which is gone; what is kept under the old name does not follow
    ");
    let report = home.json(&[&["plan"], &diff[..]].concat());
    assert_eq!(report["perhaps_renamed"], json!([{ "from": "checkout", "to": "check-out" }]));
    assert_snapshot!(serde_json::to_string_pretty(&report["changes"][0]).expect("JSON"), @r#"
    {
      "after": {
        "decision": "start",
        "ends_by": "2027-03-26T02:30:00Z",
        "reason": null,
        "run": "97fc5ea47e27a17d8e31",
        "slot": "2027-03-26T01:30:00Z",
        "starts": "2027-03-26T01:30:00Z"
      },
      "change": "added",
      "experiment": "check-out",
      "schedule": "nightly"
    }
    "#);
    refused(&home, &["--diff", "/nowhere.toml"], 2, "/nowhere.toml");
    refused(&home, &[&diff[..], &["--output", "ics"]].concat(), 2, "no form for calendars");
}

#[test]
fn experiments_are_chosen_by_name_or_pattern() {
    let home = home();
    let only = |patterns: &[&str]| {
        plan(&home, &[&["--totals"], &DAYS[..], patterns].concat()).lines().next().map(str::to_owned)
    };
    assert_eq!(only(&["--experiment", "sea*"]), only(&["--experiment", "search"]));
    assert_eq!(only(&["--experiment", "sea*", "--experiment", "checkout"]), only(&[]));
    refused(&home, &["--experiment", "serch"], 4, "did you mean `search`?");
    refused(&home, &["--experiment", "x*"], 4, "there is no experiment `x*`");
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let home = home();
    refused(&home, &["--from", "2027-03-28", "--to", "2027-03-28"], 2, "is not after");
    refused(&home, &["--from", "2027-03-28", "--to", "2027-03-01"], 2, "is not after");
    refused(&home, &["--from", "2027-03-28", "--to", "2028-03-30"], 2, "longer than 366 days");
    refused(&home, &["--from", "0000-01-01"], 2, "within the years 1970 to 9990");
    refused(&home, &["--from", "9999-06-01"], 2, "within the years 1970 to 9990");
    refused(&home, &["--from", "yesterday"], 2, "2027-03-28T02:30:00Z");
    refused(&home, &["--days", "0"], 2, "1..=366");
    refused(&home, &["--days", "3", "--to", "2027-03-30"], 2, "cannot be used with");
}

#[test]
fn forecast_of_too_many_slots_ends_early_and_says_so() {
    let home = Home::new(
        "http://127.0.0.1:9",
        "[experiments.busy]\ntemplate = \"EXT1\"\nmax_duration = \"1s\"\nschedules = [{ cron = \"* * * * * *\" }]\n",
    );
    let said = home.run(&["plan", "--from", "2027-03-26", "--days", "366", "--totals"]);
    assert!(
        said.code == 0 && said.stderr.contains("`busy` has too many slots; its forecast ends at 2027-03-2"),
        "{said:?}"
    );
}
