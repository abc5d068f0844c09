//! What the simulated account holds: the resources that targets can resolve to.
//!
//! Read from a TOML or JSON file, or invented: without a list every target selector finds something plausible, with one
//! only what the list holds.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::{Map, Value};

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
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Resource {
    /// FIS resource type, `aws:ec2:instance`.
    #[serde(rename = "type")]
    pub resource_type: String,
    /// Its ARN.
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
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, alias = "resources")]
    resource: Vec<Resource>,
}

impl Inventory {
    /// Reads a file: JSON (a list of resources) when its name ends with `.json`, else TOML (`[[resource]]` tables).
    ///
    /// # Errors
    /// [`InventoryError`] when the file cannot be read or has another shape.
    pub fn from_file(path: &Path) -> Result<Self, InventoryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| InventoryError::Unreadable { path: path.to_owned(), source })?;
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            let resources = serde_json::from_str(&text)
                .map_err(|source| InventoryError::NotJson { path: path.to_owned(), source })?;
            return Ok(Self::Listed(resources));
        }
        let file: File = toml::from_str(&text)
            .map_err(|source| InventoryError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
        Ok(Self::Listed(file.resource))
    }
}
