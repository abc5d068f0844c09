//! Key paths and where they stand: `experiments.checkout.schedules[0].cron` is line 12 of a file.

use std::{collections::BTreeMap, fmt};

use super::problem::{Place, Position};

/// One step of a key path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a table.
    Key(String),
    /// An item of a list, from 0.
    Item(usize),
}

/// A key path; the empty one is the whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyPath(Vec<Step>);

impl KeyPath {
    /// Returns the path of a key in this table.
    pub fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.to_owned()))
    }

    /// Returns the path of an item in this list.
    pub fn item(&self, index: usize) -> Self {
        self.then(Step::Item(index))
    }

    /// Returns the path of what a text such as `detail.state[0]` names below this path.
    pub fn below(&self, text: &str) -> Self {
        let mut path = self.clone();
        for part in text.split(['.', '[']).filter(|part| !part.is_empty()) {
            let item = part.strip_suffix(']').and_then(|number| number.parse().ok());
            path.0.push(item.map_or_else(|| Step::Key(part.to_owned()), Step::Item));
        }
        path
    }

    /// Tells whether this path is `other` or leads to something inside of it.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// Returns the path of what holds this one.
    pub fn parent(&self) -> Option<Self> {
        let (_, rest) = self.0.split_last()?;
        Some(Self(rest.to_vec()))
    }

    fn then(&self, step: Step) -> Self {
        let mut path = self.clone();
        path.0.push(step);
        path
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.0.iter().enumerate() {
            match step {
                Step::Item(item) => write!(f, "[{item}]")?,
                Step::Key(key) => {
                    let dot = if index == 0 { "" } else { "." };
                    let bare = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
                    if bare { write!(f, "{dot}{key}")? } else { write!(f, "{dot}{key:?}")? }
                }
            }
        }
        Ok(())
    }
}

/// Where every key and value stands. Kept small: of thousands of schedules it is the largest part of loading them.
#[derive(Debug, Default)]
pub struct Index {
    /// Files and variables.
    sources: Vec<String>,
    /// By the path as written.
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    source: usize,
    key: Option<Position>,
    value: Option<Position>,
}

impl Index {
    /// Notes where in a source a key and its value stand; the last note of a path counts, as the last file does.
    pub fn note(&mut self, path: &KeyPath, source: &str, key: Option<Position>, value: Option<Position>) {
        // What is noted in a row mostly stands in the same file.
        let known = self.sources.iter().rposition(|known| known == source);
        let source = known.unwrap_or_else(|| {
            self.sources.push(source.to_owned());
            self.sources.len() - 1
        });
        self.entries.insert(path.to_string(), Entry { source, key, value });
    }

    /// Finds where a value stands, or else what holds it.
    pub fn value(&self, path: &KeyPath) -> Option<Place> {
        self.nearest(path).map(|entry| self.place(entry, entry.value))
    }

    /// Finds where a key stands, or else what holds it.
    pub fn key(&self, path: &KeyPath) -> Option<Place> {
        self.nearest(path).map(|entry| self.place(entry, entry.key))
    }

    fn place(&self, entry: Entry, position: Option<Position>) -> Place {
        Place { source: self.sources.get(entry.source).cloned().unwrap_or_default(), position }
    }

    fn nearest(&self, path: &KeyPath) -> Option<Entry> {
        let mut path = path.clone();
        loop {
            if let Some(entry) = self.entries.get(&path.to_string()) {
                return Some(*entry);
            }
            path = path.parent()?;
        }
    }
}
