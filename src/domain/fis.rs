//! What FIS tells: experiments, actions, and calls that failed.
//!
//! Pure data in FIS's own words. Values that this version does not know are kept, never refused: a new status at AWS must
//! not end the watch over an experiment.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A FIS experiment as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisExperiment {
    /// `EXP…`.
    pub id: String,
    /// `EXT…`.
    pub template_id: String,
    /// Its status.
    pub status: FisStatus,
    /// FIS's reason; for people, never for decisions (AWS FIS user guide, troubleshooting).
    pub reason: String,
    /// `state.error.code`, and `location` behind it, when it failed.
    pub error: Option<FisError>,
    /// Whether it was started with `actionsMode: skip-all` (a target preview).
    pub preview: bool,
    /// When it was accepted.
    pub created_at: Option<Timestamp>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Actions by name.
    pub actions: BTreeMap<String, FisAction>,
    /// Whether the safety lever was engaged when the end was seen; `None` when it was not asked or did not answer.
    pub lever_engaged: Option<bool>,
}

/// Why a FIS experiment failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisError {
    /// `ConfigurationFailure`, `InvalidTarget`, …
    pub code: String,
    /// The action or target it names.
    pub location: Option<String>,
}

/// One action of a FIS experiment as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FisAction {
    /// `aws:service:action`.
    pub action_id: String,
    /// Its status.
    pub status: FisStatus,
    /// FIS's reason.
    pub reason: String,
    /// Names of actions it starts after.
    pub start_after: Vec<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// Status of an experiment or an action.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FisStatus {
    /// Accepted, or (an action) waiting for others.
    Pending,
    /// Preparing.
    Initiating,
    /// Going on.
    Running,
    /// Ended well.
    Completed,
    /// Being stopped.
    Stopping,
    /// Ended by a stop.
    Stopped,
    /// Ended badly.
    Failed,
    /// Prevented by the safety lever, or (an action) never begun.
    Cancelled,
    /// Actions only: had no target, or the experiment was a preview.
    Skipped,
    /// A value that this version does not know, as AWS wrote it.
    #[serde(untagged)]
    Unknown(String),
}

impl FisStatus {
    /// Reads AWS's text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "pending" => Self::Pending,
            "initiating" => Self::Initiating,
            "running" => Self::Running,
            "completed" => Self::Completed,
            "stopping" => Self::Stopping,
            "stopped" => Self::Stopped,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "skipped" => Self::Skipped,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// Returns AWS's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "pending",
            Self::Initiating => "initiating",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Skipped => "skipped",
            Self::Unknown(text) => text,
        }
    }

    /// Tells whether nothing follows this status. An unknown status is not terminal.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::Completed | Self::Stopped | Self::Failed | Self::Cancelled | Self::Skipped)
    }
}

/// A call to AWS that did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{class}: {message}")]
pub struct CallFailure {
    /// What kind of failure it is.
    pub class: FailureClass,
    /// AWS's or the transport's own words, for people.
    pub message: String,
}

/// Kinds of failed calls, by what may be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureClass {
    /// Too many requests; nothing was done.
    Throttled,
    /// A quota is used up (402); nothing was done.
    Quota,
    /// Not allowed (401, 403); nothing was done.
    Denied,
    /// Credentials could not be loaded or have run out; nothing was done.
    Credentials,
    /// No such template or experiment (404); nothing was done.
    NotFound,
    /// The request is not valid (400); nothing was done.
    Invalid,
    /// The client token is known with another body (409).
    Conflict,
    /// AWS failed, or the connection did (5xx, reset); **may have been done**.
    Unavailable,
    /// No answer in time; **may have been done**.
    Timeout,
    /// An answer that could not be read, or an error that is not known; **may have been done**.
    Unreadable,
}

impl FailureClass {
    /// Tells whether the call certainly had no effect.
    pub fn had_no_effect(self) -> bool {
        !matches!(self, Self::Conflict | Self::Unavailable | Self::Timeout | Self::Unreadable)
    }

    /// Tells whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(self) -> bool {
        !matches!(self, Self::Denied | Self::NotFound | Self::Invalid)
    }

    /// Returns the name used in metrics, rows and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Quota => "quota",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::NotFound => "not-found",
            Self::Invalid => "invalid",
            Self::Conflict => "conflict",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Unreadable => "unreadable",
        }
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
