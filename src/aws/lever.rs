//! Safety levers by the SDK, one of an account and Region: read, and moved for a halt.

use std::sync::Arc;

use aws_sdk_fis::{
    Client,
    types::{SafetyLeverState, SafetyLeverStatusInput, UpdateSafetyLeverStateInput},
};

use super::{
    classify::failure,
    sdk::{CallKind, Places},
};
use crate::domain::{
    experiment::Place,
    fis::{CallFailure, FailureClass},
    lever::{Found, Stands},
};

/// The id of the one safety lever that an account has in a Region (AWS FIS user guide, safety-lever).
const SAFETY_LEVER: &str = "default";

/// Where a lever is to be moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Nothing may run.
    Engaged,
    /// Experiments may run.
    Disengaged,
}

/// Safety levers behind the SDK.
#[derive(Debug, Clone)]
pub struct Levers {
    places: Arc<Places>,
}

impl Levers {
    /// Makes levers that share clients' configurations.
    pub fn new(places: Arc<Places>) -> Self {
        Self { places }
    }

    async fn client(&self, place: &Place) -> Client {
        Client::new(&self.places.config(place, CallKind::Short).await)
    }

    /// Reads the lever of a place.
    ///
    /// # Errors
    /// [`CallFailure`]; nothing is known then.
    pub async fn read(&self, place: &Place) -> Result<Found, CallFailure> {
        read(&self.client(place).await).await
    }

    /// Moves the lever of a place and leaves a reason beside it.
    ///
    /// # Errors
    /// [`CallFailure`]; it may have been moved all the same, unless the class says that it was not.
    pub async fn set(&self, place: &Place, position: Position, reason: &str) -> Result<(), CallFailure> {
        let status = match position {
            Position::Engaged => SafetyLeverStatusInput::Engaged,
            Position::Disengaged => SafetyLeverStatusInput::Disengaged,
        };
        let state = UpdateSafetyLeverStateInput::builder().status(status).reason(reason).build();
        let state = state.map_err(|error| CallFailure { class: FailureClass::Invalid, message: error.to_string() })?;
        let call = self.client(place).await.update_safety_lever_state().id(SAFETY_LEVER).state(state);
        call.send().await.map(|_| ()).map_err(|error| failure(&error))
    }
}

/// Reads the lever of a client's place.
pub(super) async fn read(client: &Client) -> Result<Found, CallFailure> {
    let answer = client.get_safety_lever().id(SAFETY_LEVER).send().await.map_err(|error| failure(&error))?;
    Ok(found(answer.safety_lever.and_then(|lever| lever.state)))
}

fn found(state: Option<SafetyLeverState>) -> Found {
    let (status, reason) = state.map(|state| (state.status, state.reason)).unwrap_or_default();
    Found {
        stands: status.map_or_else(|| Stands::Unknown(String::new()), |status| Stands::from_text(status.as_str())),
        reason: reason.unwrap_or_default(),
    }
}
