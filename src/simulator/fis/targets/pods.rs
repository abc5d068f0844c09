//! Pods as targets: the one resource type that is found by parameters alone (AWS FIS user guide, targets).
//!
//! A pod in the inventory has these members, the simulator's own: `clusterIdentifier` (ARN or name), `namespace`,
//! `podName`, and where they are wanted `deploymentName`, `labels` (a table), `containers` (names, the first is the
//! default target) and `availabilityZoneIdentifier`. Its `arn` may be left out when the cluster is named by ARN.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::inventory::Resource;

/// The type of pods.
pub(in crate::simulator::fis) const TYPE: &str = "aws:eks:pod";

/// What the API and the log show of a resolved target (AWS FIS user guide, monitoring-logging).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(in crate::simulator::fis) enum Information<'a> {
    Resource {
        arn: &'a str,
    },
    Pod {
        pod_name: &'a str,
        namespace: &'a str,
        cluster_arn: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        target_container_name: Option<&'a str>,
    },
}

/// Tells what is shown of a resource.
pub(in crate::simulator::fis) fn information(resource: &Resource) -> Information<'_> {
    if resource.resource_type != TYPE {
        return Information::Resource { arn: &resource.arn };
    }
    Information::Pod {
        pod_name: text(resource, "podName").unwrap_or_else(|| last(&resource.arn)),
        namespace: text(resource, "namespace").unwrap_or("default"),
        cluster_arn: text(resource, "clusterIdentifier").unwrap_or_default(),
        target_container_name: text(resource, "targetContainerName"),
    }
}

/// Tells whether a pod is what the parameters of a target ask for.
pub(in crate::simulator::fis) fn fits(parameters: &BTreeMap<String, String>, pod: &Resource) -> bool {
    let wanted = |name: &str| parameters.get(name).map_or("", String::as_str);
    let same_cluster = match text(pod, "clusterIdentifier") {
        Some(own) => same(own, wanted("clusterIdentifier")),
        None => false,
    };
    let value = wanted("selectorValue");
    let selected = match wanted("selectorType") {
        "labelSelector" => labelled(value, pod),
        "deploymentName" => text(pod, "deploymentName") == Some(value),
        "podName" => text(pod, "podName") == Some(value),
        _unknown => false,
    };
    let container = parameters.get("targetContainerName");
    let has_container = container.is_none_or(|name| containers(pod).is_none_or(|all| all.contains(&name.as_str())));
    same_cluster && selected && has_container && text(pod, "namespace") == Some(wanted("namespace"))
}

/// ARN of a pod that leaves it out, when its cluster is named by ARN.
pub(in crate::simulator::fis) fn arn(pod: &Resource) -> Option<String> {
    let (prefix, cluster) = text(pod, "clusterIdentifier")?.split_once(":cluster/")?;
    Some(format!("{prefix}:pod/{cluster}/{}/{}", text(pod, "namespace")?, text(pod, "podName")?))
}

/// The container that is meant when a target names none.
pub(in crate::simulator::fis) fn default_container(pod: &Resource) -> Option<&str> {
    containers(pod)?.first().copied()
}

/// Tells whether two names or ARNs are those of one resource.
pub(in crate::simulator::fis) fn same(one: &str, other: &str) -> bool {
    one == other || ((!one.starts_with("arn:") || !other.starts_with("arn:")) && last(one) == last(other))
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

fn text<'a>(pod: &'a Resource, name: &str) -> Option<&'a str> {
    pod.attributes.get(name)?.as_str()
}

fn containers(pod: &Resource) -> Option<Vec<&str>> {
    Some(pod.attributes.get("containers")?.as_array()?.iter().filter_map(Value::as_str).collect())
}

/// Kubernetes's label selector: `a=b`, `a==b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`, joined by commas. What
/// cannot be read selects nothing.
fn labelled(selector: &str, pod: &Resource) -> bool {
    let label = |key: &str| pod.attributes.get("labels")?.get(key.trim())?.as_str();
    requirements(selector).into_iter().all(|requirement| {
        let requirement = requirement.trim();
        if let Some((key, set)) = listed(requirement, " notin ") {
            return label(key).is_none_or(|own| !set.contains(&own));
        }
        if let Some((key, set)) = listed(requirement, " in ") {
            return label(key).is_some_and(|own| set.contains(&own));
        }
        if let Some((key, value)) = requirement.split_once("!=") {
            return label(key) != Some(value.trim());
        }
        if let Some((key, value)) = requirement.split_once('=') {
            return label(key) == Some(value.trim_start_matches('=').trim());
        }
        match requirement.strip_prefix('!') {
            Some(key) => label(key).is_none(),
            None => label(requirement).is_some(),
        }
    })
}

/// Splits a selector at the commas that are not in parentheses.
fn requirements(selector: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let splits = selector.split(|character| {
        match character {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _other => {}
        }
        character == ',' && depth == 0
    });
    splits.collect()
}

fn listed<'a>(requirement: &'a str, operator: &str) -> Option<(&'a str, Vec<&'a str>)> {
    let (key, set) = requirement.split_once(operator)?;
    let inner = set.trim().strip_prefix('(')?.strip_suffix(')')?;
    Some((key, inner.split(',').map(str::trim).collect()))
}
