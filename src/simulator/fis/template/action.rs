//! One action of a template: its parameters and targets against the catalogue.
//!
//! What the catalogue does not narrow is free. The kind and version of a Kubernetes object are not looked at here: an
//! unknown one fails when the action runs, as users report.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde_json::Value;

use super::{ActionSpec, TargetSpec, wrong};
use crate::{
    domain::catalogue::{self, Action, Parameter},
    simulator::{choices::UnknownAction, fis::experiment::work::MAX_ACTION_DURATION, wire::ApiError},
};

pub(super) fn check(
    name: &str,
    spec: &ActionSpec,
    targets: &BTreeMap<String, TargetSpec>,
    unknown: UnknownAction,
) -> Result<(), ApiError> {
    let Some(action) = catalogue::action(&spec.action_id) else {
        let text = format!("actions.{name}.actionId: there is no action {}", spec.action_id);
        return Err(match unknown {
            UnknownAction::Invalid => ApiError::validation(text),
            UnknownAction::Missing => ApiError::not_found(text),
        });
    };
    check_parameters(name, spec, action)?;
    for (key, target) in &spec.targets {
        let Some(kind) = action.targets.get(key) else {
            return Err(ApiError::validation(format!("Unexpected target \"{key}\" found in action \"{name}\".")));
        };
        let place = || format!("actions.{name}.targets.{key}");
        let Some(found) = targets.get(target) else {
            return Err(wrong(place(), format!("there is no target {target}")));
        };
        if found.resource_type != *kind {
            return Err(wrong(place(), format!("target {target} is {}, not {kind}", found.resource_type)));
        }
    }
    match action.targets.keys().find(|key| !spec.targets.contains_key(*key)) {
        Some(key) => Err(wrong(format!("actions.{name}.targets.{key}"), "is required")),
        None => Ok(()),
    }
}

fn check_parameters(name: &str, spec: &ActionSpec, action: &Action) -> Result<(), ApiError> {
    let place = |key: &str| format!("actions.{name}.parameters.{key}");
    let known = |key: &str| action.parameters.iter().any(|parameter| parameter.name == key);
    if let Some(unknown) = spec.parameters.keys().find(|key| !known(key)) {
        return Err(wrong(place(unknown), format!("{} has no such parameter", action.id)));
    }
    for parameter in &action.parameters {
        let bound = parameter.required_with.as_ref();
        let required = parameter.required
            || bound.is_some_and(|[other, value]| spec.parameters.get(other).is_some_and(|given| given == value));
        match spec.parameters.get(&parameter.name) {
            Some(value) => check_value(parameter, value).map_err(|text| wrong(place(&parameter.name), text))?,
            None if required => return Err(wrong(place(&parameter.name), "is required")),
            None => {}
        }
    }
    Ok(())
}

/// Checks a value of an action's or a target's parameter; the error says what would be right.
pub(super) fn check_value(parameter: &Parameter, value: &str) -> Result<(), String> {
    if let Some(max) = parameter.max_items.filter(|max| value.split(',').count() > *max) {
        return Err(format!("must have at most {max} items"));
    }
    if let Some(values) = &parameter.values {
        let listed = |one: &str| values.iter().any(|value| value == one);
        let fits = if parameter.list { value.split(',').all(|one| listed(one.trim())) } else { listed(value) };
        if !fits {
            return Err(format!("must be one of {}", values.join(", ")));
        }
    }
    if let Some([least, most]) = parameter.range
        && !is_within(value, least, most)
    {
        return Err(format!("must be a number from {least} to {most}"));
    }
    if parameter.json && !serde_json::from_str::<Value>(value).is_ok_and(|document| document.is_object()) {
        return Err("must be a JSON object".to_owned());
    }
    if parameter.duration { check_duration(parameter, value) } else { Ok(()) }
}

/// Numbers are plain decimals, and whole ones where the limits are.
fn is_within(value: &str, least: f64, most: f64) -> bool {
    let whole = least.fract() == 0.0 && most.fract() == 0.0;
    let plain = value.bytes().all(|byte| byte.is_ascii_digit() || (byte == b'.' && !whole));
    plain && value.parse::<f64>().is_ok_and(|number| (least..=most).contains(&number))
}

/// A duration lies within the limits of its parameter; without any it is more than nothing and at most that of every
/// action (AWS FIS user guide, fis-quotas).
fn check_duration(parameter: &Parameter, value: &str) -> Result<(), String> {
    let limit = |text: &Option<String>| text.as_deref().and_then(duration);
    let least = limit(&parameter.min);
    let most = limit(&parameter.max).unwrap_or(MAX_ACTION_DURATION);
    match duration(value) {
        Some(length) if length.is_positive() && least.is_none_or(|least| length >= least) && length <= most => Ok(()),
        _other => {
            let least = least.map(|least| format!(" of at least {least}")).unwrap_or_default();
            Err(format!("must be an ISO 8601 duration{least} and at most {most}"))
        }
    }
}

/// Reads an ISO 8601 duration without a sign, such as `PT1M30S`.
pub(super) fn duration(text: &str) -> Option<SignedDuration> {
    let plain = text.starts_with('P') && !text.contains(|c: char| c.is_ascii_lowercase() || c.is_whitespace());
    text.parse().ok().filter(|_| plain)
}
