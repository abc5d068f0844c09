//! A stand-in for SQS with a tap before it, a stage for FIS, and agents between the two.

use std::sync::LazyLock;

use firedrill::domain::run::Observation;
use serde_json::{Value, json};

use crate::support::{agent::Home, eventually, moto::Moto, stage::Stage, tap::Tap, wire::Wire};

/// One server for all: starting it takes longer than any test. It ends with this process.
static MOTO: LazyLock<Moto> = LazyLock::new(Moto::start);

/// The stand-in for SQS checks no signature, but looks at what it is for.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=test/20260301/us-east-1/sqs/aws4_request, \
                             SignedHeaders=host;x-amz-date, Signature=0";

pub struct Scene {
    pub stage: Stage,
    pub tap: Tap,
    /// Receivers of a FIFO queue. Where moto waits for messages it forgets which groups others took messages of meanwhile.
    pub many: u32,
    wire: Wire,
    template: String,
    /// What makes names differ between the tests that share a server.
    suffix: String,
}

impl Scene {
    pub fn simulator() -> Self {
        let stage = Stage::start(600.0);
        let url = stage.url();
        Self::new(stage, url, 5)
    }

    pub fn moto() -> Self {
        Self::new(Stage::start(600.0), MOTO.url().to_owned(), 1)
    }

    fn new(stage: Stage, url: String, many: u32) -> Self {
        let template = stage.template(&[("wait", "PT1M", &[])]);
        let thread = std::thread::current();
        let test: String = thread.name().unwrap_or_default().rsplit("::").next().unwrap_or_default().to_owned();
        let suffix = test.chars().take(60).collect();
        Self { stage, tap: Tap::start(url.clone()), many, wire: Wire::new(url), template, suffix }
    }

    /// Calls SQS, not by way of the tap.
    #[track_caller]
    pub fn sqs(&self, operation: &str, body: &Value) -> Value {
        self.call("sqs", &format!("AmazonSQS.{operation}"), body)
    }

    /// Calls a service, not by way of the tap.
    #[track_caller]
    pub fn call(&self, service: &str, target: &str, body: &Value) -> Value {
        let authorization = AUTHORIZATION.replace("/sqs/", &format!("/{service}/"));
        let headers = [
            ("authorization", authorization.as_str()),
            ("x-amz-target", target),
            ("content-type", "application/x-amz-json-1.0"),
        ];
        self.stage.wait(self.wire.send("POST", "/", &headers, body.to_string())).good()
    }

    pub fn moto_url(&self) -> &str {
        MOTO.url()
    }

    /// A template of one minute.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Creates a queue; one whose name ends in `.fifo` is a FIFO queue.
    pub fn queue(&self, name: &str, attributes: Value) -> String {
        let (name, end) = name.strip_suffix(".fifo").map_or((name, ""), |name| (name, ".fifo"));
        let mut attributes = attributes;
        if !end.is_empty() {
            attributes["FifoQueue"] = json!("true");
            attributes["ContentBasedDeduplication"] = json!("true");
        }
        let name = format!("{name}-{}{end}", self.suffix);
        let made = self.sqs("CreateQueue", &json!({"QueueName": name, "Attributes": attributes}));
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    /// Creates a queue and the dead-letter queue to which its messages go after `max` receives, and returns both.
    pub fn with_redrive(&self, name: &str, max: u32, seconds: u32) -> (String, String) {
        let dead = self.queue(&format!("dead-{name}"), json!({}));
        let of = self.sqs("GetQueueAttributes", &json!({"QueueUrl": dead, "AttributeNames": ["QueueArn"]}));
        let redrive = json!({"deadLetterTargetArn": of["Attributes"]["QueueArn"], "maxReceiveCount": max}).to_string();
        let attributes = json!({"RedrivePolicy": redrive, "VisibilityTimeout": seconds.to_string()});
        (self.queue(name, attributes), dead)
    }

    pub fn send(&self, queue: &str, body: &str) {
        self.sqs("SendMessage", &json!({"QueueUrl": queue, "MessageBody": body}));
    }

    pub fn send_to_group(&self, queue: &str, group: &str, body: &str) {
        self.sqs("SendMessage", &json!({"QueueUrl": queue, "MessageBody": body, "MessageGroupId": group}));
    }

    /// Lets the minute pass in which a deleted queue cannot be made again.
    pub fn skip_a_minute(&self) {
        self.stage.jump("PT1M");
    }

    /// Bodies of the messages that can be received now; they are not deleted.
    pub fn receive(&self, queue: &str) -> Vec<String> {
        let got = self.sqs("ReceiveMessage", &json!({"QueueUrl": queue, "MaxNumberOfMessages": 10}));
        let messages = got["Messages"].as_array().cloned().unwrap_or_default();
        messages.iter().map(|message| message["Body"].as_str().expect("a body").to_owned()).collect()
    }

    /// Messages in a queue: those that can be received, and those that are in somebody's work.
    pub fn depths(&self, queue: &str) -> (u64, u64) {
        let of = self.sqs("GetQueueAttributes", &json!({"QueueUrl": queue, "AttributeNames": ["All"]}));
        let number = |name: &str| of["Attributes"][name].as_str().and_then(|n| n.parse().ok()).expect("a number");
        (number("ApproximateNumberOfMessages"), number("ApproximateNumberOfMessagesNotVisible"))
    }

    #[track_caller]
    pub fn wait_until_empty(&self, queue: &str) {
        eventually("an empty queue", || (self.depths(queue) == (0, 0)).then_some(()));
    }

    /// A home whose agent reads a queue through the tap, with an experiment for every deployment.
    pub fn home(&self, queue: &str, concurrency: u32) -> Home {
        let tables = format!(
            "[queues.deployments]\nurl = \"{queue}\"\nendpoint_url = \"{}\"\nconcurrency = {concurrency}\n\
             [experiments.drill]\ntemplate = \"{}\"\noverlap = \"allow\"\n\
             triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n",
            self.tap.url(),
            self.template,
        );
        Home::new(&self.stage.url(), &tables)
    }
}

/// Makes an entry of a batch one that cannot be done.
pub fn spoil(entry: &mut Value) {
    entry["ReceiptHandle"] = json!(format!("spoiled-{}", entry["Id"]));
}

/// What the agent says of its queue.
pub fn health(home: &Home) -> String {
    home.json(&["status"])["queues"]["deployments"].as_str().expect("a queue").to_owned()
}

/// Waits until the agent says something of its queue.
#[track_caller]
pub fn wait_for_health(home: &Home, text: &str) -> String {
    eventually(text, || Some(health(home)).filter(|said| said.contains(text)))
}

/// Ids of the events that opened runs, in the order in which they were recorded.
pub fn recorded(home: &Home) -> Vec<String> {
    let runs = home.runs();
    let journal = home.read(async |store| store.journal_after(0, 100_000).await.expect("a journal"));
    let entries = journal.unwrap_or_default().into_iter().map(|(_, entry)| entry.expect("an entry"));
    let opened = entries.filter(|entry| entry.observation == Observation::Opened);
    let event_of = |run| {
        let run = runs.iter().find(|known| known.id == run)?;
        run.trigger.key().strip_prefix("event:com.example.ci:").map(str::to_owned)
    };
    opened.filter_map(|entry| event_of(entry.run)).collect()
}
