//! CloudWatch alarms: what stop conditions look at.
//!
//! Alarms hold the state they are given; nothing here looks at metrics.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::wire::ApiError;

/// All alarms by name.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    alarms: BTreeMap<String, Alarm>,
}

#[derive(Debug)]
struct Alarm {
    arn: String,
    state: AlarmState,
}

/// State of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum AlarmState {
    /// Within its threshold.
    Ok,
    /// Outside of it.
    Alarm,
    /// Not known.
    InsufficientData,
}

impl Alarms {
    /// Sets the state of an alarm.
    ///
    /// # Errors
    /// `ResourceNotFound` when there is no alarm of this name.
    pub(super) fn set_state(&mut self, name: &str, state: AlarmState) -> Result<(), ApiError> {
        let missing = || ApiError::new(StatusCode::NOT_FOUND, "ResourceNotFound", format!("there is no alarm {name}"));
        self.alarms.get_mut(name).ok_or_else(missing)?.state = state;
        Ok(())
    }

    /// Adds an alarm in `INSUFFICIENT_DATA`, unless there is one of this name.
    pub(super) fn ensure(&mut self, name: &str, arn: &str) {
        let new = || Alarm { arn: arn.to_owned(), state: AlarmState::InsufficientData };
        self.alarms.entry(name.to_owned()).or_insert_with(new);
    }

    /// States by name, for the state page.
    pub(super) fn rendered(&self) -> Value {
        json!(self.alarms.iter().map(|(name, alarm)| (name, alarm.state)).collect::<BTreeMap<_, _>>())
    }

    /// State of the alarm with an ARN; `None` when there is no such alarm.
    pub(super) fn state_of(&self, arn: &str) -> Option<AlarmState> {
        self.alarms.values().find(|alarm| alarm.arn == arn).map(|alarm| alarm.state)
    }
}
