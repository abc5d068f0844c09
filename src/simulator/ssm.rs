//! Systems Manager (AWS JSON 1.1): change calendars.

use jiff::Timestamp;
use serde_json::Value;

use super::{Scene, wire::Answer};

/// All documents by name.
#[derive(Debug, Default)]
pub(super) struct Documents {}

impl Documents {
    /// Performs an operation; `None` for one that is not known.
    pub(super) fn perform(
        &mut self,
        _operation: &str,
        _body: &Value,
        _scene: &Scene,
        _now: Timestamp,
    ) -> Option<Answer> {
        None
    }
}
