//! Traces: a run that is over, told as one trace.
//!
//! A run outlives tasks and restarts, so nothing is kept open meanwhile: the whole trace is made from the run and its
//! journal when it is over. Every id follows from the run's, so a second export, after a crash, is the same trace again.
//! Actions carry FIS's own times, never ours.

use std::{cell::Cell, time::SystemTime};

use jiff::Timestamp;
use opentelemetry::{
    Context, KeyValue,
    trace::{
        Event, Link, Span, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId,
        TraceState, Tracer, TracerProvider,
    },
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider, TracerProviderBuilder};

use super::names;
use crate::domain::{
    fis::{FisAction, FisExperiment, FisStatus},
    ids::RunId,
    outcome::Outcome,
    run::{JournalEntry, Observation, Run, RunState, TraceParent, Trigger},
};
use crate::engine::ports::TraceSink;

/// Identity of a run's root span among the spans of the run.
const ROOT: &str = "run";

/// The exporter of runs; clones share it. The default exports nothing.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    to: Option<(SdkTracer, SdkTracerProvider)>,
}

/// Returns the context of a run's root span, for whatever is to belong to its trace.
pub fn run_context(run: &RunId) -> Context {
    Context::new().with_remote_span_context(span_context(run.trace_id(), run.span_id(ROOT), TraceFlags::SAMPLED))
}

fn span_context(trace: [u8; 16], span: [u8; 8], flags: TraceFlags) -> SpanContext {
    SpanContext::new(TraceId::from_bytes(trace), SpanId::from_bytes(span), flags, true, TraceState::NONE)
}

impl Traces {
    pub(super) fn new(provider: &SdkTracerProvider) -> Self {
        Self { to: Some((provider.tracer(names::SCOPE), provider.clone())) }
    }

    /// Sends to whatever a provider is built with.
    pub fn through(provider: TracerProviderBuilder) -> Self {
        Self::new(&provider.with_id_generator(RunIds::default()).build())
    }
}

impl TraceSink for Traces {
    fn are_wanted(&self) -> bool {
        self.to.is_some()
    }

    /// Exports the trace of a run that is over; one that is not is left for later. Never blocks.
    fn export(&self, run: &Run, journal: &[JournalEntry]) {
        let (Some((tracer, _)), Some(story)) = (&self.to, Story::of(run, journal)) else { return };
        let root = Context::new().with_span(story.root().begin(tracer, &run.id, &Context::new()));
        for piece in story.pieces() {
            piece.begin(tracer, &run.id, &root).end_with_timestamp(SystemTime::from(piece.end));
        }
        root.span().end_with_timestamp(SystemTime::from(story.ended_at));
    }

    /// Sends what was exported so far; whether the collector took it is told by the outage's warning. The SDK blocks for at
    /// most five seconds, so it does so on a thread of its own.
    async fn flush(&self) {
        let Some((_, provider)) = self.to.clone() else { return };
        let flush = move || {
            if let Err(error) = provider.force_flush() {
                tracing::debug!(%error, "traces were not sent");
            }
        };
        let _sent_or_logged = tokio::task::spawn_blocking(flush).await;
    }
}

/// One span to be.
struct Piece {
    /// Identity within the run.
    id: String,
    name: &'static str,
    kind: SpanKind,
    start: Timestamp,
    end: Timestamp,
    attributes: Vec<KeyValue>,
    events: Vec<Event>,
    links: Vec<Link>,
    status: Status,
}

impl Piece {
    /// A span from one instant to another; an end before the start is moved to it.
    fn new(id: &str, name: &'static str, start: Timestamp, end: Timestamp) -> Self {
        Self {
            id: id.to_owned(),
            name,
            kind: SpanKind::Internal,
            start,
            end: end.max(start),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            status: Status::Unset,
        }
    }

    /// Begins the span under the ids that follow from the run.
    fn begin(&self, tracer: &SdkTracer, run: &RunId, parent: &Context) -> opentelemetry_sdk::trace::Span {
        let ids = (TraceId::from_bytes(run.trace_id()), SpanId::from_bytes(run.span_id(&self.id)));
        let builder = SpanBuilder::from_name(self.name)
            .with_kind(self.kind.clone())
            .with_start_time(SystemTime::from(self.start))
            .with_attributes(self.attributes.clone())
            .with_events(self.events.clone())
            .with_links(self.links.clone());
        NEXT_IDS.set(Some(ids));
        let mut span = tracer.build_with_context(builder, parent);
        NEXT_IDS.set(None);
        span.set_status(self.status.clone());
        span
    }
}

/// A run that is over, with what its trace rests on.
struct Story<'a> {
    run: &'a Run,
    journal: Vec<&'a JournalEntry>,
    ended_at: Timestamp,
}

impl<'a> Story<'a> {
    fn of(run: &'a Run, journal: &'a [JournalEntry]) -> Option<Self> {
        let ended_at = match &run.state {
            RunState::Finished { at, .. } | RunState::Skipped { at, .. } => *at,
            _ => return None,
        };
        let journal = journal.iter().filter(|entry| entry.run == run.id).collect();
        Some(Self { run, journal, ended_at })
    }

    fn root(&self) -> Piece {
        let run = self.run;
        let mut root = Piece::new(ROOT, names::SPAN_RUN, run.opened_at, self.ended_at);
        root.attributes = vec![
            KeyValue::new(names::RUN_ID, run.id.as_str().to_owned()),
            KeyValue::new(names::EXPERIMENT, run.experiment.as_str().to_owned()),
            KeyValue::new(names::TRIGGER_KIND, run.trigger.kind()),
            KeyValue::new(names::TRIGGER_KEY, run.trigger.key()),
        ];
        if let Some(deployment) = run.trigger.deployment() {
            let of = |name, value: &Option<String>| value.clone().map(|value| KeyValue::new(name, value));
            root.attributes.push(KeyValue::new(names::DEPLOYMENT_KEY, deployment.key.clone()));
            root.attributes.extend(of(names::DEPLOYMENT_VERSION, &deployment.version));
            root.attributes.extend(of(names::DEPLOYMENT_ID, &deployment.id));
        }
        match &run.state {
            RunState::Finished { outcome, .. } => {
                root.attributes.push(KeyValue::new(names::OUTCOME, outcome.as_str()));
                root.status = status_of(outcome);
            }
            RunState::Skipped { reason, .. } => {
                root.attributes.push(KeyValue::new(names::DECISION, "skip"));
                root.attributes.push(KeyValue::new(names::REASON, reason.as_str()));
            }
            _ => {}
        }
        root.attributes.extend(run.fis.iter().flat_map(fis_ids));
        if let Trigger::Event { parent: Some(parent), .. } = &run.trigger {
            root.links = vec![link(parent)];
        }
        root.events = self.journal.iter().filter_map(|entry| event(entry)).collect();
        root
    }

    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        pieces.extend(self.guard());
        pieces.extend(self.start());
        if let Some(fis) = &self.run.fis {
            let end = fis.ended_at.unwrap_or(self.ended_at);
            pieces.extend(fis.actions.iter().filter_map(|(name, action)| action_piece(name, action, end)));
        }
        pieces
    }

    /// From the opening to the decision.
    fn guard(&self) -> Option<Piece> {
        let asked = self.first(|observation| matches!(observation, Observation::StartAsked { .. }));
        let (decision, end) = match (asked, &self.run.state) {
            (Some(entry), _) => ("start", entry.at),
            (None, RunState::Skipped { at, .. }) => ("skip", *at),
            (None, _) => return None,
        };
        let mut guard = Piece::new("guard", names::SPAN_GUARD, self.run.opened_at, end);
        guard.attributes = vec![KeyValue::new(names::DECISION, decision)];
        Some(guard)
    }

    /// From the first call of StartExperiment to the experiment, or to the end when there never was one.
    fn start(&self) -> Option<Piece> {
        let is_call = |observation: &Observation| matches!(observation, Observation::StartAsked { .. });
        let asked = self.first(is_call)?;
        let started = self.first(|observation| matches!(observation, Observation::Started { .. }));
        let end = started.map_or(self.ended_at, |entry| entry.at);
        let mut start = Piece::new("start", names::SPAN_START, asked.at, end);
        start.kind = SpanKind::Client;
        let calls = self.journal.iter().filter(|entry| is_call(&entry.observation)).count();
        start.attributes = vec![KeyValue::new(names::ATTEMPTS, i64::try_from(calls).unwrap_or(i64::MAX))];
        start.attributes.extend(self.run.fis.iter().flat_map(fis_ids));
        if started.is_none() {
            start.status = Status::error("no FIS experiment was started");
        }
        Some(start)
    }

    fn first(&self, wanted: impl Fn(&Observation) -> bool) -> Option<&'a JournalEntry> {
        self.journal.iter().copied().find(|entry| wanted(&entry.observation))
    }
}

/// An action with FIS's own times; one that never began has no span. One whose end is unknown ends with the experiment.
fn action_piece(name: &str, action: &FisAction, experiment_end: Timestamp) -> Option<Piece> {
    let end = action.ended_at.unwrap_or(experiment_end);
    let mut piece = Piece::new(&format!("action:{name}"), names::SPAN_ACTION, action.started_at?, end);
    piece.attributes = vec![
        KeyValue::new(names::ACTION_NAME, name.to_owned()),
        KeyValue::new(names::FIS_ACTION, action.action_id.clone()),
        KeyValue::new(names::FIS_ACTION_STATUS, action.status.as_str().to_owned()),
    ];
    if matches!(action.status, FisStatus::Failed | FisStatus::Stopped | FisStatus::Cancelled) {
        piece.status = Status::error(action.reason.clone());
    }
    Some(piece)
}

fn status_of(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Completed | Outcome::CompletedPartly { .. } | Outcome::Previewed => Status::Ok,
        Outcome::Stopped { cause } => Status::error(format!("stopped: {}", cause.as_str())),
        Outcome::Failed { code, reason } => Status::error(format!("{code}: {reason}")),
        Outcome::Cancelled => Status::error("cancelled: safety-lever"),
        Outcome::NotStarted { class, message } => Status::error(format!("not started: {class}: {message}")),
        Outcome::Lost { class } => Status::error(format!("lost: {class}")),
    }
}

/// Tells a journal entry as an event of the root span; those that have a span, and mere polls, are left out.
fn event(entry: &JournalEntry) -> Option<Event> {
    let reason = match &entry.observation {
        Observation::StartRefused { class, .. }
        | Observation::StartUnclear { class, .. }
        | Observation::StopFailed { class, .. } => class.as_str(),
        Observation::StopAsked { cause } => cause.as_str(),
        Observation::Skipped { reason } => reason.as_str(),
        Observation::Held { .. } | Observation::NotFound | Observation::StopTaken => "",
        _ => return None,
    };
    let attributes = if reason.is_empty() { Vec::new() } else { vec![KeyValue::new(names::REASON, reason)] };
    Some(Event::new(entry.observation.as_str(), SystemTime::from(entry.at), attributes, 0))
}

fn fis_ids(fis: &FisExperiment) -> [KeyValue; 2] {
    [KeyValue::new(names::FIS_EXPERIMENT, fis.id.clone()), KeyValue::new(names::FIS_TEMPLATE, fis.template_id.clone())]
}

fn link(parent: &TraceParent) -> Link {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    Link::with_context(span_context(parent.trace_id, parent.span_id, flags))
}

thread_local! {
    /// Ids of the span that this thread is about to begin.
    static NEXT_IDS: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives spans the ids that [`Piece::begin`] asks for. The SDK offers no other way to choose them.
#[derive(Debug, Default)]
pub(super) struct RunIds {
    others: RandomIdGenerator,
}

impl IdGenerator for RunIds {
    fn new_trace_id(&self) -> TraceId {
        NEXT_IDS.get().map_or_else(|| self.others.new_trace_id(), |(trace, _)| trace)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT_IDS.get().map_or_else(|| self.others.new_span_id(), |(_, span)| span)
    }
}
