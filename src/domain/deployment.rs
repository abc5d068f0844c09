//! Deployments: what an event says was deployed, and what is remembered of each thing that is deployed.
//!
//! Pure. An event is read by JSON pointers ([`Reading`]); the run that it opens carries the [`Deployment`] and the
//! [`Terms`] of its trigger. [`Deployed`] is the row of one key of one experiment: it follows from what is recorded of its
//! runs, is written in the same transaction, and only guards read it (see [`super::plan`]).

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    civil::later,
    ids::{ExperimentName, RunId, fingerprint},
    ledger::Noted,
    outcome::Outcome,
    pattern::Pattern,
    run::{Observation, Run, RunState, Trigger},
};

/// Longest key, version and id of a deployment that is kept as it is, in bytes; a longer one is cut and told apart by a
/// digest.
pub const MAX_TEXT_BYTES: usize = 256;

/// Longest cool-down of a key.
pub const MAX_COOL_DOWN: SignedDuration = SignedDuration::from_hours(90 * 24);

/// Key of a row: the experiment and the deployment's own key.
pub type DeployedKey = (ExperimentName, String);

/// Where in an event it stands what was deployed. Pointers are JSON pointers (RFC 6901) into the whole event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// The parts of the key, joined by `/`; without one of them there is no key. Empty: events have no key.
    pub key: Vec<String>,
    /// The version: the first that is there.
    pub version: Vec<String>,
    /// The deployment's own id: the first that is there.
    pub id: Vec<String>,
    /// Which events tell of a rollback.
    pub rollback: Option<Pattern>,
}

/// What an event says was deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// What: application, service, stack.
    pub key: String,
    /// Which version of it: revision, image digest, commit.
    pub version: Option<String>,
    /// The deployment's own id.
    pub id: Option<String>,
    /// Whether it went back to an earlier version.
    #[serde(default)]
    pub direction: Direction,
    /// Its place among the deployments of its key: when it happened, as far as can be told.
    pub order: Timestamp,
}

/// Whether a deployment went back to an earlier version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// It did not, or nobody says so.
    #[default]
    Forward,
    /// It did.
    Rollback,
}

/// What happens to a running run when a newer version of the same key is deployed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Supersede {
    /// Only runs that wait are superseded.
    #[default]
    Pending,
    /// It is stopped too, and the newer run waits for its end.
    Running,
}

/// What a trigger asks for, as it was when the run was opened: a reload does not change the terms of a run that waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Terms {
    /// Until when the event is fresh enough (inclusive); `None` for ever.
    pub fresh_until: Option<Timestamp>,
    /// How long further events of the key may postpone the start; `None` for ever.
    pub settle_limit: Option<SignedDuration>,
    /// When the event is old enough (inclusive), however long its key takes to settle.
    pub ripe_at: Option<Timestamp>,
    /// Least time from the start of a run to the start of the next one of the same key.
    pub cool_down: SignedDuration,
    /// What happens to a running run of the same key.
    pub supersede: Supersede,
}

impl Reading {
    /// Reads what was deployed; `None` when the event has no key. `order` is its place among those of its key.
    pub fn read(&self, event: &Value, direction: Direction, order: Timestamp) -> Option<Deployment> {
        let parts: Option<Vec<String>> = self.key.iter().map(|pointer| text_at(event, pointer)).collect();
        let key = parts.filter(|parts| !parts.is_empty())?.join("/");
        let first = |pointers: &[String]| pointers.iter().find_map(|pointer| text_at(event, pointer)).map(bounded);
        let (version, id) = (first(&self.version), first(&self.id));
        Some(Deployment { key: bounded(key), version, id, direction, order })
    }
}

/// The scalar at a pointer as text.
fn text_at(event: &Value, pointer: &str) -> Option<String> {
    match event.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        scalar @ (Value::Number(_) | Value::Bool(_)) => Some(scalar.to_string()),
        _nothing_to_tell_apart_by => None,
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_TEXT_BYTES {
        let digest = fingerprint(&[&text]);
        let kept = MAX_TEXT_BYTES - digest.len() - 1;
        let cut = (0..=kept).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(cut);
        text.push('#');
        text.push_str(&digest);
    }
    text
}

/// What is remembered of one key of one experiment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deployed {
    /// The newest deployment that opened a run.
    pub newest: Option<Known>,
    /// The last one whose start was asked for.
    pub begun: Option<Known>,
    /// The one before that, should it turn out that nothing came of the last one.
    pub begun_before: Option<Known>,
    /// When the key last changed.
    pub change: Option<Change>,
}

/// A stretch of time in which one deployment of a key follows another before it has come to rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When the first of them was recorded.
    pub since: Timestamp,
    /// When the last of them has come to rest, and its run may start.
    pub until: Timestamp,
}

/// A deployment that is remembered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its run.
    pub run: RunId,
    /// Which version.
    pub version: Option<String>,
    /// Its place among those of the key.
    pub order: Timestamp,
    /// When the run was opened (of the newest) or its start was first asked for (of the last begun).
    pub at: Timestamp,
}

impl Deployed {
    /// Returns the key of the row that a run's observations belong to.
    pub fn key(run: &Run) -> Option<DeployedKey> {
        Some((run.experiment.clone(), run.trigger.deployment()?.key.clone()))
    }

    /// Notes an observation, the opening included; `run` is the run after it.
    pub fn note(&mut self, run: &Run, observation: &Observation, at: Timestamp) -> Noted {
        let Some(deployment) = run.trigger.deployment() else { return Noted::Nothing };
        let known = |at| {
            let (run, version) = (run.id.clone(), deployment.version.clone());
            Some(Known { run, version, order: deployment.order, at })
        };
        let before = self.clone();
        let is_newer = |newest: &Known| (newest.order, newest.at) <= (deployment.order, run.opened_at);
        if run.revision == 0 && self.newest.as_ref().is_none_or(is_newer) {
            self.newest = known(run.opened_at);
            self.change = Some(Change::after(self.change, run));
        }
        match (observation, &run.state) {
            (Observation::StartAsked { .. }, RunState::Starting { attempt: 1, .. }) => {
                self.begun_before = std::mem::replace(&mut self.begun, known(at));
            }
            (_, RunState::Skipped { .. } | RunState::Finished { outcome: Outcome::NotStarted { .. }, .. }) => {
                self.begun_before.take_if(|before| before.run == run.id);
                if self.begun.as_ref().is_some_and(|begun| begun.run == run.id) {
                    self.begun = self.begun_before.take();
                }
            }
            _ => {}
        }
        if before == *self { Noted::Nothing } else { Noted::Changed }
    }
}

impl Change {
    /// Returns the change that a run's deployment begins, or goes on with where the one before has not come to rest.
    fn after(before: Option<Self>, run: &Run) -> Self {
        let terms = run.trigger.terms();
        let goes_on = before.filter(|change| (change.since..change.until).contains(&run.opened_at));
        let since = goes_on.map_or(run.opened_at, |change| change.since);
        let limit = terms.settle_limit.map_or(run.not_before, |limit| later(since, limit));
        let earliest = terms.ripe_at.map_or(run.opened_at, |ripe| ripe.max(run.opened_at));
        Self { since, until: run.not_before.min(limit.max(earliest)) }
    }
}

impl Trigger {
    /// Returns what was deployed, where the run is about that.
    pub fn deployment(&self) -> Option<&Deployment> {
        match self {
            Self::Event { deployment, .. } => deployment.as_deref(),
            Self::Slot { .. } | Self::Manual { .. } | Self::Backfill { .. } => None,
        }
    }

    /// Returns what its trigger asked for when it was opened.
    pub fn terms(&self) -> Terms {
        match self {
            Self::Event { terms, .. } => *terms,
            Self::Slot { .. } | Self::Manual { .. } | Self::Backfill { .. } => Terms::default(),
        }
    }
}

/// What a tag's value may hold to be filled in for each run.
pub const PLACEHOLDERS: [&str; 3] = ["{deployment.key}", "{deployment.version}", "{deployment.id}"];

/// Longest value of a tag, in characters (AWS general reference, tag naming limits).
pub const MAX_TAG_VALUE: usize = 256;

/// Tells whether a tag's value is filled in for each run.
pub fn is_template(value: &str) -> bool {
    PLACEHOLDERS.iter().any(|placeholder| value.contains(placeholder))
}

/// Fills in the values of tags for a run; a tag that asks for what the run does not know is left out. Characters that tags may
/// not have become `_`.
pub fn filled_in(tags: &BTreeMap<String, String>, run: &Run) -> BTreeMap<String, String> {
    let fill = |(key, value): (&String, &String)| {
        let value = if is_template(value) { filled(value, run.trigger.deployment())? } else { value.clone() };
        Some((key.clone(), value))
    };
    tags.iter().filter_map(fill).collect()
}

fn filled(template: &str, deployment: Option<&Deployment>) -> Option<String> {
    let deployment = deployment?;
    let known = [Some(&deployment.key), deployment.version.as_ref(), deployment.id.as_ref()];
    let mut rest = template;
    let mut filled = String::new();
    // What is filled in is foreign text and is not looked at again.
    while let Some(at) = rest.find('{') {
        let (before, after) = rest.split_at(at);
        filled.push_str(before);
        let named = PLACEHOLDERS.iter().zip(known).find(|(placeholder, _)| after.starts_with(**placeholder));
        rest = match named {
            Some((placeholder, value)) => {
                filled.push_str(value?);
                &after[placeholder.len()..]
            }
            None => {
                filled.push('{');
                &after[1..]
            }
        };
    }
    filled.push_str(rest);
    let allowed = |c: char| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c);
    Some(filled.chars().take(MAX_TAG_VALUE).map(|c| if allowed(c) { c } else { '_' }).collect())
}
