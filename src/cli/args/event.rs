//! Arguments of `firedrill event`.

use clap::{Args, Subcommand};

/// `event`.
#[derive(Debug, Subcommand)]
pub enum EventCommand {
    /// Tell whether a pattern matches an event, or which triggers of the configuration take it, and why not.
    #[command(
        after_help = "Examples:\n  firedrill event match --pattern '{\"source\": [\"aws.ecs\"]}' --event @event.json\n  aws sqs receive-message … --query 'Messages[0].Body' --output text | firedrill event match --event -\n  firedrill event match --jsonl < cases.jsonl"
    )]
    Match(EventMatchArgs),
    /// Show the ready-made triggers: what each takes, its filters, and how to write it.
    #[command(after_help = "Examples:\n  firedrill event presets\n  firedrill event presets ecs-deployment-completed")]
    Presets {
        /// Which one, with everything that is known of it. Default: all, in short.
        name: Option<String>,
    },
}

/// `event match`.
#[derive(Debug, Args)]
pub struct EventMatchArgs {
    /// Event pattern: JSON, @FILE, or - for stdin. Default: the triggers of the configuration.
    #[arg(long, value_name = "PATTERN", conflicts_with = "jsonl")]
    pub pattern: Option<String>,
    /// Event: JSON, @FILE, or - for stdin. Without --pattern any body that a queue may deliver.
    #[arg(long, value_name = "EVENT", required_unless_present = "jsonl", conflicts_with = "jsonl")]
    pub event: Option<String>,
    /// Without --pattern: the queue or webhook that it came from. Default: any.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["jsonl", "pattern"])]
    pub queue: Option<String>,
    /// Read lines such as {"id": 1, "pattern": "…", "event": "…"}, both texts that hold JSON, from stdin and answer each
    /// with {"id": 1, "result": true, "reason": "…"}; the result is true, false or "error".
    #[arg(long)]
    pub jsonl: bool,
}
