//! One SQS queue: messages, visibility and receipts.
//!
//! Pure: time is an argument. A standard queue's order happens to be kept; what a FIFO queue adds is marked. Operations
//! on it are in [`super`].

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    attributes,
    budget::{Budget, Share},
    content::Content,
};
use crate::simulator::{
    clock::later,
    ids::{Ids, hex},
};

/// Most messages of one queue; SQS itself refuses receives beyond 120,000 in flight.
const MAX_MESSAGES: usize = 120_000;

/// How long a deduplication id is remembered (SQS developer guide, exactly-once processing).
const DEDUPE_INTERVAL: SignedDuration = SignedDuration::from_mins(5);

/// Longest time that one receive can keep a message hidden (SQS API reference, ChangeMessageVisibility).
const MAX_HIDDEN: SignedDuration = SignedDuration::from_hours(12);

/// A sequence number has 20 digits and never falls; the first one looks like AWS's.
const FIRST_SEQUENCE: u128 = 18_849_496_460_467_696_128;

/// What a queue promises; it stays what it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum QueueKind {
    /// Messages in about their order, at least once.
    Standard,
    /// Messages in the order of their group, each once.
    Fifo,
}

/// Where a queue's messages go that were received too often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redrive {
    pub(super) target: String,
    pub(super) max_received: u32,
}

/// A queue.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arn: String,
    pub(super) kind: QueueKind,
    pub(super) redrive: Option<Redrive>,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) modified: Timestamp,
    pub(super) purged: Option<Timestamp>,
    messages: VecDeque<Message>,
    /// What was sent under a deduplication id.
    known: HashMap<String, Sent>,
    /// When those ids were sent first, oldest first.
    remembered: VecDeque<(Timestamp, String)>,
    budget: Budget,
    sequence: u128,
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Message {
    id: String,
    content: Content,
    dedupe: Option<String>,
    sequence: Option<String>,
    sent: Timestamp,
    first_received: Option<Timestamp>,
    last_received: Timestamp,
    received: u32,
    /// Hidden until this instant (exclusive); the receipt of the last receive, once received.
    visible_at: Timestamp,
    receipt: Option<String>,
    /// The queue it was moved from.
    dead_from: Option<String>,
    _share: Share,
}

/// Answer to a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) id: String,
    pub(super) sequence: Option<String>,
}

/// Which messages a receiver wants, and which parts of them.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) limit: usize,
    pub(super) hide: SignedDuration,
    pub(super) system: Vec<String>,
    pub(super) attributes: Vec<String>,
}

/// What a receiver gets.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) messages: Vec<Value>,
    /// Messages that were received too often and belong in the dead-letter queue.
    pub(super) dead: Vec<Message>,
}

/// A receipt handle that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReceiptProblem {
    /// It was never given out.
    Malformed,
    /// It is older than the last receive, or the message is gone or visible again.
    Outdated,
    /// The message would be hidden for longer than [`MAX_HIDDEN`].
    TooLong,
}

/// A message that the queue does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendProblem {
    /// The queue is at its limit.
    Full,
    /// A FIFO queue needs a group.
    GroupMissing,
    /// A FIFO queue needs a deduplication id, or makes one of the body when it is told to.
    DedupeMissing,
}

impl Queue {
    /// An empty queue.
    pub(super) fn new(name: String, arn: String, kind: QueueKind, budget: Budget, now: Timestamp) -> Self {
        Self {
            name,
            arn,
            kind,
            redrive: None,
            attributes: BTreeMap::new(),
            tags: BTreeMap::new(),
            created: now,
            modified: now,
            purged: None,
            messages: VecDeque::new(),
            known: HashMap::new(),
            remembered: VecDeque::new(),
            budget,
            sequence: FIRST_SEQUENCE,
        }
    }

    /// Whether it is a FIFO queue.
    pub(super) fn fifo(&self) -> bool {
        self.kind == QueueKind::Fifo
    }

    fn is(&self, attribute: &str, value: &str) -> bool {
        self.attributes.get(attribute).is_some_and(|set| set == value)
    }

    /// An attribute that is a number, as set or by default.
    pub(super) fn number(&self, attribute: &str) -> i64 {
        attributes::value(self, attribute).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    /// An attribute that is a number of seconds, as set or by default.
    pub(super) fn seconds(&self, attribute: &str) -> SignedDuration {
        SignedDuration::from_secs(self.number(attribute))
    }

    /// Adds a message. A FIFO queue takes one that it knows already, and keeps the first only.
    ///
    /// # Errors
    /// [`SendProblem`].
    pub(super) fn send(&mut self, content: Content, ids: &mut Ids, now: Timestamp) -> Result<Sent, SendProblem> {
        if self.messages.len() >= MAX_MESSAGES {
            return Err(SendProblem::Full);
        }
        let (mut dedupe, mut sequence) = (None, None);
        if self.fifo() {
            let group = content.group.clone().ok_or(SendProblem::GroupMissing)?;
            let made = || self.is("ContentBasedDeduplication", "true").then(|| sha256(&content.body));
            let id = content.dedupe.clone().or_else(made).ok_or(SendProblem::DedupeMissing)?;
            let scope = if self.is("DeduplicationScope", "messageGroup") { group } else { String::new() };
            self.forget_old(now);
            let key = format!("{scope}\n{id}");
            if let Some(sent) = self.known.get(&key) {
                return Ok(sent.clone());
            }
            self.sequence += 256;
            sequence = Some(self.sequence.to_string());
            dedupe = Some((key, id));
        }
        let share = self.budget.take(content.size()).ok_or(SendProblem::Full)?;
        let sent = Sent { id: ids.uuid(), sequence: sequence.clone() };
        let (key, dedupe) = dedupe.unzip();
        if let Some(key) = key {
            self.remembered.push_back((now, key.clone()));
            self.known.insert(key, sent.clone());
        }
        let delay = content.delay.unwrap_or_else(|| self.seconds("DelaySeconds"));
        self.messages.push_back(Message {
            id: sent.id.clone(),
            content,
            dedupe,
            sequence,
            sent: now,
            first_received: None,
            last_received: now,
            received: 0,
            visible_at: later(now, delay),
            receipt: None,
            dead_from: None,
            _share: share,
        });
        Ok(sent)
    }

    /// Forgets the deduplication ids whose time is over, and the oldest ones of too many.
    fn forget_old(&mut self, now: Timestamp) {
        let many = |queue: &Self| queue.remembered.len() > MAX_MESSAGES;
        let over = |queue: &Self| queue.remembered.front().is_some_and(|(at, _)| later(*at, DEDUPE_INTERVAL) <= now);
        while many(self) || over(self) {
            let Some((_, key)) = self.remembered.pop_front() else { return };
            self.known.remove(&key);
        }
    }

    /// Takes a message that died in the queue `source`. Its id and count stay; a standard queue also keeps the time at
    /// which it was sent, so that it may expire soon (SQS developer guide, dead-letter queues).
    pub(super) fn bury(&mut self, mut message: Message, source: &str, now: Timestamp) {
        message.receipt = None;
        message.visible_at = now;
        message.dead_from = Some(source.to_owned());
        if self.fifo() {
            message.sent = now;
        }
        self.messages.push_back(message);
    }

    /// Takes visible messages and hides them; those that were received `max_received` times are dead instead.
    pub(super) fn receive(&mut self, wanted: &Wanted, max_received: Option<u32>, now: Timestamp) -> Taken {
        let retention = self.seconds("MessageRetentionPeriod");
        self.messages.retain(|message| later(message.sent, retention) > now);
        // A group of a FIFO queue waits while one of its messages is hidden, so that its order holds.
        let blocked: BTreeSet<String> = if self.fifo() {
            let hidden = self.messages.iter().filter(|message| message.visible_at > now);
            hidden.filter_map(|message| message.content.group.clone()).collect()
        } else {
            BTreeSet::new()
        };
        let free = |message: &Message| {
            message.visible_at <= now && !message.content.group.as_ref().is_some_and(|group| blocked.contains(group))
        };
        let mut taken = Taken::default();
        let mut dead = Vec::new();
        for (at, message) in self.messages.iter_mut().enumerate() {
            if taken.messages.len() >= wanted.limit {
                break;
            }
            if !free(message) {
                continue;
            }
            if max_received.is_some_and(|max| message.received >= max) {
                dead.push(at);
                continue;
            }
            message.take(wanted.hide, now);
            taken.messages.push(message.rendered(wanted));
        }
        // From the back, so that the places before stay.
        taken.dead = dead.into_iter().rev().filter_map(|at| self.messages.remove(at)).collect();
        taken.dead.reverse();
        taken
    }

    /// The next instant at which a hidden message becomes visible.
    pub(super) fn next_visible(&self, now: Timestamp) -> Option<Timestamp> {
        self.messages.iter().map(|message| message.visible_at).filter(|at| *at > now).min()
    }

    /// Removes a message. An outdated receipt removes nothing; a standard queue takes that for a success (SQS API
    /// reference, DeleteMessage), a FIFO queue for an error when the message is visible again.
    ///
    /// # Errors
    /// [`ReceiptProblem::Malformed`] or [`ReceiptProblem::Outdated`].
    pub(super) fn delete(&mut self, receipt: &str, now: Timestamp) -> Result<(), ReceiptProblem> {
        let id = message_id(receipt)?;
        let fifo = self.fifo();
        let Some(at) = self.messages.iter().position(|message| message.id == id) else { return Ok(()) };
        match self.messages.get(at) {
            Some(message) if fifo && message.visible_at <= now => Err(ReceiptProblem::Outdated),
            Some(message) if message.receipt.as_deref() == Some(receipt) => {
                self.messages.remove(at);
                Ok(())
            }
            _outdated => Ok(()),
        }
    }

    /// Sets when a message in flight becomes visible.
    ///
    /// # Errors
    /// [`ReceiptProblem`] when no message in flight has this receipt.
    pub(super) fn hide(&mut self, receipt: &str, time: SignedDuration, now: Timestamp) -> Result<(), ReceiptProblem> {
        message_id(receipt)?;
        let mut in_flight = self.messages.iter_mut().filter(|message| message.visible_at > now);
        let message = in_flight.find(|message| message.receipt.as_deref() == Some(receipt));
        let message = message.ok_or(ReceiptProblem::Outdated)?;
        if later(now, time) > later(message.last_received, MAX_HIDDEN) {
            return Err(ReceiptProblem::TooLong);
        }
        message.visible_at = later(now, time);
        Ok(())
    }

    /// Removes every message.
    pub(super) fn purge(&mut self, now: Timestamp) {
        self.messages.clear();
        self.purged = Some(now);
    }

    /// Every message that is kept, for the state page.
    pub(super) fn dump(&self) -> Value {
        let shown = |message: &Message| {
            json!({
                "id": message.id,
                "body": message.content.body,
                "received": message.received,
                "visibleAt": message.visible_at.to_string(),
            })
        };
        self.messages.iter().map(shown).collect()
    }

    /// Numbers of messages that are visible, in flight and delayed.
    pub(super) fn depths(&self, now: Timestamp) -> Depths {
        let retention = self.seconds("MessageRetentionPeriod");
        let mut depths = Depths { visible: 0, in_flight: 0, delayed: 0 };
        for message in self.messages.iter().filter(|message| later(message.sent, retention) > now) {
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
    fn take(&mut self, hide: SignedDuration, now: Timestamp) {
        self.received = self.received.saturating_add(1);
        self.first_received.get_or_insert(now);
        self.last_received = now;
        self.visible_at = later(now, hide);
        self.receipt = Some(format!("{}-{}", self.id, self.received));
    }

    fn rendered(&self, wanted: &Wanted) -> Value {
        let mut body = json!({
            "MessageId": self.id,
            "ReceiptHandle": self.receipt,
            "Body": self.content.body,
            "MD5OfBody": self.content.body_digest(),
        });
        let system: Map<String, Value> = self
            .system_attributes()
            .into_iter()
            .filter(|(name, _)| wanted.system.iter().any(|wanted| wanted == "All" || wanted == name))
            .map(|(name, value)| (name.to_owned(), Value::from(value)))
            .collect();
        if !system.is_empty() {
            body["Attributes"] = Value::Object(system);
        }
        let attributes = self.content.attributes.chosen(&wanted.attributes);
        if let Some(digest) = attributes.digest() {
            body["MD5OfMessageAttributes"] = json!(digest);
            body["MessageAttributes"] = attributes.rendered();
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
        let optional = [
            ("AWSTraceHeader", &self.content.trace_header),
            ("MessageGroupId", &self.content.group),
            ("MessageDeduplicationId", &self.dedupe),
            ("SequenceNumber", &self.sequence),
            ("DeadLetterQueueSourceArn", &self.dead_from),
        ];
        attributes.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
        attributes
    }
}

/// The message of a receipt: a receipt is a message's UUID, a hyphen and a number.
fn message_id(receipt: &str) -> Result<&str, ReceiptProblem> {
    let parts = receipt.get(..36).zip(receipt.get(36..).and_then(|rest| rest.strip_prefix('-')));
    let parts = parts.filter(|(_, number)| number.parse::<u32>().is_ok());
    parts.map(|(id, _)| id).ok_or(ReceiptProblem::Malformed)
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}
