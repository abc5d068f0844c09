//! Rows in memory with the promises of the real store, and its ways to fail.
//!
//! They outlive a crash of the agent. Every write is checked as it is made: revisions rise by one, and the row is what
//! the observation makes of the row before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use firedrill::{
    domain::{
        deployment::{Deployed, DeployedKey, Known},
        ids::{ExperimentName, RunId, ScheduleName},
        ledger::{Definition, Ledger},
        plan::{Halt, Halting, PauseRow, Pausing, ScheduleKey, StopRequest},
        run::{JournalEntry, Observation, Run, RunState, Trigger},
    },
    engine::ports::{
        Arrival, Change, Committed, Found, Journaled, Lease, QuarantinedMessage, Recorded, Rows, Store, StoreError,
    },
};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    couriers::Positions,
    halts::Halts,
    lease::{LeaseRow, Place, Post},
    nature::Nature,
    planted::{self, Bug},
    refused::Refusals,
    told,
    unread::{Kind, Row, Torn},
};

/// Longest time that a slow query takes, in milliseconds.
pub(super) const SLOW_MS: u64 = 1_500;

/// Planted: how long what was acknowledged is not on the disk yet, in milliseconds.
const UNSYNCED_MS: u64 = 5_000;

/// Something durable that is not in the rows of the end.
#[derive(Debug, Clone)]
pub enum Durable {
    Adopted { key: ScheduleKey },
    Opened { key: ScheduleKey, before: Option<Timestamp>, after: Timestamp, at: Timestamp },
    Halts { asked: Halts, row: Option<Timestamp> },
    Paused { experiment: ExperimentName, row: PauseRow },
    Arrived { event_id: String },
    Forbidden,
}

#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub cursors: BTreeMap<ScheduleKey, Timestamp>,
    pub runs: BTreeMap<RunId, Run>,
    /// Open runs, in the order in which they were opened.
    open: BTreeMap<(Timestamp, i64), RunId>,
    /// Entries with the true time at which each became durable.
    pub journal: Vec<(u64, JournalEntry)>,
    /// By source and id: which queue brought it first, and its runs.
    pub events: BTreeMap<(String, String), (Option<String>, Vec<RunId>)>,
    pub quarantined: BTreeMap<(String, String), QuarantinedMessage>,
    pub stops: BTreeMap<RunId, StopRequest>,
    pub halt: Option<Halt>,
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    pub deployed: BTreeMap<DeployedKey, Deployed>,
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    /// What became durable besides, and when in true time.
    pub log: Vec<(u64, Durable)>,
    /// When a query failed, or began to be slow.
    pub faults: Vec<u64>,
    /// Writes that broke a rule.
    pub broken: Vec<String>,
    /// Planted: intents that were acknowledged and are not written yet.
    pub(super) unwritten: BTreeMap<RunId, Change>,
    /// Who may decide.
    pub lease: LeaseRow,
    /// Rows that could not be read, and when.
    pub torn: Vec<Torn>,
    /// What kinds of rows cannot be read as soon as there are any, and for how long.
    pub due: Vec<(Kind, u64)>,
    /// Rows that are not taken, and when.
    pub(super) refusals: Refusals,
    pub restored_at: Option<Timestamp>,
    /// How far couriers have come.
    pub couriers: Positions,
    /// What is built wrong.
    pub(super) bug: Bug,
    /// Planted: what was left for the next transaction.
    later: Vec<Later>,
}

/// Planted: part of a transaction that is left for the next one.
#[derive(Debug, Clone)]
enum Later {
    Deployed(Run, Observation, Timestamp),
    Ledger(Run, Observation, Timestamp, Option<Definition>),
    Opened(Run, Timestamp),
}

/// The rows, as one process sees them.
pub struct MemoryStore {
    pub(super) nature: Arc<Nature>,
    pub(super) tables: Arc<Mutex<Tables>>,
    pub(super) place: Place,
    /// Planted: the rows before the last write, as long as that is not on the disk.
    pub(super) before: Arc<Mutex<Option<(u64, Tables)>>>,
    /// What is on its way, of any process.
    pub(super) post: Arc<Mutex<Post>>,
    /// Somebody gave the lease back.
    pub(super) freed: Arc<Notify>,
}

pub(super) fn failed(action: &'static str) -> StoreError {
    StoreError::Query { action, source: "simulated".into() }
}

impl MemoryStore {
    pub fn new(nature: Arc<Nature>) -> Self {
        let tables = Arc::new(Mutex::new(Tables { bug: nature.bug(), ..Tables::default() }));
        Self {
            nature,
            tables,
            place: Place::default(),
            before: Arc::default(),
            post: Arc::default(),
            freed: Arc::default(),
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock().expect("one thread");
        self.deliver(&mut tables);
        look(&mut tables)
    }

    /// A process is gone, and with it what was never written.
    pub fn crash(&self) {
        let before = self.before.lock().expect("one thread").take();
        let now = self.nature.elapsed();
        self.with(|tables| {
            tables.unwritten.clear();
            tables.later.clear();
            match tables.bug {
                Bug::AcknowledgedTooEarly => {
                    if let Some((_, before)) = before.filter(|(at, _)| at + UNSYNCED_MS > now) {
                        *tables = before;
                    }
                }
                Bug::HaltForgotten => tables.halt = None,
                Bug::PausesForgotten => tables.pauses.clear(),
                Bug::CursorsForgotten => tables.cursors.clear(),
                Bug::EventsForgotten => tables.events.clear(),
                Bug::CouriersForgotten => tables.couriers.forget(),
                _ => {}
            }
        });
    }

    /// One transaction: it may fail before, or be done and not answered.
    pub(super) async fn write<T>(&self, change: impl FnOnce(&mut Tables, u64) -> T) -> Result<T, StoreError> {
        self.nature.pause().await;
        self.reach("write").await?;
        let weather = self.nature.weather();
        if self.nature.draw(|c| c.permille(weather.store / 4)) {
            self.with(|tables| tables.faults.push(self.nature.elapsed()));
            self.nature.let_pass(self.nature.draw(|c| c.between(1, SLOW_MS))).await;
        }
        let now = self.nature.elapsed();
        let out = now < weather.read_only_until.max(weather.store_out_until);
        if out || self.nature.draw(|c| c.permille(weather.store)) {
            self.with(|tables| tables.faults.push(now));
            self.nature.say(|| "store: write failed".to_owned());
            return Err(failed("write"));
        }
        let done = self.with(|tables| {
            if matches!(tables.bug, Bug::AcknowledgedTooEarly | Bug::StaleRevisionAccepted) {
                *self.before.lock().expect("one thread") = Some((now, tables.clone()));
            }
            tables.make_up(now);
            let done = change(tables, now);
            tables.tear(&self.nature, now);
            done
        });
        self.nature.pause().await;
        if self.is_cut() || self.nature.draw(|c| c.permille(weather.store)) {
            self.with(|tables| tables.faults.push(now));
            self.nature.say(|| "store: written, answer lost".to_owned());
            return Err(failed("write"));
        }
        Ok(done)
    }
}

impl Store for MemoryStore {
    async fn hold(&self) -> Result<Lease, StoreError> {
        self.hold_lease().await
    }

    async fn release(&self, leaves_it_for: std::time::Duration) -> Result<(), StoreError> {
        self.release_lease(leaves_it_for).await
    }

    async fn freed(&self) {
        self.hear_of_the_lease().await;
    }

    async fn load(&self) -> Result<Rows, StoreError> {
        self.look(|tables| self.loaded(tables)).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        self.commit_fenced(changes).await
    }

    async fn record_events(&self, arrivals: Vec<Arrival>) -> Result<Vec<Recorded>, StoreError> {
        self.write(move |tables, ms| {
            tables.may_open(arrivals.iter().flat_map(|arrival| &arrival.runs), ms)?;
            Ok(arrivals.into_iter().map(|arrival| tables.arrive(arrival, ms)).collect())
        })
        .await?
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        self.write(move |tables, _| {
            let is_kept = tables.bug != Bug::UnreadableForgotten;
            for message in messages.into_iter().filter(|_| is_kept) {
                let key = (message.queue.clone(), message.message_id.clone());
                tables.quarantined.entry(key).or_insert(message);
            }
        })
        .await
    }

    async fn quarantined_message(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Option<QuarantinedMessage>, StoreError> {
        let key = (queue.to_owned(), message_id.to_owned());
        Ok(self.with(|tables| tables.quarantined.get(&key).cloned()))
    }

    async fn forget_quarantined(&self, queue: &str, message_id: &str) -> Result<Found, StoreError> {
        let key = (queue.to_owned(), message_id.to_owned());
        self.write(move |tables, _| if tables.quarantined.remove(&key).is_some() { Found::Yes } else { Found::No })
            .await
    }

    async fn request_runs(&self, runs: Vec<Run>) -> Result<Recorded, StoreError> {
        self.write(move |tables, ms| {
            tables.may_open(&runs, ms)?;
            let new = runs.into_iter().filter(|run| tables.insert(run.clone(), run.opened_at, ms) == Recorded::New);
            Ok(if new.count() > 0 { Recorded::New } else { Recorded::Known })
        })
        .await?
    }

    async fn request_stop(&self, run: RunId, request: StopRequest) -> Result<Found, StoreError> {
        self.write(move |tables, _| {
            if tables.runs.get(&run).is_none_or(Run::is_over) {
                return Found::No;
            }
            if tables.bug != Bug::StopForgotten {
                tables.stops.entry(run).or_insert(request);
            }
            Found::Yes
        })
        .await
    }

    async fn halted(&self) -> Result<Option<Halt>, StoreError> {
        self.nature.pause().await;
        self.reach("read").await?;
        self.with(|tables| tables.unread(&Row::Halt, self.nature.elapsed()).map(|()| tables.halt.clone()))
    }

    async fn set_halt(&self, change: Halting) -> Result<Option<Halt>, StoreError> {
        self.write(move |tables, ms| {
            let asked = Halts::of(&change);
            let row = match (tables.unread(&Row::Halt, ms), &change) {
                (Err(_), Halting::Halt(_) | Halting::Resume) => None,
                (is_read, _) => is_read.map(|()| tables.halt.take())?,
            };
            tables.mend(&Row::Halt, ms);
            tables.halt = match (tables.bug, change) {
                (Bug::HaltWrittenBack, Halting::Note { seen, .. }) => Some(seen),
                (Bug::HaltWrittenBack, Halting::Lift { .. }) => None,
                (_, change) => change.after(row),
            };
            let row = tables.halt.as_ref().map(|halt| halt.at);
            tables.log.push((ms, Durable::Halts { asked, row }));
            Ok(tables.halt.clone())
        })
        .await?
    }

    async fn set_pause(&self, experiment: ExperimentName, change: Pausing) -> Result<(), StoreError> {
        self.write(move |tables, ms| {
            if let (Pausing::Resume, Some(_)) = (&change, tables.ledgers.get(&experiment)) {
                tables.unread(&Row::Ledger(experiment.clone()), ms)?;
                tables.ledgers.entry(experiment.clone()).or_default().forgive();
            }
            tables.mend(&Row::Pause(experiment.clone()), ms);
            let row = PauseRow::after(change);
            tables.log.push((ms, Durable::Paused { experiment: experiment.clone(), row: row.clone() }));
            tables.pauses.insert(experiment, row);
            Ok(())
        })
        .await?
    }
}

impl Tables {
    pub(super) fn make(&mut self, change: Change, nature: &Nature, ms: u64) -> Committed {
        if let Change::Advance { run, observation, journal, .. } = &change {
            let is_intent = matches!(observation, Observation::StartAsked { .. });
            if self.bug == Bug::StartThenRecord && is_intent {
                self.unwritten.insert(run.id.clone(), change);
                return Committed::Done;
            }
            if let Some(intent) = self.unwritten.remove(&run.id) {
                self.change(intent, ms);
            }
            if *journal == Journaled::Yes {
                nature.say(|| format!("{} {}", run.id, told::observation(observation)));
            }
        }
        self.change(change, ms)
    }

    fn arrive(&mut self, arrival: Arrival, ms: u64) -> Recorded {
        let (event, runs) = (arrival.event, planted::arrived(self.bug, arrival.runs, ms));
        let source = if self.bug == Bug::EventKeyWithoutSource { String::new() } else { event.source };
        let key = (source, event.event_id);
        let is_known = self.events.contains_key(&key);
        if !is_known {
            self.log.push((ms, Durable::Arrived { event_id: key.1.clone() }));
        }
        let (first, opened) = self.events.entry(key).or_insert_with(|| (event.queue.clone(), Vec::new()));
        let is_of_it = first.is_some() && *first == event.queue && !opened.is_empty();
        let is_again = self.bug != Bug::EventOpensAnother && is_known && is_of_it;
        let new: Vec<Run> = runs.into_iter().filter(|run| !is_again && !opened.contains(&run.id)).collect();
        opened.extend(new.iter().map(|run| run.id.clone()));
        let recorded = if is_known && new.is_empty() { Recorded::Known } else { Recorded::New };
        new.into_iter().for_each(|run| _ = self.insert(run, event.received_at, ms));
        recorded
    }

    fn insert(&mut self, run: Run, at: Timestamp, ms: u64) -> Recorded {
        if self.runs.contains_key(&run.id) {
            return Recorded::Known;
        }
        let seq = i64::try_from(self.journal.len()).expect("few entries") + 1;
        let observation = run.opening();
        self.remember(&run, &observation, at);
        if self.bug != Bug::OpeningUnjournaled || !run.is_over() {
            self.journal.push((ms, JournalEntry { seq, at, run: run.id.clone(), observation, explained: Vec::new() }));
        }
        if !run.is_over() {
            self.open.insert((run.opened_at, seq), run.id.clone());
        }
        self.runs.insert(run.id.clone(), run);
        Recorded::New
    }

    /// Notes what happened in the row of what the run is about.
    fn remember(&mut self, run: &Run, observation: &Observation, at: Timestamp) {
        let Some(key) = Deployed::key(run) else { return };
        if self.bug == Bug::DeploymentsNotedLater {
            return self.later.push(Later::Deployed(run.clone(), observation.clone(), at));
        }
        let row = self.deployed.entry(key).or_default();
        let before = row.change.filter(|change| change.until > run.opened_at);
        row.note(run, observation, at);
        match (self.bug, run.revision) {
            (Bug::LastEventWins, 0) => {
                let order = row.newest.as_ref().map_or(at, |newest| newest.order);
                let version = run.trigger.deployment().and_then(|deployment| deployment.version.clone());
                row.newest = Some(Known { run: run.id.clone(), version, order, at });
            }
            (Bug::SettlesOnce, 0) => row.change = before.or(row.change),
            _ => {}
        }
    }

    /// Planted: makes up for what was left for later.
    fn make_up(&mut self, ms: u64) {
        for left in std::mem::take(&mut self.later) {
            match left {
                Later::Deployed(run, observation, at) => {
                    if let Some(key) = Deployed::key(&run) {
                        self.deployed.entry(key).or_default().note(&run, &observation, at);
                    }
                }
                Later::Ledger(run, observation, at, definition) => {
                    let ledger = self.ledgers.entry(run.experiment.clone()).or_default();
                    ledger.note(&run, &observation, at, definition.as_ref());
                }
                Later::Opened(run, at) => _ = self.insert(run, at, ms),
            }
        }
    }

    /// Whether who loads the rows is shown a run.
    pub(super) fn shows(&self, run: &Run) -> bool {
        self.bug != Bug::HoldNeverJudgedAgain || !matches!(run.state, RunState::Held { .. })
    }

    /// Open runs, in the order in which they were opened.
    pub(super) fn open(&self) -> impl Iterator<Item = &Run> {
        self.open.values().map(|id| &self.runs[id])
    }

    fn change(&mut self, change: Change, ms: u64) -> Committed {
        match change {
            Change::AdoptSchedule { schedule, at } => {
                if self.cursors.contains_key(&schedule) {
                    return Committed::Stale;
                }
                self.log.push((ms, Durable::Adopted { key: schedule.clone() }));
                self.cursors.insert(schedule, at);
                Committed::Done
            }
            Change::ForgetSchedule { schedule } => {
                self.cursors.remove(&schedule);
                self.mend(&Row::Cursor(schedule), ms);
                Committed::Done
            }
            Change::OpenSlots { schedule, cursor, runs, at } => {
                let before = self.cursors.get(&schedule).copied();
                if let Some(known) = self.cursors.get_mut(&schedule) {
                    *known = cursor.max(*known);
                }
                self.log.push((ms, Durable::Opened { key: schedule, before, after: cursor, at }));
                let (runs, later) = planted::opened(self.bug, runs);
                let new = runs.into_iter().filter(|run| self.insert(run.clone(), at, ms) == Recorded::New).count();
                let new = new + later.len();
                self.later.extend(later.into_iter().map(|run| Later::Opened(run, at)));
                if new > 0 { Committed::Done } else { Committed::Stale }
            }
            Change::Advance { run, observation, journal, definition, explained, at } => {
                let (run, observation) = planted::ended(self.bug, run, observation);
                let entry = JournalEntry { seq: 0, at, run: run.id.clone(), observation, explained };
                self.advance(*run, entry, journal, definition.as_deref(), ms)
            }
        }
    }

    pub(super) fn advance(
        &mut self,
        run: Run,
        entry: JournalEntry,
        journal: Journaled,
        definition: Option<&Definition>,
        ms: u64,
    ) -> Committed {
        let Some(stored) = self.runs.get(&run.id) else { return Committed::Stale };
        let is_new = stored.revision == 0;
        if stored.revision + 1 != run.revision && self.bug != Bug::StaleRevisionAccepted {
            return Committed::Stale;
        }
        match stored.clone().apply(&entry.observation, entry.at) {
            Ok(expected) if expected == run => {}
            other => self.broken.push(format!("write: {} was written as {run:?}, not {other:?}", run.id)),
        }
        if journal == Journaled::Yes {
            let seq = i64::try_from(self.journal.len()).expect("few entries") + 1;
            let (experiment, observation, at) = (run.experiment.clone(), entry.observation.clone(), entry.at);
            if self.bug == Bug::LedgerNotedLater {
                self.later.push(Later::Ledger(run.clone(), observation, at, definition.cloned()));
            } else {
                self.ledgers.entry(experiment).or_default().note(&run, &observation, at, definition);
            }
            self.remember(&run, &entry.observation, entry.at);
            if let Some(entry) = planted::told(self.bug, is_new, JournalEntry { seq, ..entry }) {
                self.journal.push((ms, entry));
            }
        }
        if run.is_over() {
            self.stops.remove(&run.id);
            self.mend(&Row::Stop(run.id.clone()), ms);
            self.open.retain(|_, id| *id != run.id);
        }
        self.mend(&Row::Run(run.id.clone()), ms);
        self.runs.insert(run.id.clone(), run);
        Committed::Done
    }
}

/// The slot of a schedule, with this or an earlier timetable, that a run is about.
pub fn slot_of(run: &Run, timetable: &ScheduleName) -> Option<Timestamp> {
    match &run.trigger {
        Trigger::Slot { schedule: of, at } if timetable.as_str().starts_with(&format!("{of}.")) => Some(*at),
        _ => None,
    }
}
