//! The loop: load, plan, perform, record, wait. Start-up, recovery after a crash and the normal path are this one loop.
//!
//! It may be dropped at any await: what a dropped call did is found again from the rows. Only the loop of the replica that
//! holds the lease changes runs, so a run with a call under way has no other writer. A replica that loses the lease forgets
//! its calls, as a crash would, and stands by. What must not go on is stopped also while the store is away: see `unwritten`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::watch, time::Instant};

use super::{
    calls::Calls,
    perform::{self, Done},
    ports::{
        Change, Committed, FaultInjector, Hints, Journaled, Lease, Poke, Rows, Store, StoreDid, StoreError, WakeSource,
        Witness,
    },
    unwritten::Known,
};
use crate::domain::{
    experiment::Rules,
    ids::RunId,
    ledger::Definition,
    plan::{self, Beside, Effect, Explained, Mode, Places, Snapshot},
    run::{Observation, Run, RunState},
};

/// Most changes in one transaction: other writers and the first fires of a second do not wait for all of them.
const MAX_CHANGES: usize = 2_500;

/// Longest time between two passes, so that what people and metrics are told of windows and slots is not stale.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// A pass that takes at least this long is followed by a time in which answers and news gather.
const WORTH_GATHERING: Duration = Duration::from_millis(5);

/// Longest such time.
const LONGEST_GATHERING: Duration = Duration::from_millis(50);

/// Wait after a failure of the store, and of a replica that stands by until it asks for the lease again.
const STORE_RETRY: SignedDuration = SignedDuration::from_secs(1);

/// The engine and all it needs.
pub struct Engine<S, F, W, X> {
    /// Rows.
    pub store: Arc<S>,
    /// FIS.
    pub injector: Arc<F>,
    /// Clock and wake-ups.
    pub time: Arc<W>,
    /// Who is told.
    pub witness: Arc<X>,
    /// The configuration's rules; a new value takes effect in the next pass.
    pub rules: watch::Receiver<Arc<Rules>>,
    /// Whether anything may begin.
    pub mode: watch::Receiver<Mode>,
    /// "Look", and stops that are in no row.
    pub poke: Arc<Poke>,
    /// What FIS told of experiments, unasked.
    pub hints: Arc<Hints>,
}

impl<S: Store, F: FaultInjector, W: WakeSource, X: Witness> Engine<S, F, W, X> {
    /// Runs until told to drain, no call is under way and (when draining with stops) nothing runs any more.
    pub async fn run(mut self) {
        let (mut calls, mut unwritten, known) = (Calls::default(), Calls::default(), Known::default());
        let mut rests = Rests::No;
        loop {
            let (now, begun) = (self.time.now(), Instant::now());
            let wake = match rests.left(now) {
                Some(until) => Some(until),
                None => {
                    let pass = self.pass(now, &mut calls, &known);
                    match self.beside_stops(&mut unwritten, &known, pass).await {
                        Ok(Pass::Drained) => return self.release().await,
                        Ok(Pass::Wake(wake)) => {
                            self.stop_unread(&mut unwritten, &known, &calls);
                            Some(wake)
                        }
                        Err(error) => {
                            self.failed(&error, &mut calls, &mut unwritten, &known);
                            rests = Rests::since(now);
                            rests.left(now)
                        }
                    }
                }
            };
            // A clock that was set back meanwhile makes an instant that was near a far one.
            let wake = if self.time.now() < now { Some(self.time.now()) } else { wake };
            // Many rows take long to look at: what happens in as long a time after that is looked at together.
            let took = begun.elapsed();
            let look_at = Instant::now() + took.min(LONGEST_GATHERING);
            let gather = async || {
                if took >= WORTH_GATHERING {
                    tokio::time::sleep_until(look_at).await;
                }
            };
            let term = calls.term.clone();
            tokio::select! {
                biased;
                Ok(()) = self.mode.changed() => {}
                done = unwritten.answered() => self.answered_unwritten(&known, done),
                done = calls.answered() => {
                    gather().await;
                    let ended = calls.answered_with(done);
                    let recorded = self.answered(ended, &known);
                    if let Err(error) = self.beside_stops(&mut unwritten, &known, recorded).await {
                        self.failed(&error, &mut calls, &mut unwritten, &known);
                        rests = Rests::since(self.time.now());
                    }
                }
                Ok(()) = self.rules.changed() => {}
                () = self.poke.notified() => gather().await,
                () = self.time.wait(wake) => {}
                () = self.store.freed() => rests = Rests::No,
                // Where a lease has an end there are other replicas, which write rows too.
                () = term.fades(), if rests.left(now).is_none() => {}
            }
        }
    }

    /// Says that the store failed, and does without it what cannot wait. It has not failed where the lease is another's:
    /// then calls under way are forgotten.
    fn failed(&self, error: &StoreError, calls: &mut Calls, unwritten: &mut Calls, known: &Known) {
        if matches!(error, StoreError::Fenced) {
            (*calls, *unwritten) = (Calls::default(), Calls::default());
            self.poke.clear();
            return known.forget();
        }
        self.witness.store_failed(error);
        // What was called in a term that has ended is forgotten, whatever it was that failed: another may act by now.
        if calls.term.is_over() {
            *calls = Calls::default();
        }
        unwritten.term = calls.term.clone();
        self.stop_unwritten(unwritten, known, calls.busy());
    }

    /// Takes or keeps the lease; [`StoreError::Fenced`] when another holds it. What was called in a term that has ended is
    /// forgotten: another may have acted since.
    ///
    /// Rows are loaded after that. Whoever waits for them longer than the lease lasts loses it; what keeps them from being
    /// loaded in less is the store's answer, which is the same to every replica.
    async fn hold(&self, calls: &mut Calls) -> Result<(), StoreError> {
        let rules = self.rules.borrow().clone();
        match self.store.hold(&rules.fingerprint).await? {
            Lease::Held { until } => {
                if calls.term.is_over() {
                    *calls = Calls::default();
                }
                calls.term.extend(until);
                Ok(())
            }
            Lease::Elsewhere { holder, configuration } => {
                self.witness.standing_by(&holder, configuration);
                Err(StoreError::Fenced)
            }
            Lease::Free => Err(StoreError::Fenced),
        }
    }

    /// Gives the lease back at the end, so that nobody has to wait until it runs out.
    async fn release(&self) {
        if let Err(error) = self.store.release(Duration::ZERO).await {
            self.witness.store_failed(&error);
        }
    }

    /// Looks at all rows once and performs what the planner asks for.
    async fn pass(&self, now: Timestamp, calls: &mut Calls, known: &Known) -> Result<Pass, StoreError> {
        let mode = *self.mode.borrow();
        if mode != Mode::Draining {
            self.hand_over_in_vain(&calls.term, known).await?;
        }
        match self.hold(calls).await {
            // Others look after what goes on.
            Err(StoreError::Fenced) if mode != Mode::Active => return Ok(Pass::Drained),
            held => held?,
        }
        let mut rows = self.store.load().await?;
        self.poke.add_to(&mut rows.stops, rows.runs.iter());
        self.poke.forget(|id| rows.unread.contains(id) || rows.runs.iter().any(|run| run.id == *id));
        let aged = known.refresh(&rows, now);
        let rules = self.rules.borrow().clone();
        if self.is_drained(mode, &rows, calls) {
            return Ok(Pass::Drained);
        }
        let hints = self.hints.of(&rows.runs);
        let snapshot = Snapshot {
            rules: &rules,
            cursors: rows.cursors,
            runs: rows.runs,
            halt: rows.halt,
            stops: rows.stops,
            ledgers: rows.ledgers,
            pauses: rows.pauses,
            deployed: rows.deployed,
            mode,
            hints,
            busy: calls.busy(),
            places: Places::Read,
            withheld: rows.withheld,
            restored_at: rows.restored_at,
            aged,
        };
        let (effects, wake) = plan::plan_and_wake(&snapshot, now);
        let effects = known.own_up(effects, &snapshot);
        let (wanted, decided): (Vec<Effect>, Vec<Effect>) =
            effects.into_iter().partition(|effect| effect.call_for().is_some());
        // What is about to change is not worth telling: it is told in the pass after.
        if decided.is_empty() {
            self.witness.surveyed(&snapshot, now);
        }
        let begun = if decided.is_empty() { Vec::new() } else { perform::begun(&wanted, &snapshot) };
        let performed = match self.perform(wanted, &snapshot, now, calls).await {
            Err(error) if !error.is_of_a_row() => return Err(error),
            performed => performed,
        };
        let changed = self.record(decided, &snapshot, &begun, now).await?;
        performed?;
        match &rows.unreadable {
            Some(error) => self.witness.store_failed(known.unwatched(error).as_ref().unwrap_or(error)),
            None => self.witness.store_worked(StoreDid::Pass),
        }
        // Rows have changed, so the survey is out of date: look again at once.
        let soon = if rows.unreadable.is_some() { STORE_RETRY } else { LOOK_AGAIN };
        let soon = now.saturating_add(soon).unwrap_or(now);
        Ok(Pass::Wake(if changed { now } else { wake.map_or(soon, |wake| wake.min(soon)) }))
    }

    fn is_drained(&self, mode: Mode, rows: &Rows, calls: &Calls) -> bool {
        let goes_on = |run: &Run| run.may_be_running() && !plan::left_nothing(run);
        let running = || !rows.unread.is_empty() || rows.runs.iter().any(goes_on);
        match mode {
            Mode::Active => false,
            Mode::Draining => calls.is_empty(),
            Mode::DrainingWithStop => calls.is_empty() && !running(),
        }
    }

    /// Performs effects that call somebody, as many as there is room for, stops before all others. Intents are written first,
    /// all in one transaction.
    async fn perform(
        &self,
        effects: Vec<Effect>,
        snapshot: &Snapshot<'_>,
        now: Timestamp,
        calls: &mut Calls,
    ) -> Result<(), StoreError> {
        if snapshot.mode == Mode::Draining {
            return Ok(());
        }
        let runs: HashMap<&RunId, &Run> = snapshot.runs.iter().map(|run| (&run.id, run)).collect();
        let beside = Beside::of(snapshot, now);
        let (mut intents, mut tagged, mut failed) = (Vec::new(), Vec::new(), None);
        for effect in calls.fitting(effects) {
            let Some(run) = effect.call_for().and_then(|id| runs.get(id)).map(|run| (*run).clone()) else { continue };
            let (observation, tags, explained) = match effect {
                Effect::Start { place, template_id, tags, facts, place_facts, ties, .. } => {
                    let explained = plan::explain_beside(snapshot, &beside, &run, now);
                    let ties = Some(ties);
                    (Observation::StartAsked { place, template_id, facts, place_facts, ties }, tags, explained)
                }
                Effect::Stop { cause, .. } if matches!(run.state, RunState::Running { .. }) => {
                    (Observation::StopAsked { cause }, BTreeMap::new(), Vec::new())
                }
                effect => {
                    calls.make(self, perform::call(&run, effect).map(|call| (run, call)), now);
                    continue;
                }
            };
            match self.change(run, observation, explained, now) {
                Ok(change) => {
                    intents.push(change);
                    tagged.push(tags);
                }
                // Others are none the worse for it.
                Err(error) => failed = Some(error),
            }
        }
        let (committed, unwritten) = self.commit_each(&intents).await;
        if let Some(StoreError::Fenced) = unwritten {
            return Err(StoreError::Fenced);
        }
        if calls.term.is_short() {
            self.hold(calls).await?;
        }
        // Writing may take seconds, in which a reload was answered. What was judged by the rules of before is not sent.
        let is_outdated = !self.rules.borrow().are_as(snapshot.rules);
        for ((intent, tags), committed) in intents.into_iter().zip(tagged).zip(committed) {
            let Change::Advance { run, observation, .. } = intent else { continue };
            if let Some(Committed::Done) = committed {
                let is_start = matches!(observation, Observation::StartAsked { .. });
                let is_looked_for_first =
                    || runs.get(&run.id).is_some_and(|run| plan::is_looked_for_first(snapshot, run));
                // The intent is on disk, and the look for what may have come of it comes before the call.
                if is_start && is_outdated || is_looked_for_first() {
                    self.poke.notify_one();
                    continue;
                }
                calls.make(self, perform::intended(&run, observation, tags).map(|call| (*run, call)), now);
            }
        }
        // Not after all else is written: what forbids a start is compared with what asks for it, and may come any moment.
        calls.begin();
        unwritten.or(failed).map_or(Ok(()), Err)
    }

    /// Writes what was decided without asking anybody, batch by batch; tells whether rows changed. Runs that have begun in
    /// this pass were in the way of others.
    async fn record(
        &self,
        effects: Vec<Effect>,
        snapshot: &Snapshot<'_>,
        begun: &[Run],
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let runs: HashMap<&RunId, &Run> = snapshot.runs.iter().map(|run| (&run.id, run)).collect();
        let mut beside = Beside::of(snapshot, now);
        beside.going.extend(begun);
        let (mut changed, mut failed) = (false, None);
        let mut effects = effects.into_iter().peekable();
        while effects.peek().is_some() {
            let mut changes = Vec::new();
            for effect in effects.by_ref().take(MAX_CHANGES) {
                match effect {
                    Effect::AdoptSchedule { schedule, at } => changes.push(Change::AdoptSchedule { schedule, at }),
                    Effect::LeaveSchedule { schedule, at } => changes.push(Change::LeaveSchedule { schedule, at }),
                    Effect::ForgetSchedule { schedule } => changes.push(Change::ForgetSchedule { schedule }),
                    Effect::OpenSlots { schedule, cursor, runs } => {
                        changes.push(Change::OpenSlots { schedule, cursor, runs, at: now });
                        // The cursor moves even where every run is known, and the survey knows no next slot from the old one.
                        changed = true;
                    }
                    Effect::Record { run, observation } => {
                        let Some(run) = runs.get(&run).map(|run| (*run).clone()) else { continue };
                        let explained = match &observation {
                            Observation::Held { .. } | Observation::Skipped { .. } => {
                                plan::explain_beside(snapshot, &beside, &run, now)
                            }
                            _ => Vec::new(),
                        };
                        match self.change(run, observation, explained, now) {
                            Ok(change) => changes.push(change),
                            // Others are none the worse for it.
                            Err(error) => failed = Some(error),
                        }
                    }
                    _ => {}
                }
            }
            let (committed, unwritten) = self.commit_each(&changes).await;
            changed |= committed.contains(&Some(Committed::Done));
            match unwritten {
                None => {}
                Some(error) if error.is_of_a_row() => failed = Some(error),
                Some(error) => return Err(error),
            }
        }
        failed.map_or(Ok(changed), Err)
    }

    /// Records what answers mean, in one transaction. When that fails they are forgotten, but for those to starts: the rows
    /// still say that they are wanted.
    async fn answered(&self, ended: Vec<Done>, known: &Known) -> Result<(), StoreError> {
        let now = self.time.now();
        let (mut changes, mut failed) = (Vec::new(), None);
        for done in ended {
            known.reach.answered(&done);
            let Done { run, operation, answer, asked_at, took } = done;
            self.witness.called(operation, answer.result(), took);
            let observation = perform::observe(&run, answer, asked_at, now);
            match self.change(run, observation, Vec::new(), now) {
                Ok(change) => {
                    if let Change::Advance { run, observation, .. } = &change {
                        known.note(run, observation);
                    }
                    changes.push(change);
                }
                Err(error) => failed = Some(error),
            }
        }
        let (_, unwritten) = self.commit_each(&changes).await;
        unwritten.or(failed).map_or(Ok(()), Err)
    }

    /// Returns the change that an observation makes of a run.
    fn change(
        &self,
        run: Run,
        observation: Observation,
        explained: Vec<Explained>,
        at: Timestamp,
    ) -> Result<Change, StoreError> {
        let journal = match &observation {
            Observation::Polled { fis } if run.fis.as_ref() == Some(fis) => Journaled::No,
            Observation::Probed { facts } if run.place_facts.as_ref().is_some_and(|known| known.is_as(facts)) => {
                Journaled::No
            }
            _ => Journaled::Yes,
        };
        let applied = run.apply(&observation, at);
        let run =
            applied.map_err(|invalid| StoreError::Row { row: invalid.run.to_string(), source: Box::new(invalid) })?;
        let definition = self.rules.borrow().experiments.get(&run.experiment).map(|of| Box::new(Definition::of(of)));
        Ok(Change::Advance { run: Box::new(run), observation, journal, definition, explained, at })
    }

    /// Commits changes in one transaction; when the store works and does not take one of them, each in its own: it is in
    /// nobody else's way. Tells of each whether it was made, `None` when it was not written, and why not.
    async fn commit_each(&self, changes: &[Change]) -> (Vec<Option<Committed>>, Option<StoreError>) {
        let failed = match self.commit(changes).await {
            Ok(committed) => return (committed.into_iter().map(Some).collect(), None),
            Err(failed) => failed,
        };
        match changes {
            _ if !failed.is_of_a_row() => return (vec![None; changes.len()], Some(failed)),
            [change] => return (vec![None], Some(change.unwritten(failed))),
            _ => {}
        }
        let (mut each, mut failed) = (Vec::new(), None);
        for change in changes {
            match self.commit(std::slice::from_ref(change)).await {
                Ok(committed) => each.extend(committed.into_iter().map(Some)),
                Err(error) => {
                    each.push(None);
                    failed = Some(change.unwritten(error));
                }
            }
        }
        (each, failed)
    }

    /// Commits changes in one transaction, and tells the witness what was made.
    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        let committed = self.store.commit(changes).await?;
        self.witness.store_worked(StoreDid::Write);
        let made = changes.iter().zip(&committed).filter(|(_, committed)| **committed == Committed::Done);
        for (change, _) in made {
            match change {
                Change::OpenSlots { runs, at, .. } => {
                    runs.iter().for_each(|run| self.witness.committed(run, &run.opening(), *at));
                }
                Change::Advance { run, observation, journal: Journaled::Yes, at, .. } => {
                    self.witness.committed(run, observation, *at);
                }
                _ => {}
            }
        }
        Ok(committed)
    }
}

/// Whether the engine rests after a failure of the store: a call whose answer cannot be recorded is wanted again at
/// once, and FIS must not be asked as fast as it answers.
enum Rests {
    No,
    Until(Timestamp),
}

impl Rests {
    fn since(at: Timestamp) -> Self {
        at.checked_add(STORE_RETRY).map_or(Self::No, Self::Until)
    }

    /// Returns until when it rests, if it does; not after the clock was set back.
    fn left(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Until(until) if now < *until && until.duration_since(now) <= STORE_RETRY => Some(*until),
            _ => None,
        }
    }
}

/// What a pass ended with.
enum Pass {
    /// Look again at this instant.
    Wake(Timestamp),
    /// The engine was told to drain and has.
    Drained,
}
