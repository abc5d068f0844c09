//! Mappings: bodies that are no events, and what becomes of those that nothing maps.

use firedrill::domain::{
    event::{
        self, Envelope, Event,
        mapping::{Mapping, Part},
    },
    pattern::Pattern,
};
use serde_json::{Value, json};

use super::{by_sns, presets::sample};
use crate::support::runs::name;

fn mapping(label: &str, when: Value) -> Mapping {
    Mapping {
        name: name(label),
        when: Pattern::parse(&when).expect("a pattern"),
        source: Part::new("com.example.ci"),
        detail_type: Part::new("Deployment Succeeded"),
        id: None,
        time: None,
    }
}

/// One mapping of everything that has an `app`.
fn ci() -> Mapping {
    mapping("ci", json!({ "app": [{ "exists": true }] }))
}

fn read(body: &Value, mappings: &[Mapping]) -> Event {
    event::read(&body.to_string(), "message-1", mappings).expect("an event")
}

#[track_caller]
fn unread(body: &str, mappings: &[Mapping], expected: &str) {
    let unreadable = event::read(body, "message-1", mappings).expect_err("no event").to_string();
    assert_eq!(unreadable, expected);
}

#[test]
fn body_becomes_the_detail_of_an_event() {
    let body = sample("argocd-sqs-message-body");
    let event = read(&body, &[ci()]);
    assert_eq!((event.source.as_str(), event.detail_type.as_str()), ("com.example.ci", "Deployment Succeeded"));
    assert_eq!(event.body["detail"], body);
    assert_eq!(event.body["id"], event.id);
    let wrapped: Event = event::read(&by_sns("Notification", &body.to_string()), "m", &[ci()]).expect("an event");
    assert_eq!(wrapped.body["detail"], body);
}

#[test]
fn every_message_is_an_event_unless_an_id_says_otherwise() {
    let of = |message: &str, body: Value, pointer: Option<&str>| {
        let mapping = Mapping { id: pointer.map(str::to_owned), ..ci() };
        event::read(&body.to_string(), message, &[mapping]).expect("an event").id
    };
    let id = |body: Value, pointer| of("message-1", body, pointer);
    let body = |run: Value| json!({ "app": "shop", "run": run });
    assert_eq!(of("a", body(json!(1)), None), "a");
    assert_ne!(of("a", body(json!(1)), None), of("b", body(json!(1)), None), "the second deployment is not lost");
    assert_eq!(of("a", body(json!(1)), Some("/run")), of("b", body(json!(1)), Some("/run")), "sent twice");
    let timed = |message: &str, at: Value| {
        let body = json!({ "app": "shop", "at": at }).to_string();
        event::read(&body, message, &[Mapping { time: Some("/at".to_owned()), ..ci() }]).expect("an event").id
    };
    assert_eq!(timed("a", json!("2024-05-10T09:00:00Z")), timed("b", json!("2024-05-10T09:00:00Z")), "sent twice");
    assert_ne!(timed("a", json!("2024-05-10T09:00:00Z")), timed("a", json!("2024-05-10T09:00:01Z")));
    assert_eq!(timed("b", json!("today")), "b");
    assert_eq!(id(body(json!(1)), Some("/run")), "1");
    assert_eq!(id(body(json!("r-7")), Some("/run")), "r-7");
    // Nothing that could be an id is there: the message's again.
    for run in [json!(null), json!([1]), json!({}), json!(""), json!("x".repeat(513))] {
        assert_eq!(id(body(run.clone()), Some("/run")), id(body(run.clone()), None), "{run}");
    }
}

#[test]
fn times_are_read_in_three_forms() {
    let time = |at: Value| {
        let mapping = Mapping { time: Some("/at".to_owned()), ..ci() };
        let event = read(&json!({ "app": "shop", "at": at }), &[mapping]);
        assert_eq!(event.body.get("time").is_some(), event.time.is_some());
        event.time.map(|time| time.to_string())
    };
    let at = || Some("2024-05-10T09:00:00Z".to_owned());
    assert_eq!(time(json!("2024-05-10T09:00:00Z")), at());
    assert_eq!(time(json!("2024-05-10T11:00:00+02:00")), at());
    assert_eq!(time(json!(1_715_331_600)), at());
    assert_eq!(time(json!(1_715_331_600_000_i64)), at());
    assert_eq!(time(json!("1715331600")), at());
    assert_eq!(time(json!(1_715_331_600.25)), Some("2024-05-10T09:00:00.25Z".to_owned()));
    for none in [json!("yesterday"), json!(1e300), json!(-1e300), json!(null), json!("NaN"), json!([1]), json!("inf")] {
        assert_eq!(time(none.clone()), None, "{none}");
    }
}

#[test]
fn first_mapping_that_takes_a_body_counts() {
    let mut other = mapping("other", json!({ "app": ["shop"] }));
    other.source = Part::new("/app");
    let mappings = [mapping("none", json!({ "application": ["x"] })), other, ci()];
    assert_eq!(read(&json!({ "app": "shop" }), &mappings).source, "shop");
    assert_eq!(read(&json!({ "app": "search" }), &mappings).source, "com.example.ci");
    // What is an event already is no mapping's business.
    assert_eq!(
        read(&sample("ecr-image-action"), &[mapping("all", json!({ "id": [{ "exists": true }] }))]).source,
        "aws.ecr"
    );
}

#[test]
fn body_that_nothing_maps_names_what_it_has() {
    let body = json!({ "app": 1, "phase": "x" }).to_string();
    let none = "there is no `[mappings.NAME]` that could make an event of it";
    unread(
        &body,
        &[],
        &format!("the body is not an event: it has no `detail-type`, and {none}; it has `app`, `phase`"),
    );
    unread("{}", &[], &format!("the body is not an event: it has no `detail-type`, and {none}; it has nothing"));
    let other = || mapping("other", json!({ "x": [1] }));
    unread(
        &body,
        &[other()],
        "the body is not an event: it has no `detail-type`, and the one mapping does not take it; it has `app`, `phase`",
    );
    unread("[1]", &[ci(), other()], "the body is not an event: it is no JSON object");
    let many: serde_json::Map<String, Value> = (10..30).map(|n| (format!("k{n}"), json!(n))).collect();
    let shown = event::read(&Value::Object(many).to_string(), "m", &[ci(), other()]).expect_err("no event").to_string();
    assert!(
        shown.contains("none of 2 mappings takes it; it has `k10`") && shown.ends_with("`k19`, 10 more"),
        "{shown}"
    );
}

#[test]
fn mapping_whose_pointer_leads_to_nothing_says_which() {
    let mapping = Mapping { source: Part::new("/from"), ..ci() };
    let lost = "the body is not an event: mapping `ci` finds no text of 1 to 512 bytes for `source` at `/from`";
    for from in [json!(null), json!({}), json!(""), json!("x".repeat(513))] {
        unread(&json!({ "app": "x", "from": from }).to_string(), std::slice::from_ref(&mapping), lost);
    }
    assert_eq!(read(&json!({ "app": "x", "from": 7 }), &[mapping]).source, "7");
}

#[test]
fn sns_is_unwrapped_once_and_its_urls_are_left_alone() {
    let inner = by_sns("Notification", &sample("ecr-image-action").to_string());
    let none = "there is no `[mappings.NAME]` that could make an event of it";
    unread(
        &by_sns("Notification", &inner),
        &[],
        &format!(
            "the body is not an event: it has no `detail-type`, and {none}; it has `Message`, `MessageId`, `TopicArn`, `Type`"
        ),
    );
    let mut forged = sample("sqs-body.sns-wrapped");
    forged["Type"] = json!("SubscriptionConfirmation");
    forged["SubscribeURL"] = json!("http://127.0.0.1:1/never");
    unread(
        &forged.to_string(),
        &[],
        "the body is not an EventBridge event: an SNS message of type `SubscriptionConfirmation`",
    );
    forged["Type"] = json!("Notification");
    forged["Message"] = json!("You have chosen to subscribe");
    let unreadable = event::read(&forged.to_string(), "m", &[]).expect_err("no event").to_string();
    assert!(unreadable.starts_with("the body is not JSON that can be read"), "{unreadable}");
}

#[test]
fn hostile_bodies_are_decided_or_refused_in_bounded_time() {
    // The last of two equal keys counts.
    let doubled = r#"{"app": "a", "app": "b"}"#;
    assert_eq!(event::read(doubled, "m", &[ci()]).expect("an event").body["detail"]["app"], "b");
    let surrogate = r#"{"app": "\ud800"}"#;
    let unreadable = event::read(surrogate, "m", &[ci()]).expect_err("a lone surrogate").to_string();
    assert!(unreadable.starts_with("the body is not JSON that can be read"), "{unreadable}");
    let wide = format!("{{\"app\": [{}1]}}", "1,".repeat(125_000));
    assert_eq!(event::read(&wide, "m", &[ci()]).expect("an event").source, "com.example.ci");
    let million = format!("{{\"app\": [{}1]}}", "1,".repeat(1_000_000));
    unread(&million, &[ci()], "the body has 2000012 bytes, 262144 or more are not read");
    let deep = format!("{{\"app\": {}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let unreadable = event::read(&deep, "m", &[ci()]).expect_err("too deep").to_string();
    assert!(unreadable.contains("recursion limit"), "{unreadable}");
    unread(" \n", &[ci()], "the body is not JSON that can be read: it is empty");
}

#[test]
fn mapping_comes_before_what_a_webhook_says_of_a_body() {
    let envelope = Envelope { source: "github".to_owned(), detail_type: "push".to_owned() };
    let read = |body: Value| event::read_enveloped(&body.to_string(), "m-1", &[ci()], &envelope).expect("an event");
    assert_eq!(read(json!({ "app": "shop" })).source, "com.example.ci");
    let other = read(json!({ "ref": "refs/heads/main" }));
    assert_eq!((other.source.as_str(), other.detail_type.as_str(), other.id.as_str()), ("github", "push", "m-1"));
    // Whoever signs a body is not AWS, whatever the body says.
    assert_eq!(read(sample("ecr-image-action")).source, "github");
    let forging = Mapping { source: Part::At("/source".to_owned()), ..ci() };
    let body = json!({ "app": "shop", "source": "aws.ecr" }).to_string();
    let refused = event::read_enveloped(&body, "m-1", &[forging], &envelope).expect_err("a forged source").to_string();
    assert_eq!(refused, "the body is not an EventBridge event: nobody but AWS speaks as `aws.ecr`");
}
