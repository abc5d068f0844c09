//! SQS's operations (AWS JSON 1.0) on queues.
//!
//! Standard and FIFO queues. Only ReceiveMessage waits, in [`poll`]. Permissions, message move tasks and the former query
//! protocol do not exist.

mod attributes;
mod budget;
pub(super) mod content;
mod messages;
mod policy;
mod poll;
mod queue;

use std::collections::BTreeMap;

use axum::http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::poll::receive;
use self::{
    budget::Budget,
    content::Content,
    policy::Sending,
    queue::{Queue, QueueKind},
};
use super::{
    Scene,
    clock::later,
    ids::Ids,
    page,
    wire::{self, Answer, ApiError},
};

const MAX_QUEUES: usize = 1_000;
const MAX_TAGS: usize = 50;
const MAX_VISIBILITY_SECONDS: i64 = 43_200;
const MAX_WAIT_SECONDS: i64 = 20;
const MAX_DELAY_SECONDS: i64 = 900;

/// How long a deleted name cannot be used, and a purged queue not be purged again (SQS API reference, DeleteQueue and
/// PurgeQueue).
const REST: SignedDuration = SignedDuration::from_secs(60);

/// All queues by name.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<String, Queue>,
    /// When queues were deleted, by name.
    deleted: BTreeMap<String, Timestamp>,
    budget: Budget,
    /// Whether a message may have become receivable since the last look.
    news: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CreateQueue {
    #[serde(default)]
    queue_name: String,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default, rename = "tags", alias = "Tags")]
    tags: BTreeMap<String, String>,
}

/// The operations there are.
pub(super) const OPERATIONS: &[&str] = &[
    "CreateQueue",
    "GetQueueUrl",
    "ListQueues",
    "DeleteQueue",
    "PurgeQueue",
    "SendMessage",
    "ReceiveMessage",
    "DeleteMessage",
    "ChangeMessageVisibility",
    "SendMessageBatch",
    "DeleteMessageBatch",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "ListDeadLetterSourceQueues",
    "ListQueueTags",
    "TagQueue",
    "UntagQueue",
];

impl Queues {
    /// Performs an operation; ReceiveMessage waits, see [`receive`].
    pub(super) fn perform(
        &mut self,
        operation: &str,
        body: &Value,
        scene: &Scene,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Answer {
        match operation {
            "CreateQueue" => self.create(body, scene, now),
            "GetQueueUrl" => self.url(body, scene),
            "ListQueues" => self.list(body, scene),
            "DeleteQueue" => self.remove(body, now),
            "PurgeQueue" => self.purge(body, now),
            "SendMessage" => self.send(body, ids, now),
            "DeleteMessage" => self.delete(body, now),
            "ChangeMessageVisibility" => self.change_visibility(body, now),
            "SendMessageBatch" => self.send_batch(body, ids, now),
            "DeleteMessageBatch" => self.batch(body, |queues, entry| queues.delete(entry, now)),
            "ChangeMessageVisibilityBatch" => self.batch(body, |queues, entry| queues.change_visibility(entry, now)),
            "GetQueueAttributes" => self.attributes(body, now),
            "SetQueueAttributes" => self.set_attributes(body, now),
            "ListDeadLetterSourceQueues" => self.sources(body, scene),
            "ListQueueTags" => self.named(body).map(|queue| json!({"Tags": queue.tags})),
            "TagQueue" => self.tag(body),
            "UntagQueue" => self.untag(body),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    /// Delivers an event that a rule, by its ARN, leads to the queue of an ARN; `false` when there is none or it does not
    /// take it. A queue without a policy takes all (the simulator's choice; at AWS it takes none).
    pub(super) fn deliver(&mut self, rule: &str, arn: &str, content: Content, ids: &mut Ids, now: Timestamp) -> bool {
        let delivered = self.by_arn_mut(arn).is_some_and(|queue| {
            let policy = queue.attributes.get("Policy").filter(|policy| !policy.is_empty());
            let sending = Sending { rule, queue: arn };
            policy.is_none_or(|policy| sending.is_allowed(policy)) && queue.send(content, ids, now).is_ok()
        });
        self.news |= delivered;
        delivered
    }

    /// Tells whether receivers should look again, and forgets it.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Every queue with its messages, for the state page.
    pub(super) fn rendered(&self, now: Timestamp) -> Value {
        let entry = |queue: &Queue| {
            let depths = queue.depths(now);
            json!({
                "visible": depths.visible,
                "inFlight": depths.in_flight,
                "delayed": depths.delayed,
                "attributes": queue.attributes,
                "messages": queue.dump(),
            })
        };
        Value::Object(self.queues.values().map(|queue| (queue.name.clone(), entry(queue))).collect())
    }

    fn create(&mut self, body: &Value, scene: &Scene, now: Timestamp) -> Answer {
        let request: CreateQueue = parsed(body)?;
        let name = request.queue_name;
        let fifo = request.attributes.get("FifoQueue").is_some_and(|value| value == "true");
        let kind = if fifo { QueueKind::Fifo } else { QueueKind::Standard };
        check_name(&name, kind)?;
        let arn = format!("{}:{name}", scene.arn("sqs"));
        let redrive = self.check_attributes(&request.attributes, kind, &arn)?;
        check_tags(&request.tags)?;
        if let Some(queue) = self.queues.get(&name) {
            let differs = |(key, value): (&String, &String)| attributes::value(queue, key).as_ref() != Some(value);
            if let Some((key, _)) = request.attributes.iter().find(|pair| differs(*pair)) {
                let text =
                    format!("A queue already exists with the same name and a different value for attribute {key}");
                return Err(ApiError::bad("QueueNameExists", text).known_in_query_as("QueueAlreadyExists"));
            }
            return Ok(json!({"QueueUrl": scene.queue_url(&name)}));
        }
        if self.queues.len() >= MAX_QUEUES {
            return Err(ApiError::bad("OverLimit", "too many queues"));
        }
        self.deleted.retain(|_, at| later(*at, REST) > now);
        if self.deleted.contains_key(&name) {
            let text =
                "You must wait 60 seconds after deleting a queue before you can create another with the same name.";
            return Err(ApiError::bad("QueueDeletedRecently", text)
                .known_in_query_as("AWS.SimpleQueueService.QueueDeletedRecently"));
        }
        let mut queue = Queue::new(name.clone(), arn, kind, self.budget.clone(), now);
        (queue.redrive, queue.attributes, queue.tags) = (redrive, request.attributes, request.tags);
        self.queues.insert(name.clone(), queue);
        Ok(json!({"QueueUrl": scene.queue_url(&name)}))
    }

    fn url(&self, body: &Value, scene: &Scene) -> Answer {
        let name = text(body, "QueueName")?;
        if self.queues.contains_key(name) { Ok(json!({"QueueUrl": scene.queue_url(name)})) } else { Err(no_queue()) }
    }

    fn list(&self, body: &Value, scene: &Scene) -> Answer {
        let prefix = body.get("QueueNamePrefix").and_then(Value::as_str).unwrap_or("");
        let names = self.queues.keys().filter(|name| name.starts_with(prefix));
        page(body, "QueueUrls", names.map(|name| scene.queue_url(name)).collect())
    }

    /// Queues whose dead-letter queue is this one.
    fn sources(&mut self, body: &Value, scene: &Scene) -> Answer {
        let target = self.named(body)?.arn.clone();
        let leads_here = |queue: &&Queue| queue.redrive.as_ref().is_some_and(|redrive| redrive.target == target);
        let sources = self.queues.values().filter(leads_here);
        page(body, "queueUrls", sources.map(|queue| scene.queue_url(&queue.name)).collect())
    }

    fn remove(&mut self, body: &Value, now: Timestamp) -> Answer {
        let name = self.named(body)?.name.clone();
        self.queues.remove(&name);
        self.deleted.retain(|_, at| later(*at, REST) > now);
        if self.deleted.len() < MAX_QUEUES {
            self.deleted.insert(name, now);
        }
        // A receiver that waits is told at once that its queue is gone.
        self.news = true;
        Ok(json!({}))
    }

    fn purge(&mut self, body: &Value, now: Timestamp) -> Answer {
        let queue = self.named(body)?;
        if queue.purged.is_some_and(|at| later(at, REST) > now) {
            let text = format!("Only one PurgeQueue operation on {} is allowed every 60 seconds.", queue.name);
            return Err(ApiError::new(StatusCode::FORBIDDEN, "PurgeQueueInProgress", text)
                .known_in_query_as("AWS.SimpleQueueService.PurgeQueueInProgress"));
        }
        queue.purge(now);
        Ok(json!({}))
    }

    fn tag(&mut self, body: &Value) -> Answer {
        let tags: BTreeMap<String, String> = parsed(&body["Tags"])?;
        let queue = self.named(body)?;
        let all: BTreeMap<_, _> = queue.tags.clone().into_iter().chain(tags).collect();
        check_tags(&all)?;
        queue.tags = all;
        Ok(json!({}))
    }

    fn untag(&mut self, body: &Value) -> Answer {
        let keys: Vec<String> = parsed(&body["TagKeys"])?;
        self.named(body)?.tags.retain(|key, _| !keys.contains(key));
        Ok(json!({}))
    }

    /// The queue of a request: the last segment of its URL, whatever the host.
    fn named(&mut self, body: &Value) -> Result<&mut Queue, ApiError> {
        let url = text(body, "QueueUrl")?;
        let name = url.rsplit('/').next().unwrap_or(url);
        self.queues.get_mut(name).ok_or_else(no_queue)
    }

    fn by_arn(&self, arn: &str) -> Option<&Queue> {
        let name = arn.rsplit(':').next()?;
        self.queues.get(name).filter(|queue| queue.arn == arn)
    }

    fn by_arn_mut(&mut self, arn: &str) -> Option<&mut Queue> {
        let name = arn.rsplit(':').next()?;
        self.queues.get_mut(name).filter(|queue| queue.arn == arn)
    }
}

/// Checks a queue's name; it is a FIFO queue's exactly when a FIFO queue is asked for.
fn check_name(name: &str, kind: QueueKind) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let well_formed = |text: &str| !text.is_empty() && name.len() <= 80 && text.chars().all(allowed);
    match (name.strip_suffix(".fifo"), kind) {
        (Some(base), QueueKind::Fifo) if well_formed(base) => Ok(()),
        (None, QueueKind::Standard) if well_formed(name) => Ok(()),
        (None, QueueKind::Fifo) => Err(invalid(
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.",
        )),
        _other => Err(invalid("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")),
    }
}

fn check_tags(tags: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let fits = |(key, value): (&String, &String)| {
        (1..=128).contains(&key.chars().count()) && value.chars().count() <= 256 && !key.starts_with("aws:")
    };
    match (tags.len() > MAX_TAGS, tags.iter().find(|pair| !fits(*pair))) {
        (true, _) => Err(invalid("Too many tags added for queue. The maximum is 50.")),
        (false, Some((key, _))) => Err(invalid(format!("Tag {key} is invalid."))),
        (false, None) => Ok(()),
    }
}

/// URLs under a member; in pages only when `MaxResults` is given (SQS API reference, ListQueues).
fn page(body: &Value, member: &str, urls: Vec<String>) -> Answer {
    let size = match wire::given(body, "MaxResults").map(wire::count) {
        None => MAX_QUEUES,
        Some(Some(size @ 1..=1_000)) => size,
        Some(_outside) => return Err(invalid("MaxResults must be an integer between 1 and 1000.")),
    };
    let token = body.get("NextToken").and_then(Value::as_str);
    let (shown, next) =
        page::page(member, urls, String::clone, size, token).ok_or_else(|| invalid("NextToken is not valid."))?;
    let mut answer = if shown.is_empty() { json!({}) } else { json!({ member: shown }) };
    if let Some(token) = next {
        answer["NextToken"] = token.into();
    }
    Ok(answer)
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
    ApiError::bad("QueueDoesNotExist", "The specified queue does not exist.")
        .known_in_query_as("AWS.SimpleQueueService.NonExistentQueue")
}
