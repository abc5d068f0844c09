//! What is read of a place (account, Region, endpoint) before something starts there: facts that no row of ours knows.
//!
//! Pure data. The adapter reads them; what they allow is judged in [`crate::domain::plan`]. They change behind our back at
//! any time, so they are good for seconds only.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    experiment::{Experiment, Place, Rules},
    ids::RunId,
    lever::Found,
};

/// Which places may be used, and how much may go on in one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PlaceLimits {
    /// AWS accounts in which something may start; `None` for any.
    pub accounts: Option<BTreeSet<String>>,
    /// AWS Regions in which something may start; `None` for any.
    pub regions: Option<BTreeSet<String>>,
    /// Most FIS experiments that may be active in an account and Region, those of others among them; `None` for no limit of
    /// ours.
    pub max_active: Option<u32>,
}

impl PlaceLimits {
    /// Tells whether not every account and Region is allowed.
    pub fn restrict(&self) -> bool {
        self.accounts.is_some() || self.regions.is_some()
    }

    /// Tells whether an identity's account and Region are allowed. A Region that is not known is in no list.
    pub fn allow(&self, identity: &Identity) -> bool {
        let accounts = self.accounts.as_ref().is_none_or(|accounts| accounts.contains(&identity.account));
        let is_listed = |regions: &BTreeSet<String>| identity.region.as_ref().is_some_and(|r| regions.contains(r));
        accounts && self.regions.as_ref().is_none_or(is_listed)
    }
}

/// What has to be well before an experiment starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// CloudWatch alarms that must be OK, by name or ARN.
    pub alarms: BTreeSet<String>,
    /// For how long they must have been.
    pub ok_for: SignedDuration,
}

/// What a start wants to know of its place. The safety lever is always asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Whose the credentials are.
    pub identity: bool,
    /// Which experiments are active.
    pub active: bool,
    /// How these alarms are, by name or ARN.
    pub alarms: BTreeSet<String>,
}

impl Wanted {
    /// Returns what a start of an experiment wants to know.
    pub fn of(rules: &Rules, experiment: &Experiment) -> Self {
        Self {
            // Two places of one account and Region share its experiments.
            identity: rules.limits.restrict() || rules.limits.max_active.is_some(),
            active: rules.limits.max_active.is_some(),
            alarms: experiment.health.as_ref().map(|health| health.alarms.clone()).unwrap_or_default(),
        }
    }

    /// Tells whether whoever asked for this learned all that `other` wants to know.
    pub fn covers(&self, other: &Self) -> bool {
        (self.identity || !other.identity) && (self.active || !other.active) && other.alarms.is_subset(&self.alarms)
    }
}

/// What was read of a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceFacts {
    /// When AWS was asked; everything is at least as new as this.
    pub read_at: Timestamp,
    /// Of which place.
    pub place: Place,
    /// The safety lever of its account and Region: engaged, FIS ends what runs and cancels what is started (AWS FIS user
    /// guide, safety-lever).
    pub lever: Found,
    /// Whose the credentials are; `None` when it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// The FIS experiments that are active, by id, and the runs whose tags they carry; `None` when it was not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<BTreeMap<String, Option<RunId>>>,
    /// The alarms that were asked for, by the name or ARN that they were asked for by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub alarms: BTreeMap<String, Alarm>,
}

impl PlaceFacts {
    /// Tells whether another reading says nothing new.
    pub fn is_as(&self, other: &Self) -> bool {
        *self == Self { read_at: self.read_at, ..other.clone() }
    }

    /// Tells whether everything was read that a start wants to know.
    pub fn tell(&self, wanted: &Wanted) -> bool {
        (self.identity.is_some() || !wanted.identity)
            && (self.active.is_some() || !wanted.active)
            && wanted.alarms.iter().all(|alarm| self.alarms.contains_key(alarm))
    }
}

/// Whose credentials are used, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// AWS account, as sts:GetCallerIdentity says.
    pub account: String,
    /// AWS Region that is called; `None` when nobody named one.
    pub region: Option<String>,
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let region = self.region.as_deref().unwrap_or("unknown");
        write!(f, "account {}, Region {region}", self.account)
    }
}

/// A CloudWatch alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// How it is.
    pub state: AlarmState,
    /// Since when; `None` when AWS did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// State of a CloudWatch alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AlarmState {
    /// Its metrics are as they should be.
    Ok,
    /// They are not.
    Alarm,
    /// Nobody knows.
    InsufficientData,
    /// There is no such alarm.
    Missing,
    /// A value that this version does not know, as AWS wrote it, or none.
    #[serde(untagged)]
    Unknown(String),
}

impl AlarmState {
    /// Reads AWS's text.
    pub fn from_text(text: &str) -> Self {
        match text {
            "OK" => Self::Ok,
            "ALARM" => Self::Alarm,
            "INSUFFICIENT_DATA" => Self::InsufficientData,
            other => Self::Unknown(other.to_owned()),
        }
    }

    /// Returns AWS's text, or ours for an alarm that is not there.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Ok => "OK",
            Self::Alarm => "ALARM",
            Self::InsufficientData => "INSUFFICIENT_DATA",
            Self::Missing => "missing",
            Self::Unknown(text) => text,
        }
    }
}
