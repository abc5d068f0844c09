//! Messages that could not be read and are taken in again.

use std::sync::Arc;

use firedrill::{
    domain::experiment::Rules,
    engine::ports::{Found, QuarantinedMessage, Store},
    ingest::{
        event::{EventIngest, Taken},
        quarantine::{Quarantine, Redriven},
    },
};
use tokio::sync::{Notify, watch};

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
    let ingest = EventIngest::new(store.clone(), rules, Arc::new(Notify::new()), Arc::default());
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
