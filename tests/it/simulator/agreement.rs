//! One list of cases, run against the simulator and against moto through the same clients.
//!
//! Each case says what AWS documents. The simulator must do that; moto must as well, except where it is named below as
//! known to differ, and then it must differ still, or its name is to be taken off the list.

use std::collections::BTreeMap;

use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};

use super::messages;
use crate::support::moto::{Moto, sdk};
use firedrill::simulator::{self, Options};

/// Cases of [`messages`] that moto answers in its own way.
const MOTO_DIFFERS: &[&str] = &[
    "answers to what is sent twice",
    "attributes refused",
    "batch",
    "characters",
    "checksum of the trace header",
    "deleted by an old receipt",
    "deleted queue",
    "purged twice",
    "queues refused",
    "redrive to nowhere",
    "visibility of what is not in flight",
];

/// Patterns that moto takes for others.
const MOTO_DIFFERS_IN_PATTERNS: &[&str] = &[r#"{"a": [{"prefixes": "x"}]} on {"a": "x"}"#];

/// A pattern for the detail of an event, a detail, and what becomes of the event.
#[rustfmt::skip]
const PATTERNS: &[(&str, &str, &str)] = &[
    (r#"{"a": ["x"]}"#, r#"{"a": "x"}"#, "delivered"),
    (r#"{"a": ["x"]}"#, r#"{"a": "y"}"#, "dropped"),
    (r#"{"a": ["x", "y"]}"#, r#"{"a": ["z", "y"]}"#, "delivered"),
    (r#"{"a": {"b": ["x"]}}"#, r#"{"a": {"b": "x"}, "c": 1}"#, "delivered"),
    (r#"{"a": ["x"], "b": ["y"]}"#, r#"{"a": "x"}"#, "dropped"),
    (r#"{"a": [1]}"#, r#"{"a": 1}"#, "delivered"),
    (r#"{"a": [1]}"#, r#"{"a": "1"}"#, "dropped"),
    (r#"{"a": [null]}"#, r#"{"a": null}"#, "delivered"),
    (r#"{"a": [true]}"#, r#"{"a": true}"#, "delivered"),
    (r#"{"a": [{"prefix": "ab"}]}"#, r#"{"a": "abc"}"#, "delivered"),
    (r#"{"a": [{"prefix": "ab"}]}"#, r#"{"a": "xabc"}"#, "dropped"),
    (r#"{"a": [{"suffix": "bc"}]}"#, r#"{"a": "abc"}"#, "delivered"),
    (r#"{"a": [{"prefix": {"equals-ignore-case": "AB"}}]}"#, r#"{"a": "abc"}"#, "delivered"),
    (r#"{"a": [{"equals-ignore-case": "ABC"}]}"#, r#"{"a": "abc"}"#, "delivered"),
    (r#"{"a": [{"wildcard": "a*c*e"}]}"#, r#"{"a": "abcde"}"#, "delivered"),
    (r#"{"a": [{"wildcard": "a*c"}]}"#, r#"{"a": "abcd"}"#, "dropped"),
    (r#"{"a": [{"numeric": [">", 0, "<=", 5]}]}"#, r#"{"a": 5}"#, "delivered"),
    (r#"{"a": [{"numeric": [">", 0, "<=", 5]}]}"#, r#"{"a": 0}"#, "dropped"),
    (r#"{"a": [{"numeric": ["=", 3]}]}"#, r#"{"a": 3.0}"#, "delivered"),
    (r#"{"a": [{"exists": true}]}"#, r#"{"a": "x"}"#, "delivered"),
    (r#"{"a": [{"exists": true}]}"#, r#"{"b": "x"}"#, "dropped"),
    (r#"{"a": [{"exists": false}]}"#, r#"{"b": "x"}"#, "delivered"),
    (r#"{"a": ["x", {"exists": false}]}"#, r#"{"b": 1}"#, "delivered"),
    (r#"{"a": [{"anything-but": ["x", "y"]}]}"#, r#"{"a": "z"}"#, "delivered"),
    (r#"{"a": [{"anything-but": ["x", "y"]}]}"#, r#"{"a": "y"}"#, "dropped"),
    (r#"{"a": [{"anything-but": {"prefix": "x"}}]}"#, r#"{"a": "xy"}"#, "dropped"),
    (r#"{"a": [{"anything-but": {"prefix": "x"}}]}"#, r#"{"a": "yx"}"#, "delivered"),
    (r#"{"a": [{"cidr": "10.0.0.0/24"}]}"#, r#"{"a": "10.0.0.255"}"#, "delivered"),
    (r#"{"a": [{"cidr": "10.0.0.0/24"}]}"#, r#"{"a": "10.0.1.1"}"#, "dropped"),
    (r#"{"$or": [{"a": ["x"]}, {"b": ["y"]}]}"#, r#"{"b": "y"}"#, "delivered"),
    (r#"{"$or": [{"a": ["x"]}, {"b": ["y"]}]}"#, r#"{"b": "x"}"#, "dropped"),
    (r#"{"a": "x"}"#, r#"{"a": "x"}"#, "refused"),
    (r#"{"a": []}"#, r#"{"a": "x"}"#, "refused"),
    (r#"{"a": [{"prefixes": "x"}]}"#, r#"{"a": "x"}"#, "refused"),
];

/// Clients of one of the two.
pub(super) struct Side {
    pub(super) sqs: aws_sdk_sqs::Client,
    events: aws_sdk_eventbridge::Client,
}

impl Side {
    fn at(url: &str) -> Self {
        let config = sdk(url);
        Self { sqs: aws_sdk_sqs::Client::new(&config), events: aws_sdk_eventbridge::Client::new(&config) }
    }

    /// The ARN of a queue.
    pub(super) async fn arn(&self, queue: &str) -> String {
        let asked = self.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::QueueArn);
        let attributes = asked.send().await.expect("attributes").attributes.expect("attributes");
        attributes[&QueueAttributeName::QueueArn].clone()
    }
}

/// What was seen, by case.
type Seen = BTreeMap<String, Value>;

/// Compares what moto did with what AWS documents.
fn check_moto(documented: &Seen, seen: &Seen, differs: &[&str]) {
    let wrong: Vec<_> = seen.iter().filter(|(case, seen)| documented.get(*case) != Some(seen)).collect();
    let names: Vec<_> = wrong.iter().map(|(case, _)| case.as_str()).collect();
    assert_eq!(names, differs, "moto differs from AWS in these cases: {wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn simulator_and_moto_agree_on_queues_and_rules() {
    let moto = Moto::start();
    let simulator = simulator::start(Options::default()).await.expect("the simulator starts");
    let (ours, motos) = (Side::at(&simulator.url()), Side::at(moto.url()));

    let documented: Seen = messages::CASES
        .iter()
        .map(|(name, seen)| ((*name).to_owned(), serde_json::from_str(seen).expect("JSON")))
        .collect();
    assert_eq!(documented.len(), messages::CASES.len(), "each name is there once");
    let (mut here, mut there) = (Seen::new(), Seen::new());
    for (name, _) in messages::CASES {
        here.insert((*name).to_owned(), messages::observe(&ours, name).await);
        there.insert((*name).to_owned(), messages::observe(&motos, name).await);
    }
    assert_eq!(here, documented, "the simulator does what AWS documents");
    check_moto(&documented, &there, MOTO_DIFFERS);

    let documented: Seen = named(PATTERNS.iter().map(|(_, _, fate)| *fate));
    assert_eq!(fates(&ours).await, documented, "the simulator matches as AWS documents");
    check_moto(&documented, &fates(&motos).await, MOTO_DIFFERS_IN_PATTERNS);
    simulator.shutdown().await;
}

/// Fates of [`PATTERNS`] by their text.
fn named<'f>(fates: impl Iterator<Item = &'f str>) -> Seen {
    let names = PATTERNS.iter().map(|(pattern, detail, _)| format!("{pattern} on {detail}"));
    names.zip(fates.map(|fate| json!(fate))).collect()
}

/// What becomes of the event of each of [`PATTERNS`], when a rule with its pattern leads to a queue. A source of its own
/// keeps each event from the other rules.
async fn fates(side: &Side) -> Seen {
    let queue = side.sqs.create_queue().queue_name("rules").send().await.expect("a queue").queue_url.expect("a URL");
    let arn = side.arn(&queue).await;
    let mut fates = Vec::new();
    for (number, (pattern, detail, _)) in PATTERNS.iter().enumerate() {
        let (rule, source) = (format!("rule-{number}"), format!("case.{number}"));
        let pattern = format!(r#"{{"source": ["{source}"], "detail": {pattern}}}"#);
        let target = Target::builder().id("queue").arn(&arn).build().expect("a target");
        let put = side.events.put_rule().name(&rule).event_pattern(pattern).send().await;
        if put.is_err() {
            fates.push("refused");
            continue;
        }
        side.events.put_targets().rule(&rule).targets(target).send().await.expect("a target");
        let entry = PutEventsRequestEntry::builder().source(source).detail_type("Case").detail(*detail).build();
        let put = side.events.put_events().entries(entry).send().await.expect("an answer");
        assert_eq!(put.failed_entry_count(), 0, "{detail}");
        // Both have delivered when they answer, so that one look is enough.
        let received =
            side.sqs.receive_message().queue_url(&queue).wait_time_seconds(0).send().await.expect("a receive");
        fates.push(if received.messages().is_empty() { "dropped" } else { "delivered" });
    }
    named(fates.into_iter())
}
