//! The plan as a table for people, with its sums and its doubts.

use jiff::Timestamp;

use super::{
    ahead::{Ahead, ClockChange, Line, Month},
    picture,
};
use crate::{
    cli::{args::PlanArgs, exit::Failure, render},
    domain::{forecast::Basis, ids::ExperimentName},
};

/// Prints the picture, the table, the sums and the doubts.
///
/// # Errors
/// When stdout cannot be written to.
pub fn print(ahead: &Ahead<'_>, args: &PlanArgs) -> Result<(), Failure> {
    if picture::is_wanted(args.picture) {
        render::line(&picture::draw(ahead, picture::width()))?;
    }
    if ahead.lines.is_empty() {
        let range = format!("from {} to {}", render::instant(ahead.from), render::instant(ahead.to));
        render::line(&format!("no schedule names an instant {range}"))?;
    } else if !args.totals {
        render::line(&table(&ahead.lines))?;
        render::line("")?;
    }
    for line in sums(ahead) {
        render::line(&line)?;
    }
    for (name, until) in &ahead.forecast.cut {
        eprintln!("warning: `{name}` has too many slots; its forecast ends at {}", render::instant(*until));
    }
    Ok(())
}

fn table(lines: &[Line<'_>]) -> String {
    // Most slots start when they are due, which need not be said twice.
    let has_starts = lines.iter().any(|line| starts_otherwise(line).is_some());
    let mut header = vec!["slot (utc)", "local", "experiment", "decision"];
    header.extend(has_starts.then_some("starts (utc)"));
    header.extend(["ends by (utc)", "usd", "reason"]);
    let mut table = render::table(&header);
    for line in lines {
        let mut row = vec![
            render::instant(line.slot),
            local(line),
            line.experiment.to_string(),
            line.decision.as_str().to_owned(),
        ];
        row.extend(has_starts.then(|| starts_otherwise(line).map_or_else(String::new, render::instant)));
        row.extend([ends(line), cost(line), line.reason.clone().unwrap_or_default()]);
        table.add_row(row);
    }
    table.trim_fmt()
}

fn starts_otherwise(line: &Line<'_>) -> Option<Timestamp> {
    line.starts.filter(|starts| *starts != line.slot)
}

/// Returns the local time of a slot, marked when a clock change moved it.
pub fn local(line: &Line<'_>) -> String {
    let local = line.slot.to_zoned(line.zone.clone()).strftime("%a %H:%M:%S %Z").to_string();
    if line.moved_by_clock_change { format!("{local} (clocks changed)") } else { local }
}

/// Returns the end at the latest, marked when it is assumed.
fn ends(line: &Line<'_>) -> String {
    let assumed = if line.end_rests_on == Some(Basis::Limit) { " *" } else { "" };
    line.ends_by.map_or_else(String::new, |end| format!("{}{assumed}", render::instant(end)))
}

/// Returns the cost of what starts.
fn cost(line: &Line<'_>) -> String {
    let unknown = if line.starts.is_some() { "?" } else { "" };
    line.cost_usd.map_or_else(|| unknown.to_owned(), |cost| cost.to_string())
}

/// Says what a month costs: `2027-03: 27 runs, 135 action-minutes, 13.50 USD planned`.
fn month(month: &Month) -> String {
    let mut text = format!("{}: {}", month.month, render::count(month.runs, "run"));
    if let Some(planned) = month.planned_usd {
        text.push_str(&format!(", {} action-minutes, {planned} USD planned", month.action_minutes));
    }
    match month.runs_of_unknown_cost {
        0 => {}
        all if all == month.runs => text.push_str(", their cost is not known"),
        some => text.push_str(&format!(", {some} whose cost is not known")),
    }
    if let Some(spent) = month.spent_usd {
        text.push_str(&format!(", {spent} USD spent so far"));
    }
    if let Some(budget) = month.budget_usd {
        text.push_str(&format!(", of a budget of {budget} USD"));
    }
    text
}

/// Returns the lines below the table.
fn sums(ahead: &Ahead<'_>) -> Vec<String> {
    let totals = &ahead.totals;
    let mut lines = Vec::new();
    if totals.slots > 0 {
        let parts = [
            (totals.start, "start"),
            (totals.shift, "start later"),
            (totals.hold, "wait"),
            (totals.skip, "do not start"),
        ];
        let parts: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        let reasons: Vec<String> =
            totals.skipped_by.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
        lines.push(format!("{}: {}{reasons}", render::count(totals.slots, "slot"), parts.join(", ")));
    }
    lines.extend(ahead.months.iter().map(month));
    lines.extend(ahead.clock_changes.iter().map(|change| format!("clocks change: {}", clock_change(change))));
    let unknown = &ahead.unknown;
    let because = [
        (&unknown.templates_never_read, "template never read by the agent"),
        (&unknown.templates_without_end, "template does not tell how long it takes"),
    ];
    for (experiments, why) in because.into_iter().filter(|(experiments, _)| !experiments.is_empty()) {
        let names: Vec<&str> = experiments.iter().map(ExperimentName::as_str).collect();
        lines.push(format!("* {why}, so `max_duration` is assumed: {}", names.join(", ")));
    }
    lines.extend(unknown.calendars.values().map(|why| format!("{why}; its windows are taken to be closed")));
    lines.extend(unknown.calendars_known_until.iter().map(|(calendar, until)| {
        format!(
            "calendar `{calendar}` is known until {}; its windows are taken to be closed after",
            render::instant(*until)
        )
    }));
    lines
}

/// Says a clock change: `Europe/Berlin 2027-03-28 02:00→03:00`.
pub fn clock_change(change: &ClockChange) -> String {
    let to = if change.from.date() == change.to.date() { "%H:%M" } else { "%Y-%m-%d %H:%M" };
    format!("{} {}→{}", change.zone, change.from.strftime("%Y-%m-%d %H:%M"), change.to.strftime(to))
}
