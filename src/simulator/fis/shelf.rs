//! The experiments: by id, in the order of their start, and those to which something still happens apart from the
//! thousands that are over.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::experiment::Experiment;
use crate::simulator::clock::Pace;

/// Experiments that have ended are kept so long (AWS FIS user guide, fis-quotas), in simulated time.
const RETENTION: SignedDuration = SignedDuration::from_hours(120 * 24);

/// All experiments that are kept.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    all: BTreeMap<u64, Experiment>,
    places: HashMap<String, u64>,
    /// Places of those to which something happened yet at the last [`settle`](Self::settle), and of all since.
    open: BTreeSet<u64>,
    /// Those that were put aside, by the time of their end.
    over: BTreeSet<(Timestamp, u64)>,
    next: u64,
}

impl Shelf {
    /// Adds an experiment.
    pub(super) fn push(&mut self, experiment: Experiment) {
        self.places.insert(experiment.id.clone(), self.next);
        self.open.insert(self.next);
        self.all.insert(self.next, experiment);
        self.next += 1;
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many were ever added.
    pub(super) fn number(&self) -> u64 {
        self.next
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

    /// Those to which something still happens by itself.
    pub(super) fn open(&self) -> impl Iterator<Item = &Experiment> {
        self.open.iter().filter_map(|place| self.all.get(place)).filter(|experiment| experiment.is_open())
    }

    /// Those that have not ended.
    pub(super) fn active(&self) -> impl Iterator<Item = &Experiment> {
        self.open().filter(|experiment| experiment.is_active())
    }

    /// Calls `change` on each to which something still happens by itself.
    pub(super) fn for_open(&mut self, mut change: impl FnMut(&mut Experiment)) {
        for place in &self.open {
            if let Some(experiment) = self.all.get_mut(place).filter(|experiment| experiment.is_open()) {
                change(experiment);
            }
        }
        self.settle();
    }

    /// Puts those that are over aside.
    fn settle(&mut self) {
        let (all, over) = (&self.all, &mut self.over);
        self.open.retain(|place| {
            let Some(experiment) = all.get(place) else { return false };
            if !experiment.is_open() {
                over.extend(experiment.ended.map(|ended| (ended, *place)));
            }
            experiment.is_open()
        });
    }

    /// Takes away those whose time is over.
    pub(super) fn outdated(&mut self, pace: Pace, now: Timestamp) -> Vec<Experiment> {
        let mut gone = Vec::new();
        while let Some((_, place)) =
            self.over.first().filter(|(ended, _)| pace.after(*ended, RETENTION) <= now).copied()
        {
            self.over.pop_first();
            if let Some(experiment) = self.all.remove(&place) {
                self.places.remove(&experiment.id);
                gone.push(experiment);
            }
        }
        gone
    }

    /// Takes the oldest one away if `useless` says so.
    pub(super) fn pop_oldest_if(&mut self, useless: impl FnOnce(&Experiment) -> bool) -> Option<Experiment> {
        let oldest = self.all.first_entry().filter(|oldest| useless(oldest.get()))?;
        let (place, experiment) = oldest.remove_entry();
        self.open.remove(&place);
        if let Some(ended) = experiment.ended {
            self.over.remove(&(ended, place));
        }
        self.places.remove(&experiment.id);
        Some(experiment)
    }
}
