//! Schedules: which instants an experiment is due at, and what becomes of each.
//!
//! Pure. A [`Schedule`] names *nominal* slots, which are its identity: a cursor and a run are kept under them. The
//! [`Spread`] moves only when the run of a slot may start, and is drawn from the slot itself, so that a restarted agent
//! and the forecast arrive at the same instant. The instants themselves come from [`cron`] (with its rule for clock
//! changes) and [`every`].

pub mod cron;
pub mod every;
mod fields;
mod memo;
pub mod notation;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use self::memo::Memo;
pub use self::{
    cron::{CronSchedule, Gaps},
    every::Every,
    notation::CronError,
};
use super::ids::{self, ExperimentName, ScheduleName};

/// Least time that is left of a span to start in, half of the span where that is shorter.
const SPAN_SPARE: SignedDuration = SignedDuration::from_secs(60);

/// Slots looked at for the shortest time between two.
const INTERVALS_LOOKED_AT: usize = 500;

/// One schedule of an experiment.
#[derive(Debug, Clone)]
pub struct Schedule {
    name: ScheduleName,
    timetable: ScheduleName,
    experiment: ExperimentName,
    timing: Timing,
    bounds: Bounds,
    known: Memo,
    /// When inside or after its slot a run is due.
    pub spread: Spread,
    /// One slot in so many is taken, by a draw that the slot itself decides; 1 is every slot.
    pub mtbf: u32,
    /// Most runs that it may ever start; `None` sets no limit.
    pub max_runs: Option<u32>,
    /// What happens to slots that passed unseen.
    pub missed: MissedPolicy,
    /// How long after it is due a run may still start (inclusive).
    pub start_deadline: SignedDuration,
    /// How long a run may wait for a blackout to lift; zero means it is skipped.
    pub hold_for: SignedDuration,
}

/// Which instants a schedule names.
#[derive(Debug, Clone)]
pub enum Timing {
    /// Those of a cron expression.
    Cron(CronSchedule),
    /// Those that lie a whole number of periods after an anchor.
    Every(Every),
    /// One.
    At {
        /// When.
        at: Timestamp,
        /// The zone it was written in.
        zone: TimeZone,
    },
}

/// The instants `[from, until)` outside of which a schedule names nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first instant that may be a slot (inclusive).
    pub from: Option<Timestamp>,
    /// The first instant that may be none any more (exclusive).
    pub until: Option<Timestamp>,
}

/// When inside or after its slot a run is due.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spread {
    /// At the slot.
    #[default]
    None,
    /// At a random whole second in `[slot, slot + jitter)`.
    Jitter(SignedDuration),
    /// At a random whole second inside `[slot, slot + span)`, and it must start inside of it.
    Within(SignedDuration),
}

/// What happens to slots that passed while the agent was away (not within a few seconds, as every tick is late by some).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MissedPolicy {
    /// None of them is run.
    Skip,
    /// Only the latest of them is run, if still within its start deadline.
    #[default]
    Latest,
    /// Each of the latest ones is run that is still within its start deadline, oldest first.
    All {
        /// At most so many.
        most: u32,
    },
}

/// An instant that a schedule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The instant: the slot's identity.
    pub at: Timestamp,
    /// Whether a clock change moved it from the local time that the expression names.
    pub shifted: bool,
    /// Whether a time that the expression names was lost between the slot before it and this one: clocks skipped it and
    /// nothing was to be moved.
    pub after_lost: bool,
}

impl Slot {
    /// A slot that no clock change touched.
    pub const fn plain(at: Timestamp) -> Self {
        Self { at, shifted: false, after_lost: false }
    }
}

impl Schedule {
    /// Makes a schedule that takes every slot at its instant, the latest of missed ones, with a deadline of ten minutes.
    pub fn new(experiment: &ExperimentName, name: ScheduleName, timing: Timing, bounds: Bounds) -> Self {
        let mut details = timing.identity();
        // Without dates nothing is added, so that these names stay what they were before there were dates.
        details.extend(bounds.from.map(|from| format!("from {from}")));
        details.extend(bounds.until.map(|until| format!("until {until}")));
        let details: Vec<&str> = details.iter().map(String::as_str).collect();
        Self {
            timetable: name.detailed(&details),
            experiment: experiment.clone(),
            name,
            timing,
            bounds,
            known: Memo::default(),
            spread: Spread::None,
            mtbf: 1,
            max_runs: None,
            missed: MissedPolicy::Latest,
            start_deadline: SignedDuration::from_mins(10),
            hold_for: SignedDuration::ZERO,
        }
    }

    /// Returns its identity: the slots of its runs are kept under it.
    pub fn name(&self) -> &ScheduleName {
        &self.name
    }

    /// Returns the name under which its cursor is kept. It changes with the instants that the schedule names: an edited
    /// schedule is a new one, to which no slot before the edit matters.
    pub fn timetable(&self) -> &ScheduleName {
        &self.timetable
    }

    /// Returns which instants it names, in words: a cron expression, `every 36h`, `at 2026-03-01T10:00:00Z`.
    pub fn expression(&self) -> String {
        match &self.timing {
            Timing::Cron(cron) => cron.expression().to_owned(),
            Timing::Every(every) => format!("every {:#}", every.period()),
            Timing::At { at, .. } => format!("at {at}"),
        }
    }

    /// Returns the zone in which it was written.
    pub fn zone(&self) -> &TimeZone {
        match &self.timing {
            Timing::Cron(cron) => cron.zone(),
            Timing::Every(every) => every.zone(),
            Timing::At { zone, .. } => zone,
        }
    }

    /// Finds the first slot strictly after an instant; `None` when there is none.
    ///
    /// The answer is kept: the planner asks for every schedule in every pass, mostly about the same stretch of time.
    pub fn next_after(&self, after: Timestamp) -> Option<Slot> {
        self.known.answer(after, || self.search_after(after))
    }

    fn search_after(&self, after: Timestamp) -> Option<Slot> {
        let from = match self.bounds.from {
            Some(from) if after < from => from.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(after),
            _ => after,
        };
        let next = match &self.timing {
            Timing::Cron(cron) => cron.next_after(from),
            Timing::Every(every) => every.next_after(from).map(Slot::plain),
            Timing::At { at, .. } => (*at > from).then_some(Slot::plain(*at)),
        };
        next.filter(|slot| self.bounds.until.is_none_or(|until| slot.at < until))
    }

    /// Finds the latest slot in `(after, until]`, at a cost that does not grow with the number of slots in it.
    pub fn latest_in(&self, after: Timestamp, until: Timestamp) -> Option<Slot> {
        let latest = self.latest_until(until).filter(|at| *at > after)?;
        // From the slot before it on, so that a time that was lost between the two is noticed.
        let before = latest.checked_sub(SignedDuration::from_nanos(1)).ok()?;
        self.search_after(self.latest_until(before).map_or(after, |at| at.max(after)))
    }

    fn latest_until(&self, until: Timestamp) -> Option<Timestamp> {
        let until = match self.bounds.until {
            Some(end) if until >= end => end.checked_sub(SignedDuration::from_nanos(1)).ok()?,
            _ => until,
        };
        let latest = match &self.timing {
            Timing::Cron(cron) => cron.latest_until(until),
            Timing::Every(every) => every.latest_until(until),
            Timing::At { at, .. } => (*at <= until).then_some(*at),
        };
        latest.filter(|at| self.bounds.from.is_none_or(|from| *at >= from))
    }

    /// Counts the slots in `(after, until]`, up to `limit`.
    pub fn count_in(&self, after: Timestamp, until: Timestamp, limit: u32) -> u32 {
        let mut count = 0;
        let mut from = after;
        while count < limit {
            match self.search_after(from) {
                Some(slot) if slot.at <= until => from = slot.at,
                _ => break,
            }
            count += 1;
        }
        count
    }

    /// Returns the slot at an instant, if there is one.
    pub fn slot_at(&self, at: Timestamp) -> Option<Slot> {
        self.latest_in(Timestamp::MIN, at).filter(|slot| slot.at == at)
    }

    /// Returns when the run of a slot is due: the slot itself, or a later instant that only the slot decides.
    pub fn due(&self, slot: Timestamp) -> Timestamp {
        let length = match self.spread {
            Spread::None => return slot,
            Spread::Jitter(jitter) => jitter,
            Spread::Within(span) => span.checked_sub(SPAN_SPARE.min(span / 2)).unwrap_or(span),
        };
        let seconds = u64::try_from(length.as_secs()).unwrap_or_default().max(1);
        let offset = i64::try_from(self.draw("spread", slot) % seconds).unwrap_or_default();
        slot.saturating_add(SignedDuration::from_secs(offset)).unwrap_or(Timestamp::MAX)
    }

    /// Returns the last instant at which the run of a slot may start (inclusive).
    pub fn start_by(&self, slot: Timestamp) -> Timestamp {
        let (from, length) = match self.spread {
            Spread::Within(span) => (slot, span),
            Spread::None | Spread::Jitter(_) => (self.due(slot), self.start_deadline),
        };
        from.saturating_add(length).unwrap_or(Timestamp::MAX)
    }

    /// Returns until when the run of a slot may wait for a blackout to lift; `None` when it may not.
    pub fn hold_until(&self, slot: Timestamp) -> Option<Timestamp> {
        let held = self.due(slot).saturating_add(self.hold_for).unwrap_or(Timestamp::MAX);
        let until = match self.spread {
            Spread::Within(_) => held.min(self.start_by(slot)),
            Spread::None | Spread::Jitter(_) => held,
        };
        self.hold_for.is_positive().then_some(until)
    }

    /// Tells whether a slot is taken: one in [`mtbf`](Self::mtbf) is, and only the slot decides which.
    pub fn is_taken(&self, slot: Timestamp) -> bool {
        self.mtbf <= 1 || self.draw("mtbf", slot).is_multiple_of(u64::from(self.mtbf))
    }

    /// Finds the shortest time between two neighbouring slots, by looking at the first ones.
    pub fn shortest_interval(&self) -> Option<SignedDuration> {
        let mut from = Timestamp::UNIX_EPOCH.max(self.bounds.from.unwrap_or(Timestamp::MIN));
        let mut shortest: Option<SignedDuration> = None;
        let mut last = None;
        for _ in 0..INTERVALS_LOOKED_AT {
            let Some(slot) = self.search_after(from) else { break };
            if let Some(last) = last {
                let interval = slot.at.duration_since(last);
                shortest = Some(shortest.map_or(interval, |shortest| shortest.min(interval)));
            }
            (from, last) = (slot.at, Some(slot.at));
        }
        shortest
    }

    fn draw(&self, purpose: &str, slot: Timestamp) -> u64 {
        ids::draw(&[purpose, self.experiment.as_str(), self.name.as_str(), &slot.as_second().to_string()])
    }
}

impl Timing {
    /// Everything that decides which instants these are.
    fn identity(&self) -> Vec<String> {
        let of_zone = |zone: &TimeZone| zone.iana_name().unwrap_or_default().to_owned();
        match self {
            Self::Cron(cron) => {
                let gaps = (cron.gaps() == Gaps::Skip).then(|| "skip".to_owned());
                [cron.expression().to_owned(), of_zone(cron.zone())].into_iter().chain(gaps).collect()
            }
            Self::Every(every) => vec![format!("every {}", every.period()), format!("from {}", every.anchor())],
            Self::At { at, .. } => vec![format!("at {at}")],
        }
    }
}
