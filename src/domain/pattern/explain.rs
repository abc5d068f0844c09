//! Why a pattern does not match an event: the first field that failed.

use std::{fmt, sync::Arc};

use serde_json::Value;

use super::{
    Field, Pattern,
    condition::Scalar,
    leaves::{Leaf, Leaves},
    matcher::{Answer, Test},
    paths::{Paths, index},
    scan::{self, Scratch},
    text::UnreadableText,
};

/// Values of an event that are shown of a field.
const MAX_VALUES: usize = 3;
/// Characters that are shown of a value.
const MAX_VALUE: usize = 60;
/// Characters that are shown of what is wanted.
const MAX_WANTED: usize = 200;

/// What a pattern says to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Explanation {
    /// It matches.
    Match,
    /// It does not.
    NoMatch(Mismatch),
}

/// The first field of a pattern that an event does not satisfy; with `$or`, of the branch that most of it satisfies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Its path in the event, names joined with dots.
    pub path: String,
    /// What the event has there, cut short.
    pub found: String,
    /// The alternatives of the pattern, cut short.
    pub wanted: String,
    /// How many fields of the branch the event does not satisfy, this one included; 1 at least.
    pub failed: usize,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: found {}, wanted {}", self.path, self.found, self.wanted)
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Match => f.write_str("the event matches"),
            Self::NoMatch(mismatch) => write!(f, "{mismatch}"),
        }
    }
}

impl Pattern {
    /// Tells whether an event matches, and if not, why.
    ///
    /// # Errors
    /// [`UnreadableText`], as [`matches_text`](Self::matches_text).
    pub fn explain(&self, event: &str) -> Result<Explanation, UnreadableText> {
        if self.matches_text(event)? {
            return Ok(Explanation::Match);
        }
        let mut paths = Paths::default();
        let test = |field: &Arc<Field>| {
            Test::new(paths.insert(&field.path, field.condition.reads_numbers()), Arc::clone(field))
        };
        let tests: Vec<Test> = self.fields.iter().map(test).collect();
        let mut scratch = Scratch::default();
        scan::scan(event, &paths, &mut scratch)?;
        let answers: Vec<Answer> = tests.iter().map(|test| test.ask(&scratch.leaves, event.as_bytes())).collect();
        let failed = |branch: &super::Branch| branch.values().filter(|own| answers[index(**own)] == Answer::No).count();
        let Some(branch) = self.branches.iter().min_by_key(|branch| failed(branch)) else {
            return Ok(Explanation::Match);
        };
        let found = Found { leaves: &scratch.leaves, event };
        let missed = branch.values().map(|own| index(*own)).find(|own| answers[*own] == Answer::No);
        let bound = || branch.values().map(|own| index(*own)).filter(|own| answers[*own] == Answer::Bound);
        let failed = failed(branch).max(1);
        let mismatch = match missed {
            Some(own) => found.mismatch(&tests[own], &self.fields[own]),
            None => found.torn(bound().map(|own| &self.fields[own])),
        };
        Ok(Explanation::NoMatch(Mismatch { failed, ..mismatch }))
    }
}

/// Shows what an event has.
struct Found<'e> {
    leaves: &'e Leaves,
    event: &'e str,
}

impl Found<'_> {
    fn mismatch(&self, test: &Test, field: &Field) -> Mismatch {
        let wanted = cut(&field.condition.wanted, MAX_WANTED);
        let count = self.leaves.of(test.place).count();
        let shown: Vec<_> = self.leaves.of(test.place).take(MAX_VALUES).map(|leaf| self.value(leaf)).collect();
        let found = match count {
            0 => self.nothing(&field.path),
            more if more > shown.len() => format!("{} and {} more", shown.join(", "), more - shown.len()),
            _all => shown.join(", "),
        };
        Mismatch { path: field.path.clone(), found, wanted, failed: 1 }
    }

    /// Each field is satisfied, but not all by the same array element.
    fn torn<'f>(&self, fields: impl Iterator<Item = &'f Arc<Field>>) -> Mismatch {
        let fields: Vec<_> = fields.collect();
        let path = fields.iter().map(|field| field.path.as_str()).collect::<Vec<_>>().join("` and `");
        let wanted = fields.iter().map(|field| field.condition.wanted.as_str()).collect::<Vec<_>>().join(" and ");
        Mismatch {
            path: cut(&path, MAX_WANTED),
            found: "values in different elements of an array".to_owned(),
            wanted: format!("{} in the same element", cut(&wanted, MAX_WANTED)),
            failed: 1,
        }
    }

    fn value(&self, leaf: &Leaf) -> String {
        match self.leaves.scalar(leaf, self.event.as_bytes()) {
            Scalar::Text(text) => Value::from(cut(&String::from_utf8_lossy(text), MAX_VALUE)).to_string(),
            Scalar::Literal(literal) => literal.word().to_owned(),
            Scalar::Number(_) => cut(self.event.get(index(leaf.start)..index(leaf.end)).unwrap_or_default(), MAX_VALUE),
        }
    }

    /// Says what stands where no value does.
    fn nothing(&self, path: &str) -> String {
        let Ok(event) = serde_json::from_str::<Value>(self.event) else { return "nothing".to_owned() };
        let mut node = &event;
        let mut walked = String::new();
        for name in path.split('.') {
            let holder = if walked.is_empty() { "the event".to_owned() } else { format!("`{walked}`") };
            node = match node {
                Value::Object(members) => match members.get(name) {
                    Some(member) => member,
                    None => return format!("nothing: {} has no `{}`", cut(&holder, MAX_WANTED), cut(name, MAX_VALUE)),
                },
                Value::Array(_) => return format!("nothing in the elements of {}", cut(&holder, MAX_WANTED)),
                _scalar => return format!("nothing: {} is no object", cut(&holder, MAX_WANTED)),
            };
            walked = if walked.is_empty() { name.to_owned() } else { format!("{walked}.{name}") };
        }
        match node {
            Value::Object(_) => "an object, which is no value".to_owned(),
            Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
            _other => "a list without values of its own".to_owned(),
        }
    }
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
