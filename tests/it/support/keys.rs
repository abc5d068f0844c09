//! Where credentials come from: STS, a container's endpoint and IAM Identity Center, all of which hand out canaries.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::json;

/// What every secret of these tests begins with.
pub const CANARY: &str = "canary0";

/// A running server; it ends when dropped.
pub struct Keys {
    url: String,
    heard: Heard,
    _runtime: tokio::runtime::Runtime,
}

type Heard = Arc<Mutex<String>>;

impl Keys {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Heard::default();
        let routes = Router::new().fallback(hand_out).with_state(heard.clone());
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self { url, heard, _runtime: runtime }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Everything that it was asked, headers and bodies.
    pub fn heard(&self) -> String {
        self.heard.lock().expect("no panic").clone()
    }
}

async fn hand_out(State(heard): State<Heard>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8_lossy(&body).into_owned();
    heard.lock().expect("no panic").push_str(&format!("{uri} {headers:?} {body}\n"));
    let expires = "2036-01-01T00:00:00Z";
    match uri.path() {
        "/container" => axum::Json(json!({
            "AccessKeyId": "ASIACONTAINER", "SecretAccessKey": "canary0containersecret",
            "Token": "canary0containertoken", "Expiration": expires,
        }))
        .into_response(),
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
