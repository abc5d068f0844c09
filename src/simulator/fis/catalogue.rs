//! The catalogue as ListActions, GetAction, ListTargetResourceTypes and GetTargetResourceType tell it.
//!
//! What there is lies in [`crate::domain::catalogue`]; here is only its form on the wire. Descriptions are the
//! simulator's own.

use serde_json::{Map, Value, json};

use super::experiment::World;
use crate::{
    domain::catalogue::{self, Action},
    simulator::wire::{self, Answer, ApiError, Query},
};

/// ListActions.
pub(super) fn list_actions(world: World<'_>, query: &Query) -> Answer {
    let render = |action| rendered(action, &world.account.fis_arn(), Parameters::LeftOut);
    let all = catalogue::all().actions.iter();
    wire::page("actions", all.map(|action| (action.id.clone(), render(action))).collect(), query)
}

/// GetAction.
pub(super) fn get_action(world: World<'_>, id: &str) -> Answer {
    match catalogue::action(id) {
        Some(action) => Ok(json!({"action": rendered(action, &world.account.fis_arn(), Parameters::Shown)})),
        None => Err(ApiError::not_found(format!("Action {id} does not exist."))),
    }
}

/// ListTargetResourceTypes.
pub(super) fn list_types(query: &Query) -> Answer {
    let all = catalogue::all().target_resource_types.iter();
    let render = |kind: &str| json!({"resourceType": kind, "description": kind});
    let items = all.map(|kind| (kind.resource_type.clone(), render(&kind.resource_type))).collect();
    wire::page("targetResourceTypes", items, query)
}

/// GetTargetResourceType.
pub(super) fn get_type(id: &str) -> Answer {
    let Some(kind) = catalogue::all().target_resource_types.iter().find(|kind| kind.resource_type == id) else {
        return Err(ApiError::not_found(format!("Target resource type {id} does not exist.")));
    };
    let parameters = rendered_parameters(&kind.parameters);
    Ok(json!({"targetResourceType": {"resourceType": id, "description": id, "parameters": parameters}}))
}

/// An action as ListActions (without parameters) and GetAction (with them) return it.
fn rendered(action: &Action, arn_prefix: &str, parameters: Parameters) -> Value {
    let targets: Map<String, Value> =
        action.targets.iter().map(|(key, kind)| (key.clone(), json!({"resourceType": kind}))).collect();
    let mut body = json!({
        "id": action.id,
        "arn": format!("{arn_prefix}:action/{}", action.id),
        "description": format!("Simulated {}.", action.id),
        "tags": {},
    });
    if !targets.is_empty() {
        body["targets"] = Value::Object(targets);
    }
    if parameters == Parameters::Shown {
        body["parameters"] = rendered_parameters(&action.parameters);
    }
    body
}

/// Whether an action is rendered with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parameters {
    /// As GetAction does.
    Shown,
    /// As ListActions does.
    LeftOut,
}

/// Parameters of an action or a target resource type.
fn rendered_parameters(parameters: &[catalogue::Parameter]) -> Value {
    let entry = |parameter: &catalogue::Parameter| {
        (parameter.name.clone(), json!({"description": parameter.name, "required": parameter.required}))
    };
    Value::Object(parameters.iter().map(entry).collect())
}
