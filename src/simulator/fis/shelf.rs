//! The experiments: by id, in the order of their start, and those that are active apart from the thousands that ended.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::experiment::Experiment;

/// All experiments that are kept.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    all: BTreeMap<u64, Experiment>,
    places: HashMap<String, u64>,
    /// Places of those that were active at the last [`settle`](Self::settle), and of all since.
    active: BTreeSet<u64>,
    next: u64,
}

impl Shelf {
    /// Adds an experiment.
    pub(super) fn push(&mut self, experiment: Experiment) {
        self.places.insert(experiment.id.clone(), self.next);
        self.active.insert(self.next);
        self.all.insert(self.next, experiment);
        self.next += 1;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// The experiment with an id.
    pub(super) fn get(&self, id: &str) -> Option<&Experiment> {
        self.all.get(self.places.get(id)?)
    }

    /// The experiment with an id, to be changed.
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut Experiment> {
        self.all.get_mut(self.places.get(id)?)
    }

    /// All, in the order of their start.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Experiment> {
        self.all.values()
    }

    /// Those that have not ended.
    pub(super) fn active(&self) -> impl Iterator<Item = &Experiment> {
        self.active.iter().filter_map(|place| self.all.get(place)).filter(|experiment| experiment.is_active())
    }

    /// Calls `change` on each that has not ended.
    pub(super) fn for_active(&mut self, mut change: impl FnMut(&mut Experiment)) {
        for place in &self.active {
            if let Some(experiment) = self.all.get_mut(place).filter(|experiment| experiment.is_active()) {
                change(experiment);
            }
        }
        self.settle();
    }

    /// Puts those that have ended aside.
    fn settle(&mut self) {
        let all = &self.all;
        self.active.retain(|place| all.get(place).is_some_and(Experiment::is_active));
    }

    /// Takes the oldest one away if `useless` says so.
    pub(super) fn pop_oldest_if(&mut self, useless: impl FnOnce(&Experiment) -> bool) -> Option<Experiment> {
        let oldest = self.all.first_entry().filter(|oldest| useless(oldest.get()))?;
        let (place, experiment) = oldest.remove_entry();
        self.active.remove(&place);
        self.places.remove(&experiment.id);
        Some(experiment)
    }
}
