//! Where AWS is called, and what is demanded of a place, as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// Where AWS is called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAws {
    /// AWS Region, such as `eu-west-1`. Default: the SDK's own search.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's.
    pub endpoint_url: Option<String>,
    /// IAM role to assume.
    pub role_arn: Option<String>,
    /// AWS accounts in which something may start. Default: any.
    pub allowed_accounts: Option<Vec<String>>,
    /// AWS Regions in which something may start. Default: any.
    pub allowed_regions: Option<Vec<String>>,
    /// Most FIS experiments that may be active in an account and Region, those of others among them. Default: no limit.
    pub max_active_experiments: Option<i64>,
}

/// Where AWS is called.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPlace {
    /// AWS Region, such as `eu-west-1`. Default: the SDK's own search.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's.
    pub endpoint_url: Option<String>,
    /// IAM role to assume.
    pub role_arn: Option<String>,
}

/// What has to be well before an experiment starts.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHealth {
    /// CloudWatch alarms that must be OK, by name or ARN.
    pub alarms: Vec<String>,
    /// For how long they must have been. Default `0s`.
    pub ok_for: Option<String>,
}
