//! The plan as a picture for terminals: a row a day (or a week, for long ranges), a cell for some minutes of it.
//!
//! A cell shows what starts in it, else what does not, else how far windows close it. Hours are local ones of one zone.

use std::{collections::BTreeMap, io::IsTerminal};

use console::{Style, Term};
use jiff::{
    SignedDuration, Timestamp, ToSpan,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use super::{
    ahead::{Ahead, ClockChange, Decision, Line},
    table::clock_change,
};
use crate::{
    cli::args::Picture,
    domain::{
        civil::{self, Instants},
        experiment::Experiment,
        ids::ExperimentName,
        window::{self, Window, Windows},
    },
};

/// Most days that have a row each.
const MOST_DAYS: i64 = 45;
/// Most experiments that have a letter each.
const LETTERS: usize = 26;
/// Columns of a row's label.
const LABEL: usize = 11;
/// Columns kept free behind a row for what is said of it.
const NOTE: usize = 20;
/// Columns where nobody tells how many there are.
const DEFAULT_WIDTH: usize = 100;
/// Most closed spans that are shaded.
const MAX_SPANS: usize = 20_000;
/// Cells an hour that a row of one day may have, the finest first.
const CELLS_AN_HOUR: [usize; 4] = [4, 3, 2, 1];
/// Cells a day that a row of one week may have, the finest first.
const CELLS_A_DAY: [usize; 6] = [24, 12, 8, 6, 4, 3];
const MINUTES_A_DAY: usize = 24 * 60;

/// Tells whether a picture is to be drawn.
pub fn is_wanted(picture: Picture) -> bool {
    match picture {
        Picture::Auto => std::io::stdout().is_terminal(),
        Picture::Always => true,
        Picture::Never => false,
    }
}

/// Returns the terminal's width in columns.
pub fn width() -> usize {
    Term::stdout().size_checked().map_or(DEFAULT_WIDTH, |(_, columns)| usize::from(columns))
}

/// How far a cell is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shade {
    /// It is not in the range asked about, or does not exist because clocks skip it.
    Outside,
    Open,
    ClosedToSome,
    ClosedToAll,
}

/// What happens in a cell.
#[derive(Debug, Clone, Default)]
struct Marks {
    starts: Vec<usize>,
    refused: Vec<usize>,
}

/// How the picture is divided.
struct Grid {
    zone: TimeZone,
    first: Date,
    rows: usize,
    days_a_row: usize,
    cells_a_row: usize,
}

/// Draws what is ahead, in so many columns.
pub fn draw(ahead: &Ahead<'_>, width: usize) -> String {
    let grid = Grid::new(ahead, width);
    let named = named(&ahead.lines);
    let marks = grid.marks(&ahead.lines, &named);
    let closed = closed(ahead);
    let mut text = format!("{}\n", grid.header());
    for row in 0..grid.rows {
        let mut line = String::new();
        for cell in 0..grid.cells_a_row {
            if grid.days_a_row > 1 && cell > 0 && cell % (grid.cells_a_row / 7) == 0 {
                line.push(' ');
            }
            let shade = grid.shade(row, cell, ahead, &closed);
            let marks = marks.get(&(row, cell));
            line.push_str(&paint(shade, marks, named.len()));
        }
        let notes: Vec<String> =
            ahead.clock_changes.iter().filter(|change| grid.is_in(row, change)).map(|c| grid.note(c)).collect();
        let (label, note) = (grid.label(row), notes.join(", "));
        let style = if notes.is_empty() { Style::new() } else { Style::new().yellow() };
        text.push_str(format!("{} {line}  {}", style.apply_to(label), style.apply_to(note)).trim_end());
        text.push('\n');
    }
    text.push_str(&legend(&grid, &named, !closed.is_empty()));
    text
}

impl Grid {
    fn new(ahead: &Ahead<'_>, width: usize) -> Self {
        let mut zones: Vec<(usize, &TimeZone)> = Vec::new();
        for line in &ahead.lines {
            match zones.iter_mut().find(|(_, zone)| **zone == line.zone) {
                Some((count, _)) => *count += 1,
                None => zones.push((1, &line.zone)),
            }
        }
        let zone =
            zones.iter().rev().max_by_key(|(count, _)| *count).map_or(TimeZone::UTC, |(_, zone)| (*zone).clone());
        let last = ahead.to.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(ahead.to);
        let (from, last) = (zone.to_datetime(ahead.from).date(), zone.to_datetime(last).date());
        let room = width.saturating_sub(LABEL + 1 + NOTE);
        let days = days_between(from, last) + 1;
        if days <= MOST_DAYS {
            let cells = CELLS_AN_HOUR.into_iter().find(|cells| cells * 24 <= room).unwrap_or(1);
            return Self { zone, first: from, rows: count(days), days_a_row: 1, cells_a_row: 24 * cells };
        }
        let monday = from.saturating_sub(i64::from(from.weekday().to_monday_zero_offset()).days());
        let weeks = days_between(monday, last) / 7 + 1;
        let cells = CELLS_A_DAY.into_iter().find(|cells| cells * 7 + 6 <= room).unwrap_or(CELLS_A_DAY[5]);
        Self { zone, first: monday, rows: count(weeks), days_a_row: 7, cells_a_row: 7 * cells }
    }

    fn minutes_a_cell(&self) -> usize {
        self.days_a_row * MINUTES_A_DAY / self.cells_a_row
    }

    /// Finds the row and the cell of an instant.
    fn place(&self, at: Timestamp) -> (usize, usize) {
        let local = self.zone.to_datetime(at);
        let days = count(days_between(self.first, local.date()));
        let minute = usize::try_from(i64::from(local.hour()) * 60 + i64::from(local.minute())).unwrap_or(0);
        let minute = days % self.days_a_row * MINUTES_A_DAY + minute;
        (days / self.days_a_row, minute / self.minutes_a_cell())
    }

    /// Finds the local time at which a cell begins; that behind the row's last one is the next row's first.
    fn begin(&self, row: usize, cell: usize) -> DateTime {
        let minutes = row * self.days_a_row * MINUTES_A_DAY + cell * self.minutes_a_cell();
        let minutes = SignedDuration::from_mins(i64::try_from(minutes).unwrap_or(i64::MAX / 60));
        self.first.at(0, 0, 0, 0).saturating_add(minutes)
    }

    fn marks(&self, lines: &[Line<'_>], named: &[&ExperimentName]) -> BTreeMap<(usize, usize), Marks> {
        let mut marks: BTreeMap<(usize, usize), Marks> = BTreeMap::new();
        for line in lines {
            let Ok(experiment) = named.binary_search(&line.experiment) else { continue };
            match (line.decision, line.starts) {
                (Decision::Start | Decision::Shift, Some(starts)) => {
                    marks.entry(self.place(starts)).or_default().starts.push(experiment);
                }
                _ => marks.entry(self.place(line.slot)).or_default().refused.push(experiment),
            }
        }
        marks
    }

    fn shade(&self, row: usize, cell: usize, ahead: &Ahead<'_>, closed: &[Spans]) -> Shade {
        let from = self.instant(self.begin(row, cell)).max(ahead.from);
        let to = self.instant(self.begin(row, cell + 1)).min(ahead.to);
        if from >= to {
            return Shade::Outside;
        }
        let is_closed = |spans: &&Spans| {
            let first = spans.partition_point(|(_, end)| *end <= from);
            spans.get(first).is_some_and(|(start, _)| *start < to)
        };
        match closed.iter().filter(is_closed).count() {
            0 => Shade::Open,
            all if all == closed.len() => Shade::ClosedToAll,
            _ => Shade::ClosedToSome,
        }
    }

    /// Finds the first instant of a local time, the end of the gap for one that clocks skip.
    fn instant(&self, local: DateTime) -> Timestamp {
        match civil::instants(&self.zone, local) {
            Some(Instants::One(at) | Instants::Gap { end: at, .. } | Instants::Overlap { first: at, .. }) => at,
            None => Timestamp::MAX,
        }
    }

    fn header(&self) -> String {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        let (marks, cells) = if self.days_a_row == 1 {
            let hours = (0..8).map(|n| format!("{:02}", n * 3));
            (hours.collect::<Vec<_>>(), self.cells_a_row / 8)
        } else {
            let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
            (days.map(str::to_owned).to_vec(), self.cells_a_row / 7 + 1)
        };
        let marks: String = marks.iter().map(|mark| format!("{mark:cells$}")).collect();
        let what = if self.days_a_row == 1 { "hours" } else { "weeks" };
        format!("{what} in {zone}\n{:LABEL$} {}", "", marks.trim_end())
    }

    fn label(&self, row: usize) -> String {
        let form = if self.days_a_row == 1 { "%a %m-%d" } else { "%Y-%m-%d" };
        format!("{:LABEL$}", self.begin(row, 0).strftime(form).to_string())
    }

    fn is_in(&self, row: usize, change: &ClockChange) -> bool {
        self.place(change.at).0 == row
    }

    fn note(&self, change: &ClockChange) -> String {
        let said = clock_change(change);
        let own = self.zone.iana_name().is_some_and(|name| name == change.zone);
        if own && self.days_a_row == 1 { said.split(' ').skip(2).collect::<Vec<_>>().join(" ") } else { said }
    }
}

fn days_between(from: Date, to: Date) -> i64 {
    from.duration_until(to).as_hours() / 24
}

fn count(days: i64) -> usize {
    usize::try_from(days).unwrap_or(0)
}

/// Spans in which an experiment may not run, `[start, end)`, in order.
type Spans = Vec<(Timestamp, Timestamp)>;

/// Finds when windows close the time: once for all experiments that the same windows are about.
fn closed(ahead: &Ahead<'_>) -> Vec<Spans> {
    let windows = &ahead.settings.rules.windows;
    let experiments = ahead.chosen.iter().filter_map(|name| ahead.settings.rules.experiments.get(name));
    let about = |experiment: &Experiment| -> Vec<bool> {
        windows.iter().map(|window: &Window| window.scope.holds(experiment)).collect()
    };
    let kinds: BTreeMap<Vec<bool>, &Experiment> =
        experiments.map(|experiment| (about(experiment), experiment)).collect();
    kinds.into_values().map(|experiment| spans(windows, experiment, ahead.from, ahead.to)).collect()
}

fn spans(windows: &Windows, experiment: &Experiment, from: Timestamp, to: Timestamp) -> Spans {
    let (mut spans, mut at) = (Spans::new(), from);
    while spans.len() < MAX_SPANS
        && let Some(closure) = window::first_closure(windows, experiment, at, to)
    {
        let end = closure.until.unwrap_or(to).min(to);
        spans.push((closure.opens, end));
        at = end.max(at.saturating_add(SignedDuration::from_nanos(1)).unwrap_or(to));
    }
    spans
}

/// Lists the experiments that have slots, in name order.
fn named<'a>(lines: &[Line<'a>]) -> Vec<&'a ExperimentName> {
    let mut named: Vec<&ExperimentName> = lines.iter().map(|line| line.experiment).collect();
    named.sort();
    named.dedup();
    named
}

/// Draws a cell.
fn paint(shade: Shade, marks: Option<&Marks>, experiments: usize) -> String {
    let letters = experiments <= LETTERS;
    let letter = |first: u8, of: &[usize]| {
        let same = of.windows(2).all(|pair| pair[0] == pair[1]);
        of.first()
            .filter(|_| same && letters)
            .and_then(|index| u8::try_from(*index).ok())
            .map(|index| char::from(first + index))
    };
    if let Some(Marks { starts, .. }) = marks.filter(|marks| !marks.starts.is_empty()) {
        let several = || u32::try_from(starts.len()).ok().and_then(|n| char::from_digit(n, 10)).unwrap_or('+');
        return Style::new().green().bold().apply_to(letter(b'A', starts).unwrap_or_else(several)).to_string();
    }
    if let Some(Marks { refused, .. }) = marks {
        return Style::new().red().apply_to(letter(b'a', refused).unwrap_or('!')).to_string();
    }
    match shade {
        Shade::Outside => " ".to_owned(),
        Shade::Open => Style::new().dim().apply_to('·').to_string(),
        Shade::ClosedToSome => Style::new().dim().apply_to('░').to_string(),
        Shade::ClosedToAll => Style::new().dim().apply_to('▓').to_string(),
    }
}

fn legend(grid: &Grid, named: &[&ExperimentName], has_windows: bool) -> String {
    let mut text = String::new();
    if named.len() <= LETTERS {
        for (letter, name) in ('A'..='Z').zip(named) {
            text.push_str(&format!("{letter} {name}  "));
        }
        text.truncate(text.trim_end().len());
        text.push_str("\nA starts, a does not; 2-9 so many start, + more; ! several do not");
    } else {
        text.push_str("1-9 so many start, + more; ! does not");
    }
    if has_windows {
        text.push_str("; windows close ░ to some, ▓ to all");
    }
    let minutes = grid.minutes_a_cell();
    let cell = if minutes.is_multiple_of(60) { format!("{} h", minutes / 60) } else { format!("{minutes} min") };
    format!("\n{text}; a cell is {cell}\n")
}
