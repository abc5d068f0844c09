//! Events: what bodies are read as, which runs they open, and how messages become rows.

mod catalogue;
mod mappings;
mod presets;

use std::{collections::BTreeMap, sync::Arc};

use firedrill::{
    domain::{
        event::{self, Event, MAX_BODY_BYTES},
        experiment::{EventTrigger, Experiment, Rules},
        fis::FisStatus,
        pattern::Pattern,
        run::{Observation, Run, TraceParent, Trigger},
    },
    engine::ports::{Hints, Poke, Store},
    ingest::event::{EventIngest, KEPT_BODY_BYTES, Message, QUARANTINE_BODY_BYTES, Taken},
    store::SqlStore,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{
    store::empty,
    support::{
        runs::name,
        world::{self, experiment, receipt, t, trigger},
    },
};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A deployment as EventBridge delivers it.
fn deployment() -> Value {
    json!({
        "version": "0",
        "id": "c071bfbf-83c4-49ca-a6ff-3df053957145",
        "detail-type": "CodeDeploy Deployment State-change Notification",
        "source": "aws.codedeploy",
        "account": "123456789012",
        "time": "2026-03-02T09:59:58Z",
        "region": "us-east-1",
        "resources": ["arn:aws:codedeploy:us-east-1:123456789012:application:shop"],
        "detail": { "application": "shop", "state": "SUCCESS" }
    })
}

fn with(key: &str, value: Value) -> Value {
    let mut event = deployment();
    event[key] = value;
    event
}

fn without(key: &str) -> Value {
    let mut event = deployment();
    event.as_object_mut().expect("an object").remove(key);
    event
}

fn by_sns(kind: &str, message: &str) -> String {
    json!({ "Type": kind, "MessageId": "sns-1", "TopicArn": "arn:aws:sns:::t", "Message": message }).to_string()
}

/// Checks what a body is read as: `source / id / detail-type`, or why it is not.
#[track_caller]
fn check(body: &str, expected: &str) {
    let read = match event::read(body, "message-1", &[]) {
        Ok(event) => format!("{} / {} / {}", event.source, event.id, event.detail_type),
        Err(unreadable) => unreadable.to_string(),
    };
    assert_eq!(read, expected);
}

const READ: &str =
    "aws.codedeploy / c071bfbf-83c4-49ca-a6ff-3df053957145 / CodeDeploy Deployment State-change Notification";

#[test]
fn eventbridge_and_sns_bodies_are_one_event() {
    check(&deployment().to_string(), READ);
    check(&by_sns("Notification", &deployment().to_string()), READ);
    let event = event::read(&deployment().to_string(), "message-1", &[]).expect("an event");
    assert_eq!(event.time, Some(t("09:59:58")));
    assert_eq!(event.body, deployment());
}

#[test]
fn scheduler_body_with_a_text_for_detail_is_read() {
    let body = json!({ "id": "s-1", "detail-type": "Scheduled Event", "source": "aws.scheduler", "detail": "{}" });
    check(&body.to_string(), "aws.scheduler / s-1 / Scheduled Event");
}

#[test]
fn missing_id_is_that_of_the_message() {
    let own = "aws.codedeploy / message-1 / CodeDeploy Deployment State-change Notification";
    check(&without("id").to_string(), own);
    check(&with("id", json!("")).to_string(), own);
    let wrapped = "aws.codedeploy / sns-1 / CodeDeploy Deployment State-change Notification";
    check(&by_sns("Notification", &without("id").to_string()), wrapped);
}

#[test]
fn body_that_is_no_event_says_why() {
    for body in ["[1, 2]", "\"text\"", "null"] {
        check(body, "the body is not an event: it is no JSON object");
    }
    let unmapped = "the body is not an event: it has no `detail-type`, and there is no `[mappings.NAME]` that could make an \
                    event of it; it has `account`, `detail`, `id`, `region`, `resources`, `source`, `time`, `version`";
    check(&without("detail-type").to_string(), unmapped);
    let no_event = "the body is not an EventBridge event: ";
    for (body, reason) in [
        (without("source").to_string(), "it has no `source`"),
        (with("source", json!("")).to_string(), "it has no `source`"),
        (with("source", json!(7)).to_string(), "`source` is not a text"),
        (with("id", Value::Null).to_string(), "`id` is not a text"),
        (with("source", json!("x".repeat(513))).to_string(), "`source` has 513 bytes"),
        (with("id", json!("x".repeat(513))).to_string(), "`id` has 513 bytes"),
        (
            by_sns("SubscriptionConfirmation", "confirm at https://…"),
            "an SNS message of type `SubscriptionConfirmation`",
        ),
        (by_sns(&"x".repeat(1000), ""), &format!("an SNS message of type `{}`", "x".repeat(40))),
    ] {
        check(&body, &format!("{no_event}{reason}"));
    }
    check(
        &with("source", json!("x".repeat(512))).to_string().replace(&"x".repeat(512), "x"),
        &READ.replace("aws.codedeploy", "x"),
    );
}

#[test]
fn body_that_is_not_json_says_so() {
    for body in
        ["", "{", "hello", "{\"a\":1} {", &by_sns("Notification", "hello"), &format!("{}1", "[".repeat(100_000))]
    {
        let unreadable = event::read(body, "message-1", &[]).expect_err("unreadable").to_string();
        assert!(unreadable.starts_with("the body is not JSON that can be read: "), "{unreadable}");
    }
    let nested = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    check(&nested, "the body is not JSON that can be read: recursion limit exceeded at line 1 column 128");
}

#[test]
fn body_may_be_just_below_a_quarter_mebibyte() {
    let padded = |bytes: usize| {
        let empty = with("detail", json!("")).to_string().len();
        with("detail", json!("x".repeat(bytes - empty))).to_string()
    };
    assert_eq!(MAX_BODY_BYTES, 262_144);
    assert_eq!(padded(262_143).len(), 262_143);
    check(&padded(262_143), READ);
    check(&padded(262_144), "the body has 262144 bytes, 262144 or more are not read");
}

#[test]
fn unreadable_time_or_trace_is_no_reason_to_refuse() {
    let read = |event: Value| event::read(&event.to_string(), "message-1", &[]).expect("an event");
    assert_eq!(read(with("time", json!("yesterday"))).time, None);
    assert_eq!(read(with("time", json!(1))).time, None);
    assert_eq!(read(with("traceparent", json!("00-nonsense"))).parent, None);
    assert!(read(with("traceparent", json!(PARENT))).parent.is_some());
    assert!(read(with("detail", json!({ "traceparent": PARENT }))).parent.is_some());
}

fn on(pattern: Value, settle_s: i64, hold_s: i64) -> EventTrigger {
    EventTrigger { pattern: Pattern::parse(&pattern).expect("a pattern"), ..trigger("", settle_s, hold_s) }
}

/// Rules of the experiments `a`, `b` and `c`; `c` is about other events.
fn rules() -> Rules {
    let with = |label: &str, triggers| (name(label), Experiment { name: name(label), triggers, ..experiment() });
    let success = || json!({ "detail": { "state": ["SUCCESS"] } });
    let experiments = BTreeMap::from([
        with("a", vec![on(json!({ "source": ["other"] }), 1, 1), on(success(), 60, 0), on(success(), 5, 5)]),
        with("b", vec![on(json!({ "source": ["aws.codedeploy"] }), 0, 900)]),
        with("c", vec![on(json!({ "source": ["other"] }), 0, 0)]),
    ]);
    Rules { experiments, ..Rules::default() }
}

fn opened(parent: Option<TraceParent>) -> Vec<Run> {
    let event = event::read(&with("traceparent", json!(PARENT)).to_string(), "message-1", &[]).expect("an event");
    event::opened_runs(&rules(), &event, &receipt(parent, t("10:00:00"))).expect("an event")
}

#[test]
fn event_that_patterns_cannot_read_is_unreadable_and_not_unmatched() {
    let event = event::read(&with("source", json!("other")).to_string(), "message-1", &[]).expect("an event");
    let nested = Event { text: format!(r#"{{"source":{}1{}}}"#, "[".repeat(200), "]".repeat(200)), ..event.clone() };
    let torn = Event { text: event.text[..event.text.len() - 1].to_owned(), ..event };
    for (event, reason) in [(nested, "nested too deeply"), (torn, "not JSON at byte")] {
        let unreadable = event::opened_runs(&rules(), &event, &receipt(None, t("10:00:00"))).expect_err("unreadable");
        assert!(unreadable.to_string().contains(reason), "{unreadable}");
    }
}

#[test]
fn event_opens_one_run_an_experiment_by_its_first_matching_trigger() {
    let runs = opened(None);
    let facts: Vec<_> = runs
        .iter()
        .map(|run| (run.experiment.as_str(), run.state.as_str(), run.not_before, run.start_by, run.hold_until))
        .collect();
    let expected = [
        ("a", "settling", t("10:01:00"), t("10:11:00"), None),
        ("b", "requested", t("10:00:00"), t("10:10:00"), Some(t("10:15:00"))),
    ];
    assert_eq!(facts, expected);
    assert_ne!(runs[0].id, runs[1].id);
}

#[test]
fn trace_of_the_message_goes_before_that_of_the_body() {
    let parent_of = |run: &Run| match &run.trigger {
        Trigger::Event { parent, .. } => *parent,
        other => panic!("{other:?}"),
    };
    let of_message = TraceParent { trace_id: [7; 16], span_id: [7; 8], sampled: false };
    assert_eq!(parent_of(&opened(Some(of_message))[0]), Some(of_message));
    assert_eq!(parent_of(&opened(None)[0]).map(|parent| parent.sampled), Some(true));
}

fn message(id: &str, body: &str) -> Message {
    Message {
        queue: name("q"),
        id: id.to_owned(),
        body: body.to_owned(),
        parent: None,
        group: None,
        sent_at: None,
        envelope: None,
    }
}

/// An ingest of [`rules`] over an empty store.
struct Intake {
    _folder: tempfile::TempDir,
    store: Arc<SqlStore>,
    ingest: EventIngest<SqlStore>,
    poke: Arc<Poke>,
    hints: Arc<Hints>,
    _rules: watch::Sender<Arc<Rules>>,
}

impl Intake {
    async fn new() -> Self {
        let (folder, store) = empty().await;
        let (store, poke, hints) = (Arc::new(store), Arc::new(Poke::default()), Arc::new(Hints::default()));
        let (sender, rules) = watch::channel(Arc::new(rules()));
        let ingest = EventIngest::new(store.clone(), rules, poke.clone(), hints.clone());
        Self { _folder: folder, store, ingest, poke, hints, _rules: sender }
    }

    async fn take(&self, id: &str, body: &str, at: Timestamp) -> Taken {
        let message = message(id, body);
        let mut taken = self.ingest.take(vec![message], at).await.expect("a store that works");
        taken.pop().expect("what became of it")
    }

    async fn open_runs(&self) -> usize {
        self.store.load().await.expect("rows").runs.len()
    }
}

#[tokio::test]
async fn matching_message_becomes_runs_once() {
    let intake = Intake::new().await;
    let body = deployment().to_string();
    let Taken::Matched { runs, lag_seconds } = intake.take("m-1", &body, t("10:00:00")).await else {
        panic!("a match")
    };
    assert_eq!((runs.len(), lag_seconds), (2, Some(2.0)));
    intake.poke.notified().await;
    let redelivered = intake.take("m-1", &body, t("10:01:00")).await;
    let sent_twice = intake.take("m-2", &by_sns("Notification", &body), t("10:02:00")).await;
    assert_eq!((redelivered, sent_twice), (Taken::Duplicate, Taken::Duplicate));
    assert_eq!(intake.open_runs().await, 2);
}

#[tokio::test]
async fn batch_is_told_of_in_its_order() {
    let intake = Intake::new().await;
    let other = json!({ "source": "aws.ecr", "id": "e-1", "detail-type": "ECR Image Action" }).to_string();
    let event = deployment().to_string();
    let batch = [("m-1", ""), ("m-2", &other), ("m-3", &event), ("m-4", "{"), ("m-5", &event), ("m-6", &other)];
    let messages = batch.map(|(id, body)| message(id, body)).to_vec();
    let taken = intake.ingest.take(messages, t("10:00:00")).await.expect("a store that works");
    let told: Vec<&str> = taken.iter().map(Taken::as_str).collect();
    assert_eq!(told, ["quarantined", "unmatched", "matched", "quarantined", "duplicate", "duplicate"]);
    assert_eq!(intake.store.quarantined(9).await.expect("a read").len(), 2);
    assert_eq!(intake.open_runs().await, 2);
    intake.poke.notified().await;
}

/// What FIS tells of an experiment.
fn by_fis(source: &str, detail_type: &str, experiment: Value) -> String {
    let detail = json!({ "experiment-id": experiment, "new-state": { "status": "completed" } });
    json!({ "source": source, "id": "f-1", "detail-type": detail_type, "detail": detail }).to_string()
}

#[test]
fn event_of_fis_tells_of_an_experiment() {
    const TYPE: &str = "FIS Experiment State Change";
    let long = "E".repeat(65);
    for (source, detail_type, experiment, expected) in [
        ("aws.fis", TYPE, json!("EXP1"), Some("EXP1")),
        ("com.example", TYPE, json!("EXP1"), None),
        ("aws.fis", "AWS API Call via CloudTrail", json!("EXP1"), None),
        ("aws.fis", TYPE, json!(["EXP1"]), None),
        ("aws.fis", TYPE, json!(long), None),
    ] {
        let event = event::read(&by_fis(source, detail_type, experiment), "m-1", &[]).expect("an event");
        assert_eq!(event::told_of(&event), expected, "{event:?}");
    }
}

#[tokio::test]
async fn experiment_of_which_fis_tells_is_hinted_at_until_it_was_polled() {
    let intake = Intake::new().await;
    let hinted = |runs: &[Run]| intake.hints.of(runs).into_iter().collect::<Vec<_>>();
    let going = world::running(world::slot_run("10:00:00"), "10:00:00");
    let fis_id = going.fis.as_ref().expect("an experiment").id.clone();
    for (at, id) in [("10:00:05", &fis_id), ("10:00:06", &"EXPforeign".to_owned())] {
        intake.take("m-1", &by_fis("aws.fis", "FIS Experiment State Change", json!(id)), t(at)).await;
    }
    intake.poke.notified().await;
    let runs = [going];
    assert_eq!(hinted(&runs), [(fis_id.clone(), t("10:00:05"))]);
    assert_eq!(hinted(&runs), [(fis_id.clone(), t("10:00:05"))], "as long as it was not polled");
    let [going] = runs;
    let seen = world::applied(
        going,
        &[("10:00:07", Observation::Polled { fis: world::fis(FisStatus::Running, t("10:00:00")) })],
    );
    assert_eq!(hinted(&[seen]), []);
    for n in 0..2_000 {
        intake.hints.give(&format!("EXPother{n}"), t("10:00:08"));
    }
    intake.hints.give(&fis_id, t("10:00:09"));
    let going = world::running(world::slot_run("10:00:00"), "10:00:00");
    assert_eq!(hinted(&[going]), [], "hints are bounded: the planner's own pace is left");
}

#[tokio::test]
async fn event_from_the_future_has_no_lag() {
    let intake = Intake::new().await;
    let taken = intake.take("m-1", &deployment().to_string(), t("09:00:00")).await;
    assert!(matches!(taken, Taken::Matched { lag_seconds: Some(0.0), .. }), "{taken:?}");
}

#[tokio::test]
async fn message_without_a_match_is_recorded_too() {
    let intake = Intake::new().await;
    let body = json!({ "source": "aws.ecr", "id": "e-1", "detail-type": "ECR Image Action" }).to_string();
    assert_eq!(intake.take("m-1", &body, t("10:00:00")).await, Taken::Unmatched);
    assert_eq!(intake.take("m-1", &body, t("10:00:01")).await, Taken::Duplicate);
    let known = intake.store.events("e-1").await.expect("a read");
    assert_eq!((known.len(), known[0].received_at), (1, t("10:00:00")));
    // Kept to be able to tell why, unless it is large.
    assert_eq!((known[0].queue.as_deref(), known[0].body.as_deref()), (Some("q"), Some(body.as_str())));
    let large = json!({ "source": "aws.ecr", "id": "e-2", "detail-type": "x".repeat(500), "detail": "x".repeat(KEPT_BODY_BYTES) });
    assert_eq!(intake.take("m-2", &large.to_string(), t("10:00:00")).await, Taken::Unmatched);
    assert_eq!(intake.store.events("e-2").await.expect("a read")[0].body, None);
}

#[tokio::test]
async fn messages_without_an_event_id_are_told_apart_by_their_own() {
    let intake = Intake::new().await;
    let body = without("id").to_string();
    for (id, expected) in [("m-1", "matched"), ("m-1", "duplicate"), ("m-2", "matched")] {
        assert_eq!(intake.take(id, &body, t("10:00:00")).await.as_str(), expected, "{id}");
    }
}

#[tokio::test]
async fn unreadable_message_is_put_aside_once_with_its_reason() {
    let intake = Intake::new().await;
    for _ in 0..2 {
        let taken = intake.take("m-1", "hello", t("10:00:00")).await;
        let reason = "the body is not JSON that can be read: expected value at line 1 column 1".to_owned();
        assert_eq!(taken, Taken::Quarantined { reason });
    }
    let kept = intake.store.quarantined(9).await.expect("a read");
    assert_eq!((kept.len(), kept[0].body.as_str(), intake.open_runs().await), (1, "hello", 0));
}

#[tokio::test]
async fn body_put_aside_is_cut_between_characters() {
    let intake = Intake::new().await;
    // Three bytes a character: 16 KiB is not a multiple of it.
    intake.take("m-1", &"€".repeat(100_000), t("10:00:00")).await;
    intake.take("m-2", &"x".repeat(MAX_BODY_BYTES), t("10:00:00") + SignedDuration::from_secs(1)).await;
    let kept = intake.store.quarantined(9).await.expect("a read");
    assert_eq!(kept[0].body.len(), QUARANTINE_BODY_BYTES);
    assert_eq!(kept[1].body, "€".repeat(QUARANTINE_BODY_BYTES / 3));
}
