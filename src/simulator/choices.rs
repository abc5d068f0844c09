//! The simulator's choices where AWS's documents are silent, each with a switch.
//!
//! A client must survive either side of each. `--choice NAME=VALUE` sets one at the start, `PATCH /_simulator/choices`
//! while it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::words::did_you_mean;

/// All choices. The defaults are the stricter or the observed side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Choices {
    /// StopExperiment on an experiment that has ended.
    pub stop_of_ended: StopOfEnded,
    /// A template that names an action which does not exist.
    pub unknown_action: UnknownAction,
    /// Declared seconds from acceptance to the resolution of targets, at most those to `running`; 2 s are seen.
    pub resolving_seconds: u32,
    /// Declared seconds from acceptance to `running`; about 10 s are seen.
    pub initiating_seconds: u32,
    /// Declared seconds from a stop to `stopped`, without post actions; up to 29 s are seen.
    pub stopping_seconds: u32,
    /// Whether `cancelled` is told on the event bus; the guide does not list it.
    pub cancelled_event: Told,
    /// COUNT(n) above the number of resources found.
    pub count_above_found: CountAboveFound,
    /// A target by ARNs of which some are not found.
    pub some_arns_missing: SomeArnsMissing,
    /// What an experiment becomes after 12 hours.
    pub at_twelve_hours: AtTwelveHours,
    /// An alarm of a stop condition that has no data when an experiment starts.
    pub alarm_without_data: SilentAlarm,
    /// An alarm of a stop condition that does not exist when an experiment starts.
    pub missing_alarm: SilentAlarm,
    /// An alarm of a stop condition that is in ALARM when an experiment starts.
    pub alarm_at_start: AlarmAtStart,
}

/// Answer to StopExperiment on an experiment that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopOfEnded {
    /// 400 `ValidationException`.
    Refuse,
    /// 200 with the experiment as it is.
    Answer,
}

/// Answer to a template that names an action which does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UnknownAction {
    /// 400 `ValidationException`, as for all else that is wrong with a template.
    Invalid,
    /// 404 `ResourceNotFoundException`, which the model names for CreateExperimentTemplate.
    Missing,
}

/// Whether something is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Told {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// What COUNT(n) selects when fewer than n are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CountAboveFound {
    /// All that are found.
    TakeAll,
    /// Nothing, as if none were found.
    TakeNone,
}

/// What a target by ARNs takes when some are not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SomeArnsMissing {
    /// Nothing, as if none were found.
    TakeNone,
    /// Those that are found.
    TakeFound,
}

/// What becomes of an experiment after 12 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AtTwelveHours {
    /// It is stopped, by way of `stopping`.
    Stopped,
    /// It fails.
    Failed,
}

/// What an alarm that tells nothing means to a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SilentAlarm {
    /// Nothing.
    Ignore,
    /// The experiment fails, as one user reports.
    Fail,
}

/// What an alarm in `ALARM` means to a start; no action begins either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmAtStart {
    /// The experiment is stopped, as it would be later.
    Stop,
    /// It fails.
    Fail,
}

impl Default for Choices {
    fn default() -> Self {
        Self {
            stop_of_ended: StopOfEnded::Refuse,
            unknown_action: UnknownAction::Invalid,
            resolving_seconds: 2,
            initiating_seconds: 10,
            stopping_seconds: 5,
            cancelled_event: Told::No,
            count_above_found: CountAboveFound::TakeAll,
            some_arns_missing: SomeArnsMissing::TakeNone,
            at_twelve_hours: AtTwelveHours::Stopped,
            alarm_without_data: SilentAlarm::Ignore,
            missing_alarm: SilentAlarm::Fail,
            alarm_at_start: AlarmAtStart::Stop,
        }
    }
}

impl Choices {
    /// Two lines for each choice: its name, its default and what else it can be, and what it is about.
    pub fn described() -> String {
        let schema = schemars::schema_for!(Choices).to_value();
        let defaults = json!(Self::default());
        let mut text = String::new();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let default = defaults[name].as_str().map_or_else(|| defaults[name].to_string(), str::to_owned);
            let definition = property["$ref"].as_str().and_then(|path| schema.pointer(path.trim_start_matches('#')));
            let variants = definition.and_then(|definition| definition["oneOf"].as_array()).into_iter().flatten();
            let others = variants.filter_map(|variant| variant["const"].as_str()).filter(|value| *value != default);
            let values: Vec<&str> = std::iter::once(default.as_str()).chain(others).collect();
            let about = property["description"].as_str().unwrap_or_default();
            text.push_str(&format!("  {name}={}\n      {about}\n", values.join("|")));
        }
        text
    }

    /// The same with one choice set by its name.
    ///
    /// # Errors
    /// Says which name or value is unknown, and which name may be meant.
    pub fn with(&self, name: &str, value: Value) -> Result<Self, String> {
        let mut all = json!(self);
        let Some(place) = all.get_mut(name) else {
            let names = all.as_object().into_iter().flat_map(|all| all.keys());
            let hint = did_you_mean(name, names.map(String::as_str)).map(|hint| format!("; {hint}"));
            return Err(format!("{name}: there is no such choice{}", hint.unwrap_or_default()));
        };
        *place = value;
        serde_json::from_value(all).map_err(|error| format!("{name}: {error}"))
    }
}
