//! Configuration: files and environment become [`settings::Settings`], or a list of every mistake with its place.
//!
//! The way: `sources` reads and merges, `walk` compares with the schema of `raw`, `check` gives the values their
//! meaning. Each of them goes on after a mistake. The environment is an argument, so that tests need not set it.

pub mod calendar_file;
mod check;
mod findings;
mod path;
pub mod problem;
mod raw;
mod secret_file;
pub mod settings;
mod sources;
mod walk;
pub mod zone;

pub use check::parse_duration as duration;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde_json::Value;

use self::{
    path::Index,
    problem::{Problem, Problems},
    raw::Raw,
    settings::{Settings, State},
    sources::Completeness,
    walk::Walk,
};
use crate::domain::ids;

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What is right but seldom meant.
    pub warnings: Vec<Problem>,
    /// Where everything stands.
    index: Arc<Index>,
}

/// Loads a file, or all `*.toml` of a folder in name order, with `FIREDRILL__…` variables over them.
///
/// # Errors
/// Every mistake there is, each with its place.
pub fn load(path: &Path, env: impl IntoIterator<Item = (String, String)>) -> Result<Loaded, Problems> {
    let env: Vec<(String, String)> = env.into_iter().collect();
    let merged = sources::merge(path, &env);
    let schema = schema();
    let mut walk = Walk {
        schema: &schema,
        index: &merged.index,
        variables: &merged.variables,
        problems: merged.problems,
        spoiled: merged.spoiled,
    };
    let value = walk.run(merged.value);
    let fingerprint = fingerprint(&value);
    let (mut problems, spoiled) = (walk.problems, walk.spoiled);
    let raw: Raw = serde_path_to_error::deserialize(value).unwrap_or_else(|error| {
        let message = format!("cannot be understood: {}", error.inner());
        problems.push(Problem { place: None, path: error.path().to_string(), message, hint: None });
        Raw::default()
    });
    let mut check = check::Check::new(&merged.index, &spoiled, merged.completeness);
    let mut settings = check.settings(raw, &env);
    settings.rules.fingerprint = fingerprint;
    problems.extend(check.problems);
    if problems.is_empty() {
        let warnings = [merged.warnings, check.warnings].concat();
        return Ok(Loaded { settings, warnings, index: Arc::new(merged.index) });
    }
    problems.sort_by(|a, b| order(a).cmp(&order(b)));
    Err(Problems(problems))
}

/// What each replica has for itself.
const OWN: [&str; 7] = ["state_directory", "state", "state_password_file", "replica", "agent", "http", "telemetry"];

/// Says in short what replicas have to have in common. Of a text it is the same wherever its keys stand; never empty.
fn fingerprint(value: &Value) -> String {
    let common: BTreeMap<&str, &Value> = value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !OWN.contains(key))
        .collect();
    ids::fingerprint(&[&serde_json::to_string(&common).unwrap_or_default()])
}

/// Finds where the store and the socket are, whatever else is wrong: who wants to stop something must not have to mend the
/// configuration first.
///
/// # Errors
/// What could not be read, when the directory may be named in it.
pub fn state(path: &Path, env: &[(String, String)]) -> Result<State, Problems> {
    let merged = sources::merge(path, env);
    let said = |key| merged.value.get(key).and_then(Value::as_str).map(str::to_owned);
    let directory = said("state_directory");
    if directory.is_none() && merged.completeness == Completeness::Partial {
        return Err(Problems(merged.problems));
    }
    let state = check::state_directory(directory, env);
    Ok(check::state(state, said("state"), said("state_password_file").map(|file| beside(path, &file))))
}

/// What does not begin at the root is below the folder of the configuration.
fn beside(config: &Path, file: &str) -> PathBuf {
    let folder = if config.is_dir() { Some(config) } else { config.parent() };
    folder.map_or_else(|| PathBuf::from(file), |folder| folder.join(file))
}

/// Returns the environment of the process. A variable that is not UTF-8 cannot be one of ours.
pub fn process_environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Returns the JSON Schema of a configuration file.
pub fn schema() -> Value {
    schemars::schema_for!(Raw).to_value()
}

/// Orders problems as a reader meets them: file by file, from the top.
fn order(problem: &Problem) -> (Option<(&str, Option<problem::Position>)>, &str) {
    (problem.place.as_ref().map(|place| (place.source.as_str(), place.position)), &problem.path)
}
