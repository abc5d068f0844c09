//! What a FIS template says about time: the facts that a start is judged by.
//!
//! Pure. The adapter reads the template; [`TemplateFacts::estimate`] turns it into the time the run may take. Where a duration is not known the estimate says so and the planner fails closed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::catalogue::{self, DurationKind};

/// FIS needs some seconds of its own around the actions: 10 s seen before them, 15 s more with a new log destination
/// (AWS FIS user guide, monitoring-logging, the timestamps of its samples).
pub const FIS_OVERHEAD: SignedDuration = SignedDuration::from_secs(30);

/// Time given to an action that ends by itself without a declared duration (reboot, terminate, failover), and to what is
/// undone after a declared one.
pub const INSTANT_ALLOWANCE: SignedDuration = SignedDuration::from_secs(60);

/// The parts of an experiment template that decisions rest on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateFacts {
    /// `EXT…`.
    pub id: String,
    /// The template's own description.
    pub description: String,
    /// Actions by name.
    pub actions: BTreeMap<String, TemplateAction>,
    /// When FIS was asked.
    pub read_at: Timestamp,
}

/// One action of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateAction {
    /// `aws:service:action`.
    pub action_id: String,
    /// Parameters as AWS returns them.
    pub parameters: BTreeMap<String, String>,
    /// Names of actions that must be completed first; empty means at once.
    pub start_after: Vec<String>,
}

/// Longest time a run of a template may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimate {
    /// The critical path over `startAfter`, every action at its ceiling.
    Ceiling(SignedDuration),
    /// Some action on it has no time that can be read from the template.
    Unknown,
}

impl TemplateFacts {
    /// Computes the longest time a run may take: the longest chain over `startAfter`, every action at its ceiling, and
    /// [`FIS_OVERHEAD`].
    pub fn estimate(&self) -> Estimate {
        let mut ends: BTreeMap<&str, SignedDuration> = BTreeMap::new();
        // Each round settles at least one action unless there is a cycle, which FIS refuses and we call unknown.
        while ends.len() < self.actions.len() {
            let before = ends.len();
            for (name, action) in &self.actions {
                if ends.contains_key(name.as_str()) {
                    continue;
                }
                let Some(begin) = begin(action, &ends) else { continue };
                let Some(length) = ceiling(action) else { return Estimate::Unknown };
                ends.insert(name, begin.saturating_add(length));
            }
            if ends.len() == before {
                return Estimate::Unknown;
            }
        }
        let path = ends.values().max().copied().unwrap_or(SignedDuration::ZERO);
        Estimate::Ceiling(path.saturating_add(FIS_OVERHEAD))
    }
}

/// When an action begins: the latest end of what it starts after; `None` while one of those is not settled.
fn begin(action: &TemplateAction, ends: &BTreeMap<&str, SignedDuration>) -> Option<SignedDuration> {
    let mut begin = SignedDuration::ZERO;
    for name in &action.start_after {
        begin = begin.max(*ends.get(name.as_str())?);
    }
    Some(begin)
}

/// Longest time of one action; `None` when the template does not tell.
fn ceiling(action: &TemplateAction) -> Option<SignedDuration> {
    let known = catalogue::action(&action.action_id)?;
    let declared = known.duration_parameter.as_deref().and_then(|name| action.parameters.get(name));
    match (known.duration_kind, declared) {
        (DurationKind::Instant, _) | (DurationKind::PostAction, None) => Some(INSTANT_ALLOWANCE),
        (_, None) => None,
        (_, Some(text)) => {
            let length = text.parse::<SignedDuration>().ok().filter(|length| !length.is_negative())?;
            Some(if known.has_post_action() { length.saturating_add(INSTANT_ALLOWANCE) } else { length })
        }
    }
}
