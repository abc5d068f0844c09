//! Which service and operation a request asks for, and performing it.
//!
//! One port serves all: the target header tells the JSON protocols apart, everything else is FIS.

use axum::http::{HeaderMap, request::Parts};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;

use super::{
    Shared, control,
    eventbridge::Delivery,
    fis::routes::Call,
    sqs::Found,
    wire::{Answer, ApiError, Protocol},
};

/// Longest wait of a long poll between two looks.
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What a request asks for.
pub(super) enum Wish {
    Control { method: String, path: String },
    Fis(Call),
    Sqs(String),
    EventBridge(String),
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-target")?.to_str().ok()
}

/// The protocol in which a request is answered.
pub(super) fn protocol(headers: &HeaderMap) -> Protocol {
    match target(headers).and_then(|target| target.split_once('.')) {
        Some(("AmazonSQS", _)) => Protocol::Json10,
        Some(_) => Protocol::Json11,
        None => Protocol::RestJson,
    }
}

impl Wish {
    /// Reads it from the head of a request.
    ///
    /// # Errors
    /// `UnknownOperationException`.
    pub(super) fn read(parts: &Parts) -> Result<Self, ApiError> {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        if let Some(path) = path.strip_prefix(control::PREFIX) {
            return Ok(Self::Control { method: method.to_owned(), path: path.to_owned() });
        }
        match target(&parts.headers).map(|target| target.split_once('.')) {
            None => Call::find(method, path, parts.uri.query().unwrap_or("")).map(Self::Fis),
            Some(Some(("AmazonSQS", operation))) => Ok(Self::Sqs(operation.to_owned())),
            Some(Some(("AWSEvents", operation))) => Ok(Self::EventBridge(operation.to_owned())),
            Some(_other) => Err(ApiError::unknown_operation()),
        }
    }

    /// The name of the operation, empty for the simulator's own interface.
    pub(super) fn operation(&self) -> &str {
        match self {
            Self::Control { .. } => "",
            Self::Fis(call) => call.operation,
            Self::Sqs(operation) | Self::EventBridge(operation) => operation,
        }
    }
}

/// Performs a request.
pub(super) async fn perform(shared: &Shared, wish: &Wish, body: &Value) -> Answer {
    if matches!(wish, Wish::Sqs(operation) if operation == "ReceiveMessage") {
        return receive(shared, body).await;
    }
    let scene = &shared.scene;
    shared.with(|state, now| match wish {
        Wish::Control { method, path } => control::perform(method, path, state, scene, body, now),
        Wish::Fis(call) => call.perform(state, scene, body, now),
        Wish::Sqs(operation) => {
            let answer = state.queues.perform(operation, body, scene, &mut state.ids, now);
            answer.unwrap_or_else(|| Err(ApiError::unknown_operation()))
        }
        Wish::EventBridge(operation) => {
            let mut delivery = Delivery { queues: &mut state.queues, ids: &mut state.ids, scene, now };
            let answer = state.buses.perform(operation, body, &mut delivery);
            answer.unwrap_or_else(|| Err(ApiError::unknown_operation()))
        }
    })
}

/// ReceiveMessage: looks, and waits for news until the wait is over.
async fn receive(shared: &Shared, body: &Value) -> Answer {
    let receive = shared.with(|state, _now| state.queues.receiver(body))?;
    // The wait is the client's, so it passes whatever the simulator's clock does.
    let wait = Duration::try_from(receive.wait).unwrap_or_default();
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        // Made before the look, so that what is sent between the look and the wait is not missed.
        let news = shared.news.notified();
        let (found, now) = shared.with(|state, now| (state.queues.receive(&receive, now), now));
        let next = match found? {
            Found::Messages(messages) => return Ok(json!({"Messages": messages})),
            Found::NothingUntil(_) if over.is_elapsed() => return Ok(json!({})),
            Found::NothingUntil(next) => next.map_or(LONGEST_LOOK, |next| until(next, now)),
        };
        tokio::select! {
            biased;
            () = news => {}
            () = &mut over => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}

/// Time from `now` to `next`, at most [`LONGEST_LOOK`], since the clock may jump.
pub(super) fn until(next: Timestamp, now: Timestamp) -> Duration {
    let left = next.duration_since(now).max(SignedDuration::ZERO);
    Duration::try_from(left).unwrap_or(LONGEST_LOOK).min(LONGEST_LOOK)
}
