//! One target of a template: its type, its selector, and who uses it.
//!
//! A target is chosen by ARNs, or by tags, filters and parameters together (AWS FIS user guide, targets). Parameters
//! may go with ARNs, since some types ask for one in any case. Some actions narrow this further in the catalogue.

use std::collections::BTreeMap;

use super::{ActionSpec, TargetSpec, action::check_value, is_arn, wrong};
use crate::{
    domain::catalogue::{self, Action, Selector},
    simulator::wire::ApiError,
};

pub(super) fn check(name: &str, spec: &TargetSpec, actions: &BTreeMap<String, ActionSpec>) -> Result<(), ApiError> {
    let place = format!("targets.{name}");
    let kind = &spec.resource_type;
    let known = catalogue::resource_type(kind).is_some()
        || catalogue::all().actions.iter().any(|action| action.targets.values().any(|target| target == kind));
    if !known {
        return Err(wrong(format!("{place}.resourceType"), format!("there is no resource type {kind}")));
    }
    check_selector(name, spec)?;
    check_parameters(&place, spec)?;
    let mut uses = actions.values().filter(|action| action.targets.values().any(|target| target == name)).peekable();
    if uses.peek().is_none() {
        return Err(wrong(place, "no action uses it"));
    }
    uses.filter_map(|spec| catalogue::action(&spec.action_id)).try_for_each(|action| check_use(&place, spec, action))
}

fn check_selector(name: &str, spec: &TargetSpec) -> Result<(), ApiError> {
    let place = format!("targets.{name}");
    let given = selectors(spec);
    if given.is_empty() {
        return Err(wrong(place, "needs resourceArns, resourceTags, filters or parameters"));
    }
    if given.starts_with(&[Selector::Arns, Selector::Tags]) {
        // AWS's own text, without a dot in the name.
        let text = format!("You cannot specify both resource ARNs and resource tags for target {name}.");
        return Err(ApiError::validation(text));
    }
    if given.starts_with(&[Selector::Arns, Selector::Filters]) {
        return Err(wrong(format!("{place}.filters"), "must not be given beside resourceArns"));
    }
    for (index, arn) in spec.resource_arns.iter().enumerate() {
        if !is_arn(arn, "", "") {
            return Err(wrong(format!("{place}.resourceArns[{index}]"), "must be an ARN"));
        }
    }
    match spec.filters.iter().position(|filter| filter.values.is_empty()) {
        Some(index) => Err(wrong(format!("{place}.filters[{index}].values"), "must not be empty")),
        None => Ok(()),
    }
}

/// The selectors a target has, in the order of their declaration.
fn selectors(spec: &TargetSpec) -> Vec<Selector> {
    let given = [
        (Selector::Arns, spec.resource_arns.is_empty()),
        (Selector::Tags, spec.resource_tags.is_empty()),
        (Selector::Filters, spec.filters.is_empty()),
        (Selector::Parameters, spec.parameters.is_empty()),
    ];
    given.into_iter().filter(|(_, empty)| !empty).map(|(selector, _)| selector).collect()
}

fn check_parameters(place: &str, spec: &TargetSpec) -> Result<(), ApiError> {
    let parameters = catalogue::resource_type(&spec.resource_type).map_or(&[][..], |kind| &kind.parameters);
    let known = |key: &str| parameters.iter().any(|parameter| parameter.name == key);
    if let Some(unknown) = spec.parameters.keys().find(|key| !known(key)) {
        let text = format!("{} has no such parameter", spec.resource_type);
        return Err(wrong(format!("{place}.parameters.{unknown}"), text));
    }
    for parameter in parameters {
        let place = || format!("{place}.parameters.{}", parameter.name);
        match spec.parameters.get(&parameter.name) {
            Some(value) => check_value(parameter, value).map_err(|text| wrong(place(), text))?,
            None if parameter.required => return Err(wrong(place(), "is required")),
            None => {}
        }
    }
    Ok(())
}

/// What one action that uses the target makes of it.
fn check_use(place: &str, spec: &TargetSpec, action: &Action) -> Result<(), ApiError> {
    if let Some(allowed) = &action.selectors
        && let Some(other) = selectors(spec).into_iter().find(|selector| !allowed.contains(selector))
    {
        let member = match other {
            Selector::Arns => "resourceArns",
            Selector::Tags => "resourceTags",
            Selector::Filters => "filters",
            Selector::Parameters => "parameters",
        };
        return Err(wrong(format!("{place}.{member}"), format!("{} does not take its targets so", action.id)));
    }
    if action.one_arn && spec.resource_arns.len() != 1 {
        return Err(wrong(format!("{place}.resourceArns"), format!("{} takes exactly one ARN", action.id)));
    }
    Ok(())
}
