//! EventBridge event patterns: which events a trigger takes.
//!
//! Pure.

/// A parsed event pattern.
#[derive(Debug, Clone)]
pub struct Pattern;

/// A pattern that EventBridge, or this version of Firedrill, does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Path of the offending part inside the pattern, `detail.state[0]`; empty for the pattern itself.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what EventBridge would reject, and for operators that are not supported.
    pub fn parse(_pattern: &serde_json::Value) -> Result<Self, PatternError> {
        Ok(Self)
    }

    /// Tells whether an event matches.
    pub fn matches(&self, _event: &serde_json::Value) -> bool {
        false
    }
}
