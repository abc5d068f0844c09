//! How the engine is told to look at its rows, and stops that could not be made a row.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::domain::{ids::RunId, plan::StopRequest, run::Run};

/// "Look": notified by everyone who wrote a row.
///
/// An operator's stop that the store did not take waits here, in the memory of this process, for as long as its run goes on:
/// a stop may be sent without a record, since FIS's experiment ends once and whoever asked was told that no row says so.
#[derive(Debug, Default)]
pub struct Poke {
    look: Notify,
    unrecorded: Mutex<Unrecorded>,
}

#[derive(Debug, Default)]
struct Unrecorded {
    stops: BTreeMap<RunId, StopRequest>,
    /// Of everything that runs by then.
    all: Option<StopRequest>,
}

impl Poke {
    /// Has the engine look at its rows.
    pub fn notify_one(&self) {
        self.look.notify_one();
    }

    /// Waits until the engine is to look; one notification before counts.
    pub async fn notified(&self) {
        self.look.notified().await;
    }

    /// Keeps a stop of which there is no row.
    pub fn stop(&self, run: RunId, request: StopRequest) {
        self.unrecorded().stops.insert(run, request);
    }

    /// Keeps a stop of everything that runs, of which there is no row.
    pub fn stop_all(&self, request: StopRequest) {
        self.unrecorded().all = Some(request);
    }

    /// Adds the stops that are kept to those of the rows. All that runs is known here, so that what was to stop is known by
    /// name from now on.
    pub(in crate::engine) fn add_to<'a>(
        &self,
        stops: &mut BTreeMap<RunId, StopRequest>,
        runs: impl Iterator<Item = &'a Run>,
    ) {
        let mut unrecorded = self.unrecorded();
        if let Some(request) = unrecorded.all.take() {
            let running = runs.filter(|run| run.may_be_running()).map(|run| (run.id.clone(), request.clone()));
            unrecorded.stops.extend(running);
        }
        for (run, request) in &unrecorded.stops {
            stops.entry(run.clone()).or_insert_with(|| request.clone());
        }
    }

    /// Forgets the stops of runs that no longer go on.
    pub(in crate::engine) fn forget(&self, goes_on: impl Fn(&RunId) -> bool) {
        self.unrecorded().stops.retain(|run, _| goes_on(run));
    }

    fn unrecorded(&self) -> MutexGuard<'_, Unrecorded> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
