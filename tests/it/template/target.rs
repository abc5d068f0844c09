//! Targets: whether the runs of two templates may meet.

use std::collections::BTreeMap;

use firedrill::domain::{
    target::{SharedTarget, shares_target},
    template::{TargetFacts, TemplateFacts},
};
use proptest::prelude::*;

use super::template;

const INSTANCE: &str = "aws:ec2:instance";

fn target(resource_type: &str, arns: &[&str], tags: &[(&str, &str)]) -> TargetFacts {
    TargetFacts {
        resource_type: resource_type.to_owned(),
        arns: arns.iter().map(|arn| (*arn).to_owned()).collect(),
        tags: tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn aimed(targets: Vec<TargetFacts>) -> TemplateFacts {
    let targets = ('a'..='z').map(|name| name.to_string()).zip(targets).collect::<BTreeMap<_, _>>();
    TemplateFacts { targets, ..template(Vec::new()) }
}

/// Checks what two templates with one target each share, in both orders.
#[track_caller]
fn check(a: TargetFacts, b: TargetFacts, expected: Option<&str>) {
    let (a, b) = (aimed(vec![a]), aimed(vec![b]));
    for shared in [shares_target(&a, &b), shares_target(&b, &a)] {
        assert_eq!(shared.map(|shared| shared.to_string()).as_deref(), expected);
    }
}

#[test]
fn same_arn_is_shared_and_others_are_not() {
    check(target(INSTANCE, &["arn:1", "arn:2"], &[]), target(INSTANCE, &["arn:3", "arn:2"], &[]), Some("arn:2"));
    check(target(INSTANCE, &["arn:1"], &[]), target(INSTANCE, &["arn:2"], &[]), None);
}

#[test]
fn same_tag_is_shared_whatever_carries_it() {
    let shop = [("app", "shop"), ("env", "test")];
    let shared = Some("tag app=shop");
    check(target(INSTANCE, &[], &shop), target(INSTANCE, &[], &[("app", "shop")]), shared);
    check(target(INSTANCE, &[], &shop), target("aws:rds:db", &[], &[("app", "shop")]), shared);
    // Both must carry `app`, so nothing can be in both; but they are parts of one environment.
    check(
        target(INSTANCE, &[], &shop),
        target(INSTANCE, &[], &[("app", "blog"), ("env", "test")]),
        Some("tag env=test"),
    );
    check(target("aws:ecs:task", &[], &shop), target("aws:rds:db", &[], &[("app", "blog")]), None);
}

#[test]
fn one_resource_type_is_shared_unless_a_tag_tells_them_apart() {
    let all = Some("resource type aws:ec2:instance");
    let shop = target(INSTANCE, &[], &[("app", "shop")]);
    check(shop.clone(), target(INSTANCE, &[], &[("app", "blog")]), None);
    // An instance may carry both tags.
    check(shop.clone(), target(INSTANCE, &[], &[("team", "red")]), all);
    // The one named by ARN may carry the tag.
    check(shop.clone(), target(INSTANCE, &["arn:1"], &[]), all);
    // Whole types: by filters or parameters alone, or by nothing.
    check(shop.clone(), target(INSTANCE, &[], &[]), all);
    check(target(INSTANCE, &[], &[]), target(INSTANCE, &["arn:1"], &[]), all);
    let pods = Some("resource type aws:eks:pod");
    check(target("aws:eks:pod", &[], &[]), target("aws:eks:pod", &[], &[]), pods);
    check(shop.clone(), target("aws:rds:db", &[], &[]), None);
    // A Spot Instance is an instance.
    check(shop, target("aws:ec2:spot-instance", &[], &[("team", "red")]), all);
}

#[test]
fn resources_of_two_regions_are_not_the_same_but_a_tag_still_is() {
    let at = |region: &str, tags: &[(&str, &str)]| {
        let facts = aimed(vec![target(INSTANCE, &[], tags)]);
        TemplateFacts { region: Some(region.to_owned()), ..facts }
    };
    let unknown = aimed(vec![target(INSTANCE, &[], &[])]);
    let shared = |a: &TemplateFacts, b: &TemplateFacts| shares_target(a, b).map(|shared| shared.to_string());
    assert_eq!(shared(&at("eu-west-1", &[]), &at("eu-west-2", &[])), None);
    assert_eq!(shared(&at("eu-west-1", &[]), &at("eu-west-1", &[])).as_deref(), Some("resource type aws:ec2:instance"));
    assert_eq!(shared(&at("eu-west-1", &[]), &unknown).as_deref(), Some("resource type aws:ec2:instance"));
    let (one, two) = (at("eu-west-1", &[("app", "shop")]), at("eu-west-2", &[("app", "shop")]));
    assert_eq!(shared(&one, &two).as_deref(), Some("tag app=shop"));
}

#[test]
fn templates_without_targets_share_nothing() {
    let none = aimed(Vec::new());
    assert_eq!(shares_target(&none, &none), None);
    assert_eq!(shares_target(&none, &aimed(vec![target(INSTANCE, &[], &[])])), None);
}

fn any_target() -> impl Strategy<Value = TargetFacts> {
    let arns = prop::collection::vec(prop::sample::select(vec!["arn:1", "arn:2", "arn:3"]), 0..2);
    let values = || prop::sample::select(vec!["", "x", "y"]);
    let kinds = prop::sample::select(vec![INSTANCE, "aws:rds:db", "aws:ec2:spot-instance"]);
    (kinds, arns, values(), values()).prop_map(|(kind, arns, app, team)| {
        let tags: Vec<_> = [("app", app), ("team", team)].into_iter().filter(|(_, value)| !value.is_empty()).collect();
        target(kind, &arns, &tags)
    })
}

fn any_template() -> impl Strategy<Value = TemplateFacts> {
    prop::collection::vec(any_target(), 0..4).prop_map(aimed)
}

/// One resource there could be. A target takes it if its type fits, and its ARN is listed or it carries all tags.
struct Resource {
    kind: &'static str,
    arn: &'static str,
    tags: [(&'static str, &'static str); 2],
}

impl Resource {
    fn is_hit(&self, by: &TargetFacts) -> bool {
        let kind = if by.resource_type == "aws:ec2:spot-instance" { INSTANCE } else { &by.resource_type };
        let carries = |(key, value): (&String, &String)| self.tags.contains(&(key.as_str(), value.as_str()));
        let named = by.arns.is_empty() || by.arns.iter().any(|arn| arn == self.arn);
        kind == self.kind && named && by.tags.iter().all(carries)
    }
}

/// Every resource that the targets drawn above can tell apart.
fn all_resources() -> Vec<Resource> {
    let mut all = Vec::new();
    for kind in [INSTANCE, "aws:rds:db"] {
        for arn in ["arn:1", "arn:2", "arn:3", "arn:4"] {
            for app in ["x", "y", "z"] {
                for team in ["x", "y", "z"] {
                    all.push(Resource { kind, arn, tags: [("app", app), ("team", team)] });
                }
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    #[test]
    fn sharing_is_the_same_in_either_order(a in any_template(), b in any_template()) {
        prop_assert_eq!(shares_target(&a, &b), shares_target(&b, &a));
        // With itself a template always shares, if it has targets at all.
        prop_assert_eq!(shares_target(&a, &a).is_some(), !a.targets.is_empty());
    }

    /// Whatever resource both could hit, they share.
    #[test]
    fn no_resource_is_hit_by_two_that_share_nothing(a in any_template(), b in any_template()) {
        if shares_target(&a, &b).is_none() {
            for resource in all_resources() {
                let hits = |facts: &TemplateFacts| facts.targets.values().any(|target| resource.is_hit(target));
                prop_assert!(!(hits(&a) && hits(&b)), "{} {:?}", resource.arn, resource.tags);
            }
        }
    }

    /// What is said to be shared is in both.
    #[test]
    fn what_is_shared_is_named_by_both(a in any_template(), b in any_template()) {
        if let Some(shared) = shares_target(&a, &b) {
            let names = |facts: &TemplateFacts| facts.targets.values().any(|target| match &shared {
                SharedTarget::Arn { arn } => target.arns.contains(arn),
                SharedTarget::Tag { key, value } => target.tags.get(key) == Some(value),
                SharedTarget::ResourceType { resource_type } => {
                    target.resource_type == *resource_type || target.resource_type == "aws:ec2:spot-instance"
                }
            });
            prop_assert!(names(&a) && names(&b));
        }
    }
}
