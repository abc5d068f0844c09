//! Tags of templates, experiments and actions (AWS FIS user guide, tagging).

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use serde_json::json;

use super::{Fis, experiment::World, model::Input};
use crate::{
    domain::catalogue,
    simulator::wire::{Answer, ApiError},
};

/// Tags of one resource.
pub(super) type Tags = BTreeMap<String, String>;

/// Most tags of one resource (FIS API model).
const MAX_TAGS: usize = 50;

/// What a tag may contain besides letters, digits and spaces (AWS FIS user guide, tagging).
const SIGNS: &str = "_.:/=+-@";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Untagging {
    #[serde(default)]
    tag_keys: Vec<String>,
}

#[derive(Deserialize)]
struct Tagging {
    tags: Tags,
}

/// Checks all tags that a resource will have.
///
/// # Errors
/// `ValidationException` when there are too many, or one is reserved or has other characters than tags may have.
pub(super) fn check(tags: &Tags) -> Result<(), ApiError> {
    if tags.len() > MAX_TAGS {
        return Err(ApiError::validation(format!("tags: a resource has at most {MAX_TAGS}")));
    }
    let fits = |c: char| c.is_alphanumeric() || c.is_whitespace() || SIGNS.contains(c);
    for (key, value) in tags {
        if key.to_lowercase().starts_with("aws:") {
            return Err(ApiError::validation(format!("tags.{key}: tag keys that begin with aws: are reserved")));
        }
        if !key.chars().chain(value.chars()).all(fits) {
            let text = format!("tags.{key}: a tag has letters, digits, spaces and {SIGNS} only");
            return Err(ApiError::validation(text));
        }
    }
    Ok(())
}

impl Fis {
    /// The tags of an action.
    pub(super) fn tags_of_action(&self, id: &str) -> Tags {
        self.action_tags.get(id).cloned().unwrap_or_default()
    }

    fn tags_of(&mut self, arn: &str, world: World<'_>) -> Result<&mut Tags, ApiError> {
        let missing = || ApiError::not_found(format!("Resource {arn} does not exist."));
        let resource = arn.strip_prefix(&world.account.fis_arn()).and_then(|rest| rest.strip_prefix(':'));
        let found = match resource.and_then(|resource| resource.split_once('/')) {
            Some(("experiment-template", id)) => self.templates.get_mut(id).map(|it| &mut Arc::make_mut(it).tags),
            Some(("experiment", id)) => self.experiments.get_mut(id).map(|experiment| &mut experiment.tags),
            Some(("action", id)) => catalogue::action(id).map(|it| self.action_tags.entry(it.id.clone()).or_default()),
            _other => None,
        };
        found.ok_or_else(missing)
    }

    /// TagResource.
    pub(super) fn tag(&mut self, input: &Input, world: World<'_>) -> Answer {
        let Tagging { tags: added } = input.parsed()?;
        let tags = self.tags_of(input.text("resourceArn"), world)?;
        let mut merged = tags.clone();
        merged.extend(added);
        check(&merged)?;
        *tags = merged;
        Ok(json!({}))
    }

    /// UntagResource. Without keys all tags go, as an example of the AWS CLI says.
    pub(super) fn untag(&mut self, input: &Input, world: World<'_>) -> Answer {
        let Untagging { tag_keys } = input.parsed()?;
        self.tags_of(input.text("resourceArn"), world)?
            .retain(|key, _| !tag_keys.is_empty() && !tag_keys.contains(key));
        Ok(json!({}))
    }

    /// ListTagsForResource.
    pub(super) fn list_tags(&mut self, arn: &str, world: World<'_>) -> Answer {
        Ok(json!({"tags": self.tags_of(arn, world)?}))
    }
}
