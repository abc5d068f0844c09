//! `firedrill event`: what matches, why not, and that as a filter it answers every line there is.

use std::{io::Write, process::Stdio};

use serde_json::{Value, json};

use crate::support::agent::{Home, Said};

fn home(rules: &str) -> Home {
    Home::new("http://127.0.0.1:1", rules)
}

/// Runs a command with a text on its stdin.
fn piped(home: &Home, args: &[&str], text: &[u8]) -> Said {
    let mut command = home.command(args);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut input = child.stdin.take().expect("its stdin");
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            // Who says no to the arguments does not read.
            let _closed = input.write_all(text);
        });
        child.wait_with_output().expect("an end")
    });
    Said {
        code: output.status.code().expect("a code"),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

#[test]
fn pattern_and_event_are_compared_and_the_field_is_named() {
    let home = home("");
    let pattern = r#"{"source": ["aws.ecs"], "detail": {"n": [{"numeric": [">", 3]}]}}"#;
    let matched =
        home.run(&["event", "match", "--pattern", pattern, "--event", r#"{"source": "aws.ecs", "detail": {"n": 4}}"#]);
    assert_eq!((matched.code, matched.stdout.as_str()), (0, "yes: the event matches\n"), "{matched:?}");
    let event = r#"{"source": "aws.ecs", "detail": {"n": 3}}"#;
    let missed = home.run(&["event", "match", "--pattern", pattern, "--event", event]);
    assert_eq!(missed.code, 6, "{missed:?}");
    assert!(missed.stdout.starts_with("no: `detail.n`: found 3, wanted "), "{missed:?}");
    let said =
        piped(&home, &["--output", "json", "event", "match", "--pattern", pattern, "--event", "-"], event.as_bytes());
    let answer: Value = serde_json::from_str(&said.stdout).expect("JSON");
    assert_eq!((said.code, &answer["result"]), (6, &json!(false)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("event.json");
    std::fs::write(&path, event).expect("a file");
    let by_file = home.run(&["event", "match", "--pattern", pattern, "--event", &format!("@{}", path.display())]);
    assert_eq!(by_file.stdout, missed.stdout);
}

#[test]
fn what_is_no_pattern_or_no_event_is_a_mistake() {
    let home = home("");
    for (pattern, event, words) in [
        ("{", "{}", "the pattern: "),
        (r#"{"a": ["x"], "b": []}"#, "{}", "the pattern: b: Empty arrays are not allowed"),
        (r#"{"a": ["x"]}"#, "{\"b\": }", "the event is not JSON: "),
        (r#"{"a": ["x"]}"#, "[]", "the event: "),
        (r#"{"a": ["x"]}"#, "@/nowhere/event.json", "--event @/nowhere/event.json: No such file"),
        ("-", "-", "only one of --pattern and --event can be read from stdin"),
    ] {
        let said = home.run(&["event", "match", "--pattern", pattern, "--event", event]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.stderr.contains(words), "`{words}` in {said:?}");
    }
    let long = " ".repeat(2 * 1024 * 1024 + 1);
    let said = piped(&home, &["event", "match", "--pattern", r#"{"a": [1]}"#, "--event", "-"], long.as_bytes());
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("has more than 2097152 bytes"), "{said:?}");
}

#[test]
fn filter_answers_every_line() {
    let line =
        |id: Value, pattern: &str, event: &str| json!({ "id": id, "pattern": pattern, "event": event }).to_string();
    let mut lines = [
        line(json!("a"), r#"{"a": [1]}"#, r#"{"a": 1.0}"#),
        line(json!(2), r#"{"a": [1]}"#, r#"{"a": 2}"#),
        line(json!(null), r#"{"a": []}"#, "{}"),
        line(json!("e"), r#"{"a": [1]}"#, "{"),
        "not JSON".to_owned(),
        "[]".to_owned(),
        r#"{"id": 7, "pattern": 7, "event": "{}"}"#.to_owned(),
        r#"{"id": 8, "event": "{}"}"#.to_owned(),
        format!("{{\"id\": 9, \"event\": \"{}\"}}", "x".repeat(2 * 1024 * 1024)),
    ]
    .join("\n")
    .into_bytes();
    // The last line is not text and has no end.
    lines.extend_from_slice(b"\n\xff\xfe");
    let said = piped(&home(""), &["event", "match", "--jsonl"], &lines);
    assert_eq!(said.code, 0, "{said:?}");
    let answers: Vec<Value> = said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let results: Vec<(Value, Value)> = answers.iter().map(|a| (a["id"].clone(), a["result"].clone())).collect();
    let error = || json!("error");
    assert_eq!(
        results,
        [
            (json!("a"), json!(true)),
            (json!(2), json!(false)),
            (json!(null), error()),
            (json!("e"), error()),
            (json!(null), error()),
            (json!(null), error()),
            (json!(7), error()),
            (json!(8), error()),
            (json!(null), error()),
            (json!(null), error()),
        ]
    );
    assert!(answers.iter().all(|answer| answer["reason"].as_str().is_some_and(|reason| !reason.is_empty())));
    assert_eq!(answers[7]["reason"], "`pattern` is missing");
    assert_eq!(answers[8]["reason"], "a line has at most 2097152 bytes");
}

const RULES: &str = r#"
[queues.deployments]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/deployments"
[queues.other]
url = "https://sqs.eu-west-1.amazonaws.com/123456789012/other"
[experiments.near]
template = "EXT1"
[[experiments.near.triggers]]
pattern = { source = ["aws.ecr"], detail = { result = ["FAILURE"] } }
[experiments.far]
template = "EXT1"
[[experiments.far.triggers]]
on = "codedeploy-success"
[experiments.takes]
template = "EXT1"
[[experiments.takes.triggers]]
on = "ecr-push"
queues = ["other"]
[[experiments.takes.triggers]]
on = "ecr-push"
service = "my-*"
[[experiments.takes.triggers]]
on = "argocd-synced"
"#;

fn ecr() -> String {
    json!({ "id": "e", "source": "aws.ecr", "detail-type": "ECR Image Action", "detail": {
        "action-type": "PUSH", "result": "SUCCESS", "repository-name": "my-repository", "image-tag": "latest" } })
    .to_string()
}

#[test]
fn configuration_says_which_triggers_take_an_event() {
    let home = home(RULES);
    let said = home.run(&["event", "match", "--event", &ecr(), "--queue", "deployments"]);
    assert_eq!(said.code, 0, "{said:?}");
    let words: Vec<String> = said.stdout.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(words[0], "event of aws.ecr (ECR Image Action), id e");
    assert_eq!(words[2..=3], ["takes 1 takes it", "takes 0 takes it from `other` only"]);
    assert!(words[4].starts_with("near 0 `detail.result`: found \"SUCCESS\", wanted"), "{words:?}");
    let far = words.iter().find(|line| line.starts_with("far 0 ")).expect("a line");
    assert!(far.ends_with("(and 2 more)"), "{words:?}");
    let json = home.run(&["--output", "json", "event", "match", "--event", &ecr()]);
    let answer: Value = serde_json::from_str(&json.stdout).expect("JSON");
    assert_eq!(
        answer["triggers"][0],
        json!({ "experiment": "takes", "trigger": 0, "result": true, "reason": "takes it" })
    );
    assert_eq!(answer["triggers"][1]["reason"], "would take it, but trigger 0 of the experiment comes first");
}

#[test]
fn bodies_of_other_forms_are_read_as_the_agent_reads_them() {
    let home = home(RULES);
    let argo = json!({ "app": "shop", "phase": "Succeeded", "syncStatus": "Synced", "healthStatus": "Healthy", "revision": "1" });
    let said = home.run(&["event", "match", "--event", &argo.to_string()]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("event of argocd (Argo CD Sync), id "), "{said:?}");
    let wrapped = json!({ "Type": "Notification", "MessageId": "m", "Message": ecr() });
    assert_eq!(home.run(&["event", "match", "--event", &wrapped.to_string()]).code, 0);
    let other = json!({ "source": "x", "detail-type": "y" });
    assert_eq!(home.run(&["event", "match", "--event", &other.to_string()]).code, 6);
    let said = home.run(&["event", "match", "--event", "{\"status\": \"deployed\"}"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.stderr.contains("it has `status`"), "{said:?}");
}

#[test]
fn presets_are_shown_and_their_examples_load() {
    let home = home("");
    let all = home.json(&["event", "presets"]);
    let all = all.as_array().expect("a list");
    assert_eq!(all.len(), 12);
    let table = home.run(&["event", "presets"]);
    for preset in all {
        let (name, text) =
            (preset["name"].as_str().expect("a name"), |key: &str| preset[key].as_str().unwrap_or_default());
        assert!(table.stdout.contains(name), "{name}");
        let example = text("example").replace("NAME", "drill");
        let rules = format!("[experiments.drill]\ntemplate = \"EXT1\"\n{example}\n{}", text("mapping"));
        let said = self::home(&rules).run(&["check"]);
        assert_eq!(said.code, 0, "{rules}: {said:?}");
        let shown = home.run(&["event", "presets", name]);
        assert_eq!(shown.code, 0, "{shown:?}");
        assert!(shown.stdout.contains(text("example")) && shown.stdout.contains(text("mapping")), "{shown:?}");
    }
    let said = home.run(&["event", "presets", "ecr-pull"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.stderr.contains("did you mean `ecr-push`?"), "{said:?}");
}

#[test]
fn check_warns_of_patterns_that_match_no_known_event() {
    let trigger = "[[experiments.drill.triggers]]\npattern = { source = [\"aws.codedeploy\"], detail-type = [\"CodeDeploy \
                   Deployment State-change Notification\"], detail = { state = [\"SUCCEEDED\"], application-name = [\"shop\"] } }\n";
    let home = home(&format!(
        "[queues.q]\nurl = \"https://sqs.invalid/q\"\n[experiments.drill]\ntemplate = \"EXT1\"\n{trigger}"
    ));
    let said = home.run(&["check"]);
    assert_eq!(said.code, 0, "{said:?}");
    for words in [
        "experiments.drill.triggers[0].pattern.detail.state: `detail.state` is known to be one of",
        "hint: did you mean `SUCCESS`?",
        "experiments.drill.triggers[0].pattern.detail.application-name: no event of `aws.codedeploy` is known",
    ] {
        assert_eq!(said.stderr.matches(words).count(), 1, "`{words}` in {said:?}");
    }
}
