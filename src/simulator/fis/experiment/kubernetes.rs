//! Kubernetes custom resources, as aws:eks:inject-kubernetes-custom-resource creates and polls them.
//!
//! Which ones FIS supports: AWS FIS user guide, fis-actions-reference. How long their work takes is read from the spec
//! where it tells.

use jiff::SignedDuration;
use serde_json::Value;

use crate::simulator::fis::template::ActionSpec;

/// Kinds of `chaos-mesh.org/v1alpha1`.
const CHAOS_MESH: &[&str] = &[
    "AWSChaos",
    "DNSChaos",
    "GCPChaos",
    "HTTPChaos",
    "IOChaos",
    "JVMChaos",
    "KernelChaos",
    "NetworkChaos",
    "PhysicalMachineChaos",
    "PodChaos",
    "PodHttpChaos",
    "PodIOChaos",
    "PodNetworkChaos",
    "Schedule",
    "StressChaos",
    "TimeChaos",
];

/// Time that chaos takes to start up and to recover beside its own: users report that `maxDuration` must leave some
/// seconds for it. How many is the simulator's choice.
const START_AND_RECOVERY: SignedDuration = SignedDuration::from_secs(10);

/// What users see when the kind is not installed.
const NO_RESOURCE: &str = "Unable to get custom resource: Unexpected status.";

/// What is known of an action's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator::fis) enum Work {
    /// The action has nothing to do with Kubernetes.
    NotKubernetes,
    /// The spec does not say how long it takes.
    NotTold,
    /// The resource cannot be had, for this reason.
    Unsupported(&'static str),
    /// It takes so long, start and recovery included.
    Takes(SignedDuration),
}

/// Foresees the work of an action: `TOTAL_CHAOS_DURATION` of a Litmus ChaosEngine, wherever in the spec its `env` is, or
/// `duration` of a Chaos Mesh object.
pub(in crate::simulator::fis) fn work(spec: &ActionSpec) -> Work {
    let parameter = |name: &str| spec.parameters.get(name).map(String::as_str);
    let Some(kind) = parameter("kubernetesKind") else { return Work::NotKubernetes };
    let document = parameter("kubernetesSpec").and_then(|text| serde_json::from_str::<Value>(text).ok());
    let own = match parameter("kubernetesApiVersion") {
        Some("litmuschaos.io/v1alpha1") if kind == "ChaosEngine" => document.as_ref().and_then(engine_duration),
        Some("chaos-mesh.org/v1alpha1") if CHAOS_MESH.contains(&kind) => document.as_ref().and_then(mesh_duration),
        _other => return Work::Unsupported(NO_RESOURCE),
    };
    own.map_or(Work::NotTold, |own| Work::Takes(own.saturating_add(START_AND_RECOVERY)))
}

fn mesh_duration(document: &Value) -> Option<SignedDuration> {
    let text = document.get("duration")?.as_str()?;
    text.parse::<SignedDuration>().ok().filter(|duration| !duration.is_negative())
}

/// The experiments of an engine run one after the other, so their times add up.
fn engine_duration(node: &Value) -> Option<SignedDuration> {
    let sum = |nodes: &mut dyn Iterator<Item = &Value>| {
        nodes.filter_map(engine_duration).reduce(SignedDuration::saturating_add)
    };
    match node {
        Value::Array(items) => sum(&mut items.iter()),
        Value::Object(members) if members.get("name").is_some_and(|name| name == "TOTAL_CHAOS_DURATION") => {
            let value = members.get("value")?;
            let seconds = value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())?;
            (seconds >= 0).then(|| SignedDuration::from_secs(seconds))
        }
        Value::Object(members) => sum(&mut members.values()),
        _scalar => None,
    }
}
