//! Rows of a world that cannot be read for a while, as after a fault of the disk or under a version that writes them otherwise.
//!
//! What they may be about does not start meanwhile, and what is known to run is stopped all the same. A row that is written
//! anew can be read again, and in the end every row can.

use std::{collections::BTreeSet, sync::Arc};

use firedrill::{
    domain::{
        deployment::{Deployed, DeployedKey},
        ids::{ExperimentName, Name, RunId},
        ledger::Ledger,
        plan::{DOUBT_LOOKS, Halt, HaltRunning, ScheduleKey, StopRequest, Withheld},
        run::{Doubt, Observation, Run, RunState, WindowRule},
    },
    engine::ports::{Change, Found, Journaled, Rows, StoreError},
};
use jiff::Timestamp;

use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{MINUTE_MS, SECOND_MS},
        },
        driven::{replica::Why, world::World},
        judged::check::Evidence,
        planted::{self, Bug},
        simulated::{
            nature::Nature,
            store::MemoryStore,
            tables::{Durable, Tables},
        },
    },
    support::chance::Chance,
};

/// The first numbers of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 100;

/// Longest time from when a row can be read again until it is known, in milliseconds.
const KNOWN_MS: u64 = 2 * SECOND_MS;

/// What kind of row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A run's that goes on.
    Going,
    /// A run's whose start was asked for.
    Starting,
    /// A run's that waits.
    Waiting,
    Halt,
    Stop,
    Ledger,
    Pause,
    Deployed,
    Cursor,
}

/// Every kind, the more important ones more often.
const KINDS: [Kind; 15] = [
    Kind::Going,
    Kind::Going,
    Kind::Going,
    Kind::Going,
    Kind::Starting,
    Kind::Starting,
    Kind::Waiting,
    Kind::Halt,
    Kind::Halt,
    Kind::Stop,
    Kind::Stop,
    Kind::Ledger,
    Kind::Pause,
    Kind::Deployed,
    Kind::Cursor,
];

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Row {
    Run(RunId),
    Halt,
    Stop(RunId),
    Ledger(ExperimentName),
    Pause(ExperimentName),
    Deployed(DeployedKey),
    Cursor(ScheduleKey),
}

/// A row that cannot be read from a true time on until another (exclusive).
#[derive(Debug, Clone)]
pub struct Torn {
    pub row: Row,
    kind: Kind,
    pub from: u64,
    pub to: u64,
}

impl Torn {
    fn is_at(&self, ms: u64) -> bool {
        (self.from..self.to).contains(&ms)
    }

    fn error(&self) -> StoreError {
        StoreError::Row { row: format!("{:?}", self.row), source: "simulated".into() }
    }
}

/// Draws when rows cannot be read in a world of so many milliseconds, with a chance of its own: in one of three worlds.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(16) ^ !0);
    if !c.one_in(3) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for request in FIRST_REQUEST..FIRST_REQUEST + 3 {
        let (kind, at) = (c.pick(&KINDS), c.between(0, length_ms));
        let longest = if kind == Kind::Going { 20 } else { c.pick(&[1, 2, 5]) };
        all.push((at, Happening::Unreadable { kind, for_ms: c.between(SECOND_MS, longest * MINUTE_MS) }));
        if kind == Kind::Going && c.one_in(2) {
            // What goes on has to be stopped soon.
            let (experiment, windows) = (c.between(0, 3), WindowRule::Overridden);
            all.push((at, Happening::StartByHand { request, experiment, windows }));
            let (at, stop) = (at + c.between(5, 60) * SECOND_MS, c.pick(&[true, false]));
            all.push((at, if stop { Happening::StopByHand } else { Happening::Halt }));
            all.extend((!stop).then(|| (at + c.between(0, 5 * MINUTE_MS), Happening::Resume)));
        }
        if kind == Kind::Ledger {
            all.extend((0..3).map(|_| (at + c.between(0, 5 * MINUTE_MS), Happening::Retell)));
        }
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// A row cannot be read from now on, or as soon as one of the kind is written.
    pub fn tear(&mut self, kind: Kind, for_ms: u64) {
        self.store.with(|tables| {
            tables.due.push((kind, for_ms));
            tables.tear(&self.nature, self.nature.elapsed());
        });
    }

    /// Whose ledger cannot be read, as somebody is told who looks.
    pub fn unread_ledger(&self) -> Option<ExperimentName> {
        self.store.with(|tables| tables.unread_ledger(self.nature.elapsed()))
    }
}

impl MemoryStore {
    /// All rows as they are loaded.
    pub fn loaded(&self, tables: &mut Tables) -> Rows {
        let now = self.nature.elapsed();
        match tables.bug {
            Bug::StaleRevisionAccepted => {
                let late = self.before.lock().expect("one thread").clone();
                let late = late.filter(|_| self.nature.draw(|c| c.one_in(4)));
                late.map_or_else(|| tables.load(now), |(_, late)| late.load(now))
            }
            Bug::LookNeverAges => {
                planted::look_lately(tables, self.nature.clock(self.place.seat.replica));
                tables.load(now)
            }
            _ => tables.load(now),
        }
    }
}

impl Tables {
    /// Makes that rows cannot be read from now on that are due to.
    pub fn tear(&mut self, nature: &Nature, now: u64) {
        for (kind, for_ms) in std::mem::take(&mut self.due) {
            let mut rows = self.of_kind(kind);
            if rows.is_empty() {
                self.due.push((kind, for_ms));
                continue;
            }
            let row = rows.swap_remove(nature.draw(|c| c.between(0, rows.len() as u64 - 1)) as usize);
            nature.say(|| format!("store: {row:?} cannot be read for {for_ms} ms"));
            // What cannot be read by now is in that state for longer: it is not seen between.
            match self.torn.iter_mut().find(|torn| torn.is_at(now) && torn.row == row) {
                Some(torn) => torn.to = torn.to.max(now + for_ms),
                None => self.torn.push(Torn { row, kind, from: now, to: now + for_ms }),
            }
        }
    }

    fn of_kind(&self, kind: Kind) -> Vec<Row> {
        let runs = |is_of: fn(&RunState) -> bool| {
            self.open().filter(|run| is_of(&run.state)).map(|run| Row::Run(run.id.clone())).collect()
        };
        match kind {
            Kind::Going => runs(|state| matches!(state, RunState::Running { .. })),
            Kind::Starting => runs(|state| matches!(state, RunState::Starting { .. })),
            Kind::Waiting => {
                runs(|state| matches!(state, RunState::Requested | RunState::Settling | RunState::Held { .. }))
            }
            Kind::Halt => self.halt.iter().map(|_| Row::Halt).collect(),
            Kind::Stop => self.stops.keys().cloned().map(Row::Stop).collect(),
            Kind::Ledger => self.ledgers.keys().cloned().map(Row::Ledger).collect(),
            Kind::Pause => self.pauses.keys().cloned().map(Row::Pause).collect(),
            Kind::Deployed => self.deployed.keys().cloned().map(Row::Deployed).collect(),
            Kind::Cursor => self.cursors.keys().cloned().map(Row::Cursor).collect(),
        }
    }

    /// A row cannot be read from now on.
    pub fn spoil(&mut self, row: Row) {
        self.torn.push(Torn { row, kind: Kind::Going, from: 0, to: u64::MAX });
    }

    /// A row is written anew, or deleted.
    pub fn mend(&mut self, row: &Row, now: u64) {
        self.torn.iter_mut().filter(|torn| torn.row == *row).for_each(|torn| torn.to = torn.to.min(now.max(torn.from)));
    }

    /// Every row can be read again, and is taken.
    pub fn mend_all(&mut self, now: u64) {
        self.due.clear();
        self.quarantine_is_full = false;
        self.refusals.end(now);
        self.torn.iter_mut().for_each(|torn| torn.to = torn.to.min(now));
    }

    /// A ledger that cannot be read is made anew of what its runs tell, as far as those can be read; tells whether it was.
    pub fn retell(&mut self, name: &ExperimentName, groups: Vec<Name>, at: Timestamp, now: u64) -> Found {
        let row = Row::Ledger(name.clone());
        if self.unread(&row, now).is_ok() {
            return Found::No;
        }
        let mut runs: Vec<&Run> = self.runs.values().filter(|run| run.experiment == *name).collect();
        runs.sort_by_key(|run| (run.opened_at, &run.id));
        let (read, unread): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|run| self.unread(&Row::Run(run.id.clone()), now).is_ok());
        let without = unread.into_iter().map(|run| run.id.clone()).collect();
        let ledger = match self.bug {
            Bug::LedgerBeginsAnew => Ledger::default(),
            _ => Ledger::retold(read, groups, at),
        };
        self.ledgers.insert(name.clone(), ledger);
        self.log.push((now, Durable::Retold { experiment: name.clone(), at, without }));
        self.mend(&row, now);
        Found::Yes
    }

    /// Whose ledger cannot be read.
    fn unread_ledger(&self, now: u64) -> Option<ExperimentName> {
        self.torn.iter().filter(|torn| torn.is_at(now)).find_map(|torn| match &torn.row {
            Row::Ledger(name) => Some(name.clone()),
            _ => None,
        })
    }

    /// Why a row cannot be read, if it cannot.
    pub fn unread(&self, row: &Row, now: u64) -> Result<(), StoreError> {
        let torn = self.torn.iter().find(|torn| torn.is_at(now) && torn.row == *row);
        torn.map_or(Ok(()), |torn| Err(torn.error()))
    }

    /// Fails where a run is opened whose row is not taken, or whose transaction reads one that cannot be read.
    pub fn may_open<'a>(&mut self, runs: impl IntoIterator<Item = &'a Run>, now: u64) -> Result<(), StoreError> {
        for run in runs {
            if !self.runs.contains_key(&run.id) {
                self.takes(run, run.trigger.kind(), now)?;
                Deployed::key(run).map_or(Ok(()), |key| self.unread(&Row::Deployed(key), now))?;
            }
        }
        Ok(())
    }

    /// Fails where changes are made whose row is not taken, or whose transaction reads one that cannot be read.
    pub fn may_make(&mut self, changes: &[Change], now: u64) -> Result<(), StoreError> {
        if self.torn.is_empty() && self.refusals.are_none() {
            return Ok(());
        }
        for change in changes {
            match change {
                Change::Advance { run, observation, journal, .. } => {
                    if self.runs.get(&run.id).is_none_or(|stored| stored.revision + 1 != run.revision) {
                        continue;
                    }
                    self.takes(run, observation.as_str(), now)?;
                    if *journal == Journaled::No {
                        continue;
                    }
                    Deployed::key(run).map_or(Ok(()), |key| self.unread(&Row::Deployed(key), now))?;
                    if Ledger::heeds(run, observation) {
                        self.unread(&Row::Ledger(run.experiment.clone()), now)?;
                    }
                }
                Change::OpenSlots { runs, .. } => self.may_open(runs, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// All rows, as far as they can be read, and what is said of the others.
    pub fn load(&self, now: u64) -> Rows {
        let mut rows = Rows {
            cursors: self.cursors.clone(),
            runs: self.open().filter(|run| self.shows(run)).cloned().collect(),
            halt: self.halt.clone(),
            stops: self.stops.clone(),
            ledgers: self.ledgers.clone(),
            pauses: self.pauses.clone(),
            deployed: self.deployed.clone(),
            restored_at: self.restored_at,
            ..Rows::default()
        };
        for torn in self.torn.iter().filter(|torn| torn.is_at(now)) {
            if self.withhold(&torn.row, &mut rows) {
                rows.unreadable.get_or_insert_with(|| Arc::new(torn.error()));
            }
        }
        match self.bug {
            Bug::WithheldIgnored => {
                (rows.withheld, rows.unread, rows.unreadable) = (Withheld::default(), BTreeSet::new(), None);
            }
            Bug::UnreadRunForgotten => rows.unread.clear(),
            Bug::FailuresForgotten => rows.ledgers.values_mut().for_each(Ledger::forgive),
            Bug::SpendingForgotten => rows.ledgers.values_mut().for_each(|ledger| ledger.action_minutes.clear()),
            Bug::OneLookIsEnough => rows.runs.iter_mut().for_each(|run| {
                if let RunState::Starting { looks, doubt: Doubt::NotFound { .. }, .. } = &mut run.state {
                    *looks = DOUBT_LOOKS;
                }
            }),
            Bug::GoingCostsNothing => {
                let going = rows.runs.iter_mut().filter(|run| run.may_be_running());
                going.filter_map(|run| run.facts.as_mut()).for_each(|facts| facts.actions.clear());
            }
            Bug::HaltStopsNothing => rows.halt.iter_mut().for_each(|halt| halt.running = HaltRunning::Finish),
            _ => {}
        }
        rows
    }

    /// Takes out a row that cannot be read; tells whether it was there.
    fn withhold(&self, row: &Row, rows: &mut Rows) -> bool {
        let by = || "somebody whose row cannot be read".to_owned();
        let (at, is_ignored) = (Timestamp::UNIX_EPOCH, self.bug == Bug::WithheldIgnored);
        let withheld = match row {
            Row::Run(id) => {
                let Some(place) = rows.runs.iter().position(|run| run.id == *id) else { return false };
                let run = rows.runs.remove(place);
                if run.may_be_running() {
                    rows.unread.insert(run.id);
                    None
                } else {
                    Some(run.experiment)
                }
            }
            Row::Halt => {
                if rows.halt.take().is_none() {
                    return false;
                }
                let halt = Halt { at, by: by(), reason: None, running: HaltRunning::Stop, levers: Vec::new() };
                rows.halt = (!is_ignored).then_some(halt);
                None
            }
            Row::Stop(id) => {
                let was_there = rows.stops.remove(id).is_some();
                if was_there && !is_ignored {
                    rows.stops.insert(id.clone(), StopRequest { at, by: by(), reason: None });
                }
                return was_there;
            }
            Row::Ledger(name) => {
                if rows.ledgers.remove(name).is_none() {
                    return false;
                }
                (self.bug == Bug::LedgerWithholdsItsOwn).then(|| name.clone())
            }
            Row::Pause(name) => rows.pauses.remove(name).map(|_| name.clone()),
            Row::Cursor(key) => rows.cursors.remove(key).map(|_| key.0.clone()),
            Row::Deployed(key) => {
                let was_there = rows.deployed.remove(key).is_some();
                // Those that no open run is about are not looked at.
                let is_of = |run: &&Run| Deployed::key(run).as_ref() == Some(key);
                (was_there && self.open().any(|run| is_of(&run))).then(|| key.0.clone())
            }
        };
        if withheld.is_none() && !matches!(row, Row::Run(_) | Row::Halt | Row::Ledger(_)) {
            return false;
        }
        rows.withheld.add(withheld);
        true
    }
}

/// Nothing starts that a row may be about which could not be read in all the time that the decision may have taken.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let all = evidence.world.store.with(|tables| tables.torn.clone());
    for (id, entries) in evidence.journal.iter().filter(|_| !all.is_empty()) {
        let run = &evidence.runs[id];
        for (ms, at, _) in entries.iter().filter(|(.., seen)| matches!(seen, Observation::StartAsked { .. })) {
            let began = evidence.began(*ms);
            let mut torn = all.iter().filter(|torn| torn.from < began && *ms < torn.to);
            if let Some(torn) = torn.find(|torn| is_about(evidence, torn, run)) {
                found.push(format!("unread: {id} is started at {at}, {torn:?} may be about it"));
            }
        }
    }
}

fn is_about(evidence: &Evidence<'_>, torn: &Torn, run: &Run) -> bool {
    let of = |id: &RunId| evidence.runs.get(id).is_some_and(|other| other.experiment == run.experiment);
    match &torn.row {
        Row::Run(id) => torn.kind != Kind::Waiting || of(id),
        // Others' gaps and the month's budget go by a ledger.
        Row::Halt | Row::Ledger(_) => true,
        Row::Stop(_) => false,
        Row::Pause(name) | Row::Cursor((name, _)) => run.experiment == *name,
        Row::Deployed(key) => Deployed::key(run).as_ref() == Some(key),
    }
}

/// When nobody who decided knew of a run that it goes on, because its row could not be read.
pub fn blind(evidence: &Evidence<'_>, run: &RunId) -> Vec<(u64, u64)> {
    let (torn, terms) = evidence.world.store.with(|tables| (tables.torn.clone(), tables.lease.terms.clone()));
    let torn = torn.into_iter().filter(|torn| torn.row == Row::Run(run.clone()) && torn.from < torn.to);
    // What can be read again is known once the store can be asked.
    let away = evidence.world.absences(|why| why != Why::Cut);
    let away: Vec<(u64, u64)> = away.into_iter().chain(evidence.world.store_faults()).collect();
    let known = |mut at: u64| {
        let back = |at: u64| away.iter().filter(|(from, to)| *from <= at && at < *to).map(|(_, to)| *to).max();
        while let Some(to) = back(at) {
            at = to.saturating_add(KNOWN_MS);
        }
        at
    };
    let blind = torn.map(|torn| {
        let n = terms.iter().rposition(|term| term.from <= torn.from);
        let knows = n.filter(|n| {
            let term = &terms[*n];
            evidence.hears_within(term.seat.replica, term.from, torn.from)
        });
        let from = knows.map_or(torn.from, |n| {
            let replica = &evidence.world.replicas[terms[n].seat.replica];
            let downs = replica.outages.iter().filter(|outage| outage.why == Why::Down).map(|outage| outage.from);
            let downs = downs.chain(replica.down_since).filter(|from| *from >= terms[n].from);
            let next = terms.get(n + 1).map(|next| next.from);
            downs.chain(next).chain(terms[n].released).min().unwrap_or(u64::MAX)
        });
        (from.max(torn.from), known(torn.to + KNOWN_MS))
    });
    blind.filter(|(from, to)| from < to).collect()
}

/// Names what could not be read, and what happened meanwhile.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let all = evidence.world.store.with(|tables| tables.torn.clone());
    let mut seen: BTreeSet<&'static str> = all.iter().filter(|torn| torn.from < torn.to).map(Torn::named).collect();
    let is_anew = |(_, durable): &(u64, Durable)| matches!(durable, Durable::Retold { .. });
    seen.extend(evidence.world.store.with(|tables| tables.log.iter().any(is_anew)).then_some("ledger made anew"));
    evidence.world.fis.with(|state| {
        for call in state.calls.iter().filter(|call| call.operation == "StopExperiment") {
            let is_of = |torn: &&Torn| call.run.clone().is_some_and(|run| torn.row == Row::Run(run));
            if all.iter().filter(is_of).any(|torn| torn.is_at(call.at)) {
                seen.insert("stopped unread");
            }
        }
    });
    seen
}

impl Torn {
    fn named(&self) -> &'static str {
        match self.kind {
            Kind::Going => "unread run that goes on",
            Kind::Starting => "unread start",
            Kind::Waiting => "unread run that waits",
            Kind::Halt => "unread halt",
            Kind::Stop => "unread stop",
            Kind::Ledger => "unread ledger",
            Kind::Pause => "unread pause",
            Kind::Deployed => "unread deployment",
            Kind::Cursor => "unread cursor",
        }
    }
}
