//! Upkeep: what a check finds, and that a copy has every row of every table, from either database to the other.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use firedrill::{
    config::settings::State,
    domain::{
        fis::{FailureClass, FisStatus},
        plan::{HaltRunning, Pause, Pausing},
        run::{Adopted, Doubt, Observation, Run, RunState},
    },
    engine::ports::{EventRow, Store},
    store::{
        SqlStore,
        history::RunFilter,
        open::DATABASE_FILE,
        upkeep::{
            UpkeepError,
            backup::{Existing, backup},
            check::{Finding, MAX_FINDINGS, Report, check, file_at},
            restore::restore,
            snapshot::Snapshot,
            tables::TABLES,
        },
    },
};
use sqlx::{AssertSqlSafe, Connection, Executor, Row};

use super::{AT, adopt, advance, arrival, at, calendars, commit, deployments, opening::connect, quarantined, skip};
use super::{open_slots, stop_request};
use crate::support::{
    postgres::Postgres,
    runs::name,
    world::{facts, fis, halt, halting, slot_run, t},
};

fn on_disk(folder: &Path) -> State {
    State { directory: folder.join("state"), postgres: None }
}

/// Makes a run go through observations.
async fn goes(store: &SqlStore, mut run: Run, observations: Vec<Observation>) -> Run {
    for observation in observations {
        let (next, change) = advance(&run, observation);
        commit(store, change).await;
        run = next;
    }
    run
}

fn start() -> Vec<Observation> {
    let fis = fis(FisStatus::Running, t(AT));
    vec![
        Observation::TemplateRead { facts: facts(60, t(AT)) },
        Observation::StartAsked {
            place: Default::default(),
            template_id: "EXT1".into(),
            facts: None,
            place_facts: None,
            ties: None,
        },
        Observation::Started { fis: fis.clone(), adopted: Adopted::No },
        Observation::Polled { fis },
    ]
}

/// Puts rows into every table, with texts that are hard to carry.
async fn fill(store: &SqlStore) {
    commit(store, adopt("09:00:00")).await;
    let runs = ["09:10:00", "09:20:00", "09:30:00", "09:40:00"].map(slot_run);
    // All at one instant: who comes first is what the order of the rows says.
    let runs = runs.map(|run| Run { opened_at: t("09:50:00"), ..run });
    commit(store, open_slots("09:50:00", runs.to_vec())).await;
    let [over, runs_on, ..] = runs;
    goes(store, over, vec![skip()]).await;
    let running = goes(store, runs_on, start()).await;
    store.request_stop(running.id, stop_request("ann")).await.expect("a write");
    let deployed = deployments::run("09:55:00", "\"a\\'\0b\u{10ffff}", "v\0 8");
    let event = EventRow {
        body: Some("{\"a\": \"\\u0000\"}".into()),
        queue: Some("q".into()),
        ..arrival("d", "e", vec![]).event
    };
    let arrivals =
        vec![arrival("deploy", "e-\0", vec![deployed]), firedrill::engine::ports::Arrival { event, runs: vec![] }];
    store.record_events(arrivals).await.expect("a write");
    store
        .quarantine(vec![quarantined("q", "b\0", "no JSON"), quarantined("q", "a", "no JSON")])
        .await
        .expect("a write");
    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    let pause = Pause { at: t(AT), by: "ann".to_owned(), reason: None, until: None };
    store.set_pause(name("probe"), Pausing::Pause(pause)).await.expect("a write");
    store.keep_calendar(&calendars::row("holidays")).await.expect("a write");
    store.move_courier("bus", 3).await.expect("a write");
}

/// Every row of a file, by table, as texts; what comes first stays first where that matters.
async fn dump(path: &Path) -> BTreeMap<String, Vec<String>> {
    let mut file =
        sqlx::SqliteConnection::connect(&format!("sqlite://{}?mode=ro", path.display())).await.expect("a file");
    let tables = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('_sqlx_migrations')";
    let tables: Vec<String> = sqlx::query_scalar(tables).fetch_all(&mut file).await.expect("tables");
    let mut dumped = BTreeMap::new();
    for table in tables {
        // A copy that is taken back says when.
        let columns = format!(
            "SELECT group_concat('quote(' || name || ')', ' || '', '' || ') FROM pragma_table_info('{table}')
             WHERE name <> 'restored_at_us'"
        );
        let columns: String = sqlx::query_scalar(AssertSqlSafe(columns)).fetch_one(&mut file).await.expect("columns");
        let rows = file.fetch_all(AssertSqlSafe(format!("SELECT {columns} FROM {table}"))).await.expect("rows");
        dumped.insert(table, rows.iter().map(|row| row.get(0)).collect());
    }
    file.close().await.expect("an end");
    dumped
}

async fn checked(state: &State) -> Report {
    let mut snapshot = Snapshot::of(state).await.expect("a picture");
    let report = check(&mut snapshot, &|_| {}).await.expect("a check");
    snapshot.close().await;
    report
}

#[tokio::test]
async fn every_row_goes_to_the_server_and_comes_back() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let here = on_disk(folder.path());
    let store = SqlStore::open_at(&here).await.expect("a store");
    fill(&store).await;
    let (first, second) = (folder.path().join("first.db"), folder.path().join("second.db"));
    let made = backup(&here, &first, Existing::Refuse, &|_| {}).await.expect("a backup under the agent");
    let empty: Vec<_> = made.rows.iter().filter(|(_, rows)| **rows == 0).collect();
    assert_eq!(empty, [], "every table is filled");
    let known: BTreeSet<&str> = TABLES.iter().map(|table| table.name).chain(["schema", "sqlite_sequence"]).collect();
    let dumped = dump(&first).await;
    assert_eq!(dumped.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "no table is forgotten");
    assert_eq!(dumped, dump(&here.directory.join(DATABASE_FILE)).await);

    let (_folder, there) = at(&server.database("there"), "mover");
    let restored = restore(&there, &first, Existing::Refuse, t(AT), &|_| {}).await.expect("a restore");
    assert_eq!((restored.rows, restored.may_be_running), (made.rows.clone(), 1));
    assert_eq!(Some(restored.halt), halt(HaltRunning::Finish), "it was halted already");
    for (table, rows) in &made.rows {
        assert_eq!(server.sql("there", &format!("SELECT COUNT(*) FROM {table}")), rows.to_string(), "{table}");
    }
    assert_eq!(checked(&there).await, checked(&here).await);
    backup(&there, &second, Existing::Refuse, &|_| {}).await.expect("a backup of the server");
    assert_eq!(dump(&second).await, dumped);

    // The journal goes on behind everything that there ever was, also what a courier has carried and was deleted.
    let moved = SqlStore::open_at(&there).await.expect("a store");
    moved.hold("").await.expect("the lease");
    let last: i64 = server.sql("there", "SELECT MAX(seq) FROM journal").parse().expect("a number");
    moved.request_runs(vec![slot_run("12:00:00")]).await.expect("a write");
    assert_eq!(server.sql("there", "SELECT MAX(seq) FROM journal"), (last + 1).to_string());
    let filter = RunFilter { deployment: Some("v\0 8".into()), limit: 9, ..Default::default() };
    let found = moved.runs(&filter).await.expect("runs");
    assert_eq!(found.len(), 1, "what is asked of bodies has its columns");
}

#[tokio::test]
async fn positions_of_a_journal_that_was_deleted_are_not_used_again() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let here = on_disk(folder.path());
    let store = SqlStore::open_at(&here).await.expect("a store");
    store.request_runs(vec![slot_run("09:00:00"), slot_run("09:10:00")]).await.expect("a write");
    store.move_courier("bus", 2).await.expect("a write");
    let mut other = connect(&here.directory).await;
    other.execute("DELETE FROM journal; DELETE FROM runs").await.expect("a change");
    let (file, back) = (folder.path().join("a.db"), folder.path().join("b.db"));
    backup(&here, &file, Existing::Refuse, &|_| {}).await.expect("a backup");
    let (_folder, there) = at(&server.database("there"), "mover");
    restore(&there, &file, Existing::Refuse, t(AT), &|_| {}).await.expect("a restore");
    backup(&there, &back, Existing::Refuse, &|_| {}).await.expect("a backup");
    let second = on_disk(&folder.path().join("second"));
    restore(&second, &back, Existing::Refuse, t(AT), &|_| {}).await.expect("a restore");
    for state in [&there, &second] {
        assert_eq!(checked(state).await.findings, []);
        let store = SqlStore::open_at(state).await.expect("a store");
        store.hold("").await.expect("the lease");
        store.request_runs(vec![slot_run("12:00:00")]).await.expect("a write");
        let entries = store.journal_after(2, 9).await.expect("entries");
        assert_eq!(entries.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [3], "{state:?}");
    }
}

/// What is broken, and what is said of it: table, row and words.
const FAULTS: [(&str, &str, &str, &str); 17] = [
    ("UPDATE runs SET body = '{}' WHERE id = ?", "runs", "", "cannot read it: missing field"),
    ("UPDATE runs SET phase = 'held' WHERE id = ?", "runs", "", "its columns say something else"),
    (
        "UPDATE runs SET body = json_set(body, '$.revision', 1), revision = 1 WHERE id = ?",
        "runs",
        "",
        "number of changes",
    ),
    (
        "UPDATE runs SET body = json_set(body, '$.fis.reason', 'other') WHERE id = ?",
        "runs",
        "",
        "another FIS experiment",
    ),
    ("UPDATE runs SET body = json_remove(body, '$.facts') WHERE id = ?", "runs", "", "another template"),
    ("UPDATE runs SET body = json_set(body, '$.id', 'x'), id = 'x' WHERE id = ?", "runs", "x", "does not follow from"),
    ("DELETE FROM journal WHERE run = ?", "runs", "", "the journal has nothing of it"),
    ("DELETE FROM journal WHERE run = ? AND kind = 'start-asked'", "journal", "8", "cannot take `started`"),
    ("DELETE FROM journal WHERE run = ? AND kind = 'opened'", "journal", "6", "begins with `template-read`"),
    ("DELETE FROM journal WHERE run = ? AND kind IN ('started', 'polled')", "runs", "", "\"phase\":\"starting\""),
    ("UPDATE journal SET observation = '{' WHERE run = ? AND kind = 'started'", "journal", "8", "cannot read it: EOF"),
    ("DELETE FROM runs WHERE id = ?", "journal", "", "5 entries of a run that is not there"),
    ("DELETE FROM runs WHERE id = ?", "stop_requests", "", "the run to be stopped is not there"),
    ("UPDATE cursors SET experiment = 'a b' WHERE ? != ''", "cursors", "a b/nightly", "is not a name"),
    ("UPDATE deployments SET body = '7' WHERE ? != ''", "deployments", "probe/", "cannot read it"),
    ("UPDATE couriers SET seq = 99 WHERE ? != ''", "couriers", "bus", "position 99 of a journal that ends at"),
    ("UPDATE halt SET body = 'no' WHERE ? != ''", "halt", "1", "cannot read it"),
];

#[tokio::test]
async fn check_finds_each_fault_where_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = on_disk(folder.path());
    let store = SqlStore::open_at(&state).await.expect("a store");
    fill(&store).await;
    let running = "SELECT id FROM runs WHERE phase = 'running'";
    let mut other = connect(&state.directory).await;
    let running: String = sqlx::query_scalar(running).fetch_one(&mut other).await.expect("one");
    // Whoever closes last leaves all of it in the file that is copied.
    other.close().await.expect("an end");
    store.close().await;
    let sound = checked(&state).await;
    assert_eq!((sound.count, sound.findings), (0, vec![]));
    for (sql, table, key, words) in FAULTS {
        let copy = folder.path().join("copy.db");
        std::fs::copy(state.directory.join(DATABASE_FILE), &copy).expect("a copy");
        let mut broken =
            sqlx::SqliteConnection::connect(&format!("sqlite://{}", copy.display())).await.expect("a file");
        let changed = sqlx::query(sql).bind(&running).execute(&mut broken).await.expect("a fault");
        assert!(changed.rows_affected() > 0, "{sql}");
        broken.close().await.expect("an end");
        let report = file_at(&copy, &|_| {}).await.expect("a check");
        let key = if key.is_empty() { &running } else { key };
        let is_told = |f: &Finding| f.table == table && f.key.starts_with(key) && f.problem.contains(words);
        assert!(report.findings.iter().any(is_told), "{sql}: {report:#?}");
        let refused = restore(&on_disk(&folder.path().join("new")), &copy, Existing::Refuse, t(AT), &|_| {}).await;
        assert!(matches!(refused, Err(UpkeepError::Unsound { .. })), "{sql}: {refused:?}");
    }
}

#[tokio::test]
async fn findings_are_bounded_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = on_disk(folder.path());
    let store = SqlStore::open_at(&state).await.expect("a store");
    let runs: Vec<Run> = (0..150).map(|n| slot_run(&format!("{:02}:{:02}:00", n / 60, n % 60))).collect();
    store.request_runs(runs).await.expect("a write");
    connect(&state.directory).await.execute("DELETE FROM journal").await.expect("a fault");
    let report = checked(&state).await;
    assert_eq!((report.count, report.findings.len()), (150, MAX_FINDINGS));
}

#[tokio::test]
async fn server_is_filled_only_when_it_is_empty_and_nobody_holds_it() {
    let server = Postgres::start();
    let folder = tempfile::tempdir().expect("a folder");
    let here = on_disk(folder.path());
    let store = SqlStore::open_at(&here).await.expect("a store");
    fill(&store).await;
    let file = folder.path().join("a.db");
    backup(&here, &file, Existing::Refuse, &|_| {}).await.expect("a backup");
    let url = server.database("there");
    let (_held, holder) = at(&url, "holder");
    let (_folder, there) = at(&url, "mover");
    let agent = SqlStore::open_at(&holder).await.expect("a store");
    agent.hold("").await.expect("the lease");
    let refused = restore(&there, &file, Existing::Replace, t(AT), &|_| {}).await.expect_err("an agent works there");
    assert!(matches!(&refused, UpkeepError::Held { holder, .. } if holder == "holder"), "{refused:?}");
    agent.release(Duration::ZERO).await.expect("the end");
    server.sql("there", "ALTER TABLE journal ADD CONSTRAINT full_disk CHECK (kind <> 'started')");
    restore(&there, &file, Existing::Replace, t(AT), &|_| {}).await.expect_err("a row is refused");
    let rows = TABLES.map(|table| format!("SELECT COUNT(*) AS n FROM {}", table.name)).join(" UNION ALL ");
    assert_eq!(server.sql("there", &format!("SELECT SUM(n) FROM ({rows}) AS counts")), "0", "all or nothing");
    server.sql("there", "ALTER TABLE journal DROP CONSTRAINT full_disk");
    restore(&there, &file, Existing::Refuse, t(AT), &|_| {}).await.expect("a restore");
    let refused = restore(&there, &file, Existing::Replace, t(AT), &|_| {}).await.expect_err("it has rows");
    assert!(matches!(&refused, UpkeepError::NotEmpty { table: "runs", .. }), "{refused:?}");
    server.sql("there", "DELETE FROM lease");
    let report = checked(&there).await;
    assert_eq!(report.findings.iter().map(|found| found.table).collect::<Vec<_>>(), ["lease"]);
}

#[tokio::test]
async fn file_that_is_replaced_is_kept_whole_and_its_log_never_meets_another_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = on_disk(folder.path());
    let store = SqlStore::open_at(&state).await.expect("a store");
    fill(&store).await;
    let file = folder.path().join("a.db");
    backup(&state, &file, Existing::Refuse, &|_| {}).await.expect("a backup");
    let saved = dump(&file).await;
    store.request_runs(vec![slot_run("12:00:00")]).await.expect("a write");
    let path = state.directory.join(DATABASE_FILE);
    let log = state.directory.join(format!("{DATABASE_FILE}-wal"));
    let kept = std::fs::read(&log).expect("a log");
    store.close().await;
    drop(store);

    // Somebody reads what is to be replaced.
    let reader = SqlStore::open_to_read(&state.directory).await.expect("a reader");
    reader.journal_after(0, 1).await.expect("a read");
    let refused = restore(&state, &file, Existing::Replace, t(AT), &|_| {}).await.expect_err("it is read");
    assert!(matches!(refused, UpkeepError::Read { .. }), "{refused:?}");
    reader.close().await;
    let restored = restore(&state, &file, Existing::Replace, t(AT), &|_| {}).await.expect("a restore");
    assert_eq!(dump(&path).await, saved);
    let aside = restored.aside.expect("what was there");
    assert_eq!(dump(&aside).await["runs"].len(), saved["runs"].len() + 1, "{}", aside.display());

    // The file is lost, its log is not.
    std::fs::remove_file(&path).expect("a file");
    std::fs::write(&log, &kept).expect("a log");
    restore(&state, &file, Existing::Refuse, t("11:00:00"), &|_| {}).await.expect("a restore");
    assert!(!log.exists(), "it is put aside");
    assert_eq!(dump(&path).await, saved);
    // What cannot be read is kept too.
    let garbage = "this is not a database ".repeat(500);
    std::fs::write(&path, &garbage).expect("a file");
    let restored = restore(&state, &file, Existing::Replace, t("12:00:00"), &|_| {}).await.expect("a restore");
    assert_eq!(dump(&path).await, saved);
    assert_eq!(std::fs::read_to_string(restored.aside.expect("what was there")).expect("a file"), garbage);
}

#[tokio::test]
async fn nothing_that_was_known_of_a_start_before_its_backup_is_believed_after_a_restore() {
    let folder = tempfile::tempdir().expect("a folder");
    let state = on_disk(folder.path());
    let store = SqlStore::open_at(&state).await.expect("a store");
    let class = FailureClass::Throttled;
    let refused = Observation::StartRefused { class, message: String::new(), retry_at: t(AT) };
    let asked = || start()[1].clone();
    let nothing = || Observation::NotFound;
    for (slot, observations) in [
        ("09:10:00", vec![asked(), nothing()]),
        ("09:20:00", vec![asked(), nothing(), asked(), refused.clone(), nothing()]),
        ("09:30:00", vec![asked(), refused]),
        ("09:40:00", vec![]),
    ] {
        store.request_runs(vec![slot_run(slot)]).await.expect("a write");
        goes(&store, slot_run(slot), observations).await;
    }
    let file = folder.path().join("a.db");
    backup(&state, &file, Existing::Refuse, &|_| {}).await.expect("a backup");
    store.close().await;
    drop(store);

    // The clock of the restore is far behind.
    let server = Postgres::start();
    let (_folder, there) = at(&server.database("there"), "mover");
    for state in [&state, &there] {
        let restored = restore(state, &file, Existing::Replace, t("03:00:00"), &|_| {}).await.expect("a restore");
        assert_eq!((restored.known_until, restored.may_be_running), (Some(t(AT)), 3));
        assert_eq!(checked(state).await.findings, [], "the journal tells of it");
        let rows = SqlStore::open_at(state).await.expect("a store").load().await.expect("rows");
        assert_eq!(rows.restored_at, Some(t(AT)), "no earlier than what it knows of");
        let [starting @ .., waiting] = &rows.runs[..] else { panic!("{:?}", rows.runs) };
        for run in starting {
            let RunState::Starting { doubt, looks, unclear_at, asked_at, .. } = &run.state else { panic!("{run:?}") };
            assert_eq!((doubt, looks), (&Doubt::Unanswered { look_at: *asked_at, failed: 0, looked_at: None }, &0));
            assert_eq!(unclear_at, &Some(*asked_at), "so many looks are to find nothing before it is given up");
        }
        assert_eq!(waiting.state, RunState::Requested);
        // Whoever halted, paused or stopped since the backup is not forgotten: nothing starts, and what runs goes on.
        let halt = rows.halt.expect("a halt");
        assert_eq!((halt.at, halt.running, &halt), (t(AT), HaltRunning::Finish, &restored.halt));
        let until = halt.reason.as_deref().is_some_and(|reason| reason.contains(&t(AT).to_string()));
        assert!(until, "it says what is known: {halt:?}");
    }
}
