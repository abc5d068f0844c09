//! `firedrill event presets`: the ready-made triggers.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    args::Output,
    context::Context,
    exit::{Exit, Failure},
    render,
};
use crate::domain::{
    event::presets::{FilterKey, PRESETS, Preset, PresetMapping, Rollback},
    words::did_you_mean,
};

/// What several triggers of one release come to.
const OWN_KEY: &str = "Its key is its own: another preset that tells of the same release (a pipeline and the deployment in \
                       it) has another key and starts a run of its own. Choose one, or give both the same `key`.";

/// Shows all presets in short, or one with everything that is known of it.
///
/// # Errors
/// [`Exit::NotFound`] for a name that is none.
pub fn run(context: &Context, name: Option<&str>) -> Result<Exit, Failure> {
    let chosen: Vec<&Preset> = match name {
        None => PRESETS.iter().collect(),
        Some(name) => vec![Preset::find(name).ok_or_else(|| {
            let hint = did_you_mean(name, PRESETS.iter().map(|preset| preset.name));
            let hint = hint.map_or_else(String::new, |hint| format!("; {hint}"));
            Failure::say(Exit::NotFound, format!("there is no preset `{name}`{hint}"))
        })?],
    };
    if context.output == Output::Json {
        render::json(&chosen.iter().map(|preset| told(preset)).collect::<Vec<Value>>())?;
    } else if let (Some(_), [preset]) = (name, &chosen[..]) {
        render::text(&expanded(preset))?;
    } else {
        let mut table = render::table(&["on", "filters", "pattern"]);
        for preset in chosen {
            let filters: Vec<&str> = preset.filter_keys().map(FilterKey::as_str).collect();
            table.add_row([preset.name.to_owned(), filters.join(", "), (preset.pattern)().to_string()]);
        }
        render::line(&table.trim_fmt())?;
    }
    Ok(Exit::Done)
}

fn filters(preset: &Preset) -> Vec<(&'static str, String)> {
    preset.filter_keys().map(|key| (key.as_str(), preset.field_of(key).unwrap_or_default())).collect()
}

/// Returns a preset for programs.
fn told(preset: &Preset) -> Value {
    let filters: BTreeMap<&str, String> = filters(preset).into_iter().collect();
    let rollback = match preset.rollback {
        Rollback::Told(pattern) => Some(pattern()),
        Rollback::NotTaken | Rollback::Untold => None,
    };
    json!({
        "name": preset.name, "about": preset.about, "pattern": (preset.pattern)(), "key": preset.key,
        "version": preset.version, "deployment_id": preset.deployment_id, "rollback": rollback,
        "settle": preset.settle.to_string(), "filters": filters, "mapping": preset.mapping.as_ref().map(mapping_toml),
        "example": example(preset),
    })
}

/// Returns everything that is known of a preset, for people.
fn expanded(preset: &Preset) -> String {
    let list = |pointers: &[&str], none: &str| if pointers.is_empty() { none.to_owned() } else { pointers.join(", ") };
    let rollback = match preset.rollback {
        Rollback::Told(pattern) => pattern().to_string(),
        Rollback::NotTaken => "comes as another event, which it does not take".to_owned(),
        Rollback::Untold => "not told by its events".to_owned(),
    };
    let mut table = render::table(&["", ""]);
    for (name, text) in [
        ("pattern", (preset.pattern)().to_string()),
        ("key", list(preset.key, "none")),
        ("version", list(preset.version, "none")),
        ("deployment_id", list(preset.deployment_id, "none")),
        ("rollback", rollback),
        ("settle", format!("{:#}", preset.settle)),
    ] {
        table.add_row([name, &text]);
    }
    for (key, field) in filters(preset) {
        table.add_row([&format!("filter {key}"), &field]);
    }
    // Its header is empty.
    let table: Vec<String> = table.lines().skip(1).map(|line| line.trim().to_owned()).collect();
    let table = table.join("\n");
    let mapping = preset.mapping.as_ref().map(mapping_toml).map_or_else(String::new, |mapping| {
        format!("\nIts bodies become events by this mapping, unless one of that name is configured:\n\n{mapping}")
    });
    format!("{}: {}\n\n{table}\n\n{OWN_KEY}\n{mapping}\nExample:\n\n{}", preset.name, preset.about, example(preset))
}

/// Returns a trigger as it may be written.
fn example(preset: &Preset) -> String {
    let filters = preset.filter_keys().map(|key| match key {
        FilterKey::Application => "application = \"shop\"\n",
        FilterKey::Service => "service = \"checkout\"\n",
        FilterKey::Branch => "branch = \"main\"\n",
        FilterKey::Environment => "environment = \"prod*\"\n",
    });
    format!("[[experiments.NAME.triggers]]\non = \"{}\"\n{}settle = \"5m\"\n", preset.name, filters.collect::<String>())
}

/// Returns a mapping as it would be written.
fn mapping_toml(mapping: &PresetMapping) -> String {
    let PresetMapping { name, when, source, detail_type, id, time } = mapping;
    let optional = [("id", id), ("time", time)];
    let optional =
        optional.iter().filter_map(|(key, pointer)| pointer.map(|pointer| format!("{key} = \"{pointer}\"\n")));
    format!(
        "[mappings.{name}]\nwhen = '{}'\nsource = \"{source}\"\ndetail_type = \"{detail_type}\"\n{}",
        when(),
        optional.collect::<String>()
    )
}
