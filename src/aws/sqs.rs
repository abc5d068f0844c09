//! SQS: long polls a queue, hands each message to the ingest, deletes it only when that is durable.

use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::{
    Client,
    types::{Message as SqsMessage, MessageSystemAttributeName},
};
use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    classify::failure,
    sdk::{CallKind, LONG_POLL, Places},
};
use crate::{
    config::settings::Queue,
    domain::{fis::CallFailure, run::TraceParent, trace},
    engine::ports::{Store, StoreError},
    ingest::event::{EventIngest, Message, Taken},
};

/// Messages of one receive, the most SQS gives.
const BATCH: i32 = 10;
/// First wait after a failure; doubled up to [`BACKOFF_LIMIT`].
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failure.
const BACKOFF_LIMIT: Duration = Duration::from_secs(30);

/// Whether a queue can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum QueueHealth {
    /// Not asked yet.
    #[default]
    Unknown,
    /// The last receive was answered.
    Ready,
    /// The last receive failed.
    Failing(String),
}

/// Told what became of each message.
pub trait QueueWitness: Send + Sync + 'static {
    /// A message was taken in.
    fn taken(&self, queue: &Queue, message_id: &str, taken: &Taken);
    /// A receive or delete failed.
    fn queue_failed(&self, queue: &Queue, failure: &CallFailure);
    /// A message could not be recorded and will be delivered again.
    fn not_recorded(&self, queue: &Queue, message_id: &str, error: &StoreError);
}

/// Reads one queue until dropped.
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
}

impl<S: Store, X: QueueWitness> QueueReader<S, X> {
    /// Reads for ever; a queue that is missing or unreachable is tried again and again.
    pub async fn run(self) {
        let mut wait = BACKOFF_FIRST;
        loop {
            // Made anew after a failure: what it was made of (Region, role, endpoint) may be there by now.
            let receiver = Client::new(&self.places.config(&self.queue.place, CallKind::LongPoll).await);
            let deleter = Client::new(&self.places.config(&self.queue.place, CallKind::Short).await);
            while let Ok(()) = self.read(&receiver, &deleter).await {
                wait = BACKOFF_FIRST;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_LIMIT);
        }
    }

    /// Receives once and takes in what came. The failure has been told.
    async fn read(&self, receiver: &Client, deleter: &Client) -> Result<(), Failed> {
        // As long as it is not known whether the queue can be read, the answer is not to be waited for.
        let poll = if *self.health.borrow() == QueueHealth::Ready { LONG_POLL } else { Duration::ZERO };
        match self.receive(receiver, poll).await {
            Ok(messages) => {
                for message in messages {
                    self.take(deleter, message).await;
                }
                self.health.send_replace(QueueHealth::Ready);
                Ok(())
            }
            Err(failure) => {
                // Said once a change, not once a try.
                if self.is_failing(failure.to_string()) {
                    self.witness.queue_failed(&self.queue, &failure);
                }
                Err(Failed)
            }
        }
    }

    /// Sets the health; tells whether that is news.
    fn is_failing(&self, why: String) -> bool {
        let news = QueueHealth::Failing(why);
        self.health.send_replace(news.clone()) != news
    }

    async fn receive(&self, client: &Client, poll: Duration) -> Result<Vec<SqsMessage>, CallFailure> {
        let wait = i32::try_from(poll.as_secs()).unwrap_or_default();
        let call = client
            .receive_message()
            .queue_url(&self.queue.url)
            .max_number_of_messages(BATCH)
            .wait_time_seconds(wait)
            .message_system_attribute_names(MessageSystemAttributeName::AwsTraceHeader)
            .message_attribute_names("traceparent");
        Ok(call.send().await.map_err(|e| failure(&e))?.messages.unwrap_or_default())
    }

    /// Takes one message in and deletes it. While it cannot be recorded it is kept and nothing else is received: every
    /// further delivery would bring a message nearer to a dead-letter queue. One that is delivered again meanwhile is known
    /// by then.
    async fn take(&self, client: &Client, message: SqsMessage) {
        let parent = parent(&message);
        let id = message.message_id.unwrap_or_default();
        let taken =
            Message { queue: self.queue.name.clone(), id: id.clone(), body: message.body.unwrap_or_default(), parent };
        let mut wait = BACKOFF_FIRST;
        loop {
            match self.ingest.take(vec![taken.clone()], now()).await {
                Ok(taken) => {
                    taken.iter().for_each(|taken| self.witness.taken(&self.queue, &id, taken));
                    break;
                }
                Err(error) => {
                    if self.is_failing(format!("messages cannot be recorded: {error}")) {
                        self.witness.not_recorded(&self.queue, &id, &error);
                    }
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(BACKOFF_LIMIT);
                }
            }
        }
        let Some(handle) = message.receipt_handle else { return };
        if let Err(error) = client.delete_message().queue_url(&self.queue.url).receipt_handle(handle).send().await {
            // It comes again and is known then.
            self.witness.queue_failed(&self.queue, &failure(&error));
        }
    }
}

/// A read that failed and has been told.
#[derive(Debug)]
struct Failed;

/// When a message is received is the agent's own observation, made here at the edge.
#[expect(clippy::disallowed_methods, reason = "the edge where the outside world is observed")]
fn now() -> Timestamp {
    Timestamp::now()
}

/// Reads the sender's trace: a `traceparent` attribute, else the system attribute that AWS tracing sets.
fn parent(message: &SqsMessage) -> Option<TraceParent> {
    let traceparent = message.message_attributes.as_ref().and_then(|all| all.get("traceparent"));
    let by_w3c = traceparent.and_then(|value| value.string_value()).and_then(trace::parse_traceparent);
    let header = message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::AwsTraceHeader));
    by_w3c.or_else(|| header.and_then(|text| trace::parse_aws_trace_header(text)))
}
