//! Arguments of `firedrill queue`.

use clap::{Args, Subcommand};

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
}

/// Which queues.
#[derive(Debug, Args)]
pub struct QueueNames {
    /// Names in the configuration. Default: all that have a `provision` table.
    #[arg(value_name = "QUEUE")]
    pub queues: Vec<String>,
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
