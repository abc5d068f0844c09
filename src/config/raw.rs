//! The configuration as written: every key, optional, with its type and nothing else checked.
//!
//! The doc comments are the descriptions of the published schema. What the values mean is decided in `check`.

mod place;
mod triggers;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

pub use place::{RawAws, RawHealth, RawPlace};
pub use triggers::{RawMapping, RawRollbacks, RawSupersede, RawTexts, RawTrigger};

/// Configuration of Firedrill.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Raw {
    /// Folder of the store and the socket. Default: `$STATE_DIRECTORY`, else `/var/lib/firedrill`.
    pub state_directory: Option<String>,
    /// Server of the store, for several replicas: `postgres://USER@HOST/DATABASE`, without a password. Default: a file in the
    /// state directory.
    pub state: Option<String>,
    /// File of the password for `state`.
    pub state_password_file: Option<String>,
    /// Name of this replica. Default: host name and process id.
    pub replica: Option<String>,
    /// How long finished runs, events and journal entries are kept. Default `90d`.
    pub history: Option<String>,
    /// Most finished runs that are kept, and newest events among which those are kept that opened no run: 1000 to 100000000.
    /// Default 200000.
    pub history_runs: Option<i64>,
    /// Where AWS is called when nothing else is said.
    pub aws: RawAws,
    /// The agent itself.
    pub agent: RawAgent,
    /// Listener for health and read-only status.
    pub http: RawHttp,
    /// Queues that deployment events arrive on.
    pub queues: BTreeMap<String, RawQueue>,
    /// How bodies of other shapes become events.
    pub mappings: BTreeMap<String, RawMapping>,
    /// Bus that run events are put on.
    pub event_bus: Option<RawEventBus>,
    /// Traces, metrics and logs.
    pub telemetry: RawTelemetry,
    /// Calendars that windows refer to.
    pub calendars: BTreeMap<String, RawCalendar>,
    /// Times at which nothing may run, or at which alone something may.
    pub windows: BTreeMap<String, RawWindow>,
    /// Groups of experiments of which one runs at a time.
    pub groups: BTreeMap<String, RawGroup>,
    /// What runs may cost.
    pub budget: RawBudget,
    /// What is demanded of the templates of all experiments.
    pub policy: RawPolicy,
    /// Experiments.
    pub experiments: BTreeMap<String, RawExperiment>,
}

/// A group of experiments of which one runs at a time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGroup {
    /// Least time from the end of a run to the start of the next one of the group. Default `0s`.
    pub min_gap: Option<String>,
}

/// The agent itself.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAgent {
    /// What happens to running FIS experiments when the agent is told to stop. Default `leave`.
    pub on_shutdown: Option<RawOnShutdown>,
    /// How long a stop of the agent may wait. Default `30s`.
    pub drain_timeout: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawOnShutdown {
    Leave,
    Stop,
}

/// Listener for health and read-only status.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHttp {
    /// Address and port. Default: none.
    pub listen: Option<String>,
    /// Webhooks on it: `POST /hooks/NAME`.
    pub webhooks: BTreeMap<String, RawWebhook>,
}

/// A way in for events that somebody signs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWebhook {
    /// How they are signed.
    pub signature: Option<RawSignature>,
    /// File with the secret.
    pub secret_file: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawSignature {
    Github,
    Flux,
}

/// A queue that deployment events arrive on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawQueue {
    /// Queue URL.
    pub url: Option<String>,
    /// How many receivers read it beside each other, from 1 to 10. Default 1.
    pub concurrency: Option<i64>,
    /// AWS Region. Default: that of `aws`.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's. Default: that of `aws`.
    pub endpoint_url: Option<String>,
    /// IAM role to assume. Default: that of `aws`.
    pub role_arn: Option<String>,
    /// How `firedrill queue` makes it. Default: it does not.
    pub provision: Option<RawProvision>,
}

/// How a queue is made.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawProvision {
    /// Bus whose events are wanted. Default `default`.
    pub bus: Option<String>,
    /// How often a message is delivered before it goes to the dead-letter queue. Default 5.
    pub max_receives: Option<i64>,
    /// KMS key: id, alias or ARN. Default: SQS's own encryption.
    pub kms_key: Option<String>,
    /// How long the queue keeps messages. Default `4d`.
    pub retention: Option<String>,
}

/// Bus that run events are put on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawEventBus {
    /// Name or ARN of the bus.
    pub name: Option<String>,
    /// AWS Region. Default: that of `aws`.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's. Default: that of `aws`.
    pub endpoint_url: Option<String>,
    /// IAM role to assume. Default: that of `aws`.
    pub role_arn: Option<String>,
}

/// Traces, metrics and logs.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTelemetry {
    /// OTLP base URL. Default: what `OTEL_EXPORTER_OTLP_*` say.
    pub otlp_endpoint: Option<String>,
    /// Form of the log. Default `text`.
    pub log_format: Option<RawLogFormat>,
    /// Filter directives of the log. Default `info`.
    pub log_filter: Option<String>,
    /// Time between two metric exports. Default `60s`.
    pub metric_interval: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawLogFormat {
    Text,
    Json,
}

/// What runs may cost.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBudget {
    /// Most US dollars that the runs of a calendar month may cost together. Default: no limit.
    pub monthly_usd: Option<serde_json::Value>,
    /// US dollars an action-minute. Default: AWS's own price, 0.10, or 0.12 in GovCloud.
    pub price_per_action_minute: Option<serde_json::Value>,
    /// What happens to a run that could exceed the limit. Default `refuse`.
    pub on_exceeded: Option<RawOnExceeded>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawOnExceeded {
    Refuse,
    Warn,
}

/// What is demanded of the templates of all experiments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPolicy {
    /// Whether a template must have a stop condition. Default `true`.
    pub require_stop_condition: Option<bool>,
    /// Whether a target may select `ALL` of what is looked up for it. Default `false`.
    pub allow_all_targets: Option<bool>,
    /// Tags that a template must carry, all of them. Default `firedrill = "allowed"`.
    pub require_tags: Option<BTreeMap<String, String>>,
    /// Longest `max_duration` of an experiment, and its default. Default and most `12h`.
    pub max_duration: Option<String>,
}

/// What is demanded of the template of one experiment.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawOwnPolicy {
    /// Whether the template must have a stop condition.
    pub require_stop_condition: Option<bool>,
    /// Whether a target may select `ALL` of what is looked up for it.
    pub allow_all_targets: Option<bool>,
    /// Tags that the template must carry, all of them.
    pub require_tags: Option<BTreeMap<String, String>>,
    /// Why less is demanded here than elsewhere.
    pub reason: Option<String>,
}

/// A calendar that windows refer to.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCalendar {
    /// File of iCalendar text, relative to the folder of the file that names it. This or `ssm`.
    pub file: Option<String>,
    /// IANA time zone of dates and times in the file that name none, if the file does not either. Default `UTC`.
    pub timezone: Option<String>,
    /// Names or ARNs of Systems Manager change calendars; open only while all of them are. This or `file`.
    pub ssm: Option<Vec<String>>,
    /// Time between two reads. Default `5m`.
    pub refresh: Option<String>,
    /// How old what was read may be. Default `1h`.
    pub max_age: Option<String>,
    /// What happens when it cannot be read for longer than that. Default `closed`.
    pub on_failure: Option<RawUnread>,
    /// How long what was last read holds with `on_failure = "last-known"`. Default `24h`.
    pub last_known_for: Option<String>,
    /// AWS Region. Default: that of `aws`.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's. Default: that of `aws`.
    pub endpoint_url: Option<String>,
    /// IAM role to assume. Default: that of `aws`.
    pub role_arn: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawUnread {
    Closed,
    LastKnown,
}

/// A blackout or an allowed window.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWindow {
    /// Whether nothing may run inside (`blackout`) or nothing outside (`allowed`). Default `blackout`.
    pub kind: Option<RawWindowKind>,
    /// IANA time zone of its times. Default `UTC`.
    pub timezone: Option<String>,
    /// Weekly times: `Fri 18:00 - Mon 06:00`, `Mon-Fri 22:00-06:00`, `Sat,Sun`, `always`.
    pub weekly: Vec<String>,
    /// Dates that come once: `2026-12-24`, `2026-12-20T18:00 - 2027-01-02T06:00`.
    pub dates: Vec<String>,
    /// Days of every year (`12-24`, `12-31 - 01-02`) or month (`15`, `-1`).
    pub month_days: Vec<String>,
    /// Days and times in Alertmanager's words, of which the fields AND and the items OR.
    pub times: Vec<RawTimes>,
    /// Cron expression of the instants at which it begins. Together with `duration`.
    pub cron: Option<String>,
    /// How long it lasts from each instant of `cron`.
    pub duration: Option<String>,
    /// Calendars whose times it has.
    pub calendars: Vec<String>,
    /// Experiments that it is about, `*` for any characters. Default: all.
    pub experiments: Vec<String>,
    /// Tags that an experiment must carry for the window to be about it. Default: none.
    pub tags: BTreeMap<String, String>,
    /// Environments that it is about, `*` for any characters. Default: all.
    pub environments: Vec<String>,
    /// AWS accounts that it is about; an experiment whose account is not known may be in any, which closes time to it and
    /// never opens any. Default: all.
    pub accounts: Vec<String>,
    /// AWS Regions that it is about, `*` for any characters; one that is not known as with `accounts`. Default: all.
    pub regions: Vec<String>,
    /// How long before nothing may run any more nothing may start either that could still run then. Default `0s`.
    pub lead: Option<String>,
    /// What happens to runs that are going on when nothing may run any more. Default `stop`.
    pub on_entry: Option<RawOnEntry>,
    /// How long before that moment they are stopped. Default `60s`.
    pub stop_lead: Option<String>,
}

/// Days, and times of each of them. A field without entries holds any.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTimes {
    /// `monday`, `Sat`, `monday:friday`.
    pub weekdays: Vec<String>,
    /// `15`, `-1` for the last day, `1:5`, `-3:-1`.
    pub days_of_month: Vec<String>,
    /// `april`, `4`, `april:june`.
    pub months: Vec<String>,
    /// `2026`, `2026:2027`.
    pub years: Vec<String>,
    /// `09:00-17:00`; `22:00-06:00` ends on the next day. Default: whole days.
    pub times: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawWindowKind {
    Blackout,
    Allowed,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawOnEntry {
    Stop,
    Finish,
}

/// An experiment: a FIS template, what starts it, and its limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawExperiment {
    /// Id of the FIS template, `EXT…`. This or `template_tags`.
    pub template: Option<String>,
    /// Tags that exactly one FIS template carries. This or `template`.
    pub template_tags: Option<BTreeMap<String, String>>,
    /// AWS Region. Default: that of `aws`.
    pub region: Option<String>,
    /// Endpoint URL that replaces AWS's. Default: that of `aws`.
    pub endpoint_url: Option<String>,
    /// IAM role to assume. Default: that of `aws`.
    pub role_arn: Option<String>,
    /// AWS account that it runs in; windows select by it. Default: that of `role_arn`.
    pub account: Option<String>,
    /// Environment that it is about; windows select by it. Default: none.
    pub environment: Option<String>,
    /// What has to be well before it starts.
    pub health: Option<RawHealth>,
    /// Labels: windows select by them, and the FIS experiment carries them.
    pub tags: BTreeMap<String, String>,
    /// What happens to a run that is due while another is going on. Default `skip`.
    pub overlap: Option<RawOverlap>,
    /// How long a run may wait for its turn. Default `12h`.
    pub queue_for: Option<String>,
    /// Least time from the end of a run to the start of the next one. Default `0s`.
    pub min_gap: Option<String>,
    /// Groups it is in: of each, one experiment runs at a time. Default: none.
    pub groups: Vec<String>,
    /// Whether it may run beside an experiment with which it shares a target, if that says so too. Default `false`.
    pub share_targets: Option<bool>,
    /// What happens after a run that failed. Default `continue`.
    pub on_failure: Option<RawOnFailure>,
    /// What is demanded of its template instead. Default: that of `policy`.
    pub policy: RawOwnPolicy,
    /// A run is stopped after this time. Default and most: that of `policy`.
    pub max_duration: Option<String>,
    /// Which estimate of a run's length a start is judged by. Default `ceiling`.
    pub estimate: Option<RawEstimate>,
    /// Schedules.
    pub schedules: Vec<RawSchedule>,
    /// Event triggers.
    pub triggers: Vec<RawTrigger>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawOverlap {
    Skip,
    QueueOne,
    QueueAll,
    StopOther,
    Allow,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RawOnFailure {
    Continue,
    Pause,
    Classify,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawEstimate {
    Ceiling,
    Nominal,
    Learned,
}

/// A schedule. Exactly one of `cron`, `every` and `at` says when.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawSchedule {
    /// Name, under which its slots are kept. Default: made of its times (`cron`, `every` or `at`) and `timezone`.
    pub name: Option<String>,
    /// Cron expression of five fields, six (seconds first) or seven (year last), or a macro such as `@daily`.
    pub cron: Option<String>,
    /// Time between two slots, such as `36h`: elapsed time, whatever clocks do.
    pub every: Option<String>,
    /// First slot of `every`. Default: `start_date`, else 1970-01-01T00:00:00Z.
    pub anchor: Option<String>,
    /// The only slot: a local time or an instant.
    pub at: Option<String>,
    /// IANA time zone. Default `UTC`.
    pub timezone: Option<String>,
    /// What happens to a slot of `cron` whose local time clocks skip. Default `shift`.
    pub dst: Option<RawDst>,
    /// Nothing is a slot before it. Default: none.
    pub start_date: Option<String>,
    /// Nothing is a slot from it on; a day is included as a whole. Default: none.
    pub end_date: Option<String>,
    /// A run is due at a random time up to so long after its slot. Default: at the slot.
    pub jitter: Option<String>,
    /// A run is due, and must start, at a random time inside such a span from its slot on. Default: at the slot.
    pub within: Option<String>,
    /// Mean number of slots from one that is taken to the next. Default `1`: every slot.
    pub mtbf: Option<i64>,
    /// Most runs that the schedule may ever start. Default: no limit.
    pub max_runs: Option<i64>,
    /// What happens to slots that passed unseen. Default `latest`.
    pub missed: Option<RawMissed>,
    /// With `missed = "all"`: at most so many are made up for. Default `10`.
    pub max_missed: Option<i64>,
    /// How long after it is due a run may still start. Default `10m`.
    pub start_deadline: Option<String>,
    /// How long a run may wait for a blackout to lift. Default `0s`: it is skipped.
    pub hold_for: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawDst {
    Shift,
    Skip,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RawMissed {
    Latest,
    Skip,
    All,
}
