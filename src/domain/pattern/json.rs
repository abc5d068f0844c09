//! Reads a pattern's text into a tree that keeps what a parser of values loses: the order of fields and the digits of
//! numbers. Of a name that an object has twice the last one counts.

use std::{collections::HashSet, fmt};

use super::{
    MAX_DEPTH,
    text::{self, Stops, UnreadableText, not_json},
};

/// Deepest nesting that is read: what a pattern nests, with an array and two operators inside, or an `$or` at each level.
const MAX_NESTING: usize = 2 * MAX_DEPTH + 8;

/// A node of a pattern.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Object(Vec<(String, Node)>),
    List(Vec<Node>),
    Text(String),
    /// As written.
    Number(String),
    Literal(Literal),
}

/// A value that is a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Null,
    True,
    False,
}

impl Literal {
    /// The word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::True => "true",
            Self::False => "false",
        }
    }

    /// The literal whose word begins at a place.
    pub(super) fn at(bytes: &[u8], at: usize) -> Result<Self, UnreadableText> {
        let literal = match bytes.get(at) {
            Some(b'n') => Self::Null,
            Some(b't') => Self::True,
            Some(b'f') => Self::False,
            _other => return Err(not_json(at, "a value")),
        };
        let found = bytes.get(at..at + literal.word().len()) == Some(literal.word().as_bytes());
        found.then_some(literal).ok_or(not_json(at, "a value"))
    }
}

/// Compact JSON, as shown to people.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn text(text: &str) -> serde_json::Value {
            serde_json::Value::from(text)
        }
        match self {
            Self::Object(members) => {
                let mut between = "{";
                for (name, node) in members {
                    write!(f, "{between}{}:{node}", text(name))?;
                    between = ",";
                }
                f.write_str(if members.is_empty() { "{}" } else { "}" })
            }
            Self::List(items) => {
                let mut between = "[";
                for item in items {
                    write!(f, "{between}{item}")?;
                    between = ",";
                }
                f.write_str(if items.is_empty() { "[]" } else { "]" })
            }
            Self::Text(own) => write!(f, "{}", text(own)),
            Self::Number(digits) => f.write_str(digits),
            Self::Literal(literal) => f.write_str(literal.word()),
        }
    }
}

/// Reads a whole text.
///
/// # Errors
/// [`UnreadableText`] for what is not JSON or is nested too deeply.
pub(super) fn read(text: &str) -> Result<Node, UnreadableText> {
    let mut reader = Reader { bytes: text.as_bytes(), at: 0, stops: Stops::default() };
    let node = reader.value(0)?;
    reader.at = text::behind_space(reader.bytes, reader.at);
    if reader.at < reader.bytes.len() { Err(not_json(reader.at, "nothing behind the value")) } else { Ok(node) }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    stops: Stops,
}

impl Reader<'_> {
    /// Moves over white space, and returns what stands behind it.
    fn next(&mut self) -> Option<u8> {
        self.at = text::behind_space(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    fn value(&mut self, depth: usize) -> Result<Node, UnreadableText> {
        match self.next() {
            Some(b'{' | b'[') if depth >= MAX_NESTING => Err(UnreadableText::TooDeep),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.list(depth + 1),
            Some(b'"') => Ok(Node::Text(self.string()?)),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.at = text::number(self.bytes, start)?;
                Ok(Node::Number(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()))
            }
            _word => {
                let literal = Literal::at(self.bytes, self.at)?;
                self.at += literal.word().len();
                Ok(Node::Literal(literal))
            }
        }
    }

    fn string(&mut self) -> Result<String, UnreadableText> {
        let quoted = self.stops.string(self.bytes, self.at + 1)?;
        let mut own = Vec::new();
        text::unescape(&self.bytes[quoted.start..quoted.end], &mut own);
        self.at = quoted.end + 1;
        String::from_utf8(own).map_err(|_| not_json(quoted.start, "no surrogate without its other half"))
    }

    fn object(&mut self, depth: usize) -> Result<Node, UnreadableText> {
        let mut members = Vec::new();
        self.at += 1;
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(Node::Object(members));
        }
        loop {
            if self.next() != Some(b'"') {
                return Err(not_json(self.at, "a name in quotes"));
            }
            let name = self.string()?;
            if self.next() != Some(b':') {
                return Err(not_json(self.at, "`:`"));
            }
            self.at += 1;
            members.push((name, self.value(depth)?));
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                _other => return Err(not_json(self.at, "`,` or `}`")),
            }
        }
        let mut seen = HashSet::new();
        let mut last: Vec<_> = members.into_iter().rev().filter(|(name, _)| seen.insert(name.clone())).collect();
        last.reverse();
        Ok(Node::Object(last))
    }

    fn list(&mut self, depth: usize) -> Result<Node, UnreadableText> {
        let mut items = Vec::new();
        self.at += 1;
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(Node::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                _other => return Err(not_json(self.at, "`,` or `]`")),
            }
        }
        Ok(Node::List(items))
    }
}
