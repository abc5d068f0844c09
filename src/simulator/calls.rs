//! What the simulator tells whoever runs it: each call it answered, and what it could not do.
//!
//! Telling never waits: when nobody listens fast enough notices are dropped, and the next one says how many.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::http::request::Parts;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    edge::dispatch::Wish,
    wire::{Answer, ApiError, percent_decoded},
};

/// Something to tell.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A call was answered.
    Call(Served),
    /// An experiment's log could not be written; said once.
    LogNotWritten(String),
}

/// A call that was answered.
#[derive(Debug, Clone)]
pub struct Served {
    /// When, by the wall clock.
    pub at: Timestamp,
    /// HTTP status; `None` when a fault kept the answer back.
    pub status: Option<u16>,
    /// `StartExperiment`, or method and path when it is no operation.
    pub operation: String,
    /// What it was about, as far as can be told: an id or a name.
    pub subject: String,
    /// Code and message of the error it was answered with.
    pub error: Option<(String, String)>,
    /// How long it took.
    pub took: Duration,
    /// Notices before it that were dropped.
    pub dropped: u64,
}

/// Where notices go.
#[derive(Debug, Default)]
pub(super) struct Notices {
    to: Option<mpsc::Sender<Notice>>,
    dropped: AtomicU64,
}

impl Notices {
    /// Sends them there, or nowhere.
    pub(super) fn new(to: Option<mpsc::Sender<Notice>>) -> Self {
        Self { to, dropped: AtomicU64::new(0) }
    }

    /// Tells of a call. A poll that found nothing is not worth telling.
    pub(super) fn call(&self, mut served: Served, answer: &Answer) {
        let empty = |body: &Value| body.get("Messages").and_then(Value::as_array).is_none_or(Vec::is_empty);
        if served.operation == "ReceiveMessage" && answer.as_ref().is_ok_and(empty) {
            return;
        }
        let Some(to) = &self.to else { return };
        served.dropped = self.dropped.swap(0, Ordering::Relaxed);
        let before = served.dropped;
        if to.try_send(Notice::Call(served)).is_err() {
            self.dropped.fetch_add(before.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Tells that a log could not be written; in the log of the process when nobody listens.
    pub(super) async fn log_not_written(&self, problem: String) {
        match &self.to {
            None => tracing::warn!("{problem}"),
            // A listener that is gone wants to know nothing.
            Some(to) => drop(to.send(Notice::LogNotWritten(problem)).await),
        }
    }
}

/// The name of what a request asks for; method and path when it is no operation of AWS's.
pub(super) fn operation(wish: Option<&Wish>, parts: &Parts) -> String {
    match wish.and_then(Wish::operation) {
        Some(operation) => operation.to_owned(),
        None => format!("{} {}", parts.method, parts.uri.path()),
    }
}

/// What a call was about: the id in FIS's answer or path, the name of a queue, rule or alarm.
pub(super) fn subject(wish: Option<&Wish>, parts: &Parts, body: &Value, answer: &Answer) -> String {
    let Some(wish) = wish else { return String::new() };
    let answered = |member: &str| answer.as_ref().ok()?.get(member)?.get("id")?.as_str().map(str::to_owned);
    let label = || percent_decoded(parts.uri.path().split('/').nth(2)?);
    let in_path = || label().as_deref().map(last_segment).unwrap_or_default();
    let named = |member: &&str| body.get(*member)?.as_str().map(last_segment);
    match wish {
        Wish::Control { .. } => String::new(),
        Wish::Fis(_) => answered("experiment").or_else(|| answered("experimentTemplate")).unwrap_or_else(in_path),
        _named_in_body => {
            ["QueueUrl", "QueueName", "Rule", "Name", "AlarmName"].iter().find_map(named).unwrap_or_default()
        }
    }
}

fn last_segment(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// Code and message of an error.
pub(super) fn told(error: &ApiError) -> (String, String) {
    (error.code.to_owned(), error.message.clone())
}
