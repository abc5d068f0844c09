//! Outages of the collector: counted always, told once.
//!
//! The SDK logs every batch that fails; its own log lines are switched off (see [`super::logs`]) and every exporter is
//! wrapped in [`Watched`] instead, which warns when exports begin to fail and says so when they work again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use opentelemetry::logs::Severity;
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    logs::{LogBatch, LogExporter},
    metrics::{Temporality, data::ResourceMetrics, exporter::PushMetricExporter},
    trace::{SpanData, SpanExporter},
};
use tracing::dispatcher::WeakDispatch;

use super::otlp::Signal;

/// Least time between two warnings, however often the collector comes and goes.
const QUIET: Duration = Duration::from_secs(600);

/// What is known of the collector; clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Outage(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    failures: AtomicU64,
    seen: Mutex<Seen>,
    /// The log, which also holds us: hence weak.
    log: OnceLock<WeakDispatch>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Where each signal goes: scheme, host and port, without credentials.
    collectors: BTreeMap<Signal, String>,
    failing: BTreeSet<Signal>,
    warned_at: Option<Instant>,
    recovery: Recovery,
}

/// Whether an end of the outage is to be told.
#[derive(Debug, Default, PartialEq)]
enum Recovery {
    #[default]
    Untold,
    Awaited,
}

impl Outage {
    /// Sets where warnings go; the first call counts.
    pub(super) fn log_to(&self, log: WeakDispatch) {
        self.0.log.get_or_init(|| log);
    }

    /// Notes where a signal goes, for the warning.
    pub(super) fn sends(&self, signal: Signal, collector: String) {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner).collectors.insert(signal, collector);
    }

    /// Tells how many exports failed since the start.
    pub(super) fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }

    /// Notes how an export of a signal, or the end of its provider, came out.
    pub(super) fn note(&self, signal: Signal, result: &OTelSdkResult) {
        match result {
            Ok(()) => self.worked(signal),
            Err(OTelSdkError::AlreadyShutdown) => {}
            Err(failure) => self.failed(signal, &failure.to_string()),
        }
    }

    /// Notes a failure; warns unless it did lately.
    pub(super) fn failed(&self, signal: Signal, failure: &str) {
        self.0.failures.fetch_add(1, Ordering::Relaxed);
        let warn = {
            let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let was_failing = !seen.failing.is_empty();
            seen.failing.insert(signal);
            let quiet = seen.warned_at.is_some_and(|at| at.elapsed() < QUIET);
            if was_failing || quiet {
                None
            } else {
                seen.warned_at = Some(Instant::now());
                seen.recovery = Recovery::Awaited;
                Some(seen.collectors.get(&signal).cloned().unwrap_or_default())
            }
        };
        if let Some(collector) = warn {
            let signal = signal.name();
            self.tell(|| {
                tracing::warn!(signal, collector, failure, "telemetry cannot be exported; runs go on without it")
            });
        }
    }

    fn worked(&self, signal: Signal) {
        let recovered = {
            let mut seen = self.0.seen.lock().unwrap_or_else(PoisonError::into_inner);
            let over = seen.failing.remove(&signal) && seen.failing.is_empty();
            over && std::mem::take(&mut seen.recovery) == Recovery::Awaited
        };
        if recovered {
            let failures = self.failures();
            self.tell(|| tracing::info!(failures, "telemetry is exported again"));
        }
    }

    /// Logs from the SDK's own threads.
    fn tell(&self, line: impl FnOnce()) {
        match self.0.log.get().and_then(WeakDispatch::upgrade) {
            Some(log) => tracing::dispatcher::with_default(&log, line),
            None => line(),
        }
    }
}

/// An exporter whose results are noted.
#[derive(Debug)]
pub(super) struct Watched<E> {
    pub(super) inner: E,
    pub(super) signal: Signal,
    pub(super) outage: Outage,
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        self.outage.note(self.signal, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for Watched<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        let result = self.inner.export(batch).await;
        self.outage.note(self.signal, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn event_enabled(&self, level: Severity, target: &str, name: Option<&str>) -> bool {
        self.inner.event_enabled(level, target, name)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let result = self.inner.export(metrics).await;
        self.outage.note(self.signal, &result);
        result
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.inner.temporality()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn outage_is_told_once_and_so_is_its_end() {
        let captured = Captured::default();
        let writer = captured.clone();
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(move || writer.clone());
        let log = tracing::Dispatch::new(log.finish());
        let outage = Outage::default();
        outage.log_to(log.downgrade());
        let told = || {
            let bytes = captured.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            String::from_utf8_lossy(&bytes).split_whitespace().filter(|w| ["WARN", "INFO"].contains(w)).count()
        };
        outage.note(Signal::Logs, &Ok(()));
        assert_eq!(told(), 0);
        for _ in 0..3 {
            outage.failed(Signal::Traces, "refused");
            outage.failed(Signal::Logs, "refused");
        }
        assert_eq!(told(), 1);
        outage.note(Signal::Traces, &Ok(()));
        outage.note(Signal::Traces, &Err(OTelSdkError::AlreadyShutdown));
        assert_eq!(told(), 1, "logs still fail");
        outage.note(Signal::Logs, &Ok(()));
        assert_eq!(told(), 2);
        // It comes and goes: nothing more is said for a while.
        outage.failed(Signal::Traces, "refused");
        outage.note(Signal::Traces, &Ok(()));
        assert_eq!((told(), outage.failures()), (2, 7));
    }
}
