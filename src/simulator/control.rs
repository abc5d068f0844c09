//! The simulator's own interface under `/_simulator`: faults and a look inside.
//!
//! Not AWS's: `POST` and `DELETE /_simulator/faults`, `GET /_simulator/state`,
//! `POST /_simulator/experiments/{id}/fail-action`.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    State,
    experiment::{Experiment, FailureCause},
    wire::{self, Answer, ApiError},
};

/// First segment of every path here.
pub(super) const PREFIX: &str = "/_simulator/";

#[derive(Deserialize)]
struct FailAction {
    action: String,
    reason: String,
    #[serde(default = "default_code")]
    code: String,
}

fn default_code() -> String {
    "DependentServiceFailure".to_owned()
}

/// Performs a request; `path` is what follows [`PREFIX`].
pub(super) fn perform(method: &str, path: &str, state: &mut State, body: &Value, now: Timestamp) -> Answer {
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("POST", ["faults"]) => state.faults.add(body).map(|()| json!({})),
        ("DELETE", ["faults"]) => {
            state.faults.clear();
            Ok(json!({}))
        }
        ("GET", ["state"]) => Ok(rendered(state, now)),
        ("POST", ["experiments", id, "fail-action"]) => {
            let FailAction { action, reason, code } = wire::parsed(body)?;
            state.fis.fail_action(id, &action, FailureCause { code, reason }, now)
        }
        _other => Err(ApiError::unknown_operation()),
    }
}

fn rendered(state: &State, now: Timestamp) -> Value {
    json!({
        "experiments": state.fis.experiments().map(Experiment::record).collect::<Vec<_>>(),
        "queues": state.queues.rendered(now),
        "faults": state.faults.rendered(),
        "undeliveredEvents": state.buses.undelivered(),
    })
}
