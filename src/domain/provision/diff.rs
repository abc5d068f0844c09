//! What is there against what is to be there: the changes that people are shown, and the steps that make them.
//!
//! What exists under one of our names without our tag is somebody else's: it stops everything. A rule with another
//! pattern is another rule, so the new one is there, and may send, before the old one goes: no event falls between.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::Serialize;
use serde_json::Value;

use super::{Desired, MAX_POLICY_BYTES, QueueSpec, RuleSpec, Site, TAG, TARGET_ID, rule_names};

/// Attribute of a queue that cannot be set later (Amazon SQS API reference, SetQueueAttributes).
const FIFO: &str = "FifoQueue";

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// The queue.
    pub queue: Option<FoundQueue>,
    /// The dead-letter queue.
    pub dead_letters: Option<FoundQueue>,
    /// Rules whose names begin as ours do, on every bus.
    pub rules: Vec<FoundRule>,
}

/// A queue that exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundQueue {
    /// Its attributes.
    pub attributes: BTreeMap<String, String>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A rule that exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundRule {
    /// Bus that it is on.
    pub bus: String,
    /// Its name.
    pub name: String,
    /// Events that it takes; `None` for a schedule.
    pub pattern: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Where it leads, by id.
    pub targets: BTreeMap<String, FoundTarget>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// Where a rule leads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FoundTarget {
    /// ARN of what gets the events.
    pub arn: String,
    /// Message group, for a FIFO queue.
    pub group: Option<String>,
    /// ARN of the queue that gets what cannot be delivered.
    pub dead_letters: Option<String>,
}

impl fmt::Display for FoundTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.arn)?;
        if let Some(group) = &self.group {
            write!(f, ", group {group}")?;
        }
        match &self.dead_letters {
            Some(arn) => write!(f, ", else {arn}"),
            None => Ok(()),
        }
    }
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is made.
    Create,
    /// Some of it becomes otherwise.
    Change,
    /// It goes.
    Delete,
}

impl Action {
    /// Returns it as a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }
}

/// A resource that does not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens to it.
    pub action: Action,
    /// `queue` or `rule`.
    pub kind: &'static str,
    /// Its name; that of a rule follows its bus.
    pub name: String,
    /// What of it becomes otherwise.
    pub details: Vec<Detail>,
}

/// An attribute that does not stay as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Detail {
    /// AWS's name of it.
    pub name: String,
    /// What it is.
    pub old: Option<String>,
    /// What it becomes.
    pub new: Option<String>,
}

/// One call, or a few that belong together. Each may be done again.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Makes a queue.
    CreateQueue(QueueSpec),
    /// Sets attributes of a queue.
    SetAttributes(QueueSpec),
    /// Makes a rule, or makes it what it is to be, and leads it to the queue.
    PutRule(RuleSpec),
    /// Takes a rule's targets away, by id, and deletes it.
    DeleteRule {
        /// Bus that it is on.
        bus: String,
        /// Its name.
        name: String,
        /// Ids of its targets.
        targets: Vec<String>,
    },
    /// Deletes a queue, with the messages in it.
    DeleteQueue {
        /// Its name.
        name: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateQueue(spec) => write!(f, "create queue `{}`", spec.name),
            Self::SetAttributes(spec) => write!(f, "set the attributes of queue `{}`", spec.name),
            Self::PutRule(spec) => write!(f, "put rule `{}`", shown_rule(&spec.bus, &spec.name)),
            Self::DeleteRule { bus, name, .. } => write!(f, "delete rule `{}`", shown_rule(bus, name)),
            Self::DeleteQueue { name } => write!(f, "delete queue `{name}`"),
        }
    }
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// For people.
    pub changes: Vec<Change>,
    /// In this order.
    pub steps: Vec<Step>,
}

/// Resources that have one of our names and not our tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} exists without the tag `{TAG} = {owner}`, or leads elsewhere, and is not touched\nhint: set the tag if it may be \
     managed from here, or use another name",
    resources.join(", ")
)]
pub struct Foreign {
    /// Which value of the tag is missing.
    owner: String,
    /// What they are.
    resources: Vec<String>,
}

/// Compares, to make it so.
///
/// # Errors
/// [`Foreign`] when something is in the way that is not ours.
pub fn apply(desired: &Desired, found: &Found) -> Result<Plan, Foreign> {
    refuse_foreign(desired, found)?;
    let old: Vec<&FoundRule> = ours(desired, found).filter(|rule| !is_desired(desired, rule)).collect();
    let mut plan = Plan::default();
    let queues = [(&desired.dead_letters, &found.dead_letters), (&desired.queue, &found.queue)];
    for (spec, there) in queues {
        plan.queue(spec, there.as_ref(), &meanwhile(desired, spec, &old));
    }
    for rule in desired.rules.values() {
        let there = found.rules.iter().find(|there| there.bus == rule.bus && there.name == rule.name);
        plan.rule(rule, there, &desired.site);
    }
    for rule in &old {
        plan.without_rule(rule);
    }
    for (spec, _) in queues.iter().filter(|(spec, _)| meanwhile(desired, spec, &old) != spec.attributes) {
        plan.steps.push(Step::SetAttributes(settable(spec, &spec.attributes, None)));
    }
    Ok(plan)
}

/// Returns what a queue's attributes are as long as old rules are there: they may send as well. Where all of them together
/// are too many for a policy, it is what their names have in common.
fn meanwhile(desired: &Desired, spec: &QueueSpec, old: &[&FoundRule]) -> BTreeMap<String, String> {
    let mut attributes = spec.attributes.clone();
    let takes = |rule: &&RuleSpec| spec.name == desired.queue.name || rule.dead_letters.as_ref() == Some(&spec.name);
    let new: Vec<&RuleSpec> = desired.rules.values().filter(takes).collect();
    if old.is_empty() || new.is_empty() {
        return attributes;
    }
    let names = new.iter().map(|rule| (&rule.bus, &rule.name)).chain(old.iter().map(|rule| (&rule.bus, &rule.name)));
    let all = names.clone().map(|(bus, name)| desired.site.rule(bus, name));
    let mut policy = desired.site.policy(&spec.name, all);
    if policy.len() > MAX_POLICY_BYTES {
        let buses: BTreeSet<&String> = names.map(|(bus, _)| bus).collect();
        let alike = rule_names(&desired.queue.name);
        policy = desired.site.policy(&spec.name, buses.into_iter().map(|bus| desired.site.rule(bus, &alike)));
    }
    attributes.insert("Policy".to_owned(), policy);
    attributes
}

/// Compares, to leave nothing of ours. What is not ours stays.
pub fn destroy(desired: &Desired, found: &Found) -> Plan {
    let mut plan = Plan::default();
    for rule in ours(desired, found) {
        plan.without_rule(rule);
    }
    for (spec, there) in [(&desired.queue, &found.queue), (&desired.dead_letters, &found.dead_letters)] {
        let Some(there) = there.as_ref().filter(|there| is_ours(desired, &there.tags)) else { continue };
        let details = there.messages().map(|count| detail("messages", Some(count.to_string()), None));
        plan.change(Action::Delete, "queue", spec.name.clone(), details.into_iter().collect());
        plan.steps.push(Step::DeleteQueue { name: spec.name.clone() });
    }
    plan
}

impl Plan {
    /// Returns how many messages would go with the queues that it deletes, by queue.
    pub fn messages(&self) -> Vec<(&str, &str)> {
        let deleted = self.changes.iter().filter(|change| change.action == Action::Delete && change.kind == "queue");
        deleted.filter_map(|change| Some((change.name.as_str(), change.details.first()?.old.as_deref()?))).collect()
    }

    fn change(&mut self, action: Action, kind: &'static str, name: String, details: Vec<Detail>) {
        self.changes.push(Change { action, kind, name, details });
    }

    fn queue(&mut self, spec: &QueueSpec, there: Option<&FoundQueue>, meanwhile: &BTreeMap<String, String>) {
        let Some(there) = there else {
            let set = spec.attributes.iter().filter(|(_, value)| !value.is_empty());
            let details = set.map(|(name, value)| detail(name, None, Some(value.clone())));
            self.change(Action::Create, "queue", spec.name.clone(), details.collect());
            let set = meanwhile.iter().filter(|(_, value)| !value.is_empty());
            let attributes = set.map(|(name, value)| (name.clone(), value.clone())).collect();
            self.steps.push(Step::CreateQueue(QueueSpec { attributes, ..spec.clone() }));
            return;
        };
        let details = differences(&spec.attributes, &there.attributes);
        if !details.is_empty() {
            self.change(Action::Change, "queue", spec.name.clone(), details);
        }
        if !differences(meanwhile, &there.attributes).is_empty() {
            self.steps.push(Step::SetAttributes(settable(spec, meanwhile, Some(there))));
        }
    }

    fn rule(&mut self, spec: &RuleSpec, there: Option<&FoundRule>, site: &Site) {
        let shown = FoundRule::default();
        let old = there.unwrap_or(&shown);
        let was = |text: Option<String>| there.and(text);
        let mut details = Vec::new();
        if !old.pattern.as_deref().is_some_and(|text| same_json(text, &spec.pattern)) {
            details.push(detail("EventPattern", was(old.pattern.clone()), Some(spec.pattern.to_string())));
        }
        if there.is_some() && !old.enabled {
            details.push(detail("State", Some("DISABLED".to_owned()), Some("ENABLED".to_owned())));
        }
        let target = old.targets.get(TARGET_ID);
        let wanted = FoundTarget {
            arn: site.queue(&spec.queue),
            group: spec.group.clone(),
            dead_letters: spec.dead_letters.as_ref().map(|name| site.queue(name)),
        };
        if target != Some(&wanted) {
            details.push(detail("Targets", target.map(ToString::to_string), Some(wanted.to_string())));
        }
        if details.is_empty() {
            return;
        }
        let action = if there.is_some() { Action::Change } else { Action::Create };
        self.change(action, "rule", shown_rule(&spec.bus, &spec.name), details);
        self.steps.push(Step::PutRule(spec.clone()));
    }

    fn without_rule(&mut self, rule: &FoundRule) {
        let pattern = detail("EventPattern", rule.pattern.clone(), None);
        self.change(Action::Delete, "rule", shown_rule(&rule.bus, &rule.name), vec![pattern]);
        let (bus, name) = (rule.bus.clone(), rule.name.clone());
        self.steps.push(Step::DeleteRule { bus, name, targets: rule.targets.keys().cloned().collect() });
    }
}

impl FoundQueue {
    /// Returns how many messages it holds, in whatever state; `None` for none.
    fn messages(&self) -> Option<u64> {
        let states = ["", "NotVisible", "Delayed"].map(|state| format!("ApproximateNumberOfMessages{state}"));
        let counts = states.iter().filter_map(|name| self.attributes.get(name)?.parse::<u64>().ok());
        Some(counts.sum()).filter(|count| *count > 0)
    }
}

/// Returns what is set of a queue that is there: all of it, since not everything that speaks SQS keeps what is left out.
/// What is empty is only set to undo what is there.
fn settable(spec: &QueueSpec, wanted: &BTreeMap<String, String>, there: Option<&FoundQueue>) -> QueueSpec {
    let is_set = |name: &String| there.and_then(|there| there.attributes.get(name)).is_some_and(|old| !old.is_empty());
    let set = wanted.iter().filter(|(name, value)| *name != FIFO && (!value.is_empty() || is_set(name)));
    QueueSpec { name: spec.name.clone(), attributes: set.map(|(name, value)| (name.clone(), value.clone())).collect() }
}

fn detail(name: &str, old: Option<String>, new: Option<String>) -> Detail {
    Detail { name: name.to_owned(), old, new }
}

fn shown_rule(bus: &str, name: &str) -> String {
    format!("{bus}/{name}")
}

fn is_ours(desired: &Desired, tags: &BTreeMap<String, String>) -> bool {
    tags.get(TAG) == Some(&desired.queue.name)
}

/// Tells whether a rule carries our tag and leads nowhere but to our queue. One without any target does too: it was not
/// finished.
fn is_our_rule(desired: &Desired, rule: &FoundRule) -> bool {
    let queue = desired.site.queue(&desired.queue.name);
    let leads = rule.targets.is_empty() || rule.targets.values().any(|target| target.arn == queue);
    is_ours(desired, &rule.tags) && leads
}

fn is_desired(desired: &Desired, rule: &FoundRule) -> bool {
    desired.rules.get(&rule.name).is_some_and(|spec| spec.bus == rule.bus)
}

/// Returns the rules that carry our tag.
fn ours<'a>(desired: &'a Desired, found: &'a Found) -> impl Iterator<Item = &'a FoundRule> {
    found.rules.iter().filter(|rule| is_our_rule(desired, rule))
}

fn refuse_foreign(desired: &Desired, found: &Found) -> Result<(), Foreign> {
    let queues = [(&desired.queue, &found.queue), (&desired.dead_letters, &found.dead_letters)];
    let theirs = |there: &&FoundQueue| !is_ours(desired, &there.tags);
    let queues = queues.into_iter().filter(|(_, there)| there.as_ref().filter(theirs).is_some());
    let rules = found.rules.iter().filter(|rule| is_desired(desired, rule) && !is_our_rule(desired, rule));
    let rules = rules.map(|rule| format!("rule `{}`", shown_rule(&rule.bus, &rule.name)));
    let resources: Vec<String> = queues.map(|(spec, _)| format!("queue `{}`", spec.name)).chain(rules).collect();
    if resources.is_empty() { Ok(()) } else { Err(Foreign { owner: desired.queue.name.clone(), resources }) }
}

/// Compares attributes by what they mean; the ones that are not ours to set do not count.
fn differences(wanted: &BTreeMap<String, String>, there: &BTreeMap<String, String>) -> Vec<Detail> {
    let none = String::new();
    let pairs = wanted.iter().map(|(name, new)| (name, there.get(name).unwrap_or(&none), new));
    // A queue stays a FIFO queue, and one that is none cannot have this name.
    let different = pairs.filter(|(name, old, new)| *name != FIFO && meaning(name, old) != meaning(name, new));
    let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    different.map(|(name, old, new)| detail(name, given(old), given(new))).collect()
}

/// Reads an attribute: JSON by its value, and words and numbers whatever their case or type.
fn meaning(name: &str, text: &str) -> Value {
    match name {
        "Policy" => serde_json::from_str(text).unwrap_or_else(|_| text.into()),
        "RedrivePolicy" => {
            let mut policy: Value = serde_json::from_str(text).unwrap_or_else(|_| text.into());
            if let Some(count) = policy.get_mut("maxReceiveCount") {
                *count = count.to_string().trim_matches('"').into();
            }
            policy
        }
        "KmsMasterKeyId" => text.into(),
        _word => text.to_lowercase().into(),
    }
}

fn same_json(text: &str, value: &Value) -> bool {
    serde_json::from_str::<Value>(text).is_ok_and(|read| read == *value)
}
