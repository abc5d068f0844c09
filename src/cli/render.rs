//! Output: tables for people, JSON for programs.

use std::io::{BufWriter, ErrorKind, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::exit::{Exit, Failure};
use crate::domain::run::{Run, RunState, STOP_OPERATION};

/// Prints a value as JSON.
///
/// # Errors
/// When it has no JSON form, or stdout is closed.
pub fn json<T: Serialize>(value: &T) -> Result<(), Failure> {
    let mut stdout = BufWriter::new(std::io::stdout().lock());
    let written = serde_json::to_writer_pretty(&mut stdout, value).map_err(std::io::Error::from);
    seen(written.and_then(|()| writeln!(stdout)).and_then(|()| stdout.flush()))
}

/// Prints a line of data. A reader that went away (`| head`) has seen enough: that is no failure.
///
/// # Errors
/// When stdout cannot be written to.
pub fn line(text: &str) -> Result<(), Failure> {
    seen(writeln!(std::io::stdout(), "{text}"))
}

/// Prints a text as it is.
///
/// # Errors
/// When stdout cannot be written to.
pub fn text(text: &str) -> Result<(), Failure> {
    seen(write!(std::io::stdout(), "{text}"))
}

fn seen(written: std::io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::new(Exit::Internal, error)),
        _ => Ok(()),
    }
}

/// Returns a count with its noun in the right number.
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// Builds a table without borders, as wide as the terminal.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !std::io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(header.iter().map(|title| title.to_uppercase()));
    table
}

/// Returns an instant to the second, in UTC.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Returns a time span to the second, such as `1h 2m 3s`.
pub fn span(length: SignedDuration) -> String {
    let whole = SignedDuration::from_secs(length.as_secs());
    format!("{whole:#}")
}

/// Returns where a run stands in a few words.
pub fn state(run: &Run) -> String {
    match &run.state {
        RunState::Finished { outcome, .. } => outcome.as_str().to_owned(),
        other => other.as_str().to_owned(),
    }
}

/// Returns what there is to say about where a run stands.
pub fn detail(run: &Run) -> String {
    match &run.state {
        RunState::Requested | RunState::Starting { .. } => String::new(),
        // Its key may have changed for long enough before that.
        RunState::Settling if run.trigger.terms().settle_limit.is_some() => {
            format!("until {} at the latest", instant(run.not_before))
        }
        RunState::Settling => format!("until {}", instant(run.not_before)),
        RunState::Held { reason, .. } => reason.to_string(),
        RunState::Running { .. } => running_actions(run),
        RunState::Stopping { cause, .. } if run.denied() == Some(STOP_OPERATION) => {
            format!("because of {cause}; FIS denies {STOP_OPERATION}")
        }
        RunState::Stopping { cause, .. } => format!("because of {cause}"),
        RunState::Finished { outcome, .. } => outcome.to_string(),
        RunState::Skipped { reason, .. } => reason.to_string(),
    }
}

fn running_actions(run: &Run) -> String {
    let Some(fis) = &run.fis else { return String::new() };
    let over = fis.actions.values().filter(|action| action.status.is_terminal()).count();
    format!("{} of {} actions over", over, fis.actions.len())
}
