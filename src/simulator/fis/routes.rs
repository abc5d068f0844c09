//! From a FIS request to its operation.
//!
//! Which request is which operation, and what its input may be, lies in [`super::model`].

use jiff::Timestamp;
use serde_json::Value;

use super::{
    catalogue,
    model::{self, Labels, Operation},
};
use crate::simulator::{
    Scene, State,
    wire::{Answer, ApiError, Query},
};

/// Longest message of an error (FIS API model).
const MAX_MESSAGE: usize = 1024;

/// A request that is an operation.
#[derive(Debug)]
pub(in crate::simulator) struct Call {
    pub(in crate::simulator) operation: &'static str,
    model: &'static Operation,
    labels: Labels,
    query: Query,
}

/// The names of FIS's operations.
pub(in crate::simulator) fn operations() -> impl Iterator<Item = &'static str> {
    model::operations()
}

impl Call {
    /// Finds the operation of a request.
    ///
    /// # Errors
    /// `UnknownOperationException` when there is none.
    pub(in crate::simulator) fn find(method: &str, path: &str, query: &str) -> Result<Self, ApiError> {
        let (operation, model, labels) = model::find(method, path)?;
        Ok(Self { operation, model, labels, query: Query::parse(query) })
    }

    /// Performs the operation.
    pub(in crate::simulator) fn perform(
        &self,
        state: &mut State,
        scene: &Scene,
        body: &Value,
        now: Timestamp,
    ) -> Answer {
        self.performed(state, scene, body, now)
            .map_err(|error| ApiError { message: error.message.chars().take(MAX_MESSAGE).collect(), ..error })
    }

    fn performed(&self, state: &mut State, scene: &Scene, body: &Value, now: Timestamp) -> Answer {
        let input = self.model.input(&self.labels, &self.query, body)?;
        let State { fis, ids, setting, .. } = state;
        let world = setting.world(scene);
        match self.operation {
            "CreateExperimentTemplate" => fis.create_template(&input, world, ids, now),
            "GetExperimentTemplate" => fis.get_template(input.text("id")),
            "UpdateExperimentTemplate" => fis.update_template(&input, world, now),
            "DeleteExperimentTemplate" => fis.delete_template(input.text("id")),
            "ListExperimentTemplates" => fis.list_templates(&input),
            "CreateTargetAccountConfiguration" => fis.create_account(&input),
            "GetTargetAccountConfiguration" => fis.get_account(&input),
            "UpdateTargetAccountConfiguration" => fis.update_account(&input),
            "DeleteTargetAccountConfiguration" => fis.delete_account(&input),
            "ListTargetAccountConfigurations" => fis.list_accounts(&input),
            "StartExperiment" => fis.start(&input, world, ids, now),
            "GetExperiment" => fis.get(input.text("id")),
            "StopExperiment" => fis.stop(input.text("id"), world, now),
            "ListExperiments" => fis.list(&input),
            "ListExperimentResolvedTargets" => fis.resolved_targets(&input),
            "GetExperimentTargetAccountConfiguration" => fis.get_experiment_account(&input),
            "ListExperimentTargetAccountConfigurations" => fis.list_experiment_accounts(&input),
            "ListActions" => catalogue::list_actions(fis, world, &input),
            "GetAction" => catalogue::get_action(fis, world, input.text("id")),
            "ListTargetResourceTypes" => catalogue::list_types(&input),
            "GetTargetResourceType" => catalogue::get_type(input.text("resourceType")),
            "GetSafetyLever" => fis.safety_lever(input.text("id"), world),
            "UpdateSafetyLeverState" => fis.update_safety_lever(&input, world, now),
            "TagResource" => fis.tag(&input, world),
            "UntagResource" => fis.untag(&input, world),
            "ListTagsForResource" => fis.list_tags(input.text("resourceArn"), world),
            _other => Err(ApiError::unknown_operation()),
        }
    }
}
