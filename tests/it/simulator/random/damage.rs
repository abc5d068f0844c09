//! One thing that is wrong in a template that was valid, and what the refusal must name.

use firedrill::domain::catalogue::{self, Action, Parameter};
use serde_json::{Value, json};

use super::Chance;

/// What was done.
pub struct Damage {
    pub kind: &'static str,
    pub status: u16,
    /// Part of the message.
    pub place: String,
}

/// Breaks a template if it can: the status and the place of the refusal.
type Break = fn(&mut Value, &mut Chance) -> Option<(u16, String)>;

/// Every kind of damage.
pub const KINDS: [(&str, Break); 34] = [
    ("an unknown action", |body, chance| {
        let name = action(body, chance);
        body["actions"][&name]["actionId"] = json!("aws:ec2:explode");
        Some((400, format!("actions.{name}.actionId")))
    }),
    ("a parameter left out", |body, chance| {
        let (name, parameter) = parameter(body, chance, |parameter| parameter.required)?;
        body["actions"][&name]["parameters"][&parameter.name] = Value::Null;
        body["actions"][&name]["parameters"].as_object_mut()?.remove(&parameter.name);
        Some((400, format!("actions.{name}.parameters.{}: is required", parameter.name)))
    }),
    ("an unknown parameter", |body, chance| {
        let name = action(body, chance);
        body["actions"][&name]["parameters"]["Duration"] = json!("PT1M");
        Some((400, format!("actions.{name}.parameters.Duration")))
    }),
    ("no duration", |body, chance| {
        let value = chance.pick(&["soon", "1m", "PT0S", "-PT1M", "PT12H1S", "P1Y", "pt1m", "PT1H "]);
        set(body, chance, value.into(), |parameter| parameter.duration)
    }),
    ("too short a duration", |body, chance| set(body, chance, "PT0.5S".into(), |parameter| parameter.min.is_some())),
    ("an unlisted value", |body, chance| set(body, chance, "Nope".into(), |parameter| parameter.values.is_some())),
    ("a number out of range", |body, chance| {
        let value = chance.pick(&["-1", "900001", "ten", "5%", "1e1", "NaN", "inf"]);
        set(body, chance, value.into(), |parameter| parameter.range.is_some())
    }),
    ("no JSON object", |body, chance| {
        let value = chance.pick(&["{", "[]", "text", "1", "{\"a\": }"]);
        set(body, chance, value.into(), |parameter| parameter.json)
    }),
    ("too long a value", |body, chance| set(body, chance, "x".repeat(1025).into(), |_| true)),
    ("a value that is no string", |body, chance| {
        let value = match chance.between(0, 3) {
            0 => json!(5),
            1 => json!(null),
            2 => json!(["PT1M"]),
            _ => json!({}),
        };
        set(body, chance, value, |_| true)
    }),
    ("an unexpected target", |body, chance| {
        let name = action(body, chance);
        body["actions"][&name]["targets"]["Things"] = json!("t");
        Some((400, format!("Unexpected target \"Things\" found in action \"{name}\".")))
    }),
    ("an unknown target", |body, chance| {
        let (name, key, _) = used(body, chance)?;
        body["actions"][&name]["targets"][&key] = json!("nowhere");
        Some((400, format!("actions.{name}.targets.{key}: there is no target nowhere")))
    }),
    ("no target", |body, chance| {
        let (name, key, _) = used(body, chance)?;
        body["actions"][&name]["targets"] = json!({});
        Some((400, format!("actions.{name}.targets.{key}: is required")))
    }),
    ("a target of another type", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        let same = body["targets"][&target]["resourceType"] == "aws:ec2:subnet";
        let kind = if same { "aws:eks:cluster" } else { "aws:ec2:subnet" };
        body["targets"][&target]["resourceType"] = json!(kind);
        Some((400, format!("target {target} is {kind}")))
    }),
    ("an unused target", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"]["idle"] = body["targets"][&target].clone();
        Some((400, "targets.idle".to_owned()))
    }),
    ("a selection mode that is none", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        let modes = ["RANDOM(1)", "COUNT(0)", "COUNT()", "PERCENT(101)", "PERCENT(0)", "all", "COUNT(1) ", "COUNT(-1)"];
        body["targets"][&target]["selectionMode"] = json!(chance.pick(&modes));
        Some((400, format!("targets.{target}.selectionMode")))
    }),
    ("ARNs and tags", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"][&target]["resourceTags"] = json!({"a": "b"});
        body["targets"][&target]["resourceArns"] = json!(["arn:aws:x:us-east-1:123456789012:thing/1"]);
        Some((400, format!("for target {target}.")))
    }),
    ("ARNs and filters", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"][&target]["resourceTags"] = Value::Null;
        body["targets"][&target]["filters"] = json!([{"path": "a", "values": ["b"]}]);
        body["targets"][&target]["resourceArns"] = json!(["arn:aws:x:us-east-1:123456789012:thing/1"]);
        Some((400, format!("targets.{target}.filters")))
    }),
    ("no selector", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        for member in ["resourceTags", "resourceArns", "filters", "parameters"] {
            body["targets"][&target][member] = Value::Null;
        }
        Some((400, format!("targets.{target}: needs")))
    }),
    ("too many ARNs", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"][&target]["resourceArns"] = json!(vec!["arn:aws:x:us-east-1:123456789012:thing/1"; 6]);
        Some((400, format!("targets.{target}.resourceArns: must have at most 5")))
    }),
    ("a filter without values", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"][&target]["resourceArns"] = Value::Null;
        body["targets"][&target]["filters"] = json!([{"path": "a", "values": ["b"]}, {"path": "c", "values": []}]);
        Some((400, format!("targets.{target}.filters[1].values")))
    }),
    ("an unknown target parameter", |body, chance| {
        let (_, _, target) = used(body, chance)?;
        body["targets"][&target]["parameters"]["moon"] = json!("full");
        Some((400, format!("targets.{target}.parameters.moon")))
    }),
    ("an unknown predecessor", |body, chance| {
        let name = action(body, chance);
        body["actions"][&name]["startAfter"] = json!(["nothing"]);
        Some((400, format!("actions.{name}.startAfter: there is no action nothing")))
    }),
    ("an action after itself", |body, chance| {
        let name = action(body, chance);
        after(body, &name, &name);
        Some((400, format!("actions.{name}.startAfter")))
    }),
    ("a cycle", |body, chance| {
        let (first, second) = (action(body, chance), action(body, chance));
        after(body, &first, &second);
        after(body, &second, &first);
        Some((400, ".startAfter: the action would start after itself".to_owned()))
    }),
    ("21 actions", |body, _| {
        waits(body, |count| 21 - count);
        Some((402, "20 actions".to_owned()))
    }),
    ("11 parallel actions", |body, _| {
        if body["actions"].as_object()?.len() > 9 {
            return None;
        }
        waits(body, |_| 11);
        Some((402, "10 could run in parallel".to_owned()))
    }),
    ("too many stop conditions", |body, _| {
        body["stopConditions"] = json!(vec![json!({"source": "none"}); 6]);
        Some((402, "stopConditions".to_owned()))
    }),
    ("a stop condition that is none", |body, chance| {
        let (condition, member) = match chance.between(0, 3) {
            0 => (json!({"source": "moon"}), "source"),
            1 => (json!({"source": "aws:cloudwatch:alarm"}), "value"),
            2 => (json!({"source": "aws:cloudwatch:alarm", "value": "arn:aws:sns:us-east-1:1:topic"}), "value"),
            _ => (json!({"value": "arn:aws:cloudwatch:us-east-1:1:alarm:a"}), "source"),
        };
        body["stopConditions"][0] = condition;
        Some((400, format!("stopConditions[0].{member}")))
    }),
    ("a member left out", |body, chance| {
        let member = chance.pick(&["clientToken", "description", "stopConditions", "actions", "roleArn"]);
        body[member] = Value::Null;
        Some((400, format!("{member}: is required")))
    }),
    ("a role that is none", |body, chance| {
        body["roleArn"] =
            json!(chance.pick(&["drill", "arn:aws:iam::123456789012:user/drill", "arn:aws:iam::1:role/"]));
        Some((400, "roleArn".to_owned()))
    }),
    ("a log that is none", |body, chance| {
        let destination = json!({"bucketName": "bucket"});
        let (log, place) = match chance.between(0, 2) {
            0 => (json!({"logSchemaVersion": 3, "s3Configuration": destination}), "logConfiguration.logSchemaVersion"),
            1 => (json!({"s3Configuration": destination}), "logConfiguration.logSchemaVersion: is required"),
            _ => (json!({"logSchemaVersion": 2}), "logConfiguration: needs"),
        };
        body["logConfiguration"] = log;
        Some((400, place.to_owned()))
    }),
    ("a report that is none", |body, chance| {
        let (member, value, place) = match chance.between(0, 3) {
            0 => ("preExperimentDuration", json!("PT31M"), "preExperimentDuration"),
            1 => ("postExperimentDuration", json!("PT121M"), "postExperimentDuration"),
            2 => ("dataSources", json!({"cloudWatchDashboards": [{}, {}]}), "dataSources.cloudWatchDashboards"),
            _ => ("outputs", json!({"s3Configuration": {}}), "outputs.s3Configuration.bucketName"),
        };
        body["experimentReportConfiguration"]["outputs"] = json!({"s3Configuration": {"bucketName": "reports"}});
        body["experimentReportConfiguration"][member] = value;
        Some((400, format!("experimentReportConfiguration.{place}")))
    }),
    ("a tag or a name that is none", |body, chance| {
        let name = "n".repeat(65);
        match chance.between(0, 2) {
            0 => body["tags"]["aws:x"] = json!("y"),
            1 => body["tags"]["aws:x"] = json!("y".repeat(257)),
            _ => {
                body["actions"][&name] = json!({"actionId": "aws:ec2:explode"});
                return Some((400, format!("actions.{}: must have at most 64", &name[1..])));
            }
        }
        Some((400, "tags.aws:x".to_owned()))
    }),
];

/// Breaks a template in one way.
pub fn applied(body: &mut Value, chance: &mut Chance) -> Damage {
    loop {
        let (kind, damage) = chance.pick(&KINDS);
        if let Some((status, place)) = damage(body, chance) {
            return Damage { kind, status, place };
        }
    }
}

fn names(body: &Value) -> Vec<String> {
    body["actions"].as_object().expect("actions").keys().cloned().collect()
}

fn pick<T>(mut of: Vec<T>, chance: &mut Chance) -> Option<T> {
    let last = u64::try_from(of.len()).expect("a length").checked_sub(1)?;
    Some(of.swap_remove(usize::try_from(chance.between(0, last)).expect("an index")))
}

fn action(body: &Value, chance: &mut Chance) -> String {
    pick(names(body), chance).expect("a template has actions")
}

fn known(body: &Value, name: &str) -> &'static Action {
    catalogue::action(body["actions"][name]["actionId"].as_str().expect("an id")).expect("a known action")
}

/// A parameter that some action may have, and the action's name.
fn parameter(body: &Value, chance: &mut Chance, fits: fn(&Parameter) -> bool) -> Option<(String, &'static Parameter)> {
    let of = |name: String| {
        let parameters = known(body, &name).parameters.iter().filter(|parameter| fits(parameter));
        parameters.map(|parameter| (name.clone(), parameter)).collect::<Vec<_>>()
    };
    pick(names(body).into_iter().flat_map(of).collect(), chance)
}

/// Gives a parameter a value that does not fit.
fn set(body: &mut Value, chance: &mut Chance, value: Value, fits: fn(&Parameter) -> bool) -> Option<(u16, String)> {
    let (name, parameter) = parameter(body, chance, fits)?;
    body["actions"][&name]["parameters"][&parameter.name] = value;
    Some((400, format!("actions.{name}.parameters.{}", parameter.name)))
}

/// An action that has a target: its name, the target's key, the target's name.
fn used(body: &Value, chance: &mut Chance) -> Option<(String, String, String)> {
    let of = |name: &String| {
        let (key, target) = body["actions"][name]["targets"].as_object()?.iter().next()?;
        Some((name.clone(), key.clone(), target.as_str()?.to_owned()))
    };
    pick(names(body).iter().filter_map(of).collect(), chance)
}

fn after(body: &mut Value, name: &str, other: &str) {
    match body["actions"][name]["startAfter"].as_array_mut() {
        Some(after) => after.push(json!(other)),
        None => body["actions"][name]["startAfter"] = json!([other]),
    }
}

/// Adds actions that start at once.
fn waits(body: &mut Value, more: fn(usize) -> usize) {
    for n in 0..more(names(body).len()) {
        body["actions"][format!("more{n}")] = json!({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}});
    }
}
