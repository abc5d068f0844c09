//! The deterministic simulation: the real engine and ingest in a simulated world, one world a seed.
//!
//! Time, chance, FIS, the store, the queue and the operators are simulated; the planner, the reactions, the loop and the
//! ingest are the real ones. [`drawn`] says what happens, [`driven`] makes it happen, [`simulated`] is what the engine meets,
//! [`judged`] says what must hold; [`troubles`] are all of that for one kind each, [`planted`] shows that the check can fail.
//! A seed that fails is named with the command that replays it and prints its timeline.

mod drawn;
mod driven;
mod judged;
mod planted;
pub mod simulated;
mod staged;
pub mod troubles;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    drawn::recipe::Recipe,
    driven::{replica::Why, shrink, world::World},
    judged::check::{self, Evidence},
    simulated::{nature::Timeline, tables::Tables},
};

/// Names the world that [`replay_one_seed`] lives through: a seed, or all of a [`Recipe`].
const SEED_VARIABLE: &str = "FIREDRILL_SIM_SEED";

/// Names the seeds that [`soak`] runs: `FROM..TO`, the last one excluded.
const SEEDS_VARIABLE: &str = "FIREDRILL_SIM_SEEDS";

/// For how long rows of a world are looked at, in milliseconds.
const LOOKED_AT_MS: u64 = 3_600_000;

/// Worlds that are lived through twice.
const TWICE: u64 = 200;

/// How much happened.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    /// Experiments that FIS began.
    starts: usize,
    /// Processes that fell or ended.
    falls: usize,
    /// Terms of the lease after the first one.
    takeovers: usize,
    /// Entries of the journal.
    entries: usize,
}

/// How a world went.
struct Life {
    broken: Vec<String>,
    seen: BTreeSet<String>,
    timeline: Vec<String>,
    counts: Counts,
    /// A digest of the timeline, every row and every call, if one was asked for.
    trace: Option<u64>,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// Lives through the first hours of a world, and looks at its rows every so many milliseconds of them.
pub fn look_at_rows(seed: u64, every_ms: u64, mut look: impl FnMut(&Tables)) {
    runtime().block_on(async {
        let mut world = World::new(&Recipe::of(seed), Timeline::Dropped);
        world.restart();
        for ms in (every_ms..LOOKED_AT_MS).step_by(usize::try_from(every_ms).expect("short")) {
            world.live_until(ms).await;
            world.store.with(|tables| look(tables));
        }
    });
}

fn live(recipe: &Recipe, timeline: Timeline) -> Life {
    runtime().block_on(async {
        let mut world = World::new(recipe, timeline);
        world.live().await;
        let evidence = Evidence::new(&world);
        let trace = (timeline == Timeline::Hashed).then(|| {
            world.store.with(|tables| world.nature.say(|| format!("{tables:?}")));
            world.fis.with(|state| world.nature.say(|| format!("{state:?}")));
            world.nature.digest()
        });
        let counts = Counts::of(&evidence);
        let (broken, seen) = (check::broken(&evidence), check::seen(&evidence));
        Life { broken, seen, timeline: world.nature.timeline(), counts, trace }
    })
}

impl Counts {
    fn of(evidence: &Evidence<'_>) -> Self {
        let outages = evidence.world.replicas.iter().flat_map(|replica| &replica.outages);
        Self {
            starts: evidence.experiments.len(),
            falls: outages.filter(|outage| outage.why == Why::Down).count(),
            takeovers: evidence.world.store.with(|tables| tables.lease.terms.len().saturating_sub(1)),
            entries: evidence.journal.values().map(Vec::len).sum(),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            starts: self.starts + other.starts,
            falls: self.falls + other.falls,
            takeovers: self.takeovers + other.takeovers,
            entries: self.entries + other.entries,
        }
    }
}

/// What has to happen in some of the worlds, else they are too dull to prove anything.
const HAPPENS: [&str; 108] = [
    "quarantine full",
    "started",
    "ended after all was stopped",
    "ended before all was stopped",
    "looked for while a process ends",
    "schedule is back past slots",
    "schedule is back, and nothing was due",
    "adopted",
    "start-refused",
    "start-unclear",
    "not-found",
    "look-failed",
    "poll-failed",
    "stop-failed",
    "held busy",
    "held closed",
    "held gap",
    "held active-experiments",
    "held health",
    "held place-unread",
    "held template-unread",
    "started again",
    "started by an exception",
    "started over windows",
    "deployment late",
    "deployment not drawn",
    "hold expired",
    "settling cut short",
    "started in order",
    "stop for a newer version",
    "superseded while held",
    "version started again",
    "skipped budget",
    "skipped closed",
    "skipped cooling-down",
    "skipped excluded",
    "skipped failing",
    "skipped gap",
    "skipped halted",
    "skipped late",
    "skipped missed",
    "skipped not-drawn",
    "skipped overlap",
    "skipped not-allowed",
    "skipped paused",
    "skipped policy",
    "skipped queue-full",
    "skipped repeated",
    "skipped rollback",
    "skipped runs-used-up",
    "skipped safety-lever",
    "skipped stale",
    "skipped superseded",
    "skipped template",
    "skipped unknown",
    "skipped would-cross",
    "stop closed",
    "stop halt",
    "stop max-duration",
    "stop operator",
    "stop replaced",
    "stop unknown",
    "finished completed",
    "finished stopped",
    "finished failed",
    "finished cancelled",
    "stop denied",
    "stopped though it was denied before",
    "kept back where a stop is denied",
    "stopped again",
    "stopped by the lever",
    "stopped by hand though no row says so",
    "lost as denied",
    "lost without a word",
    "unread run that goes on",
    "unread start",
    "unread run that waits",
    "unread halt",
    "unread stop",
    "unread ledger",
    "ledger made anew",
    "unread pause",
    "unread deployment",
    "unread cursor",
    "stopped unread",
    "event in two hands",
    "two ingests at once",
    "operator beside an ingest",
    "lease handed over",
    "lease given back without FIS",
    "lease taken from the dead",
    "lease taken from who stood still",
    "lease taken from who was cut off",
    "lease taken from who was slow",
    "start forbidden in time",
    "refused manual",
    "refused event",
    "refused start-asked",
    "refused polled",
    "refused beside another",
    "restored",
    "found after a restore",
    "told again after a restore",
    "found without its token",
    "renamed while it runs",
    "stray after a restore",
    "stray of a run that was given up",
    "ended while strays were looked for",
];

/// Tells of worlds that broke a promise; the first one is shrunk.
fn told(broken: &[(u64, Vec<String>)]) -> String {
    let of = |(n, (seed, broken)): (usize, &(u64, Vec<String>))| {
        let whole = Recipe::of(*seed);
        let mut text = format!("SEED={seed}\n  {}\n  replay: {}", broken.join("\n  "), shrink::command(&whole));
        if n == 0 {
            let least = shrink::shrink(whole, shrink::promise(&broken[0]));
            text.push_str(&format!("\n  shrunk: {}", shrink::command(&least)));
        }
        text
    };
    broken.iter().enumerate().map(of).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check_seeds(seeds: std::ops::Range<u64>) {
    let count = seeds.end - seeds.start;
    let mut seen = BTreeSet::new();
    let mut broken: Vec<(u64, Vec<String>)> = Vec::new();
    for seed in seeds {
        let life = live(&Recipe::of(seed), Timeline::Dropped);
        seen.extend(life.seen);
        if !life.broken.is_empty() {
            broken.push((seed, life.broken));
        }
    }
    assert!(broken.is_empty(), "{} of {count} worlds broke a promise:\n{}", broken.len(), told(&broken));
    let unseen: Vec<&str> = HAPPENS.into_iter().filter(|what| !seen.contains(*what)).collect();
    assert!(unseen.is_empty(), "in {count} worlds this never happened: {unseen:?}");
}

#[test]
fn simulation_holds_for_five_thousand_seeds_1() {
    check_seeds(0..625);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_2() {
    check_seeds(625..1_250);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_3() {
    check_seeds(1_250..1_875);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_4() {
    check_seeds(1_875..2_500);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_5() {
    check_seeds(2_500..3_125);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_6() {
    check_seeds(3_125..3_750);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_7() {
    check_seeds(3_750..4_375);
}

#[test]
fn simulation_holds_for_five_thousand_seeds_8() {
    check_seeds(4_375..5_000);
}

#[test]
fn same_seed_twice_is_the_same_world_byte_for_byte() {
    for seed in 0..TWICE {
        let [once, again] = [(); 2].map(|()| live(&Recipe::of(seed), Timeline::Hashed).trace);
        if once != again {
            let [once, again] = [(); 2].map(|()| live(&Recipe::of(seed), Timeline::Kept).timeline);
            assert_eq!(once, again, "seed {seed}");
            panic!("seed {seed}: the rows differ, the timelines do not");
        }
    }
    let [one, other] = [7, 8].map(|seed| live(&Recipe::of(seed), Timeline::Hashed).trace);
    assert_ne!(one, other, "traces tell nothing");
}

/// Lives through the worlds that [`SEEDS_VARIABLE`] names, and tells of each that breaks a promise as soon as it does.
#[test]
fn soak() {
    let text = std::env::var(SEEDS_VARIABLE).unwrap_or_else(|_| "0..3".to_owned());
    let (from, to) = text.split_once("..").expect("FROM..TO");
    let seeds = from.parse::<u64>().expect("a seed")..to.parse::<u64>().expect("a seed");
    let worlds = seeds.end - seeds.start;
    let (mut broken, mut counts, mut seen) = (0, Counts::default(), BTreeMap::<String, u64>::new());
    for seed in seeds {
        let life = live(&Recipe::of(seed), Timeline::Dropped);
        counts = counts.and(life.counts);
        life.seen.into_iter().for_each(|what| *seen.entry(what).or_default() += 1);
        if !life.broken.is_empty() {
            broken += 1;
            println!("{}", told(&[(seed, life.broken)]));
        }
    }
    let Counts { starts, falls, takeovers, entries } = counts;
    println!("WORLDS {worlds} {broken} {starts} {falls} {takeovers} {entries}");
    seen.iter().for_each(|(what, worlds)| println!("SEEN {worlds} {what}"));
    assert_eq!(broken, 0, "worlds broke a promise");
}

/// Replays the world that [`SEED_VARIABLE`] names, and tells all that happened in it.
#[test]
fn replay_one_seed() {
    let named = std::env::var(SEED_VARIABLE).ok();
    let recipe = named.as_deref().map_or(Recipe::of(1), Recipe::parse);
    let life = live(&recipe, Timeline::Kept);
    if !life.broken.is_empty() || named.is_some() {
        println!("{}", shrink::marked(&life.timeline, &life.broken));
    }
    assert!(life.broken.is_empty(), "SEED={recipe}\n{}", life.broken.join("\n"));
}
