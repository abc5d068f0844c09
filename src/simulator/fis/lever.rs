//! The safety lever (AWS FIS user guide, safety-lever): engaged, it ends what runs and lets nothing begin.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

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
    /// Engaging until nothing runs any more, then engaged.
    Engaged(String),
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
            Self::Engaged(_) => Lever::Engaged,
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
        let reason = match &self.lever {
            SafetyLever::Untouched => "",
            SafetyLever::Disengaged(reason) | SafetyLever::Engaged(reason) => reason.as_str(),
        };
        let status = self.lever_status();
        let arn = format!("{}:safety-lever/default", world.account.fis_arn());
        Ok(json!({"safetyLever": {"id": id, "arn": arn, "state": {"status": status, "reason": reason}}}))
    }

    /// Where it stands, in AWS's words.
    pub(super) fn lever_status(&self) -> &'static str {
        match self.lever {
            SafetyLever::Untouched | SafetyLever::Disengaged(_) => "disengaged",
            SafetyLever::Engaged(_) if self.is_engaging() => "engaging",
            SafetyLever::Engaged(_) => "engaged",
        }
    }

    fn is_engaging(&self) -> bool {
        self.experiments.active().any(Experiment::is_ending)
    }

    /// UpdateSafetyLeverState. While it is engaging it cannot be changed.
    pub(super) fn update_safety_lever(&mut self, input: &Input, world: World<'_>, now: Timestamp) -> Answer {
        let id = input.text("id");
        self.safety_lever(id, world)?;
        let Update { state: LeverState { status, reason } } = input.parsed()?;
        if matches!(self.lever, SafetyLever::Engaged(_)) && self.is_engaging() {
            return Err(ApiError::conflict("The safety lever is engaging."));
        }
        match status {
            Asked::Engaged => {
                self.lever = SafetyLever::Engaged(reason);
                self.end_all(world, now);
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
