//! Checks of experiments. Their triggers are checked in `triggers`.

use std::collections::BTreeMap;

use super::{
    super::{
        path::KeyPath,
        raw::{RawEstimate, RawExperiment, RawOverlap, RawPlace},
    },
    Check,
    limits::WrittenLimits,
    policy::Policy,
    values::SECOND,
};
use crate::domain::{
    deployment::{MAX_TAG_VALUE, PLACEHOLDERS},
    experiment::{EstimateKind, Experiment, Labels, Overlap, Place, TemplateSelector},
    ids::ExperimentName,
    place::PlaceLimits,
};

/// Longest key of a tag, in characters (AWS general reference, tag naming limits).
const MAX_TAG_KEY: usize = 128;

impl Check<'_> {
    /// Checks all experiments.
    pub(super) fn experiments(
        &mut self,
        raw: BTreeMap<String, RawExperiment>,
        aws: &Place,
        policy: &Policy,
        limits: &PlaceLimits,
    ) -> BTreeMap<ExperimentName, Experiment> {
        raw.into_iter()
            .filter_map(|(name, raw)| {
                let experiment = self.experiment(&name, raw, aws, policy)?;
                self.allows(&KeyPath::default().key("experiments").key(&name), &experiment, limits);
                Some((experiment.name.clone(), experiment))
            })
            .collect()
    }

    fn experiment(&mut self, name: &str, raw: RawExperiment, aws: &Place, policy: &Policy) -> Option<Experiment> {
        let path = KeyPath::default().key("experiments").key(name);
        let checked_name = self.name(&path, name);
        let template = self.template(&path, raw.template, raw.template_tags);
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let place = self.place(&path, place, aws);
        let longest = policy.max_duration;
        let max_duration = self.duration(&path.key("max_duration"), raw.max_duration, longest, SECOND..=longest);
        self.tags(&path.key("tags"), &raw.tags);
        let environment = raw.environment.and_then(|name| self.name(&path.key("environment"), &name));
        let account = raw.account.and_then(|account| self.account(&path.key("account"), account));
        let overlap = match raw.overlap {
            None | Some(RawOverlap::Skip) => Overlap::Skip,
            Some(RawOverlap::QueueOne) => Overlap::QueueOne,
            Some(RawOverlap::QueueAll) => Overlap::QueueAll,
            Some(RawOverlap::StopOther) => Overlap::StopOther,
            Some(RawOverlap::Allow) => Overlap::Allow,
        };
        let written = WrittenLimits {
            queue_for: raw.queue_for,
            min_gap: raw.min_gap,
            groups: raw.groups,
            share_targets: raw.share_targets,
            on_failure: raw.on_failure,
        };
        let limits = self.limits(&path, overlap, written);
        let health = self.health(&path.key("health"), raw.health);
        let policy = self.own_policy(&path.key("policy"), raw.policy, &policy.template);
        let schedules = self.schedules(&path.key("schedules"), name, overlap, raw.schedules);
        let triggers = raw.triggers.into_iter().enumerate();
        let triggers = triggers.filter_map(|(n, raw)| self.trigger(&path.key("triggers").item(n), raw)).collect();
        Some(Experiment {
            // Without a name nothing is used, but everything is still to be checked.
            name: checked_name?,
            template: template?,
            tags: raw.tags,
            environment: environment.map(|name| name.to_string()),
            account: account.or_else(|| place.account()),
            labels: Labels::Known,
            place,
            overlap,
            limits,
            policy,
            health,
            max_duration,
            estimate: match raw.estimate {
                None | Some(RawEstimate::Ceiling) => EstimateKind::Ceiling,
                Some(RawEstimate::Nominal) => EstimateKind::Nominal,
                Some(RawEstimate::Learned) => EstimateKind::Learned,
            },
            schedules,
            triggers,
        })
    }

    /// Refuses tags that AWS would refuse, or that are ours.
    fn tags(&mut self, path: &KeyPath, tags: &BTreeMap<String, String>) {
        for (key, value) in tags {
            let reserved = ["aws:", "firedrill:"].into_iter().find(|prefix| key.to_lowercase().starts_with(prefix));
            if let Some(prefix) = reserved {
                self.problem(&path.key(key), format!("tag keys that begin with `{prefix}` are reserved"), None);
            }
            let rest = PLACEHOLDERS.iter().fold(value.clone(), |rest, placeholder| rest.replace(placeholder, ""));
            if rest.contains(['{', '}']) {
                let hint = format!("what is filled in is {}", PLACEHOLDERS.join(", "));
                self.problem(&path.key(key), format!("`{value}` holds a brace that stands for nothing"), Some(hint));
            }
            let (key_length, value_length) = (key.chars().count(), value.chars().count());
            if key_length == 0 || key_length > MAX_TAG_KEY || value_length > MAX_TAG_VALUE {
                let message =
                    format!("a tag has a key of 1 to {MAX_TAG_KEY} and a value of up to {MAX_TAG_VALUE} characters");
                self.problem(&path.key(key), message, None);
            }
        }
    }

    fn template(
        &mut self,
        path: &KeyPath,
        id: Option<String>,
        tags: Option<BTreeMap<String, String>>,
    ) -> Option<TemplateSelector> {
        match (id, tags) {
            (Some(id), None) => {
                let serial = id.strip_prefix("EXT").unwrap_or_default();
                if serial.is_empty() || !serial.bytes().all(|b| b.is_ascii_alphanumeric()) {
                    let hint = "it begins with `EXT`; to select by tags use `template_tags`".to_owned();
                    self.problem(&path.key("template"), format!("`{id}` is not a FIS template id"), Some(hint));
                }
                Some(TemplateSelector::Id(id))
            }
            (None, Some(tags)) => {
                if tags.is_empty() {
                    self.problem(&path.key("template_tags"), "holds no tag, so it selects nothing".to_owned(), None);
                }
                Some(TemplateSelector::Tags(tags))
            }
            (Some(_), Some(_)) => {
                let message = "`template` and `template_tags` exclude each other".to_owned();
                self.problem(&path.key("template_tags"), message, Some("remove one of them".to_owned()));
                None
            }
            (None, None) => {
                let hint = "name the FIS template: `template = \"EXT…\"` or `template_tags = { … }`".to_owned();
                if !self.spoiled.contains(&path.key("template_tags")) {
                    self.problem(&path.key("template"), "is missing".to_owned(), Some(hint));
                }
                None
            }
        }
    }
}
