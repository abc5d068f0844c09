//! AWS's protocols spoken by hand: requests that no SDK would send, and answers as they come.

use reqwest::{
    Client, Method,
    header::{CONTENT_TYPE, HeaderMap, HeaderName},
};
use serde_json::{Value, json};

use super::PATIENCE;

/// What a request must carry for the simulator to take it as one to AWS; it does not check the signature unless asked to.
pub const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=simulator/20260301/us-east-1/fis/aws4_request, \
                                 SignedHeaders=host;x-amz-date, Signature=0";

/// A client of one server that sends what it is told.
#[derive(Debug, Clone)]
pub struct Wire {
    url: String,
    client: Client,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Error code, empty for a success.
    pub code: String,
    pub headers: HeaderMap,
    pub text: String,
    /// The text, if it is JSON.
    pub body: Value,
}

impl Reply {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    /// The body of a success.
    #[track_caller]
    pub fn good(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    /// Checks that it is a refusal that says such a thing.
    #[track_caller]
    pub fn refuses(&self, status: u16, part: &str, case: impl std::fmt::Debug) {
        let code = match status {
            400 => "ValidationException",
            402 => "ServiceQuotaExceededException",
            404 => "ResourceNotFoundException",
            _conflict => "ConflictException",
        };
        let fits = self.status == status && self.code == code && self.message().contains(part);
        assert!(fits && self.message().len() <= 4 * 1024, "expected {status} `{part}` for {case:?}: {self:?}");
    }
}

impl Wire {
    pub fn new(url: String) -> Self {
        // It needs a TLS provider even for plain HTTP; an error means that another test was first.
        let _already_there = rustls::crypto::ring::default_provider().install_default();
        Self { url, client: Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client") }
    }

    /// Sends a request with these headers alone.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Reply {
        let method: Method = method.parse().expect("a method");
        let header = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let request = self.client.request(method, format!("{}{path}", self.url)).headers(headers).body(body.into());
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned();
        let code = headers.get("x-amzn-errortype").map(|code| code.to_str().expect("text").to_owned());
        let body = serde_json::from_str(&text).unwrap_or_default();
        Reply { status, code: code.unwrap_or_default(), headers, text, body }
    }

    /// Calls FIS, or the simulator's own interface; GET and DELETE have no body.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let headers = [("authorization", AUTHORIZATION), (CONTENT_TYPE.as_str(), "application/json")];
        let bare = matches!(method, "GET" | "DELETE");
        let body = if bare { Vec::new() } else { body.to_string().into_bytes() };
        self.send(method, path, &headers[..if bare { 1 } else { 2 }], body).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.call("GET", path, &Value::Null).await
    }

    /// Calls an operation by its target: `AmazonSQS.…`, `AWSEvents.…` and the like.
    pub async fn target(&self, target: &str, body: &Value) -> Reply {
        self.send("POST", "/", &[("authorization", AUTHORIZATION), ("x-amz-target", target)], body.to_string()).await
    }

    /// Creates a template and returns its id.
    pub async fn template(&self, body: &Value) -> String {
        let made = self.call("POST", "/experimentTemplates", body).await.good();
        made["experimentTemplate"]["id"].as_str().expect("an id").to_owned()
    }
}

/// What every template must have, beside its actions.
pub fn drill(token: &str) -> Value {
    json!({
        "clientToken": token,
        "description": "a drill",
        "roleArn": "arn:aws:iam::123456789012:role/drill",
        "stopConditions": [{"source": "none"}],
    })
}

/// A template that is accepted: one action on one target.
pub fn template(token: &str) -> Value {
    let mut body = drill(token);
    body["targets"] =
        json!({"t": {"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}}});
    body["actions"] = json!({"a": {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}}});
    body
}

/// The same with one member replaced, or taken out by null.
pub fn with(member: &str, value: Value) -> Value {
    let mut body = template("with");
    body[member] = value;
    body
}
