//! Rows that cannot be read: each is told and never skipped, and holds up what it may be about and no more.

use std::path::Path;

use firedrill::{
    domain::{
        fis::FisStatus,
        ledger::Ledger,
        outcome::Outcome,
        plan::{HaltRunning, Halting, Mode, Pause, Pausing, Withheld},
        run::{Observation, Run, RunState, StopCause},
    },
    engine::ports::{Committed, Found, Recorded, Rows, Store, StoreError},
    store::SqlStore,
};
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::{
    AT, adopt, advance, arrival, commit, deployments, empty, empty_on,
    failing::{Working, check as check_start_waits, check_stop_while_away, due},
    opening::connect,
    record, rows, skip, stop_request, stored,
};
use crate::support::{
    postgres::Postgres,
    runs::{self, name},
    world::{halt, halting, read, running, slot_run, t},
};

fn probe_only() -> Withheld {
    Withheld::Some([name("probe")].into())
}

/// Changes rows behind the store's back, and loads what it makes of them.
async fn after(state: &Path, store: &SqlStore, sql: &str) -> Rows {
    let mut other = connect(state).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut other).await.expect("a change");
    rows(store).await
}

#[track_caller]
fn check(rows: &Rows, row: &str, withheld: Withheld) {
    let said = rows.unreadable.as_ref().map(ToString::to_string);
    let expected = format!("the store's row `{row}` cannot be read; `firedrill store check` names all such rows");
    assert_eq!((said, &rows.withheld), (Some(expected), &withheld));
}

#[tokio::test]
async fn run_holds_up_its_experiment_and_all_of_them_when_it_may_be_running() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    let (waits, other) = (slot_run(AT), slot_run("11:00:00"));
    store.request_runs(vec![waits.clone(), other.clone()]).await.expect("a write");
    let corrupt = format!("UPDATE runs SET body = '{{}}' WHERE id = '{}'", waits.id);
    let found = after(&state, &store, &corrupt).await;
    check(&found, &format!("runs, {}", waits.id), probe_only());
    assert_eq!(found.runs, std::slice::from_ref(&other), "others are read all the same");
    for (sql, withheld) in [
        ("UPDATE runs SET phase = 'running' WHERE body = '{}'", Withheld::All),
        ("UPDATE runs SET phase = 'held' WHERE body = '{}'", probe_only()),
        ("UPDATE runs SET experiment = '' WHERE body = '{}'", Withheld::All),
    ] {
        check(&after(&state, &store, sql).await, &format!("runs, {}", waits.id), withheld);
    }
    let repaired = after(&state, &store, "DELETE FROM runs WHERE body = '{}'").await;
    assert!(repaired.unreadable.is_none() && repaired.withheld == Withheld::default());
}

#[tokio::test]
async fn run_on_a_server_is_named_too() {
    let server = Postgres::start();
    let store = empty_on(&server, "one").await;
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    server.sql("one", "UPDATE runs SET body = '{}'");
    check(&rows(&store).await, &format!("runs, {}", slot_run(AT).id), probe_only());
    assert!(rows(&store).await.unread.is_empty());
    server.sql("one", "UPDATE runs SET phase = 'stopping'");
    check(&rows(&store).await, &format!("runs, {}", slot_run(AT).id), Withheld::All);
    assert_eq!(rows(&store).await.unread, [slot_run(AT).id].into());
}

#[tokio::test]
async fn halt_counts_as_one_that_stops_and_a_stop_as_a_stop() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    let run = slot_run(AT);
    store.request_runs(vec![run.clone()]).await.expect("a write");
    store.request_stop(run.id.clone(), stop_request("ann")).await.expect("a write");
    let found = after(&state, &store, "UPDATE stop_requests SET body = '{'").await;
    check(&found, &format!("stop_requests, {}", run.id), Withheld::default());
    assert!(found.stops.contains_key(&run.id));
    assert_eq!(commit(&store, advance(&run, skip()).1).await, Committed::Done);

    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    let found = after(&state, &store, "UPDATE halt SET body = '{'").await;
    check(&found, "halt, ", Withheld::All);
    assert_eq!(found.halt.expect("a halt").running, HaltRunning::Stop);
    assert!(matches!(store.halted().await, Err(StoreError::Row { .. })));
    for change in [halting(HaltRunning::Stop), Halting::Resume] {
        after(&state, &store, "UPDATE halt SET body = '{'").await;
        store.set_halt(change).await.expect("a change over one that nobody knows");
        assert!(rows(&store).await.unreadable.is_none());
    }
}

#[tokio::test]
async fn what_is_kept_of_an_experiment_holds_up_that_experiment() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    commit(&store, adopt("09:00:00")).await;
    let pause = Pause { at: t(AT), by: "ann".to_owned(), reason: None, until: None };
    store.set_pause(name("probe"), Pausing::Pause(pause)).await.expect("a write");
    store.request_runs(vec![deployments::run("09:00:00", "shop", "v1")]).await.expect("a write");
    for (corrupt, row, repair) in [
        ("UPDATE pauses SET body = '{'", "pauses, probe", "DELETE FROM pauses"),
        ("UPDATE deployments SET body = '{'", "deployments, probe", "DELETE FROM deployments"),
        ("UPDATE cursors SET at_us = 9223372036854775807", "cursors, probe", "DELETE FROM cursors"),
    ] {
        check(&after(&state, &store, corrupt).await, row, probe_only());
        assert!(after(&state, &store, repair).await.unreadable.is_none());
    }
}

/// The gap of a group and the budget of a month go by what others have done.
#[tokio::test]
async fn ledger_holds_up_every_experiment() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    let torn = "INSERT INTO ledgers VALUES ('another', '{')";
    check(&after(&state, &store, torn).await, "ledgers, another", Withheld::All);
    let repaired = after(&state, &store, "DELETE FROM ledgers").await;
    assert!(repaired.unreadable.is_none() && repaired.withheld == Withheld::default());
}

/// What its runs tell stays so, and what may be lost with it counts as if it were of now.
async fn ledger_that_cannot_be_read_is_made_anew_of_its_runs(store: &SqlStore, tear: impl AsyncFn()) {
    let mut run = running(read(slot_run("09:00:00"), "09:00:00", 60), "09:00:00");
    run.fis = Some(runs::fis(FisStatus::Completed));
    store.request_runs(vec![run.clone()]).await.expect("a write");
    commit(store, advance(&run, Observation::Finished { outcome: Outcome::Completed }).1).await;
    let known = rows(store).await.ledgers[&name("probe")].clone();
    assert!(!known.action_minutes.is_empty() && !known.lengths.is_empty(), "{known:?}");
    let anew =
        async || store.retell_ledger(&name("probe"), vec![name("shared")], t("12:00:00")).await.expect("a write");
    assert_eq!(anew().await, Found::No, "it can be read");
    tear().await;
    assert!(rows(store).await.unreadable.is_some());
    assert_eq!(anew().await, Found::Yes);
    let found = rows(store).await;
    assert!(found.unreadable.is_none() && found.withheld == Withheld::default());
    let (ended_at, groups, begun) = (Some(t("12:00:00")), vec![name("shared")], [(name("nightly"), 1)].into());
    assert_eq!(found.ledgers[&name("probe")], Ledger { ended_at, groups, begun, ..known });
    let nobody = store.retell_ledger(&name("nobody"), Vec::new(), t("12:00:00")).await.expect("a read");
    assert_eq!(nobody, Found::No);
}

#[tokio::test]
async fn ledger_of_a_file_that_cannot_be_read_is_made_anew() {
    let (folder, store) = empty().await;
    ledger_that_cannot_be_read_is_made_anew_of_its_runs(&store, async || {
        let mut other = connect(&folder.path().join("state")).await;
        sqlx::query("UPDATE ledgers SET body = '{'").execute(&mut other).await.expect("a change");
    })
    .await;
}

#[tokio::test]
async fn ledger_on_a_server_that_cannot_be_read_is_made_anew() {
    let server = Postgres::start();
    let store = empty_on(&server, "one").await;
    ledger_that_cannot_be_read_is_made_anew_of_its_runs(&store, async || {
        server.sql("one", "UPDATE ledgers SET body = '{'");
    })
    .await;
}

#[tokio::test]
async fn nothing_starts_while_the_ledger_of_another_experiment_cannot_be_read() {
    let (folder, store) = empty().await;
    store.request_runs(vec![due()]).await.expect("a write");
    let mut other = connect(&folder.path().join("state")).await;
    sqlx::query("INSERT INTO ledgers VALUES ('another', '{')").execute(&mut other).await.expect("a row");
    check_start_waits(store, async {
        sqlx::query("DELETE FROM ledgers").execute(&mut other).await.expect("a row less");
    })
    .await;
}

/// A halt asks only after its own row, and so do events and requests after theirs.
#[tokio::test]
async fn whatever_row_cannot_be_read_people_can_halt_and_stop_and_nothing_is_turned_away() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    let run = slot_run(AT);
    store.request_runs(vec![run.clone(), slot_run("11:00:00")]).await.expect("a write");
    let corrupt = format!(
        "INSERT INTO ledgers VALUES ('probe', '{{'); INSERT INTO pauses VALUES ('probe', '{{');
         UPDATE runs SET body = '{{' WHERE id = '{}'",
        slot_run("11:00:00").id
    );
    after(&state, &store, &corrupt).await;
    assert_eq!(store.set_halt(halting(HaltRunning::Stop)).await.expect("a write"), halt(HaltRunning::Stop));
    assert_eq!(store.halted().await.expect("a read"), halt(HaltRunning::Stop));
    store.request_stop(run.id.clone(), stop_request("ann")).await.expect("a write");
    let new = store.request_runs(vec![slot_run("12:00:00")]).await.expect("a write");
    assert_eq!(new, Recorded::New);
    assert_eq!(rows(&store).await.halt, halt(HaltRunning::Stop));
    assert_eq!(stored(&store, &run.id).await, run);
}

/// Lets an engine watch a run until it knows of it; returns the folder of its store, too.
async fn watching() -> (TempDir, Working, Run) {
    let (folder, store) = empty().await;
    let run = running(slot_run("09:59:50"), "09:59:50");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let working = Working::on(store, Vec::new());
    working.has_polled().await;
    (folder, working, run)
}

/// Makes the rows of runs unreadable. What the engine was just about to write of them does not mend them: it is of a row that
/// has changed.
async fn spoil(state: &Path) {
    let torn = "UPDATE runs SET body = 'x' || body, revision = revision + 1000";
    sqlx::raw_sql(torn).execute(&mut connect(state).await).await.expect("a change");
}

async fn mend(state: &Path) {
    let whole = "UPDATE runs SET body = substr(body, 2), revision = revision - 1000";
    sqlx::raw_sql(whole).execute(&mut connect(state).await).await.expect("a change");
}

#[tokio::test]
async fn run_whose_row_cannot_be_read_any_more_is_stopped_by_what_was_known_of_it() {
    let (folder, working, run) = watching().await;
    let state = folder.path().join("state");
    check_stop_while_away(working, &run, spoil(&state), mend(&state)).await;
}

#[tokio::test]
async fn nobody_who_stops_what_runs_leaves_while_the_row_of_a_run_cannot_be_read() {
    let (folder, working, run) = watching().await;
    let state = folder.path().join("state");
    spoil(&state).await;
    working.is_to(Mode::DrainingWithStop);
    working.has_stopped().await;
    mend(&state).await;
    let (end, _) = working.end_of(&run).await;
    let RunState::Finished { outcome: Outcome::Stopped { cause }, .. } = end else { panic!("{end:?}") };
    assert_eq!(cause, StopCause::Shutdown);
    working.ends().await;
}

/// An event that would have to change a row which nobody can read is refused for that, so that others go on.
#[tokio::test]
async fn event_about_an_unreadable_row_is_refused_alone() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    let event = |at, app| arrival("deploy", at, vec![deployments::run(at, app, "v1")]);
    record(&store, event("09:00:00", "shop")).await.expect("a write");
    after(&state, &store, "UPDATE deployments SET body = '{'").await;
    let refused = record(&store, event("09:10:00", "shop")).await.expect_err("a key that nobody knows");
    assert!(refused.is_of_a_row(), "{refused:?}");
    assert_eq!(record(&store, event("09:20:00", "search")).await.expect("a write"), Recorded::New);
}
