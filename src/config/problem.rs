//! Problems: what is wrong with the configuration, where, and what would be right.
//!
//! A problem is words for a person; nothing branches on it.

use std::{fmt, path::Path};

use serde::Serialize;

/// One mistake, or one doubt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where the text stands; `None` when it stands nowhere.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// Key path, `experiments.checkout.schedules[0].cron`; empty when it is about a whole file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A place in a file, or a variable of the environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Path of the file, or name of the variable.
    pub source: String,
    /// Line from 1 and column from 1, in characters; `None` for a variable and for a file as a whole.
    #[serde(flatten)]
    pub position: Option<Position>,
}

/// A position in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Position {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
}

/// Every mistake that was found, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct Problems(pub Vec<Problem>);

impl From<&Path> for Place {
    /// Makes the place of a file as a whole.
    fn from(path: &Path) -> Self {
        Self { source: path.display().to_string(), position: None }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)?;
        match self.position {
            Some(Position { line, column }) => write!(f, ":{line}:{column}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.path.is_empty()) {
            (Some(place), true) => write!(f, "{place}: ")?,
            (Some(place), false) => write!(f, "{place} {}: ", self.path)?,
            (None, true) => {}
            (None, false) => write!(f, "{}: ", self.path)?,
        }
        f.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        Ok(())
    }
}
