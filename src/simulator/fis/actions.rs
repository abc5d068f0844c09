//! What each action's time means to a run of it, from the shared catalogue.
//!
//! The catalogue tells hold, cap, instant and post-action apart (AWS FIS user guide, fis-actions-reference). How long
//! the work of a capped action takes is the simulator's own choice, and said so below.

use jiff::SignedDuration;
use serde_json::Value;

use super::template::ActionSpec;
use crate::domain::catalogue::{self, Action, DurationKind};

/// Time that a call without a hold time takes. The simulator's choice; AWS's own is some seconds.
const INSTANT_WORK: SignedDuration = SignedDuration::from_secs(1);

/// Part of `maxDuration` that capped work takes when the parameters do not tell. The simulator's choice.
const CAP_FRACTION: i32 = 3;

/// Most of one action (AWS FIS user guide, fis-quotas).
pub(super) const MAX_ACTION_DURATION: SignedDuration = SignedDuration::from_hours(12);

/// Reason users report for a capped action that takes too long.
const CAP_EXCEEDED: &str = "Action exceeded the specified maximum duration.";

/// How an action will go when nothing disturbs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Course {
    /// Declared time from its start to its end.
    pub(super) length: SignedDuration,
    /// Why it ends badly, if it does.
    pub(super) failure: Option<&'static str>,
}

/// Foresees the course of an action.
pub(super) fn course(spec: &ActionSpec) -> Course {
    let known = catalogue::action(&spec.action_id);
    let declared = known.and_then(|action| declared_duration(action, spec));
    let kind = known.map_or(DurationKind::Instant, |action| action.duration_kind);
    match (kind, declared) {
        (DurationKind::Hold | DurationKind::PostAction, Some(length)) => Course { length, failure: None },
        (DurationKind::Cap, Some(cap)) => capped(spec, cap),
        (_instant, _) => Course { length: INSTANT_WORK, failure: None },
    }
}

/// The time an action declares, if it does and it can be read.
pub(super) fn declared_duration(action: &Action, spec: &ActionSpec) -> Option<SignedDuration> {
    let name = action.duration_parameter.as_deref()?;
    spec.parameters.get(name)?.parse().ok()
}

fn capped(spec: &ActionSpec, cap: SignedDuration) -> Course {
    let work = kubernetes_work(spec).unwrap_or(cap / CAP_FRACTION);
    if work > cap {
        Course { length: cap, failure: Some(CAP_EXCEEDED) }
    } else {
        Course { length: work, failure: None }
    }
}

/// Time the work of a Kubernetes custom resource takes: `TOTAL_CHAOS_DURATION` of a Litmus ChaosEngine, wherever in the
/// spec its `env` is, or `duration` of a Chaos Mesh object.
fn kubernetes_work(spec: &ActionSpec) -> Option<SignedDuration> {
    let text = spec.parameters.get("kubernetesSpec")?;
    let document: Value = serde_json::from_str(text).ok()?;
    if spec.parameters.get("kubernetesKind").is_some_and(|kind| kind == "ChaosEngine") {
        return chaos_duration(&document);
    }
    document.get("duration")?.as_str()?.parse().ok()
}

fn chaos_duration(node: &Value) -> Option<SignedDuration> {
    match node {
        Value::Array(items) => items.iter().find_map(chaos_duration),
        Value::Object(members) if members.get("name").is_some_and(|name| name == "TOTAL_CHAOS_DURATION") => {
            let value = members.get("value")?;
            let seconds = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
            (seconds >= 0).then(|| SignedDuration::from_secs(seconds))
        }
        Value::Object(members) => members.values().find_map(chaos_duration),
        _scalar => None,
    }
}
