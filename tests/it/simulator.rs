//! The simulator in this process, seen through the SDKs for Rust, by hand over HTTP, and in its own record.

mod adapter;
mod after;
mod agreement;
mod article;
mod bus;
mod control;
mod courses;
mod credentials;
mod edge;
mod experiments;
mod faults;
mod inputs;
mod life;
mod messages;
mod operations;
mod places;
mod queues;
mod random;
mod resolution;
mod script;
mod services;
mod switches;
mod templates;

use std::{future::Future, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_fis::{
    config::Credentials,
    error::{ProvideErrorMetadata, SdkError},
    types::{
        CreateExperimentTemplateActionInput, CreateExperimentTemplateStopConditionInput,
        CreateExperimentTemplateTargetInput,
    },
};
use aws_sdk_sqs::{
    operation::receive_message::{ReceiveMessageError, ReceiveMessageOutput},
    types::QueueAttributeName,
};
use firedrill::{
    domain::fis::FisStatus,
    simulator::{self, ExperimentRecord, Inventory, Limits, Options, Resource, Simulator},
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{PATIENCE, soon, wire::Wire};

/// What ReceiveMessage answers.
type Received = Result<ReceiveMessageOutput, SdkError<ReceiveMessageError>>;

/// How much faster than AWS: an action of a minute takes 60 ms.
const SPEED: f64 = 1_000.0;

/// A simulator and clients of it.
struct World {
    simulator: Simulator,
    fis: aws_sdk_fis::Client,
    sqs: aws_sdk_sqs::Client,
    events: aws_sdk_eventbridge::Client,
    wire: Wire,
}

fn fast() -> Options {
    Options { speed: SPEED, ..Options::default() }
}

/// Looks again at what waits once a minute, so that a receiver is served within a test only if it is woken.
fn drowsy(options: Options) -> Options {
    Options { limits: Limits { look: Duration::from_mins(1), ..options.limits }, ..options }
}

/// What the SDKs need to call a simulator with these credentials.
async fn sdk(url: String, credentials: Credentials) -> SdkConfig {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(url)
        .credentials_provider(credentials)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .timeout_config(TimeoutConfig::builder().operation_timeout(PATIENCE).build())
        .load()
        .await
}

/// Credentials that signatures are verified with, unless something else is wrong with them.
fn keys(id: &str, secret: &str) -> Credentials {
    Credentials::new(id, secret, None, None, "test")
}

/// Starts a simulator, hands it to a test and ends it.
fn simulated<F: Future<Output = World>>(options: Options, test: impl FnOnce(World) -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let simulator = simulator::start(options).await.expect("the simulator starts");
        let config = sdk(simulator.url(), keys("simulator", "simulator")).await;
        let world = World {
            fis: aws_sdk_fis::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            events: aws_sdk_eventbridge::Client::new(&config),
            wire: Wire::new(simulator.url()),
            simulator,
        };
        let world = tokio::time::timeout(3 * PATIENCE, test(world)).await.expect("the test ends");
        world.simulator.shutdown().await;
    });
}

/// One action of a template: name, action id, parameters, target key and name, names it starts after.
struct Act(
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    Option<(&'static str, &'static str)>,
    &'static [&'static str],
);

fn wait(name: &'static str, duration: &'static [(&'static str, &'static str)], after: &'static [&'static str]) -> Act {
    Act(name, "aws:fis:wait", duration, None, after)
}

const MINUTE: &[(&str, &str)] = &[("duration", "PT1M")];
const TWO_MINUTES: &[(&str, &str)] = &[("duration", "PT2M")];
const HOURS: &[(&str, &str)] = &[("duration", "PT10H")];

impl World {
    fn draft(
        &self,
        acts: impl IntoIterator<Item = Act>,
    ) -> aws_sdk_fis::operation::create_experiment_template::builders::CreateExperimentTemplateFluentBuilder {
        let none = CreateExperimentTemplateStopConditionInput::builder().source("none").build().expect("a source");
        let draft = self
            .fis
            .create_experiment_template()
            .description("a drill")
            .role_arn("arn:aws:iam::123456789012:role/drill")
            .stop_conditions(none);
        acts.into_iter().fold(draft, |draft, Act(name, id, parameters, target, after)| {
            let mut action = CreateExperimentTemplateActionInput::builder().action_id(id);
            for (key, value) in parameters {
                action = action.parameters(*key, *value);
            }
            if let Some((key, target)) = target {
                action = action.targets(key, target);
            }
            action = after.iter().fold(action, |action, other| action.start_after(*other));
            draft.actions(name, action.build().expect("an action id"))
        })
    }

    async fn template(&self, acts: impl IntoIterator<Item = Act>) -> String {
        let created = self.draft(acts).send().await.expect("the template is accepted");
        created.experiment_template.and_then(|template| template.id).expect("a template has an id")
    }

    async fn start(&self, template: &str, token: &str) -> String {
        let started = self.fis.start_experiment().experiment_template_id(template).client_token(token).send().await;
        let experiment = started.expect("the experiment starts").experiment.expect("a reply holds the experiment");
        experiment.id.expect("an experiment has an id")
    }

    fn record(&self, id: &str) -> ExperimentRecord {
        let records = self.simulator.experiments();
        records.into_iter().find(|record| record.id == id).expect("the experiment is known")
    }

    /// Waits until an experiment has a status; a terminal status that differs ends the wait.
    async fn until(&self, id: &str, status: FisStatus) -> ExperimentRecord {
        soon("an experiment's status", async || {
            let record = self.record(id);
            assert!(record.status == status || !record.status.is_terminal(), "waiting for {status:?}: {record:?}");
            (record.status == status).then_some(record)
        })
        .await
    }

    /// Calls the simulator's own interface.
    async fn control(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let reply = self.wire.call(method, &format!("/_simulator/{path}"), &body).await;
        (reply.status, reply.body)
    }

    async fn state(&self) -> Value {
        self.wire.get("/_simulator/state").await.good()
    }

    /// Changes the clock, and returns what it shows then.
    async fn clock(&self, change: Value) -> Value {
        self.wire.call("POST", "/_simulator/clock", &change).await.good()
    }

    async fn freeze(&self) {
        self.clock(json!({"frozen": true})).await;
    }

    async fn jump(&self, by: &str) {
        self.clock(json!({"jump": by})).await;
    }

    async fn fault(&self, operation: &str, fault: &str) {
        let body = json!({"operation": operation, "count": 1, "fault": fault});
        assert_eq!(self.control("POST", "faults", body).await, (200, json!({})));
    }

    /// A queue that receives the default bus's events of a source.
    async fn subscribed(&self, source: &str) -> String {
        let queue = self.sqs.create_queue().queue_name("events").send().await.expect("a queue");
        let pattern = json!({"source": [source]}).to_string();
        self.events.put_rule().name("all").event_pattern(pattern).send().await.expect("a rule");
        let arn = "arn:aws:sqs:us-east-1:123456789012:events";
        let target = aws_sdk_eventbridge::types::Target::builder().id("q").arn(arn).build().expect("a target");
        self.events.put_targets().rule("all").targets(target).send().await.expect("a target");
        queue.queue_url.expect("a queue has a URL")
    }

    /// Begins a long poll of an empty queue, and returns once it has looked in vain: what it finds, it was woken for.
    async fn polling(&self, queue: &str) -> JoinHandle<Received> {
        // A message that was received as often as may be goes to the dead-letter queue as soon as somebody looks at it.
        self.sqs.create_queue().queue_name("looked").send().await.expect("a queue");
        let policy = r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:looked", "maxReceiveCount": 1}"#;
        let set =
            self.sqs.set_queue_attributes().queue_url(queue).attributes(QueueAttributeName::RedrivePolicy, policy);
        set.send().await.expect("set");
        self.sqs.send_message().queue_url(queue).message_body("bait").send().await.expect("sent");
        let taken = self.sqs.receive_message().queue_url(queue).visibility_timeout(0).send().await.expect("a receive");
        assert_eq!(taken.messages().len(), 1);
        let poll = tokio::spawn(self.sqs.receive_message().queue_url(queue).wait_time_seconds(20).send());
        soon("a look", async || (self.state().await["queues"]["looked"]["visible"] == 1).then_some(())).await;
        poll
    }

    /// Receives and deletes bodies until so many have come.
    async fn bodies(&self, queue: &str, count: usize) -> Vec<Value> {
        let mut bodies = Vec::new();
        while bodies.len() < count {
            let received = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(5);
            for message in received.send().await.expect("a receive").messages() {
                bodies.push(serde_json::from_str(message.body().expect("a body")).expect("JSON"));
                let receipt = message.receipt_handle().expect("a receipt");
                self.sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await.expect("a delete");
            }
        }
        bodies
    }
}

fn tagged(kind: &str, key: &str, value: &str, mode: &str) -> CreateExperimentTemplateTargetInput {
    let target = CreateExperimentTemplateTargetInput::builder().resource_type(kind).selection_mode(mode);
    target.resource_tags(key, value).build().expect("a target")
}

fn instance(id: &str, tag: (&str, &str)) -> Resource {
    Resource {
        resource_type: "aws:ec2:instance".to_owned(),
        arn: format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}"),
        tags: [(tag.0.to_owned(), tag.1.to_owned())].into(),
        attributes: serde_json::Map::new(),
    }
}

#[test]
fn other_than_loopback_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let listen = "0.0.0.0:0".parse().expect("an address");
        let error = simulator::start(Options { listen, ..Options::default() }).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        let error = simulator::start(Options { speed: f64::NAN, ..Options::default() }).await.expect_err("refused");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    });
}

#[test]
fn a_shutdown_answers_polls_and_hanging_requests() {
    simulated(drowsy(fast()), async |mut world| {
        let queue = world.sqs.create_queue().queue_name("q").send().await.expect("a queue").queue_url.expect("a URL");
        let poll = world.polling(&queue).await;
        world.fault("ListActions", "hang").await;
        let hanging = tokio::spawn(world.fis.list_actions().send());
        soon("the hanging request", async || (world.state().await["faults"]["ListActions"] == json!([])).then_some(()))
            .await;
        let other = simulator::start(fast()).await.expect("another one");
        std::mem::replace(&mut world.simulator, other).shutdown().await;
        let polled = poll.await.expect("no panic").expect_err("an end");
        assert_eq!(polled.code(), Some("ServiceUnavailable"), "{polled:?}");
        let hung = hanging.await.expect("no panic").expect_err("an end");
        assert_eq!(hung.code(), Some("ServiceUnavailable"), "{hung:?}");
        world
    });
}

#[test]
fn ids_look_like_aws_and_differ_between_starts() {
    let seen = std::cell::RefCell::new(std::collections::BTreeSet::new());
    for _start in 0..2 {
        simulated(fast(), async |world| {
            let template = world.template([wait("w", MINUTE, &[])]).await;
            let id = world.start(&template, "t").await;
            assert!(template.starts_with("EXT") && template.len() == 17, "{template}");
            assert!(id.starts_with("EXP") && id.len() == 19, "{id}");
            seen.borrow_mut().extend([template, id]);
            world
        });
    }
    assert_eq!(seen.borrow().len(), 4);
}

#[test]
fn inventories_are_read_from_toml_and_json() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        Inventory::from_file(&path)
    };
    let toml = "[[resource]]\ntype = \"aws:ec2:instance\"\narn = \"arn:aws:ec2:us-east-1:123456789012:instance/i-1\"\n\
                tags = { env = \"test\" }\n";
    let json = json!([instance_json("i-1")]).to_string();
    for listed in [read("inventory.toml", toml), read("inventory.json", &json)] {
        let Ok(Inventory::Listed(resources)) = listed else { panic!("{listed:?}") };
        assert_eq!(resources, [instance("i-1", ("env", "test"))]);
    }
    let error = read("wrong.toml", "resource = 5").expect_err("refused");
    assert!(error.to_string().contains("[[resource]]"), "{error}");
    assert!(Inventory::from_file(&directory.path().join("missing.toml")).is_err());
}

fn instance_json(id: &str) -> Value {
    let arn = format!("arn:aws:ec2:us-east-1:123456789012:instance/{id}");
    json!({"type": "aws:ec2:instance", "arn": arn, "tags": {"env": "test"}})
}
