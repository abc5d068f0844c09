//! Reasons: why a run waits, is stopped, or was never started.
//!
//! Pure. The names are for machines; `words` turns them into sentences.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    fis::FailureClass,
    ids::{RunId, WindowName},
};

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum HoldReason {
    /// A window is or would be in the way.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// The template could not be read now.
    TemplateUnread {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
        /// Reads that failed in a row, counting this one.
        failures: u32,
    },
}

/// Why we stop, or FIS stopped, an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum StopCause {
    /// One of the template's stop conditions (AWS's alarm).
    StopCondition,
    /// The safety lever was engaged.
    SafetyLever,
    /// An operator asked us.
    Operator {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// All chaos was halted.
    Halt {
        /// Who.
        by: String,
    },
    /// A blackout opens, or an allowed window ends.
    Closed {
        /// Which.
        window: WindowName,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// It went on longer than the experiment's `max_duration`.
    MaxDuration,
    /// The agent shuts down and is told to leave nothing behind.
    Shutdown,
    /// Somebody else called StopExperiment, or nobody can tell.
    Outside,
}

/// Why a run was never started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its slot and the ones up to `through` passed unseen and are not made up for.
    Missed {
        /// The last of them (inclusive).
        through: Timestamp,
        /// How many, up to a limit.
        count: u32,
    },
    /// Its schedule takes one slot in so many, and this is none of them.
    NotDrawn {
        /// In how many.
        one_in: u32,
    },
    /// It could not start within its deadline.
    Late {
        /// The deadline.
        start_by: Timestamp,
        /// What it waited for last.
        waited_for: Option<HoldReason>,
    },
    /// All chaos is halted.
    Halted {
        /// By whom.
        by: String,
    },
    /// A window is open.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
        /// Why nobody knows whether it is open, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// It could still be running when a window opens.
    WouldCross {
        /// Which.
        window: WindowName,
        /// When that opens.
        opens: Timestamp,
        /// When the run would have ended at the latest, the time to stop it included.
        ends: Timestamp,
        /// Why nobody knows whether it is open from then on, when that is what closes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
    },
    /// Another run of the experiment is going on.
    Overlap {
        /// Which.
        with: RunId,
    },
    /// The template cannot be used: missing, denied, ambiguous.
    Template {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
    },
    /// The experiment is no longer in the configuration.
    Removed,
    /// An operator took it back before it was started.
    Withdrawn {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

impl SkipReason {
    /// Returns the name used in metrics, events and filters.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missed { .. } => "missed",
            Self::NotDrawn { .. } => "not-drawn",
            Self::Late { .. } => "late",
            Self::Halted { .. } => "halted",
            Self::Closed { .. } => "closed",
            Self::WouldCross { .. } => "would-cross",
            Self::Overlap { .. } => "overlap",
            Self::Template { .. } => "template",
            Self::Removed => "removed",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

impl StopCause {
    /// Returns the name used in metrics, events and tables.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::StopCondition => "stop-condition",
            Self::SafetyLever => "safety-lever",
            Self::Operator { .. } => "operator",
            Self::Halt { .. } => "halt",
            Self::Closed { .. } => "closed",
            Self::MaxDuration => "max-duration",
            Self::Shutdown => "shutdown",
            Self::Outside => "outside",
        }
    }
}
