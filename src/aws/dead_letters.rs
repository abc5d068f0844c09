//! A queue's dead-letter queue: looked into, moved back into the queue, or emptied.
//!
//! Messages are received to be looked at, and given back. One that is moved is sent first and deleted then: after a failure
//! in between it is there twice, and the agent knows an event that comes twice, by its own id
//! or by that of the message, which goes with it.

use std::collections::HashMap;

use aws_sdk_sqs::{
    Client,
    types::{
        ChangeMessageVisibilityBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName,
    },
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    provision::{ProvisionFailure, failed, unusable},
    sdk::{CallKind, Places},
    sqs::MESSAGE_ID,
};
use crate::{config::settings::Queue, domain::fis::FailureClass};

/// Messages of one receive, the most SQS gives.
const BATCH: i32 = 10;
/// How long a message that is looked at is hidden from others, in seconds, unless it is given back before.
const HIDDEN_SECONDS: i32 = 60;
/// How long a receive waits, in seconds: with less than one, SQS asks some of its servers only.
const WAIT_SECONDS: i32 = 1;

/// A queue's dead-letter queue.
pub struct DeadLetters {
    client: Client,
    queue: Queue,
    /// Its name.
    pub name: String,
    url: String,
    /// How often a message was delivered before it came here.
    pub max_receives: u64,
}

/// A message in it.
#[derive(Debug, Clone)]
pub struct Letter {
    message: Message,
    /// The queue's id of it.
    pub id: String,
    /// Its body.
    pub body: String,
    /// How often it was received, from here and from where it came.
    pub receives: Option<u64>,
    /// When it was sent.
    pub sent: Option<Timestamp>,
    /// ARN of the queue that it came from; `None` when somebody sent it here.
    pub from: Option<String>,
    /// What EventBridge says of an event that it could not deliver.
    pub error: Option<String>,
}

impl DeadLetters {
    /// Finds the dead-letter queue of a queue; `None` when it has none.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when a call fails.
    pub async fn of(places: &Places, queue: &Queue) -> Result<Option<Self>, ProvisionFailure> {
        let client = Client::new(&places.config(&queue.place, CallKind::Short).await);
        let asked =
            client.get_queue_attributes().queue_url(&queue.url).attribute_names(QueueAttributeName::RedrivePolicy);
        let answer = asked.send().await.map_err(failed(format!("read queue `{}`", queue.url)))?;
        let policy = answer.attributes.and_then(|all| all.get(&QueueAttributeName::RedrivePolicy).cloned());
        let policy: Value = serde_json::from_str(&policy.unwrap_or_default()).unwrap_or_default();
        // `arn:partition:sqs:region:account:name`
        let parts = policy["deadLetterTargetArn"].as_str().unwrap_or_default().split(':').collect::<Vec<_>>();
        let [.., account, name] = parts[..] else { return Ok(None) };
        let asked = client.get_queue_url().queue_name(name).queue_owner_aws_account_id(account);
        let what = format!("find queue `{name}`");
        let url = asked.send().await.map_err(failed(&what))?.queue_url;
        let none = || unusable(&what, FailureClass::Unreadable, "the answer holds no URL");
        let count = &policy["maxReceiveCount"];
        let count = count.as_u64().or_else(|| count.as_str()?.parse().ok());
        Ok(Some(Self {
            client,
            queue: queue.clone(),
            name: name.to_owned(),
            url: url.ok_or_else(none)?,
            max_receives: count.unwrap_or_default(),
        }))
    }

    /// Receives some messages; none when there are none that are not hidden.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when the call fails.
    pub async fn receive(&self) -> Result<Vec<Letter>, ProvisionFailure> {
        let receive = self.client.receive_message().queue_url(&self.url).max_number_of_messages(BATCH);
        let receive = receive.visibility_timeout(HIDDEN_SECONDS).wait_time_seconds(WAIT_SECONDS);
        let receive = receive.message_system_attribute_names(MessageSystemAttributeName::All);
        let answer = receive.message_attribute_names("All").send().await;
        let answer = answer.map_err(failed(format!("receive from queue `{}`", self.name)))?;
        Ok(answer.messages.unwrap_or_default().into_iter().map(Letter::new).collect())
    }

    /// Gives messages back, so that others see them at once.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when a call fails; they come back by themselves then, after a minute.
    pub async fn give_back(&self, letters: &[Letter]) -> Result<(), ProvisionFailure> {
        let what = format!("give messages back to queue `{}`", self.name);
        for batch in letters.chunks(usize::try_from(BATCH).unwrap_or(1)) {
            let entry = |(number, letter): (usize, &Letter)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(number.to_string())
                    .set_receipt_handle(letter.message.receipt_handle.clone())
                    .visibility_timeout(0)
                    .build()
            };
            let entries = batch.iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>();
            let entries = entries.map_err(|error| unusable(&what, FailureClass::Invalid, error.to_string()))?;
            let change = self.client.change_message_visibility_batch().queue_url(&self.url);
            change.set_entries(Some(entries)).send().await.map_err(failed(&what))?;
        }
        Ok(())
    }

    /// Moves a message back into the queue.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when a call fails; the message is still here then, and perhaps there too.
    pub async fn move_back(&self, letter: &Letter) -> Result<(), ProvisionFailure> {
        let what = format!("send message {} to queue `{}`", letter.id, self.queue.name);
        let mut send = self.client.send_message().queue_url(&self.queue.url).message_body(&letter.body);
        let mut attributes = letter.message.message_attributes.clone().unwrap_or_default();
        if !attributes.contains_key(MESSAGE_ID) {
            let id = MessageAttributeValue::builder().data_type("String").string_value(&letter.id).build();
            let id = id.map_err(|error| unusable(&what, FailureClass::Invalid, error.to_string()))?;
            attributes.insert(MESSAGE_ID.to_owned(), id);
        }
        send = send.set_message_attributes(Some(attributes));
        if let Some(group) = letter.system(&MessageSystemAttributeName::MessageGroupId) {
            // With the id that it was first sent under, SQS could take it for the one that came here. With this one a move
            // that failed half-way can be done again.
            send = send.message_group_id(group);
            if self.name.ends_with(".fifo") {
                send = send.message_deduplication_id(format!("redrive-{}", letter.id));
            }
        }
        if let Some(header) = letter.system(&MessageSystemAttributeName::AwsTraceHeader) {
            let header = MessageSystemAttributeValue::builder().data_type("String").string_value(header).build();
            let header = header.map_err(|error| unusable(&what, FailureClass::Invalid, error.to_string()))?;
            send = send.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, header);
        }
        send.send().await.map_err(failed(what))?;
        self.delete(letter).await
    }

    /// Deletes a message.
    ///
    /// # Errors
    /// [`ProvisionFailure`] when the call fails.
    pub async fn delete(&self, letter: &Letter) -> Result<(), ProvisionFailure> {
        let delete = self.client.delete_message().queue_url(&self.url);
        let delete = delete.set_receipt_handle(letter.message.receipt_handle.clone()).send().await;
        delete.map(|_| ()).map_err(failed(format!("delete message {} from queue `{}`", letter.id, self.name)))
    }
}

impl Letter {
    fn new(message: Message) -> Self {
        let text = |attributes: &Option<HashMap<String, MessageAttributeValue>>, name: &str| {
            attributes.as_ref()?.get(name)?.string_value().map(str::to_owned)
        };
        let mut letter = Self {
            id: message.message_id.clone().unwrap_or_default(),
            body: message.body.clone().unwrap_or_default(),
            receives: None,
            sent: None,
            from: None,
            // Amazon EventBridge user guide, dead-letter queues of rules: attributes of their messages.
            error: text(&message.message_attributes, "ERROR_MESSAGE"),
            message,
        };
        letter.receives =
            letter.system(&MessageSystemAttributeName::ApproximateReceiveCount).and_then(|n| n.parse().ok());
        let sent = letter.system(&MessageSystemAttributeName::SentTimestamp).and_then(|ms| ms.parse().ok());
        letter.sent = sent.and_then(|ms| Timestamp::from_millisecond(ms).ok());
        letter.from = letter.system(&MessageSystemAttributeName::DeadLetterQueueSourceArn).map(str::to_owned);
        letter
    }

    fn system(&self, name: &MessageSystemAttributeName) -> Option<&str> {
        self.message.attributes.as_ref()?.get(name).map(String::as_str)
    }
}
