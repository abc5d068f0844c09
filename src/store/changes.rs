//! Changes of rows: any number of them in one transaction, those of a kind in one statement each.
//!
//! Ten thousand slots may be due in the same second, and a statement costs more than a row. The rows of a statement are one
//! parameter, a JSON list of lists.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    rows::{from_json, run_columns, to_json, write_failed},
    sqlite::Tx,
};
use crate::{
    domain::{
        deployment::{Deployed, DeployedKey},
        ids::ExperimentName,
        ledger::{Ledger, Noted},
        plan::{Explained, ScheduleKey},
        run::{Observation, Run},
    },
    engine::ports::{Change, Committed, Journaled, StoreError},
};

const ADOPT: &str = "INSERT INTO cursors (experiment, schedule, at_us)
     SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?) WHERE TRUE ON CONFLICT DO NOTHING
     RETURNING json_array(experiment, schedule)";

const FORGET: &str = "DELETE FROM cursors
     WHERE (experiment, schedule) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";

const MOVE: &str = "UPDATE cursors SET at_us = MAX(at_us, new.value ->> 2) FROM json_each(?) AS new
     WHERE experiment = new.value ->> 0 AND schedule = new.value ->> 1";

const OPEN: &str =
    "INSERT INTO runs (id, experiment, trigger_kind, trigger_key, opened_at_us, phase, is_open, changed_at_us,
                       revision, body)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
            value ->> 8, value ->> 9
     FROM json_each(?) WHERE TRUE ON CONFLICT DO NOTHING RETURNING id";

const ADVANCE: &str =
    "UPDATE runs SET phase = new.value ->> 5, is_open = new.value ->> 6, changed_at_us = new.value ->> 7,
                     revision = new.value ->> 8, body = new.value ->> 9
     FROM json_each(?) AS new
     WHERE runs.id = new.value ->> 0 AND runs.revision = (new.value ->> 8) - 1 RETURNING id";

const WITHDRAW: &str = "DELETE FROM stop_requests WHERE run IN (SELECT value FROM json_each(?))";

const APPEND: &str = "INSERT INTO journal (at_us, run, kind, observation, explained)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)";

const LEDGERS: &str = "SELECT json_array(experiment, body) FROM ledgers
     WHERE experiment IN (SELECT value FROM json_each(?))";

const NOTE: &str = "INSERT INTO ledgers (experiment, body) SELECT value ->> 0, value ->> 1 FROM json_each(?) WHERE TRUE
     ON CONFLICT DO UPDATE SET body = excluded.body";

/// Rows of deployments by their keys: what a list of lists `[experiment, key]` names.
const DEPLOYMENTS: &str = "SELECT json_array(experiment, key, body) FROM deployments
     WHERE (experiment, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?))";

const REMEMBER: &str = "INSERT INTO deployments (experiment, key, changed_at_us, body)
     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?) WHERE TRUE
     ON CONFLICT DO UPDATE SET changed_at_us = excluded.changed_at_us, body = excluded.body";

/// Makes changes, each of another row; tells of each whether it was made.
pub(super) async fn make(tx: &mut Tx<'_>, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
    let (mut adopted, mut forgotten, mut moved) = (Vec::new(), Vec::new(), Vec::new());
    let (mut opened, mut advanced) = (Vec::new(), Vec::new());
    for change in changes {
        match change {
            Change::AdoptSchedule { schedule, at } => adopted.push((&schedule.0, &schedule.1, at.as_microsecond())),
            Change::ForgetSchedule { schedule } => forgotten.push(schedule),
            Change::OpenSlots { schedule, cursor, runs, at } => {
                moved.push((&schedule.0, &schedule.1, cursor.as_microsecond()));
                opened.extend(runs.iter().map(|run| (run, *at)));
            }
            Change::Advance { run, at, .. } => advanced.push(run_columns(run, *at)?),
        }
    }
    let adopted = write(tx, ADOPT, &adopted).await?;
    write(tx, FORGET, &forgotten).await?;
    write(tx, MOVE, &moved).await?;
    let opened = open(tx, &opened).await?;
    let advanced = write(tx, ADVANCE, &advanced).await?;
    let done = |change: &Change| match change {
        Change::AdoptSchedule { schedule, .. } => Ok(adopted.contains(&key(schedule)?)),
        Change::ForgetSchedule { .. } => Ok(true),
        Change::OpenSlots { runs, .. } => Ok(runs.iter().any(|run| opened.contains(run.id.as_str()))),
        Change::Advance { run, .. } => Ok(advanced.contains(run.id.as_str())),
    };
    let committed: Vec<Committed> = changes
        .iter()
        .map(|change| Ok(if done(change)? { Committed::Done } else { Committed::Stale }))
        .collect::<Result<_, StoreError>>()?;
    let made = changes.iter().zip(&committed).filter(|(_, committed)| **committed == Committed::Done);
    after_advance(tx, &made.map(|(change, _)| change).collect::<Vec<_>>()).await?;
    Ok(committed)
}

/// Inserts runs, each recorded at an instant, and journals those that were not known; returns their ids.
pub(super) async fn open(tx: &mut Tx<'_>, runs: &[(&Run, Timestamp)]) -> Result<BTreeSet<String>, StoreError> {
    let rows: Vec<_> = runs.iter().map(|(run, at)| run_columns(run, *at)).collect::<Result<_, _>>()?;
    let new = write(tx, OPEN, &rows).await?;
    let opened: Vec<_> = runs.iter().filter(|(run, _)| new.contains(run.id.as_str())).collect();
    let entries: Vec<_> =
        opened.iter().map(|(run, at)| entry(run, &run.opening(), &[], *at)).collect::<Result<_, _>>()?;
    write(tx, APPEND, &entries).await?;
    let openings: Vec<_> = opened.iter().map(|(run, at)| (*run, run.opening(), *at)).collect();
    remember(tx, openings.iter().map(|(run, opening, at)| (*run, opening, *at))).await?;
    Ok(new)
}

/// Reads the rows of deployments that keys name.
pub(super) async fn deployed(
    tx: &mut Tx<'_>,
    keys: &BTreeSet<DeployedKey>,
) -> Result<BTreeMap<DeployedKey, Deployed>, StoreError> {
    let rows = write(tx, DEPLOYMENTS, &keys.iter().collect::<Vec<_>>()).await?;
    let read = |row: String| {
        let (experiment, key, body): (ExperimentName, String, String) = from_json("deployments", &row)?;
        Ok(((experiment, key), from_json("deployments", &body)?))
    };
    rows.into_iter().map(read).collect()
}

/// Notes what happened to runs, in that order, in the rows of what they are about.
async fn remember<'a>(
    tx: &mut Tx<'_>,
    happened: impl Iterator<Item = (&'a Run, &'a Observation, Timestamp)> + Clone,
) -> Result<(), StoreError> {
    let keys: BTreeSet<_> = happened.clone().filter_map(|(run, ..)| Deployed::key(run)).collect();
    let mut rows = deployed(tx, &keys).await?;
    let mut changed = BTreeMap::new();
    for (run, observation, at) in happened {
        let Some(key) = Deployed::key(run) else { continue };
        if rows.entry(key.clone()).or_default().note(run, observation, at) == Noted::Changed {
            changed.insert(key, at);
        }
    }
    let bodies = changed.iter().filter_map(|(key, at)| Some((key, at, rows.get(key)?)));
    let bodies: Vec<_> = bodies
        .map(|(key, at, row)| Ok((&key.0, &key.1, at.as_microsecond(), to_json("deployments", row)?)))
        .collect::<Result<_, _>>()?;
    write(tx, REMEMBER, &bodies).await.map(|_| ())
}

/// Writes what goes with runs that have changed: journal, ledgers, and stops that no run is left for.
async fn after_advance(tx: &mut Tx<'_>, made: &[&Change]) -> Result<(), StoreError> {
    let (mut over, mut entries, mut noted) = (Vec::new(), Vec::new(), Vec::new());
    for change in made {
        let Change::Advance { run, observation, journal, definition, explained, at } = change else { continue };
        if run.is_over() {
            over.push(&run.id);
        }
        if *journal == Journaled::Yes {
            entries.push(entry(run, observation, explained, *at)?);
            noted.push((run, observation, definition.as_deref(), *at));
        }
    }
    write(tx, WITHDRAW, &over).await?;
    write(tx, APPEND, &entries).await?;
    remember(tx, noted.iter().map(|(run, observation, _, at)| (&***run, *observation, *at))).await?;
    noted.retain(|(run, observation, ..)| Ledger::heeds(run, observation));
    let experiments: BTreeSet<_> = noted.iter().map(|(run, ..)| &run.experiment).collect();
    let mut ledgers: BTreeMap<String, Ledger> = BTreeMap::new();
    for row in write(tx, LEDGERS, &experiments.into_iter().collect::<Vec<_>>()).await? {
        let (experiment, body): (String, String) = from_json("ledgers", &row)?;
        ledgers.insert(experiment, from_json("ledgers", &body)?);
    }
    let mut changed = BTreeSet::new();
    for (run, observation, definition, at) in noted {
        let ledger = ledgers.entry(run.experiment.to_string()).or_default();
        if ledger.note(run, observation, at, definition) == Noted::Changed {
            changed.insert(run.experiment.as_str());
        }
    }
    let bodies = ledgers.iter().filter(|(experiment, _)| changed.contains(experiment.as_str()));
    let bodies: Vec<_> =
        bodies.map(|(name, ledger)| Ok((name, to_json("ledgers", ledger)?))).collect::<Result<_, _>>()?;
    write(tx, NOTE, &bodies).await.map(|_| ())
}

/// Runs a statement over rows and returns what it returns; without rows it does nothing.
async fn write<T: Serialize>(tx: &mut Tx<'_>, sql: &'static str, rows: &[T]) -> Result<BTreeSet<String>, StoreError> {
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let query = sqlx::query_scalar(sql).bind(to_json("changes", &rows)?);
    let found: Vec<String> = query.fetch_all(&mut **tx).await.map_err(write_failed)?;
    Ok(found.into_iter().collect())
}

fn key(schedule: &ScheduleKey) -> Result<String, StoreError> {
    to_json("cursors", schedule)
}

/// A row of the journal.
fn entry<'a>(
    run: &'a Run,
    observation: &Observation,
    explained: &[Explained],
    at: Timestamp,
) -> Result<(i64, &'a str, &'static str, String, Option<String>), StoreError> {
    let explained = if explained.is_empty() { None } else { Some(to_json("journal", &explained)?) };
    Ok((at.as_microsecond(), run.id.as_str(), observation.as_str(), to_json("journal", observation)?, explained))
}
