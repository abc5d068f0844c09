//! Templates: how long a run may take, what it costs, what it meets, and the catalogue that the answers rest on.

mod closures;
mod cost;
mod estimate;
mod library;
mod target;

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    catalogue::{self, DurationKind, Selector},
    template::{TemplateAction, TemplateFacts},
};
use jiff::SignedDuration;

use crate::support::world::t;

fn action(action_id: &str, parameters: &[(&str, &str)], start_after: &[&str]) -> TemplateAction {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    TemplateAction {
        action_id: action_id.to_owned(),
        parameters: parameters.iter().map(text).collect(),
        start_after: start_after.iter().map(|name| (*name).to_owned()).collect(),
        ..TemplateAction::default()
    }
}

fn wait(duration: &str, start_after: &[&str]) -> TemplateAction {
    action("aws:fis:wait", &[("duration", duration)], start_after)
}

/// An SSM automation with its bound and what its document is told.
fn automation(bound: &str, told: &str, start_after: &[&str]) -> TemplateAction {
    let parameters = [("maxDuration", bound), ("documentParameters", told)];
    action("aws:ssm:start-automation-execution", &parameters, start_after)
}

/// A template of actions named a, b, c, …
fn template(actions: Vec<TemplateAction>) -> TemplateFacts {
    let names = ('a'..='z').map(|name| name.to_string());
    named(names.zip(actions).collect())
}

fn named(actions: BTreeMap<String, TemplateAction>) -> TemplateFacts {
    TemplateFacts { id: "EXT1".to_owned(), actions, read_at: t("10:00:00"), ..TemplateFacts::default() }
}

/// The guide's page of actions still has this name; its page of targets has it without `redis-`.
const FORMER_NAME: &str = "aws:elasticache:redis-replicationgroup";

#[test]
fn catalogue_is_complete_and_agrees_with_itself() {
    let all = catalogue::all();
    assert_eq!(all.actions.len(), 51);
    assert!(!all.target_resource_types.is_empty());
    let ids: BTreeSet<&str> = all.actions.iter().map(|action| action.id.as_str()).collect();
    assert_eq!(ids.len(), all.actions.len(), "an action is there twice");
    let types: BTreeSet<&str> = all.target_resource_types.iter().map(|t| t.resource_type.as_str()).collect();
    for action in &all.actions {
        assert_eq!(catalogue::action(&action.id).map(|found| &found.id), Some(&action.id));
        for resource_type in action.targets.values().filter(|resource_type| **resource_type != FORMER_NAME) {
            assert!(types.contains(resource_type.as_str()), "{}: {resource_type}", action.id);
        }
        let named = action.duration_parameter.as_ref().map(|name| action.parameters.iter().find(|p| p.name == *name));
        match named {
            Some(parameter) => assert!(parameter.is_some_and(|p| p.duration), "{}", action.id),
            None => assert_eq!(action.duration_kind, DurationKind::Instant, "{}", action.id),
        }
        assert!(!action.one_arn || action.selectors.as_deref() == Some(&[Selector::Arns]), "{}", action.id);
        for parameter in &action.parameters {
            let [least, most] = parameter.range.unwrap_or([0.0, 1.0]);
            let bound = parameter.required_with.as_ref();
            let other = bound.map(|[name, value]| {
                let named = action.parameters.iter().find(|other| other.name == *name);
                named.and_then(|other| other.values.as_ref()).is_some_and(|values| values.contains(value))
            });
            assert!(least < most && other != Some(false), "{}: {}", action.id, parameter.name);
        }
        for limit in action.parameters.iter().flat_map(|p| [&p.min, &p.max]).flatten() {
            assert!(limit.parse::<SignedDuration>().is_ok(), "{}: {limit}", action.id);
        }
    }
}
