//! The engine's store on a database: every change one transaction, durable when acknowledged.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    SqlStore, changes,
    database::{Database, Tx, Writer},
    history,
    rows::{from_json, from_us, name, to_json},
    statement::Statement,
    text::Text,
};
use crate::{
    domain::{
        ids::{ExperimentName, Name, RunId},
        ledger::Ledger,
        plan::{Cursor, Halt, HaltRunning, Halting, PauseRow, Pausing, StopRequest},
        run::Run,
    },
    engine::ports::{
        Arrival, Change, Committed, EventRow, Found, Lease, QuarantinedMessage, Recorded, Rows, Store, StoreError,
    },
};

/// Most messages in quarantine; with bodies of up to 256 KiB they take 256 MiB. More are refused, and stay where they are.
pub const MAX_QUARANTINED: i64 = 1_000;

/// Most runs that a ledger is made anew of, the newest ones: more than a month's, and not too many to be held at once.
const RETOLD: u32 = 10_000;

/// A row of [`Statement::Rows`]: its table, what names it, its body, and a number.
type Columns = (Text, Option<Text>, Option<Text>, Option<Text>, Option<i64>);

impl Store for SqlStore {
    async fn hold(&self, fingerprint: &str) -> Result<Lease, StoreError> {
        match &self.database {
            // The lock of the file is the lease, as long as that file is there for others to find locked.
            Database::Sqlite(_) => self.is_seated().map(|()| Lease::Held { until: None }),
            Database::Postgres(postgres) => postgres.hold(fingerprint).await,
        }
    }

    async fn release(&self, leaves_it_for: Duration) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(_) => Ok(()),
            Database::Postgres(postgres) => postgres.release(leaves_it_for).await,
        }
    }

    async fn freed(&self) {
        match &self.database {
            Database::Sqlite(_) => std::future::pending().await,
            Database::Postgres(postgres) => postgres.freed().await,
        }
    }

    async fn load(&self) -> Result<Rows, StoreError> {
        let found: Vec<Columns> = self.database.read(Statement::Rows, &[(); 0]).await?;
        let take = |known: &Mutex<Parsed>| std::mem::take(&mut *known.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut known, mut parsed, mut rows) = (take(&self.parsed), Parsed::default(), Rows::default());
        for (table, first, second, body, number) in found {
            let text = |column: Option<Text>| column.map_or_else(String::new, |text| text.0);
            let row = Row { first: text(first), second: text(second), body: text(body), number };
            if let Err(error) = row.read(&table, &mut known, &mut parsed, &mut rows) {
                row.withhold(&table, error, &mut rows);
            }
        }
        *self.parsed.lock().unwrap_or_else(PoisonError::into_inner) = parsed;
        Ok(rows)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        let mut tx = self.write(Writer::Engine).await?;
        let committed = changes::make(&mut tx, changes).await?;
        tx.commit().await?;
        Ok(committed)
    }

    async fn record_events(&self, arrivals: Vec<Arrival>) -> Result<Vec<Recorded>, StoreError> {
        let mut tx = self.write(Writer::Anyone).await?;
        let columns = |Arrival { event, runs }: &Arrival| {
            let ids: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
            let EventRow { source, event_id, detail_type, received_at, queue, body } = event.clone();
            let (at, runs) = (received_at.as_microsecond(), to_json("events", &ids)?);
            Ok((source, event_id, detail_type, at, runs, queue, body))
        };
        let rows: Vec<_> = arrivals.iter().map(columns).collect::<Result<_, StoreError>>()?;
        let mut inserted: BTreeSet<(Text, Text)> = tx.rows(Statement::RecordEvents, &rows).await?.into_iter().collect();
        let (mut recorded, mut opened) = (Vec::new(), Vec::new());
        for Arrival { event, runs } in &arrivals {
            // Of copies within the batch the first was taken.
            let is_first = inserted.remove(&(Text(event.source.clone()), Text(event.event_id.clone())));
            let new: Vec<&Run> =
                if is_first { runs.iter().collect() } else { opened_by_copy(&mut tx, event, runs).await? };
            recorded.push(if is_first || !new.is_empty() { Recorded::New } else { Recorded::Known });
            opened.extend(new.into_iter().map(|run| (run, event.received_at)));
        }
        changes::open(&mut tx, &opened).await?;
        tx.commit().await?;
        Ok(recorded)
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        let kept: Option<(i64,)> = self.database.first(Statement::CountQuarantined, &[(); 0]).await?;
        // Of several at once some may have taken more than there was.
        let room = (MAX_QUARANTINED - kept.map_or(0, |(count,)| count)).max(0);
        let mut new = i64::try_from(messages.len()).unwrap_or(i64::MAX);
        if new > room {
            new = 0;
            // Those that are there already take no more room.
            for QuarantinedMessage { queue, message_id, .. } in &messages {
                new += i64::from(self.quarantined_message(queue, message_id).await?.is_none());
            }
        }
        if new > room {
            return Err(StoreError::Full);
        }
        let mut tx = self.write(Writer::Anyone).await?;
        let columns = |message: QuarantinedMessage| {
            let QuarantinedMessage { queue, message_id, received_at, reason, body, body_bytes } = message;
            let bytes = i64::try_from(body_bytes).unwrap_or(i64::MAX);
            (queue, message_id, received_at.as_microsecond(), reason, body, bytes)
        };
        tx.each(Statement::Quarantine, &messages.into_iter().map(columns).collect::<Vec<_>>()).await?;
        tx.commit().await
    }

    async fn quarantined_message(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Option<QuarantinedMessage>, StoreError> {
        let row = self.database.first(Statement::QuarantinedMessage, &[queue, message_id]).await?;
        row.map(history::quarantined).transpose()
    }

    async fn forget_quarantined(&self, queue: &str, message_id: &str) -> Result<Found, StoreError> {
        let deleted = self.write_one(Writer::Anyone, Statement::ForgetQuarantined, &[queue, message_id]).await?;
        Ok(if deleted > 0 { Found::Yes } else { Found::No })
    }

    async fn request_runs(&self, runs: Vec<Run>) -> Result<Recorded, StoreError> {
        let mut tx = self.write(Writer::Anyone).await?;
        let opened: Vec<_> = runs.iter().map(|run| (run, run.opened_at)).collect();
        let new = changes::open(&mut tx, &opened).await?;
        tx.commit().await?;
        Ok(if new.is_empty() { Recorded::Known } else { Recorded::New })
    }

    async fn request_stop(&self, run: RunId, request: StopRequest) -> Result<Found, StoreError> {
        let columns = (run.as_str(), request.at.as_microsecond(), to_json("stop_requests", &request)?);
        let asked = self.write_one(Writer::Anyone, Statement::AskStop, &columns).await?;
        Ok(if asked == 0 { Found::No } else { Found::Yes })
    }

    async fn halted(&self) -> Result<Option<Halt>, StoreError> {
        let row: Option<(Text,)> = self.database.first(Statement::Halted, &[(); 0]).await?;
        row.map(|(body,)| from_json("halt", &body)).transpose()
    }

    async fn set_halt(&self, change: Halting) -> Result<Option<Halt>, StoreError> {
        let mut tx = self.write(Writer::Anyone).await?;
        let row: Vec<(Text,)> = tx.rows(Statement::Halted, &[()]).await?;
        let row = match (row.first().map(|(body,)| from_json("halt", body)).transpose(), &change) {
            // To halt, and to lift a halt, works over one that nobody can read.
            (Err(error), Halting::Halt(_) | Halting::Resume) => {
                let body = row.first().map(|(Text(body),)| body);
                tracing::error!(body, %error, "the halt's row is replaced; safety levers that it held are left as they are");
                None
            }
            (row, _) => row?,
        };
        let halt = change.after(row);
        match &halt {
            Some(halt) => tx.run(Statement::Halt, &[to_json("halt", halt)?]).await?,
            None => tx.run(Statement::Unhalt, &[(); 0]).await?,
        };
        tx.commit().await?;
        Ok(halt)
    }

    async fn set_pause(&self, experiment: ExperimentName, change: Pausing) -> Result<(), StoreError> {
        let mut tx = self.write(Writer::Anyone).await?;
        if change == Pausing::Resume {
            let kept: Vec<(Text, Text)> = tx.rows(Statement::Ledgers, &[&experiment]).await?;
            for (_, body) in kept {
                let mut ledger: Ledger = from_json("ledgers", &body)?;
                ledger.forgive();
                tx.each(Statement::Note, &[(&experiment, to_json("ledgers", &ledger)?)]).await?;
            }
        }
        tx.run(Statement::Pause, &(&experiment, to_json("pauses", &PauseRow::after(change))?)).await?;
        tx.commit().await
    }

    async fn retell_ledger(
        &self,
        experiment: &ExperimentName,
        groups: Vec<Name>,
        now: Timestamp,
    ) -> Result<Found, StoreError> {
        let mut tx = self.write(Writer::Anyone).await?;
        let kept: Vec<(Text, Text)> = tx.rows(Statement::Ledgers, &[experiment]).await?;
        let unread = kept.first().and_then(|(_, body)| Some((body, from_json::<Ledger>("ledgers", body).err()?)));
        let Some((Text(body), error)) = unread else { return Ok(Found::No) };
        let newest = [json!(experiment), json!(i64::MIN), json!(null), json!(RETOLD)];
        let mut bodies: Vec<(Text,)> = tx.rows(Statement::Runs, &newest).await?;
        bodies.reverse();
        // One that cannot be read either holds up its experiment by itself.
        let runs: Vec<Run> = bodies.iter().filter_map(|(body,)| from_json("runs", body).ok()).collect();
        let (count, of) = (runs.len(), bodies.len());
        tracing::error!(%experiment, body, %error, "its ledger is replaced, by what {count} of its {of} newest runs tell");
        let ledger = Ledger::retold(&runs, groups, now);
        tx.each(Statement::Note, &[(experiment, to_json("ledgers", &ledger)?)]).await?;
        tx.commit().await?;
        Ok(Found::Yes)
    }
}

impl SqlStore {
    /// Hears when the lease is given back, for [`Store::freed`]. Never ends.
    pub async fn listen(&self) {
        match &self.database {
            Database::Sqlite(_) => std::future::pending().await,
            Database::Postgres(postgres) => postgres.listen().await,
        }
    }

    /// Tells whether this replica is the active one, as far as it knows without asking.
    pub fn is_active(&self) -> bool {
        match &self.database {
            Database::Sqlite(_) => true,
            Database::Postgres(postgres) => postgres.is_active(),
        }
    }
}

/// Returns the runs that a further copy of a known event opens, and notes them with it: those that no copy has opened before.
async fn opened_by_copy<'a>(tx: &mut Tx<'_>, event: &EventRow, runs: &'a [Run]) -> Result<Vec<&'a Run>, StoreError> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let known: Vec<(Text, Option<Text>)> = tx.rows(Statement::EventRuns, &[&event.source, &event.event_id]).await?;
    let (ids, queue) = known.into_iter().next().unzip();
    let mut ids: Vec<RunId> = ids.map(|ids| from_json("events", &ids)).transpose()?.unwrap_or_default();
    // A message that comes again was decided when it came first, whatever its experiments are called by now. One that opened
    // nothing may be sent again for a trigger that was missing.
    if !ids.is_empty() && queue.flatten().is_some_and(|Text(queue)| Some(queue) == event.queue) {
        return Ok(Vec::new());
    }
    let new: Vec<&Run> = runs.iter().filter(|run| !ids.contains(&run.id)).collect();
    if new.is_empty() {
        return Ok(new);
    }
    ids.extend(new.iter().map(|run| run.id.clone()));
    tx.run(Statement::NoteCopy, &(&event.source, &event.event_id, to_json("events", &ids)?)).await?;
    Ok(new)
}

/// A row of [`Columns`], of some table.
struct Row {
    first: String,
    second: String,
    body: String,
    number: Option<i64>,
}

impl Row {
    /// Reads it into its place.
    fn read(&self, table: &str, known: &mut Parsed, parsed: &mut Parsed, rows: &mut Rows) -> Result<(), StoreError> {
        let Self { first, second, body, number } = self;
        match table {
            "cursors" => {
                let at = from_us(table, number.unwrap_or_default())?;
                let left_at = Some(body).filter(|us| !us.is_empty());
                let left_at = left_at.map(|us| from_us(table, us.parse().unwrap_or(i64::MAX))).transpose()?;
                rows.cursors.insert((name(table, first)?, name(table, second)?), Cursor { at, left_at });
            }
            "runs" => rows.runs.push(again(&mut known.runs, &mut parsed.runs, body, table)?),
            "deployments" => {
                rows.deployed.insert((name(table, first)?, second.clone()), from_json(table, body)?);
            }
            "halt" => rows.halt = Some(from_json(table, body)?),
            "stop_requests" => {
                rows.stops.insert(RunId::from_text(first), from_json(table, body)?);
            }
            "ledgers" => {
                let ledger = again(&mut known.ledgers, &mut parsed.ledgers, body, table)?;
                rows.ledgers.insert(name(table, first)?, ledger);
            }
            "schema" => rows.restored_at = number.map(|us| from_us(table, us)).transpose()?,
            _pauses => {
                rows.pauses.insert(name(table, first)?, from_json(table, body)?);
            }
        }
        Ok(())
    }

    /// Notes that it cannot be read, and what it may be about.
    fn withhold(&self, table: &str, error: StoreError, rows: &mut Rows) {
        let by = || format!("somebody whose row in `{table}` cannot be read");
        let at = Timestamp::UNIX_EPOCH;
        match table {
            // What may be running is in the way of others, nobody knows of which.
            "runs" if self.number != Some(0) => {
                rows.withheld.add(None);
                rows.unread.insert(RunId::from_text(&self.first));
            }
            "runs" => rows.withheld.add(Name::parse(&self.second).ok()),
            "halt" => {
                let running = HaltRunning::Stop;
                rows.halt = Some(Halt { at, by: by(), reason: None, running, levers: Vec::new() });
                rows.withheld.add(None);
            }
            "stop_requests" => {
                let stop = StopRequest { at, by: by(), reason: None };
                rows.stops.insert(RunId::from_text(&self.first), stop);
            }
            // Gaps of groups and the budget of the month go by the ledgers of others.
            "ledgers" => rows.withheld.add(None),
            _ => rows.withheld.add(Name::parse(&self.first).ok()),
        }
        if let (None, StoreError::Row { row, source }) = (&rows.unreadable, error) {
            let row = format!("{row}, {}", self.first);
            rows.unreadable = Some(Arc::new(StoreError::Row { row, source }));
        }
    }
}

/// What texts said when they were last read: most rows are the same in the next pass.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    runs: HashMap<String, Run>,
    ledgers: HashMap<String, Ledger>,
}

/// Reads a text, unless it was read the last time too.
fn again<T: DeserializeOwned + Clone>(
    known: &mut HashMap<String, T>,
    parsed: &mut HashMap<String, T>,
    body: &str,
    row: &str,
) -> Result<T, StoreError> {
    let (body, value) = match known.remove_entry(body) {
        Some(known) => known,
        None => (body.to_owned(), from_json(row, body)?),
    };
    parsed.insert(body, value.clone());
    Ok(value)
}
