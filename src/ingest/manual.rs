//! Operators: run now, stop, halt and resume, each as a row.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};

use crate::{
    domain::{
        experiment::Rules,
        ids::{ExperimentName, RunId},
        plan::{Halt, HaltRunning, StopRequest},
        run::{Run, RunState, RunTimes, Trigger},
    },
    engine::ports::{Found, Recorded, Store, StoreError},
};

/// How long after it was asked for a run may still start (inclusive).
pub const START_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Why an operator's wish was not recorded.
#[derive(Debug, thiserror::Error)]
pub enum ManualError {
    /// There is no such experiment.
    #[error("there is no experiment `{name}`")]
    UnknownExperiment {
        /// Its name.
        name: ExperimentName,
    },
    /// There is no such run that goes on.
    #[error("there is no run `{id}` that is going on or waiting")]
    UnknownRun {
        /// Its id.
        id: RunId,
    },
    /// The store failed.
    #[error("could not record it")]
    Store(#[from] StoreError),
}

/// Who asks, and why.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// Takes operators' wishes.
#[derive(Debug)]
pub struct ManualIngest<S> {
    store: Arc<S>,
    rules: watch::Receiver<Arc<Rules>>,
    poke: Arc<Notify>,
}

impl<S> Clone for ManualIngest<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), rules: self.rules.clone(), poke: self.poke.clone() }
    }
}

impl<S: Store> ManualIngest<S> {
    /// Makes an ingest that pokes the engine after each row.
    pub fn new(store: Arc<S>, rules: watch::Receiver<Arc<Rules>>, poke: Arc<Notify>) -> Self {
        Self { store, rules, poke }
    }

    /// Records that an experiment is to run now. A repeated request (same `request`) is the same run.
    ///
    /// # Errors
    /// [`ManualError::UnknownExperiment`], or [`ManualError::Store`].
    pub async fn start(
        &self,
        name: ExperimentName,
        request: String,
        asker: Asker,
        now: Timestamp,
    ) -> Result<(Run, Recorded), ManualError> {
        if !self.rules.borrow().experiments.contains_key(&name) {
            return Err(ManualError::UnknownExperiment { name });
        }
        let trigger = Trigger::Manual { request, by: asker.by, reason: asker.reason };
        let start_by = now.saturating_add(START_DEADLINE).unwrap_or(Timestamp::MAX);
        let times = RunTimes { opened_at: now, not_before: now, start_by, hold_until: None };
        let run = Run::open(name, trigger, RunState::Requested, times);
        let recorded = self.store.request_run(run.clone()).await?;
        self.poke.notify_one();
        Ok((run, recorded))
    }

    /// Records that a run is to be stopped, or not to be started.
    ///
    /// # Errors
    /// [`ManualError::UnknownRun`], or [`ManualError::Store`].
    pub async fn stop(&self, id: RunId, asker: Asker, now: Timestamp) -> Result<(), ManualError> {
        let request = StopRequest { at: now, by: asker.by, reason: asker.reason };
        match self.store.request_stop(id.clone(), request).await? {
            Found::Yes => self.poke.notify_one(),
            Found::No => return Err(ManualError::UnknownRun { id }),
        }
        Ok(())
    }

    /// Halts all chaos, over restarts, until [`ManualIngest::resume`].
    ///
    /// # Errors
    /// [`ManualError::Store`].
    pub async fn halt(&self, asker: Asker, running: HaltRunning, now: Timestamp) -> Result<(), ManualError> {
        let halt = Halt { at: now, by: asker.by, reason: asker.reason, running };
        self.store.set_halt(Some(halt)).await?;
        self.poke.notify_one();
        Ok(())
    }

    /// Lifts the halt.
    ///
    /// # Errors
    /// [`ManualError::Store`].
    pub async fn resume(&self) -> Result<(), ManualError> {
        self.store.set_halt(None).await?;
        self.poke.notify_one();
        Ok(())
    }
}
