//! Whether a queue's access policy lets a rule of EventBridge send into the queue.
//!
//! The one place where the simulator looks at a policy: at AWS an event that the policy does not let in is lost without a
//! word, and whoever tries a queue out here would not notice. Everybody else may do anything. Source: Amazon EventBridge
//! user guide, resource-based policies; IAM user guide, policy evaluation.

use serde_json::Value;

use crate::domain::window::NameGlob;

const SERVICE: &str = "events.amazonaws.com";
const ACTION: &str = "sqs:sendmessage";

/// Who sends, and where.
pub(super) struct Sending<'a> {
    /// ARN of the rule.
    pub(super) rule: &'a str,
    /// ARN of the queue.
    pub(super) queue: &'a str,
}

impl Sending<'_> {
    /// Tells whether a policy lets it through: some statement allows it and none denies it.
    pub(super) fn is_allowed(&self, policy: &str) -> bool {
        let policy: Value = serde_json::from_str(policy).unwrap_or_default();
        let applying = |effect: &str| {
            each(&policy["Statement"]).any(|statement| statement["Effect"] == *effect && self.is_meant(statement))
        };
        applying("Allow") && !applying("Deny")
    }

    /// Tells whether a statement is about it. What is not known here is about something else.
    fn is_meant(&self, statement: &Value) -> bool {
        let principal = &statement["Principal"];
        let everybody = *principal == *"*" || each(&principal["AWS"]).any(|who| *who == *"*");
        let service = each(&principal["Service"]).any(|who| *who == *SERVICE);
        let action = texts(&statement["Action"]).any(|text| NameGlob::new(&text.to_lowercase()).matches(ACTION));
        let resource = texts(&statement["Resource"]).any(|text| NameGlob::new(text).matches(self.queue));
        let conditions = statement["Condition"].as_object().into_iter().flatten();
        (everybody || service) && action && resource && conditions.into_iter().all(|(how, keys)| self.holds(how, keys))
    }

    /// Tells whether each key of a condition has one of its values.
    fn holds(&self, how: &str, keys: &Value) -> bool {
        let account = self.rule.split(':').nth(4).unwrap_or_default();
        let compared = |value: &str, wanted: &str| match how {
            "ArnEquals" | "ArnLike" | "StringLike" => NameGlob::new(wanted).matches(value),
            "StringEquals" | "Bool" => wanted == value,
            _other => false,
        };
        let value = |key: &str| match key.to_lowercase().as_str() {
            "aws:sourcearn" => Some(self.rule),
            "aws:sourceaccount" => Some(account),
            // EventBridge speaks TLS.
            "aws:securetransport" => Some("true"),
            _other => None,
        };
        let mut keys = keys.as_object().into_iter().flatten();
        keys.all(|(key, wanted)| value(key).is_some_and(|value| texts(wanted).any(|wanted| compared(value, wanted))))
    }
}

/// One value or a list of them.
fn each(value: &Value) -> impl Iterator<Item = &Value> {
    let one = if value.is_array() || value.is_null() { None } else { Some(value) };
    value.as_array().into_iter().flatten().chain(one)
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    each(value).filter_map(Value::as_str)
}
