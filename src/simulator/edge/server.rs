//! From an HTTP request to an operation and back.
//!
//! Which operation a request is lies in [`crate::simulator::dispatch`]; who may call, in [`crate::simulator::credentials`]. Faults are applied
//! here, and every wait ends when the simulator does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Response, StatusCode, header, request::Parts},
};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Caller, Limits},
    credentials::{self, Signatures},
    dispatch::{self, Wish},
};
use crate::simulator::{
    Shared,
    calls::{self, Served},
    clock, control,
    faults::{Effect, Interference},
    log_files::Logs,
    wire::{self, Answer, ApiError},
};

/// Largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// Most bytes of a body that is too large that are read and thrown away, so that the client sees the answer.
const MAX_DISCARDED: usize = 16 * MAX_BODY;

/// What became of a request.
struct Outcome {
    wish: Option<Wish>,
    body: Value,
    answer: Answer,
    /// When a throttled client may come again, in milliseconds.
    retry_after: Option<u32>,
    /// Whether the client hears nothing of it.
    unheard: bool,
}

impl Outcome {
    fn early(answer: Answer) -> Self {
        Self { wish: None, body: Value::Null, answer, retry_after: None, unheard: false }
    }
}

/// Answers a request.
pub(in crate::simulator) async fn serve(
    shared: &Shared,
    caller: &Caller,
    limits: Limits,
    request: Request,
) -> Response<Body> {
    let begun = Instant::now();
    let (parts, body) = request.into_parts();
    let request_id = shared.with(|state, _now| state.ids.uuid());
    let told = tokio::select! {
        biased;
        () = shared.stopping.cancelled() => Outcome::early(Err(ended())),
        told = told(shared, &parts, body, caller, limits) => told,
    };
    shared.notices.call(served(&told, &parts, begun), &told.answer);
    let mut response = wire::response(dispatch::protocol(&parts), told.answer, &request_id);
    if let Some(milliseconds) = told.retry_after {
        response.headers_mut().insert("x-amz-retry-after", milliseconds.into());
    }
    if matches!(response.status(), StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // What is left of the body is never read, so the connection is of no more use.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

fn ended() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "the simulator is stopping")
}

fn served(told: &Outcome, parts: &Parts, begun: Instant) -> Served {
    let wish = told.wish.as_ref();
    let status = told.answer.as_ref().map_or_else(|error| error.status, |_body| StatusCode::OK);
    Served {
        at: clock::wall(),
        status: (!told.unheard).then_some(status.as_u16()),
        operation: calls::operation(wish, parts),
        subject: calls::subject(wish, parts, &told.body, &told.answer),
        error: told.answer.as_ref().err().map(calls::told),
        took: begun.elapsed(),
        dropped: 0,
    }
}

async fn told(shared: &Shared, parts: &Parts, body: Body, caller: &Caller, limits: Limits) -> Outcome {
    // The body comes first, so that no refusal leaves half a request on the connection.
    let read = match read_body(body, limits.body).await {
        Ok(bytes) => wish(shared, parts, &bytes, caller),
        Err(error) => Err(error),
    };
    match read {
        Ok((wish, body)) => perform(shared, parts, wish, body, caller).await,
        // Read once more, for its name alone: who is refused hears nothing of what is there.
        Err(error) => Outcome { wish: Wish::read(parts, &Value::Null).ok(), ..Outcome::early(Err(error)) },
    }
}

/// Checks who calls and how, and reads what is asked for.
fn wish(shared: &Shared, parts: &Parts, bytes: &[u8], caller: &Caller) -> Result<(Wish, Value), ApiError> {
    if parts.uri.path().starts_with(control::PREFIX) {
        credentials::check_local(parts, caller.address)?;
    } else {
        let region = &shared.scene.region;
        credentials::check(parts, bytes, shared.signatures, region, clock::wall())?;
    }
    let body = wire::decoded(dispatch::protocol(parts), bytes);
    // An unknown route is told before an unreadable body.
    let wish = Wish::read(parts, body.as_ref().unwrap_or(&Value::Null))?;
    if let Some(service) = wish.service().filter(|_| shared.signatures == Signatures::Verified) {
        credentials::check_service(parts, service)?;
    }
    if matches!(wish, Wish::Fis(_)) && !bytes.is_empty() {
        check_media_type(parts)?;
    }
    Ok((wish, body?))
}

async fn perform(shared: &Shared, parts: &Parts, wish: Wish, body: Value, caller: &Caller) -> Outcome {
    let begun = Instant::now();
    let interference = wish.operation().and_then(|name| shared.with(|state, _now| state.faults.take(name)));
    let answered = |wish, body, answer| Outcome { wish: Some(wish), body, answer, retry_after: None, unheard: false };
    match interference {
        None => {
            let answer = dispatch::perform(shared, &wish, &body).await;
            answered(wish, body, answer)
        }
        Some(Interference::Refuse(error, retry_after)) => Outcome { retry_after, ..answered(wish, body, Err(error)) },
        Some(Interference::Lie(error)) => {
            // The client is told of a failure of ours, whatever the operation said.
            let _untold = dispatch::perform(shared, &wish, &body).await;
            answered(wish, body, Err(error))
        }
        Some(Interference::Bend(bend)) => {
            let answer = dispatch::perform(shared, &wish, &body).await.map(|mut body| {
                bend(&mut body);
                body
            });
            answered(wish, body, answer)
        }
        Some(Interference::Delay(time)) => {
            let answer = dispatch::perform(shared, &wish, &body).await;
            tokio::time::sleep(time).await;
            answered(wish, body, answer)
        }
        Some(Interference::Cut(effect)) => {
            let answer = perform_unheard(shared, &wish, &body, effect).await;
            caller.switch.cut();
            Outcome { unheard: true, ..answered(wish, body, answer) }
        }
        Some(Interference::Silence(effect)) => {
            let answer = perform_unheard(shared, &wish, &body, effect).await;
            let told = Outcome { unheard: true, ..answered(wish, body, answer) };
            shared.notices.call(served(&told, parts, begun), &told.answer);
            std::future::pending().await
        }
    }
}

/// Performs an operation, or does not, whose answer nobody hears.
async fn perform_unheard(shared: &Shared, wish: &Wish, body: &Value, effect: Effect) -> Answer {
    match effect {
        Effect::Done => dispatch::perform(shared, wish, body).await,
        Effect::NotDone => Ok(json!({})),
    }
}

/// Reads a body; one that is too large is thrown away as it comes.
async fn read_body(body: Body, patience: Duration) -> Result<Vec<u8>, ApiError> {
    let reading = async {
        let (mut kept, mut length) = (Vec::new(), 0_usize);
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|_broken| {
                ApiError::bad("MalformedHttpRequestException", "the body does not end as its head says")
            })?;
            length = length.saturating_add(chunk.len());
            if length > MAX_DISCARDED {
                break;
            }
            if length > MAX_BODY {
                kept = Vec::new();
            } else {
                kept.extend_from_slice(&chunk);
            }
        }
        if length > MAX_BODY {
            let text = format!("a request body has at most {MAX_BODY} bytes");
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", text));
        }
        Ok(kept)
    };
    tokio::time::timeout(patience, reading).await.unwrap_or_else(|_elapsed| {
        let text = format!("the body did not come within {} s", patience.as_secs_f64());
        Err(ApiError::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", text))
    })
}

/// FIS reads JSON only. A missing type passes: AWS does not say, so that is the simulator's choice.
fn check_media_type(parts: &Parts) -> Result<(), ApiError> {
    let Some(given) = parts.headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let essence = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    if essence.trim().eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    let text = "the content-type of a body must be application/json";
    Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaTypeException", text))
}

/// Keeps experiments going and their events and logs on time, also when nobody calls; `end` comes after the last call.
pub(in crate::simulator) async fn tick(shared: Arc<Shared>, mut logs: Option<Logs>, end: CancellationToken) {
    loop {
        let (next, now) = shared.with(|state, now| (state.next_due(), now));
        if let Some(logs) = &mut logs {
            let lines = shared.with(|state, _now| state.fis.take_log());
            logs.append(lines, &shared.notices).await;
        }
        if end.is_cancelled() {
            return;
        }
        let pause = clock::until(next, now, shared.scene.look);
        tokio::select! {
            biased;
            () = end.cancelled() => {}
            () = shared.plans.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
