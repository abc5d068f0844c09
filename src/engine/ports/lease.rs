//! The lease, as whoever asks for it is told: who may decide, and by what.

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Who may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lease {
    /// We may.
    Held {
        /// Before this instant nobody else can have taken the lease: counted from before the store was asked. `None`: as
        /// long as the store is open.
        until: Option<Instant>,
    },
    /// Another replica may.
    Elsewhere {
        /// Which.
        holder: String,
        /// What it decides by.
        configuration: Configuration,
    },
    /// Nobody may: it is left to others for a while.
    Free,
}

/// What another replica decides by, beside what this one would.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configuration {
    /// The same, or it has not said.
    #[default]
    Same,
    /// Something else.
    Differs,
}
