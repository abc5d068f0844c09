//! Catalogue: what events of the services that deploy look like, to doubt patterns that match none of them.
//!
//! Pure. A doubt is raised only about sources that stand here, and says what is known, not what is possible. Sources: the
//! samples and the lists of states of the user guides of CodeDeploy, CodePipeline, ECS, ECR, EKS, CloudFormation, AppConfig,
//! EC2 Auto Scaling and FIS on their EventBridge events.

mod known;

use std::{collections::BTreeSet, sync::LazyLock};

use serde_json::{Map, Value, json};

use self::known::{CLOSED, CLOUDTRAIL, DETAIL_TYPES, TRAPS, VALUES};
use crate::domain::{pattern::Pattern, words::did_you_mean};

/// Bodies as they arrive, one a line: `{"name", "body"}`.
const SAMPLES: &str = include_str!("catalogue/samples.jsonl");

/// Bytes that two values have in common at least, of which one may have been meant by the other.
const KINDRED_BYTES: usize = 5;

/// Least length of a source that another may be a mistake for.
const MISSPELT_BYTES: usize = "aws.appconfig".len();

/// What a mistake has in common with what was meant: `aws.config` is not meant to be `aws.appconfig`.
const ALIKE_BYTES: usize = "aws.ap".len();

/// Why a pattern can match no event that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// Keys of the pattern on the way to what is doubtful.
    pub path: Vec<String>,
    /// What is known.
    pub message: String,
    /// What would match.
    pub hint: Option<String>,
}

/// Returns the samples by name: EventBridge events, and bodies of other forms.
pub fn samples() -> impl Iterator<Item = (String, Value)> {
    // They are ours: a test reads every line.
    SAMPLES.lines().filter_map(|line| {
        let mut sample: Value = serde_json::from_str(line).ok()?;
        Some((sample["name"].as_str()?.to_owned(), sample["body"].take()))
    })
}

/// One kind of event.
struct Kind {
    source: String,
    detail_type: String,
    /// Paths of what is in `detail`, joined with dots, `detail.` first; empty when no sample is known.
    fields: BTreeSet<String>,
}

/// Read once: a configuration may have thousands of patterns.
static KINDS: LazyLock<Vec<Kind>> = LazyLock::new(kinds);

fn kinds() -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    for (source, types) in DETAIL_TYPES {
        for detail_type in types.iter().chain(CLOUDTRAIL) {
            let (source, detail_type) = ((*source).to_owned(), (*detail_type).to_owned());
            kinds.push(Kind { source, detail_type, fields: BTreeSet::new() });
        }
    }
    for (_, body) in samples() {
        let is = |kind: &&mut Kind| body["source"] == kind.source && body["detail-type"] == kind.detail_type;
        if let Some(kind) = kinds.iter_mut().find(is) {
            collect(&body["detail"], "detail", &mut kind.fields);
        }
    }
    kinds
}

/// Collects the paths of a value, of objects too.
fn collect(value: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let Value::Object(members) = value else { return };
    for (key, value) in members {
        let path = format!("{path}.{key}");
        collect(value, &path, fields);
        fields.insert(path);
    }
}

/// Says why a pattern can match no known event. What stands in `$or` is not looked at.
pub fn doubts(pattern: &Pattern) -> Vec<Doubt> {
    let Value::Object(members) = pattern.source() else { return Vec::new() };
    let Some(sources) = exact(members.get("source")) else { return Vec::new() };
    if let Some(doubt) = sources.iter().find_map(|source| misspelt(source)) {
        return vec![doubt];
    }
    let is_known = |source: &&str| DETAIL_TYPES.iter().any(|(known, _)| known == source);
    if sources.is_empty() || !sources.iter().all(is_known) {
        return Vec::new();
    }
    let of_sources: Vec<&Kind> = KINDS.iter().filter(|kind| sources.contains(&kind.source.as_str())).collect();
    let takes = |kind: &&&Kind| members.get("detail-type").is_none_or(|wanted| is_taken(wanted, &kind.detail_type));
    let kinds: Vec<&Kind> = of_sources.iter().filter(takes).copied().collect();
    if kinds.is_empty() {
        return vec![wrong_type(&sources, &of_sources, members.get("detail-type"))];
    }
    let mut doubts = Vec::new();
    if let Some(Value::Object(detail)) = members.get("detail") {
        let mut leaves = Vec::new();
        flatten(detail, &mut vec!["detail".to_owned()], &mut leaves);
        doubts.extend(leaves.iter().filter_map(|(path, wanted)| doubt(&kinds, path, wanted)));
    }
    doubts
}

/// Doubts a source of AWS that is nearly one that is known. Short names are many, and each is near another.
fn misspelt(source: &str) -> Option<Doubt> {
    let known = || DETAIL_TYPES.iter().map(|(known, _)| *known);
    let name = source.to_lowercase();
    if !name.starts_with("aws.") || known().any(|known| known == source) {
        return None;
    }
    let begins_alike = |known: &str| name.get(..ALIKE_BYTES).is_some_and(|begin| known.starts_with(begin));
    let near = |known: &&str| {
        let is_long = known.len() >= MISSPELT_BYTES && begins_alike(known);
        *known == name || is_long && did_you_mean(&name, [*known]).is_some()
    };
    let meant = known().find(near)?;
    let message = format!("no service is known that has the source `{source}`");
    Some(Doubt { path: vec!["source".to_owned()], message, hint: Some(format!("did you mean `{meant}`?")) })
}

/// Returns alternatives that are all exact texts.
fn exact(wanted: Option<&Value>) -> Option<Vec<&str>> {
    wanted?.as_array()?.iter().map(Value::as_str).collect()
}

/// Tells whether alternatives take a text.
fn is_taken(wanted: &Value, text: &str) -> bool {
    // What is not a pattern by itself is not doubted.
    Pattern::parse(&json!({ "v": wanted })).is_ok_and(|pattern| pattern.matches(&json!({ "v": text })))
}

/// Tells whether alternatives take an event that has nothing there.
fn takes_nothing(wanted: &Value) -> bool {
    Pattern::parse(&json!({ "v": wanted })).is_ok_and(|pattern| pattern.matches(&json!({})))
}

fn wrong_type(sources: &[&str], kinds: &[&Kind], wanted: Option<&Value>) -> Doubt {
    let own = |kind: &&&Kind| !CLOUDTRAIL.contains(&kind.detail_type.as_str());
    let mut types: Vec<&str> = kinds.iter().filter(own).map(|kind| kind.detail_type.as_str()).collect();
    if types.is_empty() {
        types = CLOUDTRAIL.to_vec();
    }
    let near = exact(wanted).and_then(|wanted| wanted.into_iter().find_map(|text| near(text, &types)));
    let hint = near.unwrap_or_else(|| format!("known are {}", listed(&types)));
    let message = format!("no event of {} is known that has this detail-type", listed(sources));
    Doubt { path: vec!["detail-type".to_owned()], message, hint: Some(hint) }
}

/// Lists the fields of a pattern with their paths.
fn flatten<'p>(members: &'p Map<String, Value>, path: &mut Vec<String>, leaves: &mut Vec<(Vec<String>, &'p Value)>) {
    for (key, value) in members.iter().filter(|(key, _)| *key != "$or") {
        path.push(key.clone());
        match value {
            Value::Object(inner) => flatten(inner, path, leaves),
            value => leaves.push((path.clone(), value)),
        }
        path.pop();
    }
}

/// Says why a field of `detail` can match no event of some kinds.
fn doubt(kinds: &[&Kind], path: &[String], wanted: &Value) -> Option<Doubt> {
    let field = path.join(".");
    let raise = |message, hint| Some(Doubt { path: path.to_vec(), message, hint });
    let values_of = |kind: &&Kind| {
        let entry = VALUES.iter().find(|(s, t, f, _)| (*s, *t, *f) == (&kind.source, &kind.detail_type, &field));
        entry.map(|(.., values)| *values)
    };
    let values: Option<Vec<&[&str]>> = kinds.iter().map(values_of).collect();
    if let Some(values) = values {
        let values: Vec<&str> = values.concat();
        if values.iter().any(|value| is_taken(wanted, value)) || takes_nothing(wanted) {
            return None;
        }
        let meant = |text| near(text, &values).or_else(|| kindred(text, &values));
        let near = exact(Some(wanted)).and_then(|wanted| wanted.into_iter().find_map(meant));
        return raise(format!("`{field}` is known to be one of {}", listed(&values)), near);
    }
    let trap = |kind: &&Kind| {
        let set = |(source, f, value, _): &&(&str, &str, &str, &str)| {
            *source == kind.source && *f == field && exact(Some(wanted)).is_some_and(|wanted| wanted == [*value])
        };
        TRAPS.iter().find(set)
    };
    if let Some((_, _, value, hint)) = kinds.iter().find_map(trap) {
        return raise(format!("`{field}` is never exactly `{value}`"), Some((*hint).to_owned()));
    }
    let has = |kind: &&Kind| kind.fields.is_empty() || kind.fields.contains(&field);
    if kinds.iter().any(has) || takes_nothing(wanted) {
        return None;
    }
    let fields: Vec<&str> = kinds.iter().flat_map(|kind| kind.fields.iter().map(String::as_str)).collect();
    let is_closed = kinds.iter().all(|kind| CLOSED.contains(&(kind.source.as_str(), kind.detail_type.as_str())));
    let near = near(&field, &fields).or_else(|| is_closed.then(|| akin(&field, &fields)).flatten());
    if near.is_none() && !is_closed {
        return None;
    }
    let hint = near.unwrap_or_else(|| format!("it has {}", listed(&fields)));
    raise(format!("no event of {} is known that has `{field}`", listed(&[&kinds[0].source])), Some(hint))
}

/// A text without what is written in many ways.
fn plain(text: &str) -> String {
    text.replace(['-', '_'], "").to_lowercase()
}

/// Finds what was meant: the same but for case, hyphens and underscores, or nearly the same.
fn near(text: &str, known: &[&str]) -> Option<String> {
    let same = known.iter().find(|candidate| plain(candidate) == plain(text));
    same.map(|candidate| format!("did you mean `{candidate}`?")).or_else(|| did_you_mean(text, known.iter().copied()))
}

/// Finds a value that begins as another does: of `SUCCEEDED` and `SUCCESS` each is often written for the other.
fn kindred(text: &str, known: &[&str]) -> Option<String> {
    let begins = text.get(..KINDRED_BYTES)?;
    let found = known.iter().find(|candidate| candidate.starts_with(begins));
    found.map(|candidate| format!("did you mean `{candidate}`?"))
}

/// Finds a field whose name begins or ends as another's does.
fn akin(field: &str, known: &[&str]) -> Option<String> {
    let (own, wanted) = (plain(field), plain(field.trim_start_matches("detail.")));
    let is_akin = |candidate: &&&str| own.starts_with(&plain(candidate)) || plain(candidate).ends_with(&wanted);
    known.iter().find(is_akin).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn listed(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("`{text}`")).collect::<Vec<_>>().join(", ")
}
