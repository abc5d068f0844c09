//! The safety lever (AWS FIS user guide, safety-lever): engaged, it ends what runs and lets nothing begin.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Fis, emit,
    experiment::{Experiment, Lever, World},
    model::Input,
    record,
};
use crate::simulator::wire::{Answer, ApiError};

/// The lever of the account and Region.
#[derive(Debug, Default)]
pub(super) enum SafetyLever {
    #[default]
    Untouched,
    Disengaged(String),
    /// Engaging until what it ended has ended, then engaged.
    Engaged {
        reason: String,
        /// Ids of the experiments that ran when it was engaged.
        ended: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Update {
    state: LeverState,
}

#[derive(Deserialize)]
struct LeverState {
    status: Asked,
    reason: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Asked {
    Engaged,
    Disengaged,
}

impl SafetyLever {
    /// Where it stands for an experiment that is to begin.
    pub(super) fn position(&self) -> Lever {
        match self {
            Self::Engaged { .. } => Lever::Engaged,
            Self::Untouched | Self::Disengaged(_) => Lever::Disengaged,
        }
    }
}

impl Fis {
    /// GetSafetyLever.
    pub(super) fn safety_lever(&self, id: &str, world: World<'_>) -> Answer {
        if id != "default" {
            return Err(ApiError::not_found(format!("Safety lever {id} does not exist.")));
        }
        let arn = format!("{}:safety-lever/default", world.account.fis_arn());
        Ok(json!({"safetyLever": {"id": id, "arn": arn, "state": self.lever_state()}}))
    }

    /// Status and reason of the lever.
    pub(super) fn lever_state(&self) -> Value {
        let (status, reason) = match &self.lever {
            SafetyLever::Untouched => ("disengaged", ""),
            SafetyLever::Disengaged(reason) => ("disengaged", reason.as_str()),
            SafetyLever::Engaged { reason, .. } if self.is_engaging() => ("engaging", reason.as_str()),
            SafetyLever::Engaged { reason, .. } => ("engaged", reason.as_str()),
        };
        json!({"status": status, "reason": reason})
    }

    fn is_engaging(&self) -> bool {
        let SafetyLever::Engaged { ended, .. } = &self.lever else { return false };
        ended.iter().filter_map(|id| self.experiments.get(id)).any(Experiment::is_active)
    }

    /// UpdateSafetyLeverState. While it is engaging it cannot be changed.
    pub(super) fn update_safety_lever(&mut self, input: &Input, world: World<'_>, now: Timestamp) -> Answer {
        let id = input.text("id");
        self.safety_lever(id, world)?;
        let Update { state: LeverState { status, reason } } = input.parsed()?;
        if self.is_engaging() {
            return Err(ApiError::conflict("The safety lever is engaging."));
        }
        match status {
            Asked::Engaged => {
                self.end_all(world, now);
                let ended = self.experiments.active().map(|experiment| experiment.id.clone()).collect();
                self.lever = SafetyLever::Engaged { reason, ended };
            }
            Asked::Disengaged => self.lever = SafetyLever::Disengaged(reason),
        }
        self.safety_lever(id, world)
    }

    fn end_all(&mut self, world: World<'_>, now: Timestamp) {
        let (outbox, log) = (&mut self.outbox, &mut self.log);
        self.experiments.for_open(|experiment| {
            let change = experiment.cancel(world, now);
            let change = change.or_else(|| experiment.stop("Experiment stopped by the safety lever.", world, now));
            experiment.wind_down();
            emit(outbox, experiment, change, world.choices);
            record(log, experiment);
        });
    }
}
