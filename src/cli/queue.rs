//! `firedrill queue`: makes the queues of the configuration and what leads to them, and looks after what got stuck.
//!
//! Everything is shown before it is done, and asked about unless `--yes` is said.

pub mod dlq;
pub mod export;
pub mod quarantine;

use std::{
    io::{BufRead, IsTerminal, Write},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    args::{
        Output,
        queue::{QueueApplyArgs, QueueDestroyArgs, QueueNames},
    },
    context::Context,
    exit::{Exit, Failure},
    render,
};
use crate::{
    aws::{
        provision::{ProvisionFailure, Provisioner},
        sdk::Places,
    },
    config::settings::{Queue, Settings},
    domain::{
        ids::Name,
        provision::{
            self, Desired, Options, Site,
            diff::{self, Action, Change, Detail, Found, Plan},
        },
        words::did_you_mean,
    },
};

/// Longest value in a table, in characters.
const MAX_SHOWN: usize = 60;

/// Most rules of a policy in a table.
const MAX_RULES: usize = 3;

/// What a look is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// What the configuration asks for is to be there.
    Make,
    /// Nothing is to be there. What triggers ask for does not matter: it may be just what cannot be made.
    Destroy,
}

/// A queue, what is to be there for it and what is.
struct Looked {
    /// Its name in the configuration.
    name: Name,
    desired: Desired,
    found: Found,
    provisioner: Provisioner,
}

/// Shows what an apply would do.
///
/// # Errors
/// [`Exit::Usage`] for a configuration with mistakes, [`Exit::NotFound`] for an unknown queue.
pub async fn plan(context: &Context, names: &QueueNames) -> Result<Exit, Failure> {
    let plans = look(context, names, Purpose::Make).await?.iter().map(to_apply).collect::<Result<Vec<_>, _>>()?;
    show(context, &plans)?;
    Ok(if plans.iter().all(|(_, plan)| plan.steps.is_empty()) { Exit::Done } else { Exit::Changes })
}

/// Makes what is to be there.
///
/// # Errors
/// As [`plan`]; [`Exit::Internal`] for a call that failed.
pub async fn apply(context: &Context, args: &QueueApplyArgs) -> Result<Exit, Failure> {
    let looked = look(context, &args.names, Purpose::Make).await?;
    let plans = looked.iter().map(to_apply).collect::<Result<Vec<_>, _>>()?;
    carry_out(context, &looked, &plans, args.yes).await
}

/// Deletes what is ours.
///
/// # Errors
/// As [`apply`]; [`Exit::Usage`] when messages would be lost and nothing was said of them.
pub async fn destroy(context: &Context, args: &QueueDestroyArgs) -> Result<Exit, Failure> {
    let looked = look(context, &args.names, Purpose::Destroy).await?;
    let name = |looked: &Looked| looked.name.to_string();
    let plans: Vec<(String, Plan)> =
        looked.iter().map(|looked| (name(looked), diff::destroy(&looked.desired, &looked.found))).collect();
    let held: Vec<String> = plans
        .iter()
        .flat_map(|(_, plan)| plan.messages())
        .map(|(queue, count)| format!("queue `{queue}` still holds {count} messages"))
        .collect();
    if !held.is_empty() && !args.with_messages {
        let hint = "hint: let the agent read them, see `firedrill queue dlq`, or say `--with-messages`";
        return Err(Failure::say(Exit::Usage, format!("{}\n{hint}", held.join("\n"))));
    }
    carry_out(context, &looked, &plans, args.yes).await
}

/// Shows plans, asks, and performs their steps.
async fn carry_out(context: &Context, looked: &[Looked], plans: &[(String, Plan)], yes: bool) -> Result<Exit, Failure> {
    let count = plans.iter().map(|(_, plan)| plan.steps.len()).sum::<usize>();
    if context.output == Output::Table || count == 0 {
        show(context, plans)?;
    }
    if count == 0 {
        return Ok(Exit::Done);
    }
    if !yes {
        confirm("Do this?")?;
    }
    let mut done = 0_usize;
    for (looked, (_, plan)) in looked.iter().zip(plans) {
        for step in &plan.steps {
            eprintln!("[{}/{count}] {step}", done + 1);
            looked.provisioner.perform(&looked.desired, step).await.map_err(|error| {
                let hint = "what was done stays; say it again to do the rest";
                Failure::internal(
                    anyhow::Error::new(error).context(format!("{done} of {count} steps are done; {hint}")),
                )
            })?;
            done += 1;
        }
    }
    if context.output == Output::Json {
        show(context, plans)?;
    }
    Ok(Exit::Done)
}

fn to_apply(looked: &Looked) -> Result<(String, Plan), Failure> {
    let plan = diff::apply(&looked.desired, &looked.found);
    Ok((looked.name.to_string(), plan.map_err(|foreign| Failure::new(Exit::Usage, foreign))?))
}

/// Looks at every queue that was asked for.
async fn look(context: &Context, names: &QueueNames, purpose: Purpose) -> Result<Vec<Looked>, Failure> {
    let settings = context.load()?.settings;
    let places = Arc::new(Places::default());
    let mut looked = Vec::new();
    for (queue, options) in chosen(&settings, &names.queues, purpose)? {
        let failed = |error: ProvisionFailure| Failure::internal(error.into());
        let provisioner = Provisioner::new(&places, queue, &settings.place).await.map_err(failed)?;
        let site = provisioner.site().await.map_err(failed)?;
        let desired = desired(&settings, queue, &options, site, purpose)?;
        let found = provisioner.look(&desired).await.map_err(failed)?;
        looked.push(Looked { name: queue.name.clone(), desired, found, provisioner });
    }
    Ok(looked)
}

/// Finds the queues that were asked for; all that can be made when none was. One that is not made any more may still be
/// destroyed.
fn chosen<'s>(
    settings: &'s Settings,
    names: &[String],
    purpose: Purpose,
) -> Result<Vec<(&'s Queue, Options)>, Failure> {
    let hint = "hint: add a table `[queues.NAME.provision]`, it may be empty";
    let wanted = |queue: &&Queue| names.is_empty() || names.iter().any(|name| queue.name.as_str() == name);
    for name in names {
        named(settings, name)?;
    }
    let mut chosen = Vec::new();
    for queue in settings.queues.iter().filter(wanted) {
        match &queue.provision {
            Some(options) => chosen.push((queue, options.clone())),
            None if names.is_empty() => {}
            None if purpose == Purpose::Destroy => chosen.push((queue, Options::default())),
            None => {
                let said = format!("queue `{}` is not made by firedrill\n{hint}", queue.name);
                return Err(Failure::say(Exit::Usage, said));
            }
        }
    }
    if chosen.is_empty() {
        return Err(Failure::say(Exit::Usage, format!("no queue is made by firedrill\n{hint}")));
    }
    Ok(chosen)
}

/// Finds a queue by its name in the configuration.
fn named<'s>(settings: &'s Settings, name: &str) -> Result<&'s Queue, Failure> {
    settings.queues.iter().find(|queue| queue.name.as_str() == name).ok_or_else(|| {
        let hint = did_you_mean(name, settings.queues.iter().map(|queue| queue.name.as_str()));
        let hint = hint.map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        Failure::say(Exit::NotFound, format!("there is no queue `{name}` in the configuration{hint}"))
    })
}

/// Derives what is to be there for a queue.
fn desired(
    settings: &Settings,
    queue: &Queue,
    options: &Options,
    site: Site,
    purpose: Purpose,
) -> Result<Desired, Failure> {
    let failed = |text: String| Failure::say(Exit::Usage, format!("queue `{}`: {text}", queue.name));
    let (account, name) = provision::queue_of_url(&queue.url)
        .ok_or_else(|| failed("its `url` does not end with an account and a name".to_owned()))?;
    if account != site.account {
        let hint = "hint: `role_arn` of the queue names a role of its account";
        let theirs = format!("its `url` is of account {account}, the credentials are of {}", site.account);
        return Err(failed(format!("{theirs}\n{hint}")));
    }
    let triggers = settings.rules.experiments.values().flat_map(|experiment| &experiment.triggers);
    let served = triggers.filter(|trigger| trigger.sources.is_empty() || trigger.sources.contains(&queue.name));
    let served = served.filter(|_| purpose == Purpose::Make);
    let patterns: Vec<&Value> = served.map(|trigger| trigger.pattern.source()).collect();
    provision::desired(name, options, &site, &patterns).map_err(|error| failed(error.to_string()))
}

/// Asks whoever sits at the terminal.
///
/// # Errors
/// [`Exit::Usage`] when nobody does, or the answer is not `yes`.
pub fn confirm(question: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        let hint = "hint: `--yes` answers the question that there is no terminal to ask on";
        return Err(Failure::say(Exit::Usage, format!("nothing was done\n{hint}")));
    }
    eprint!("{question} Only `yes` is taken for one: ");
    let mut answer = String::new();
    let read = std::io::stderr().flush().and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::internal(error.into()))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::say(Exit::Usage, "nothing was done")) }
}

/// Returns the beginning of a message on one line.
fn excerpt(body: &str) -> String {
    let shown: String = body.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(MAX_SHOWN).collect();
    let shown: String = shown.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if shown.chars().count() == MAX_SHOWN { format!("{shown}…") } else { shown }
}

fn show(context: &Context, plans: &[(String, Plan)]) -> Result<(), Failure> {
    if context.output == Output::Json {
        let queue = |(name, plan): &(String, Plan)| json!({ "queue": name, "changes": plan.changes });
        return render::json(&json!({ "queues": plans.iter().map(queue).collect::<Vec<_>>() }));
    }
    let changes: Vec<&Change> = plans.iter().flat_map(|(_, plan)| &plan.changes).collect();
    if changes.is_empty() {
        return render::line("nothing is to be changed");
    }
    let mut table = render::table(&["change", "what", "attribute", "old", "new"]);
    for change in &changes {
        let mut head = [change.action.as_str().to_owned(), format!("{} {}", change.kind, change.name)];
        for detail in &change.details {
            let [action, what] = head.each_mut().map(std::mem::take);
            let (old, new) = (shown(detail, detail.old.as_deref()), shown(detail, detail.new.as_deref()));
            table.add_row([action, what, detail.name.clone(), old, new]);
        }
        if change.details.is_empty() {
            let [action, what] = head;
            table.add_row([action, what]);
        }
    }
    render::line(&table.trim_fmt())?;
    let count = |action| changes.iter().filter(|change| change.action == action).count();
    let (create, change, delete) = (count(Action::Create), count(Action::Change), count(Action::Delete));
    render::line(&format!("\n{create} to create, {change} to change, {delete} to delete"))
}

/// Says what an attribute is in a few words.
fn shown(detail: &Detail, value: Option<&str>) -> String {
    let Some(text) = value else { return String::new() };
    let json = || serde_json::from_str::<Value>(text).unwrap_or_default();
    match detail.name.as_str() {
        "Policy" => policy(&json()),
        "RedrivePolicy" => {
            let policy = json();
            let dead = policy["deadLetterTargetArn"].as_str().and_then(|arn| arn.rsplit(':').next());
            let count = policy["maxReceiveCount"].to_string();
            format!("{} after receive {}", dead.unwrap_or_default(), count.trim_matches('"'))
        }
        _ if text.chars().count() > MAX_SHOWN => format!("{}…", text.chars().take(MAX_SHOWN - 1).collect::<String>()),
        _ => text.to_owned(),
    }
}

/// Says who may send by a policy such as ours.
fn policy(policy: &Value) -> String {
    let statements = policy["Statement"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rules =
        statements.iter().filter_map(|statement| statement["Condition"]["ArnEquals"]["aws:SourceArn"].as_array());
    let rules: Vec<&str> = rules.flatten().filter_map(|arn| arn.as_str()?.rsplit('/').next()).collect();
    match rules.split_at_checked(MAX_RULES) {
        _ if rules.is_empty() => render::count(statements.len(), "statement"),
        Some((first, rest)) if !rest.is_empty() => format!("{} and {} more may send", first.join(", "), rest.len()),
        _ => format!("{} may send", rules.join(", ")),
    }
}
