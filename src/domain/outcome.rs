//! Outcomes: how a run ended, read off FIS's terminal states.
//!
//! Pure. [`of`] is the one place that turns what FIS says into an outcome; reasons, which AWS says are not for
//! automation, only ever name the cause of a stop that is a stop in any case.

use serde::{Deserialize, Serialize};

use super::{
    fis::{FailureClass, FisExperiment, FisStatus},
    run::StopCause,
};

/// FIS's reason for a stop by alarm (AWS FIS user guide, fis-tutorial-run-cpu-stress).
const HALTED_BY_STOP_CONDITION: &str = "Experiment halted by stop condition.";

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// Every action completed.
    Completed,
    /// The experiment completed, but some actions had no target.
    CompletedPartly {
        /// Names of the actions that were skipped.
        skipped: Vec<String>,
    },
    /// A target preview (`skip-all`); never counts as a run.
    Previewed,
    /// It was stopped; never a success.
    Stopped {
        /// By what.
        cause: StopCause,
    },
    /// FIS says it failed.
    Failed {
        /// FIS's error code, `InvalidTarget`, …; `Unspecified` when it gave none.
        code: String,
        /// FIS's reason, for people.
        reason: String,
    },
    /// The safety lever prevented it.
    Cancelled,
    /// StartExperiment was refused for good.
    NotStarted {
        /// Kind of refusal.
        class: FailureClass,
        /// AWS's words.
        message: String,
    },
    /// FIS did not tell of it for too long.
    Lost {
        /// The last failure's kind.
        class: FailureClass,
    },
}

impl Outcome {
    /// Returns the name used in metrics, events, tables and filters.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::CompletedPartly { .. } => "completed-partly",
            Self::Previewed => "previewed",
            Self::Stopped { .. } => "stopped",
            Self::Failed { .. } => "failed",
            Self::Cancelled => "cancelled",
            Self::NotStarted { .. } => "not-started",
            Self::Lost { .. } => "lost",
        }
    }
}

/// Reads the outcome off a FIS experiment; `None` while it goes on. `ours` is why we asked to stop it, if we did.
pub fn of(fis: &FisExperiment, ours: Option<&StopCause>) -> Option<Outcome> {
    match fis.status {
        FisStatus::Completed if fis.preview => Some(Outcome::Previewed),
        FisStatus::Completed => {
            let is_skipped = |status: &FisStatus| *status == FisStatus::Skipped;
            let skipped: Vec<String> =
                fis.actions.iter().filter(|(_, a)| is_skipped(&a.status)).map(|(name, _)| name.clone()).collect();
            Some(if skipped.is_empty() { Outcome::Completed } else { Outcome::CompletedPartly { skipped } })
        }
        FisStatus::Stopped => Some(Outcome::Stopped { cause: stop_cause(fis, ours) }),
        FisStatus::Failed => Some(Outcome::Failed {
            code: fis.error.as_ref().map_or_else(|| "Unspecified".to_owned(), |error| error.code.clone()),
            reason: fis.reason.clone(),
        }),
        FisStatus::Cancelled => Some(Outcome::Cancelled),
        FisStatus::Pending
        | FisStatus::Initiating
        | FisStatus::Running
        | FisStatus::Stopping
        | FisStatus::Skipped
        | FisStatus::Unknown(_) => None,
    }
}

/// Names the cause of a stop. An alarm, or the lever, may have been faster than our own request.
fn stop_cause(fis: &FisExperiment, ours: Option<&StopCause>) -> StopCause {
    if fis.reason == HALTED_BY_STOP_CONDITION {
        StopCause::StopCondition
    } else if let Some(cause) = ours {
        cause.clone()
    } else if fis.lever_engaged == Some(true) {
        StopCause::SafetyLever
    } else {
        StopCause::Outside
    }
}
