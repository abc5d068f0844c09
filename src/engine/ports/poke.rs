//! What reaches the engine beside its rows: that it is to look at them, stops that could not be made one, hints of FIS.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
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

    /// Forgets all stops that are kept: another replica decides.
    pub(in crate::engine) fn clear(&self) {
        *self.unrecorded() = Unrecorded::default();
    }

    /// Forgets the stops of runs that no longer go on.
    pub(in crate::engine) fn forget(&self, goes_on: impl Fn(&RunId) -> bool) {
        self.unrecorded().stops.retain(|run, _| goes_on(run));
    }

    fn unrecorded(&self) -> MutexGuard<'_, Unrecorded> {
        self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Most experiments of which hints are kept between two passes.
const MAX_HINTS: usize = 1_000;

/// Experiments of which FIS told, unasked, that something changed: they are worth a poll. A hint decides nothing and may be
/// lost; what is true FIS says when it is asked.
#[derive(Debug, Default)]
pub struct Hints(Mutex<BTreeMap<String, Timestamp>>);

impl Hints {
    /// Notes that something was told of a FIS experiment at an instant. Beyond a thousand nothing is noted until the next
    /// pass.
    pub fn give(&self, fis_id: &str, at: Timestamp) {
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if hints.len() < MAX_HINTS || hints.contains_key(fis_id) {
            hints.insert(fis_id.to_owned(), at);
        }
    }

    /// Returns the hints of runs that go on, by FIS experiment, and forgets all others, and those that a poll came after.
    pub fn of(&self, runs: &[Run]) -> BTreeMap<String, Timestamp> {
        let polled: BTreeMap<&str, Option<Timestamp>> = runs.iter().filter_map(Run::watched).collect();
        let mut hints = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        hints.retain(|id, at| polled.get(id.as_str()).is_some_and(|polled| polled.is_none_or(|polled| polled < *at)));
        hints.clone()
    }
}
