//! What is remembered of each key that is deployed: written with what it follows from, kept as long as it is needed.

use std::collections::BTreeMap;

use firedrill::{
    domain::{
        deployment::{Deployed, Known, MAX_COOL_DOWN, Reading},
        event::{self, Order, Receipt},
        experiment::{EventTrigger, Rules},
        run::{HoldReason, Observation, Run},
    },
    engine::ports::{Recorded, Store},
    store::SqlStore,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{advance, arrival, commit, empty, record, rows, shown_of_databases, skip};
use crate::support::{
    runs::name,
    world::{experiment, read, t, trigger},
};

/// The run of an event that tells of a version of an application.
pub fn run(at: &str, app: &str, version: &str) -> Run {
    let text = |pointer: &str| vec![pointer.to_owned()];
    let reading = Reading { key: text("/detail/app"), version: text("/detail/version"), ..Reading::default() };
    let mut probe = experiment();
    probe.triggers = vec![EventTrigger { reading, ..trigger("deploy", 60, 0) }];
    let rules = Rules { experiments: BTreeMap::from([(name("probe"), probe)]), ..Rules::default() };
    let body =
        json!({ "source": "deploy", "detail-type": "Done", "id": at, "detail": { "app": app, "version": version } });
    let event = event::read(&body.to_string(), "m", &[]).expect("an event");
    let receipt = Receipt { source: name("q"), at: t(at), sent_at: None, order: Order::Any, parent: None };
    event::opened_runs(&rules, &event, &receipt).expect("an event").pop().expect("a run")
}

async fn arrives(store: &SqlStore, run: &Run) -> Recorded {
    record(store, arrival("deploy", run.id.as_str(), vec![run.clone()])).await.expect("a write")
}

/// The row of an application that an open run is about.
async fn row(store: &SqlStore, app: &str) -> Option<Deployed> {
    rows(store).await.deployed.remove(&(name("probe"), app.to_owned()))
}

fn known(run: &Run, at: &str) -> Option<Known> {
    let deployment = run.trigger.deployment()?;
    Some(Known { run: run.id.clone(), version: deployment.version.clone(), order: deployment.order, at: t(at) })
}

fn start_asked() -> Observation {
    Observation::StartAsked {
        place: Default::default(),
        template_id: "EXT1".into(),
        facts: None,
        place_facts: None,
        ties: None,
    }
}

#[tokio::test]
async fn newest_and_begun_deployments_are_remembered_by_key_and_survive_reopening() {
    let (folder, store) = empty().await;
    let (old, new) = (run("09:00:00", "shop", "v1"), run("09:00:30", "shop", "v2"));
    // The same text is another key where it is not the same text.
    let others = [run("09:00:40", "Shop", "v9"), run("09:00:50", "7", "v7"), run("09:00:51", "\"a\\'\0b", "v8")];
    for run in [&old, &new].into_iter().chain(&others) {
        assert_eq!(arrives(&store, run).await, Recorded::New);
    }
    let (asked, change) = advance(&read(old.clone(), "09:01:00", 60), start_asked());
    assert_eq!(asked.revision, 2);
    // The read was never written, so that the row is not the one that this start was computed from.
    commit(&store, change).await;
    assert_eq!(row(&store, "shop").await.expect("a row").begun, None, "a stale change tells nothing");
    let (_, change) = advance(&old, start_asked());
    commit(&store, change).await;
    let before = row(&store, "shop").await.expect("a row");
    assert_eq!((&before.newest, &before.begun), (&known(&new, "09:00:30"), &known(&old, "10:00:00")));
    drop(store);
    let store = SqlStore::open(&folder.path().join("state")).await.expect("the store again");
    assert_eq!(row(&store, "shop").await, Some(before));
    for other in others {
        let key = &other.trigger.deployment().expect("a deployment").key;
        assert_eq!(row(&store, key).await.expect("a row").newest.expect("a deployment").run, other.id);
    }
}

async fn known_event_and_known_run_are_not_noted_again(store: &SqlStore) {
    let (first, second) = (run("09:00:00", "shop", "v1"), run("09:00:30", "shop", "v2"));
    arrives(store, &first).await;
    arrives(store, &second).await;
    let before = row(store, "shop").await;
    // Redelivered later, and as a run that another event would open.
    let again = Run { opened_at: t("09:05:00"), ..first.clone() };
    assert_eq!(arrives(store, &again).await, Recorded::Known);
    let by_another = arrival("deploy", "e-other", vec![again.clone()]);
    assert_eq!(record(store, by_another).await.expect("a write"), Recorded::New);
    assert_eq!(store.request_runs(vec![again]).await.expect("a write"), Recorded::Known);
    assert_eq!(row(store, "shop").await, before);
}

async fn events_of_a_batch_and_changes_of_a_transaction_are_noted_in_their_order(store: &SqlStore) {
    let runs = [run("09:00:00", "shop", "v1"), run("09:00:02", "shop", "v3"), run("09:00:01", "shop", "v2")];
    let batch = runs.iter().map(|run| arrival("deploy", run.id.as_str(), vec![run.clone()])).collect();
    store.record_events(batch).await.expect("a write");
    assert_eq!(row(store, "shop").await.expect("a row").newest, known(&runs[1], "09:00:02"));
    let changes = [advance(&runs[0], start_asked()).1, advance(&runs[1], start_asked()).1, advance(&runs[2], skip()).1];
    store.commit(&changes).await.expect("a commit");
    let after = row(store, "shop").await.expect("a row");
    assert_eq!((after.begun, after.begun_before), (known(&runs[1], "10:00:00"), known(&runs[0], "10:00:00")));
}

async fn only_rows_that_open_runs_are_about_are_loaded(store: &SqlStore) {
    let (shop, stock) = (run("09:00:00", "shop", "v1"), run("09:00:01", "stock", "w1"));
    arrives(store, &shop).await;
    arrives(store, &stock).await;
    commit(store, advance(&stock, skip()).1).await;
    assert_eq!(rows(store).await.deployed.len(), 1);
    // It is not forgotten: the next deployment finds it.
    arrives(store, &run("09:10:00", "stock", "w2")).await;
    let change = row(store, "stock").await.and_then(|row| row.change).expect("a change");
    assert_eq!((change.since, change.until), (t("09:10:00"), t("09:11:00")));
}

async fn pruning_keeps_rows_as_long_as_a_cool_down_and_those_of_open_runs_for_ever(store: &SqlStore) {
    let (over, open) = (run("09:00:00", "shop", "v1"), run("09:00:01", "stock", "w1"));
    for run in [&over, &open] {
        arrives(store, run).await;
    }
    commit(store, advance(&over, skip()).1).await;
    let reason = HoldReason::Closed { window: name("freeze"), until: None, unknown: None };
    commit(store, advance(&open, Observation::Held { reason, look_at: t("23:00:00") }).1).await;
    let hour = SignedDuration::from_hours(1);
    let remembered = async |at: &str| {
        let next = run(at, "shop", "v2");
        arrives(store, &next).await;
        let found = row(store, "shop").await.and_then(|row| row.change).map(|change| change.since);
        commit(store, advance(&next, skip()).1).await;
        found
    };
    // Its run is gone, and it is not.
    store.prune(t("12:00:00"), hour, u32::MAX, &[]).await.expect("a write");
    assert_eq!(store.run(&over.id).await.expect("a read"), None);
    assert_eq!(remembered("09:00:30").await, Some(t("09:00:00")), "the change goes on");
    store.prune(t("10:00:00") + MAX_COOL_DOWN, hour, u32::MAX, &[]).await.expect("a write");
    assert_eq!(remembered("09:00:40").await, Some(t("09:00:00")));
    store.prune(t("10:00:01") + MAX_COOL_DOWN, hour, u32::MAX, &[]).await.expect("a write");
    assert_eq!(remembered("09:00:50").await, Some(t("09:00:50")), "it was forgotten");
    assert_eq!(row(store, "stock").await.expect("a row").newest, known(&open, "09:00:01"), "its run still waits");
}

#[test]
fn run_as_an_earlier_version_wrote_it_is_read() {
    let mut old = serde_json::to_value(run("09:00:00", "shop", "v1")).expect("a row");
    let trigger = old["trigger"].as_object_mut().expect("a trigger");
    assert!(trigger.remove("deployment").is_some() && trigger.remove("terms").is_some());
    let read: Run = serde_json::from_value(old).expect("a run");
    assert_eq!((read.trigger.deployment(), Deployed::key(&read)), (None, None));
}

shown_of_databases! {
    known_event_and_known_run_are_not_noted_again
    events_of_a_batch_and_changes_of_a_transaction_are_noted_in_their_order
    only_rows_that_open_runs_are_about_are_loaded
    pruning_keeps_rows_as_long_as_a_cool_down_and_those_of_open_runs_for_ever
}
