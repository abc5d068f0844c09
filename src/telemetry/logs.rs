//! Log lines: text or JSON on stderr, and the same lines over OTLP, each with the trace of the run it concerns.
//!
//! What concerns a run is logged inside [`run_span`]: its ids stand on the line as fields, and the bridge to OTLP takes
//! the trace context from it, also across awaits and threads. A line outside has no trace.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use opentelemetry_appender_tracing::layer::OpenTelemetryTracingBridge;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use tracing::{
    Dispatch, Event, Level, Metadata, Span, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, filter_fn},
    fmt::{self, writer::BoxMakeWriter},
    layer::{Context as LayerContext, SubscriberExt},
    registry::LookupSpan,
};

use super::init::InitError;
use crate::{
    config::settings::{LogFormat, Telemetry},
    domain::ids::RunId,
};

/// Filter where the configured one is blank.
const DEFAULT_FILTER: &str = "info";

/// Targets that are quieter than the filter says unless it names them. The SDK's failures are told by
/// [`super::outage`]; the scheduler logs each of its jobs; a pool repeats for each try what the store's failure says.
const LIMITS: &[(&str, &str)] =
    &[("opentelemetry", "off"), ("tokio_cron_scheduler", "warn"), ("sqlx_core::pool::inner", "off")];

/// Targets that may not even warn: the SDK's search for credentials repeats what a credential process wrote.
const NO_WARNINGS: &str = "aws_config";

/// Targets whose lines never go over OTLP, whatever the filter says: they arise while exporting, and exporting them would
/// make more of them.
const NEVER_BRIDGED: &[&str] = &["opentelemetry", "hyper", "h2", "reqwest", "rustls"];

/// Returns the span that everything about a run is logged in. It is never filtered out by its level.
pub fn run_span(run: &RunId) -> Span {
    let trace_id = TraceId::from_bytes(run.trace_id()).to_string();
    let span_id = SpanId::from_bytes(run.span_id("run")).to_string();
    tracing::error_span!("run", run = run.as_str(), trace_id = trace_id.as_str(), span_id = span_id.as_str())
}

/// Whether lines are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    Plain,
    Ansi,
}

/// Tells whether a line may be written, whatever the filter says. Crates of others trace whole requests, with bearer tokens in
/// their headers.
fn is_harmless(line: &Metadata<'_>) -> bool {
    let most = match line.target() {
        ours if ours.starts_with("firedrill") => Level::TRACE,
        search if search.starts_with(NO_WARNINGS) => Level::ERROR,
        _ => Level::DEBUG,
    };
    *line.level() <= most
}

/// Builds the log.
pub(super) fn dispatch(
    settings: &Telemetry,
    writer: BoxMakeWriter,
    colour: Colour,
    provider: Option<&SdkLoggerProvider>,
) -> Result<Dispatch, InitError> {
    let lines = fmt::layer().with_writer(writer).with_ansi(colour == Colour::Ansi);
    let lines = match settings.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let bridge = match provider {
        Some(provider) => {
            let bridged = filter_fn(|line| !NEVER_BRIDGED.iter().any(|target| line.target().starts_with(target)));
            let bridge = Correlated { inner: OpenTelemetryTracingBridge::new(provider) };
            Some(bridge.with_filter(filter(&settings.log_filter)?.and(filter_fn(is_harmless)).and(bridged)))
        }
        None => None,
    };
    let lines = lines.with_filter(filter(&settings.log_filter)?.and(filter_fn(is_harmless)));
    Ok(Dispatch::new(Registry::default().with(lines).with(bridge)))
}

/// Reads a filter and adds the limits of the targets that it does not name.
fn filter(text: &str) -> Result<EnvFilter, InitError> {
    let text = if text.trim().is_empty() { DEFAULT_FILTER } else { text };
    let named = |target: &str| text.split(',').any(|directive| directive.trim().starts_with(target));
    let limits = LIMITS.iter().filter(|(target, _)| !named(target));
    let directives = limits.fold(text.to_owned(), |all, (target, level)| format!("{all},{target}={level}"));
    EnvFilter::builder().parse(directives).map_err(|source| InitError::Filter { filter: text.to_owned(), source })
}

/// Attaches the trace of the run that a line is logged in while the inner layer sees the line.
struct Correlated<L> {
    inner: L,
}

/// Trace context of a log span, kept beside the span.
struct RunTrace(SpanContext);

impl<S, L> Layer<S> for Correlated<L>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    L: Layer<S>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, layers: LayerContext<'_, S>) {
        let mut ids = Ids::default();
        attributes.record(&mut ids);
        if let (Some(trace), Some(span), Some(stored)) = (ids.trace, ids.span, layers.span(id)) {
            let context = SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE);
            stored.extensions_mut().replace(RunTrace(context));
        }
    }

    fn on_event(&self, event: &Event<'_>, layers: LayerContext<'_, S>) {
        let trace = layers.event_scope(event).and_then(|mut spans| {
            spans.find_map(|span| span.extensions().get::<RunTrace>().map(|trace| trace.0.clone()))
        });
        let _attached = trace.map(|trace| Context::current().with_remote_span_context(trace).attach());
        self.inner.on_event(event, layers);
    }
}

/// Reads the fields of [`run_span`].
#[derive(Default)]
struct Ids {
    trace: Option<TraceId>,
    span: Option<SpanId>,
}

impl Visit for Ids {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.trace = TraceId::from_hex(value).ok(),
            "span_id" => self.span = SpanId::from_hex(value).ok(),
            _ => {}
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}
