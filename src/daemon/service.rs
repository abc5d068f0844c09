//! The process around an agent: signals, systemd, exit.
//!
//! SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads. systemd is told when the agent is ready, reloads and
//! stops, and its watchdog is fed only by the engine's own progress, or its care for what runs while the store stands still.

use std::{
    io,
    path::PathBuf,
    time::{Duration, Instant},
};

use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use super::agent::{Agent, StartError};
use crate::{config::settings::Settings, telemetry::Telemetry};

/// How the process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to, and everything was put in order.
    Drained,
    /// It was told to, and told again or took too long: calls under way were cut off.
    Cut,
    /// A part of it failed.
    Failed,
}

/// Why the service did not run.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The agent did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Signals could not be caught.
    #[error("could not catch signals")]
    Signals(#[from] io::Error),
}

/// What a stop takes besides `drain_timeout`: the lease, the last telemetry, and a slow disk.
const ENDS_WITHIN: Duration = Duration::from_secs(15);

/// Runs an agent until it is told to stop.
///
/// # Errors
/// [`ServiceError`] when it did not come up.
pub async fn run(
    settings: Settings,
    path: PathBuf,
    env: Vec<(String, String)>,
    telemetry: &Telemetry,
) -> Result<Ended, ServiceError> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let drain_timeout = Duration::try_from(settings.drain_timeout).unwrap_or_default();
    let mut agent = Agent::start(settings, path, env, telemetry).await?;
    let watchdog = tokio::spawn(feed_watchdog(agent.alive()));
    notify(&[NotifyState::Ready, NotifyState::Status("running")]);
    tracing::info!("agent is running");
    let ended = loop {
        tokio::select! {
            biased;
            _ = stop_signal(&mut terminate, &mut interrupt) => break Ended::Drained,
            reason = agent.failed() => {
                tracing::error!(reason, "the agent failed");
                break Ended::Failed;
            }
            _ = hangup.recv() => reload(&agent).await,
        }
    };
    let drains = if ended == Ended::Drained { drain_timeout } else { Duration::ZERO };
    let takes = u32::try_from((drains + ENDS_WITHIN).as_micros()).unwrap_or(u32::MAX);
    notify(&[NotifyState::Stopping, NotifyState::Status("draining"), NotifyState::ExtendTimeoutUsec(takes)]);
    let ended = match ended {
        Ended::Drained => drain(&mut agent, drain_timeout, &mut terminate, &mut interrupt).await,
        other => other,
    };
    watchdog.abort();
    agent.end().await;
    tracing::info!(ended = ?ended, "agent has stopped");
    Ok(ended)
}

async fn stop_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn drain(agent: &mut Agent, timeout: Duration, terminate: &mut Signal, interrupt: &mut Signal) -> Ended {
    tracing::info!(timeout_s = timeout.as_secs(), "stopping; a second signal ends at once");
    tokio::select! {
        biased;
        () = stop_signal(terminate, interrupt) => Ended::Cut,
        drained = tokio::time::timeout(timeout, agent.drain()) => match drained {
            Ok(Ok(())) => Ended::Drained,
            Ok(Err(_gone)) => {
                tracing::error!("the engine died while the agent was stopping");
                Ended::Failed
            }
            Err(_elapsed) => {
                tracing::warn!("not everything ended in time; the next start takes it up");
                Ended::Cut
            }
        },
    }
}

/// Reloads for a signal; the answer is in the log.
async fn reload(agent: &Agent) {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "could not notify systemd"),
    }
    let (answer, answered) = oneshot::channel();
    if agent.reloader().send(answer).await.is_ok()
        && let Err(error) = answered.await
    {
        tracing::error!(%error, "the reload was not answered");
    }
    notify(&[NotifyState::Ready]);
}

/// Tells systemd, where there is one.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "could not notify systemd");
    }
}

/// Feeds systemd's watchdog as long as the engine shows progress.
async fn feed_watchdog(mut alive: tokio::sync::watch::Receiver<tokio::time::Instant>) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let mut fed = Instant::now();
    notify(&[NotifyState::Watchdog]);
    while alive.changed().await.is_ok() {
        if fed.elapsed() >= limit / 4 {
            notify(&[NotifyState::Watchdog]);
            fed = Instant::now();
        }
    }
}
