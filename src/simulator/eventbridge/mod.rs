//! EventBridge's operations (AWS JSON 1.1): buses, rules with patterns, and delivery to the simulator's own queues.
//!
//! Rules match with [`crate::domain::pattern`], so a pattern that the agent refuses is refused here too. Schedules,
//! input transformers and targets other than SQS do not exist.

mod dump;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    Scene,
    fis::Emission,
    ids::Ids,
    sqs::{Queues, queue::Content},
    wire::{self, Answer, ApiError},
};
use crate::domain::pattern::Pattern;

const DEFAULT_BUS: &str = "default";
const MAX_ENTRIES: usize = 10;
const MAX_RULES: usize = 300;
const MAX_TARGETS: usize = 5;
const MAX_DETAIL_TYPE: usize = 128;

/// All buses by name; `default` always exists.
#[derive(Debug)]
pub(super) struct Buses {
    buses: BTreeMap<String, BTreeMap<String, Rule>>,
    /// Events that found no queue.
    undelivered: u64,
}

#[derive(Debug)]
struct Rule {
    name: String,
    pattern: Pattern,
    pattern_text: String,
    description: Option<String>,
    enabled: bool,
    /// Queue ARNs by target id.
    targets: BTreeMap<String, String>,
}

/// An event on its way.
struct Event {
    envelope: Value,
    trace_header: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    time: Option<f64>,
    trace_header: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutRule {
    name: String,
    event_pattern: Option<String>,
    schedule_expression: Option<String>,
    state: Option<String>,
    description: Option<String>,
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

impl Default for Buses {
    fn default() -> Self {
        Self { buses: BTreeMap::from([(DEFAULT_BUS.to_owned(), BTreeMap::new())]), undelivered: 0 }
    }
}

/// What delivery needs beside the buses.
#[derive(Debug)]
pub(super) struct Delivery<'a> {
    pub(super) queues: &'a mut Queues,
    pub(super) ids: &'a mut Ids,
    pub(super) scene: &'a Scene,
    pub(super) now: Timestamp,
}

impl Buses {
    /// Performs an operation; `None` for one that is not known.
    pub(super) fn perform(&mut self, operation: &str, body: &Value, delivery: &mut Delivery<'_>) -> Option<Answer> {
        let scene = delivery.scene;
        Some(match operation {
            "PutEvents" => self.put_events(body, delivery),
            "PutRule" => self.put_rule(body, scene),
            "DescribeRule" => self.rule(body).map(|(bus, rule)| rule.rendered(&bus, scene)),
            "DeleteRule" => self.delete_rule(body),
            "EnableRule" => self.switch_rule(body, true),
            "DisableRule" => self.switch_rule(body, false),
            "ListRules" => self.list_rules(body, scene),
            "PutTargets" => self.put_targets(body),
            "RemoveTargets" => self.remove_targets(body),
            "ListTargetsByRule" => self.rule(body).map(|(_, rule)| {
                let targets = rule.targets.iter().map(|(id, arn)| json!({"Id": id, "Arn": arn}));
                json!({"Targets": targets.collect::<Vec<_>>()})
            }),
            "TestEventPattern" => test_pattern(body),
            "CreateEventBus" => self.create_bus(body, scene),
            "DeleteEventBus" => self.delete_bus(body),
            "DescribeEventBus" => bus_name(body, "Name").and_then(|name| match self.buses.contains_key(&name) {
                true => Ok(json!({"Name": name, "Arn": scene.bus_arn(&name)})),
                false => Err(no_bus(&name)),
            }),
            "ListEventBuses" => {
                let buses = self.buses.keys().map(|name| json!({"Name": name, "Arn": scene.bus_arn(name)}));
                Ok(json!({"EventBuses": buses.collect::<Vec<_>>()}))
            }
            _other => return None,
        })
    }

    /// Puts an event about an experiment on the default bus, so many times with the same id.
    pub(super) fn put_emission(&mut self, emission: Emission, copies: usize, delivery: &mut Delivery<'_>) {
        let parts = Envelope {
            source: "aws.fis",
            detail_type: "FIS Experiment State Change",
            at: emission.at,
            resources: &[emission.resource],
            detail: emission.detail,
        };
        let event = Event { envelope: parts.sealed(delivery), trace_header: None };
        for _copy in 0..copies {
            self.put(DEFAULT_BUS, &event, delivery);
        }
    }

    fn put(&mut self, bus: &str, event: &Event, delivery: &mut Delivery<'_>) {
        let rules = self.buses.get(bus).into_iter().flat_map(BTreeMap::values);
        for rule in rules.filter(|rule| rule.enabled && rule.pattern.matches(&event.envelope)) {
            for arn in rule.targets.values() {
                let body = event.envelope.to_string();
                let content = Content { body, trace_header: event.trace_header.clone(), ..Content::default() };
                if !delivery.queues.deliver(arn, content, delivery.ids, delivery.now) {
                    self.undelivered = self.undelivered.saturating_add(1);
                }
            }
        }
    }

    fn put_events(&mut self, body: &Value, delivery: &mut Delivery<'_>) -> Answer {
        let entries = wire::parsed::<PutEvents>(body)?.entries;
        if entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Err(ApiError::validation(format!("Entries must have 1 to {MAX_ENTRIES} members")));
        }
        let mut failed = 0;
        let mut answers = Vec::new();
        for entry in entries {
            answers.push(match self.put_entry(entry, delivery) {
                Ok(id) => json!({"EventId": id}),
                Err(refusal) => {
                    failed += 1;
                    json!({"ErrorCode": refusal.code, "ErrorMessage": refusal.message})
                }
            });
        }
        Ok(json!({"FailedEntryCount": failed, "Entries": answers}))
    }

    fn put_entry(&mut self, entry: Entry, delivery: &mut Delivery<'_>) -> Result<String, ApiError> {
        let given = |value: Option<String>, name: &str| {
            let missing = || {
                ApiError::bad(
                    "InvalidArgument",
                    format!("Parameter {name} is not valid. Reason: {name} is a required argument."),
                )
            };
            value.filter(|text| !text.is_empty()).ok_or_else(missing)
        };
        let source = given(entry.source, "Source")?;
        let detail_type = given(entry.detail_type, "DetailType")?;
        let detail = given(entry.detail, "Detail")?;
        if source.starts_with("aws.") {
            let text = "Not authorized for the source.";
            return Err(ApiError::bad("NotAuthorizedForSourceException", text));
        }
        if detail_type.chars().count() > MAX_DETAIL_TYPE {
            return Err(ApiError::bad("InvalidArgument", "Parameter DetailType is not valid. Reason: it is too long."));
        }
        let detail: Value = serde_json::from_str(&detail)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| ApiError::bad("MalformedDetail", "Detail is malformed."))?;
        let bus = short_bus_name(entry.event_bus_name.as_deref().unwrap_or(DEFAULT_BUS));
        if !self.buses.contains_key(&bus) {
            return Err(no_bus(&bus));
        }
        let time = entry.time.and_then(|seconds| jiff::SignedDuration::try_from_secs_f64(seconds).ok());
        let at = time.and_then(|since| Timestamp::from_duration(since).ok()).unwrap_or(delivery.now);
        let parts = Envelope { source: &source, detail_type: &detail_type, at, resources: &entry.resources, detail };
        let event = Event { envelope: parts.sealed(delivery), trace_header: entry.trace_header };
        self.put(&bus, &event, delivery);
        Ok(event.envelope["id"].as_str().unwrap_or_default().to_owned())
    }

    fn put_rule(&mut self, body: &Value, scene: &Scene) -> Answer {
        let request: PutRule = wire::parsed(body)?;
        let bus = bus_name(body, "EventBusName")?;
        if request.schedule_expression.is_some() {
            return Err(ApiError::validation("the simulator has rules with an EventPattern only"));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if request.name.is_empty() || request.name.len() > 64 || !request.name.chars().all(allowed) {
            return Err(ApiError::validation("Name must have 1 to 64 letters, digits, `.`, `-` or `_`"));
        }
        let pattern_text = request.event_pattern.ok_or_else(|| ApiError::validation("EventPattern is missing"))?;
        let pattern = parsed_pattern(&pattern_text)?;
        let rules = self.buses.get_mut(&bus).ok_or_else(|| no_bus(&bus))?;
        if rules.len() >= MAX_RULES && !rules.contains_key(&request.name) {
            return Err(ApiError::bad("LimitExceededException", "too many rules"));
        }
        let enabled = request.state.as_deref() != Some("DISABLED");
        let targets = rules.remove(&request.name).map(|rule| rule.targets).unwrap_or_default();
        let arn = scene.rule_arn(&bus, &request.name);
        let name = request.name.clone();
        let rule = Rule { name, pattern, pattern_text, description: request.description, enabled, targets };
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

    fn delete_rule(&mut self, body: &Value) -> Answer {
        match self.rule(body) {
            Ok((_, rule)) if !rule.targets.is_empty() => {
                Err(ApiError::validation("Rule can't be deleted since it has targets."))
            }
            Ok((bus, rule)) => {
                let name = rule.name.clone();
                self.buses.entry(bus).and_modify(|rules| drop(rules.remove(&name)));
                Ok(json!({}))
            }
            // Deleting what does not exist succeeds (EventBridge API reference, DeleteRule).
            Err(_absent) => Ok(json!({})),
        }
    }

    fn switch_rule(&mut self, body: &Value, enabled: bool) -> Answer {
        self.rule(body)?.1.enabled = enabled;
        Ok(json!({}))
    }

    fn list_rules(&self, body: &Value, scene: &Scene) -> Answer {
        let bus = bus_name(body, "EventBusName")?;
        let prefix = body.get("NamePrefix").and_then(Value::as_str).unwrap_or("");
        let rules = self.buses.get(&bus).ok_or_else(|| no_bus(&bus))?.values();
        let rules = rules.filter(|rule| rule.name.starts_with(prefix)).map(|rule| rule.rendered(&bus, scene));
        Ok(json!({"Rules": rules.collect::<Vec<_>>()}))
    }

    fn put_targets(&mut self, body: &Value) -> Answer {
        let request: PutTargets = wire::parsed(body)?;
        let (_, rule) = self.rule(body)?;
        for target in request.targets {
            let text = |member: &str| target.get(member).and_then(Value::as_str);
            let (Some(id), Some(arn)) = (text("Id"), text("Arn")) else {
                return Err(ApiError::validation("a target needs Id and Arn"));
            };
            if !arn.starts_with("arn:aws:sqs:") {
                return Err(ApiError::validation(format!("target {arn} is not an SQS queue of the simulator")));
            }
            if let Some(other) = target.keys().find(|key| !matches!(key.as_str(), "Id" | "Arn" | "RoleArn")) {
                return Err(ApiError::validation(format!("the simulator knows no {other} of a target")));
            }
            if rule.targets.len() >= MAX_TARGETS && !rule.targets.contains_key(id) {
                return Err(ApiError::bad("LimitExceededException", "a rule has at most 5 targets"));
            }
            rule.targets.insert(id.to_owned(), arn.to_owned());
        }
        Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
    }

    fn remove_targets(&mut self, body: &Value) -> Answer {
        let request: RemoveTargets = wire::parsed(body)?;
        let (_, rule) = self.rule(body)?;
        rule.targets.retain(|id, _| !request.ids.contains(id));
        Ok(json!({"FailedEntryCount": 0, "FailedEntries": []}))
    }

    fn create_bus(&mut self, body: &Value, scene: &Scene) -> Answer {
        let name = bus_name(body, "Name")?;
        if name.is_empty() || name.contains('/') || name.len() > 256 {
            return Err(ApiError::validation("Name must have 1 to 256 characters and no slash"));
        }
        if self.buses.contains_key(&name) {
            let text = format!("Event bus {name} already exists.");
            return Err(ApiError::bad("ResourceAlreadyExistsException", text));
        }
        let arn = scene.bus_arn(&name);
        self.buses.insert(name, BTreeMap::new());
        Ok(json!({"EventBusArn": arn}))
    }

    fn delete_bus(&mut self, body: &Value) -> Answer {
        let name = bus_name(body, "Name")?;
        if name == DEFAULT_BUS {
            return Err(ApiError::validation("Cannot delete event bus default."));
        }
        self.buses.remove(&name);
        Ok(json!({}))
    }
}

impl Rule {
    fn rendered(&self, bus: &str, scene: &Scene) -> Value {
        let mut body = json!({
            "Name": self.name,
            "Arn": scene.rule_arn(bus, &self.name),
            "EventPattern": self.pattern_text,
            "State": if self.enabled { "ENABLED" } else { "DISABLED" },
            "EventBusName": bus,
        });
        if let Some(description) = &self.description {
            body["Description"] = json!(description);
        }
        body
    }
}

/// What distinguishes one event from another.
struct Envelope<'a> {
    source: &'a str,
    detail_type: &'a str,
    at: Timestamp,
    resources: &'a [String],
    detail: Value,
}

impl Envelope<'_> {
    /// The whole event (EventBridge user guide, events structure): `time` has whole seconds.
    fn sealed(self, delivery: &mut Delivery<'_>) -> Value {
        let scene = delivery.scene;
        let whole = Timestamp::from_second(self.at.as_second()).unwrap_or(self.at);
        json!({
            "version": "0",
            "id": delivery.ids.uuid(),
            "detail-type": self.detail_type,
            "source": self.source,
            "account": scene.account,
            "time": whole.to_string(),
            "region": scene.region,
            "resources": self.resources,
            "detail": self.detail,
        })
    }
}

fn bus_name(body: &Value, member: &str) -> Result<String, ApiError> {
    match body.get(member) {
        None | Some(Value::Null) => Ok(DEFAULT_BUS.to_owned()),
        Some(Value::String(name)) => Ok(short_bus_name(name)),
        Some(_) => Err(ApiError::validation(format!("{member} must be a string"))),
    }
}

/// A bus is named by its name or its ARN.
fn short_bus_name(name: &str) -> String {
    name.split_once(":event-bus/").map_or(name, |(_, short)| short).to_owned()
}

fn no_bus(name: &str) -> ApiError {
    ApiError::bad("ResourceNotFoundException", format!("Event bus {name} does not exist."))
}

fn parsed_pattern(text: &str) -> Result<Pattern, ApiError> {
    let refused = |reason: String| {
        ApiError::bad("InvalidEventPatternException", format!("Event pattern is not valid. Reason: {reason}"))
    };
    let value: Value = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    Pattern::parse(&value).map_err(|error| refused(format!("{} at `{}`", error.message, error.path)))
}

fn test_pattern(body: &Value) -> Answer {
    let member = |name: &str| body.get(name).and_then(Value::as_str);
    let pattern = parsed_pattern(member("EventPattern").unwrap_or_default())?;
    let event: Option<Value> = member("Event").and_then(|text| serde_json::from_str(text).ok());
    match event.filter(Value::is_object) {
        Some(event) => Ok(json!({"Result": pattern.matches(&event)})),
        None => Err(ApiError::validation("Parameter Event is not valid.")),
    }
}
