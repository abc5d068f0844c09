//! Replicas in a world: one decides at a time, and what another decided is not done any more.
//!
//! Judged by the terms that the store kept, by who wrote under which number, and by who asked FIS for what. Nothing is
//! granted: a request leaves in the term of whoever makes it. What had left before takes effect whenever FIS likes, under
//! the run's own token, and is looked for by tag for as long as it may appear.

use std::collections::BTreeSet;

use firedrill::domain::{
    plan::Mode,
    run::{Observation, WindowRule},
};
use jiff::SignedDuration;

use super::{
    check::{Evidence, PASS_MS},
    closing,
};
use crate::sim::{
    drawn::scenario::{APART_MS, HOUR_MS, MINUTE_MS, SECOND_MS},
    driven::{
        replica::{Outage, Why},
        world::World,
    },
    simulated::lease::Held,
};

/// Longest time from what a start rests on until its request leaves, in milliseconds, by clocks that are set now and then.
pub const LEAVES_WITHIN_MS: u64 = PASS_MS + 10 * SECOND_MS;

/// How long a replica that reaches the store takes to hear from it, in milliseconds.
const HEARS_MS: u64 = 5 * SECOND_MS;

/// Longest time between two looks of a replica that holds the lease and reaches the store, in milliseconds.
const LOOKS_MS: u64 = 30 * SECOND_MS + PASS_MS;

/// Longest time from the end of a process until another decides.
const TAKEOVER_MS: u64 = 10 * SECOND_MS;

/// Longest time until another decides after one ended in good order: its calls are answered, and the other looks.
const HANDOVER_MS: u64 = 4 * SECOND_MS;

/// How long the lease lasts once nothing happens but that runs end, so that little is spent on renewals.
const LONG_TTL_MS: u64 = 10 * MINUTE_MS;

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    evidence.fences(found);
    evidence.callers(found);
    evidence.sent_in_time(found);
    evidence.ended_once(found);
    evidence.stops_are_told(found);
}

/// Names what happened to replicas.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let lease = evidence.world.store.with(|tables| (tables.lease.ttl_ms, tables.lease.terms.clone()));
    let (Some(_), terms) = lease else { return seen };
    for pair in terms.windows(2) {
        let (one, next) = (pair[0], pair[1]);
        let is_there =
            |outage: &&Outage| outage.replica == one.seat.replica && outage.from <= next.from && next.from <= outage.to;
        let outages = evidence.world.replicas.iter().flat_map(|replica| &replica.outages);
        let why = outages.filter(is_there).map(|outage| outage.why).next();
        seen.insert(match (one.released, why) {
            (Some(at), _) if evidence.is_cut(one.seat.replica, at) => "lease given back without FIS",
            (Some(_), _) => "lease handed over",
            (None, Some(Why::Down)) => "lease taken from the dead",
            (None, Some(Why::Still)) => "lease taken from who stood still",
            (None, Some(Why::Cut | Why::CutFromStore)) => "lease taken from who was cut off",
            (None, Some(Why::Slow)) => "lease taken from who was slow",
            (None, None) => "lease taken",
        });
    }
    seen
}

impl World {
    /// Whoever decides is gone, and then one ends in good order: another decides soon. After that the last one is alone.
    pub async fn check_takeovers(&mut self) {
        if self.replicas.len() == 1 {
            return;
        }
        self.store.with(|tables| tables.lease.ttl_ms = Some(5 * SECOND_MS));
        self.until(self.nature.elapsed() + MINUTE_MS + TAKEOVER_MS).await;
        // One that was told to end in bad times may have ended only now.
        if self.replicas.iter().any(|replica| replica.agent.is_none()) {
            self.restart();
            self.until(self.nature.elapsed() + TAKEOVER_MS).await;
        }
        for (ends, takes) in [("falls", TAKEOVER_MS), ("ends", HANDOVER_MS)] {
            let Some(active) = self.active() else {
                return self.broken.push("takeover: nobody decides".to_owned());
            };
            if let Some(agent) = &mut self.replicas[active].agent {
                agent.fate.down_ms = HOUR_MS;
                match ends {
                    "falls" => agent.fate.falls(0, HOUR_MS),
                    _ => drop(agent.mode.send_replace(Mode::Draining)),
                }
            }
            self.replicas[active].ring();
            self.replicas[active].down_since = Some(self.nature.elapsed());
            self.until(self.nature.elapsed() + takes).await;
            if self.active().is_none_or(|next| next == active) {
                self.broken.push(format!("takeover: replica {active} {ends}, nobody decides after {takes} ms"));
            }
            self.restart();
        }
        self.store.with(|tables| tables.lease.ttl_ms = Some(LONG_TTL_MS));
        self.until(self.nature.elapsed() + MINUTE_MS).await;
        let active = self.active();
        for replica in self.replicas.iter_mut().filter(|replica| Some(replica.number) != active) {
            replica.agent = None;
        }
    }
}

/// When a term ended: it was given back, or the next one began.
pub fn ended(terms: &[Held], n: usize) -> u64 {
    let next = terms.get(n + 1).map_or(u64::MAX, |next| next.from);
    terms[n].released.unwrap_or(u64::MAX).min(next)
}

impl World {
    /// When everybody who decided since a configuration was the newest had it, or a newer one, or decided no more.
    pub fn reached_deciders(&self, entry: usize) -> u64 {
        let since = self.history[entry].0;
        self.store.with(|tables| {
            let terms = &tables.lease.terms;
            let until = (0..terms.len()).map(|n| {
                let next = terms.get(n + 1).map_or(u64::MAX, |next| next.from);
                self.replicas[terms[n].seat.replica].had(entry).min(next)
            });
            until.max().unwrap_or(since).max(since)
        })
    }
}

impl Evidence<'_> {
    /// The earliest time at which a pass that recorded something at a true time may have begun: a process that stood still
    /// meanwhile went on where it was.
    pub fn began(&self, ms: u64) -> u64 {
        let mut began = ms.saturating_sub(PASS_MS);
        let stood = self.world.replicas.iter().flat_map(|replica| &replica.outages);
        let stood: Vec<_> =
            stood.filter(|outage| matches!(outage.why, Why::Still | Why::Slow) && outage.from <= ms).collect();
        loop {
            let before = stood.iter().filter(|outage| outage.to >= began).map(|outage| outage.from);
            let earlier = before.min().map_or(began, |from| from.saturating_sub(PASS_MS));
            if earlier >= began {
                return began;
            }
            began = earlier;
        }
    }

    /// Numbers of terms never go back in what was written, and each belongs to whoever wrote.
    fn fences(&self, found: &mut Vec<String>) {
        self.world.store.with(|tables| {
            for pair in tables.lease.writes.windows(2).filter(|pair| pair[0].fence > pair[1].fence) {
                found.push(format!("fence: {:?} wrote after {:?}", pair[1], pair[0]));
            }
            for write in &tables.lease.writes {
                let terms = tables.lease.terms.iter().enumerate();
                let mut own = terms.filter(|(_, term)| term.fence == write.fence && term.seat == write.seat);
                if !own.any(|(n, term)| (term.from..=ended(&tables.lease.terms, n)).contains(&write.at)) {
                    found.push(format!("fence: {write:?} is not the holder's"));
                }
            }
            let others = tables.lease.terms.iter().filter(|term| term.released_by.is_some_and(|by| by != term.seat));
            found.extend(others.map(|term| format!("fence: {term:?} was ended by another")));
        });
    }

    /// Whoever asks FIS to start or to stop holds the lease. What must not go on is stopped also by who held it last, as long
    /// as it is not told otherwise.
    fn callers(&self, found: &mut Vec<String>) {
        let lease = self.world.store.with(|tables| (tables.lease.ttl_ms, tables.lease.terms.clone()));
        let (Some(_), terms) = lease else { return };
        let calls = self.world.fis.with(|state| state.calls.clone());
        for call in calls.iter().filter(|call| ["StartExperiment", "StopExperiment"].contains(&call.operation)) {
            let term = terms.iter().rev().find(|term| term.from <= call.at);
            let own = terms.iter().enumerate().filter(|(_, t)| t.seat == call.seat && t.from <= call.at);
            let ended = own.map(|(n, _)| ended(&terms, n)).max();
            if ended.is_some_and(|ended| call.at <= ended) {
                continue;
            }
            let experiment = self.experiments.iter().find(|e| Some(e.run()) == call.run);
            let is_told = ended.is_none_or(|ended| self.hears_within(call.seat.replica, ended, call.at));
            let knew = ended.map(|ended| (self.last_heard(call.seat.replica, ended), ended));
            // What a process asked once it asks again; the first time is judged.
            let mut own = calls.iter().filter(|other| (other.seat, &other.run) == (call.seat, &call.run));
            let may = knew.zip(experiment).is_some_and(|(knew, experiment)| {
                own.any(|other| other.operation == "StopExperiment" && other.at < call.at)
                    || closing::may_be_stopped(self, experiment, knew, call)
            });
            if call.operation == "StartExperiment" || is_told || !may {
                let (at, operation) = (call.at, call.operation);
                found
                    .push(format!("lease: {operation} of {:?} at {at} ms by {:?}, term {term:?}", call.run, call.seat));
            }
        }
    }

    /// Whether a replica was able to hear from the store for long enough between two true times.
    pub fn hears_within(&self, replica: usize, from: u64, to: u64) -> bool {
        let mut heard = from;
        for (begins, ends) in self.kept_from_hearing(replica) {
            if begins > heard + HEARS_MS {
                break;
            }
            heard = heard.max(ends);
        }
        heard + HEARS_MS < to
    }

    /// The earliest true time at which what a replica knew at another may have been read.
    fn last_heard(&self, replica: usize, at: u64) -> u64 {
        let kept = self.kept_from_hearing(replica);
        let mut heard = at.saturating_sub(LOOKS_MS);
        for (begins, ends) in kept.into_iter().rev().filter(|(begins, _)| *begins <= at) {
            if ends >= heard {
                heard = heard.min(begins.saturating_sub(LOOKS_MS));
            }
        }
        heard
    }

    /// When a replica may have been unable to hear from the store, in the order in which that began.
    fn kept_from_hearing(&self, replica: usize) -> Vec<(u64, u64)> {
        let outages = &self.world.replicas[replica].outages;
        let kept = outages.iter().filter(|outage| outage.why != Why::Cut).map(|outage| (outage.from, outage.to));
        let mut kept: Vec<(u64, u64)> = kept.chain(self.world.store_out.iter().copied()).collect();
        kept.extend(self.world.store_faults());
        kept.sort_unstable();
        kept
    }

    /// No request to start leaves long after what it rests on has ceased to be so.
    fn sent_in_time(&self, found: &mut Vec<String>) {
        let calls = self.world.fis.with(|state| state.calls.clone());
        for call in calls.iter().filter(|call| call.operation == "StartExperiment") {
            let Some(run) = call.run.as_ref().and_then(|id| self.runs.get(id)) else { continue };
            let before = call.at.saturating_sub(LEAVES_WITHIN_MS);
            if self.is_halted(before, call.at) {
                found.push(format!("halt: the start of {} leaves at {} ms", run.id, call.at));
            }
            let has_stepped = self.world.nature.steps().iter().any(|step| step.at >= before && step.at <= call.at);
            if has_stepped || run.trigger.windows() == WindowRule::Overridden {
                continue;
            }
            let asked = self.journal[&run.id].iter().rev().find_map(|(ms, _, seen)| match seen {
                Observation::StartAsked { place, .. } if *ms <= call.at => Some(place),
                _ => None,
            });
            let open = self.rules_between(before, call.at).iter().any(|rules| {
                rules.experiments.get(&run.experiment).is_some_and(|declared| {
                    let declared = &closing::at_place(declared, asked.unwrap_or(&declared.place));
                    // A step before or after that is none of its.
                    let apart = SignedDuration::from_millis(APART_MS as i64);
                    let [from, to] = [before, call.at].map(|ms| self.world.nature.wall_at(ms));
                    // What opens in between may be closed again, or in doubt, at both ends.
                    let between = closing::edges(rules, declared, from - apart, to + apart);
                    between
                        .into_iter()
                        .chain([to + apart])
                        .any(|at| !closing::is_closed_within(rules, declared, at, at + SignedDuration::from_nanos(1)))
                })
            });
            if !open {
                found.push(format!("blackout: the start of {} leaves at {} ms", run.id, call.at));
            }
        }
    }

    /// The journal knows of every stop, unless who made it fell, or lost the lease, before the store was back.
    fn stops_are_told(&self, found: &mut Vec<String>) {
        let terms = self.world.store.with(|tables| tables.lease.terms.clone());
        let calls = self.world.fis.with(|state| state.calls.clone());
        for call in calls.iter().filter(|call| call.operation == "StopExperiment") {
            let Some(entries) = call.run.as_ref().and_then(|run| self.journal.get(run)) else { continue };
            let is_told = entries.iter().any(|(.., seen)| matches!(seen, Observation::StopAsked { .. }));
            let replica = &self.world.replicas[call.seat.replica];
            let fell = replica.down_since.is_some()
                || replica.outages.iter().any(|outage| outage.why == Why::Down && outage.to >= call.at);
            let is_followed = terms.iter().any(|term| term.from > call.at && term.seat != call.seat);
            if !is_told && !fell && !is_followed {
                found.push(format!("untold: the stop of {:?} at {} ms is in no journal", call.run, call.at));
            }
        }
    }

    /// Every run ends once in the journal, and with it its span: spans follow from those entries alone.
    fn ended_once(&self, found: &mut Vec<String>) {
        for (id, entries) in &self.journal {
            let is_end = |o: &Observation| matches!(o, Observation::Finished { .. } | Observation::Skipped { .. });
            let ends: Vec<usize> = (0..entries.len()).filter(|n| is_end(&entries[*n].2)).collect();
            if ends.len() > 1 || ends.first().is_some_and(|end| end + 1 != entries.len()) {
                found.push(format!("span: {id} ends at entries {ends:?} of {}", entries.len()));
            }
        }
    }
}
