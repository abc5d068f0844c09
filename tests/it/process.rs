//! The real binary, started as a process and configured by files alone, against AWS's wire protocols.
//!
//! The simulator's own record says what was started; the store says what the agent knows of it.

mod breaker;
mod commands;
mod conformance;
mod demo;
mod denied;
mod deployment;
mod differing;
mod events;
mod faults;
mod levers;
mod life;
mod matching;
mod places;
mod plan;
mod private;
mod queue;
mod reload;
mod replicas;
mod schedule;
mod secrets;
mod service;
mod simulator;
mod store;
mod storm;
mod strays;
mod telemetry;
mod unreached;
mod window;
mod wishes;

use firedrill::domain::run::{JournalEntry, Observation, Run};
use serde_json::json;

/// An event of a deployment, as EventBridge delivers it.
pub fn deployment(id: &str) -> String {
    json!({
        "version": "0", "id": id, "source": "com.example.ci", "detail-type": "Deployment", "account": "123456789012",
        "time": "2026-03-01T02:00:00Z", "region": "us-east-1", "resources": [],
        "detail": { "service": "checkout", "status": "succeeded" },
    })
    .to_string()
}

/// The run as its journal tells it, from the opening on.
pub fn retold(run: &Run, journal: &[JournalEntry]) -> Run {
    let first = journal.first().expect("a run's journal begins with its opening");
    let mut told =
        Run { facts: None, place_facts: None, fis: None, state: opening(run, first), revision: 0, ..run.clone() };
    for entry in &journal[1..] {
        told = told.apply(&entry.observation, entry.at).expect("an entry that can follow the ones before");
    }
    told
}

fn opening(run: &Run, first: &JournalEntry) -> firedrill::domain::run::RunState {
    use firedrill::domain::run::RunState;
    match &first.observation {
        Observation::Skipped { .. } => run.state.clone(),
        Observation::Opened if run.not_before > run.opened_at => RunState::Settling,
        Observation::Opened => RunState::Requested,
        other => panic!("a journal that begins with {other:?}"),
    }
}
