//! Checks of what is demanded of templates.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{
    super::{
        path::KeyPath,
        raw::{RawOwnPolicy, RawPolicy},
    },
    Check,
    values::SECOND,
};
use crate::domain::{
    experiment::FIS_MAX_DURATION,
    policy::{Demand, TemplatePolicy},
};

/// Tag by which templates opt in when nothing else is said; `deploy/iam-policy.json` asks for the same one.
const OPT_IN_TAG: (&str, &str) = ("firedrill", "allowed");

/// What holds for all experiments.
pub(super) struct Policy {
    /// What is demanded of their templates.
    pub(super) template: TemplatePolicy,
    /// How long a run may take at most.
    pub(super) max_duration: SignedDuration,
}

impl Check<'_> {
    /// Checks what is demanded of all templates, and how long any run may take.
    pub(super) fn policy(&mut self, raw: RawPolicy) -> Policy {
        let (key, value) = OPT_IN_TAG;
        let path = KeyPath::default().key("policy").key("max_duration");
        let max_duration = self.duration(&path, raw.max_duration, FIS_MAX_DURATION, SECOND..=FIS_MAX_DURATION);
        let template = TemplatePolicy {
            stop_condition: demand(raw.require_stop_condition.unwrap_or(true)),
            bounded_targets: demand(!raw.allow_all_targets.unwrap_or(false)),
            tags: raw.require_tags.unwrap_or_else(|| BTreeMap::from([(key.to_owned(), value.to_owned())])),
            exception: None,
        };
        Policy { template, max_duration }
    }

    /// Checks what is demanded of one template: as of `all`, where nothing else is said. Less than that needs a reason.
    pub(super) fn own_policy(&mut self, path: &KeyPath, raw: RawOwnPolicy, all: &TemplatePolicy) -> TemplatePolicy {
        let own = TemplatePolicy {
            stop_condition: raw.require_stop_condition.map_or(all.stop_condition, demand),
            bounded_targets: raw.allow_all_targets.map_or(all.bounded_targets, |allowed| demand(!allowed)),
            tags: raw.require_tags.unwrap_or_else(|| all.tags.clone()),
            exception: None,
        };
        let reason = raw.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        match (own.is_looser_than(all), reason) {
            (true, None) => {
                let hint = "say why, for whoever asks later: `reason = \"…\"`".to_owned();
                let message = "demands less than `policy` does of all, without a reason".to_owned();
                self.problem(&path.key("reason"), message, Some(hint));
            }
            (false, None) if raw.reason.is_none() => {}
            (false, _) => {
                self.warn(&path.key("reason"), "has no effect: nothing less is demanded than of all".to_owned());
            }
            (true, Some(_)) => {}
        }
        TemplatePolicy { exception: reason.filter(|_| own.is_looser_than(all)).map(str::to_owned), ..own }
    }
}

fn demand(required: bool) -> Demand {
    if required { Demand::Required } else { Demand::Waived }
}
