//! EventBridge event patterns: which events a trigger takes, and why not.
//!
//! Pure. [`Pattern::parse_text`] accepts what EventBridge accepts and refuses what it refuses, with the place and the
//! reason. Events are texts: [`Matcher`] looks at the fields that its patterns name and skips the rest, and builds no
//! tree. An event costs its length, and its values at the places named times the alternatives wanted there; array
//! elements cost no product. Of a name that an object has twice, in a pattern or in an event, the last one counts.
//! Names are joined with dots, and so `{"a": {"b": …}}` and `{"a.b": …}` are the same place.
//!
//! Elements of an array bind: fields are satisfied by values of the same element, or of none. A field that must be
//! absent is absent where the other fields were found. A field that an event holds in two arrays of the same place,
//! once with dots in a name and once without, is judged by itself.
//! Source: Amazon EventBridge user guide, "event patterns" and "comparison operators".

mod arrays;
mod condition;
mod explain;
mod fold;
mod json;
mod leaves;
mod matcher;
mod network;
mod number;
mod operator;
mod parse;
mod paths;
mod scan;
mod skip;
mod text;
mod wildcard;

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use self::condition::Condition;
pub use self::{
    explain::{Explanation, Mismatch},
    matcher::Matcher,
    text::UnreadableText,
};

/// Deepest nesting of a pattern.
pub const MAX_DEPTH: usize = 100;

/// Deepest nesting of the places of an event that a pattern names; as deep as events are read.
pub const MAX_EVENT_DEPTH: usize = 128;

/// Largest pattern that is read, in bytes. EventBridge takes far smaller ones, see [`Pattern::warnings`].
pub const MAX_PATTERN_BYTES: usize = 64 * 1024;

/// Most fields of a pattern, those of one branch of each `$or` counted (event-ruler takes as many of one rule).
pub const MAX_FIELDS: usize = 256;

/// Most alternatives of a field.
pub const MAX_ALTERNATIVES: usize = 4_096;

/// Most combinations that the `$or`s of a pattern multiply into (Amazon EventBridge user guide).
pub const MAX_BRANCHES: usize = 1_000;

/// Largest event that is looked at, in bytes.
pub const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// Characters of a pattern that EventBridge takes by default, and at most.
const SERVICE_SIZES: [usize; 2] = [2_048, 4_096];

/// Complexity of wildcards above which EventBridge calls a rule too complex.
const SERVICE_COMPLEXITY: usize = 10;

/// A parsed event pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As written, compact.
    text: String,
    source: Value,
    fields: Vec<Arc<Field>>,
    branches: Vec<Branch>,
    warnings: Vec<String>,
}

/// What must all hold: the field for each distinct path, both by number, in the order of the pattern.
type Branch = BTreeMap<u32, u32>;

/// A place of an event, its names joined with dots, and what is wanted there.
#[derive(Debug)]
struct Field {
    path: String,
    condition: Condition,
}

/// A pattern that EventBridge does not accept, or that is beyond the limits of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Path of the offending part inside the pattern, `detail.state[0]`; empty for the pattern itself.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

fn refused(path: &str, message: impl Into<String>) -> PatternError {
    PatternError { path: path.to_owned(), message: message.into() }
}

/// Two patterns are equal if they are written equally, white space aside.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Parses a pattern that was read as a value. The order of its fields is the value's own.
    ///
    /// # Errors
    /// [`PatternError`], as [`parse_text`](Self::parse_text).
    pub fn parse(pattern: &Value) -> Result<Self, PatternError> {
        Self::parse_text(&pattern.to_string())
    }

    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what is not JSON, what EventBridge refuses, and what is beyond the limits of this module.
    pub fn parse_text(pattern: &str) -> Result<Self, PatternError> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let message = format!("a pattern of {} bytes; more than {MAX_PATTERN_BYTES} are not read", pattern.len());
            return Err(refused("", message));
        }
        let root = json::read(pattern).map_err(|error| match error {
            UnreadableText::TooDeep => refused("", format!("nested deeper than {MAX_DEPTH} levels")),
            error => refused("", error.to_string()),
        })?;
        let mut reader = parse::Reader::default();
        let branches = reader.read(&root)?;
        let text = root.to_string();
        let source = serde_json::from_str(&text).map_err(|error| refused("", format!("malformed JSON: {error}")))?;
        let warnings = warnings(&text, &reader);
        Ok(Self { text, source, fields: reader.fields, branches, warnings })
    }

    /// Tells whether an event matches; one that [`matches_text`](Self::matches_text) refuses does not.
    pub fn matches(&self, event: &Value) -> bool {
        self.matches_text(&event.to_string()).unwrap_or(false)
    }

    /// Tells whether an event, as text, matches. Who has many events or many patterns asks a [`Matcher`].
    ///
    /// # Errors
    /// [`UnreadableText`] for what is not a JSON object where the pattern looks.
    pub fn matches_text(&self, event: &str) -> Result<bool, UnreadableText> {
        Matcher::new([self]).matching(event).map(|found| !found.is_empty())
    }

    /// Tells why EventBridge would not take the pattern, or would take it for another, although it is one.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }

    /// The pattern as written, compact; of names that an object has twice only the last.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// The pattern as a value, for those who hand it to EventBridge.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// The fields of a branch, in the pattern's order.
    fn fields_of<'p>(&'p self, branch: &'p Branch) -> impl Iterator<Item = &'p Arc<Field>> {
        branch.values().filter_map(|field| self.fields.get(usize::try_from(*field).ok()?))
    }
}

fn warnings(text: &str, reader: &parse::Reader) -> Vec<String> {
    let mut warnings = Vec::new();
    let size = text.chars().count();
    let [default, most] = SERVICE_SIZES;
    if size > most {
        warnings.push(format!("{size} characters; EventBridge takes at most {most} in a pattern"));
    } else if size > default {
        warnings
            .push(format!("{size} characters; EventBridge takes {default} in a pattern unless the quota is raised"));
    }
    let mut complexity: BTreeMap<&str, usize> = BTreeMap::new();
    for field in &reader.fields {
        let own: usize = field.condition.wildcards().map(wildcard::Wildcard::complexity).sum();
        *complexity.entry(&field.path).or_default() += own;
    }
    for (path, complexity) in complexity.into_iter().filter(|(_, complexity)| *complexity > SERVICE_COMPLEXITY) {
        warnings.push(format!(
            "the wildcards of `{path}` have a complexity of about {complexity}; EventBridge refuses a rule as too complex \
             above about {SERVICE_COMPLEXITY}: use fewer stars, or prefix and suffix"
        ));
    }
    for path in &reader.replaced {
        warnings.push(format!("`{path}` is named more than once; the last one counts, as with EventBridge"));
    }
    warnings
}
