//! Stops that FIS answers and does not heed: they are asked for again, as long as FIS says that the experiment goes on.

use std::collections::BTreeSet;

use firedrill::domain::{
    fis::FailureClass,
    ids::RunId,
    outcome::Outcome,
    run::{Observation, StopCause},
};

use super::{
    check::Evidence,
    closing::{self, News},
};
use crate::sim::{
    drawn::scenario::{MINUTE_MS, SECOND_MS},
    driven::replica::Why,
    simulated::{fis::CallLog, nature::Step, truth::Experiment},
};

/// How long after a stop was answered FIS has to say that the experiment goes on for it to be asked again, in milliseconds:
/// a minute, and the time that the answer takes.
const AGAIN_AFTER_MS: u64 = MINUTE_MS + SECOND_MS;

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    for experiment in evidence.experiments.iter().filter(|e| !e.unheeded.is_empty() && !e.is_forgotten) {
        let (stops, run) = (stops(evidence, experiment), experiment.run());
        for unheeded in &experiment.unheeded {
            let answered = stops.iter().filter(|(at, _)| at <= unheeded).map(|(_, until)| *until).max().unwrap_or(0);
            // By whose clock it was answered, and by whose FIS was asked then, may be two.
            let apart = 2 * u64::try_from(evidence.world.nature.apart()).expect("a length");
            let later = answered.max(*unheeded) + AGAIN_AFTER_MS + apart;
            let told = experiment.told_going.iter().filter(|told| **told >= later);
            let able = |told: u64| closing::able_at(evidence, experiment, News::InTheStore, told + SECOND_MS);
            let told = told.map(|told| (*told, able(*told).saturating_add(closing::PROMPT_MS)));
            // What is said to a process that is soon not the active one any more, or cannot be written then, is lost: it is
            // said again.
            let terms = evidence.world.store.with(|tables| tables.lease.terms.clone());
            let faults = evidence.world.store_faults();
            let stays = |(told, latest): &(u64, u64)| {
                let is_unwritten = faults.iter().any(|(from, to)| *from <= told + SECOND_MS && told <= to);
                !is_unwritten && !terms.iter().any(|term| (*told..=*latest).contains(&term.from))
            };
            let Some((told, latest)) = told.into_iter().find(stays) else { continue };
            let next = stops.iter().map(|(at, _)| *at).find(|at| at > unheeded).unwrap_or(u64::MAX);
            if next.min(experiment.end()) > latest && is_wanted(evidence, &run, *unheeded, (told, latest)) {
                let id = &experiment.id;
                found.push(format!(
                    "again: the stop of {id} of {run} at {unheeded} ms was not heeded, FIS said so at {told} ms"
                ));
            }
        }
    }
}

/// Whether a stop that was not heeded still has to be asked for from the time on that FIS said so until another.
fn is_wanted(evidence: &Evidence<'_>, run: &RunId, unheeded: u64, (told, latest): (u64, u64)) -> bool {
    let world = evidence.world;
    // What was told before the clock was set back is not known to be later than the answer.
    let is_back = |step: &Step| step.by_ms < 0 && unheeded <= step.at && step.at <= latest;
    // Whoever wanted it is forgotten with the store; what had to be stopped until then was judged before.
    let is_forgotten = world.restored.is_some_and(|restored| unheeded < restored.at);
    // What was made without a row is of no other process; whether there is still a reason is judged elsewhere.
    let asked = evidence.journal.get(run).into_iter().flatten().rev().find_map(|(ms, _, seen)| match seen {
        Observation::StopAsked { cause } if *ms <= told => Some(cause),
        _ => None,
    });
    // Nothing makes room for another run without a row.
    let makes_room = matches!(asked, Some(StopCause::Replaced { .. }));
    let declared = &evidence.runs[run].experiment;
    let is_refused = world.store.with(|tables| tables.refusals.were_of(declared, (told, latest)));
    let is_back = world.nature.steps().iter().any(is_back);
    !(asked.is_none() || is_back || is_forgotten || makes_room && is_refused)
}

/// When FIS was asked to stop an experiment, and until when the answer was waited for: a process that stands still has it when
/// it goes on.
fn stops(evidence: &Evidence<'_>, experiment: &Experiment) -> Vec<(u64, u64)> {
    let run = experiment.run();
    evidence.world.fis.with(|state| {
        let stops = state.calls.iter().filter(|c| c.operation == "StopExperiment" && c.run.as_ref() == Some(&run));
        let heard = |call: &CallLog| {
            let outages = evidence.world.replicas[call.seat.replica].outages.iter();
            let still = outages.filter(|o| o.why == Why::Still && o.from <= call.until && call.until < o.to);
            still.map(|outage| outage.to).fold(call.until, u64::max)
        };
        stops.map(|call| (call.at, heard(call))).collect()
    })
}

/// Names what happened to experiments that are not as FIS's are on good days.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for experiment in &evidence.experiments {
        let first = experiment.unheeded.first().copied().unwrap_or(u64::MAX);
        if stops(evidence, experiment).iter().any(|(at, _)| *at > first) {
            seen.insert("stopped again");
        }
    }
    let by_hand = |seen: &Observation| matches!(seen, Observation::StopAsked { cause: StopCause::Operator { .. } });
    let world = evidence.world;
    for (run, entries) in &evidence.journal {
        let is_taken = world.stops_taken.iter().any(|(_, of)| of == run);
        if !is_taken && world.stops_unrecorded.contains(run) && entries.iter().any(|(.., seen)| by_hand(seen)) {
            seen.insert("stopped by hand though no row says so");
        }
    }
    for (.., observation) in evidence.journal.values().flatten() {
        let Observation::Finished { outcome } = observation else { continue };
        match outcome {
            Outcome::Lost { class: FailureClass::NotFound } => _ = seen.insert("lost as denied"),
            Outcome::Lost { .. } => _ = seen.insert("lost without a word"),
            Outcome::Stopped { cause: StopCause::SafetyLever } => _ = seen.insert("stopped by the lever"),
            _ => {}
        }
    }
    seen
}
