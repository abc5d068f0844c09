//! `firedrill runs` and `firedrill show`: what happened, from the store, also when the agent is down.

use serde_json::json;

use super::{
    args::{Output, RunsArgs, ShowArgs},
    context::{Context, find_run},
    exit::{Exit, Failure},
    render,
};
use crate::{
    domain::{
        ids::Name,
        run::{JournalEntry, Observation, Run},
    },
    engine::ports::StoreError,
    store::history::RunFilter,
};

/// Lists runs.
///
/// # Errors
/// [`Exit::NoAgent`] when there is no store.
pub async fn list(context: &Context, args: &RunsArgs) -> Result<Exit, Failure> {
    let experiment = args.experiment.as_deref().map(Name::parse).transpose();
    let experiment = experiment.map_err(|error| Failure::new(Exit::Usage, error))?;
    let filter = RunFilter { experiment, deployment: args.deployment.clone(), since: args.since, limit: args.limit };
    let runs = context.store().await?.runs(&filter).await.map_err(internal)?;
    if context.output == Output::Json {
        render::json(&runs)?;
        return Ok(Exit::Done);
    }
    let mut table = render::table(&["run", "opened", "experiment", "trigger", "state", "detail"]);
    for run in &runs {
        table.add_row([
            run.id.to_string(),
            render::instant(run.opened_at),
            run.experiment.to_string(),
            trigger(run),
            render::state(run),
            render::detail(run),
        ]);
    }
    render::line(&table.trim_fmt())?;
    Ok(Exit::Done)
}

/// Longest text on a deployment in the table, in characters.
const MAX_DEPLOYMENT: usize = 48;

/// Says in few words what triggered a run.
fn trigger(run: &Run) -> String {
    let kind = run.trigger.kind().to_owned();
    let Some(deployment) = run.trigger.deployment() else { return kind };
    let about = format!("{kind} {} {}", deployment.key, deployment.version.as_deref().unwrap_or_default());
    about.trim_end().chars().take(MAX_DEPLOYMENT).collect()
}

/// Shows one run.
///
/// # Errors
/// [`Exit::NotFound`] when there is no such run.
pub async fn show(context: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let store = context.store().await?;
    let run = find_run(&store, &args.run).await?;
    let journal = store.journal(&run.id).await.map_err(internal)?;
    if context.output == Output::Json {
        render::json(&json!({ "run": run, "journal": journal }))?;
    } else {
        print(&run, &journal)?;
    }
    Ok(Exit::Done)
}

/// Prints a run with its actions and its journal.
///
/// # Errors
/// When stdout is closed.
pub fn print(run: &Run, journal: &[JournalEntry]) -> Result<(), Failure> {
    render::line(&format!("run         {}", run.id))?;
    render::line(&format!("experiment  {}", run.experiment))?;
    render::line(&format!("trigger     {}", run.trigger))?;
    let detail = render::detail(run);
    let colon = if detail.is_empty() { "" } else { ": " };
    render::line(&format!("state       {}{colon}{detail}", render::state(run)))?;
    if let Some(fis) = &run.fis {
        render::line(&format!("FIS         {} of template {}: {}", fis.id, fis.template_id, fis.reason))?;
        let mut table = render::table(&["action", "id", "status", "started", "took", "reason"]);
        let mut actions: Vec<_> = fis.actions.iter().collect();
        // In the order in which they began; what has not begun comes last.
        actions.sort_by_key(|(name, action)| (action.started_at.is_none(), action.started_at, *name));
        for (name, action) in actions {
            let took = action.started_at.zip(action.ended_at).map(|(from, to)| render::span(to.duration_since(from)));
            table.add_row([
                name.clone(),
                action.action_id.clone(),
                action.status.as_str().to_owned(),
                action.started_at.map(render::instant).unwrap_or_default(),
                took.unwrap_or_default(),
                action.reason.clone(),
            ]);
        }
        render::line(&format!("\n{}", table.trim_fmt()))?;
    }
    let mut table = render::table(&["at", "observed", "detail"]);
    for entry in journal {
        table.add_row([render::instant(entry.at), entry.observation.as_str().to_owned(), told(&entry.observation)]);
    }
    render::line(&format!("\n{}", table.trim_fmt()))
}

/// Says one journal entry in words.
fn told(observation: &Observation) -> String {
    match observation {
        Observation::Opened | Observation::NotFound | Observation::StopTaken => String::new(),
        Observation::TemplateRead { facts } => format!("{}: {}", facts.id, facts.description),
        Observation::Probed { facts } => format!("safety lever {}", facts.lever.stands.as_str()),
        Observation::Held { reason, look_at } => format!("{reason}; judged again at {}", render::instant(*look_at)),
        Observation::Skipped { reason } => reason.to_string(),
        Observation::StartAsked { template_id, .. } => format!("StartExperiment of {template_id}"),
        Observation::StartRefused { class, message, retry_at } => {
            format!("{class}: {message}; again at {}", render::instant(*retry_at))
        }
        Observation::StartUnclear { class, message, .. } | Observation::PollFailed { class, message } => {
            format!("{class}: {message}")
        }
        Observation::LookFailed { class, .. } => class.to_string(),
        Observation::Started { fis, .. } | Observation::Polled { fis } => {
            format!("{} is {}: {}", fis.id, fis.status.as_str(), fis.reason)
        }
        Observation::StopAsked { cause } => format!("because of {cause}"),
        Observation::StopFailed { class, message, .. } => format!("{class}: {message}"),
        Observation::Finished { outcome } => format!("{}: {outcome}", outcome.as_str()),
    }
}

fn internal(error: StoreError) -> Failure {
    Failure::internal(error.into())
}
