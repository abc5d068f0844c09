//! The simulator's own interface under `/_simulator`: faults, the clock, choices, and a look inside.
//!
//! Not AWS's: `POST` and `DELETE /_simulator/faults`, `GET /_simulator/state`, `POST /_simulator/clock`,
//! `PATCH /_simulator/choices`, `POST /_simulator/alarms`, `POST /_simulator/experiments/{id}/fail-action`.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    State,
    clock::Pace,
    cloudwatch::AlarmState,
    fis::experiment::{Experiment, FailureCause},
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

/// `{"speed": 60}`, `{"jump": "PT10M"}`, `{"frozen": true}`, or several of them, done in this order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockChange {
    speed: Option<f64>,
    jump: Option<SignedDuration>,
    frozen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlarmChange {
    name: String,
    /// Makes the alarm if there is none of this name.
    arn: Option<String>,
    state: AlarmState,
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
        ("POST", ["clock"]) => change_clock(state, body, now),
        ("PATCH", ["choices"]) => {
            state.setting.choices.set(body)?;
            Ok(json!(state.setting.choices))
        }
        ("POST", ["alarms"]) => {
            let AlarmChange { name, arn, state: new } = wire::parsed(body)?;
            if let Some(arn) = arn {
                state.setting.alarms.ensure(&name, &arn);
            }
            state.setting.alarms.set_state(&name, new).map(|()| json!({}))
        }
        ("POST", ["experiments", id, "fail-action"]) => {
            let FailAction { action, reason, code } = wire::parsed(body)?;
            state.fis.fail_action(id, &action, FailureCause { code, reason }, now)
        }
        _other => Err(ApiError::unknown_operation()),
    }
}

fn change_clock(state: &mut State, body: &Value, now: Timestamp) -> Answer {
    let change: ClockChange = wire::parsed(body)?;
    let speed = change.speed.map(|speed| Pace::new(speed).ok_or(speed)).transpose();
    let pace = speed.map_err(|speed| ApiError::validation(format!("speed must be more than zero, not {speed}")))?;
    if change.jump.is_some_and(|jump| jump.is_negative()) {
        return Err(ApiError::validation("the clock jumps ahead only"));
    }
    let clock = &mut state.setting.clock;
    if let Some(pace) = pace {
        let old = clock.set_pace(pace);
        state.fis.change_pace(old, pace, now);
    }
    clock.jump(change.jump.unwrap_or_default());
    match change.frozen {
        Some(true) => clock.freeze(),
        Some(false) => clock.thaw(),
        None => {}
    }
    Ok(clock.rendered())
}

fn rendered(state: &State, now: Timestamp) -> Value {
    json!({
        "clock": state.setting.clock.rendered(),
        "choices": state.setting.choices,
        "alarms": state.setting.alarms.rendered(),
        "experiments": state.fis.experiments().map(Experiment::record).collect::<Vec<_>>(),
        "queues": state.queues.rendered(now),
        "faults": state.faults.rendered(),
        "undeliveredEvents": state.buses.undelivered(),
    })
}
