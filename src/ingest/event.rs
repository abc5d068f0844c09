//! Queue messages: read, match, record in one transaction. Only after that may the message be deleted.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use crate::{
    domain::{
        event::{self, Order, Receipt},
        experiment::Rules,
        ids::Name,
        run::{Run, TraceParent},
    },
    engine::ports::{EventRow, QuarantinedMessage, Recorded, Store, StoreError},
};

/// Most of a quarantined body that is kept, in bytes.
pub const QUARANTINE_BODY_BYTES: usize = 16 * 1024;

/// A message as a queue delivered it.
#[derive(Debug, Clone)]
pub struct Message {
    /// Which queue, by our name.
    pub queue: Name,
    /// The queue's id of it.
    pub id: String,
    /// Its body.
    pub body: String,
    /// Trace that the sender belonged to, from the message's attributes.
    pub parent: Option<TraceParent>,
}

/// What became of a message. In every case it is durable now, and the message may be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It opened runs.
    Matched {
        /// Which.
        runs: Vec<Run>,
        /// Time from the event to its receipt in seconds, where the event tells its time.
        lag_seconds: Option<f64>,
    },
    /// No trigger matches it.
    Unmatched,
    /// It was known.
    Duplicate,
    /// It could not be read and was put aside.
    Quarantined {
        /// Why.
        reason: String,
    },
}

impl Taken {
    /// Returns the name used in metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Matched { .. } => "matched",
            Self::Unmatched => "unmatched",
            Self::Duplicate => "duplicate",
            Self::Quarantined { .. } => "quarantined",
        }
    }
}

/// Takes messages in.
#[derive(Debug)]
pub struct EventIngest<S> {
    store: Arc<S>,
    rules: watch::Receiver<Arc<Rules>>,
    poke: Arc<Notify>,
}

impl<S> Clone for EventIngest<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), rules: self.rules.clone(), poke: self.poke.clone() }
    }
}

impl<S: Store> EventIngest<S> {
    /// Makes an ingest that pokes the engine after each row.
    pub fn new(store: Arc<S>, rules: watch::Receiver<Arc<Rules>>, poke: Arc<Notify>) -> Self {
        Self { store, rules, poke }
    }

    /// Takes one message in.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be recorded: the message must not be deleted then.
    pub async fn take(&self, message: Message, now: Timestamp) -> Result<Taken, StoreError> {
        let event = match event::read(&message.body, &message.id) {
            Ok(event) => event,
            Err(unreadable) => return self.put_aside(message, unreadable.to_string(), now).await,
        };
        let rules = self.rules.borrow().clone();
        let receipt = Receipt { source: message.queue.clone(), at: now, order: Order::Any, parent: message.parent };
        let runs = event::opened_runs(&rules, &event, &receipt);
        let row =
            EventRow { source: event.source, event_id: event.id, detail_type: event.detail_type, received_at: now };
        match self.store.record_event(row, runs.clone()).await? {
            Recorded::Known => Ok(Taken::Duplicate),
            Recorded::New if runs.is_empty() => Ok(Taken::Unmatched),
            Recorded::New => {
                self.poke.notify_one();
                let lag_seconds = event.time.map(|time| now.duration_since(time).as_secs_f64().max(0.0));
                Ok(Taken::Matched { runs, lag_seconds })
            }
        }
    }

    async fn put_aside(&self, message: Message, reason: String, now: Timestamp) -> Result<Taken, StoreError> {
        let mut body = message.body;
        let cut = (0..=QUARANTINE_BODY_BYTES.min(body.len())).rev().find(|&at| body.is_char_boundary(at)).unwrap_or(0);
        body.truncate(cut);
        let kept = QuarantinedMessage {
            queue: message.queue.to_string(),
            message_id: message.id,
            received_at: now,
            reason: reason.clone(),
            body,
        };
        self.store.quarantine(kept).await?;
        Ok(Taken::Quarantined { reason })
    }
}
