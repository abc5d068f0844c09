//! A tap on the line between the agent and what stands in for AWS: it counts calls, and meddles with them on request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::PATIENCE;

/// What is done to a call on its way: its body may be changed, or it is answered with this error instead.
pub type Meddle = Box<dyn FnMut(&mut Value) -> Option<Refusal> + Send>;

/// An error as SQS answers it: its name, the name of its older protocol, its message.
pub struct Refusal(pub &'static str, pub &'static str, pub &'static str);

/// A running tap; it ends when dropped.
pub struct Tap {
    url: String,
    line: Arc<Line>,
    _runtime: tokio::runtime::Runtime,
}

struct Line {
    upstream: String,
    client: reqwest::Client,
    calls: Mutex<Vec<(String, Value)>>,
    meddles: Mutex<BTreeMap<&'static str, Meddle>>,
}

impl Tap {
    /// Starts a tap on the line to a server.
    pub fn start(upstream: String) -> Self {
        // It needs a TLS provider even for plain HTTP; an error means that another test was first.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().expect("a client");
        let line = Line { upstream, client, calls: Mutex::default(), meddles: Mutex::default() };
        let line = Arc::new(line);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let routes = Router::new().fallback(pass).with_state(line.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, line, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Meddles with every call of an operation from now on.
    pub fn meddle(&self, operation: &'static str, meddle: impl FnMut(&mut Value) -> Option<Refusal> + Send + 'static) {
        self.line.meddles.lock().expect("no panic").insert(operation, Box::new(meddle));
    }

    /// Lets the calls of an operation pass again.
    pub fn leave(&self, operation: &str) {
        self.line.meddles.lock().expect("no panic").remove(operation);
    }

    /// Bodies of all calls of an operation so far.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.line.calls.lock().expect("no panic");
        calls.iter().filter(|(name, _)| name == operation).map(|(_, body)| body.clone()).collect()
    }
}

async fn pass(State(line): State<Arc<Line>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
    let mut value: Value = serde_json::from_slice(&body).expect("JSON");
    line.calls.lock().expect("no panic").push((operation.clone(), value.clone()));
    let refusal = line.meddles.lock().expect("no panic").get_mut(operation.as_str()).and_then(|m| m(&mut value));
    if let Some(Refusal(code, query_code, message)) = refusal {
        let body = json!({"__type": format!("com.amazonaws.sqs#{code}"), "message": message}).to_string();
        return (StatusCode::BAD_REQUEST, [("x-amzn-query-error", format!("{query_code};Sender"))], body)
            .into_response();
    }
    let mut request = line.client.post(format!("{}/", line.upstream)).body(value.to_string());
    for (name, sent) in &headers {
        if ![header::HOST, header::CONTENT_LENGTH].contains(name) {
            request = request.header(name, sent);
        }
    }
    let Ok(answer) = request.timeout(PATIENCE * 2).send().await else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut told) = (answer.status(), answer.headers().clone());
    for name in [header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION] {
        told.remove(name);
    }
    (status, told, answer.bytes().await.unwrap_or_default()).into_response()
}
