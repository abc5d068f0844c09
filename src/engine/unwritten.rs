//! Stops while the store is away: what must not go on is stopped though nothing can be written down.
//!
//! A start needs its intent on disk first, since one too many cannot be taken back. A stop may be asked for by anybody and
//! as often as one likes: FIS's experiment has an id of its own, ends once, and one that has ended is not stopped again. So
//! whoever decided last goes on to stop what it knows to run, by the planner's own rules, while the store does not answer or
//! does not take the intent.
//!
//! That holds also when its lease has run out meanwhile. Another replica that decides by then knows the same rules and the
//! same runs, and makes the same stop. The two can differ where a configuration or a calendar has reached only one of them,
//! or a halt was lifted past the other; then a run ends that might have gone on, which harms nobody, while the opposite is
//! chaos in a blackout. What a run is exempt from by its trigger cannot change. Nothing is stopped here to make room for
//! another run, which cannot begin, nor, once the lease has run out, because this process ends: others look after what runs.
//! As soon as the store says that another holds the lease all of this is forgotten.
//!
//! A run whose row alone cannot be read any more is stopped in the same way, by what was known of it, though not polled.
//!
//! When the store is back the row is told first why its experiment was stopped, then what became of it. A process that ends
//! before that takes the cause with it: then the run was stopped by somebody outside, which is all that is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{
    calls::Calls,
    perform::{self, Call, Done},
    ports::{FaultInjector, Poke, Rows, Store, StoreError, WakeSource, Witness},
    reach::Reach,
    run_loop::Engine,
};
use crate::domain::{
    experiment::Rules,
    ids::RunId,
    plan::{self, Effect, Halt, Looked, Mode, Places, Snapshot, StopRequest, Withheld},
    run::{Observation, Run, RunState, StopCause},
};

/// How long the store is waited for until what must not go on is stopped without it.
const STORE_PATIENCE: Duration = Duration::from_secs(1);

/// From when until when an engine that waits for the store counts as alive because of what runs meanwhile. No failure takes
/// longer to be told than the one, and no `max_duration` is longer than the other.
const LOOKED_AFTER: Range<Duration> = Duration::from_secs(10)..Duration::from_hours(12);

/// A clock that was set back by no more than this since the last look makes nothing look young.
const UNSEEN: SignedDuration = SignedDuration::from_secs(1);

/// What was known of what runs when the store last answered, and what was done to it since.
#[derive(Debug, Default)]
pub(super) struct Known {
    facts: Mutex<Facts>,
    /// Of which of them FIS does not answer.
    pub(super) reach: Reach,
}

#[derive(Debug, Default)]
struct Facts {
    /// Runs whose FIS experiment exists or may exist.
    going: BTreeMap<RunId, Run>,
    halt: Option<Halt>,
    stops: BTreeMap<RunId, StopRequest>,
    /// That starts were answered, of runs whose rows do not say so.
    begun: BTreeMap<RunId, Observation>,
    /// Stops that were asked of FIS and are in no row.
    made: BTreeMap<RunId, StopCause>,
    /// Runs that may be running and whose rows cannot be read, whether or not they are known from before.
    unread: BTreeSet<RunId>,
    /// What was seen at the last look at the rows.
    looked: Looked,
    /// When that was.
    looked_at: Option<(Timestamp, Instant)>,
}

impl<S: Store, F: FaultInjector, W: WakeSource, X: Witness> Engine<S, F, W, X> {
    /// Waits for what asks the store. While that takes long, what must not go on is stopped by what is known, and whoever ends
    /// a process that stands still is told that this one does not.
    pub(super) async fn beside_stops<T>(
        &self,
        unwritten: &mut Calls,
        known: &Known,
        asks: impl Future<Output = T>,
    ) -> T {
        let mut asks = pin!(asks);
        let begun = Instant::now();
        loop {
            let since = Instant::now();
            tokio::select! {
                biased;
                answer = &mut asks => return answer,
                done = unwritten.answered() => self.answered_unwritten(known, done),
                () = tokio::time::sleep(STORE_PATIENCE) => {
                    // A process that was away gives the store its time first: what it knows is of the past.
                    if since.elapsed() < 2 * STORE_PATIENCE {
                        self.stop_unwritten(unwritten, known, BTreeSet::new());
                    }
                    if LOOKED_AFTER.contains(&begun.elapsed()) && known.is_any_running() {
                        self.witness.looks_after_runs();
                    }
                }
            }
        }
    }

    /// Stops what must not go on of runs whose rows cannot be read.
    pub(super) fn stop_unread(&self, unwritten: &mut Calls, known: &Known, calls: &Calls) {
        if let Some(mut others) = known.beside_unread() {
            others.extend(calls.busy());
            unwritten.term = calls.term.clone();
            self.stop_unwritten(unwritten, known, others);
        }
    }

    /// Stops what must not go on, by what is known, without a word to the store. Others are looked after elsewhere.
    pub(super) fn stop_unwritten(&self, unwritten: &mut Calls, known: &Known, mut others: BTreeSet<RunId>) {
        let mode = match *self.mode.borrow() {
            Mode::Draining => return,
            // Whoever took the lease meanwhile looks after what runs.
            Mode::DrainingWithStop if unwritten.term.is_over() => Mode::Active,
            mode => mode,
        };
        let (now, rules) = (self.time.now(), self.rules.borrow().clone());
        others.extend(unwritten.busy());
        for run in known.stop(&self.poke, &rules, mode, others, now) {
            let call = perform::running_at(&run).map(|(place, fis_id)| Call::StopUnwritten { place, fis_id });
            unwritten.make(self, call.map(|call| (run, call)), now);
        }
    }

    pub(super) fn answered_unwritten(&self, known: &Known, done: Done) {
        known.reach.answered(&done);
        let (now, run) = (self.time.now(), done.run);
        self.witness.called(done.operation, done.answer.result(), done.took);
        known.answered(&run.id, &perform::observe(&run, done.answer, done.asked_at, now), now);
    }
}

impl Known {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what the rows say. What is known beyond them stays known. Returns [`Snapshot::aged`].
    pub(super) fn refresh(&self, rows: &Rows, now: Timestamp) -> BTreeSet<Timestamp> {
        let facts = &mut *self.facts();
        let mut before = std::mem::take(&mut facts.going);
        for run in rows.runs.iter().filter(|run| run.may_be_running()) {
            let known = before.remove_entry(&run.id).filter(|(_, known)| match run.state {
                _ if known == run => true,
                RunState::Starting { .. } => is_running(known),
                RunState::Running { .. } => facts.made.contains_key(&run.id),
                _ => false,
            });
            let (id, run) = known.unwrap_or_else(|| (run.id.clone(), run.clone()));
            facts.going.insert(id, run);
        }
        facts.unread.clone_from(&rows.unread);
        facts.going.extend(before.into_iter().filter(|(id, _)| rows.unread.contains(id)));
        self.reach.retain(|id| facts.going.contains_key(id));
        let state = |id: &RunId| rows.runs.iter().find(|run| run.id == *id).map(|run| &run.state);
        let is_starting = |id: &RunId| matches!(state(id), Some(RunState::Starting { .. }));
        let may_owe = |id: &RunId| is_starting(id) || matches!(state(id), Some(RunState::Running { .. }));
        facts.begun.retain(|id, _| is_starting(id) || rows.unread.contains(id));
        facts.made.retain(|id, _| may_owe(id) || rows.unread.contains(id));
        facts.halt.clone_from(&rows.halt);
        facts.stops.clone_from(&rows.stops);
        let looked_at = (now, Instant::now());
        if facts.looked_at.replace(looked_at).is_some_and(|last| is_set_back(last, looked_at)) {
            facts.looked = Looked::default();
        }
        facts.looked.again(&rows.runs, now);
        facts.looked.aged.clone()
    }

    /// Notes what became of a run, whether or not it can be written down.
    pub(super) fn note(&self, run: &Run, observation: &Observation) {
        let facts = &mut *self.facts();
        if matches!(observation, Observation::Started { .. }) {
            facts.begun.insert(run.id.clone(), observation.clone());
        }
        let is_before = matches!(run.state, RunState::Starting { .. } | RunState::Running { .. });
        if is_before && facts.made.contains_key(&run.id) {
            return;
        }
        if run.may_be_running() {
            facts.going.insert(run.id.clone(), run.clone());
        } else {
            facts.going.remove(&run.id);
        }
    }

    /// Tells whether a run is known that could be stopped.
    fn is_any_running(&self) -> bool {
        self.facts().going.values().any(|run| perform::running_at(run).is_some())
    }

    /// Lists the known runs whose rows can be read, where there is one whose row cannot.
    fn beside_unread(&self) -> Option<BTreeSet<RunId>> {
        let facts = self.facts();
        let readable = || facts.going.keys().filter(|id| !facts.unread.contains(*id)).cloned().collect();
        (!facts.unread.is_empty()).then(readable)
    }

    /// Tells which runs are not watched because their rows cannot be read, if there are any; that row is the first.
    pub(super) fn unwatched(&self, source: &Arc<StoreError>) -> Option<StoreError> {
        let facts = self.facts();
        let is_known = |id: &RunId| facts.going.get(id).is_some_and(|run| perform::running_at(run).is_some());
        let (known, unknown) = facts.unread.iter().cloned().partition(is_known);
        (!facts.unread.is_empty()).then(|| StoreError::Unwatched { known, unknown, source: source.clone() })
    }

    /// Forgets everything: another replica decides.
    pub(super) fn forget(&self) {
        *self.facts() = Facts::default();
        self.reach.retain(|_| false);
    }

    /// Has the rows told of the starts that were answered and the stops that were made without them, before anything else is
    /// done to these runs: what is known need not be looked for.
    pub(super) fn own_up(&self, mut effects: Vec<Effect>, snapshot: &Snapshot<'_>) -> Vec<Effect> {
        let facts = self.facts();
        let owes = |run: &Run| match run.state {
            RunState::Starting { .. } => {
                let observation = facts.begun.get(&run.id)?.clone();
                Some(Effect::Record { run: run.id.clone(), observation })
            }
            RunState::Running { .. } => {
                let cause = facts.made.get(&run.id)?.clone();
                Some(Effect::Stop { run: run.id.clone(), cause })
            }
            _ => None,
        };
        let idle = snapshot.runs.iter().filter(|run| !snapshot.busy.contains(&run.id));
        let owed: Vec<Effect> = idle.filter_map(owes).collect();
        effects.retain(|effect| effect.run().is_none_or(|id| !owed.iter().any(|owed| owed.run() == Some(id))));
        effects.extend(owed);
        effects
    }

    /// Notes that what has to be stopped is stopped without a row, and lists it; runs in `busy` are being stopped already.
    pub(super) fn stop(
        &self,
        poke: &Poke,
        rules: &Rules,
        mode: Mode,
        busy: BTreeSet<RunId>,
        now: Timestamp,
    ) -> Vec<Run> {
        let facts = &mut *self.facts();
        poke.add_to(&mut facts.stops, facts.going.values());
        let snapshot = Snapshot {
            rules,
            cursors: BTreeMap::new(),
            runs: facts.going.values().cloned().collect(),
            halt: facts.halt.clone(),
            stops: facts.stops.clone(),
            ledgers: BTreeMap::new(),
            pauses: BTreeMap::new(),
            deployed: BTreeMap::new(),
            mode,
            hints: BTreeMap::new(),
            busy,
            places: Places::Read,
            withheld: Withheld::default(),
            restored_at: None,
            aged: BTreeSet::new(),
        };
        let mut stopped = Vec::new();
        for (id, cause) in plan::stops(&snapshot, now) {
            let Some(run) = facts.going.get_mut(&id) else { continue };
            if matches!(run.state, RunState::Running { .. }) {
                // It is running, so it takes this.
                if run.take(&Observation::StopAsked { cause: cause.clone() }, now).is_err() {
                    continue;
                }
                facts.made.insert(id, cause);
            }
            stopped.push(run.clone());
        }
        stopped
    }

    /// Notes what FIS answered to a stop that no row tells of.
    pub(super) fn answered(&self, run: &RunId, observation: &Observation, now: Timestamp) {
        if let Some(known) = self.facts().going.get_mut(run)
            && matches!(known.state, RunState::Stopping { .. })
        {
            // What it was stopped by is known already.
            let _taken_or_over = known.take(observation, now);
        }
    }
}

/// Tells whether the clock was set back between two looks, however long this process stood still between them.
fn is_set_back((then, since): (Timestamp, Instant), (now, at): (Timestamp, Instant)) -> bool {
    let passed = SignedDuration::try_from(at.duration_since(since)).unwrap_or(SignedDuration::MAX);
    now.duration_since(then).saturating_add(UNSEEN) < passed
}

fn is_running(run: &Run) -> bool {
    matches!(run.state, RunState::Running { .. } | RunState::Stopping { .. })
}
