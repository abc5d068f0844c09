//! FIS's part of the state page: all that is known, also what no operation shows.

use serde_json::{Value, json};

use super::{Fis, targets};

impl Fis {
    /// Templates, experiments with what their targets resolved to, client tokens and the safety lever.
    pub(in crate::simulator) fn dump(&self) -> Value {
        let experiments = self.experiments.iter().map(|experiment| {
            let mut body = json!(experiment.record());
            let resolved = experiment.resolved.iter().map(|(target, resources)| {
                (target.clone(), resources.iter().map(targets::information).collect::<Vec<_>>())
            });
            body["resolvedTargets"] = json!(resolved.collect::<std::collections::BTreeMap<_, _>>());
            body
        });
        json!({
            "templates": self.templates.values().map(|template| template.rendered()).collect::<Vec<_>>(),
            "experiments": experiments.collect::<Vec<_>>(),
            "clientTokens": self.tokens.len(),
            "safetyLever": self.lever_state(),
        })
    }
}
