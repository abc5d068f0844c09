//! Checks of what is said of a queue that `firedrill queue` makes.

use super::{
    super::{path::KeyPath, raw::RawProvision},
    Check,
    values::{DAY, MINUTE},
};
use crate::domain::provision::{DEFAULT_BUS, Options, queue_of_url};

/// How often a message is delivered before it goes to the dead-letter queue, when nothing is said and at most (Amazon SQS
/// API reference, RedrivePolicy).
const MAX_RECEIVES: (u32, u32) = (5, 1_000);

/// Longest name of a bus, in characters (Amazon EventBridge API reference, CreateEventBus).
const MAX_BUS_NAME: usize = 256;

impl Check<'_> {
    /// Checks how the queue of a URL is made.
    pub fn provision(&mut self, path: &KeyPath, raw: RawProvision, url: Option<&str>) -> Options {
        if url.is_some_and(|url| queue_of_url(url).is_none()) {
            let message = "the queue's `url` does not end with an account and a name that can be made".to_owned();
            let hint = "write `https://sqs.eu-west-1.amazonaws.com/123456789012/name`, the name with up to 71 letters, \
                        digits, `-` or `_`";
            self.problem(path, message, Some(hint.to_owned()));
        }
        let bus = raw.bus.unwrap_or_else(|| DEFAULT_BUS.to_owned());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '-' | '_');
        if bus.is_empty() || bus.len() > MAX_BUS_NAME || !bus.chars().all(allowed) {
            let hint = "write its name, not its ARN: a rule is made on a bus of the queue's own account and Region";
            self.problem(&path.key("bus"), format!("`{bus}` is not the name of a bus"), Some(hint.to_owned()));
        }
        if raw.kms_key.as_ref().is_some_and(|key| key.contains("alias/aws/") || key.is_empty()) {
            let message = "EventBridge cannot send into a queue that is encrypted with a key of AWS".to_owned();
            let hint = "name a key of your own that lets events.amazonaws.com use it, or none for SQS's own encryption";
            self.problem(&path.key("kms_key"), message, Some(hint.to_owned()));
        }
        Options {
            bus,
            max_receives: self.number(&path.key("max_receives"), raw.max_receives, MAX_RECEIVES.0, MAX_RECEIVES.1),
            kms_key: raw.kms_key,
            retention: self.duration(&path.key("retention"), raw.retention, DAY * 4, MINUTE..=DAY * 14),
        }
    }
}
