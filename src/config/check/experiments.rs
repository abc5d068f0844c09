//! Checks of experiments, their schedules and their triggers.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, tz::TimeZone};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    super::{
        path::KeyPath,
        raw::{RawEstimate, RawExperiment, RawMissed, RawOverlap, RawPlace, RawSchedule, RawTrigger},
    },
    Check,
    limits::WrittenLimits,
    values::{DAY, MINUTE, SECOND},
};
use crate::domain::{
    experiment::{EstimateKind, EventTrigger, Experiment, FIS_MAX_DURATION, Overlap, Place, TemplateSelector},
    ids::{ExperimentName, Name},
    pattern::Pattern,
    schedule::{Bounds, CronError, CronSchedule, MissedPolicy, Schedule, Timing},
    words::did_you_mean,
};

/// Names in cron expressions, for hints.
const NAMES: [&str; 19] = [
    "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP",
    "OCT", "NOV", "DEC",
];

/// Longest key and value of a tag, in characters (AWS general reference, tag naming limits).
const MAX_TAG: (usize, usize) = (128, 256);

/// Bytes of the digest in the name of a schedule that has none of its own.
const DERIVED_NAME_BYTES: usize = 4;

/// How long after its slot or event a run may still start when nothing is said.
const DEFAULT_START_DEADLINE: SignedDuration = SignedDuration::from_mins(10);

/// Most that a run may be late, or wait for a blackout to lift.
const MAX_DELAY: SignedDuration = SignedDuration::from_hours(7 * 24);

impl Check<'_> {
    /// Checks all experiments.
    pub fn experiments(
        &mut self,
        raw: BTreeMap<String, RawExperiment>,
        aws: &Place,
    ) -> BTreeMap<ExperimentName, Experiment> {
        raw.into_iter()
            .filter_map(|(name, raw)| {
                let experiment = self.experiment(&name, raw, aws)?;
                Some((experiment.name.clone(), experiment))
            })
            .collect()
    }

    fn experiment(&mut self, name: &str, raw: RawExperiment, aws: &Place) -> Option<Experiment> {
        let path = KeyPath::default().key("experiments").key(name);
        let checked_name = self.name(&path, name);
        let template = self.template(&path, raw.template, raw.template_tags);
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let place = self.place(&path, place, aws);
        let limits = SECOND..=FIS_MAX_DURATION;
        let max_duration = self.duration(&path.key("max_duration"), raw.max_duration, FIS_MAX_DURATION, limits);
        self.tags(&path.key("tags"), &raw.tags);
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
        let schedules = self.schedules(&path.key("schedules"), name, raw.schedules);
        let triggers = raw.triggers.into_iter().enumerate();
        let triggers = triggers.filter_map(|(n, raw)| self.trigger(&path.key("triggers").item(n), raw)).collect();
        Some(Experiment {
            // Without a name nothing is used, but everything is still to be checked.
            name: checked_name?,
            template: template?,
            place,
            tags: raw.tags,
            environment: None,
            account: None,
            overlap,
            limits,
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
            let (key_length, value_length) = (key.chars().count(), value.chars().count());
            if key_length == 0 || key_length > MAX_TAG.0 || value_length > MAX_TAG.1 {
                let message =
                    format!("a tag has a key of 1 to {} and a value of up to {} characters", MAX_TAG.0, MAX_TAG.1);
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

    fn schedules(&mut self, path: &KeyPath, experiment: &str, raw: Vec<RawSchedule>) -> Vec<Schedule> {
        let mut names: BTreeSet<Name> = BTreeSet::new();
        let mut schedules = Vec::new();
        for (number, raw) in raw.into_iter().enumerate() {
            let path = path.item(number);
            let Some(schedule) = self.schedule(&path, experiment, raw) else { continue };
            if names.insert(schedule.name().clone()) {
                schedules.push(schedule);
            } else {
                let message = format!("a schedule named `{}` stands before it in this experiment", schedule.name());
                let hint = "give each its own `name`; without one it is made of `cron` and `timezone`".to_owned();
                self.problem(&path, message, Some(hint));
            }
        }
        schedules
    }

    fn schedule(&mut self, path: &KeyPath, experiment: &str, raw: RawSchedule) -> Option<Schedule> {
        let zone_name = raw.timezone.clone().unwrap_or_else(|| "UTC".to_owned());
        let zone = self.zone(&path.key("timezone"), raw.timezone);
        let expression = self.required(&path.key("cron"), raw.cron);
        let given = raw.name.map(|name| self.name(&path.key("name"), &name));
        let deadline = path.key("start_deadline");
        let start_deadline = self.duration(&deadline, raw.start_deadline, DEFAULT_START_DEADLINE, SECOND..=MAX_DELAY);
        let expression = expression?;
        // A mistake in the zone does not hide one in the expression.
        let name = match given {
            Some(name) => name?,
            None => self.name(path, &derived_name(&expression, &zone_name))?,
        };
        let zone_or_utc = zone.clone().unwrap_or(TimeZone::UTC);
        let cron = self.cron(&path.key("cron"), &expression, zone_or_utc, &format!("{experiment} {name}"))?;
        let missed = match raw.missed {
            None | Some(RawMissed::Latest) => MissedPolicy::Latest,
            Some(RawMissed::Skip) => MissedPolicy::Skip,
        };
        // An experiment whose name is none is refused elsewhere.
        let experiment = Name::parse(experiment).ok()?;
        let mut schedule = Schedule::new(&experiment, name, Timing::Cron(cron), Bounds::default());
        (schedule.missed, schedule.start_deadline) = (missed, start_deadline);
        zone.map(|_| schedule)
    }

    fn cron(&mut self, path: &KeyPath, expression: &str, zone: TimeZone, seed: &str) -> Option<CronSchedule> {
        match CronSchedule::parse(expression, zone, seed) {
            Ok(cron) => {
                if cron.has_two_day_fields() {
                    let message = format!("`{expression}` sets day of month and day of week: either may match");
                    self.warn(path, message);
                }
                Some(cron)
            }
            Err(error) => {
                let known = ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"];
                let hint = match &error {
                    CronError::Macro { name } => did_you_mean(name, known),
                    CronError::Field { text, .. } => {
                        let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 2);
                        words.filter_map(|word| did_you_mean(word, NAMES)).next()
                    }
                    CronError::FieldCount { .. } => {
                        Some("minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`".to_owned())
                    }
                    _ => None,
                };
                self.problem(path, error.to_string(), hint);
                None
            }
        }
    }

    fn trigger(&mut self, path: &KeyPath, raw: RawTrigger) -> Option<EventTrigger> {
        let zero = SignedDuration::ZERO;
        let settle = self.duration(&path.key("settle"), raw.settle, zero, zero..=DAY);
        let hold_for = self.duration(&path.key("hold_for"), raw.hold_for, zero, zero..=MAX_DELAY);
        let deadline = path.key("start_deadline");
        let start_deadline = self.duration(&deadline, raw.start_deadline, MINUTE * 10, SECOND..=MAX_DELAY);
        let pattern = self.required(&path.key("pattern"), raw.pattern)?;
        let pattern = self.pattern(&path.key("pattern"), pattern)?;
        Some(EventTrigger { pattern, settle, hold_for, start_deadline })
    }

    fn pattern(&mut self, path: &KeyPath, value: Value) -> Option<Pattern> {
        let value = match value {
            Value::String(text) => match serde_json::from_str(&text) {
                Ok(value) => value,
                Err(error) => {
                    self.problem(path, format!("is not JSON: {error}"), None);
                    return None;
                }
            },
            value => value,
        };
        let parsed = Pattern::parse(&value);
        parsed.map_err(|error| self.problem(&path.below(&error.path), error.message, None)).ok()
    }
}

/// Makes a name that stays as long as expression and zone do.
fn derived_name(expression: &str, zone: &str) -> String {
    use std::fmt::Write;
    let digest = Sha256::digest(format!("{expression}\n{zone}"));
    digest.iter().take(DERIVED_NAME_BYTES).fold("cron-".to_owned(), |mut name, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(name, "{byte:02x}");
        name
    })
}
