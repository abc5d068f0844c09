//! Which service and operation a request asks for, and performing it.
//!
//! One port serves all. The target header tells the services of the JSON protocols apart, the path CloudWatch's CBOR; a
//! form is STS's; everything else is FIS, unless it is signed for another service.

use axum::http::{HeaderMap, request::Parts};
use serde_json::Value;

use super::{
    Shared, control,
    eventbridge::Delivery,
    fis::routes::Call,
    sqs,
    wire::{Answer, ApiError, Protocol},
};

/// What stands before an operation in a target header.
const SQS: &str = "AmazonSQS";
const EVENTS: &str = "AWSEvents";
const CLOUDWATCH: &str = "GraniteServiceVersion20100801";
const SSM: &str = "AmazonSSM";

/// What a request asks for.
pub(super) enum Wish {
    Control { method: String, path: String },
    Fis(Call),
    Sqs(String),
    EventBridge(String),
    CloudWatch(String),
    Ssm(String),
    Sts { operation: String, access_key: String },
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Service and operation of a target header.
fn target(headers: &HeaderMap) -> Option<(&str, &str)> {
    let target = header(headers, "x-amz-target")?;
    Some(target.split_once('.').unwrap_or((target, "")))
}

/// Service and operation of a path of Smithy's RPC v2 protocol.
fn rpc(parts: &Parts) -> Option<(&str, &str)> {
    header(&parts.headers, "smithy-protocol").filter(|protocol| *protocol == "rpc-v2-cbor")?;
    parts.uri.path().strip_prefix("/service/")?.split_once("/operation/")
}

/// Access key and signing name of a signature: `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, …`.
fn credential(headers: &HeaderMap) -> Option<(&str, &str)> {
    let scope = header(headers, "authorization")?.split_once("Credential=")?.1;
    let mut parts = scope.split([',', ' ']).next()?.split('/');
    let key = parts.next()?;
    Some((key, parts.nth(2)?))
}

/// The protocol of a request: what its head says, and otherwise what the service speaks that it is signed for.
pub(super) fn protocol(parts: &Parts) -> Protocol {
    let headers = &parts.headers;
    let content_type = header(headers, "content-type").unwrap_or_default();
    if parts.uri.path().starts_with(control::PREFIX) {
        return Protocol::RestJson;
    }
    if rpc(parts).is_some() {
        return Protocol::Cbor;
    }
    match (target(headers), credential(headers)) {
        (Some((SQS, _)), _) => Protocol::Json10 { namespace: "com.amazonaws.sqs" },
        (Some((CLOUDWATCH, _)), _) => Protocol::Json10 { namespace: "com.amazonaws.cloudwatch" },
        (Some((EVENTS | SSM, _)), _) => Protocol::Json11,
        (Some(_), _) if content_type == "application/x-amz-json-1.0" => {
            Protocol::Json10 { namespace: "com.amazon.coral.service" }
        }
        (Some(_), _) => Protocol::Json11,
        (None, _) if content_type.starts_with("application/x-www-form-urlencoded") => Protocol::Query,
        (None, Some((_, "sqs"))) => Protocol::Json10 { namespace: "com.amazonaws.sqs" },
        (None, Some((_, "monitoring"))) => Protocol::Json10 { namespace: "com.amazonaws.cloudwatch" },
        (None, Some((_, "events" | "ssm"))) => Protocol::Json11,
        (None, Some((_, "sts"))) => Protocol::Query,
        (None, _fis) => Protocol::RestJson,
    }
}

impl Wish {
    /// Reads it from the head of a request and, for the Query protocol, from its body.
    ///
    /// # Errors
    /// `UnknownOperationException`, or what the Query protocol says instead.
    pub(super) fn read(parts: &Parts, body: &Value) -> Result<Self, ApiError> {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        if let Some(path) = path.strip_prefix(control::PREFIX) {
            return Ok(Self::Control { method: method.to_owned(), path: path.to_owned() });
        }
        match (rpc(parts).or_else(|| target(&parts.headers)), protocol(parts)) {
            (Some((SQS, operation)), Protocol::Json10 { .. }) => Ok(Self::Sqs(operation.to_owned())),
            (Some((EVENTS, operation)), Protocol::Json11) => Ok(Self::EventBridge(operation.to_owned())),
            (Some((CLOUDWATCH, operation)), _) => Ok(Self::CloudWatch(operation.to_owned())),
            (Some((SSM, operation)), Protocol::Json11) => Ok(Self::Ssm(operation.to_owned())),
            (None, Protocol::Query) => Self::read_form(parts, body),
            (None, Protocol::RestJson) => Call::find(method, path, parts.uri.query().unwrap_or("")).map(Self::Fis),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    fn read_form(parts: &Parts, body: &Value) -> Result<Self, ApiError> {
        let (access_key, service) = credential(&parts.headers).unwrap_or_default();
        if matches!(service, "sqs" | "monitoring") {
            let text =
                format!("the simulator does not speak the former query protocol of {service}: use a newer client");
            return Err(ApiError::bad("InvalidAction", text));
        }
        let operation = body.get("Action").and_then(Value::as_str).unwrap_or_default();
        Ok(Self::Sts { operation: operation.to_owned(), access_key: access_key.to_owned() })
    }

    /// The name of the operation, empty for the simulator's own interface.
    pub(super) fn operation(&self) -> &str {
        match self {
            Self::Control { .. } => "",
            Self::Fis(call) => call.operation,
            Self::Sqs(operation)
            | Self::EventBridge(operation)
            | Self::CloudWatch(operation)
            | Self::Ssm(operation)
            | Self::Sts { operation, .. } => operation,
        }
    }
}

/// Performs a request.
pub(super) async fn perform(shared: &Shared, wish: &Wish, body: &Value) -> Answer {
    if matches!(wish, Wish::Sqs(operation) if operation == "ReceiveMessage") {
        return sqs::receive(shared, body).await;
    }
    let scene = &shared.scene;
    shared.with(|state, now| match wish {
        Wish::Control { method, path } => control::perform(method, path, state, scene, body, now),
        Wish::Fis(call) => call.perform(state, scene, body, now),
        Wish::Sqs(operation) => known(state.queues.perform(operation, body, scene, &mut state.ids, now)),
        Wish::EventBridge(operation) => {
            let mut delivery = Delivery { queues: &mut state.queues, ids: &mut state.ids, scene, now };
            known(state.buses.perform(operation, body, &mut delivery))
        }
        Wish::CloudWatch(operation) => known(state.setting.alarms.perform(operation, body, scene, now)),
        Wish::Ssm(operation) => known(state.documents.perform(operation, body, scene, now)),
        Wish::Sts { operation, access_key } => {
            state.sessions.perform(operation, access_key, body, scene, &mut state.ids, now)
        }
    })
}

fn known(answer: Option<Answer>) -> Answer {
    answer.unwrap_or_else(|| Err(ApiError::unknown_operation()))
}
