//! `start`, `stop`, `halt`, `resume` and `reload`: wishes to the running agent.

use std::{os::unix::fs::MetadataExt, time::Duration};

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    args::{BackfillArgs, HaltArgs, Output, PauseArgs, StartArgs, StopArgs},
    client::Client,
    context::{Context, find_run, now, only_run},
    exit::{Exit, Failure},
    render,
};
use crate::{
    domain::{
        civil,
        ids::RunId,
        lever::LeverReport,
        plan::HaltRunning,
        run::{Run, WindowRule},
    },
    engine::ports::StoreError,
    http::{
        api::{BackfillWish, LeversOfResume, StartedRun, Wish},
        status::Status,
    },
    ingest::manual::LeversOfHalt,
};

/// Time between two looks at a run that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Asks for a run now; with `--wait` ends with its outcome.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown experiment, [`Exit::NoAgent`] when no agent answers.
pub async fn start(context: &Context, args: &StartArgs) -> Result<Exit, Failure> {
    let wish = Wish {
        experiment: Some(args.experiment.clone()),
        request: args.request.clone(),
        reason: args.reason.clone(),
        windows: if args.override_windows { WindowRule::Overridden } else { WindowRule::Hold },
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
    let limit = Duration::try_from(args.timeout).unwrap_or_default();
    let Ok(waited) = tokio::time::timeout(limit, wait(context, started.run.as_str())).await else {
        eprintln!("run {} goes on after {}", started.run, render::span(args.timeout));
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
    let store = context.store().await?;
    let (id, is_unread) = match store.runs_by_prefix(&args.run).await {
        // The agent may know where it runs from before.
        Err(StoreError::Row { .. }) => (RunId::from_text(&args.run), true),
        found => (only_run(found, &args.run)?.id, false),
    };
    let wish = Wish { reason: args.reason.clone(), ..wish() };
    Client::new(context)?.send(Method::POST, &format!("/v1/runs/{id}/stop"), Some(&wish)).await?;
    let said = if is_unread {
        format!(
            "a stop of run {id} is asked for; its row cannot be read, so see `firedrill status` whether the agent can stop it"
        )
    } else {
        format!("run {id} is being stopped")
    };
    done(context, &json!({ "run": id, "stop": "requested" }), &said)
}

/// Halts all chaos.
///
/// # Errors
/// [`Exit::NoAgent`] when no agent answers.
pub async fn halt(context: &Context, args: &HaltArgs) -> Result<Exit, Failure> {
    let running = if args.finish { HaltRunning::Finish } else { HaltRunning::Stop };
    let levers = if args.lever { LeversOfHalt::Engaged } else { LeversOfHalt::AsTheyAre };
    let wish = Wish { reason: args.reason.clone(), running, levers, ..wish() };
    let client = Client::new(context)?;
    let reports = levers_of(&client.send(Method::POST, "/v1/halt", Some(&wish)).await?)?;
    let running =
        if args.finish { "what runs may finish" } else { "FIS is asked to stop what runs, see `firedrill status`" };
    let value = json!({ "halted": true, "levers": reports });
    done(context, &value, &format!("halted: nothing starts until `firedrill resume`; {running}"))?;
    if !args.finish {
        say_denied(&client).await;
    }
    say_levers(context, &reports, "ask again: `firedrill halt --lever`")
}

/// Names what FIS has refused to stop so far.
async fn say_denied(client: &Client) {
    // The halt stands, whatever can be told besides.
    let Ok(status) = client.ask::<(), Status>(Method::GET, "/v1/status", None).await else { return };
    for (run, denied) in status.denied.iter().filter(|(_, denied)| denied.is_of_a_stop()) {
        eprintln!("NOT STOPPED: run {run}: {denied}");
    }
}

/// Reads what became of safety levers; an answer without a body is about none.
fn levers_of(answer: &str) -> Result<Vec<LeverReport>, Failure> {
    if answer.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_str(answer).map_err(|error| Failure::internal(error.into()))
}

/// Says what became of each safety lever, and what to do about those that could not be moved.
fn say_levers(context: &Context, reports: &[LeverReport], hint: &str) -> Result<Exit, Failure> {
    if context.output == Output::Table {
        for report in reports {
            render::line(&format!("safety lever of {}: {}", report.place, report.said))?;
        }
    }
    if reports.iter().all(|report| report.done) {
        return Ok(Exit::Done);
    }
    eprintln!("not every safety lever was moved; {hint}");
    Ok(Exit::LeverStuck)
}

/// Pauses an experiment.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown experiment, [`Exit::NoAgent`] when no agent answers.
pub async fn pause(context: &Context, args: &PauseArgs) -> Result<Exit, Failure> {
    let until = args.length.map(|length| civil::later(now(), length));
    let wish = Wish { reason: args.reason.clone(), until, ..wish() };
    let path = format!("/v1/experiments/{}/pause", args.experiment);
    Client::new(context)?.send(Method::POST, &path, Some(&wish)).await?;
    let end = until.map_or_else(|| format!("`firedrill resume {}`", args.experiment), render::instant);
    let text = format!("{} is paused: nothing of it starts until {end}; what runs goes on", args.experiment);
    done(context, &json!({ "experiment": args.experiment, "paused": true, "until": until }), &text)
}

/// Asks for slots of the past to be run again.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown experiment or schedule, [`Exit::NoAgent`] when no agent answers.
pub async fn backfill(context: &Context, args: &BackfillArgs) -> Result<Exit, Failure> {
    let wish = BackfillWish {
        schedule: args.schedule.clone(),
        from: args.from,
        to: args.to,
        request: args.request.clone(),
        by: wish().by,
        reason: args.reason.clone(),
    };
    let path = format!("/v1/experiments/{}/backfill", args.experiment);
    let runs: Vec<RunId> = Client::new(context)?.ask(Method::POST, &path, Some(&wish)).await?;
    match context.output {
        Output::Json => render::json(&runs)?,
        Output::Table => {
            for run in &runs {
                render::line(&format!("run {run}"))?;
            }
            render::line(&format!("{} asked for; they run one after the other", render::count(runs.len(), "run")))?;
        }
    }
    Ok(Exit::Done)
}

/// Lifts the halt, or resumes an experiment.
///
/// # Errors
/// [`Exit::NotFound`] for an unknown experiment, [`Exit::NoAgent`] when no agent answers.
pub async fn resume(context: &Context, experiment: Option<&str>, levers: LeversOfResume) -> Result<Exit, Failure> {
    if let Some(experiment) = experiment {
        let path = format!("/v1/experiments/{experiment}/pause");
        let warnings: Vec<String> = Client::new(context)?.ask::<(), _>(Method::DELETE, &path, None).await?;
        warn(&warnings);
        let text = format!("{experiment} is resumed, and its failures are forgiven");
        return done(context, &json!({ "experiment": experiment, "paused": false, "warnings": warnings }), &text);
    }
    let path = match levers {
        LeversOfResume::Released => "/v1/halt",
        LeversOfResume::AsTheyAre => "/v1/halt?levers=as-they-are",
    };
    let reports = levers_of(&Client::new(context)?.send::<()>(Method::DELETE, path, None).await?)?;
    let lifted = reports.iter().all(|report| report.done);
    let text = if lifted { "resumed: schedules and events count again from now on" } else { "STILL HALTED" };
    done(context, &json!({ "halted": !lifted, "levers": reports }), text)?;
    say_levers(context, &reports, "ask again, or leave them as they are: `firedrill resume --keep-levers`")
}

/// Asks for a reload.
///
/// # Errors
/// [`Exit::Usage`] with every mistake in the new configuration.
pub async fn reload(context: &Context) -> Result<Exit, Failure> {
    let warnings: Vec<String> = Client::new(context)?.ask::<(), _>(Method::POST, "/v1/reload", None).await?;
    warn(&warnings);
    done(context, &json!({ "reloaded": true, "warnings": warnings }), "the new configuration is in force")
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
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
