//! Schedules that leave the configuration and are back in it, as with an older file: nothing starts late of what they would
//! have named meanwhile, and all of it is told.
//!
//! Of several replicas some go by the older file for long, and one of them may be the one that decides.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::Rules,
    plan::{Cursor, ScheduleKey},
};

use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{MINUTE_MS, experiment_name},
        },
        driven::world::{RELOAD_SPREAD_MS, World},
        judged::check::Evidence,
        simulated::tables::Durable,
    },
    support::chance::Chance,
};

/// Longest time until a configuration has reached a replica whose file is an old one, in milliseconds.
const OLD_FILE_MS: u64 = 20 * MINUTE_MS;

/// Draws when schedules leave and are put back in a world of so many milliseconds, with a chance of its own: in one of six
/// worlds.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(44) ^ !0);
    if !c.one_in(6) {
        return Vec::new();
    }
    let mut all = Vec::new();
    for _ in 0..c.between(1, 3) {
        let (at, experiment, is_whole) = (c.between(0, length_ms), c.between(0, 3), c.one_in(2));
        let longest = c.pick(&[1, 20, 90]);
        all.push((at, Happening::Leave { experiment, is_whole }));
        all.push((at + c.between(0, longest * MINUTE_MS), Happening::PutBack));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// An experiment has no schedules from now on, or is not in the configuration any more.
    pub fn leave(&mut self, experiment: u64, is_whole: bool) {
        let (name, mut rules) = (experiment_name(experiment), (**self.newest()).clone());
        let Some(declared) = rules.experiments.get_mut(&name) else { return };
        declared.schedules.clear();
        if is_whole {
            rules.experiments.remove(&name);
        }
        self.spread_out(rules);
    }

    /// The experiments are again those of the last configuration that had a schedule which the newest lacks.
    pub fn put_back(&mut self) {
        let newest = self.newest();
        let has = timetables(newest);
        let has_left = |rules: &Rules| !timetables(rules).is_subset(&has);
        let Some((_, before)) = self.history.iter().rev().find(|(_, rules)| has_left(rules)) else { return };
        let rules = Rules { experiments: before.experiments.clone(), ..(**newest).clone() };
        self.spread_out(rules);
    }

    /// Makes a configuration the newest, which may reach some replicas late.
    fn spread_out(&mut self, rules: Rules) {
        let within = self.nature.draw(|c| c.pick(&[RELOAD_SPREAD_MS, OLD_FILE_MS]));
        self.reload_within(rules, within);
    }
}

fn timetables(rules: &Rules) -> BTreeSet<ScheduleKey> {
    let schedules = rules.experiments.values().flat_map(|e| e.schedules.iter().map(move |schedule| (e, schedule)));
    schedules.map(|(e, schedule)| (e.name.clone(), schedule.timetable().clone())).collect()
}

/// Names how schedules came back that had left.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let how = |durable: &Durable| match durable {
        Durable::Opened { before: Some(Cursor { left_at: Some(_), .. }), .. } => Some("schedule is back past slots"),
        Durable::Adopted { before: Some(_), .. } => Some("schedule is back, and nothing was due"),
        _ => None,
    };
    evidence.world.store.with(|tables| tables.log.iter().filter_map(|(_, durable)| how(durable)).collect())
}
