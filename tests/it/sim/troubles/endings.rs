//! Processes that stop what runs before they end, as `on_shutdown = "stop"` asks: one that ends in its own time has left
//! nothing behind, and nothing is stopped for a shutdown while nobody ends.
//!
//! The real agent is cut off when it takes longer than its `drain_timeout`; so is a process here.

use std::collections::BTreeSet;

use firedrill::domain::{
    plan::Mode,
    run::{Observation, StopCause, WindowRule},
};

use crate::{
    sim::{
        drawn::{
            happening::{Happening, Whom},
            scenario::{MINUTE_MS, SECOND_MS},
        },
        driven::{replica::Replica, world::World},
        judged::{check::Evidence, closing::PROMPT_MS, replicas::ended},
        planted::Bug,
        simulated::{
            fis::{CallLog, LATE_MS, TIMEOUT_MS},
            lease::{Held, Seat},
            nature::Nature,
            truth::Experiment,
        },
    },
    support::chance::Chance,
};

/// How long processes that are to end may take, in milliseconds: less than a start without an answer needs, and the default.
const DRAIN_MS: [u64; 2] = [30 * SECOND_MS, 5 * MINUTE_MS];

/// The first number of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 700;

/// A process that was told to stop what runs and to end.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    seat: Seat,
    told_at: u64,
    /// When its process was gone.
    gone_at: Option<u64>,
    /// Whether it ended by itself.
    is_done: bool,
}

/// Draws whether a process that is told to end at a true time stops what runs, and how long that may take: in one of three
/// cases.
pub fn within(at: u64) -> Option<u64> {
    let mut c = Chance::new(at.rotate_left(4) ^ !0);
    c.one_in(3).then(|| c.pick(&DRAIN_MS))
}

/// Draws when a start is not answered that whoever decides has asked for when it is told to stop what runs and to end, in a
/// world of so many milliseconds, with a chance of its own: in one of six worlds.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(4) ^ !0);
    if !c.one_in(6) {
        return Vec::new();
    }
    let (mut all, whom) = (Vec::new(), Whom::Active);
    for request in FIRST_REQUEST..FIRST_REQUEST + c.between(1, 3) {
        let (at, experiment) = (c.between(0, length_ms), c.between(0, 3));
        let effect_ms = c.one_in(2).then(|| c.between(0, TIMEOUT_MS + LATE_MS));
        let (stops_within, down_ms) = (Some(c.pick(&DRAIN_MS)), c.between(0, 2 * MINUTE_MS));
        let ends = at + c.between(SECOND_MS, MINUTE_MS);
        all.push((at, Happening::LoseAnswer { experiment, effect_ms }));
        all.push((at, Happening::StartByHand { request, experiment, windows: WindowRule::Overridden }));
        all.push((ends, Happening::Drain { whom, stops_within, down_ms }));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl Replica {
    /// It is told to end, or after it has stopped what runs, within so long. One that ends already goes on to.
    pub fn drain(&mut self, stops_within: Option<u64>, down_ms: u64, nature: &Nature) {
        let Some(agent) = self.agent.as_mut().filter(|agent| *agent.mode.borrow() == Mode::Active) else { return };
        let now = nature.elapsed();
        let mode = if let Some(within_ms) = stops_within {
            agent.fate.is_gone_within(within_ms);
            self.endings.push(Ending { seat: agent.seat, told_at: now, gone_at: None, is_done: false });
            match nature.bug() {
                Bug::EndsWhileItRuns => Mode::Draining,
                Bug::EndingStopsNothing => Mode::Active,
                _ => Mode::DrainingWithStop,
            }
        } else {
            Mode::Draining
        };
        agent.mode.send_replace(mode);
        agent.fate.down_ms = down_ms;
        // It does nothing new from now on, though it is there until its calls are answered. One that stops what runs is excused
        // from nothing else.
        if stops_within.is_none() {
            self.down_since.get_or_insert(now);
        }
    }

    /// Its process is gone.
    pub fn ends(&mut self, seat: Seat, now: u64, is_done: bool) {
        let ending = self.endings.iter_mut().find(|ending| ending.seat == seat);
        ending.into_iter().for_each(|ending| (ending.gone_at, ending.is_done) = (Some(now), is_done));
    }
}

impl World {
    /// Processes that stop what runs are cut off, as when they take too long.
    pub fn cut_off_endings(&mut self) {
        for replica in &mut self.replicas {
            if replica.agent.as_ref().is_some_and(|agent| agent.fate.is_to_be_gone()) {
                replica.fall(&self.nature, &self.store);
            }
        }
    }
}

/// Nothing goes on of what could be known when a process has ended that held the lease, and nothing is stopped for nothing.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    // What was called before a store was taken back is not known any more; it was judged then.
    let is_judged = |at: u64| evidence.world.restored.is_some_and(|restored| at < restored.at);
    for (ending, at) in done(evidence).filter(|(_, at)| !is_judged(*at)) {
        for experiment in evidence.experiments.iter().filter(|e| is_left(evidence, e, at)) {
            let (id, seat) = (&experiment.id, ending.seat.number);
            found.push(format!("left: {id} goes on though process {seat} stopped what ran and ended at {at} ms"));
        }
    }
    for (id, entries) in &evidence.journal {
        for (ms, ..) in entries.iter().filter(|(.., seen)| is_stop(seen)) {
            if !endings(evidence).any(|ending| may_write(evidence, ending, *ms)) {
                found.push(format!("stopped: {id} for a shutdown at {ms} ms, when nobody ended"));
            }
        }
    }
}

/// Finds the first true time, not before another, at which a process that has the lease, and is there for a while, has to have
/// told an experiment to stop because it ends.
pub fn due_by_shutdown(evidence: &Evidence<'_>, experiment: &Experiment, from: u64) -> Option<u64> {
    let terms = evidence.world.store.with(|tables| tables.lease.terms.clone());
    let due = endings(evidence).filter_map(|ending| {
        let due = from.max(ending.told_at).max(experiment.created_at);
        let is_then = |n: &usize| terms[*n].seat == ending.seat && terms[*n].from <= due && due < ended(&terms, *n);
        let until = ended(&terms, (0..terms.len()).find(is_then)?).min(ending.gone_at.unwrap_or(u64::MAX));
        (due + 2 * PROMPT_MS < until && due < experiment.end()).then_some(due)
    });
    due.min()
}

/// Whether what is written at a true time may be of a process that ends: that may be on its way for long, until another has
/// the lease.
fn may_write(evidence: &Evidence<'_>, ending: &Ending, ms: u64) -> bool {
    let writer = evidence.world.store.with(|tables| {
        let begun = tables.lease.terms.iter().take_while(|term| term.from <= ms);
        begun.last().map(|term| term.seat)
    });
    ending.told_at <= ms && writer == Some(ending.seat)
}

fn is_stop(seen: &Observation) -> bool {
    matches!(seen, Observation::StopAsked { cause: StopCause::Shutdown })
}

fn endings<'e>(evidence: &'e Evidence<'_>) -> impl Iterator<Item = &'e Ending> {
    evidence.world.replicas.iter().flat_map(|replica| &replica.endings)
}

/// Those that ended in their own time while they had the lease, and when they gave it back: not for another to take it, who
/// looks after what runs.
fn done<'e>(evidence: &'e Evidence<'_>) -> impl Iterator<Item = (&'e Ending, u64)> {
    let terms = evidence.world.store.with(|tables| tables.lease.terms.clone());
    endings(evidence).filter(|ending| ending.is_done).filter_map(move |ending| {
        // What arrives when its process is gone is nothing that it knew of.
        let is_known = |term: &Held| ending.gone_at.is_some_and(|gone_at| term.from <= gone_at);
        let is_its = |term: &&Held| term.seat == ending.seat && term.released_by == Some(ending.seat) && is_known(term);
        let given_back =
            terms.iter().filter(is_its).filter(|term| !term.is_handed_over).filter_map(|term| term.released);
        Some((ending, given_back.filter(|at| ending.told_at <= *at).max()?))
    })
}

/// Whether an experiment of a run that was asked for goes on at a true time, or begins later though it was asked for before.
fn is_left(evidence: &Evidence<'_>, experiment: &Experiment, at: u64) -> bool {
    let run = experiment.run();
    let was = |is_it: fn(&Observation) -> bool| {
        evidence.journal.get(&run).into_iter().flatten().any(|(ms, _, seen)| *ms <= at && is_it(seen))
    };
    let is_known = was(|seen| matches!(seen, Observation::StartAsked { .. }));
    let is_given_up = was(|seen| matches!(seen, Observation::Finished { .. }));
    let created_at = experiment.created_at;
    let asked_since = |call: &CallLog| {
        let is_its = call.operation == "StartExperiment" && call.run.as_ref() == Some(&run);
        is_its && (at..=created_at).contains(&call.at)
    };
    let goes_on = match created_at <= at {
        true => !experiment.has_ended(at),
        false => !evidence.world.fis.with(|state| state.calls.iter().any(asked_since)),
    };
    // What FIS denies and does not list cannot be known.
    is_known && !is_given_up && !experiment.is_forgotten && goes_on
}

/// Names how processes ended that stopped what ran.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for ending in endings(evidence) {
        let is_its = |ms: &u64| ending.gone_at.is_none_or(|gone_at| *ms <= gone_at) && may_write(evidence, ending, *ms);
        let entries = evidence.journal.values();
        let of = |is_it: fn(&Observation) -> bool| {
            let count = |entries: &Vec<(u64, _, Observation)>| {
                entries.iter().filter(|(ms, _, seen)| is_its(ms) && is_it(seen)).count()
            };
            entries.clone().map(count).max().unwrap_or_default()
        };
        let looks = of(|seen| matches!(seen, Observation::NotFound));
        seen.extend((ending.gone_at.is_some() && !ending.is_done).then_some("ended before all was stopped"));
        seen.extend((ending.is_done && of(is_stop) > 0).then_some("ended after all was stopped"));
        seen.extend((looks > 1).then_some("looked for while a process ends"));
    }
    seen
}
