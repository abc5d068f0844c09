//! `firedrill queue quarantine`: messages that the agent could not read, told, taken in again or forgotten.

use reqwest::Method;
use serde_json::json;

use crate::{
    cli::{
        args::{
            Output,
            queue::{Messages, QuarantineCommand, QuarantineDropArgs, QuarantineListArgs, QuarantineRedriveArgs},
        },
        client::Client,
        context::Context,
        exit::{Exit, Failure},
        queue::{confirm, excerpt},
        render,
    },
    engine::ports::QuarantinedMessage,
    http::api::{MessageWish, RedrivenMessage},
};

/// Most messages that are looked through.
const MAX_MESSAGES: u32 = 100_000;

/// Runs one of the commands.
///
/// # Errors
/// [`Exit::NoAgent`] when there is no store, or nobody to do it; [`Exit::NotFound`] for a message that is not there;
/// [`Exit::Usage`] when what is for good was not confirmed.
pub async fn run(context: &Context, command: &QuarantineCommand) -> Result<Exit, Failure> {
    match command {
        QuarantineCommand::List(list) => self::list(context, list).await,
        QuarantineCommand::Redrive(redrive) => self::redrive(context, redrive).await,
        QuarantineCommand::Drop(drop) => self::drop(context, drop).await,
    }
}

async fn list(context: &Context, args: &QuarantineListArgs) -> Result<Exit, Failure> {
    let mut messages = all(context, args.queue.as_deref()).await?;
    messages.truncate(args.limit);
    if context.output == Output::Json {
        let message = |message: &QuarantinedMessage| {
            json!({
                "id": message.message_id, "queue": message.queue, "received_at": message.received_at,
                "reason": message.reason, "body": message.body, "body_bytes": message.body_bytes,
                "cut": message.is_cut(),
            })
        };
        render::json(&json!({ "messages": messages.iter().map(message).collect::<Vec<_>>() }))?;
        return Ok(Exit::Done);
    }
    if messages.is_empty() {
        render::line("no message is in quarantine")?;
        return Ok(Exit::Done);
    }
    let mut table = render::table(&["id", "queue", "received (utc)", "why", "body"]);
    for message in &messages {
        let cut = if message.is_cut() { format!(" (cut, {} bytes)", message.body_bytes) } else { String::new() };
        table.add_row([
            message.message_id.clone(),
            message.queue.clone(),
            render::instant(message.received_at),
            message.reason.clone(),
            format!("{}{cut}", excerpt(&message.body)),
        ]);
    }
    render::line(&table.trim_fmt())?;
    Ok(Exit::Done)
}

async fn redrive(context: &Context, args: &QuarantineRedriveArgs) -> Result<Exit, Failure> {
    let mut messages = chosen(context, args.queue.as_deref(), &args.messages).await?;
    messages.reverse();
    let client = Client::new(context)?;
    let mut told = Vec::new();
    for message in &messages {
        let wish = wish(message);
        let answer: RedrivenMessage = match client.ask(Method::POST, "/v1/quarantine/redrive", Some(&wish)).await {
            Ok(answer) => answer,
            // It stays, and so may others that can be taken in.
            Err(Failure { exit: Exit::Usage | Exit::NotFound, error }) => {
                RedrivenMessage { taken: "kept".to_owned(), runs: Vec::new(), reason: Some(error.to_string()) }
            }
            Err(other) => return Err(other),
        };
        told.push((message, answer));
    }
    if context.output == Output::Json {
        let one = |(message, answer): &(&QuarantinedMessage, RedrivenMessage)| {
            json!({
                "id": message.message_id, "queue": message.queue, "taken": answer.taken, "runs": answer.runs,
                "reason": answer.reason,
            })
        };
        render::json(&json!({ "messages": told.iter().map(one).collect::<Vec<_>>() }))?;
    } else {
        for (message, answer) in &told {
            let runs: Vec<String> = answer.runs.iter().map(|run| format!(", run {run}")).collect();
            let reason = answer.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
            render::line(&format!("{} {}{}{reason}", message.message_id, answer.taken, runs.concat()))?;
        }
    }
    Ok(if told.iter().any(|(_, answer)| answer.reason.is_some()) { Exit::Internal } else { Exit::Done })
}

async fn drop(context: &Context, args: &QuarantineDropArgs) -> Result<Exit, Failure> {
    let messages = chosen(context, args.queue.as_deref(), &args.messages).await?;
    let count = render::count(messages.len(), "message");
    if !args.yes && !messages.is_empty() {
        confirm(&format!("{count} in quarantine will be gone for good. Go on?"))?;
    }
    let client = Client::new(context)?;
    for message in &messages {
        client.send(Method::POST, "/v1/quarantine/drop", Some(&wish(message))).await?;
    }
    match context.output {
        Output::Json => render::json(&json!({ "dropped": messages.len() }))?,
        Output::Table => render::line(&format!("{count} dropped"))?,
    }
    Ok(Exit::Done)
}

fn wish(message: &QuarantinedMessage) -> MessageWish {
    MessageWish { queue: message.queue.clone(), message: message.message_id.clone() }
}

/// Reads the messages of one queue or of all, newest first.
async fn all(context: &Context, queue: Option<&str>) -> Result<Vec<QuarantinedMessage>, Failure> {
    let messages = context.store().await?.quarantined(MAX_MESSAGES).await;
    let mut messages = messages.map_err(|error| Failure::internal(error.into()))?;
    messages.retain(|message| queue.is_none_or(|queue| message.queue == queue));
    Ok(messages)
}

/// Finds the messages that were asked for, newest first.
async fn chosen(context: &Context, queue: Option<&str>, asked: &Messages) -> Result<Vec<QuarantinedMessage>, Failure> {
    let mut messages = all(context, queue).await?;
    let begins = |id: &&String, message: &QuarantinedMessage| message.message_id.starts_with(id.as_str());
    for id in &asked.ids {
        let text = match messages.iter().filter(|message| begins(&id, message)).count() {
            1 => continue,
            0 => format!("no message `{id}` is in quarantine"),
            _several => format!("several messages in quarantine begin with `{id}`"),
        };
        return Err(Failure::say(Exit::NotFound, text));
    }
    messages.retain(|message| asked.all || asked.ids.iter().any(|id| begins(&id, message)));
    Ok(messages)
}
