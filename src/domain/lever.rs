//! The safety lever as part of a halt: whose it is, and what may be done with it.
//!
//! Pure. FIS keeps one reason text beside the lever of an account and Region, and nothing else that says who moved it. So a
//! halt writes its own mark there, and lets go only what still carries it: what somebody else engaged, before or since, stays
//! engaged. AWS has no compare-and-set for it; between a look and a move somebody else may still be quicker.

use std::{collections::BTreeSet, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    experiment::Place,
    fis::{CallFailure, FailureClass},
};

/// Longest mark, in characters.
const MAX_MARK: usize = 500;

/// The safety lever of a place that a halt engages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldLever {
    /// Which place.
    pub place: Place,
    /// The reason text that marks it as ours.
    pub mark: String,
    /// How far that has come.
    pub standing: Standing,
}

/// How far a halt has come with a lever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "standing", rename_all = "kebab-case")]
pub enum Standing {
    /// It is to be engaged; whether it was, nobody knows yet.
    Asked,
    /// We engaged it.
    Engaged,
    /// Somebody else had.
    Others {
        /// Their words.
        reason: String,
    },
    /// It could not be moved, or nobody knows whether it was.
    Failed {
        /// Why not.
        failure: CallFailure,
    },
}

/// Where a lever was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Where it stands.
    pub stands: Stands,
    /// The words of whoever moved it last.
    pub reason: String,
}

/// Where a lever stands (AWS FIS user guide, safety-lever).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stands {
    /// Experiments may run.
    Disengaged,
    /// What runs is being ended; it cannot be moved meanwhile.
    Engaging,
    /// Nothing may run.
    Engaged,
    /// What this version does not know, as AWS wrote it, or nothing.
    #[serde(untagged)]
    Unknown(String),
}

/// What is to be done with a lever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// Move it.
    Make,
    /// It is as it should be.
    None,
    /// It is somebody else's; leave it alone.
    Leave {
        /// Their words.
        reason: String,
    },
    /// It cannot be moved now.
    Blocked {
        /// Why not.
        failure: CallFailure,
    },
}

/// What became of the lever of a place, for whoever asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeverReport {
    /// Which place.
    pub place: Place,
    /// What became of it, in words.
    pub said: String,
    /// Whether that is all that was asked for.
    pub done: bool,
}

/// Makes the mark of a halt: no two are alike, since no two halts are of the same instant.
pub fn mark(by: &str, reason: Option<&str>, at: Timestamp) -> String {
    let why = reason.map_or_else(String::new, |reason| format!(": {reason}"));
    format!("firedrill halt of {at} by {by}{why}").chars().take(MAX_MARK).collect()
}

/// Returns the levers that a halt is to engage in `places`.
pub fn asked(places: BTreeSet<Place>, mark: &str) -> Vec<HeldLever> {
    let asked = |place| HeldLever { place, mark: mark.to_owned(), standing: Standing::Asked };
    places.into_iter().map(asked).collect()
}

/// Tells whether a lever of that place is among some.
pub(super) fn holds(levers: &[HeldLever], place: &Place) -> bool {
    levers.iter().any(|held| held.place == *place)
}

/// Says what is to be done with a lever that is to be engaged under a mark.
pub fn to_engage(found: &Found, mark: &str) -> Move {
    match &found.stands {
        Stands::Disengaged => Move::Make,
        Stands::Engaging | Stands::Engaged if found.reason == mark => Move::None,
        Stands::Engaging | Stands::Engaged => Move::Leave { reason: found.reason.clone() },
        Stands::Unknown(text) => Move::Blocked { failure: unknown(text) },
    }
}

/// Says what is to be done with a lever that was to be engaged under a mark and is to be let go.
pub fn to_release(found: &Found, mark: &str) -> Move {
    match &found.stands {
        Stands::Disengaged => Move::None,
        Stands::Engaging | Stands::Engaged if found.reason != mark => Move::Leave { reason: found.reason.clone() },
        Stands::Engaged => Move::Make,
        Stands::Engaging => {
            let message = "it is still ending what runs, and cannot be moved meanwhile".to_owned();
            Move::Blocked { failure: CallFailure { class: FailureClass::Conflict, message } }
        }
        Stands::Unknown(text) => Move::Blocked { failure: unknown(text) },
    }
}

fn unknown(text: &str) -> CallFailure {
    CallFailure { class: FailureClass::Unreadable, message: format!("its status is `{text}`") }
}

impl Stands {
    /// Reads AWS's text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "disengaged" => Self::Disengaged,
            "engaging" => Self::Engaging,
            "engaged" => Self::Engaged,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// Returns AWS's text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Disengaged => "disengaged",
            Self::Engaging => "engaging",
            Self::Engaged => "engaged",
            Self::Unknown(text) if text.is_empty() => "unknown",
            Self::Unknown(text) => text,
        }
    }
}

impl HeldLever {
    /// Tells what became of it, for whoever asked to engage it.
    pub fn report(&self) -> LeverReport {
        let done = matches!(self.standing, Standing::Engaged | Standing::Others { .. });
        LeverReport { place: self.place.clone(), said: self.standing.to_string(), done }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => write!(f, "not engaged yet"),
            Self::Engaged => write!(f, "engaged"),
            Self::Others { reason } => write!(f, "engaged by somebody else already: {reason}"),
            Self::Failed { failure } => write!(f, "NOT ENGAGED: {failure}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.region.as_deref().unwrap_or("the default Region"))?;
        self.role_arn.as_ref().map_or(Ok(()), |role| write!(f, " as {role}"))
    }
}
