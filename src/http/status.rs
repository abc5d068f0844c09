//! Status: what the agent says of itself.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    domain::{
        ids::{ExperimentName, RunId},
        plan::Halt,
        run::STOP_OPERATION,
    },
    engine::ports::Configuration,
};

/// The agent at one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the binary.
    pub version: String,
    /// When the agent began.
    pub started_at: Timestamp,
    /// Whether this replica decides.
    #[serde(default)]
    pub role: Role,
    /// When it last gave the lease back because FIS did not answer; `None` once FIS has answered it.
    #[serde(default)]
    pub handed_over: Option<HandedOver>,
    /// When the engine last looked at all rows.
    pub surveyed_at: Option<Timestamp>,
    /// Why the store cannot be used, if it cannot: nothing starts then.
    pub store_failure: Option<String>,
    /// The global halt, if it is on.
    pub halt: Option<Halt>,
    /// Experiments that start nothing by themselves, and why: paused, or waiting after failures; also those that are paused
    /// and no longer in the configuration.
    #[serde(default)]
    pub paused: BTreeMap<ExperimentName, String>,
    /// Open runs by state.
    pub open_runs: BTreeMap<String, u64>,
    /// Runs of which FIS refuses something as denied, with what.
    #[serde(default)]
    pub denied: BTreeMap<RunId, Denied>,
    /// Next slot by experiment.
    pub next_slots: BTreeMap<ExperimentName, Timestamp>,
    /// Windows that forbid starts now, by name.
    pub closed_by: Vec<String>,
    /// Queues by name: `ready`, `unknown`, or what is wrong.
    pub queues: BTreeMap<String, String>,
    /// Calendars by name.
    #[serde(default)]
    pub calendars: BTreeMap<String, CalendarStatus>,
    /// Whose the credentials are, by place, where accounts or Regions are restricted.
    #[serde(default)]
    pub identities: BTreeMap<String, String>,
    /// FIS experiments that go on and that no run here looks after, by FIS id, as the active replica finds them.
    #[serde(default)]
    pub strays: BTreeMap<String, Stray>,
    /// Why it is not known whether there are any, by place.
    #[serde(default)]
    pub strays_unknown: BTreeMap<String, String>,
    /// When the configuration in force was loaded.
    pub config_loaded_at: Timestamp,
    /// Why the last reload was refused, if it was.
    pub config_refused: Option<String>,
}

/// Whether a replica decides.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Not known yet.
    #[default]
    Unknown,
    /// It does.
    Active,
    /// Another does: this one answers, takes events in, and waits for the lease.
    Standby {
        /// Which one does.
        holder: String,
        /// What that one decides by.
        #[serde(default)]
        configuration: Configuration,
    },
}

/// A lease that was given back to a replica that may reach FIS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// When.
    pub at: Timestamp,
    /// Which run could not be stopped or looked for, and how FIS failed to answer.
    pub why: String,
}

/// What FIS refuses to do about a run that goes on, as denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// Its experiment.
    pub experiment: ExperimentName,
    /// AWS's name of what is refused.
    pub operation: String,
    /// `EXP…`.
    pub fis_experiment: String,
}

impl Denied {
    /// Tells whether the experiment cannot be stopped.
    pub fn is_of_a_stop(&self) -> bool {
        self.operation == STOP_OPERATION
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { experiment, operation, fis_experiment } = self;
        let so = if self.is_of_a_stop() {
            "it goes on, is tried again, and nothing else starts in its place until FIS takes it"
        } else {
            "nobody sees how it is or that it ends"
        };
        write!(f, "FIS denies {operation} of {fis_experiment} ({experiment}): {so}")
    }
}

/// A FIS experiment that no run here looks after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// Where it is.
    pub place: String,
    /// Of which run it is, by its tag.
    pub run: RunId,
    /// Of which experiment.
    pub experiment: ExperimentName,
    /// What ends it, for the AWS CLI.
    pub stop_command: String,
}

/// What is known of a calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CalendarStatus {
    /// When it was last read; `None` before the first time.
    pub read_at: Option<Timestamp>,
    /// First instant of which it says nothing; `None` when it speaks of all time.
    pub known_until: Option<Timestamp>,
    /// Why the latest read failed; `None` when it did not.
    pub failure: Option<String>,
    /// Why only the state of a change calendar is known, where that is so.
    pub state_only: Option<String>,
}

/// A queue's health in [`Status::queues`] when it can be read.
pub const QUEUE_READY: &str = "ready";

impl Status {
    /// Tells whether the agent can do all it was configured for: it sees its rows, or stands by, and reads its queues.
    pub fn is_ready(&self) -> bool {
        let sees = self.surveyed_at.is_some() || matches!(self.role, Role::Standby { .. });
        sees && self.store_failure.is_none() && self.queues.values().all(|q| q == QUEUE_READY)
    }
}
