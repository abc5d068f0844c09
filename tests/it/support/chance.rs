//! Chance: the one source of surprise in a simulated world, a splitmix64 generator.
//!
//! Everything that happens is drawn from it in one order, so that a seed names a world. Properties draw from a seed too.

use proptest::test_runner::{Config, RngSeed};

/// A seeded generator.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Draws from `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    /// Draws true once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.next().is_multiple_of(times)
    }

    /// Draws true so many times in a thousand.
    pub fn permille(&mut self, rate: u64) -> bool {
        rate > 0 && self.next() % 1_000 < rate
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.next() % of.len() as u64).expect("an index")]
    }
}

/// Configures a property: so many cases, the same ones in every run, since a test that fails by chance only teaches people
/// to run it again. `FIREDRILL_SEED` draws others, `FIREDRILL_CASES` so many times as many (`tests/soak` does both).
pub fn cases(cases: u32) -> Config {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")));
    let times: u64 = number("FIREDRILL_CASES").unwrap_or(1);
    Config {
        cases: cases.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX)),
        rng_seed: RngSeed::Fixed(number("FIREDRILL_SEED").unwrap_or_default()),
        failure_persistence: None,
        max_global_rejects: u32::MAX,
        ..Config::default()
    }
}
