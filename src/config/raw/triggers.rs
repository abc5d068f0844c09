//! Event triggers and mappings as written.

use schemars::JsonSchema;
use serde::Deserialize;

/// An event trigger. Either `on` or `pattern` says which events it takes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTrigger {
    /// Name of a preset, such as `codedeploy-success`; `firedrill event presets` lists them. This or `pattern`.
    pub on: Option<String>,
    /// EventBridge event pattern: a table, or a text that holds JSON. This or `on`.
    pub pattern: Option<serde_json::Value>,
    /// With `on`: applications, `*` for any characters. Default: all.
    pub application: Option<RawTexts>,
    /// With `on`: services, `*` for any characters. Default: all.
    pub service: Option<RawTexts>,
    /// With `on`: branches, `*` for any characters. Default: all.
    pub branch: Option<RawTexts>,
    /// With `on`: environments, `*` for any characters. Default: all.
    pub environment: Option<RawTexts>,
    /// Queues and webhooks that its events come from. Default: any.
    pub queues: Vec<String>,
    /// JSON pointers to what is deployed; of several the parts are joined by `/`. Default: those of the preset.
    pub key: Option<RawTexts>,
    /// JSON pointers to its version, of which the first that is there counts. Default: those of the preset.
    pub version: Option<RawTexts>,
    /// JSON pointers to the deployment's own id, of which the first that is there counts. Default: those of the preset.
    pub deployment_id: Option<RawTexts>,
    /// EventBridge event pattern of those of its events that tell of a rollback. Default: that of the preset.
    pub rollback: Option<serde_json::Value>,
    /// What happens to a rollback. Default `run`: what happens to any other deployment.
    pub rollbacks: Option<RawRollbacks>,
    /// Time between the event and the earliest start. Default: that of the preset, mostly `0s`.
    pub settle: Option<String>,
    /// How long further events of the same key may postpone the start by settling anew. Default: no limit.
    pub settle_limit: Option<String>,
    /// How long a run may wait for a blackout to lift. Default `0s`: it is skipped.
    pub hold_for: Option<String>,
    /// How long after settling a run may still start. Default `10m`.
    pub start_deadline: Option<String>,
    /// Least age of an event, by its own time, at the start. Default `0s`.
    pub min_age: Option<String>,
    /// Greatest age of an event, by its own time, at the start; `none` for any. Default `1h`, or as long as settling and
    /// `start_deadline` take.
    pub max_age: Option<String>,
    /// Which runs of the same key a newer version ends. Default `pending`: those that wait.
    pub supersede: Option<RawSupersede>,
    /// Least time from the start of a run to the start of the next one of the same key. Default `0s`.
    pub cool_down: Option<String>,
    /// One deployment in so many starts a run. Default `1`: every one.
    pub one_in: Option<i64>,
}

/// One text, or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum RawTexts {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawRollbacks {
    Run,
    Skip,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawSupersede {
    Pending,
    Running,
}

/// How a body of another shape becomes an event, whose `detail` is the body.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawMapping {
    /// Which bodies it takes: an event pattern of the body.
    pub when: Option<serde_json::Value>,
    /// `source` of the event: a text, or a JSON pointer into the body, which begins with `/`.
    pub source: Option<String>,
    /// `detail-type` of the event: a text, or a JSON pointer into the body, which begins with `/`.
    pub detail_type: Option<String>,
    /// JSON pointer to what only this event has. Default: a digest of the body where that has a time, else
    /// the id of the message.
    pub id: Option<String>,
    /// JSON pointer to its time: RFC 3339, or seconds or milliseconds since 1970. Default: when it was received.
    pub time: Option<String>,
}
