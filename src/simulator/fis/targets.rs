//! Target resolution: which resources a target of a template takes.
//!
//! Done once, before any action (AWS FIS user guide, targets). Choices at random depend on the simulator's seed and the
//! experiment, so that they can be repeated.

use serde_json::Value;

use super::{
    inventory::{Inventory, Resource},
    template::{Filter, SelectionMode, TargetSpec},
};
use crate::simulator::ids;

/// How many resources are made up for a selector without ARNs.
const INVENTED: usize = 3;

/// What resolution depends on beside the target itself.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator) struct Account<'a> {
    pub(in crate::simulator) inventory: &'a Inventory,
    pub(in crate::simulator) region: &'a str,
    pub(in crate::simulator) account: &'a str,
    pub(in crate::simulator) seed: u64,
}

impl Account<'_> {
    /// Everything of a FIS ARN before the resource.
    pub(super) fn fis_arn(self) -> String {
        format!("arn:aws:fis:{}:{}", self.region, self.account)
    }
}

/// Resolves a target; `salt` makes the choice differ between experiments.
pub(super) fn resolved(spec: &TargetSpec, account: Account<'_>, salt: &str) -> Vec<Resource> {
    let mut found: Vec<Resource> = match account.inventory {
        Inventory::Invented => invented(spec, account),
        Inventory::Listed(resources) => resources.iter().filter(|resource| fits(spec, resource)).cloned().collect(),
    };
    let take = match spec.selection_mode {
        SelectionMode::All => found.len(),
        // What AWS does with a count above the number found is not documented; here all found are taken.
        SelectionMode::Count(count) => found.len().min(usize::try_from(count).unwrap_or(usize::MAX)),
        SelectionMode::Percent(percent) => found.len() * usize::try_from(percent).unwrap_or(100) / 100,
    };
    if take < found.len() {
        found.sort_by_cached_key(|resource| ids::rank(account.seed, &[salt, &resource.arn]));
        found.truncate(take);
    }
    found
}

fn fits(spec: &TargetSpec, resource: &Resource) -> bool {
    resource.resource_type == spec.resource_type
        && (spec.resource_arns.is_empty() || spec.resource_arns.contains(&resource.arn))
        && spec.resource_tags.iter().all(|(key, value)| resource.tags.get(key) == Some(value))
        && spec.filters.iter().all(|filter| passes(filter, resource))
        && spec.parameters.iter().all(|(key, wanted)| narrows_to(resource, key, wanted))
}

/// A target parameter narrows the choice only where the inventory says something about it. Lists have commas.
fn narrows_to(resource: &Resource, key: &str, wanted: &str) -> bool {
    let known = resource.attributes.get(key).and_then(Value::as_str);
    known.is_none_or(|known| wanted.split(',').any(|one| one.trim() == known))
}

fn passes(filter: &Filter, resource: &Resource) -> bool {
    let mut nodes: Vec<&Value> = Vec::new();
    let mut names = filter.path.split('.');
    nodes.extend(names.next().and_then(|name| resource.attributes.get(name)));
    for name in names {
        nodes = elements(nodes).into_iter().filter_map(|node| node.get(name)).collect();
    }
    elements(nodes).into_iter().any(|node| match node {
        Value::String(text) => filter.values.contains(text),
        Value::Object(_) | Value::Array(_) => false,
        scalar => filter.values.contains(&scalar.to_string()),
    })
}

/// Replaces lists by what is in them.
fn elements(nodes: Vec<&Value>) -> Vec<&Value> {
    nodes.into_iter().flat_map(|node| node.as_array().map_or(std::slice::from_ref(node), Vec::as_slice)).collect()
}

fn invented(spec: &TargetSpec, account: Account<'_>) -> Vec<Resource> {
    let resource = |arn: String| Resource {
        resource_type: spec.resource_type.clone(),
        arn,
        tags: spec.resource_tags.clone(),
        attributes: spec.parameters.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect(),
    };
    if !spec.resource_arns.is_empty() {
        return spec.resource_arns.iter().cloned().map(resource).collect();
    }
    (0..INVENTED).map(|index| resource(invented_arn(&spec.resource_type, index, account))).collect()
}

fn invented_arn(resource_type: &str, index: usize, account: Account<'_>) -> String {
    let mut parts = resource_type.splitn(3, ':').skip(1);
    let (service, kind) = (parts.next().unwrap_or("fis"), parts.next().unwrap_or("resource"));
    let tail = ids::hex(&ids::rank(account.seed, &[resource_type, &index.to_string()])[..8]);
    let name = match kind {
        "instance" | "spot-instance" => format!("instance/i-0{tail}"),
        "subnet" => format!("subnet/subnet-0{tail}"),
        "ebs-volume" => format!("volume/vol-0{tail}"),
        kind => format!("{kind}/demo-{tail}"),
    };
    format!("arn:aws:{service}:{}:{}:{name}", account.region, account.account)
}

/// A resource as `targetInformation` of ListExperimentResolvedTargets: its ARN, and for pods what the experiment log
/// shows of them (AWS FIS user guide, monitoring-logging).
pub(super) fn information(resource: &Resource) -> Value {
    let mut body = serde_json::Map::new();
    body.insert("arn".to_owned(), Value::from(resource.arn.clone()));
    if resource.resource_type == "aws:eks:pod" {
        for (key, value) in &resource.attributes {
            if let Value::String(text) = value {
                body.insert(key.clone(), Value::from(text.clone()));
            }
        }
    }
    Value::Object(body)
}
