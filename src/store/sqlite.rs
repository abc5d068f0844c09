//! The engine's store on SQLite: every change one transaction, durable when acknowledged (WAL, `synchronous=FULL`).

use std::collections::BTreeMap;

use serde::{Serialize, de::DeserializeOwned};
use sqlx::{Sqlite, Transaction};

use super::{
    SqliteStore, changes, history,
    rows::{from_json, from_us, name, read_failed, run, to_json, write_failed},
};
use crate::{
    domain::{
        deployment::Deployed,
        ids::{ExperimentName, RunId},
        ledger::Ledger,
        plan::{Halt, PauseRow, Pausing, StopRequest},
        run::Run,
    },
    engine::ports::{
        Arrival, Change, Committed, EventRow, Found, QuarantinedMessage, Recorded, Rows, Store, StoreError,
    },
};

/// Most messages in quarantine; with bodies of up to 256 KiB they take 256 MiB. The oldest go first.
pub const MAX_QUARANTINED: i64 = 1_000;

/// A transaction that writes.
pub(super) type Tx<'a> = Transaction<'a, Sqlite>;

impl Store for SqliteStore {
    async fn load(&self) -> Result<Rows, StoreError> {
        // One read transaction is one consistent picture.
        let mut tx = self.pool.begin().await.map_err(read_failed)?;
        let mut rows = Rows::default();
        let cursors: Vec<(String, String, i64)> = sqlx::query_as("SELECT experiment, schedule, at_us FROM cursors")
            .fetch_all(&mut *tx)
            .await
            .map_err(read_failed)?;
        for (experiment, schedule, at_us) in cursors {
            let key = (name("cursors", &experiment)?, name("cursors", &schedule)?);
            rows.cursors.insert(key, from_us("cursors", at_us)?);
        }
        let runs: Vec<String> =
            sqlx::query_scalar("SELECT body FROM runs WHERE is_open = 1 ORDER BY opened_at_us, rowid")
                .fetch_all(&mut *tx)
                .await
                .map_err(read_failed)?;
        rows.runs = runs.iter().map(|body| run(body)).collect::<Result<_, _>>()?;
        let keys = rows.runs.iter().filter_map(Deployed::key).collect();
        rows.deployed = changes::deployed(&mut tx, &keys).await?;
        let halt: Option<String> =
            sqlx::query_scalar("SELECT body FROM halt").fetch_optional(&mut *tx).await.map_err(read_failed)?;
        rows.halt = halt.map(|body| from_json("halt", &body)).transpose()?;
        let stops: Vec<(String, String)> =
            sqlx::query_as("SELECT run, body FROM stop_requests").fetch_all(&mut *tx).await.map_err(read_failed)?;
        for (id, body) in stops {
            rows.stops.insert(RunId::from_text(&id), from_json("stop_requests", &body)?);
        }
        rows.ledgers = by_experiment(&mut tx, "ledgers", "SELECT experiment, body FROM ledgers").await?;
        rows.pauses = by_experiment(&mut tx, "pauses", "SELECT experiment, body FROM pauses").await?;
        Ok(rows)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        let mut tx = self.write().await?;
        let committed = changes::make(&mut tx, changes).await?;
        tx.commit().await.map_err(write_failed)?;
        Ok(committed)
    }

    async fn record_events(&self, arrivals: Vec<Arrival>) -> Result<Vec<Recorded>, StoreError> {
        let mut tx = self.write().await?;
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
        let mut tx = self.write().await?;
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
        let mut tx = self.write().await?;
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
        let mut tx = self.write().await?;
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
    /// Begins a transaction that has the write lock from the start, so that it cannot fail half-way for want of it.
    async fn write(&self) -> Result<Tx<'static>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(write_failed)
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

/// Reads a table of one JSON row an experiment.
async fn by_experiment<T: DeserializeOwned>(
    tx: &mut Tx<'_>,
    table: &str,
    query: &'static str,
) -> Result<BTreeMap<ExperimentName, T>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(query).fetch_all(&mut **tx).await.map_err(read_failed)?;
    rows.into_iter().map(|(experiment, body)| Ok((name(table, &experiment)?, from_json(table, &body)?))).collect()
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
