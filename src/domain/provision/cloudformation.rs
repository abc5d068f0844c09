//! What is to be there as a CloudFormation template, for those who deploy by one.
//!
//! Account, Region and ARNs are left to the stack. Names and tags are those of `firedrill queue apply`, which finds
//! nothing to do afterwards.

use serde_json::{Map, Value, json};

use super::{DEFAULT_BUS, Desired, QueueSpec, RuleSpec, TAG, TARGET_ID, label, policy, rule_digest};

/// Most resources of a template (AWS CloudFormation user guide, quotas).
pub const MAX_RESOURCES: usize = 500;

/// Writes the template; JSON, which CloudFormation reads as it reads YAML.
pub fn template(queues: &[Desired]) -> Value {
    let resources: Map<String, Value> = queues.iter().flat_map(resources).collect();
    json!({
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": "Queues on which Firedrill takes events of deployments, and the rules that lead to them",
        "Resources": resources,
    })
}

fn resources(desired: &Desired) -> Vec<(String, Value)> {
    let base = label(&desired.queue.name, |c| c.is_ascii_alphanumeric());
    let (queue, dead) = (format!("{base}Queue"), format!("{base}DeadLetters"));
    let rules: Vec<(String, &RuleSpec)> =
        desired.rules.values().map(|rule| (format!("{base}Rule{}", rule_digest(rule)), rule)).collect();
    let arns = rules.iter().map(|(id, _)| arn(id)).collect();
    let of_dead = rules.iter().filter(|(_, rule)| rule.dead_letters.is_some()).map(|(id, _)| arn(id)).collect();
    let of_rules = rules.iter().map(|(id, rule)| (id.clone(), self::rule(desired, rule, &queue, &dead)));
    let mut all = vec![
        (dead.clone(), self::queue(desired, &desired.dead_letters, None)),
        (format!("{dead}Policy"), queue_policy(&dead, of_dead)),
        (queue.clone(), self::queue(desired, &desired.queue, Some(&dead))),
        (format!("{queue}Policy"), queue_policy(&queue, arns)),
    ];
    all.extend(of_rules);
    all
}

fn arn(id: &str) -> Value {
    json!({ "Fn::GetAtt": [id, "Arn"] })
}

fn tags(desired: &Desired) -> Value {
    json!([{ "Key": TAG, "Value": desired.queue.name }])
}

/// A queue's attributes are called the same in a template, but are numbers and booleans there.
fn queue(desired: &Desired, spec: &QueueSpec, dead_letters: Option<&str>) -> Value {
    let mut properties = Map::from_iter([("QueueName".to_owned(), json!(spec.name))]);
    for (name, value) in spec.attributes.iter().filter(|(name, value)| *name != "Policy" && !value.is_empty()) {
        let mut typed = match name.as_str() {
            "KmsMasterKeyId" => json!(value),
            _ => serde_json::from_str(value).unwrap_or_else(|_| json!(value)),
        };
        if let Some(dead) = dead_letters.filter(|_| name == "RedrivePolicy") {
            typed["deadLetterTargetArn"] = arn(dead);
        }
        properties.insert(name.clone(), typed);
    }
    properties.insert("Tags".to_owned(), tags(desired));
    json!({ "Type": "AWS::SQS::Queue", "Properties": properties })
}

fn queue_policy(queue: &str, rules: Vec<Value>) -> Value {
    let document = policy(&arn(queue), rules, &json!({ "Ref": "AWS::AccountId" }));
    let properties = json!({ "Queues": [{ "Ref": queue }], "PolicyDocument": document });
    json!({ "Type": "AWS::SQS::QueuePolicy", "Properties": properties })
}

fn rule(desired: &Desired, rule: &RuleSpec, queue: &str, dead_letters: &str) -> Value {
    let mut target = json!({ "Id": TARGET_ID, "Arn": arn(queue) });
    if let Some(group) = &rule.group {
        target["SqsParameters"] = json!({ "MessageGroupId": group });
    }
    if rule.dead_letters.is_some() {
        target["DeadLetterConfig"] = json!({ "Arn": arn(dead_letters) });
    }
    let mut properties = json!({
        "Name": rule.name,
        "Description": desired.rule_description(),
        "State": "ENABLED",
        "EventPattern": rule.pattern,
        "Targets": [target],
        "Tags": tags(desired),
    });
    if rule.bus != DEFAULT_BUS {
        properties["EventBusName"] = json!(rule.bus);
    }
    json!({ "Type": "AWS::Events::Rule", "Properties": properties })
}
