//! Lines and components of a calendar, before their meaning (RFC 5545, 3.1).
//!
//! Strict where a lenient reader would guess: a file that was cut short has a `BEGIN` without its `END` and is refused.

use super::{CalendarError, MAX_TEXT, Problem};

/// Deepest nesting of components; calendars have three levels.
const MAX_DEPTH: usize = 8;

/// A component: what is between `BEGIN` and `END`.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) properties: Vec<Property>,
    pub(super) children: Vec<Component>,
}

/// A property: `NAME;PARAMETER=VALUE:VALUE`.
#[derive(Debug)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) name: String,
    parameters: Vec<(String, String)>,
    pub(super) value: String,
}

impl Property {
    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// An error at this property.
    pub(super) fn error(&self, problem: Problem) -> CalendarError {
        CalendarError { line: self.line, problem }
    }

    /// The error that the value is none for this property.
    pub(super) fn refused(&self) -> CalendarError {
        self.error(Problem::Value { name: self.name.clone(), value: short(&self.value) })
    }
}

impl Component {
    /// The one property of a name.
    ///
    /// # Errors
    /// [`Problem::Repeated`].
    pub(super) fn one(&self, name: &'static str) -> Result<Option<&Property>, CalendarError> {
        let mut found = self.all(name);
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.error(Problem::Repeated { name })),
            None => Ok(first),
        }
    }

    /// All properties of a name.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &Property> {
        self.properties.iter().filter(move |property| property.name == name)
    }
}

/// Reads the calendar's component.
///
/// # Errors
/// [`CalendarError`].
pub(super) fn parsed(text: &str) -> Result<Component, CalendarError> {
    let at = |line: usize, problem: Problem| CalendarError { line, problem };
    if text.len() > MAX_TEXT {
        return Err(at(1, Problem::TooLong { limit: MAX_TEXT }));
    }
    let mut open: Vec<Component> = Vec::new();
    let mut root = None;
    for (line, text) in unfolded(text.trim_start_matches('\u{feff}')) {
        let property = property(line, &text).ok_or_else(|| at(line, Problem::Line))?;
        let name = property.value.trim().to_ascii_uppercase();
        let unbalanced = |name: &str| at(line, Problem::Unbalanced { name: name.to_owned() });
        match (property.name.as_str(), open.last_mut()) {
            (_, None) if root.is_some() => {
                return Err(at(line, Problem::Unsupported { what: "more than one calendar" }));
            }
            ("BEGIN", parent) if parent.is_some() || name == "VCALENDAR" => {
                if open.len() >= MAX_DEPTH {
                    return Err(unbalanced(&name));
                }
                open.push(Component { name, line, properties: Vec::new(), children: Vec::new() });
            }
            (_, None) => return Err(at(line, Problem::NotACalendar)),
            ("END", Some(current)) if current.name == name => {
                let ended = open.pop();
                match open.last_mut() {
                    Some(parent) => parent.children.extend(ended),
                    None => root = ended,
                }
            }
            ("END", Some(_)) => return Err(unbalanced(&name)),
            (_, Some(current)) => current.properties.push(property),
        }
    }
    match (open.pop(), root) {
        (Some(open), _) => Err(at(open.line, Problem::Unbalanced { name: open.name })),
        (None, Some(root)) => Ok(root),
        (None, None) => Err(at(1, Problem::NotACalendar)),
    }
}

/// Lines with their numbers, those that go on in the next one put together, empty ones left out.
fn unfolded(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(rest), Some((_, last))) => last.push_str(rest),
            _new if line.trim().is_empty() => {}
            _new => lines.push((number + 1, line.to_owned())),
        }
    }
    lines
}

/// Splits a line at the colon and semicolons that are not quoted.
fn property(line: usize, text: &str) -> Option<Property> {
    let (mut quoted, mut colon) = (false, None);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ':' if !quoted => {
                colon = Some(at);
                break;
            }
            _other => {}
        }
    }
    let (head, value) = text.split_at_checked(colon?)?;
    let mut parts = Vec::new();
    let (mut quoted, mut part) = (false, String::new());
    for c in head.chars() {
        match c {
            '"' => quoted = !quoted,
            ';' if !quoted => parts.push(std::mem::take(&mut part)),
            c => part.push(c),
        }
    }
    parts.push(part);
    let mut parts = parts.into_iter();
    let name = parts.next()?.to_ascii_uppercase();
    let well_formed = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let parameters = parts.map(|part| {
        let (key, value) = part.split_once('=')?;
        Some((key.to_ascii_uppercase(), value.to_owned()))
    });
    let parameters = parameters.collect::<Option<Vec<_>>>()?;
    let value = value.strip_prefix(':')?.to_owned();
    well_formed.then_some(Property { line, name, parameters, value })
}

/// The beginning of a value, for a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(100).collect()
}
