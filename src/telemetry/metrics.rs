//! Metrics: what is counted and measured, without ever naming a run.
//!
//! [`Metrics::observed`] is called once for each transition that was committed, so a count is a count of rows, not of
//! attempts. Gauges show the last [`Status`] that was set.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use jiff::Timestamp;
use opentelemetry::{
    KeyValue,
    metrics::{AsyncInstrument, Counter, Histogram, Meter, MeterProvider},
};
use opentelemetry_sdk::metrics::SdkMeterProvider;

use super::names;
use crate::domain::{
    outcome::Outcome,
    run::{Observation, Run, RunState, Trigger},
};

/// Where things stand, for the gauges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether this replica decides.
    pub is_active: bool,
    /// Whether another one decides by another configuration.
    pub differs: bool,
    /// Runs that are not over, by state.
    pub active_runs: BTreeMap<String, u64>,
    /// The next slot of each experiment that has one.
    pub next_slots: BTreeMap<String, Timestamp>,
    /// Windows that are open and forbid starts.
    pub active_blackouts: Vec<String>,
    /// Seconds since each calendar was last read.
    pub calendar_ages: BTreeMap<String, u64>,
    /// Experiments that start nothing by themselves, and why, in a word.
    pub waiting: BTreeMap<String, &'static str>,
    /// FIS experiments that no run looks after, by experiment.
    pub strays: BTreeMap<String, u64>,
    /// Runs of which FIS refuses an operation as denied, by experiment and operation.
    pub denied: BTreeMap<(String, &'static str), u64>,
}

/// Slots of one schedule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    /// Its experiment.
    pub experiment: String,
    /// Its name.
    pub schedule: String,
    /// Slots that were due since the process began.
    pub expected: u64,
    /// Those of them that were taken up.
    pub decided: u64,
    /// Seconds since the first one that is due and was not taken up.
    pub staleness_s: u64,
    /// Seconds by which the last one that was taken up lies ahead of the clock: nothing is due before that is over.
    pub ahead_s: u64,
}

/// Who knows the slots of all schedules, asked whenever metrics are read.
#[derive(Default)]
struct Life(OnceLock<Box<dyn Fn() -> Vec<Slots> + Send + Sync>>);

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Life").field(&self.0.get().is_some()).finish()
    }
}

/// The instruments; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Instruments>);

#[derive(Debug)]
struct Instruments {
    decisions: Counter<u64>,
    runs: Counter<u64>,
    run_duration: Histogram<f64>,
    fire_lateness: Histogram<f64>,
    events: Counter<u64>,
    event_lag: Histogram<f64>,
    consumed: Counter<u64>,
    messaging_duration: Histogram<f64>,
    process_duration: Histogram<f64>,
    http_duration: Histogram<f64>,
    fis_calls: Counter<u64>,
    fis_call_duration: Histogram<f64>,
    steps: Counter<u64>,
    handovers: Counter<u64>,
    status: Arc<Mutex<Status>>,
    life: Arc<Life>,
}

impl Default for Metrics {
    /// Returns metrics that nobody reads.
    fn default() -> Self {
        Self::new(&SdkMeterProvider::default())
    }
}

impl Metrics {
    pub(super) fn new(provider: &SdkMeterProvider) -> Self {
        let meter = provider.meter(names::SCOPE);
        let counter = |name, unit, text| meter.u64_counter(name).with_unit(unit).with_description(text).build();
        let seconds = |name, boundaries: &[f64], text| {
            let histogram = meter.f64_histogram(name).with_unit(names::UNIT_SECONDS).with_description(text);
            histogram.with_boundaries(boundaries.to_vec()).build()
        };
        let status = Arc::new(Mutex::new(Status::default()));
        register_gauges(&meter, &status);
        let life = Arc::new(Life::default());
        register_life(&meter, &life);
        Self(Arc::new(Instruments {
            decisions: counter(names::METRIC_DECISIONS, names::UNIT_DECISIONS, "Decisions over runs"),
            runs: counter(names::METRIC_RUNS, names::UNIT_RUNS, "Runs that ended"),
            run_duration: seconds(names::METRIC_RUN_DURATION, &names::RUN_SECONDS, "Length of FIS experiments"),
            fire_lateness: seconds(
                names::METRIC_FIRE_LATENESS,
                &names::LATE_SECONDS,
                "From when a slot is due to its start",
            ),
            events: counter(names::METRIC_EVENTS, names::UNIT_EVENTS, "Deployment events received"),
            event_lag: seconds(names::METRIC_EVENT_LAG, &names::LATE_SECONDS, "From an event to its receipt"),
            consumed: counter(names::METRIC_CONSUMED, names::UNIT_MESSAGES, "Messages received from queues"),
            messaging_duration: seconds(
                names::METRIC_MESSAGING_DURATION,
                &names::CALL_SECONDS,
                "Length of calls to queues",
            ),
            process_duration: seconds(
                names::METRIC_PROCESS_DURATION,
                &names::CALL_SECONDS,
                "From the receipt of messages until they are durable",
            ),
            http_duration: seconds(names::METRIC_HTTP_DURATION, &names::CALL_SECONDS, "Length of webhooks' requests"),
            fis_calls: counter(names::METRIC_FIS_CALLS, names::UNIT_CALLS, "Calls to FIS"),
            fis_call_duration: seconds(names::METRIC_FIS_CALL_DURATION, &names::CALL_SECONDS, "Length of calls to FIS"),
            steps: counter(names::METRIC_STEPS, names::UNIT_STEPS, "Passes of the planner"),
            handovers: counter(names::METRIC_HANDOVERS, names::UNIT_HANDOVERS, "Leases given back for want of FIS"),
            status,
            life,
        }))
    }

    /// Counts a committed transition. `run` is the run after it, `at` the instant it was observed.
    pub fn observed(&self, run: &Run, observation: &Observation, at: Timestamp) {
        match observation {
            Observation::Held { reason, .. } => self.decided(run, "hold", reason.as_str()),
            Observation::Skipped { reason } => self.decided(run, "skip", reason.as_str()),
            Observation::StartAsked { .. } => {
                // Further attempts carry out the same decision.
                if let RunState::Starting { attempt: 1, .. } = run.state {
                    self.decided(run, "start", "due");
                    self.fired(run, at);
                }
            }
            Observation::Finished { outcome } => self.finished(run, outcome, at),
            _ => {}
        }
    }

    /// Counts a call to FIS that took `seconds`. `result` is `ok` or the failure's class.
    pub fn fis_call(&self, operation: &str, result: &str, seconds: f64) {
        let operation = KeyValue::new(names::OPERATION, operation.to_owned());
        self.0.fis_call_duration.record(seconds, std::slice::from_ref(&operation));
        self.0.fis_calls.add(1, &[operation, KeyValue::new(names::RESULT, result.to_owned())]);
    }

    /// Counts a deployment event: `matched`, `unmatched`, `duplicate`, `quarantined` or `refused`.
    pub fn event(&self, result: &str) {
        self.0.events.add(1, &[KeyValue::new(names::RESULT, result.to_owned())]);
    }

    /// Measures the time between an event and its receipt.
    pub fn event_lag(&self, seconds: f64) {
        self.0.event_lag.record(seconds, &[]);
    }

    /// Counts a call of a queue (its name at AWS) that took `seconds`, with the messages it was about, or its failure.
    pub fn queue_call(&self, queue: &str, operation: &'static str, answer: Result<usize, &'static str>, seconds: f64) {
        let mut attributes = of_queue(queue, operation);
        match answer {
            Ok(count) if operation == "receive" && count > 0 => {
                self.0.consumed.add(u64::try_from(count).unwrap_or_default(), &attributes);
            }
            Ok(_) => {}
            Err(class) => attributes.push(KeyValue::new(names::ERROR_TYPE, class)),
        }
        self.0.messaging_duration.record(seconds, &attributes);
    }

    /// Measures the time from the receipt of a batch of messages until they were durable.
    pub fn queue_processed(&self, queue: &str, seconds: f64) {
        self.0.process_duration.record(seconds, &of_queue(queue, "process"));
    }

    /// Measures the answer to a webhook's request.
    pub fn http_answer(&self, route: &'static str, status: u16, seconds: f64) {
        let attributes = [
            KeyValue::new(names::HTTP_METHOD, "POST"),
            KeyValue::new(names::HTTP_ROUTE, route),
            KeyValue::new(names::HTTP_STATUS, i64::from(status)),
            KeyValue::new(names::URL_SCHEME, "http"),
        ];
        self.0.http_duration.record(seconds, &attributes);
    }

    /// Counts a pass of the planner.
    pub fn step(&self) {
        self.0.steps.add(1, &[]);
    }

    /// Counts a lease that was given back because FIS does not answer here.
    pub fn handed_over(&self) {
        self.0.handovers.add(1, &[]);
    }

    /// Replaces what the gauges show.
    pub fn set_status(&self, status: Status) {
        *self.0.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    /// Sets, once, who is asked for the slots of all schedules whenever metrics are read.
    pub fn prove_life(&self, slots: impl Fn() -> Vec<Slots> + Send + Sync + 'static) {
        if self.0.life.0.set(Box::new(slots)).is_err() {
            tracing::debug!("slots are told already");
        }
    }

    fn decided(&self, run: &Run, decision: &'static str, reason: &'static str) {
        let attributes = [
            KeyValue::new(names::DECISION, decision),
            KeyValue::new(names::REASON, reason),
            experiment(run),
            trigger_kind(run),
        ];
        self.0.decisions.add(1, &attributes);
    }

    fn fired(&self, run: &Run, at: Timestamp) {
        if let Trigger::Slot { .. } = &run.trigger {
            self.0.fire_lateness.record(seconds_between(run.not_before, at), &[]);
        }
    }

    fn finished(&self, run: &Run, outcome: &Outcome, at: Timestamp) {
        let outcome = KeyValue::new(names::OUTCOME, outcome.as_str());
        self.0.runs.add(1, &[outcome.clone(), experiment(run), trigger_kind(run)]);
        let began = run.fis.as_ref().and_then(|fis| fis.started_at.or(fis.created_at));
        if let Some(began) = began {
            let ended = run.fis.as_ref().and_then(|fis| fis.ended_at).unwrap_or(at);
            self.0.run_duration.record(seconds_between(began, ended), &[outcome, experiment(run)]);
        }
    }
}

fn register_gauges(meter: &Meter, status: &Arc<Mutex<Status>>) {
    let gauge = |name, unit, text, show: fn(&Status, &dyn AsyncInstrument<u64>)| {
        let status = Arc::clone(status);
        let gauge = meter.u64_observable_gauge(name).with_unit(unit).with_description(text);
        let read = move |gauge: &dyn AsyncInstrument<u64>| {
            show(&status.lock().unwrap_or_else(PoisonError::into_inner), gauge);
        };
        gauge.with_callback(read).build();
    };
    gauge(names::METRIC_RUNS_ACTIVE, names::UNIT_RUNS, "Runs that are not over", |status, gauge| {
        for (state, count) in &status.active_runs {
            gauge.observe(*count, &[KeyValue::new(names::STATE, state.clone())]);
        }
    });
    let text = "Next slot, as seconds since 1970-01-01 UTC";
    gauge(names::METRIC_NEXT_SLOT, names::UNIT_SECONDS, text, |status, gauge| {
        for (experiment, slot) in &status.next_slots {
            let second = u64::try_from(slot.as_second()).unwrap_or_default();
            gauge.observe(second, &[KeyValue::new(names::EXPERIMENT, experiment.clone())]);
        }
    });
    let text = "1 while this replica decides, 0 while another does";
    gauge(names::METRIC_ACTIVE, names::UNIT_REPLICAS, text, |status, gauge| {
        gauge.observe(u64::from(status.is_active), &[]);
    });
    let text = "1 while another replica decides by another configuration than this one has";
    gauge(names::METRIC_DIFFERS, names::UNIT_REPLICAS, text, |status, gauge| {
        gauge.observe(u64::from(status.differs), &[]);
    });
    let text = "1 for each window that forbids starts now";
    gauge(names::METRIC_BLACKOUTS, names::UNIT_WINDOWS, text, |status, gauge| {
        for window in &status.active_blackouts {
            gauge.observe(1, &[KeyValue::new(names::WINDOW, window.clone())]);
        }
    });
    let text = "1 for each experiment that is paused or waits after failures";
    gauge(names::METRIC_WAITING, names::UNIT_EXPERIMENTS, text, |status, gauge| {
        for (experiment, why) in &status.waiting {
            let attributes = [KeyValue::new(names::EXPERIMENT, experiment.clone()), KeyValue::new(names::REASON, *why)];
            gauge.observe(1, &attributes);
        }
    });
    let text = "FIS experiments that go on and that no run looks after";
    gauge(names::METRIC_STRAYS, names::UNIT_EXPERIMENTS, text, |status, gauge| {
        for (experiment, count) in &status.strays {
            gauge.observe(*count, &[KeyValue::new(names::EXPERIMENT, experiment.clone())]);
        }
    });
    let text = "Runs that go on and of which FIS refuses an operation as denied";
    gauge(names::METRIC_DENIED, names::UNIT_RUNS, text, |status, gauge| {
        for ((experiment, operation), count) in &status.denied {
            let operation = KeyValue::new(names::OPERATION, *operation);
            gauge.observe(*count, &[KeyValue::new(names::EXPERIMENT, experiment.clone()), operation]);
        }
    });
    let text = "Time since the calendar was last read";
    gauge(names::METRIC_CALENDAR_AGE, names::UNIT_SECONDS, text, |status, gauge| {
        for (calendar, age) in &status.calendar_ages {
            gauge.observe(*age, &[KeyValue::new(names::CALENDAR, calendar.clone())]);
        }
    });
}

fn register_life(meter: &Meter, life: &Arc<Life>) {
    let reading = |show: fn(&Slots) -> u64| {
        let life = Arc::clone(life);
        move |instrument: &dyn AsyncInstrument<u64>| {
            for slots in life.0.get().map(|slots| slots()).unwrap_or_default() {
                let schedule = KeyValue::new(names::SCHEDULE, slots.schedule.clone());
                let attributes = [KeyValue::new(names::EXPERIMENT, slots.experiment.clone()), schedule];
                instrument.observe(show(&slots), &attributes);
            }
        }
    };
    meter
        .u64_observable_counter(names::METRIC_SLOTS_EXPECTED)
        .with_unit(names::UNIT_SLOTS)
        .with_description("Slots that were due")
        .with_callback(reading(|slots| slots.expected))
        .build();
    meter
        .u64_observable_counter(names::METRIC_SLOTS_DECIDED)
        .with_unit(names::UNIT_SLOTS)
        .with_description("Slots that were taken up")
        .with_callback(reading(|slots| slots.decided))
        .build();
    meter
        .u64_observable_gauge(names::METRIC_STALENESS)
        .with_unit(names::UNIT_SECONDS)
        .with_description("Time since the first slot that is due and was not taken up")
        .with_callback(reading(|slots| slots.staleness_s))
        .build();
    meter
        .u64_observable_gauge(names::METRIC_AHEAD)
        .with_unit(names::UNIT_SECONDS)
        .with_description("Time by which the last slot that was taken up lies ahead of the clock")
        .with_callback(reading(|slots| slots.ahead_s))
        .build();
}

fn of_queue(queue: &str, operation: &'static str) -> Vec<KeyValue> {
    vec![
        KeyValue::new(names::MESSAGING_SYSTEM, "aws_sqs"),
        KeyValue::new(names::DESTINATION, queue.to_owned()),
        KeyValue::new(names::MESSAGING_OPERATION, operation),
    ]
}

fn experiment(run: &Run) -> KeyValue {
    KeyValue::new(names::EXPERIMENT, run.experiment.as_str().to_owned())
}

fn trigger_kind(run: &Run) -> KeyValue {
    KeyValue::new(names::TRIGGER_KIND, run.trigger.kind())
}

/// Seconds from one instant to a later one; zero when clocks say that it is earlier.
fn seconds_between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64().max(0.0)
}
