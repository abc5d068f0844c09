//! Changes of rows: any number of them in one transaction, those of a kind in one statement each.
//!
//! Ten thousand slots may be due in the same second, and a statement costs more than a row.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    database::Tx,
    rows::{from_json, name, run_columns, to_json},
    statement::Statement,
    text::Text,
};
use crate::{
    domain::{
        deployment::{Deployed, DeployedKey},
        ids::RunId,
        ledger::{Ledger, Noted},
        plan::{Explained, PauseRow},
        run::{Observation, Run},
    },
    engine::ports::{Change, Committed, Journaled, StoreError},
};

/// Makes changes, each of another row; tells of each whether it was made.
pub(super) async fn make(tx: &mut Tx<'_>, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
    let (mut adopted, mut left, mut forgotten, mut moved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut opened, mut advanced) = (Vec::new(), Vec::new());
    let forbidden = forbidden(tx, changes).await?;
    for change in changes {
        match change {
            Change::AdoptSchedule { schedule, at } => adopted.push((&schedule.0, &schedule.1, at.as_microsecond())),
            Change::LeaveSchedule { schedule, at } => left.push((&schedule.0, &schedule.1, at.as_microsecond())),
            Change::ForgetSchedule { schedule } => forgotten.push(schedule),
            Change::OpenSlots { schedule, cursor, runs, at } => {
                moved.push((&schedule.0, &schedule.1, cursor.as_microsecond()));
                opened.extend(runs.iter().map(|run| (run, *at)));
            }
            Change::Advance { run, .. } if forbidden.contains(&run.id) => {}
            Change::Advance { run, at, .. } => advanced.push(run_columns(run, *at)?),
        }
    }
    let adopted: BTreeSet<(Text, Text)> = tx.rows(Statement::Adopt, &adopted).await?.into_iter().collect();
    tx.each(Statement::Leave, &left).await?;
    tx.each(Statement::Forget, &forgotten).await?;
    tx.each(Statement::Move, &moved).await?;
    let opened = open(tx, &opened).await?;
    let advanced = ids(tx.rows(Statement::Advance, &advanced).await?);
    let done = |change: &Change| match change {
        Change::AdoptSchedule { schedule: (experiment, schedule), .. } => {
            adopted.contains(&(Text(experiment.to_string()), Text(schedule.to_string())))
        }
        Change::LeaveSchedule { .. } | Change::ForgetSchedule { .. } => true,
        Change::OpenSlots { runs, .. } => runs.iter().any(|run| opened.contains(run.id.as_str())),
        Change::Advance { run, .. } => advanced.contains(run.id.as_str()),
    };
    let committed: Vec<Committed> =
        changes.iter().map(|change| if done(change) { Committed::Done } else { Committed::Stale }).collect();
    let made = changes.iter().zip(&committed).filter(|(_, committed)| **committed == Committed::Done);
    after_advance(tx, &made.map(|(change, _)| change).collect::<Vec<_>>()).await?;
    Ok(committed)
}

/// Returns the runs of changes that ask for a start which a halt, a pause or a stop forbids by now.
async fn forbidden<'a>(tx: &mut Tx<'_>, changes: &'a [Change]) -> Result<BTreeSet<&'a RunId>, StoreError> {
    let starts = changes.iter().filter_map(|change| match change {
        Change::Advance { run, observation: Observation::StartAsked { .. }, at, .. } => Some((run, *at)),
        _ => None,
    });
    let starts: Vec<_> = starts.collect();
    let names: Vec<_> = starts.iter().map(|(run, _)| (&run.id, &run.experiment)).collect();
    let rows: Vec<(Text, Option<Text>, Option<Text>)> = tx.rows(Statement::Forbidding, &names).await?;
    let forbids = |(table, of, body): &(Text, Option<Text>, Option<Text>), run: &Run, at: Timestamp| {
        let is_of = |name: &str| of.as_ref().is_some_and(|of| of.0 == name);
        match table.0.as_str() {
            "halt" => true,
            "stop_requests" => is_of(run.id.as_str()),
            _pauses => {
                let body = body.as_ref().map_or("", |body| &body.0);
                let row: Result<PauseRow, _> = from_json("pauses", body);
                is_of(run.experiment.as_str()) && !row.is_ok_and(|row| row.in_force(at).is_none())
            }
        }
    };
    let forbidden = starts.into_iter().filter(|(run, at)| rows.iter().any(|row| forbids(row, run, *at)));
    Ok(forbidden.map(|(run, _)| &run.id).collect())
}

/// Inserts runs, each recorded at an instant, and journals those that were not known; returns their ids.
pub(super) async fn open(tx: &mut Tx<'_>, runs: &[(&Run, Timestamp)]) -> Result<BTreeSet<String>, StoreError> {
    let rows: Vec<_> = runs.iter().map(|(run, at)| run_columns(run, *at)).collect::<Result<_, _>>()?;
    let new = ids(tx.rows(Statement::Open, &rows).await?);
    let opened: Vec<_> = runs.iter().filter(|(run, _)| new.contains(run.id.as_str())).collect();
    let entries: Vec<_> =
        opened.iter().map(|(run, at)| entry(run, &run.opening(), &[], *at)).collect::<Result<_, _>>()?;
    tx.each(Statement::Append, &entries).await?;
    let openings: Vec<_> = opened.iter().map(|(run, at)| (*run, run.opening(), *at)).collect();
    remember(tx, openings.iter().map(|(run, opening, at)| (*run, opening, *at))).await?;
    Ok(new)
}

/// Reads the rows of deployments that keys name.
pub(super) async fn deployed(
    tx: &mut Tx<'_>,
    keys: &BTreeSet<DeployedKey>,
) -> Result<BTreeMap<DeployedKey, Deployed>, StoreError> {
    let rows: Vec<(Text, Text, Text)> = tx.rows(Statement::Deployments, &keys.iter().collect::<Vec<_>>()).await?;
    let read = |(experiment, key, body): (Text, Text, Text)| {
        let row = format!("deployments, {}", experiment.0);
        Ok(((name(&row, &experiment)?, key.0), from_json(&row, &body)?))
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
    tx.each(Statement::Remember, &bodies).await
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
    tx.each(Statement::Withdraw, &over).await?;
    tx.each(Statement::Append, &entries).await?;
    remember(tx, noted.iter().map(|(run, observation, _, at)| (&***run, *observation, *at))).await?;
    noted.retain(|(run, observation, ..)| Ledger::heeds(run, observation));
    let experiments: BTreeSet<_> = noted.iter().map(|(run, ..)| &run.experiment).collect();
    let mut ledgers: BTreeMap<String, Ledger> = BTreeMap::new();
    let kept: Vec<(Text, Text)> = tx.rows(Statement::Ledgers, &experiments.into_iter().collect::<Vec<_>>()).await?;
    for (experiment, body) in kept {
        let ledger = from_json(&format!("ledgers, {}", experiment.0), &body)?;
        ledgers.insert(experiment.0, ledger);
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
    tx.each(Statement::Note, &bodies).await
}

fn ids(found: Vec<(Text,)>) -> BTreeSet<String> {
    found.into_iter().map(|(id,)| id.0).collect()
}

/// A row of the journal.
pub(super) fn entry<'a>(
    run: &'a Run,
    observation: &Observation,
    explained: &[Explained],
    at: Timestamp,
) -> Result<(i64, &'a str, &'static str, String, Option<String>), StoreError> {
    let explained = if explained.is_empty() { None } else { Some(to_json("journal", &explained)?) };
    Ok((at.as_microsecond(), run.id.as_str(), observation.as_str(), to_json("journal", observation)?, explained))
}
