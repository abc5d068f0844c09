//! Patterns and events made up from a seed or from any bytes: small, alike, and about as often a match as not.
//!
//! An event is written with white space, escapes and names that come twice; a pattern is built around values that the
//! event has. Shared by the tests and by `tests/fuzz`.

use serde_json::{Map, Value, json};

/// Choices, one after the other.
pub struct Source<'b> {
    bytes: &'b [u8],
    state: Option<u64>,
}

impl<'b> Source<'b> {
    /// Endless choices that a seed decides.
    pub fn seeded(seed: u64) -> Self {
        Self { bytes: &[], state: Some(seed) }
    }

    /// Choices out of bytes; when these are used up, always the first one.
    pub fn of(bytes: &'b [u8]) -> Self {
        Self { bytes, state: None }
    }

    /// A number below `count`, which must not be zero.
    pub fn below(&mut self, count: usize) -> usize {
        let Some(state) = &mut self.state else {
            let Some((first, rest)) = self.bytes.split_first() else { return 0 };
            self.bytes = rest;
            return usize::from(*first) % count;
        };
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(count).expect("a count")).expect("an index")
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn pick<'p, T: ?Sized>(&mut self, from: &[&'p T]) -> &'p T {
        from[self.below(from.len())]
    }
}

const NAMES: [&str; 4] = ["a", "b", "c", "longer name"];
const TEXTS: [&str; 26] = [
    "",
    "a",
    "ab",
    "abc",
    "abcabc",
    "b",
    "B",
    "aB",
    "ABC",
    "é",
    "É",
    "ß",
    "Σ",
    "ς",
    "σx",
    "10.0.0.1",
    "10.1.2.3",
    "::1",
    "2001:db8::5",
    "*",
    "a*b",
    "\\",
    "a\\b",
    "a.b",
    "𐐀b",
    "true",
];
const NUMBERS: [&str; 14] =
    ["0", "-0.0", "1", "1.0", "1e0", "2.5", "-3", "100", "1e2", "100.5", "-1e-3", "12345678901", "0.1", "1E+2"];
const RANGES: [&str; 6] = ["10.0.0.0/8", "10.0.0.0/15", "10.0.0.1/31", "::/0", "2001:db8::/32", "0.0.0.0/0"];

/// A value, its path of names, as it is found in an event.
type Leaf = (Vec<String>, Value);

/// An event: as a value, and as it is written.
pub fn event(source: &mut Source<'_>) -> (Value, String) {
    let value = object(source, 3);
    let mut text = String::new();
    write(&value, source, &mut text);
    (value, text)
}

fn object(source: &mut Source<'_>, depth: usize) -> Value {
    let mut members = Map::new();
    for _ in 0..source.below(4) + usize::from(depth == 3) {
        let name = source.pick(&NAMES).to_owned();
        members.insert(name, node(source, depth - 1));
    }
    if source.one_in(8) {
        members.insert(format!("{}.{}", source.pick(&NAMES), source.pick(&NAMES)), scalar(source));
    }
    Value::Object(members)
}

fn node(source: &mut Source<'_>, depth: usize) -> Value {
    match source.below(6) {
        0 | 1 if depth > 0 => object(source, depth),
        2 | 3 if depth > 0 => (0..source.below(4)).map(|_| node(source, depth - 1)).collect(),
        4 => (0..source.below(4)).map(|_| scalar(source)).collect(),
        _other => scalar(source),
    }
}

fn scalar(source: &mut Source<'_>) -> Value {
    match source.below(8) {
        0 => Value::Null,
        1 => Value::Bool(source.one_in(2)),
        2 | 3 => serde_json::from_str(source.pick(&NUMBERS)).expect("a number"),
        _text => Value::from(source.pick(&TEXTS)),
    }
}

fn write(value: &Value, source: &mut Source<'_>, out: &mut String) {
    if source.one_in(9) {
        out.push_str(source.pick(&[" ", "\n", "\t  ", "\r\n"]));
    }
    match value {
        Value::Object(members) => {
            out.push('{');
            for (number, (name, member)) in members.iter().enumerate() {
                if number > 0 {
                    out.push(',');
                }
                if source.one_in(12) {
                    // The first one of the name counts for nothing.
                    write_text(name, source, out);
                    out.push(':');
                    out.push_str(source.pick(&["1", "\"a\"", "{\"a\":[1,{\"b\":\"}\"}]}", "[[],[{\"a\":1}]]", "null"]));
                    out.push(',');
                }
                write_text(name, source, out);
                out.push_str(source.pick(&[":", ":", ":", " : "]));
                write(member, source, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push_str(source.pick(&[",", ",", ", "]));
                }
                write(item, source, out);
            }
            out.push(']');
        }
        Value::String(text) => write_text(text, source, out),
        other => out.push_str(&other.to_string()),
    }
    if source.one_in(20) {
        out.push(' ');
    }
}

fn write_text(text: &str, source: &mut Source<'_>, out: &mut String) {
    if !source.one_in(6) {
        out.push_str(&Value::from(text).to_string());
        return;
    }
    out.push('"');
    text.encode_utf16().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
    out.push('"');
}

/// A pattern that EventBridge would take, built around an event.
pub fn pattern(source: &mut Source<'_>, event: &Value) -> Value {
    let mut leaves = Vec::new();
    collect(event, &mut Vec::new(), &mut leaves);
    let mut root = Map::new();
    for _ in 0..=source.below(4) {
        field(source, &leaves, &mut root);
    }
    if source.one_in(4) {
        let mut branches = Vec::new();
        for _ in 0..2 + source.below(2) {
            let mut branch = Map::new();
            for _ in 0..=source.below(2) {
                field(source, &leaves, &mut branch);
            }
            branches.push(Value::Object(branch));
        }
        root.insert("$or".to_owned(), Value::Array(branches));
    }
    Value::Object(root)
}

fn collect(node: &Value, path: &mut Vec<String>, leaves: &mut Vec<Leaf>) {
    match node {
        Value::Object(members) => {
            for (name, member) in members {
                path.push(name.clone());
                collect(member, path, leaves);
                path.pop();
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, path, leaves)),
        scalar => leaves.push((path.clone(), scalar.clone())),
    }
}

/// Adds a field; one that would share its place with another replaces it.
fn field(source: &mut Source<'_>, leaves: &[Leaf], root: &mut Map<String, Value>) {
    let known = (!leaves.is_empty() && !source.one_in(5)).then(|| &leaves[source.below(leaves.len())]);
    let (path, value) = match known {
        Some((path, value)) => (path.clone(), Some(value)),
        None => ((0..=source.below(2)).map(|_| source.pick(&NAMES).to_owned()).collect(), None),
    };
    let mut alternatives: Vec<Value> = Vec::new();
    if known.is_none() && !source.one_in(3) {
        alternatives.push(json!({"exists": false}));
    }
    if let Some(value) = value.filter(|_| !source.one_in(3)) {
        alternatives.push(fitting(source, value));
    }
    while alternatives.is_empty() || alternatives.len() < 4 && source.one_in(6) {
        alternatives.push(alternative(source));
    }
    // A name with dots is a place of its own only beside no other that begins alike.
    let path: Vec<String> = path.iter().flat_map(|name| name.split('.')).map(str::to_owned).collect();
    let Some((last, names)) = path.split_last() else { return };
    if !names.is_empty() && source.one_in(6) && !root.contains_key(&path[0]) {
        let flat = path.join(".");
        if !root.keys().any(|name| name.starts_with(&format!("{}.", path[0]))) {
            root.insert(flat, Value::Array(alternatives));
        }
        return;
    }
    if root.keys().any(|name| name.starts_with(&format!("{}.", path[0]))) {
        return;
    }
    let mut at = root;
    for name in names {
        let below = at.entry(name.clone()).or_insert_with(|| json!({}));
        let Value::Object(members) = below else { return };
        at = members;
    }
    if !at.get(last).is_some_and(Value::is_object) {
        at.insert(last.clone(), Value::Array(alternatives));
    }
}

/// An alternative that takes a value.
fn fitting(source: &mut Source<'_>, value: &Value) -> Value {
    let Some(text) = value.as_str() else {
        let Some(number) = value.as_f64() else {
            return if source.one_in(2) { value.clone() } else { json!({"anything-but": "x"}) };
        };
        return match source.below(5) {
            0 => value.clone(),
            1 => json!({"numeric": ["=", number]}),
            2 => json!({"numeric": [">=", number, "<", number + 1.0]}),
            3 => json!({"numeric": ["<=", number]}),
            _other => json!({"anything-but": [number + 1.0, number - 2.0]}),
        };
    };
    let cut = |at: usize| text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(at).unwrap_or(text.len());
    let at = cut(source.below(4));
    let escaped = |part: &str| part.replace('\\', "\\\\").replace('*', "\\*");
    match source.below(11) {
        0 | 1 => value.clone(),
        2 => json!({"prefix": text[..at]}),
        3 => json!({"suffix": text[at..]}),
        4 => json!({"prefix": {"equals-ignore-case": text[..at].to_lowercase()}}),
        5 => json!({"suffix": {"equals-ignore-case": text[at..].to_uppercase()}}),
        6 => json!({"equals-ignore-case": text.to_uppercase()}),
        7 => json!({"wildcard": format!("{}*", escaped(&text[..at]))}),
        8 if at < text.len() => json!({"wildcard": format!("*{}*", escaped(&text[at..]))}),
        9 => json!({"anything-but": {source.pick(&["prefix", "suffix", "wildcard", "equals-ignore-case"]): "zz"}}),
        _other => json!({"exists": true}),
    }
}

/// Any alternative.
fn alternative(source: &mut Source<'_>) -> Value {
    let text = source.pick(&TEXTS);
    let other = source.pick(&TEXTS[1..]);
    let number: Value = serde_json::from_str(source.pick(&NUMBERS)).expect("a number");
    let wildcard = source.pick(&["*", "a*", "*b", "a*c*", "*b*b*", "\\**", "*\\\\*", "", "a\\*b", "*é*"]);
    match source.below(16) {
        0 | 1 => scalar(source),
        2 => json!({"prefix": text}),
        3 => json!({"suffix": text}),
        4 => json!({"prefix": {"equals-ignore-case": text}}),
        5 => json!({"suffix": {"equals-ignore-case": text}}),
        6 => json!({"equals-ignore-case": text}),
        7 => json!({"wildcard": wildcard}),
        8 => json!({"anything-but": [text, other]}),
        9 => json!({"anything-but": number}),
        10 => json!({"anything-but": {source.pick(&["prefix", "suffix", "equals-ignore-case"]): [other, "b"]}}),
        11 => json!({"anything-but": {"wildcard": [wildcard]}}),
        12 => json!({"numeric": [source.pick(&["<", "<=", ">", ">=", "="]), number]}),
        13 => json!({"cidr": source.pick(&RANGES)}),
        14 => json!({"exists": source.one_in(2)}),
        _other => json!({"exactly": text}),
    }
}

/// Changes a few bytes of a text, or copies a part of it elsewhere.
pub fn mutated(source: &mut Source<'_>, text: &str) -> String {
    const BYTES: &[u8] = b"{}[]\",:.*\\ae0159-+ \n\x01tfnu\xff\xed\xa0";
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=source.below(4) {
        let at = source.below(bytes.len() + 1);
        let to = (at + source.below(8)).min(bytes.len());
        let byte = BYTES[source.below(BYTES.len())];
        match source.below(4) {
            0 => bytes.insert(at, byte),
            1 => drop(bytes.drain(at..to)),
            2 => {
                let part = bytes[at..to].to_vec();
                let elsewhere = source.below(bytes.len() + 1);
                bytes.splice(elsewhere..elsewhere, part);
            }
            _replaced => bytes[at..to].iter_mut().take(1).for_each(|old| *old = byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
