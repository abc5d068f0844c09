//! Stops that FIS denies in a place, for a while or for good: nothing else starts there meanwhile, for nobody could stop it.
//!
//! Judged by what FIS answered: from when it was written down that a stop failed which FIS had denied until what was to be
//! stopped is over, or is said to be told to stop. What else fails meanwhile does not prove that a stop would be taken.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::Place,
    run::{Observation, WindowRule},
};

use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{MINUTE_MS, SECOND_MS, experiment_name},
        },
        driven::world::World,
        judged::check::Evidence,
        simulated::fis::CallLog,
    },
    support::chance::Chance,
};

/// The first number of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 600;

/// Where and when stops are denied, in true milliseconds.
#[derive(Debug, Clone)]
pub struct Denial {
    /// With its role: it is the role that may not.
    place: Place,
    from: u64,
    /// Exclusive.
    until: u64,
}

impl Denial {
    pub fn is_of(&self, place: &Place, at: u64) -> bool {
        self.place == *place && (self.from..self.until).contains(&at)
    }
}

/// Draws when stops are denied in a world of so many milliseconds, with a chance of its own: in one of six worlds, and in one
/// of four of those for good.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(12) ^ !0);
    if !c.one_in(6) {
        return Vec::new();
    }
    let (at, experiment) = (c.between(0, length_ms), c.between(0, 3));
    let for_ms = (!c.one_in(4)).then(|| c.between(10 * SECOND_MS, 20 * MINUTE_MS));
    let mut all = vec![(at, Happening::DenyStops { experiment, for_ms })];
    // One begins about then and is to be stopped soon, and all would like to begin after that.
    let begins = (at + c.between(0, 20 * SECOND_MS)).saturating_sub(c.between(0, 20 * SECOND_MS));
    let ends = at + c.between(20, 60) * SECOND_MS;
    let others = (1..6).map(|n| (ends + c.between(0, 4 * MINUTE_MS), n)).collect::<Vec<_>>();
    for (at, n) in [(begins, 0)].into_iter().chain(others) {
        let (request, experiment, windows) = (FIRST_REQUEST + n, (experiment + n) % 4, WindowRule::Overridden);
        all.push((at, Happening::StartByHand { request, experiment, windows }));
    }
    if c.one_in(2) {
        all.push((ends, Happening::StopByHand));
    } else {
        all.push((ends, Happening::Halt));
        all.push((ends + c.between(5 * SECOND_MS, MINUTE_MS), Happening::Resume));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// FIS denies stops from now on, for so long or for good, in the place that an experiment has.
    pub fn deny_stops(&mut self, experiment: u64, for_ms: Option<u64>) {
        let Some(declared) = self.newest().experiments.get(&experiment_name(experiment)) else { return };
        let (place, from) = (declared.place.clone(), self.nature.elapsed());
        let until = for_ms.map_or(u64::MAX, |ms| from + ms);
        self.fis.with(|state| state.denials.push(Denial { place, from, until }));
    }
}

/// Nothing starts where a stop is denied.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let calls = stops(evidence);
    for call in calls.iter().filter(|call| call.is_denied) {
        let Some(Known { from, until, place }) = known(evidence, &calls, call) else { continue };
        let others = evidence.journal.iter().filter(|(id, _)| Some(*id) != call.run.as_ref());
        for (id, entries) in others {
            let is_here = |seen: &Observation| matches!(seen, Observation::StartAsked { place: of, .. } if of == place);
            let mut starts = entries.iter().filter(|(ms, ..)| from < *ms && *ms < until);
            if let Some((ms, ..)) = starts.find(|(.., seen)| is_here(seen)) {
                let of = call.run.as_ref();
                found.push(format!("denied: {id} is started at {ms} ms, where the stop of {of:?} is denied"));
            }
        }
    }
}

fn stops(evidence: &Evidence<'_>) -> Vec<CallLog> {
    let is_stop = |call: &&CallLog| call.operation == "StopExperiment";
    evidence.world.fis.with(|state| state.calls.iter().filter(is_stop).cloned().collect())
}

/// From when until when, in true time, it is known that nothing can be stopped where.
struct Known<'e> {
    from: u64,
    until: u64,
    place: &'e Place,
}

/// Finds what is known by a call that was denied: nothing where its answer was not written down.
fn known<'e>(evidence: &'e Evidence<'_>, calls: &[CallLog], call: &CallLog) -> Option<Known<'e>> {
    let run = call.run.as_ref()?;
    let experiment = evidence.experiments.iter().find(|e| e.run() == *run && !e.is_forgotten)?;
    let answered = |seen: &Observation| {
        matches!(seen, Observation::StopFailed { .. } | Observation::StopTaken | Observation::Finished { .. })
    };
    let mut told = evidence.journal.get(run)?.iter().filter(|(ms, _, seen)| call.until <= *ms && answered(seen));
    let (from, _, first) = told.next()?;
    // What was written down may be the answer to another call: of a process that came later, or while the store was away.
    let is_beside = |other: &&CallLog| other.run == call.run && call.at <= other.until && other.at <= *from;
    if !matches!(first, Observation::StopFailed { .. }) || calls.iter().filter(is_beside).count() > 1 {
        return None;
    }
    let over = told.find(|(.., seen)| !matches!(seen, Observation::StopFailed { .. })).map_or(u64::MAX, |(ms, ..)| *ms);
    Some(Known { from: *from, until: over.min(experiment.end()), place: &experiment.place })
}

/// Names what came of stops that were denied.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    let (calls, world) = (stops(evidence), evidence.world);
    let denied = calls.iter().filter(|call| call.is_denied).filter_map(|call| call.run.as_ref());
    for run in denied.filter(|run| evidence.journal.contains_key(*run)) {
        let mut told = evidence.journal[run].iter().map(|(.., seen)| seen);
        if told.any(|seen| matches!(seen, Observation::StopFailed { .. })) {
            seen.insert("stop denied");
            seen.extend(
                told.any(|seen| *seen == Observation::StopTaken).then_some("stopped though it was denied before"),
            );
        }
    }
    let is_kept_back = world.store.with(|tables| {
        let mut told = tables.journal.iter().flat_map(|(_, entry)| &entry.explained);
        told.any(|told| told.rule == "stops" && !told.passes)
    });
    seen.extend(is_kept_back.then_some("kept back where a stop is denied"));
    seen
}
