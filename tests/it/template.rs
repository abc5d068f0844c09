//! Templates: how long a run may take at most, and the catalogue that the answer rests on.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    catalogue::{self, DurationKind, Selector},
    plan,
    template::{Estimate, FIS_OVERHEAD, INSTANT_ALLOWANCE, TemplateAction, TemplateFacts},
};
use jiff::SignedDuration;
use serde_json::Value;

use crate::support::world::{experiment, t};

fn action(action_id: &str, parameters: &[(&str, &str)], start_after: &[&str]) -> TemplateAction {
    let text = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    TemplateAction {
        action_id: action_id.to_owned(),
        parameters: parameters.iter().map(text).collect(),
        start_after: start_after.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn wait(duration: &str, start_after: &[&str]) -> TemplateAction {
    action("aws:fis:wait", &[("duration", duration)], start_after)
}

fn template(actions: Vec<TemplateAction>) -> TemplateFacts {
    let names = ('a'..='z').map(|name| name.to_string());
    let actions = names.zip(actions).collect();
    TemplateFacts { id: "EXT1".to_owned(), description: String::new(), actions, read_at: t("10:00:00") }
}

/// Checks the estimate of actions named a, b, c, … in seconds, without FIS's own overhead; `None` is unknown.
#[track_caller]
fn check(actions: Vec<TemplateAction>, expected: Option<i64>) {
    let expected = expected
        .map_or(Estimate::Unknown, |seconds| Estimate::Ceiling(SignedDuration::from_secs(seconds) + FIS_OVERHEAD));
    assert_eq!(template(actions).estimate(), expected);
}

#[test]
fn longest_chain_counts() {
    check(Vec::new(), Some(0));
    check(vec![wait("PT5M", &[])], Some(300));
    check(vec![wait("PT5M", &[]), wait("PT7M", &[])], Some(420));
    check(vec![wait("PT5M", &[]), wait("PT7M", &["a"])], Some(720));
    // A diamond: a before b and c, both before d.
    let diamond = vec![wait("PT1M", &[]), wait("PT10M", &["a"]), wait("PT2M", &["a"]), wait("PT3M", &["b", "c"])];
    check(diamond, Some(840));
    // Named against the order of the alphabet.
    check(vec![wait("PT1M", &["b"]), wait("PT2M", &["c"]), wait("PT4M", &[])], Some(420));
}

#[test]
fn action_without_a_readable_length_makes_the_estimate_unknown() {
    check(vec![action("aws:new:thing", &[("duration", "PT5M")], &[])], None);
    check(vec![wait("PT5M", &[]), action("", &[], &[])], None);
    check(vec![action("aws:fis:wait", &[], &[])], None);
    for text in ["", "soon", "PT", "-PT5M", "P1M", "P1Y", "5", "PT5X"] {
        check(vec![wait(text, &[])], None);
    }
}

#[test]
fn durations_are_read_in_every_form_that_fis_takes() {
    for (text, seconds) in [("PT90S", 90), ("PT1M30S", 90), ("PT12H", 43_200), ("PT1H1M1S", 3_661), ("PT0S", 0)] {
        check(vec![wait(text, &[])], Some(seconds));
    }
}

#[test]
fn cycle_or_dangling_name_makes_the_estimate_unknown() {
    check(vec![wait("PT1M", &["a"])], None);
    check(vec![wait("PT1M", &["b"]), wait("PT1M", &["a"])], None);
    check(vec![wait("PT1M", &[]), wait("PT1M", &["nobody"])], None);
}

#[test]
fn each_kind_of_time_has_its_ceiling() {
    let minute = INSTANT_ALLOWANCE.as_secs();
    check(vec![action("aws:ec2:reboot-instances", &[], &[])], Some(minute));
    check(vec![action("aws:ec2:stop-instances", &[], &[])], Some(minute));
    check(vec![action("aws:ec2:stop-instances", &[("startInstancesAfterDuration", "PT10M")], &[])], Some(600 + minute));
    check(vec![action("aws:network:disrupt-connectivity", &[("duration", "PT5M")], &[])], Some(300 + minute));
    let cap = [("maxDuration", "PT10M")];
    check(vec![action("aws:eks:inject-kubernetes-custom-resource", &cap, &[])], Some(600));
    let delay = [("durationBeforeInterruption", "PT2M")];
    check(vec![action("aws:ec2:send-spot-instance-interruptions", &delay, &[])], Some(120));
    check(vec![action("aws:ssm:send-command", &[("duration", "PT5M")], &[])], Some(300));
}

#[test]
fn absurd_lengths_saturate() {
    let long = format!("PT{}S", i64::MAX);
    let template = template(vec![wait(&long, &[]), wait(&long, &["a"])]);
    assert!(matches!(template.estimate(), Estimate::Ceiling(length) if length > SignedDuration::from_hours(12)));
    assert_eq!(plan::expected(&experiment(), &template), experiment().max_duration);
}

#[test]
fn expected_time_is_the_estimate_up_to_the_experiments_limit() {
    let expected = |actions| plan::expected(&experiment(), &template(actions));
    assert_eq!(expected(vec![wait("PT5M", &[])]), SignedDuration::from_secs(330));
    assert_eq!(expected(vec![wait("PT2H", &[])]), SignedDuration::from_hours(1));
    assert_eq!(expected(vec![wait("soon", &[])]), SignedDuration::from_hours(1));
}

#[test]
fn demo_template_takes_what_its_longest_chain_takes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/template.json");
    let demo: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the demo")).expect("JSON");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let actions: BTreeMap<String, TemplateAction> = demo["actions"]
        .as_object()
        .expect("actions")
        .iter()
        .map(|(name, action)| {
            let parameters = action["parameters"].as_object().into_iter().flatten();
            let text = |(key, value): (&String, &Value)| (key.clone(), value.as_str().expect("a text").to_owned());
            let action = TemplateAction {
                action_id: action["actionId"].as_str().expect("an id").to_owned(),
                parameters: parameters.map(text).collect(),
                start_after: texts(&action["startAfter"]),
            };
            (name.clone(), action)
        })
        .collect();
    assert_eq!(actions.len(), 6);
    // Ten minutes of stress, two actions of a moment, a wait and the load of five minutes each.
    let expected = SignedDuration::from_mins(10 + 1 + 1 + 5 + 5) + FIS_OVERHEAD;
    assert_eq!(TemplateFacts { actions, ..template(Vec::new()) }.estimate(), Estimate::Ceiling(expected));
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
