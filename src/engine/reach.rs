//! Reach: whether what must not go on can be stopped from here, or had better be left to another replica.
//!
//! A replica that reaches the store and not FIS would keep the lease from one that reaches both. So the lease is given back
//! when a stop, or the look for what may have to be stopped, has had no answer for a while. Where nobody takes it this one
//! goes on as before. Where FIS answers nobody the lease goes round, slowly: it is given back once in [`LEAVES_IT_FOR`].

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    perform::{Answer, Done},
    ports::{FaultInjector, Store, StoreError, WakeSource, Witness},
    run_loop::Engine,
    term::Term,
    unwritten::Known,
};
use crate::domain::{
    fis::{CallFailure, FailureClass},
    ids::RunId,
};

/// How long a stop may be asked for in vain until the lease is given back.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a lease that was given back is left to others, and the least time between two such occasions.
const LEAVES_IT_FOR: Duration = Duration::from_secs(120);

/// Which calls get no answer of FIS.
#[derive(Debug, Default)]
pub(super) struct Reach(Mutex<Unanswered>);

#[derive(Debug, Default)]
struct Unanswered {
    /// Runs that cannot be stopped or looked for: since when that was first asked, and what came of it last.
    runs: BTreeMap<RunId, (Instant, CallFailure)>,
    /// When the lease was last given back for it.
    left_at: Option<Instant>,
}

impl Reach {
    fn unanswered(&self) -> MutexGuard<'_, Unanswered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what came of a call.
    pub(super) fn answered(&self, done: &Done) {
        let failure = match &done.answer {
            Answer::Stop(answer) => answer.as_ref().err(),
            Answer::Find(answer) => answer.as_ref().err(),
            _ => return,
        };
        let runs = &mut self.unanswered().runs;
        match failure.filter(|failure| may_be_our_own(failure.class)) {
            Some(failure) => {
                let now = Instant::now();
                let first = || (now.checked_sub(done.took).unwrap_or(now), failure.clone());
                runs.entry(done.run.id.clone()).or_insert_with(first).1 = failure.clone();
            }
            None => _ = runs.remove(&done.run.id),
        }
    }

    /// Forgets all runs but those that may be running.
    pub(super) fn retain(&self, may_be_running: impl Fn(&RunId) -> bool) {
        self.unanswered().runs.retain(|run, _| may_be_running(run));
    }

    /// Takes a run for which the lease is to be given back now, if there is one, and notes that it is.
    fn take_in_vain(&self) -> Option<(RunId, CallFailure)> {
        let unanswered = &mut *self.unanswered();
        if unanswered.left_at.is_some_and(|at| at.elapsed() < LEAVES_IT_FOR) {
            return None;
        }
        let (run, (_, failure)) = unanswered.runs.iter().find(|(_, (since, _))| since.elapsed() >= PATIENCE)?;
        unanswered.left_at = Some(Instant::now());
        Some((run.clone(), failure.clone()))
    }
}

impl<S: Store, F: FaultInjector, W: WakeSource, X: Witness> Engine<S, F, W, X> {
    /// Gives the lease back where what must not go on cannot be stopped from here: then it is another's, until
    /// [`Store::hold`] says otherwise.
    pub(super) async fn hand_over_in_vain(&self, term: &Term, known: &Known) -> Result<(), StoreError> {
        if !term.has_end() {
            return Ok(());
        }
        let Some((run, failure)) = known.reach.take_in_vain() else { return Ok(()) };
        self.witness.handing_over(&run, &failure);
        self.store.release(LEAVES_IT_FOR).await?;
        Err(StoreError::Fenced)
    }
}

/// Tells whether a failure may be this replica's alone: nothing came from FIS itself.
fn may_be_our_own(class: FailureClass) -> bool {
    matches!(class, FailureClass::Unavailable | FailureClass::Timeout | FailureClass::Credentials)
}
