//! A queue's attributes: which there are, what they may be, and what they are unless set.
//!
//! Bounds and defaults are those of SQS's API reference, SetQueueAttributes. Keys are kept and not used, and of
//! policies only what they say to EventBridge (see [`super::policy`]): the simulator checks no other permissions.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Queues, invalid,
    queue::{Queue, QueueKind, Redrive},
};
use crate::simulator::wire::{Answer, ApiError};

/// Largest and, unless set, the largest allowed message, in bytes.
pub(super) const MAX_MESSAGE_BYTES: i64 = 1_048_576;

/// What a value may be.
enum Kind {
    Number(i64, i64),
    OneOf(&'static [&'static str]),
    /// Empty, or a JSON object.
    Object,
    Text,
}

/// An attribute that can be set.
struct Settable {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    fifo_only: bool,
}

const fn every(name: &'static str, default: &'static str, kind: Kind) -> Settable {
    Settable { name, default, kind, fifo_only: false }
}

const fn fifo(name: &'static str, default: &'static str, kind: Kind) -> Settable {
    Settable { name, default, kind, fifo_only: true }
}

const BOOLEAN: Kind = Kind::OneOf(&["true", "false"]);

const SETTABLE: &[Settable] = &[
    every("VisibilityTimeout", "30", Kind::Number(0, super::MAX_VISIBILITY_SECONDS)),
    every("DelaySeconds", "0", Kind::Number(0, super::MAX_DELAY_SECONDS)),
    every("ReceiveMessageWaitTimeSeconds", "0", Kind::Number(0, super::MAX_WAIT_SECONDS)),
    every("MessageRetentionPeriod", "345600", Kind::Number(60, 1_209_600)),
    every("MaximumMessageSize", "1048576", Kind::Number(1_024, MAX_MESSAGE_BYTES)),
    every("Policy", "", Kind::Object),
    every("RedrivePolicy", "", Kind::Object),
    every("RedriveAllowPolicy", "", Kind::Object),
    every("KmsMasterKeyId", "", Kind::Text),
    every("KmsDataKeyReusePeriodSeconds", "300", Kind::Number(60, 86_400)),
    every("SqsManagedSseEnabled", "true", BOOLEAN),
    fifo("FifoQueue", "true", Kind::OneOf(&["true"])),
    fifo("ContentBasedDeduplication", "false", BOOLEAN),
    fifo("DeduplicationScope", "queue", Kind::OneOf(&["queue", "messageGroup"])),
    fifo("FifoThroughputLimit", "perQueue", Kind::OneOf(&["perQueue", "perMessageGroupId"])),
];

/// Attributes that are computed.
const COMPUTED: &[&str] = &[
    "All",
    "QueueArn",
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
    "CreatedTimestamp",
    "LastModifiedTimestamp",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: Option<String>,
    max_receive_count: Option<Value>,
}

/// What an attribute of a queue is; `None` for one that it does not have.
pub(super) fn value(queue: &Queue, name: &str) -> Option<String> {
    let settable = SETTABLE.iter().find(|settable| settable.name == name)?;
    if settable.fifo_only && !queue.fifo() {
        return None;
    }
    Some(queue.attributes.get(name).cloned().unwrap_or_else(|| settable.default.to_owned()))
}

/// Whether a queue lets another one use it as its dead-letter queue (SQS API reference, RedriveAllowPolicy).
fn allows(target: &Queue, source: &str) -> bool {
    let policy = target.attributes.get("RedriveAllowPolicy").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let policy = policy.unwrap_or_default();
    match policy["redrivePermission"].as_str() {
        Some("denyAll") => false,
        Some("byQueue") => {
            policy["sourceQueueArns"].as_array().is_some_and(|arns| arns.iter().any(|arn| arn.as_str() == Some(source)))
        }
        _all => true,
    }
}

fn parsed_redrive(text: &str) -> Result<Redrive, ApiError> {
    let refused =
        |reason: &str| invalid(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}"));
    let policy: RedrivePolicy =
        serde_json::from_str(text).map_err(|_| refused("Redrive policy is not a valid JSON map."))?;
    let target = policy.dead_letter_target_arn;
    let target =
        target.ok_or_else(|| refused("Redrive policy does not contain mandatory attribute: deadLetterTargetArn."))?;
    let count = policy.max_receive_count;
    let count =
        count.ok_or_else(|| refused("Redrive policy does not contain mandatory attribute: maxReceiveCount."))?;
    // Tools write the number with quotes, too.
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok()).and_then(|count| u32::try_from(count).ok());
    match count.filter(|count| (1..=1_000).contains(count)) {
        Some(max_received) => Ok(Redrive { target, max_received }),
        None => Err(refused("Invalid value for maxReceiveCount: it must be between 1 and 1000.")),
    }
}

fn check(name: &str, value: &str, kind: QueueKind) -> Result<(), ApiError> {
    let unknown = || ApiError::bad("InvalidAttributeName", format!("Unknown Attribute {name}."));
    let settable = SETTABLE.iter().find(|settable| settable.name == name).ok_or_else(unknown)?;
    if settable.fifo_only && kind != QueueKind::Fifo {
        return Err(unknown());
    }
    let fits = match &settable.kind {
        Kind::Number(least, most) => value.parse().is_ok_and(|number| (*least..=*most).contains(&number)),
        Kind::OneOf(values) => values.contains(&value),
        Kind::Object => value.is_empty() || serde_json::from_str::<Map<String, Value>>(value).is_ok(),
        Kind::Text => true,
    };
    if fits {
        return Ok(());
    }
    Err(ApiError::bad("InvalidAttributeValue", format!("Invalid value for the parameter {name}.")))
}

impl Queues {
    /// Checks attributes that a queue is to have, and reads the redrive policy among them.
    ///
    /// # Errors
    /// `InvalidAttributeName`, `InvalidAttributeValue`, or `InvalidParameterValue` for a dead-letter queue that is
    /// missing, of the other type, or closed to the queue with the ARN `source`.
    pub(super) fn check_attributes(
        &self,
        attributes: &BTreeMap<String, String>,
        kind: QueueKind,
        source: &str,
    ) -> Result<Option<Redrive>, ApiError> {
        for (name, value) in attributes {
            check(name, value, kind)?;
        }
        let Some(text) = attributes.get("RedrivePolicy").filter(|text| !text.is_empty()) else { return Ok(None) };
        let redrive = parsed_redrive(text)?;
        let refused = |reason: &str| {
            Err(invalid(format!("Value {text} for parameter RedrivePolicy is invalid. Reason: {reason}")))
        };
        match self.by_arn(&redrive.target) {
            None => refused("Dead letter target does not exist."),
            Some(target) if target.kind != kind => {
                refused("Dead-letter queue must be same type of queue as the source.")
            }
            Some(target) if !allows(target, source) => refused("The dead-letter queue does not allow this source."),
            Some(_) => Ok(Some(redrive)),
        }
    }

    pub(super) fn attributes(&mut self, body: &Value, now: Timestamp) -> Answer {
        let queue = self.named(body)?;
        let mut wanted: Vec<&str> = Vec::new();
        for name in body["AttributeNames"].as_array().into_iter().flatten() {
            let known = |name: &&str| COMPUTED.contains(name) || SETTABLE.iter().any(|settable| settable.name == *name);
            let name = name.as_str().filter(known);
            wanted.push(name.ok_or_else(|| ApiError::bad("InvalidAttributeName", "Unknown Attribute."))?);
        }
        let depths = queue.depths(now);
        let computed = [
            ("QueueArn", queue.arn.clone()),
            ("ApproximateNumberOfMessages", depths.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", depths.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", depths.delayed.to_string()),
            ("CreatedTimestamp", queue.created.as_second().to_string()),
            ("LastModifiedTimestamp", queue.modified.as_second().to_string()),
        ];
        let set = SETTABLE.iter().filter_map(|settable| Some((settable.name, value(queue, settable.name)?)));
        // What is about a key is shown with a key only.
        let keyed = queue.attributes.get("KmsMasterKeyId").is_some_and(|key| !key.is_empty());
        let shown = computed
            .into_iter()
            .chain(set.filter(|(name, _)| keyed || *name != "KmsDataKeyReusePeriodSeconds"))
            .filter(|(name, value)| !value.is_empty() && (wanted.contains(&"All") || wanted.contains(name)));
        let shown: Map<String, Value> = shown.map(|(name, value)| (name.to_owned(), value.into())).collect();
        Ok(if shown.is_empty() { json!({}) } else { json!({"Attributes": shown}) })
    }

    pub(super) fn set_attributes(&mut self, body: &Value, now: Timestamp) -> Answer {
        let attributes: BTreeMap<String, String> = super::parsed(&body["Attributes"])?;
        let queue = self.named(body)?;
        let (kind, source) = (queue.kind, queue.arn.clone());
        if attributes.contains_key("FifoQueue") {
            // A queue stays what it was made (SQS API reference, SetQueueAttributes).
            return Err(ApiError::bad("InvalidAttributeName", "Unknown Attribute FifoQueue."));
        }
        let redrive = self.check_attributes(&attributes, kind, &source)?;
        let queue = self.named(body)?;
        if attributes.contains_key("RedrivePolicy") {
            queue.redrive = redrive;
        }
        queue.attributes.extend(attributes);
        queue.modified = now;
        Ok(json!({}))
    }
}
