//! What is there against what is to be there: changes and steps.

use std::collections::BTreeMap;

use firedrill::domain::provision::{
    Desired, Options, TAG,
    diff::{self, Action, Found, FoundQueue, FoundRule, FoundTarget, Plan, Step},
};
use serde_json::{Value, json};

use super::{desired, options};

fn of(sources: &[&str]) -> Desired {
    let patterns: Vec<Value> = sources.iter().map(|source| json!({ "source": [source], "x": [source] })).collect();
    desired(&options(), "deployments", &patterns).expect("a plan")
}

fn tags(owner: &str) -> BTreeMap<String, String> {
    [(TAG.to_owned(), owner.to_owned())].into()
}

/// What there is after all was made.
fn made(desired: &Desired) -> Found {
    let mut found = Found::default();
    carry_out(&mut found, &diff::apply(desired, &Found::default()).expect("a plan"), desired);
    found
}

/// Does what AWS would, as far as it can be seen.
fn carry_out(found: &mut Found, plan: &Plan, desired: &Desired) {
    for step in &plan.steps {
        let place = |name: &str| name.ends_with("-dlq");
        match step {
            Step::CreateQueue(spec) => {
                let queue = FoundQueue { attributes: spec.attributes.clone(), tags: tags(&desired.queue.name) };
                *(if place(&spec.name) { &mut found.dead_letters } else { &mut found.queue }) = Some(queue);
            }
            Step::SetAttributes(spec) => {
                let queue = if place(&spec.name) { &mut found.dead_letters } else { &mut found.queue };
                queue.as_mut().expect("a queue").attributes.extend(spec.attributes.clone());
            }
            Step::PutRule(spec) => {
                let arn = desired.site.queue(&desired.queue.name);
                let dead_letters = spec.dead_letters.as_ref().map(|name| desired.site.queue(name));
                let target = FoundTarget { arn, group: spec.group.clone(), dead_letters };
                found.rules.retain(|rule| rule.name != spec.name);
                found.rules.push(FoundRule {
                    bus: spec.bus.clone(),
                    name: spec.name.clone(),
                    pattern: Some(spec.pattern.to_string()),
                    enabled: true,
                    targets: [("firedrill".to_owned(), target)].into(),
                    tags: tags(&desired.queue.name),
                });
            }
            Step::DeleteRule { name, .. } => found.rules.retain(|rule| rule.name != *name),
            Step::DeleteQueue { name } => {
                *(if place(name) { &mut found.dead_letters } else { &mut found.queue }) = None;
            }
        }
    }
}

/// The changes, in a line each.
fn changes(plan: &Plan) -> Vec<String> {
    let name = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    plan.changes.iter().map(|change| format!("{} {}", change.action.as_str(), name(&change.name))).collect()
}

#[test]
fn second_time_changes_nothing() {
    let desired = of(&["ci"]);
    let mut found = made(&desired);
    assert_eq!(diff::apply(&desired, &found).expect("a plan"), Plan::default());
    // AWS writes some attributes in its own way, and knows more of them.
    let queue = found.queue.as_mut().expect("a queue");
    let redrive = queue.attributes["RedrivePolicy"].replace(":5}", ": \"5\" }");
    assert_ne!(redrive, queue.attributes["RedrivePolicy"]);
    queue.attributes.insert("RedrivePolicy".to_owned(), redrive);
    queue.attributes.insert("SqsManagedSseEnabled".to_owned(), "True".to_owned());
    queue.attributes.insert("VisibilityTimeout".to_owned(), "77".to_owned());
    queue.attributes.remove("KmsMasterKeyId");
    assert_eq!(diff::apply(&desired, &found).expect("a plan"), Plan::default());
}

#[test]
fn everything_is_made_in_an_order_that_works() {
    let plan = diff::apply(&of(&["ci"]), &Found::default()).expect("a plan");
    let created = ["deployments-dlq", "deployments", "default/firedrill-deployments", "default/firedrill-deployments"];
    assert_eq!(changes(&plan), created.map(|name| format!("create {name}")));
    assert_eq!(plan.steps.len(), 4);
}

#[test]
fn new_rule_is_there_and_may_send_before_the_old_one_goes() {
    let (old, new) = (of(&["ci"]), of(&["cd"]));
    let mut found = made(&old);
    let plan = diff::apply(&new, &found).expect("a plan");
    let rule = "default/firedrill-deployments";
    let queues = ["change deployments-dlq", "change deployments"].map(str::to_owned);
    let expected = [queues[0].clone(), queues[1].clone(), format!("create {rule}"), format!("delete {rule}")];
    assert_eq!(changes(&plan), expected);
    let [
        _,
        Step::SetAttributes(first),
        Step::PutRule(put),
        Step::DeleteRule { name, targets, .. },
        _,
        Step::SetAttributes(last),
    ] = &plan.steps[..]
    else {
        panic!("{plan:?}")
    };
    assert!(first.attributes["Policy"].contains(name) && first.attributes["Policy"].contains(&put.name));
    assert!(!last.attributes["Policy"].contains(name) && last.attributes["Policy"].contains(&put.name));
    assert_eq!(targets, &["firedrill"]);
    carry_out(&mut found, &plan, &new);
    assert_eq!(diff::apply(&new, &found).expect("a plan"), Plan::default());
}

#[test]
fn changed_option_changes_one_attribute() {
    let old = of(&["ci"]);
    let patterns = [json!({ "source": ["ci"], "x": ["ci"] })];
    let check = |options: Options, name: &str, queues: usize| {
        let new = desired(&options, "deployments", &patterns).expect("a plan");
        let plan = diff::apply(&new, &made(&old)).expect("a plan");
        let names: Vec<&str> = plan.changes.iter().flat_map(|c| c.details.iter().map(|d| d.name.as_str())).collect();
        assert_eq!((names, plan.steps.len()), (vec![name; queues], queues));
    };
    check(Options { max_receives: 9, ..options() }, "RedrivePolicy", 1);
    check(Options { retention: jiff::SignedDuration::from_hours(1), ..options() }, "MessageRetentionPeriod", 1);
    check(Options { kms_key: Some("alias/own".to_owned()), ..options() }, "KmsMasterKeyId", 2);
}

#[test]
fn what_somebody_did_to_a_rule_is_undone() {
    let desired = of(&["ci"]);
    let check = |spoil: fn(&mut FoundRule), name: &str| {
        let mut found = made(&desired);
        spoil(&mut found.rules[0]);
        let plan = diff::apply(&desired, &found).expect("a plan");
        assert_eq!((plan.changes[0].action, plan.changes[0].details[0].name.as_str()), (Action::Change, name));
        carry_out(&mut found, &plan, &desired);
        assert_eq!(diff::apply(&desired, &found).expect("a plan"), Plan::default());
    };
    check(|rule| rule.enabled = false, "State");
    check(|rule| rule.pattern = Some("{}".to_owned()), "EventPattern");
    check(|rule| rule.targets.clear(), "Targets");
}

#[test]
fn what_is_not_ours_stops_an_apply_and_survives_a_destroy() {
    let desired = of(&["ci"]);
    let mut found = made(&desired);
    found.queue.as_mut().expect("a queue").tags = BTreeMap::new();
    found.rules[0].tags = tags("other");
    let said = diff::apply(&desired, &found).expect_err("refused").to_string();
    assert!(said.contains("queue `deployments`, rule `default/firedrill-deployments."), "{said}");
    assert!(said.contains("without the tag `firedrill:managed-by = deployments`"), "{said}");
    assert_eq!(
        changes(&diff::destroy(&desired, &found)),
        ["delete default/firedrill-deployments", "delete deployments-dlq"]
    );
    // A rule of another queue of ours is none of this one's.
    found.rules[0].name = "firedrill-deployments-2.0".to_owned();
    assert_eq!(changes(&diff::destroy(&desired, &found)).len(), 2);
}

#[test]
fn owners_of_one_local_name_are_told_apart_by_their_queues() {
    let (ours, theirs) = (of(&["ci"]), desired(&options(), "others", &[json!({ "source": ["ci"], "x": ["ci"] })]));
    let theirs = theirs.expect("a plan");
    assert!(ours.rules.keys().all(|name| !theirs.rules.contains_key(name)), "no rule is shared");
    let mut found = made(&ours);
    found.rules.extend(made(&theirs).rules);
    assert_eq!(diff::apply(&ours, &found).expect("a plan"), Plan::default());
    let gone: Vec<String> = diff::destroy(&ours, &found).changes.into_iter().map(|change| change.name).collect();
    assert!(theirs.rules.keys().all(|name| !gone.iter().any(|gone| gone.ends_with(name.as_str()))), "{gone:?}");
    // A tag can be copied: a rule that leads elsewhere is not ours for that.
    let rules = found.rules.len();
    for rule in &mut found.rules[..2] {
        rule.targets.values_mut().for_each(|target| target.arn = "arn:aws:sqs:eu-west-1:123456789012:else".to_owned());
    }
    assert!(diff::apply(&ours, &found).is_err());
    assert_eq!((diff::destroy(&ours, &found).steps.len(), rules), (2, 4), "the two queues");
}

#[test]
fn policy_is_short_enough_at_every_step() {
    let many = |from: usize| {
        let pattern = |n: usize| json!({ "source": [format!("s{n}")], "detail-type": [format!("t{n}")] });
        desired(&options(), "deployments", &(from..from + 60).map(pattern).collect::<Vec<_>>()).expect("a plan")
    };
    let (old, new) = (many(0), many(60));
    let mut found = made(&old);
    let plan = diff::apply(&new, &found).expect("a plan");
    let policies = plan.steps.iter().filter_map(|step| match step {
        Step::SetAttributes(spec) => Some(spec.attributes["Policy"].clone()),
        _ => None,
    });
    let policies: Vec<String> = policies.collect();
    assert_eq!(policies.len(), 4);
    assert!(
        policies.iter().all(|policy| policy.len() <= 8_192),
        "{:?}",
        policies.iter().map(String::len).collect::<Vec<_>>()
    );
    let alike = "arn:aws:events:eu-west-1:123456789012:rule/firedrill-deployments.*";
    assert_eq!(policies.iter().map(|policy| policy.contains(alike)).collect::<Vec<_>>(), [true, true, false, false]);
    carry_out(&mut found, &plan, &new);
    assert_eq!(diff::apply(&new, &found).expect("a plan"), Plan::default());
}

#[test]
fn destroy_takes_the_rules_first_and_counts_messages() {
    let desired = of(&["ci"]);
    let mut found = made(&desired);
    let attributes = &mut found.queue.as_mut().expect("a queue").attributes;
    attributes.insert("ApproximateNumberOfMessages".to_owned(), "2".to_owned());
    attributes.insert("ApproximateNumberOfMessagesNotVisible".to_owned(), "1".to_owned());
    let plan = diff::destroy(&desired, &found);
    assert_eq!(plan.messages(), [("deployments", "3")]);
    let is_rule = |step: &Step| matches!(step, Step::DeleteRule { .. });
    assert!(plan.steps[..2].iter().all(is_rule) && !plan.steps[2..].iter().any(is_rule), "{plan:?}");
    carry_out(&mut found, &plan, &desired);
    assert_eq!(found, Found::default());
}
