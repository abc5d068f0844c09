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
    /// Those that were put aside, by the time at which they are forgotten.
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
    }

    /// Puts those that are over aside.
    pub(super) fn settle(&mut self, pace: Pace) {
        let (all, over) = (&self.all, &mut self.over);
        self.open.retain(|place| {
            let Some(experiment) = all.get(place) else { return false };
            if !experiment.is_open() {
                over.extend(experiment.ended.map(|ended| (pace.after(ended, RETENTION), *place)));
            }
            experiment.is_open()
        });
    }

    /// Moves the time at which those that are over are forgotten.
    pub(super) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        let over = std::mem::take(&mut self.over);
        self.over = over.into_iter().map(|(at, place)| (old.moved(at, new, now), place)).collect();
    }

    /// Takes away one whose time is over, or of more than `most` the one whose time is over first.
    pub(super) fn forget(&mut self, most: usize, now: Timestamp) -> Option<Experiment> {
        let full = self.all.len() > most;
        let (_, place) = self.over.first().filter(|(at, _)| full || *at <= now).copied()?;
        self.over.pop_first();
        let experiment = self.all.remove(&place)?;
        self.places.remove(&experiment.id);
        Some(experiment)
    }
}
