//! Experiment templates: their shape and the rules that CreateExperimentTemplate enforces.
//!
//! The texts of two refusals are AWS's own (unexpected target, ARNs beside tags); the others are the simulator's, as
//! AWS's are not published. Limits: the FIS API model and the user guide's fis-quotas.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    accounts::AccountConfiguration,
    actions::{self, MAX_ACTION_DURATION},
};
use crate::{
    domain::catalogue::{self, Action},
    simulator::wire::{self, ApiError, epoch_seconds},
};

const MAX_ACTIONS: usize = 20;
const MAX_PARALLEL: usize = 10;
const MAX_STOP_CONDITIONS: usize = 5;
const MAX_ARNS: usize = 5;
const MAX_NAME: usize = 64;
const MAX_DESCRIPTION: usize = 512;
const MAX_PARAMETER: usize = 1024;
const MAX_TAGS: usize = 50;

/// A stored template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) definition: Definition,
    pub(super) tags: BTreeMap<String, String>,
    /// By account id.
    pub(super) accounts: BTreeMap<String, AccountConfiguration>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// What a template says, checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition {
    pub(super) description: String,
    #[serde(default)]
    pub(super) targets: BTreeMap<String, TargetSpec>,
    pub(super) actions: BTreeMap<String, ActionSpec>,
    pub(super) stop_conditions: Vec<StopCondition>,
    pub(super) role_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) log_configuration: Option<Value>,
    #[serde(default)]
    pub(super) experiment_options: ExperimentOptions,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) experiment_report_configuration: Option<Value>,
}

/// One action.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ActionSpec {
    pub(super) action_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) targets: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) start_after: Vec<String>,
}

/// One target.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TargetSpec {
    pub(super) resource_type: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) resource_arns: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) resource_tags: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) filters: Vec<Filter>,
    pub(super) selection_mode: SelectionMode,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) parameters: BTreeMap<String, String>,
}

/// One filter of a target.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Filter {
    pub(super) path: String,
    pub(super) values: Vec<String>,
}

/// How many of the resources found are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) enum SelectionMode {
    /// Every one.
    All,
    /// So many, at random.
    Count(u32),
    /// So many of a hundred, rounded down, at random.
    Percent(u32),
}

impl TryFrom<String> for SelectionMode {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let number = |name: &str| {
            let inner = text.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')')?;
            inner.parse::<u32>().ok().filter(|_| inner.bytes().all(|byte| byte.is_ascii_digit()))
        };
        match (number("COUNT"), number("PERCENT")) {
            _all if text == "ALL" => Ok(Self::All),
            (Some(count @ 1..), _) => Ok(Self::Count(count)),
            (_, Some(percent @ 1..=100)) => Ok(Self::Percent(percent)),
            _other => Err(format!("selectionMode `{text}` must be ALL, COUNT(n) or PERCENT(n)")),
        }
    }
}

impl From<SelectionMode> for String {
    fn from(mode: SelectionMode) -> Self {
        match mode {
            SelectionMode::All => "ALL".to_owned(),
            SelectionMode::Count(count) => format!("COUNT({count})"),
            SelectionMode::Percent(percent) => format!("PERCENT({percent})"),
        }
    }
}

/// What stops the experiment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct StopCondition {
    source: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

impl StopCondition {
    /// ARN of the alarm, unless it is none.
    pub(super) fn alarm(&self) -> Option<&str> {
        self.value.as_deref()
    }
}

/// Options of a template.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ExperimentOptions {
    pub(super) account_targeting: AccountTargeting,
    pub(super) empty_target_resolution_mode: EmptyTargetMode,
}

/// Whose resources are targeted.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AccountTargeting {
    /// Those of the account itself.
    #[default]
    SingleAccount,
    /// Those of the accounts that are configured.
    MultiAccount,
}

/// What a target without resources means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EmptyTargetMode {
    /// The experiment fails.
    #[default]
    Fail,
    /// The actions that use it are skipped.
    Skip,
}

impl Definition {
    /// Reads a definition out of a request and checks it.
    ///
    /// # Errors
    /// `ValidationException` or `ServiceQuotaExceededException` for what FIS would refuse.
    pub(super) fn parse(body: &Value) -> Result<Self, ApiError> {
        let definition: Self = wire::parsed(body)?;
        within(&definition.description, MAX_DESCRIPTION, "description")?;
        if !definition.role_arn.starts_with("arn:") || !(20..=2048).contains(&definition.role_arn.len()) {
            return Err(ApiError::validation("roleArn must be the ARN of a role"));
        }
        check_stop_conditions(&definition.stop_conditions)?;
        for (name, target) in &definition.targets {
            check_target(name, target)?;
        }
        if definition.actions.is_empty() {
            return Err(ApiError::validation("actions must not be empty"));
        }
        if definition.actions.len() > MAX_ACTIONS {
            return Err(ApiError::quota(format!("A template has at most {MAX_ACTIONS} actions.")));
        }
        for (name, action) in &definition.actions {
            definition.check_action(name, action)?;
        }
        check_sequence(&definition.actions)?;
        Ok(definition)
    }

    fn check_action(&self, name: &str, spec: &ActionSpec) -> Result<(), ApiError> {
        check_name(name, "action")?;
        within(spec.description.as_deref().unwrap_or(""), MAX_DESCRIPTION, "description")?;
        let Some(action) = catalogue::action(&spec.action_id) else {
            return Err(ApiError::validation(format!("Unknown action id {} in action \"{name}\".", spec.action_id)));
        };
        check_parameters(name, spec, action)?;
        for (key, target) in &spec.targets {
            let Some(kind) = action.targets.get(key) else {
                return Err(ApiError::validation(format!("Unexpected target \"{key}\" found in action \"{name}\".")));
            };
            let Some(found) = self.targets.get(target) else {
                return Err(ApiError::validation(format!("Action \"{name}\" names unknown target \"{target}\".")));
            };
            if found.resource_type != *kind {
                let text = format!("Target \"{target}\" of action \"{name}\" is {}, not {kind}.", found.resource_type);
                return Err(ApiError::validation(text));
            }
        }
        match action.targets.keys().find(|key| !spec.targets.contains_key(*key)) {
            Some(key) => Err(ApiError::validation(format!("Action \"{name}\" needs target \"{key}\"."))),
            None => Ok(()),
        }
    }
}

fn within(text: &str, limit: usize, what: &str) -> Result<(), ApiError> {
    if text.chars().count() > limit {
        return Err(ApiError::validation(format!("{what} must have at most {limit} characters")));
    }
    Ok(())
}

fn check_name(name: &str, what: &str) -> Result<(), ApiError> {
    if name.is_empty() || name.contains(char::is_whitespace) || name.chars().count() > MAX_NAME {
        return Err(ApiError::validation(format!(
            "{what} name \"{name}\" must have 1 to {MAX_NAME} characters, no space"
        )));
    }
    Ok(())
}

fn check_parameters(name: &str, spec: &ActionSpec, action: &Action) -> Result<(), ApiError> {
    for (key, value) in &spec.parameters {
        check_name(key, "parameter")?;
        within(value, MAX_PARAMETER, &format!("parameter {key} of action \"{name}\""))?;
    }
    for parameter in &action.parameters {
        match spec.parameters.get(&parameter.name) {
            None if parameter.required => {
                let text = format!("Action \"{name}\" needs parameter {}.", parameter.name);
                return Err(ApiError::validation(text));
            }
            Some(value) if parameter.duration => check_duration(name, &parameter.name, value)?,
            _given_or_optional => {}
        }
    }
    match (&action.duration_parameter, actions::declared_duration(action, spec)) {
        (Some(key), None) if spec.parameters.contains_key(key) => {
            Err(ApiError::validation(format!("Parameter {key} of action \"{name}\" is not a duration.")))
        }
        _readable => Ok(()),
    }
}

fn check_duration(name: &str, key: &str, value: &str) -> Result<(), ApiError> {
    // Least durations are not enforced, so that tests need no speed.
    match value.parse::<SignedDuration>() {
        Ok(length) if value.starts_with('P') && length.is_positive() && length <= MAX_ACTION_DURATION => Ok(()),
        _other => {
            let text =
                format!("Parameter {key} of action \"{name}\" must be an ISO 8601 duration of at most 12 hours.");
            Err(ApiError::validation(text))
        }
    }
}

/// startAfter names actions, without a cycle, and at most ten actions begin together.
fn check_sequence(actions: &BTreeMap<String, ActionSpec>) -> Result<(), ApiError> {
    for (name, action) in actions {
        if let Some(unknown) = action.start_after.iter().find(|other| !actions.contains_key(*other)) {
            return Err(ApiError::validation(format!("Action \"{name}\" starts after unknown action \"{unknown}\".")));
        }
    }
    if actions.values().filter(|action| action.start_after.is_empty()).count() > MAX_PARALLEL {
        return Err(ApiError::quota(format!("At most {MAX_PARALLEL} actions run in parallel.")));
    }
    let mut done = BTreeSet::new();
    while done.len() < actions.len() {
        let before = done.len();
        for (name, action) in actions {
            if action.start_after.iter().all(|other| done.contains(other)) {
                done.insert(name);
            }
        }
        if done.len() == before {
            return Err(ApiError::validation("startAfter of the actions forms a cycle."));
        }
    }
    Ok(())
}

fn check_stop_conditions(conditions: &[StopCondition]) -> Result<(), ApiError> {
    if conditions.is_empty() {
        return Err(ApiError::validation("stopConditions must not be empty"));
    }
    if conditions.len() > MAX_STOP_CONDITIONS {
        return Err(ApiError::quota(format!("A template has at most {MAX_STOP_CONDITIONS} stop conditions.")));
    }
    for condition in conditions {
        match (condition.source.as_str(), &condition.value) {
            ("none", None) => {}
            ("aws:cloudwatch:alarm", Some(arn)) if (20..=2048).contains(&arn.len()) && arn.starts_with("arn:") => {}
            _other => {
                return Err(ApiError::validation("a stop condition is none, or aws:cloudwatch:alarm with an ARN"));
            }
        }
    }
    Ok(())
}

fn check_target(name: &str, target: &TargetSpec) -> Result<(), ApiError> {
    check_name(name, "target")?;
    let known = catalogue::all();
    let listed = known.target_resource_types.iter().find(|kind| kind.resource_type == target.resource_type);
    let used = || known.actions.iter().any(|action| action.targets.values().any(|kind| *kind == target.resource_type));
    if listed.is_none() && !used() {
        return Err(ApiError::validation(format!("Unknown resource type {} of target {name}.", target.resource_type)));
    }
    let by_arn = !target.resource_arns.is_empty();
    if by_arn && !target.resource_tags.is_empty() {
        let text = format!("You cannot specify both resource ARNs and resource tags for target {name}.");
        return Err(ApiError::validation(text));
    }
    if by_arn && !target.filters.is_empty() {
        let text = format!("You cannot specify both resource ARNs and filters for target {name}.");
        return Err(ApiError::validation(text));
    }
    if !by_arn && target.resource_tags.is_empty() && target.filters.is_empty() && target.parameters.is_empty() {
        return Err(ApiError::validation(format!("Target {name} needs resource ARNs, tags, filters or parameters.")));
    }
    if target.resource_arns.len() > MAX_ARNS {
        return Err(ApiError::validation(format!("Target {name} has more than {MAX_ARNS} resource ARNs.")));
    }
    if target.filters.iter().any(|filter| filter.path.is_empty() || filter.values.is_empty()) {
        return Err(ApiError::validation(format!("A filter of target {name} needs a path and values.")));
    }
    let required = listed.into_iter().flat_map(|kind| &kind.parameters).filter(|parameter| parameter.required);
    match required.into_iter().find(|parameter| !target.parameters.contains_key(&parameter.name)) {
        Some(missing) if !by_arn => {
            Err(ApiError::validation(format!("Target {name} needs parameter {}.", missing.name)))
        }
        _complete => Ok(()),
    }
}

/// Checks tags as they are given to a new resource or to TagResource.
///
/// # Errors
/// `ValidationException` when there are more than 50, or one is too long or reserved.
pub(super) fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    if tags.len() > MAX_TAGS {
        return Err(ApiError::validation(format!("a resource has at most {MAX_TAGS} tags")));
    }
    for (key, value) in tags {
        if key.is_empty() || key.starts_with("aws:") || key.chars().count() > 128 || value.chars().count() > 256 {
            return Err(ApiError::validation(format!("tag key or value of \"{key}\" is not allowed")));
        }
    }
    Ok(())
}

impl Template {
    /// The template as Create, Get, Update and Delete return it.
    pub(super) fn rendered(&self) -> Value {
        let mut body = json!(self.definition);
        body["id"] = json!(self.id);
        body["arn"] = json!(self.arn);
        body["creationTime"] = epoch_seconds(self.created);
        body["lastUpdateTime"] = epoch_seconds(self.updated);
        body["tags"] = json!(self.tags);
        body["targetAccountConfigurationsCount"] = json!(self.accounts.len());
        body
    }

    /// The template as ListExperimentTemplates returns it.
    pub(super) fn summary(&self) -> Value {
        json!({
            "id": self.id,
            "arn": self.arn,
            "description": self.definition.description,
            "creationTime": epoch_seconds(self.created),
            "lastUpdateTime": epoch_seconds(self.updated),
            "tags": self.tags,
        })
    }
}
