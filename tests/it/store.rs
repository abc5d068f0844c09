//! The store's contract: what every [`Store`] promises, shown of SQLite, of PostgreSQL and of the simulated one.
//!
//! The rules are functions over any store, each on an empty one that holds the lease. Those of what people and couriers read
//! are shown of both databases.

mod bodies;
mod calendars;
mod couriers;
mod deployments;
mod failing;
mod halts;
mod history;
mod lease;
mod migrations;
mod opening;
mod operators;
mod rules;
mod server;
mod stalled;
mod unreadable;
mod upkeep;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use firedrill::{
    config::settings::{self, State},
    domain::{
        ids::RunId,
        outcome::Outcome,
        plan::{Cursor, Pause, Pausing, StopRequest},
        run::{Observation, Run, RunState, SkipReason, Trigger},
    },
    engine::ports::{
        Arrival, Change, Committed, EventRow, Found, Journaled, Lease, QuarantinedMessage, Recorded, Rows, Store,
        StoreError,
    },
    store::SqlStore,
};
use tempfile::TempDir;

use self::{
    halts::{
        halt_is_changed_as_it_is_and_not_as_it_was_seen, halt_is_set_replaced_and_lifted, halts_at_once_are_all_heard,
    },
    rules::{
        courier_remembers_how_far_it_came, full_quarantine_refuses_and_forgets_nothing,
        start_is_stale_once_a_halt_a_pause_or_a_stop_is_acknowledged,
    },
};
use crate::{
    sim::simulated::{
        nature::{Nature, Pace, Timeline},
        store::MemoryStore,
    },
    support::{
        postgres::Postgres,
        runs::name,
        world::{asked, event_run, read, slot_run, t, trigger},
    },
};

const AT: &str = "10:00:00";

/// Shows rules of every store there is. Those of PostgreSQL share one server, each in a database of its own.
macro_rules! shown_of_all {
    ($($rule:ident)*) => {
        shown_of_databases! { $($rule)* }

        mod simulated {
            $(#[tokio::test]
            async fn $rule() {
                super::$rule(&super::simulated()).await;
            })*
        }
    };
}

/// Shows rules of both databases.
macro_rules! shown_of_databases {
    ($($rule:ident)*) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $rule() {
                let (_folder, store) = $crate::store::empty().await;
                super::$rule(&store).await;
            })*
        }

        #[tokio::test]
        async fn postgres_keeps_every_rule() {
            let server = $crate::support::postgres::Postgres::start();
            $(
                let store = $crate::store::empty_on(&server, stringify!($rule)).await;
                println!("rule: {}", stringify!($rule));
                $rule(&store).await;
                store.close().await;
            )*
        }
    };
}
pub use crate::support::store::empty;
use shown_of_databases;

/// An empty store of a server, which holds the lease.
pub async fn empty_on(server: &Postgres, database: &str) -> SqlStore {
    let store = SqlStore::open_at(&at(&server.database(database), database).1).await.expect("a store");
    assert!(matches!(store.hold("").await, Ok(Lease::Held { .. })), "nobody else is there");
    store
}

/// A state directory of its own, and where the store is besides.
pub fn at(url: &str, replica: &str) -> (TempDir, State) {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, replica) = (url.to_owned(), Some(replica.to_owned()));
    let state = State {
        directory: folder.path().join("state"),
        postgres: Some(settings::Postgres { url, password_file: None, replica }),
    };
    (folder, state)
}

/// A simulated store without faults.
pub fn simulated() -> MemoryStore {
    let nature = Nature::with_pace(1, t("09:00:00"), Timeline::Dropped, Pace::Instant);
    MemoryStore::new(Arc::new(nature))
}

pub async fn rows(store: &impl Store) -> Rows {
    store.load().await.expect("rows")
}

/// Opens the slots of `probe/nightly` up to an instant.
fn open_slots(cursor: &str, runs: Vec<Run>) -> Change {
    Change::OpenSlots { schedule: (name("probe"), name("nightly")), cursor: t(cursor), runs, at: t(AT) }
}

fn adopt(at: &str) -> Change {
    Change::AdoptSchedule { schedule: (name("probe"), name("nightly")), at: t(at) }
}

/// The change that an observation makes of a run.
pub fn advance(run: &Run, observation: Observation) -> (Run, Change) {
    let next = run.clone().apply(&observation, t(AT)).expect("one that can follow");
    let (run, definition, explained) = (Box::new(next.clone()), None, Vec::new());
    let change = Change::Advance { run, observation, journal: Journaled::Yes, definition, explained, at: t(AT) };
    (next, change)
}

pub async fn commit(store: &impl Store, change: Change) -> Committed {
    let committed = store.commit(&[change]).await.expect("a commit");
    committed.into_iter().next().expect("an answer")
}

pub fn skip() -> Observation {
    Observation::Skipped { reason: SkipReason::Removed }
}

fn stop_request(by: &str) -> StopRequest {
    StopRequest { at: t(AT), by: by.to_owned(), reason: None }
}

fn arrival(source: &str, id: &str, runs: Vec<Run>) -> Arrival {
    let (source, event_id, detail_type) = (source.to_owned(), id.to_owned(), "Done".to_owned());
    Arrival { event: EventRow { source, event_id, detail_type, received_at: t(AT), queue: None, body: None }, runs }
}

/// Records one event.
async fn record(store: &impl Store, arrival: Arrival) -> Result<Recorded, StoreError> {
    store.record_events(vec![arrival]).await.map(|recorded| recorded[0])
}

async fn adopted_cursor_is_set_once_moves_forward_only_and_is_forgotten(store: &impl Store) {
    let key = (name("probe"), name("nightly"));
    let cursor = async || rows(store).await.cursors.get(&key).copied();
    assert_eq!(commit(store, adopt("09:00:00")).await, Committed::Done);
    assert_eq!(commit(store, adopt("08:00:00")).await, Committed::Stale);
    assert_eq!(cursor().await, Some(t("09:00:00").into()));
    commit(store, open_slots("10:00:00", vec![slot_run("10:00:00")])).await;
    commit(store, open_slots("09:30:00", vec![slot_run("09:30:00")])).await;
    assert_eq!(cursor().await, Some(t("10:00:00").into()), "never back");
    let left_at = Some(t("10:30:00"));
    let leave = || Change::LeaveSchedule { schedule: key.clone(), at: t("10:30:00") };
    for (back, at, ends_at) in [
        (adopt("10:40:00"), "10:00:00", "10:40:00"),
        (adopt("10:20:00"), "10:40:00", "10:40:00"),
        (open_slots("10:50:00", vec![slot_run("10:50:00")]), "10:40:00", "10:50:00"),
    ] {
        commit(store, leave()).await;
        assert_eq!(cursor().await, Some(Cursor { at: t(at), left_at }), "where it was");
        assert_eq!(commit(store, back).await, Committed::Done);
        assert_eq!(cursor().await, Some(t(ends_at).into()), "back, and never further back");
    }
    let forget = || Change::ForgetSchedule { schedule: key.clone() };
    commit(store, forget()).await;
    assert_eq!(cursor().await, Some(t("10:50:00").into()), "told of late: it is back");
    commit(store, leave()).await;
    commit(store, forget()).await;
    assert_eq!(cursor().await, None);
    commit(store, open_slots("11:00:00", vec![slot_run("11:00:00")])).await;
    commit(store, leave()).await;
    assert_eq!(cursor().await, None, "a schedule that is gone has no cursor");
}

async fn slots_are_opened_once_whoever_asks_again(store: &impl Store) {
    commit(store, adopt("09:00:00")).await;
    let run = slot_run("10:00:00");
    assert_eq!(commit(store, open_slots("10:00:00", vec![run.clone()])).await, Committed::Done);
    let (begun, change) = advance(&run, skip());
    commit(store, change).await;
    assert!(begun.is_over());
    // The same slot, and a fresh copy of the run: what was decided stays.
    assert_eq!(commit(store, open_slots("10:00:00", vec![run.clone()])).await, Committed::Stale);
    assert_eq!(store.request_runs(vec![run]).await.expect("a write"), Recorded::Known);
    assert_eq!(rows(store).await.runs, []);
    let both = vec![slot_run("10:00:00"), slot_run("11:00:00")];
    assert_eq!(commit(store, open_slots("11:00:00", both)).await, Committed::Done);
    assert_eq!(rows(store).await.runs, [slot_run("11:00:00")], "known runs are left as they are");
}

async fn run_advances_from_its_own_revision_only(store: &impl Store) {
    let run = slot_run(AT);
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let (asked, start) = advance(
        &run,
        Observation::StartAsked {
            place: Default::default(),
            template_id: "E".into(),
            facts: None,
            place_facts: None,
            ties: None,
        },
    );
    let (_, skipped) = advance(&run, skip());
    assert_eq!(commit(store, start.clone()).await, Committed::Done);
    assert_eq!(commit(store, skipped).await, Committed::Stale, "computed from an older row");
    assert_eq!(commit(store, start).await, Committed::Stale, "once");
    assert_eq!(rows(store).await.runs, [asked]);
    let (_, unknown) = advance(&slot_run("11:00:00"), skip());
    assert_eq!(commit(store, unknown).await, Committed::Stale, "a run that was never recorded");
    assert_eq!(rows(store).await.runs.len(), 1);
}

async fn runs_opened_together_keep_their_order(store: &impl Store) {
    // All at one instant, as slots of one pass are: who comes first decides who has to wait.
    let at = |slot: String| {
        let mut run = slot_run(&slot);
        run.opened_at = t("12:00:00");
        run
    };
    let runs: Vec<Run> = (0..20).map(|minute| at(format!("11:{minute:02}:00"))).collect();
    commit(store, adopt("10:00:00")).await;
    commit(store, open_slots("11:30:00", runs.clone())).await;
    assert_eq!(rows(store).await.runs, runs);
}

async fn pause_is_set_replaced_and_lifted_with_the_failures_of_before(store: &impl Store) {
    let run = asked(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let class = firedrill::domain::fis::FailureClass::Denied;
    let refused = Observation::StartRefused { class, message: String::new(), retry_at: t(AT) };
    let (run, change) = advance(&run, refused);
    commit(store, change).await;
    let outcome = firedrill::domain::outcome::Outcome::NotStarted { class, message: String::new() };
    commit(store, advance(&run, Observation::Finished { outcome }).1).await;
    let probe = name("probe");
    assert!(rows(store).await.ledgers[&probe].failing.is_some());
    for reason in ["first", "second"] {
        let pause = Pause { at: t(AT), by: "ann".to_owned(), reason: Some(reason.to_owned()), until: None };
        store.set_pause(probe.clone(), Pausing::Pause(pause.clone())).await.expect("a write");
        assert_eq!(rows(store).await.pauses[&probe].in_force(t(AT)), Some(&pause));
    }
    assert!(rows(store).await.ledgers[&probe].failing.is_some(), "a pause forgives nothing");
    store.set_pause(probe.clone(), Pausing::Resume).await.expect("a write");
    let all = rows(store).await;
    assert_eq!(all.pauses[&probe].in_force(t(AT)), None);
    assert!(all.ledgers[&probe].failing.is_none());
}

async fn changes_of_one_transaction_are_each_made_or_stale(store: &impl Store) {
    let known = slot_run("09:00:00");
    store.request_runs(vec![known.clone()]).await.expect("a write");
    let (asked, start) = advance(
        &known,
        Observation::StartAsked {
            place: Default::default(),
            template_id: "E".into(),
            facts: None,
            place_facts: None,
            ties: None,
        },
    );
    let (_, opened_and_over) = advance(&slot_run("10:00:00"), skip());
    let (_, unknown) = advance(&slot_run("08:00:00"), skip());
    let opened = vec![known.clone(), slot_run("10:00:00"), slot_run("11:00:00")];
    let changes =
        [adopt("09:00:00"), start, unknown, open_slots("11:00:00", opened), open_slots("11:00:00", Vec::new())];
    use Committed::{Done, Stale};
    let committed = store.commit(&changes).await.expect("a commit");
    assert_eq!(committed, [Done, Done, Stale, Done, Stale]);
    let all = rows(store).await;
    assert_eq!(all.runs, [asked, slot_run("10:00:00"), slot_run("11:00:00")]);
    assert_eq!(all.cursors[&(name("probe"), name("nightly"))], t("11:00:00").into());
    assert_eq!(all.ledgers[&known.experiment].begun[&name("nightly")], 1);
    let schedule = (name("probe"), name("nightly"));
    let leave = Change::LeaveSchedule { schedule: schedule.clone(), at: t("11:30:00") };
    let gone = [opened_and_over, leave, Change::ForgetSchedule { schedule }];
    assert_eq!(store.commit(&gone).await.expect("a commit"), [Done, Done, Done]);
    assert_eq!(store.commit(&[]).await.expect("a commit"), []);
    assert_eq!(rows(store).await.cursors, BTreeMap::new());
}

async fn keys_differ_by_any_character(store: &impl Store) {
    // What separates the two is foreign text that came in an event.
    let run = |id: &str| {
        let mut run = event_run(AT, trigger("deploy", 0, 0));
        if let Trigger::Event { event_id, .. } = &mut run.trigger {
            *event_id = id.to_owned();
        }
        run.id = RunId::derive(&run.experiment, &run.trigger.key());
        run
    };
    let runs: Vec<Run> = ["a\0b", "a\0c", "a\u{1}", "\"a\\", "ä"].map(run).to_vec();
    assert_eq!(record(store, arrival("deploy", "e-1", runs.clone())).await.expect("a write"), Recorded::New);
    assert_eq!(rows(store).await.runs.len(), runs.len());
}

async fn open_runs_are_loaded_oldest_first_with_everything_known_of_them(store: &impl Store) {
    let full = asked(read(event_run("10:00:00", trigger("deploy", 5, 60)), "10:00:06", 600), "10:00:06");
    store.request_runs(vec![slot_run("12:00:00")]).await.expect("a write");
    store.request_runs(vec![full.clone()]).await.expect("a write");
    store.request_runs(vec![slot_run("11:00:00")]).await.expect("a write");
    let mut over = slot_run("09:00:00");
    over.state = RunState::Finished { outcome: Outcome::Completed, at: t(AT) };
    store.request_runs(vec![over]).await.expect("a write");
    assert_eq!(rows(store).await.runs, [full, slot_run("11:00:00"), slot_run("12:00:00")]);
}

async fn event_is_known_by_source_and_id_and_recorded_with_its_runs(store: &impl Store) {
    let run = event_run(AT, trigger("deploy", 0, 0));
    let record = async |source: &str, id: &str, runs| record(store, arrival(source, id, runs)).await.expect("a write");
    assert_eq!(record("deploy", "e-1", vec![run.clone()]).await, Recorded::New);
    assert_eq!(record("deploy", "e-1", vec![run.clone()]).await, Recorded::Known);
    assert_eq!(rows(store).await.runs, std::slice::from_ref(&run), "a known event opens nothing");
    // Without a match it is known all the same.
    assert_eq!(record("other", "e-1", Vec::new()).await, Recorded::New);
    assert_eq!(record("other", "e-1", Vec::new()).await, Recorded::Known);
    assert_eq!(record("deploy", "e-2", vec![run.clone()]).await, Recorded::New);
    // A message that comes again opens nothing, whatever the configuration asks for by now.
    let by = |queue: &str, runs: &[Run]| {
        let Arrival { event, runs } = arrival("deploy", "e-3", runs.to_vec());
        store.record_events(vec![Arrival { event: EventRow { queue: Some(queue.to_owned()), ..event }, runs }])
    };
    let renamed = slot_run("12:00:00");
    // Unless it has opened nothing yet: its trigger was missing.
    assert_eq!(by("a", &[]).await.expect("a write"), [Recorded::New]);
    assert_eq!(by("a", std::slice::from_ref(&run)).await.expect("a write"), [Recorded::New]);
    assert_eq!(by("a", std::slice::from_ref(&renamed)).await.expect("a write"), [Recorded::Known]);
    assert_eq!(rows(store).await.runs, std::slice::from_ref(&run));
    // A copy on another queue opens the runs of that queue's triggers, and all of them once.
    let both = vec![run.clone(), slot_run("11:00:00")];
    assert_eq!(record("deploy", "e-1", both.clone()).await, Recorded::New);
    assert_eq!(record("deploy", "e-1", both).await, Recorded::Known);
    assert_eq!(record("deploy", "e-1", vec![slot_run("11:00:00")]).await, Recorded::Known);
    assert_eq!(rows(store).await.runs, [run, slot_run("11:00:00")]);
}

async fn events_of_a_batch_are_each_new_or_known(store: &impl Store) {
    let run = |at| vec![slot_run(at)];
    record(store, arrival("deploy", "e-0", Vec::new())).await.expect("a write");
    let batch = vec![
        arrival("deploy", "e-1", run("10:00:00")),
        arrival("deploy", "e-0", Vec::new()),
        arrival("deploy", "e-1", run("10:00:00")),
        arrival("other", "e-1", Vec::new()),
        arrival("deploy", "e-2", run("13:00:00")),
    ];
    let recorded = store.record_events(batch).await.expect("a write");
    assert_eq!(recorded, [Recorded::New, Recorded::Known, Recorded::Known, Recorded::New, Recorded::New]);
    assert_eq!(rows(store).await.runs, [slot_run("10:00:00"), slot_run("13:00:00")]);
    assert_eq!(store.record_events(Vec::new()).await.expect("a write"), []);
}

async fn stop_is_asked_of_open_runs_only_and_gone_with_them(store: &impl Store) {
    let run = slot_run(AT);
    let ask = async |by: &str| store.request_stop(run.id.clone(), stop_request(by)).await.expect("a write");
    assert_eq!(ask("ann").await, Found::No, "not recorded yet");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    assert_eq!(ask("ann").await, Found::Yes);
    assert_eq!(ask("bob").await, Found::Yes);
    let expected = BTreeMap::from([(run.id.clone(), stop_request("ann"))]);
    assert_eq!(rows(store).await.stops, expected, "the first one counts");
    let (_, change) = advance(&run, skip());
    commit(store, change).await;
    assert_eq!(rows(store).await.stops, BTreeMap::new());
    assert_eq!(ask("ann").await, Found::No, "over");
}

async fn message_is_quarantined_once_and_forgotten_when_told(store: &impl Store) {
    for reason in ["first", "second"] {
        store
            .quarantine(vec![quarantined("q", "m-1", reason), quarantined("q", "m\0\u{10ffff}1", "\0")])
            .await
            .expect("a write");
    }
    for (id, reason) in [("m-1", "first"), ("m\0\u{10ffff}1", "\0")] {
        let kept = store.quarantined_message("q", id).await.expect("a read");
        assert_eq!(kept, Some(quarantined("q", id, reason)));
        assert_eq!(store.quarantined_message("other", id).await.expect("a read"), None);
        assert_eq!(store.forget_quarantined("other", id).await.expect("a write"), Found::No);
        assert_eq!(store.forget_quarantined("q", id).await.expect("a write"), Found::Yes);
        assert_eq!(store.forget_quarantined("q", id).await.expect("a write"), Found::No);
        assert_eq!(store.quarantined_message("q", id).await.expect("a read"), None);
    }
}

async fn lease_is_kept_by_who_holds_it_and_taken_again_after_its_release(store: &impl Store) {
    for _ in 0..2 {
        assert!(matches!(store.hold("").await, Ok(Lease::Held { .. })));
        commit(store, adopt("09:00:00")).await;
        store.release(Duration::ZERO).await.expect("a write");
        store.release(Duration::ZERO).await.expect("a write");
    }
    // What comes from outside anybody may write.
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    assert!(matches!(store.hold("").await, Ok(Lease::Held { .. })));
    assert_eq!(commit(store, advance(&slot_run(AT), skip()).1).await, Committed::Done);
}

pub fn quarantined(queue: &str, id: &str, reason: &str) -> QuarantinedMessage {
    QuarantinedMessage {
        queue: queue.to_owned(),
        message_id: id.to_owned(),
        received_at: t(AT),
        reason: reason.to_owned(),
        body: "{".to_owned(),
        body_bytes: 1,
    }
}

shown_of_all! {
    adopted_cursor_is_set_once_moves_forward_only_and_is_forgotten
    slots_are_opened_once_whoever_asks_again
    run_advances_from_its_own_revision_only
    changes_of_one_transaction_are_each_made_or_stale
    keys_differ_by_any_character
    open_runs_are_loaded_oldest_first_with_everything_known_of_them
    event_is_known_by_source_and_id_and_recorded_with_its_runs
    events_of_a_batch_are_each_new_or_known
    stop_is_asked_of_open_runs_only_and_gone_with_them
    halt_is_set_replaced_and_lifted
    halt_is_changed_as_it_is_and_not_as_it_was_seen
    halts_at_once_are_all_heard
    runs_opened_together_keep_their_order
    pause_is_set_replaced_and_lifted_with_the_failures_of_before
    message_is_quarantined_once_and_forgotten_when_told
    full_quarantine_refuses_and_forgets_nothing
    lease_is_kept_by_who_holds_it_and_taken_again_after_its_release
    start_is_stale_once_a_halt_a_pause_or_a_stop_is_acknowledged
    courier_remembers_how_far_it_came
}

/// The run that a store holds under an id.
async fn stored(store: &SqlStore, id: &RunId) -> Run {
    store.run(id).await.expect("a read").expect("a run")
}
