//! Arguments of `firedrill queue`.

use clap::{Args, Subcommand, ValueEnum};

/// `queue`.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// Show what `apply` would do.
    #[command(after_help = "Example:\n  firedrill queue plan --output json")]
    Plan(QueueNames),
    /// Make the queues, their dead-letter queues and the rules that lead to them, after showing what that changes.
    #[command(after_help = "Example:\n  firedrill queue apply deployments")]
    Apply(QueueApplyArgs),
    /// Delete what `apply` made, after showing it.
    #[command(after_help = "Example:\n  firedrill queue destroy deployments")]
    Destroy(QueueDestroyArgs),
    /// Print the same for those who make it by other tools.
    #[command(
        after_help = "Examples:\n  firedrill queue export --format cloudformation > queues.json\n  firedrill queue export --format terraform > queues.tf"
    )]
    Export(QueueExportArgs),
    /// See to messages that were delivered too often and went to a queue's dead-letter queue.
    #[command(
        subcommand,
        after_help = "Examples:\n  firedrill queue dlq list deployments\n  firedrill queue dlq redrive deployments --all"
    )]
    Dlq(DlqCommand),
    /// See to messages that the agent could not read and put aside.
    #[command(
        subcommand,
        after_help = "Examples:\n  firedrill queue quarantine list\n  firedrill queue quarantine redrive 5fea7756"
    )]
    Quarantine(QuarantineCommand),
}

/// `queue dlq`.
#[derive(Debug, Subcommand)]
pub enum DlqCommand {
    /// List messages, and why they may be there. They stay.
    List(DlqListArgs),
    /// Move messages back into the queue, in their order.
    Redrive(DlqRedriveArgs),
    /// Delete messages for good.
    Drop(DlqDropArgs),
}

/// `queue dlq list`.
#[derive(Debug, Args)]
pub struct DlqListArgs {
    /// Name of the queue in the configuration.
    pub queue: String,
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 100, value_parser = limit)]
    pub limit: usize,
}

/// `queue dlq redrive`.
#[derive(Debug, Args)]
pub struct DlqRedriveArgs {
    /// Name of the queue in the configuration.
    pub queue: String,
    /// Which messages.
    #[command(flatten)]
    pub messages: Messages,
}

/// `queue dlq drop`.
#[derive(Debug, Args)]
pub struct DlqDropArgs {
    /// Name of the queue in the configuration.
    pub queue: String,
    /// Which messages.
    #[command(flatten)]
    pub messages: Messages,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `queue quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// List messages, newest first, and why they could not be read. The newest 1000 are kept.
    List(QuarantineListArgs),
    /// Let the running agent take messages in again, oldest first: after a change of its configuration, say.
    Redrive(QuarantineRedriveArgs),
    /// Forget messages for good.
    Drop(QuarantineDropArgs),
}

/// `queue quarantine list`.
#[derive(Debug, Args)]
pub struct QuarantineListArgs {
    /// Only of this queue or webhook.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// At most so many, 1 to 1000.
    #[arg(long, default_value_t = 100, value_parser = limit)]
    pub limit: usize,
}

/// `queue quarantine redrive`.
#[derive(Debug, Args)]
pub struct QuarantineRedriveArgs {
    /// Only of this queue or webhook.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Which messages; the beginning of an id will do.
    #[command(flatten)]
    pub messages: Messages,
}

/// `queue quarantine drop`.
#[derive(Debug, Args)]
pub struct QuarantineDropArgs {
    /// Only of this queue or webhook.
    #[arg(long, value_name = "NAME")]
    pub queue: Option<String>,
    /// Which messages; the beginning of an id will do.
    #[command(flatten)]
    pub messages: Messages,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// Which messages.
#[derive(Debug, Args)]
pub struct Messages {
    /// Ids of messages, as `list` shows them.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    pub ids: Vec<String>,
    /// All of them.
    #[arg(long)]
    pub all: bool,
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=1_000).contains(limit));
    limit.ok_or_else(|| "it is a number from 1 to 1000".to_owned())
}

/// Which queues.
#[derive(Debug, Args)]
pub struct QueueNames {
    /// Names in the configuration. Default: all that have a `provision` table.
    #[arg(value_name = "QUEUE")]
    pub queues: Vec<String>,
}

/// `queue export`.
#[derive(Debug, Args)]
pub struct QueueExportArgs {
    /// Which queues.
    #[command(flatten)]
    pub names: QueueNames,
    /// For which tool.
    #[arg(long, value_enum)]
    pub format: Tool,
}

/// A tool that makes resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// A CloudFormation template, as JSON.
    Cloudformation,
    /// Terraform's HCL.
    Terraform,
}

/// `queue apply`.
#[derive(Debug, Args)]
pub struct QueueApplyArgs {
    /// Which queues.
    #[command(flatten)]
    pub names: QueueNames,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `queue destroy`.
#[derive(Debug, Args)]
pub struct QueueDestroyArgs {
    /// Which queues.
    #[command(flatten)]
    pub names: QueueNames,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Also when a queue or its dead-letter queue still holds messages, which go with it.
    #[arg(long)]
    pub with_messages: bool,
}
