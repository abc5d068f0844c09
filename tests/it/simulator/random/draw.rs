//! Valid templates, drawn from the catalogue.

use firedrill::domain::catalogue::{self, Action, Parameter, Selector};
use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use super::Chance;

const NAMES: [&str; 5] = ["a", "Reboot-", "x_y.", "é ", "0/"];
const TEXTS: [&str; 5] = ["v", "two words", "ä,b", "100%", "{\"a\": 1}"];
const SELECTORS: [Selector; 4] = [Selector::Arns, Selector::Tags, Selector::Filters, Selector::Parameters];

fn one<'a, T>(of: &'a [T], chance: &mut Chance) -> &'a T {
    let last = u64::try_from(of.len()).expect("a length") - 1;
    &of[usize::try_from(chance.between(0, last)).expect("an index")]
}

fn text(chance: &mut Chance) -> String {
    if chance.one_in(20) { "x y".repeat(341) } else { chance.pick(&TEXTS).to_owned() }
}

/// Draws a whole template but its token.
pub fn template(chance: &mut Chance) -> Value {
    let (mut actions, mut targets) = (Map::new(), Map::new());
    let count = if chance.one_in(5) { chance.between(1, 20) } else { chance.between(1, 5) };
    let names: Vec<String> = (0..count).map(|n| format!("{}{n}", chance.pick(&NAMES))).collect();
    for (index, name) in names.iter().enumerate() {
        let known = one(&catalogue::all().actions, chance);
        let mut spec = json!({"actionId": known.id, "parameters": parameters(&known.parameters, chance)});
        if chance.one_in(3) {
            spec["description"] = json!(text(chance).chars().take(512).collect::<String>());
        }
        for (key, kind) in &known.targets {
            spec["targets"][key] = json!(target_for(known, kind, &actions, &mut targets, chance));
        }
        // Each tenth is one chain, so that no more than ten run at once.
        let mut after: Vec<&String> = index.checked_sub(10).map(|before| &names[before]).into_iter().collect();
        after.extend(names[..index].iter().filter(|_| chance.one_in(4)));
        if !after.is_empty() || chance.one_in(4) {
            spec["startAfter"] = json!(after);
        }
        actions.insert(name.clone(), spec);
    }
    let mut body = json!({
        "description": text(chance).chars().take(512).collect::<String>(),
        "roleArn": "arn:aws:iam::123456789012:role/path/drill",
        "stopConditions": stop_conditions(chance),
        "actions": actions,
    });
    if !targets.is_empty() || chance.one_in(2) {
        body["targets"] = Value::Object(targets);
    }
    decorate(&mut body, chance);
    body
}

fn decorate(body: &mut Value, chance: &mut Chance) {
    if chance.one_in(3) {
        body["tags"] = json!({"Name": "a drill", "k:1": ""});
    }
    if chance.one_in(3) {
        let modes = json!({"accountTargeting": "multi-account", "emptyTargetResolutionMode": "skip"});
        body["experimentOptions"] = modes;
    }
    if chance.one_in(3) {
        body["logConfiguration"] = json!({"logSchemaVersion": chance.between(1, 2), "cloudWatchLogsConfiguration":
            {"logGroupArn": "arn:aws:logs:us-east-1:123456789012:log-group:drills:*"}});
    }
    if chance.one_in(3) {
        body["experimentReportConfiguration"] = json!({
            "outputs": {"s3Configuration": {"bucketName": "reports", "prefix": "p"}},
            "preExperimentDuration": format!("PT{}M", chance.between(0, 30)),
            "postExperimentDuration": format!("PT{}M", chance.between(0, 120)),
        });
    }
}

fn stop_conditions(chance: &mut Chance) -> Value {
    let alarm = |n: u64| json!({"source": "aws:cloudwatch:alarm", "value": format!("arn:aws:cloudwatch:us-east-1:1:alarm:a{n}")});
    match chance.between(0, 5) {
        0 => json!([{"source": "none"}]),
        count => (0..count).map(alarm).collect(),
    }
}

/// Draws values of the parameters of an action or a target.
pub fn parameters(all: &[Parameter], chance: &mut Chance) -> Map<String, Value> {
    let mut drawn = Map::new();
    for parameter in all {
        let bound =
            parameter.required_with.as_ref().is_some_and(|[other, value]| drawn.get(other) == Some(&json!(value)));
        if parameter.required || bound || chance.one_in(2) {
            drawn.insert(parameter.name.clone(), json!(value(parameter, chance)));
        }
    }
    drawn
}

fn value(parameter: &Parameter, chance: &mut Chance) -> String {
    if parameter.duration {
        return duration(parameter, chance);
    }
    if let Some(values) = &parameter.values {
        let first = one(values, chance).clone();
        return if parameter.list { format!("{first},{}", one(values, chance)) } else { first };
    }
    match parameter.range {
        Some([least, most]) if least.fract() != 0.0 && chance.one_in(2) => format!("{}", least.midpoint(most)),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "limits are small and not negative"
        )]
        Some([least, most]) => chance.between(least.ceil() as u64, most as u64).to_string(),
        None if parameter.json => json!({"duration": "60s", "list": [1, {"two": "words in it"}]}).to_string(),
        None if parameter.max_items.is_some() => {
            vec!["arn:x"; usize::try_from(chance.between(1, 5)).expect("few")].join(",")
        }
        None => text(chance),
    }
}

fn duration(parameter: &Parameter, chance: &mut Chance) -> String {
    let seconds = |limit: &Option<String>, default: u64| {
        let limit = limit.as_ref().map(|text| text.parse::<SignedDuration>().expect("a duration").as_secs());
        limit.map_or(default, |seconds| u64::try_from(seconds).expect("a length"))
    };
    let (least, most) = (seconds(&parameter.min, 1), seconds(&parameter.max, 12 * 3_600));
    let drawn = chance.between(least, most);
    match drawn {
        _ if chance.one_in(4) => format!("PT{least}S"),
        _ if chance.one_in(4) => format!("PT{most}S"),
        _ => format!("PT{}H{}M{}S", drawn / 3_600, drawn / 60 % 60, drawn % 60),
    }
}

/// The name of a target for an action: one of an action of the same id, or a new one.
fn target_for(
    known: &Action,
    kind: &str,
    actions: &Map<String, Value>,
    targets: &mut Map<String, Value>,
    chance: &mut Chance,
) -> String {
    let same = actions.values().find(|other| other["actionId"] == json!(known.id));
    let shared = same.and_then(|other| other["targets"].as_object()?.values().next()?.as_str());
    if let Some(name) = shared.filter(|_| chance.one_in(2)) {
        return name.to_owned();
    }
    let name = format!("{}{}", chance.pick(&NAMES), targets.len());
    targets.insert(name.clone(), target(known, kind, chance));
    name
}

fn target(known: &Action, kind: &str, chance: &mut Chance) -> Value {
    let allowed = known.selectors.as_deref().unwrap_or(&SELECTORS);
    let mode = ["ALL", "COUNT(1)", "COUNT(4000000000)", "PERCENT(1)", "PERCENT(100)"];
    let mut target = json!({"resourceType": kind, "selectionMode": chance.pick(&mode)});
    let may_have = catalogue::resource_type(kind).map_or(&[][..], |kind| &kind.parameters);
    let drawn = if allowed.contains(&Selector::Parameters) { parameters(may_have, chance) } else { Map::new() };
    let by_arn = allowed.contains(&Selector::Arns) && (allowed.len() == 1 || chance.one_in(3));
    if by_arn {
        let count = if known.one_arn { 1 } else { chance.between(1, 5) };
        target["resourceArns"] =
            (0..count).map(|n| json!(format!("arn:aws:x:us-east-1:123456789012:thing/{n}"))).collect();
    } else {
        if allowed.contains(&Selector::Tags) && (drawn.is_empty() || chance.one_in(2)) {
            target["resourceTags"] = json!({"env": "test", "<any>": ""});
        }
        if allowed.contains(&Selector::Filters) && chance.one_in(2) {
            target["filters"] = json!([{"path": "State.Name", "values": ["running", "two words"]}]);
        }
    }
    if !drawn.is_empty() {
        target["parameters"] = Value::Object(drawn);
    }
    target
}
