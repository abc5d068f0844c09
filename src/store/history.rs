//! History: what people ask the store, and what couriers carry out of it.

use jiff::{SignedDuration, Timestamp};

use super::{
    SqliteStore,
    rows::{from_json, from_us, read_failed, run, write_failed},
};
use crate::{
    domain::{
        deployment::MAX_COOL_DOWN,
        ids::{ExperimentName, RunId},
        run::{JournalEntry, Run},
        template::TemplateFacts,
    },
    engine::ports::{QuarantinedMessage, StoreError},
};

/// Which runs are wanted.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only of this experiment.
    pub experiment: Option<ExperimentName>,
    /// Only of deployments that have this key, version or id.
    pub deployment: Option<String>,
    /// Only opened at or after this instant.
    pub since: Option<Timestamp>,
    /// At most so many, the newest.
    pub limit: u32,
}

/// An event as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownEvent {
    /// `source`.
    pub source: String,
    /// `detail-type`.
    pub detail_type: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// The runs it opened; none when no trigger matched.
    pub runs: Vec<RunId>,
    /// By which queue or webhook, by our name, where that was kept.
    pub queue: Option<String>,
    /// The event, where it was kept.
    pub body: Option<String>,
}

/// An event as its row has it: source, detail-type, when it was received, runs, queue and body.
type EventColumns = (String, String, i64, String, Option<String>, Option<String>);

/// Events are remembered at least this long, whatever the history: SQS may deliver a message again for 14 days (Amazon
/// SQS developer guide, quotas: message retention), and a forgotten one would start a second run.
pub const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours(15 * 24);

/// Rows deleted in one go by [`SqliteStore::prune`], so that no transaction is long.
const PRUNE_BATCH: i64 = 1_000;

impl SqliteStore {
    /// Returns the newest runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        let bodies: Vec<String> = sqlx::query_scalar(
            "SELECT body FROM runs WHERE (?1 IS NULL OR experiment = ?1) AND opened_at_us >= ?2
                 AND (?4 IS NULL OR ?4 IN (body ->> '$.trigger.deployment.key', body ->> '$.trigger.deployment.version',
                                           body ->> '$.trigger.deployment.id'))
             ORDER BY opened_at_us DESC, id LIMIT ?3",
        )
        .bind(filter.experiment.as_ref().map(ExperimentName::as_str))
        .bind(filter.since.map_or(i64::MIN, Timestamp::as_microsecond))
        .bind(filter.limit)
        .bind(filter.deployment.as_deref())
        .fetch_all(&self.pool)
        .await
        .map_err(read_failed)?;
        bodies.iter().map(|body| run(body)).collect()
    }

    /// Returns one run.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        let body: Option<String> = sqlx::query_scalar("SELECT body FROM runs WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await
            .map_err(read_failed)?;
        body.map(|body| run(&body)).transpose()
    }

    /// Finds runs whose id begins with a text; two at most, which is enough to see that it is ambiguous.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn runs_by_prefix(&self, prefix: &str) -> Result<Vec<Run>, StoreError> {
        let bodies: Vec<String> =
            sqlx::query_scalar("SELECT body FROM runs WHERE substr(id, 1, length(?1)) = ?1 LIMIT 2")
                .bind(prefix)
                .fetch_all(&self.pool)
                .await
                .map_err(read_failed)?;
        bodies.iter().map(|body| run(body)).collect()
    }

    /// Returns a run's journal, oldest entry first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn journal(&self, id: &RunId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows =
            sqlx::query_as("SELECT seq, at_us, run, observation, explained FROM journal WHERE run = ? ORDER BY seq")
                .bind(id.as_str())
                .fetch_all(&self.pool)
                .await
                .map_err(read_failed)?;
        rows.into_iter().map(entry).collect()
    }

    /// Returns events with an id; ids are unique only with their source.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn events(&self, event_id: &str) -> Result<Vec<KnownEvent>, StoreError> {
        let rows: Vec<EventColumns> = sqlx::query_as(
            "SELECT source, detail_type, received_at_us, runs, queue, body FROM events WHERE event_id = ?
             ORDER BY received_at_us",
        )
        .bind(event_id)
        .fetch_all(&self.pool)
        .await
        .map_err(read_failed)?;
        let event = |(source, detail_type, us, runs, queue, body): EventColumns| {
            let received_at = from_us("events", us)?;
            Ok(KnownEvent { source, detail_type, received_at, runs: from_json("events", &runs)?, queue, body })
        };
        rows.into_iter().map(event).collect()
    }

    /// Returns the newest quarantined messages, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedMessage>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT queue, message_id, received_at_us, reason, body, body_bytes FROM quarantine
             ORDER BY received_at_us DESC LIMIT ?",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(read_failed)?;
        rows.into_iter().map(quarantined).collect()
    }

    /// Returns what the last run of an experiment read of its template.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn last_facts(&self, experiment: &ExperimentName) -> Result<Option<TemplateFacts>, StoreError> {
        let body: Option<String> = sqlx::query_scalar(
            "SELECT body FROM runs WHERE experiment = ? AND json_extract(body, '$.facts') IS NOT NULL
             ORDER BY opened_at_us DESC LIMIT 1",
        )
        .bind(experiment.as_str())
        .fetch_optional(&self.pool)
        .await
        .map_err(read_failed)?;
        Ok(body.map(|body| run(&body)).transpose()?.and_then(|run| run.facts))
    }

    /// Returns the journal behind a position, oldest entry first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn journal_after(&self, seq: i64, limit: u32) -> Result<Vec<JournalEntry>, StoreError> {
        let rows = sqlx::query_as(
            "SELECT seq, at_us, run, observation, explained FROM journal WHERE seq > ? ORDER BY seq LIMIT ?",
        )
        .bind(seq)
        .bind(limit)
        .fetch_all(&self.pool)
        .await
        .map_err(read_failed)?;
        rows.into_iter().map(entry).collect()
    }

    /// Returns how far a courier has come; zero at first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn courier(&self, name: &str) -> Result<i64, StoreError> {
        let seq = sqlx::query_scalar("SELECT seq FROM couriers WHERE name = ?")
            .bind(name)
            .fetch_optional(&self.pool)
            .await
            .map_err(read_failed)?;
        Ok(seq.unwrap_or(0))
    }

    /// Records how far a courier has come.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn move_courier(&self, name: &str, seq: i64) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO couriers (name, seq) VALUES (?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq")
            .bind(name)
            .bind(seq)
            .execute(&self.pool)
            .await
            .map_err(write_failed)?;
        Ok(())
    }

    /// Moves a courier to the end of the journal.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn move_courier_to_end(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO couriers (name, seq) SELECT ?, COALESCE(MAX(seq), 0) FROM journal WHERE TRUE
             ON CONFLICT DO UPDATE SET seq = excluded.seq WHERE seq < excluded.seq",
        )
        .bind(name)
        .execute(&self.pool)
        .await
        .map_err(write_failed)?;
        Ok(())
    }

    /// Deletes what ended longer ago than `history`: finished runs with their journal, quarantined messages, and events,
    /// these not before [`EVENTS_KEPT`] has passed. Returns how many rows went.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written.
    pub async fn prune(&self, now: Timestamp, history: SignedDuration) -> Result<u64, StoreError> {
        let before = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN).as_microsecond();
        let (old, forgotten) = (before(history), before(history.max(EVENTS_KEPT)));
        let statements: [(&'static str, i64); 5] = [
            (
                "DELETE FROM journal WHERE run IN (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ?1 LIMIT ?2)",
                old,
            ),
            (
                "DELETE FROM runs WHERE id IN (SELECT id FROM runs WHERE is_open = 0 AND changed_at_us < ?1 LIMIT ?2)
                 AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = runs.id)",
                old,
            ),
            (
                "DELETE FROM events WHERE rowid IN (SELECT rowid FROM events WHERE received_at_us < ?1 LIMIT ?2)",
                forgotten,
            ),
            // Long after the last event of a key nothing of it is needed, unless a run of it still waits.
            (
                "DELETE FROM deployments WHERE (experiment, key) IN
                 (SELECT experiment, key FROM deployments AS old WHERE changed_at_us < ?1 AND NOT EXISTS
                  (SELECT 1 FROM runs WHERE is_open = 1 AND experiment = old.experiment
                   AND body ->> '$.trigger.deployment.key' = old.key) LIMIT ?2)",
                before(history.max(EVENTS_KEPT).max(MAX_COOL_DOWN)),
            ),
            (
                "DELETE FROM quarantine WHERE rowid IN (SELECT rowid FROM quarantine WHERE received_at_us < ?1 LIMIT ?2)",
                old,
            ),
        ];
        let mut deleted = 0;
        for (statement, us) in statements {
            let done =
                sqlx::query(statement).bind(us).bind(PRUNE_BATCH).execute(&self.pool).await.map_err(write_failed)?;
            deleted += done.rows_affected();
        }
        Ok(deleted)
    }
}

/// Reads a row of the quarantine; of an old one the body is taken to be whole.
pub(super) fn quarantined(
    row: (String, String, i64, String, String, Option<i64>),
) -> Result<QuarantinedMessage, StoreError> {
    let (queue, message_id, us, reason, body, bytes) = row;
    let received_at = from_us("quarantine", us)?;
    let kept = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let body_bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(kept);
    Ok(QuarantinedMessage { queue, message_id, received_at, reason, body, body_bytes })
}

fn entry(row: (i64, i64, String, String, Option<String>)) -> Result<JournalEntry, StoreError> {
    let (seq, us, id, observation, explained) = row;
    Ok(JournalEntry {
        seq,
        at: from_us("journal", us)?,
        run: RunId::from_text(&id),
        observation: from_json("journal", &observation)?,
        explained: explained.map(|text| from_json("journal", &text)).transpose()?.unwrap_or_default(),
    })
}
