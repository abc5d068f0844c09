//! EventBridge's operations (AWS JSON 1.1): buses, rules with patterns, and delivery to the simulator's own queues.
//!
//! Rules match with [`crate::domain::pattern`], as the agent's triggers do, and refuse what EventBridge refuses. Schedules,
//! inputs made of parts of an event and targets other than SQS do not exist and are refused. A queue that has a policy gets
//! only what that lets rules send, at AWS one without a policy gets nothing; the rest goes to the target's dead-letter queue
//! at once.

pub(super) mod courier;
mod events;
mod rules;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use self::{
    events::{Envelope, Event},
    rules::{Rule, RuleState, check_name},
};
use super::{
    Scene,
    fis::Emission,
    ids::Ids,
    page,
    sqs::{Queues, content::Content},
    wire::{self, Answer, ApiError},
};
use crate::domain::pattern::Pattern;

const DEFAULT_BUS: &str = "default";
const MAX_BUSES: usize = 100;
const MAX_BUS_NAME: usize = 256;
const MAX_PAGE: usize = 100;

/// Members that an event to test must have (EventBridge API reference, TestEventPattern).
const EVENT_MEMBERS: &[&str] = &["id", "account", "source", "time", "region", "resources", "detail-type"];

/// All buses by name; `default` always exists.
#[derive(Debug)]
pub(super) struct Buses {
    buses: BTreeMap<String, BTreeMap<String, Rule>>,
    /// Events that found no queue.
    undelivered: u64,
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

/// The operations there are.
pub(super) const OPERATIONS: &[&str] = &[
    "PutEvents",
    "PutRule",
    "DescribeRule",
    "DeleteRule",
    "EnableRule",
    "DisableRule",
    "ListRules",
    "ListRuleNamesByTarget",
    "PutTargets",
    "RemoveTargets",
    "ListTargetsByRule",
    "ListTagsForResource",
    "TagResource",
    "UntagResource",
    "TestEventPattern",
    "CreateEventBus",
    "DeleteEventBus",
    "DescribeEventBus",
    "ListEventBuses",
];

impl Buses {
    /// Performs an operation.
    pub(super) fn perform(&mut self, operation: &str, body: &Value, delivery: &mut Delivery<'_>) -> Answer {
        let scene = delivery.scene;
        match operation {
            "PutEvents" => self.put_events(body, delivery),
            "PutRule" => self.put_rule(body, scene),
            "DescribeRule" => self.describe_rule(body, scene),
            "DeleteRule" => self.delete_rule(body),
            "EnableRule" => self.switch_rule(body, RuleState::Enabled),
            "DisableRule" => self.switch_rule(body, RuleState::Disabled),
            "ListRules" => self.list_rules(body, scene),
            "ListRuleNamesByTarget" => self.list_rules_of_target(body),
            "PutTargets" => self.put_targets(body),
            "RemoveTargets" => self.remove_targets(body),
            "ListTargetsByRule" => self.list_targets(body),
            "ListTagsForResource" => self.list_tags(body, scene),
            "TagResource" => self.tag(body, scene),
            "UntagResource" => self.untag(body, scene),
            "TestEventPattern" => test_pattern(body),
            "CreateEventBus" => self.create_bus(body, scene),
            "DeleteEventBus" => self.delete_bus(body),
            "DescribeEventBus" => self.describe_bus(body, scene),
            "ListEventBuses" => self.list_buses(body, scene),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    /// Puts an event about an experiment on the default bus, so many times with the same id: the one way for FIS's events.
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

    /// Every bus by name, with its rules and the targets of each, for the state page.
    pub(super) fn dump(&self, scene: &Scene) -> Value {
        let mut buses = Map::new();
        for (name, rules) in &self.buses {
            let rules = rules.values().map(|rule| {
                let mut body = rule.rendered(name, scene);
                body["Targets"] = rule.shown_targets().cloned().collect();
                body
            });
            buses.insert(name.clone(), rules.collect());
        }
        json!({"buses": buses, "undelivered": self.undelivered})
    }

    fn put(&mut self, bus: &str, event: &Event, delivery: &mut Delivery<'_>) {
        let rules = self.buses.get(bus).into_iter().flat_map(BTreeMap::values);
        let taken = rules.flat_map(|rule| rule.targets_of(&event.envelope).map(move |target| (rule, target)));
        for (rule, target) in taken {
            let arn = delivery.scene.rule_arn(bus, rule.name());
            let content = Content {
                body: event.envelope.to_string(),
                trace_header: event.trace_header.clone(),
                group: target.group.clone(),
                ..Content::default()
            };
            let dead = target.dead_letters.as_ref().map(|dead| (dead, Content { group: None, ..content.clone() }));
            let mut deliver =
                |queue: &str, content| delivery.queues.deliver(&arn, queue, content, delivery.ids, delivery.now);
            if !deliver(&target.arn, content) && !dead.is_some_and(|(dead, content)| deliver(dead, content)) {
                self.undelivered = self.undelivered.saturating_add(1);
            }
        }
    }

    fn create_bus(&mut self, body: &Value, scene: &Scene) -> Answer {
        let name = bus_name(body, "Name")?;
        check_name(&name, "Name", MAX_BUS_NAME)?;
        if self.buses.contains_key(&name) {
            let text = format!("Event bus {name} already exists.");
            return Err(ApiError::bad("ResourceAlreadyExistsException", text));
        }
        if self.buses.len() >= MAX_BUSES {
            return Err(ApiError::bad("LimitExceededException", "too many event buses"));
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
        // Rules go first (EventBridge API reference, DeleteEventBus).
        if self.buses.get(&name).is_some_and(|rules| !rules.is_empty()) {
            return Err(ApiError::validation(format!("Event bus {name} can't be deleted since it has rules.")));
        }
        self.buses.remove(&name);
        Ok(json!({}))
    }

    fn describe_bus(&self, body: &Value, scene: &Scene) -> Answer {
        let name = bus_name(body, "Name")?;
        if !self.buses.contains_key(&name) {
            return Err(no_bus(&name));
        }
        Ok(json!({"Name": name, "Arn": scene.bus_arn(&name)}))
    }

    fn list_buses(&self, body: &Value, scene: &Scene) -> Answer {
        let prefix = body.get("NamePrefix").and_then(Value::as_str).unwrap_or("");
        let names = self.buses.keys().filter(|name| name.starts_with(prefix));
        let buses = names.map(|name| (name.clone(), json!({"Name": name, "Arn": scene.bus_arn(name)})));
        page(body, "EventBuses", buses.collect())
    }
}

/// One page of `(key, item)` under `member`; keys are unique and in order.
fn page(body: &Value, member: &str, items: Vec<(String, Value)>) -> Answer {
    let size = match wire::given(body, "Limit").map(wire::count) {
        None => MAX_PAGE,
        Some(Some(size @ 1..=MAX_PAGE)) => size,
        Some(_outside) => return Err(ApiError::validation("Limit must be between 1 and 100")),
    };
    let token = body.get("NextToken").and_then(Value::as_str);
    let (shown, next) = page::page(member, items, |(key, _)| key.clone(), size, token)
        .ok_or_else(|| ApiError::validation("NextToken is not valid"))?;
    let mut answer = json!({ member: shown.into_iter().map(|(_, item)| item).collect::<Vec<_>>() });
    if let Some(token) = next {
        answer["NextToken"] = token.into();
    }
    Ok(answer)
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
    Pattern::parse_text(text).map_err(|error| refused(format!("{} at `{}`", error.message, error.path)))
}

fn test_pattern(body: &Value) -> Answer {
    let member = |name: &str| body.get(name).and_then(Value::as_str);
    let pattern = parsed_pattern(member("EventPattern").unwrap_or_default())?;
    let refused = |reason: &str| ApiError::validation(format!("Parameter Event is not valid. Reason: {reason}"));
    let event: Option<Value> = member("Event").and_then(|text| serde_json::from_str(text).ok());
    let event = event.filter(Value::is_object).ok_or_else(|| refused("it is not a JSON object."))?;
    match EVENT_MEMBERS.iter().find(|member| event.get(**member).is_none()) {
        Some(member) => Err(refused(&format!("it has no {member}."))),
        None => Ok(json!({"Result": pattern.matches(&event)})),
    }
}
