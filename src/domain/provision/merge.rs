//! Many patterns to few: the patterns of rules that together match what the triggers match, no more and no less.
//!
//! An event matches a pattern when a choice of its leaves satisfies every field by one alternative. So two patterns that
//! differ in the alternatives of one field are one pattern with the alternatives of both, and one with long lists is
//! several with parts of them. A pattern that another one covers is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::ProvisionError;

/// Longest pattern of a rule, in bytes (Amazon EventBridge user guide, quotas: 2,048 characters, adjustable).
pub const MAX_PATTERN_BYTES: usize = 2_048;

/// Most that the wildcards of a rule may add up to by [`wildcard_score`]; EventBridge refuses a rule with many as too
/// complex. It does not say when: rules with a score of 9 were taken, one with 11 was not.
const MAX_WILDCARD_SCORE: usize = 10;

/// Most patterns that are compared with each other after they were merged.
const MAX_MERGED: usize = 1_000;

/// A pattern by the path of each field, with its alternatives sorted and each once. `$or` is a field like any other.
type Fields = BTreeMap<Vec<String>, Vec<Value>>;

/// Patterns in the order of their texts, each once.
type ByText = BTreeMap<String, Fields>;

/// Finds the patterns of rules for some patterns, in an order that depends on nothing else.
///
/// # Errors
/// [`ProvisionError`] when a pattern cannot be made short enough, or there are too many.
pub fn merged(patterns: &[&Value]) -> Result<Vec<Value>, ProvisionError> {
    let fields = |pattern: &Value| {
        let mut fields = Fields::new();
        flatten(pattern, &mut Vec::new(), &mut fields);
        fields
    };
    let mut rules: BTreeSet<String> = BTreeSet::new();
    let few = united(by_text(patterns.iter().map(|pattern| fields(pattern))));
    if few.len() > MAX_MERGED {
        return Err(ProvisionError::TooManyRules { count: few.len(), most: MAX_MERGED });
    }
    for fields in uncovered(few) {
        split(fields, &mut rules)?;
    }
    Ok(rules.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

fn flatten(pattern: &Value, path: &mut Vec<String>, fields: &mut Fields) {
    match pattern {
        Value::Object(members) => {
            for (key, value) in members {
                path.push(key.clone());
                flatten(value, path, fields);
                path.pop();
            }
        }
        Value::Array(alternatives) => {
            fields.insert(path.clone(), sorted(alternatives.clone()));
        }
        // No pattern that was parsed has a scalar here.
        scalar => {
            fields.insert(path.clone(), vec![scalar.clone()]);
        }
    }
}

fn by_text(patterns: impl Iterator<Item = Fields>) -> ByText {
    patterns.map(|fields| (pattern(&fields).to_string(), fields)).collect()
}

/// Tells whether the alternatives at a path are values. Branches of `$or` are left as they are: EventBridge limits how
/// many there may be.
fn is_list(path: &[String]) -> bool {
    path.last().is_none_or(|key| key != "$or")
}

fn sorted(mut alternatives: Vec<Value>) -> Vec<Value> {
    alternatives.sort_by_cached_key(Value::to_string);
    alternatives.dedup();
    alternatives
}

fn pattern(fields: &Fields) -> Value {
    let mut root = Value::Null;
    for (path, alternatives) in fields {
        // A key of an object has one value, so no path leads through another one's alternatives.
        let place = path.iter().fold(&mut root, |at, key| &mut at[key]);
        *place = Value::Array(alternatives.clone());
    }
    root
}

/// Unites patterns that differ in one field, again and again until none is left.
fn united(mut patterns: ByText) -> Vec<Fields> {
    loop {
        let before = patterns.len();
        let paths: BTreeSet<Vec<String>> = patterns.values().flat_map(|fields| fields.keys().cloned()).collect();
        for path in paths.iter().filter(|path| is_list(path)) {
            patterns = united_at(patterns, path);
        }
        if patterns.len() == before {
            return patterns.into_values().collect();
        }
    }
}

/// Unites the patterns that differ in the alternatives at one path only.
fn united_at(patterns: ByText, path: &[String]) -> ByText {
    let mut done = Vec::new();
    let mut alike: BTreeMap<String, Fields> = BTreeMap::new();
    for mut fields in patterns.into_values() {
        let Some(mut alternatives) = fields.remove(path) else {
            done.push(fields);
            continue;
        };
        let rest = pattern(&fields).to_string();
        let Some(other) = alike.get_mut(&rest) else {
            fields.insert(path.to_vec(), alternatives);
            alike.insert(rest, fields);
            continue;
        };
        alternatives.extend(other.get(path).into_iter().flatten().cloned());
        let mut union = fields.clone();
        union.insert(path.to_vec(), sorted(alternatives.clone()));
        if score(&union) <= MAX_WILDCARD_SCORE {
            *other = union;
        } else {
            alternatives.truncate(alternatives.len() - other.get(path).map_or(0, Vec::len));
            fields.insert(path.to_vec(), alternatives);
            done.push(std::mem::replace(other, fields));
        }
    }
    by_text(done.into_iter().chain(alike.into_values()))
}

/// Drops every pattern that another one covers.
fn uncovered(patterns: Vec<Fields>) -> Vec<Fields> {
    let covers = |wide: &Fields, narrow: &Fields| {
        let within = |(path, all): (&Vec<String>, &Vec<Value>)| {
            narrow.get(path).is_some_and(|some| some.iter().all(|alternative| all.contains(alternative)))
        };
        wide != narrow && wide.iter().all(within)
    };
    let kept = patterns.iter().filter(|narrow| !patterns.iter().any(|wide| covers(wide, narrow)));
    kept.cloned().collect()
}

/// Splits a pattern that is too long or too complex at its longest list, as often as it takes.
fn split(fields: Fields, rules: &mut BTreeSet<String>) -> Result<(), ProvisionError> {
    let text = pattern(&fields).to_string();
    let complex = score(&fields) > MAX_WILDCARD_SCORE;
    if text.len() <= MAX_PATTERN_BYTES && !complex {
        rules.insert(text);
        return Ok(());
    }
    let can_be_split = |(path, alternatives): &(&Vec<String>, &Vec<Value>)| alternatives.len() > 1 && is_list(path);
    // Of a pattern that is too complex only lists with wildcards are of interest.
    let weight = |alternatives: &Vec<Value>| {
        let texts = alternatives.iter().map(|a| a.to_string().len()).sum::<usize>();
        if complex { alternatives.iter().map(wildcard_score).sum() } else { texts }
    };
    let longest = fields.iter().filter(can_be_split).max_by_key(|(_, alternatives)| weight(alternatives));
    match longest.map(|(path, alternatives)| (path.clone(), alternatives.clone())) {
        Some((path, alternatives)) if weight(&alternatives) > 0 => {
            let (left, right) = alternatives.split_at(alternatives.len() / 2);
            for half in [left, right] {
                split(Fields::from_iter(fields.clone().into_iter().chain([(path.clone(), half.to_vec())])), rules)?;
            }
            Ok(())
        }
        // EventBridge itself has the last word on what is too complex.
        _ if text.len() <= MAX_PATTERN_BYTES => {
            rules.insert(text);
            Ok(())
        }
        _ => Err(ProvisionError::PatternTooLong { bytes: text.len(), begin: text.chars().take(100).collect() }),
    }
}

fn score(fields: &Fields) -> usize {
    fields.values().flatten().map(wildcard_score).sum()
}

/// Returns no less than what EventBridge's matcher counts for the wildcards inside of an alternative: one, and two for
/// each asterisk.
fn wildcard_score(alternative: &Value) -> usize {
    let of_text = |text: &str| 1 + 2 * text.matches('*').count();
    match alternative {
        Value::Object(members) => members
            .iter()
            .map(|(key, value)| match (key.as_str(), value) {
                ("wildcard", Value::String(text)) => of_text(text),
                ("wildcard", Value::Array(texts)) => texts.iter().filter_map(Value::as_str).map(of_text).sum(),
                (_, inner) => wildcard_score(inner),
            })
            .sum(),
        Value::Array(items) => items.iter().map(wildcard_score).sum(),
        _scalar => 0,
    }
}
