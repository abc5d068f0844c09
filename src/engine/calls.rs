//! Calls under way: whose run each is about, whether it gives way, and in which term of the lease it was made.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{
    FutureExt, StreamExt,
    future::{AbortHandle, Abortable, BoxFuture, abortable},
    stream::FuturesUnordered,
};

use jiff::Timestamp;

use super::{
    perform::{self, Call, Done},
    ports::{FaultInjector, WakeSource},
    run_loop::Engine,
    term::Term,
};
use crate::domain::{ids::RunId, plan::Effect, run::Run};

/// Most calls under way at once; effects beyond wait for one to end.
pub const MAX_CALLS: usize = 64;

/// Most calls under way at once when something has to be stopped: a stop does not wait for others to end.
const MAX_CALLS_WITH_STOPS: usize = 2 * MAX_CALLS;

/// Whether something else may be done to a run while a call about it is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gives {
    /// It may: then the answer is not waited for any more.
    Way,
    /// It may not.
    NoWay,
}

#[derive(Debug)]
struct Busy {
    gives: Gives,
    end: AbortHandle,
}

/// Calls under way, one a run at most.
#[derive(Default)]
pub(super) struct Calls {
    pending: FuturesUnordered<Abortable<BoxFuture<'static, Done>>>,
    busy: BTreeMap<RunId, Busy>,
    /// Calls that had ended as soon as they were begun.
    ended: Vec<Done>,
    pub(super) term: Term,
}

impl Calls {
    /// Makes a call for a run that is wanted at an instant; one about it that is under way gives way.
    pub(super) fn make<S, F: FaultInjector, W: WakeSource, X>(
        &mut self,
        engine: &Engine<S, F, W, X>,
        call: Option<(Run, Call)>,
        at: Timestamp,
    ) {
        let Some((run, call)) = call else { return };
        let (id, gives) = (run.id.clone(), call.gives());
        let world = (engine.injector.clone(), engine.time.clone());
        let (call, end) = abortable(perform::make(world, (run, call), self.term.clone(), at));
        self.ended.retain(|done| done.run.id != id);
        if let Some(before) = self.busy.insert(id, Busy { gives, end }) {
            before.end.abort();
        }
        self.pending.push(call);
    }

    /// Begins what was made, without waiting for it.
    pub(super) fn begin(&mut self) {
        while let Some(Some(answer)) = self.pending.next().now_or_never() {
            self.ended.extend(answer);
        }
    }

    /// Tells whether none is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.busy.is_empty()
    }

    /// Takes of some effects those for which there is room, stops before all others. What is being asked is not asked again.
    pub(super) fn fitting(&self, effects: Vec<Effect>) -> impl Iterator<Item = Effect> + use<> {
        let is_new = |effect: &Effect| !effect.run().is_some_and(|run| self.busy.contains_key(run));
        let (stops, mut others): (Vec<_>, Vec<_>) =
            effects.into_iter().partition(|effect| matches!(effect, Effect::Stop { .. }));
        others.retain(is_new);
        let room = |most: usize| most.saturating_sub(self.busy.len());
        let for_stops = room(MAX_CALLS_WITH_STOPS).min(stops.len());
        let for_others = room(MAX_CALLS).saturating_sub(for_stops);
        stops.into_iter().take(for_stops).chain(others.into_iter().take(for_others))
    }

    /// Lists the runs to which nothing else may be done.
    pub(super) fn busy(&self) -> BTreeSet<RunId> {
        let kept = self.busy.iter().filter(|(_, busy)| busy.gives == Gives::NoWay);
        kept.map(|(run, _)| run.clone()).collect()
    }

    /// Waits until a call has ended and takes all that have by then; while none is under way it waits for ever.
    pub(super) async fn answered(&mut self) -> Done {
        if let Some(done) = self.ended.pop() {
            return self.ended(done);
        }
        loop {
            match self.pending.next().await {
                Some(Ok(done)) => return self.ended(done),
                Some(Err(_gave_way)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Takes all calls that have ended by now besides one.
    pub(super) fn answered_with(&mut self, first: Done) -> Vec<Done> {
        self.begin();
        let others: Vec<Done> = self.ended.drain(..).collect();
        std::iter::once(first).chain(others.into_iter().map(|done| self.ended(done))).collect()
    }

    fn ended(&mut self, done: Done) -> Done {
        self.busy.remove(&done.run.id);
        done
    }
}
