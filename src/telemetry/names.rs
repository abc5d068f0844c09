//! Names: every span, attribute and metric that leaves the process, in one place.
//!
//! Each name is an interface: dashboards and alerts of other people rest on it. Metrics never carry a run's id. Units are
//! UCUM, as OpenTelemetry asks; `{…}` only says what is counted.

/// Instrumentation scope of everything exported.
pub const SCOPE: &str = "firedrill";

/// `service.name` where nothing else is said.
pub const SERVICE: &str = "firedrill";

/// Root span of a run, and the log's span of the same run.
pub const SPAN_RUN: &str = "firedrill.run";
/// From the opening of a run to its decision.
pub const SPAN_GUARD: &str = "firedrill.guard";
/// From the first call of StartExperiment to the FIS experiment.
pub const SPAN_START: &str = "firedrill.start";
/// One FIS action, with FIS's own times.
pub const SPAN_ACTION: &str = "firedrill.action";

/// Id of a run (spans and logs only).
pub const RUN_ID: &str = "firedrill.run.id";
/// Name of an experiment of ours.
pub const EXPERIMENT: &str = "firedrill.experiment";
/// `slot`, `event` or `manual`.
pub const TRIGGER_KIND: &str = "firedrill.trigger.kind";
/// What identifies the trigger among all of an experiment (spans only).
pub const TRIGGER_KEY: &str = "firedrill.trigger.key";
/// What was deployed, where a deployment triggered the run (spans only).
pub const DEPLOYMENT_KEY: &str = "firedrill.deployment.key";
/// Which version of it (spans only).
pub const DEPLOYMENT_VERSION: &str = "firedrill.deployment.version";
/// The deployment's own id, as OpenTelemetry names it (spans only).
pub const DEPLOYMENT_ID: &str = "deployment.id";
/// How a run ended.
pub const OUTCOME: &str = "firedrill.outcome";
/// `start`, `hold` or `skip`.
pub const DECISION: &str = "firedrill.decision";
/// Why a run was held, skipped or stopped; `due` for a start.
pub const REASON: &str = "firedrill.reason";
/// How often StartExperiment was called (spans only).
pub const ATTEMPTS: &str = "firedrill.start.attempts";
/// Name of an action in its FIS template.
pub const ACTION_NAME: &str = "firedrill.action.name";
/// Name of a schedule of an experiment.
pub const SCHEDULE: &str = "firedrill.schedule";
/// State of a run.
pub const STATE: &str = "firedrill.state";
/// Name of a window.
pub const WINDOW: &str = "firedrill.window";
/// Name of a calendar.
pub const CALENDAR: &str = "firedrill.calendar";
/// FIS operation.
pub const OPERATION: &str = "firedrill.operation";
/// How a call or an event came out.
pub const RESULT: &str = "firedrill.result";

/// `aws_sqs` (OpenTelemetry, messaging attributes; so are those below).
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// Name of a queue at AWS.
pub const DESTINATION: &str = "messaging.destination.name";
/// `receive`, `change_visibility`, `delete` or `process`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.name";
/// Class of a failed call; absent on success.
pub const ERROR_TYPE: &str = "error.type";
/// Method of a request (OpenTelemetry, HTTP attributes; so are those below).
pub const HTTP_METHOD: &str = "http.request.method";
/// Path of a request, names in it as they are in the route.
pub const HTTP_ROUTE: &str = "http.route";
/// Status of the answer.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// `http`.
pub const URL_SCHEME: &str = "url.scheme";

/// `EXP…`.
pub const FIS_EXPERIMENT: &str = "aws.fis.experiment.id";
/// `EXT…`.
pub const FIS_TEMPLATE: &str = "aws.fis.template.id";
/// `aws:service:action`.
pub const FIS_ACTION: &str = "aws.fis.action.id";
/// FIS's status of an action.
pub const FIS_ACTION_STATUS: &str = "aws.fis.action.status";

/// Counter of decisions by [`DECISION`], [`REASON`], [`EXPERIMENT`], [`TRIGGER_KIND`].
pub const METRIC_DECISIONS: &str = "firedrill.decisions";
/// Counter of finished runs by [`OUTCOME`], [`EXPERIMENT`], [`TRIGGER_KIND`].
pub const METRIC_RUNS: &str = "firedrill.runs";
/// Histogram of the time from the start to the end of the FIS experiment, seconds, by [`OUTCOME`], [`EXPERIMENT`].
pub const METRIC_RUN_DURATION: &str = "firedrill.run.duration";
/// Gauge of runs that are not over by [`STATE`].
pub const METRIC_RUNS_ACTIVE: &str = "firedrill.runs.active";
/// Histogram of the time from when a slot's run is due to the call of StartExperiment, seconds.
pub const METRIC_FIRE_LATENESS: &str = "firedrill.fire.lateness";
/// Counter of deployment events by [`RESULT`].
pub const METRIC_EVENTS: &str = "firedrill.events";
/// Histogram of the time from an event to its receipt, seconds.
pub const METRIC_EVENT_LAG: &str = "firedrill.event.lag";
/// Counter of messages received by [`DESTINATION`] (OpenTelemetry, messaging metrics).
pub const METRIC_CONSUMED: &str = "messaging.client.consumed.messages";
/// Histogram of the time a call of a queue took, seconds, by [`DESTINATION`], [`MESSAGING_OPERATION`], [`ERROR_TYPE`].
pub const METRIC_MESSAGING_DURATION: &str = "messaging.client.operation.duration";
/// Histogram of the time from the receipt of a batch until it was durable, seconds, by [`DESTINATION`].
pub const METRIC_PROCESS_DURATION: &str = "messaging.process.duration";
/// Histogram of the time a webhook's request took, seconds, by [`HTTP_METHOD`], [`HTTP_ROUTE`], [`HTTP_STATUS`],
/// [`URL_SCHEME`] (OpenTelemetry, HTTP metrics).
pub const METRIC_HTTP_DURATION: &str = "http.server.request.duration";
/// Counter of FIS calls by [`OPERATION`], [`RESULT`].
pub const METRIC_FIS_CALLS: &str = "firedrill.fis.calls";
/// Histogram of the time a FIS call took, seconds, by [`OPERATION`].
pub const METRIC_FIS_CALL_DURATION: &str = "firedrill.fis.call.duration";
/// Gauge of the next slot by [`EXPERIMENT`], seconds since 1970-01-01 UTC.
pub const METRIC_NEXT_SLOT: &str = "firedrill.schedule.next_slot";
/// Counter of slots that were due, by [`EXPERIMENT`], [`SCHEDULE`]: those of [`METRIC_SLOTS_DECIDED`], and those that are due
/// and were not taken up, by the clock of whoever asks.
pub const METRIC_SLOTS_EXPECTED: &str = "firedrill.schedule.slots.expected";
/// Counter of slots that were taken up (each became a run, or a record of why not), by [`EXPERIMENT`], [`SCHEDULE`].
pub const METRIC_SLOTS_DECIDED: &str = "firedrill.schedule.slots.decided";
/// Gauge of the time since the first slot that is due and was not taken up, seconds, by [`EXPERIMENT`], [`SCHEDULE`]; zero
/// while there is none.
pub const METRIC_STALENESS: &str = "firedrill.schedule.staleness";
/// Gauge of the time by which the last slot that was taken up lies ahead of the clock, seconds, by [`EXPERIMENT`] and
/// [`SCHEDULE`]: nothing is due before that is over.
pub const METRIC_AHEAD: &str = "firedrill.schedule.ahead";
/// Gauge that is 1 for each [`EXPERIMENT`] that starts nothing by itself, by [`REASON`]: `paused`, `configuration` (it could
/// not start and waits for a change) or `unhealthy` (it failed and waits for a time).
pub const METRIC_WAITING: &str = "firedrill.experiments.waiting";
/// Gauge of FIS experiments that go on and that no run looks after, by [`EXPERIMENT`]; absent where there are none.
pub const METRIC_STRAYS: &str = "firedrill.experiments.stray";
/// Gauge of runs that go on and of which FIS refuses [`OPERATION`] as denied, by [`EXPERIMENT`]: without `StopExperiment` they
/// cannot be stopped, without `GetExperiment` nobody sees their end.
pub const METRIC_DENIED: &str = "firedrill.runs.denied";
/// Gauge that is 1 for each [`WINDOW`] that is open and forbids starts.
pub const METRIC_BLACKOUTS: &str = "firedrill.blackouts.active";
/// Gauge of the time since each [`CALENDAR`] was last read, seconds; of one never read, since the agent began.
pub const METRIC_CALENDAR_AGE: &str = "firedrill.calendar.age";
/// Gauge: 1 while this replica decides, 0 while another does.
pub const METRIC_ACTIVE: &str = "firedrill.replica.active";
/// Gauge: 1 while another replica decides, and does so by another configuration than this one has.
pub const METRIC_DIFFERS: &str = "firedrill.replica.differs";
/// Counter of leases that this replica gave back because FIS did not answer it when a run was to be stopped or looked for.
pub const METRIC_HANDOVERS: &str = "firedrill.replica.handovers";
/// Counter of planner passes; standing still means that nothing is planned any more.
pub const METRIC_STEPS: &str = "firedrill.engine.steps";

/// Seconds.
pub const UNIT_SECONDS: &str = "s";
/// Runs.
pub const UNIT_RUNS: &str = "{run}";
/// Slots.
pub const UNIT_SLOTS: &str = "{slot}";
/// Experiments.
pub const UNIT_EXPERIMENTS: &str = "{experiment}";
/// Decisions.
pub const UNIT_DECISIONS: &str = "{decision}";
/// Messages.
pub const UNIT_MESSAGES: &str = "{message}";
/// Events.
pub const UNIT_EVENTS: &str = "{event}";
/// Calls.
pub const UNIT_CALLS: &str = "{call}";
/// Windows.
pub const UNIT_WINDOWS: &str = "{window}";
/// Replicas.
pub const UNIT_REPLICAS: &str = "{replica}";
/// Leases given back.
pub const UNIT_HANDOVERS: &str = "{handover}";
/// Planner passes.
pub const UNIT_STEPS: &str = "{step}";

/// Boundaries of run durations: seconds to FIS's own limit of twelve hours.
pub const RUN_SECONDS: [f64; 14] =
    [10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0, 21_600.0, 28_800.0, 43_200.0];
/// Boundaries of lateness and lag: a tick is a second, a hold may be hours.
pub const LATE_SECONDS: [f64; 14] =
    [0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0];
/// Boundaries of calls: up to their overall time limit.
pub const CALL_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
