//! Settings: the configuration after every check. What stands here cannot be wrong any more.

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, sync::Arc};

use jiff::SignedDuration;
use serde::Serialize;

use crate::domain::{
    calendar::{found::Found, reading::Content},
    experiment::{Place, Rules},
    ids::{CalendarName, Name},
    provision::Options,
};

/// Everything that was configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the store and the socket are.
    pub state: State,
    /// Experiments and windows, for the planner.
    pub rules: Rules,
    /// Calendars that windows refer to.
    pub calendars: Vec<Calendar>,
    /// Where AWS is called when nothing else is said.
    pub place: Place,
    /// Queues that deployment events arrive on.
    pub queues: Vec<Queue>,
    /// Bus that run events are put on.
    pub event_bus: Option<EventBus>,
    /// Listener for health and read-only status; none by default.
    pub http_listen: Option<SocketAddr>,
    /// Webhooks on that listener, by name.
    pub webhooks: BTreeMap<Name, Webhook>,
    /// What happens to running FIS experiments when the agent is told to stop.
    pub on_shutdown: OnShutdown,
    /// How long a stop of the agent may wait for calls under way (and, with [`OnShutdown::Stop`], for experiments).
    pub drain_timeout: SignedDuration,
    /// How long finished runs, events and journal entries are kept.
    pub history: SignedDuration,
    /// Most finished runs that are kept, and newest events among which those are kept that opened no run.
    pub history_runs: u32,
    /// Traces, metrics and logs.
    pub telemetry: Telemetry,
}

/// Where the store and the socket are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Folder of the socket, and of the store unless that is on a server.
    pub directory: PathBuf,
    /// The server, if the store is on one.
    pub postgres: Option<Postgres>,
}

/// Most hosts of a store.
pub const MAX_HOSTS: usize = 8;

/// A store on a server that several replicas may share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Where: without a password.
    pub url: String,
    /// File of the password, where it takes one.
    pub password_file: Option<PathBuf>,
    /// This replica's name, where one is configured; see [`replica`].
    pub replica: Option<String>,
}

impl Postgres {
    /// The URL of each host, in the order in which they are tried: several stand with commas in the place of one, or of
    /// `host` and `port`.
    pub fn hosts(&self) -> Vec<String> {
        let (place, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let (scheme, rest) = place.split_once("://").unwrap_or(("postgres", place));
        let (account, rest) = rest.rsplit_once('@').map_or((String::new(), rest), |(a, rest)| (format!("{a}@"), rest));
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let parameters: Vec<_> = query.split('&').map(|text| text.split_once('=').unwrap_or((text, ""))).collect();
        let listed = |key: &str| ["host", "port"].contains(&key);
        let values = parameters.iter().filter(|(key, _)| listed(key)).map(|(_, value)| *value).chain([hosts]);
        let count = values.map(|list| list.split(',').count()).max().unwrap_or(1);
        // One port may be that of all.
        let nth = |list: &str, n| list.split(',').nth(n).or(list.split(',').next()).unwrap_or_default().to_owned();
        let url = |n| {
            let one = |(key, value): &(&str, &str)| match (listed(key), value.is_empty()) {
                (true, _) => format!("{key}={}", nth(value, n)),
                (false, true) => (*key).to_owned(),
                (false, false) => format!("{key}={value}"),
            };
            let query = parameters.iter().map(one).collect::<Vec<_>>().join("&");
            format!("{scheme}://{account}{}/{database}?{query}", nth(hosts, n))
        };
        (0..count.min(MAX_HOSTS)).map(url).collect()
    }

    /// Returns host and database, for people.
    pub fn shown(&self) -> String {
        let place = self.url.split('?').next().unwrap_or(&self.url);
        let place = place.split_once("://").map_or(place, |(_, rest)| rest);
        let place = place.rsplit_once('@').map_or(place, |(_, rest)| rest);
        format!("postgres://{place}")
    }
}

/// Returns the name that tells this process from its likes: the configured one, else that of the host and the process.
pub fn replica(configured: Option<&str>) -> String {
    configured.map(str::to_owned).unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}/{}", host.trim(), std::process::id())
    })
}

/// A calendar that windows refer to.
#[derive(Debug, Clone)]
pub struct Calendar {
    /// Its name in our configuration.
    pub name: CalendarName,
    /// Where it is read.
    pub source: CalendarSource,
    /// Time between two reads.
    pub refresh: SignedDuration,
    /// How long after it was read it is believed (inclusive).
    pub good_for: SignedDuration,
    /// What was found in a file when the configuration was loaded; `None` for what is not a file.
    pub found: Option<(Arc<Found>, Content)>,
}

/// Where a calendar is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum CalendarSource {
    /// A file of iCalendar text.
    File {
        /// Where it is.
        path: PathBuf,
        /// IANA zone of what names none in it.
        timezone: String,
    },
    /// Change calendars of Systems Manager, by name or ARN.
    ChangeCalendars {
        /// One or more.
        names: Vec<String>,
        /// Where Systems Manager is called for them.
        place: Place,
    },
}

impl CalendarSource {
    /// Tells whether it is a file, which is read when the configuration is.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    /// Returns a text that only this source has.
    pub fn identity(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}"))
    }
}

/// A queue that deployment events arrive on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Its name in our configuration.
    pub name: Name,
    /// Queue URL.
    pub url: String,
    /// Where SQS is called for it.
    pub place: Place,
    /// How many receivers read it beside each other, from 1 to 10.
    pub concurrency: u32,
    /// How `firedrill queue` makes it; `None` when it does not.
    pub provision: Option<Options>,
}

impl Queue {
    /// Tells whether it is a FIFO queue, whose names all end like this.
    pub fn is_fifo(&self) -> bool {
        self.url.ends_with(".fifo")
    }

    /// Returns its name at AWS.
    pub fn aws_name(&self) -> &str {
        self.url.rsplit('/').next().unwrap_or(&self.url)
    }
}

/// A way in for events that somebody signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// How they are signed.
    pub signature: Signature,
    /// With what; `None` when it could not be read, and then nothing is taken.
    pub secret: Option<Secret>,
}

/// How a body is signed: HMAC-SHA256 in a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// `X-Hub-Signature-256` (GitHub docs, Validating webhook deliveries).
    Github,
    /// `X-Signature` (Flux notification controller, Provider `generic-hmac`).
    Flux,
}

/// What nobody may see.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes a secret.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Returns it, for a signature.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// A bus that run events are put on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBus {
    /// Name or ARN.
    pub name: String,
    /// Where EventBridge is called for it.
    pub place: Place,
}

/// What happens to running FIS experiments when the agent is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnShutdown {
    /// They go on; the next start of the agent watches them again.
    Leave,
    /// They are stopped first.
    Stop,
}

/// Traces, metrics and logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// OTLP base URL (`http://host:4318`); `None` leaves it to `OTEL_EXPORTER_OTLP_*`, and without those nothing is exported.
    pub otlp_endpoint: Option<Endpoint>,
    /// Text or JSON lines.
    pub log_format: LogFormat,
    /// Filter directives, as `RUST_LOG` takes them.
    pub log_filter: String,
    /// Time between two metric exports.
    pub metric_interval: SignedDuration,
    /// Name that tells this process from its likes, where one is configured; see [`replica`].
    pub replica: Option<String>,
}

/// A URL whose path or query may hold a token: it is shown without them.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// Takes a URL.
    pub fn new(url: String) -> Self {
        Self(url)
    }

    /// Returns all of it, to call.
    pub fn url(&self) -> &str {
        &self.0
    }

    /// Returns what of it may be shown: scheme, host and port.
    pub fn origin(&self) -> String {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("", &self.0));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        format!("{scheme}://{host}")
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.origin())
    }
}

/// Form of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}
