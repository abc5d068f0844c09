//! A world: one agent, its store, FIS, a queue and operators, driven by a seed in virtual time on one thread.
//!
//! The agent's future is polled by hand, so that it can be dropped after any poll: that is a crash. What was durable
//! stays, what FIS was asked takes effect, what the queue was not told to delete comes again.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use firedrill::{
    domain::{
        experiment::Rules,
        plan::{HaltRunning, Mode, Snapshot},
        run::{Observation, Run},
    },
    engine::{
        ports::{Hints, StoreDid, StoreError, WakeSource, Witness},
        run_loop::Engine,
    },
    ingest::{
        event::{EventIngest, Message},
        manual::{Asker, Backfill, LeversOfHalt, ManualIngest},
    },
};
use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{
    check,
    fis::{Fis, Tokens},
    nature::{Nature, Timeline, Weather},
    queue::message,
    releases::Release,
    scenario::{self, HOUR_MS, Happening, MINUTE_MS, SECOND_MS, Template},
    store::{Intent, Memory, MemoryStore},
    windows,
};
use crate::support::chance::Chance;

/// Longest time until every run is over once nothing goes wrong any more.
const PATIENCE_MS: u64 = 16 * HOUR_MS;

/// Most passes of the engine in one second: opening slots and noticing their end take some each. One that makes more
/// spins, and is not brought back.
pub const MAX_PASSES_A_SECOND: u64 = 150;

/// What is built wrong on purpose.
#[derive(Debug, Clone, Copy)]
pub struct Planted {
    pub intent: Intent,
    pub tokens: Tokens,
    pub memory: Memory,
}

/// Nothing is.
pub const SOUND: Planted = Planted { intent: Intent::First, tokens: Tokens::Honoured, memory: Memory::Sound };

type EngineFuture = Pin<Box<dyn Future<Output = ()>>>;

/// The agent's process.
struct Agent {
    engine: EngineFuture,
    events: EventIngest<MemoryStore>,
    manual: ManualIngest<MemoryStore>,
    mode: watch::Sender<Mode>,
    /// Polls until it is killed, if it is to be.
    polls_left: Option<u64>,
    /// How long it is away after it ended.
    down_ms: u64,
}

/// Counts passes.
pub struct Ear {
    nature: Arc<Nature>,
    passes: Mutex<Passes>,
}

/// Passes of the engine.
#[derive(Debug, Default, Clone, Copy)]
pub struct Passes {
    second: u64,
    in_second: u64,
    /// Most passes within one second.
    pub peak: u64,
    pub total: u64,
}

impl Ear {
    fn passes(&self) -> Passes {
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

    fn standing_by(&self, _holder: &str) {}
}

pub struct World {
    pub nature: Arc<Nature>,
    pub store: Arc<MemoryStore>,
    pub fis: Arc<Fis>,
    ear: Arc<Ear>,
    rules: watch::Sender<Arc<Rules>>,
    agent: Option<Agent>,
    agenda: BTreeMap<(u64, u64), Happening>,
    next: u64,
    /// Every configuration and since when in true time.
    pub history: Vec<(u64, Arc<Rules>)>,
    /// When the agent could not do its work: it was away, or the store was.
    pub absences: Vec<(u64, u64)>,
    down_since: Option<u64>,
    restart_at: Option<u64>,
    /// Events that the queue was told to delete.
    pub deleted: BTreeSet<u64>,
    /// Releases of which an event was delivered.
    pub releases: BTreeMap<u64, Release>,
    /// Of those, the ones whose event the queue was told to delete.
    pub released: BTreeSet<u64>,
    /// What the FIFO queue holds.
    pub in_order: VecDeque<Release>,
    /// Promises broken on the way.
    pub broken: Vec<String>,
    /// Most passes of the engine in one second.
    pub most_passes: u64,
}

impl World {
    pub fn new(seed: u64, planted: Planted, timeline: Timeline) -> Self {
        let mut c = Chance::new(seed);
        let base = scenario::base(&mut c);
        let rules = scenario::rules(&mut c, base);
        let templates = scenario::templates(&mut c, base);
        let length = c.between(HOUR_MS / 2, 3 * HOUR_MS);
        let happenings = scenario::happenings(&mut c, length);
        let nature = Nature::new(c.between(0, u64::MAX - 1), base, timeline);
        let mut world = Self::of(nature, rules, templates, planted);
        for (at, happening) in happenings {
            world.schedule(at, happening);
        }
        world.schedule(length, Happening::Calm);
        world
    }

    /// A world with these rules in which nothing happens yet.
    pub fn of(nature: Nature, rules: Rules, templates: Vec<Template>, planted: Planted) -> Self {
        let (nature, rules) = (Arc::new(nature), Arc::new(rules));
        let store = Arc::new(MemoryStore::new(nature.clone(), planted.intent));
        store.with(|tables| tables.memory = planted.memory);
        let fis = Arc::new(Fis::new(nature.clone(), planted.tokens, templates));
        let ear = Arc::new(Ear { nature: nature.clone(), passes: Mutex::default() });
        nature.say(|| format!("rules: {rules:#?}"));
        Self {
            nature,
            store,
            fis,
            ear,
            rules: watch::Sender::new(rules.clone()),
            agent: None,
            agenda: BTreeMap::new(),
            next: 0,
            history: vec![(0, rules)],
            absences: Vec::new(),
            down_since: Some(0),
            restart_at: None,
            deleted: BTreeSet::new(),
            releases: BTreeMap::new(),
            released: BTreeSet::new(),
            in_order: VecDeque::new(),
            broken: Vec::new(),
            most_passes: MAX_PASSES_A_SECOND,
        }
    }

    pub fn passes(&self) -> Passes {
        self.ear.passes()
    }

    /// When a query of the store failed or was slow, and until when the engine waits for it or after it.
    pub fn store_faults(&self) -> Vec<(u64, u64)> {
        self.store.with(|tables| tables.faults.iter().map(|&at| (at, at + 2 * SECOND_MS)).collect())
    }

    pub fn schedule(&mut self, at: u64, happening: Happening) {
        self.next += 1;
        self.agenda.insert((at, self.next), happening);
    }

    /// Lives through everything; then nothing goes wrong any more, and every run has to end.
    pub async fn live(&mut self) {
        self.restart();
        self.live_until(u64::MAX).await;
    }

    /// Lives through what happens up to a true time; at the end of time, through all that happens.
    pub async fn live_until(&mut self, end: u64) {
        while let Some(next) = self.agenda.first_entry().filter(|next| next.key().0 <= end) {
            let ((at, _), happening) = next.remove_entry();
            self.until(at).await;
            self.nature.say(|| format!("-- {happening:?}"));
            self.happen(happening).await;
        }
        if end < u64::MAX {
            self.until(end).await;
        }
    }

    async fn calm(&mut self) {
        self.nature.change_weather(|weather| *weather = Weather::default());
        self.nature.say(|| "-- calm".to_owned());
        self.agenda.clear();
        // An agent that is told to end, or about to fall, does so first.
        self.until(self.nature.elapsed() + MINUTE_MS).await;
        self.restart();
        if let Some(agent) = &mut self.agent {
            agent.polls_left = None;
        }
        self.until(self.nature.elapsed() + 3 * MINUTE_MS).await;
        self.check_cursors();
        let mut rules = (**self.rules.borrow()).clone();
        rules.experiments.values_mut().for_each(|experiment| experiment.schedules.clear());
        self.reload(rules.clone());
        let deadline = self.nature.elapsed() + PATIENCE_MS;
        let impatient = self.nature.elapsed() + PATIENCE_MS / 4;
        while self.store.with(|tables| tables.runs.values().any(|run| !run.is_over())) {
            if self.nature.elapsed() > deadline {
                self.broken.push("lost: a run does not end".to_owned());
                break;
            }
            // Filled slots wait for days.
            if self.nature.elapsed() > impatient && !rules.windows.is_empty() {
                rules.windows = [].into_iter().collect();
                self.reload(rules.clone());
            }
            self.until(self.nature.elapsed() + MINUTE_MS).await;
        }
    }

    /// No slot may lie between a cursor and now: it would be neither run nor explained.
    fn check_cursors(&mut self) {
        let now = self.nature.now();
        let rules = self.rules.borrow().clone();
        for (experiment, schedule) in rules.experiments.values().flat_map(|e| e.schedules.iter().map(move |s| (e, s))) {
            let key = (experiment.name.clone(), schedule.timetable().clone());
            let cursor = self.store.with(|tables| tables.cursors.get(&key).copied());
            let settled = now - jiff::SignedDuration::from_secs(5);
            let unseen = cursor.map(|cursor| schedule.next_after(cursor).filter(|slot| slot.at < settled));
            if !matches!(unseen, Some(None)) {
                self.broken.push(format!("lost: slot of {key:?} behind cursor {cursor:?}: {unseen:?}"));
            }
        }
    }

    pub fn restart(&mut self) {
        self.restart_at = None;
        if self.agent.is_some() || self.passes().peak > self.most_passes {
            return;
        }
        let poke = Arc::new(Notify::new());
        let (mode, mode_seen) = watch::channel(Mode::Active);
        let hints = Arc::new(Hints::default());
        let engine = Engine {
            store: self.store.clone(),
            injector: self.fis.clone(),
            time: self.nature.clone(),
            witness: self.ear.clone(),
            rules: self.rules.subscribe(),
            mode: mode_seen,
            poke: poke.clone(),
            hints: hints.clone(),
        };
        let events = EventIngest::new(self.store.clone(), self.rules.subscribe(), poke.clone(), hints);
        let manual = ManualIngest::new(self.store.clone(), self.rules.subscribe(), poke);
        self.agent = Some(Agent { engine: Box::pin(engine.run()), events, manual, mode, polls_left: None, down_ms: 0 });
        if let Some(since) = self.down_since.take() {
            self.absences.push((since, self.nature.elapsed()));
        }
        self.nature.say(|| "-- the agent is up".to_owned());
    }

    fn fall(&mut self, agent: Agent) {
        self.store.crash();
        let now = self.nature.elapsed();
        self.down_since.get_or_insert(now);
        self.restart_at = Some(now + agent.down_ms);
        self.nature.say(|| "-- the agent is gone".to_owned());
    }

    /// Polls the agent and something else; `None` when the agent fell first.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let Some(mut agent) = self.agent.take() else { return Some(other.await) };
        let mut other = std::pin::pin!(other);
        let (ear, most_passes) = (self.ear.clone(), self.most_passes);
        let ended = std::future::poll_fn(|context| {
            if let Some(left) = agent.polls_left {
                if left == 0 {
                    return Poll::Ready(None);
                }
                agent.polls_left = Some(left - 1);
            }
            if agent.engine.as_mut().poll(context).is_ready() || ear.passes().peak > most_passes {
                return Poll::Ready(None);
            }
            other.as_mut().poll(context).map(Some)
        })
        .await;
        match ended {
            Some(_) => self.agent = Some(agent),
            None => self.fall(agent),
        }
        ended
    }

    async fn until(&mut self, at: u64) {
        let nature = self.nature.clone();
        loop {
            let target = self.restart_at.unwrap_or(at).min(at);
            if self.beside(nature.sleep_until(target)).await.is_none() {
                continue;
            }
            if self.restart_at.is_some_and(|restart_at| restart_at <= target) {
                self.restart();
            }
            if target >= at {
                return;
            }
        }
    }

    fn reload(&mut self, rules: Rules) {
        let rules = Arc::new(rules);
        self.nature.say(|| format!("rules: {rules:#?}"));
        self.history.push((self.nature.elapsed(), rules.clone()));
        self.rules.send_replace(rules);
    }

    async fn happen(&mut self, happening: Happening) {
        let now = self.nature.elapsed();
        match happening {
            Happening::Deliver { event, source } => self.deliver(event, source).await,
            Happening::DeliverNoise { id } => {
                let message = message(&format!("m{id}"), "no event at all".to_owned());
                self.take_in(vec![message]).await;
            }
            Happening::Release(release) if release.is_in_order() => {
                self.releases.insert(release.event, release);
                self.in_order.push_back(release);
                self.deliver_next().await;
            }
            Happening::Release(release) => self.release(release).await,
            Happening::DeliverNext => self.deliver_next().await,
            Happening::FisTells => self.fis_tells(now).await,
            Happening::StartByHand { .. }
            | Happening::Backfill { .. }
            | Happening::Pause { .. }
            | Happening::Unpause { .. }
            | Happening::StopByHand
            | Happening::Halt
            | Happening::Resume => {
                if self.agent.is_some() {
                    self.operate(happening).await;
                } else {
                    self.schedule(now + MINUTE_MS, happening);
                }
            }
            Happening::Reload => {
                let rules = self.rules.borrow().clone();
                let at = self.nature.now();
                let changed = self.nature.draw(|c| scenario::changed(c, &rules, at));
                self.reload(changed);
            }
            Happening::ReadCalendar => {
                let rules = self.rules.borrow().clone();
                let at = self.nature.now();
                let read = self.nature.draw(|c| windows::read_again(c, &rules, at));
                self.reload(read);
            }
            Happening::Step { by_ms } => self.nature.step(by_ms),
            Happening::Crash { polls, down_ms } => {
                if let Some(agent) = &mut self.agent {
                    (agent.polls_left, agent.down_ms) = (Some(polls), down_ms);
                }
            }
            Happening::Drain { down_ms } => {
                if let Some(agent) = &mut self.agent {
                    agent.mode.send_replace(Mode::Draining);
                    agent.down_ms = down_ms;
                    // It does nothing new from now on, though it is there until its calls are answered.
                    self.down_since = Some(now);
                }
            }
            Happening::Calm => self.calm().await,
            Happening::ReadOnly { for_ms } => {
                self.nature.change_weather(|w| w.read_only_until = now + for_ms);
                self.absences.push((now, now + for_ms));
            }
            Happening::StoreOut { for_ms } => {
                self.nature.change_weather(|w| w.store_out_until = now + for_ms);
                self.absences.push((now, now + for_ms));
            }
            Happening::Weather { fis, store } => self.nature.change_weather(|w| (w.fis, w.store) = (fis, store)),
            Happening::StopOutside => self.fis.with(|state| {
                if let Some(last) = state.experiments.last_mut() {
                    last.stopped_at.get_or_insert(now);
                }
            }),
        }
    }

    async fn operate(&mut self, happening: Happening) {
        let Some(manual) = self.agent.as_ref().map(|agent| agent.manual.clone()) else { return };
        let asker = Asker { by: "somebody".to_owned(), reason: Some("because".to_owned()) };
        let now = self.nature.now();
        let done = match happening {
            Happening::StartByHand { request, experiment, windows } => {
                let name = scenario::experiment_name(experiment);
                self.beside(
                    async move { manual.start(name, format!("r{request}"), asker, windows, now).await.map(|_| ()) },
                )
                .await
            }
            Happening::Backfill { request, experiment, minutes } => {
                let experiment = scenario::experiment_name(experiment);
                let declared = self.rules.borrow().experiments.get(&experiment).cloned();
                let schedule = declared.and_then(|e| e.schedules.first().map(|schedule| schedule.name().clone()));
                let from = now - scenario::minutes(minutes);
                let wish = Backfill { experiment, schedule, from, to: now, request: format!("b{request}") };
                self.beside(async move { manual.backfill(wish, asker, now).await.map(|_| ()) }).await
            }
            Happening::Pause { experiment, for_ms } => {
                let name = scenario::experiment_name(experiment);
                let until = for_ms.map(|ms| check::plus(now, ms));
                self.beside(async move { manual.pause(name, asker, until, now).await }).await
            }
            Happening::Unpause { experiment } => {
                let name = scenario::experiment_name(experiment);
                self.beside(async move { manual.unpause(name, now).await }).await
            }
            Happening::StopByHand => {
                let open: Vec<Run> =
                    self.store.with(|tables| tables.runs.values().filter(|run| !run.is_over()).cloned().collect());
                let Some(run) = open.first() else { return };
                let id = run.id.clone();
                self.beside(async move { manual.stop(id, asker, now).await }).await
            }
            Happening::Halt => {
                let running = self.nature.draw(|c| c.pick(&[HaltRunning::Stop, HaltRunning::Finish]));
                self.beside(async move { manual.halt(asker, running, LeversOfHalt::AsTheyAre, now).await }).await
            }
            _ => self.beside(async move { manual.resume().await }).await,
        };
        self.nature.say(|| format!("-- operator: {done:?}"));
    }

    /// Hands messages to the agent; tells whether they may be deleted.
    pub async fn take_in(&mut self, messages: Vec<Message>) -> bool {
        let Some(events) = self.agent.as_ref().map(|agent| agent.events.clone()) else { return false };
        let now = self.nature.now();
        let taken = self.beside(async move { events.take(messages, now).await }).await;
        self.nature.say(|| format!("-- queue: {taken:?}"));
        matches!(taken, Some(Ok(_)))
    }
}
