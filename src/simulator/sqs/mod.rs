//! SQS's operations (AWS JSON 1.0) on queues.
//!
//! Standard queues only. ReceiveMessage waits in [`super::dispatch`], since nothing here may wait.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub(super) mod queue;

use self::queue::{Content, Full, Queue, ReceiptProblem, Wanted};
use super::{
    Scene,
    ids::Ids,
    md5,
    wire::{self, Answer, ApiError},
};

const MAX_QUEUES: usize = 1_000;
const MAX_BATCH: usize = 10;
const MAX_VISIBILITY_SECONDS: i64 = 43_200;
const MAX_WAIT_SECONDS: i64 = 20;
const MAX_DELAY_SECONDS: i64 = 900;

/// Attributes that can be set, and what they are unless set.
const SETTABLE: &[(&str, &str)] = &[
    ("VisibilityTimeout", "30"),
    ("DelaySeconds", "0"),
    ("ReceiveMessageWaitTimeSeconds", "0"),
    ("MessageRetentionPeriod", "345600"),
    ("MaximumMessageSize", "1048576"),
    ("Policy", ""),
    ("RedrivePolicy", ""),
    ("RedriveAllowPolicy", ""),
    ("KmsMasterKeyId", ""),
    ("KmsDataKeyReusePeriodSeconds", ""),
    ("SqsManagedSseEnabled", "true"),
];

/// All queues by name.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<String, Queue>,
    /// Whether a message may have become receivable since the last look.
    news: bool,
}

/// A ReceiveMessage request, checked.
#[derive(Debug)]
pub(super) struct Receive {
    queue: String,
    limit: usize,
    hide: SignedDuration,
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
struct CreateQueue {
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default, rename = "tags", alias = "Tags")]
    tags: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage {
    message_body: String,
    delay_seconds: Option<i64>,
    #[serde(default)]
    message_attributes: Map<String, Value>,
    #[serde(default)]
    message_system_attributes: BTreeMap<String, SystemAttribute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SystemAttribute {
    string_value: Option<String>,
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
    entries: Vec<Value>,
}

impl Queues {
    /// Performs an operation; `None` for one that is not known (ReceiveMessage among them).
    pub(super) fn perform(
        &mut self,
        operation: &str,
        body: &Value,
        scene: &Scene,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Option<Answer> {
        Some(match operation {
            "CreateQueue" => self.create(body, scene, now),
            "GetQueueUrl" => self.url(body, scene),
            "ListQueues" => Ok(self.list(body, scene)),
            "DeleteQueue" => self.named(body).map(|queue| queue.name.clone()).map(|name| {
                self.queues.remove(&name);
                json!({})
            }),
            "PurgeQueue" => self.named(body).map(|queue| {
                queue.purge();
                json!({})
            }),
            "SendMessage" => self.send(body, ids, now),
            "DeleteMessage" => self.delete(body),
            "ChangeMessageVisibility" => self.change_visibility(body, now),
            "SendMessageBatch" => self.batch(body, |queues, entry| queues.send(entry, ids, now)),
            "DeleteMessageBatch" => self.batch(body, Self::delete),
            "ChangeMessageVisibilityBatch" => self.batch(body, |queues, entry| queues.change_visibility(entry, now)),
            "GetQueueAttributes" => self.attributes(body, now),
            "SetQueueAttributes" => self.set_attributes(body),
            "ListQueueTags" => self.named(body).map(|queue| json!({"Tags": queue.tags})),
            _other => return None,
        })
    }

    /// Delivers an event to the queue of an ARN; `false` when there is none or it is full.
    pub(super) fn deliver(&mut self, arn: &str, content: Content, ids: &mut Ids, now: Timestamp) -> bool {
        let Some(queue) = self.queues.values_mut().find(|queue| queue.arn == arn) else { return false };
        self.news = true;
        queue.send(content, ids, now).is_ok()
    }

    /// Tells whether receivers should look again, and forgets it.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Numbers of messages by queue, for the state page.
    pub(super) fn rendered(&self, now: Timestamp) -> Value {
        let entry = |queue: &Queue| {
            let depths = queue.depths(now);
            json!({"visible": depths.visible, "inFlight": depths.in_flight, "delayed": depths.delayed})
        };
        Value::Object(self.queues.values().map(|queue| (queue.name.clone(), entry(queue))).collect())
    }

    fn create(&mut self, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        let request: CreateQueue = parsed(body)?;
        let name = request.queue_name;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 80 || !name.chars().all(allowed) {
            return Err(invalid("the queue name must have 1 to 80 letters, digits, hyphens or underscores"));
        }
        check_attributes(&request.attributes)?;
        if let Some(queue) = self.queues.get(&name) {
            if request.attributes.iter().any(|(key, value)| attribute(queue, key).as_ref() != Some(value)) {
                let text = "A queue already exists with the same name and a different value for an attribute.";
                return Err(ApiError::bad("QueueNameExists", text).known_in_query_as("QueueAlreadyExists"));
            }
        } else if self.queues.len() >= MAX_QUEUES {
            return Err(ApiError::bad("OverLimit", "too many queues"));
        } else {
            let arn = format!("arn:aws:sqs:{}:{}:{name}", scene.region, scene.account);
            let mut queue = Queue::new(name.clone(), arn, request.tags, now);
            queue.attributes = request.attributes;
            self.queues.insert(name.clone(), queue);
        }
        Ok(json!({"QueueUrl": scene.queue_url(&name)}))
    }

    fn url(&self, body: &Value, scene: &Scene) -> Answer {
        let name = text(body, "QueueName")?;
        if self.queues.contains_key(name) { Ok(json!({"QueueUrl": scene.queue_url(name)})) } else { Err(no_queue()) }
    }

    fn list(&self, body: &Value, scene: &Scene) -> Value {
        let prefix = body.get("QueueNamePrefix").and_then(Value::as_str).unwrap_or("");
        let names = self.queues.keys().filter(|name| name.starts_with(prefix));
        json!({"QueueUrls": names.map(|name| scene.queue_url(name)).collect::<Vec<_>>()})
    }

    /// The queue of a request: the last segment of its URL, whatever the host.
    fn named(&mut self, body: &Value) -> Result<&mut Queue, ApiError> {
        let url = text(body, "QueueUrl")?;
        let name = url.rsplit('/').next().unwrap_or(url);
        self.queues.get_mut(name).ok_or_else(no_queue)
    }

    fn send(&mut self, body: &Value, ids: &mut Ids, now: Timestamp) -> Answer {
        let queue = self.named(body)?;
        let request: SendMessage = parsed(body)?;
        if request.message_body.is_empty() {
            return Err(ApiError::bad("MissingParameter", "The request must contain the parameter MessageBody."));
        }
        let delay = within(request.delay_seconds, MAX_DELAY_SECONDS, "DelaySeconds")?;
        let mut system = request.message_system_attributes;
        let trace_header = system.remove("AWSTraceHeader").and_then(|attribute| attribute.string_value);
        if let Some(other) = system.keys().next() {
            return Err(invalid(format!("message system attribute {other} is not known")));
        }
        let digest = md5::hex_digest(request.message_body.as_bytes());
        let content =
            Content { body: request.message_body, attributes: request.message_attributes, trace_header, delay };
        let id = queue.send(content, ids, now).map_err(|Full| ApiError::bad("OverLimit", "the queue is full"))?;
        self.news = true;
        Ok(json!({"MessageId": id, "MD5OfMessageBody": digest}))
    }

    fn delete(&mut self, body: &Value) -> Answer {
        let receipt = text(body, "ReceiptHandle")?.to_owned();
        self.named(body)?.delete(&receipt).map_err(receipt_error)?;
        Ok(json!({}))
    }

    fn change_visibility(&mut self, body: &Value, now: Timestamp) -> Answer {
        let receipt = text(body, "ReceiptHandle")?.to_owned();
        let time = body.get("VisibilityTimeout").and_then(Value::as_i64);
        let time = within(time, MAX_VISIBILITY_SECONDS, "VisibilityTimeout")?;
        let time = time.ok_or_else(|| invalid("VisibilityTimeout is missing"))?;
        self.named(body)?.hide(&receipt, time, now).map_err(receipt_error)?;
        self.news = true;
        Ok(json!({}))
    }

    /// Performs each entry of a batch on its own.
    fn batch(&mut self, body: &Value, mut one: impl FnMut(&mut Self, &Value) -> Answer) -> Answer {
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
            return Err(invalid("MaxNumberOfMessages must be between 1 and 10"));
        }
        let hide = within(request.visibility_timeout, MAX_VISIBILITY_SECONDS, "VisibilityTimeout")?;
        let wait = within(request.wait_time_seconds, MAX_WAIT_SECONDS, "WaitTimeSeconds")?;
        let system = [request.attribute_names, request.message_system_attribute_names].concat();
        Ok(Receive {
            queue: queue.name.clone(),
            limit,
            hide: hide.unwrap_or_else(|| queue.seconds("VisibilityTimeout", 30)),
            wait: wait.unwrap_or_else(|| queue.seconds("ReceiveMessageWaitTimeSeconds", 0)),
            wanted: Wanted { system, attributes: request.message_attribute_names },
        })
    }

    /// Looks for messages once.
    ///
    /// # Errors
    /// When the queue has been deleted.
    pub(super) fn receive(&mut self, receive: &Receive, now: Timestamp) -> Result<Found, ApiError> {
        let queue = self.queues.get_mut(&receive.queue).ok_or_else(no_queue)?;
        let messages = queue.receive(receive.limit, receive.hide, &receive.wanted, now);
        if messages.is_empty() {
            Ok(Found::NothingUntil(queue.next_visible(now)))
        } else {
            Ok(Found::Messages(messages))
        }
    }

    fn attributes(&mut self, body: &Value, now: Timestamp) -> Answer {
        let queue = self.named(body)?;
        let wanted: Vec<&str> =
            body["AttributeNames"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let depths = queue.depths(now);
        let computed = [
            ("QueueArn", queue.arn.clone()),
            ("ApproximateNumberOfMessages", depths.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", depths.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", depths.delayed.to_string()),
            ("CreatedTimestamp", queue.created.as_second().to_string()),
            ("LastModifiedTimestamp", queue.created.as_second().to_string()),
        ];
        let set = SETTABLE.iter().filter_map(|(name, _)| Some((*name, attribute(queue, name)?)));
        let shown = computed
            .into_iter()
            .chain(set)
            .filter(|(name, value)| !value.is_empty() && (wanted.contains(&"All") || wanted.contains(name)));
        let shown: Map<String, Value> = shown.map(|(name, value)| (name.to_owned(), value.into())).collect();
        Ok(json!({"Attributes": shown}))
    }

    fn set_attributes(&mut self, body: &Value) -> Answer {
        let queue = self.named(body)?;
        let attributes: BTreeMap<String, String> = parsed(&body["Attributes"])?;
        check_attributes(&attributes)?;
        queue.attributes.extend(attributes);
        Ok(json!({}))
    }
}

fn attribute(queue: &Queue, name: &str) -> Option<String> {
    let default = SETTABLE.iter().find(|(settable, _)| *settable == name)?.1;
    Some(queue.attributes.get(name).cloned().unwrap_or_else(|| default.to_owned()))
}

fn check_attributes(attributes: &BTreeMap<String, String>) -> Result<(), ApiError> {
    for (name, value) in attributes {
        let limit = match name.as_str() {
            "VisibilityTimeout" => Some(MAX_VISIBILITY_SECONDS),
            "DelaySeconds" => Some(MAX_DELAY_SECONDS),
            "ReceiveMessageWaitTimeSeconds" => Some(MAX_WAIT_SECONDS),
            "MessageRetentionPeriod" => Some(1_209_600),
            name if SETTABLE.iter().any(|(settable, _)| *settable == name) => None,
            other => return Err(ApiError::bad("InvalidAttributeName", format!("Unknown Attribute {other}."))),
        };
        if limit.is_some_and(|limit| !value.parse().is_ok_and(|seconds| (0..=limit).contains(&seconds))) {
            return Err(ApiError::bad("InvalidAttributeValue", format!("Invalid value for the parameter {name}.")));
        }
    }
    Ok(())
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
    let mut seen = std::collections::BTreeSet::new();
    for entry in entries {
        match entry.get("Id").and_then(Value::as_str) {
            Some(id) if seen.insert(id) => {}
            Some(id) => {
                let code = "AWS.SimpleQueueService.BatchEntryIdsNotDistinct";
                return error("BatchEntryIdsNotDistinct", code, &format!("Id {id} repeated."));
            }
            None => return Err(invalid("an entry has no Id")),
        }
    }
    Ok(())
}

/// A number of seconds in `0..=limit`.
fn within(seconds: Option<i64>, limit: i64, name: &str) -> Result<Option<SignedDuration>, ApiError> {
    match seconds {
        Some(seconds) if !(0..=limit).contains(&seconds) => {
            Err(invalid(format!("Value {seconds} for parameter {name} is invalid. Must be between 0 and {limit}.")))
        }
        seconds => Ok(seconds.map(SignedDuration::from_secs)),
    }
}

fn text<'b>(body: &'b Value, member: &str) -> Result<&'b str, ApiError> {
    let value = body.get(member).and_then(Value::as_str);
    value.ok_or_else(|| ApiError::bad("MissingParameter", format!("The request must contain the parameter {member}.")))
}

fn parsed<T: serde::de::DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    wire::parsed(body).map_err(|error| invalid(error.message))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad("InvalidParameterValueException", message).known_in_query_as("InvalidParameterValue")
}

fn no_queue() -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "QueueDoesNotExist", "The specified queue does not exist.")
        .known_in_query_as("AWS.SimpleQueueService.NonExistentQueue")
}

fn receipt_error(problem: ReceiptProblem) -> ApiError {
    match problem {
        ReceiptProblem::Malformed => ApiError::bad("ReceiptHandleIsInvalid", "The receipt handle isn't valid."),
        ReceiptProblem::Outdated => ApiError::bad("MessageNotInflight", "The message is not in flight.")
            .known_in_query_as("AWS.SimpleQueueService.MessageNotInflight"),
    }
}
