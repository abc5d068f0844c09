//! Messages that could not be read, taken in again or forgotten because an operator says so.

use std::sync::Arc;

use jiff::Timestamp;

use super::event::{EventIngest, Message, Taken};
use crate::{
    domain::{
        event::Envelope,
        ids::{self, Name},
    },
    engine::ports::{Found, QuarantinedMessage, Store, StoreError},
};

/// What became of a message that was to be taken in again.
#[derive(Debug, Clone, PartialEq)]
pub enum Redriven {
    /// It went the way of every message; one that can still not be read stays where it was.
    Taken(Taken),
    /// Its body was too long to be kept whole.
    Cut(QuarantinedMessage),
    /// It is not there.
    Unknown,
}

/// Messages that could not be read.
#[derive(Debug)]
pub struct Quarantine<S> {
    store: Arc<S>,
    ingest: EventIngest<S>,
}

impl<S> Clone for Quarantine<S> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), ingest: self.ingest.clone() }
    }
}

impl<S: Store> Quarantine<S> {
    /// Makes one whose messages go to an ingest.
    pub fn new(store: Arc<S>, ingest: EventIngest<S>) -> Self {
        Self { store, ingest }
    }

    /// Takes a message in again, and forgets it when it could be read.
    ///
    /// # Errors
    /// [`StoreError`] when that could not be recorded; an event that was is known when it is taken in once more.
    pub async fn redrive(&self, queue: &str, message_id: &str, now: Timestamp) -> Result<Redriven, StoreError> {
        let Some(kept) = self.store.quarantined_message(queue, message_id).await? else { return Ok(Redriven::Unknown) };
        if kept.is_cut() {
            return Ok(Redriven::Cut(kept));
        }
        let Ok(source) = Name::parse(queue) else { return Ok(Redriven::Unknown) };
        // A webhook's message is known by its body. Whoever sent it is believed no more than before.
        let is_hook = kept.message_id == ids::name_of_text(&kept.body);
        let unknown = || Envelope { source: source.to_string(), detail_type: "unknown".to_owned() };
        let message = Message {
            envelope: is_hook.then(unknown),
            queue: source,
            id: kept.message_id,
            body: kept.body,
            parent: None,
            group: None,
            // As old as it is: a redrive does not make an event of yesterday a new one.
            sent_at: Some(kept.received_at),
        };
        let Some(taken) = self.ingest.take(vec![message], now).await?.pop() else { return Ok(Redriven::Unknown) };
        if !matches!(taken, Taken::Quarantined { .. }) {
            self.store.forget_quarantined(queue, message_id).await?;
        }
        Ok(Redriven::Taken(taken))
    }

    /// Forgets a message; tells whether it was there.
    ///
    /// # Errors
    /// [`StoreError`] when it could not be forgotten.
    pub async fn forget(&self, queue: &str, message_id: &str) -> Result<Found, StoreError> {
        self.store.forget_quarantined(queue, message_id).await
    }
}
