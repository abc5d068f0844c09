//! What is shipped beside the program: the unit, the container file, policies and schemas are what they claim to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use firedrill::domain::{
    fis::FailureClass,
    outcome::Outcome,
    provision::TAG,
    run::{HoldReason, SkipReason, StopCause},
};
use serde_json::Value;

/// Every action that the agent calls, or that AWS asks for when it does.
const ACTIONS: [&str; 16] = [
    "cloudwatch:DescribeAlarms",
    "events:PutEvents",
    "fis:GetExperiment",
    "fis:GetExperimentTemplate",
    "fis:GetSafetyLever",
    "fis:ListExperimentTemplates",
    "fis:ListExperiments",
    "fis:StartExperiment",
    "fis:StopExperiment",
    "fis:TagResource",
    "iam:CreateServiceLinkedRole",
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:ReceiveMessage",
    "ssm:GetCalendarState",
    "ssm:GetDocument",
];

/// Every action that `firedrill queue` calls, or that AWS asks for when it does; GetCallerIdentity needs no permission.
const PROVISIONING_ACTIONS: [&str; 20] = [
    "events:DeleteRule",
    "events:ListEventBuses",
    "events:ListRules",
    "events:ListTagsForResource",
    "events:ListTargetsByRule",
    "events:PutRule",
    "events:PutTargets",
    "events:RemoveTargets",
    "events:TagResource",
    "sqs:ChangeMessageVisibility",
    "sqs:CreateQueue",
    "sqs:DeleteMessage",
    "sqs:DeleteQueue",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ListQueueTags",
    "sqs:ReceiveMessage",
    "sqs:SendMessage",
    "sqs:SetQueueAttributes",
    "sqs:TagQueue",
];

/// What `halt --lever` calls besides.
const LEVER_ACTIONS: [&str; 2] = ["fis:GetSafetyLever", "fis:UpdateSafetyLeverState"];

/// Called only where a role is configured.
const ASSUME_ROLE: &str = "sts:AssumeRole";

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[track_caller]
fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[track_caller]
fn json(name: &str) -> Value {
    serde_json::from_str(&text(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Reads a unit: `section/key` to its values, in order.
fn unit(name: &str) -> BTreeMap<String, Vec<String>> {
    let mut section = String::new();
    let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (number, line) in text(name).lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = title.to_owned();
        } else {
            let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}:{}: no `=`", number + 1));
            assert!(!section.is_empty(), "{name}:{}: a key before any section", number + 1);
            keys.entry(format!("{section}/{key}")).or_default().push(value.to_owned());
        }
    }
    keys
}

#[test]
fn unit_restarts_after_crashes_only_and_may_do_little() {
    let unit = unit("systemd/firedrill.service");
    for (key, values) in [
        ("Service/Type", &["notify-reload"][..]),
        ("Service/ExecStart", &["/usr/local/bin/firedrill run --config /etc/firedrill"]),
        ("Service/WatchdogSec", &["30s"]),
        ("Service/Restart", &["on-failure"]),
        ("Service/RestartPreventExitStatus", &["2"]),
        ("Service/KillMode", &["mixed"]),
        ("Service/DynamicUser", &["yes"]),
        ("Service/StateDirectory", &["firedrill"]),
        ("Service/RuntimeDirectory", &["firedrill"]),
        ("Service/UMask", &["0077"]),
        ("Service/LimitCORE", &["0"]),
        ("Service/NoNewPrivileges", &["yes"]),
        ("Service/CapabilityBoundingSet", &[""]),
        ("Service/ProtectSystem", &["strict"]),
        ("Service/ProtectHome", &["yes"]),
        ("Service/PrivateTmp", &["yes"]),
        ("Service/PrivateDevices", &["yes"]),
        ("Service/MemoryDenyWriteExecute", &["yes"]),
        ("Service/RestrictAddressFamilies", &["AF_INET AF_INET6 AF_UNIX"]),
        ("Service/SystemCallFilter", &["@system-service", "~@privileged @resources"]),
        ("Install/WantedBy", &["multi-user.target"]),
    ] {
        assert_eq!(unit.get(key).map(Vec::as_slice).unwrap_or_default(), values, "{key}");
    }
    let stop: u32 = unit["Service/TimeoutStopSec"][0].trim_end_matches('s').parse().expect("seconds");
    assert!(stop > 30, "the agent drains for 30 s");
}

/// The actions of each statement of an IAM policy, and the statement.
fn statements(name: &str) -> Vec<(Vec<String>, Value)> {
    let policy = json(name);
    assert_eq!(policy["Version"], "2012-10-17");
    let statement = |statement: &Value| {
        assert_eq!(statement["Effect"], "Allow");
        assert!(statement["Sid"].as_str().is_some_and(|sid| sid.chars().all(|c| c.is_ascii_alphanumeric())));
        let actions: Vec<&str> = match &statement["Action"] {
            Value::Array(actions) => actions.iter().filter_map(Value::as_str).collect(),
            action => action.as_str().into_iter().collect(),
        };
        (actions.into_iter().map(str::to_owned).collect(), statement.clone())
    };
    policy["Statement"].as_array().expect("statements").iter().map(statement).collect()
}

#[test]
fn policy_allows_exactly_what_the_agent_calls() {
    let mut allowed = BTreeSet::new();
    for (actions, statement) in statements("deploy/iam-policy.json") {
        // The list operations of FIS have no resource (service authorization reference), and composite alarms are shown to
        // who may see all of them only (CloudWatch API reference, DescribeAlarms).
        let lists = actions.iter().all(|a| a.starts_with("fis:List") || a == "cloudwatch:DescribeAlarms");
        assert_eq!(statement["Resource"] == "*", lists, "{statement}");
        allowed.extend(actions);
    }
    let expected: BTreeSet<String> = ACTIONS.into_iter().chain([ASSUME_ROLE]).map(str::to_owned).collect();
    assert_eq!(allowed, expected);
}

#[test]
fn policy_of_the_safety_lever_is_apart_and_about_that_alone() {
    let [(actions, statement)] = &statements("deploy/iam-policy-safety-lever.json")[..] else {
        panic!("one statement")
    };
    assert_eq!(*actions, LEVER_ACTIONS);
    assert_eq!(statement["Resource"], "arn:aws:fis:REGION:ACCOUNT:safety-lever/default");
    assert!(!ACTIONS.contains(&LEVER_ACTIONS[1]), "whoever only runs experiments moves no lever");
}

#[test]
fn policy_of_provisioning_makes_and_changes_only_what_carries_the_tag() {
    let mut allowed = BTreeSet::new();
    for (actions, statement) in statements("deploy/iam-policy-provisioning.json") {
        // Listing buses has no resource (service authorization reference).
        assert_eq!(statement["Resource"] == "*", actions == ["events:ListEventBuses"], "{statement}");
        let tagged = |place: &str| statement["Condition"]["StringEquals"][format!("aws:{place}/{TAG}")] == "QUEUE";
        // PutRule also changes rules that are there: none with the tag of another queue.
        if actions.iter().any(|action| action == "events:PutRule") {
            let key = format!("aws:ResourceTag/{TAG}");
            assert_eq!(statement["Condition"]["StringEqualsIfExists"][key], "QUEUE");
        }
        let makes = ["sqs:CreateQueue", "sqs:TagQueue", "events:PutRule", "events:TagResource"];
        let changes = [
            "sqs:SetQueueAttributes",
            "sqs:DeleteQueue",
            "events:PutTargets",
            "events:RemoveTargets",
            "events:DeleteRule",
        ];
        for action in &actions {
            assert_eq!(makes.contains(&action.as_str()), tagged("RequestTag"), "{action}");
            assert_eq!(changes.contains(&action.as_str()), tagged("ResourceTag"), "{action}");
        }
        allowed.extend(actions);
    }
    assert_eq!(allowed, PROVISIONING_ACTIONS.map(str::to_owned).into());
}

#[test]
fn queue_takes_messages_of_one_rule_only() {
    let policy = json("deploy/queue-policy.json");
    let statements = policy["Statement"].as_array().expect("statements");
    let allow: Vec<&Value> = statements.iter().filter(|statement| statement["Effect"] == "Allow").collect();
    assert_eq!(allow.len(), 1);
    assert_eq!(allow[0]["Principal"]["Service"], "events.amazonaws.com");
    assert_eq!(allow[0]["Action"], "sqs:SendMessage");
    assert_eq!(allow[0]["Condition"]["ArnEquals"]["aws:SourceArn"], "arn:aws:events:REGION:ACCOUNT:rule/RULE");
    assert_eq!(allow[0]["Condition"]["StringEquals"]["aws:SourceAccount"], "ACCOUNT");
}

/// The values that a member of the event's detail may have.
fn choices(member: &Value) -> BTreeSet<String> {
    member["enum"].as_array().expect("an enum").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn event_schema_knows_every_reason_and_outcome() {
    let schema = json("deploy/events/run-event.schema.json");
    let detail = &schema["properties"]["detail"]["properties"];
    let class = FailureClass::Invalid;
    let outcomes = [
        Outcome::Completed,
        Outcome::CompletedPartly { skipped: Vec::new() },
        Outcome::Previewed,
        Outcome::Stopped { cause: StopCause::Outside },
        Outcome::Failed { code: String::new(), reason: String::new() },
        Outcome::Cancelled,
        Outcome::NotStarted { class, message: String::new() },
        Outcome::Lost { class },
    ];
    assert_eq!(choices(&detail["outcome"]), outcomes.iter().map(|outcome| outcome.as_str().to_owned()).collect());
    let reasons = HoldReason::NAMES.iter().chain(SkipReason::NAMES).map(|name| (*name).to_owned());
    assert_eq!(choices(&detail["reason"]), reasons.collect());
    let kinds = ["slot", "event", "manual", "backfill"].map(str::to_owned);
    assert_eq!(choices(&detail["trigger"]["properties"]["kind"]), kinds.into());
    assert_eq!(choices(&detail["state"]), ["finished", "held", "skipped", "started"].map(str::to_owned).into());
}

#[test]
fn container_runs_without_root_and_without_shell() {
    let file = text("deploy/Dockerfile");
    let said = |line: &str| assert!(file.lines().any(|said| said.trim_end() == line), "no line `{line}`");
    said("FROM scratch");
    // Whatever the sources include from outside of themselves has to be there when the image is built.
    said("COPY config/demo config/demo");
    said("USER 65532:65532");
    said("ENTRYPOINT [\"/usr/local/bin/firedrill\"]");
    said("CMD [\"run\", \"--config\", \"/etc/firedrill\"]");
    let rust = text("Cargo.toml");
    let version =
        rust.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("a version").trim_matches('"');
    said(&format!("FROM rust:{version}-alpine AS build"));
    assert!(file.contains("cargo build --release --locked"));
    let copied = |line: &&str| line.starts_with("COPY ") && !line.contains("--from=");
    for line in file.lines().filter(copied) {
        let sources: Vec<&str> = line.split_whitespace().skip(1).collect();
        for source in &sources[..sources.len() - 1] {
            assert!(path(source).exists(), "{line}: there is no {source}");
        }
    }
}

#[test]
fn licence_is_the_one_that_the_manifest_names() {
    assert!(text("LICENSE").contains("Apache License") && text("LICENSE").contains("Version 2.0, January 2004"));
    assert!(text("Cargo.toml").contains("license = \"Apache-2.0\""));
}

/// The files under `systemd` and `deploy`: a new one needs a test here.
#[test]
fn every_shipped_file_has_a_test() {
    let mut found = BTreeSet::new();
    let mut folders = vec![path("systemd"), path("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let entry = entry.expect("an entry").path();
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let name = entry.strip_prefix(env!("CARGO_MANIFEST_DIR")).expect("below").display().to_string();
                found.insert(name);
            }
        }
    }
    let tested = [
        "deploy/Dockerfile",
        "deploy/events/run-event.schema.json",
        // By `alerts`.
        "deploy/alerts.yml",
        "deploy/iam-policy-provisioning.json",
        "deploy/iam-policy-safety-lever.json",
        "deploy/iam-policy.json",
        "deploy/queue-policy.json",
        // By `tests/supply/run`.
        "deploy/sbom",
        "systemd/firedrill.service",
    ];
    assert_eq!(found, tested.map(str::to_owned).into());
}
