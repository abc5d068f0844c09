//! What a failed call means: the SDK's errors as [`FailureClass`].

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_fis::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::domain::fis::{CallFailure, FailureClass};

/// Longest message kept of a failure, in characters.
const MAX_MESSAGE: usize = 500;

/// Reads a failed call.
pub fn failure<E>(error: &SdkError<E, HttpResponse>) -> CallFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    read(error, of_answer)
}

/// Reads a failed call of `StartExperiment`, which nobody may take for undone who does not know that it is.
pub fn start_failure<E>(error: &SdkError<E, HttpResponse>) -> CallFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    read(error, of_start)
}

fn read<E>(error: &SdkError<E, HttpResponse>, of_answer: fn(Option<&str>, u16) -> FailureClass) -> CallFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let class = match error {
        // Never sent: nothing but credentials, the endpoint or our own input can be wrong.
        SdkError::ConstructionFailure(_) => FailureClass::Credentials,
        SdkError::TimeoutError(_) => FailureClass::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => FailureClass::Timeout,
        SdkError::DispatchFailure(_) if for_want_of_credentials(error) => FailureClass::Credentials,
        SdkError::DispatchFailure(_) => FailureClass::Unavailable,
        SdkError::ResponseError(_) => FailureClass::Unreadable,
        SdkError::ServiceError(service) => of_answer(service.err().code(), service.raw().status().as_u16()),
        _ => FailureClass::Unreadable,
    };
    let message = match error.message() {
        Some(message) => format!("{}: {message}", error.code().unwrap_or("error")),
        None => without_output(&causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")),
    };
    CallFailure { class, message: message.chars().take(MAX_MESSAGE).collect() }
}

/// Leaves out what a credential process wrote, which the SDK repeats: a script that fails may have written anything.
fn without_output(message: &str) -> String {
    match message.split_once("Stderr:") {
        Some((before, _)) => format!("{before}What it wrote is not repeated here; run it by hand."),
        None => message.to_owned(),
    }
}

/// An error and all that it was caused by.
fn causes<'e>(
    error: &'e (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'e (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Tells whether a call was not sent because no credentials could be had.
fn for_want_of_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<CredentialsError>())
}

/// Reads an error answer by its code, then by its HTTP status (AWS FIS API reference, CommonErrors and the errors of
/// each operation).
pub fn of_answer(code: Option<&str>, status: u16) -> FailureClass {
    of_code(code).unwrap_or_else(|| of_status(status))
}

/// Reads an error answer to `StartExperiment`: a 400 whose code is not known may have had its effect.
pub fn of_start(code: Option<&str>, status: u16) -> FailureClass {
    match of_code(code) {
        Some(class) => class,
        None if status == 400 => FailureClass::Unreadable,
        None => of_status(status),
    }
}

fn of_code(code: Option<&str>) -> Option<FailureClass> {
    Some(match code.unwrap_or_default() {
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "RequestThrottled"
        | "KMS.ThrottlingException" => FailureClass::Throttled,
        "ServiceQuotaExceededException" => FailureClass::Quota,
        "ConflictException" => FailureClass::Conflict,
        // Services that speak AWS JSON answer these with status 400.
        "ResourceNotFoundException"
        | "InvalidDocument"
        | "QueueDoesNotExist"
        | "KMS.NotFoundException"
        | "AWS.SimpleQueueService.NonExistentQueue" => FailureClass::NotFound,
        "AccessDeniedException" | "AccessDenied" | "KMS.AccessDeniedException" | "KMS.OptInRequired" => {
            FailureClass::Denied
        }
        "ExpiredTokenException" | "ExpiredToken" | "RequestExpired" => FailureClass::Credentials,
        // Aborted before a reply was sent, with status 400: what was asked for may have been done.
        "InternalFailure"
        | "InternalException"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "RequestAbortedException" => FailureClass::Unavailable,
        "RequestTimeout" | "RequestTimeoutException" => FailureClass::Timeout,
        "ValidationException" | "ValidationError" | "MalformedHttpRequestException" | "SerializationException" => {
            FailureClass::Invalid
        }
        _ => return None,
    })
}

fn of_status(status: u16) -> FailureClass {
    match status {
        // A success that could not be read: the call has had its effect.
        200..=299 => FailureClass::Unreadable,
        401 | 403 => FailureClass::Denied,
        402 => FailureClass::Quota,
        // Whoever answers so without a code of AWS's may be a gateway, which says nothing of what AWS has.
        404 => FailureClass::Unreadable,
        408 => FailureClass::Timeout,
        409 => FailureClass::Conflict,
        429 => FailureClass::Throttled,
        400 | 405..=428 => FailureClass::Invalid,
        500..=599 => FailureClass::Unavailable,
        _ => FailureClass::Unreadable,
    }
}
