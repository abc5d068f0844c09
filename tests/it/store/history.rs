//! What people and couriers read, and what is deleted.

use std::{fs, sync::Arc, time::Duration};

use firedrill::{
    cli::context::now,
    config,
    daemon::housekeeping::{Housekeeper, Vouched},
    domain::run::{JournalEntry, Observation, Run},
    engine::ports::{Arrival, Change, EventRow, Journaled, Recorded, Store, StoreError},
    store::{
        SqlStore,
        history::{EVENTS_KEPT, RunFilter, UNMATCHED_KEPT},
        sql::MAX_QUARANTINED,
    },
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::{
    AT, advance, arrival, commit, empty, opening::connect, quarantined, record, rows, shown_of_databases, skip, stored,
};
use crate::support::{
    log::Lines,
    runs::name,
    soon,
    world::{event_run, facts, read, slot_run, t, trigger},
};

/// How long what is over is kept.
const HISTORY: SignedDuration = SignedDuration::from_hours(1);

fn told(journal: &[JournalEntry]) -> Vec<&'static str> {
    journal.iter().map(|entry| entry.observation.as_str()).collect()
}

async fn request(store: &SqlStore, run: &Run) {
    store.request_runs(vec![run.clone()]).await.expect("a write");
}

/// Records a run that ended at an instant.
async fn ends(store: &SqlStore, run: &Run, at: &str) {
    request(store, run).await;
    let (_, change) = advance(run, skip());
    let Change::Advance { run, observation, journal, definition, explained, .. } = change else { panic!("an advance") };
    commit(store, Change::Advance { run, observation, journal, definition, explained, at: t(at) }).await;
}

async fn journal_tells_everything_in_order_but_polls_without_news(store: &SqlStore) {
    let run = slot_run(AT);
    request(store, &run).await;
    let (run, change) = advance(&run, Observation::TemplateRead { facts: facts(60, t(AT)) });
    commit(store, change).await;
    let (run, change) = advance(&run, Observation::TemplateRead { facts: facts(90, t(AT)) });
    let Change::Advance { run: next, observation, at, .. } = change else { panic!("an advance") };
    let (definition, explained) = (None, Vec::new());
    commit(store, Change::Advance { run: next, observation, journal: Journaled::No, definition, explained, at }).await;
    let (run, change) = advance(&run, skip());
    commit(store, change.clone()).await;
    commit(store, change).await;
    assert_eq!(stored(store, &run.id).await, run);
    let journal = store.journal(&run.id).await.expect("a journal");
    assert_eq!(told(&journal), ["opened", "template-read", "skipped"], "a stale change tells nothing");
    let positions: Vec<i64> = journal.iter().map(|entry| entry.seq).collect();
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    let behind = store.journal_after(positions[0], 1).await.expect("a journal");
    let behind: Vec<JournalEntry> = behind.into_iter().map(|(_, entry)| entry.expect("an entry")).collect();
    assert_eq!(told(&behind), ["template-read"]);
}

async fn run_that_is_over_when_recorded_tells_its_end(store: &SqlStore) {
    let (run, _) = advance(&slot_run(AT), skip());
    request(store, &run).await;
    assert_eq!(told(&store.journal(&run.id).await.expect("a journal")), ["skipped"]);
}

async fn runs_are_found_by_experiment_time_and_prefix(store: &SqlStore) {
    let ours = [slot_run("09:00:00"), slot_run("10:00:00"), slot_run("11:00:00")];
    for run in &ours {
        request(store, run).await;
    }
    let found = async |filter: RunFilter| -> Vec<_> {
        store.runs(&filter).await.expect("a read").into_iter().map(|run| run.opened_at).collect()
    };
    let newest = |limit| RunFilter { limit, ..RunFilter::default() };
    assert_eq!(found(newest(2)).await, [t("11:00:00"), t("10:00:00")]);
    assert_eq!(found(RunFilter { since: Some(t("11:00:00")), ..newest(9) }).await, [t("11:00:00")]);
    assert_eq!(found(RunFilter { experiment: Some(name("other")), ..newest(9) }).await, []);
    let by_prefix = async |prefix: &str| store.runs_by_prefix(prefix).await.expect("a read").len();
    assert_eq!(by_prefix(&ours[0].id.as_str()[..8]).await, 1);
    assert_eq!((by_prefix("").await, by_prefix("%").await, by_prefix("zz").await), (2, 0, 0));
}

async fn last_known_template_is_that_of_the_newest_run_that_read_it(store: &SqlStore) {
    request(store, &read(slot_run("09:00:00"), "09:00:00", 60)).await;
    request(store, &read(slot_run("10:00:00"), "10:00:00", 90)).await;
    request(store, &slot_run("11:00:00")).await;
    let known = store.last_facts(&name("probe")).await.expect("a read");
    assert_eq!(known, Some(facts(90, t("10:00:00"))));
    assert_eq!(store.last_facts(&name("other")).await.expect("a read"), None);
}

async fn event_and_quarantine_are_shown_as_first_recorded(store: &SqlStore) {
    let run = event_run(AT, trigger("deploy", 0, 0));
    record(store, arrival("deploy", "e-1", vec![run.clone()])).await.expect("a write");
    record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write");
    let known = store.events("e-1").await.expect("a read");
    assert_eq!((known.len(), &known[0].runs), (1, &vec![run.id]));
    for (queue, reason) in [("q", "first"), ("q", "second"), ("other", "third")] {
        store.quarantine(vec![quarantined(queue, "m-1", reason)]).await.expect("a write");
    }
    let mut reasons: Vec<_> = store.quarantined(9).await.expect("a read").into_iter().map(|m| m.reason).collect();
    reasons.sort();
    assert_eq!(reasons, ["first", "third"]);
}

async fn pruning_deletes_what_ended_before_and_keeps_open_runs(store: &SqlStore) {
    let (open, over) = (slot_run("09:00:00"), slot_run("10:00:00"));
    request(store, &open).await;
    request(store, &over).await;
    let (over, change) = advance(&over, skip());
    commit(store, change).await;
    record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write");
    store.quarantine(vec![quarantined("q", "m-1", "bad")]).await.expect("a write");
    let prune = async |now| store.prune(now, HISTORY, u32::MAX, &[]).await.expect("a write");
    assert_eq!(prune(t("11:00:00")).await, 0, "what ended at the instant itself stays");
    // A run, two entries of its journal and a message; the event is remembered longer, as a queue may repeat it.
    assert_eq!(prune(t("11:00:01")).await, 4);
    assert_eq!(record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write"), Recorded::Known);
    assert_eq!(rows(store).await.runs, std::slice::from_ref(&open));
    assert_eq!(told(&store.journal(&open.id).await.expect("a journal")), ["opened"]);
    assert_eq!(store.run(&over.id).await.expect("a read"), None);
    assert_eq!(store.journal(&over.id).await.expect("a journal"), []);
    // In the queue, in its dead-letter queue, and in the queue again: FIFO queues count anew in each.
    let retention = SignedDuration::from_hours(14 * 24);
    assert_eq!(prune(t(AT) + retention * 3).await, 0);
    assert_eq!(record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write"), Recorded::Known);
    assert_eq!(prune(t(AT) + EVENTS_KEPT).await, 0);
    assert_eq!(prune(t("10:00:01") + EVENTS_KEPT).await, 1);
    assert_eq!(store.events("e-1").await.expect("a read"), []);
}

/// As that of a machine before it has asked somebody for the time.
async fn pruning_by_a_clock_that_was_ahead_from_the_start_deletes_nothing(store: &SqlStore) {
    ends(store, &slot_run("09:00:00"), AT).await;
    record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write");
    store.quarantine(vec![quarantined("q", "m-1", "bad")]).await.expect("a write");
    let told = store.last_told().await.expect("a read").expect("an entry");
    assert_eq!(told, t(AT));
    let (clock, at, wall) = (Vouched::since(told, Instant::now()), Instant::now(), t(AT) + EVENTS_KEPT * 5);
    let prune = async |lived: u64| {
        let now = clock.now(wall, at + Duration::from_secs(lived));
        store.prune(now, HISTORY, u32::MAX, &[]).await.expect("a write")
    };
    assert_eq!((prune(0).await, prune(3_000).await), (0, 0));
    assert_eq!(record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write"), Recorded::Known);
    // A run, two entries of its journal and a message: this process has seen the hour go by.
    assert_eq!(prune(3_700).await, 4);
    assert_eq!(record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write"), Recorded::Known);
}

async fn time_that_was_told_last_is_that_of_the_last_writer(store: &SqlStore) {
    let told = async || store.last_told().await.expect("a read");
    assert_eq!(told().await, None);
    record(store, arrival("deploy", "e-1", Vec::new())).await.expect("a write");
    assert_eq!(told().await, Some(t(AT)), "of events alone");
    ends(store, &slot_run("09:00:00"), "12:00:00").await;
    assert_eq!(told().await, Some(t("12:00:00")));
    ends(store, &slot_run("09:10:00"), "11:00:00").await;
    assert_eq!(told().await, Some(t("11:00:00")), "the clock was set right meanwhile");
    ends(store, &slot_run("09:20:00"), "2026-09-18T10:00:00Z").await;
    ends(store, &slot_run("2026-09-18T10:05:00Z"), "2026-09-18T10:06:00Z").await;
    assert_eq!(told().await, Some(t("09:26:00")), "six minutes were lived after a leap of half a year");
    ends(store, &slot_run("09:30:00"), "12:00:00").await;
    assert_eq!(told().await, Some(t("11:56:00")), "it was undone");
}

async fn pruning_keeps_no_more_finished_runs_than_it_is_told(store: &SqlStore) {
    let runs = ["09:00:00", "09:10:00", "09:20:00", "09:30:00"].map(slot_run);
    for (run, at) in runs.iter().zip(["10:01:00", "10:02:00", "10:02:00"]) {
        ends(store, run, at).await;
    }
    request(store, &runs[3]).await;
    let kept = async |most| {
        store.prune(t("10:03:00"), HISTORY, most, &[]).await.expect("a write");
        let filter = RunFilter { limit: 9, ..RunFilter::default() };
        store.runs(&filter).await.expect("a read").into_iter().map(|run| run.id).collect::<Vec<_>>()
    };
    let ids = |of: &[usize]| of.iter().map(|&at| runs[at].id.clone()).collect::<Vec<_>>();
    assert_eq!(kept(3).await, ids(&[3, 2, 1, 0]));
    assert_eq!(kept(2).await, ids(&[3, 2, 1]), "the oldest goes first");
    assert_eq!(store.journal(&runs[0].id).await.expect("a journal"), []);
    assert_eq!(kept(1).await, ids(&[3]), "those that ended at one instant go together, and an open one is not counted");
    assert_eq!(told(&store.journal(&runs[3].id).await.expect("a journal")), ["opened"]);
}

async fn pruning_keeps_what_a_courier_has_not_carried_up_to_twice_as_much(store: &SqlStore) {
    let runs = ["09:00:00", "09:10:00", "09:20:00", "09:30:00", "09:40:00"].map(slot_run);
    for (run, at) in runs.iter().zip(["10:01:00", "10:02:00", "10:03:00", "10:04:00", "10:05:00"]) {
        ends(store, run, at).await;
    }
    let kept = async |now, most, couriers: &[&str]| {
        store.prune(t(now), HISTORY, most, couriers).await.expect("a write");
        let filter = RunFilter { limit: 9, ..RunFilter::default() };
        store.runs(&filter).await.expect("a read").len()
    };
    assert_eq!(kept("10:06:00", 3, &["bus", "traces"]).await, 5, "nothing was carried");
    store.move_courier_to_end("traces").await.expect("a write");
    assert_eq!(kept("10:06:00", 3, &["bus", "traces"]).await, 5, "one courier has carried it, and the other has not");
    let last = store.journal(&runs[0].id).await.expect("a journal").last().expect("an entry").seq;
    store.move_courier("bus", last).await.expect("a write");
    assert_eq!(kept("10:06:00", 3, &["bus", "traces"]).await, 4, "it has come as far as the first one's end");
    assert_eq!(kept("12:00:00", 3, &["bus", "traces"]).await, 4, "however old it is");
    assert_eq!(kept("10:06:00", 1, &["bus", "traces"]).await, 2, "beyond twice as many all goes");
    assert_eq!(kept("10:06:00", 1, &["traces"]).await, 1);
}

async fn pruning_deletes_at_most_a_thousand_rows_of_a_kind_at_once(store: &SqlStore) {
    let over = |second: i64| {
        let mut run = slot_run("00:00:00");
        run.trigger = firedrill::domain::run::Trigger::Manual {
            request: second.to_string(),
            by: String::new(),
            reason: None,
            windows: firedrill::domain::run::WindowRule::Hold,
        };
        run.id = firedrill::domain::ids::RunId::derive(&run.experiment, &run.trigger.key());
        run.apply(&skip(), t(AT)).expect("an end")
    };
    let runs = (0..1_001).map(over).collect();
    record(store, arrival("deploy", "e-1", runs)).await.expect("a write");
    for expected in [1_000 + 1_000, 2, 0] {
        assert_eq!(store.prune(t("11:00:01"), HISTORY, u32::MAX, &[]).await.expect("a write"), expected);
    }
}

/// An event without a match, or with one, received at an instant.
fn received(id: &str, at: Timestamp, runs: &[Run]) -> Arrival {
    let Arrival { event, runs } = arrival("deploy", id, runs.to_vec());
    Arrival { event: EventRow { received_at: at, ..event }, runs }
}

/// Which of the events `e-0`, `e-1` and so on are known.
async fn known(store: &SqlStore, count: usize) -> Vec<usize> {
    let mut known = Vec::new();
    for event in 0..count {
        let rows = store.events(&format!("e-{event}")).await.expect("a read");
        known.extend((!rows.is_empty()).then_some(event));
    }
    known
}

async fn pruning_keeps_no_more_events_that_opened_nothing_than_it_is_told(store: &SqlStore) {
    let at = |event: i64| t(AT) + SignedDuration::from_mins(event);
    let opened = event_run(AT, trigger("deploy", 0, 0));
    for (event, runs) in [(0, std::slice::from_ref(&opened)), (1, &[]), (2, &[]), (3, &[]), (4, &[])] {
        record(store, received(&format!("e-{event}"), at(event), runs)).await.expect("a write");
    }
    let pruned = async |now, most, since| store.prune_unmatched(now, most, since).await.expect("a write");
    let late = at(5) + UNMATCHED_KEPT;
    assert_eq!(pruned(late, 5, Timestamp::MIN).await, None, "there are no more than so many");
    assert_eq!(pruned(late, 3, at(2)).await, None, "what was received before is another batch's");
    assert_eq!(pruned(late, 3, Timestamp::MIN).await, Some((1, at(1))));
    assert_eq!(known(store, 5).await, [0, 2, 3, 4], "the oldest goes first, and what opened a run stays");
    assert_eq!(pruned(at(3) + UNMATCHED_KEPT, 0, Timestamp::MIN).await, Some((1, at(2))));
    assert_eq!(known(store, 5).await, [0, 3, 4], "its message may come again, however many there are");
    assert_eq!(pruned(late, 0, Timestamp::MIN).await, Some((2, at(4))));
    assert_eq!(pruned(late + EVENTS_KEPT, 0, Timestamp::MIN).await, None);
    assert_eq!(known(store, 5).await, [0]);
}

/// Its trigger was missing when it came first, and is there after a reload.
async fn event_that_opened_nothing_and_is_forgotten_opens_its_runs_once(store: &SqlStore) {
    let runs = [event_run(AT, trigger("deploy", 0, 0))];
    let came = async |runs: &[Run]| record(store, received("e-0", t(AT), runs)).await.expect("a write");
    let forgotten = async || {
        let late = t(AT) + EVENTS_KEPT - SignedDuration::from_secs(1);
        store.prune(late, HISTORY, 0, &[]).await.expect("a write");
        store.prune_unmatched(late, 0, Timestamp::MIN).await.expect("a write").is_some()
    };
    assert_eq!(came(&[]).await, Recorded::New);
    assert!(forgotten().await);
    assert_eq!(came(&runs).await, Recorded::New);
    assert_eq!(rows(store).await.runs, runs);
    commit(store, advance(&runs[0], skip()).1).await;
    assert!(!forgotten().await, "it has opened a run");
    assert_eq!(store.run(&runs[0].id).await.expect("a read"), None, "and that is known when the run is not");
    assert_eq!(came(&runs).await, Recorded::Known);
    assert_eq!(rows(store).await.runs, []);
}

shown_of_databases! {
    journal_tells_everything_in_order_but_polls_without_news
    run_that_is_over_when_recorded_tells_its_end
    runs_are_found_by_experiment_time_and_prefix
    last_known_template_is_that_of_the_newest_run_that_read_it
    event_and_quarantine_are_shown_as_first_recorded
    pruning_deletes_what_ended_before_and_keeps_open_runs
    pruning_by_a_clock_that_was_ahead_from_the_start_deletes_nothing
    time_that_was_told_last_is_that_of_the_last_writer
    pruning_keeps_no_more_finished_runs_than_it_is_told
    pruning_keeps_what_a_courier_has_not_carried_up_to_twice_as_much
    pruning_deletes_at_most_a_thousand_rows_of_a_kind_at_once
    pruning_keeps_no_more_events_that_opened_nothing_than_it_is_told
    event_that_opened_nothing_and_is_forgotten_opens_its_runs_once
}

/// Several agents at once may keep a few more than there is room for.
#[tokio::test]
async fn what_is_kept_already_is_taken_in_an_over_full_quarantine() {
    let (folder, store) = empty().await;
    let message = |number: i64| quarantined("q", &format!("m-{number}"), "bad");
    store.quarantine((0..MAX_QUARANTINED).map(message).collect()).await.expect("kept");
    let mut other = connect(&folder.path().join("state")).await;
    let more = "INSERT INTO quarantine (queue, message_id, received_at_us, reason, body, body_bytes)
                VALUES ('q', 'more', 0, 'bad', '{', 1)";
    sqlx::query(more).execute(&mut other).await.expect("a row");
    store.quarantine(vec![message(1)]).await.expect("known");
    assert!(matches!(store.quarantine(vec![message(-1)]).await, Err(StoreError::Full)));
}

/// A queue that a whole bus is led to.
#[tokio::test]
async fn housekeeping_deletes_events_that_opened_nothing_batch_by_batch() {
    let (folder, store) = empty().await;
    let file = folder.path().join("firedrill.toml");
    fs::write(&file, "history_runs = 1000\n[experiments.probe]\ntemplate = \"EXT1\"\n").expect("a file");
    let settings = config::load(&file, []).expect("a good configuration").settings;
    let (newest, old) = (now(), now() - UNMATCHED_KEPT - SignedDuration::from_hours(1));
    let arrival = |event: i64| match event {
        0 => received("e-0", old, &[event_run(AT, trigger("deploy", 0, 0))]),
        1..2_200 => received(&format!("e-{event}"), old + SignedDuration::from_millis(event), &[]),
        _ => received(&format!("e-{event}"), newest, &[slot_run(AT)]),
    };
    // Of the newest thousand the first is an old one.
    store.record_events((0..3_199).map(arrival).collect()).await.expect("a write");
    let store = Arc::new(store);
    let (log, mut said) = (Lines::default(), String::new());
    let _kept = log.kept();
    let wanted = Arc::new(Notify::new());
    wanted.notify_one();
    let deleting = Housekeeper::new(store.clone(), &settings, now()).await.run(wanted);
    let done = soon("the last batch", async || {
        said.push_str(&log.taken());
        said.contains("rows=198").then_some(())
    });
    tokio::select! {
        biased;
        end = deleting => panic!("{end}"),
        () = done => {}
    }
    assert_eq!(said.matches("opened no run rows=1000").count(), 2, "{said}");
    let rows = async |id: &str| store.events(id).await.expect("a read").len();
    assert_eq!((rows("e-0").await, rows("e-2198").await, rows("e-2199").await, rows("e-3198").await), (1, 0, 1, 1));
}

#[tokio::test]
async fn what_no_courier_has_carried_is_never_deleted_without_a_word() {
    let (_folder, store) = empty().await;
    for (slot, at) in [("09:00:00", "10:01:00"), ("09:10:00", "10:02:00"), ("09:20:00", "10:03:00")] {
        ends(&store, &slot_run(slot), at).await;
    }
    let log = Lines::default();
    let _kept = log.kept();
    let said = async |most, couriers: &[&str]| {
        store.prune(t("10:04:00"), HISTORY, most, couriers).await.expect("a write");
        log.taken()
    };
    assert_eq!(said(2, &["bus"]).await, "");
    let warning = said(1, &["bus"]).await;
    assert!(warning.contains("WARN") && warning.contains("runs beyond twice `history_runs` are deleted"), "{warning}");
    // Two entries of its journal and the run itself.
    assert!(warning.contains("rows=3"), "{warning}");
    assert_eq!(said(1, &[]).await, "", "what was carried goes as it should");
}
