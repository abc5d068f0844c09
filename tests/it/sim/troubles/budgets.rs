//! Months with little left to spend, in which several want to begin at once: only as many may as the budget pays for together.

use firedrill::domain::{
    cost::{Budget, OnExceeded, Usd},
    experiment::Rules,
    run::WindowRule,
};

use crate::{
    sim::drawn::{
        happening::Happening,
        scenario::{MINUTE_MS, SECOND_MS},
    },
    support::chance::Chance,
};

/// The first number of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 800;

/// What a month may cost, in cents: one run costs 10 to 100.
const MONTHLY_CENTS: [u32; 3] = [60, 110, 160];

/// Draws who wants to begin, and when, in a world of so many milliseconds, with a chance of its own: in one of ten worlds.
pub fn happenings(seed: u64, length_ms: u64, rules: &mut Rules) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(20) ^ !0);
    if !c.one_in(10) {
        return Vec::new();
    }
    let monthly = Some(Usd::from_cents(c.pick(&MONTHLY_CENTS)));
    rules.budget = Budget { monthly, price_per_action_minute: None, on_exceeded: OnExceeded::Refuse };
    let mut all = Vec::new();
    for request in (FIRST_REQUEST..).step_by(10).take(3) {
        let (at, within) = (c.between(0, length_ms), c.pick(&[0, SECOND_MS, MINUTE_MS]));
        for experiment in 0..4 {
            let (request, windows) = (request + experiment, WindowRule::Overridden);
            all.push((at + c.between(0, within), Happening::StartByHand { request, experiment, windows }));
        }
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}
