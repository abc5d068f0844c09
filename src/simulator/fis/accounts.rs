//! Target account configurations: whose resources a multi-account template reaches, and by which role.

use serde::{Deserialize, Serialize};

/// One account of a multi-account template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountConfiguration {
    pub(super) account_id: String,
    pub(super) role_arn: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}
