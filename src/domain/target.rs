//! Whether two templates are aimed at the same thing, so that their runs must not meet.
//!
//! Pure, and told by what the templates say alone: no resource is looked up. Two of their targets are shared when
//! 1. both name the same ARN;
//! 2. both demand the same tag, key and value, whatever resources they are about: a tag names a system, and a fault in
//!    one part of it is the other's disturbance, in another Region too;
//! 3. both are about one resource type in one Region and nothing tells them apart. Only these do: both name nothing but
//!    ARNs, of which they have none in common; or both demand a tag of the same key with different values. Filters,
//!    parameters and selection modes narrow a target down, but what they leave is not known before the experiment runs.
//!
//! An action without targets (a wait, an SSM automation) shares nothing: what a document touches is not said by the
//! template. Put such experiments into a group.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::template::{TargetFacts, TemplateFacts};

/// What two templates are both aimed at. Ordered by how exactly it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SharedTarget {
    /// One resource.
    Arn {
        /// Its ARN.
        arn: String,
    },
    /// Whatever carries a tag.
    Tag {
        /// Its key.
        key: String,
        /// Its value.
        value: String,
    },
    /// Resources of one type that nothing tells apart.
    ResourceType {
        /// `aws:service:resource`.
        resource_type: String,
    },
}

impl fmt::Display for SharedTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arn { arn } => write!(f, "{arn}"),
            Self::Tag { key, value } => write!(f, "tag {key}={value}"),
            Self::ResourceType { resource_type } => write!(f, "resource type {resource_type}"),
        }
    }
}

/// Finds what two templates are both aimed at, the most exact of it; the answer is the same in either order.
pub fn shares_target(a: &TemplateFacts, b: &TemplateFacts) -> Option<SharedTarget> {
    let apart = matches!((&a.region, &b.region), (Some(a), Some(b)) if a != b);
    let pairs = a.targets.values().flat_map(|x| b.targets.values().map(move |y| (x, y)));
    pairs.filter_map(|(x, y)| named_by_both(x, y).or_else(|| alike(x, y).filter(|_| !apart))).min()
}

/// Rules 1 and 2.
fn named_by_both(x: &TargetFacts, y: &TargetFacts) -> Option<SharedTarget> {
    let arn = x.arns.iter().filter(|arn| y.arns.contains(arn)).min();
    let tag = || x.tags.iter().find(|(key, value)| y.tags.get(*key) == Some(value));
    arn.map(|arn| SharedTarget::Arn { arn: arn.clone() })
        .or_else(|| tag().map(|(key, value)| SharedTarget::Tag { key: key.clone(), value: value.clone() }))
}

/// Rule 3.
fn alike(x: &TargetFacts, y: &TargetFacts) -> Option<SharedTarget> {
    let lists = |target: &TargetFacts| !target.arns.is_empty() && target.tags.is_empty();
    let are_other_arns = lists(x) && lists(y);
    let is_other_value = x.tags.iter().any(|(key, value)| y.tags.get(key).is_some_and(|other| other != value));
    let kind = kind(&x.resource_type);
    let is_shared = kind == self::kind(&y.resource_type) && !are_other_arns && !is_other_value;
    is_shared.then(|| SharedTarget::ResourceType { resource_type: kind.to_owned() })
}

/// Names a resource type by what its resources are: FIS has two words for some.
fn kind(resource_type: &str) -> &str {
    match resource_type {
        "aws:ec2:spot-instance" => "aws:ec2:instance",
        "aws:elasticache:redis-replicationgroup" => "aws:elasticache:replicationgroup",
        other => other,
    }
}
