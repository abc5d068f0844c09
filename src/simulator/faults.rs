//! Faults that are switched on from outside, so that clients can be tested against a bad day.
//!
//! A fault waits for an operation by name and is used up after so many calls. The names are the simulator's own
//! interface, not AWS's.

use std::{
    collections::{BTreeMap, VecDeque},
    num::NonZeroUsize,
    time::Duration,
};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{edge::dispatch::operations, wire::ApiError};
use crate::domain::words::did_you_mean;

/// Most faults waiting for one operation.
const MAX_WAITING: usize = 1_000;
/// Longest latency, in milliseconds.
const MAX_LATENCY: u32 = 600_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fault {
    /// 400 `ThrottlingException`; nothing is done.
    Throttle,
    /// 402; nothing is done.
    Quota,
    /// 403; nothing is done.
    Denied,
    /// 500; nothing is done.
    #[serde(rename = "500-before")]
    ErrorBefore,
    /// The operation is done, the answer is 500.
    #[serde(rename = "500-after")]
    ErrorAfter,
    /// The operation is done, the answer is 400 `RequestAbortedException`.
    AbortAfter,
    /// The connection ends; nothing is done.
    ResetBefore,
    /// The operation is done, then the connection ends without an answer.
    ResetAfter,
    /// Nothing is done and no answer comes.
    HangBefore,
    /// The operation is done and no answer comes.
    #[serde(alias = "hang", alias = "lost-reply")]
    HangAfter,
    /// The operation is done, the answer comes late.
    Latency,
    /// The answer holds a null inside a map, which the Rust SDK cannot read.
    NullInMap,
    /// The answer holds a status that no client knows.
    UnknownStatus,
    /// The answer holds nothing but ids and statuses; FIS's model requires no member.
    MissingMembers,
}

/// A fault that waits, with its number.
#[derive(Debug, Clone, Copy, Serialize)]
struct Waiting {
    fault: Fault,
    /// Length of a latency; when a throttled client may come again.
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u32>,
}

/// How a fault meddles with a call.
#[derive(Debug)]
pub(super) enum Interference {
    /// This error instead of the operation, and the milliseconds after which the client may come again.
    Refuse(ApiError, Option<u32>),
    /// This error, and the operation is done.
    Lie(ApiError),
    /// The connection ends.
    Cut(Effect),
    /// No answer ever comes.
    Silence(Effect),
    /// The answer comes later by this.
    Delay(Duration),
    /// The answer is changed.
    Bend(fn(&mut Value)),
}

/// Whether the operation is done although no answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// It is.
    Done,
    /// It is not.
    NotDone,
}

/// Faults waiting for calls.
#[derive(Debug, Default)]
pub(super) struct Faults {
    waiting: BTreeMap<String, VecDeque<Waiting>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    operation: String,
    count: Option<NonZeroUsize>,
    fault: Fault,
    milliseconds: Option<u32>,
}

impl Faults {
    /// Adds faults: `{"operation": "StartExperiment", "count": 1, "fault": "throttle", "milliseconds": 250}`.
    ///
    /// # Errors
    /// `ValidationException` when the request cannot be read.
    pub(super) fn add(&mut self, body: &Value) -> Result<(), ApiError> {
        let request: Request = super::wire::parsed(body)?;
        if !operations().any(|known| known == request.operation) {
            let hint = did_you_mean(&request.operation, operations()).map(|hint| format!("; {hint}"));
            let text = format!("operation: the simulator has no `{}`{}", request.operation, hint.unwrap_or_default());
            return Err(ApiError::validation(text));
        }
        match (request.fault, request.milliseconds) {
            (Fault::Latency, Some(1..=MAX_LATENCY)) | (Fault::Throttle, _) => {}
            (Fault::Latency, _) => {
                let text = format!("milliseconds: a latency has 1 to {MAX_LATENCY} of them");
                return Err(ApiError::validation(text));
            }
            (_other, None) => {}
            (_other, Some(_)) => {
                return Err(ApiError::validation("milliseconds: only `latency` and `throttle` have some"));
            }
        }
        let count = request.count.map_or(1, NonZeroUsize::get);
        let waiting = self.waiting.entry(request.operation).or_default();
        if waiting.len().saturating_add(count) > MAX_WAITING {
            return Err(ApiError::validation(format!("at most {MAX_WAITING} faults can wait for one operation")));
        }
        let one = Waiting { fault: request.fault, milliseconds: request.milliseconds };
        waiting.extend(std::iter::repeat_n(one, count));
        Ok(())
    }

    /// Forgets all faults.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes the fault that waits for an operation, if any does.
    pub(super) fn take(&mut self, operation: &str) -> Option<Interference> {
        let waiting = self.waiting.get_mut(operation)?;
        let Waiting { fault, milliseconds } = waiting.pop_front()?;
        let internal =
            || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "an internal failure, by request");
        Some(match fault {
            Fault::Throttle => {
                Interference::Refuse(ApiError::bad("ThrottlingException", "Rate exceeded"), milliseconds)
            }
            Fault::Quota => Interference::Refuse(ApiError::quota("At most 5 experiments can be active."), None),
            Fault::Denied => {
                let text = format!("User is not authorized to perform: {operation}");
                Interference::Refuse(ApiError::new(StatusCode::FORBIDDEN, "AccessDeniedException", text), None)
            }
            Fault::ErrorBefore => Interference::Refuse(internal(), None),
            Fault::ErrorAfter => Interference::Lie(internal()),
            Fault::AbortAfter => {
                let text = "The request was aborted before a reply was sent.";
                Interference::Lie(ApiError::bad("RequestAbortedException", text))
            }
            Fault::ResetBefore => Interference::Cut(Effect::NotDone),
            Fault::ResetAfter => Interference::Cut(Effect::Done),
            Fault::HangBefore => Interference::Silence(Effect::NotDone),
            Fault::HangAfter => Interference::Silence(Effect::Done),
            Fault::Latency => Interference::Delay(Duration::from_millis(milliseconds.unwrap_or_default().into())),
            Fault::MissingMembers => Interference::Bend(missing_members),
            Fault::NullInMap => Interference::Bend(null_in_map),
            Fault::UnknownStatus => Interference::Bend(unknown_status),
        })
    }

    /// Faults waiting, for the state page.
    pub(super) fn rendered(&self) -> Value {
        let shown = |waiting: &Waiting| match waiting.milliseconds {
            None => json!(waiting.fault),
            Some(_) => json!(waiting),
        };
        self.waiting.iter().map(|(name, faults)| (name.clone(), faults.iter().map(shown).collect::<Value>())).collect()
    }
}

/// Puts a null into every map of tags; without one, into a map of its own.
fn null_in_map(answer: &mut Value) {
    fn walk(node: &mut Value) {
        match node {
            Value::Object(members) => {
                if let Some(Value::Object(tags)) = members.get_mut("tags") {
                    tags.insert("absent".to_owned(), Value::Null);
                }
                members.values_mut().for_each(walk);
            }
            Value::Array(items) => items.iter_mut().for_each(walk),
            _scalar => {}
        }
    }
    if let Some(members) = answer.as_object_mut().filter(|members| members.is_empty()) {
        members.insert("tags".to_owned(), json!({}));
    }
    walk(answer);
}

/// Replaces every status by one that does not exist.
fn unknown_status(answer: &mut Value) {
    match answer {
        Value::Object(members) => {
            for (name, value) in members {
                if name == "status" && value.is_string() {
                    *value = json!("quiescing");
                } else {
                    unknown_status(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(unknown_status),
        _scalar => {}
    }
}

/// Leaves nothing of what an answer holds, or of the items of its lists, but ids and statuses.
fn missing_members(answer: &mut Value) {
    fn strip(node: &mut Value) {
        match node {
            Value::Object(members) => {
                members.retain(|name, _| matches!(name.as_str(), "id" | "state" | "status"));
                members.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _scalar => {}
        }
    }
    if let Some(members) = answer.as_object_mut() {
        members.values_mut().for_each(strip);
    }
}
