//! The two wire protocols: answers, errors and timestamps.
//!
//! FIS speaks restJson1 (error code in a header), SQS and EventBridge speak AWS JSON 1.0 and 1.1 (error code in the
//! body, and for SQS the code of its former query protocol in a header).

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

/// Which protocol an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// FIS.
    RestJson,
    /// SQS.
    Json10,
    /// EventBridge.
    Json11,
}

/// Writes an answer.
pub(super) fn response(protocol: Protocol, answer: Answer, request_id: &str) -> Response<Body> {
    let content_type = match protocol {
        Protocol::RestJson => "application/json",
        Protocol::Json10 => "application/x-amz-json-1.0",
        Protocol::Json11 => "application/x-amz-json-1.1",
    };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("x-amzn-requestid", id);
    }
    let (status, body) = match answer {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            headers.insert("x-amzn-errortype", HeaderValue::from_static(error.code));
            if protocol == Protocol::Json10 {
                let query_code = format!("{};Sender", error.query_code.unwrap_or(error.code));
                if let Ok(value) = HeaderValue::from_str(&query_code) {
                    headers.insert("x-amzn-query-error", value);
                }
            }
            if error.status == StatusCode::PAYLOAD_TOO_LARGE {
                // What is left of the body is never read, so the connection is of no more use.
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            (error.status, error_body(protocol, &error))
        }
    };
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn error_body(protocol: Protocol, error: &ApiError) -> Value {
    match protocol {
        Protocol::RestJson => json!({"message": error.message}),
        Protocol::Json10 => json!({"__type": format!("com.amazonaws.sqs#{}", error.code), "message": error.message}),
        Protocol::Json11 => json!({"__type": error.code, "message": error.message}),
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

/// A timestamp as FIS writes it: epoch seconds with milliseconds.
#[expect(clippy::cast_precision_loss, reason = "milliseconds of this age need 41 bits")]
pub(super) fn epoch_seconds(at: Timestamp) -> Value {
    json!(at.as_millisecond() as f64 / 1000.0)
}

/// Query parameters, decoded, in order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the part of a URL behind `?`. Pairs that are not UTF-8 are left out.
    pub(super) fn parse(text: &str) -> Self {
        let pairs = text.split('&').filter(|pair| !pair.is_empty()).filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((percent_decoded(&key.replace('+', " "))?, percent_decoded(&value.replace('+', " "))?))
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
