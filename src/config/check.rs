//! Gives the configuration its meaning: raw values become settings, and every mistake becomes a problem.
//!
//! A check goes on after a mistake with a value that is never used, since one problem means no settings.

mod budget;
mod calendars;
mod experiments;
mod limits;
mod mappings;
mod places;
mod policy;
mod provision;
mod schedules;
mod spans;
mod state;
mod triggers;
mod values;
mod webhooks;
mod windows;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
};

use jiff::SignedDuration;

use super::{
    path::{Index, KeyPath},
    problem::Problem,
    raw::{Raw, RawEventBus, RawLogFormat, RawOnShutdown, RawPlace, RawQueue, RawTelemetry},
    settings::{Endpoint, EventBus, LogFormat, OnShutdown, Queue, Settings, State, Telemetry},
    sources::Completeness,
};
use crate::domain::{
    calendar::reading::Reading,
    experiment::{Place, Rules},
    schedule::CronSchedule,
};
pub use state::state;
pub use values::parse_duration;
use values::{DAY, HOUR, MINUTE, SECOND, shown};

/// Folder of the store when nothing names one.
const DEFAULT_STATE_DIRECTORY: &str = "/var/lib/firedrill";

/// Variable in which systemd passes the folders of `StateDirectory=`, separated by colons.
const STATE_DIRECTORY: &str = "STATE_DIRECTORY";

/// How long a stop of the agent takes where what runs is left: for calls under way.
const DRAIN: SignedDuration = SignedDuration::from_secs(30);

/// How long it takes where what runs is stopped: 30 s for the call, then a start without an answer is looked for until it is
/// found, or [`DOUBT_LOOKS`](crate::domain::plan::DOUBT_LOOKS) looks have found none, each five seconds after the answer to
/// the one before, which may be slow; and what is found last is told to stop.
const DRAIN_WITH_STOP: SignedDuration = SignedDuration::from_mins(5);

/// Most receivers of one queue.
const MAX_RECEIVERS: u32 = 10;

/// A check under way.
pub struct Check<'a> {
    index: &'a Index,
    spoiled: &'a [KeyPath],
    completeness: Completeness,
    /// Names of all experiments, also of those with mistakes.
    declared: Vec<String>,
    /// Names of all groups, also of those with mistakes.
    declared_groups: Vec<String>,
    /// Names of all queues and webhooks, also of those with mistakes.
    declared_sources: Vec<String>,
    /// Names of all calendars, also of those with mistakes.
    declared_calendars: Vec<String>,
    /// What is known of the calendars without mistakes, by name.
    readings: BTreeMap<String, Reading>,
    /// Cron expressions read so far: by expression, zone and, where chance has a part in it, seed. Many are alike.
    patterns: HashMap<(String, String, String), CronSchedule>,
    /// Mistakes.
    pub problems: Vec<Problem>,
    /// What is right but seldom meant.
    pub warnings: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Starts a check. Of what is at or below a spoiled path nothing more is said.
    pub fn new(index: &'a Index, spoiled: &'a [KeyPath], completeness: Completeness) -> Self {
        Self {
            index,
            spoiled,
            completeness,
            declared: Vec::new(),
            declared_groups: Vec::new(),
            declared_sources: Vec::new(),
            declared_calendars: Vec::new(),
            readings: BTreeMap::new(),
            patterns: HashMap::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Checks everything.
    pub fn settings(&mut self, raw: Raw, env: &[(String, String)]) -> Settings {
        let root = KeyPath::default();
        let (aws, limits) = self.aws(raw.aws);
        self.declared_sources = raw.queues.keys().cloned().collect();
        let queues = raw.queues.into_iter().filter_map(|(name, queue)| self.queue(&name, queue, &aws)).collect();
        let listens = raw.http.listen.is_some();
        let http_listen = self.listen(&root.key("http").key("listen"), raw.http.listen);
        let webhooks = self.webhooks(raw.http.webhooks, listens);
        let event_bus = raw.event_bus.and_then(|bus| self.event_bus(bus, &aws));
        self.declared = raw.experiments.keys().cloned().collect();
        let groups = self.groups(raw.groups);
        let mappings = self.mappings(raw.mappings, &raw.experiments);
        let policy = self.policy(raw.policy);
        let experiments = self.experiments(raw.experiments, &aws, &policy, &limits);
        let calendars = self.calendars(raw.calendars, &aws);
        let windows = self.windows(raw.windows, &experiments);
        let agent = root.key("agent");
        let drain = agent.key("drain_timeout");
        let history = root.key("history");
        let on_shutdown = match raw.agent.on_shutdown {
            None | Some(RawOnShutdown::Leave) => OnShutdown::Leave,
            Some(RawOnShutdown::Stop) => OnShutdown::Stop,
        };
        let drains = if on_shutdown == OnShutdown::Stop { DRAIN_WITH_STOP } else { DRAIN };
        let state = state_directory(raw.state_directory, env);
        let state = self.state(state, raw.state, raw.state_password_file, raw.replica);
        let replica = state.postgres.as_ref().and_then(|server| server.replica.clone());
        let settings = Settings {
            state,
            rules: Rules {
                experiments,
                windows,
                groups,
                budget: self.budget(raw.budget),
                limits,
                mappings,
                ..Rules::default()
            },
            calendars,
            place: aws,
            queues,
            event_bus,
            http_listen,
            webhooks,
            on_shutdown,
            drain_timeout: self.duration(&drain, raw.agent.drain_timeout, drains, SignedDuration::ZERO..=HOUR),
            history: self.duration(&history, raw.history, DAY * 90, DAY..=DAY * 3_660),
            history_runs: self.history_runs(&root.key("history_runs"), raw.history_runs),
            telemetry: self.telemetry(raw.telemetry, replica),
        };
        self.doubts(&settings);
        settings
    }

    fn queue(&mut self, name: &str, raw: RawQueue, aws: &Place) -> Option<Queue> {
        let path = KeyPath::default().key("queues").key(name);
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let place = self.place(&path, place, aws);
        let url = self.required(&path.key("url"), raw.url).and_then(|url| self.url(&path.key("url"), url));
        let concurrency = self.number(&path.key("concurrency"), raw.concurrency, 1, MAX_RECEIVERS);
        let provision = raw.provision.map(|raw| self.provision(&path.key("provision"), raw, url.as_deref()));
        Some(Queue { name: self.name(&path, name)?, url: url?, place, concurrency, provision })
    }

    fn event_bus(&mut self, raw: RawEventBus, aws: &Place) -> Option<EventBus> {
        let path = KeyPath::default().key("event_bus");
        let place = RawPlace { region: raw.region, endpoint_url: raw.endpoint_url, role_arn: raw.role_arn };
        let place = self.place(&path, place, aws);
        Some(EventBus { name: self.required(&path.key("name"), raw.name)?, place })
    }

    fn telemetry(&mut self, raw: RawTelemetry, replica: Option<String>) -> Telemetry {
        let path = KeyPath::default().key("telemetry");
        let log_filter = raw.log_filter.unwrap_or_else(|| "info".to_owned());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log_filter) {
            let hint = "write a level, or levels by module: `info,firedrill=debug`".to_owned();
            self.problem(&path.key("log_filter"), format!("`{log_filter}` is not a filter: {error}"), Some(hint));
        }
        let interval = path.key("metric_interval");
        Telemetry {
            otlp_endpoint: raw
                .otlp_endpoint
                .and_then(|url| self.url(&path.key("otlp_endpoint"), url))
                .map(Endpoint::new),
            log_format: match raw.log_format {
                None | Some(RawLogFormat::Text) => LogFormat::Text,
                Some(RawLogFormat::Json) => LogFormat::Json,
            },
            log_filter,
            metric_interval: self.duration(&interval, raw.metric_interval, MINUTE, SECOND..=HOUR),
            replica,
        }
    }

    /// Warns of what is right in every part and yet does nothing as a whole.
    fn doubts(&mut self, settings: &Settings) {
        if settings.on_shutdown == OnShutdown::Stop && settings.drain_timeout < DRAIN_WITH_STOP {
            let path = KeyPath::default().key("agent").key("drain_timeout");
            let short =
                "is too short to be certain that nothing runs on: a start without an answer is looked for longer";
            let hint = format!("leave it out, or write `{}`", shown(DRAIN_WITH_STOP));
            self.doubt(&path, short.to_owned(), Some(hint));
        }
        let experiments = KeyPath::default().key("experiments");
        if self.completeness == Completeness::Partial {
            return;
        }
        if settings.rules.experiments.is_empty() {
            self.warn(&experiments, "there is no experiment, so nothing will ever run".to_owned());
        }
        for calendar in &settings.calendars {
            let mut used = settings.rules.windows.iter().flat_map(|window| &window.calendars);
            if !used.any(|reading| reading.calendar == calendar.name) {
                let path = KeyPath::default().key("calendars").key(calendar.name.as_str());
                self.warn(&path, "no window refers to it".to_owned());
            }
        }
        if settings.queues.is_empty() && settings.webhooks.is_empty() {
            for experiment in settings.rules.experiments.values().filter(|e| !e.triggers.is_empty()) {
                let path = experiments.key(experiment.name.as_str()).key("triggers");
                self.warn(&path, "no queue is configured, and no webhook, so no event will ever arrive".to_owned());
            }
        }
    }

    fn problem(&mut self, path: &KeyPath, message: String, hint: Option<String>) {
        if self.spoiled.iter().any(|spoiled| path.is_within(spoiled)) {
            return;
        }
        self.problems.push(Problem { place: self.index.value(path), path: path.to_string(), message, hint });
    }

    fn warn(&mut self, path: &KeyPath, message: String) {
        self.doubt(path, message, None);
    }

    /// Warns, and says what would be right.
    fn doubt(&mut self, path: &KeyPath, message: String, hint: Option<String>) {
        let place = self.index.value(path);
        self.warnings.push(Problem { place, path: path.to_string(), message, hint });
    }

    /// Demands a value.
    fn required<T>(&mut self, path: &KeyPath, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.problem(path, "is missing".to_owned(), None);
        }
        value
    }
}

/// Returns the folder of the store: as configured, else as systemd says, else the default.
pub fn state_directory(configured: Option<String>, env: &[(String, String)]) -> State {
    let of_service = || {
        let (_, folders) = env.iter().find(|(name, _)| name == STATE_DIRECTORY)?;
        folders.split(':').next().filter(|folder| !folder.is_empty()).map(str::to_owned)
    };
    let directory =
        configured.or_else(of_service).map_or_else(|| PathBuf::from(DEFAULT_STATE_DIRECTORY), PathBuf::from);
    State { directory, postgres: None }
}
