//! A collector: takes OTLP over HTTP/protobuf on a loopback port and hands out what it got.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value},
    logs::v1::LogRecord,
    metrics::v1::Metric,
    resource::v1::Resource,
    trace::v1::Span,
};
use prost::Message;
use tokio::sync::oneshot;

/// How the collector behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Takes everything.
    Normal,
    /// Accepts connections and never answers.
    Hang,
}

#[derive(Debug, Default)]
struct Received {
    resources: Vec<Resource>,
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    logs: Vec<LogRecord>,
    unreadable: usize,
}

/// A running collector; it ends when dropped.
pub struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Returns the URL of a port that nothing listens on.
pub fn refused_url() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    format!("http://{}", listener.local_addr().expect("address"))
}

impl Collector {
    pub fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("address");
        let received = Arc::new(Mutex::new(Received::default()));
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&received);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("listener");
                let server = axum::serve(listener, routes(mode).with_state(shared));
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    result = server.into_future() => result.expect("serve"),
                }
            });
            runtime.shutdown_background();
        });
        Self { address, received, stop: Some(stop), thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.read(|received| received.spans.clone())
    }

    pub fn metrics(&self) -> Vec<Metric> {
        self.read(|received| received.metrics.clone())
    }

    pub fn logs(&self) -> Vec<LogRecord> {
        self.read(|received| received.logs.clone())
    }

    pub fn resources(&self) -> Vec<Resource> {
        self.read(|received| received.resources.clone())
    }

    /// Waits until at least so many spans arrived.
    #[track_caller]
    pub fn wait_for_spans(&self, count: usize) -> Vec<Span> {
        super::eventually("spans at the collector", || Some(self.spans()).filter(|spans| spans.len() >= count))
    }

    fn read<T>(&self, reading: impl FnOnce(&Received) -> T) -> T {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(received.unreadable, 0, "requests that are no OTLP arrived");
        reading(&received)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The thread may have ended on its own, with a panic that join reports.
            let _ended_before = stop.send(());
        }
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

type Shared = Arc<Mutex<Received>>;

fn routes(mode: Mode) -> Router<Shared> {
    let hang = || post(|| async { std::future::pending::<StatusCode>().await });
    match mode {
        Mode::Hang => Router::new().route("/v1/traces", hang()).route("/v1/metrics", hang()).route("/v1/logs", hang()),
        Mode::Normal => Router::new()
            .route("/v1/traces", post(take_traces))
            .route("/v1/metrics", post(take_metrics))
            .route("/v1/logs", post(take_logs)),
    }
}

async fn take_traces(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    take(&shared, &body, |received, request: ExportTraceServiceRequest| {
        for group in request.resource_spans {
            received.resources.extend(group.resource);
            received.spans.extend(group.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
    })
}

async fn take_metrics(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    take(&shared, &body, |received, request: ExportMetricsServiceRequest| {
        for group in request.resource_metrics {
            received.resources.extend(group.resource);
            received.metrics.extend(group.scope_metrics.into_iter().flat_map(|scope| scope.metrics));
        }
    })
}

async fn take_logs(State(shared): State<Shared>, body: Bytes) -> StatusCode {
    take(&shared, &body, |received, request: ExportLogsServiceRequest| {
        for group in request.resource_logs {
            received.resources.extend(group.resource);
            received.logs.extend(group.scope_logs.into_iter().flat_map(|scope| scope.log_records));
        }
    })
}

fn take<R: Message + Default>(shared: &Shared, body: &Bytes, keep: impl FnOnce(&mut Received, R)) -> StatusCode {
    let mut received = shared.lock().unwrap_or_else(PoisonError::into_inner);
    match R::decode(body.as_ref()) {
        Ok(request) => {
            keep(&mut received, request);
            StatusCode::OK
        }
        Err(_) => {
            received.unreadable += 1;
            StatusCode::BAD_REQUEST
        }
    }
}

/// Returns an attribute as text; empty when it is missing.
pub fn attribute(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|attribute| attribute.value.clone());
    match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(other) => format!("{other:?}"),
        None => String::new(),
    }
}

/// Returns one line for each data point: `{attributes} value`, sorted; histograms as `count/sum`.
pub fn points(metric: &Metric) -> Vec<String> {
    use opentelemetry_proto::tonic::metrics::v1::{metric::Data, number_data_point::Value as Number};
    let labels = |attributes: &[KeyValue]| {
        let mut labels: Vec<String> =
            attributes.iter().map(|label| format!("{}={}", label.key, attribute(attributes, &label.key))).collect();
        labels.sort();
        labels.join(",")
    };
    let numbers = |points: &[opentelemetry_proto::tonic::metrics::v1::NumberDataPoint]| -> Vec<String> {
        let number = |value: &Option<Number>| match value {
            Some(Number::AsInt(number)) => number.to_string(),
            Some(Number::AsDouble(number)) => number.to_string(),
            None => "none".to_owned(),
        };
        points.iter().map(|point| format!("{{{}}} {}", labels(&point.attributes), number(&point.value))).collect()
    };
    let mut lines = match &metric.data {
        Some(Data::Gauge(gauge)) => numbers(&gauge.data_points),
        Some(Data::Sum(sum)) => numbers(&sum.data_points),
        Some(Data::Histogram(histogram)) => {
            let line = |point: &opentelemetry_proto::tonic::metrics::v1::HistogramDataPoint| {
                format!("{{{}}} {}/{}", labels(&point.attributes), point.count, point.sum.unwrap_or_default())
            };
            histogram.data_points.iter().map(line).collect()
        }
        other => panic!("{}: a kind of metric that is not used: {other:?}", metric.name),
    };
    lines.sort();
    lines
}
