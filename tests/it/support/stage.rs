//! What the real binary meets instead of AWS: the simulator, in this process, so that its own record is the truth.
//!
//! It is spoken to as AWS would be, without an SDK: the simulator checks no signatures unless asked to.

use firedrill::simulator::{self, ExperimentRecord, Options, Simulator};
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::wire::{AUTHORIZATION, Reply, Wire, drill};

/// A running simulator; it ends when dropped.
pub struct Stage {
    runtime: tokio::runtime::Runtime,
    simulator: Option<Simulator>,
    wire: Wire,
}

/// One waiting action of a template: its name, its length as ISO 8601 says it, and the names it starts after.
pub type Act = (&'static str, &'static str, &'static [&'static str]);

impl Stage {
    /// Starts a simulator that is so many times as fast as AWS.
    pub fn start(speed: f64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let options = Options { speed, ..Options::default() };
        let simulator = runtime.block_on(simulator::start(options)).expect("a simulator");
        let wire = Wire::new(simulator.url());
        Self { runtime, simulator: Some(simulator), wire }
    }

    fn simulator(&self) -> &Simulator {
        self.simulator.as_ref().expect("a simulator")
    }

    pub fn url(&self) -> String {
        self.simulator().url()
    }

    /// Every experiment that was ever started.
    pub fn experiments(&self) -> Vec<ExperimentRecord> {
        self.simulator().experiments()
    }

    /// Waits for the answer to a request.
    pub fn wait(&self, request: impl Future<Output = Reply>) -> Reply {
        self.runtime.block_on(request)
    }

    /// Calls an operation of SQS (`AmazonSQS.…`) or EventBridge (`AWSEvents.…`).
    pub fn call(&self, target: &str, body: &Value) -> Value {
        self.wait(self.wire.target(target, body)).good()
    }

    /// Creates a template of actions that wait, and returns its id.
    pub fn template(&self, acts: &[Act]) -> String {
        let token: String = format!("{acts:?}").chars().filter(char::is_ascii_alphanumeric).take(60).collect();
        self.template_of(&token, acts)
    }

    /// As [`Stage::template`], with a client token of one's own.
    pub fn template_of(&self, token: &str, acts: &[(&str, &str, &[&str])]) -> String {
        let action = |(name, length, after): &(&str, &str, &[&str])| {
            let action = json!({"actionId": "aws:fis:wait", "parameters": {"duration": length}, "startAfter": after});
            ((*name).to_owned(), action)
        };
        let mut body = drill(token);
        body["actions"] = acts.iter().map(action).collect::<serde_json::Map<_, _>>().into();
        self.made(&body)
    }

    /// Creates a template as it is written, and returns its id.
    pub fn made(&self, body: &Value) -> String {
        self.runtime.block_on(self.wire.template(body))
    }

    /// Starts an experiment as nobody of ours would.
    pub fn start_as_somebody_else(&self, template: &str) {
        let body = json!({"clientToken": "somebody-else", "experimentTemplateId": template});
        self.wait(self.wire.call("POST", "/experiments", &body)).good();
    }

    /// Starts an experiment with these tags, as another agent would.
    pub fn start_tagged(&self, template: &str, tags: &Value) {
        let body = json!({"clientToken": "another-agent", "experimentTemplateId": template, "tags": tags});
        self.wait(self.wire.call("POST", "/experiments", &body)).good();
    }

    /// Stops an experiment, as somebody would by hand.
    pub fn stop(&self, id: &str) {
        self.wait(self.wire.call("DELETE", &format!("/experiments/{id}"), &Value::Null)).good();
    }

    /// Creates a queue whose messages come again soon, and returns its URL.
    pub fn queue(&self, name: &str) -> String {
        let made =
            self.call("AmazonSQS.CreateQueue", &json!({"QueueName": name, "Attributes": {"VisibilityTimeout": "1"}}));
        made["QueueUrl"].as_str().expect("a URL").to_owned()
    }

    /// Returns the URL that a queue has or would have.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/123456789012/{name}", self.url())
    }

    pub fn send(&self, queue: &str, body: &str) {
        self.call("AmazonSQS.SendMessage", &json!({"QueueUrl": queue, "MessageBody": body}));
    }

    /// Messages that are in a queue, received or not.
    pub fn depth(&self, queue: &str) -> u64 {
        let name = queue.rsplit('/').next().expect("a name");
        let state = self.wait(self.wire.get("/_simulator/state")).good();
        let depths = &state["queues"][name];
        ["visible", "inFlight", "delayed"].iter().map(|key| depths[key].as_u64().expect("a number")).sum()
    }

    /// Leads the default bus's events of a source to a new queue, and returns its URL.
    pub fn subscribe(&self, source: &str, queue: &str) -> String {
        let url = self.queue(queue);
        self.lead(source, queue);
        url
    }

    /// Leads the default bus's events of a source to a queue that there is.
    pub fn lead(&self, source: &str, queue: &str) {
        let pattern = json!({"source": [source]}).to_string();
        self.call("AWSEvents.PutRule", &json!({"Name": queue, "EventPattern": pattern}));
        let arn = format!("arn:aws:sqs:us-east-1:123456789012:{queue}");
        self.call("AWSEvents.PutTargets", &json!({"Rule": queue, "Targets": [{"Id": "q", "Arn": arn}]}));
    }

    /// Receives and deletes what is in a queue now.
    pub fn drain(&self, queue: &str) -> Vec<Value> {
        let mut bodies = Vec::new();
        loop {
            let got = self.call("AmazonSQS.ReceiveMessage", &json!({"QueueUrl": queue, "MaxNumberOfMessages": 10}));
            let Some(messages) = got["Messages"].as_array().filter(|messages| !messages.is_empty()) else {
                return bodies;
            };
            for message in messages {
                bodies.push(serde_json::from_str(message["Body"].as_str().expect("a body")).expect("JSON"));
                let receipt = &message["ReceiptHandle"];
                self.call("AmazonSQS.DeleteMessage", &json!({"QueueUrl": queue, "ReceiptHandle": receipt}));
            }
        }
    }

    /// Lets the next calls of an operation go wrong.
    pub fn fault(&self, operation: &str, fault: &str, count: usize) {
        self.control("faults", &json!({"operation": operation, "fault": fault, "count": count}));
    }

    /// Forgets the faults that still wait.
    pub fn no_faults(&self) {
        self.wait(self.wire.call("DELETE", "/_simulator/faults", &Value::Null)).good();
    }

    /// Loses, doubles and delays FIS's events, each at a rate, and lets them overtake each other; `late` is how late they are.
    pub fn unreliable_events(&self, rate: f64, late: SignedDuration) {
        let switches = json!({"drop": rate, "duplicate": rate, "reorder": rate, "delay": late.to_string()});
        self.wait(self.wire.call("PUT", "/_simulator/events", &switches)).good();
    }

    /// Lets no experiment leave these states; with none of them, all go on.
    pub fn stuck(&self, statuses: &[&str]) {
        self.wait(self.wire.call("PUT", "/_simulator/stuck", &json!({"statuses": statuses}))).good();
    }

    /// Lets an action of a running experiment fail.
    pub fn fail_action(&self, experiment: &str, action: &str) {
        let path = format!("experiments/{experiment}/fail-action");
        self.control(&path, &json!({"action": action, "reason": "by request"}));
    }

    /// Sets the clock ahead by an ISO 8601 duration.
    pub fn jump(&self, by: &str) {
        self.control("clock", &json!({"jump": by}));
    }

    /// Status and reason of the safety lever.
    pub fn lever(&self) -> (String, String) {
        let lever = self.wait(self.wire.get("/safetyLevers/default")).good();
        let text = |key: &str| lever["safetyLever"]["state"][key].as_str().expect("a text").to_owned();
        (text("status"), text("reason"))
    }

    /// Returns an access key of a role in another account, as STS hands it out.
    pub fn key_of(&self, account: &str) -> String {
        let body = format!(
            "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::{account}:role/other&RoleSessionName=other"
        );
        let headers = [("authorization", AUTHORIZATION), ("content-type", "application/x-www-form-urlencoded")];
        let reply = self.wait(self.wire.send("POST", "/", &headers, body));
        let key = reply.text.split_once("<AccessKeyId>").and_then(|(_, rest)| rest.split_once('<'));
        key.unwrap_or_else(|| panic!("{reply:?}")).0.to_owned()
    }

    /// Moves the safety lever, as somebody else would.
    pub fn pull(&self, status: &str, reason: &str) {
        let state = json!({"state": {"status": status, "reason": reason}});
        self.wait(self.wire.call("PATCH", "/safetyLevers/default/state", &state)).good();
    }

    fn control(&self, path: &str, body: &Value) {
        self.wait(self.wire.call("POST", &format!("/_simulator/{path}"), body)).good();
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(simulator) = self.simulator.take() {
            self.runtime.block_on(simulator.shutdown());
        }
    }
}
