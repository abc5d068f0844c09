//! EventBridge event patterns: which events a trigger takes.
//!
//! Pure. [`parse`](Pattern::parse) accepts exact values, `prefix`, `anything-but` (with `prefix` inside) and `exists`;
//! what EventBridge would reject and every other operator is refused with its path. [`matches`](Pattern::matches) walks
//! the event as a tree, each array element once, so a hostile event costs its size times the fields and no more.
//! Source: Amazon EventBridge user guide, "event patterns" and "comparison operators".

use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// Deepest nesting of a pattern or an event that is looked at.
pub const MAX_DEPTH: usize = 100;

const SUPPORTED: &str = "supported are exact values, `prefix`, `anything-but` and `exists`";

/// Operators of EventBridge that this version refuses.
const NOT_YET: [&str; 6] = ["suffix", "wildcard", "numeric", "cidr", "equals-ignore-case", "exactly"];

/// A parsed event pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    fields: Vec<Field>,
    source: Value,
}

/// A pattern that EventBridge, or this version of Firedrill, does not accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PatternError {
    /// Path of the offending part inside the pattern, `detail.state[0]`; empty for the pattern itself.
    pub path: String,
    /// What is wrong with it.
    pub message: String,
}

/// One path of the pattern, joined with dots, and the alternatives of which one must hold.
#[derive(Debug, Clone, PartialEq)]
struct Field {
    path: String,
    alternatives: Vec<Alternative>,
}

#[derive(Debug, Clone, PartialEq)]
enum Alternative {
    Equals(Value),
    Prefix(String),
    NotAnyOf(Vec<Value>),
    NoPrefixOf(Vec<String>),
    Present,
    Absent,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// [`PatternError`] for what EventBridge would reject, and for operators that are not supported.
    pub fn parse(pattern: &Value) -> Result<Self, PatternError> {
        let Value::Object(members) = pattern else {
            return Err(refused("", "a pattern must be an object"));
        };
        let mut fields = Vec::new();
        parse_object(members, "", 0, &mut fields)?;
        Ok(Self { fields, source: pattern.clone() })
    }

    /// Returns the pattern as it was written, for those who hand it to EventBridge.
    pub fn source(&self) -> &Value {
        &self.source
    }

    /// Tells whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        if !event.is_object() {
            return false;
        }
        let targets: Vec<_> = self.fields.iter().map(Target::new).collect();
        judge(event, &targets, 0) != Verdict::No
    }
}

fn refused(path: &str, message: impl Into<String>) -> PatternError {
    PatternError { path: path.to_owned(), message: message.into() }
}

fn parse_object(
    members: &Map<String, Value>,
    path: &str,
    depth: usize,
    fields: &mut Vec<Field>,
) -> Result<(), PatternError> {
    if members.is_empty() {
        return Err(refused(path, "Empty objects are not allowed"));
    }
    if depth >= MAX_DEPTH {
        return Err(refused(path, format!("nested deeper than {MAX_DEPTH} levels")));
    }
    for (name, value) in members {
        let path = if depth == 0 { name.clone() } else { format!("{path}.{name}") };
        match value {
            Value::Array(_) | Value::Object(_) if name == "$or" => {
                return Err(refused(&path, format!("`$or` is not supported; {SUPPORTED}")));
            }
            Value::Object(inner) => parse_object(inner, &path, depth + 1, fields)?,
            Value::Array(items) if items.is_empty() => return Err(refused(&path, "Empty arrays are not allowed")),
            Value::Array(items) => {
                let alternatives = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| parse_alternative(item, &format!("{path}[{index}]")))
                    .collect::<Result<_, _>>()?;
                fields.push(Field { path, alternatives });
            }
            _scalar => return Err(refused(&path, format!("\"{name}\" must be an object or an array"))),
        }
    }
    Ok(())
}

fn parse_alternative(item: &Value, path: &str) -> Result<Alternative, PatternError> {
    let members = match item {
        Value::Object(members) => members,
        Value::Array(_) => return Err(refused(path, "arrays in arrays are not allowed")),
        scalar => return Ok(Alternative::Equals(scalar.clone())),
    };
    let (operator, operand) = only_member(members, path)?;
    match (operator, operand) {
        ("prefix", Value::String(prefix)) => Ok(Alternative::Prefix(prefix.clone())),
        ("prefix", Value::Object(_)) => {
            Err(refused(path, format!("`prefix` that ignores case is not supported; {SUPPORTED}")))
        }
        ("prefix", _) => Err(refused(path, "`prefix` must be a string")),
        ("exists", Value::Bool(true)) => Ok(Alternative::Present),
        ("exists", Value::Bool(false)) => Ok(Alternative::Absent),
        ("exists", _) => Err(refused(path, "`exists` must be true or false")),
        ("anything-but", operand) => parse_anything_but(operand, path),
        (other, _) => Err(unknown_operator(other, path)),
    }
}

fn only_member<'p>(members: &'p Map<String, Value>, path: &str) -> Result<(&'p str, &'p Value), PatternError> {
    let mut entries = members.iter();
    match (entries.next(), entries.next()) {
        (Some((operator, operand)), None) => Ok((operator, operand)),
        (None, _) => Err(refused(path, "Empty objects are not allowed")),
        (Some(_), Some(_)) => Err(refused(path, "Only one key allowed in match expression")),
    }
}

fn unknown_operator(operator: &str, path: &str) -> PatternError {
    if NOT_YET.contains(&operator) {
        refused(path, format!("`{operator}` is not supported; {SUPPORTED}"))
    } else {
        refused(path, format!("Unrecognized match type {operator}; {SUPPORTED}"))
    }
}

fn parse_anything_but(operand: &Value, path: &str) -> Result<Alternative, PatternError> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(Alternative::NotAnyOf(vec![operand.clone()])),
        Value::Array(items) if items.is_empty() => Err(refused(path, "Empty arrays are not allowed")),
        Value::Array(items) if items.iter().all(Value::is_string) || items.iter().all(Value::is_number) => {
            Ok(Alternative::NotAnyOf(items.clone()))
        }
        Value::Object(members) => match only_member(members, path)? {
            ("prefix", prefixes) => parse_unwanted_prefixes(prefixes, path),
            (other, _) => Err(unknown_operator(other, path)),
        },
        _other => Err(refused(path, "`anything-but` takes a string, a number or a list of one of these kinds")),
    }
}

fn parse_unwanted_prefixes(operand: &Value, path: &str) -> Result<Alternative, PatternError> {
    let one = std::slice::from_ref(operand);
    let items = operand.as_array().map_or(one, Vec::as_slice);
    if items.is_empty() {
        return Err(refused(path, "Empty arrays are not allowed"));
    }
    let text = |item: &Value| match item {
        Value::String(prefix) if prefix.is_empty() => Err(refused(path, "an empty prefix excludes every string")),
        Value::String(prefix) => Ok(prefix.clone()),
        _other => Err(refused(path, "`prefix` must be a string or a list of strings")),
    };
    Ok(Alternative::NoPrefixOf(items.iter().map(text).collect::<Result<_, _>>()?))
}

impl Alternative {
    /// Tells whether a leaf (a scalar of the event) satisfies it.
    fn takes(&self, leaf: &Value) -> bool {
        match self {
            Self::Equals(wanted) => equal(wanted, leaf),
            Self::Prefix(prefix) => leaf.as_str().is_some_and(|text| text.starts_with(prefix)),
            Self::NotAnyOf(unwanted) => !unwanted.iter().any(|value| equal(value, leaf)),
            Self::NoPrefixOf(prefixes) => {
                !leaf.as_str().is_some_and(|text| prefixes.iter().any(|prefix| text.starts_with(prefix.as_str())))
            }
            Self::Present => true,
            Self::Absent => false,
        }
    }
}

/// Equality of scalars: numbers by value, all else by itself.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => match (integer(left), integer(right)) {
            (Some(left), Some(right)) => left == right,
            (None, None) => left.as_f64() == right.as_f64(),
            _one_is_whole => false,
        },
        (left, right) => left == right,
    }
}

/// The whole number a JSON number stands for, if it is one and fits.
fn integer(number: &Number) -> Option<i128> {
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    if let Some(whole) = number.as_u64() {
        return Some(whole.into());
    }
    let float = number.as_f64()?;
    // Beyond 2^100 no integer of JSON's other forms can be met, so the comparison of floats is left to decide.
    #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^100 fits")]
    (float.fract() == 0.0 && float.abs() < 2f64.powi(100)).then_some(float as i128)
}

/// A field seen from some node of the event: what of its path is left below the node.
#[derive(Clone, Copy)]
struct Target<'a> {
    alternatives: &'a [Alternative],
    /// `None` at the field's own place.
    rest: Option<&'a str>,
    /// Whether having no leaf satisfies it.
    absent_fits: bool,
}

/// How a node satisfies a set of fields, all at once and out of one element of each array.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    No,
    /// Only by having no leaf for any of them; binds no array element.
    Absent,
    /// By a leaf for at least one of them.
    Present,
}

impl Verdict {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Absent, Self::Absent) => Self::Absent,
            _one_has_a_leaf => Self::Present,
        }
    }
}

impl<'a> Target<'a> {
    fn new(field: &'a Field) -> Self {
        let absent_fits = field.alternatives.contains(&Alternative::Absent);
        Self { alternatives: &field.alternatives, rest: Some(&field.path), absent_fits }
    }

    fn without_leaf(&self) -> Verdict {
        if self.absent_fits { Verdict::Absent } else { Verdict::No }
    }

    fn takes(&self, leaf: &Value) -> bool {
        self.alternatives.iter().any(|alternative| alternative.takes(leaf))
    }
}

fn judge(node: &Value, targets: &[Target<'_>], depth: usize) -> Verdict {
    if targets.is_empty() {
        return Verdict::Absent;
    }
    match node {
        Value::Object(_) | Value::Array(_) if depth > MAX_DEPTH => Verdict::No,
        Value::Object(members) => judge_object(members, targets, depth),
        Value::Array(items) => judge_array(items, targets, depth),
        leaf => targets.iter().fold(Verdict::Absent, |verdict, target| {
            verdict.and(match target.rest {
                Some(_) => target.without_leaf(),
                None if target.takes(leaf) => Verdict::Present,
                None => Verdict::No,
            })
        }),
    }
}

fn judge_object(members: &Map<String, Value>, targets: &[Target<'_>], depth: usize) -> Verdict {
    let mut verdict = Verdict::Absent;
    let mut below: BTreeMap<&str, (&Value, Vec<Target<'_>>)> = BTreeMap::new();
    for target in targets {
        let mut routes = routes(members, target);
        let settled = match routes.len() {
            0 => target.without_leaf(),
            1 => {
                let Some((key, child, target)) = routes.pop() else { continue };
                below.entry(key).or_insert((child, Vec::new())).1.push(target);
                continue;
            }
            // `{"a":{"b":1},"a.b":2}` has two leaves at one path; either may serve.
            _several => {
                let each = routes.iter().map(|(_, child, target)| judge(child, &[*target], depth + 1));
                either(each)
            }
        };
        verdict = verdict.and(settled);
    }
    for (child, targets) in below.values() {
        if verdict == Verdict::No {
            break;
        }
        verdict = verdict.and(judge(child, targets, depth + 1));
    }
    verdict
}

/// Members of an object that lead towards a target: names and paths may contain dots, and `a.b` is the same place
/// either way.
fn routes<'e, 't>(members: &'e Map<String, Value>, target: &Target<'t>) -> Vec<(&'t str, &'e Value, Target<'t>)> {
    let Some(path) = target.rest else { return Vec::new() };
    let dots = path.match_indices('.').map(|(at, _)| (&path[..at], Some(&path[at + 1..])));
    dots.chain([(path, None)])
        .filter_map(|(key, rest)| members.get(key).map(|child| (key, child, Target { rest, ..*target })))
        .collect()
}

/// Present if any is; absent if all are.
fn either(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let mut all_absent = true;
    for verdict in verdicts {
        match verdict {
            Verdict::Present => return Verdict::Present,
            Verdict::Absent => {}
            Verdict::No => all_absent = false,
        }
    }
    if all_absent { Verdict::Absent } else { Verdict::No }
}

fn judge_array(items: &[Value], targets: &[Target<'_>], depth: usize) -> Verdict {
    let is_leaf = |item: &&Value| !item.is_object() && !item.is_array();
    let mut verdict = Verdict::Absent;
    let mut open = Vec::new();
    for target in targets {
        let mut leaves = items.iter().filter(is_leaf).filter(|_| target.rest.is_none()).peekable();
        let has_leaf = leaves.peek().is_some();
        // Scalars directly in an array bind no element.
        if leaves.any(|leaf| target.takes(leaf)) {
            verdict = Verdict::Present;
        } else {
            open.push(Target { absent_fits: target.absent_fits && !has_leaf, ..*target });
        }
    }
    if open.is_empty() {
        return verdict;
    }
    let mut elements = items.iter().filter(|item| !is_leaf(item)).peekable();
    if elements.peek().is_none() {
        return open.iter().fold(verdict, |verdict, target| verdict.and(target.without_leaf()));
    }
    // All fields that lie in elements must be satisfied by the same one.
    verdict.and(either(elements.map(|element| judge(element, &open, depth + 1))))
}
