//! The simulator's own interface under `/_simulator`, for tests and rehearsals; nothing of it is AWS's.
//!
//! [`ENDPOINTS`] lists it. Only callers on this machine get here, see [`super::edge::credentials::check_local`].

use std::collections::BTreeSet;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    KeepLog, Scene, Shared, State,
    clock::Pace,
    cloudwatch::AlarmState,
    fis::{Inventory, Resource, experiment::FailureCause},
    wire::{self, Answer, ApiError},
};
use crate::domain::fis::FisStatus;

/// First segment of every path here.
pub(super) const PREFIX: &str = "/_simulator/";

/// What there is, and what to send: for people.
pub const ENDPOINTS: &str = "  GET /_simulator/state      everything there is, as JSON
  POST /_simulator/faults    {\"operation\": \"StartExperiment\", \"fault\": \"throttle\", \"count\": 1}
  DELETE /_simulator/faults  forget them
  POST /_simulator/clock     {\"speed\": 60}, {\"jump\": \"PT10M\"}, {\"frozen\": true}
  PUT /_simulator/events     {\"drop\": 0.1, \"duplicate\": 0.1, \"reorder\": 0.1, \"delay\": \"PT5S\"}
  PUT /_simulator/stuck      {\"statuses\": [\"initiating\", \"stopping\"]}
  PATCH /_simulator/choices  {\"stop-of-ended\": \"answer\"}
  POST /_simulator/alarms    {\"name\": \"errors\", \"state\": \"ALARM\"}
  POST /_simulator/inventory {\"resources\": [...]}, or {} to read the file of --inventory again
  POST /_simulator/experiments/ID/fail-action {\"action\": \"stress\", \"reason\": \"by request\"}

Faults: throttle (with milliseconds, as x-amz-retry-after), quota, denied, 500-before, 500-after,
abort-after, reset-before, reset-after, hang-before, hang-after (or lost-reply),
latency (with milliseconds), null-in-map, unknown-status, missing-members.
`before` and `after` stand to the effect.
Events are lost, doubled and overtaken at rates from 0 to 1; a delay is divided by the speed.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
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
    jump: Option<Span>,
    frozen: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlarmChange {
    name: String,
    state: AlarmState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stuck {
    statuses: BTreeSet<Sticky>,
}

/// A state that experiments can be stuck in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Sticky {
    Initiating,
    Stopping,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewInventory {
    resources: Option<Vec<Resource>>,
}

/// Performs a request; `path` is what follows [`PREFIX`].
pub(super) async fn perform(shared: &Shared, method: &str, path: &str, body: &Value) -> Answer {
    let segments: Vec<_> = path.split('/').collect();
    match (method, segments.as_slice()) {
        ("GET", ["state"]) => Ok(shared.with(|state, now| rendered(state, &shared.scene, now))),
        ("POST", ["faults"]) => shared.with(|state, _now| state.faults.add(body)).map(|()| json!({})),
        ("DELETE", ["faults"]) => {
            shared.with(|state, _now| state.faults.clear());
            Ok(json!({}))
        }
        ("POST", ["clock"]) => shared.with(|state, now| change_clock(state, body, now)),
        ("PUT", ["events"]) => shared.with(|state, now| state.courier.set(body, now)),
        ("PUT", ["stuck"]) => shared.with(|state, _now| set_stuck(state, body)),
        ("PATCH", ["choices"]) => shared.with(|state, _now| set_choices(state, body)),
        ("POST", ["alarms"]) => {
            let AlarmChange { name, state: new } = wire::parsed(body)?;
            shared.with(|state, now| state.setting.alarms.set_state(&name, new, now)).map(|()| json!({}))
        }
        ("POST", ["inventory"]) => load_inventory(shared, body).await,
        ("POST", ["experiments", id, "fail-action"]) => {
            let FailAction { action, reason, code } = wire::parsed(body)?;
            shared.with(|state, now| state.fis.fail_action(id, &action, FailureCause { code, reason }, now))
        }
        _other => {
            let mut unknown = ApiError::unknown_operation();
            unknown.message = format!("there is no {method} {PREFIX}{path}; what there is:\n{ENDPOINTS}");
            Err(unknown)
        }
    }
}

/// Replaces the inventory: by the one given, else by what its file holds now. Experiments that have resolved their
/// targets keep them. When there is none or it cannot be used, the old one stays. The file is read outside of the lock.
async fn load_inventory(shared: &Shared, body: &Value) -> Answer {
    let inventory = match (wire::parsed::<NewInventory>(body)?.resources, &shared.scene.inventory_file) {
        (Some(resources), _) => Inventory::from_list(resources)
            .map_err(|problems| ApiError::validation(format!("resources{}", problems.join("\nresources"))))?,
        (None, None) => {
            return Err(ApiError::validation("resources: missing, and the simulator was started without --inventory"));
        }
        (None, Some(file)) => {
            let file = file.clone();
            let read = tokio::task::spawn_blocking(move || Inventory::from_file(&file)).await;
            let read = read.map_err(|ended| ApiError::validation(ended.to_string()))?;
            read.map_err(|error| ApiError::validation(with_causes(&error)))?
        }
    };
    shared.with(|state, _now| state.setting.inventory = inventory);
    Ok(json!({}))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Sets some choices, all or none.
fn set_choices(state: &mut State, body: &Value) -> Answer {
    let mut choices = state.setting.choices.clone();
    for (name, value) in body.as_object().into_iter().flatten() {
        choices = choices.with(name, value.clone()).map_err(ApiError::validation)?;
    }
    state.setting.choices = choices;
    Ok(json!(state.setting.choices))
}

fn set_stuck(state: &mut State, body: &Value) -> Answer {
    let Stuck { statuses } = wire::parsed(body)?;
    let status = |sticky| match sticky {
        Sticky::Initiating => FisStatus::Initiating,
        Sticky::Stopping => FisStatus::Stopping,
    };
    state.setting.stuck = statuses.into_iter().map(status).collect();
    Ok(json!({"statuses": state.setting.stuck}))
}

fn change_clock(state: &mut State, body: &Value, now: Timestamp) -> Answer {
    let change: ClockChange = wire::parsed(body)?;
    let speed = change.speed.map(|speed| Pace::new(speed).ok_or(speed)).transpose();
    let pace = speed.map_err(|speed| ApiError::validation(format!("speed: must be more than zero, not {speed}")))?;
    let jump = change.jump.map(|jump| jump.to_duration(SpanRelativeTo::days_are_24_hours())).transpose();
    let jump = jump.map_err(|error| ApiError::validation(format!("jump: {error}; use a duration like PT10M or P120D")));
    let jump = jump?.unwrap_or(SignedDuration::ZERO);
    if jump.is_negative() {
        return Err(ApiError::validation("jump: the clock jumps ahead only"));
    }
    let clock = &mut state.setting.clock;
    if let Some(pace) = pace {
        let old = clock.set_pace(pace);
        state.fis.change_pace(old, pace, now);
        state.courier.change_pace(old, pace, now);
    }
    clock.jump(jump);
    match change.frozen {
        Some(true) => clock.freeze(),
        Some(false) => clock.thaw(),
        None => {}
    }
    Ok(clock.rendered())
}

fn rendered(state: &State, scene: &Scene, now: Timestamp) -> Value {
    let mut page = json!({
        "region": scene.region,
        "account": scene.account,
        "seed": scene.seed,
        "documents": state.documents.dump(),
        "sessions": state.sessions.dump(),
        "clock": state.setting.clock.rendered(),
        "choices": state.setting.choices,
        "stuck": state.setting.stuck,
        "logged": state.setting.keep_log == KeepLog::Yes,
        "events": state.courier.rendered(),
        "alarms": state.setting.alarms.rendered(),
        "queues": state.queues.rendered(now),
        "eventBridge": state.buses.dump(scene),
        "faults": state.faults.rendered(),
        "inventory": state.setting.inventory.dump(),
    });
    if let (Value::Object(page), Value::Object(fis)) = (&mut page, state.fis.dump()) {
        page.extend(fis);
    }
    page
}
