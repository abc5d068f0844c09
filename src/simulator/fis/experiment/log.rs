//! The experiment log, in AWS's record format: one JSON object a line (AWS FIS user guide, monitoring-logging).
//!
//! Records are only made here; who takes them writes them. The order of the members is the guide's.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::State;
use crate::simulator::{
    clock::whole_seconds as seconds,
    fis::targets::{
        inventory::Resource,
        pods::{self, Information},
    },
};

/// Most resolved targets in one record; more of them take further pages. AWS's own number is not documented.
const PAGE: usize = 100;

/// Whether records are made; somebody must take them then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::simulator) enum KeepLog {
    /// Every experiment is recorded, whether its template asks for it or not.
    Yes,
    /// No record is made.
    No,
}

/// `logSchemaVersion`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum Version {
    #[serde(rename = "1")]
    One,
    #[serde(rename = "2")]
    Two,
}

/// The log of one experiment, as far as it has not been taken.
#[derive(Debug, Clone)]
pub(in crate::simulator::fis) struct Log {
    id: String,
    version: Version,
    lines: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Record<'a> {
    id: &'a str,
    log_type: &'static str,
    event_timestamp: String,
    version: Version,
    details: Details<'a>,
}

/// `details` by log type.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Details<'a> {
    ExperimentStart {
        experiment_template_id: &'a str,
        experiment_start_time: String,
    },
    ResolutionStart {
        target_resolution_start_time: String,
        target_name: &'a str,
    },
    ResolutionDetail {
        target_resolution_end_time: String,
        target_name: &'a str,
        target_type: &'a str,
        account_id: &'a str,
        resolved_targets_count: usize,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_information: Option<&'a str>,
    },
    ResolutionEnd {
        target_resolution_end_time: String,
        target_name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        target_type: Option<&'a str>,
        resolved_targets: Vec<Shown<'a>>,
        page: usize,
        total_pages: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_information: Option<&'a str>,
    },
    ActionStart {
        action_name: &'a str,
        action_id: &'a str,
        action_start_time: String,
        action_targets: &'a BTreeMap<String, String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        parameters: Option<&'a BTreeMap<String, String>>,
    },
    ActionError {
        action_name: &'a str,
        action_id: &'a str,
        account_id: &'a str,
        action_state: StateDetail<'a>,
    },
    ActionEnd {
        action_name: &'a str,
        action_id: &'a str,
        action_end_time: String,
        action_state: StateDetail<'a>,
    },
    ExperimentEnd {
        experiment_end_time: String,
        experiment_state: StateDetail<'a>,
    },
}

/// One resolved target.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Arn(&'a str),
    Information(Information<'a>),
}

#[derive(Debug, Serialize)]
struct StateDetail<'a> {
    status: &'a str,
    reason: &'a str,
}

/// A target that was resolved, or could not be.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator::fis) struct Resolved<'a> {
    pub(in crate::simulator::fis) name: &'a str,
    pub(in crate::simulator::fis) resource_type: &'a str,
    pub(in crate::simulator::fis) found: &'a [Resource],
    /// Accounts that were looked into.
    pub(in crate::simulator::fis) accounts: &'a [&'a str],
    pub(in crate::simulator::fis) error: Option<&'a str>,
}

/// An action by its name and id.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator::fis) struct Named<'a> {
    pub(in crate::simulator::fis) name: &'a str,
    pub(in crate::simulator::fis) id: &'a str,
}

impl Log {
    /// Begins the log of an experiment with its first record; the configuration may name a schema version, else it is the
    /// current one.
    pub(in crate::simulator::fis) fn begin(id: &str, template: &str, configuration: &Value, at: Timestamp) -> Self {
        let version = if configuration["logSchemaVersion"] == 1 { Version::One } else { Version::Two };
        let mut log = Self { id: id.to_owned(), version, lines: Vec::new() };
        let details = Details::ExperimentStart { experiment_template_id: template, experiment_start_time: seconds(at) };
        log.append("experiment-start", at, details);
        log
    }

    /// Takes the lines made since the last call.
    pub(in crate::simulator::fis) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn append(&mut self, log_type: &'static str, at: Timestamp, details: Details<'_>) {
        let event_timestamp = seconds(at);
        let record = Record { id: &self.id, log_type, event_timestamp, version: self.version, details };
        match serde_json::to_string(&record) {
            Ok(line) => self.lines.push(line),
            // Only a map with keys that are no strings could not be written, and there is none.
            Err(error) => tracing::error!("an experiment's log record was not written: {error}"),
        }
    }

    /// A target's resolution, from start to end.
    pub(in crate::simulator::fis) fn resolution<'a>(&mut self, target: Resolved<'a>, at: Timestamp) {
        let version = self.version;
        let Resolved { name, resource_type, found, accounts, error } = target;
        let started = Details::ResolutionStart { target_resolution_start_time: seconds(at), target_name: name };
        self.append("target-resolution-start", at, started);
        for account in accounts.iter().filter(|_| version == Version::Two) {
            let details = Details::ResolutionDetail {
                target_resolution_end_time: seconds(at),
                target_name: name,
                target_type: resource_type,
                account_id: account,
                resolved_targets_count: found.iter().filter(|resource| resource.is_of(account)).count(),
                status: if error.is_some() { "failed" } else { "completed" },
                error_information: error,
            };
            self.append("target-resolution-detail", at, details);
        }
        let pages: Vec<&[Resource]> = if found.is_empty() { vec![found] } else { found.chunks(PAGE).collect() };
        for (index, page) in pages.iter().enumerate() {
            let shown = |resource: &'a Resource| match version {
                Version::One => Shown::Arn(&resource.arn),
                Version::Two => Shown::Information(pods::information(resource)),
            };
            let details = Details::ResolutionEnd {
                target_resolution_end_time: seconds(at),
                target_name: name,
                target_type: (version == Version::Two).then_some(resource_type),
                resolved_targets: page.iter().map(shown).collect(),
                page: index + 1,
                total_pages: pages.len(),
                error_information: error,
            };
            self.append("target-resolution-end", at, details);
        }
    }

    /// An action begins.
    pub(in crate::simulator::fis) fn action_start(
        &mut self,
        action: Named<'_>,
        targets: &BTreeMap<String, String>,
        parameters: &BTreeMap<String, String>,
        at: Timestamp,
    ) {
        let details = Details::ActionStart {
            action_name: action.name,
            action_id: action.id,
            action_start_time: seconds(at),
            action_targets: targets,
            parameters: (!parameters.is_empty()).then_some(parameters),
        };
        self.append("action-start", at, details);
    }

    /// An action failed in an account.
    pub(in crate::simulator::fis) fn action_error(
        &mut self,
        action: Named<'_>,
        account: &str,
        state: &State,
        at: Timestamp,
    ) {
        if self.version == Version::One {
            return;
        }
        let details = Details::ActionError {
            action_name: action.name,
            action_id: action.id,
            account_id: account,
            action_state: state.into(),
        };
        self.append("action-error", at, details);
    }

    /// An action that began has ended.
    pub(in crate::simulator::fis) fn action_end(&mut self, action: Named<'_>, state: &State, at: Timestamp) {
        let details = Details::ActionEnd {
            action_name: action.name,
            action_id: action.id,
            action_end_time: seconds(at),
            action_state: state.into(),
        };
        self.append("action-end", at, details);
    }

    /// The experiment has ended. The guide's sample has no full stop where the API has one.
    pub(in crate::simulator::fis) fn experiment_end(&mut self, state: &State, at: Timestamp) {
        let mut shown = StateDetail::from(state);
        if shown.status == "completed" {
            shown.reason = shown.reason.trim_end_matches('.');
        }
        let details = Details::ExperimentEnd { experiment_end_time: seconds(at), experiment_state: shown };
        self.append("experiment-end", at, details);
    }
}

impl<'a> From<&'a State> for StateDetail<'a> {
    fn from(state: &'a State) -> Self {
        Self { status: state.status.as_str(), reason: &state.reason }
    }
}
