//! Start and end of telemetry.
//!
//! [`init()`] reads settings and environment and builds what they ask for, without asking whether a collector is there.
//! [`Telemetry`] holds the providers; nothing is global until [`Telemetry::install`] makes its log the process's.

use std::{
    collections::BTreeSet,
    io::IsTerminal,
    path::PathBuf,
    sync::mpsc,
    time::{Duration, Instant},
};

use opentelemetry_sdk::error::OTelSdkResult;
use tracing::Dispatch;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use super::{
    logs::{self, Colour},
    metrics::Metrics,
    otlp::{Providers, Signal},
    outage::Outage,
    traces::Traces,
};
use crate::config::settings;

/// The environment, as an argument.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Telemetry that cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The filter of the log cannot be read.
    #[error("`{filter}` is not a log filter")]
    Filter {
        /// The refused text.
        filter: String,
        /// Why.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The exporter of a signal refuses its settings, as a rule its endpoint.
    #[error("the OTLP settings for {signal} cannot be used")]
    Exporter {
        /// Which signal.
        signal: &'static str,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
    /// The HTTP client of a signal cannot be built, as a rule for want of system certificates.
    #[error("the HTTP client for {signal} cannot be built")]
    Client {
        /// Which signal.
        signal: &'static str,
        /// Why.
        source: reqwest::Error,
    },
    /// Building the HTTP client of a signal panicked.
    #[error("the HTTP client for {signal} panicked while it was built")]
    ClientPanicked {
        /// Which signal.
        signal: &'static str,
    },
    /// The file of `OTEL_EXPORTER_OTLP_CERTIFICATE` cannot be read.
    #[error("the OTLP certificate file {} cannot be read", path.display())]
    CertificateUnread {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file of `OTEL_EXPORTER_OTLP_CERTIFICATE` holds something else.
    #[error("the OTLP certificate file {} is not PEM", path.display())]
    CertificateUnusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: reqwest::Error,
    },
    /// No thread can be started.
    #[error("no thread can be started for telemetry")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// The process has a log already.
    #[error("the log of the process is set already")]
    Installed {
        /// Why.
        source: tracing::dispatcher::SetGlobalDefaultError,
    },
}

/// The log, traces and metrics of this process.
#[derive(Debug)]
pub struct Telemetry {
    log: Dispatch,
    traces: Traces,
    metrics: Metrics,
    providers: Providers,
    outage: Outage,
}

/// Sets telemetry up; the log goes to stderr.
///
/// # Errors
/// [`InitError`] when a setting cannot be used. A collector that does not answer is no error.
pub fn init(settings: &settings::Telemetry, env: Env<'_>) -> Result<Telemetry, InitError> {
    let colour_refused = env("NO_COLOR").is_some_and(|value| !value.is_empty());
    let colour = if std::io::stderr().is_terminal() && !colour_refused { Colour::Ansi } else { Colour::Plain };
    build(settings, env, BoxMakeWriter::new(std::io::stderr), colour)
}

/// Sets telemetry up; the log goes, without colour, to a given writer.
///
/// # Errors
/// See [`init`].
pub fn init_to(settings: &settings::Telemetry, env: Env<'_>, writer: BoxMakeWriter) -> Result<Telemetry, InitError> {
    build(settings, env, writer, Colour::Plain)
}

fn build(
    settings: &settings::Telemetry,
    env: Env<'_>,
    writer: BoxMakeWriter,
    colour: Colour,
) -> Result<Telemetry, InitError> {
    let outage = Outage::default();
    let providers = Providers::build(settings, env, &outage)?;
    let log = logs::dispatch(settings, writer, colour, providers.logs.as_ref())?;
    outage.log_to(log.downgrade());
    let traces = providers.traces.as_ref().map(Traces::new).unwrap_or_default();
    let metrics = providers.metrics.as_ref().map(Metrics::new).unwrap_or_default();
    Ok(Telemetry { log, traces, metrics, providers, outage })
}

impl Telemetry {
    /// Returns telemetry that says nothing.
    pub fn disabled() -> Self {
        Self {
            log: Dispatch::none(),
            traces: Traces::default(),
            metrics: Metrics::default(),
            providers: Providers::default(),
            outage: Outage::default(),
        }
    }

    /// Makes the log the one of the whole process.
    ///
    /// # Errors
    /// [`InitError::Installed`] when the process has one already.
    pub fn install(&self) -> Result<(), InitError> {
        tracing::dispatcher::set_global_default(self.log.clone()).map_err(|source| InitError::Installed { source })
    }

    /// Returns the log, for use without [`Telemetry::install`].
    pub fn log(&self) -> &Dispatch {
        &self.log
    }

    /// Returns the traces of runs.
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// Returns the metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Tells how many exports have failed since the start.
    pub fn export_failures(&self) -> u64 {
        self.outage.failures()
    }

    /// Sends what is left and ends, at the latest after `deadline`: what a collector has not taken by then is lost.
    /// Blocks, so it is not for the threads of an async runtime.
    pub fn shutdown(self, deadline: Duration) {
        let until = Instant::now() + deadline;
        let Providers { traces, metrics, logs } = self.providers;
        let mut ends: Vec<(Signal, Box<dyn FnOnce() -> OTelSdkResult + Send>)> = Vec::new();
        if let Some(provider) = metrics {
            ends.push((Signal::Metrics, Box::new(move || provider.shutdown_with_timeout(deadline))));
        }
        if let Some(provider) = traces {
            ends.push((Signal::Traces, Box::new(move || provider.shutdown_with_timeout(deadline))));
        }
        if let Some(provider) = logs {
            ends.push((Signal::Logs, Box::new(move || provider.shutdown_with_timeout(deadline))));
        }
        let mut pending: BTreeSet<Signal> = ends.iter().map(|(signal, _)| *signal).collect();
        let (done, finished) = mpsc::channel();
        for (signal, end) in ends {
            let done = done.clone();
            let end = move || {
                // Nobody listens any more once the deadline has passed.
                let _listener_gone = done.send((signal, end()));
            };
            if let Err(failure) = std::thread::Builder::new().name(format!("otlp-{}", signal.name())).spawn(end) {
                self.outage.failed(signal, &failure.to_string());
            }
        }
        drop(done);
        while let Ok((signal, result)) = finished.recv_timeout(until.saturating_duration_since(Instant::now())) {
            self.outage.note(signal, &result);
            pending.remove(&signal);
        }
        for signal in pending {
            self.outage.failed(signal, "it did not end in time");
        }
    }
}
