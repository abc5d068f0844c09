//! `firedrill window check`: open or closed and why, the next change, and when a run fits.

use serde_json::json;

use crate::support::agent::Home;

const TABLES: &str = r#"
[experiments.checkout]
template = "EXT1"
[experiments.search]
template = "EXT1"
[windows.weekend]
timezone = "Europe/Berlin"
weekly = ["Fri 18:00 - Mon 06:00"]
experiments = ["checkout"]
stop_lead = "0s"
[windows.lunch]
timezone = "Europe/Berlin"
weekly = ["12:00-13:00"]
experiments = ["checkout"]
on_entry = "finish"
lead = "30m"
"#;

#[test]
fn says_who_is_closed_why_and_until_when() {
    let home = Home::new("http://127.0.0.1:1", TABLES);
    let said = home.run(&["window", "check", "--at", "2026-06-06T10:30:00Z", "--next"]);
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<String> =
        said.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "EXPERIMENT STATE WINDOW UNTIL (UTC) WHY CHANGES NEXT (UTC)",
            "checkout closed weekend 2026-06-08 04:00:00Z 2026-06-08 04:00:00Z",
            "search open none known",
        ]
    );
    let one = home.json(&["window", "check", "--at", "2026-06-08T04:00:00Z", "--experiment", "checkout"]);
    let expected = json!({
        "experiment": "checkout", "open": true, "window": null, "until": null, "unknown": null,
        "next": "2026-06-08T10:00:00Z", "free": [],
    });
    assert_eq!(one["experiments"], json!([expected]));
    assert_eq!(one["windows"][0]["inside"], json!(false));
}

#[test]
fn lists_the_times_that_fit() {
    let home = Home::new("http://127.0.0.1:1", TABLES);
    let args = ["window", "check", "--experiment", "checkout", "--at", "2026-06-05T08:00:00Z"];
    let said = home.json(&[&args[..], &["--free", "45m", "--within", "4d"]].concat());
    // Nothing that could still run half an hour before lunch starts; the weekend has no lead.
    let expected = json!([
        { "from": "2026-06-05T08:00:00Z", "last": "2026-06-05T08:45:00Z" },
        { "from": "2026-06-05T11:00:00Z", "last": "2026-06-05T15:15:00Z" },
        { "from": "2026-06-08T04:00:00Z", "last": "2026-06-08T08:45:00Z" },
        { "from": "2026-06-08T11:00:00Z", "last": "2026-06-09T08:00:00Z" },
    ]);
    assert_eq!(said["experiments"][0]["free"], expected);
    let said = home.run(&[&args[..], &["--free", "90h", "--within", "2d"]].concat());
    assert!(said.stdout.contains("none within 2d"), "{said:?}");
}

#[test]
fn calendar_that_was_not_read_closes_and_is_named() {
    let tables = "[experiments.checkout]\ntemplate = \"EXT1\"\n[calendars.changes]\nssm = [\"freeze\"]\n\
                  [windows.w]\ncalendars = [\"changes\"]\n";
    let home = Home::new("http://127.0.0.1:1", tables);
    let said = home.json(&["window", "check", "--at", "2026-06-05T08:00:00Z", "--free", "1h"]);
    let checkout = &said["experiments"][0];
    assert_eq!((&checkout["open"], &checkout["free"]), (&json!(false), &json!([])));
    assert_eq!(checkout["unknown"], json!("calendar `changes` was not read yet"));
}

#[test]
fn mistakes_have_their_exit_codes() {
    let home = Home::new("http://127.0.0.1:1", TABLES);
    for (args, code) in [
        (&["window", "check", "--experiment", "gone"][..], 4),
        (&["window", "check", "--free", "soon"], 2),
        (&["window", "check", "--free", "1h", "--within", "400d"], 2),
        (&["window", "check", "--at", "noon"], 2),
    ] {
        let said = home.run(args);
        assert_eq!(said.code, code, "{said:?}");
    }
}

#[test]
fn first_and_last_instants_are_answered() {
    let home = Home::new("http://127.0.0.1:1", TABLES);
    for at in ["-009999-01-02T01:59:59Z", "-009999-01-20T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z"] {
        let said = home.run(&["window", "check", "--next", "--free", "1h", "--within", "366d", &format!("--at={at}")]);
        assert_eq!(said.code, 0, "{at}: {said:?}");
    }
}

#[test]
fn windows_alone_are_listed() {
    let home = Home::new("http://127.0.0.1:1", "[windows.night]\nweekly = [\"22:00-06:00\"]\n");
    let said = home.run(&["window", "check", "--at", "2026-06-05T23:00:00Z"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("night") && said.stdout.contains("2026-06-06 06:00:00Z"), "{said:?}");
}
