//! Queue messages: read, match, record a batch in one transaction. Only after that may they be deleted.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::watch;

use crate::{
    domain::{
        civil::later,
        event::{self, Envelope, Event, MAX_BODY_BYTES, Order, Receipt},
        experiment::Rules,
        ids::Name,
        run::{Run, TraceParent},
    },
    engine::ports::{Arrival, EventRow, Hints, Poke, QuarantinedMessage, Recorded, Store, StoreError},
};

/// Largest event that is kept when no trigger takes it, in bytes, so that it can be told why.
pub const KEPT_BODY_BYTES: usize = 16 * 1024;

/// Most of a quarantined body that is kept of one that is too long to be read at all, in bytes. Any other is kept whole, so
/// that it can be taken in once the configuration knows it.
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
    /// Message group of a FIFO queue, in which messages come in the order in which they were sent; `None` where the order
    /// of arrival says nothing.
    pub group: Option<String>,
    /// When it was sent, where the source tells.
    pub sent_at: Option<Timestamp>,
    /// What it is when its body is no event by itself; `None` where it has to be one.
    pub envelope: Option<Envelope>,
}

/// What became of a message. In every case it is durable now, and the message may be deleted.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It opened runs.
    Matched {
        /// Which.
        runs: Vec<Run>,
        /// Time from the event, or from its sending, to its receipt in seconds, where one of the two is told.
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
    poke: Arc<Poke>,
    hints: Arc<Hints>,
}

impl<S> Clone for EventIngest<S> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            rules: self.rules.clone(),
            poke: self.poke.clone(),
            hints: self.hints.clone(),
        }
    }
}

impl<S: Store> EventIngest<S> {
    /// Makes an ingest that pokes the engine once for each batch that opens runs or tells of FIS experiments.
    pub fn new(store: Arc<S>, rules: watch::Receiver<Arc<Rules>>, poke: Arc<Poke>, hints: Arc<Hints>) -> Self {
        Self { store, rules, poke, hints }
    }

    /// Takes messages in, in their order: events in one transaction, unreadable messages in another. What became of each is
    /// told in the same order.
    ///
    /// # Errors
    /// [`StoreError`] when they could not be recorded: none of the messages must be deleted then. Those that were recorded
    /// nevertheless are known when they are taken in again.
    pub async fn take(&self, messages: Vec<Message>, now: Timestamp) -> Result<Vec<Taken>, StoreError> {
        let rules = self.rules.borrow().clone();
        let (mut arrivals, mut lags, mut unreadable, mut told_of) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut taken: Vec<Option<Taken>> = Vec::with_capacity(messages.len());
        for (place, message) in (0..).zip(messages) {
            // Each later than the one before, so that their order is kept with them.
            let now = later(now, SignedDuration::from_micros(place));
            let read = match &message.envelope {
                Some(envelope) => event::read_enveloped(&message.body, &message.id, &rules.mappings, envelope),
                None => event::read(&message.body, &message.id, &rules.mappings),
            };
            let order = if message.group.is_some() { Order::Kept } else { Order::Any };
            let (sent_at, parent) = (message.sent_at, message.parent);
            let receipt = Receipt { source: message.queue.clone(), at: now, sent_at, order, parent };
            let read = read.and_then(|event| Ok((event::opened_runs(&rules, &event, &receipt)?, event)));
            match read {
                Ok((runs, event)) => {
                    lags.push(event.time.or(sent_at).map(|time| now.duration_since(time).as_secs_f64().max(0.0)));
                    told_of.extend(event::told_of(&event).map(|fis_id| (fis_id.to_owned(), now)));
                    arrivals.push(Arrival { event: row(event, &receipt, &runs), runs });
                    taken.push(None);
                }
                Err(error) => {
                    let reason = error.to_string();
                    taken.push(Some(Taken::Quarantined { reason: reason.clone() }));
                    unreadable.push(put_aside(message, reason, now));
                }
            }
        }
        if !unreadable.is_empty() {
            self.store.quarantine(unreadable).await?;
        }
        if arrivals.is_empty() {
            return Ok(taken.into_iter().flatten().collect());
        }
        let runs: Vec<Vec<Run>> = arrivals.iter().map(|arrival| arrival.runs.clone()).collect();
        let recorded = self.store.record_events(arrivals).await?;
        let mut of_events =
            recorded.into_iter().zip(runs).zip(lags).map(|((recorded, runs), lag_seconds)| match recorded {
                Recorded::Known => Taken::Duplicate,
                Recorded::New if runs.is_empty() => Taken::Unmatched,
                Recorded::New => Taken::Matched { runs, lag_seconds },
            });
        let taken: Vec<Taken> = taken.into_iter().filter_map(|taken| taken.or_else(|| of_events.next())).collect();
        told_of.iter().for_each(|(fis_id, at)| self.hints.give(fis_id, *at));
        if !told_of.is_empty() || taken.iter().any(|taken| matches!(taken, Taken::Matched { .. })) {
            self.poke.notify_one();
        }
        Ok(taken)
    }
}

fn row(event: Event, receipt: &Receipt, runs: &[Run]) -> EventRow {
    // Of one that opens runs they tell everything.
    let body = Some(event.text).filter(|text| runs.is_empty() && text.len() <= KEPT_BODY_BYTES);
    EventRow {
        source: event.source,
        event_id: event.id,
        detail_type: event.detail_type,
        received_at: receipt.at,
        queue: Some(receipt.source.to_string()),
        body,
    }
}

fn put_aside(message: Message, reason: String, now: Timestamp) -> QuarantinedMessage {
    let mut body = message.body;
    let body_bytes = u64::try_from(body.len()).unwrap_or(u64::MAX);
    if body.len() >= MAX_BODY_BYTES {
        body.truncate((0..=QUARANTINE_BODY_BYTES).rev().find(|&at| body.is_char_boundary(at)).unwrap_or(0));
    }
    QuarantinedMessage {
        queue: message.queue.to_string(),
        message_id: message.id,
        received_at: now,
        reason,
        body,
        body_bytes,
    }
}
