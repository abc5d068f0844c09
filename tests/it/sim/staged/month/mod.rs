//! Forecast = reality: what the forecast says of a month is what the real engine decides in that month, seed by seed.
//!
//! The engine and the store's rows are those of the simulation, the clock and FIS are those of [`stage`]: nothing goes
//! wrong, and an experiment takes as long as its template allows. The agent is killed at random moments and comes back
//! at once or within the time in which a slot does not count as missed. Compared are the set of slots, what became of
//! each, why, and when it began and ended. They agree to the millisecond (the resolution of the simulated clock), with
//! two exceptions. A run that replaces another begins up to [`POLL`] later for each one replaced in a row, for FIS is
//! only asked then whether the other is over. And what is decided while the agent is away is decided when it is back.
//!
//! Not compared are months in which an experiment ends at the instant at which a slot is due, or up to a poll later:
//! who is asked first is not a promise.

mod scenario;
mod stage;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use firedrill::{
    domain::{
        forecast::{self, Expected, Outlook},
        ids::RunId,
        outcome::Outcome,
        plan::Mode,
        run::{Run, RunState, SkipReason, StopCause, Trigger},
    },
    engine::run_loop::Engine,
};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use self::{
    scenario::Month,
    stage::{Clock, Deaf, Fis, Played},
};
use crate::{
    sim::simulated::{
        nature::{Nature, Pace, Timeline},
        store::MemoryStore,
    },
    support::chance::Chance,
};

/// Names the seed that [`replay_one_month`] runs.
const SEED_VARIABLE: &str = "FIREDRILL_MONTH_SEED";

/// How many months are compared.
const MONTHS: u64 = 40;

/// How many months are drawn for one of them at most.
const DRAWS: u64 = 200;

/// Time between two polls.
const POLL: SignedDuration = SignedDuration::from_secs(10);

/// Shorter than what makes a slot count as missed.
const LONGEST_ABSENCE_S: u64 = 29;

/// The resolution of the simulated clock.
const TICK: SignedDuration = SignedDuration::from_millis(1);

/// A forecast month.
struct Told {
    month: Month,
    runs: Vec<Expected>,
    /// From when until when the agent is away.
    absences: Vec<(Timestamp, Timestamp)>,
}

/// What a month was like in truth.
struct Reality {
    runs: BTreeMap<RunId, Run>,
    played: BTreeMap<RunId, Played>,
}

/// Draws months until one has nothing that happens at one instant by chance.
fn told(seed: u64) -> Told {
    for draw in 0..DRAWS {
        let mut c = Chance::new(seed * DRAWS + draw);
        let month = scenario::month(&mut c);
        let declared = month.rules.experiments.keys();
        let facts =
            declared.map(|name| (name.clone(), month.templates[&name.as_str().replace("drill-", "EXT")].clone()));
        let outlook = Outlook { facts: facts.collect(), pauses: month.pauses.clone(), ..Outlook::default() };
        let forecast = forecast::forecast(&month.rules, &outlook, month.from, month.to);
        assert_eq!(forecast.until, month.to, "seed {seed}: the forecast is whole");
        if forecast.runs.len() > 20 && !is_close(&month, &forecast.runs) {
            let absences = absences(&mut c, &month, &forecast.runs);
            return Told { month, runs: forecast.runs, absences };
        }
    }
    panic!("seed {seed}: {DRAWS} months were close");
}

fn ends(runs: &[Expected]) -> impl Iterator<Item = (&Expected, Timestamp)> {
    runs.iter().filter_map(|run| Some((run, run.runs_from_to?.1)))
}

fn is_replaced(run: &Run) -> bool {
    matches!(&run.state, RunState::Finished { outcome: Outcome::Stopped { cause: StopCause::Replaced { .. } }, .. })
}

/// Whether an experiment ends when something else happens, or so shortly after it that it was polled too lately to be
/// polled again at its end.
fn is_close(month: &Month, runs: &[Expected]) -> bool {
    let instants: BTreeMap<Timestamp, usize> = runs
        .iter()
        .flat_map(|run| [Some(run.slot), Some(run.run.not_before), run.runs_from_to.map(|(from, _)| from)])
        .flatten()
        .fold(BTreeMap::new(), |mut all, at| {
            *all.entry(at).or_default() += 1;
            all
        });
    let to = month.to;
    ends(runs)
        .filter(|(run, end)| *end < to && !is_replaced(&run.run))
        .any(|(_, end)| instants.range(end - POLL + TICK..=end).next().is_some())
}

/// Draws when the agent is away: never when something begins or just before something ends.
fn absences(c: &mut Chance, month: &Month, runs: &[Expected]) -> Vec<(Timestamp, Timestamp)> {
    let length = u64::try_from(month.to.duration_since(month.from).as_secs()).expect("a month");
    let seconds = |count: u64| SignedDuration::from_secs(i64::try_from(count).expect("few"));
    let mut busy: BTreeSet<Timestamp> = BTreeSet::new();
    for run in runs {
        busy.extend(run.runs_from_to.into_iter().flat_map(|(from, to)| [from, to]));
        // What waited until then in vain.
        busy.extend(match run.run.state {
            RunState::Skipped { at, .. } if at > run.run.not_before => Some(at),
            _ => None,
        });
    }
    let mut all: Vec<(Timestamp, Timestamp)> = Vec::new();
    for n in 0..60 {
        // Every other one about a slot.
        let begin = match runs.get(usize::try_from(c.between(0, 1_000)).expect("few") % runs.len()) {
            Some(run) if n % 2 == 0 => run.run.not_before - seconds(c.between(0, 10)) - TICK,
            _ => month.from + seconds(c.between(60, length - 60)) + TICK,
        };
        let end = begin + seconds(c.pick(&[0, LONGEST_ABSENCE_S / 3, LONGEST_ABSENCE_S]));
        let is_free = busy.range(begin - TICK..=end + POLL + POLL).next().is_none()
            && begin > month.from
            && end < month.to
            && all.iter().all(|(from, to)| end < *from || *to < begin);
        if is_free {
            all.push((begin, end));
        }
    }
    all.sort();
    all
}

async fn live(told: &Told) -> Reality {
    let Month { from, to, rules, templates, pauses } = &told.month;
    let nature = Arc::new(Nature::with_pace(0, *from, Timeline::Dropped, Pace::Instant));
    let store = Arc::new(MemoryStore::new(nature.clone()));
    store.with(|tables| tables.pauses.clone_from(pauses));
    let rules = Arc::new(rules.clone());
    let fis = Arc::new(Fis { nature: nature.clone(), templates: templates.clone(), played: Mutex::default() });
    let clock = Clock { nature: nature.clone(), store: store.clone(), rules: rules.clone(), fis: fis.clone() };
    let clock = Arc::new(clock);
    let (rules, _) = (watch::Sender::new(rules), ());
    let since = |at: Timestamp| u64::try_from(at.duration_since(*from).as_millis()).expect("a month");
    for (down, up) in told.absences.iter().copied().chain([(*to, *to)]) {
        let (_mode, mode) = watch::channel(Mode::Active);
        let engine = Engine {
            store: store.clone(),
            injector: fis.clone(),
            time: clock.clone(),
            witness: Arc::new(Deaf),
            rules: rules.subscribe(),
            mode,
            poke: Arc::default(),
            hints: Arc::default(),
        };
        tokio::select! {
            biased;
            () = nature.sleep_until(since(down)) => {}
            () = engine.run() => {}
        }
        nature.sleep_until(since(up)).await;
    }
    let runs = store.with(|tables| tables.runs.clone());
    let broken = store.with(|tables| tables.broken.clone());
    assert!(broken.is_empty(), "{broken:?}");
    Reality { runs, played: fis.played().into_iter().map(|played| (played.run.clone(), played)).collect() }
}

fn kind(state: &RunState) -> String {
    match state {
        RunState::Skipped { reason, .. } => format!("skipped {}", reason.as_str()),
        RunState::Finished { outcome, .. } => format!("finished {outcome}"),
        RunState::Held { reason, .. } => format!("held {}", reason.as_str()),
        other => other.as_str().to_owned(),
    }
}

impl Told {
    /// When something that is due at an instant is done by an agent that is away at times.
    fn done_at(&self, at: Timestamp) -> Timestamp {
        self.absences.iter().find(|(down, up)| *down <= at && at < *up).map_or(at, |(_, up)| *up)
    }

    /// How late the runs of an experiment may begin.
    fn slack(&self, run: &Run) -> SignedDuration {
        let replaced =
            self.runs.iter().filter(|other| other.run.experiment == run.experiment && is_replaced(&other.run));
        let near =
            replaced.filter(|other| other.slot.duration_since(run.not_before).abs() < SignedDuration::from_hours(12));
        TICK + POLL * i32::try_from(near.count()).expect("few")
    }

    /// Lists what came otherwise.
    fn compare(&self, reality: &Reality) -> Vec<String> {
        let mut found = Vec::new();
        let mut slots: BTreeSet<&RunId> = reality.runs.keys().collect();
        for expected in &self.runs {
            let told = &expected.run;
            let label =
                format!("{} {} due {} ({:?})", told.experiment, expected.slot, told.not_before, told.trigger.key());
            slots.remove(&told.id);
            let Some(run) = reality.runs.get(&told.id) else {
                found.push(format!("{label}: {} never came", kind(&told.state)));
                continue;
            };
            let slack = self.slack(told);
            let is_near = |told: Timestamp, real: Timestamp| told <= real && real <= self.done_at(told) + slack;
            let (says, is) = (kind(&told.state), kind(&run.state));
            if says != is {
                found.push(format!("{label}: forecast {:?}, reality {:?}", told.state, run.state));
            }
            if (told.not_before, told.start_by, told.hold_until) != (run.not_before, run.start_by, run.hold_until) {
                found.push(format!("{label}: other bounds {run:?}"));
            }
            if let (RunState::Skipped { at: told, .. }, RunState::Skipped { at: real, .. }) = (&told.state, &run.state)
                && !is_near(*told, *real)
            {
                found.push(format!("{label}: {says} at {told}, in reality at {real}"));
            }
            let played = reality.played.get(&told.id).map(|played| (played.begun, played.ends));
            match (expected.runs_from_to, played) {
                (None, None) => {}
                (Some((from, to)), Some((begun, ended))) if is_near(from, begun) && is_near(to, ended) => {}
                (told, real) => found.push(format!("{label}: forecast {told:?}, reality {real:?}")),
            }
        }
        for unforeseen in slots.into_iter().filter_map(|id| reality.runs.get(id)) {
            let Trigger::Slot { at, .. } = &unforeseen.trigger else { continue };
            found.push(format!("{} {at}: not forecast, is {:?}", unforeseen.experiment, unforeseen.state));
        }
        found
    }
}

fn compared(seed: u64) -> (Told, Vec<String>) {
    let told = told(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let reality = runtime.block_on(live(&told));
    let found = told.compare(&reality);
    (told, found)
}

/// What has to be in some of the months, else they are too dull to prove anything.
const HAPPENS: [&str; 17] = [
    "finished completed",
    "finished stopped (max-duration)",
    "finished stopped (replaced)",
    "away",
    "waited",
    "skipped budget",
    "skipped closed",
    "skipped excluded",
    "skipped gap",
    "skipped late",
    "skipped not-drawn",
    "skipped overlap",
    "skipped paused",
    "skipped queue-full",
    "skipped runs-used-up",
    "skipped would-cross",
    "spread",
];

fn seen(told: &Told) -> BTreeSet<String> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    for expected in &told.runs {
        let run = &expected.run;
        seen.insert(match &run.state {
            RunState::Finished { outcome: Outcome::Stopped { cause }, .. } => {
                format!("finished stopped ({})", cause.as_str())
            }
            RunState::Finished { outcome, .. } => format!("finished {}", outcome.as_str()),
            RunState::Skipped { reason: SkipReason::NotDrawn { .. }, .. } => "skipped not-drawn".to_owned(),
            state => kind(state),
        });
        let from = expected.runs_from_to.map(|(from, _)| from);
        seen.extend(from.filter(|from| *from > run.not_before).map(|_| "waited".to_owned()));
        seen.extend(from.filter(|_| run.not_before > expected.slot).map(|_| "spread".to_owned()));
        let is_late = told.done_at(run.not_before) > run.not_before;
        seen.extend(is_late.then(|| "away".to_owned()));
    }
    seen
}

#[track_caller]
fn check_months(seeds: std::ops::Range<u64>) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut broken = Vec::new();
    for seed in seeds {
        let (told, found) = compared(seed);
        all.extend(seen(&told));
        if !found.is_empty() {
            let command = format!(
                "{SEED_VARIABLE}={seed} cargo test --test it sim::staged::month::replay_one_month -- --nocapture"
            );
            broken.push(format!("SEED={seed}\n  replay: {command}\n  {}", found.join("\n  ")));
        }
    }
    assert!(broken.is_empty(), "{} months came otherwise than forecast:\n{}", broken.len(), broken.join("\n"));
    all
}

#[test]
fn forecast_of_a_month_is_what_the_engine_decides() {
    let seen = check_months(0..MONTHS);
    let unseen: Vec<&str> = HAPPENS.into_iter().filter(|what| !seen.contains(*what)).collect();
    assert!(unseen.is_empty(), "in {MONTHS} months this never happened: {unseen:?}, but {seen:?}");
}

#[test]
fn replay_one_month() {
    let seed = std::env::var(SEED_VARIABLE).ok().map_or(1, |text| text.parse().expect("a seed is a number"));
    let (told, found) = compared(seed);
    if !found.is_empty() || std::env::var_os(SEED_VARIABLE).is_some() {
        println!("{:#?}\naway: {:?}", told.month, told.absences);
        for expected in &told.runs {
            let run = &expected.run;
            println!(
                "{} {} due {} {} {:?}",
                run.experiment,
                expected.slot,
                run.not_before,
                kind(&run.state),
                expected.runs_from_to
            );
        }
    }
    assert!(found.is_empty(), "SEED={seed}\n{}", found.join("\n"));
}
