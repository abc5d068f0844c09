//! One SQS queue: messages, visibility and receipts.
//!
//! A standard queue whose order happens to be kept. Pure: time is an argument. Operations on it are in [`super`].

use std::collections::{BTreeMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use crate::simulator::{clock::later, ids::Ids, md5};

/// Most messages of one queue; SQS itself refuses receives beyond 120,000 in flight.
const MAX_MESSAGES: usize = 120_000;

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) tags: Value,
    pub(super) created: Timestamp,
    messages: VecDeque<Message>,
}

/// What is given to a new message.
#[derive(Debug, Default)]
pub(in crate::simulator) struct Content {
    pub(in crate::simulator) body: String,
    pub(in crate::simulator) attributes: Map<String, Value>,
    pub(in crate::simulator) trace_header: Option<String>,
    pub(in crate::simulator) delay: Option<SignedDuration>,
}

#[derive(Debug)]
struct Message {
    id: String,
    content: Content,
    sent: Timestamp,
    first_received: Option<Timestamp>,
    received: u32,
    /// Hidden until this instant (exclusive); the receipt of the last receive, once received.
    visible_at: Timestamp,
    receipt: Option<String>,
}

/// Which parts of a message a receiver asks for.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) system: Vec<String>,
    pub(super) attributes: Vec<String>,
}

/// A receipt handle that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiptProblem {
    /// It was never given out.
    Malformed,
    /// It is older than the last receive, or the message is gone or visible again.
    Outdated,
}

/// A queue that takes no more messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

impl Queue {
    /// An empty queue.
    pub(super) fn new(name: String, arn: String, tags: Value, now: Timestamp) -> Self {
        Self { name, arn, attributes: BTreeMap::new(), tags, created: now, messages: VecDeque::new() }
    }

    /// An attribute that is a number of seconds; `default` when it was not set.
    pub(super) fn seconds(&self, attribute: &str, default: i64) -> SignedDuration {
        let set = self.attributes.get(attribute).and_then(|text| text.parse().ok());
        SignedDuration::from_secs(set.unwrap_or(default))
    }

    /// Adds a message and returns its id.
    ///
    /// # Errors
    /// [`Full`] at the limit.
    pub(super) fn send(&mut self, content: Content, ids: &mut Ids, now: Timestamp) -> Result<String, Full> {
        if self.messages.len() >= MAX_MESSAGES {
            return Err(Full);
        }
        let delay = content.delay.unwrap_or_else(|| self.seconds("DelaySeconds", 0));
        let id = ids.uuid();
        self.messages.push_back(Message {
            id: id.clone(),
            content,
            sent: now,
            first_received: None,
            received: 0,
            visible_at: later(now, delay),
            receipt: None,
        });
        Ok(id)
    }

    /// Takes up to `limit` visible messages and hides them.
    pub(super) fn receive(
        &mut self,
        limit: usize,
        hide: SignedDuration,
        wanted: &Wanted,
        now: Timestamp,
    ) -> Vec<Value> {
        let retention = self.seconds("MessageRetentionPeriod", 345_600);
        self.messages.retain(|message| later(message.sent, retention) > now);
        let mut taken = Vec::new();
        for message in self.messages.iter_mut().filter(|message| message.visible_at <= now).take(limit) {
            message.received = message.received.saturating_add(1);
            message.first_received.get_or_insert(now);
            message.visible_at = later(now, hide);
            message.receipt = Some(format!("{}-{}", message.id, message.received));
            taken.push(message.rendered(wanted));
        }
        taken
    }

    /// The next instant at which a hidden message becomes visible.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        self.messages.iter().map(|message| message.visible_at).filter(|at| *at > now).min()
    }

    /// Removes a message. An outdated receipt removes nothing and is no error, as SQS has it.
    ///
    /// # Errors
    /// [`ReceiptProblem::Malformed`].
    pub(super) fn delete(&mut self, receipt: &str) -> Result<(), ReceiptProblem> {
        check_receipt(receipt)?;
        self.messages.retain(|message| message.receipt.as_deref() != Some(receipt));
        Ok(())
    }

    /// Sets when a message in flight becomes visible.
    ///
    /// # Errors
    /// [`ReceiptProblem`] when no message in flight has this receipt.
    pub(super) fn hide(&mut self, receipt: &str, time: SignedDuration, now: Timestamp) -> Result<(), ReceiptProblem> {
        check_receipt(receipt)?;
        let mut in_flight = self.messages.iter_mut().filter(|message| message.visible_at > now);
        let message = in_flight.find(|message| message.receipt.as_deref() == Some(receipt));
        message.ok_or(ReceiptProblem::Outdated)?.visible_at = later(now, time);
        Ok(())
    }

    /// Removes every message.
    pub(super) fn purge(&mut self) {
        self.messages.clear();
    }

    /// Numbers of messages that are visible, in flight and delayed.
    pub(super) fn depths(&self, now: Timestamp) -> Depths {
        let mut depths = Depths { visible: 0, in_flight: 0, delayed: 0 };
        for message in &self.messages {
            match (message.visible_at <= now, message.receipt.is_some()) {
                (true, _) => depths.visible += 1,
                (false, true) => depths.in_flight += 1,
                (false, false) => depths.delayed += 1,
            }
        }
        depths
    }
}

/// Numbers of messages by what a receiver would see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Depths {
    pub(super) visible: usize,
    pub(super) in_flight: usize,
    pub(super) delayed: usize,
}

impl Message {
    fn rendered(&self, wanted: &Wanted) -> Value {
        let mut body = json!({
            "MessageId": self.id,
            "ReceiptHandle": self.receipt,
            "Body": self.content.body,
            "MD5OfBody": md5::hex_digest(self.content.body.as_bytes()),
        });
        let all = |names: &[String], name: &str| names.iter().any(|wanted| wanted == "All" || wanted == name);
        let system: Map<String, Value> = self
            .system_attributes()
            .into_iter()
            .filter(|(name, _)| all(&wanted.system, name))
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        if !system.is_empty() {
            body["Attributes"] = Value::Object(system);
        }
        let mut attributes = self.content.attributes.clone();
        attributes.retain(|name, _| all(&wanted.attributes, name));
        if !attributes.is_empty() {
            body["MessageAttributes"] = Value::Object(attributes);
        }
        body
    }

    fn system_attributes(&self) -> Vec<(&'static str, String)> {
        let first = self.first_received.unwrap_or(self.sent);
        let mut attributes = vec![
            ("SenderId", "AIDASIMULATOR".to_owned()),
            ("SentTimestamp", self.sent.as_millisecond().to_string()),
            ("ApproximateReceiveCount", self.received.to_string()),
            ("ApproximateFirstReceiveTimestamp", first.as_millisecond().to_string()),
        ];
        attributes.extend(self.content.trace_header.clone().map(|header| ("AWSTraceHeader", header)));
        attributes
    }
}

/// A receipt is a message's UUID, a hyphen and a number.
fn check_receipt(receipt: &str) -> Result<(), ReceiptProblem> {
    let number = receipt.get(36..).and_then(|rest| rest.strip_prefix('-'));
    number.and_then(|number| number.parse::<u32>().ok()).map(|_| ()).ok_or(ReceiptProblem::Malformed)
}
