//! A batch in work: taken in, kept hidden meanwhile, deleted.
//!
//! Nothing is deleted that is not durable. Whatever ends early, by a crash, a stop or a lost answer, comes again from the
//! queue and is known then.

use std::{collections::BTreeSet, convert::Infallible, time::Duration};

use aws_sdk_sqs::{
    Client,
    error::BuildError,
    types::{
        BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry,
        Message as SqsMessage, MessageSystemAttributeName,
    },
};
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::{
    BACKOFF_FIRST, BACKOFF_LIMIT, Failed, MESSAGE_ID, Message, QueueCall, QueueHealth, QueueReader, QueueWitness,
    Store, StoreError, trouble::Trouble,
};
use crate::domain::{fis::FailureClass, run::TraceParent, trace};

/// After so long a batch is still in work: the queue's own visibility timeout may be near. Usually it takes milliseconds.
const FIRST_BEAT: Duration = Duration::from_secs(1);
/// Time between two extensions after that.
const BEAT: Duration = Duration::from_secs(20);
/// How long from an extension on the messages stay hidden, in seconds: two beats may be lost.
const HIDDEN_SECONDS: i32 = 60;
/// How often messages are told to be deleted before they are left to come again.
const DELETE_ATTEMPTS: u32 = 3;

/// Why messages were not recorded.
enum Unrecorded {
    /// The store works and does not take one of them.
    Refused(StoreError),
    /// The agent stops, and the store cannot be written.
    Stopping,
}

impl<S: Store, X: QueueWitness> QueueReader<S, X> {
    /// Takes in a batch and deletes what is durable of it. While it cannot be recorded it is kept, hidden from others, and
    /// nothing else is received: every further delivery would bring a message nearer to a dead-letter queue.
    pub(super) async fn work(&self, client: &Client, received: Vec<SqsMessage>) -> Result<(), Failed> {
        let begun = Instant::now();
        let handles: Vec<String> = received.iter().map(|m| m.receipt_handle.clone().unwrap_or_default()).collect();
        let messages: Vec<Message> = received.into_iter().map(|message| self.message(message)).collect();
        let durable = tokio::select! {
            biased;
            durable = self.record(&messages) => durable,
            never = self.keep_hidden(client, &handles) => match never {},
        };
        self.witness.batch_taken(&self.queue, begun.elapsed());
        let (durable, left): (Vec<_>, Vec<_>) =
            handles.into_iter().enumerate().partition(|(at, _)| durable.contains(at));
        let handles = |of: Vec<(usize, String)>| of.into_iter().map(|(_, handle)| handle).collect::<Vec<_>>();
        self.delete(client, handles(durable)).await?;
        if !left.is_empty() && !self.is_active() {
            // Whoever reads the queue next need not wait for them.
            self.hide(client, &handles(left), 0).await;
            return Err(Failed);
        }
        Ok(())
    }

    fn message(&self, message: SqsMessage) -> Message {
        let parent = parent(&message);
        let attribute = |name| message.attributes.as_ref().and_then(|all| all.get(&name));
        let sent_ms = attribute(MessageSystemAttributeName::SentTimestamp).and_then(|text| text.parse().ok());
        let group = attribute(MessageSystemAttributeName::MessageGroupId);
        let moved = message.message_attributes.as_ref().and_then(|all| all.get(MESSAGE_ID)?.string_value.clone());
        Message {
            queue: self.queue.name.clone(),
            parent,
            // On a standard queue a group is about fairness and promises no order.
            group: group.filter(|_| self.queue.is_fifo()).cloned(),
            envelope: None,
            sent_at: sent_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()),
            id: moved.or(message.message_id).unwrap_or_default(),
            body: message.body.unwrap_or_default(),
        }
    }

    /// Records a batch; returns the places of those that are durable. One that the store refuses hinders no others than
    /// those that have to come after it.
    async fn record(&self, messages: &[Message]) -> BTreeSet<usize> {
        match self.insist(messages).await {
            Ok(()) => return (0..messages.len()).collect(),
            Err(Unrecorded::Stopping) => return BTreeSet::new(),
            Err(Unrecorded::Refused(_)) => {}
        }
        let (mut durable, mut blocked) = (BTreeSet::new(), BTreeSet::new());
        for (at, message) in messages.iter().enumerate() {
            if message.group.as_ref().is_some_and(|group| blocked.contains(group)) {
                continue;
            }
            match self.insist(std::slice::from_ref(message)).await {
                Ok(()) => {
                    durable.insert(at);
                }
                Err(Unrecorded::Refused(error)) => {
                    self.witness.refused(&self.queue, &message.id, &error);
                    // What cannot be read has no place in an order.
                    blocked.extend(message.group.as_ref().filter(|_| !matches!(error, StoreError::Full)));
                }
                Err(Unrecorded::Stopping) => break,
            }
        }
        durable
    }

    /// Takes messages in, however long the store cannot be written.
    async fn insist(&self, messages: &[Message]) -> Result<(), Unrecorded> {
        let mut wait = BACKOFF_FIRST;
        loop {
            match self.take(messages).await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_of_a_row() => return Err(Unrecorded::Refused(error)),
                Err(error) => {
                    let said = format!("messages cannot be recorded: {error}");
                    if self.is_news(QueueHealth::Failing { kind: said.clone(), said }) {
                        self.witness.not_recorded(&self.queue, &error);
                    }
                }
            }
            tokio::select! {
                biased;
                () = self.stopping() => return Err(Unrecorded::Stopping),
                () = sleep(wait) => {}
            }
            wait = (wait * 2).min(BACKOFF_LIMIT);
        }
    }

    /// Hands messages to the ingest, and tells what became of them.
    async fn take(&self, messages: &[Message]) -> Result<(), StoreError> {
        let taken = self.ingest.take(messages.to_vec(), now()).await?;
        for (message, taken) in messages.iter().zip(&taken) {
            self.witness.taken(&self.queue, &message.id, taken);
        }
        Ok(())
    }

    /// Keeps messages hidden for as long as they are in work.
    async fn keep_hidden(&self, client: &Client, handles: &[String]) -> Infallible {
        sleep(FIRST_BEAT).await;
        loop {
            // What cannot be extended comes again, and is known by then or taken in as it would be now.
            self.hide(client, handles, HIDDEN_SECONDS).await;
            sleep(BEAT).await;
        }
    }

    /// Sets how long from now on messages are hidden.
    async fn hide(&self, client: &Client, handles: &[String], seconds: i32) {
        let entry = |(at, handle): (usize, &String)| {
            let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(at.to_string()).receipt_handle(handle);
            entry.visibility_timeout(seconds).build()
        };
        let entries: Result<Vec<_>, BuildError> = handles.iter().enumerate().map(entry).collect();
        let call = client.change_message_visibility_batch().queue_url(&self.queue.url).set_entries(entries.ok());
        let begun = Instant::now();
        let answer = call.send().await.map_err(|error| Trouble::of(&error));
        self.called(QueueCall::Hide, answer.as_ref().map(|answer| answer.successful.len()), begun);
        match answer {
            Ok(answer) if answer.failed.is_empty() => {}
            Ok(answer) => tracing::debug!(queue = %self.queue.name, why = why(&answer.failed), "not kept hidden"),
            Err(trouble) if trouble.failure.class == FailureClass::Denied => {
                self.hide_refused.call_once(|| self.witness.not_hidden(&self.queue, &trouble.to_string()));
            }
            Err(trouble) => tracing::debug!(queue = %self.queue.name, why = %trouble, "not kept hidden"),
        }
    }

    /// Deletes messages. Those that SQS could not delete are told to be deleted again, a few times.
    async fn delete(&self, client: &Client, mut handles: Vec<String>) -> Result<(), Failed> {
        let mut attempt = 0;
        while !handles.is_empty() {
            attempt += 1;
            let entry = |(at, handle): (usize, &String)| {
                DeleteMessageBatchRequestEntry::builder().id(at.to_string()).receipt_handle(handle).build()
            };
            let entries: Result<Vec<_>, BuildError> = handles.iter().enumerate().map(entry).collect();
            let call = client.delete_message_batch().queue_url(&self.queue.url).set_entries(entries.ok());
            let begun = Instant::now();
            let answer = call.send().await.map_err(|error| Trouble::of(&error));
            self.called(QueueCall::Delete, answer.as_ref().map(|answer| answer.successful.len()), begun);
            match answer {
                Ok(answer) => {
                    let failed: BTreeSet<&str> = answer.failed.iter().map(|entry| entry.id.as_str()).collect();
                    if attempt == DELETE_ATTEMPTS && !failed.is_empty() {
                        self.witness.not_deleted(&self.queue, failed.len(), &why(&answer.failed));
                        break;
                    }
                    let left =
                        handles.into_iter().enumerate().filter(|(at, _)| failed.contains(at.to_string().as_str()));
                    handles = left.map(|(_, handle)| handle).collect();
                }
                Err(trouble) if attempt == DELETE_ATTEMPTS || !trouble.failure.class.is_transient() => {
                    self.is_failing(&trouble);
                    return Err(Failed);
                }
                // It may have been done: the next answer tells.
                Err(_) => {}
            }
        }
        Ok(())
    }
}

/// What SQS said of the entries of a batch that it could not do.
fn why(failed: &[BatchResultErrorEntry]) -> String {
    let said = failed.iter().map(|entry| match &entry.message {
        Some(message) => format!("{}: {message}", entry.code),
        None => entry.code.clone(),
    });
    said.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("; ")
}

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
