//! A run as its journal tells it: whatever the row says must follow from the entries, from the opening on.
//!
//! Not told are polls without news: they leave nothing but when FIS was last asked, and count as changes.

use jiff::Timestamp;
use serde_json::Value;

use crate::domain::run::{Observation, Run, RunState, Watch};

/// A run, entry by entry.
pub(super) enum Retold {
    /// No entry yet.
    Nothing,
    /// So far.
    SoFar(Box<Run>),
    /// An entry that cannot be there: nothing more can be said.
    Broken,
}

impl Retold {
    /// Takes the next entry of a run's journal; tells what is wrong with it.
    pub(super) fn take(&mut self, stored: &Run, observation: &Observation, at: Timestamp) -> Result<(), String> {
        let next = match std::mem::replace(self, Self::Broken) {
            Self::Broken => return Ok(()),
            Self::Nothing => opened(stored, observation)?,
            Self::SoFar(run) => run.apply(observation, at).map_err(|invalid| invalid.to_string())?,
        };
        *self = Self::SoFar(Box::new(next));
        Ok(())
    }

    /// Holds the row against what was told; says how they differ.
    pub(super) fn compare(&self, stored: &Run) -> Result<(), String> {
        let told = match self {
            Self::Broken => return Ok(()),
            // The journal of what is over goes before its row.
            Self::Nothing if stored.is_over() => return Ok(()),
            Self::Nothing => return Err("it is not over, and the journal has nothing of it".to_owned()),
            Self::SoFar(told) => told,
        };
        let differs = |what: &str| Err(format!("its journal tells of another {what}"));
        match () {
            () if told_of(&told.state) != told_of(&stored.state) => {
                Err(format!("it is {}, and by its journal {}", told_of(&stored.state), told_of(&told.state)))
            }
            () if told.facts != stored.facts => differs("template"),
            () if told.fis != stored.fis => differs("FIS experiment"),
            // Older versions did not note it.
            () if stored.waited_until.is_some() && told.waited_until != stored.waited_until => differs("wait"),
            () if told.revision > stored.revision => differs("number of changes"),
            () => Ok(()),
        }
    }
}

/// The run as it was opened.
fn opened(stored: &Run, observation: &Observation) -> Result<Run, String> {
    let state = match (observation, &stored.state) {
        (Observation::Skipped { reason }, RunState::Skipped { reason: stored_reason, .. })
            if reason == stored_reason =>
        {
            stored.state.clone()
        }
        (Observation::Skipped { .. }, other) => {
            return Err(format!("the run was over when it was opened, and is {}", other.as_str()));
        }
        (Observation::Opened, RunState::Settling) => RunState::Settling,
        // Which of the two it was makes no difference to what follows.
        (Observation::Opened, _) => RunState::Requested,
        (other, _) => return Err(format!("the run's journal begins with `{}`", other.as_str())),
    };
    Ok(Run { facts: None, ties: None, fis: None, waited_until: None, revision: 0, state, ..stored.clone() })
}

/// What of a state the journal tells: it knows times to the microsecond.
fn told_of(state: &RunState) -> Value {
    let mut state = state.clone();
    if let RunState::Running { watch, .. } | RunState::Stopping { watch, .. } = &mut state {
        *watch = Watch::default();
    }
    to_microseconds(serde_json::to_value(state).unwrap_or_default())
}

fn to_microseconds(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, to_microseconds(value))).collect(),
        Value::Array(values) => values.into_iter().map(to_microseconds).collect(),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(at) => Value::from(at.as_microsecond()),
            Err(_another_text) => Value::String(text),
        },
        other => other,
    }
}
