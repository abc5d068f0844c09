//! The catalogue of FIS actions and target resource types, as data.
//!
//! Pure. The file beside this one holds what the AWS FIS user guide says (pages fis-actions-reference and targets, read
//! in 2026). The estimate of a template and the simulator both read it, so that they cannot disagree.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    // The file is compiled in and a test parses it: an empty catalogue could only make every estimate unknown.
    serde_json::from_str(include_str!("catalogue.json")).unwrap_or_default()
});

/// All actions and target resource types known.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Catalogue {
    /// Actions in the guide's order.
    pub actions: Vec<Action>,
    /// Resource types in the guide's order.
    pub target_resource_types: Vec<TargetResourceType>,
}

/// One FIS action.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Action {
    /// `aws:service:action`.
    pub id: String,
    /// Target key to resource type; at most one entry in practice.
    pub targets: BTreeMap<String, String>,
    /// Parameters in the guide's order.
    pub parameters: Vec<Parameter>,
    /// Which parameter holds the time, if any does.
    pub duration_parameter: Option<String>,
    /// What that time means.
    pub duration_kind: DurationKind,
    /// How its targets may be chosen, where the guide narrows that.
    pub selectors: Option<Vec<Selector>>,
    /// Whether its target is exactly one ARN.
    #[serde(default)]
    pub one_arn: bool,
    /// Most targets in an experiment that are not chosen by ARN (AWS FIS user guide, fis-quotas), where one is said.
    pub max_targets_by_tag: Option<usize>,
}

/// One way to choose the resources of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Selector {
    /// By `resourceArns`.
    Arns,
    /// By `resourceTags`.
    Tags,
    /// By `filters`.
    Filters,
    /// By `parameters`.
    Parameters,
}

impl Action {
    /// Tells whether something is undone after its time, which delays its end: stopped instances are started, a network is
    /// restored (AWS FIS user guide, action-sequence).
    pub fn has_post_action(&self) -> bool {
        self.duration_kind == DurationKind::PostAction || self.id.starts_with("aws:network:")
    }
}

/// One parameter of an action or of a target resource type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Whether the guide does not mark it optional.
    pub required: bool,
    /// Whether its value is an ISO 8601 duration.
    #[serde(default)]
    pub duration: bool,
    /// Least duration, inclusive.
    pub min: Option<String>,
    /// Greatest duration, inclusive.
    pub max: Option<String>,
    /// The values allowed, where they are listed.
    pub values: Option<Vec<String>>,
    /// Least and greatest number allowed, inclusive.
    pub range: Option<[f64; 2]>,
    /// Whether the value is a list with commas.
    #[serde(default)]
    pub list: bool,
    /// Most items of such a list.
    pub max_items: Option<usize>,
    /// Whether the value is a JSON object in a string.
    #[serde(default)]
    pub json: bool,
    /// Another parameter and the value of it that makes this one required.
    pub required_with: Option<[String; 2]>,
}

/// What an action's time means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DurationKind {
    /// The action is complete only when the time has elapsed.
    Hold,
    /// The action ends with its work and fails when it exceeds the time.
    Cap,
    /// The action is complete as soon as the call is made.
    Instant,
    /// Something is undone after the time, and the action ends then.
    PostAction,
    /// The effect comes after the time; the action ends when the notice is sent.
    DelayBeforeEffect,
}

/// One target resource type.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetResourceType {
    /// `aws:service:resource`.
    pub resource_type: String,
    /// Parameters of a target of this type.
    pub parameters: Vec<Parameter>,
}

/// Returns the whole catalogue.
pub fn all() -> &'static Catalogue {
    &CATALOGUE
}

/// Looks an action up by id.
pub fn action(id: &str) -> Option<&'static Action> {
    CATALOGUE.actions.iter().find(|action| action.id == id)
}

/// Looks a target resource type up by name.
pub fn resource_type(name: &str) -> Option<&'static TargetResourceType> {
    CATALOGUE.target_resource_types.iter().find(|kind| kind.resource_type == name)
}
