//! Rows that the store does not take for a while, though it works: too big, or against a constraint.
//!
//! Nothing of their transaction is made then. What is about others goes on: it is tried without them soon.

use std::collections::BTreeSet;

use firedrill::{
    domain::{
        ids::{ExperimentName, RunId},
        run::{Run, WindowRule},
    },
    engine::ports::{Change, StoreError},
};

use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{MINUTE_MS, SECOND_MS, experiment_name},
        },
        driven::world::World,
        judged::check::Evidence,
        planted::Bug,
        simulated::{store::failed, tables::Tables},
    },
    support::chance::Chance,
};

/// The first numbers of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 300;

/// Longest time until what was refused because of another's row is tried without it, in milliseconds.
const ALONE_MS: u64 = 3 * SECOND_MS;

/// Planted: how long nothing is tried alone, in milliseconds.
const SPREADS_MS: u64 = SECOND_MS / 2;

/// Which rows are not taken, and what came of it.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    /// Experiments whose runs' rows are not taken from a true time on until another (exclusive).
    of: Vec<(ExperimentName, u64, u64)>,
    /// Of which experiments they are not taken for how long as soon as a start is to be asked for.
    due: Vec<(ExperimentName, u64)>,
    /// What was refused.
    seen: BTreeSet<String>,
    /// Transactions that were refused because of a row of another.
    beside: Vec<Beside>,
}

/// What was refused because of another's row, and has not been tried without it.
#[derive(Debug, Clone)]
struct Beside {
    at: u64,
    /// Runs, and their revisions.
    runs: Vec<(RunId, u64)>,
}

/// Draws when rows are not taken in a world of so many milliseconds, with a chance of its own: in one of six worlds.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(40) ^ !0);
    if !c.one_in(6) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for request in (FIRST_REQUEST..).step_by(2).take(3) {
        let (at, experiment, longest) = (c.between(0, length_ms), c.between(0, 3), c.pick(&[1, 2, 5]));
        all.push((at, Happening::RefuseRows { experiment, for_ms: c.between(SECOND_MS, longest * MINUTE_MS) }));
        // It begins about then, or goes on, and so does another that begins at the same time.
        let begins = (at + c.between(0, 3 * SECOND_MS)).saturating_sub(c.pick(&[0, 2, 3, 3, 20]) * SECOND_MS);
        for n in 0..2 {
            let (request, experiment) = (request + n, (experiment + n) % 4);
            all.push((begins, Happening::StartByHand { request, experiment, windows: WindowRule::Overridden }));
        }
        let ends = at + c.between(0, 30 * SECOND_MS);
        if c.one_in(3) {
            all.push((ends, Happening::StopByHand));
        } else {
            all.push((ends, Happening::Halt));
            all.push((ends + c.between(0, 5 * MINUTE_MS), Happening::Resume));
        }
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// Rows of an experiment's runs are not taken from now on.
    pub fn refuse(&mut self, experiment: u64, for_ms: u64) {
        let now = self.nature.elapsed();
        let (name, from_a_start) = (experiment_name(experiment), self.nature.draw(|c| c.one_in(3)));
        self.store.with(|tables| match from_a_start {
            true => tables.refusals.due.push((name, for_ms)),
            false => tables.refusals.of.push((name, now, now + for_ms)),
        });
    }
}

impl Refusals {
    pub fn end(&mut self, now: u64) {
        self.due.clear();
        self.of.iter_mut().for_each(|(.., to)| *to = now.min(*to));
    }

    fn is_of(&self, experiment: &ExperimentName, now: u64) -> bool {
        self.of.iter().any(|(of, from, to)| of == experiment && (*from..*to).contains(&now))
    }

    /// Whether rows of an experiment's runs were not taken for some of the time from one instant to another.
    pub fn were_of(&self, experiment: &ExperimentName, (from, to): (u64, u64)) -> bool {
        self.of.iter().any(|(of, since, until)| of == experiment && *since < to && from < *until)
    }

    /// A start is to be asked for.
    fn begin(&mut self, experiment: &ExperimentName, now: u64) {
        let begun = self.due.extract_if(.., |(of, _)| of == experiment);
        self.of.extend(begun.map(|(of, for_ms)| (of, now, now + for_ms)));
    }

    /// Whether every row was taken so far.
    pub fn are_none(&self) -> bool {
        self.of.is_empty() && self.due.is_empty()
    }
}

impl Tables {
    /// Fails where a run's row is not taken; says of what it would have told.
    pub fn takes(&mut self, run: &Run, telling: &str, now: u64) -> Result<(), StoreError> {
        if telling == "start-asked" {
            self.refusals.begin(&run.experiment, now);
        }
        if !self.refusals.is_of(&run.experiment, now) {
            return Ok(());
        }
        self.refusals.seen.insert(format!("refused {telling}"));
        Err(StoreError::Refused { source: "simulated".into() })
    }

    /// Fails where one of the changes of a transaction cannot be made.
    pub fn may_commit(&mut self, changes: &[Change], now: u64) -> Result<(), StoreError> {
        if self.refusals.are_none() {
            return self.may_make(changes, now);
        }
        let last = self.refusals.beside.last();
        if changes.len() == 1 && self.bug == Bug::RefusalSpreads && last.is_some_and(|last| now < last.at + SPREADS_MS)
        {
            return Err(failed("write"));
        }
        let made = self.may_make(changes, now);
        let advances = |change: &Change| match change {
            Change::Advance { run, .. } => Some((run.id.clone(), run.revision, run.experiment.clone())),
            _ => None,
        };
        if changes.len() == 1 || made.is_ok() {
            let tried: Vec<_> = changes.iter().filter_map(advances).collect();
            for beside in self.refusals.beside.iter_mut().filter(|beside| now <= beside.at + ALONE_MS) {
                beside.runs.retain(|run| !tried.iter().any(|(id, revision, _)| (id, revision) == (&run.0, &run.1)));
            }
        } else if matches!(made, Err(StoreError::Refused { .. })) {
            let others = changes.iter().filter_map(advances).filter(|(.., of)| !self.refusals.is_of(of, now));
            let runs: Vec<_> = others.map(|(id, revision, _)| (id, revision)).collect();
            if !runs.is_empty() {
                self.refusals.seen.insert("refused beside another".to_owned());
                self.refusals.beside.push(Beside { at: now, runs });
            }
        }
        made
    }
}

/// Whatever was refused because of another's row is tried without it.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let world = evidence.world;
    let beside = world.store.with(|tables| tables.refusals.beside.clone());
    for Beside { at, runs } in beside.into_iter().filter(|beside| !beside.runs.is_empty()) {
        let mut hindrances = world.absences(|_| true).into_iter().chain(world.store_faults());
        if !hindrances.any(|(from, to)| from <= at + ALONE_MS && at <= to) {
            found.push(format!("refused: {runs:?} were refused at {at} ms for another's row, and are not tried alone"));
        }
    }
}

/// Names what was refused.
pub fn seen(world: &World) -> BTreeSet<String> {
    world.store.with(|tables| tables.refusals.seen.clone())
}
