//! `firedrill run`: the agent as a process.

use std::time::Duration;

use super::{
    context::Context,
    exit::{Exit, Failure},
};
use crate::{
    config::Loaded,
    daemon::service::{self, Ended},
    telemetry::{self, Telemetry},
};

/// Longest time the last telemetry may take to leave.
const TELEMETRY_END: Duration = Duration::from_secs(3);

/// Runs the agent until it is told to stop.
///
/// # Errors
/// [`Exit::Usage`] for mistakes in the configuration, [`Exit::Internal`] when a part of the agent fails.
pub fn run(context: &Context) -> Result<Exit, Failure> {
    let Loaded { settings, warnings, .. } = context.load()?;
    let telemetry = start_telemetry(&settings.telemetry)?;
    for warning in &warnings {
        tracing::warn!(%warning, "configuration");
    }
    let ended = super::block_on(async {
        let service = service::run(settings, context.config.clone(), context.environment(), &telemetry);
        service.await.map_err(|error| Failure::new(Exit::Internal, error))
    });
    telemetry.shutdown(TELEMETRY_END);
    match ended? {
        Ended::Drained | Ended::Cut => Ok(Exit::Done),
        Ended::Failed => Ok(Exit::Internal),
    }
}

/// Sets logs, traces and metrics up for the whole process.
///
/// # Errors
/// [`Exit::Usage`] when a setting cannot be used.
pub fn start_telemetry(settings: &crate::config::settings::Telemetry) -> Result<Telemetry, Failure> {
    let env = |name: &str| std::env::var(name).ok();
    let telemetry = telemetry::init(settings, &env).map_err(|error| Failure::new(Exit::Usage, error))?;
    telemetry.install().map_err(|error| Failure::internal(error.into()))?;
    Ok(telemetry)
}
