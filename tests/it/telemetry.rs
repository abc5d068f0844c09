//! Telemetry as a collector sees it, and what becomes of it when there is no collector.

use std::{
    io::{Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use firedrill::{
    config::settings::{self, Endpoint, LogFormat},
    domain::{
        fis::{FailureClass, FisStatus},
        outcome::Outcome,
        run::{Away, HoldReason, Observation, RunState, SkipReason, StopCause, TraceParent},
    },
    engine::ports::TraceSink,
    telemetry::{self, Status, Telemetry, logs, traces},
};
use jiff::{SignedDuration, Timestamp};
use opentelemetry::trace::TraceContextExt;
use opentelemetry_proto::tonic::trace::v1::Span;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::support::{
    PATIENCE, eventually,
    otlp::{self, Collector, Mode},
    runs::{self, Story, instant},
};

/// Where a test's log goes.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    fn lines(&self) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8(bytes.clone()).expect("text").lines().map(str::to_owned).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.lines().into_iter().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn settings(endpoint: Option<String>, log_format: LogFormat) -> settings::Telemetry {
    settings::Telemetry {
        otlp_endpoint: endpoint.map(Endpoint::new),
        log_format,
        log_filter: "info".to_owned(),
        metric_interval: SignedDuration::from_mins(10),
        replica: Some("one".to_owned()),
    }
}

fn no_env(_: &str) -> Option<String> {
    None
}

fn start(endpoint: Option<String>, log_format: LogFormat) -> (Telemetry, Captured) {
    let captured = Captured::default();
    let writer = captured.clone();
    let writer = BoxMakeWriter::new(move || writer.clone());
    let settings = settings(endpoint, log_format);
    (telemetry::init::init_to(&settings, &no_env, writer).expect("telemetry"), captured)
}

/// Hands out telemetry that exports to a collector, then flushes it and hands back the collector.
fn exported(using: impl FnOnce(&Telemetry)) -> (Collector, Captured) {
    let collector = Collector::start(Mode::Normal);
    let (telemetry, captured) = start(Some(collector.url()), LogFormat::Text);
    using(&telemetry);
    telemetry.shutdown(PATIENCE);
    (collector, captured)
}

fn span(spans: &[Span], id: [u8; 8]) -> &Span {
    spans.iter().find(|span| span.span_id == id).unwrap_or_else(|| panic!("no span {id:02x?} in {spans:#?}"))
}

fn times(span: &Span) -> (u64, u64) {
    (span.start_time_unix_nano, span.end_time_unix_nano)
}

fn nanos(start: &str, end: &str) -> (u64, u64) {
    let nanos = |text| u64::try_from(instant(text).as_nanosecond()).expect("after 1970");
    (nanos(start), nanos(end))
}

fn status_code(span: &Span) -> i32 {
    span.status.as_ref().map_or(0, |status| status.code)
}

#[test]
fn finished_run_is_one_trace_with_the_times_of_fis() {
    let Story { run, journal, .. } = runs::completed();
    let (collector, _) = exported(|telemetry| telemetry.traces().export(&run, &journal));
    let spans = collector.wait_for_spans(5);
    assert_eq!(spans.len(), 5, "{spans:#?}");
    assert!(spans.iter().all(|span| span.trace_id == run.id.trace_id()));

    let root = span(&spans, run.id.span_id("run"));
    assert_eq!((root.name.as_str(), status_code(root)), ("firedrill.run", 1));
    assert_eq!(times(root), nanos("2026-03-01T02:00:00Z", "2026-03-01T02:05:20Z"));
    assert!(root.parent_span_id.is_empty() && root.links.is_empty());
    for (key, value) in [
        ("firedrill.run.id", run.id.as_str()),
        ("firedrill.experiment", "checkout-latency"),
        ("firedrill.trigger.kind", "slot"),
        ("firedrill.trigger.key", "slot:nightly:2026-03-01T02:00:00Z"),
        ("firedrill.outcome", "completed"),
        ("aws.fis.experiment.id", "EXP1"),
        ("aws.fis.template.id", "EXT1"),
    ] {
        assert_eq!(otlp::attribute(&root.attributes, key), value, "{key}");
    }

    for (id, name, start, end, status) in [
        ("guard", "firedrill.guard", "2026-03-01T02:00:00Z", "2026-03-01T02:00:00.75Z", 0),
        ("start", "firedrill.start", "2026-03-01T02:00:00.75Z", "2026-03-01T02:00:01.5Z", 0),
        ("action:latency", "firedrill.action", "2026-03-01T02:00:12.345Z", "2026-03-01T02:05:12.678Z", 0),
        ("action:kill", "firedrill.action", "2026-03-01T02:05:13.001Z", "2026-03-01T02:05:13.002Z", 2),
    ] {
        let child = span(&spans, run.id.span_id(id));
        assert_eq!((child.name.as_str(), times(child), status_code(child)), (name, nanos(start, end), status), "{id}");
        assert_eq!(child.parent_span_id, run.id.span_id("run"), "{id}");
    }
    assert_eq!(
        otlp::attribute(&span(&spans, run.id.span_id("action:kill")).attributes, "firedrill.action.name"),
        "kill"
    );
}

#[test]
fn exported_again_a_run_has_the_same_ids() {
    let Story { run, journal, .. } = runs::completed();
    let ids = || {
        let (collector, _) = exported(|telemetry| telemetry.traces().export(&run, &journal));
        let mut ids: Vec<_> = collector.wait_for_spans(5).into_iter().map(|s| (s.trace_id, s.span_id)).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(), ids());
}

#[test]
fn run_of_an_event_links_to_the_senders_span() {
    let parent = TraceParent { trace_id: [7; 16], span_id: [9; 8], sampled: true };
    let at = instant("2026-03-01T02:00:00Z");
    let story = Story::open(runs::event(Some(parent)), at)
        .asked(at)
        .started(at, runs::fis(FisStatus::Running))
        .then(at, Observation::StopAsked { cause: StopCause::MaxDuration })
        .finished(instant("2026-03-01T02:06:00Z"), Outcome::Stopped { cause: StopCause::MaxDuration });
    let (collector, _) = exported(|telemetry| telemetry.traces().export(&story.run, &story.journal));
    let spans = collector.wait_for_spans(5);
    let root = span(&spans, story.run.id.span_id("run"));
    assert_eq!(root.links.len(), 1);
    assert_eq!((root.links[0].trace_id.as_slice(), root.links[0].span_id.as_slice()), (&[7; 16][..], &[9; 8][..]));
    let status = root.status.as_ref().expect("a status");
    assert_eq!((status.code, status.message.as_str()), (2, "stopped: max-duration"));
    let events: Vec<&str> = root.events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(events, ["stop-asked"]);
}

#[test]
fn skipped_run_is_a_trace_and_an_open_run_is_none() {
    let at = instant("2026-03-01T02:00:00Z");
    let open = Story::open(runs::event(None), at).asked(at);
    let skipped = Story::open(runs::slot(at), at)
        .then(instant("2026-03-01T02:00:03Z"), Observation::Skipped { reason: SkipReason::Removed });
    let (collector, _) = exported(|telemetry| {
        telemetry.traces().export(&open.run, &open.journal);
        telemetry.traces().export(&skipped.run, &skipped.journal);
    });
    let spans = collector.wait_for_spans(2);
    assert_eq!(spans.len(), 2, "{spans:#?}");
    let root = span(&spans, skipped.run.id.span_id("run"));
    assert_eq!(otlp::attribute(&root.attributes, "firedrill.reason"), "removed");
    assert_eq!(status_code(root), 0);
    let guard = span(&spans, skipped.run.id.span_id("guard"));
    assert_eq!(times(guard), nanos("2026-03-01T02:00:00Z", "2026-03-01T02:00:03Z"));
}

/// Where things stand.
fn standing(next_slot: Timestamp) -> Status {
    Status {
        is_active: true,
        differs: false,
        active_runs: [("running".to_owned(), 2), ("held".to_owned(), 0)].into(),
        next_slots: [("checkout-latency".to_owned(), next_slot)].into(),
        active_blackouts: vec!["freeze".to_owned()],
        calendar_ages: [("changes".to_owned(), 301)].into(),
        waiting: [("checkout-latency".to_owned(), "unhealthy")].into(),
        strays: [("checkout-latency".to_owned(), 2)].into(),
        denied: [(("checkout-latency".to_owned(), "StopExperiment"), 1)].into(),
    }
}

#[test]
fn metrics_carry_units_and_values_and_never_a_run() {
    let at = instant("2026-03-01T02:00:00Z");
    let look_at = instant("2026-03-01T02:01:00Z");
    let closed = HoldReason::Closed { window: runs::name("freeze"), until: None, unknown: None };
    let held = Story::open(runs::event(None), at).then(at, Observation::Held { reason: closed, look_at });
    let (class, message) = (FailureClass::Throttled, "slow down".to_owned());
    let refused = Observation::StartRefused { class, message, retry_at: look_at };
    let retried = Story::open(runs::event(None), at).asked(at).then(at, refused).asked(look_at);
    let mut missed = Story::open(runs::slot(look_at), look_at);
    let reason = SkipReason::Missed { through: at, count: 3, away: Away::Agent };
    missed.steps[0].0.state = RunState::Skipped { reason, at };
    missed.steps[0].1 = missed.steps[0].0.opening();
    let (collector, _) = exported(|telemetry| {
        let metrics = telemetry.metrics();
        for (run, observation, at) in [runs::completed(), held, retried, missed].iter().flat_map(|story| &story.steps) {
            metrics.observed(run, observation, *at);
        }
        metrics.fis_call("StartExperiment", "ok", 0.25);
        metrics.fis_call("StartExperiment", "throttled", 0.5);
        metrics.event("matched");
        metrics.event_lag(1.5);
        metrics.step();
        metrics.step();
        metrics.handed_over();
        metrics.set_status(standing(look_at));
        let (experiment, schedule) = ("checkout-latency".to_owned(), "nightly".to_owned());
        let slots = telemetry::Slots { experiment, schedule, expected: 7, decided: 5, staleness_s: 61, ahead_s: 0 };
        metrics.prove_life(move || vec![slots.clone()]);
    });
    let mut told: Vec<String> = collector
        .metrics()
        .iter()
        .flat_map(|metric| otlp::points(metric).into_iter().map(|p| format!("{} [{}] {p}", metric.name, metric.unit)))
        .collect();
    told.sort();
    insta::assert_snapshot!(told.join("\n"), @"
    firedrill.blackouts.active [{window}] {firedrill.window=freeze} 1
    firedrill.calendar.age [s] {firedrill.calendar=changes} 301
    firedrill.decisions [{decision}] {firedrill.decision=hold,firedrill.experiment=checkout-latency,firedrill.reason=closed,firedrill.trigger.kind=event} 1
    firedrill.decisions [{decision}] {firedrill.decision=skip,firedrill.experiment=checkout-latency,firedrill.reason=missed,firedrill.trigger.kind=slot} 1
    firedrill.decisions [{decision}] {firedrill.decision=start,firedrill.experiment=checkout-latency,firedrill.reason=due,firedrill.trigger.kind=event} 1
    firedrill.decisions [{decision}] {firedrill.decision=start,firedrill.experiment=checkout-latency,firedrill.reason=due,firedrill.trigger.kind=slot} 1
    firedrill.engine.steps [{step}] {} 2
    firedrill.event.lag [s] {} 1/1.5
    firedrill.events [{event}] {firedrill.result=matched} 1
    firedrill.experiments.stray [{experiment}] {firedrill.experiment=checkout-latency} 2
    firedrill.experiments.waiting [{experiment}] {firedrill.experiment=checkout-latency,firedrill.reason=unhealthy} 1
    firedrill.fire.lateness [s] {} 1/0.75
    firedrill.fis.call.duration [s] {firedrill.operation=StartExperiment} 2/0.75
    firedrill.fis.calls [{call}] {firedrill.operation=StartExperiment,firedrill.result=ok} 1
    firedrill.fis.calls [{call}] {firedrill.operation=StartExperiment,firedrill.result=throttled} 1
    firedrill.replica.active [{replica}] {} 1
    firedrill.replica.differs [{replica}] {} 0
    firedrill.replica.handovers [{handover}] {} 1
    firedrill.run.duration [s] {firedrill.experiment=checkout-latency,firedrill.outcome=completed} 1/312
    firedrill.runs [{run}] {firedrill.experiment=checkout-latency,firedrill.outcome=completed,firedrill.trigger.kind=slot} 1
    firedrill.runs.active [{run}] {firedrill.state=held} 0
    firedrill.runs.active [{run}] {firedrill.state=running} 2
    firedrill.runs.denied [{run}] {firedrill.experiment=checkout-latency,firedrill.operation=StopExperiment} 1
    firedrill.schedule.ahead [s] {firedrill.experiment=checkout-latency,firedrill.schedule=nightly} 0
    firedrill.schedule.next_slot [s] {firedrill.experiment=checkout-latency} 1772330460
    firedrill.schedule.slots.decided [{slot}] {firedrill.experiment=checkout-latency,firedrill.schedule=nightly} 5
    firedrill.schedule.slots.expected [{slot}] {firedrill.experiment=checkout-latency,firedrill.schedule=nightly} 7
    firedrill.schedule.staleness [s] {firedrill.experiment=checkout-latency,firedrill.schedule=nightly} 61
    ");
}

#[test]
fn resource_names_the_service_its_version_and_the_process() {
    let (collector, _) = exported(|telemetry| telemetry.metrics().step());
    let resources = collector.resources();
    assert_eq!(otlp::attribute(&resources[0].attributes, "service.name"), "firedrill");
    assert_eq!(otlp::attribute(&resources[0].attributes, "service.version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(otlp::attribute(&resources[0].attributes, "service.instance.id"), "one");

    let collector = Collector::start(Mode::Normal);
    let settings = settings::Telemetry { replica: None, ..settings(Some(collector.url()), LogFormat::Text) };
    let writer = BoxMakeWriter::new(std::io::sink);
    let telemetry = telemetry::init::init_to(&settings, &no_env, writer).expect("telemetry");
    telemetry.metrics().step();
    telemetry.shutdown(PATIENCE);
    let unnamed = otlp::attribute(&collector.resources()[0].attributes, "service.instance.id").to_owned();
    let host = unnamed.strip_suffix(&format!("/{}", std::process::id()));
    assert!(host.is_some_and(|host| !host.is_empty()), "{unnamed}");

    let collector = Collector::start(Mode::Normal);
    let env = |name: &str| {
        (name == "OTEL_RESOURCE_ATTRIBUTES").then(|| "service.name=other, service.instance.id=two".to_owned())
    };
    let settings = settings::Telemetry { otlp_endpoint: Some(Endpoint::new(collector.url())), ..settings };
    let telemetry = telemetry::init::init_to(&settings, &env, BoxMakeWriter::new(std::io::sink)).expect("telemetry");
    telemetry.metrics().step();
    telemetry.shutdown(PATIENCE);
    let resources = collector.resources();
    assert_eq!(otlp::attribute(&resources[0].attributes, "service.name"), "other");
    assert_eq!(otlp::attribute(&resources[0].attributes, "service.instance.id"), "two");
}

#[test]
fn lines_about_a_run_carry_its_trace_in_the_log_and_over_otlp() {
    let run = runs::completed().run;
    let (collector, captured) = exported(|telemetry| {
        tracing::dispatcher::with_default(telemetry.log(), || {
            tracing::info!("ready");
            let _run = logs::run_span(&run.id).entered();
            tracing::info!(attempt = 1, "run starts");
        });
    });
    let records = collector.logs();
    assert_eq!(records.len(), 2, "{records:#?}");
    assert!(records[0].trace_id.is_empty(), "{records:#?}");
    assert_eq!(records[1].trace_id, run.id.trace_id());
    assert_eq!(records[1].span_id, run.id.span_id("run"));
    assert_eq!(otlp::attribute(&records[1].attributes, "attempt"), "1");
    let context = traces::run_context(&run.id);
    let trace_id = context.span().span_context().trace_id().to_string();
    let line = captured.lines().into_iter().find(|line| line.contains("run starts")).expect("the line");
    assert!(line.contains(&format!("trace_id=\"{trace_id}\"")) && line.contains(run.id.as_str()), "{line}");
}

#[test]
fn json_lines_carry_the_trace_as_fields() {
    let run = runs::completed().run;
    let (telemetry, captured) = start(None, LogFormat::Json);
    tracing::dispatcher::with_default(telemetry.log(), || {
        logs::run_span(&run.id).in_scope(|| tracing::warn!(reason = "closed", "run waits"));
    });
    let lines = captured.lines();
    let line: serde_json::Value = serde_json::from_str(&lines[0]).expect("JSON");
    let trace_id = run.id.trace_id().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(line["message"], "run waits");
    assert_eq!(line["reason"], "closed");
    assert_eq!(line["span"]["run"], run.id.as_str());
    assert_eq!(line["span"]["trace_id"], trace_id);
}

/// Exports all three signals to an endpoint that does not work, and checks what that costs.
#[track_caller]
fn check_useless_collector(endpoint: String, deadline: Duration) {
    let with_secret = endpoint.replace("://", "://user:secret@");
    let (telemetry, captured) = start(Some(with_secret), LogFormat::Text);
    let Story { run, journal, .. } = runs::completed();
    let log = telemetry.log().clone();
    let began = Instant::now();
    tracing::dispatcher::with_default(&log, || {
        for _ in 0..3_000 {
            telemetry.traces().export(&run, &journal);
            telemetry.metrics().step();
            tracing::info!("a line");
        }
        tracing::warn!(target: "opentelemetry_sdk", "the SDK says that a batch failed");
    });
    let using = began.elapsed();
    assert!(using < Duration::from_secs(5), "using it took {using:?}");
    let began = Instant::now();
    telemetry.shutdown(deadline);
    let ending = began.elapsed();
    assert!(ending < deadline + Duration::from_secs(1), "the end took {ending:?}");
    let warnings = captured.warnings();
    assert!(warnings.len() == 1 && warnings[0].contains("telemetry cannot be exported"), "{warnings:#?}");
    assert!(warnings[0].contains(&endpoint) && !warnings[0].contains("secret"), "{warnings:#?}");
}

#[test]
fn collector_that_is_down_costs_one_warning_and_a_bounded_end() {
    check_useless_collector(otlp::refused_url(), Duration::from_secs(3));
}

#[test]
fn collector_that_hangs_costs_one_warning_and_a_bounded_end() {
    let collector = Collector::start(Mode::Hang);
    check_useless_collector(collector.url(), Duration::from_millis(700));
}

#[test]
fn secure_endpoint_is_spoken_to_in_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    listener.set_nonblocking(true).expect("non-blocking");
    let (telemetry, _) = start(Some(format!("https://{}", listener.local_addr().expect("address"))), LogFormat::Text);
    let Story { run, journal, .. } = runs::completed();
    telemetry.traces().export(&run, &journal);
    let ending = std::thread::spawn(move || telemetry.shutdown(Duration::from_secs(2)));
    let (mut connection, _) = eventually("a connection", || listener.accept().ok());
    connection.set_nonblocking(false).expect("blocking");
    connection.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut record = [0; 6];
    connection.read_exact(&mut record).expect("a TLS record");
    // RFC 8446, 5.1 and 4: a handshake record whose message is a ClientHello.
    assert_eq!((record[0], record[1], record[5]), (0x16, 0x03, 0x01), "{record:02x?}");
    drop((connection, listener));
    ending.join().expect("a clean end");
}

#[test]
fn environment_names_the_endpoint_and_can_switch_the_sdk_off() {
    let collector = Collector::start(Mode::Normal);
    let check = |variables: &[(&str, &str)], spans: usize, metrics: bool| {
        let before = (collector.spans().len(), collector.metrics().len());
        let url = collector.url();
        let env = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.replace("COLLECTOR", &url))
        };
        let writer = BoxMakeWriter::new(std::io::sink);
        let telemetry = telemetry::init::init_to(&settings(None, LogFormat::Text), &env, writer).expect("telemetry");
        let Story { run, journal, .. } = runs::completed();
        telemetry.traces().export(&run, &journal);
        telemetry.metrics().step();
        telemetry.shutdown(PATIENCE);
        assert_eq!(collector.spans().len() - before.0, spans, "{variables:?}");
        assert_eq!(collector.metrics().len() > before.1, metrics, "{variables:?}");
    };
    check(&[], 0, false);
    check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "COLLECTOR/")], 5, true);
    check(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "COLLECTOR/v1/traces")], 5, false);
    check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "COLLECTOR"), ("OTEL_TRACES_EXPORTER", "none")], 0, true);
    check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "COLLECTOR"), ("OTEL_SDK_DISABLED", "true")], 0, false);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let check = |settings: &settings::Telemetry, env: &dyn Fn(&str) -> Option<String>, expected: &str| {
        let writer = BoxMakeWriter::new(std::io::sink);
        let error = telemetry::init::init_to(settings, env, writer).expect_err("an error");
        assert_eq!(error.to_string(), expected);
    };
    let mut wrong = settings(None, LogFormat::Text);
    wrong.log_filter = "info,firedrill=loud".to_owned();
    check(&wrong, &no_env, "`info,firedrill=loud` is not a log filter");
    let wrong = settings(Some("http://not a host".to_owned()), LogFormat::Text);
    check(&wrong, &no_env, "the OTLP settings for traces cannot be used");
    let certificate = |name: &str| (name == "OTEL_EXPORTER_OTLP_CERTIFICATE").then(|| "/nowhere/ca.pem".to_owned());
    let secure = settings(Some("https://127.0.0.1:1".to_owned()), LogFormat::Text);
    check(&secure, &certificate, "the OTLP certificate file /nowhere/ca.pem cannot be read");
}
