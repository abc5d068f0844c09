//! The operations on experiment templates.
//!
//! What a template may say is decided in [`super`].

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Definition, Template};
use crate::simulator::{
    fis::{
        Fis,
        experiment::World,
        model::Input,
        page::page,
        tags::{self, Tags},
        tokens::Kind,
    },
    ids::Ids,
    wire::{Answer, ApiError},
};

/// Templates per account and Region (AWS FIS user guide, fis-quotas).
const MAX_TEMPLATES: usize = 500;

#[derive(Deserialize)]
struct Tagged {
    #[serde(default)]
    tags: Tags,
}

impl Fis {
    /// CreateExperimentTemplate.
    pub(in crate::simulator::fis) fn create_template(
        &mut self,
        input: &Input,
        world: World<'_>,
        ids: &mut Ids,
        now: Timestamp,
    ) -> Answer {
        let client_token = input.text("clientToken");
        if let Some(id) = self.tokens.repeated(Kind::Template, client_token, input)? {
            return self.get_template(&id);
        }
        let definition = Definition::read(&json!(input.members()), world.choices.unknown_action)?;
        let Tagged { tags } = input.parsed()?;
        tags::check(&tags)?;
        if self.templates.len() >= MAX_TEMPLATES {
            return Err(ApiError::quota(format!("At most {MAX_TEMPLATES} experiment templates are allowed.")));
        }
        let id = ids.template();
        let template = Template {
            arn: format!("{}:experiment-template/{id}", world.account.fis_arn()),
            id: id.clone(),
            client_token: client_token.to_owned(),
            definition,
            tags,
            accounts: BTreeMap::new(),
            created: now,
            updated: now,
        };
        self.tokens.remember(Kind::Template, client_token, input, &id);
        self.templates.insert(id.clone(), Arc::new(template));
        self.get_template(&id)
    }

    /// GetExperimentTemplate.
    pub(in crate::simulator::fis) fn get_template(&self, id: &str) -> Answer {
        Ok(json!({"experimentTemplate": self.template(id)?.rendered()}))
    }

    /// UpdateExperimentTemplate: the members given replace those stored, options one by one. That a map of actions or
    /// targets is replaced as a whole is the simulator's choice.
    pub(in crate::simulator::fis) fn update_template(
        &mut self,
        input: &Input,
        world: World<'_>,
        now: Timestamp,
    ) -> Answer {
        let id = input.text("id");
        let mut merged = json!(self.template(id)?.definition);
        for (key, value) in input.members() {
            match (key.as_str(), value.as_object()) {
                ("experimentOptions", Some(options)) => {
                    for (option, value) in options {
                        merged[key][option] = value.clone();
                    }
                }
                _whole => merged[key] = value.clone(),
            }
        }
        let definition = Definition::read(&merged, world.choices.unknown_action)?;
        let template = self.template_mut(id)?;
        template.definition = definition;
        template.updated = now;
        self.get_template(id)
    }

    /// DeleteExperimentTemplate. Experiments keep what they were started from.
    pub(in crate::simulator::fis) fn delete_template(&mut self, id: &str) -> Answer {
        let answer = self.get_template(id)?;
        if let Some(template) = self.templates.remove(id) {
            self.tokens.forget(Kind::Template, &template.client_token);
            for token in template.accounts.values().filter_map(|account| account.client_token.as_deref()) {
                self.tokens.forget(Kind::Account, token);
            }
        }
        Ok(answer)
    }

    /// ListExperimentTemplates, by id. AWS's order is not documented.
    pub(in crate::simulator::fis) fn list_templates(&self, input: &Input) -> Answer {
        let render = |template: &Arc<Template>| -> Value { template.summary() };
        page(input, "experimentTemplates", self.templates.values(), |template| template.id.clone(), render)
    }

    /// A template by id.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(in crate::simulator::fis) fn template(&self, id: &str) -> Result<&Arc<Template>, ApiError> {
        self.templates.get(id).ok_or_else(|| missing(id))
    }

    /// A template by id, to be changed; experiments keep it as it was.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(in crate::simulator::fis) fn template_mut(&mut self, id: &str) -> Result<&mut Template, ApiError> {
        self.templates.get_mut(id).map(Arc::make_mut).ok_or_else(|| missing(id))
    }
}

fn missing(id: &str) -> ApiError {
    ApiError::not_found(format!("Experiment template {id} does not exist."))
}
