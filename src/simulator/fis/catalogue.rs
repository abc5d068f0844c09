//! The catalogue as ListActions, GetAction, ListTargetResourceTypes and GetTargetResourceType tell it.
//!
//! What there is lies in [`crate::domain::catalogue`]; here is only its form on the wire. Descriptions are the
//! simulator's own.

use serde_json::{Map, Value, json};

use super::{Fis, experiment::World, model::Input, page::page};
use crate::{
    domain::catalogue::{self, Action, Parameter, TargetResourceType},
    simulator::wire::{Answer, ApiError},
};

/// ListActions: actions without their parameters, by id.
pub(super) fn list_actions(fis: &Fis, world: World<'_>, input: &Input) -> Answer {
    let mut actions: Vec<&Action> = catalogue::all().actions.iter().collect();
    actions.sort_by_key(|action| &action.id);
    page(input, "actions", actions, |action| action.id.clone(), |action| summary(action, fis, world))
}

/// GetAction: an action with its parameters.
pub(super) fn get_action(fis: &Fis, world: World<'_>, id: &str) -> Answer {
    let action = catalogue::action(id).ok_or_else(|| ApiError::not_found(format!("Action {id} does not exist.")))?;
    let mut body = summary(action, fis, world);
    body["parameters"] = parameters(&action.parameters);
    Ok(json!({"action": body}))
}

/// ListTargetResourceTypes, by name.
pub(super) fn list_types(input: &Input) -> Answer {
    let mut kinds: Vec<&TargetResourceType> = catalogue::all().target_resource_types.iter().collect();
    kinds.sort_by_key(|kind| &kind.resource_type);
    let render =
        |kind: &TargetResourceType| json!({"resourceType": kind.resource_type, "description": described(kind)});
    page(input, "targetResourceTypes", kinds, |kind| kind.resource_type.clone(), render)
}

/// GetTargetResourceType.
pub(super) fn get_type(id: &str) -> Answer {
    let Some(kind) = catalogue::resource_type(id) else {
        return Err(ApiError::not_found(format!("Target resource type {id} does not exist.")));
    };
    let parameters = parameters(&kind.parameters);
    Ok(json!({"targetResourceType": {"resourceType": id, "description": described(kind), "parameters": parameters}}))
}

fn described(kind: &TargetResourceType) -> String {
    format!("Simulated {}.", kind.resource_type)
}

/// An action that needs no target has no `targets` (AWS CLI's example of get-action).
fn summary(action: &Action, fis: &Fis, world: World<'_>) -> Value {
    let mut body = json!({
        "id": action.id,
        "arn": format!("{}:action/{}", world.account.fis_arn(), action.id),
        "description": format!("Simulated {}.", action.id),
        "tags": fis.tags_of_action(&action.id),
    });
    let targets: Map<String, Value> =
        action.targets.iter().map(|(key, kind)| (key.clone(), json!({"resourceType": kind}))).collect();
    if !targets.is_empty() {
        body["targets"] = Value::Object(targets);
    }
    body
}

fn parameters(parameters: &[Parameter]) -> Value {
    let entry = |parameter: &Parameter| {
        (parameter.name.clone(), json!({"description": parameter.name, "required": parameter.required}))
    };
    Value::Object(parameters.iter().map(entry).collect())
}
