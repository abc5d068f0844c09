//! FIS's routes: which method and path is which operation, and what the operation needs.
//!
//! Paths are matched on raw segments and decoded afterwards, since ids may hold an encoded `/`
//! (`/tags/arn%3A…%2FEXP…`).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::catalogue;
use crate::simulator::{
    Scene, State,
    wire::{self, Answer, ApiError, Query},
};

/// Method, path (`{}` takes one segment) and operation (FIS API reference).
const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "/experimentTemplates", "CreateExperimentTemplate"),
    ("GET", "/experimentTemplates", "ListExperimentTemplates"),
    ("GET", "/experimentTemplates/{}", "GetExperimentTemplate"),
    ("PATCH", "/experimentTemplates/{}", "UpdateExperimentTemplate"),
    ("DELETE", "/experimentTemplates/{}", "DeleteExperimentTemplate"),
    ("GET", "/experimentTemplates/{}/targetAccountConfigurations", "ListTargetAccountConfigurations"),
    ("POST", "/experiments", "StartExperiment"),
    ("GET", "/experiments", "ListExperiments"),
    ("GET", "/experiments/{}", "GetExperiment"),
    ("DELETE", "/experiments/{}", "StopExperiment"),
    ("GET", "/experiments/{}/resolvedTargets", "ListExperimentResolvedTargets"),
    ("GET", "/experiments/{}/targetAccountConfigurations", "ListExperimentTargetAccountConfigurations"),
    ("GET", "/actions", "ListActions"),
    ("GET", "/actions/{}", "GetAction"),
    ("GET", "/targetResourceTypes", "ListTargetResourceTypes"),
    ("GET", "/targetResourceTypes/{}", "GetTargetResourceType"),
    ("GET", "/safetyLevers/{}", "GetSafetyLever"),
    ("PATCH", "/safetyLevers/{}/state", "UpdateSafetyLeverState"),
    ("POST", "/tags/{}", "TagResource"),
    ("GET", "/tags/{}", "ListTagsForResource"),
    ("DELETE", "/tags/{}", "UntagResource"),
];

/// A request that is an operation.
#[derive(Debug)]
pub(in crate::simulator) struct Call {
    pub(in crate::simulator) operation: &'static str,
    /// The decoded segment of the path, empty when it has none.
    label: String,
    query: Query,
}

impl Call {
    /// Finds the operation of a request.
    ///
    /// # Errors
    /// `UnknownOperationException` when there is none.
    pub(in crate::simulator) fn find(method: &str, path: &str, query: &str) -> Result<Self, ApiError> {
        for (route_method, pattern, operation) in ROUTES {
            if *route_method != method {
                continue;
            }
            if let Some(label) = label(pattern, path) {
                let label =
                    wire::percent_decoded(label).ok_or_else(|| ApiError::validation("the path is not UTF-8"))?;
                return Ok(Self { operation, label, query: Query::parse(query) });
            }
        }
        Err(ApiError::unknown_operation())
    }

    /// Performs the operation.
    pub(in crate::simulator) fn perform(
        &self,
        state: &mut State,
        scene: &Scene,
        body: &Value,
        now: Timestamp,
    ) -> Answer {
        let State { fis, ids, setting, .. } = state;
        let world = setting.world(scene);
        let id = self.label.as_str();
        match self.operation {
            "CreateExperimentTemplate" => fis.create_template(body, world, ids, now),
            "ListExperimentTemplates" => fis.list_templates(&self.query),
            "GetExperimentTemplate" => fis.get_template(id),
            "UpdateExperimentTemplate" => fis.update_template(id, body, now),
            "DeleteExperimentTemplate" => fis.delete_template(id),
            "ListTargetAccountConfigurations" => {
                fis.get_template(id).map(|_found| json!({"targetAccountConfigurations": []}))
            }
            "StartExperiment" => fis.start(body, world, ids, now),
            "ListExperiments" => fis.list(&self.query),
            "GetExperiment" => fis.get(id),
            "StopExperiment" => fis.stop(id, world, now),
            "ListExperimentResolvedTargets" => fis.resolved_targets(id, &self.query),
            "ListExperimentTargetAccountConfigurations" => fis.account_configurations(id),
            "ListActions" => catalogue::list_actions(world, &self.query),
            "GetAction" => catalogue::get_action(world, id),
            "ListTargetResourceTypes" => catalogue::list_types(&self.query),
            "GetTargetResourceType" => catalogue::get_type(id),
            "GetSafetyLever" => fis.safety_lever(id, world),
            "UpdateSafetyLeverState" => fis.update_safety_lever(id, body, world, now),
            "TagResource" => fis.tag(id, body),
            "ListTagsForResource" => fis.list_tags(id),
            "UntagResource" => fis.untag(id, &self.query),
            _other => Err(ApiError::unknown_operation()),
        }
    }
}

/// The segment that a path has in the place of `{}`; empty when the pattern has none.
fn label<'p>(pattern: &str, path: &'p str) -> Option<&'p str> {
    let mut found = "";
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected {
            "{}" if !segment.is_empty() => found = segment,
            same if same == segment => {}
            _other => return None,
        }
    }
    segments.next().is_none().then_some(found)
}
