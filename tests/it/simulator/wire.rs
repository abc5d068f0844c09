//! Requests that no SDK would send: FIS spoken to by hand.

use super::*;

/// A client that sends what it is told.
pub struct Wire {
    url: String,
    client: reqwest::blocking::Client,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    /// Error code, empty for a success.
    pub code: String,
    pub body: Value,
}

impl Reply {
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
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
    /// Calls an operation; GET and DELETE have no body.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = self.client.request(method.parse().expect("a method"), format!("{}{path}", self.url));
        let request = if matches!(method, "GET" | "DELETE") { request } else { request.json(body) };
        let answer = request.send().expect("an answer");
        let code = answer.headers().get("x-amzn-errortype").map(|code| code.to_str().expect("text").to_owned());
        Reply { status: answer.status().as_u16(), code: code.unwrap_or_default(), body: answer.json().expect("JSON") }
    }

    /// Creates a template and returns its id.
    #[track_caller]
    pub fn template(&self, body: &Value) -> String {
        let reply = self.call("POST", "/experimentTemplates", body);
        assert_eq!(reply.status, 200, "{body}: {reply:?}");
        reply.body["experimentTemplate"]["id"].as_str().expect("an id").to_owned()
    }
}

/// Hands a client to a test, on a thread that may block.
pub async fn on_wire<R: Send + 'static>(world: &World, act: impl FnOnce(&Wire) -> R + Send + 'static) -> R {
    let url = world.simulator.url();
    let acted = tokio::task::spawn_blocking(move || act(&Wire { url, client: plain_client() }));
    acted.await.expect("the requests end")
}

/// A template that is accepted: one action on one target.
pub fn template(token: &str) -> Value {
    json!({
        "clientToken": token,
        "description": "d",
        "roleArn": "arn:aws:iam::123456789012:role/drill",
        "stopConditions": [{"source": "none"}],
        "targets": {"t": {"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}}},
        "actions": {"a": {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}}},
    })
}

/// The same with one member replaced, or taken out by null.
pub fn with(member: &str, value: Value) -> Value {
    let mut body = template("with");
    body[member] = value;
    body
}
