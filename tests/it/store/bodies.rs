//! What stands in the bodies of rows: every form that was ever written can be read, and no new one is written unseen.
//!
//! [`SAMPLES`] holds bodies as programs wrote them, one a line, and stays: a store keeps its rows over every update. Whoever
//! writes something new adds a line, and asks first what a program of before makes of it: replicas of two versions share a
//! database while they are updated, and what one cannot read holds up what it may be about.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    deployment::Deployed,
    ledger::Ledger,
    plan::{Explained, Halt, PauseRow, StopRequest},
    run::{Observation, Run},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::sim::{self, simulated::tables::Tables};

const SAMPLES: &str = include_str!("bodies.jsonl");

/// Worlds whose rows are looked at, and how often, in milliseconds of theirs.
const WORLDS: u64 = 60;
const EVERY_MS: u64 = 10_000;

/// Names a range of worlds, `FROM..TO`, whose forms are printed where no sample has them; so samples are made.
const WORLDS_VARIABLE: &str = "FIREDRILL_BODIES_OF";

/// Members whose keys are names that people or AWS give, or months.
const MAPS: [&str; 10] = [
    "action_minutes",
    "actions",
    "alarms",
    "begun",
    "parameters",
    "profiles",
    "resource_tags",
    "start_after",
    "tags",
    "targets",
];

/// Adds each place of a value that has one, with what kind of thing stands there; what is one of a few words, with the word.
fn forms(place: &str, value: &Value, found: &mut BTreeSet<String>) {
    let last = place.rsplit('.').next().unwrap_or_default();
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                let key = if MAPS.contains(&last) { "*" } else { key };
                forms(&format!("{place}.{key}"), value, found);
            }
            if members.is_empty() {
                found.insert(format!("{place} {{}}"));
            }
        }
        Value::Array(items) => items.iter().for_each(|item| forms(&format!("{place}[]"), item, found)),
        Value::String(text) => _ = found.insert(format!("{place} {}", word(last, text))),
        Value::Number(_) => _ = found.insert(format!("{place} number")),
        Value::Bool(_) => _ = found.insert(format!("{place} bool")),
        // What may be absent, and is.
        Value::Null => {}
    }
}

/// A word of ours or of AWS, or that it is any text.
fn word<'t>(place: &str, text: &'t str) -> &'t str {
    const FREE: [&str; 12] =
        ["app", "by", "code", "experiment", "id", "input", "key", "message", "name", "reason", "shape", "version"];
    let is_word = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if is_word && !FREE.contains(&place) && place != "*" { text } else { "text" }
}

fn forms_of(kind: &str, body: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    forms(kind, body, &mut found);
    found
}

/// Reads a body as a store does, and writes it again.
fn read_as<T: DeserializeOwned + Serialize + PartialEq>(body: &Value) -> Result<Value, String> {
    let read: T = serde_json::from_value(body.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(&read).map_err(|error| error.to_string())?;
    let again: T = serde_json::from_value(written.clone()).map_err(|error| error.to_string())?;
    if again == read { Ok(written) } else { Err(format!("is written as {written}, which reads otherwise")) }
}

fn read(kind: &str, body: &Value) -> Result<Value, String> {
    match kind {
        "deployment" => read_as::<Deployed>(body),
        "explained" => read_as::<Explained>(body),
        "halt" => read_as::<Halt>(body),
        "ledger" => read_as::<Ledger>(body),
        "observation" => read_as::<Observation>(body),
        "pause" => read_as::<PauseRow>(body),
        "run" => read_as::<Run>(body),
        "stop" => read_as::<StopRequest>(body),
        other => Err(format!("there is no row `{other}`")),
    }
}

fn samples() -> impl Iterator<Item = (String, Value)> {
    SAMPLES.lines().map(|line| {
        let mut line: BTreeMap<String, Value> = serde_json::from_str(line).expect("a sample");
        line.pop_first().expect("a kind and a body")
    })
}

/// Every body of a world's rows, of the journal and of runs those that are new since it had so many entries.
fn bodies(tables: &Tables, since: usize) -> impl Iterator<Item = (&'static str, Value)> {
    let entries = tables.journal[since..].iter().map(|(_, entry)| entry);
    let runs = entries.clone().map(|entry| ("run", json!(tables.runs[&entry.run])));
    let bodies = entries.clone().map(|entry| ("observation", json!(entry.observation)));
    let explained = entries.flat_map(|entry| &entry.explained).map(|explained| ("explained", json!(explained)));
    runs.chain(bodies)
        .chain(explained)
        .chain(tables.ledgers.values().map(|ledger| ("ledger", json!(ledger))))
        .chain(tables.deployed.values().map(|row| ("deployment", json!(row))))
        .chain(tables.pauses.values().map(|row| ("pause", json!(row))))
        .chain(tables.stops.values().map(|request| ("stop", json!(request))))
        .chain(tables.halt.iter().map(|halt| ("halt", json!(halt))))
}

#[test]
fn every_form_that_was_ever_written_can_be_read_and_loses_nothing() {
    for (kind, body) in samples() {
        let written = read(&kind, &body).unwrap_or_else(|error| panic!("{kind} {body}: {error}"));
        let lost: Vec<_> = forms_of(&kind, &body).difference(&forms_of(&kind, &written)).cloned().collect();
        assert!(lost.is_empty(), "{kind} {body} is written as {written} without {lost:?}");
    }
}

#[test]
fn no_form_is_written_that_has_no_sample() {
    let named = std::env::var(WORLDS_VARIABLE).ok();
    let worlds = named.as_deref().and_then(|named| {
        let (from, to) = named.split_once("..")?;
        Some(from.parse().expect("a seed")..to.parse().expect("a seed"))
    });
    let mut known: BTreeSet<String> = samples().flat_map(|(kind, body)| forms_of(&kind, &body)).collect();
    let mut new = Vec::new();
    for seed in worlds.unwrap_or(0..WORLDS) {
        let mut since = 0;
        sim::look_at_rows(seed, EVERY_MS, |tables| {
            // A store that was taken back from a backup has fewer.
            since = since.min(tables.journal.len());
            let looks_at = std::mem::replace(&mut since, tables.journal.len());
            for (kind, body) in bodies(tables, looks_at).filter(|_| looks_at < since) {
                let forms = forms_of(kind, &body);
                if !forms.is_subset(&known) {
                    known.extend(forms);
                    new.push(json!({ kind: body }).to_string());
                }
            }
        });
    }
    assert!(new.is_empty(), "samples are missing, for tests/it/store/bodies.jsonl:\n{}", new.join("\n"));
}
