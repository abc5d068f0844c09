//! `start`, `stop`, `halt`, `resume` and `reload`: wishes to the running agent.

use std::{os::unix::fs::MetadataExt, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{HaltArgs, Output, StartArgs, StopArgs},
    client::Client,
    context::{Context, find_run},
    exit::{Exit, Failure},
    render,
};
use crate::{
    domain::{plan::HaltRunning, run::Run},
    http::api::{StartedRun, Wish},
};

/// Time between two looks at a run that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Asks for a run now; with `--wait` ends with its outcome.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown experiment, [`Exit::NoAgent`] when no agent answers.
pub async fn start(context: &Context, args: &StartArgs) -> Result<Exit, Failure> {
    let timeout: jiff::SignedDuration = args.timeout.parse().map_err(|error: jiff::Error| {
        Failure::new(Exit::Usage, anyhow::Error::from(error).context("--timeout is not a time such as 90m"))
    })?;
    let wish = Wish {
        experiment: Some(args.experiment.clone()),
        request: args.request.clone(),
        reason: args.reason.clone(),
        ..wish()
    };
    let client = Client::new(context)?;
    let started: StartedRun = client.ask(Method::POST, "/v1/runs", Some(&wish)).await?;
    if !args.wait {
        match context.output {
            Output::Json => render::json(&started)?,
            Output::Table => render::line(&format!("run {}", started.run))?,
        }
        return Ok(Exit::Done);
    }
    eprintln!("run {}", started.run);
    let limit = Duration::try_from(timeout).unwrap_or_default();
    let Ok(waited) = tokio::time::timeout(limit, wait(context, started.run.as_str())).await else {
        eprintln!("run {} goes on after {}", started.run, render::span(timeout));
        return Ok(Exit::TimedOut);
    };
    let (run, exit) = waited?;
    match context.output {
        Output::Json => render::json(&run)?,
        Output::Table => render::line(&format!("{}: {}", render::state(&run), render::detail(&run)))?,
    }
    Ok(exit)
}

/// Waits for a run's end; says each change on the way.
async fn wait(context: &Context, id: &str) -> Result<(Run, Exit), Failure> {
    let store = context.store().await?;
    let mut said = String::new();
    loop {
        let run = find_run(&store, id).await?;
        let news = format!("{} {}", render::state(&run), render::detail(&run));
        if news != said && !run.is_over() {
            eprintln!("{}", news.trim_end());
            said = news;
        }
        match Exit::of_run(&run.state) {
            Some(exit) => return Ok((run, exit)),
            None => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Asks for a stop.
///
/// # Errors
/// [`Exit::NotFound`] for a run that does not exist or is over.
pub async fn stop(context: &Context, args: &StopArgs) -> Result<Exit, Failure> {
    let run = find_run(&context.store().await?, &args.run).await?;
    let wish = Wish { reason: args.reason.clone(), ..wish() };
    Client::new(context)?.send(Method::POST, &format!("/v1/runs/{}/stop", run.id), Some(&wish)).await?;
    done(context, &json!({ "run": run.id, "stop": "requested" }), &format!("run {} is being stopped", run.id))
}

/// Halts all chaos.
///
/// # Errors
/// [`Exit::NoAgent`] when no agent answers.
pub async fn halt(context: &Context, args: &HaltArgs) -> Result<Exit, Failure> {
    let running = if args.finish { HaltRunning::Finish } else { HaltRunning::Stop };
    let wish = Wish { reason: args.reason.clone(), running, ..wish() };
    Client::new(context)?.send(Method::POST, "/v1/halt", Some(&wish)).await?;
    let running = if args.finish { "what runs may finish" } else { "what runs is being stopped" };
    done(context, &json!({ "halted": true }), &format!("halted: nothing starts until `firedrill resume`; {running}"))
}

/// Lifts the halt.
///
/// # Errors
/// [`Exit::NoAgent`] when no agent answers.
pub async fn resume(context: &Context) -> Result<Exit, Failure> {
    Client::new(context)?.send::<()>(Method::DELETE, "/v1/halt", None).await?;
    done(context, &json!({ "halted": false }), "resumed: schedules and events count again from now on")
}

/// Asks for a reload.
///
/// # Errors
/// [`Exit::Usage`] with every mistake in the new configuration.
pub async fn reload(context: &Context) -> Result<Exit, Failure> {
    let warnings: Vec<String> = Client::new(context)?.ask::<(), _>(Method::POST, "/v1/reload", None).await?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    done(context, &json!({ "reloaded": true, "warnings": warnings }), "the new configuration is in force")
}

fn done(context: &Context, value: &Value, text: &str) -> Result<Exit, Failure> {
    match context.output {
        Output::Json => render::json(value)?,
        Output::Table => render::line(text)?,
    }
    Ok(Exit::Done)
}

/// A wish in the name of whoever runs the command.
fn wish() -> Wish {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.is_empty());
    let uid = || std::fs::metadata("/proc/self").map_or(0, |own| own.uid());
    let by = variable("SUDO_USER").or_else(|| variable("USER")).unwrap_or_else(|| format!("uid {}", uid()));
    Wish { by, ..Wish::default() }
}
