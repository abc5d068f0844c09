//! `firedrill status`: how the running agent is.

use reqwest::Method;

use super::{
    args::Output,
    client::Client,
    context::Context,
    exit::{Exit, Failure},
    render,
};
use crate::{
    engine::ports::Configuration,
    http::status::{CalendarStatus, HandedOver, Role, Status, Stray},
};

/// Prints the agent's status.
///
/// # Errors
/// [`Exit::NoAgent`] when no agent answers.
pub async fn run(context: &Context) -> Result<Exit, Failure> {
    let status: Status = Client::new(context)?.ask::<(), _>(Method::GET, "/v1/status", None).await?;
    if context.output == Output::Json {
        render::json(&status)?;
        return Ok(Exit::Done);
    }
    let ready = if status.is_ready() { "ready" } else { "NOT READY" };
    render::line(&format!("agent       {} {ready}, since {}", status.version, render::instant(status.started_at)))?;
    match &status.role {
        Role::Unknown => {}
        Role::Active => render::line("role        active")?,
        Role::Standby { holder, configuration } => {
            render::line(&format!("role        standby; active is {holder}"))?;
            if *configuration == Configuration::Differs {
                render::line(
                    "DIFFERS     the active replica decides by another configuration; reload all by the same",
                )?;
            }
        }
    }
    if let Some(HandedOver { at, why }) = &status.handed_over {
        render::line(&format!("handed over {}: FIS does not answer here: {why}", render::instant(*at)))?;
    }
    render::line(&format!("store       {}", status.store_failure.as_deref().unwrap_or("ok")))?;
    let config = match &status.config_refused {
        None => format!("loaded {}", render::instant(status.config_loaded_at)),
        Some(why) => format!("loaded {}; a newer one was refused:\n{why}", render::instant(status.config_loaded_at)),
    };
    render::line(&format!("config      {config}"))?;
    if let Some(halt) = &status.halt {
        let why = halt.reason.as_deref().map_or_else(String::new, |reason| format!(": {reason}"));
        render::line(&format!("HALTED      by {} since {}{why}", halt.by, render::instant(halt.at)))?;
    }
    for held in status.halt.iter().flat_map(|halt| &halt.levers) {
        render::line(&format!("lever       {}: {}", held.place, held.standing))?;
    }
    for (experiment, why) in &status.paused {
        render::line(&format!("waits       {experiment}: {why}"))?;
    }
    for (place, said) in &status.identities {
        render::line(&format!("identity    {place}: {said}"))?;
    }
    for (id, stray) in &status.strays {
        let Stray { place, run, experiment, stop_command } = stray;
        let stray = format!("{id} of {experiment}, run {run}, in {place}: no run here watches or stops it");
        render::line(&format!("STRAY       {stray}; {stop_command}"))?;
    }
    for (run, denied) in &status.denied {
        render::line(&format!("DENIED      run {run}: {denied}; `firedrill show {run}` has its words"))?;
    }
    for (place, failure) in &status.strays_unknown {
        render::line(&format!("strays      {place}: not known: {failure}"))?;
    }
    for (queue, health) in &status.queues {
        render::line(&format!("queue       {queue}: {health}"))?;
    }
    for (name, known) in &status.calendars {
        render::line(&format!("calendar    {name}: {}", calendar(known)))?;
    }
    if !status.closed_by.is_empty() {
        render::line(&format!("closed by   {}", status.closed_by.join(", ")))?;
    }
    let open: Vec<String> = status.open_runs.iter().map(|(state, count)| format!("{count} {state}")).collect();
    render::line(&format!("open runs   {}", if open.is_empty() { "none".to_owned() } else { open.join(", ") }))?;
    for (experiment, at) in &status.next_slots {
        render::line(&format!("next slot   {experiment}: {}", render::instant(*at)))?;
    }
    Ok(Exit::Done)
}

/// Says when a calendar was read, how far it is known, and what is wrong with it.
fn calendar(known: &CalendarStatus) -> String {
    let mut said =
        known.read_at.map_or_else(|| "not read yet".to_owned(), |at| format!("read {}", render::instant(at)));
    if let Some(why) = &known.state_only {
        let until = known.known_until.map_or_else(|| "its next change".to_owned(), render::instant);
        said.push_str(&format!("; only its state is known, until {until}: {why}"));
    }
    if let Some(failure) = &known.failure {
        said.push_str(&format!("; FAILING: {failure}"));
    }
    said
}
