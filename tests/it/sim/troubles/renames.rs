//! Experiments that are renamed while a run of them goes on: what may not meet it still may not.

use firedrill::domain::{
    experiment::{Experiment, Rules},
    run::{Observation, Run, WindowRule},
};

use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{MINUTE_MS, SECOND_MS, experiment_name, name},
        },
        driven::world::World,
        judged::check::Evidence,
    },
    support::chance::Chance,
};

/// The first numbers of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 400;

/// How many experiments a configuration has at most; one that is renamed has a number so much higher.
const MOST: u64 = 4;

/// Draws what is renamed in a world of so many milliseconds, with a chance of its own: in one of six worlds. In half of those
/// all experiments are of one group.
pub fn happenings(seed: u64, length_ms: u64, rules: &mut Rules) -> Vec<(u64, Happening)> {
    let mut c = Chance::new(seed.rotate_left(56) ^ !0);
    if !c.one_in(6) {
        return Vec::new();
    }
    if c.one_in(2) {
        rules.experiments.values_mut().for_each(|experiment| experiment.limits.groups = vec![name("db")]);
    }
    let mut all = Vec::new();
    for request in (FIRST_REQUEST..).step_by(10).take(4) {
        let (at, experiment) = (c.between(0, length_ms), c.between(0, MOST - 1));
        all.push((at, Happening::Rename { experiment }));
        // It begins shortly before, and it and others are to begin shortly after.
        let by_hand = |n: u64, experiment: u64| Happening::StartByHand {
            request: request + n,
            experiment,
            windows: WindowRule::Overridden,
        };
        all.push((at.saturating_sub(c.between(SECOND_MS, MINUTE_MS)), by_hand(0, experiment)));
        let others = [experiment + MOST, (experiment + 1) % MOST, (experiment + 2) % MOST];
        all.extend((1..).zip(others).map(|(n, other)| (at + c.between(0, MINUTE_MS), by_hand(n, other))));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    /// An experiment has another name from now on, and no schedules.
    pub fn rename(&mut self, experiment: u64) {
        let (before, after) = (experiment_name(experiment), experiment_name(experiment + MOST));
        let mut rules = (**self.newest()).clone();
        let Some(renamed) = rules.experiments.remove(&before) else { return };
        rules.experiments.insert(after.clone(), Experiment { name: after, schedules: Vec::new(), ..renamed });
        let goes_on = |run: &Run| run.experiment == before && run.may_be_running();
        if self.store.with(|tables| tables.runs.values().any(goes_on)) {
            self.met.insert("renamed while it runs");
        }
        self.reload(rules);
    }
}

impl Evidence<'_> {
    /// What a run may have been begun under: its experiment as it was declared when its start was asked for, by whatever some
    /// replica had then.
    pub fn begun_under(&self, run: &Run) -> Vec<&Experiment> {
        let asked = self.asked(run).into_iter().flat_map(|ms| self.rules_about(ms));
        asked.filter_map(|rules| rules.experiments.get(&run.experiment)).collect()
    }

    /// When a start of a run was asked for.
    pub fn asked(&self, run: &Run) -> Vec<u64> {
        let entries = self.journal.get(&run.id).into_iter().flatten();
        entries.filter(|(.., seen)| matches!(seen, Observation::StartAsked { .. })).map(|(ms, ..)| *ms).collect()
    }
}
