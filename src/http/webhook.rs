//! Webhooks: events that come signed over HTTP, for those who have no queue. After the signature they go the way of a
//! queue's messages.
//!
//! Nothing is parsed before the signature holds, and whoever has none learns nothing. What an event is known by is its
//! body, which is signed; the ids that senders put into headers are not.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::api::{now, problem};
use crate::{
    config::settings::{Signature, Webhook},
    domain::{
        event::{Envelope, MAX_BODY_BYTES},
        ids::{self, Name},
        trace,
    },
    engine::ports::{Store, StoreError},
    ingest::event::{EventIngest, Message, Taken},
};

/// Path of all of them.
const ROUTE: &str = "/hooks/{name}";

/// How long a body may take to arrive. How many arrive at a time is bounded by the listener's connections.
const BODY_TAKES: Duration = Duration::from_secs(5);
/// Longest header value that becomes a part of an event, in bytes.
const MAX_HEADER: usize = 100;

/// Told of every answer.
pub trait HookWitness: Send + Sync + 'static {
    /// A request was answered.
    fn answered(&self, route: &'static str, status: u16, took: Duration);
    /// An event was taken in.
    fn hook_taken(&self, hook: &Name, id: &str, taken: &Taken);
    /// An event could not be recorded; its sender was told to send it again.
    fn hook_not_recorded(&self, hook: &Name, error: &StoreError);
}

/// What the route needs.
pub struct Hooks<S, X> {
    /// All webhooks; a reload replaces them.
    pub webhooks: watch::Receiver<Arc<BTreeMap<Name, Webhook>>>,
    /// Where events go.
    pub ingest: EventIngest<S>,
    /// Who is told.
    pub witness: Arc<X>,
}

/// The route of all webhooks, for the TCP listener.
pub fn routes<S: Store, X: HookWitness>(hooks: Hooks<S, X>) -> Router {
    Router::new().route(ROUTE, post(take::<S, X>)).with_state(Arc::new(hooks))
}

async fn take<S: Store, X: HookWitness>(
    State(hooks): State<Arc<Hooks<S, X>>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let begun = Instant::now();
    let answer = hooks.answer(&name, &headers, body).await.unwrap_or_else(|refused| *refused);
    hooks.witness.answered(ROUTE, answer.status().as_u16(), begun.elapsed());
    answer
}

impl<S: Store, X: HookWitness> Hooks<S, X> {
    async fn answer(&self, name: &str, headers: &HeaderMap, body: Body) -> Result<Response, Box<Response>> {
        let unknown = || problem(StatusCode::NOT_FOUND, "no such webhook", "the agent has no webhook of this name");
        let webhooks = self.webhooks.borrow().clone();
        let name = Name::parse(name).map_err(|_| unknown())?;
        let hook = webhooks.get(&name).ok_or_else(unknown)?;
        let signature = signature(hook.signature, headers).ok_or_else(unsigned)?;
        let secret = hook.secret.as_ref().ok_or_else(|| again("the webhook's secret could not be read"))?;
        let body = timeout(BODY_TAKES, to_bytes(body, MAX_BODY_BYTES))
            .await
            .map_err(|_| problem(StatusCode::REQUEST_TIMEOUT, "not taken", "the body did not arrive in time"))?;
        let too_large = || problem(StatusCode::PAYLOAD_TOO_LARGE, "not taken", "the body is too large, or was cut off");
        let body = body.map_err(|_| too_large())?;
        if !is_signed(secret.reveal(), &body, &signature) {
            return Err(unsigned().into());
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let id = ids::name_of_text(&body);
        let message = Message {
            queue: name.clone(),
            id: id.clone(),
            body,
            parent: text(headers, "traceparent").and_then(trace::parse_traceparent),
            group: None,
            sent_at: None,
            envelope: Some(envelope(hook.signature, headers)),
        };
        match self.ingest.take(vec![message], now()).await {
            Ok(taken) => {
                taken.iter().for_each(|taken| self.witness.hook_taken(&name, &id, taken));
                Ok(told(&id, &taken))
            }
            Err(error) => {
                self.witness.hook_not_recorded(&name, &error);
                Ok(again(match error {
                    StoreError::Full => "the event cannot be read, and as many of those are kept as may be",
                    _ => "the event could not be recorded",
                }))
            }
        }
    }
}

/// The answer to an event that is on disk.
fn told(id: &str, taken: &[Taken]) -> Response {
    match taken {
        [Taken::Quarantined { reason }] => problem(StatusCode::BAD_REQUEST, "put into quarantine", reason),
        [Taken::Matched { runs, .. }] => {
            let runs: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
            (StatusCode::ACCEPTED, Json(json!({"event": id, "result": "matched", "runs": runs}))).into_response()
        }
        other => {
            let result = other.first().map_or("unmatched", Taken::as_str);
            (StatusCode::ACCEPTED, Json(json!({"event": id, "result": result, "runs": []}))).into_response()
        }
    }
}

/// The same for a missing and for a wrong signature.
fn unsigned() -> Response {
    problem(StatusCode::UNAUTHORIZED, "not signed", "the request carries no signature that holds")
}

fn again(why: &str) -> Response {
    let mut answer = problem(StatusCode::SERVICE_UNAVAILABLE, "not taken; send it again", why);
    answer.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("10"));
    answer
}

/// Reads the signature out of its header: `sha256=` and 64 hexadecimal digits.
fn signature(signature: Signature, headers: &HeaderMap) -> Option<[u8; 32]> {
    let name = match signature {
        Signature::Github => "x-hub-signature-256",
        Signature::Flux => "x-signature",
    };
    let digits = headers.get(name)?.to_str().ok()?.strip_prefix("sha256=")?;
    let mut bytes = [0; 32];
    if digits.len() != 2 * bytes.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// Tells whether a body carries the signature of a secret, in a time that does not depend on where they differ.
fn is_signed(secret: &[u8], body: &[u8], signature: &[u8; 32]) -> bool {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return false };
    mac.update(body);
    mac.verify_slice(signature).is_ok()
}

/// What the event is when its body does not say it.
fn envelope(signature: Signature, headers: &HeaderMap) -> Envelope {
    match signature {
        Signature::Github => {
            let kind = text(headers, "x-github-event").unwrap_or("unknown");
            Envelope { source: "github".to_owned(), detail_type: kind.to_owned() }
        }
        Signature::Flux => Envelope { source: "flux".to_owned(), detail_type: "Flux Event".to_owned() },
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty() && text.len() <= MAX_HEADER)
}
