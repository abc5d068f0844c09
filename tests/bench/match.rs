//! How fast events are matched: ours, the crate quamina and a naive scan over parsed values. Figures, not a test.
//!
//! One thread, JSON text in. The three take turns every few hundred events and the median turn counts, by the time of the
//! processor, so that what else the machine does falls on all of them alike. `tests/bench/run match` runs it.

#[path = "../it/pattern/naive.rs"]
mod naive;

use std::{collections::BTreeMap, path::Path};

use firedrill::domain::pattern::{Matcher, Pattern};
use naive::Naive;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

/// Events of a turn.
const TURN: usize = 250;
/// Turns of each.
const TURNS: usize = 61;
/// Patterns times events that the naive scan is asked in all.
const NAIVE_WORK: usize = 3_000_000;
/// Larger sets make quamina panic.
const QUAMINA_MOST: usize = 100;

/// Sets of rules whose speed is asked for as a multiple of the naive scan's; three times for the rest.
const ASKED: &[(&str, f64)] =
    &[("BUS_1", 2.7), ("BUS_10", 1.5), ("BUS_100", 2.0), ("BUS_1000", 8.0), ("BUS_10000", 35.0)];

/// Matches over all 50,000 events of the bus.
const TOTALS: &[(&str, usize)] = &[
    ("BUS_10", 16),
    ("BUS_100", 153),
    ("BUS_1000", 1_572),
    ("BUS_10000", 16_438),
    ("BUS_EXACT_10", 2),
    ("BUS_EXACT_100", 47),
    ("BUS_EXACT_1000", 453),
    ("BUS_EXACT_10000", 4_395),
];

fn main() {
    let folder = std::env::args().nth(1).expect("the folder that events.py wrote");
    let read = |name: &str| std::fs::read_to_string(Path::new(&folder).join(name)).expect("a file of events.py");
    let rules: BTreeMap<String, Vec<String>> = serde_json::from_str(&read("rules.json")).expect("JSON");
    let lots: Vec<String> = read("lots.jsonl").lines().map(str::to_owned).collect();
    let bus: Vec<String> = read("bus.jsonl").lines().map(str::to_owned).collect();
    println!(
        "{:16} {:>11} {:>11} {:>11} {:>9} {:>9} {:>9} {:>9}",
        "events a second", "ours", "quamina", "naive", "/quamina", "/naive", "load", "matches"
    );
    let mut missed = Vec::new();
    for (name, texts) in &rules {
        let events = if name.starts_with("BUS") { &bus } else { &lots };
        missed.extend(measure(name, texts, events));
    }
    if missed.is_empty() {
        println!("\nall that is asked for is met");
    } else {
        println!("\nmissed:\n  {}", missed.join("\n  "));
    }
}

/// Seconds that this thread has spent on the processor.
fn now() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Events a second, by the median turn.
fn rate(mut turns: Vec<f64>) -> Option<f64> {
    turns.sort_by(f64::total_cmp);
    turns.get(turns.len() / 2).map(|seconds| TURN as f64 / seconds)
}

/// Measures a set, and returns what it misses.
fn measure(name: &str, texts: &[String], events: &[String]) -> Vec<String> {
    let timed = |work: &mut dyn FnMut()| {
        let began = now();
        work();
        now() - began
    };
    let mut matcher = Matcher::default();
    let load = timed(&mut || {
        let parsed: Vec<Pattern> = texts.iter().map(|text| Pattern::parse_text(text).expect("a pattern")).collect();
        matcher = Matcher::new(&parsed);
    });
    let naive: Vec<Naive> =
        texts.iter().map(|text| Naive::new(&serde_json::from_str::<Value>(text).expect("JSON"))).collect();
    let mut quamina = quamina::Quamina::new();
    let supported = texts.len() <= QUAMINA_MOST
        && texts.iter().enumerate().all(|(number, text)| quamina.add_pattern(number, text).is_ok());
    let naive_turns = (NAIVE_WORK / TURN / texts.len()).clamp(1, TURNS);

    let (mut ours, mut theirs, mut naives) = (Vec::new(), Vec::new(), Vec::new());
    for (turn, chunk) in events.chunks_exact(TURN).take(TURNS).enumerate() {
        let mut found = 0;
        ours.push(timed(&mut || {
            found = chunk.iter().map(|event| matcher.matching(event).expect("an event").len()).sum::<usize>();
        }));
        if supported {
            let mut others = 0;
            theirs.push(timed(&mut || {
                let of = |event: &String| quamina.matches_for_event(event.as_bytes()).expect("an event").len();
                others = chunk.iter().map(of).sum();
            }));
            assert_eq!(found, others, "{name}: quamina finds as many");
        }
        if turn < naive_turns {
            let mut others = 0;
            naives.push(timed(&mut || {
                for event in chunk {
                    let event: Value = serde_json::from_str(event).expect("JSON");
                    others += naive.iter().filter(|pattern| pattern.matches(&event)).count();
                }
            }));
            assert_eq!(found, others, "{name}: the naive scan finds as many");
        }
    }
    let all: usize = events.iter().map(|event| matcher.matching(event).expect("an event").len()).sum();
    report(name, [rate(ours), rate(theirs), rate(naives)], load, all)
}

fn report(name: &str, [ours, theirs, naive]: [Option<f64>; 3], load: f64, all: usize) -> Vec<String> {
    let told = |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
    let ours = ours.unwrap_or_default();
    let (by_quamina, by_naive) = (theirs.map(|theirs| ours / theirs), naive.map(|naive| ours / naive));
    let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
    println!(
        "{name:16} {:>11} {:>11} {:>11} {:>9} {:>9} {load:>8.3}s {all:>9}",
        told(Some(ours)),
        told(theirs),
        told(naive),
        ratio(by_quamina),
        ratio(by_naive)
    );
    let mut missed = Vec::new();
    let asked = ASKED.iter().find(|(set, _)| *set == name).map_or(3.0, |(_, asked)| *asked);
    if !by_naive.is_some_and(|ratio| ratio >= asked) {
        missed.push(format!("{name}: {asked} times the naive scan"));
    }
    if !name.starts_with("BUS") && by_quamina.is_some_and(|ratio| !(ratio >= 1.0)) {
        missed.push(format!("{name}: as fast as quamina"));
    }
    if load > 1.0 {
        missed.push(format!("{name}: loaded in a second"));
    }
    if TOTALS.iter().any(|(set, total)| *set == name && *total != all) {
        missed.push(format!("{name}: the right number of matches"));
    }
    missed
}
