//! Mappings: how bodies of other shapes become events, by configuration instead of code.
//!
//! Pure. The event that a mapping makes holds the whole body as its `detail`.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{MAX_FIELD_BYTES, UnreadableEvent};
use crate::domain::{ids, ids::Name, pattern::Pattern};

/// Numbers of this size or more are milliseconds since 1970, smaller ones seconds: as seconds they lie beyond the year 5000.
const LEAST_MILLISECONDS: f64 = 1e11;

/// A mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    /// Its name in the configuration.
    pub name: Name,
    /// Which bodies it takes.
    pub when: Pattern,
    /// `source` of the event.
    pub source: Part,
    /// `detail-type` of the event.
    pub detail_type: Part,
    /// JSON pointer to what only this event has. Without it, and where nothing is there, a digest of the body
    /// stands for it if that says when it happened, else the id of the message: a deployment may look like the one before.
    pub id: Option<String>,
    /// JSON pointer to the time: RFC 3339, or seconds or milliseconds since 1970.
    pub time: Option<String>,
}

/// A text of an event: as it stands in the configuration, or in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// This text.
    Literal(String),
    /// What a JSON pointer leads to in the body.
    At(String),
}

impl Part {
    /// Reads a part as it is written: what begins with `/` is a pointer.
    pub fn new(text: &str) -> Self {
        if text.starts_with('/') { Self::At(text.to_owned()) } else { Self::Literal(text.to_owned()) }
    }
}

impl Mapping {
    /// Makes an event of the body of a message, which is given as text too.
    ///
    /// # Errors
    /// [`UnreadableEvent::Unmapped`] when a pointer leads to nothing that could be taken.
    pub fn event(&self, body: Value, text: &str, message_id: &str) -> Result<Value, UnreadableEvent> {
        let part = |key, part: &Part| match part {
            Part::Literal(text) => Ok(text.clone()),
            Part::At(pointer) => scalar(&body, pointer).ok_or_else(|| UnreadableEvent::Unmapped {
                reason: format!(
                    "mapping `{}` finds no text of 1 to {MAX_FIELD_BYTES} bytes for `{key}` at `{pointer}`",
                    self.name
                ),
            }),
        };
        let (source, detail_type) = (part("source", &self.source)?, part("detail_type", &self.detail_type)?);
        let id = self.id.as_ref().and_then(|pointer| scalar(&body, pointer));
        let time = self.time.as_ref().and_then(|pointer| instant(body.pointer(pointer)?));
        let stands_for = || if time.is_some() { ids::fingerprint(&[text]) } else { message_id.to_owned() };
        let id = id.unwrap_or_else(stands_for);
        let mut event = json!({ "version": "0", "id": id, "detail-type": detail_type, "source": source });
        if let Some(time) = time {
            event["time"] = json!(time.to_string());
        }
        event["detail"] = body;
        Ok(event)
    }
}

/// The scalar at a pointer as text.
fn scalar(body: &Value, pointer: &str) -> Option<String> {
    let text = match body.pointer(pointer)? {
        Value::String(text) => text.clone(),
        scalar @ (Value::Number(_) | Value::Bool(_)) => scalar.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    (1..=MAX_FIELD_BYTES).contains(&text.len()).then_some(text)
}

/// Reads a time: RFC 3339, or a number, also in quotes, of seconds or milliseconds since 1970.
fn instant(value: &Value) -> Option<Timestamp> {
    let number = match value {
        Value::String(text) => match text.parse() {
            Ok(at) => return Some(at),
            Err(_not_rfc_3339) => text.parse().ok()?,
        },
        value => value.as_f64()?,
    };
    let seconds = if number >= LEAST_MILLISECONDS { number / 1_000.0 } else { number };
    let since = jiff::SignedDuration::try_from_secs_f64(seconds).ok()?;
    // To the millisecond: what a fraction in floating point says beyond that is chance.
    Timestamp::UNIX_EPOCH.checked_add(since).ok()?.round(jiff::Unit::Millisecond).ok()
}
