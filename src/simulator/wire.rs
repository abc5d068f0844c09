//! The two wire protocols: answers, errors, paging and timestamps.
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

/// Page size when the client names none. AWS's own is not documented; a small one makes clients follow the pages.
const DEFAULT_PAGE: usize = 20;

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

/// One page of `(key, item)` under `member`, with `nextToken` when more follow. Keys are unique and the token names
/// the last one shown, so that items added between pages shift nothing.
///
/// # Errors
/// `ValidationException` for a `maxResults` outside 1..=100 or a token that names nothing.
pub(super) fn page(member: &str, items: Vec<(String, Value)>, query: &Query) -> Answer {
    let size = match query.get("maxResults") {
        None => DEFAULT_PAGE,
        Some(text) => match text.parse() {
            Ok(size @ 1..=100) => size,
            _outside => return Err(ApiError::validation("maxResults must be between 1 and 100")),
        },
    };
    let begin = match query.get("nextToken") {
        None => 0,
        Some(token) => match items.iter().position(|(key, _)| page_token(key) == token) {
            Some(last) => last + 1,
            None => return Err(ApiError::validation("nextToken is not valid")),
        },
    };
    let more = items.len() > begin + size;
    let shown: Vec<_> = items.into_iter().skip(begin).take(size).collect();
    let token = shown.last().filter(|_| more).map(|(key, _)| page_token(key));
    let mut body = json!({ member: shown.into_iter().map(|(_, item)| item).collect::<Vec<_>>() });
    if let Some(token) = token {
        body["nextToken"] = token.into();
    }
    Ok(body)
}

fn page_token(key: &str) -> String {
    super::ids::hex(key.as_bytes())
}
