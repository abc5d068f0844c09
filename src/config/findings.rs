//! What a good configuration can never do, at the places where it says so.

use jiff::Timestamp;

use super::{Loaded, path::KeyPath, problem::Problem};
use crate::domain::window::{self, Finding};

impl Loaded {
    /// Lists what can never happen from an instant on, as warnings with their places.
    pub fn findings(&self, now: Timestamp) -> Vec<Problem> {
        let experiment = |name: &str| KeyPath::default().key("experiments").key(name);
        let schedule = |name: &str, number| experiment(name).key("schedules").item(number);
        let window = |name: &str| KeyPath::default().key("windows").key(name);
        let problem = |finding: Finding| {
            let path = match &finding {
                Finding::Closed { experiment: name, .. } | Finding::NoRoom { experiment: name, .. } => {
                    experiment(name.as_str())
                }
                Finding::SlotsClosed { experiment, schedule: number, .. }
                | Finding::Past { experiment, schedule: number, .. } => schedule(experiment.as_str(), *number),
                Finding::Covered { window: name, .. } | Finding::Over { window: name } => window(name.as_str()),
            };
            Problem { place: self.index.value(&path), path: path.to_string(), message: finding.to_string(), hint: None }
        };
        window::findings(&self.settings.rules, now).into_iter().map(problem).collect()
    }
}
