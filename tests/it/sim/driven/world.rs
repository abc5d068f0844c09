//! A world: one to three replicas, their store, FIS, a queue and operators, driven by a seed in virtual time on one thread.
//!
//! What happens when stands in its agenda. How processes go on, fall and come back stands in [`super::replica`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex},
};

use firedrill::domain::{experiment::Rules, ids::RunId, run::WindowRule};

use super::{
    fate::Fate,
    replica::{Passes, Replica},
    told,
};
use crate::sim::{
    drawn::{
        happening::{Happening, Whom},
        recipe::Recipe,
        releases::Release,
        scenario::{self, HOUR_MS, MINUTE_MS, SECOND_MS, Template},
        windows,
    },
    judged::closing,
    simulated::{
        couriers::{self, Told},
        fis::Fis,
        nature::{Cut, Nature, Timeline, Weather},
        queue::{self, Hands, Parcel},
        store::MemoryStore,
    },
    troubles::{
        endings, policies,
        restore::{Backup, Restored},
        strays::{self, Seen},
    },
};

/// Longest time until all runs are over once all is well: of two that wait for each other FIS may let each go on until it is
/// stopped after twelve hours, and windows are lifted before.
const PATIENCE_MS: u64 = WINDOWS_MS + 26 * HOUR_MS;
/// Filled slots wait for days: after so long windows are lifted.
const WINDOWS_MS: u64 = 4 * HOUR_MS;

/// Most passes of an engine in one second: opening slots and noticing their end take some each. One that makes more
/// spins, and is not brought back.
pub const MAX_PASSES_A_SECOND: u64 = 150;

/// Longest time until a new configuration has reached every replica, where there are several and none has an old file.
pub const RELOAD_SPREAD_MS: u64 = 30 * SECOND_MS;

pub struct World {
    pub nature: Arc<Nature>,
    pub store: Arc<MemoryStore>,
    pub fis: Arc<Fis>,
    pub replicas: Vec<Replica>,
    /// How many processes there were.
    pub seats: u64,
    agenda: BTreeMap<(u64, u64), Happening>,
    next: u64,
    /// Every configuration and since when in true time.
    pub history: Vec<(u64, Arc<Rules>)>,
    /// When the store was away, for everybody.
    pub store_out: Vec<(u64, u64)>,
    /// Events that the queue was told to delete, by source.
    pub deleted: BTreeSet<(&'static str, u64)>,
    /// Unreadable messages that it was told to delete.
    pub unreadable: BTreeSet<String>,
    /// Runs of which somebody was told that they are stopped, and when.
    pub stops_taken: Vec<(u64, RunId)>,
    /// Which replica was asked to stop a run, or everything, and when, whatever came of it.
    pub stops_asked: Vec<(u64, usize, Option<RunId>)>,
    /// Runs that somebody wanted stopped and whose store did not take it.
    pub stops_unrecorded: BTreeSet<RunId>,
    /// Releases of which an event was delivered.
    pub releases: BTreeMap<u64, Release>,
    /// Of those, the ones whose event the queue was told to delete.
    pub released: BTreeSet<u64>,
    /// What the FIFO queue holds.
    pub in_order: VecDeque<Release>,
    /// What replicas have in hand of what queues delivered.
    pub hands: Hands,
    /// What happened besides, by name.
    pub met: BTreeSet<&'static str>,
    /// Messages that were delivered, and that the queue was not told to delete when they were last.
    pub waiting: BTreeSet<String>,
    /// How long what one replica writes may take to be seen by another.
    pub news_ms: u64,
    /// Promises broken on the way.
    pub broken: Vec<String>,
    /// Most passes of an engine in one second.
    pub most_passes: u64,
    pub backup: Option<Box<Backup>>,
    pub restored: Option<Restored>,
    /// What couriers told outside, where there are any.
    pub told: Option<Arc<Mutex<Told>>>,
    /// What was seen of FIS experiments that might have been strays.
    pub seen: Vec<Seen>,
}

impl World {
    pub fn new(recipe: &Recipe, timeline: Timeline) -> Self {
        let drawn = recipe.draw();
        let nature = Nature::new(drawn.chance, drawn.base, timeline).planted(recipe.bug);
        let mut world = Self::of(nature, drawn.rules, drawn.templates);
        world.fis.with(|state| (state.amiss, state.served, state.is_moody) = (drawn.amiss, drawn.served, true));
        world.told = couriers::are_in(recipe.seed).then(Arc::default);
        world.store.with(|tables| tables.quarantine_is_full = queue::leaves_no_room(recipe.seed));
        if drawn.replicas > 1 {
            world.several(drawn.replicas, drawn.ttl_ms);
        }
        for (n, at, happening) in drawn.happenings {
            world.nature.say(|| format!("happening {n} is due at {at} ms: {happening:?}"));
            world.schedule(at, happening);
        }
        strays::happenings(recipe.seed, drawn.until).for_each(|(at, asks)| world.schedule(at, asks));
        world.schedule(drawn.until, Happening::Calm);
        world
    }

    /// A world of one replica with these rules in which nothing happens yet.
    pub fn of(nature: Nature, rules: Rules, templates: Vec<Template>) -> Self {
        let (nature, rules) = (Arc::new(nature), Arc::new(rules));
        let store = Arc::new(MemoryStore::new(nature.clone()));
        let fis = Arc::new(Fis::new(nature.clone(), templates));
        nature.say(|| told::rules(None, &rules));
        Self {
            replicas: vec![Replica::new(0, &nature, &rules)],
            nature,
            store,
            fis,
            seats: 0,
            agenda: BTreeMap::new(),
            next: 0,
            history: vec![(0, rules)],
            store_out: Vec::new(),
            deleted: BTreeSet::new(),
            unreadable: BTreeSet::new(),
            stops_taken: Vec::new(),
            stops_asked: Vec::new(),
            stops_unrecorded: BTreeSet::new(),
            releases: BTreeMap::new(),
            released: BTreeSet::new(),
            in_order: VecDeque::new(),
            hands: Hands::default(),
            met: BTreeSet::new(),
            waiting: BTreeSet::new(),
            news_ms: 0,
            broken: Vec::new(),
            most_passes: MAX_PASSES_A_SECOND,
            backup: None,
            restored: None,
            told: None,
            seen: Vec::new(),
        }
    }

    /// Has so many replicas, and a lease that lasts so long.
    pub fn several(&mut self, count: u64, ttl_ms: u64) {
        self.nature.say(|| format!("{count} replicas, a lease lasts {ttl_ms} ms"));
        let rules = self.history[0].1.clone();
        self.replicas = (0..count).map(|n| Replica::new(n as usize, &self.nature, &rules)).collect();
        self.store.with(|tables| tables.lease.ttl_ms = Some(ttl_ms));
        self.news_ms = ttl_ms / 3;
    }

    pub fn passes(&self) -> Passes {
        let all = self.replicas.iter().map(|replica| replica.ear.passes());
        all.max_by_key(|passes| passes.peak).unwrap_or_default()
    }

    /// When a configuration, or a newer one, had reached everybody: whoever stood still may have kept it from others.
    pub fn reached(&self, entry: usize) -> u64 {
        self.replicas.iter().map(|replica| replica.had(entry)).max().unwrap_or(u64::MAX)
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
        self.agenda.retain(|_, happening| happening.is_delivery());
        // What is on its way arrives, and not later than it would have.
        let newest = self.history.len() - 1;
        (0..self.replicas.len()).for_each(|replica| self.rules_reach(replica, newest));
        // A process that is told to end, or about to fall, does so first.
        self.until(self.nature.elapsed() + MINUTE_MS).await;
        self.cut_off_endings();
        self.all_well();
        Box::pin(self.live_until(self.nature.elapsed() + 3 * MINUTE_MS)).await;
        self.agenda.clear();
        self.check_queues();
        self.check_cursors();
        let listed = self.listed();
        self.check_takeovers().await;
        self.name_strays(&listed);
        let mut rules = (**self.newest()).clone();
        rules.experiments.values_mut().for_each(|experiment| experiment.schedules.clear());
        self.reload_all(rules.clone());
        let deadline = self.nature.elapsed() + PATIENCE_MS;
        let impatient = self.nature.elapsed() + WINDOWS_MS;
        while self.store.with(|tables| tables.runs.values().any(|run| !run.is_over())) {
            if self.nature.elapsed() > deadline {
                self.broken.push("lost: a run does not end".to_owned());
                break;
            }
            let held = closing::held_for_nothing(self, &rules);
            self.broken.extend(held.into_iter().filter(|told| !self.broken.contains(told)).collect::<Vec<_>>());
            if self.nature.elapsed() > impatient && !rules.windows.is_empty() {
                rules.windows = [].into_iter().collect();
                self.reload_all(rules.clone());
            }
            let listed = self.listed();
            self.until(self.nature.elapsed() + MINUTE_MS).await;
            self.name_strays(&listed);
        }
        if self.told.is_some() {
            self.until(self.nature.elapsed() + couriers::CARRIED_WITHIN_MS).await;
        }
    }

    /// Every replica is up, reaches everybody, and knows the newest configuration.
    fn all_well(&mut self) {
        self.restart();
        self.store.with(|tables| tables.mend_all(self.nature.elapsed()));
        for replica in &mut self.replicas {
            replica.go_on();
            self.nature.cut_off(replica.number, Cut::default());
            if let Some(agent) = &mut replica.agent {
                agent.fate = Fate::default();
            }
        }
    }

    /// Everything that was ever delivered is decided, and nothing is behind it in a queue that keeps the order.
    fn check_queues(&mut self) {
        let left = self.waiting.iter().cloned().chain(self.in_order.iter().map(Release::id)).collect::<BTreeSet<_>>();
        self.broken.extend(left.iter().map(|id| format!("undecided: {id} comes again and again")));
    }

    /// No slot may lie between a cursor and now: it would be neither run nor explained.
    fn check_cursors(&mut self) {
        let now = self.nature.now();
        let rules = self.newest().clone();
        for (experiment, schedule) in rules.experiments.values().flat_map(|e| e.schedules.iter().map(move |s| (e, s))) {
            let key = (experiment.name.clone(), schedule.timetable().clone());
            let cursor = self.store.with(|tables| tables.cursors.get(&key).copied());
            let settled = now - jiff::SignedDuration::from_secs(5);
            let unseen = cursor.map(|cursor| schedule.next_after(cursor.at).filter(|slot| slot.at < settled));
            if !matches!(unseen, Some(None)) {
                self.broken.push(format!("lost: slot of {key:?} behind cursor {cursor:?}: {unseen:?}"));
            }
        }
    }

    /// Starts every replica that is not there.
    pub fn restart(&mut self) {
        (0..self.replicas.len()).for_each(|replica| self.restart_one(replica));
    }

    /// The newest configuration, whoever has it.
    pub fn newest(&self) -> &Arc<Rules> {
        &self.history[self.history.len() - 1].1
    }

    /// Somebody changes the configuration.
    fn change_rules(&mut self) {
        let rules = self.newest().clone();
        let at = self.nature.now();
        let mut changed = self.nature.draw(|c| scenario::changed(c, &rules, at));
        if self.fis.with(|state| !state.served.is_empty()) && self.nature.draw(|c| c.one_in(2)) {
            self.nature.draw(|c| policies::demanded(c, &mut changed));
        }
        self.reload(changed);
    }

    /// Calendars are read once more.
    fn read_calendar(&mut self) {
        let (rules, at) = (self.newest().clone(), self.nature.now());
        let read = self.nature.draw(|c| windows::read_again(c, &rules, at));
        self.reload(read);
    }

    /// Makes a configuration the newest: it reaches a lone replica at once, and several at different times.
    pub fn reload(&mut self, rules: Rules) {
        self.reload_within(rules, RELOAD_SPREAD_MS);
    }

    /// Does so, and takes so long to reach all of several.
    pub fn reload_within(&mut self, rules: Rules, spread_ms: u64) {
        let entry = self.make_newest(rules);
        let now = self.nature.elapsed();
        if self.replicas.len() == 1 {
            return self.rules_reach(0, entry);
        }
        for replica in 0..self.replicas.len() {
            let later = self.nature.draw(|c| c.between(0, spread_ms));
            self.schedule(now + later, Happening::RulesReach { replica, entry });
        }
    }

    fn reload_all(&mut self, rules: Rules) {
        let entry = self.make_newest(rules);
        (0..self.replicas.len()).for_each(|replica| self.rules_reach(replica, entry));
    }

    fn make_newest(&mut self, rules: Rules) -> usize {
        self.nature.say(|| told::rules(Some(self.newest()), &rules));
        self.history.push((self.nature.elapsed(), Arc::new(rules)));
        self.history.len() - 1
    }

    /// A replica gets a configuration, unless it has a newer one.
    fn rules_reach(&mut self, replica: usize, entry: usize) {
        let replica = &mut self.replicas[replica];
        if replica.read.last().is_none_or(|(newest, _)| *newest < entry) {
            replica.reads(&self.nature, entry, &self.history[entry].1);
        }
    }

    pub fn number(&self, whom: Whom) -> usize {
        match whom {
            Whom::Active => self.active().unwrap_or(0),
            Whom::Number(number) => number % self.replicas.len(),
        }
    }

    /// Draws whom a queue or an operator talks to.
    pub fn anybody(&self) -> usize {
        match self.replicas.len() {
            1 => 0,
            count => self.nature.draw(|c| c.between(0, count as u64 - 1)) as usize,
        }
    }

    async fn happen(&mut self, happening: Happening) {
        use Happening as H;
        let now = self.nature.elapsed();
        match happening {
            H::Deliver { .. } | H::DeliverNoise { .. } | H::Release(_) | H::DeliverNext | H::VisibleAgain(_) => {
                self.deliver(happening);
            }
            Happening::StandInHand(for_ms) => self.stand_in_hand(for_ms),
            Happening::FisTells => self.fis_tells(now),
            Happening::StartByHand { .. }
            | Happening::Backfill { .. }
            | Happening::Pause { .. }
            | Happening::Unpause { .. }
            | Happening::Retell
            | Happening::StopByHand
            | Happening::Halt
            | Happening::Resume => {
                let replica = self.anybody();
                if self.replicas[replica].agent.is_some() {
                    self.operate(replica, happening).await;
                } else {
                    self.schedule(now + MINUTE_MS, happening);
                }
            }
            Happening::Interrupt(what) => self.nature.interrupt(what),
            Happening::Reload => self.change_rules(),
            Happening::Rename { experiment } => self.rename(experiment),
            Happening::Leave { experiment, is_whole } => self.leave(experiment, is_whole),
            Happening::PutBack => self.put_back(),
            Happening::ReadCalendar => self.read_calendar(),
            Happening::Step { by_ms } => self.nature.step(by_ms),
            Happening::Crash { .. } | Happening::Drain { .. } | Happening::Stand { .. } => self.befall(happening),
            Happening::CutShort { polls, down_ms } => {
                let agents = self.replicas.iter_mut().filter_map(|replica| replica.agent.as_mut());
                agents.for_each(|agent| agent.fate.is_cut_short_after(polls, down_ms));
            }
            Happening::Cut { whom, store_ms, fis_ms } => {
                let replica = self.number(whom);
                let cut = self.nature.cut(replica);
                self.nature.cut_off(replica, Cut { store_until: now + store_ms, fis_until: now + fis_ms, ..cut });
                self.replicas[replica].cut_off(now, store_ms, fis_ms);
            }
            Happening::Slow { for_ms } => self.slow_down(for_ms),
            Happening::Lag { experiment } => self.lag(experiment),
            Happening::LoseAnswer { experiment, effect_ms } => {
                self.fis.lose_answer(&scenario::experiment_name(experiment), effect_ms);
            }
            Happening::SetApart { replica, by_ms } => self.nature.set_apart(replica % self.replicas.len(), by_ms),
            Happening::RulesReach { replica, entry } => self.rules_reach(replica, entry),
            Happening::AskForStrays => self.ask_for_strays(),
            Happening::NameStrays(listed) => self.name_strays(&listed),
            Happening::Calm => self.calm().await,
            Happening::ReadOnly { for_ms } => {
                self.nature.change_weather(|w| w.read_only_until = now + for_ms);
                self.store_out.push((now, now + for_ms));
            }
            Happening::StoreOut { for_ms } => {
                self.nature.change_weather(|w| w.store_out_until = now + for_ms);
                self.store_out.push((now, now + for_ms));
            }
            Happening::DenyStops { experiment, for_ms } => self.deny_stops(experiment, for_ms),
            Happening::Backup => self.back_up(),
            Happening::Restore { down_ms } => Box::pin(self.restore(down_ms)).await,
            Happening::RefuseRows { experiment, for_ms } => self.refuse(experiment, for_ms),
            Happening::Unreadable { kind, for_ms } => self.tear(kind, for_ms),
            Happening::Weather { fis, store } => self.nature.change_weather(|w| (w.fis, w.store) = (fis, store)),
            Happening::StopOutside => self.stop_outside(now),
        }
    }

    /// FIS tells of the newest experiment on the queue.
    fn fis_tells(&mut self, now: u64) {
        let experiment = self.fis.with(|state| state.experiments.len());
        self.hand(Parcel::Told { at: now, experiment });
    }

    /// What the replica that decides tells the store arrives late for a while, in which it may be gone, stand still or end.
    fn slow_down(&mut self, for_ms: u64) {
        let (now, replica) = (self.nature.elapsed(), self.number(Whom::Active));
        let late_until =
            self.nature.draw(|c| c.pick(&[[1, 0], [0, 1], [1, 1]])).map(|is_late| is_late * (now + for_ms));
        self.nature.cut_off(replica, Cut { late_until, ..self.nature.cut(replica) });
        self.replicas[replica]
            .slowed_down(now, for_ms + 2 * self.store.with(|tables| tables.lease.ttl_ms).unwrap_or(0));
        // Somebody asks for something meanwhile.
        for request in 0..for_ms / (10 * SECOND_MS) {
            let (at, experiment) = self.nature.draw(|c| (c.between(0, for_ms), c.between(0, 3)));
            let (request, windows) = (now + request, WindowRule::Overridden);
            self.schedule(now + at, Happening::StartByHand { request, experiment, windows });
        }
        let whom = Whom::Number(replica);
        let (at, polls, ms) = self.nature.draw(|c| (c.between(0, for_ms), c.between(0, 20), c.between(0, MINUTE_MS)));
        let next = match self.nature.draw(|c| c.between(0, 4)) {
            0 => Happening::Crash { whom, polls, down_ms: ms },
            1 => Happening::Stand { whom, polls, for_ms: ms },
            2 | 3 => Happening::Drain { whom, stops_within: endings::within(now + at), down_ms: ms },
            _ => return,
        };
        self.schedule(now + at, next);
    }

    /// Something befalls the process of a replica, if it is there.
    fn befall(&mut self, happening: Happening) {
        let (Happening::Crash { whom, .. } | Happening::Drain { whom, .. } | Happening::Stand { whom, .. }) = happening
        else {
            return;
        };
        let number = self.number(whom);
        let replica = &mut self.replicas[number];
        replica.ring();
        let Some(agent) = &mut replica.agent else { return };
        match happening {
            Happening::Crash { polls, down_ms, .. } => agent.fate.falls(polls, down_ms),
            Happening::Stand { polls, for_ms, .. } => agent.fate.stands(polls, for_ms),
            Happening::Drain { stops_within, down_ms, .. } => replica.drain(stops_within, down_ms, &self.nature),
            _ => {}
        }
    }
}
