//! Deployments: what is read out of an event, and what tags make of it.

use std::collections::BTreeMap;

use firedrill::{
    domain::{
        deployment::{self, Deployment, Direction, MAX_TEXT_BYTES, Reading},
        event,
        experiment::{EventTrigger, Experiment, Rules},
        pattern::Pattern,
        run::Run,
    },
    engine::ports::Store,
    store::history::RunFilter,
};
use serde_json::{Value, json};

use crate::{
    store::empty,
    support::world::{experiment, receipt, slot_run, t},
};

fn reading(key: &[&str], version: &[&str]) -> Reading {
    let owned = |pointers: &[&str]| pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
    Reading { key: owned(key), version: owned(version), id: vec!["/detail/deploymentId".to_owned()], rollback: None }
}

fn read(reading: &Reading, event: &Value) -> Option<Deployment> {
    reading.read(event, Direction::Forward, t("10:00:00"))
}

fn event() -> Value {
    json!({
        "source": "ci", "detail-type": "Deployed", "id": "e-1", "time": "2026-03-02T09:59:00Z",
        "resources": ["arn:one", "arn:two"],
        "detail": {
            "application": "shop", "group": "prod", "deploymentId": "d-1", "number": 7, "ok": true, "empty": "", "none": null,
            "list": [1], "odd/name": "x",
        },
    })
}

#[test]
fn key_is_made_of_all_its_parts_or_not_at_all() {
    let cases: [(&[&str], Option<&str>); 8] = [
        (&["/detail/application"], Some("shop")),
        (&["/detail/application", "/detail/group"], Some("shop/prod")),
        (&["/resources/1", "/detail/number", "/detail/ok"], Some("arn:two/7/true")),
        (&["/detail/odd~1name"], Some("x")),
        (&["/detail/application", "/detail/missing"], None),
        (&["/detail/empty"], None),
        (&["/detail/list"], None),
        (&[], None),
    ];
    for (pointers, expected) in cases {
        let found = read(&reading(pointers, &[]), &event());
        assert_eq!(found.map(|deployment| deployment.key).as_deref(), expected, "{pointers:?}");
    }
}

#[test]
fn version_is_the_first_that_is_there() {
    let cases: [(&[&str], Option<&str>); 4] = [
        (&["/detail/missing", "/detail/none", "/detail/number"], Some("7")),
        (&["/detail/deploymentId", "/detail/number"], Some("d-1")),
        (&["/detail/missing"], None),
        (&[], None),
    ];
    for (pointers, expected) in cases {
        let found = read(&reading(&["/detail/application"], pointers), &event()).expect("a deployment");
        assert_eq!(found.version.as_deref(), expected, "{pointers:?}");
        assert_eq!(found.id.as_deref(), Some("d-1"));
    }
}

#[test]
fn long_texts_are_cut_and_stay_apart() {
    let of = |last: &str| {
        let event = json!({ "detail": { "application": format!("{}{last}", "ü".repeat(MAX_TEXT_BYTES)) } });
        read(&reading(&["/detail/application"], &["/detail/application"]), &event).expect("a deployment")
    };
    let (one, other) = (of("1"), of("2"));
    assert!(one.key.len() <= MAX_TEXT_BYTES && one.version.as_ref().is_some_and(|text| text.len() <= MAX_TEXT_BYTES));
    assert_ne!(one.key, other.key);
    assert_eq!(one, of("1"));
}

fn opened(version: &str) -> Run {
    let trigger = EventTrigger {
        reading: reading(&["/detail/application"], &["/detail/version"]),
        ..EventTrigger::new(Pattern::parse(&json!({ "source": ["ci"] })).expect("a pattern"))
    };
    let declared = Experiment { triggers: vec![trigger], ..experiment() };
    let rules = Rules { experiments: BTreeMap::from([(declared.name.clone(), declared)]), ..Rules::default() };
    let mut event = event();
    event["detail"]["version"] = json!(version);
    let event = event::read(&event.to_string(), "m-1", &[]).expect("an event");
    event::opened_runs(&rules, &event, &receipt(None, t("10:00:00"))).expect("an event").pop().expect("a run")
}

fn tags(of: &[(&str, &str)]) -> BTreeMap<String, String> {
    of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn tags_are_filled_in_for_the_run() {
    let asked = tags(&[
        ("team", "pay"),
        ("service", "{deployment.key}"),
        ("release", "{deployment.key}@{deployment.version} ({deployment.id})"),
    ]);
    let filled = deployment::filled_in(&asked, &opened("1.2"));
    assert_eq!(filled, tags(&[("team", "pay"), ("service", "shop"), ("release", "shop@1.2 _d-1_")]));
    // Of a run that is about no deployment, only what needs none is left.
    assert_eq!(deployment::filled_in(&asked, &slot_run("10:00:00")), tags(&[("team", "pay")]));
}

#[test]
fn foreign_text_in_a_tag_cannot_ask_for_more() {
    let asked = tags(&[("version", "{deployment.version}")]);
    let of = |version: &str| deployment::filled_in(&asked, &opened(version)).remove("version");
    assert_eq!(of("{deployment.key}").as_deref(), Some("_deployment.key_"));
    assert_eq!(of("a\nb<script>").as_deref(), Some("a_b_script_"));
    assert_eq!(of(&"v".repeat(1_000)).map(|value| value.chars().count() <= 256), Some(true));
    // Without a version there is nothing to say.
    assert_eq!(of(""), None);
}

#[test]
fn window_by_a_tag_that_runs_fill_in_forbids_and_permits_nothing() {
    use firedrill::domain::window::{Membership, Scope};
    let scope = Scope { tags: tags(&[("service", "shop")]), ..Scope::default() };
    let of = |value: &str| scope.membership(&Experiment { tags: tags(&[("service", value)]), ..experiment() });
    assert_eq!(of("shop"), Some(Membership::Sure));
    assert_eq!(of("search"), None);
    assert_eq!(of("{deployment.key}"), Some(Membership::Possible));
    let both = Scope { tags: tags(&[("service", "shop"), ("team", "pay")]), ..Scope::default() };
    let declared = Experiment { tags: tags(&[("service", "{deployment.key}"), ("team", "other")]), ..experiment() };
    assert_eq!(both.membership(&declared), None, "a tag that is known to differ decides");
}

#[tokio::test]
async fn runs_are_found_by_what_was_deployed() {
    let (_folder, store) = empty().await;
    let run = opened("1.2");
    store.request_runs(vec![run.clone(), slot_run("10:00:00")]).await.expect("a write");
    for (text, expected) in [("shop", 1), ("1.2", 1), ("d-1", 1), ("sho", 0), ("", 0)] {
        let filter = RunFilter { deployment: Some(text.to_owned()), limit: 9, ..RunFilter::default() };
        let found = store.runs(&filter).await.expect("a read");
        assert_eq!(found.len(), expected, "{text}");
        assert!(found.iter().all(|found| found.id == run.id));
    }
}
