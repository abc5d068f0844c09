//! Observations: what happened to a run, as [`super::Run::apply`] takes it and the journal keeps it.
//!
//! Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HoldReason, SkipReason, StopCause};
use crate::domain::{
    experiment::{Place, Ties},
    fis::{FailureClass, FisExperiment},
    ids::RunId,
    outcome::Outcome,
    place::PlaceFacts,
    plan::Explained,
    template::TemplateFacts,
};

/// Something that happened to a run: what [`super::Run::apply`] takes and the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "observed", rename_all = "kebab-case")]
pub enum Observation {
    /// The run was recorded (a journal entry only, never applied).
    Opened,
    /// The template was read.
    TemplateRead {
        /// What it says.
        facts: TemplateFacts,
    },
    /// AWS told what was asked of the place.
    Probed {
        /// What.
        facts: Box<PlaceFacts>,
    },
    /// It was judged and waits.
    Held {
        /// Why.
        reason: HoldReason,
        /// When it is judged again.
        look_at: Timestamp,
    },
    /// It was judged and is not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// StartExperiment is about to be called.
    StartAsked {
        /// Where.
        place: Place,
        /// `EXT…`.
        template_id: String,
        /// What was read of the template for another run of the experiment, where this one is judged by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        facts: Option<TemplateFacts>,
        /// What was read of the place, for this or another run, by which it is judged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        place_facts: Option<Box<PlaceFacts>>,
        /// What holds for it from now on, should its experiment leave the configuration.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ties: Option<Box<Ties>>,
    },
    /// StartExperiment was refused and may be tried again.
    StartRefused {
        /// Why.
        class: FailureClass,
        /// AWS's words.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// StartExperiment failed in a way that leaves its effect open; or the rows were taken back from a backup, and what was
    /// asked since is not known.
    StartUnclear {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
        /// When to look for the experiment by tag.
        look_at: Timestamp,
    },
    /// A look by tag found no experiment of this run.
    NotFound,
    /// A look by tag failed.
    LookFailed {
        /// How.
        class: FailureClass,
        /// When to look again.
        look_at: Timestamp,
    },
    /// The FIS experiment exists: FIS answered the start, or a look by tag found it.
    Started {
        /// It.
        fis: FisExperiment,
        /// Whether it was found by tag rather than answered.
        adopted: Adopted,
    },
    /// FIS told how the experiment is.
    Polled {
        /// It.
        fis: FisExperiment,
    },
    /// FIS did not tell.
    PollFailed {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
    },
    /// StopExperiment is about to be called.
    StopAsked {
        /// Why.
        cause: StopCause,
    },
    /// FIS took the stop request.
    StopTaken,
    /// The stop request failed.
    StopFailed {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// It ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
}

/// Whether a FIS experiment was found by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopted {
    /// FIS answered StartExperiment.
    No,
    /// It was found by tag after a lost answer or a crash.
    ByTag,
}

impl Observation {
    /// Returns the observation's name, as the journal and messages show it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::TemplateRead { .. } => "template-read",
            Self::Probed { .. } => "probed",
            Self::Held { .. } => "held",
            Self::Skipped { .. } => "skipped",
            Self::StartAsked { .. } => "start-asked",
            Self::StartRefused { .. } => "start-refused",
            Self::StartUnclear { .. } => "start-unclear",
            Self::NotFound => "not-found",
            Self::LookFailed { .. } => "look-failed",
            Self::Started { .. } => "started",
            Self::Polled { .. } => "polled",
            Self::PollFailed { .. } => "poll-failed",
            Self::StopAsked { .. } => "stop-asked",
            Self::StopTaken => "stop-taken",
            Self::StopFailed { .. } => "stop-failed",
            Self::Finished { .. } => "finished",
        }
    }
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Position in the journal, rising, never reused.
    pub seq: i64,
    /// When it was observed.
    pub at: Timestamp,
    /// Which run.
    pub run: RunId,
    /// What happened.
    pub observation: Observation,
    /// What each guard said, where it was a decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explained: Vec<Explained>,
}
