//! Names and identities: who a run is, and everything that is derived from who it is.
//!
//! Pure. A run's identity is its experiment and its trigger, never the clock or chance, so that a restarted
//! agent arrives at the same client token, tag and trace. See [`crate::domain::run`] for the run itself.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest name of an experiment, schedule, trigger or window, in bytes.
pub const MAX_NAME_LENGTH: usize = 64;

/// Tag key on every FIS experiment that Firedrill starts; its value is the run's id.
pub const RUN_TAG: &str = "firedrill:run";

/// Tag key that names our experiment on every FIS experiment that Firedrill starts.
pub const EXPERIMENT_TAG: &str = "firedrill:experiment";

/// A name from the configuration: 1 to [`MAX_NAME_LENGTH`] of `A-Z a-z 0-9 _ - .`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

/// A name that breaks the rule of [`Name`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not a name: use 1 to {MAX_NAME_LENGTH} letters, digits, `_`, `-` or `.`, a letter or digit first")]
pub struct InvalidName {
    /// The refused text.
    pub name: String,
}

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidName`] when a character or the length is outside the rule.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let starts_well = text.starts_with(|c: char| c.is_ascii_alphanumeric());
        if starts_well && text.len() <= MAX_NAME_LENGTH && text.chars().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidName { name: text.to_owned() })
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a name that begins like this one and differs wherever the details do.
    pub fn detailed(&self, details: &[&str]) -> Self {
        // Of a name that has no room as a whole, the rest is in the digest.
        let kept = self.0.len().min(MAX_NAME_LENGTH - 1 - 2 * DETAIL_BYTES);
        let cut = (kept < self.0.len()).then_some(self.as_str());
        let digest = fingerprint(&details.iter().copied().chain(cut).collect::<Vec<_>>());
        // Names are ASCII, so every cut is one between characters.
        Self(format!("{}.{digest}", &self.0[..kept]))
    }
}

/// Bytes of the digest that [`fingerprint`] shows.
const DETAIL_BYTES: usize = 8;

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

/// Name of an experiment of ours (not of a FIS template).
pub type ExperimentName = Name;
/// Name of a schedule, unique within its experiment.
pub type ScheduleName = Name;
/// Name of a window, unique in the configuration.
pub type WindowName = Name;
/// Name of a calendar in the configuration.
pub type CalendarName = Name;

/// Identity of a run: a digest of its experiment and trigger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

/// Bytes of the digest that an id shows: 80 bits, written as 20 hexadecimal digits.
const RUN_ID_BYTES: usize = 10;

impl RunId {
    /// Derives the id from the experiment and the trigger's own identity text.
    pub fn derive(experiment: &ExperimentName, trigger_key: &str) -> Self {
        let bytes = digest(&["run", experiment.as_str(), trigger_key]);
        Self(hex(&bytes[..RUN_ID_BYTES]))
    }

    /// Takes an id as text, from a command line, a tag or a row. It is compared, never trusted.
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Derives the client token of StartExperiment: the same for every attempt of this run.
    pub fn client_token(&self) -> String {
        format!("firedrill-{}", self.0)
    }

    /// Derives the trace id (16 bytes, never all zero).
    pub fn trace_id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id.copy_from_slice(&digest(&["trace", &self.0])[..16]);
        id
    }

    /// Derives the id of one of the run's spans from the span's own name (8 bytes, never all zero).
    pub fn span_id(&self, span: &str) -> [u8; 8] {
        let mut id = [0; 8];
        id.copy_from_slice(&digest(&["span", &self.0, span])[..8]);
        id
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Draws a number that the parts decide and that looks random otherwise: the same for ever, on every machine.
pub fn draw(parts: &[&str]) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&digest(parts)[..8]);
    u64::from_be_bytes(number)
}

/// Returns a short name of some texts in their order: other texts have another.
pub fn fingerprint(parts: &[&str]) -> String {
    hex(&digest(parts)[..DETAIL_BYTES])
}

/// Digest of parts, each preceded by its length, so that no two lists of parts share a digest input.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// Names a whole text: another one has another name. Who can choose texts can make no two of the same name.
pub fn name_of_text(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
