//! Strays in a world: whoever decides asks FIS what goes on and reads the rows after it, and anything may happen between the
//! two.
//!
//! Which are strays the domain says. Whether they are is judged by the journal and by how it ended: what a run watched to its
//! end was none, and what goes on without an open run that asked for it was one.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Place,
    ids::{EXPERIMENT_TAG, RUN_TAG, RunId},
    outcome::Outcome,
    run::{Observation, Run},
    stray::{self, Tags, is_stray},
};

use super::{places::are_one, unread::Row};
use crate::{
    sim::{
        drawn::{happening::Happening, scenario::MINUTE_MS},
        driven::world::World,
        judged::check::Evidence,
        planted::Bug,
    },
    support::chance::Chance,
};

/// Time between two looks, in milliseconds.
const EVERY_MS: u64 = MINUTE_MS;

/// Longest time from the question to FIS until the rows are read, in milliseconds.
const LISTING_MS: u64 = MINUTE_MS;

/// What FIS told of what goes on, by id.
#[derive(Debug, Clone)]
pub struct Listed {
    by_id: Vec<(String, Tags)>,
    /// Planted: the rows as they were before.
    before: Option<BTreeMap<RunId, Run>>,
}

/// What was made of an experiment at a true time, in milliseconds.
#[derive(Debug)]
pub struct Seen {
    at: u64,
    fis_id: String,
    run: RunId,
    is_named: bool,
}

/// When FIS is asked in a world of so many milliseconds.
pub fn happenings(seed: u64, length_ms: u64) -> impl Iterator<Item = (u64, Happening)> {
    (seed * 7_919 % EVERY_MS..length_ms).step_by(EVERY_MS as usize).map(|at| (at, Happening::AskForStrays))
}

impl World {
    /// What FIS tells of each place that is configured: also of what it denied before.
    pub fn listed(&self) -> Listed {
        let (now, rules) = (self.nature.elapsed(), self.newest());
        let is_asked_for = |place: &Place| rules.experiments.values().any(|declared| are_one(&declared.place, place));
        let by_id = self.fis.with(|state| {
            let active = state.experiments.iter().filter(|e| e.listed_at <= now && !e.has_ended(now));
            let told = active.filter(|e| is_asked_for(&e.place)).map(|e| {
                let experiment = e.request.tags.get(EXPERIMENT_TAG).cloned();
                (e.id.clone(), Tags { run: e.request.tags.get(RUN_TAG).map(|run| RunId::from_text(run)), experiment })
            });
            told.collect()
        });
        let is_too_early = self.nature.bug() == Bug::StrayRowsReadFirst;
        let before = is_too_early.then(|| self.store.with(|tables| tables.runs.clone()));
        Listed { by_id, before }
    }

    /// Asks FIS, and reads the rows some time later.
    pub fn ask_for_strays(&mut self) {
        let now = self.nature.elapsed();
        let takes = Chance::new(now).between(0, LISTING_MS);
        let listed = self.listed();
        self.schedule(now + takes, Happening::NameStrays(listed));
    }

    /// Reads the row of each experiment that FIS told of, and notes which are strays.
    pub fn name_strays(&mut self, listed: &Listed) {
        let (at, bug, rules) = (self.nature.elapsed(), self.nature.bug(), self.newest().clone());
        for (fis_id, tags) in &listed.by_id {
            let Some((run, _)) = stray::named(tags.clone(), &rules) else { continue };
            let read = self.store.with(|tables| {
                let rows = listed.before.as_ref().unwrap_or(&tables.runs);
                tables.unread(&Row::Run(run.clone()), at).map(|()| rows.get(&run).cloned())
            });
            // There is one, which cannot be read.
            let Ok(row) = read else { continue };
            let row = row.filter(|row| bug != Bug::StrayOwnerForgotten || !row.is_over());
            let is_named = is_stray(fis_id, row.as_ref()) && (bug != Bug::StrayWithoutRowUntold || row.is_some());
            self.met.extend(match row.is_some_and(|row| row.is_over()) {
                true if is_named => Some("stray of a run that was given up"),
                true => Some("ended while strays were looked for"),
                false => is_named.then_some("stray after a restore"),
            });
            self.nature.say(|| format!("{fis_id} of {run} is a stray: {is_named}"));
            self.seen.push(Seen { at, fis_id: fis_id.clone(), run, is_named });
        }
    }
}

/// Checks that nothing was named that a run looked after, and that all was that goes on without one.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let goes_on = |seen: &Seen| {
        let is_it = |fis_id: &str| fis_id == seen.fis_id;
        evidence.world.fis.with(|state| state.experiments.iter().any(|e| is_it(&e.id) && !e.has_ended(seen.at)))
    };
    for seen in &evidence.world.seen {
        let Seen { at, fis_id, run, is_named } = seen;
        let entries = evidence.journal.get(run).into_iter().flatten();
        let so_far: Vec<&Observation> = entries.filter(|(ms, ..)| ms <= at).map(|(.., told)| told).collect();
        let is_asked = so_far.iter().any(|told| matches!(told, Observation::StartAsked { .. }));
        let end =
            so_far.last().filter(|told| matches!(told, Observation::Finished { .. } | Observation::Skipped { .. }));
        let is_given_up = matches!(end, Some(Observation::Finished { outcome: Outcome::Lost { .. } }));
        let watched = evidence.runs.get(run).and_then(|run| run.fis.as_ref()).is_some_and(|fis| fis.id == *fis_id);
        if *is_named && is_asked && watched && !is_given_up {
            found.push(format!("owned: {run} looks after {fis_id}, which is named a stray at {at} ms"));
        }
        if !is_named && (!is_asked || end.is_some()) && goes_on(seen) {
            found.push(format!("stray: {fis_id} goes on at {at} ms, no run watches it, and nobody names it"));
        }
    }
}
