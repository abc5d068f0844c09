//! Many patterns to few: the patterns of rules that together match what the triggers match, no more and no less.
//!
//! An event matches a pattern when a choice of its leaves satisfies every field by one alternative. So two patterns that
//! differ in the alternatives of one field are one pattern with the alternatives of both, and one with long lists is
//! several with parts of them. A pattern that another one covers is left out, and a wildcard that is no more than a
//! beginning or an end is written as that: EventBridge takes few wildcards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::ProvisionError;

/// Longest pattern of a rule, in bytes (Amazon EventBridge user guide, quotas: 2,048 characters, adjustable).
pub const MAX_PATTERN_BYTES: usize = 2_048;

/// Most that the wildcards of a rule may add up to by [`wildcard_score`]: EventBridge refuses a rule with more as too
/// complex. It does not say when; rules with a score of 9 were taken, one with 11 was not.
const MAX_WILDCARD_SCORE: usize = 9;

/// Most rules with wildcards on a bus (Amazon EventBridge user guide, quotas; it cannot be raised).
const MAX_WILDCARD_RULES: usize = 30;

/// Most patterns that are compared with each other after they were merged, and most that come of splitting.
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
    let rules: Vec<Value> = rules.iter().filter_map(|text| serde_json::from_str(text).ok()).collect();
    let count = rules.iter().filter(|rule| wildcard_score(rule) > 0).count();
    if count > MAX_WILDCARD_RULES {
        return Err(ProvisionError::TooManyWildcards { count, most: MAX_WILDCARD_RULES });
    }
    Ok(rules)
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
            fields.insert(path.clone(), sorted(alternatives.iter().map(plain).collect()));
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

/// Writes a wildcard that only says how a text begins, or ends, as what it is.
fn plain(alternative: &Value) -> Value {
    let text = alternative.get("wildcard").and_then(Value::as_str).filter(|text| !text.contains('\\'));
    let inner = |text: &str| !text.contains('*');
    match text.map(|text| (text.strip_suffix('*'), text.strip_prefix('*'))) {
        Some((Some(prefix), _)) if inner(prefix) => json!({ "prefix": prefix }),
        Some((_, Some(suffix))) if inner(suffix) => json!({ "suffix": suffix }),
        _ => alternative.clone(),
    }
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

/// Splits a pattern that is too complex or too long at the list that makes it so most, as often as it takes.
fn split(fields: Fields, rules: &mut BTreeSet<String>) -> Result<(), ProvisionError> {
    if rules.len() > MAX_MERGED {
        return Err(ProvisionError::TooManyRules { count: rules.len(), most: MAX_MERGED });
    }
    let text = pattern(&fields).to_string();
    let heaviest = |weight: fn(&Value) -> usize| {
        let lists = fields.iter().filter(|(path, alternatives)| alternatives.len() > 1 && is_list(path));
        let weighed = lists.map(|(path, all)| (all.iter().map(weight).sum::<usize>(), path));
        weighed.filter(|(weight, _)| *weight > 0).max().map(|(_, path)| path.clone())
    };
    let too_long = text.len() > MAX_PATTERN_BYTES;
    let length = |alternative: &Value| alternative.to_string().len();
    let complex = (score(&fields) > MAX_WILDCARD_SCORE).then(|| heaviest(wildcard_score)).flatten();
    let weight = if complex.is_some() { wildcard_score } else { length };
    match complex.or_else(|| too_long.then(|| heaviest(length)).flatten()) {
        Some(path) => {
            // Half of what weighs goes to one side.
            let alternatives = fields.get(&path).cloned().unwrap_or_default();
            let (heavy, rest): (Vec<_>, Vec<_>) = alternatives.into_iter().partition(|one| weight(one) > 0);
            let (left, right) = heavy.split_at(heavy.len().div_ceil(2));
            for half in [left.to_vec(), right.iter().cloned().chain(rest).collect()] {
                let mut part = fields.clone();
                part.insert(path.clone(), sorted(half));
                split(part, rules)?;
            }
            Ok(())
        }
        None if too_long => {
            Err(ProvisionError::PatternTooLong { bytes: text.len(), begin: text.chars().take(100).collect() })
        }
        // What is too complex by itself is left to EventBridge to judge.
        None => {
            rules.insert(text);
            Ok(())
        }
    }
}

fn score(fields: &Fields) -> usize {
    fields.values().flatten().map(wildcard_score).sum()
}

/// Returns no less than what EventBridge's matcher counts for the wildcards inside of an alternative or a pattern.
fn wildcard_score(alternative: &Value) -> usize {
    let of_text = |text: &str| (2 * text.matches('*').count()).saturating_sub(1).max(2);
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
