//! `firedrill schedule next`: what it prints, and that as a filter it answers every line there is.

use std::{
    io::{BufRead, BufReader, Write},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::support::agent::Home;

fn home() -> Home {
    Home::new("http://127.0.0.1:1", "")
}

/// Pipes lines through the filter and returns its answers.
fn filtered(lines: &[u8]) -> Vec<Value> {
    let mut filter = home().command(&["schedule", "next", "--jsonl"]);
    let mut filter = filter.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary");
    let mut input = filter.stdin.take().expect("its stdin");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(lines).expect("a filter that reads on"));
        filter.wait_with_output().expect("an end")
    });
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn table_shows_local_time_and_marks_clock_changes() {
    let home = home();
    let args = ["schedule", "next", "30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-28T12:00:00Z"];
    let said = home.run(&[&args[..], &["--count", "2"]].concat());
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<String> =
        said.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "UTC LOCAL CLOCK CHANGE",
            "2026-03-29 01:00:00Z Sun 2026-03-29 03:00:00 +02:00 CEST shifted: clocks skip its time",
            "2026-03-30 00:30:00Z Mon 2026-03-30 02:30:00 +02:00 CEST",
        ]
    );
    let skipped = home.json(&[&args[..], &["--count", "1", "--dst", "skip"]].concat());
    let slot = json!({
        "at": "2026-03-30T00:30:00Z", "local": "2026-03-30T02:30:00+02:00[Europe/Berlin]",
        "shifted": false, "after_lost": true,
    });
    assert_eq!(skipped["slots"], json!([slot]));
    let every = home.json(&["schedule", "next", "every 36h", "--after", "2026-03-01T00:00:00Z", "--count", "2"]);
    let gap = |index: usize| every["slots"][index]["at"].as_str().expect("an instant").to_owned();
    assert_eq!((gap(0).as_str(), gap(1).as_str()), ("2026-03-02T00:00:00Z", "2026-03-03T12:00:00Z"));
}

#[test]
fn mistakes_are_named_and_exit_with_two() {
    let home = home();
    for (args, words) in [
        (vec!["0 0 30 2 *"], "never fires"),
        (vec!["0 22-2 * * *"], "`22-23,0-2`"),
        (vec!["@daily", "--timezone", "Europe/Berln"], "did you mean `Europe/Berlin`?"),
        (vec!["@daily", "--after", "yesterday"], "is not an instant"),
        (vec!["@daily", "--count", "100001"], "100001"),
        (vec![], "EXPRESSION"),
        (vec!["every 0s"], "is not a period"),
    ] {
        let said = home.run(&[&["schedule", "next"], &args[..]].concat());
        assert!(said.code == 2 && said.stderr.contains(words), "{args:?}: {said:?}");
    }
}

#[test]
fn filter_answers_each_line_in_order() {
    let questions = [
        json!({ "cron": "0,30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-03-28T12:00:00+01:00", "count": 2 }),
        json!({ "cron": "30 2 * * *", "timezone": "Europe/Berlin", "after": "2026-10-24T12:00:00-05:30", "count": 2, "id": 7 }),
        json!({ "cron": "@hourly", "after": "2026-01-01T00:00:00.5Z" }),
        json!({ "cron": "0 0 1 1 *", "timezone": null, "after": "2026-01-01T00:00:00Z", "count": null }),
        json!({ "cron": "0 0 0 1 1 ? 2027-2028", "after": "2026-06-01T00:00:00Z", "count": 9 }),
        json!({ "cron": "0 0 29 2 *", "after": "0000-01-01T00:00:00Z" }),
        json!({ "cron": "0 0 * * *", "after": "9999-12-30T12:00:00Z", "count": 5 }),
        json!({ "cron": "@daily", "after": "2026-01-01T00:00:00Z", "count": 0 }),
    ];
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let expected = [
        json!({ "fires": ["2026-03-29T01:00:00Z", "2026-03-30T00:00:00Z"] }),
        json!({ "fires": ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"] }),
        json!({ "fires": ["2026-01-01T01:00:00Z"] }),
        json!({ "fires": ["2027-01-01T00:00:00Z"] }),
        json!({ "fires": ["2027-01-01T00:00:00Z", "2028-01-01T00:00:00Z"] }),
        json!({ "fires": ["0000-02-29T00:00:00Z"] }),
        json!({ "fires": [] }),
        json!({ "fires": [] }),
    ];
    assert_eq!(filtered(lines.as_bytes()), expected);
}

#[test]
fn filter_answers_what_is_no_question_and_lives_on() {
    let long = format!("{{\"cron\": \"{}\"}}", "1,".repeat(50_000));
    let odd: Vec<Vec<u8>> = [
        "",
        "no JSON",
        "[]",
        "{}",
        "{\"cron\": 5}",
        "{\"cron\": \"@daily\", \"count\": 1e300}",
        "{\"cron\": \"@daily\", \"count\": -1}",
        "{\"cron\": \"@daily\", \"count\": 100001}",
        "{\"cron\": \"@daily\", \"count\": 1.5}",
        "{\"cron\": \"@daily\", \"timezone\": \"Mars/Olympus\"}",
        "{\"cron\": \"@daily\", \"after\": \"2026-02-30T00:00:00Z\"}",
        "{\"cron\": \"@daily\", \"after\": \"20000-01-01T00:00:00Z\"}",
        "{\"cron\": \"0 0 30 2 *\"}",
        &long,
    ]
    .into_iter()
    .map(|line| line.as_bytes().to_vec())
    .chain([vec![0xff, 0xfe, 0x00]])
    .collect();
    let count = odd.len();
    let mut lines = odd.join(&b'\n');
    // The last line has no end.
    lines.extend_from_slice(b"\n{\"cron\": \"@daily\", \"after\": \"2026-01-01T12:00:00Z\"}");
    let answers = filtered(&lines);
    assert_eq!(answers.len(), count + 1);
    assert!(answers[..count].iter().all(|answer| answer["error"].is_string()), "{answers:?}");
    assert_eq!(answers[count], json!({ "fires": ["2026-01-02T00:00:00Z"] }));
}

#[test]
fn filter_answers_before_the_next_question_is_asked() {
    let mut filter = home().command(&["schedule", "next", "--jsonl"]);
    let mut filter = filter.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary");
    let (mut input, output) = (filter.stdin.take().expect("its stdin"), filter.stdout.take().expect("its stdout"));
    let mut answers = BufReader::new(output).lines();
    for day in 1..=3 {
        writeln!(input, "{{\"cron\": \"@daily\", \"after\": \"2026-01-0{day}T12:00:00Z\"}}")
            .expect("a filter that reads");
        let answer = answers.next().expect("an answer").expect("text");
        assert_eq!(answer, format!("{{\"fires\":[\"2026-01-0{}T00:00:00Z\"]}}", day + 1));
    }
    drop(input);
    assert!(filter.wait().expect("an end").success());
}

#[test]
fn check_says_which_schedules_are_over_and_loads_them_all_the_same() {
    let old = "schedules = [{ name = \"old\", cron = \"0 0 12 1 1 ? 2020\" }, { name = \"once\", at = \"2021-01-01T00:00\" }]";
    let home = Home::new("http://127.0.0.1:1", &format!("[experiments.drill]\ntemplate = \"EXT1\"\n{old}\n"));
    let said = home.run(&["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    for words in ["`old` (0 0 12 1 1 ? 2020) is over", "`once` (at 2021-01-01T00:00:00Z) is over"] {
        assert_eq!(said.stderr.matches(words).count(), 1, "`{words}` in {said:?}");
    }
    assert!(said.stderr.contains("experiments.drill.schedules[1]: `once`"), "with its place: {said:?}");
}
