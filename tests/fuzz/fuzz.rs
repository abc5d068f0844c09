//! Fuzzes event patterns: made up and mutated patterns and events, for so many minutes, against the naive matcher.
//!
//! Without coverage as a guide, so that it runs on the stable compiler. A failure prints its seed; `fuzz --seed N` runs
//! that one alone.

#[path = "../it/pattern/agree.rs"]
mod agree;
#[path = "../it/pattern/generated.rs"]
mod generated;
#[path = "../it/pattern/naive.rs"]
mod naive;

use std::{
    process::ExitCode,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use generated::Source;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (minutes, seed) = match arguments.as_slice() {
        [] => (1, None),
        ["--minutes", minutes] => (minutes.parse().expect("minutes"), None),
        ["--seed", seed] => (0, Some(seed.parse().expect("a seed"))),
        _other => {
            eprintln!("usage: fuzz [--minutes N | --seed N]");
            return ExitCode::from(2);
        }
    };
    if let Some(seed) = seed {
        once(seed);
        return ExitCode::SUCCESS;
    }
    let until = Instant::now() + Duration::from_secs(60 * minutes);
    let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() << 32);
    let (mut rounds, mut matched, mut slowest) = (0_u64, 0, Duration::ZERO);
    while Instant::now() < until {
        let seed = first + rounds;
        let began = Instant::now();
        match std::panic::catch_unwind(|| once(seed)) {
            Ok(found) => matched += found,
            Err(_) => {
                eprintln!("failed: SEED={seed}; again with: tests/fuzz/run --seed {seed}");
                return ExitCode::FAILURE;
            }
        }
        slowest = slowest.max(began.elapsed());
        rounds += 1;
    }
    println!("{rounds} rounds from seed {first} on, {matched} matches, the slowest round {slowest:.1?}: all agree");
    ExitCode::SUCCESS
}

/// One round; every fourth takes its choices from bytes that run out.
fn once(seed: u64) -> usize {
    if !seed.is_multiple_of(4) {
        return agree::check(&mut Source::seeded(seed));
    }
    let mut source = Source::seeded(seed);
    let bytes: Vec<u8> = (0..source.below(400)).map(|_| u8::try_from(source.below(256)).expect("a byte")).collect();
    agree::check(&mut Source::of(&bytes))
}
