//! `firedrill plan --diff`: what a change of the configuration adds, drops, moves or decides otherwise.

use jiff::Timestamp;
use serde::Serialize;

use super::{ahead, chosen, forecast_of, outlook};
use crate::{
    cli::{
        args::{Form, PlanArgs},
        exit::{Exit, Failure},
        render,
    },
    config::settings::Settings,
    domain::{
        forecast::{
            Expected, Forecast,
            diff::{self, Changes},
        },
        ids::{ExperimentName, RunId, ScheduleName},
        run::Trigger,
    },
};

/// One changed slot, for programs.
#[derive(Debug, Serialize)]
struct Change<'a> {
    change: &'static str,
    experiment: &'a ExperimentName,
    schedule: Option<&'a ScheduleName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Side<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Side<'a>>,
}

/// A slot as one of the configurations has it.
#[derive(Debug, Serialize)]
struct Side<'a> {
    slot: Timestamp,
    run: &'a RunId,
    decision: ahead::Decision,
    reason: Option<String>,
    starts: Option<Timestamp>,
    ends_by: Option<Timestamp>,
}

/// Compares the old configuration's forecast with the new one's, from the same rows.
///
/// # Errors
/// As `plan`; [`Exit::Usage`] where the output has no form for a comparison.
pub async fn run(args: &PlanArgs, [old, new]: [&Settings; 2], from: Timestamp, to: Timestamp) -> Result<Exit, Failure> {
    let chosen = chosen(&args.experiments, &[&old.rules, &new.rules])?;
    // The rows are those of the agent that is to load the new one.
    let rows = outlook(new).await?;
    let forecast = |settings: &Settings| forecast_of(&settings.rules, &rows, &chosen, from, to);
    let (before, after) = (forecast(old), forecast(new));
    let changes = diff::compare(&before, &after);
    let renamed = diff::renamed(&old.rules, &new.rules);
    match args.output {
        Form::Json => {
            let renamed: Vec<_> =
                renamed.iter().map(|(old, new)| serde_json::json!({ "from": old, "to": new })).collect();
            render::json(&serde_json::json!({
                "from": from, "to": to, "until": changes.until, "same": changes.same,
                "changes": listed(&changes), "perhaps_renamed": renamed,
            }))?;
        }
        Form::Ics => {
            return Err(Failure::say(Exit::Usage, "a comparison has no form for calendars\nhint: leave out `--diff`"));
        }
        Form::Table => print(&changes, &renamed, [&before, &after])?,
    }
    Ok(Exit::Done)
}

fn listed<'a>(changes: &Changes<'a>) -> Vec<Change<'a>> {
    let one = |change, before: Option<&'a Expected>, after: Option<&'a Expected>| {
        let run = after.or(before).map(|run| &run.run)?;
        let schedule = match &run.trigger {
            Trigger::Slot { schedule, .. } => Some(schedule),
            Trigger::Event { .. } | Trigger::Manual { .. } | Trigger::Backfill { .. } => None,
        };
        Some(Change { change, experiment: &run.experiment, schedule, before: before.map(side), after: after.map(side) })
    };
    let added = changes.added.iter().filter_map(|run| one("added", None, Some(run)));
    let dropped = changes.dropped.iter().filter_map(|run| one("dropped", Some(run), None));
    let moved = changes.moved.iter().filter_map(|(old, new)| one("moved", Some(old), Some(new)));
    let decided = changes.decided.iter().filter_map(|(old, new)| one("decided", Some(old), Some(new)));
    let mut all: Vec<Change<'_>> = added.chain(dropped).chain(moved).chain(decided).collect();
    all.sort_by_key(|change| change.after.as_ref().or(change.before.as_ref()).map(|side| side.slot));
    all
}

fn side(expected: &Expected) -> Side<'_> {
    let (decision, _, reason) = ahead::decision(expected);
    Side {
        slot: expected.slot,
        run: &expected.run.id,
        decision,
        reason,
        starts: expected.runs_from_to.map(|(start, _)| start),
        ends_by: expected.runs_from_to.map(|(_, end)| end),
    }
}

fn print(
    changes: &Changes<'_>,
    renamed: &[(&ExperimentName, &ExperimentName)],
    forecasts: [&Forecast; 2],
) -> Result<(), Failure> {
    let listed = listed(changes);
    if !listed.is_empty() {
        let mut table = render::table(&["change", "experiment", "schedule", "before (utc)", "after (utc)"]);
        for change in &listed {
            table.add_row([
                change.change.to_owned(),
                change.experiment.to_string(),
                change.schedule.map(ToString::to_string).unwrap_or_default(),
                change.before.as_ref().map(told).unwrap_or_default(),
                change.after.as_ref().map(told).unwrap_or_default(),
            ]);
        }
        render::line(&table.trim_fmt())?;
        render::line("")?;
    }
    render::line(&format!(
        "{} added, {} dropped, {} moved, {} decided otherwise; {} as before",
        changes.added.len(),
        changes.dropped.len(),
        changes.moved.len(),
        changes.decided.len(),
        render::count(changes.same, "slot")
    ))?;
    for (old, new) in renamed {
        render::line(&format!(
            "hint: `{new}` runs the template of `{old}`, which is gone; what is kept under the old name does not follow"
        ))?;
    }
    for (name, until) in forecasts.into_iter().flat_map(|forecast| &forecast.cut) {
        eprintln!("warning: `{name}` has too many slots; its forecast ends at {}", render::instant(*until));
    }
    Ok(())
}

/// Says what one configuration makes of a slot.
fn told(side: &Side<'_>) -> String {
    let slot = render::instant(side.slot);
    let reason = side.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    let ends = side.ends_by.map_or_else(String::new, |end| format!(", ends by {}", render::instant(end)));
    format!("{slot} {}{reason}{ends}", side.decision.as_str())
}
