//! Checks of what runs may cost.

use serde_json::Value;

use super::{
    super::{
        path::KeyPath,
        raw::{RawBudget, RawOnExceeded},
    },
    Check,
};
use crate::domain::cost::{Budget, OnExceeded, Usd};

impl Check<'_> {
    /// Checks the budget.
    pub fn budget(&mut self, raw: RawBudget) -> Budget {
        let path = KeyPath::default().key("budget");
        Budget {
            monthly: self.usd(&path.key("monthly_usd"), raw.monthly_usd),
            price_per_action_minute: self.usd(&path.key("price_per_action_minute"), raw.price_per_action_minute),
            on_exceeded: match raw.on_exceeded {
                None | Some(RawOnExceeded::Refuse) => OnExceeded::Refuse,
                Some(RawOnExceeded::Warn) => OnExceeded::Warn,
            },
        }
    }

    /// Reads an amount, written as a number or, as variables are, as a text.
    fn usd(&mut self, path: &KeyPath, value: Option<Value>) -> Option<Usd> {
        let text = match value? {
            Value::String(text) => text,
            // The shortest text that stands for the number: as it was written.
            other => other.to_string(),
        };
        let read = text.parse::<Usd>();
        let hint = || Some("write dollars, such as `500` or `0.10`".to_owned());
        read.map_err(|error| self.problem(path, error.to_string(), hint())).ok()
    }
}
