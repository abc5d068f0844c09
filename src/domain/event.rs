//! Deployment events: what a message says, or why it cannot be read.
//!
//! Pure. Which runs an event opens is decided by [`opened_runs`]; whether one of them starts is the planner's business.

mod hint;
mod opened;
pub mod presets;

use jiff::Timestamp;
use serde_json::Value;

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
}

/// Reads a message's body: an EventBridge event, one wrapped by SNS, or a Scheduler body. `message_id` stands in for a
/// missing id.
///
/// # Errors
/// [`UnreadableEvent`]; the message is to be kept aside then.
pub fn read(body: &str, message_id: &str) -> Result<Event, UnreadableEvent> {
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
        return event(json(message)?, message.clone(), &id);
    }
    event(value, body.to_owned(), message_id)
}

/// What a transport says of bodies that are no events by themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// `source`.
    pub source: String,
    /// `detail-type`.
    pub detail_type: String,
}

/// Reads a body that need not be an event: one without `source` and `detail-type` is the detail of an event with those of
/// its envelope.
///
/// # Errors
/// As [`read`].
pub fn read_enveloped(body: &str, message_id: &str, envelope: &Envelope) -> Result<Event, UnreadableEvent> {
    if body.len() >= MAX_BODY_BYTES {
        return Err(UnreadableEvent::TooLarge { bytes: body.len() });
    }
    let value = json(body)?;
    if value.get("source").is_some() && value.get("detail-type").is_some() {
        return event(value, body.to_owned(), message_id);
    }
    let Envelope { source, detail_type } = envelope;
    let shaped = serde_json::json!({ "source": source, "detail-type": detail_type, "id": message_id, "detail": value });
    let text = shaped.to_string();
    event(shaped, text, message_id)
}

fn json(text: &str) -> Result<Value, UnreadableEvent> {
    serde_json::from_str(text).map_err(|error| UnreadableEvent::NotJson { reason: error.to_string() })
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
