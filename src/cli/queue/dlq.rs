//! `firedrill queue dlq`: what a queue could not get rid of, told, moved back or dropped.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::json;

use crate::{
    aws::{
        dead_letters::{DeadLetters, Letter},
        provision::ProvisionFailure,
        sdk::Places,
    },
    cli::{
        args::{
            Output,
            queue::{DlqCommand, DlqDropArgs, DlqListArgs, DlqRedriveArgs},
        },
        context::{Context, now},
        exit::{Exit, Failure},
        queue::{confirm, named},
        render,
    },
    domain::event::{self, mapping::Mapping},
};

/// Most messages that one command moves or drops.
const MAX_MESSAGES: usize = 100_000;

/// Messages between two signs of life.
const TOLD_EVERY: usize = 100;

/// Runs one of the commands.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown queue, one without a dead-letter queue, and a message that is not there;
/// [`Exit::Usage`] when what is for good was not confirmed.
pub async fn run(context: &Context, command: &DlqCommand) -> Result<Exit, Failure> {
    match command {
        DlqCommand::List(list) => self::list(context, list).await,
        DlqCommand::Redrive(redrive) => self::redrive(context, redrive).await,
        DlqCommand::Drop(drop) => self::drop(context, drop).await,
    }
}

/// Lists the messages of a queue's dead-letter queue.
async fn list(context: &Context, args: &DlqListArgs) -> Result<Exit, Failure> {
    let dead = find(context, &args.queue).await?;
    let mut letters: Vec<Letter> = Vec::new();
    let mut known = BTreeSet::new();
    while letters.len() < args.limit {
        let batch = dead.receive().await.map_err(failed)?;
        // What comes again was hidden for as long as it may be: there is more than can be looked at in that time.
        let before = letters.len();
        letters.extend(batch.into_iter().filter(|letter| known.insert(letter.id.clone())));
        if letters.len() == before {
            break;
        }
    }
    dead.give_back(&letters).await.map_err(failed)?;
    letters.truncate(args.limit);
    letters.sort_by_key(|letter| letter.sent);
    show(context, &dead, &letters, now())?;
    Ok(Exit::Done)
}

/// Moves messages back into the queue.
async fn redrive(context: &Context, args: &DlqRedriveArgs) -> Result<Exit, Failure> {
    let dead = find(context, &args.queue).await?;
    let moved = each(&dead, &args.messages.ids, async |letter| dead.move_back(letter).await).await?;
    done(context, "redriven", "moved back", moved)
}

/// Deletes messages.
async fn drop(context: &Context, args: &DlqDropArgs) -> Result<Exit, Failure> {
    let dead = find(context, &args.queue).await?;
    if !args.yes {
        let what = if args.messages.all {
            "All messages".to_owned()
        } else {
            render::count(args.messages.ids.len(), "message")
        };
        confirm(&format!("{what} of queue `{}` will be gone for good. Go on?", dead.name))?;
    }
    let dropped = each(&dead, &args.messages.ids, async |letter| dead.delete(letter).await).await?;
    done(context, "dropped", "dropped", dropped)
}

async fn find(context: &Context, name: &str) -> Result<DeadLetters, Failure> {
    let settings = context.load()?.settings;
    let queue = named(&settings, name)?;
    let found = DeadLetters::of(&Places::default(), queue).await.map_err(failed)?;
    found.ok_or_else(|| Failure::say(Exit::NotFound, format!("queue `{name}` has no dead-letter queue")))
}

fn failed(error: ProvisionFailure) -> Failure {
    Failure::internal(error.into())
}

/// Does something to every message, or to those with some ids, in the order in which they come. All others are given back,
/// whatever happens. Returns how many it was done to.
async fn each(
    dead: &DeadLetters,
    ids: &[String],
    act: impl AsyncFn(&Letter) -> Result<(), ProvisionFailure>,
) -> Result<usize, Failure> {
    let mut left: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let (mut others, mut done) = (Vec::new(), 0_usize);
    let ended = async {
        while (ids.is_empty() || !left.is_empty()) && done < MAX_MESSAGES {
            let mut batch = dead.receive().await?.into_iter();
            let known = |letter: &Letter, others: &[Letter]| others.iter().any(|other: &Letter| other.id == letter.id);
            let mut news = 0_usize;
            for letter in batch.by_ref() {
                if !ids.is_empty() && !left.remove(letter.id.as_str()) {
                    news += usize::from(!known(&letter, &others));
                    others.push(letter);
                    continue;
                }
                news += 1;
                let acted = act(&letter).await;
                if let Err(error) = acted {
                    others.push(letter);
                    others.extend(batch);
                    return Err(error);
                }
                done += 1;
                if done.is_multiple_of(TOLD_EVERY) {
                    eprintln!("{} so far", render::count(done, "message"));
                }
            }
            if news == 0 {
                break;
            }
        }
        Ok(())
    };
    let ended: Result<(), ProvisionFailure> = ended.await;
    if done >= MAX_MESSAGES {
        eprintln!("more may remain: {} are the most for one time, say it again", render::count(done, "message"));
    }
    let given_back = dead.give_back(&others).await;
    let told = |error: ProvisionFailure| {
        Failure::internal(anyhow::Error::new(error).context(format!("{} done", render::count(done, "message"))))
    };
    ended.map_err(told)?;
    given_back.map_err(told)?;
    if left.is_empty() || ids.is_empty() {
        return Ok(done);
    }
    let hint = "hint: somebody else may have it, or too many of its message group are before it; try again in a minute";
    let left = left.into_iter().collect::<Vec<_>>().join(", ");
    let text = format!("{} done; not found in queue `{}`: {left}\n{hint}", render::count(done, "message"), dead.name);
    Err(Failure::say(Exit::NotFound, text))
}

fn done(context: &Context, key: &str, words: &str, count: usize) -> Result<Exit, Failure> {
    match context.output {
        Output::Json => render::json(&json!({ key: count }))?,
        Output::Table => render::line(&format!("{} {words}", render::count(count, "message")))?,
    }
    Ok(Exit::Done)
}

fn show(context: &Context, dead: &DeadLetters, letters: &[Letter], now: Timestamp) -> Result<(), Failure> {
    let mappings = context.load()?.settings.rules.mappings;
    if context.output == Output::Json {
        let letter = |letter: &Letter| {
            json!({
                "id": letter.id, "receives": letter.receives, "sent_at": letter.sent, "from": letter.from,
                "why": why(dead, letter, &mappings), "body": letter.body,
            })
        };
        let letters: Vec<_> = letters.iter().map(letter).collect();
        return render::json(&json!({ "queue": dead.name, "messages": letters }));
    }
    if letters.is_empty() {
        return render::line(&format!("queue `{}` holds no message that can be seen", dead.name));
    }
    let mut table = render::table(&["id", "receives", "age", "why", "body"]);
    for letter in letters {
        table.add_row([
            letter.id.clone(),
            letter.receives.map(|count| count.to_string()).unwrap_or_default(),
            letter.sent.map(|sent| render::span(now.duration_since(sent))).unwrap_or_default(),
            why(dead, letter, &mappings),
            super::excerpt(&letter.body),
        ]);
    }
    render::line(&table.trim_fmt())
}

/// Says why a message may be here.
fn why(dead: &DeadLetters, letter: &Letter, mappings: &[Mapping]) -> String {
    if let Some(error) = &letter.error {
        return format!("EventBridge could not deliver it: {error}");
    }
    let came = match &letter.from {
        Some(_) if dead.max_receives == 1 => "received once without being deleted".to_owned(),
        Some(_) => format!("received {} times without being deleted", dead.max_receives),
        None => "sent here by somebody, or by a rule that could not deliver it".to_owned(),
    };
    match event::read(&letter.body, &letter.id, mappings) {
        Ok(_) => came,
        Err(unreadable) => format!("{came}; it is no event: {unreadable}"),
    }
}
