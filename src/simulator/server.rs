//! From an HTTP request to an operation and back.
//!
//! The target header tells SQS and EventBridge apart from FIS. Faults are applied here, long polls wait here, and every
//! wait ends when the simulator does.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{self, Body},
    extract::{ConnectInfo, Request, State as Extracted},
    http::{HeaderMap, Response, StatusCode, request::Parts},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    Shared, clock, control,
    eventbridge::Delivery,
    faults::{Effect, Interference},
    line::Switch,
    routes::Call,
    sqs::Found,
    wire::{self, Answer, ApiError, Protocol},
};

/// Largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

/// Longest wait of a long poll between two looks.
const LONGEST_LOOK: Duration = Duration::from_secs(1);

/// What a request asks for.
enum Wish {
    Control { method: String, path: String },
    Fis(Call),
    Sqs(String),
    EventBridge(String),
}

/// The application.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new().fallback(serve).with_state(shared)
}

async fn serve(
    Extracted(shared): Extracted<Arc<Shared>>,
    ConnectInfo(switch): ConnectInfo<Switch>,
    request: Request,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let request_id = shared.with(|state, _now| state.ids.uuid());
    let protocol = protocol(&parts.headers);
    let stopping = shared.stopping.clone();
    let answer = tokio::select! {
        biased;
        () = stopping.cancelled() => Err(ended()),
        answer = answer(&shared, &parts, body, &switch) => answer,
    };
    wire::response(protocol, answer, &request_id)
}

fn ended() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the simulator is stopping")
}

fn target(headers: &HeaderMap) -> Option<&str> {
    headers.get("x-amz-target")?.to_str().ok()
}

fn protocol(headers: &HeaderMap) -> Protocol {
    match target(headers).and_then(|target| target.split_once('.')) {
        Some(("AmazonSQS", _)) => Protocol::Json10,
        Some(_) => Protocol::Json11,
        None => Protocol::RestJson,
    }
}

impl Wish {
    fn read(parts: &Parts) -> Result<Self, ApiError> {
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

    fn operation(&self) -> &str {
        match self {
            Self::Control { .. } => "",
            Self::Fis(call) => call.operation,
            Self::Sqs(operation) | Self::EventBridge(operation) => operation,
        }
    }
}

async fn answer(shared: &Shared, parts: &Parts, body: Body, switch: &Switch) -> Answer {
    // The body comes first, so that no refusal leaves half a request on the connection.
    let body = read_body(body).await;
    let (wish, body) = (Wish::read(parts)?, body?);
    let interference = shared.with(|state, _now| state.faults.take(wish.operation()));
    match interference {
        None => perform(shared, &wish, &body).await,
        Some(Interference::Refuse(error)) => Err(error),
        Some(Interference::Lie(error)) => {
            // The client is told of a failure of ours, whatever the operation said.
            let _untold = perform(shared, &wish, &body).await;
            Err(error)
        }
        Some(Interference::Bend(bend)) => perform(shared, &wish, &body).await.map(|mut body| {
            bend(&mut body);
            body
        }),
        Some(Interference::Cut(effect)) => {
            if effect == Effect::Done {
                let _untold = perform(shared, &wish, &body).await;
            }
            switch.cut();
            Ok(json!({}))
        }
        Some(Interference::Silence(effect)) => {
            if effect == Effect::Done {
                let _untold = perform(shared, &wish, &body).await;
            }
            std::future::pending().await
        }
    }
}

async fn read_body(body: Body) -> Result<Value, ApiError> {
    let too_large = |_| {
        let text = format!("a request body has at most {MAX_BODY} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", text)
    };
    let bytes = body::to_bytes(body, MAX_BODY).await.map_err(too_large)?;
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(members)) => Ok(Value::Object(members)),
        Ok(_other) => Err(ApiError::bad("SerializationException", "the body must be a JSON object")),
        Err(error) => Err(ApiError::bad("SerializationException", format!("the body is not JSON: {error}"))),
    }
}

async fn perform(shared: &Shared, wish: &Wish, body: &Value) -> Answer {
    if matches!(wish, Wish::Sqs(operation) if operation == "ReceiveMessage") {
        return receive(shared, body).await;
    }
    let scene = &shared.scene;
    shared.with(|state, now| match wish {
        Wish::Control { method, path } => control::perform(method, path, state, body, now),
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
    let (receive, began) = shared.with(|state, now| (state.queues.receiver(body), now));
    let receive = receive?;
    let deadline = began.saturating_add(receive.wait).unwrap_or(Timestamp::MAX);
    loop {
        // Made before the look, so that what is sent between the look and the wait is not missed.
        let news = shared.news.notified();
        let (found, now) = shared.with(|state, now| (state.queues.receive(&receive, now), now));
        let next = match found? {
            Found::Messages(messages) => return Ok(json!({"Messages": messages})),
            Found::NothingUntil(_) if now >= deadline => return Ok(json!({})),
            Found::NothingUntil(next) => next.unwrap_or(deadline).min(deadline),
        };
        tokio::select! {
            biased;
            () = news => {}
            () = tokio::time::sleep(until(next, now)) => {}
        }
    }
}

/// Time from `now` to `next`, at most [`LONGEST_LOOK`], since the wall clock may step.
fn until(next: Timestamp, now: Timestamp) -> Duration {
    let left = next.duration_since(now).max(SignedDuration::ZERO);
    Duration::try_from(left).unwrap_or(LONGEST_LOOK).min(LONGEST_LOOK)
}

/// Keeps experiments going and their events on time, also when nobody calls.
pub(super) async fn tick(shared: Arc<Shared>) {
    loop {
        let (next, now) = (shared.with(|state, _now| state.fis.next_due()), clock::now());
        let pause = next.map_or(LONGEST_LOOK, |next| until(next, now));
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            () = shared.plans.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
