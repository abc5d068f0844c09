//! Rules of the contract about what comes too late, about rows that nobody can read, and about couriers.
//!
//! Of a file there is only one replica, and its lock is its lease: rules of two are shown of a server and of the simulated
//! store.

use std::{sync::Arc, time::Duration};

use firedrill::{
    domain::{
        ids::RunId,
        outcome::Outcome,
        plan::{HaltRunning, Halting, Pause, Pausing, Withheld},
        run::{Observation, Run},
    },
    engine::ports::{Change, Committed, Found, Journal, Lease, QuarantinedMessage, Store, StoreError},
    store::{SqlStore, sql::MAX_QUARANTINED},
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;
use tokio::time::Instant;

use super::{adopt, advance, at, empty, empty_on, opening::connect, quarantined, rows, simulated, stop_request};
use crate::{
    sim::{
        simulated::{lease::Seat, store::MemoryStore},
        troubles::unread::Row,
    },
    support::{
        postgres::Postgres,
        runs::name,
        soon,
        world::{facts, halting, running, slot_run, t},
    },
};

/// How long a lease lasts.
const LEASE: Duration = Duration::from_secs(5);

fn start(run: &Run) -> Change {
    let (place, template_id) = (Default::default(), "EXT1".to_owned());
    advance(run, Observation::StartAsked { place, template_id, facts: None, place_facts: None, ties: None }).1
}

/// Every start here is of this instant.
const AT: &str = super::AT;

/// The run of another experiment.
fn of_another(experiment: &str, run: Run) -> Run {
    let experiment = name(experiment);
    Run { id: RunId::derive(&experiment, &run.trigger.key()), experiment, ..run }
}

/// What is kept is not lost for what comes.
pub async fn full_quarantine_refuses_and_forgets_nothing(store: &impl Store) {
    let message = |number: i64| quarantined("q", &format!("m-{number}"), "bad");
    store.quarantine((1..MAX_QUARANTINED).map(message).collect()).await.expect("kept");
    let refused = store.quarantine(vec![message(0), message(-1)]).await;
    assert!(matches!(refused, Err(StoreError::Full)), "one too many: {refused:?}");
    store.quarantine(vec![message(0)]).await.expect("kept");
    store.quarantine(vec![message(0), message(1)]).await.expect("known");
    assert!(matches!(store.quarantine(vec![message(1), message(-1)]).await, Err(StoreError::Full)));
    let twice = vec![message(2), QuarantinedMessage { reason: "other".to_owned(), ..message(2) }];
    store.quarantine(twice).await.expect("known");
    assert_eq!(store.quarantined_message("q", "m-2").await.expect("a read"), Some(message(2)));
    assert_eq!(store.quarantined_message("q", "m--1").await.expect("a read"), None);
    assert_eq!(store.forget_quarantined("q", "m-7").await.expect("a write"), Found::Yes);
    store.quarantine(vec![message(-1)]).await.expect("there is room again");
}

/// A start is of rows that were loaded some time ago: whoever halts, pauses or stops since then is heard all the same.
pub async fn start_is_stale_once_a_halt_a_pause_or_a_stop_is_acknowledged(store: &impl Store) {
    let [first, second, third] = ["09:00:00", "09:10:00", "09:20:00"].map(slot_run);
    let other = of_another("other", slot_run("09:30:00"));
    let runs = vec![first.clone(), second.clone(), third.clone(), other.clone()];
    store.request_runs(runs.clone()).await.expect("a write");
    let commit = async |changes: &[Change]| store.commit(changes).await.expect("a commit");
    use Committed::{Done, Stale};

    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    let read = advance(&third, Observation::TemplateRead { facts: facts(60, t(AT)) });
    assert_eq!(commit(&[start(&first), read.1, start(&other)]).await, [Stale, Done, Stale], "only starts are");
    let third = read.0;
    assert_eq!(rows(store).await.runs, [first.clone(), second.clone(), third.clone(), other.clone()]);
    store.set_halt(Halting::Resume).await.expect("a write");

    let pause = |until: Option<&str>| {
        let (at, by) = (t("09:50:00"), "ann".to_owned());
        store.set_pause(name("probe"), Pausing::Pause(Pause { at, by, reason: None, until: until.map(t) }))
    };
    for until in [None, Some("10:00:01")] {
        pause(until).await.expect("a write");
        assert_eq!(commit(&[start(&first)]).await, [Stale], "{until:?}");
    }
    assert_eq!(commit(&[start(&other)]).await, [Done], "another experiment");
    pause(Some(AT)).await.expect("a write");
    assert_eq!(store.request_stop(second.id.clone(), stop_request("ann")).await.expect("a write"), Found::Yes);
    assert_eq!(commit(&[start(&first), start(&second)]).await, [Done, Stale], "the pause is over, the stop is not");
    store.set_pause(name("probe"), Pausing::Resume).await.expect("a write");
    assert_eq!(commit(&[start(&third)]).await, [Done]);
}

/// A position never goes back.
pub async fn courier_remembers_how_far_it_came(store: &(impl Store + Journal)) {
    let position = async |courier| store.courier(courier).await.expect("a read");
    assert_eq!(position("bus").await, 0);
    for (seq, expected) in [(3, 3), (7, 7), (5, 7)] {
        store.move_courier("bus", seq).await.expect("a write");
        assert_eq!(position("bus").await, expected);
    }
    assert_eq!(position("traces").await, 0);
    store.request_runs(vec![slot_run("10:00:00")]).await.expect("a write");
    for (courier, expected) in [("traces", 1), ("bus", 7)] {
        store.move_courier_to_end(courier).await.expect("a write");
        assert_eq!(position(courier).await, expected, "never back");
    }
}

async fn holds(store: &impl Store) -> bool {
    matches!(store.hold("").await.expect("an answer"), Lease::Held { .. })
}

async fn is_fenced(store: &impl Store) -> bool {
    matches!(store.commit(&[adopt("08:00:00")]).await, Err(StoreError::Fenced))
}

/// Of two replicas one writes, and the other as soon as that one has given the lease back.
async fn stale_commit_is_fenced(one: &impl Store, two: &impl Store) {
    assert!(is_fenced(one).await, "never asked for it");
    assert!(holds(one).await && !holds(two).await);
    assert!(is_fenced(two).await);
    assert_eq!(one.commit(&[adopt("09:00:00")]).await.expect("a commit"), [Committed::Done]);
    two.release(Duration::ZERO).await.expect("a write");
    assert!(holds(one).await, "it was nobody else's to give back");
    one.release(Duration::ZERO).await.expect("a write");
    assert!(holds(two).await, "at once");
    assert!(is_fenced(one).await);
    let cursors = rows(two).await.cursors;
    assert_eq!(cursors.into_values().collect::<Vec<_>>(), [t("09:00:00").into()], "nothing that is stale was written");
    let schedule = (name("probe"), name("nightly"));
    let leave = Change::LeaveSchedule { schedule: schedule.clone(), at: t("09:30:00") };
    let gone = [leave, Change::ForgetSchedule { schedule }];
    assert_eq!(two.commit(&gone).await.expect("a commit"), [Committed::Done, Committed::Done]);
    // What comes from outside anybody takes in.
    one.request_runs(vec![slot_run(AT)]).await.expect("a write");
    two.release(Duration::ZERO).await.expect("a write");
}

/// A lease that was seen to stay the same for as long as it lasts is another's, and not before.
async fn lease_that_is_seen_still_changes_hands(one: &impl Store, two: &impl Store) {
    assert!(holds(one).await && !holds(two).await);
    assert!(holds(one).await, "it is kept");
    let renewed = Instant::now();
    soon("a lease that nobody renews", async || holds(two).await.then_some(())).await;
    assert!(renewed.elapsed() + Duration::from_secs(1) >= LEASE, "after {:?}", renewed.elapsed());
    assert!(is_fenced(one).await && !holds(one).await, "it has heard of it");
    assert!(holds(two).await);
}

/// A lease that is left to others is theirs at once; who left it has it again where nobody else takes it.
async fn lease_that_is_left_goes_to_another_or_comes_back(one: &impl Store, two: &impl Store) {
    const LONG: Duration = Duration::from_secs(600);
    two.release(Duration::ZERO).await.expect("a write");
    assert!(holds(one).await);
    one.release(LONG).await.expect("a write");
    assert_eq!(one.hold("").await.expect("an answer"), Lease::Free, "it is left to others");
    let left = Instant::now();
    soon("a lease that nobody takes", async || holds(one).await.then_some(())).await;
    assert!(left.elapsed() < LEASE, "after {:?}", left.elapsed());
    one.release(LONG).await.expect("a write");
    assert!(holds(two).await, "at once");
    // Now both leave it to others.
    two.release(LONG).await.expect("a write");
    soon("a lease that nobody takes", async || {
        assert_eq!(one.hold("").await.expect("an answer"), Lease::Free, "it stays where it was");
        holds(two).await.then_some(())
    })
    .await;
    two.release(LONG).await.expect("a write");
    let left = Instant::now();
    soon("a lease whose holder is gone", async || holds(one).await.then_some(())).await;
    assert!(left.elapsed() + Duration::from_secs(1) >= LEASE, "after {:?}", left.elapsed());
}

#[tokio::test]
async fn two_replicas_of_a_server_keep_the_rules_of_the_lease() {
    let server = Postgres::start();
    let url = server.database("two");
    let open = async |replica| SqlStore::open_at(&at(&url, replica).1).await.expect("a store");
    let (one, two) = (open("one").await, open("two").await);
    stale_commit_is_fenced(&one, &two).await;
    lease_that_is_seen_still_changes_hands(&one, &two).await;
    lease_that_is_left_goes_to_another_or_comes_back(&one, &two).await;
}

#[tokio::test(start_paused = true)]
async fn two_simulated_replicas_keep_the_rules_of_the_lease() {
    let store = simulated();
    store.with(|tables| tables.lease.ttl_ms = Some(5_000));
    let [one, two] = [0, 1].map(|replica| store.seat(Seat { number: replica as u64, replica, since: 0 }));
    stale_commit_is_fenced(&one, &two).await;
    lease_that_is_seen_still_changes_hands(&one, &two).await;
    lease_that_is_left_goes_to_another_or_comes_back(&one, &two).await;
}

/// What is to become unreadable.
enum Spoilt<'a> {
    Run(&'a RunId),
    Pause(&'a str),
    Stop(&'a RunId),
    Ledger(&'a str),
    Halt,
}

impl Spoilt<'_> {
    /// Spoils it in a database.
    fn sql(&self) -> String {
        match self {
            Self::Run(id) => format!("UPDATE runs SET body = '{{' WHERE id = '{id}'"),
            Self::Pause(experiment) => format!("UPDATE pauses SET body = '{{' WHERE experiment = '{experiment}'"),
            Self::Stop(id) => format!("UPDATE stop_requests SET body = '{{' WHERE run = '{id}'"),
            Self::Ledger(experiment) => format!("UPDATE ledgers SET body = '{{' WHERE experiment = '{experiment}'"),
            Self::Halt => "UPDATE halt SET body = '{'".to_owned(),
        }
    }

    /// Spoils it in the simulated store.
    fn simulated(&self, store: &MemoryStore) {
        let row = match self {
            Self::Run(id) => Row::Run((*id).clone()),
            Self::Pause(experiment) => Row::Pause(name(experiment)),
            Self::Stop(id) => Row::Stop((*id).clone()),
            Self::Ledger(experiment) => Row::Ledger(name(experiment)),
            Self::Halt => Row::Halt,
        };
        store.with(|tables| tables.spoil(row));
    }
}

/// A row that cannot be read is told, and nothing starts that it may be about; what else there is can be read.
async fn unreadable_row_is_withheld(store: &impl Store, spoil: impl AsyncFn(Spoilt<'_>)) {
    let [waits, stops] = ["09:00:00", "09:10:00"].map(slot_run);
    let paused = of_another("paused", slot_run("09:20:00"));
    let goes_on = of_another("goes-on", running(slot_run("09:30:00"), "09:30:00"));
    let runs = vec![waits.clone(), stops.clone(), paused.clone(), goes_on.clone()];
    store.request_runs(runs).await.expect("a write");
    store.request_stop(stops.id.clone(), stop_request("ann")).await.expect("a write");
    let pause = Pause { at: t("08:00:00"), by: "ann".to_owned(), reason: None, until: Some(t("08:30:00")) };
    store.set_pause(paused.experiment.clone(), Pausing::Pause(pause)).await.expect("a write");
    let withheld = |names: &[&str]| Withheld::Some(names.iter().map(|text| name(text)).collect());

    spoil(Spoilt::Stop(&stops.id)).await;
    let all = rows(store).await;
    assert!(all.unreadable.is_some() && all.stops.contains_key(&stops.id), "it counts as a stop");
    assert_eq!((all.runs.len(), &all.withheld), (4, &withheld(&[])));
    spoil(Spoilt::Run(&waits.id)).await;
    let all = rows(store).await;
    assert_eq!((all.runs, all.withheld), (vec![stops.clone(), paused.clone(), goes_on.clone()], withheld(&["probe"])));
    assert!(all.unread.is_empty());
    spoil(Spoilt::Pause("paused")).await;
    assert_eq!(rows(store).await.withheld, withheld(&["paused", "probe"]));
    let asked = store.commit(&[start(&paused)]).await.expect("a commit");
    assert_eq!(asked, [Committed::Stale], "nobody knows whether it is over");
    spoil(Spoilt::Run(&goes_on.id)).await;
    let all = rows(store).await;
    assert_eq!((all.runs, all.withheld), (vec![stops, paused], Withheld::All));
    assert_eq!(all.unread, [goes_on.id].into());
    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    spoil(Spoilt::Halt).await;
    assert_eq!(rows(store).await.halt.map(|halt| halt.running), Some(HaltRunning::Stop), "the stricter one");
    assert!(matches!(store.halted().await, Err(StoreError::Row { .. })));
    assert_eq!(store.set_halt(Halting::Resume).await.expect("a change over it"), None);
    assert_eq!(rows(store).await.halt, None);
}

/// Gaps of groups and the budget of a month go by the ledgers of others.
async fn unreadable_ledger_withholds_all(store: &impl Store, spoil: impl AsyncFn(Spoilt<'_>)) {
    let ended = of_another("ended", running(slot_run("09:00:00"), "09:00:00"));
    let other = slot_run("09:10:00");
    store.request_runs(vec![ended.clone(), other.clone()]).await.expect("a write");
    let end = advance(&ended, Observation::Finished { outcome: Outcome::Completed }).1;
    assert_eq!(store.commit(&[end]).await.expect("a commit"), [Committed::Done]);
    let all = rows(store).await;
    assert!(all.ledgers.contains_key(&ended.experiment) && all.withheld == Withheld::default());
    spoil(Spoilt::Ledger("ended")).await;
    let all = rows(store).await;
    assert_eq!((all.runs, all.withheld), (vec![other], Withheld::All));
    assert!(all.unreadable.is_some() && all.unread.is_empty() && all.ledgers.is_empty());
}

#[tokio::test]
async fn unreadable_row_of_a_file_is_withheld() {
    let spoil = async |folder: &TempDir, row: Spoilt<'_>| {
        let mut other = connect(&folder.path().join("state")).await;
        sqlx::raw_sql(AssertSqlSafe(row.sql())).execute(&mut other).await.expect("a change");
    };
    let (folder, store) = empty().await;
    unreadable_row_is_withheld(&store, async |row| spoil(&folder, row).await).await;
    let (folder, store) = empty().await;
    unreadable_ledger_withholds_all(&store, async |row| spoil(&folder, row).await).await;
}

#[tokio::test]
async fn unreadable_row_of_a_server_is_withheld() {
    let server = Postgres::start();
    let store = empty_on(&server, "one").await;
    unreadable_row_is_withheld(&store, async |row| _ = server.sql("one", &row.sql())).await;
    let store = empty_on(&server, "two").await;
    unreadable_ledger_withholds_all(&store, async |row| _ = server.sql("two", &row.sql())).await;
}

#[tokio::test]
async fn unreadable_row_of_the_simulated_store_is_withheld() {
    let store = Arc::new(simulated());
    unreadable_row_is_withheld(&*store, async |row| row.simulated(&store)).await;
    let store = Arc::new(simulated());
    unreadable_ledger_withholds_all(&*store, async |row| row.simulated(&store)).await;
}
