//! A store that fails: nothing half-written, nothing started, and everything goes on when it works again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firedrill::{
    domain::{
        experiment::{Experiment, Overlap, Place, Rules, TemplateSelector},
        fis::{CallFailure, FisExperiment, FisStatus},
        ids::RunId,
        outcome::Outcome,
        place::{PlaceFacts, Wanted},
        plan::{Mode, Snapshot},
        run::{Observation, Run, RunState, StopCause},
        template::TemplateFacts,
        window::Window,
    },
    engine::{
        ports::{Configuration, FaultInjector, Poke, StartRequest, Store, StoreDid, StoreError, WakeSource, Witness},
        run_loop::Engine,
    },
    ingest::manual::ManualIngest,
    store::SqlStore,
};
use futures_util::FutureExt;
use jiff::{SignedDuration, Timestamp};
use sqlx::SqliteConnection;
use tokio::{sync::watch, task::JoinHandle, time::Instant};

use super::{AT, adopt, advance, arrival, commit, empty, open_slots, opening::connect, record, rows, simulated, skip};
use crate::support::{
    runs::name,
    soon,
    world::{asked, blackout, event_run, experiment, facts, fine, fis, read, running, slot_run, t, trigger},
};

/// FIS, which accepts everything and counts.
#[derive(Debug, Default)]
pub(super) struct Counting {
    starts: AtomicUsize,
    finds: AtomicUsize,
    pub(super) stops: AtomicUsize,
    pub(super) polls: AtomicUsize,
    /// So many polls, the first ones, are left without an answer.
    unanswered: usize,
    /// How long it takes to list all that there is.
    list_takes: Duration,
}

impl FaultInjector for Counting {
    async fn read_template(&self, _: &Place, _: &TemplateSelector) -> Result<TemplateFacts, CallFailure> {
        Ok(facts(600, t(AT)))
    }

    async fn probe(&self, place: &Place, _: &Wanted) -> Result<PlaceFacts, CallFailure> {
        Ok(fine(place))
    }

    async fn start(&self, _: &Place, _: &StartRequest) -> Result<FisExperiment, CallFailure> {
        self.starts.fetch_add(1, Ordering::SeqCst);
        Ok(fis(FisStatus::Running, t(AT)))
    }

    async fn find(&self, _: &Place, _: &str, _: &RunId) -> Result<Option<FisExperiment>, CallFailure> {
        self.finds.fetch_add(1, Ordering::SeqCst);
        let all = tokio::time::timeout(self.list_takes, std::future::pending()).await;
        Ok(all.unwrap_or(None))
    }

    async fn get(&self, _: &Place, _: &str, _: &str) -> Result<FisExperiment, CallFailure> {
        if self.polls.fetch_add(1, Ordering::SeqCst) < self.unanswered {
            std::future::pending::<()>().await;
        }
        let is_stopped = self.stops.load(Ordering::SeqCst) > 0;
        Ok(fis(if is_stopped { FisStatus::Stopped } else { FisStatus::Running }, t(AT)))
    }

    async fn stop(&self, _: &Place, _: &str) -> Result<(), CallFailure> {
        self.stops.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// A clock that showed 10:00 when the test began.
pub(super) struct Clock(pub(super) Instant);

impl WakeSource for Clock {
    fn now(&self) -> Timestamp {
        t(AT) + SignedDuration::try_from(self.0.elapsed()).expect("a short time")
    }

    async fn wait(&self, until: Option<Timestamp>) {
        let left = until.map(|until| Duration::try_from(until.duration_since(self.now())).unwrap_or(Duration::ZERO));
        let never = std::future::pending::<()>();
        tokio::time::timeout(left.unwrap_or(Duration::from_secs(1)), never).await.expect_err("time passes");
    }
}

/// Counts what the store refused.
#[derive(Debug, Default)]
pub(super) struct Refusals(AtomicUsize);

impl Witness for Refusals {
    fn committed(&self, _: &Run, _: &Observation, _: Timestamp) {}
    fn surveyed(&self, _: &Snapshot<'_>, _: Timestamp) {}
    fn called(&self, _: &'static str, _: &'static str, _: Duration) {}
    fn store_worked(&self, _: StoreDid) {}
    fn looks_after_runs(&self) {}
    fn standing_by(&self, _: &str, _: Configuration) {}
    fn store_failed(&self, _: &StoreError) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Makes every write of a kind to a table fail, as a full disk would at that point of a transaction.
pub(super) async fn fill(connection: &mut SqliteConnection, table: &str, kind: &str) {
    let trigger = format!(
        "CREATE TRIGGER full BEFORE {kind} ON {table} BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    );
    sqlx::query(sqlx::AssertSqlSafe(trigger)).execute(connection).await.expect("a trigger");
}

pub(super) async fn free(connection: &mut SqliteConnection) {
    sqlx::query("DROP TRIGGER full").execute(connection).await.expect("a trigger to drop");
}

/// A run that nothing but the record of its intent keeps from being started.
pub(super) fn due() -> Run {
    read(slot_run(AT), AT, 600)
}

pub(super) fn rules(experiment: Experiment, windows: Vec<Window>) -> Arc<Rules> {
    let experiments = BTreeMap::from([(experiment.name.clone(), experiment)]);
    let configured = Rules { experiments, windows: windows.into(), ..Rules::default() };
    Arc::new(configured.with_readings(&BTreeMap::new()))
}

/// An engine at work, and what it works on.
pub(super) struct Working {
    pub(super) store: Arc<SqlStore>,
    injector: Arc<Counting>,
    witness: Arc<Refusals>,
    mode: watch::Sender<Mode>,
    rules: watch::Sender<Arc<Rules>>,
    poke: Arc<Poke>,
    engine: JoinHandle<()>,
}

impl Working {
    pub(super) fn on(store: SqlStore, windows: Vec<Window>) -> Self {
        Self::with(store, experiment(), windows)
    }

    fn with(store: SqlStore, experiment: Experiment, windows: Vec<Window>) -> Self {
        Self::at(store, Counting::default(), rules(experiment, windows))
    }

    fn at(store: SqlStore, injector: Counting, rules: Arc<Rules>) -> Self {
        let (store, injector, witness) = (Arc::new(store), Arc::new(injector), Arc::new(Refusals::default()));
        let (rules, seen_rules) = watch::channel(rules);
        let (mode, seen_mode) = watch::channel(Mode::Active);
        let poke = Arc::new(Poke::default());
        let engine = Engine {
            store: store.clone(),
            injector: injector.clone(),
            time: Arc::new(Clock(Instant::now())),
            witness: witness.clone(),
            rules: seen_rules,
            mode: seen_mode,
            poke: poke.clone(),
            hints: Arc::default(),
        };
        let engine = tokio::spawn(engine.run());
        Self { store, injector, witness, mode, rules, poke, engine }
    }

    /// Gives it another configuration.
    pub(super) fn reads(&self, windows: Vec<Window>) {
        self.rules.send_replace(rules(experiment(), windows));
    }

    /// Puts into force what its calendars say, which they said before.
    pub(super) fn reads_calendars(&self) {
        self.rules.send_modify(|rules| *rules = Arc::new((**rules).clone().with_readings(&BTreeMap::new())));
    }

    /// Takes operators' wishes beside it.
    pub(super) fn manual(&self) -> ManualIngest<SqlStore> {
        ManualIngest::new(self.store.clone(), self.rules.subscribe(), self.poke.clone())
    }

    /// How many experiments were started.
    pub(super) fn starts(&self) -> usize {
        self.injector.starts.load(Ordering::SeqCst)
    }

    pub(super) async fn has_polled(&self) {
        soon("a poll", async || (self.injector.polls.load(Ordering::SeqCst) > 0).then_some(())).await;
    }

    pub(super) async fn has_stopped(&self) {
        soon("a stop of what runs", async || (self.injector.stops.load(Ordering::SeqCst) > 0).then_some(())).await;
    }

    /// Has the engine look at the rows, as whoever asks for something does, waits until the run is over, and tells how it
    /// ended and which stop the journal knows of.
    pub(super) async fn end_of(&self, run: &Run) -> (RunState, Option<Observation>) {
        self.poke.notify_one();
        let over = async || self.store.run(&run.id).await.ok()?.filter(Run::is_over);
        let over = soon("the end of the run", over).await;
        let entries = self.store.journal(&run.id).await.expect("a read").into_iter().map(|entry| entry.observation);
        (over.state, entries.into_iter().find(|seen| matches!(seen, Observation::StopAsked { .. })))
    }

    pub(super) async fn end(self) {
        self.is_to(Mode::Draining);
        self.ends().await;
    }

    pub(super) async fn ends(self) {
        self.engine.await.expect("an end");
    }

    pub(super) fn is_to(&self, mode: Mode) {
        self.mode.send(mode).expect("an engine");
    }
}

/// Lets an engine run on a store with a run that is due; it has to start nothing until `recover` was awaited, and then
/// exactly one experiment.
pub(super) async fn check(store: SqlStore, recover: impl Future<Output = ()>) {
    let working = Working::on(store, Vec::new());
    let Working { store, injector, witness, .. } = &working;
    soon("a failure of the store", async || (witness.0.load(Ordering::SeqCst) > 0).then_some(())).await;
    assert_eq!(injector.starts.load(Ordering::SeqCst), 0, "nothing starts without a record");
    recover.await;
    let states = async || {
        let runs = store.load().await.ok()?.runs;
        runs.iter().all(|run| run.state.as_str() == "running").then_some(())
    };
    soon("a running experiment", states).await;
    assert_eq!(injector.starts.load(Ordering::SeqCst), 1);
    working.end().await;
}

#[tokio::test]
async fn what_runs_in_a_blackout_is_stopped_though_nothing_can_be_written() {
    let (folder, store) = empty().await;
    store.request_runs(vec![running(slot_run("09:50:00"), "09:50:00")]).await.expect("a write");
    let mut disk = connect(&folder.path().join("state")).await;
    fill(&mut disk, "runs", "UPDATE").await;
    let working = Working::on(store, open_window());
    working.has_stopped().await;
    assert!(working.witness.0.load(Ordering::SeqCst) > 0, "the failure is told");
    free(&mut disk).await;
    let recorded = async || {
        let runs = working.store.load().await.ok()?.runs;
        runs.iter().all(|run| run.state.as_str() != "running").then_some(())
    };
    soon("a record of the stop", recorded).await;
    working.end().await;
}

/// A window that opened before 10:00, which is when engines begin to work.
pub(super) fn open_window() -> Vec<Window> {
    vec![blackout("09:55:00", "13:00:00")]
}

/// Lets the store be away, then a window open and close again, and holds that what ran was stopped, and that the run knows
/// why as soon as it can be told.
pub(super) async fn check_stop_while_away(
    working: Working,
    run: &Run,
    away: impl Future<Output = ()>,
    back: impl Future<Output = ()>,
) {
    working.has_polled().await;
    away.await;
    working.reads(open_window());
    working.has_stopped().await;
    working.reads(Vec::new());
    let failed = async || (working.witness.0.load(Ordering::SeqCst) > 0).then_some(());
    soon("a failure that is told", failed).await;
    back.await;
    let (end, asked) = working.end_of(run).await;
    let cause = StopCause::Closed { window: name("freeze"), unknown: None };
    assert_eq!(asked, Some(Observation::StopAsked { cause: cause.clone() }));
    let RunState::Finished { outcome, .. } = end else { panic!("{end:?}") };
    assert_eq!(outcome, Outcome::Stopped { cause });
    working.end().await;
}

#[tokio::test]
async fn what_runs_in_a_blackout_is_stopped_though_nothing_can_be_read_and_the_row_is_told_later() {
    let (folder, store) = empty().await;
    let run = running(slot_run("09:50:00"), "09:50:00");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let mut disk = connect(&folder.path().join("state")).await;
    let mut other = connect(&folder.path().join("state")).await;
    let away = async {
        sqlx::query("ALTER TABLE halt RENAME TO gone").execute(&mut disk).await.expect("a table less");
    };
    let back = async {
        sqlx::query("ALTER TABLE gone RENAME TO halt").execute(&mut other).await.expect("a table");
    };
    check_stop_while_away(Working::on(store, Vec::new()), &run, away, back).await;
}

#[tokio::test]
async fn stop_does_not_wait_for_a_poll_without_an_answer() {
    let (_folder, store) = empty().await;
    store.request_runs(vec![running(slot_run("09:50:00"), "09:50:00")]).await.expect("a write");
    let injector = Counting { unanswered: 1, ..Counting::default() };
    let working = Working::at(store, injector, rules(experiment(), Vec::new()));
    working.has_polled().await;
    working.reads(open_window());
    working.has_stopped().await;
    let (end, _) = working.end_of(&slot_run("09:50:00")).await;
    assert!(matches!(end, RunState::Finished { outcome: Outcome::Stopped { .. }, .. }), "{end:?}");
    working.end().await;
}

#[tokio::test]
async fn nothing_starts_while_rows_cannot_be_written() {
    for (table, kind) in [("runs", "UPDATE"), ("journal", "INSERT")] {
        let (folder, store) = empty().await;
        store.request_runs(vec![due()]).await.expect("a write");
        let mut disk = connect(&folder.path().join("state")).await;
        fill(&mut disk, table, kind).await;
        check(store, async { free(&mut disk).await }).await;
    }
}

/// FIS may not find it, and may not say what it is.
#[tokio::test]
async fn answer_to_a_start_that_could_not_be_written_is_written_and_not_looked_for() {
    let (folder, store) = empty().await;
    store.request_runs(vec![due()]).await.expect("a write");
    let mut disk = connect(&folder.path().join("state")).await;
    let full = "CREATE TRIGGER full BEFORE INSERT ON journal WHEN new.kind = 'started'
        BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END";
    sqlx::query(full).execute(&mut disk).await.expect("a trigger");
    let working = Working::on(store, Vec::new());
    soon("a failure", async || (working.witness.0.load(Ordering::SeqCst) > 1).then_some(())).await;
    free(&mut disk).await;
    let state = async || Some(working.store.run(&due().id).await.ok()??.state.as_str());
    soon("a running experiment", async || (state().await == Some("running")).then_some(())).await;
    assert_eq!((working.starts(), working.injector.finds.load(Ordering::SeqCst)), (1, 0));
    working.end().await;
}

#[tokio::test]
async fn row_that_the_store_refuses_keeps_no_other_run_from_starting() {
    let (folder, store) = empty().await;
    let other = event_run(AT, trigger("deploy", 0, 0));
    let other = read(other, AT, 600);
    store.request_runs(vec![due(), other.clone()]).await.expect("a write");
    let mut disk = connect(&folder.path().join("state")).await;
    let refusal = format!(
        "CREATE TRIGGER refusal BEFORE UPDATE ON runs WHEN new.id = '{}' BEGIN SELECT RAISE(ABORT, 'no'); END",
        due().id
    );
    sqlx::query(sqlx::AssertSqlSafe(refusal)).execute(&mut disk).await.expect("a trigger");
    let experiment = Experiment { overlap: Overlap::Allow, ..experiment() };
    let working = Working::with(store, experiment, Vec::new());
    let started = async || {
        let run = working.store.run(&other.id).await.ok()??;
        (run.state.as_str() == "running").then_some(())
    };
    soon("the other run's start", started).await;
    assert!(working.witness.0.load(Ordering::SeqCst) > 0, "the failure is told");
    assert_eq!(working.starts(), 1, "nothing starts without a record");
    working.end().await;
}

#[tokio::test]
async fn nothing_starts_while_somebody_else_locks_the_store() {
    let (folder, store) = empty().await;
    store.request_runs(vec![due()]).await.expect("a write");
    let mut other = connect(&folder.path().join("state")).await;
    sqlx::query("BEGIN EXCLUSIVE").execute(&mut other).await.expect("a lock");
    check(store, async {
        sqlx::query("COMMIT").execute(&mut other).await.expect("an end of the lock");
    })
    .await;
}

#[tokio::test]
async fn nothing_starts_while_rows_cannot_be_read() {
    let (folder, store) = empty().await;
    store.request_runs(vec![due()]).await.expect("a write");
    let mut other = connect(&folder.path().join("state")).await;
    sqlx::query("INSERT INTO halt (id, body) VALUES (1, 'torn')").execute(&mut other).await.expect("a row");
    check(store, async {
        sqlx::query("DELETE FROM halt").execute(&mut other).await.expect("a row less");
    })
    .await;
}

#[tokio::test]
async fn change_that_fails_half_way_leaves_nothing() {
    let (folder, store) = empty().await;
    let mut disk = connect(&folder.path().join("state")).await;
    commit(&store, adopt("09:00:00")).await;
    let known = slot_run("09:00:00");
    store.request_runs(vec![known.clone()]).await.expect("a write");
    let before = format!("{:?}", rows(&store).await);
    let (over, end) = advance(&known, skip());
    for (table, kind) in [("runs", "INSERT"), ("journal", "INSERT")] {
        fill(&mut disk, table, kind).await;
        let slots = open_slots("11:00:00", vec![slot_run("10:00:00"), slot_run("11:00:00")]);
        store.commit(&[slots]).await.expect_err("a full disk");
        let run = event_run(AT, trigger("deploy", 0, 0));
        record(&store, arrival("deploy", "e-1", vec![run])).await.expect_err("a full disk");
        store.request_runs(vec![slot_run("12:00:00")]).await.expect_err("a full disk");
        if table == "journal" {
            store.commit(std::slice::from_ref(&end)).await.expect_err("a full disk");
        }
        assert_eq!(format!("{:?}", rows(&store).await), before, "{table}");
        assert_eq!(store.events("e-1").await.expect("a read"), [], "the event is not taken for known");
        free(&mut disk).await;
    }
    commit(&store, end).await;
    assert_eq!(store.run(&over.id).await.expect("a read"), Some(over));
}

/// A clock that is set back by an hour after the first look at it, and for what it is waited.
#[derive(Debug, Default)]
struct SetBack {
    looks: AtomicUsize,
    waits: Mutex<Vec<Option<Timestamp>>>,
}

impl WakeSource for SetBack {
    fn now(&self) -> Timestamp {
        if self.looks.fetch_add(1, Ordering::SeqCst) == 0 { t(AT) } else { t("09:00:00") }
    }

    async fn wait(&self, until: Option<Timestamp>) {
        self.waits.lock().expect("one thread").push(until);
        std::future::pending().await
    }
}

/// A replica that stood still in a pass while the clock was set back took the lease over an hour late.
#[tokio::test]
async fn clock_that_is_set_back_in_a_pass_does_not_put_the_next_one_off() {
    let (_rules, rules) = watch::channel(Arc::new(Rules::default()));
    let (_mode, mode) = watch::channel(Mode::Active);
    let time = Arc::new(SetBack::default());
    let engine = Engine {
        store: Arc::new(simulated()),
        injector: Arc::new(Counting::default()),
        time: time.clone(),
        witness: Arc::new(Refusals::default()),
        rules,
        mode,
        poke: Arc::default(),
        hints: Arc::default(),
    };
    assert!(engine.run().now_or_never().is_none());
    assert_eq!(*time.waits.lock().expect("one thread"), [Some(t("09:00:00"))], "it looks again at once");
}

/// A list of many pages takes longer than other calls.
#[tokio::test(start_paused = true)]
async fn start_is_looked_for_in_a_list_that_takes_half_a_minute() {
    let (store, run) = (Arc::new(simulated()), asked(read(slot_run(AT), AT, 600), AT));
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let (_rules, rules) = watch::channel(rules(experiment(), Vec::new()));
    let (_mode, mode) = watch::channel(Mode::Active);
    let injector = Arc::new(Counting { list_takes: Duration::from_secs(30), ..Counting::default() });
    let engine = Engine {
        store: store.clone(),
        injector,
        time: Arc::new(Clock(Instant::now())),
        witness: Arc::new(Refusals::default()),
        rules,
        mode,
        poke: Arc::default(),
        hints: Arc::default(),
    };
    let ends = tokio::time::timeout(Duration::from_secs(40), engine.run()).await;
    assert!(ends.is_err(), "it goes on");
    let seen: Vec<_> = store.with(|tables| tables.journal.iter().map(|(_, entry)| entry.observation.clone()).collect());
    assert!(seen.contains(&Observation::NotFound), "{seen:?}");
}
