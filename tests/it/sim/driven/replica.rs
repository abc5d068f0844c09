//! A replica of a world: a process with its engine, ingest and clock, polled by hand.
//!
//! It may be dropped after any poll, which is a crash, and left unpolled for a while after any poll, as a process that was
//! stopped by a signal. What was durable stays, what FIS was asked takes effect, what the queue was not told to delete
//! comes again.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use firedrill::{
    domain::{
        experiment::Rules,
        plan::{Mode, Snapshot},
        run::{Observation, Run},
    },
    engine::{
        ports::{Configuration, Hints, Poke, StoreDid, StoreError, Witness},
        run_loop::Engine,
    },
    ingest::{event::EventIngest, manual::ManualIngest},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, Sleep},
};

use super::{fate::Fate, world::World};
use crate::sim::{
    drawn::scenario::{APART_MS, SECOND_MS},
    planted,
    simulated::{
        couriers,
        lease::Seat,
        nature::{Clock, Nature},
        store::MemoryStore,
    },
    troubles::endings::Ending,
};

type EngineFuture = Pin<Box<dyn Future<Output = ()>>>;

/// A process.
pub struct Agent {
    engine: EngineFuture,
    pub seat: Seat,
    pub events: EventIngest<MemoryStore>,
    pub manual: ManualIngest<MemoryStore>,
    pub mode: watch::Sender<Mode>,
    /// Its couriers, where the world has any.
    couriers: FuturesUnordered<EngineFuture>,
    pub fate: Fate,
    /// Whether it ended by itself.
    is_done: bool,
}

/// Why a replica could not do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its process was gone.
    Down,
    /// Its process was not scheduled.
    Still,
    /// It did not reach FIS.
    Cut,
    /// It did not reach the store.
    CutFromStore,
    /// What it told the store arrived late.
    Slow,
}

impl Why {
    /// Whether it keeps a replica from stopping what it knows to run.
    fn keeps_from_stopping(self) -> bool {
        !matches!(self, Self::CutFromStore | Self::Slow)
    }
}

/// When a replica could not do its work, in true time.
#[derive(Debug, Clone, Copy)]
pub struct Outage {
    pub replica: usize,
    pub from: u64,
    pub to: u64,
    pub why: Why,
}

/// A place for a process, with its configuration.
pub struct Replica {
    pub number: usize,
    pub agent: Option<Agent>,
    pub rules: watch::Sender<Arc<Rules>>,
    /// Which configurations of the world's history it has had, each since when; the last one is what it has.
    pub read: Vec<(usize, u64)>,
    pub down_since: Option<u64>,
    pub restart_at: Option<u64>,
    /// While it stands still: until when.
    thaw: Option<Pin<Box<Sleep>>>,
    pub outages: Vec<Outage>,
    pub endings: Vec<Ending>,
    pub ear: Arc<Ear>,
    bell: Arc<Bell>,
}

/// Rings when a process has something to do. Nobody polls it before: the others' work is none of its own.
#[derive(Default)]
struct Bell {
    has_rung: AtomicBool,
    world: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::Relaxed);
        self.world.lock().expect("one thread").iter().for_each(Waker::wake_by_ref);
    }
}

/// Counts passes.
pub struct Ear {
    nature: Arc<Nature>,
    passes: Mutex<Passes>,
}

/// Passes of an engine.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passes {
    second: u64,
    in_second: u64,
    /// Most passes within one second.
    pub peak: u64,
    pub total: u64,
}

impl Ear {
    pub fn passes(&self) -> Passes {
        *self.passes.lock().expect("one thread")
    }
}

impl Witness for Ear {
    fn committed(&self, _run: &Run, _observation: &Observation, _at: Timestamp) {}

    fn surveyed(&self, _rows: &Snapshot<'_>, _at: Timestamp) {
        let second = self.nature.elapsed() / SECOND_MS;
        let mut passes = self.passes.lock().expect("one thread");
        passes.in_second = if passes.second == second { passes.in_second + 1 } else { 1 };
        passes.second = second;
        passes.peak = passes.peak.max(passes.in_second);
        passes.total += 1;
    }

    fn called(&self, _operation: &'static str, _result: &'static str, _took: Duration) {}

    fn store_failed(&self, _error: &StoreError) {}

    fn store_worked(&self, _did: StoreDid) {}

    fn looks_after_runs(&self) {}

    fn standing_by(&self, _holder: &str, _: Configuration) {}
}

impl Agent {
    fn new(replica: &Replica, seat: Seat, world: &World) -> Self {
        let World { nature, store, fis, told, .. } = world;
        let (store, fis) = (Arc::new(store.seat(seat)), Arc::new(fis.seat(seat)));
        let poke = Arc::new(Poke::default());
        let (mode, mode_seen) = watch::channel(Mode::Active);
        let hints = Arc::new(Hints::default());
        let engine = Engine {
            store: store.clone(),
            injector: fis,
            time: Arc::new(Clock { nature: nature.clone(), replica: replica.number }),
            witness: replica.ear.clone(),
            rules: replica.rules.subscribe(),
            mode: mode_seen,
            poke: poke.clone(),
            hints: hints.clone(),
        };
        let events = EventIngest::new(store.clone(), replica.rules.subscribe(), poke.clone(), hints);
        let couriers = told.iter().flat_map(|told| couriers::of(nature, seat, &store, told)).collect();
        let manual = ManualIngest::new(store, replica.rules.subscribe(), poke);
        let engine = Box::pin(engine.run());
        Self { engine, seat, events, manual, mode, couriers, fate: Fate::default(), is_done: false }
    }

    /// Polls it; tells whether it goes on.
    fn poll(&mut self, context: &mut Context<'_>) -> bool {
        if self.fate.is_over(context) {
            return false;
        }
        // They go on for ever.
        let _pending = self.couriers.poll_next_unpin(context);
        self.is_done = self.engine.as_mut().poll(context).is_ready();
        !self.is_done
    }
}

impl Replica {
    pub fn new(number: usize, nature: &Arc<Nature>, rules: &Arc<Rules>) -> Self {
        Self {
            number,
            agent: None,
            rules: watch::Sender::new(planted::misread(nature, rules)),
            read: vec![(0, 0)],
            down_since: Some(0),
            restart_at: None,
            thaw: None,
            outages: Vec::new(),
            endings: Vec::new(),
            ear: Arc::new(Ear { nature: nature.clone(), passes: Mutex::default() }),
            bell: Arc::default(),
        }
    }

    /// It has a configuration of the world's history.
    pub fn reads(&mut self, nature: &Nature, entry: usize, rules: &Arc<Rules>) {
        self.read.push((entry, nature.elapsed()));
        self.rules.send_replace(planted::misread(nature, rules));
    }

    /// Since when it has had a configuration of the world's history, or a newer one.
    pub fn had(&self, entry: usize) -> u64 {
        self.read.iter().find(|(read, _)| *read >= entry).map_or(u64::MAX, |(_, since)| *since)
    }

    fn out(&mut self, from: u64, to: u64, why: Why) {
        self.outages.push(Outage { replica: self.number, from, to, why });
    }

    pub fn is_still(&self) -> bool {
        self.thaw.is_some()
    }

    pub fn cut_off(&mut self, now: u64, store_ms: u64, fis_ms: u64) {
        for (for_ms, why) in [(fis_ms, Why::Cut), (store_ms, Why::CutFromStore)] {
            if for_ms > 0 {
                self.out(now, now + for_ms, why);
            }
        }
    }

    pub fn slowed_down(&mut self, now: u64, for_ms: u64) {
        self.out(now, now + for_ms, Why::Slow);
    }

    /// Goes on at last.
    pub fn go_on(&mut self) {
        self.thaw = None;
        self.ring();
    }

    /// Has its process polled.
    pub fn ring(&self) {
        self.bell.has_rung.store(true, Ordering::Relaxed);
    }

    /// Polls its process, if it is there and does not stand still; tells whether it is still there.
    fn poll(&mut self, context: &mut Context<'_>, nature: &Nature) -> bool {
        if let Some(thaw) = &mut self.thaw {
            if thaw.as_mut().poll(context).is_pending() {
                return true;
            }
            nature.say(|| format!("-- replica {} goes on", self.number));
            self.thaw = None;
        }
        let Some(agent) = &mut self.agent else { return false };
        if !agent.poll(context) {
            return false;
        }
        if let Some(for_ms) = agent.fate.begins_to_stand() {
            let now = nature.elapsed();
            nature.say(|| format!("-- replica {} stands still for {for_ms} ms", self.number));
            let mut thaw = Box::pin(tokio::time::sleep_until(Instant::now() + Duration::from_millis(for_ms)));
            let goes_on = thaw.as_mut().poll(context).is_pending();
            self.thaw = goes_on.then_some(thaw);
            self.out(now, now + for_ms, Why::Still);
        }
        true
    }

    /// Whether its process is to be killed before what was asked of it is polled again.
    pub fn is_cut_short(&mut self) -> bool {
        self.agent.as_mut().is_some_and(|agent| agent.fate.is_cut_short())
    }

    /// Its process is gone.
    pub fn fall(&mut self, nature: &Nature, store: &MemoryStore) {
        let Some(agent) = self.agent.take() else { return };
        store.crash();
        let now = nature.elapsed();
        self.down_since.get_or_insert(now);
        self.restart_at = Some(now + agent.fate.down_ms);
        self.ends(agent.seat, now, agent.is_done);
        nature.say(|| format!("-- replica {} is gone", self.number));
    }
}

impl World {
    /// Starts a replica's process with the newest configuration, if it is not there.
    pub fn restart_one(&mut self, number: usize) {
        let is_spinning = self.passes().peak > self.most_passes;
        let (newest, now) = (self.history.len() - 1, self.nature.elapsed());
        let replica = &mut self.replicas[number];
        replica.restart_at = None;
        if replica.agent.is_some() || is_spinning {
            return;
        }
        self.seats += 1;
        let seat = Seat { number: self.seats, replica: number, since: now };
        replica.ring();
        replica.reads(&self.nature, newest, &self.history[newest].1);
        let agent = Agent::new(&self.replicas[number], seat, self);
        let replica = &mut self.replicas[number];
        replica.agent = Some(agent);
        if let Some(since) = replica.down_since.take() {
            replica.out(since, now, Why::Down);
        }
        self.nature.say(|| format!("-- replica {number} is up"));
    }

    /// Polls all replicas, what they have in hand, and something that one of them does, or nobody; `None` when that one fell
    /// first, or, where it is nobody, any did or let go of something.
    pub async fn beside<T>(&mut self, of: Option<usize>, other: impl Future<Output = T>) -> Option<T> {
        let mut other = std::pin::pin!(other);
        let (nature, store, most_passes) = (self.nature.clone(), self.store.clone(), self.most_passes);
        let (replicas, hands) = (&mut self.replicas, &mut self.hands);
        let bells: Vec<Waker> = replicas.iter().map(|replica| replica.bell.clone().into()).collect();
        let mut is_first = true;
        std::future::poll_fn(|context| {
            let mut is_alone = false;
            for (replica, bell) in replicas.iter_mut().zip(&bells) {
                if is_first {
                    *replica.bell.world.lock().expect("one thread") = Some(context.waker().clone());
                }
                if replica.agent.is_none() || !replica.bell.has_rung.swap(false, Ordering::Relaxed) {
                    continue;
                }
                if !replica.poll(&mut Context::from_waker(bell), &nature) || replica.ear.passes().peak > most_passes {
                    replica.fall(&nature, &store);
                    is_alone |= of.is_none_or(|of| of == replica.number);
                }
            }
            is_first = false;
            is_alone |= hands.poll(context, replicas, (&nature, &store)) && of.is_none();
            is_alone |= of.is_some_and(|of| replicas[of].agent.is_none());
            if is_alone {
                return Poll::Ready(None);
            }
            if of.is_some_and(|of| replicas[of].is_still()) {
                return Poll::Pending;
            }
            if let Some(of) = of
                && replicas[of].is_cut_short()
            {
                replicas[of].fall(&nature, &store);
                return Poll::Ready(None);
            }
            other.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// Lets true time pass up to an instant; who fell comes back in time.
    pub async fn until(&mut self, at: u64) {
        let nature = self.nature.clone();
        loop {
            let target = self.replicas.iter().filter_map(|replica| replica.restart_at).min().unwrap_or(at).min(at);
            self.empty_hands();
            if self.beside(None, nature.sleep_until(target)).await.is_none() {
                continue;
            }
            for number in 0..self.replicas.len() {
                if self.replicas[number].restart_at.is_some_and(|restart_at| restart_at <= target) {
                    self.restart_one(number);
                }
            }
            if target >= at {
                return;
            }
        }
    }

    /// How far the clock of whoever decides may be from the common one, in milliseconds.
    pub fn clocks_apart(&self) -> u64 {
        if self.replicas.len() > 1 { APART_MS } else { 0 }
    }

    /// The replica that holds the lease, if it is there.
    pub fn active(&self) -> Option<usize> {
        let now = self.nature.elapsed();
        let holder = self.store.with(|tables| tables.lease.valid_holder(now));
        let is_there = |seat: Seat| {
            let agent = self.replicas[seat.replica].agent.as_ref();
            agent.is_some_and(|agent| agent.seat == seat)
        };
        holder.filter(|seat| is_there(*seat)).map(|seat| seat.replica)
    }

    /// When nobody was able to do the work: whoever held the lease was hindered by what counts, or nobody held it, or the store
    /// was away.
    pub fn absences(&self, counts: impl Fn(Why) -> bool) -> Vec<(u64, u64)> {
        let mut all = self.store_out.clone();
        all.extend(self.hindered(counts));
        all
    }

    /// When nobody was able to stop what must not go on, besides [`World::cuts`]. The store keeps nobody from that who knows what
    /// runs; whoever came
    /// up, or got the lease, while it was away knows nothing until it is back.
    pub fn unable_to_stop(&self) -> Vec<(u64, u64)> {
        let cuts = self.replicas.iter().flat_map(|replica| &replica.outages);
        let cuts = cuts.filter(|outage| !outage.why.keeps_from_stopping()).map(|outage| (outage.from, outage.to));
        let mut away: Vec<(u64, u64)> = self.store_out.iter().copied().chain(cuts).chain(self.store_faults()).collect();
        away.sort_unstable();
        let mut all = self.hindered(|why| why.keeps_from_stopping() && why != Why::Cut);
        for (_, to) in &mut all {
            for (from, back) in &away {
                if from <= to && *to < *back {
                    *to = back.saturating_add(TAKES_OVER_MS);
                }
            }
        }
        all
    }

    /// When whoever held the lease was hindered by what counts, or nobody held it.
    fn hindered(&self, counts: impl Fn(Why) -> bool) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        let outages = self.replicas.iter().flat_map(|replica| {
            let down =
                replica.down_since.map(|from| Outage { replica: replica.number, from, to: u64::MAX, why: Why::Down });
            replica.outages.iter().copied().chain(down)
        });
        let outages: Vec<Outage> = outages.filter(|outage| counts(outage.why)).collect();
        let (terms, is_timed) = self.store.with(|tables| (tables.lease.terms.clone(), tables.lease.ttl_ms.is_some()));
        if !is_timed {
            all.extend(outages.iter().map(|outage| (outage.from, outage.to)));
            return all;
        }
        all.push((0, terms.first().map_or(u64::MAX, |term| term.from).saturating_add(TAKES_OVER_MS)));
        for (n, term) in terms.iter().enumerate() {
            let next = terms.get(n + 1).map_or(u64::MAX, |next| next.from);
            all.push((term.from, term.from + TAKES_OVER_MS));
            let of_it = |o: &&Outage| o.why == Why::Down && o.replica == term.seat.replica;
            if outages.iter().filter(of_it).any(|o| term.seat.since < o.from && o.from < term.from) {
                // What it had asked for arrived when it was gone: nobody is there who could stop anything.
                all.push((term.from, next.saturating_add(TAKES_OVER_MS)));
            }
            if let Some(released) = term.released {
                all.push((released, next.saturating_add(TAKES_OVER_MS)));
            }
            let hindered =
                outages.iter().filter(|o| o.replica == term.seat.replica && o.from < next && o.to >= term.from);
            all.extend(hindered.map(|outage| {
                let to = if outage.why == Why::Down { next } else { outage.to.min(next) };
                (outage.from.max(term.from), to.saturating_add(TAKES_OVER_MS))
            }));
        }
        all
    }
}

/// How long a replica takes from the lease to the end of its first pass, at most, in milliseconds.
pub const TAKES_OVER_MS: u64 = 3 * SECOND_MS;
