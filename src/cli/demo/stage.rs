//! The demo's stage: a simulator, a template, a queue behind an EventBridge rule, and an agent, all in one process and one
//! temporary folder.

use std::time::Duration;

use anyhow::Context;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::template;
use crate::{
    config,
    daemon::agent::Agent,
    simulator::{self, Options, Simulator},
    store::SqlStore,
    telemetry::Telemetry,
};

/// How much faster than AWS the simulator is.
pub const SPEED: f64 = 60.0;
/// The simulator's Region.
pub const REGION: &str = "us-east-1";
/// Name of the EventBridge rule that carries deployments to the queue.
const RULE: &str = "deployments-to-chaos";
/// Longest time the agent may take to end.
const DRAIN: Duration = Duration::from_secs(12);
/// Longest time the last telemetry may take to leave.
const TELEMETRY_END: Duration = Duration::from_secs(3);

/// Everything that the demo set up.
pub struct Stage {
    /// The folder that goes with the demo.
    folder: TempDir,
    simulator: Simulator,
    events: aws_sdk_eventbridge::Client,
    agent: Agent,
    telemetry: Option<Telemetry>,
    /// Reads what the agent records.
    pub store: SqlStore,
}

impl Stage {
    /// Sets everything up.
    ///
    /// # Errors
    /// When a part does not come up.
    pub async fn set(
        telemetry: impl FnOnce(&config::settings::Telemetry) -> anyhow::Result<Telemetry>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("firedrill-demo-").tempdir().context("could not make a folder")?;
        let configuration = folder.path().join("config");
        std::fs::create_dir_all(&configuration)
            .with_context(|| format!("could not make {}", configuration.display()))?;
        std::fs::write(configuration.join("firedrill.toml"), template::CONFIG)?;
        let simulator = simulator::start(Options { speed: SPEED, ..Options::default() }).await?;
        let aws = aws_config::defaults(BehaviorVersion::latest())
            .http_client(crate::aws::sdk::http_client())
            .region(Region::new(REGION))
            .endpoint_url(simulator.url())
            .credentials_provider(credentials())
            .load()
            .await;
        template::apply(&aws_sdk_fis::Client::new(&aws)).await?;
        let events = aws_sdk_eventbridge::Client::new(&aws);
        let queue = deployments_queue(&aws_sdk_sqs::Client::new(&aws), &events).await?;
        let environment: Vec<(String, String)> = [
            ("FIREDRILL__STATE_DIRECTORY", folder.path().join("state").display().to_string()),
            ("FIREDRILL__AWS__ENDPOINT_URL", simulator.url()),
            ("FIREDRILL__QUEUES__DEPLOYMENTS__URL", queue),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let loaded = config::load(&configuration, environment.clone())?;
        let telemetry = telemetry(&loaded.settings.telemetry)?;
        let state = loaded.settings.state.directory.clone();
        let credentials = crate::aws::sdk::Places::with_credentials(credentials());
        let agent = Agent::start_with(loaded.settings, configuration, environment, &telemetry, credentials).await?;
        let store = SqlStore::open_to_read(&state).await?;
        Ok(Self { folder, simulator, events, agent, telemetry: Some(telemetry), store })
    }

    /// Returns the simulator's address.
    pub fn url(&self) -> String {
        self.simulator.url()
    }

    /// Returns the agent's status as it changes.
    pub fn status(&self) -> tokio::sync::watch::Receiver<std::sync::Arc<crate::http::status::Status>> {
        self.agent.status()
    }

    /// Announces a deployment on the default bus, as a pipeline would.
    ///
    /// # Errors
    /// When EventBridge refuses it.
    pub async fn deploy(&self, version: &str) -> anyhow::Result<()> {
        let detail = serde_json::json!({ "service": "checkout", "status": "succeeded", "version": version });
        let entry = PutEventsRequestEntry::builder()
            .source("com.example.ci")
            .detail_type("Deployment")
            .detail(detail.to_string())
            .build();
        let answer = self.events.put_events().entries(entry).send().await?;
        anyhow::ensure!(answer.failed_entry_count == 0, "EventBridge refused the deployment event");
        Ok(())
    }

    /// Drops a file into the configuration folder, as a colleague in an incident would, and reloads.
    ///
    /// # Errors
    /// When the agent refuses it.
    pub async fn add_configuration(&self, file: &str, text: &str) -> anyhow::Result<()> {
        std::fs::write(self.folder.path().join("config").join(file), text)?;
        let (answer, answered) = oneshot::channel();
        self.agent.reloader().send(answer).await.context("the agent takes no reload")?;
        answered.await?.map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
        Ok(())
    }

    /// Ends everything and removes the folder.
    pub async fn strike(mut self) {
        if !matches!(tokio::time::timeout(DRAIN, self.agent.drain()).await, Ok(Ok(()))) {
            tracing::warn!("not everything ended in time");
        }
        self.store.close().await;
        self.agent.end().await;
        self.simulator.shutdown().await;
        if let Some(telemetry) = self.telemetry.take() {
            // Blocks, so not on this thread; how it ended is said in its own log.
            let _ended = tokio::task::spawn_blocking(move || telemetry.shutdown(TELEMETRY_END)).await;
        }
        if let Err(error) = self.folder.close() {
            tracing::warn!(%error, "could not remove the demo's folder");
        }
    }
}

/// Credentials that the simulator takes; the demo never uses a person's own.
fn credentials() -> aws_sdk_fis::config::Credentials {
    aws_sdk_fis::config::Credentials::new("demo", "demo", None, None, "demo")
}

/// Makes the queue and the rule that leads deployments to it; returns the queue's URL.
async fn deployments_queue(sqs: &aws_sdk_sqs::Client, events: &aws_sdk_eventbridge::Client) -> anyhow::Result<String> {
    let queue = sqs.create_queue().queue_name("deployments").send().await?;
    let url = queue.queue_url.context("SQS told no URL")?;
    let attributes = sqs
        .get_queue_attributes()
        .queue_url(&url)
        .attribute_names(aws_sdk_sqs::types::QueueAttributeName::QueueArn)
        .send()
        .await?;
    let arn = attributes
        .attributes
        .and_then(|mut all| all.remove(&aws_sdk_sqs::types::QueueAttributeName::QueueArn))
        .context("SQS told no ARN")?;
    events.put_rule().name(RULE).event_pattern(r#"{"source":["com.example.ci"]}"#).send().await?;
    let target = Target::builder().id("queue").arn(arn).build()?;
    events.put_targets().rule(RULE).targets(target).send().await?;
    Ok(url)
}
