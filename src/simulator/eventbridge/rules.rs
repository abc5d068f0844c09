//! Rules and their targets: what is asked about them, and the checks of what is set.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Buses, bus_name, no_bus, page, parsed_pattern};
use crate::{
    domain::pattern::Pattern,
    simulator::{
        Scene,
        wire::{self, Answer, ApiError},
    },
};

const MAX_RULES: usize = 300;
const MAX_TARGETS: usize = 5;
const MAX_PATTERN: usize = 4_096;
const MAX_DESCRIPTION: usize = 512;
const MAX_NAME: usize = 64;
const MAX_ARN: usize = 1_600;
const MAX_TAGS: usize = 50;

/// State of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum RuleState {
    Enabled,
    Disabled,
    /// It also gets the events of read-only API calls, of which the simulator has none.
    EnabledWithAllCloudtrailManagementEvents,
}

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    name: String,
    pattern: Pattern,
    pattern_text: String,
    description: Option<String>,
    state: RuleState,
    /// By id.
    targets: BTreeMap<String, Target>,
    tags: BTreeMap<String, String>,
}

/// A queue that gets what a rule matches.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) arn: String,
    pub(super) group: Option<String>,
    /// ARN of the queue that gets what cannot be delivered.
    pub(super) dead_letters: Option<String>,
    /// As given, and as given back.
    shown: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRule {
    name: String,
    event_pattern: Option<String>,
    schedule_expression: Option<String>,
    state: Option<RuleState>,
    description: Option<String>,
    #[serde(default)]
    tags: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutTargets {
    targets: Vec<Map<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RemoveTargets {
    ids: Vec<String>,
}

impl Buses {
    pub(super) fn put_rule(&mut self, body: &Value, scene: &Scene) -> Answer {
        let request: PutRule = wire::parsed(body)?;
        let bus = bus_name(body, "EventBusName")?;
        if request.schedule_expression.is_some() {
            return Err(ApiError::validation("the simulator has rules with an EventPattern only"));
        }
        check_name(&request.name, "name", MAX_NAME)?;
        if request.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION) {
            return Err(ApiError::validation(format!("Description must have at most {MAX_DESCRIPTION} characters")));
        }
        let state = request.state.unwrap_or(RuleState::Enabled);
        let text = request.event_pattern.ok_or_else(|| {
            ApiError::validation("Parameter(s) EventPattern or ScheduleExpression must be specified.")
        })?;
        if text.len() > MAX_PATTERN {
            return Err(ApiError::validation(format!("EventPattern must have at most {MAX_PATTERN} characters")));
        }
        let pattern = parsed_pattern(&text)?;
        let rules = self.buses.get_mut(&bus).ok_or_else(|| no_bus(&bus))?;
        if rules.len() >= MAX_RULES && !rules.contains_key(&request.name) {
            return Err(ApiError::bad("LimitExceededException", "too many rules"));
        }
        // Tags of a rule that exists stay as they are (EventBridge API reference, PutRule).
        let (targets, tags) = match rules.remove(&request.name) {
            Some(rule) => (rule.targets, rule.tags),
            None => (BTreeMap::new(), checked_tags(request.tags)?),
        };
        let arn = scene.rule_arn(&bus, &request.name);
        let name = request.name.clone();
        let rule = Rule { name, pattern, pattern_text: text, description: request.description, state, targets, tags };
        rules.insert(request.name, rule);
        Ok(json!({"RuleArn": arn}))
    }

    /// The rule of a request, by `Name` or `Rule`, and its bus.
    fn rule(&mut self, body: &Value) -> Result<(String, &mut Rule), ApiError> {
        let bus = bus_name(body, "EventBusName")?;
        let rules = self.buses.get_mut(&bus).ok_or_else(|| no_bus(&bus))?;
        let name = body.get("Name").or_else(|| body.get("Rule")).and_then(Value::as_str).unwrap_or("");
        let missing =
            || ApiError::bad("ResourceNotFoundException", format!("Rule {name} does not exist on EventBus {bus}."));
        match rules.get_mut(name) {
            Some(rule) => Ok((bus, rule)),
            None => Err(missing()),
        }
    }

    /// The tags of the rule of an ARN; buses have none here.
    fn tags(&mut self, body: &Value, scene: &Scene) -> Result<&mut BTreeMap<String, String>, ApiError> {
        let arn = body.get("ResourceARN").and_then(Value::as_str).unwrap_or_default();
        let rules = self.buses.iter_mut().flat_map(|(bus, rules)| rules.values_mut().map(move |rule| (bus, rule)));
        let found = rules.into_iter().find(|(bus, rule)| scene.rule_arn(bus, &rule.name) == arn);
        let missing = || ApiError::bad("ResourceNotFoundException", format!("Rule {arn} does not exist."));
        found.map(|(_, rule)| &mut rule.tags).ok_or_else(missing)
    }

    pub(super) fn list_tags(&mut self, body: &Value, scene: &Scene) -> Answer {
        let tags = self.tags(body, scene)?;
        let shown: Vec<Value> = tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        Ok(json!({"Tags": shown}))
    }

    pub(super) fn tag(&mut self, body: &Value, scene: &Scene) -> Answer {
        let given = checked_tags(wire::parsed(&body["Tags"])?)?;
        let tags = self.tags(body, scene)?;
        if tags.keys().chain(given.keys()).collect::<BTreeSet<_>>().len() > MAX_TAGS {
            return Err(too_many_tags());
        }
        tags.extend(given);
        Ok(json!({}))
    }

    pub(super) fn untag(&mut self, body: &Value, scene: &Scene) -> Answer {
        let keys: Vec<String> = wire::parsed(&body["TagKeys"])?;
        self.tags(body, scene)?.retain(|key, _| !keys.contains(key));
        Ok(json!({}))
    }

    pub(super) fn describe_rule(&mut self, body: &Value, scene: &Scene) -> Answer {
        self.rule(body).map(|(bus, rule)| rule.rendered(&bus, scene))
    }

    pub(super) fn delete_rule(&mut self, body: &Value) -> Answer {
        let bus = bus_name(body, "EventBusName")?;
        let rules = self.buses.get_mut(&bus).ok_or_else(|| no_bus(&bus))?;
        let name = body.get("Name").and_then(Value::as_str).unwrap_or("");
        if rules.get(name).is_some_and(|rule| !rule.targets.is_empty()) {
            return Err(ApiError::validation("Rule can't be deleted since it has targets."));
        }
        // Deleting what does not exist succeeds (EventBridge API reference, DeleteRule).
        rules.remove(name);
        Ok(json!({}))
    }

    pub(super) fn switch_rule(&mut self, body: &Value, state: RuleState) -> Answer {
        self.rule(body)?.1.state = state;
        Ok(json!({}))
    }

    pub(super) fn list_rules(&self, body: &Value, scene: &Scene) -> Answer {
        let bus = bus_name(body, "EventBusName")?;
        let prefix = body.get("NamePrefix").and_then(Value::as_str).unwrap_or("");
        let rules = self.buses.get(&bus).ok_or_else(|| no_bus(&bus))?.values();
        let rules = rules.filter(|rule| rule.name.starts_with(prefix));
        page(body, "Rules", rules.map(|rule| (rule.name.clone(), rule.rendered(&bus, scene))).collect())
    }

    pub(super) fn list_rules_of_target(&self, body: &Value) -> Answer {
        let bus = bus_name(body, "EventBusName")?;
        let arn = body.get("TargetArn").and_then(Value::as_str).unwrap_or_default();
        let rules = self.buses.get(&bus).ok_or_else(|| no_bus(&bus))?.values();
        let rules = rules.filter(|rule| rule.targets.values().any(|target| target.arn == arn));
        page(body, "RuleNames", rules.map(|rule| (rule.name.clone(), json!(rule.name))).collect())
    }

    pub(super) fn list_targets(&mut self, body: &Value) -> Answer {
        let (_, rule) = self.rule(body)?;
        let targets = rule.targets.iter().map(|(id, target)| (id.clone(), target.shown.clone())).collect();
        page(body, "Targets", targets)
    }

    /// Sets targets, all or none.
    pub(super) fn put_targets(&mut self, body: &Value) -> Answer {
        let request: PutTargets = wire::parsed(body)?;
        let (_, rule) = self.rule(body)?;
        let mut targets = rule.targets.clone();
        for given in request.targets {
            let (id, target) = Target::parse(given)?;
            targets.insert(id, target);
        }
        if targets.len() > MAX_TARGETS {
            return Err(ApiError::bad(
                "LimitExceededException",
                "The requested resource exceeds the maximum number allowed.",
            ));
        }
        rule.targets = targets;
        Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
    }

    pub(super) fn remove_targets(&mut self, body: &Value) -> Answer {
        let request: RemoveTargets = wire::parsed(body)?;
        let (_, rule) = self.rule(body)?;
        rule.targets.retain(|id, _| !request.ids.contains(id));
        Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
    }
}

impl Rule {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The targets of an event; none when it does not match or the rule is disabled.
    pub(super) fn targets_of(&self, event: &Value) -> impl Iterator<Item = &Target> {
        let matches = self.state != RuleState::Disabled && self.pattern.matches(event);
        self.targets.values().filter(move |_| matches)
    }

    /// The targets as given.
    pub(super) fn shown_targets(&self) -> impl Iterator<Item = &Value> {
        self.targets.values().map(|target| &target.shown)
    }

    /// The rule as DescribeRule returns it.
    pub(super) fn rendered(&self, bus: &str, scene: &Scene) -> Value {
        let mut body = json!({
            "Name": self.name,
            "Arn": scene.rule_arn(bus, &self.name),
            "EventPattern": self.pattern_text,
            "State": self.state,
            "EventBusName": bus,
        });
        if let Some(description) = &self.description {
            body["Description"] = json!(description);
        }
        body
    }
}

impl Target {
    fn parse(given: Map<String, Value>) -> Result<(String, Self), ApiError> {
        let text = |member: &str| given.get(member).and_then(Value::as_str);
        let (Some(id), Some(arn)) = (text("Id"), text("Arn")) else {
            return Err(ApiError::validation("a target needs Id and Arn"));
        };
        check_name(id, "target id", MAX_NAME)?;
        if arn.split(':').nth(2) != Some("sqs") || arn.len() > MAX_ARN {
            return Err(ApiError::validation(format!("target {arn} is not an SQS queue of the simulator")));
        }
        let supported =
            |key: &str| matches!(key, "Id" | "Arn" | "RoleArn" | "SqsParameters" | "RetryPolicy" | "DeadLetterConfig");
        if let Some(other) = given.iter().find(|(key, value)| !supported(key) && !value.is_null()) {
            let text = format!("the simulator does not support {} of target {id}: it delivers whole events", other.0);
            return Err(ApiError::validation(text));
        }
        let group = given.get("SqsParameters").and_then(|parameters| parameters["MessageGroupId"].as_str());
        if arn.ends_with(".fifo") && group.is_none() {
            let text = format!("Parameter(s) SqsParameters must be specified for target: {id}.");
            return Err(ApiError::validation(text));
        }
        let dead_letters = given.get("DeadLetterConfig").and_then(|config| config["Arn"].as_str()).map(str::to_owned);
        if dead_letters.as_ref().is_some_and(|arn| arn.ends_with(".fifo")) {
            let text = format!("the dead-letter queue of target {id} must be a standard queue");
            return Err(ApiError::validation(text));
        }
        let target = Self { arn: arn.to_owned(), group: group.map(str::to_owned), dead_letters, shown: json!(given) };
        Ok((id.to_owned(), target))
    }
}

fn checked_tags(tags: Vec<Tag>) -> Result<BTreeMap<String, String>, ApiError> {
    let fits = |tag: &Tag| (1..=128).contains(&tag.key.chars().count()) && tag.value.chars().count() <= 256;
    if let Some(tag) = tags.iter().find(|tag| !fits(tag) || tag.key.starts_with("aws:")) {
        return Err(ApiError::validation(format!("tag {} is not valid", tag.key)));
    }
    let tags: BTreeMap<_, _> = tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
    if tags.len() > MAX_TAGS { Err(too_many_tags()) } else { Ok(tags) }
}

fn too_many_tags() -> ApiError {
    ApiError::validation(format!("a rule has at most {MAX_TAGS} tags"))
}

pub(super) fn check_name(name: &str, what: &str, most: usize) -> Result<(), ApiError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.len() > most || !name.chars().all(allowed) {
        return Err(ApiError::validation(format!("{what} must have 1 to {most} letters, digits, `.`, `-` or `_`")));
    }
    Ok(())
}
