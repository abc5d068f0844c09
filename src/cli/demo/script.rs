//! The demo's script: a deployment, two in quick succession, and a freeze in the middle of the last one's run.
//!
//! Each scene waits for what is recorded, not for the clock.

use std::time::Duration;

use jiff::SignedDuration;

use super::stage::Stage;
use crate::{
    cli::context::now,
    domain::{
        fis::FisStatus,
        run::{Run, RunState, Trigger},
    },
};

/// When the first deployment is announced.
const FIRST_DEPLOYMENT: Duration = Duration::from_secs(2);
/// How long the freeze lasts.
const FREEZE: SignedDuration = SignedDuration::from_secs(10);

/// Which scene comes next.
#[derive(Debug, Default)]
enum Scene {
    #[default]
    FirstDeployment,
    SecondDeployment,
    Freeze,
    Over,
}

/// The script and how far it is.
#[derive(Debug, Default)]
pub struct Script {
    next: Scene,
}

impl Script {
    /// Plays the next scene if its moment has come; returns what the audience is told.
    pub async fn step(&mut self, stage: &Stage, runs: &[Run], elapsed: Duration) -> anyhow::Result<Option<String>> {
        let by_event: Vec<&Run> = runs.iter().filter(|run| matches!(run.trigger, Trigger::Event { .. })).collect();
        match self.next {
            Scene::FirstDeployment if elapsed >= FIRST_DEPLOYMENT => {
                stage.deploy("1.41.0").await?;
                self.next = Scene::SecondDeployment;
                Ok(Some("a pipeline deploys checkout 1.41.0 and says so on the event bus".to_owned()))
            }
            Scene::SecondDeployment if by_event.len() == 1 && by_event.iter().all(|run| run.is_over()) => {
                stage.deploy("1.41.1").await?;
                stage.deploy("1.42.0").await?;
                self.next = Scene::Freeze;
                Ok(Some("a pipeline deploys checkout 1.41.1, and right after it 1.42.0".to_owned()))
            }
            Scene::Freeze if by_event.iter().any(|run| is_in_full_swing(run)) => {
                stage.add_configuration("zz-incident.toml", &freeze()).await?;
                self.next = Scene::Over;
                Ok(Some(
                    "an incident: somebody drops a blackout for checkout-deployment into the configuration".to_owned(),
                ))
            }
            _ => Ok(None),
        }
    }
}

/// Tells whether a run has begun in earnest.
fn is_in_full_swing(run: &Run) -> bool {
    let running = |fis: &crate::domain::fis::FisExperiment| {
        fis.actions.values().any(|action| action.status == FisStatus::Running)
    };
    matches!(run.state, RunState::Running { .. }) && run.fis.as_ref().is_some_and(running)
}

/// A blackout from now on.
fn freeze() -> String {
    let from = now();
    let to = from.saturating_add(FREEZE).unwrap_or(from);
    let local = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    format!(
        "[windows.incident]\ndates = [\"{} - {}\"]\nexperiments = [\"checkout-deployment\"]\nstop_lead = \"0s\"\n",
        local(from),
        local(to)
    )
}
