//! What the simulated account holds: the resources that targets can resolve to.
//!
//! Read from a TOML or JSON file, or invented: without a list every target selector finds something plausible, with one
//! only what the list holds. What a resource tells beside type, ARN and tags is what filters and parameters look at;
//! for pods see [`super::pods`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pods;
use crate::domain::{catalogue, words::did_you_mean};

/// Most problems told of one file.
const MAX_TOLD: usize = 20;

/// Resources of the simulated account.
#[derive(Debug, Clone, Default)]
pub enum Inventory {
    /// Every selector finds resources made up for it.
    #[default]
    Invented,
    /// Selectors find only these.
    Listed(Vec<Resource>),
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// FIS resource type, `aws:ec2:instance`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its ARN. In a file a pod may leave it out.
    #[serde(default)]
    pub arn: String,
    /// Its tags.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// All else that filters and target parameters may look at, by its Describe name: `{"State": {"Name": "running"}}`.
    #[serde(flatten)]
    pub attributes: Map<String, Value>,
}

/// An inventory file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// The file cannot be read.
    #[error("cannot read inventory `{}`", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML with `[[resource]]` tables.
    #[error("inventory `{}` is not TOML with [[resource]] tables of type, arn and tags", path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: Box<toml::de::Error>,
    },
    /// The file is not a JSON list of resources.
    #[error("inventory `{}` is not a JSON list of resources with type, arn and tags", path.display())]
    NotJson {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// Resources in it cannot be.
    #[error("inventory `{}` holds resources that cannot be:\n{}", path.display(), problems.join("\n"))]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What is wrong with which resource.
        problems: Vec<String>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, alias = "resources")]
    resource: Vec<toml::Spanned<Resource>>,
}

impl Inventory {
    /// Reads a file: JSON (a list of resources) when its name ends with `.json`, else TOML (`[[resource]]` tables).
    ///
    /// # Errors
    /// [`InventoryError`] when the file cannot be read, has another shape, or holds a resource of an unknown type, with
    /// an ARN that is none, or twice.
    pub fn from_file(path: &Path) -> Result<Self, InventoryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InventoryError::Unreadable { path: path.to_owned(), source })?;
        let placed = if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            from_json(&text).map_err(|source| InventoryError::NotJson { path: path.to_owned(), source })?
        } else {
            let not_toml = |source| InventoryError::NotToml { path: path.to_owned(), source: Box::new(source) };
            from_toml(&text).map_err(not_toml)?
        };
        checked(placed).map(Self::Listed).map_err(|problems| InventoryError::Wrong { path: path.to_owned(), problems })
    }

    /// The resources that are listed, for the state page; null while they are invented.
    pub(in crate::simulator) fn dump(&self) -> Value {
        match self {
            Self::Invented => Value::Null,
            Self::Listed(resources) => serde_json::json!(resources),
        }
    }

    /// Takes a list that came without a file.
    ///
    /// # Errors
    /// Every problem with its place, as of a file.
    pub(in crate::simulator) fn from_list(resources: Vec<Resource>) -> Result<Self, Vec<String>> {
        checked(placed(resources)).map(Self::Listed)
    }
}

/// Resources and where each stands.
type Placed = Vec<(String, Resource)>;

fn from_json(text: &str) -> Result<Placed, serde_json::Error> {
    serde_json::from_str(text).map(placed)
}

fn placed(resources: Vec<Resource>) -> Placed {
    resources.into_iter().enumerate().map(|(index, resource)| (format!("[{index}]"), resource)).collect()
}

fn from_toml(text: &str) -> Result<Placed, toml::de::Error> {
    let file: File = toml::from_str(text)?;
    let place = |index: usize, offset: usize| {
        let line = text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("line {line}, resource[{index}]")
    };
    let placed = file.resource.into_iter().enumerate();
    Ok(placed.map(|(index, resource)| (place(index, resource.span().start), resource.into_inner())).collect())
}

/// Checks what the shape alone does not, and tells every problem with its place.
fn checked(placed: Placed) -> Result<Vec<Resource>, Vec<String>> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut resources = Vec::new();
    for (place, mut resource) in placed {
        if resource.resource_type == pods::TYPE && resource.arn.is_empty() {
            resource.arn = pods::arn(&resource).unwrap_or_default();
        }
        if let Err(problem) = known(&resource.resource_type).and_then(|()| well_formed(&resource)) {
            problems.push(format!("{place}: {problem}"));
            continue;
        }
        match seen.insert((resource.resource_type.clone(), resource.arn.clone()), place.clone()) {
            Some(first) => problems.push(format!("{place}: `{}` stands at {first} already", resource.arn)),
            None => resources.push(resource),
        }
    }
    let untold = problems.len().saturating_sub(MAX_TOLD);
    if untold > 0 {
        problems.truncate(MAX_TOLD);
        problems.push(format!("and {untold} more"));
    }
    if problems.is_empty() { Ok(resources) } else { Err(problems) }
}

fn known(resource_type: &str) -> Result<(), String> {
    let all = catalogue::all();
    let mut types: BTreeSet<&str> = all.target_resource_types.iter().map(|kind| kind.resource_type.as_str()).collect();
    types.extend(all.actions.iter().flat_map(|action| action.targets.values()).map(String::as_str));
    if types.contains(resource_type) {
        return Ok(());
    }
    let hint = did_you_mean(resource_type, types).map(|hint| format!("; {hint}")).unwrap_or_default();
    Err(format!("unknown resource type `{resource_type}`{hint}"))
}

fn well_formed(resource: &Resource) -> Result<(), String> {
    if resource.arn.is_empty() {
        let pod = resource.resource_type == pods::TYPE;
        let needs = if pod { ", or clusterIdentifier (an ARN), namespace and podName" } else { "" };
        return Err(format!("a resource of type `{}` needs an arn{needs}", resource.resource_type));
    }
    let parts: Vec<&str> = resource.arn.splitn(6, ':').collect();
    let account = |text: &str| text.is_empty() || (text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()));
    match parts.as_slice() {
        ["arn", partition, service, _region, owner, name]
            if !partition.is_empty() && !service.is_empty() && account(owner) && !name.is_empty() =>
        {
            Ok(())
        }
        _other => Err(format!("`{}` is not an ARN (arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE)", resource.arn)),
    }
}

impl Resource {
    /// Account in its ARN; empty for the resources whose ARN has none, as that of a bucket.
    pub(in crate::simulator::fis) fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or("")
    }

    /// Whether it belongs to an account, as far as its ARN tells.
    pub(in crate::simulator::fis) fn is_of(&self, account: &str) -> bool {
        let own = self.account();
        own.is_empty() || own == account
    }
}
