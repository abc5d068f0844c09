//! Nature: virtual time, the agent's wall clock, chance, the weather and the timeline of one world.
//!
//! True time is tokio's paused clock, in milliseconds since the world began. The agent's wall clock is a base plus true
//! time plus every step that was made to it. Waiting mirrors the daemon's heartbeat: a step is noticed within a second,
//! and nothing else wakes the engine early.

use std::{
    hash::{DefaultHasher, Hasher},
    sync::{Arc, Mutex},
    time::Duration,
};

use firedrill::engine::ports::WakeSource;
use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use crate::{
    sim::{
        drawn::scenario::{APART_MS, HOUR_MS, MINUTE_MS, SECOND_MS, minutes},
        planted::Bug,
        troubles::halts::Interruption,
    },
    support::chance::Chance,
};

/// How often things go wrong, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Calls of FIS.
    pub fis: u64,
    /// Queries of the store.
    pub store: u64,
    /// Until when no write succeeds.
    pub read_only_until: u64,
    /// Until when nothing succeeds.
    pub store_out_until: u64,
}

/// Until when a replica does not reach others, who reach each other, or slowly.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    pub store_until: u64,
    /// Until when the store gives no answer at all.
    pub stalled_until: u64,
    pub fis_until: u64,
    /// Until when what goes to the store, and what comes from it, arrives late.
    pub late_until: [u64; 2],
    /// From when until when answers of the store take long.
    pub far: Option<(u64, u64)>,
    /// They do when a start is asked for next, unless that is later than this.
    pub far_before: u64,
}

/// How long answers of the store take long, in milliseconds.
const FAR_MS: u64 = 6_000;

/// Whether the timeline is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeline {
    Kept,
    /// Only a digest of it is.
    Hashed,
    Dropped,
}

/// One step of the wall clock.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When, in true time.
    pub at: u64,
    /// By how much.
    pub by_ms: i64,
}

/// When worlds begin: shortly before clock changes, and on plain days.
const BASES: [&str; 8] = [
    "2026-03-08T05:00:00Z",
    "2026-11-01T04:30:00Z",
    "2026-03-28T23:30:00Z",
    "2026-10-25T00:00:00Z",
    "2026-04-04T13:30:00Z",
    "2026-10-03T14:00:00Z",
    "2026-06-17T12:00:00Z",
    "2026-12-31T22:00:00Z",
];

/// Draws when a world begins.
pub fn base(c: &mut Chance) -> Timestamp {
    let base: Timestamp = c.pick(&BASES).parse().expect("an instant");
    base + minutes(c.between(0, 90))
}

/// Draws a step of the clock: mostly small, up to three days forward and one hour back.
pub fn step(c: &mut Chance) -> i64 {
    let by = |c: &mut Chance, most: u64| i64::try_from(c.between(1, most)).expect("a step");
    match c.between(0, 5) {
        0 => by(c, 72 * HOUR_MS),
        1 | 2 => by(c, 2 * MINUTE_MS),
        3 => -by(c, 30 * SECOND_MS),
        _ => -by(c, HOUR_MS),
    }
}

pub struct Nature {
    begun: Instant,
    base: Timestamp,
    chance: Mutex<Chance>,
    weather: Mutex<Weather>,
    steps: Mutex<Vec<Step>>,
    stepped: Notify,
    /// How far each replica's clock is from the common one, in milliseconds.
    skews: Mutex<Vec<i64>>,
    cuts: Mutex<Vec<Cut>>,
    timeline: Timeline,
    lines: Mutex<Vec<String>>,
    digest: Mutex<DefaultHasher>,
    pace: Pace,
    bug: Bug,
    /// What somebody does when the next start is to be recorded.
    interruption: Mutex<Option<Interruption>>,
}

/// Whether I/O takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Some milliseconds.
    Drawn,
    /// None.
    Instant,
}

impl Nature {
    pub fn new(seed: u64, base: Timestamp, timeline: Timeline) -> Self {
        Self::with_pace(seed, base, timeline, Pace::Drawn)
    }

    pub fn with_pace(seed: u64, base: Timestamp, timeline: Timeline, pace: Pace) -> Self {
        Self {
            pace,
            begun: Instant::now(),
            base,
            chance: Mutex::new(Chance::new(seed)),
            weather: Mutex::new(Weather::default()),
            steps: Mutex::new(Vec::new()),
            stepped: Notify::new(),
            skews: Mutex::default(),
            cuts: Mutex::default(),
            timeline,
            lines: Mutex::default(),
            digest: Mutex::default(),
            bug: Bug::None,
            interruption: Mutex::default(),
        }
    }

    /// The same with something built wrong.
    pub fn planted(self, bug: Bug) -> Self {
        Self { bug, ..self }
    }

    pub fn bug(&self) -> Bug {
        self.bug
    }

    /// What the common clock shows.
    pub fn now(&self) -> Timestamp {
        self.wall_at(self.elapsed())
    }

    /// What a replica's clock shows.
    pub fn clock(&self, replica: usize) -> Timestamp {
        let skew = self.skews.lock().expect("one thread").get(replica).copied().unwrap_or_default();
        self.now() + SignedDuration::from_millis(skew)
    }

    /// Sets a replica's clock apart from the common one.
    pub fn set_apart(&self, replica: usize, by_ms: i64) {
        let mut skews = self.skews.lock().expect("one thread");
        let len = skews.len().max(replica + 1);
        skews.resize(len, 0);
        skews[replica] = by_ms;
        self.stepped.notify_waiters();
    }

    /// What a replica does not reach.
    pub fn cut(&self, replica: usize) -> Cut {
        self.cuts.lock().expect("one thread").get(replica).copied().unwrap_or_default()
    }

    /// Cuts a replica off.
    pub fn cut_off(&self, replica: usize, cut: Cut) {
        let mut cuts = self.cuts.lock().expect("one thread");
        let len = cuts.len().max(replica + 1);
        cuts.resize(len, Cut::default());
        cuts[replica] = cut;
    }

    /// A replica asks for a start: answers of the store take long from now on where they are to.
    pub fn start_is_asked(&self, replica: usize) {
        let (cut, now) = (self.cut(replica), self.elapsed());
        if cut.far_before > now {
            self.cut_off(replica, Cut { far: Some((now, now + FAR_MS)), far_before: 0, ..cut });
        }
    }

    /// Somebody does something when the next start is to be recorded.
    pub fn interrupt(&self, interruption: Interruption) {
        *self.interruption.lock().expect("one thread") = Some(interruption);
    }

    /// Takes what somebody is to do now that a start is to be recorded.
    pub fn interruption(&self) -> Option<Interruption> {
        self.interruption.lock().expect("one thread").take()
    }

    /// True time since the world began, in milliseconds.
    pub fn elapsed(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).expect("a world ends")
    }

    /// What the wall clock shows at a true time.
    pub fn wall_at(&self, ms: u64) -> Timestamp {
        let offset: i64 = self.steps.lock().expect("one thread").iter().filter(|s| s.at <= ms).map(|s| s.by_ms).sum();
        self.base + SignedDuration::from_millis(i64::try_from(ms).expect("a world ends") + offset)
    }

    /// What a clock without steps shows at a true time: FIS's own.
    pub fn true_wall_at(&self, ms: u64) -> Timestamp {
        self.base + SignedDuration::from_millis(i64::try_from(ms).expect("a world ends"))
    }

    /// How far the clocks of replicas may be from the common one, in milliseconds.
    pub fn apart(&self) -> i64 {
        if self.skews.lock().expect("one thread").is_empty() { 0 } else { APART_MS as i64 }
    }

    pub fn steps(&self) -> Vec<Step> {
        self.steps.lock().expect("one thread").clone()
    }

    pub fn step(&self, by_ms: i64) {
        let at = self.elapsed();
        self.steps.lock().expect("one thread").push(Step { at, by_ms });
        self.stepped.notify_waiters();
    }

    pub fn draw<T>(&self, draw: impl FnOnce(&mut Chance) -> T) -> T {
        draw(&mut self.chance.lock().expect("one thread"))
    }

    pub fn weather(&self) -> Weather {
        *self.weather.lock().expect("one thread")
    }

    pub fn change_weather(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().expect("one thread"));
    }

    /// Adds a line to the timeline, if there is one.
    pub fn say(&self, line: impl FnOnce() -> String) {
        if self.timeline == Timeline::Dropped {
            return;
        }
        let ms = self.elapsed();
        let line = format!("{:>9.3} s  {}  {}", ms as f64 / 1_000.0, self.wall_at(ms), line());
        if self.timeline == Timeline::Kept {
            self.lines.lock().expect("one thread").push(line);
        } else {
            self.digest.lock().expect("one thread").write(line.as_bytes());
        }
    }

    pub fn timeline(&self) -> Vec<String> {
        self.lines.lock().expect("one thread").clone()
    }

    /// A digest of everything that was said.
    pub fn digest(&self) -> u64 {
        self.digest.lock().expect("one thread").finish()
    }

    /// A pause as I/O has them: none, a turn of the scheduler, or some milliseconds.
    pub async fn pause(&self) {
        if self.pace == Pace::Instant {
            return;
        }
        match self.draw(|c| c.between(0, 5)) {
            0..=2 => {}
            3 => tokio::task::yield_now().await,
            ms => self.let_pass(ms - 3).await,
        }
    }

    /// Lets so many milliseconds of true time pass.
    pub async fn let_pass(&self, ms: u64) {
        tokio::time::sleep_until(Instant::now() + Duration::from_millis(ms)).await;
    }

    pub async fn sleep_until(&self, ms: u64) {
        tokio::time::sleep_until(self.begun + Duration::from_millis(ms)).await;
    }
}

/// The clock of one replica.
pub struct Clock {
    pub nature: Arc<Nature>,
    pub replica: usize,
}

impl WakeSource for Clock {
    fn now(&self) -> Timestamp {
        self.nature.clock(self.replica)
    }

    async fn wait(&self, until: Option<Timestamp>) {
        let (begun, nature) = (self.now(), &self.nature);
        loop {
            let stepped = nature.stepped.notified();
            let now = self.now();
            if now < begun || until.is_some_and(|until| now >= until) {
                return;
            }
            let left = until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO));
            tokio::select! {
                biased;
                () = stepped, if nature.bug() != Bug::StepsUnnoticed => {
                    nature.let_pass(nature.draw(|c| c.between(0, 1_000))).await;
                }
                () = async {
                    match left {
                        Some(left) => tokio::time::sleep_until(Instant::now() + left).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    }
}
