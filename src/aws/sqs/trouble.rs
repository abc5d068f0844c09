//! What a failed call of SQS means to the people who run the queue: which error it is, and what helps.
//!
//! SQS names its errors in two ways, as the API reference does and as its older query protocol did; both are known here.

use std::fmt;

use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};

use crate::{aws::classify::failure, domain::fis::CallFailure};

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What AWS or the transport said.
    pub(super) failure: CallFailure,
    /// The same text for the same kind of failure, whatever else its message holds.
    pub(super) kind: String,
    hint: Option<&'static str>,
}

impl Trouble {
    /// Reads a failed call.
    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let failure = failure(error);
        let code = error.code();
        Self { kind: code.unwrap_or(failure.class.as_str()).to_owned(), hint: code.and_then(hint), failure }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.failure)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

/// What helps against an error (SQS API reference, ReceiveMessage and DeleteMessageBatch).
fn hint(code: &str) -> Option<&'static str> {
    Some(match code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code) {
        "QueueDoesNotExist" | "NonExistentQueue" => {
            "there is no queue at this `url` in this Region and account; it is looked for again and again"
        }
        "AccessDenied" | "AccessDeniedException" => {
            "the agent needs sqs:ReceiveMessage, sqs:DeleteMessage and sqs:ChangeMessageVisibility on the queue"
        }
        "KmsAccessDenied" | "KMS.AccessDeniedException" => {
            "the queue is encrypted: the agent needs kms:Decrypt on its key, in the role's policy and in the key's"
        }
        "KmsDisabled" | "KMS.DisabledException" => "the key that encrypts the queue is disabled: enable it",
        "KmsInvalidState" | "KMS.InvalidStateException" => {
            "the key that encrypts the queue cannot be used in its state: is it going to be deleted?"
        }
        "KmsNotFound" | "KMS.NotFoundException" => "the key that encrypts the queue does not exist (any more)",
        "KmsOptInRequired" | "KMS.OptInRequired" => "the account of the queue's key is not subscribed to KMS",
        "KmsThrottled" | "KMS.ThrottlingException" => {
            "KMS is asked too often: a longer data key reuse period of the queue asks it less"
        }
        "KmsInvalidKeyUsage" | "KMS.InvalidKeyUsageException" => {
            "the queue's key is not one for encryption: it has to be a symmetric one that encrypts and decrypts"
        }
        "OverLimit" => "too many messages of the queue are in flight: who else receives and does not delete?",
        "InvalidAddress" => "`url` is not the URL of a queue of this Region",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::hint;

    #[test]
    fn every_error_of_kms_has_its_own_hint_under_both_names() {
        let names = [
            ("KmsAccessDenied", "KMS.AccessDeniedException"),
            ("KmsDisabled", "KMS.DisabledException"),
            ("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException"),
            ("KmsInvalidState", "KMS.InvalidStateException"),
            ("KmsNotFound", "KMS.NotFoundException"),
            ("KmsOptInRequired", "KMS.OptInRequired"),
            ("KmsThrottled", "KMS.ThrottlingException"),
        ];
        let mut hints: Vec<&str> = names.iter().filter_map(|(_, query)| hint(query)).collect();
        assert_eq!(hints.len(), names.len());
        assert!(names.iter().all(|(name, query)| hint(name) == hint(query)));
        hints.sort_unstable();
        hints.dedup();
        assert_eq!(hints.len(), names.len());
        assert_eq!(hint("AWS.SimpleQueueService.NonExistentQueue"), hint("QueueDoesNotExist"));
        assert_eq!(hint("InternalFailure"), None);
    }
}
