//! Target account configurations: whose resources a multi-account template reaches, and by which role.
//!
//! An experiment has those its template had when it was started. AWS does not say what a configuration of a
//! single-account template would mean. It could never be used, since UpdateExperimentTemplate cannot change
//! `accountTargeting`, so it is refused: the simulator's choice.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Fis,
    model::Input,
    page::page,
    template::{self, AccountTargeting, Template},
    tokens::Kind,
};
use crate::simulator::wire::{Answer, ApiError};

/// Configurations per template (AWS FIS user guide, fis-quotas).
const MAX_ACCOUNTS: usize = 40;

/// One account of a multi-account template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountConfiguration {
    pub(super) account_id: String,
    pub(super) role_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// What it was created with.
    #[serde(default, skip_serializing)]
    pub(super) client_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Change {
    role_arn: Option<String>,
    description: Option<String>,
}

impl Fis {
    /// CreateTargetAccountConfiguration.
    pub(super) fn create_account(&mut self, input: &Input) -> Answer {
        let template = self.template(input.text("experimentTemplateId"))?;
        if let Some(token) = input.optional("clientToken")
            && self.tokens.repeated(Kind::Account, token, input)?.is_some()
        {
            return self.get_account(input);
        }
        let created: AccountConfiguration = input.parsed()?;
        template::check_role("roleArn", &created.role_arn)?;
        if template.definition.experiment_options.account_targeting != AccountTargeting::MultiAccount {
            return Err(ApiError::validation(format!(
                "experimentTemplateId: accountTargeting of {} is not multi-account",
                template.id
            )));
        }
        if template.accounts.contains_key(&created.account_id) {
            return Err(ApiError::conflict(format!("Account {} is already configured.", created.account_id)));
        }
        if template.accounts.len() >= MAX_ACCOUNTS {
            return Err(ApiError::quota(format!("At most {MAX_ACCOUNTS} target account configurations are allowed.")));
        }
        let id = template.id.clone();
        if let Some(token) = &created.client_token {
            self.tokens.remember(Kind::Account, token, input, &id);
        }
        self.template_mut(&id)?.accounts.insert(created.account_id.clone(), created);
        self.get_account(input)
    }

    /// GetTargetAccountConfiguration.
    pub(super) fn get_account(&self, input: &Input) -> Answer {
        found(self.template(input.text("experimentTemplateId"))?, input)
    }

    /// UpdateTargetAccountConfiguration.
    pub(super) fn update_account(&mut self, input: &Input) -> Answer {
        self.get_account(input)?;
        let change: Change = input.parsed()?;
        if let Some(role) = &change.role_arn {
            template::check_role("roleArn", role)?;
        }
        let template = self.template_mut(input.text("experimentTemplateId"))?;
        if let Some(account) = template.accounts.get_mut(input.text("accountId")) {
            account.role_arn = change.role_arn.unwrap_or_else(|| account.role_arn.clone());
            account.description = change.description.or_else(|| account.description.clone());
        }
        self.get_account(input)
    }

    /// DeleteTargetAccountConfiguration.
    pub(super) fn delete_account(&mut self, input: &Input) -> Answer {
        let answer = self.get_account(input)?;
        let template = self.template_mut(input.text("experimentTemplateId"))?;
        let removed = template.accounts.remove(input.text("accountId"));
        if let Some(token) = removed.and_then(|account| account.client_token) {
            self.tokens.forget(Kind::Account, &token);
        }
        Ok(answer)
    }

    /// ListTargetAccountConfigurations.
    pub(super) fn list_accounts(&self, input: &Input) -> Answer {
        listed(self.template(input.text("experimentTemplateId"))?, input)
    }

    /// GetExperimentTargetAccountConfiguration.
    pub(super) fn get_experiment_account(&self, input: &Input) -> Answer {
        found(&self.experiment(input.text("experimentId"))?.template, input)
    }

    /// ListExperimentTargetAccountConfigurations.
    pub(super) fn list_experiment_accounts(&self, input: &Input) -> Answer {
        listed(&self.experiment(input.text("experimentId"))?.template, input)
    }
}

fn found(template: &Template, input: &Input) -> Answer {
    let id = input.text("accountId");
    let account = template.accounts.get(id).map(|account| json!({"targetAccountConfiguration": account}));
    account.ok_or_else(|| ApiError::not_found(format!("Target account configuration {id} does not exist.")))
}

fn listed(template: &Template, input: &Input) -> Answer {
    let render = |account: &AccountConfiguration| -> Value { json!(account) };
    page(input, "targetAccountConfigurations", template.accounts.values(), |account| account.account_id.clone(), render)
}
