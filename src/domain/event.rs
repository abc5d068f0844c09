//! Deployment events: what a message says, or why it cannot be read.
//!
//! Pure. Which runs an event opens is decided by [`opened_runs`]; whether one of them starts is the planner's business.

pub mod catalogue;
mod hint;
pub mod mapping;
mod opened;
pub mod presets;
pub mod verdict;

use jiff::Timestamp;
use serde_json::Value;

use self::mapping::Mapping;
pub use self::{
    hint::told_of,
    opened::{Order, Receipt, opened_runs},
};
use super::{run::TraceParent, trace};

/// Bodies of this size or more are not read: 256 KiB, which is more than EventBridge delivers in one event (Amazon
/// EventBridge user guide, quotas: an entry, its envelope included, stays below 256 KB).
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// Longest `source`, `id` and `detail-type` taken, in bytes.
const MAX_FIELD_BYTES: usize = 512;

/// Most keys that are named of a body that is no event.
const MAX_SHOWN_KEYS: usize = 10;

/// What the sources of AWS's own services begin with; EventBridge takes them from nobody else (Amazon EventBridge API
/// reference, PutEvents).
const OF_AWS: &str = "aws.";

/// An event as EventBridge shapes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// `source`.
    pub source: String,
    /// `id`; the message's own when the body has none.
    pub id: String,
    /// `detail-type`.
    pub detail_type: String,
    /// `time`, where it can be read.
    pub time: Option<Timestamp>,
    /// Trace that the sender belonged to, where the body says.
    pub parent: Option<TraceParent>,
    /// The whole event.
    pub body: Value,
    /// The same as text, for patterns.
    pub text: String,
}

/// Why a message is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableEvent {
    /// It is too large.
    #[error("the body has {bytes} bytes, {MAX_BODY_BYTES} or more are not read")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It is not JSON, or nested too deeply.
    #[error("the body is not JSON that can be read: {reason}")]
    NotJson {
        /// What the parser says.
        reason: String,
    },
    /// It is JSON of another kind.
    #[error("the body is not an EventBridge event: {reason}")]
    NotAnEvent {
        /// What is missing.
        reason: String,
    },
    /// It has no `detail-type`, and no mapping makes an event of it.
    #[error("the body is not an event: {reason}")]
    Unmapped {
        /// Why not, and what it has.
        reason: String,
    },
}

/// Reads a message's body: an EventBridge event, a Scheduler body, one that the first mapping that takes it makes an event of,
/// or any of these wrapped by SNS, once. `message_id` stands in for a missing id.
///
/// # Errors
/// [`UnreadableEvent`]; the message is to be kept aside then.
pub fn read(body: &str, message_id: &str, mappings: &[Mapping]) -> Result<Event, UnreadableEvent> {
    if body.len() >= MAX_BODY_BYTES {
        return Err(UnreadableEvent::TooLarge { bytes: body.len() });
    }
    let value = json(body)?;
    if value.get("detail-type").is_none()
        && let (Some(Value::String(kind)), Some(Value::String(message))) = (value.get("Type"), value.get("Message"))
    {
        // SNS says "Notification"; its other kinds (subscription confirmations) carry no event, and no URL in them is
        // ever fetched.
        if kind != "Notification" {
            return Err(UnreadableEvent::NotAnEvent { reason: format!("an SNS message of type `{}`", shown(kind)) });
        }
        let id = value.get("MessageId").and_then(Value::as_str).unwrap_or(message_id).to_owned();
        return unwrapped(json(message)?, message, &id, mappings);
    }
    unwrapped(value, body, message_id, mappings)
}

/// What a transport says of bodies that are no events by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `source`.
    pub source: String,
    /// `detail-type`.
    pub detail_type: String,
}

/// Reads a body of a sender who is not AWS and whose word is not taken for who it is: what the first mapping that takes it
/// makes of it, else the detail of an event with the `source` and `detail-type` of its envelope.
///
/// # Errors
/// As [`read`].
pub fn read_enveloped(
    body: &str,
    message_id: &str,
    mappings: &[Mapping],
    envelope: &Envelope,
) -> Result<Event, UnreadableEvent> {
    if body.len() >= MAX_BODY_BYTES {
        return Err(UnreadableEvent::TooLarge { bytes: body.len() });
    }
    let value = json(body)?;
    let shaped = match taking(body, mappings) {
        Some(mapping) => mapping.event(value, body, message_id)?,
        None => {
            let Envelope { source, detail_type } = envelope;
            serde_json::json!({ "source": source, "detail-type": detail_type, "id": message_id, "detail": value })
        }
    };
    let text = shaped.to_string();
    let event = event(shaped, text, message_id)?;
    if event.source.starts_with(OF_AWS) {
        let reason = format!("nobody but AWS speaks as `{}`", shown(&event.source));
        return Err(UnreadableEvent::NotAnEvent { reason });
    }
    Ok(event)
}

/// Finds the first mapping that takes a body.
fn taking<'m>(body: &str, mappings: &'m [Mapping]) -> Option<&'m Mapping> {
    mappings.iter().find(|mapping| mapping.when.matches_text(body).unwrap_or(false))
}

fn json(text: &str) -> Result<Value, UnreadableEvent> {
    if text.trim().is_empty() {
        return Err(UnreadableEvent::NotJson { reason: "it is empty".to_owned() });
    }
    serde_json::from_str(text).map_err(|error| UnreadableEvent::NotJson { reason: error.to_string() })
}

fn unwrapped(body: Value, text: &str, message_id: &str, mappings: &[Mapping]) -> Result<Event, UnreadableEvent> {
    if body.get("detail-type").is_some() {
        return event(body, text.to_owned(), message_id);
    }
    match taking(text, mappings) {
        Some(mapping) => {
            let body = mapping.event(body, text, message_id)?;
            let text = body.to_string();
            event(body, text, message_id)
        }
        None => Err(UnreadableEvent::Unmapped { reason: unmapped(&body, mappings.len()) }),
    }
}

/// Says why a body is no event, so that its sender can be found, or a mapping written.
fn unmapped(body: &Value, mappings: usize) -> String {
    let Value::Object(members) = body else { return "it is no JSON object".to_owned() };
    let named = |key: &String| format!("`{}`", shown(key));
    let mut keys: Vec<String> = members.keys().take(MAX_SHOWN_KEYS).map(named).collect();
    if members.len() > MAX_SHOWN_KEYS {
        keys.push(format!("{} more", members.len() - MAX_SHOWN_KEYS));
    }
    let keys = if keys.is_empty() { "nothing".to_owned() } else { keys.join(", ") };
    let by = match mappings {
        0 => "there is no `[mappings.NAME]` that could make an event of it".to_owned(),
        1 => "the one mapping does not take it".to_owned(),
        more => format!("none of {more} mappings takes it"),
    };
    format!("it has no `detail-type`, and {by}; it has {keys}")
}

fn event(body: Value, text: String, message_id: &str) -> Result<Event, UnreadableEvent> {
    let field = |key: &str| match body.get(key) {
        Some(Value::String(text)) if text.len() > MAX_FIELD_BYTES => {
            Err(UnreadableEvent::NotAnEvent { reason: format!("`{key}` has {} bytes", text.len()) })
        }
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(Value::String(_)) | None => Ok(None),
        Some(_) => Err(UnreadableEvent::NotAnEvent { reason: format!("`{key}` is not a text") }),
    };
    let required =
        |key: &str| field(key)?.ok_or_else(|| UnreadableEvent::NotAnEvent { reason: format!("it has no `{key}`") });
    let detail = body.get("detail");
    let traceparent = detail.and_then(|detail| detail.get("traceparent")).or_else(|| body.get("traceparent"));
    Ok(Event {
        source: required("source")?,
        id: field("id")?.unwrap_or_else(|| message_id.to_owned()),
        detail_type: required("detail-type")?,
        time: body.get("time").and_then(Value::as_str).and_then(|text| text.parse().ok()),
        parent: traceparent.and_then(Value::as_str).and_then(trace::parse_traceparent),
        body,
        text,
    })
}

/// Cuts a foreign text to a length that a message can carry.
fn shown(text: &str) -> String {
    text.chars().take(40).collect()
}
