//! The rows of a world, what became durable besides, and what every transaction makes of them.
//!
//! Each write is checked as it is made: revisions rise by one, and the row is what the observation makes of the row before.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::{
    domain::{
        deployment::{Deployed, DeployedKey, Known},
        ids::{ExperimentName, RunId, ScheduleName},
        ledger::{Definition, Ledger},
        plan::{Cursor, Cursors, Halt, PauseRow, ScheduleKey, StopRequest},
        run::{JournalEntry, Observation, Run, RunState, Trigger},
    },
    engine::ports::{Arrival, Change, Committed, Journaled, QuarantinedMessage, Recorded},
};
use jiff::Timestamp;

use super::{couriers::Positions, lease::LeaseRow, nature::Nature};
use crate::sim::{
    driven::told,
    planted::{self, Bug},
    troubles::{
        halts::Halts,
        refused::Refusals,
        unread::{Kind, Row, Torn},
    },
};

/// Something durable that is not in the rows of the end.
#[derive(Debug, Clone)]
pub enum Durable {
    Adopted { key: ScheduleKey, before: Option<Cursor>, at: Timestamp },
    Forgotten { key: ScheduleKey, left_at: Option<Timestamp> },
    Opened { key: ScheduleKey, before: Option<Cursor>, after: Timestamp, at: Timestamp },
    Halts { asked: Halts, row: Option<Timestamp> },
    Paused { experiment: ExperimentName, row: PauseRow },
    Retold { experiment: ExperimentName, at: Timestamp, without: BTreeSet<RunId> },
    Arrived { event_id: String },
    Forbidden,
}

#[derive(Debug, Clone, Default)]
pub struct Tables {
    pub cursors: Cursors,
    pub runs: BTreeMap<RunId, Run>,
    /// Open runs, in the order in which they were opened.
    pub open: BTreeMap<(Timestamp, i64), RunId>,
    /// Entries with the true time at which each became durable.
    pub journal: Vec<(u64, JournalEntry)>,
    /// By source and id: which queue brought it first, and its runs.
    pub events: BTreeMap<(String, String), (Option<String>, Vec<RunId>)>,
    pub quarantined: BTreeMap<(String, String), QuarantinedMessage>,
    /// Other messages that cannot be read have taken all its room.
    pub quarantine_is_full: bool,
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
    pub unwritten: BTreeMap<RunId, Change>,
    /// Who may decide.
    pub lease: LeaseRow,
    /// Rows that could not be read, and when.
    pub torn: Vec<Torn>,
    /// What kinds of rows cannot be read as soon as there are any, and for how long.
    pub due: Vec<(Kind, u64)>,
    /// Rows that are not taken, and when.
    pub refusals: Refusals,
    pub restored_at: Option<Timestamp>,
    /// How far couriers have come.
    pub couriers: Positions,
    /// What is built wrong.
    pub bug: Bug,
    /// Planted: what was left for the next transaction.
    pub later: Vec<Later>,
}

/// Planted: part of a transaction that is left for the next one.
#[derive(Debug, Clone)]
pub enum Later {
    Deployed(Run, Observation, Timestamp),
    Ledger(Run, Observation, Timestamp, Option<Definition>),
    Opened(Run, Timestamp),
}

impl Tables {
    pub fn make(&mut self, change: Change, nature: &Nature, ms: u64) -> Committed {
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

    pub fn arrive(&mut self, arrival: Arrival, ms: u64) -> Recorded {
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

    pub fn insert(&mut self, run: Run, at: Timestamp, ms: u64) -> Recorded {
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
    pub fn make_up(&mut self, ms: u64) {
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
    pub fn shows(&self, run: &Run) -> bool {
        self.bug != Bug::HoldNeverJudgedAgain || !matches!(run.state, RunState::Held { .. })
    }

    /// Open runs, in the order in which they were opened.
    pub fn open(&self) -> impl Iterator<Item = &Run> {
        self.open.values().map(|id| &self.runs[id])
    }

    fn change(&mut self, change: Change, ms: u64) -> Committed {
        match change {
            Change::AdoptSchedule { schedule, at } => self.adopt(schedule, at, ms),
            Change::LeaveSchedule { schedule, at } => self.leave(schedule, at, ms),
            Change::ForgetSchedule { schedule } => self.forget(schedule, ms),
            Change::OpenSlots { schedule, cursor, runs, at } => {
                let before = self.cursors.get(&schedule).copied();
                if let Some(known) = self.cursors.get_mut(&schedule) {
                    *known = cursor.max(known.at).into();
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

    pub fn advance(
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
        Trigger::Slot { schedule: of, at, .. } if timetable.as_str().starts_with(&format!("{of}.")) => Some(*at),
        _ => None,
    }
}
