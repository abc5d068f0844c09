//! Target resolution: which resources a target of a template takes.
//!
//! Done once, before any action (AWS FIS user guide, targets). Choices at random depend on the simulator's seed, on which
//! experiment since the start it is and on the target's name, so that they can be repeated.

pub(in crate::simulator) mod inventory;
pub(super) mod pods;

use serde_json::{Value, json};

use self::inventory::{Inventory, Resource};
use super::template::{Filter, SelectionMode, TargetSpec};
use crate::simulator::{
    choices::{Choices, CountAboveFound, SomeArnsMissing},
    ids, partition,
};

/// How many resources are made up for a selector without ARNs, in each account.
const INVENTED: usize = 3;

/// Parameters that narrow the choice, and where else than under the parameter's own name a resource may tell the same.
/// The others (`functionQualifier`) say how a resource is hit, not which.
const NARROWING: &[(&str, &[&str])] = &[
    ("availabilityZoneIdentifier", &["AvailabilityZone", "AvailabilityZoneId", "Placement.AvailabilityZone"]),
    ("availabilityZoneIdentifiers", &["availabilityZoneIdentifier", "AvailabilityZone"]),
    ("writerAvailabilityZoneIdentifiers", &["writerAvailabilityZoneIdentifier"]),
    ("vpc", &["VpcId"]),
    ("cluster", &["ClusterArn"]),
    ("service", &["ServiceArn", "ServiceName"]),
];

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
        format!("arn:{}:fis:{}:{}", partition(self.region), self.region, self.account)
    }
}

/// Where and how a target is resolved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Search<'a> {
    pub(super) account: Account<'a>,
    /// Accounts whose resources are found; those whose ARN has no account belong to each.
    pub(super) accounts: &'a [&'a str],
    pub(super) choices: &'a Choices,
    /// Makes the choice differ between experiments and targets.
    pub(super) salt: &'a str,
}

impl TargetSpec {
    /// Whether the resources are named outright. Such a target is never skipped when it is empty (AWS FIS user guide,
    /// experiment-options).
    pub(super) fn is_unique(&self) -> bool {
        !self.resource_arns.is_empty() || self.parameters.get("selectorType").is_some_and(|kind| kind == "podName")
    }
}

/// Resolves a target.
pub(super) fn resolved(spec: &TargetSpec, search: Search<'_>) -> Vec<Resource> {
    let mut found = match search.account.inventory {
        Inventory::Invented => invented(spec, search),
        Inventory::Listed(resources) => resources.iter().filter(|resource| fits(spec, resource)).cloned().collect(),
    };
    found.retain(|resource| search.accounts.iter().any(|account| resource.is_of(account)));
    let all_there = spec.resource_arns.iter().all(|arn| found.iter().any(|resource| resource.arn == *arn));
    if !all_there && search.choices.some_arns_missing == SomeArnsMissing::TakeNone {
        found.clear();
    }
    let take = match spec.selection_mode {
        SelectionMode::All => found.len(),
        SelectionMode::Count(count) => match usize::try_from(count).unwrap_or(usize::MAX) {
            count if count <= found.len() => count,
            _above if search.choices.count_above_found == CountAboveFound::TakeNone => 0,
            _above => found.len(),
        },
        SelectionMode::Percent(percent) => found.len().saturating_mul(usize::try_from(percent).unwrap_or(100)) / 100,
    };
    if take < found.len() {
        found.sort_by_cached_key(|resource| ids::rank(search.account.seed, &[search.salt, &resource.arn]));
        found.truncate(take);
    }
    found.iter_mut().filter(|resource| resource.resource_type == pods::TYPE).for_each(|pod| name_container(spec, pod));
    found
}

/// Notes which container of a pod is meant.
fn name_container(spec: &TargetSpec, pod: &mut Resource) {
    let asked = spec.parameters.get("targetContainerName").map(String::as_str);
    if let Some(container) = asked.or(pods::default_container(pod)).map(Value::from) {
        pod.attributes.insert("targetContainerName".to_owned(), container);
    }
}

fn fits(spec: &TargetSpec, resource: &Resource) -> bool {
    if resource.resource_type != spec.resource_type {
        return false;
    }
    if !spec.resource_arns.is_empty() {
        return spec.resource_arns.contains(&resource.arn);
    }
    let selected = spec.resource_type != pods::TYPE || pods::fits(&spec.parameters, resource);
    selected
        && spec.resource_tags.iter().all(|(key, value)| resource.tags.get(key) == Some(value))
        && spec.filters.iter().all(|filter| passes(filter, resource))
        && spec.parameters.iter().all(|(key, wanted)| narrows_to(resource, key, wanted))
}

/// A parameter that narrows takes the resources that tell one of its values, which are separated by commas.
fn narrows_to(resource: &Resource, key: &str, wanted: &str) -> bool {
    let Some((name, others)) = NARROWING.iter().find(|(name, _)| *name == key) else { return true };
    let told = std::iter::once(name).chain(*others).flat_map(|path| values_at(path, resource));
    told.into_iter().any(|told| wanted.split(',').any(|one| pods::same(one.trim(), &told)))
}

fn passes(filter: &Filter, resource: &Resource) -> bool {
    values_at(&filter.path, resource).iter().any(|value| filter.values.contains(value))
}

/// The scalars at a path of names separated by dots; lists on the way stand for each of their elements.
fn values_at(path: &str, resource: &Resource) -> Vec<String> {
    let mut names = path.split('.');
    let mut nodes: Vec<&Value> = names.next().and_then(|name| resource.attributes.get(name)).into_iter().collect();
    for name in names {
        nodes = elements(nodes).into_iter().filter_map(|node| node.get(name)).collect();
    }
    let text = |node: &Value| match node {
        Value::String(text) => Some(text.clone()),
        Value::Null | Value::Object(_) | Value::Array(_) => None,
        scalar => Some(scalar.to_string()),
    };
    elements(nodes).into_iter().filter_map(text).collect()
}

/// Replaces lists by what is in them.
fn elements(nodes: Vec<&Value>) -> Vec<&Value> {
    nodes.into_iter().flat_map(|node| node.as_array().map_or(std::slice::from_ref(node), Vec::as_slice)).collect()
}

fn invented(spec: &TargetSpec, search: Search<'_>) -> Vec<Resource> {
    let resource = |arn: String| Resource {
        resource_type: spec.resource_type.clone(),
        arn,
        tags: spec.resource_tags.clone(),
        attributes: spec.parameters.iter().map(|(key, value)| (key.clone(), Value::from(value.clone()))).collect(),
    };
    if !spec.resource_arns.is_empty() {
        return spec.resource_arns.iter().cloned().map(resource).collect();
    }
    let mut found = Vec::new();
    for account in search.accounts {
        found.extend((0..INVENTED).map(|index| resource(invented_arn(&spec.resource_type, index, search, account))));
    }
    found
}

fn invented_arn(resource_type: &str, index: usize, search: Search<'_>, account: &str) -> String {
    let mut parts = resource_type.splitn(3, ':').skip(1);
    let (service, kind) = (parts.next().unwrap_or("fis"), parts.next().unwrap_or("resource"));
    let rank = ids::rank(search.account.seed, &[resource_type, &index.to_string()]);
    let tail: String = ids::hex(&rank).chars().take(16).collect();
    let name = match kind {
        "instance" | "spot-instance" => format!("instance/i-0{tail}"),
        "subnet" => format!("subnet/subnet-0{tail}"),
        "ebs-volume" => format!("volume/vol-0{tail}"),
        kind => format!("{kind}/demo-{tail}"),
    };
    let region = search.account.region;
    format!("arn:{}:{service}:{region}:{account}:{name}", partition(region))
}

/// A resource as `targetInformation` of ListExperimentResolvedTargets.
pub(super) fn information(resource: &Resource) -> Value {
    json!(pods::information(resource))
}
