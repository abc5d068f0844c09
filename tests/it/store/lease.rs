//! The lease of a server: one replica decides, the others take events in, and what is stale writes nothing.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use firedrill::{
    domain::plan::{HaltRunning, Halting},
    engine::ports::{Committed, Configuration, Found, Lease, Recorded, Store, StoreError},
    store::SqlStore,
};
use jiff::SignedDuration;
use tokio::time::Instant;

use super::{
    AT, adopt, advance, arrival, at, commit, halts::halt_at_once, quarantined, record, rows, skip, stop_request,
};
use crate::support::{
    PATIENCE,
    postgres::Postgres,
    runs::name,
    soon,
    world::{halting, slot_run, t},
};

/// How long a lease lasts, as a test may rely on it.
const LEASE: Duration = Duration::from_secs(5);

/// Opens a database as a replica.
async fn replica(url: &str, name: &str) -> SqlStore {
    SqlStore::open_at(&at(url, name).1).await.expect("a store")
}

async fn holds(store: &SqlStore) -> bool {
    matches!(store.hold("").await.expect("an answer"), Lease::Held { .. })
}

fn elsewhere(holder: &str) -> Lease {
    Lease::Elsewhere { holder: holder.to_owned(), configuration: Configuration::Same }
}

#[tokio::test]
async fn stale_lease_writes_nothing_and_anybody_takes_in_what_comes_from_outside() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, replica(&url, "two").await);
    assert!(matches!(one.commit(&[adopt("09:00:00")]).await, Err(StoreError::Fenced)), "never asked for it");
    assert!(holds(&one).await);
    assert_eq!(two.hold("").await.expect("an answer"), elsewhere("one"));
    assert!(matches!(two.commit(&[adopt("09:00:00")]).await, Err(StoreError::Fenced)));
    assert_eq!(commit(&one, adopt("09:00:00")).await, Committed::Done);
    // Each says what it decides by; one that does not is taken for the same.
    for (active, standing_by, configuration) in [
        ("this", "this", Configuration::Same),
        ("this", "other", Configuration::Differs),
        ("", "other", Configuration::Same),
        ("this", "", Configuration::Same),
    ] {
        one.release(Duration::ZERO).await.expect("a write");
        assert!(matches!(one.hold(active).await, Ok(Lease::Held { .. })));
        let expected = Lease::Elsewhere { holder: "one".to_owned(), configuration };
        assert_eq!(two.hold(standing_by).await.expect("an answer"), expected, "{active}, {standing_by}");
    }
    // One that is reloaded says so at once, however lately it was asked or wrote.
    assert!(matches!(one.hold("this").await, Ok(Lease::Held { .. })));
    assert!(matches!(one.hold("next").await, Ok(Lease::Held { .. })));
    let expected = Lease::Elsewhere { holder: "one".to_owned(), configuration: Configuration::Differs };
    assert_eq!(two.hold("this").await.expect("an answer"), expected);
    // A program of before takes it, and says nothing: what stands there is its predecessor's.
    one.release(Duration::ZERO).await.expect("a write");
    assert!(matches!(one.hold("this").await, Ok(Lease::Held { .. })));
    server.sql("two", "UPDATE lease SET holder = 'old', fence = fence + 1");
    assert_eq!(two.hold("other").await.expect("an answer"), elsewhere("old"));
    server.sql("two", "UPDATE lease SET holder = NULL");
    assert!(holds(&one).await);
    // A standby takes in what comes from outside.
    assert_eq!(record(&two, arrival("s", "e-1", vec![slot_run(AT)])).await.expect("a write"), Recorded::New);
    assert_eq!(record(&one, arrival("s", "e-1", vec![slot_run(AT)])).await.expect("a write"), Recorded::Known);
    two.quarantine(vec![quarantined("q", "m-1", "bad")]).await.expect("a write");
    two.set_halt(halting(HaltRunning::Stop)).await.expect("a write");
    assert_eq!(two.request_stop(slot_run(AT).id, stop_request("ann")).await.expect("a write"), Found::Yes);
    assert_eq!(format!("{:?}", rows(&one).await), format!("{:?}", rows(&two).await));

    one.release(Duration::ZERO).await.expect("a write");
    assert!(holds(&two).await, "at once");
    one.release(Duration::ZERO).await.expect("it is not its own any more");
    assert!(holds(&two).await);
    let before = server.sql("two", "TABLE journal; TABLE cursors; TABLE couriers; SELECT revision FROM runs");
    let fenced = |error: Result<(), StoreError>| assert!(matches!(error, Err(StoreError::Fenced)), "{error:?}");
    fenced(one.commit(&[advance(&slot_run(AT), skip()).1]).await.map(|_| ()));
    fenced(one.prune(t(AT) + SignedDuration::from_hours(9_000), SignedDuration::ZERO, 1, &[]).await.map(|_| ()));
    fenced(one.move_courier("bus", 1).await);
    fenced(one.move_courier_to_end("bus").await);
    assert_eq!(one.hold("").await.expect("an answer"), elsewhere("two"));
    let after = server.sql("two", "TABLE journal; TABLE cursors; TABLE couriers; SELECT revision FROM runs");
    assert_eq!(before, after);
    assert_eq!(commit(&two, advance(&slot_run(AT), skip()).1).await, Committed::Done);
}

#[tokio::test]
async fn number_that_was_lost_with_its_server_is_given_to_nobody_again() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, replica(&url, "two").await);
    let before = server.sql("two", "SELECT fence FROM lease");
    assert!(holds(&one).await);
    // A server that followed the lost one had not heard of it, and takes over.
    server.sql("two", &format!("UPDATE lease SET holder = NULL, fence = {before}"));
    assert!(holds(&two).await);
    assert!(matches!(one.commit(&[adopt("09:00:00")]).await, Err(StoreError::Fenced)));
    assert_eq!(one.hold("").await.expect("an answer"), elsewhere("two"));
    assert_eq!(commit(&two, adopt("09:00:00")).await, Committed::Done);
}

#[tokio::test]
async fn lease_that_is_given_back_is_heard_of() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, Arc::new(replica(&url, "two").await));
    let listening = tokio::spawn({
        let two = Arc::clone(&two);
        async move { two.listen().await }
    });
    let listens = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    soon("who listens", async || (server.sql("two", listens) == "1").then_some(())).await;
    for _ in 0..2 {
        assert!(holds(&one).await);
        one.release(Duration::ZERO).await.expect("a write");
        tokio::time::timeout(PATIENCE, two.freed()).await.expect("word of it");
        // The server ends what listens, as when it is started again.
        server.sql("two", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'");
        soon("who listens again", async || (server.sql("two", listens) == "1").then_some(())).await;
    }
    listening.abort();
}

/// What a replica does besides is no sign that its engine lives.
#[tokio::test]
async fn courier_keeps_no_lease_alive() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, replica(&url, "two").await);
    assert!(holds(&one).await);
    soon("a lease that no engine renews", async || {
        let is_taken = holds(&two).await;
        let carried = one.move_courier("bus", 1).await;
        assert_eq!(matches!(carried, Err(StoreError::Fenced)), is_taken, "{carried:?}");
        is_taken.then_some(())
    })
    .await;
}

#[tokio::test]
async fn halts_at_two_replicas_at_once_are_all_heard() {
    let server = Postgres::start();
    let url = server.database("two");
    halt_at_once(&[&replica(&url, "one").await, &replica(&url, "two").await]).await;
}

#[tokio::test]
async fn lease_is_taken_when_it_was_seen_to_run_out_and_the_old_holder_is_fenced() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, replica(&url, "two").await);
    let asked = Instant::now();
    let Lease::Held { until: Some(until) } = one.hold("").await.expect("an answer") else { panic!("not held") };
    assert!(until > asked && until < asked + LEASE, "nobody else can have it before");
    assert_eq!(two.hold("").await.expect("an answer"), elsewhere("one"));
    let mut fences = BTreeSet::from([server.sql("two", "SELECT fence FROM lease")]);
    // A commit renews it: what was seen before says nothing any more.
    commit(&one, adopt("09:00:00")).await;
    let renewed = Instant::now();
    soon("a lease that nobody renews", async || holds(&two).await.then_some(())).await;
    assert!(renewed.elapsed() >= LEASE, "after {:?}: the old holder may still act", renewed.elapsed());
    assert!(holds(&two).await);
    assert!(matches!(one.commit(&[adopt("08:00:00")]).await, Err(StoreError::Fenced)));
    assert_eq!(one.hold("").await.expect("an answer"), elsewhere("two"), "it has heard of it");
    assert_eq!(rows(&two).await.cursors[&(name("probe"), name("nightly"))], t("09:00:00").into());
    fences.insert(server.sql("two", "SELECT fence FROM lease"));
    // Taken back it is another lease: what the first one had under way is not this one's.
    two.release(Duration::ZERO).await.expect("a write");
    assert!(holds(&one).await);
    let fence = server.sql("two", "SELECT fence FROM lease");
    assert!(fences.insert(fence.clone()), "{fence} was another one's");
}

#[tokio::test]
async fn clock_of_the_server_that_is_set_hands_nobody_the_lease_and_keeps_none_alive() {
    let server = Postgres::start();
    let url = server.database("two");
    let (one, two) = (replica(&url, "one").await, replica(&url, "two").await);
    for set in ["- interval '1 h'", "+ interval '1 h'"] {
        assert!(holds(&one).await);
        let Lease::Held { until: Some(until) } = one.hold("").await.expect("an answer") else { panic!("not held") };
        // What was written an hour ago by the clock of the server, or will be.
        server.sql("two", &format!("UPDATE lease SET renewed_at = renewed_at {set}"));
        soon("a lease that nobody renews", async || {
            let is_taken = holds(&two).await;
            assert!(!is_taken || Instant::now() > until, "the old holder may still act");
            is_taken.then_some(())
        })
        .await;
        two.release(Duration::ZERO).await.expect("a write");
        assert!(matches!(one.commit(&[adopt("08:00:00")]).await, Err(StoreError::Fenced)));
        assert!(holds(&one).await);
    }
}

#[tokio::test]
async fn older_program_works_on_beside_what_was_added_and_is_cut_off_by_what_was_taken_away() {
    let server = Postgres::start();
    let url = server.database("two");
    let one = replica(&url, "one").await;
    assert!(holds(&one).await);
    server.sql(
        "two",
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
             VALUES (9999, 'later', true, '', 0);
         ALTER TABLE runs ADD COLUMN later TEXT; UPDATE schema SET version = 9999",
    );
    commit(&one, adopt("09:00:00")).await;
    let two = replica(&url, "two").await;
    two.request_runs(vec![slot_run(AT)]).await.expect("a write");
    server.sql("two", "UPDATE schema SET oldest = 9999");
    let said = "a newer version has changed the store: it takes a program that knows schema 9999, and this one knows 9";
    for refused in [
        one.commit(&[adopt("08:00:00")]).await.map(|_| ()),
        one.request_runs(vec![slot_run("11:00:00")]).await.map(|_| ()),
        two.set_halt(Halting::Resume).await.map(|_| ()),
    ] {
        let Err(StoreError::Query { source, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(source.to_string(), said);
    }
    server.sql("two", "UPDATE lease SET holder = NULL");
    let Err(StoreError::Query { source, .. }) = two.hold("").await else { panic!("a lease that it cannot use") };
    assert_eq!(source.to_string(), said);
    assert_eq!(server.sql("two", "SELECT holder FROM lease"), "", "it is left to one that can work");
    let refused = SqlStore::open_at(&at(&url, "three").1).await.expect_err("a refusal");
    assert_eq!(std::error::Error::source(&refused).expect("a source").to_string(), said);
    assert_eq!(rows(&one).await.runs, [slot_run(AT)], "nothing was written");
}
