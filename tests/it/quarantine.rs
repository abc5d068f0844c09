//! Messages that could not be read and are taken in again.

use std::sync::Arc;

use firedrill::{
    domain::{
        experiment::{EventTrigger, Rules},
        ids,
    },
    engine::ports::{Found, QuarantinedMessage, Store},
    ingest::{
        event::{EventIngest, Message, Taken},
        quarantine::{Quarantine, Redriven},
    },
    store::sql::MAX_QUARANTINED,
};
use jiff::SignedDuration;
use tokio::sync::watch;

use crate::{
    store::empty,
    support::{runs::name, world},
};

/// A message that is read now, by a configuration that is another one by now.
fn kept(body: &str, body_bytes: u64) -> QuarantinedMessage {
    QuarantinedMessage {
        queue: "q".to_owned(),
        message_id: "m-1".to_owned(),
        received_at: world::t("09:00:00"),
        reason: "it was no event".to_owned(),
        body: body.to_owned(),
        body_bytes,
    }
}

#[tokio::test]
async fn message_that_can_be_read_opens_its_run_and_is_forgotten() {
    let (_folder, store) = empty().await;
    let store = Arc::new(store);
    let mut experiment = world::experiment();
    experiment.triggers = vec![world::trigger("ci", 0, 0)];
    let experiments = [(name("probe"), experiment)].into();
    let (_sender, rules) = watch::channel(Arc::new(Rules { experiments, ..Rules::default() }));
    let ingest = EventIngest::new(store.clone(), rules, Arc::default(), Arc::default());
    let quarantine = Quarantine::new(store.clone(), ingest);
    let redrive = async || quarantine.redrive("q", "m-1", world::t("10:00:00")).await.expect("a store that works");
    let rest = async || store.quarantined(9).await.expect("rows").len();

    assert_eq!(redrive().await, Redriven::Unknown);
    store.quarantine(vec![kept("{", 1)]).await.expect("kept");
    assert!(matches!(redrive().await, Redriven::Taken(Taken::Quarantined { .. })));
    assert_eq!(rest().await, 1, "it stays");
    assert_eq!(quarantine.forget("q", "m-1").await.expect("forgotten"), Found::Yes);
    assert_eq!(quarantine.forget("q", "m-1").await.expect("nothing to forget"), Found::No);

    let body = r#"{"source": "ci", "detail-type": "d", "id": "e-1"}"#;
    store.quarantine(vec![kept(body, 100_000)]).await.expect("kept");
    assert!(matches!(redrive().await, Redriven::Cut(_)), "half a body is not taken for a whole one");
    quarantine.forget("q", "m-1").await.expect("forgotten");

    let whole = u64::try_from(body.len()).expect("a length");
    store.quarantine(vec![kept(body, whole)]).await.expect("kept");
    let Redriven::Taken(Taken::Matched { runs, .. }) = redrive().await else { panic!("a run") };
    assert_eq!((runs.len(), rest().await), (1, 0));
    // After a crash between the two it is taken in once more, and known.
    store.quarantine(vec![kept(body, whole)]).await.expect("kept");
    assert_eq!((redrive().await, rest().await), (Redriven::Taken(Taken::Duplicate), 0));
}

#[tokio::test]
async fn body_is_kept_whole_and_as_old_as_it_was() {
    let (_folder, store) = empty().await;
    let store = Arc::new(store);
    let (_sender, rules) = watch::channel(Arc::new(Rules::default()));
    let ingest = EventIngest::new(store.clone(), rules, Arc::default(), Arc::default());
    let body = format!("{{ {}", "x".repeat(200_000));
    let message = Message {
        queue: name("q"),
        id: "m-1".to_owned(),
        body: body.clone(),
        parent: None,
        group: None,
        sent_at: None,
        envelope: None,
    };
    ingest.take(vec![message], world::t("09:00:00")).await.expect("put aside");
    let kept = store.quarantined(9).await.expect("rows");
    assert_eq!((kept[0].body.as_str(), kept[0].is_cut()), (body.as_str(), false));
}

#[tokio::test]
async fn redrive_makes_no_event_newer_than_it_is() {
    let (_folder, store) = empty().await;
    let store = Arc::new(store);
    let mut experiment = world::experiment();
    let min_age = SignedDuration::from_mins(90);
    experiment.triggers = vec![EventTrigger { min_age, ..world::trigger("ci", 0, 0) }];
    let experiments = [(name("probe"), experiment)].into();
    let (_sender, rules) = watch::channel(Arc::new(Rules { experiments, ..Rules::default() }));
    let ingest = EventIngest::new(store.clone(), rules, Arc::default(), Arc::default());
    let quarantine = Quarantine::new(store.clone(), ingest);
    // An event without a time of its own.
    let body = r#"{"source": "ci", "detail-type": "d", "id": "e-1"}"#;
    store.quarantine(vec![kept(body, u64::try_from(body.len()).expect("a length"))]).await.expect("kept");
    let redriven = quarantine.redrive("q", "m-1", world::t("10:00:00")).await.expect("a store that works");
    let Redriven::Taken(Taken::Matched { runs, .. }) = redriven else { panic!("a match: {redriven:?}") };
    assert_eq!(runs[0].not_before, world::t("10:30:00"), "an hour and a half after it was received");
}

#[tokio::test]
async fn redrive_believes_a_webhooks_sender_no_more_than_the_webhook_did() {
    let (_folder, store) = empty().await;
    let store = Arc::new(store);
    let mut experiment = world::experiment();
    experiment.triggers = vec![world::trigger("aws.codedeploy", 0, 0)];
    let experiments = [(name("probe"), experiment)].into();
    let (_sender, rules) = watch::channel(Arc::new(Rules { experiments, ..Rules::default() }));
    let ingest = EventIngest::new(store.clone(), rules, Arc::default(), Arc::default());
    let quarantine = Quarantine::new(store.clone(), ingest);
    let body = r#"{"source": "aws.codedeploy", "detail-type": "d", "id": "e-1"}"#;
    let message = kept(body, u64::try_from(body.len()).expect("a length"));
    let of_hook = QuarantinedMessage { message_id: ids::name_of_text(body), ..message.clone() };
    for (message, expected) in [(of_hook, "unmatched"), (message, "matched")] {
        let id = message.message_id.clone();
        store.quarantine(vec![message]).await.expect("kept");
        let redriven = quarantine.redrive("q", &id, world::t("10:00:00")).await.expect("a store that works");
        let Redriven::Taken(taken) = redriven else { panic!("it is taken: {redriven:?}") };
        assert_eq!(taken.as_str(), expected, "{id}");
        // An event without a time of its own is as late as its sending says.
        let Taken::Matched { lag_seconds, .. } = taken else { continue };
        assert_eq!(lag_seconds, Some(3_600.0));
    }
}

/// What is kept is not lost for what comes: that is left to the queue.
#[tokio::test]
async fn message_that_finds_no_room_is_left_to_its_queue() {
    let (_folder, store) = empty().await;
    let message = |number: i64| QuarantinedMessage { message_id: format!("m-{number}"), ..kept("{", 1) };
    let (store, all) = (Arc::new(store), (0..MAX_QUARANTINED).map(message).collect());
    store.quarantine(all).await.expect("kept");
    let (_rules, seen) = watch::channel(Arc::new(Rules::default()));
    let ingest = EventIngest::new(store.clone(), seen, Arc::default(), Arc::default());
    let take = async |body: &str| {
        let message = Message {
            queue: name("q"),
            id: "m-new".to_owned(),
            body: body.to_owned(),
            parent: None,
            group: None,
            sent_at: None,
            envelope: None,
        };
        ingest.take(vec![message], world::t("10:00:00")).await
    };
    assert!(take("{").await.is_err_and(|error| error.is_of_a_row()), "what is not kept may not be deleted");
    assert_eq!(
        take(r#"{"source": "ci", "detail-type": "d", "id": "e-1"}"#).await.expect("an event"),
        [Taken::Unmatched]
    );
    store.forget_quarantined("q", "m-7").await.expect("a write");
    assert!(matches!(take("{").await.expect("kept")[..], [Taken::Quarantined { .. }]));
}
