//! The wire protocols: bodies, answers, errors and timestamps.
//!
//! Operations see JSON whatever the protocol, which [`super::edge::dispatch`] finds.

mod cbor;
mod xml;

pub(super) use self::xml::is_unwritable;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, Response, StatusCode, header},
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Result of an operation: the body of a success, or an error.
pub(super) type Answer = Result<Value, ApiError>;

/// An error in AWS's words.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
    /// HTTP status.
    pub(super) status: StatusCode,
    /// `ValidationException`, …
    pub(super) code: &'static str,
    /// Code of SQS's former query protocol, where it differs.
    pub(super) query_code: Option<&'static str>,
    /// For people.
    pub(super) message: String,
}

impl ApiError {
    /// Any error with a status.
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, query_code: None, message: message.into() }
    }

    /// 400.
    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "ValidationException", message)
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "ResourceNotFoundException", message)
    }

    /// 409.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ConflictException", message)
    }

    /// 402.
    pub(super) fn quota(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYMENT_REQUIRED, "ServiceQuotaExceededException", message)
    }

    /// 404 for a request that is no operation.
    pub(super) fn unknown_operation() -> Self {
        Self::new(StatusCode::NOT_FOUND, "UnknownOperationException", "the requested operation is not known")
    }

    /// 400 of the JSON protocols, by code alone.
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    /// Adds the code of SQS's former query protocol.
    pub(super) fn known_in_query_as(mut self, code: &'static str) -> Self {
        self.query_code = Some(code);
        self
    }
}

/// Which protocol a request is read and answered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// FIS: the error's code is in a header.
    RestJson,
    /// SQS, and CloudWatch's older clients: AWS JSON 1.0 with the codes of the former query protocol in a header.
    Json10 {
        /// What stands before an error's code.
        namespace: &'static str,
    },
    /// EventBridge and Systems Manager.
    Json11,
    /// STS: a form in, XML out.
    Query,
    /// CloudWatch: Smithy's RPC v2 over CBOR.
    Cbor,
}

/// Reads the body of a request.
///
/// # Errors
/// `SerializationException`.
pub(super) fn decoded(protocol: Protocol, bytes: &[u8]) -> Answer {
    let refused = |text: String| ApiError::bad("SerializationException", text);
    let value = match protocol {
        _any if bytes.is_empty() => json!({}),
        Protocol::Query => {
            let text =
                std::str::from_utf8(bytes).map_err(|error| refused(format!("the body is not a form: {error}")))?;
            Value::Object(Query::parse(text).0.into_iter().map(|(key, value)| (key, value.into())).collect())
        }
        Protocol::Cbor => cbor::decoded(bytes).map_err(|error| refused(error.to_string()))?,
        Protocol::RestJson | Protocol::Json10 { .. } | Protocol::Json11 => {
            serde_json::from_slice(bytes).map_err(|error| refused(format!("the body is not JSON: {error}")))?
        }
    };
    if value.is_object() { Ok(value) } else { Err(refused("the body must hold an object".to_owned())) }
}

/// Writes an answer.
pub(super) fn response(protocol: Protocol, answer: Answer, request_id: &str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protocol.content_type()));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    if protocol == Protocol::Cbor {
        headers.insert("smithy-protocol", HeaderValue::from_static("rpc-v2-cbor"));
    }
    let (status, body) = match &answer {
        Ok(body) => (StatusCode::OK, success_body(protocol, body, request_id)),
        Err(error) => {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(error.code));
            if matches!(protocol, Protocol::Json10 { .. } | Protocol::Cbor) {
                let query_code = format!("{};Sender", error.query_code.unwrap_or(error.code));
                if let Ok(value) = HeaderValue::from_str(&query_code) {
                    headers.insert("x-amzn-query-error", value);
                }
            }
            (error.status, error_body(protocol, error, request_id))
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

impl Protocol {
    fn content_type(self) -> &'static str {
        match self {
            Self::RestJson => "application/json",
            Self::Json10 { .. } => "application/x-amz-json-1.0",
            Self::Json11 => "application/x-amz-json-1.1",
            Self::Query => "text/xml",
            Self::Cbor => "application/cbor",
        }
    }
}

fn success_body(protocol: Protocol, body: &Value, request_id: &str) -> Vec<u8> {
    match protocol {
        Protocol::Query => xml::success(body, request_id).into_bytes(),
        Protocol::Cbor => cbor::encoded(body),
        Protocol::RestJson | Protocol::Json10 { .. } | Protocol::Json11 => body.to_string().into_bytes(),
    }
}

fn error_body(protocol: Protocol, error: &ApiError, request_id: &str) -> Vec<u8> {
    let ApiError { code, message, query_code, .. } = error;
    let json = |body: Value| body.to_string().into_bytes();
    match protocol {
        Protocol::RestJson => json(json!({"message": message})),
        Protocol::Json10 { namespace } => json(json!({"__type": format!("{namespace}#{code}"), "message": message})),
        Protocol::Json11 => json(json!({"__type": code, "message": message})),
        Protocol::Query => xml::failure(query_code.unwrap_or(code), message, request_id).into_bytes(),
        Protocol::Cbor => cbor::encoded(&json!({"__type": code, "message": message})),
    }
}

/// Reads a typed request out of a body.
///
/// # Errors
/// `ValidationException` that names the member.
pub(super) fn parsed<T: DeserializeOwned>(body: &Value) -> Result<T, ApiError> {
    serde_path_to_error::deserialize(body).map_err(|error| {
        let path = error.path().to_string();
        ApiError::validation(format!("{path}: {}", error.into_inner()))
    })
}

/// A member that is there; null counts as absent.
pub(super) fn given<'b>(body: &'b Value, member: &str) -> Option<&'b Value> {
    body.get(member).filter(|value| !value.is_null())
}

/// A number of things; `None` for what is none.
pub(super) fn count(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

/// A timestamp as FIS writes it: epoch seconds with milliseconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age need 41 bits")]
pub(super) fn epoch_seconds(at: Timestamp) -> Value {
    json!(at.as_millisecond() as f64 / 1000.0)
}

/// Query parameters, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL behind `?`. What is not UTF-8 stays as it is written, for others to refuse.
    pub(super) fn parse(text: &str) -> Self {
        let decoded = |text: &str| percent_decoded(&text.replace('+', " ")).unwrap_or_else(|| text.to_owned());
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(key), decoded(value))
        });
        Self(pairs.collect())
    }

    /// First value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(super) fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

/// Decodes `%XX`; `None` when an escape is cut short or the bytes are not UTF-8.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(*high)? * 16 + digit(*low)?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}
