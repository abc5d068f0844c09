//! From an HTTP request to an operation and back.
//!
//! Which operation a request is lies in [`super::dispatch`]. Faults are applied here, and every wait ends when the
//! simulator does.

use std::sync::Arc;

use axum::{
    Router,
    body::{self, Body, Bytes},
    extract::{ConnectInfo, Request, State as Extracted},
    http::{Response, StatusCode, request::Parts},
};
use serde_json::json;

use super::{
    Shared,
    dispatch::{self, LONGEST_LOOK, Wish, until},
    faults::{Effect, Interference},
    line::Switch,
    wire::{self, Answer, ApiError},
};

/// Largest request body, in bytes.
const MAX_BODY: usize = 1024 * 1024;

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
    let protocol = dispatch::protocol(&parts);
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

async fn answer(shared: &Shared, parts: &Parts, body: Body, switch: &Switch) -> Answer {
    // The body comes first, so that no refusal leaves half a request on the connection.
    let body = read_body(body).await;
    let body = wire::decoded(dispatch::protocol(parts), &body?)?;
    let wish = Wish::read(parts, &body)?;
    let interference = shared.with(|state, _now| state.faults.take(wish.operation()));
    match interference {
        None => dispatch::perform(shared, &wish, &body).await,
        Some(Interference::Refuse(error)) => Err(error),
        Some(Interference::Lie(error)) => {
            // The client is told of a failure of ours, whatever the operation said.
            let _untold = dispatch::perform(shared, &wish, &body).await;
            Err(error)
        }
        Some(Interference::Bend(bend)) => dispatch::perform(shared, &wish, &body).await.map(|mut body| {
            bend(&mut body);
            body
        }),
        Some(Interference::Cut(effect)) => {
            if effect == Effect::Done {
                let _untold = dispatch::perform(shared, &wish, &body).await;
            }
            switch.cut();
            Ok(json!({}))
        }
        Some(Interference::Silence(effect)) => {
            if effect == Effect::Done {
                let _untold = dispatch::perform(shared, &wish, &body).await;
            }
            std::future::pending().await
        }
    }
}

async fn read_body(body: Body) -> Result<Bytes, ApiError> {
    let too_large = |_| {
        let text = format!("a request body has at most {MAX_BODY} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLargeException", text)
    };
    body::to_bytes(body, MAX_BODY).await.map_err(too_large)
}

/// Keeps experiments going and their events on time, also when nobody calls.
pub(super) async fn tick(shared: Arc<Shared>) {
    loop {
        let (next, now) = shared.with(|state, now| (state.fis.next_due(), now));
        let pause = next.map_or(LONGEST_LOOK, |next| until(next, now));
        tokio::select! {
            biased;
            () = shared.stopping.cancelled() => return,
            () = shared.plans.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}
