//! Faults that are switched on from outside, so that clients can be tested against a bad day.
//!
//! A fault waits for an operation by name and is used up after so many calls. The names are the simulator's own
//! interface, not AWS's.

use std::collections::{HashMap, VecDeque};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wire::ApiError;

/// Most faults waiting for one operation.
const MAX_WAITING: usize = 1_000;

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
    /// The connection ends; nothing is done.
    ResetBefore,
    /// The operation is done, then the connection ends without an answer.
    ResetAfter,
    /// Nothing is done and no answer comes.
    HangBefore,
    /// The operation is done and no answer comes.
    Hang,
    /// The answer holds a null inside a map, which the Rust SDK cannot read.
    NullInMap,
    /// The answer holds a status that no client knows.
    UnknownStatus,
}

/// How a fault meddles with a call.
#[derive(Debug)]
pub(super) enum Interference {
    /// This error instead of the operation.
    Refuse(ApiError),
    /// This error, and the operation is done.
    Lie(ApiError),
    /// The connection ends.
    Cut(Effect),
    /// No answer ever comes.
    Silence(Effect),
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
    waiting: HashMap<String, VecDeque<Fault>>,
}

#[derive(Deserialize)]
struct Request {
    operation: String,
    #[serde(default = "one")]
    count: usize,
    fault: Fault,
}

fn one() -> usize {
    1
}

impl Faults {
    /// Adds faults: `{"operation": "StartExperiment", "count": 1, "fault": "throttle"}`.
    ///
    /// # Errors
    /// `ValidationException` when the request cannot be read.
    pub(super) fn add(&mut self, body: &Value) -> Result<(), ApiError> {
        let request: Request = super::wire::parsed(body)?;
        if request.operation.is_empty() {
            return Err(ApiError::validation("operation must name an operation, like StartExperiment"));
        }
        let waiting = self.waiting.entry(request.operation).or_default();
        if waiting.len().saturating_add(request.count) > MAX_WAITING {
            return Err(ApiError::validation(format!("at most {MAX_WAITING} faults can wait for one operation")));
        }
        waiting.extend(std::iter::repeat_n(request.fault, request.count));
        Ok(())
    }

    /// Forgets all faults.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// Takes the fault that waits for an operation, if any does.
    pub(super) fn take(&mut self, operation: &str) -> Option<Interference> {
        let fault = self.waiting.get_mut(operation)?.pop_front()?;
        let internal =
            || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalFailure", "an internal failure, by request");
        Some(match fault {
            Fault::Throttle => Interference::Refuse(ApiError::bad("ThrottlingException", "Rate exceeded")),
            Fault::Quota => Interference::Refuse(ApiError::quota("At most 5 experiments can be active.")),
            Fault::Denied => Interference::Refuse(ApiError::new(
                StatusCode::FORBIDDEN,
                "AccessDeniedException",
                format!("User is not authorized to perform: {operation}"),
            )),
            Fault::ErrorBefore => Interference::Refuse(internal()),
            Fault::ErrorAfter => Interference::Lie(internal()),
            Fault::ResetBefore => Interference::Cut(Effect::NotDone),
            Fault::ResetAfter => Interference::Cut(Effect::Done),
            Fault::HangBefore => Interference::Silence(Effect::NotDone),
            Fault::Hang => Interference::Silence(Effect::Done),
            Fault::NullInMap => Interference::Bend(null_in_map),
            Fault::UnknownStatus => Interference::Bend(unknown_status),
        })
    }

    /// Faults waiting, for the state page.
    pub(super) fn rendered(&self) -> Value {
        json!(self.waiting)
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
