//! Experiment templates: what they hold, and the rules that create and update enforce.
//!
//! The shape of a request is checked before, by [`super::model`]. Each refusal names its place. The texts of two
//! refusals are AWS's own (unexpected target, ARNs beside tags); the others are the simulator's, as AWS's are not
//! published. What goes against a quota of the user guide's page fis-quotas is answered with 402, all else with 400:
//! which of them AWS takes is not documented either.

mod action;
mod configuration;
mod operations;
mod sequence;
mod target;

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::accounts::AccountConfiguration;
use crate::simulator::{
    choices::UnknownAction,
    wire::{self, ApiError, epoch_seconds},
};

/// Actions per template (AWS FIS user guide, fis-quotas).
const MAX_ACTIONS: usize = 20;

/// A stored template.
#[derive(Debug, Clone)]
pub(super) struct Template {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) client_token: String,
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AccountTargeting {
    /// Those of the account of the template.
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
    /// Reads a definition out of a request whose shape is checked, and checks what it means.
    ///
    /// # Errors
    /// `ValidationException`, `ServiceQuotaExceededException` or, by choice, `ResourceNotFoundException` for what FIS
    /// would refuse.
    pub(super) fn read(request: &Value, unknown: UnknownAction) -> Result<Self, ApiError> {
        let definition: Self = wire::parsed(request)?;
        check_role("roleArn", &definition.role_arn)?;
        configuration::check_stop_conditions(&definition.stop_conditions)?;
        if let Some(log) = &definition.log_configuration {
            configuration::check_log(log)?;
        }
        if let Some(report) = &definition.experiment_report_configuration {
            configuration::check_report(report)?;
        }
        if definition.actions.is_empty() {
            return Err(wrong("actions", "must not be empty"));
        }
        if definition.actions.len() > MAX_ACTIONS {
            return Err(ApiError::quota(format!("actions: a template has at most {MAX_ACTIONS} actions")));
        }
        for (name, spec) in &definition.actions {
            action::check(name, spec, &definition.targets, unknown)?;
        }
        for (name, spec) in &definition.targets {
            target::check(name, spec, &definition.actions)?;
        }
        sequence::check(&definition.actions)?;
        Ok(definition)
    }
}

/// Checks that a role is given by its ARN.
///
/// # Errors
/// `ValidationException` that names the place.
pub(super) fn check_role(place: &str, arn: &str) -> Result<(), ApiError> {
    if is_arn(arn, "iam", "role/") { Ok(()) } else { Err(wrong(place, "must be the ARN of a role")) }
}

/// Tells whether a text is the ARN of such a resource: `arn:partition:service:region:account:resource`. An empty
/// service stands for any.
fn is_arn(text: &str, service: &str, resource: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let [scheme, partition, found, _region, _account, rest] = parts.as_slice() else { return false };
    let fits = if service.is_empty() { !found.is_empty() } else { *found == service };
    *scheme == "arn" && !partition.is_empty() && fits && rest.len() > resource.len() && rest.starts_with(resource)
}

fn wrong(place: impl fmt::Display, what: impl fmt::Display) -> ApiError {
    ApiError::validation(format!("{place}: {what}"))
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
