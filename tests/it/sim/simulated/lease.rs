//! The lease of a world and the seats at its store: who may decide, in which term, and who did.
//!
//! Times are true time: nobody looks at a clock that is set. Whoever stands by takes the lease after it has seen it stay
//! the same for as long as it lasts.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use firedrill::{
    domain::run::{Observation, Run, WindowRule},
    engine::ports::{Change, Committed, Configuration, Lease, StoreError},
};
use tokio::time::Instant;

use super::{
    nature::{Cut, Nature},
    store::{MemoryStore, SLOW_MS, failed},
    tables::Tables,
};
use crate::{
    sim::{
        drawn::{
            happening::{Happening, Whom},
            scenario::SECOND_MS,
        },
        driven::world::World,
        planted::Bug,
    },
    support::chance::Chance,
};

/// How long who writes waits for an answer, in milliseconds.
const ANSWER_MS: u64 = 8 * SECOND_MS;

/// Shortest and longest time that a late answer takes, in milliseconds.
const BACK_MS: (u64, u64) = (2 * SECOND_MS, 6 * SECOND_MS);

/// On the long way, how long the answer takes that a start may be asked for, so that the lease has to be renewed before, and
/// how long the answer to that takes, in milliseconds: by then another has the lease, unless it lasts longer.
const ASKED_MS: (u64, u64) = (3_050, 3_250);
const RENEWED_MS: (u64, u64) = (6_000, 6_500);

/// How long a lease that was handed over is left to whoever looks, until who gave it back takes it again, in milliseconds.
const TAKEN_WITHIN_MS: u64 = 2 * SECOND_MS;

/// Longest time of what is not late on a slow way, in milliseconds.
const PROMPT_MS: u64 = 100;

/// Within which time of somebody's wish the replica has to ask for the start, in milliseconds.
const FAR_BEFORE_MS: u64 = 20 * SECOND_MS;

/// Transactions on their way to the database, by when they arrive: they do, whatever became of their senders.
pub type Post = BTreeMap<(u64, u64), Box<dyn FnOnce(&mut Tables, u64) + Send>>;

/// A process at the store. One that comes back after a crash is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seat {
    /// Counts processes.
    pub number: u64,
    /// Which replica's it is.
    pub replica: usize,
    /// When it came up.
    pub since: u64,
}

/// Who held the lease from when on.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub from: u64,
    pub fence: u64,
    pub seat: Seat,
    /// When it was given back.
    pub released: Option<u64>,
    /// By whom.
    pub released_by: Option<Seat>,
    /// Whether that was for another to take it, while it did not reach FIS.
    pub is_handed_over: bool,
}

/// A write that only the holder may make.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// When.
    pub at: u64,
    /// Under which number it was made.
    pub fence: u64,
    pub seat: Seat,
}

/// The row of the lease.
#[derive(Debug, Clone, Default)]
pub struct LeaseRow {
    /// How long it lasts without a renewal, in milliseconds; `None` when the lock of a file is the lease.
    pub ttl_ms: Option<u64>,
    renewed_at: u64,
    /// Counts renewals.
    renewals: u64,
    /// Every term there was; the last one goes on unless it was given back.
    pub terms: Vec<Held>,
    /// Every write that only the holder may make.
    pub writes: Vec<Written>,
}

impl LeaseRow {
    /// The term that goes on, whether or not it has run out.
    pub fn holder(&self) -> Option<&Held> {
        self.terms.last().filter(|term| term.released.is_none())
    }

    /// Who holds it and need not have it renewed yet.
    pub fn valid_holder(&self, now: u64) -> Option<Seat> {
        let lasts = self.ttl_ms.is_none_or(|ttl| now < self.renewed_at + ttl);
        self.holder().filter(|_| lasts).map(|term| term.seat)
    }

    /// Takes or keeps the lease; tells the number of the term, or whose it is, if it is anybody's.
    fn hold(&mut self, seat: Seat, watch: &mut Watch, now: u64, bug: Bug) -> Result<u64, Option<Seat>> {
        let Watch { seen, left } = watch;
        let fence = match self.terms.last().copied() {
            Some(term) if term.seat == seat && term.released.is_none() => {
                self.renew(now);
                return Ok(term.fence);
            }
            Some(Held { fence, released: Some(at), .. })
                if left.is_some_and(|left| now < left.until)
                    && match left {
                        Some(left) if left.fence == fence => now < at + TAKEN_WITHIN_MS,
                        _ => self.ttl_ms.is_some_and(|ttl| !self.was_seen_for(ttl, seen, now)),
                    } =>
            {
                return Err(None);
            }
            Some(term) => {
                let is_held = self.ttl_ms.is_some_and(|ttl| !self.was_seen_for(ttl, seen, now));
                if term.released.is_none() && (is_held || bug == Bug::DeadHoldLease) {
                    return Err(Some(term.seat));
                }
                term.fence + 1
            }
            None => 1,
        };
        self.renew(now);
        self.terms.push(Held { from: now, fence, seat, released: None, released_by: None, is_handed_over: false });
        Ok(fence)
    }

    fn renew(&mut self, now: u64) {
        self.renewed_at = now;
        self.renewals += 1;
    }

    /// Tells whether somebody has seen it stay the same for so long, and notes what is seen.
    fn was_seen_for(&self, ttl_ms: u64, seen: &mut Option<Seen>, now: u64) -> bool {
        match seen {
            Some(seen) if seen.renewals == self.renewals => now >= seen.since + ttl_ms,
            _ => {
                *seen = Some(Seen { renewals: self.renewals, since: now });
                false
            }
        }
    }
}

/// What one process saw of another's lease, and since when it has been so.
#[derive(Debug, Clone, Copy)]
struct Seen {
    renewals: u64,
    since: u64,
}

/// What one process makes of the lease while it does not hold it.
#[derive(Debug, Clone, Copy, Default)]
struct Watch {
    seen: Option<Seen>,
    left: Option<Left>,
}

/// A lease that one process gave back, and until when it leaves one that is free to others.
#[derive(Debug, Clone, Copy)]
struct Left {
    fence: u64,
    until: u64,
}

/// What one process knows of its place at the store.
#[derive(Debug, Default)]
pub struct Place {
    pub seat: Seat,
    /// The number of the term in which it last held the lease.
    pub fence: Mutex<u64>,
    watch: Arc<Mutex<Watch>>,
    /// Of how many terms it knows that they were given back.
    heard: AtomicUsize,
}

impl MemoryStore {
    /// The same rows, as another process sees them.
    pub fn seat(&self, seat: Seat) -> Self {
        let place = Place { seat, ..Place::default() };
        Self {
            nature: self.nature.clone(),
            tables: Arc::clone(&self.tables),
            before: Arc::clone(&self.before),
            post: Arc::clone(&self.post),
            freed: Arc::clone(&self.freed),
            place,
        }
    }

    pub async fn hold_lease(&self) -> Result<Lease, StoreError> {
        let seat = self.place.seat;
        let Some(ttl) = self.with(|tables| tables.lease.ttl_ms) else {
            let now = self.nature.elapsed();
            let taken = self.with(|tables| tables.lease.hold(seat, &mut Watch::default(), now, self.nature.bug()));
            *self.place.fence.lock().expect("one thread") = taken.unwrap_or_default();
            return Ok(Lease::Held { until: None });
        };
        let asked = Instant::now();
        let (nature, watch) = (self.nature.clone(), Arc::clone(&self.place.watch));
        let taken = self.send(move |tables, now| tables.take_lease(seat, &watch, now, &nature)).await?;
        let (bug, ttl) = (self.nature.bug(), Duration::from_millis(ttl));
        let asked = if bug == Bug::LeaseFromTheAnswer { Instant::now() } else { asked };
        Ok(match taken {
            Ok(fence) => {
                *self.place.fence.lock().expect("one thread") = fence;
                Lease::Held { until: Some(asked + ttl) }
            }
            Err(_) if bug == Bug::KnownNotForgotten => return Err(failed("write")),
            Err(_) if bug == Bug::StandbyActs => Lease::Held { until: Some(asked + ttl) },
            Err(None) => Lease::Free,
            Err(Some(holder)) => {
                let holder = format!("replica-{}", holder.replica);
                Lease::Elsewhere { holder, configuration: Configuration::Same }
            }
        })
    }

    pub async fn release_lease(&self, leaves_it_for: Duration) -> Result<(), StoreError> {
        let seat = self.place.seat;
        if !leaves_it_for.is_zero() && self.nature.bug() == Bug::LeaseNeverHandedOver {
            return Ok(());
        }
        let until = self.nature.elapsed() + u64::try_from(leaves_it_for.as_millis()).expect("a while");
        let fence = *self.place.fence.lock().expect("one thread");
        self.place.watch.lock().expect("one thread").left = Some(Left { fence, until });
        let (nature, freed) = (self.nature.clone(), Arc::clone(&self.freed));
        self.send(move |tables, now| {
            let last = tables.lease.terms.last_mut().filter(|term| term.released.is_none());
            if let Some(term) = last.filter(|term| term.seat == seat || nature.bug() == Bug::ReleaseNotFenced) {
                nature.say(|| format!("store: replica {} gives the lease back", seat.replica));
                (term.released, term.released_by) = (Some(now), Some(seat));
                term.is_handed_over = !leaves_it_for.is_zero();
                tables.lease.renewals += 1;
                freed.notify_waiters();
            }
        })
        .await
    }

    /// Waits until a lease was given back since this process last heard of one, unless it is cut off then.
    pub async fn hear_of_the_lease(&self) {
        loop {
            let told = self.freed.notified();
            let is_over = |term: &&Held| term.released.is_some();
            let over = self.with(|tables| tables.lease.terms.iter().filter(is_over).count());
            if self.place.heard.swap(over, Ordering::Relaxed) != over && !self.is_cut() {
                return;
            }
            told.await;
        }
    }

    pub fn is_cut(&self) -> bool {
        self.nature.cut(self.place.seat.replica).store_until > self.nature.elapsed()
    }

    /// Fails after a while where the replica is cut off from the store, and waits as long as that stands still.
    pub async fn reach(&self, action: &'static str) -> Result<(), StoreError> {
        let stalled_until = self.nature.cut(self.place.seat.replica).stalled_until;
        if stalled_until > self.nature.elapsed() {
            self.nature.sleep_until(stalled_until).await;
        }
        if self.is_cut() {
            self.nature.let_pass(self.nature.draw(|c| c.between(1, SLOW_MS))).await;
            return Err(failed(action));
        }
        Ok(())
    }

    pub async fn commit_fenced(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        let (nature, seat, changes) = (self.nature.clone(), self.place.seat, changes.to_vec());
        let fence = *self.place.fence.lock().expect("one thread");
        if let Some(run) = changes.iter().find_map(asks_to_start) {
            nature.start_is_asked(seat.replica);
            self.is_interrupted(run).await;
        }
        self.send(move |tables, now| {
            if tables.is_fenced(seat, fence, now) {
                nature.say(|| format!("store: replica {} is fenced", seat.replica));
                let is_told = nature.bug() != Bug::KnownNotForgotten;
                return Err(if is_told { StoreError::Fenced } else { failed("write") });
            }
            tables.may_commit(&changes, now)?;
            let make = |change: Change| match asks_to_start(&change) {
                Some(run) if tables.forbids(run, &change, now) => Committed::Stale,
                _ => tables.make(change, &nature, now),
            };
            Ok(changes.into_iter().map(make).collect())
        })
        .await?
    }

    /// Makes a transaction that a lease has a say in. On a slow way it arrives whatever became of its sender: that may have
    /// given up, stand still, be gone or have lost the lease by then.
    async fn send<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Tables, u64) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let sent = self.nature.elapsed();
        let ttl = self.with(|tables| tables.lease.ttl_ms);
        let ways = ttl.and_then(|ttl| self.slow_ways(sent, ttl));
        let Some([there, back]) = ways else { return self.write(change).await };
        let reply = Arc::new(Mutex::new(None));
        let answer = Arc::clone(&reply);
        self.put(sent + there, move |tables, now| {
            *answer.lock().expect("one thread") = Some(change(tables, now));
        });
        self.nature.let_pass((there + back).min(ANSWER_MS)).await;
        let answer = self.with(|_| reply.lock().expect("one thread").take());
        answer.filter(|_| there + back <= ANSWER_MS).ok_or_else(|| {
            self.nature.say(|| format!("store: no answer for replica {}", self.place.seat.replica));
            failed("write")
        })
    }

    /// How long what is sent takes there and back, in milliseconds, where a way is slow or a long one.
    fn slow_ways(&self, sent: u64, ttl: u64) -> Option<[u64; 2]> {
        let cut = self.nature.cut(self.place.seat.replica);
        if let Some((from, _)) = cut.far.filter(|(_, until)| sent < *until) {
            let back = if sent == from { ASKED_MS } else { RENEWED_MS };
            return Some([(1, PROMPT_MS), back].map(|(least, most)| self.nature.draw(|c| c.between(least, most))));
        }
        let late = cut.late_until.map(|until| until > sent);
        late.contains(&true).then(|| {
            [(late[0], 1, 2 * ttl), (late[1], BACK_MS.0, BACK_MS.1)].map(|(is_late, least, most)| {
                let is_late = |c: &mut Chance| is_late && !c.one_in(3);
                self.nature.draw(|c| if is_late(c) { c.between(least, most) } else { c.between(1, PROMPT_MS) })
            })
        })
    }

    fn put(&self, at: u64, transaction: impl FnOnce(&mut Tables, u64) + Send + 'static) {
        let mut post = self.post.lock().expect("one thread");
        let number = post.last_key_value().map_or(0, |((_, number), _)| number + 1);
        post.insert((at, number), Box::new(transaction));
    }

    /// Makes the transactions that have arrived by now.
    pub fn deliver(&self, tables: &mut Tables) {
        let mut post = self.post.lock().expect("one thread");
        while let Some(first) = post.first_entry().filter(|first| first.key().0 <= self.nature.elapsed()) {
            let ((at, _), transaction) = first.remove_entry();
            transaction(tables, at);
        }
    }
}

impl World {
    /// Somebody wants a start; the replica that asks FIS for it is far from the store while it does.
    pub fn lag(&mut self, experiment: u64) {
        let (now, replica) = (self.nature.elapsed(), self.number(Whom::Active));
        self.nature.cut_off(replica, Cut { far_before: now + FAR_BEFORE_MS, ..self.nature.cut(replica) });
        let ttl = self.store.with(|tables| tables.lease.ttl_ms).unwrap_or(0);
        self.replicas[replica].slowed_down(now, FAR_BEFORE_MS + 2 * ttl);
        self.schedule(now, Happening::StartByHand { request: now, experiment, windows: WindowRule::Overridden });
    }
}

impl Tables {
    /// Whether the lease is another's; if it is not, somebody who may writes.
    pub fn is_fenced(&mut self, seat: Seat, fence: u64, at: u64) -> bool {
        if self.lease.ttl_ms.is_none() {
            return false;
        }
        let is_mine = self.lease.holder().is_some_and(|term| term.fence == fence && term.seat == seat);
        let is_fenced = !is_mine && self.bug != Bug::LeaseNotFenced;
        if !is_fenced {
            self.lease.writes.push(Written { at, fence, seat });
        }
        is_fenced
    }

    fn take_lease(&mut self, seat: Seat, watch: &Mutex<Watch>, now: u64, nature: &Nature) -> Result<u64, Option<Seat>> {
        let before = self.lease.terms.len();
        let taken = self.lease.hold(seat, &mut watch.lock().expect("one thread"), now, nature.bug());
        if self.lease.terms.len() > before {
            nature.say(|| format!("store: replica {} takes the lease, {taken:?}", seat.replica));
        }
        taken
    }
}

/// Returns the run that a change asks to start, if it does.
fn asks_to_start(change: &Change) -> Option<&Run> {
    match change {
        Change::Advance { run, observation: Observation::StartAsked { .. }, .. } => Some(run),
        _ => None,
    }
}
