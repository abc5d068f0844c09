//! SQS: long polls queues, hands each batch to the ingest, deletes it only when that is durable.
//!
//! A batch in work is in `work`, failures get their names in `trouble`. The order of a FIFO queue is SQS's own: it
//! gives out nothing of a message group while a message of it is in flight, to none of the receivers. What is left for
//! us is to keep a batch in its order, and to take nothing of a group after a message of it that was not taken.

mod trouble;
mod work;

use std::{
    sync::{Arc, Once},
    time::Duration,
};

use aws_sdk_sqs::{
    Client,
    types::{Message as SqsMessage, MessageSystemAttributeName},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use self::trouble::Trouble;
use super::sdk::{CallKind, LONG_POLL, Places};
use crate::{
    config::settings::Queue,
    domain::{fis::FailureClass, plan::Mode},
    engine::ports::{Store, StoreError},
    ingest::event::{EventIngest, Message, Taken},
};

/// Messages of one receive, the most SQS gives.
const BATCH: i32 = 10;
/// The attribute in which a message that was moved back has the id that it was first sent under: SQS gives it another, and an
/// event that names no id of its own is known by that.
pub(super) const MESSAGE_ID: &str = "firedrill-message-id";
/// First wait after a failure; doubled up to [`BACKOFF_LIMIT`].
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// What a receive asks for beside the message itself: the trace of the sender, the group, and when it was sent.
const ATTRIBUTES: [MessageSystemAttributeName; 3] = [
    MessageSystemAttributeName::AwsTraceHeader,
    MessageSystemAttributeName::MessageGroupId,
    MessageSystemAttributeName::SentTimestamp,
];

/// Whether a queue can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueueHealth {
    /// Not asked yet.
    #[default]
    Unknown,
    /// The last receive was answered.
    Ready,
    /// Something cannot be done.
    Failing {
        /// What kind of failure, the same as long as it is the same one.
        kind: String,
        /// What is wrong, and what may help.
        said: String,
    },
}

/// A call of SQS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueCall {
    /// ReceiveMessage.
    Receive,
    /// ChangeMessageVisibilityBatch.
    Hide,
    /// DeleteMessageBatch.
    Delete,
}

/// Told what became of each message, and of each call.
pub trait QueueWitness: Send + Sync + 'static {
    /// A message was taken in.
    fn taken(&self, queue: &Queue, message_id: &str, taken: &Taken);
    /// A batch was taken in, so long after it was received.
    fn batch_taken(&self, queue: &Queue, took: Duration);
    /// A call was answered for so many messages, or failed.
    fn called(&self, queue: &Queue, call: QueueCall, answer: Result<usize, FailureClass>, took: Duration);
    /// A queue cannot be used. Said once, until it changes.
    fn queue_failed(&self, queue: &Queue, said: &str);
    /// A queue can be used again.
    fn queue_worked(&self, queue: &Queue);
    /// Messages could not be recorded and are kept. Said once, until it changes.
    fn not_recorded(&self, queue: &Queue, error: &StoreError);
    /// A message is what the store does not take; it is left to the queue's redrive.
    fn refused(&self, queue: &Queue, message_id: &str, error: &StoreError);
    /// Messages in work may not be kept hidden, so they may be delivered meanwhile. Said once.
    fn not_hidden(&self, queue: &Queue, why: &str);
    /// So many messages of a batch were taken in and not deleted; they come again.
    fn not_deleted(&self, queue: &Queue, count: usize, why: &str);
}

/// Reads one queue. Clones read the same queue beside each other.
pub struct QueueReader<S, X> {
    /// Which.
    pub queue: Queue,
    /// Configurations of clients.
    pub places: Arc<Places>,
    /// Where messages go.
    pub ingest: EventIngest<S>,
    /// Who is told.
    pub witness: Arc<X>,
    /// Set after each receive.
    pub health: watch::Sender<QueueHealth>,
    /// Nothing is received any more once this is not [`Mode::Active`].
    pub mode: watch::Receiver<Mode>,
    /// Whether it was said that messages may not be kept hidden.
    pub hide_refused: Arc<Once>,
}

impl<S, X> Clone for QueueReader<S, X> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            places: self.places.clone(),
            ingest: self.ingest.clone(),
            witness: self.witness.clone(),
            health: self.health.clone(),
            mode: self.mode.clone(),
            hide_refused: self.hide_refused.clone(),
        }
    }
}

impl<S: Store, X: QueueWitness> QueueReader<S, X> {
    /// Reads until the agent stops; a queue that is missing or unreachable is tried again and again. A poll ends at once
    /// then, a batch that was received is taken in first.
    pub async fn run(self) {
        let mut wait = BACKOFF_FIRST;
        while self.is_active() {
            // Made anew after a failure: what it was made of (Region, role, endpoint) may be there by now.
            let receiver = Client::new(&self.places.config(&self.queue.place, CallKind::LongPoll).await);
            let settler = Client::new(&self.places.config(&self.queue.place, CallKind::Short).await);
            while let Ok(()) = self.read(&receiver, &settler).await {
                wait = BACKOFF_FIRST;
                if !self.is_active() {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = self.stopping() => {}
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(BACKOFF_LIMIT);
        }
    }

    fn is_active(&self) -> bool {
        *self.mode.borrow() == Mode::Active
    }

    /// Waits until the agent stops.
    async fn stopping(&self) {
        // It is stopping as well when nobody is left to say so.
        let mut mode = self.mode.clone();
        let _stopping = mode.wait_for(|mode| *mode != Mode::Active).await;
    }

    /// Receives once and takes in what came. The failure has been told.
    async fn read(&self, receiver: &Client, settler: &Client) -> Result<(), Failed> {
        let before = self.health.borrow().clone();
        // As long as it is not known whether the queue can be read, the answer is not to be waited for.
        let poll = if before == QueueHealth::Ready { LONG_POLL } else { Duration::ZERO };
        let received = tokio::select! {
            biased;
            () = self.stopping() => return Ok(()),
            received = self.receive(receiver, poll) => received,
        };
        match received {
            Ok(messages) if messages.is_empty() => {}
            Ok(messages) => self.work(settler, messages).await?,
            Err(trouble) => {
                self.is_failing(&trouble);
                return Err(Failed);
            }
        }
        // What went well and was begun before another receiver failed proves nothing.
        if (poll.is_zero() || *self.health.borrow() == before) && self.is_news(QueueHealth::Ready) {
            self.witness.queue_worked(&self.queue);
        }
        Ok(())
    }

    async fn receive(&self, client: &Client, poll: Duration) -> Result<Vec<SqsMessage>, Trouble> {
        let wait = i32::try_from(poll.as_secs()).unwrap_or_default();
        let call = client
            .receive_message()
            .queue_url(&self.queue.url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(wait)
            .set_message_system_attribute_names(Some(ATTRIBUTES.to_vec()))
            .message_attribute_names("traceparent")
            .message_attribute_names(MESSAGE_ID);
        let begun = Instant::now();
        let answer = call.send().await.map(|answer| answer.messages.unwrap_or_default());
        let answer = answer.map_err(|error| Trouble::of(&error));
        self.called(QueueCall::Receive, answer.as_ref().map(Vec::len), begun);
        answer
    }

    fn called(&self, call: QueueCall, answer: Result<usize, &Trouble>, begun: Instant) {
        self.witness.called(&self.queue, call, answer.map_err(|trouble| trouble.failure.class), begun.elapsed());
    }

    /// Sets the health, and tells it when it is news.
    fn is_failing(&self, trouble: &Trouble) {
        let said = trouble.to_string();
        if self.is_news(QueueHealth::Failing { kind: trouble.kind.clone(), said: said.clone() }) {
            self.witness.queue_failed(&self.queue, &said);
        }
    }

    /// Sets the health; tells whether a failure began, changed or ended by it.
    fn is_news(&self, health: QueueHealth) -> bool {
        let same = |known: &QueueHealth| match (known, &health) {
            (QueueHealth::Failing { kind: known, .. }, QueueHealth::Failing { kind, .. }) => known == kind,
            (known, health) => known == health,
        };
        let mut was_failing = false;
        let changed = self.health.send_if_modified(|known| {
            was_failing = matches!(known, QueueHealth::Failing { .. });
            let is_news = !same(known);
            *known = health.clone();
            is_news
        });
        changed && (was_failing || health != QueueHealth::Ready)
    }
}

/// A read that failed and has been told.
#[derive(Debug)]
struct Failed;
