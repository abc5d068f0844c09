//! Which service and operation a request asks for, and performing it.
//!
//! One port serves all. The target header tells the services of the JSON protocols apart, the path CloudWatch's CBOR; a
//! form is STS's; everything else is FIS, unless it is signed for another service.

use axum::http::{HeaderMap, request::Parts};
use serde_json::Value;

use super::credentials::{self, Signer};
use crate::simulator::{
    Shared, cloudwatch, control,
    eventbridge::{self, Delivery},
    fis::routes::{self, Call},
    sqs, ssm, sts,
    wire::{Answer, ApiError, Protocol},
};

/// What stands before an operation in a target header.
const SQS: &str = "AmazonSQS";
const EVENTS: &str = "AWSEvents";
const CLOUDWATCH: &str = "GraniteServiceVersion20100801";
const SSM: &str = "AmazonSSM";

/// What a request asks for.
pub(in crate::simulator) enum Wish {
    Control { method: String, path: String },
    Fis(Call),
    Sqs(&'static str),
    EventBridge(&'static str),
    CloudWatch(&'static str),
    Ssm(&'static str),
    Sts { operation: &'static str, access_key: String },
}

/// Every operation of every service.
pub(in crate::simulator) fn operations() -> impl Iterator<Item = &'static str> {
    let others = [sqs::OPERATIONS, eventbridge::OPERATIONS, cloudwatch::OPERATIONS, ssm::OPERATIONS, sts::OPERATIONS];
    routes::operations().chain(others.into_iter().flatten().copied())
}

/// The operation of a name: only what a service lists is performed.
fn listed(operations: &'static [&'static str], name: &str) -> Result<&'static str, ApiError> {
    let known = operations.iter().find(|known| **known == name);
    known.copied().ok_or_else(|| {
        let mut unknown = ApiError::unknown_operation();
        unknown.message = format!("{}: {name}", unknown.message);
        unknown
    })
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

/// The protocol of a request: what its head says, and otherwise what the service speaks that it is signed for.
pub(in crate::simulator) fn protocol(parts: &Parts) -> Protocol {
    let headers = &parts.headers;
    let content_type = header(headers, "content-type").unwrap_or_default();
    if parts.uri.path().starts_with(control::PREFIX) {
        return Protocol::RestJson;
    }
    if rpc(parts).is_some() {
        return Protocol::Cbor;
    }
    let signer = credentials::signer(parts);
    match (target(headers), signer.as_ref().map(|signer| signer.service.as_str())) {
        (Some((SQS, _)), _) => Protocol::Json10 { namespace: "com.amazonaws.sqs" },
        (Some((CLOUDWATCH, _)), _) => Protocol::Json10 { namespace: "com.amazonaws.cloudwatch" },
        (Some((EVENTS | SSM, _)), _) => Protocol::Json11,
        (Some(_), _) if content_type == "application/x-amz-json-1.0" => {
            Protocol::Json10 { namespace: "com.amazon.coral.service" }
        }
        (Some(_), _) => Protocol::Json11,
        (None, _) if content_type.starts_with("application/x-www-form-urlencoded") => Protocol::Query,
        (None, Some("sqs")) => Protocol::Json10 { namespace: "com.amazonaws.sqs" },
        (None, Some("monitoring")) => Protocol::Json10 { namespace: "com.amazonaws.cloudwatch" },
        (None, Some("events" | "ssm")) => Protocol::Json11,
        (None, Some("sts")) => Protocol::Query,
        (None, _fis) => Protocol::RestJson,
    }
}

impl Wish {
    /// Reads it from the head of a request and, for the Query protocol, from its body.
    ///
    /// # Errors
    /// `UnknownOperationException`, or what the Query protocol says instead.
    pub(in crate::simulator) fn read(parts: &Parts, body: &Value) -> Result<Self, ApiError> {
        let (method, path) = (parts.method.as_str(), parts.uri.path());
        if let Some(path) = path.strip_prefix(control::PREFIX) {
            return Ok(Self::Control { method: method.to_owned(), path: path.to_owned() });
        }
        match (rpc(parts).or_else(|| target(&parts.headers)), protocol(parts)) {
            (Some((SQS, operation)), Protocol::Json10 { .. }) => listed(sqs::OPERATIONS, operation).map(Self::Sqs),
            (Some((EVENTS, operation)), Protocol::Json11) => {
                listed(eventbridge::OPERATIONS, operation).map(Self::EventBridge)
            }
            (Some((CLOUDWATCH, operation)), _) => listed(cloudwatch::OPERATIONS, operation).map(Self::CloudWatch),
            (Some((SSM, operation)), Protocol::Json11) => listed(ssm::OPERATIONS, operation).map(Self::Ssm),
            (None, Protocol::Query) => Self::read_form(parts, body),
            (None, Protocol::RestJson) => Call::find(method, path, parts.uri.query().unwrap_or("")).map(Self::Fis),
            _other => Err(ApiError::unknown_operation()),
        }
    }

    fn read_form(parts: &Parts, body: &Value) -> Result<Self, ApiError> {
        let Signer { access_key, service } = credentials::signer(parts).unwrap_or_default();
        if matches!(service.as_str(), "sqs" | "monitoring") {
            let text =
                format!("the simulator does not speak the former query protocol of {service}: use a newer client");
            return Err(ApiError::bad("InvalidAction", text));
        }
        let text = |member: &str| body.get(member).and_then(Value::as_str).unwrap_or_default();
        let (action, version) = (text("Action"), text("Version"));
        let operation = listed(sts::OPERATIONS, action).map_err(|_unknown| {
            ApiError::bad("InvalidAction", format!("Could not find operation {action} for version {version}"))
        })?;
        Ok(Self::Sts { operation, access_key })
    }

    /// The service as signatures name it; `None` for the simulator's own interface.
    pub(in crate::simulator) fn service(&self) -> Option<&'static str> {
        Some(match self {
            Self::Control { .. } => return None,
            Self::Fis(_) => "fis",
            Self::Sqs(_) => "sqs",
            Self::EventBridge(_) => "events",
            Self::CloudWatch(_) => "monitoring",
            Self::Ssm(_) => "ssm",
            Self::Sts { .. } => "sts",
        })
    }

    /// The name of the operation; `None` for the simulator's own interface.
    pub(in crate::simulator) fn operation(&self) -> Option<&'static str> {
        match self {
            Self::Control { .. } => None,
            Self::Fis(call) => Some(call.operation),
            Self::Sqs(operation)
            | Self::EventBridge(operation)
            | Self::CloudWatch(operation)
            | Self::Ssm(operation)
            | Self::Sts { operation, .. } => Some(operation),
        }
    }
}

/// Performs a request.
pub(in crate::simulator) async fn perform(shared: &Shared, wish: &Wish, body: &Value) -> Answer {
    let scene = &shared.scene;
    match wish {
        Wish::Control { method, path } => control::perform(shared, method, path, body).await,
        Wish::Fis(call) => shared.with(|state, now| call.perform(state, scene, body, now)),
        Wish::Sqs("ReceiveMessage") => sqs::receive(shared, body).await,
        Wish::Sqs(operation) => {
            shared.with(|state, now| state.queues.perform(operation, body, scene, &mut state.ids, now))
        }
        Wish::EventBridge(operation) => shared.with(|state, now| {
            let mut delivery = Delivery { queues: &mut state.queues, ids: &mut state.ids, scene, now };
            state.buses.perform(operation, body, &mut delivery)
        }),
        Wish::CloudWatch(operation) => {
            shared.with(|state, now| state.setting.alarms.perform(operation, body, scene, now))
        }
        Wish::Ssm(operation) => ssm::perform(shared, operation, body).await,
        Wish::Sts { operation, access_key } => {
            shared.with(|state, now| state.sessions.perform(operation, access_key, body, scene, &mut state.ids, now))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::{Options, start};

    #[tokio::test]
    async fn every_operation_that_is_listed_is_performed() {
        let simulator = start(Options::default()).await.expect("a simulator");
        let sts = |operation| Wish::Sts { operation, access_key: String::new() };
        let wishes = (sqs::OPERATIONS.iter().copied().map(Wish::Sqs))
            .chain(eventbridge::OPERATIONS.iter().copied().map(Wish::EventBridge))
            .chain(cloudwatch::OPERATIONS.iter().copied().map(Wish::CloudWatch))
            .chain(ssm::OPERATIONS.iter().copied().map(Wish::Ssm))
            .chain(sts::OPERATIONS.iter().copied().map(sts));
        for wish in wishes {
            let code = perform(&simulator.shared, &wish, &json!({})).await.err().map(|error| error.code);
            assert_ne!(code, Some("UnknownOperationException"), "{:?}", wish.operation());
        }
    }
}
