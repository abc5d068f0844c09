//! OTLP over HTTP: where each signal goes, and the providers that send it.
//!
//! The environment is an argument where we decide by it; headers, resource attributes, queue sizes and compression are read
//! by the SDK itself. Nothing here logs or blocks; what becomes of an export is noted in [`super::outage`].

use std::{path::PathBuf, time::Duration};

use opentelemetry_otlp::{LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    logs::SdkLoggerProvider,
    metrics::{PeriodicReader, SdkMeterProvider, Stream},
    trace::{Sampler, SdkTracerProvider},
};

use super::{
    init::{Env, InitError},
    names,
    outage::{Outage, Watched},
    traces::RunIds,
};
use crate::config::settings::{self, Endpoint};

/// Time limit of one export where the environment names none (OTLP exporter specification).
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// Most attribute sets of one instrument that names experiments; the SDK folds the rest into one overflow set.
const MAX_EXPERIMENT_SERIES: usize = 50_000;

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// Returns the name, as paths and messages show it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// Reads `OTEL_EXPORTER_OTLP_<SIGNAL>_<key>`, else `OTEL_EXPORTER_OTLP_<key>`.
    fn variable(self, env: Env<'_>, key: &str) -> Option<String> {
        self.own_variable(env, key).or_else(|| set(env, &format!("OTEL_EXPORTER_OTLP_{key}")))
    }

    fn own_variable(self, env: Env<'_>, key: &str) -> Option<String> {
        set(env, &format!("OTEL_EXPORTER_OTLP_{}_{key}", self.name().to_uppercase()))
    }

    /// Finds where this signal goes: our setting, then the signal's own variable (taken as it is), then the common one.
    fn endpoint(self, settings: &settings::Telemetry, env: Env<'_>) -> Option<Endpoint> {
        let below = |base: &str| format!("{}/v1/{}", base.trim_end_matches('/'), self.name());
        if set(env, &format!("OTEL_{}_EXPORTER", self.name().to_uppercase())).as_deref() == Some("none") {
            return None;
        }
        settings
            .otlp_endpoint
            .as_ref()
            .map(|base| below(base.url()))
            .or_else(|| self.own_variable(env, "ENDPOINT"))
            .or_else(|| set(env, "OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)))
            .map(Endpoint::new)
    }

    fn timeout(self, env: Env<'_>) -> Duration {
        let millis = self.variable(env, "TIMEOUT").and_then(|text| text.parse().ok());
        millis.map_or(EXPORT_TIMEOUT, Duration::from_millis)
    }
}

/// An environment variable that is set and not empty; the OpenTelemetry specification takes empty as unset.
fn set(env: Env<'_>, name: &str) -> Option<String> {
    env(name).filter(|value| !value.trim().is_empty())
}

/// The providers of the signals that have an endpoint.
#[derive(Debug, Default)]
pub(super) struct Providers {
    pub(super) traces: Option<SdkTracerProvider>,
    pub(super) metrics: Option<SdkMeterProvider>,
    pub(super) logs: Option<SdkLoggerProvider>,
}

impl Providers {
    /// Builds what settings and environment ask for.
    ///
    /// # Errors
    /// [`InitError`] when an endpoint is no URL or a certificate cannot be read.
    pub(super) fn build(settings: &settings::Telemetry, env: Env<'_>, outage: &Outage) -> Result<Self, InitError> {
        if set(env, "OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(Self::default());
        }
        let resource = resource(settings, env);
        let target = |signal: Signal| match signal.endpoint(settings, env) {
            Some(endpoint) => Target::new(signal, endpoint, env).map(Some),
            None => Ok(None),
        };
        let traces = target(Signal::Traces)?.map(|target| target.traces(&resource, outage)).transpose()?;
        let interval = interval(settings, env);
        let metrics = target(Signal::Metrics)?.map(|target| target.metrics(&resource, interval, outage)).transpose()?;
        let logs = target(Signal::Logs)?.map(|target| target.logs(&resource, outage)).transpose()?;
        Ok(Self { traces, metrics, logs })
    }
}

/// Where a signal goes, and with what.
struct Target {
    signal: Signal,
    endpoint: Endpoint,
    timeout: Duration,
    client: reqwest::blocking::Client,
}

impl Target {
    fn new(signal: Signal, endpoint: Endpoint, env: Env<'_>) -> Result<Self, InitError> {
        let timeout = signal.timeout(env);
        let authorities = match signal.variable(env, "CERTIFICATE").map(PathBuf::from) {
            Some(path) => certificates(path)?,
            None => Vec::new(),
        };
        let client = client(signal, endpoint.url(), timeout, authorities)?;
        Ok(Self { signal, endpoint, timeout, client })
    }

    fn configure<B: WithExportConfig + WithHttpConfig>(&self, builder: B) -> B {
        builder
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(self.endpoint.url())
            .with_timeout(self.timeout)
            .with_http_client(self.client.clone())
    }

    fn watched<E>(&self, inner: E, outage: &Outage) -> Watched<E> {
        outage.sends(self.signal, self.endpoint.origin());
        Watched { inner, signal: self.signal, outage: outage.clone() }
    }

    fn refused(&self, source: opentelemetry_otlp::ExporterBuildError) -> InitError {
        InitError::Exporter { signal: self.signal.name(), source }
    }

    fn traces(&self, resource: &Resource, outage: &Outage) -> Result<SdkTracerProvider, InitError> {
        let exporter = self.configure(SpanExporter::builder().with_http()).build().map_err(|e| self.refused(e))?;
        Ok(SdkTracerProvider::builder()
            .with_resource(resource.clone())
            .with_sampler(Sampler::AlwaysOn)
            .with_id_generator(RunIds::default())
            .with_batch_exporter(self.watched(exporter, outage))
            .build())
    }

    fn metrics(&self, resource: &Resource, interval: Duration, outage: &Outage) -> Result<SdkMeterProvider, InitError> {
        let exporter = self.configure(MetricExporter::builder().with_http()).build().map_err(|e| self.refused(e))?;
        let reader = PeriodicReader::builder(self.watched(exporter, outage)).with_interval(interval).build();
        Ok(SdkMeterProvider::builder()
            .with_resource(resource.clone())
            .with_reader(reader)
            .with_view(|instrument| {
                let wide = [
                    names::METRIC_NEXT_SLOT,
                    names::METRIC_DECISIONS,
                    names::METRIC_RUNS,
                    names::METRIC_SLOTS_EXPECTED,
                    names::METRIC_SLOTS_DECIDED,
                    names::METRIC_STALENESS,
                ];
                // The stream is a constant that is valid; without it the SDK's own limit of 2,000 would hold.
                let stream = || Stream::builder().with_cardinality_limit(MAX_EXPERIMENT_SERIES).build().ok();
                if wide.contains(&instrument.name()) { stream() } else { None }
            })
            .build())
    }

    fn logs(&self, resource: &Resource, outage: &Outage) -> Result<SdkLoggerProvider, InitError> {
        let exporter = self.configure(LogExporter::builder().with_http()).build().map_err(|e| self.refused(e))?;
        Ok(SdkLoggerProvider::builder()
            .with_resource(resource.clone())
            .with_batch_exporter(self.watched(exporter, outage))
            .build())
    }
}

/// Describes this process: the environment's words, with our defaults behind them.
fn resource(settings: &settings::Telemetry, env: Env<'_>) -> Resource {
    let attribute = |key: &str| {
        let all = set(env, "OTEL_RESOURCE_ATTRIBUTES")?;
        let value = all.split(',').filter_map(|pair| pair.split_once('=')).find(|(name, _)| name.trim() == key)?.1;
        Some(value.trim().to_owned())
    };
    let name = set(env, "OTEL_SERVICE_NAME").or_else(|| attribute("service.name"));
    let version = attribute("service.version").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned());
    // What is sent by one of several replicas would else overwrite what another sent.
    let instance = attribute("service.instance.id").unwrap_or_else(|| settings::replica(settings.replica.as_deref()));
    Resource::builder()
        .with_service_name(name.unwrap_or_else(|| names::SERVICE.to_owned()))
        .with_attribute(opentelemetry::KeyValue::new("service.version", version))
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", instance))
        .build()
}

/// Time between two metric exports: the environment may shorten or lengthen what is configured.
fn interval(settings: &settings::Telemetry, env: Env<'_>) -> Duration {
    let millis =
        set(env, "OTEL_METRIC_EXPORT_INTERVAL").and_then(|text| text.parse().ok()).filter(|millis| *millis > 0);
    millis.map_or(settings.metric_interval.unsigned_abs(), Duration::from_millis)
}

/// Reads the authorities that a collector's certificate may be signed by, besides the system's.
fn certificates(path: PathBuf) -> Result<Vec<reqwest::Certificate>, InitError> {
    let pem = match std::fs::read(&path) {
        Ok(pem) => pem,
        Err(source) => return Err(InitError::CertificateUnread { path, source }),
    };
    reqwest::Certificate::from_pem_bundle(&pem).map_err(|source| InitError::CertificateUnusable { path, source })
}

/// Builds a client on a thread of its own: reqwest's blocking client must not be built inside an async runtime.
fn client(
    signal: Signal,
    endpoint: &str,
    timeout: Duration,
    authorities: Vec<reqwest::Certificate>,
) -> Result<reqwest::blocking::Client, InitError> {
    // An error only says that a provider is installed already.
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let builder = reqwest::blocking::Client::builder().timeout(timeout);
    // A plain endpoint must work where there are no system certificates, as in an empty container.
    let secure = endpoint.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"));
    let builder = if secure { builder.tls_certs_merge(authorities) } else { builder.tls_certs_only([]) };
    let built = std::thread::Builder::new().name("otlp-client".to_owned()).spawn(move || builder.build());
    let joined = built.map_err(|source| InitError::Thread { source })?.join();
    match joined {
        Ok(client) => client.map_err(|source| InitError::Client { signal: signal.name(), source }),
        Err(_panic) => Err(InitError::ClientPanicked { signal: signal.name() }),
    }
}
