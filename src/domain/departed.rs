//! What a new configuration leaves behind: names that are no longer in it, and pauses of such names.
//!
//! Pure. Nothing here forbids anything; it makes the words that whoever changed the configuration is told.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    experiment::Rules,
    ids::ExperimentName,
    plan::{PauseRow, paused},
};

/// Most names in one sentence.
const MAX_NAMED: usize = 20;

/// Names the experiments, schedules and windows that `old` has and `new` has not, a sentence for each kind.
pub fn taken_away(old: &Rules, new: &Rules) -> Vec<String> {
    let mut experiments = Vec::new();
    let mut schedules = Vec::new();
    for (name, before) in &old.experiments {
        let Some(after) = new.experiments.get(name) else {
            experiments.push(format!("`{name}`"));
            continue;
        };
        let kept: BTreeSet<_> = after.schedules.iter().map(|schedule| schedule.name()).collect();
        let gone = before.schedules.iter().filter(|schedule| !kept.contains(schedule.name()));
        schedules.extend(gone.map(|schedule| format!("`{}` of `{name}`", schedule.expression())));
    }
    let windows: BTreeSet<_> = new.windows.iter().map(|window| &window.name).collect();
    let gone = old.windows.iter().filter(|window| !windows.contains(&window.name));
    let windows: Vec<String> = gone.map(|window| format!("`{}`", window.name)).collect();
    [
        ("experiments", experiments, "what waited of them is skipped, and nothing more of them begins"),
        ("schedules", schedules, "they fire no more"),
        ("windows", windows, "they close nothing any more"),
    ]
    .into_iter()
    .filter(|(_, names, _)| !names.is_empty())
    .map(|(kind, names, so)| format!("{kind} are no longer in the configuration: {}; {so}", listed(&names)))
    .collect()
}

/// Says of each name that is paused at an instant, and is none of an experiment, that its pause holds nothing.
pub fn still_paused(
    rules: &Rules,
    pauses: &BTreeMap<ExperimentName, PauseRow>,
    now: Timestamp,
) -> BTreeMap<ExperimentName, String> {
    let gone = pauses.keys().filter(|name| !rules.experiments.contains_key(*name));
    let said = |name: &ExperimentName| {
        let why = paused(name, pauses, now)?;
        let end = format!("`firedrill resume {name}` forgets it");
        Some((
            name.clone(),
            format!("{why}; it is not in the configuration, and a pause does not follow a rename; {end}"),
        ))
    };
    gone.filter_map(said).collect()
}

fn listed(names: &[String]) -> String {
    let first = names.iter().take(MAX_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().checked_sub(MAX_NAMED) {
        None | Some(0) => first,
        Some(more) => format!("{first} and {more} more"),
    }
}
