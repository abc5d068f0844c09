//! The engine's store on SQLite: every change one transaction, durable when acknowledged (WAL, `synchronous=FULL`).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Sqlite, Transaction};
use tokio::sync::MutexGuard;

use super::{
    SqliteStore, changes, history,
    rows::{from_json, from_us, name, read_failed, to_json, write_failed},
};
use crate::{
    domain::{
        ids::{ExperimentName, RunId},
        ledger::Ledger,
        plan::{Halt, PauseRow, Pausing, StopRequest},
        run::Run,
    },
    engine::ports::{
        Arrival, Change, Committed, EventRow, Found, Lease, QuarantinedMessage, Recorded, Rows, Store, StoreError,
    },
};

/// Most messages in quarantine; with bodies of up to 256 KiB they take 256 MiB. The oldest go first.
pub const MAX_QUARANTINED: i64 = 1_000;

/// A transaction that writes.
pub(super) type Tx<'a> = Transaction<'a, Sqlite>;

/// A row of [`ROWS`]: its table, what names it, its body, and a time.
type Columns = (String, Option<String>, Option<String>, Option<String>, Option<i64>);

/// All that decisions rest on: one statement is one consistent picture. The limit keeps the order of the runs.
const ROWS: &str = "SELECT 'cursors', experiment, schedule, NULL, at_us FROM cursors
     UNION ALL SELECT 'runs', NULL, NULL, body, NULL FROM
         (SELECT body FROM runs WHERE is_open = 1 ORDER BY opened_at_us, rowid LIMIT -1)
     UNION ALL SELECT 'deployments', experiment, key, body, NULL FROM deployments
         WHERE (experiment, key) IN
             (SELECT experiment, body ->> '$.trigger.deployment.key' FROM runs WHERE is_open = 1)
     UNION ALL SELECT 'halt', NULL, NULL, body, NULL FROM halt
     UNION ALL SELECT 'stop_requests', run, NULL, body, NULL FROM stop_requests
     UNION ALL SELECT 'ledgers', experiment, NULL, body, NULL FROM ledgers
     UNION ALL SELECT 'pauses', experiment, NULL, body, NULL FROM pauses";

impl Store for SqliteStore {
    /// The lock of the file is the lease.
    async fn hold(&self) -> Result<Lease, StoreError> {
        Ok(Lease::Held { until: None })
    }

    async fn release(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn load(&self) -> Result<Rows, StoreError> {
        let found: Vec<Columns> = sqlx::query_as(ROWS).fetch_all(&self.pool).await.map_err(read_failed)?;
        let take = |known: &Mutex<Parsed>| std::mem::take(&mut *known.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut known, mut parsed, mut rows) = (take(&self.parsed), Parsed::default(), Rows::default());
        for (table, first, second, body, us) in found {
            let (first, second) = (first.unwrap_or_default(), second.unwrap_or_default());
            let body = body.unwrap_or_default();
            match table.as_str() {
                "cursors" => {
                    let key = (name("cursors", &first)?, name("cursors", &second)?);
                    rows.cursors.insert(key, from_us("cursors", us.unwrap_or_default())?);
                }
                "runs" => rows.runs.push(again(&mut known.runs, &mut parsed.runs, body, "runs")?),
                "deployments" => {
                    rows.deployed.insert((name("deployments", &first)?, second), from_json("deployments", &body)?);
                }
                "halt" => rows.halt = Some(from_json("halt", &body)?),
                "stop_requests" => {
                    rows.stops.insert(RunId::from_text(&first), from_json("stop_requests", &body)?);
                }
                "ledgers" => {
                    let ledger = again(&mut known.ledgers, &mut parsed.ledgers, body, "ledgers")?;
                    rows.ledgers.insert(name("ledgers", &first)?, ledger);
                }
                _pauses => {
                    rows.pauses.insert(name("pauses", &first)?, from_json("pauses", &body)?);
                }
            }
        }
        *self.parsed.lock().unwrap_or_else(PoisonError::into_inner) = parsed;
        Ok(rows)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        let (_turn, mut tx) = self.write().await?;
        let committed = changes::make(&mut tx, changes).await?;
        tx.commit().await.map_err(write_failed)?;
        Ok(committed)
    }

    async fn record_events(&self, arrivals: Vec<Arrival>) -> Result<Vec<Recorded>, StoreError> {
        let (_turn, mut tx) = self.write().await?;
        let (mut recorded, mut opened) = (Vec::new(), Vec::new());
        for Arrival { event, runs } in &arrivals {
            let ids: Vec<&str> = runs.iter().map(|run| run.id.as_str()).collect();
            let inserted = sqlx::query(
                "INSERT INTO events (source, event_id, detail_type, received_at_us, runs, queue, body)
                 VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
            )
            .bind(&event.source)
            .bind(&event.event_id)
            .bind(&event.detail_type)
            .bind(event.received_at.as_microsecond())
            .bind(to_json("events", &ids)?)
            .bind(&event.queue)
            .bind(&event.body)
            .execute(&mut *tx)
            .await
            .map_err(write_failed)?;
            let new: Vec<&Run> = match inserted.rows_affected() {
                0 => opened_by_copy(&mut tx, event, runs).await?,
                _ => runs.iter().collect(),
            };
            let is_known = inserted.rows_affected() == 0 && new.is_empty();
            recorded.push(if is_known { Recorded::Known } else { Recorded::New });
            opened.extend(new.into_iter().map(|run| (run, event.received_at)));
        }
        changes::open(&mut tx, &opened).await?;
        tx.commit().await.map_err(write_failed)?;
        Ok(recorded)
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        let (_turn, mut tx) = self.write().await?;
        for message in messages {
            sqlx::query(
                "INSERT INTO quarantine (queue, message_id, received_at_us, reason, body, body_bytes)
                 VALUES (?, ?, ?, ?, ?, ?)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&message.queue)
            .bind(&message.message_id)
            .bind(message.received_at.as_microsecond())
            .bind(&message.reason)
            .bind(&message.body)
            .bind(i64::try_from(message.body_bytes).unwrap_or(i64::MAX))
            .execute(&mut *tx)
            .await
            .map_err(write_failed)?;
        }
        // Rows are numbered as they come, so that the oldest are found without a look at the others.
        let gone = sqlx::query("DELETE FROM quarantine WHERE rowid <= (SELECT MAX(rowid) FROM quarantine) - ?")
            .bind(MAX_QUARANTINED)
            .execute(&mut *tx)
            .await
            .map_err(write_failed)?
            .rows_affected();
        if gone > 0 {
            tracing::warn!(rows = gone, "the quarantine is full: its oldest messages are forgotten");
        }
        tx.commit().await.map_err(write_failed)
    }

    async fn quarantined_message(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Option<QuarantinedMessage>, StoreError> {
        let row = sqlx::query_as(
            "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
             WHERE queue = ? AND message_id = ?",
        )
        .bind(queue)
        .bind(message_id)
        .fetch_optional(&self.pool)
        .await
        .map_err(read_failed)?;
        row.map(history::quarantined).transpose()
    }

    async fn forget_quarantined(&self, queue: &str, message_id: &str) -> Result<Found, StoreError> {
        let deleted = sqlx::query("DELETE FROM quarantine WHERE queue = ? AND message_id = ?")
            .bind(queue)
            .bind(message_id)
            .execute(&self.pool)
            .await
            .map_err(write_failed)?;
        Ok(if deleted.rows_affected() > 0 { Found::Yes } else { Found::No })
    }

    async fn request_runs(&self, runs: Vec<Run>) -> Result<Recorded, StoreError> {
        let (_turn, mut tx) = self.write().await?;
        let opened: Vec<_> = runs.iter().map(|run| (run, run.opened_at)).collect();
        let new = changes::open(&mut tx, &opened).await?;
        tx.commit().await.map_err(write_failed)?;
        Ok(if new.is_empty() { Recorded::Known } else { Recorded::New })
    }

    async fn request_stop(&self, run: RunId, request: StopRequest) -> Result<Found, StoreError> {
        let inserted = sqlx::query(
            "INSERT INTO stop_requests (run, at_us, body) SELECT id, ?, ? FROM runs WHERE id = ? AND is_open = 1
             ON CONFLICT DO UPDATE SET body = body",
        )
        .bind(request.at.as_microsecond())
        .bind(to_json("stop_requests", &request)?)
        .bind(run.as_str())
        .execute(&self.pool)
        .await
        .map_err(write_failed)?;
        Ok(if inserted.rows_affected() == 0 { Found::No } else { Found::Yes })
    }

    async fn set_halt(&self, halt: Option<Halt>) -> Result<(), StoreError> {
        let query = match halt {
            Some(halt) => {
                sqlx::query("INSERT INTO halt (id, body) VALUES (1, ?) ON CONFLICT DO UPDATE SET body = excluded.body")
                    .bind(to_json("halt", &halt)?)
            }
            None => sqlx::query("DELETE FROM halt"),
        };
        query.execute(&self.pool).await.map_err(write_failed)?;
        Ok(())
    }

    async fn set_pause(&self, experiment: ExperimentName, change: Pausing) -> Result<(), StoreError> {
        let (_turn, mut tx) = self.write().await?;
        let row: PauseRow = row_of(&mut tx, "pauses", &experiment).await?;
        if let Pausing::Resume { .. } = change {
            let mut ledger: Ledger = row_of(&mut tx, "ledgers", &experiment).await?;
            ledger.forgive();
            write_row(&mut tx, "ledgers", &experiment, &ledger).await?;
        }
        write_row(&mut tx, "pauses", &experiment, &row.after(change)).await?;
        tx.commit().await.map_err(write_failed)
    }
}

impl SqliteStore {
    /// Begins a transaction that has the write lock from the start, so that it cannot fail half-way for want of it. Writers of
    /// this process take turns: SQLite lets who finds it locked sleep for up to 100 ms, whenever it is free again.
    async fn write(&self) -> Result<(MutexGuard<'_, ()>, Tx<'static>), StoreError> {
        let turn = self.turn.lock().await;
        Ok((turn, self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(write_failed)?))
    }
}

/// Returns the runs that a further copy of a known event opens, and notes them with it: those that no copy has opened before.
async fn opened_by_copy<'a>(tx: &mut Tx<'_>, event: &EventRow, runs: &'a [Run]) -> Result<Vec<&'a Run>, StoreError> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let known: String = sqlx::query_scalar("SELECT runs FROM events WHERE source = ? AND event_id = ?")
        .bind(&event.source)
        .bind(&event.event_id)
        .fetch_one(&mut **tx)
        .await
        .map_err(write_failed)?;
    let mut ids: Vec<RunId> = from_json("events", &known)?;
    let new: Vec<&Run> = runs.iter().filter(|run| !ids.contains(&run.id)).collect();
    if new.is_empty() {
        return Ok(new);
    }
    ids.extend(new.iter().map(|run| run.id.clone()));
    let note = sqlx::query("UPDATE events SET runs = ? WHERE source = ? AND event_id = ?")
        .bind(to_json("events", &ids)?)
        .bind(&event.source)
        .bind(&event.event_id);
    note.execute(&mut **tx).await.map_err(write_failed)?;
    Ok(new)
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
    body: String,
    row: &str,
) -> Result<T, StoreError> {
    let value = match known.remove(&body) {
        Some(value) => value,
        None => from_json(row, &body)?,
    };
    parsed.insert(body, value.clone());
    Ok(value)
}

/// Reads an experiment's row of a table that has one JSON row an experiment.
async fn row_of<T: DeserializeOwned + Default>(
    tx: &mut Tx<'_>,
    table: &'static str,
    experiment: &ExperimentName,
) -> Result<T, StoreError> {
    let query = match table {
        "pauses" => "SELECT body FROM pauses WHERE experiment = ?",
        _ => "SELECT body FROM ledgers WHERE experiment = ?",
    };
    let body: Option<String> =
        sqlx::query_scalar(query).bind(experiment.as_str()).fetch_optional(&mut **tx).await.map_err(read_failed)?;
    Ok(body.map(|body| from_json(table, &body)).transpose()?.unwrap_or_default())
}

/// Writes such a row.
async fn write_row<T: Serialize>(
    tx: &mut Tx<'_>,
    table: &'static str,
    experiment: &ExperimentName,
    row: &T,
) -> Result<(), StoreError> {
    let query = match table {
        "pauses" => {
            "INSERT INTO pauses (experiment, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body"
        }
        _ => "INSERT INTO ledgers (experiment, body) VALUES (?, ?) ON CONFLICT DO UPDATE SET body = excluded.body",
    };
    let done = sqlx::query(query).bind(experiment.as_str()).bind(to_json(table, row)?).execute(&mut **tx).await;
    done.map(|_| ()).map_err(write_failed)
}
