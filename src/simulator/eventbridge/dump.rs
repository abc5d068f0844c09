//! The buses for the state page: rules and their targets.

use serde_json::{Map, Value, json};

use super::Buses;
use crate::simulator::Scene;

impl Buses {
    /// Every bus by name, with its rules and the targets of each.
    pub(in crate::simulator) fn dump(&self, scene: &Scene) -> Value {
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
}
