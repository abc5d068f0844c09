//! Operators: run now, stop, halt and resume, each as a row.

use std::{collections::BTreeSet, ops::RangeInclusive, pin::pin, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

use crate::{
    domain::{
        experiment::{Experiment, MAX_QUEUED, Rules},
        ids::{ExperimentName, RunId, ScheduleName},
        lever::{self, HeldLever},
        plan::{Halt, HaltRunning, Halting, Pause, Pausing, StopRequest},
        run::{Run, RunState, RunTimes, Trigger, WindowRule},
    },
    engine::ports::{Found, Poke, Recorded, Store, StoreError},
};

/// How long after it was asked for a run may still start (inclusive).
pub const START_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// How long after it was asked for a slot of the past may still start (inclusive).
pub const BACKFILL_DEADLINE: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How long the store is waited for until what an operator wants stopped is kept in memory meanwhile.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

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
    /// There is no such schedule, or it has to be said which.
    #[error("experiment `{experiment}` has {}", schedules_said(known))]
    UnknownSchedule {
        /// The experiment.
        experiment: ExperimentName,
        /// Its schedules.
        known: Vec<ScheduleName>,
    },
    /// The range does not lie in the past, or ends before it begins.
    #[error("a range to fill again lies in the past and ends after it begins")]
    Range,
    /// The range holds no slot.
    #[error("the schedule names no instant in that range")]
    NoSlot,
    /// The range holds too many slots.
    #[error("the range holds more than {limit} slots; ask for a shorter one")]
    TooManySlots {
        /// Most slots.
        limit: usize,
    },
    /// Windows are overridden without a word why.
    #[error("a start over every window needs a reason")]
    NoReason,
    /// The pause would be over already.
    #[error("the end of a pause lies in the future")]
    PauseOver,
    /// Somebody halted or engaged levers while those of the halt were let go.
    #[error("somebody halted or engaged levers meanwhile, and that halt stands; resume again to lift it")]
    HaltedAgain,
    /// Nobody knows which levers the halt holds.
    #[error(
        "the halt's row cannot be read; `firedrill resume --keep-levers` lifts it and leaves safety levers as they are"
    )]
    UnreadableHalt(#[source] StoreError),
    /// The store failed, and what was to stop is kept in memory.
    #[error(
        "could not record it, though what runs is stopped all the same if this agent is the active one; ask again until it \
         is recorded"
    )]
    Unrecorded(#[source] StoreError),
    /// The store failed.
    #[error("could not record it")]
    Store(#[from] StoreError),
}

fn schedules_said(known: &[ScheduleName]) -> String {
    match known {
        [] => "no schedule".to_owned(),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("these schedules, name one of them: {}", names.join(", "))
        }
    }
}

/// A range of slots to be filled again.
#[derive(Debug, Clone)]
pub struct Backfill {
    /// Which experiment.
    pub experiment: ExperimentName,
    /// Which schedule; may be left out when there is one only.
    pub schedule: Option<ScheduleName>,
    /// First instant (inclusive).
    pub from: Timestamp,
    /// Last instant (inclusive), in the past.
    pub to: Timestamp,
    /// Identity of the request.
    pub request: String,
}

/// Makes the runs of a range of slots.
fn backfilled(
    experiment: &Experiment,
    schedule: &Option<ScheduleName>,
    range: RangeInclusive<Timestamp>,
    request: &str,
    asker: &Asker,
    now: Timestamp,
) -> Result<Vec<Run>, ManualError> {
    let (from, to) = (*range.start(), *range.end());
    if to < from || to > now {
        return Err(ManualError::Range);
    }
    let found = match (schedule, experiment.schedules.as_slice()) {
        (Some(name), all) => all.iter().find(|declared| declared.name() == name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let Some(declared) = found else {
        let known = experiment.schedules.iter().map(|declared| declared.name().clone()).collect();
        return Err(ManualError::UnknownSchedule { experiment: experiment.name.clone(), known });
    };
    let mut runs = Vec::new();
    let mut after = from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(from);
    while let Some(slot) = declared.next_after(after).filter(|slot| slot.at <= to) {
        if runs.len() >= MAX_QUEUED {
            return Err(ManualError::TooManySlots { limit: MAX_QUEUED });
        }
        after = slot.at;
        let trigger = Trigger::Backfill {
            schedule: declared.name().clone(),
            at: slot.at,
            request: request.to_owned(),
            by: asker.by.clone(),
            reason: asker.reason.clone(),
        };
        let start_by = now.saturating_add(BACKFILL_DEADLINE).unwrap_or(Timestamp::MAX);
        let times = RunTimes { opened_at: now, not_before: now, start_by, hold_until: Some(start_by) };
        runs.push(Run::open(experiment.name.clone(), trigger, RunState::Requested, times));
    }
    if runs.is_empty() { Err(ManualError::NoSlot) } else { Ok(runs) }
}

/// Who asks, and why.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// What a halt does with safety levers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LeversOfHalt {
    /// Nothing; those that it holds already stay engaged.
    #[default]
    AsTheyAre,
    /// Those of every place of the configuration are to be engaged.
    Engaged,
}

/// Takes operators' wishes.
#[derive(Debug)]
pub struct ManualIngest<S> {
    store: Arc<S>,
    rules: watch::Receiver<Arc<Rules>>,
    poke: Arc<Poke>,
}

impl<S> Clone for ManualIngest<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), rules: self.rules.clone(), poke: self.poke.clone() }
    }
}

impl<S: Store> ManualIngest<S> {
    /// Makes an ingest that pokes the engine after each row.
    pub fn new(store: Arc<S>, rules: watch::Receiver<Arc<Rules>>, poke: Arc<Poke>) -> Self {
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
        windows: WindowRule,
        now: Timestamp,
    ) -> Result<(Run, Recorded), ManualError> {
        let name = self.known(name)?;
        if windows == WindowRule::Overridden && asker.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
            return Err(ManualError::NoReason);
        }
        let trigger = Trigger::Manual { request, by: asker.by, reason: asker.reason, windows };
        let start_by = now.saturating_add(START_DEADLINE).unwrap_or(Timestamp::MAX);
        let times = RunTimes { opened_at: now, not_before: now, start_by, hold_until: None };
        let run = Run::open(name, trigger, RunState::Requested, times);
        let recorded = self.told(self.store.request_runs(vec![run.clone()])).await?;
        Ok((run, recorded))
    }

    /// Records runs for the slots of a schedule in `[from, to]`, which lies in the past; they wait for their turn, one
    /// after the other. A repeated request (same `request`) is the same runs. Returns all of them.
    ///
    /// # Errors
    /// [`ManualError`] for a schedule, a range or a number of slots that cannot be; nothing is recorded then.
    pub async fn backfill(&self, wish: Backfill, asker: Asker, now: Timestamp) -> Result<Vec<Run>, ManualError> {
        let name = self.known(wish.experiment)?;
        let rules = self.rules.borrow().clone();
        let runs =
            backfilled(&rules.experiments[&name], &wish.schedule, wish.from..=wish.to, &wish.request, &asker, now)?;
        self.told(self.store.request_runs(runs.clone())).await?;
        Ok(runs)
    }

    /// Pauses an experiment until an instant, or until [`ManualIngest::unpause`].
    ///
    /// # Errors
    /// [`ManualError::UnknownExperiment`], or [`ManualError::Store`].
    pub async fn pause(
        &self,
        name: ExperimentName,
        asker: Asker,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<(), ManualError> {
        let name = self.known(name)?;
        if until.is_some_and(|until| until <= now) {
            return Err(ManualError::PauseOver);
        }
        let pause = Pause { at: now, by: asker.by, reason: asker.reason, until };
        Ok(self.told(self.store.set_pause(name, Pausing::Pause(pause))).await?)
    }

    /// Resumes an experiment and forgives its failures up to now. A ledger of it that cannot be read is made anew. Both also
    /// for one that has left the configuration; returns what people have to know then.
    ///
    /// # Errors
    /// [`ManualError::UnknownExperiment`], or [`ManualError::Store`].
    pub async fn unpause(&self, name: ExperimentName, now: Timestamp) -> Result<Vec<String>, ManualError> {
        let rules = self.rules.borrow().clone();
        let groups = rules.groups.keys().cloned().collect();
        let retold = self.told(self.store.retell_ledger(&name, groups, now)).await?;
        let known = self.known(name.clone());
        if known.is_ok() || self.store.load().await?.pauses.contains_key(&name) {
            self.told(self.store.set_pause(name, Pausing::Resume)).await?;
        } else if retold == Found::No {
            known?;
        }
        let mut said = Vec::new();
        if retold == Found::Yes {
            said.push(
                "its ledger could not be read and was made anew of the runs that the store still has: how many each schedule \
                 has begun is counted from them, and its gap, and that of every group, begins now"
                    .to_owned(),
            );
            if rules.budget.monthly.is_some() {
                said.push(
                    "what this month has cost is known from those runs only: see whether `budget.monthly_usd` holds"
                        .to_owned(),
                );
            }
        }
        Ok(said)
    }

    fn known(&self, name: ExperimentName) -> Result<ExperimentName, ManualError> {
        if self.rules.borrow().experiments.contains_key(&name) {
            Ok(name)
        } else {
            Err(ManualError::UnknownExperiment { name })
        }
    }

    /// Records that a run is to be stopped, or not to be started.
    ///
    /// # Errors
    /// [`ManualError::UnknownRun`], or [`ManualError::Unrecorded`].
    pub async fn stop(&self, id: RunId, asker: Asker, now: Timestamp) -> Result<(), ManualError> {
        let request = StopRequest { at: now, by: asker.by, reason: asker.reason };
        let keep = || self.poke.stop(id.clone(), request.clone());
        let write = self.told(self.store.request_stop(id.clone(), request.clone()));
        match self.kept(write, keep).await? {
            Found::Yes => Ok(()),
            Found::No => Err(ManualError::UnknownRun { id }),
        }
    }

    /// Makes a halt of all chaos; it is none until it is recorded.
    pub fn halting(&self, asker: Asker, running: HaltRunning, levers: LeversOfHalt, now: Timestamp) -> Halt {
        let places = match levers {
            LeversOfHalt::AsTheyAre => BTreeSet::new(),
            LeversOfHalt::Engaged => {
                let rules = self.rules.borrow();
                rules.experiments.values().map(|experiment| experiment.place.clone()).collect()
            }
        };
        let levers = lever::asked(places, &lever::mark(&asker.by, asker.reason.as_deref(), now));
        Halt { at: now, by: asker.by, reason: asker.reason, running, levers }
    }

    /// Halts all chaos, over restarts, until [`ManualIngest::resume`].
    ///
    /// # Errors
    /// [`ManualError::Unrecorded`], or [`ManualError::Store`] where what runs may finish.
    pub async fn halt(&self, halt: Halt) -> Result<(), ManualError> {
        let stop = StopRequest { at: halt.at, by: halt.by.clone(), reason: halt.reason.clone() };
        match halt.running {
            HaltRunning::Stop => self.kept(self.change_halt(Halting::Halt(halt)), || self.poke.stop_all(stop)).await?,
            HaltRunning::Finish => self.change_halt(Halting::Halt(halt)).await?,
        };
        Ok(())
    }

    /// Writes what an operator wants stopped. Where the store takes long or fails the wish is kept in memory meanwhile, so
    /// that the engine stops what it knows.
    async fn kept<T>(
        &self,
        write: impl Future<Output = Result<T, StoreError>>,
        keep: impl FnOnce(),
    ) -> Result<T, ManualError> {
        let mut write = pin!(write);
        let written = timeout(STORE_PATIENCE, &mut write).await;
        if !matches!(written, Ok(Ok(_))) {
            keep();
            self.poke.notify_one();
        }
        match written {
            Ok(done) => done,
            Err(_) => write.await,
        }
        .map_err(ManualError::Unrecorded)
    }

    async fn change_halt(&self, change: Halting) -> Result<Option<Halt>, StoreError> {
        self.told(self.store.set_halt(change)).await
    }

    /// Has the engine look after a write, whatever came of it.
    async fn told<T>(&self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let done = write.await;
        // It may be on the disk though the answer was lost, and then nothing waits for the next look.
        self.poke.notify_one();
        done
    }

    /// Returns the halt that is on.
    ///
    /// # Errors
    /// [`ManualError::UnreadableHalt`], or [`ManualError::Store`] when the store cannot be asked.
    pub async fn halted(&self) -> Result<Option<Halt>, ManualError> {
        match self.store.halted().await {
            Err(error @ StoreError::Row { .. }) => Err(ManualError::UnreadableHalt(error)),
            halted => Ok(halted?),
        }
    }

    /// Notes what became of levers of the halt that was `seen`. Returns those of them that are no longer a halt's: somebody let
    /// them go meanwhile who could not see yet what was engaged here.
    ///
    /// # Errors
    /// [`ManualError::Store`]; the row is as it was then.
    pub async fn note_levers(&self, seen: Halt, moved: Vec<HeldLever>) -> Result<Vec<HeldLever>, ManualError> {
        let row = self.change_halt(Halting::Note { seen, moved: moved.clone() }).await?;
        let held = row.map(|halt| halt.levers).unwrap_or_default();
        let is_held =
            |moved: &HeldLever| held.iter().any(|held| (&held.place, &held.mark) == (&moved.place, &moved.mark));
        Ok(moved.into_iter().filter(|moved| !is_held(moved)).collect())
    }

    /// Lifts a halt whose levers were let go, up to those that are `left`. One that somebody made meanwhile stands, and what
    /// was let go of its levers is asked for again; so does one of which somebody engaged levers meanwhile.
    ///
    /// # Errors
    /// [`ManualError::HaltedAgain`] then; [`ManualError::Store`], and the row is as it was.
    pub async fn lift(&self, seen: Halt, left: Vec<HeldLever>) -> Result<(), ManualError> {
        let (at, expected) = (seen.at, left.clone());
        match self.change_halt(Halting::Lift { seen, left }).await? {
            Some(halt) if halt.at != at || halt.levers != expected => Err(ManualError::HaltedAgain),
            _ => Ok(()),
        }
    }

    /// Lifts the halt, and forgets which levers it holds.
    ///
    /// # Errors
    /// [`ManualError::Store`]; it is still on then.
    pub async fn resume(&self) -> Result<(), ManualError> {
        self.change_halt(Halting::Resume).await?;
        Ok(())
    }
}
