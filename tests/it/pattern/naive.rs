//! A second matcher, for comparison only: the event as a tree, every pattern for itself, every choice of values tried.
//!
//! It follows the description of the language and shares nothing with the program's own. It is neither fast nor bounded.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// The branches of a pattern: of each, all fields must hold.
pub struct Naive {
    branches: Vec<Vec<Field>>,
}

#[derive(Clone)]
struct Field {
    path: Vec<String>,
    alternatives: Vec<Value>,
}

/// A value of an event, and the array elements around it: the array, by address, and the element's number.
struct Found<'e> {
    value: &'e Value,
    trail: Vec<(*const Value, usize)>,
}

impl Naive {
    /// Reads a pattern that is known to be good. Of a path that is in it twice the last one in the order of names counts.
    pub fn new(pattern: &Value) -> Self {
        let mut branches = vec![Vec::new()];
        read(pattern.as_object().expect("an object"), &[], &mut branches);
        Self { branches }
    }

    /// Tells whether an event matches.
    pub fn matches(&self, event: &Value) -> bool {
        self.branches.iter().any(|fields| {
            let mut choice = Vec::with_capacity(fields.len());
            choose(fields, event, &mut choice)
        })
    }
}

fn read(members: &Map<String, Value>, path: &[String], branches: &mut Vec<Vec<Field>>) {
    for (name, value) in members {
        let below = || path.iter().cloned().chain(name.split('.').map(str::to_owned)).collect::<Vec<_>>();
        match value {
            Value::Array(items) if name == "$or" => {
                let each = items.iter().flat_map(|item| {
                    let mut own = branches.clone();
                    read(item.as_object().expect("an object"), path, &mut own);
                    own
                });
                *branches = each.collect();
            }
            Value::Array(items) => {
                let field = Field { path: below(), alternatives: items.clone() };
                for branch in branches.iter_mut() {
                    branch.retain(|other| other.path != field.path);
                    branch.push(field.clone());
                }
            }
            inner => read(inner.as_object().expect("an object"), &below(), branches),
        }
    }
}

/// Chooses a value for each field in turn, or none where none may be; then looks whether the choice holds.
fn choose<'e>(fields: &[Field], event: &'e Value, choice: &mut Vec<Option<Found<'e>>>) -> bool {
    let Some(field) = fields.get(choice.len()) else {
        let none_needed = fields.iter().zip(&*choice).filter(|(_, chosen)| chosen.is_none());
        return none_needed.into_iter().all(|(field, _)| {
            let fits = |found: &Found<'_>| choice.iter().flatten().all(|chosen| together(found, chosen));
            !values(event, &field.path).iter().any(fits)
        });
    };
    for found in values(event, &field.path) {
        if field.alternatives.iter().any(|alternative| takes(alternative, found.value))
            && choice.iter().flatten().all(|chosen| together(&found, chosen))
        {
            choice.push(Some(found));
            if choose(fields, event, choice) {
                return true;
            }
            choice.pop();
        }
    }
    if field.alternatives.iter().any(|alternative| alternative["exists"] == Value::Bool(false)) {
        choice.push(None);
        if choose(fields, event, choice) {
            return true;
        }
        choice.pop();
    }
    false
}

/// Whether two values do not sit in different elements of one array.
fn together(one: &Found<'_>, other: &Found<'_>) -> bool {
    one.trail.iter().all(|(array, element)| other.trail.iter().all(|(second, own)| array != second || element == own))
}

/// All values at a path.
fn values<'e>(event: &'e Value, path: &[String]) -> Vec<Found<'e>> {
    let mut found = Vec::new();
    walk(event, path, &mut Vec::new(), &mut found);
    found
}

fn walk<'e>(node: &'e Value, path: &[String], trail: &mut Vec<(*const Value, usize)>, found: &mut Vec<Found<'e>>) {
    match node {
        Value::Object(members) => {
            for taken in 1..=path.len() {
                let name = path[..taken].join(".");
                if let Some(member) = members.get(&name) {
                    walk(member, &path[taken..], trail, found);
                }
            }
        }
        Value::Array(items) => {
            for (element, item) in items.iter().enumerate() {
                let compound = item.is_object() || item.is_array();
                if compound {
                    trail.push((node, element));
                }
                if compound || path.is_empty() {
                    walk(item, path, trail, found);
                }
                if compound {
                    trail.pop();
                }
            }
        }
        value if path.is_empty() => found.push(Found { value, trail: trail.clone() }),
        _value_further_out => {}
    }
}

fn takes(alternative: &Value, value: &Value) -> bool {
    let Value::Object(members) = alternative else { return equal(alternative, value) };
    let (operator, operand) = members.iter().next().expect("an operator");
    let text = value.as_str();
    match operator.as_str() {
        "exists" => operand == &Value::Bool(true),
        "exactly" => equal(operand, value),
        "numeric" => value.as_f64().is_some_and(|number| numeric(operand.as_array().expect("a list"), number)),
        "cidr" => text.is_some_and(|text| cidr(operand.as_str().expect("a text"), text)),
        "anything-but" => match operand {
            Value::Array(items) => !items.iter().any(|item| equal(item, value)),
            Value::Object(inner) => {
                let (operator, operand) = inner.iter().next().expect("an operator");
                let one = std::slice::from_ref(operand);
                let operands = operand.as_array().map_or(one, Vec::as_slice);
                !operands.iter().any(|operand| text.is_some_and(|text| textual(operator, operand, text)))
            }
            scalar => !equal(scalar, value),
        },
        operator => text.is_some_and(|text| textual(operator, operand, text)),
    }
}

fn equal(wanted: &Value, value: &Value) -> bool {
    match (wanted, value) {
        (Value::Number(wanted), Value::Number(value)) => wanted.as_f64() == value.as_f64(),
        _other => wanted == value,
    }
}

fn numeric(terms: &[Value], number: f64) -> bool {
    terms.chunks(2).all(|term| {
        let bound = term[1].as_f64().expect("a number");
        match term[0].as_str().expect("an operator") {
            "=" => number == bound,
            "<" => number < bound,
            "<=" => number <= bound,
            ">" => number > bound,
            ">=" => number >= bound,
            other => unreachable!("{other}"),
        }
    })
}

fn textual(operator: &str, operand: &Value, text: &str) -> bool {
    if let Some(own) = operand.get("equals-ignore-case").and_then(Value::as_str) {
        let (own, text): (Vec<char>, Vec<char>) = (own.chars().collect(), text.chars().collect());
        let Some(spare) = text.len().checked_sub(own.len()) else { return false };
        let part = if operator == "prefix" { &text[..own.len()] } else { &text[spare..] };
        return part.iter().zip(own).all(|(one, other)| same(*one, other));
    }
    let own = operand.as_str().expect("a text");
    match operator {
        "prefix" => text.starts_with(own),
        "suffix" => text.ends_with(own),
        "equals-ignore-case" => {
            text.chars().count() == own.chars().count() && text.chars().zip(own.chars()).all(|(a, b)| same(a, b))
        }
        "wildcard" => wildcard(&own.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>()),
        other => unreachable!("{other}"),
    }
}

fn same(one: char, other: char) -> bool {
    one == other || one.to_lowercase().eq(other.to_lowercase()) || one.to_uppercase().eq(other.to_uppercase())
}

fn wildcard(own: &[char], text: &[char]) -> bool {
    match own {
        [] => text.is_empty(),
        ['*', rest @ ..] => (0..=text.len()).any(|skipped| wildcard(rest, &text[skipped..])),
        ['\\', escaped, rest @ ..] => text.first() == Some(escaped) && wildcard(rest, &text[1..]),
        [letter, rest @ ..] => text.first() == Some(letter) && wildcard(rest, &text[1..]),
    }
}

fn cidr(range: &str, text: &str) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (network, length) = range.split_once('/').expect("a range");
    let length: usize = length.parse().expect("a length");
    let (Ok(network), Ok(address)) = (network.parse().map(bits), text.parse().map(bits)) else { return false };
    let bit = |bytes: &[u8], at: usize| bytes[at / 8] >> (7 - at % 8) & 1;
    network.len() == address.len() && (0..length).all(|at| bit(&network, at) == bit(&address, at))
}
