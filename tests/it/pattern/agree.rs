//! Whether the program's matcher and the naive one agree. Shared by the tests and by `tests/fuzz`.

use firedrill::domain::pattern::{Explanation, Matcher, Pattern};
use serde_json::Value;

use super::{
    generated::{self, Source},
    naive::Naive,
};

/// Patterns that are asked of one event.
const PATTERNS: usize = 6;

/// Makes up an event and patterns, asks both matchers in every way, and returns how many patterns matched.
pub fn check(source: &mut Source<'_>) -> usize {
    let (value, text) = generated::event(source);
    let read: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, value, "{text}");
    let patterns: Vec<Value> = (0..PATTERNS).map(|_| generated::pattern(source, &value)).collect();
    let parsed: Vec<Pattern> = patterns.iter().map(parsed).collect();
    let matched = compare(&patterns, &parsed, &text, &value);

    // The same with a text that nobody meant, as long as it is an event still.
    let text = generated::mutated(source, &text);
    let found = Matcher::new(&parsed).matching(&text);
    match serde_json::from_str::<Value>(&text) {
        Ok(value) if value.is_object() && is_plain(&value) => {
            compare(&patterns, &parsed, &text, &value);
        }
        Ok(value) => assert_eq!(found.is_ok(), value.is_object(), "{text}"),
        Err(_) => {}
    }
    // A pattern that nobody meant is taken or refused.
    let text = generated::mutated(source, &patterns[0].to_string());
    if let Ok(pattern) = Pattern::parse_text(&text) {
        let again = Pattern::parse_text(pattern.as_text()).expect("the pattern as it was read");
        assert_eq!(pattern, again, "{text}");
        pattern.explain(&value.to_string()).expect("an event");
    }
    matched
}

fn parsed(pattern: &Value) -> Pattern {
    Pattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error} at `{}`", error.path))
}

fn compare(patterns: &[Value], parsed: &[Pattern], text: &str, value: &Value) -> usize {
    let wanted: Vec<bool> = patterns.iter().map(|pattern| Naive::new(pattern).matches(value)).collect();
    let many = Matcher::new(parsed).matching(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    for (own, (pattern, wanted)) in parsed.iter().zip(&wanted).enumerate() {
        let case = format!("{} on {text}", patterns[own]);
        assert_eq!(pattern.matches_text(text), Ok(*wanted), "alone: {case}");
        assert_eq!(many.contains(&own), *wanted, "among others: {case}");
        let explained = pattern.explain(text).expect("an event");
        assert_eq!(explained == Explanation::Match, *wanted, "{explained}: {case}");
    }
    wanted.into_iter().filter(|wanted| *wanted).count()
}

/// Tells whether no name with dots leads to an array: two arrays at one place are a matter of definition, and the naive
/// matcher has another one.
fn is_plain(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().all(|(name, member)| {
            is_plain(member) && (!name.contains('.') || !member.is_array() && !member.is_object())
        }),
        Value::Array(items) => items.iter().all(is_plain),
        _scalar => true,
    }
}
