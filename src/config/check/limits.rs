//! Checks of what bounds the runs of an experiment, and of groups.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    super::{
        path::KeyPath,
        raw::{RawGroup, RawOnFailure},
        sources::Completeness,
    },
    Check,
    values::{DAY, MINUTE},
};
use crate::domain::{
    experiment::{FIS_MAX_DURATION, Group, Limits, OnFailure, Overlap, Targets},
    ids::Name,
    words::did_you_mean,
};

/// Longest gap between two runs, and longest wait for a turn.
const MAX_WAIT: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What an experiment says of its limits.
pub(super) struct WrittenLimits {
    pub(super) queue_for: Option<String>,
    pub(super) min_gap: Option<String>,
    pub(super) groups: Vec<String>,
    pub(super) share_targets: Option<bool>,
    pub(super) on_failure: Option<RawOnFailure>,
}

impl Check<'_> {
    /// Checks all groups.
    pub(super) fn groups(&mut self, raw: BTreeMap<String, RawGroup>) -> BTreeMap<Name, Group> {
        let mut groups = BTreeMap::new();
        for (name, raw) in raw {
            let path = KeyPath::default().key("groups").key(&name);
            let zero = SignedDuration::ZERO;
            let min_gap = self.duration(&path.key("min_gap"), raw.min_gap, zero, zero..=MAX_WAIT);
            self.declared_groups.push(name.clone());
            if let Some(name) = self.name(&path, &name) {
                groups.insert(name, Group { min_gap });
            }
        }
        groups
    }

    /// Checks the limits of an experiment.
    pub(super) fn limits(&mut self, path: &KeyPath, overlap: Overlap, raw: WrittenLimits) -> Limits {
        let queues = matches!(overlap, Overlap::QueueOne | Overlap::QueueAll | Overlap::StopOther);
        if raw.queue_for.is_some() && !queues {
            let message = "has no effect: with this `overlap` no run waits for its turn".to_owned();
            self.warn(&path.key("queue_for"), message);
        }
        let zero = SignedDuration::ZERO;
        let queue_for = self.duration(&path.key("queue_for"), raw.queue_for, FIS_MAX_DURATION, MINUTE..=DAY * 7);
        let min_gap = self.duration(&path.key("min_gap"), raw.min_gap, zero, zero..=MAX_WAIT);
        if min_gap > zero && overlap == Overlap::Allow {
            let message = "`min_gap` and `overlap = \"allow\"` exclude each other".to_owned();
            let hint = "runs that overlap have no gap between them; remove one of the two".to_owned();
            self.problem(&path.key("min_gap"), message, Some(hint));
        }
        let mut groups = Vec::new();
        for (number, text) in raw.groups.iter().enumerate() {
            let path = path.key("groups").item(number);
            if self.completeness == Completeness::Complete && !self.declared_groups.contains(text) {
                let hint = did_you_mean(text, self.declared_groups.iter().map(String::as_str));
                let hint = hint.unwrap_or_else(|| format!("declare it: `[groups.{text}]`"));
                self.problem(&path, format!("there is no group `{text}`"), Some(hint));
            } else {
                groups.extend(self.name(&path, text));
            }
        }
        Limits {
            queue_for,
            min_gap,
            groups,
            targets: if raw.share_targets == Some(true) { Targets::Shared } else { Targets::Exclusive },
            on_failure: match raw.on_failure {
                None | Some(RawOnFailure::Continue) => OnFailure::Continue,
                Some(RawOnFailure::Pause) => OnFailure::Pause,
                Some(RawOnFailure::Classify) => OnFailure::Classify,
            },
        }
    }
}
