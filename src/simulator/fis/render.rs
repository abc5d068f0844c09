//! Experiments as the API and the simulator's own callers see them.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::experiment::{ActionRun, ActionsMode, Experiment};
use crate::{domain::fis::FisStatus, simulator::wire::epoch_seconds};

/// What became of an experiment that was started; for tests and the state page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentRecord {
    /// `EXP…`.
    pub id: String,
    /// `EXT…`.
    pub template_id: String,
    /// Token that StartExperiment was called with.
    pub client_token: String,
    /// Its tags now.
    pub tags: BTreeMap<String, String>,
    /// Whether it is a target preview (`actionsMode: skip-all`).
    pub preview: bool,
    /// Its status now.
    pub status: FisStatus,
    /// The reason of that status.
    pub reason: String,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Its actions by name.
    pub actions: BTreeMap<String, ActionRecord>,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionRecord {
    /// Its status now.
    pub status: FisStatus,
    /// The reason of that status.
    pub reason: String,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Experiment {
    /// The experiment for tests and the state page.
    pub(in crate::simulator) fn record(&self) -> ExperimentRecord {
        let action = |run: &ActionRun| ActionRecord {
            status: run.state.status.clone(),
            reason: run.state.reason.clone(),
            started_at: run.started,
            ended_at: run.ended,
        };
        ExperimentRecord {
            id: self.id.clone(),
            template_id: self.template.id.clone(),
            client_token: self.client_token.clone(),
            tags: self.tags.clone(),
            preview: self.mode == ActionsMode::SkipAll,
            status: self.state.status.clone(),
            reason: self.state.reason.clone(),
            created_at: self.created,
            ended_at: self.ended,
            actions: self.actions.iter().map(|(name, run)| (name.clone(), action(run))).collect(),
        }
    }

    /// The experiment as Start, Get and Stop return it.
    pub(super) fn rendered(&self) -> Value {
        let definition = &self.template.definition;
        let mut body = self.summary();
        body["roleArn"] = json!(definition.role_arn);
        body["targets"] = json!(definition.targets);
        body["actions"] = self.rendered_actions();
        body["stopConditions"] = json!(definition.stop_conditions);
        body["startTime"] = epoch_seconds(self.created);
        if let Some(ended) = self.ended {
            body["endTime"] = epoch_seconds(ended);
        }
        body["targetAccountConfigurationsCount"] = json!(self.template.accounts.len());
        if let Some(log) = &definition.log_configuration {
            body["logConfiguration"] = json!(log);
        }
        if let Some(configuration) = &definition.experiment_report_configuration {
            let configuration = json!(configuration);
            if let Some(report) = self.report.rendered(&configuration, &self.id) {
                body["experimentReport"] = report;
            }
            body["experimentReportConfiguration"] = configuration;
        }
        body
    }

    /// The experiment as ListExperiments returns it.
    pub(super) fn summary(&self) -> Value {
        let mut options = json!(self.template.definition.experiment_options);
        options["actionsMode"] = json!(self.mode);
        json!({
            "id": self.id,
            "arn": self.arn,
            "experimentTemplateId": self.template.id,
            "state": self.rendered_state(),
            "creationTime": epoch_seconds(self.created),
            "tags": self.tags,
            "experimentOptions": options,
        })
    }

    fn rendered_state(&self) -> Value {
        let mut state = json!({"status": self.state.status.as_str(), "reason": self.state.reason});
        if let Some(error) = &self.error {
            state["error"] = json!({"accountId": error.account, "code": error.code});
            if let Some(location) = &error.location {
                state["error"]["location"] = json!(location);
            }
        }
        state
    }

    fn rendered_actions(&self) -> Value {
        let mut actions = Map::new();
        for (name, spec) in &self.template.definition.actions {
            let Some(run) = self.actions.get(name) else { continue };
            let mut body = json!(spec);
            body["state"] = json!({"status": run.state.status.as_str(), "reason": run.state.reason});
            if let Some(started) = run.started {
                body["startTime"] = epoch_seconds(started);
            }
            if let Some(ended) = run.ended {
                body["endTime"] = epoch_seconds(ended);
            }
            actions.insert(name.clone(), body);
        }
        Value::Object(actions)
    }
}
