//! Where credentials come from: STS, a container's endpoint and IAM Identity Center, all of which hand out canaries.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use firedrill::cli::context::now;
use jiff::SignedDuration;
use serde_json::json;

/// What every secret of these tests begins with.
pub const CANARY: &str = "canary0";

/// How long credentials that rotate are good for: less than an SDK keeps any.
const BRIEFLY: SignedDuration = SignedDuration::from_secs(5);

/// A running server; it ends when dropped.
pub struct Keys {
    url: String,
    told: Told,
    _runtime: tokio::runtime::Runtime,
}

/// What it heard, and what it hands out.
#[derive(Clone, Default)]
struct Told {
    heard: Arc<Mutex<String>>,
    /// The access key of a container, which is good for a moment only.
    key: Arc<Mutex<Option<String>>>,
}

impl Keys {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let told = Told::default();
        let routes = Router::new().fallback(hand_out).with_state(told.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, told, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that it was asked, headers and bodies.
    pub fn heard(&self) -> String {
        self.told.heard.lock().expect("no panic").clone()
    }

    /// Hands out another access key to the container from now on, which is asked for again at each call.
    pub fn rotate(&self, key: &str) {
        *self.told.key.lock().expect("no panic") = Some(key.to_owned());
    }
}

async fn hand_out(State(told): State<Told>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    told.heard.lock().expect("no panic").push_str(&format!("{uri} {headers:?} {body}\n"));
    let expires = "2036-01-01T00:00:00Z";
    match uri.path() {
        "/container" => {
            let rotated = told.key.lock().expect("no panic").clone();
            let soon = (now() + BRIEFLY).to_string();
            let expires = if rotated.is_some() { &soon } else { expires };
            axum::Json(json!({
                "AccessKeyId": rotated.as_deref().unwrap_or("ASIACONTAINER"),
                "SecretAccessKey": "canary0containersecret", "Token": "canary0containertoken", "Expiration": expires,
            }))
            .into_response()
        }
        "/federation/credentials" => axum::Json(json!({"roleCredentials": {
            "accessKeyId": "ASIAIDENTITY", "secretAccessKey": "canary0identitysecret",
            "sessionToken": "canary0identitytoken", "expiration": 2_082_758_400_000_u64,
        }}))
        .into_response(),
        _sts => {
            let operation = if body.contains("WebIdentity") { "AssumeRoleWithWebIdentity" } else { "AssumeRole" };
            let text = format!(
                "<{operation}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{operation}Result><Credentials>\
                 <AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>canary0rolesecret</SecretAccessKey>\
                 <SessionToken>canary0roletoken</SessionToken><Expiration>{expires}</Expiration></Credentials>\
                 <AssumedRoleUser><AssumedRoleId>AROAX:firedrill</AssumedRoleId>\
                 <Arn>arn:aws:sts::123456789012:assumed-role/x/firedrill</Arn></AssumedRoleUser></{operation}Result>\
                 </{operation}Response>"
            );
            ([(header::CONTENT_TYPE, "text/xml")], text).into_response()
        }
    }
}
