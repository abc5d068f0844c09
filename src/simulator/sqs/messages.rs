//! Operations on messages: send, receive, delete, and how long they stay hidden.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    MAX_DELAY_SECONDS, MAX_VISIBILITY_SECONDS, MAX_WAIT_SECONDS, Queues, attributes,
    content::{Attributes, Content, check_characters, trace_header},
    invalid, no_queue, parsed,
    queue::{ReceiptProblem, SendProblem, Wanted},
    text,
};
use crate::simulator::{
    ids::Ids,
    wire::{Answer, ApiError},
};

const MAX_BATCH: usize = 10;
const MAX_ID: usize = 80;
const MAX_FIFO_ID: usize = 128;

/// A ReceiveMessage request, checked.
#[derive(Debug)]
pub(super) struct Receive {
    queue: String,
    /// Longest wait for the first message.
    pub(super) wait: SignedDuration,
    wanted: Wanted,
}

/// What a ReceiveMessage finds at one look.
#[derive(Debug)]
pub(super) enum Found {
    /// At least one message.
    Messages(Vec<Value>),
    /// Nothing until this instant, unless something is sent.
    NothingUntil(Option<Timestamp>),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    #[serde(default)]
    message_body: String,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    #[serde(default)]
    message_system_attributes: Map<String, Value>,
    message_group_id: Option<String>,
    message_deduplication_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReceiveMessage {
    max_number_of_messages: Option<usize>,
    visibility_timeout: Option<i64>,
    wait_time_seconds: Option<i64>,
    #[serde(default)]
    attribute_names: Vec<String>,
    #[serde(default)]
    message_system_attribute_names: Vec<String>,
    #[serde(default)]
    message_attribute_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Batch {
    #[serde(default)]
    entries: Vec<Value>,
}

impl Queues {
    pub(super) fn send(&mut self, body: &Value, ids: &mut Ids, now: Timestamp) -> Answer {
        let queue = self.named(body)?;
        let request: SendMessage = parsed(body)?;
        if request.message_body.is_empty() {
            return Err(missing("MessageBody"));
        }
        check_characters(&request.message_body)?;
        let delay = within(request.delay_seconds, MAX_DELAY_SECONDS, "DelaySeconds")?;
        let wrong_type = |parameter: &str, value: &str| {
            let reason = "The request include parameter that is not valid for this queue type.";
            invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
        };
        match (queue.fifo(), delay, &request.message_deduplication_id) {
            (true, Some(delay), _) if !delay.is_zero() => {
                return Err(wrong_type("DelaySeconds", &delay.as_secs().to_string()));
            }
            (false, _, Some(id)) => return Err(wrong_type("MessageDeduplicationId", id)),
            _fitting => {}
        }
        let (trace_header, system_digest) = trace_header(&request.message_system_attributes)?;
        let content = Content {
            body: request.message_body,
            attributes: Attributes::parse(&request.message_attributes)?,
            trace_header,
            delay: delay.filter(|_| !queue.fifo()),
            group: fifo_id(request.message_group_id, "MessageGroupId")?,
            dedupe: fifo_id(request.message_deduplication_id, "MessageDeduplicationId")?,
        };
        let limit = queue.number("MaximumMessageSize");
        if i64::try_from(content.size()).is_ok_and(|size| size > limit) {
            let reason = format!("Message must be shorter than {limit} bytes.");
            return Err(invalid(format!("One or more parameters are invalid. Reason: {reason}")));
        }
        let (digest, attribute_digest) = (content.body_digest(), content.attributes.digest());
        let sent = queue.send(content, ids, now).map_err(send_error)?;
        self.news = true;
        let mut answer = json!({"MessageId": sent.id, "MD5OfMessageBody": digest});
        let optional = [
            ("MD5OfMessageAttributes", attribute_digest),
            ("MD5OfMessageSystemAttributes", system_digest),
            ("SequenceNumber", sent.sequence),
        ];
        for (member, value) in optional {
            if let Some(value) = value {
                answer[member] = json!(value);
            }
        }
        Ok(answer)
    }

    pub(super) fn delete(&mut self, body: &Value, now: Timestamp) -> Answer {
        let receipt = text(body, "ReceiptHandle")?;
        let queue = self.named(body)?;
        let deleted = queue.delete(receipt, now).map_err(|problem| match problem {
            ReceiptProblem::Outdated => {
                let reason = "The receipt handle has expired.";
                invalid(format!("Value {receipt} for parameter ReceiptHandle is invalid. Reason: {reason}"))
            }
            other => receipt_error(other),
        });
        // The rest of its group can be received now.
        self.news = true;
        deleted.map(|()| json!({}))
    }

    pub(super) fn change_visibility(&mut self, body: &Value, now: Timestamp) -> Answer {
        let receipt = text(body, "ReceiptHandle")?;
        let time = body.get("VisibilityTimeout").and_then(Value::as_i64);
        let time = within(time, MAX_VISIBILITY_SECONDS, "VisibilityTimeout")?;
        let time = time.ok_or_else(|| missing("VisibilityTimeout"))?;
        self.named(body)?.hide(receipt, time, now).map_err(receipt_error)?;
        self.news = true;
        Ok(json!({}))
    }

    /// Sends each entry of a batch on its own.
    pub(super) fn send_batch(&mut self, body: &Value, ids: &mut Ids, now: Timestamp) -> Answer {
        let entries = body["Entries"].as_array().into_iter().flatten();
        let size: usize = entries.filter_map(|entry| entry["MessageBody"].as_str()).map(str::len).sum();
        if i64::try_from(size).is_ok_and(|size| size > attributes::MAX_MESSAGE_BYTES) {
            let text = format!("Batch requests cannot be longer than {} bytes.", attributes::MAX_MESSAGE_BYTES);
            let error = ApiError::bad("BatchRequestTooLong", text);
            return Err(error.known_in_query_as("AWS.SimpleQueueService.BatchRequestTooLong"));
        }
        self.batch(body, |queues, entry| queues.send(entry, ids, now))
    }

    /// Performs each entry of a batch on its own.
    pub(super) fn batch(&mut self, body: &Value, mut one: impl FnMut(&mut Self, &Value) -> Answer) -> Answer {
        self.named(body)?;
        let entries = parsed::<Batch>(body)?.entries;
        check_batch(&entries)?;
        let (mut successful, mut failed) = (Vec::new(), Vec::new());
        for mut entry in entries {
            let id = entry["Id"].clone();
            entry["QueueUrl"] = body["QueueUrl"].clone();
            match one(self, &entry) {
                Ok(mut done) => {
                    done["Id"] = id;
                    successful.push(done);
                }
                Err(error) => {
                    let code = error.query_code.unwrap_or(error.code);
                    failed.push(json!({"Id": id, "SenderFault": true, "Code": code, "Message": error.message}));
                }
            }
        }
        Ok(json!({"Successful": successful, "Failed": failed}))
    }

    /// Checks a ReceiveMessage.
    ///
    /// # Errors
    /// When the queue does not exist or a number is out of range.
    pub(super) fn receiver(&mut self, body: &Value) -> Result<Receive, ApiError> {
        let queue = self.named(body)?;
        let request: ReceiveMessage = parsed(body)?;
        let limit = request.max_number_of_messages.unwrap_or(1);
        if !(1..=MAX_BATCH).contains(&limit) {
            let reason = "Must be between 1 and 10, if provided.";
            return Err(invalid(format!(
                "Value {limit} for parameter MaxNumberOfMessages is invalid. Reason: {reason}"
            )));
        }
        let hide = within(request.visibility_timeout, MAX_VISIBILITY_SECONDS, "VisibilityTimeout")?;
        let wait = within(request.wait_time_seconds, MAX_WAIT_SECONDS, "WaitTimeSeconds")?;
        Ok(Receive {
            queue: queue.name.clone(),
            wait: wait.unwrap_or_else(|| queue.seconds("ReceiveMessageWaitTimeSeconds")),
            wanted: Wanted {
                limit,
                hide: hide.unwrap_or_else(|| queue.seconds("VisibilityTimeout")),
                system: [request.attribute_names, request.message_system_attribute_names].concat(),
                attributes: request.message_attribute_names,
            },
        })
    }

    /// Looks for messages once, and moves those to the dead-letter queue that were received too often. While that
    /// queue does not exist, they stay (the simulator's choice).
    ///
    /// # Errors
    /// When the queue has been deleted.
    pub(super) fn receive(&mut self, receive: &Receive, now: Timestamp) -> Result<Found, ApiError> {
        let queue = self.queues.get(&receive.queue).ok_or_else(no_queue)?;
        let redrive = queue.redrive.clone().filter(|redrive| self.by_arn(&redrive.target).is_some());
        let max_received = redrive.as_ref().map(|redrive| redrive.max_received);
        let queue = self.queues.get_mut(&receive.queue).ok_or_else(no_queue)?;
        let taken = queue.receive(&receive.wanted, max_received, now);
        let (next, source) = (queue.next_visible(now), queue.arn.clone());
        if let Some(target) = redrive.and_then(|redrive| self.by_arn_mut(&redrive.target)) {
            let any = !taken.dead.is_empty();
            for message in taken.dead {
                target.bury(message, &source, now);
            }
            self.news |= any;
        }
        Ok(if taken.messages.is_empty() { Found::NothingUntil(next) } else { Found::Messages(taken.messages) })
    }
}

fn check_batch(entries: &[Value]) -> Result<(), ApiError> {
    let error = |code, query_code, message: &str| Err(ApiError::bad(code, message).known_in_query_as(query_code));
    if entries.is_empty() {
        let text = "There should be at least one entry in the request.";
        return error("EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest", text);
    }
    if entries.len() > MAX_BATCH {
        let code = "AWS.SimpleQueueService.TooManyEntriesInBatchRequest";
        return error("TooManyEntriesInBatchRequest", code, "Maximum number of entries per request are 10.");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries {
        match entry.get("Id").and_then(Value::as_str) {
            None => return Err(missing("Id")),
            Some(id) if id.is_empty() || id.len() > MAX_ID || !id.chars().all(allowed) => {
                let code = "AWS.SimpleQueueService.InvalidBatchEntryId";
                let text = "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long.";
                return error("InvalidBatchEntryId", code, text);
            }
            Some(id) if !seen.insert(id) => {
                let code = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
                return error("BatchEntryIdsNotDistinct", code, &format!("Id {id} repeated."));
            }
            Some(_new) => {}
        }
    }
    Ok(())
}

/// A group or deduplication id: 1 to 128 printable ASCII characters (SQS API reference, SendMessage).
fn fifo_id(id: Option<String>, name: &str) -> Result<Option<String>, ApiError> {
    match id {
        Some(id) if id.is_empty() || id.len() > MAX_FIFO_ID || !id.chars().all(|c| c.is_ascii_graphic()) => {
            let reason =
                format!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
            Err(invalid(format!("Value {id} for parameter {name} is invalid. Reason: {reason}")))
        }
        id => Ok(id),
    }
}

/// A number of seconds in `0..=limit`.
fn within(seconds: Option<i64>, limit: i64, name: &str) -> Result<Option<SignedDuration>, ApiError> {
    match seconds {
        Some(seconds) if !(0..=limit).contains(&seconds) => {
            let reason = format!("Must be >= 0 and <= {limit}, if provided.");
            Err(invalid(format!("Value {seconds} for parameter {name} is invalid. Reason: {reason}")))
        }
        seconds => Ok(seconds.map(SignedDuration::from_secs)),
    }
}

fn missing(parameter: &str) -> ApiError {
    ApiError::bad("MissingParameter", format!("The request must contain the parameter {parameter}."))
}

fn send_error(problem: SendProblem) -> ApiError {
    match problem {
        SendProblem::Full => ApiError::bad("OverLimit", "the queue is full"),
        SendProblem::GroupMissing => missing("MessageGroupId"),
        SendProblem::DedupeMissing => invalid(
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly",
        ),
    }
}

fn receipt_error(problem: ReceiptProblem) -> ApiError {
    match problem {
        ReceiptProblem::Malformed => ApiError::bad("ReceiptHandleIsInvalid", "The receipt handle isn't valid."),
        ReceiptProblem::Outdated => ApiError::bad("MessageNotInflight", "The message is not in flight.")
            .known_in_query_as("AWS.SimpleQueueService.MessageNotInflight"),
        ReceiptProblem::TooLong => {
            invalid("Total VisibilityTimeout for the message is beyond the limit [43200 seconds].")
        }
    }
}
