//! AWS's model of FIS's requests as data: which method and path is which operation, and what its input may be.
//!
//! The file beside this one is drawn from botocore's model of the API of 2020-12-01 (release 1.43.11). Patterns of that
//! model are not anchored, so `[\S]+` asks for one visible character and no more. The pattern of a target's parameter
//! values is left out, since it forbids the comma that the user guide's lists have.
//!
//! A request that fits becomes an [`Input`]. Members the model does not know are dropped and members that are null
//! count as absent, so what an operation reads has the shape it expects. What a template must mean beyond its shape is
//! decided in [`super::template`].

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::LazyLock,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::simulator::wire::{self, ApiError, Query};

/// Characters of a name that a message shows.
const SHOWN_NAME: usize = 64;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    // The file is compiled in and a test walks it: an empty model would make every request an unknown operation.
    serde_json::from_str(include_str!("model.json")).unwrap_or_default()
});

#[derive(Debug, Default, Deserialize)]
struct Model {
    operations: BTreeMap<String, Operation>,
    shapes: HashMap<String, Shape>,
}

/// One operation.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    method: String,
    /// `{member}` takes one segment.
    path: String,
    /// Members that are in the query.
    #[serde(default)]
    query: Vec<String>,
    #[serde(flatten)]
    input: Structure,
}

/// Members by name, with the names of their shapes.
#[derive(Debug, Deserialize)]
struct Structure {
    required: Vec<String>,
    members: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Shape {
    String(Text),
    Integer { min: Option<i64>, max: Option<i64> },
    List { member: String, max: Option<usize> },
    Map { key: String, value: String, max: Option<usize> },
    Structure(Structure),
}

/// Lengths are in characters, inclusive.
#[derive(Debug, Deserialize)]
struct Text {
    #[serde(default)]
    min: usize,
    max: Option<usize>,
    /// Whether one character must be no space.
    #[serde(default)]
    visible: bool,
    #[serde(rename = "enum")]
    listed: Option<Vec<String>>,
}

/// Where in a request something is, as messages say it: `actions.reboot.parameters.duration`, `stopConditions[0]`.
#[derive(Debug, Clone, Copy)]
enum Place<'a> {
    Request,
    Member(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

/// Members of a request that the model lets through, by name.
#[derive(Debug)]
pub(super) struct Input(Map<String, Value>);

/// What the path of a request holds: members with their values, decoded.
pub(super) type Labels = Vec<(&'static str, String)>;

/// The names of all operations.
pub(super) fn operations() -> impl Iterator<Item = &'static str> {
    MODEL.operations.keys().map(String::as_str)
}

/// Finds the operation of a method and a path.
///
/// # Errors
/// `UnknownOperationException` when there is none, `ValidationException` when the path is not UTF-8.
pub(super) fn find(method: &str, path: &str) -> Result<(&'static str, &'static Operation, Labels), ApiError> {
    for (name, operation) in MODEL.operations.iter().filter(|(_, operation)| operation.method == method) {
        if let Some(raw) = labels(&operation.path, path) {
            let decoded = raw.into_iter().map(|(member, segment)| Some((member, wire::percent_decoded(segment)?)));
            let labels = decoded.collect::<Option<Labels>>();
            let labels = labels.ok_or_else(|| ApiError::validation("the path is not UTF-8"))?;
            return Ok((name, operation, labels));
        }
    }
    Err(ApiError::unknown_operation())
}

/// The segments of a path in the places of `{member}`. They are raw, since an id may hold an encoded `/`.
fn labels<'p>(pattern: &'static str, path: &'p str) -> Option<Vec<(&'static str, &'p str)>> {
    let mut found = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        let segment = segments.next()?;
        match expected.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(member) if !segment.is_empty() => found.push((member, segment)),
            None if expected == segment => {}
            _other => return None,
        }
    }
    segments.next().is_none().then_some(found)
}

impl Operation {
    /// Reads and checks the input of a request.
    ///
    /// # Errors
    /// `ValidationException` that names the place where the request does not fit.
    pub(super) fn input(&self, labels: &Labels, query: &Query, body: &Value) -> Result<Input, ApiError> {
        let member = |name: &str, shape: &str| -> Option<Value> {
            let label = labels.iter().find(|(member, _)| *member == name);
            match (label, self.query.iter().any(|member| member == name)) {
                (Some((_, text)), _) => Some(Value::from(text.clone())),
                (None, true) => queried(query, name, shape),
                (None, false) => body.get(name).cloned(),
            }
        };
        self.input.checked(member, Place::Request).map(Input)
    }
}

/// A member out of the query: all values of a list, a number where one is expected and given.
fn queried(query: &Query, name: &str, shape: &str) -> Option<Value> {
    let text = query.get(name)?;
    Some(match MODEL.shapes.get(shape) {
        Some(Shape::List { .. }) => query.all(name).map(Value::from).collect(),
        Some(Shape::Integer { .. }) => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
        _text => Value::from(text),
    })
}

impl Structure {
    fn checked(
        &self,
        mut member: impl FnMut(&str, &str) -> Option<Value>,
        place: Place<'_>,
    ) -> Result<Map<String, Value>, ApiError> {
        let mut fit = Map::new();
        for (name, shape) in &self.members {
            let here = Place::Member(&place, name);
            match member(name, shape).filter(|value| !value.is_null()) {
                Some(value) => {
                    fit.insert(name.clone(), checked(shape, value, here)?);
                }
                None if self.required.contains(name) => return Err(here.wrong("is required")),
                None => {}
            }
        }
        Ok(fit)
    }
}

/// Checks a value against a shape. It goes as deep as the model does, however deep the value is.
fn checked(shape: &str, value: Value, place: Place<'_>) -> Result<Value, ApiError> {
    let Some(shape) = MODEL.shapes.get(shape) else { return Ok(value) };
    match (shape, value) {
        (Shape::String(text), Value::String(value)) => {
            text.check(&value, place)?;
            Ok(Value::String(value))
        }
        (Shape::Integer { min, max }, Value::Number(number)) => {
            let (min, max) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
            match number.as_i64() {
                None => Err(place.wrong("must be an integer")),
                Some(within) if (min..=max).contains(&within) => Ok(Value::Number(number)),
                Some(_outside) => Err(place.wrong(format!("must be between {min} and {max}"))),
            }
        }
        (Shape::List { member, max }, Value::Array(items)) => {
            at_most(items.len(), *max, "items", place)?;
            let items = items.into_iter().enumerate();
            items.map(|(index, item)| checked(member, item, Place::Item(&place, index))).collect()
        }
        (Shape::Map { key, value, max }, Value::Object(entries)) => {
            at_most(entries.len(), *max, "entries", place)?;
            let mut fit = Map::new();
            for (name, entry) in entries {
                let here = Place::Member(&place, &name);
                if let Some(Shape::String(text)) = MODEL.shapes.get(key) {
                    text.check(&name, here)?;
                }
                let entry = checked(value, entry, here)?;
                fit.insert(name, entry);
            }
            Ok(Value::Object(fit))
        }
        (Shape::Structure(structure), Value::Object(mut members)) => {
            structure.checked(|name, _shape| members.remove(name), place).map(Value::Object)
        }
        (shape, _other) => Err(place.wrong(format!("must be {}", shape.article()))),
    }
}

fn at_most(count: usize, max: Option<usize>, what: &str, place: Place<'_>) -> Result<(), ApiError> {
    match max {
        Some(max) if count > max => Err(place.wrong(format!("must have at most {max} {what}"))),
        _within => Ok(()),
    }
}

impl Shape {
    fn article(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer { .. } => "an integer",
            Self::List { .. } => "a list",
            Self::Map { .. } | Self::Structure(_) => "an object",
        }
    }
}

impl Text {
    fn check(&self, text: &str, place: Place<'_>) -> Result<(), ApiError> {
        if let Some(listed) = &self.listed {
            let known = listed.iter().any(|one| one == text);
            return if known { Ok(()) } else { Err(place.wrong(format!("must be one of {}", listed.join(", ")))) };
        }
        let length = text.chars().count();
        if length < self.min {
            return Err(place.wrong(format!("must have at least {} characters", self.min)));
        }
        if let Some(max) = self.max.filter(|max| length > *max) {
            return Err(place.wrong(format!("must have at most {max} characters")));
        }
        if self.visible && text.chars().all(char::is_whitespace) {
            return Err(place.wrong("must not be blank"));
        }
        Ok(())
    }
}

impl Place<'_> {
    fn wrong(self, what: impl fmt::Display) -> ApiError {
        ApiError::validation(format!("{self}: {what}"))
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => Ok(()),
            Self::Item(list, index) => write!(formatter, "{list}[{index}]"),
            Self::Member(parent, name) => {
                let dot = if matches!(parent, Self::Request) { "" } else { "." };
                write!(formatter, "{parent}{dot}{name:.SHOWN_NAME$}")
            }
        }
    }
}

impl Input {
    /// A member that is a string; empty when it is absent, which the model forbids for those that are asked for so.
    pub(super) fn text(&self, member: &str) -> &str {
        self.optional(member).unwrap_or("")
    }

    /// A member that is a string, if it is there.
    pub(super) fn optional(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str()
    }

    /// The members, by name.
    pub(super) fn members(&self) -> &Map<String, Value> {
        &self.0
    }

    /// The members, typed.
    ///
    /// # Errors
    /// `ValidationException` that names the member.
    pub(super) fn parsed<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        wire::parsed(&Value::Object(self.0.clone()))
    }
}
