//! Whether a store is sound: the file itself, every row by itself, and what rows say of each other.
//!
//! Reads one consistent picture and changes nothing; an agent may write meanwhile. Memory does not grow with the store.

use std::{fmt, path::Path};

use futures_util::TryStreamExt;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    Progress, Told, UpkeepError,
    retold::Retold,
    snapshot::{Counts, Snapshot},
    tables::Dialect,
};
use crate::{
    domain::{
        deployment::Deployed,
        ids::RunId,
        ledger::Ledger,
        plan::{Explained, Halt, PauseRow, StopRequest},
        run::{Observation, Run},
    },
    engine::ports::StoreError,
    store::{
        calendars,
        rows::{from_json, from_us, name, run_columns},
        text::Text,
    },
};

/// Most findings that are kept; the others are counted.
pub const MAX_FINDINGS: usize = 100;

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// In which table; `file` for what SQLite says of the file.
    pub table: &'static str,
    /// In which row; of the journal, its position.
    pub key: String,
    /// What.
    pub problem: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.table, self.key, self.problem)
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Rows of each table.
    pub rows: Counts,
    /// The first [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many there are.
    pub count: u64,
}

impl Report {
    fn note(&mut self, table: &'static str, key: impl Into<String>, problem: impl Into<String>) {
        self.count += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { table, key: key.into(), problem: problem.into() });
        }
    }

    /// Notes what cannot be read.
    fn read<T>(&mut self, table: &'static str, key: &str, read: Result<T, StoreError>) -> Option<T> {
        read.map_err(|error| self.note(table, key, unreadable(&error))).ok()
    }
}

/// Says why a row cannot be read.
fn unreadable(error: &StoreError) -> String {
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    format!("this version cannot read it: {cause}")
}

/// Checks a store that a picture was taken of.
///
/// # Errors
/// [`UpkeepError::Store`] when it cannot be read at all.
pub async fn check(snapshot: &mut Snapshot, told: Told<'_>) -> Result<Report, UpkeepError> {
    let failed = UpkeepError::store(&snapshot.store);
    let mut report = Report::default();
    if snapshot.dialect() == Dialect::Sqlite {
        file(snapshot, &mut report).await.map_err(&failed)?;
        if report.count > 0 {
            // What rows say is of no use then, and reading them may fail.
            return Ok(report);
        }
    }
    report.rows = snapshot.counts().await?;
    told(Progress::Total(report.rows.values().sum()));
    for checked in [
        runs(snapshot, &mut report, told).await,
        what_is_planned_by(snapshot, &mut report, told).await,
        what_came_in(snapshot, &mut report, told).await,
        what_was_asked(snapshot, &mut report, told).await,
        replicas(snapshot, &mut report).await,
    ] {
        checked.map_err(&failed)?;
    }
    Ok(report)
}

/// Checks an SQLite file.
///
/// # Errors
/// As [`check`], and [`UpkeepError::Open`].
pub async fn file_at(path: &Path, told: Told<'_>) -> Result<Report, UpkeepError> {
    let mut snapshot = Snapshot::of_file(path).await?;
    let report = check(&mut snapshot, told).await;
    snapshot.close().await;
    report
}

/// What SQLite says of its file.
async fn file(snapshot: &mut Snapshot, report: &mut Report) -> Result<(), StoreError> {
    let mut said = snapshot.rows::<(Text,)>(format!("PRAGMA integrity_check({MAX_FINDINGS})"));
    while let Some((text,)) = said.try_next().await? {
        if &*text != "ok" {
            report.note("file", "", text.0);
        }
    }
    Ok(())
}

/// Runs, each followed by its journal: id, position (-1: the row), time, body or observation, what guards said, and of the
/// row its columns.
type Line = (
    Text,
    i64,
    i64,
    Text,
    Option<Text>,
    Option<Text>,
    Option<Text>,
    Option<Text>,
    Option<Text>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

const LINES: &str = "SELECT id AS run, -1 AS seq, opened_at_us, body, CAST(NULL AS TEXT), experiment, trigger_kind, trigger_key,
            phase, is_open, changed_at_us, revision FROM runs
     UNION ALL SELECT run, seq, at_us, observation, explained, CAST(NULL AS TEXT), CAST(NULL AS TEXT), CAST(NULL AS TEXT),
            CAST(NULL AS TEXT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT) FROM journal
     ORDER BY 1, 2";

/// A run of which the lines are being read.
struct Current {
    id: String,
    /// Whether there is a row, and what it says.
    row: Row,
    retold: Retold,
    entries: u64,
}

enum Row {
    Missing,
    Unreadable,
    Read(Box<Run>),
}

impl Current {
    fn end(self, report: &mut Report) {
        match self.row {
            Row::Missing => {
                report.note("journal", self.id, format!("{} entries of a run that is not there", self.entries))
            }
            Row::Unreadable => {}
            Row::Read(run) => {
                if let Err(problem) = self.retold.compare(&run) {
                    report.note("runs", self.id, problem);
                }
            }
        }
    }
}

async fn runs(snapshot: &mut Snapshot, report: &mut Report, told: Told<'_>) -> Result<(), StoreError> {
    let mut lines = snapshot.rows::<Line>(LINES.to_owned());
    let mut current: Option<Current> = None;
    while let Some(line) = lines.try_next().await? {
        told(Progress::Rows(1));
        if current.as_ref().is_none_or(|current| current.id != *line.0) {
            if let Some(before) = current.take() {
                before.end(report);
            }
            current = Some(Current { id: line.0.0.clone(), row: Row::Missing, retold: Retold::Nothing, entries: 0 });
        }
        let Some(current) = &mut current else { continue };
        if line.1 < 0 {
            current.row = row(&line, report).map_or(Row::Unreadable, |run| Row::Read(Box::new(run)));
        } else {
            current.entries += 1;
            entry(current, line, report);
        }
    }
    if let Some(last) = current {
        last.end(report);
    }
    Ok(())
}

/// Reads a run, and holds its columns against its body.
fn row(line: &Line, report: &mut Report) -> Option<Run> {
    let (id, _, opened_at, body, _, experiment, kind, key, phase, is_open, changed_at, revision) = line;
    let run: Run = report.read("runs", id, from_json("runs", body))?;
    let at = report.read("runs", id, from_us("runs", changed_at.unwrap_or_default()))?;
    let columns = report.read("runs", id, run_columns(&run, at))?;
    let text = |column: &Option<Text>| column.as_ref().map(|text| text.0.clone()).unwrap_or_default();
    let number = |column: &Option<i64>| column.unwrap_or_default();
    let found =
        (&**id, text(experiment), text(kind), text(key), *opened_at, text(phase), number(is_open), number(revision));
    let said = (
        columns.0,
        columns.1.to_owned(),
        columns.2.to_owned(),
        columns.3.clone(),
        columns.4,
        columns.5.to_owned(),
        columns.6,
        columns.8,
    );
    if found != said {
        report.note("runs", &**id, "its columns say something else than its body");
    }
    if RunId::derive(&run.experiment, &run.trigger.key()) != run.id {
        report.note("runs", &**id, "its id does not follow from its experiment and its trigger");
    }
    Some(run)
}

/// Reads an entry of the journal, and lets it follow the ones before.
fn entry(current: &mut Current, line: Line, report: &mut Report) {
    let (_, seq, us, observation, explained, ..) = line;
    let key = seq.to_string();
    let observation = report.read("journal", &key, from_json::<Observation>("journal", &observation));
    if let Some(explained) = explained {
        report.read("journal", &key, from_json::<Vec<Explained>>("journal", &explained));
    }
    let at = report.read("journal", &key, from_us("journal", us));
    let (Some(observation), Some(at)) = (observation, at) else {
        current.retold = Retold::Broken;
        return;
    };
    if let Row::Read(run) = &current.row
        && let Err(problem) = current.retold.take(run, &observation, at)
    {
        report.note("journal", key, problem);
    }
}

/// Reads every row of a table, and notes those that cannot be read.
async fn each<T: crate::store::database::Columns, R>(
    snapshot: &mut Snapshot,
    sql: &str,
    told: Told<'_>,
    mut look: impl FnMut(T) -> R,
) -> Result<(), StoreError> {
    let mut rows = snapshot.rows::<T>(sql.to_owned());
    while let Some(row) = rows.try_next().await? {
        told(Progress::Rows(1));
        look(row);
    }
    Ok(())
}

/// Looks at a row that has the name of an experiment and a body.
fn named<T: DeserializeOwned>(report: &mut Report, table: &'static str, key: &str, experiment: &str, body: &str) {
    report.read(table, key, name(table, experiment));
    report.read(table, key, from_json::<T>(table, body));
}

/// Cursors, ledgers, pauses, deployments and the halt.
async fn what_is_planned_by(snapshot: &mut Snapshot, report: &mut Report, told: Told<'_>) -> Result<(), StoreError> {
    let sql = "SELECT experiment, schedule, at_us, left_at_us FROM cursors";
    each(snapshot, sql, told, |(experiment, schedule, us, left_us): (Text, Text, i64, Option<i64>)| {
        let key = format!("{}/{}", experiment.0, schedule.0);
        report.read("cursors", &key, name("cursors", &experiment));
        report.read("cursors", &key, name("cursors", &schedule));
        for us in [Some(us), left_us].into_iter().flatten() {
            report.read("cursors", &key, from_us("cursors", us));
        }
    })
    .await?;
    each(snapshot, "SELECT experiment, body FROM ledgers", told, |(experiment, body): (Text, Text)| {
        report.read("ledgers", &experiment, name("ledgers", &experiment));
        if let Err(error) = from_json::<Ledger>("ledgers", &body) {
            let problem = format!("{}; `firedrill resume {}` makes it anew", unreadable(&error), experiment.0);
            report.note("ledgers", &*experiment, problem);
        }
    })
    .await?;
    each(snapshot, "SELECT experiment, body FROM pauses", told, |(experiment, body): (Text, Text)| {
        named::<PauseRow>(report, "pauses", &experiment, &experiment, &body);
    })
    .await?;
    let sql = "SELECT experiment, key, body FROM deployments";
    each(snapshot, sql, told, |(experiment, key, body): (Text, Text, Text)| {
        named::<Deployed>(report, "deployments", &format!("{}/{}", experiment.0, key.0), &experiment, &body);
    })
    .await?;
    each(snapshot, "SELECT id, body FROM halt", told, |(id, body): (i64, Text)| {
        report.read("halt", &id.to_string(), from_json::<Halt>("halt", &body));
    })
    .await
}

/// Events, messages and calendars.
async fn what_came_in(snapshot: &mut Snapshot, report: &mut Report, told: Told<'_>) -> Result<(), StoreError> {
    let sql = "SELECT source, event_id, received_at_us, runs FROM events";
    each(snapshot, sql, told, |(source, id, us, runs): (Text, Text, i64, Text)| {
        let key = format!("{}/{}", source.0, id.0);
        report.read("events", &key, from_us("events", us));
        report.read("events", &key, from_json::<Vec<RunId>>("events", &runs));
    })
    .await?;
    let sql = "SELECT queue, message_id, received_at_us FROM quarantine";
    each(snapshot, sql, told, |(queue, id, us): (Text, Text, i64)| {
        report.read("quarantine", &format!("{}/{}", queue.0, id.0), from_us("quarantine", us));
    })
    .await?;
    let sql = "SELECT name, source, read_at_us, found, failure FROM calendars";
    each(snapshot, sql, told, |row: calendars::Columns| {
        let key = row.0.0.clone();
        report.read("calendars", &key, calendars::row(row));
    })
    .await
}

/// Stops that were asked for, and how far couriers have come.
async fn what_was_asked(snapshot: &mut Snapshot, report: &mut Report, told: Told<'_>) -> Result<(), StoreError> {
    let sql = "SELECT run, at_us, stop_requests.body, is_open FROM stop_requests LEFT JOIN runs ON runs.id = run";
    each(snapshot, sql, told, |(run, us, body, is_open): (Text, i64, Text, Option<i64>)| {
        report.read("stop_requests", &run, from_us("stop_requests", us));
        report.read("stop_requests", &run, from_json::<StopRequest>("stop_requests", &body));
        match is_open {
            Some(1) => {}
            Some(_) => report.note("stop_requests", &*run, "the run to be stopped is over"),
            None => report.note("stop_requests", &*run, "the run to be stopped is not there"),
        }
    })
    .await?;
    let last = snapshot.last_seq().await?;
    each(snapshot, "SELECT name, seq FROM couriers", told, |(courier, seq): (Text, i64)| {
        if !(0..=last).contains(&seq) {
            report.note("couriers", &*courier, format!("it is at position {seq} of a journal that ends at {last}"));
        }
    })
    .await
}

/// What replicas share: one row that says who is active.
async fn replicas(snapshot: &mut Snapshot, report: &mut Report) -> Result<(), StoreError> {
    if snapshot.dialect() == Dialect::Sqlite {
        return Ok(());
    }
    let sql = "SELECT COUNT(*), COALESCE(MAX(fence), 0),
        COUNT(*) FILTER (WHERE renewed_at > clock_timestamp() + interval '1 minute') FROM lease";
    let (rows, fence, ahead): (i64, i64, i64) = snapshot.row(sql.to_owned()).await?;
    if rows != 1 {
        report.note("lease", "1", format!("there are {rows} rows instead of one"));
    }
    if fence < 0 {
        report.note("lease", "1", format!("its number is {fence}"));
    }
    if ahead > 0 {
        report.note("lease", "1", "it was renewed in the future, by the clock of the server");
    }
    Ok(())
}
