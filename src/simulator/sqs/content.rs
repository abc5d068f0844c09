//! What a message carries: body, attributes, and the checksums that clients compare with their own.
//!
//! MD5 is a checksum of the protocol here, never a protection.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_STANDARD, Engine};
use jiff::SignedDuration;
use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::invalid;
use crate::simulator::{
    ids::hex,
    wire::{ApiError, is_unwritable},
};

const MAX_ATTRIBUTES: usize = 10;
const MAX_NAME: usize = 256;

/// What is given to a new message.
#[derive(Debug, Clone, Default)]
pub(in crate::simulator) struct Content {
    pub(in crate::simulator) body: String,
    pub(in crate::simulator) attributes: Attributes,
    pub(in crate::simulator) trace_header: Option<String>,
    pub(in crate::simulator) delay: Option<SignedDuration>,
    pub(in crate::simulator) group: Option<String>,
    pub(in crate::simulator) dedupe: Option<String>,
}

impl Content {
    pub(super) fn body_digest(&self) -> String {
        hex(&Md5::digest(self.body.as_bytes()))
    }

    /// Size that counts against the queue's limit: body and attributes, in bytes.
    pub(super) fn size(&self) -> usize {
        self.body.len() + self.attributes.size()
    }
}

/// Attributes of a message, by name.
#[derive(Debug, Clone, Default)]
pub(in crate::simulator) struct Attributes(BTreeMap<String, Attribute>);

#[derive(Debug, Clone)]
struct Attribute {
    /// As given, and as given back.
    shown: Value,
    kind: String,
    bytes: Vec<u8>,
    binary: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    data_type: Option<String>,
    string_value: Option<String>,
    binary_value: Option<String>,
}

impl Attributes {
    /// Reads the attributes of a send (SQS developer guide, message metadata).
    ///
    /// # Errors
    /// `InvalidParameterValue` that names the attribute.
    pub(super) fn parse(given: &Map<String, Value>) -> Result<Self, ApiError> {
        if given.len() > MAX_ATTRIBUTES {
            let text = format!("Number of message attributes [{}] exceeds the allowed maximum [10].", given.len());
            return Err(invalid(text));
        }
        given
            .iter()
            .map(|(name, value)| Ok((name.clone(), Attribute::parse(name, value)?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Those whose names are wanted: `All`, `.*`, a name, or the beginning of names and `.*`.
    pub(super) fn chosen(&self, wanted: &[String]) -> Self {
        let chosen = |name: &str| {
            wanted.iter().any(|wanted| match wanted.strip_suffix(".*") {
                Some(prefix) => name.starts_with(prefix),
                None => wanted == "All" || wanted == name,
            })
        };
        Self(self.0.iter().filter(|(name, _)| chosen(name)).map(|(name, one)| (name.clone(), one.clone())).collect())
    }

    /// The checksum (SQS developer guide, "Calculating the MD5 message digest for message attributes"); `None` without
    /// any attribute.
    pub(super) fn digest(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut digest = Md5::new();
        for (name, attribute) in &self.0 {
            digest.update(counted(name.as_bytes()));
            digest.update(counted(attribute.kind.as_bytes()));
            digest.update([if attribute.binary { 2 } else { 1 }]);
            digest.update(counted(&attribute.bytes));
        }
        Some(hex(&digest.finalize()))
    }

    pub(super) fn rendered(&self) -> Value {
        json!(self.0.iter().map(|(name, attribute)| (name, &attribute.shown)).collect::<BTreeMap<_, _>>())
    }

    fn size(&self) -> usize {
        self.0.iter().map(|(name, attribute)| name.len() + attribute.kind.len() + attribute.bytes.len()).sum()
    }
}

impl Attribute {
    fn parse(name: &str, value: &Value) -> Result<Self, ApiError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let dots = name.starts_with('.') || name.ends_with('.') || name.contains("..");
        let lower = name.to_ascii_lowercase();
        let reserved = lower.starts_with("aws.") || lower.starts_with("amazon.");
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(allowed) || dots || reserved {
            return Err(invalid(format!("The message attribute name '{name}' is invalid.")));
        }
        let given: Given = super::parsed(value)?;
        let missing =
            || invalid(format!("The message attribute '{name}' must contain non-empty message attribute type."));
        let kind = given.data_type.filter(|kind| !kind.is_empty()).ok_or_else(missing)?;
        let base = kind.split('.').next().unwrap_or_default();
        let no_value = || {
            invalid(format!(
                "The message attribute '{name}' must contain non-empty message attribute value for message attribute type '{kind}'."
            ))
        };
        let (bytes, binary) = match base {
            "String" | "Number" => {
                let text = given.string_value.filter(|text| !text.is_empty()).ok_or_else(no_value)?;
                if base == "Number" && text.parse::<f64>().is_err() {
                    return Err(invalid(format!("Can't cast the value of message attribute '{name}' to a number.")));
                }
                check_characters(&text)?;
                (text.into_bytes(), false)
            }
            "Binary" => {
                let text = given.binary_value.filter(|text| !text.is_empty()).ok_or_else(no_value)?;
                let bytes = BASE64_STANDARD.decode(&text);
                (bytes.map_err(|_error| invalid(format!("The message attribute '{name}' is not base64.")))?, true)
            }
            _other => {
                let text = format!(
                    "The message attribute '{name}' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."
                );
                return Err(invalid(text));
            }
        };
        let member = if binary { "BinaryValue" } else { "StringValue" };
        let shown = json!({"DataType": kind, member: value[member]});
        Ok(Self { shown, kind, bytes, binary })
    }
}

/// Bytes behind their number.
fn counted(bytes: &[u8]) -> Vec<u8> {
    // No request is as long as that.
    let number = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&number.to_be_bytes(), bytes].concat()
}

/// The trace header of a send, and its checksum: the one system attribute that can be sent.
///
/// # Errors
/// `InvalidParameterValue` for any other one, or another type.
pub(super) fn trace_header(given: &Map<String, Value>) -> Result<(Option<String>, Option<String>), ApiError> {
    if let Some(other) = given.keys().find(|name| *name != "AWSTraceHeader") {
        return Err(invalid(format!("Message system attribute name '{other}' is invalid.")));
    }
    let attributes = Attributes::parse(given)?;
    let text = given.get("AWSTraceHeader").and_then(|attribute| attribute["StringValue"].as_str());
    match (given.is_empty(), text) {
        (false, None) => Err(invalid("The message system attribute 'AWSTraceHeader' must be a String.")),
        (_, text) => Ok((text.map(str::to_owned), attributes.digest())),
    }
}

/// Refuses characters that XML cannot carry, as SQS does.
///
/// # Errors
/// `InvalidMessageContents`.
pub(super) fn check_characters(text: &str) -> Result<(), ApiError> {
    match text.chars().find(|c| is_unwritable(*c)) {
        None => Ok(()),
        Some(c) => {
            let text = format!("Invalid characters found in the message: #x{:X}.", u32::from(c));
            Err(ApiError::bad("InvalidMessageContents", text))
        }
    }
}
