//! What a FIS template says that decisions rest on: its actions, their order, and what they are aimed at.
//!
//! Pure data. The adapter reads the template; how long a run takes is computed in [`crate::domain::estimate`], what it
//! costs in [`crate::domain::cost`], and whether two templates may meet in [`crate::domain::target`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ledger::Definition, policy::Safeguards};

/// The parts of an experiment template that decisions rest on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateFacts {
    /// `EXT…`.
    pub id: String,
    /// The template's own description.
    pub description: String,
    /// Region that it lives in and acts in; `None` when AWS did not say.
    #[serde(default)]
    pub region: Option<String>,
    /// Actions by name.
    pub actions: BTreeMap<String, TemplateAction>,
    /// Targets by name.
    #[serde(default)]
    pub targets: BTreeMap<String, TargetFacts>,
    /// Target accounts configured; zero when it acts in its own account only.
    #[serde(default)]
    pub target_accounts: u64,
    /// What it says for its own safety; `None` in rows of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safeguards: Option<Safeguards>,
    /// When FIS was asked.
    pub read_at: Timestamp,
    /// By which selector and where; `None` in rows of versions that did not note it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_by: Option<Box<Definition>>,
}

/// One action of a template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateAction {
    /// `aws:service:action`.
    pub action_id: String,
    /// Parameters as AWS returns them.
    pub parameters: BTreeMap<String, String>,
    /// Names of the template's targets, by the action's own words for them (`Instances`, `Pods`, …).
    #[serde(default)]
    pub targets: BTreeMap<String, String>,
    /// Names of actions that must be completed first; empty means at once.
    pub start_after: Vec<String>,
}

/// How the resources of a target are chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// `aws:service:resource`.
    pub resource_type: String,
    /// ARNs of exactly these resources; empty when they are looked up.
    pub arns: Vec<String>,
    /// Tags that a resource must carry, all of them.
    pub tags: BTreeMap<String, String>,
}
