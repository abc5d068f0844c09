//! History: what people ask the store, and what couriers carry out of it.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    SqlStore,
    database::Writer,
    rows::{from_json, from_us, run},
    statement::Statement,
    text::Text,
};
use crate::{
    domain::{
        deployment::MAX_COOL_DOWN,
        ids::{ExperimentName, RunId},
        run::{JournalEntry, Run},
        template::TemplateFacts,
    },
    engine::ports::{Journal, Placed, QuarantinedMessage, StoreError},
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
type EventColumns = (Text, Text, i64, Text, Option<Text>, Option<Text>);

/// A row of the journal: position, when, run, observation, what guards said.
type EntryColumns = (i64, i64, Text, Text, Option<Text>);

/// A row of the quarantine: queue, message, when, reason, body, how long it was.
pub(super) type QuarantineColumns = (Text, Text, i64, Text, Text, Option<i64>);

/// An entry of the journal as it is written, with what its run is about: its fields are those of a line of `store export`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exported {
    /// Position in the journal, rising, never reused.
    pub seq: i64,
    /// When it was observed.
    pub at: Timestamp,
    /// Which run.
    pub run: RunId,
    /// Of which experiment; `None` of a run that is not there.
    pub experiment: Option<String>,
    /// What triggered the run.
    pub trigger: Option<ExportedTrigger>,
    /// What happened: `observed` is its name.
    pub observation: Value,
    /// What each guard said, where it was a decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<Value>,
}

/// What triggered a run, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportedTrigger {
    /// Its kind.
    pub kind: String,
    /// What identifies it among all of the experiment.
    pub key: String,
}

/// A row of it: as [`EntryColumns`], and the run's experiment, kind and key of its trigger.
type ExportedColumns = (i64, i64, Text, Text, Option<Text>, Option<Text>, Option<Text>, Option<Text>);

/// Events that opened runs are remembered at least this long, whatever the history: a forgotten one that comes again would
/// start a second run.
///
/// A queue keeps a message for 14 days at most (Amazon SQS developer guide, quotas: message retention). One that could not
/// be deleted may come again all that time, then lie in a dead-letter queue for as long, since in one of a FIFO queue the time
/// counts anew (same guide, dead-letter queue retention), and be moved back as a new message, for as long once more: three
/// times 14 days, and one of reserve.
pub const EVENTS_KEPT: SignedDuration = SignedDuration::from_hours((3 * 14 + 1) * 24);

/// Events that opened nothing are remembered at least this long, however many they are: as long as a message that was not
/// deleted may be hidden until it comes again (Amazon SQS developer guide, quotas: visibility timeout).
///
/// No start rests on it. Such an event is judged anew whenever it comes, known or forgotten, since its trigger may have been
/// missing; when it opens runs then, it is remembered for those.
pub const UNMATCHED_KEPT: SignedDuration = SignedDuration::from_hours(12);

/// Newest entries of the journal among which a leap of the clock is looked for.
const LEAPT_LATELY: u32 = 1_000;

/// Rows deleted in one go by [`SqlStore::prune`] and [`SqlStore::prune_unmatched`], so that no transaction is long.
const PRUNE_BATCH: i64 = 1_000;

impl SqlStore {
    /// Returns the newest runs that a filter lets through, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>, StoreError> {
        let since = filter.since.unwrap_or(Timestamp::MIN).as_microsecond();
        let wanted = (&filter.experiment, since, &filter.deployment, filter.limit);
        let bodies: Vec<(Text,)> = self.database.read(Statement::Runs, &wanted).await?;
        bodies.iter().map(|(body,)| run(body)).collect()
    }

    /// Returns one run.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        let body: Option<(Text,)> = self.database.first(Statement::Run, &[id.as_str()]).await?;
        body.map(|(body,)| from_json(&format!("runs, {id}"), &body)).transpose()
    }

    /// Finds runs whose id begins with a text; two at most, which is enough to see that it is ambiguous.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn runs_by_prefix(&self, prefix: &str) -> Result<Vec<Run>, StoreError> {
        let bodies: Vec<(Text,)> = self.database.read(Statement::RunsByPrefix, &[prefix]).await?;
        bodies.iter().map(|(body,)| run(body)).collect()
    }

    /// Returns a run's journal, oldest entry first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn journal(&self, id: &RunId) -> Result<Vec<JournalEntry>, StoreError> {
        let rows: Vec<EntryColumns> = self.database.read(Statement::Journal, &[id.as_str()]).await?;
        rows.into_iter().map(entry).collect()
    }

    /// Returns events with an id; ids are unique only with their source.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn events(&self, event_id: &str) -> Result<Vec<KnownEvent>, StoreError> {
        let rows: Vec<EventColumns> = self.database.read(Statement::Events, &[event_id]).await?;
        let event = |(source, detail_type, us, runs, queue, body): EventColumns| {
            let received_at = from_us("events", us)?;
            let runs = from_json("events", &runs)?;
            let (queue, body) = (queue.map(|text| text.0), body.map(|text| text.0));
            Ok(KnownEvent { source: source.0, detail_type: detail_type.0, received_at, runs, queue, body })
        };
        rows.into_iter().map(event).collect()
    }

    /// Returns the newest quarantined messages, newest first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn quarantined(&self, limit: u32) -> Result<Vec<QuarantinedMessage>, StoreError> {
        let rows = self.database.read(Statement::Quarantined, &[limit]).await?;
        rows.into_iter().map(quarantined).collect()
    }

    /// Returns what the last run of an experiment read of its template.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn last_facts(&self, experiment: &ExperimentName) -> Result<Option<TemplateFacts>, StoreError> {
        let body: Option<(Text,)> = self.database.first(Statement::LastFacts, &[experiment]).await?;
        Ok(body.map(|(body,)| run(&body)).transpose()?.and_then(|run| run.facts))
    }

    /// Returns the journal behind a position, oldest entry first; each by itself, so that one which cannot be read does not
    /// hide the others.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn journal_after(&self, seq: i64, limit: u32) -> Result<Vec<Placed>, StoreError> {
        let rows: Vec<EntryColumns> = self.database.read(Statement::JournalAfter, &(seq, limit)).await?;
        Ok(rows.into_iter().map(|row| (row.0, entry(row))).collect())
    }

    /// As [`SqlStore::journal_after`], as it is written: also what only another version can read.
    ///
    /// # Errors
    /// [`StoreError::Row`] with the position when an entry is not even JSON.
    pub async fn journal_with_runs_after(&self, seq: i64, limit: u32) -> Result<Vec<Exported>, StoreError> {
        let rows: Vec<ExportedColumns> = self.database.read(Statement::JournalWithRuns, &(seq, limit)).await?;
        rows.into_iter().map(exported).collect()
    }

    /// Returns how far a courier has come; zero at first.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn courier(&self, name: &str) -> Result<i64, StoreError> {
        let seq: Option<(i64,)> = self.database.first(Statement::Courier, &[name]).await?;
        Ok(seq.map_or(0, |(seq,)| seq))
    }

    /// Records how far a courier has come.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written; [`StoreError::Fenced`] where another replica carries.
    pub async fn move_courier(&self, name: &str, seq: i64) -> Result<(), StoreError> {
        self.write_one(Writer::Active, Statement::MoveCourier, &(name, seq)).await.map(|_| ())
    }

    /// Moves a courier to the end of the journal.
    ///
    /// # Errors
    /// As [`SqlStore::move_courier`].
    pub async fn move_courier_to_end(&self, name: &str) -> Result<(), StoreError> {
        self.write_one(Writer::Active, Statement::MoveCourierToEnd, &[name]).await.map(|_| ())
    }

    /// Returns the time of what was written last, as the clock of whoever wrote it said; `None` where there is nothing that
    /// could be deleted. Where the journal leapt lately by more than [`EVENTS_KEPT`] the leap is left out: it is of a clock that
    /// was set, or of a time in which nothing was done.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn last_told(&self) -> Result<Option<Timestamp>, StoreError> {
        let told: Option<(Option<i64>,)> =
            self.database.first(Statement::LastTold, &(EVENTS_KEPT.as_micros(), LEAPT_LATELY)).await?;
        // What lies beyond all time deletes nothing.
        let time = |us| Timestamp::from_microsecond(us).unwrap_or(Timestamp::MIN);
        Ok(told.and_then(|(us,)| us).map(time))
    }

    /// Deletes what ended longer ago than `history`: finished runs with their journal, quarantined messages, and events,
    /// these not before [`EVENTS_KEPT`] has passed; and the oldest finished runs beyond `most`. A run of which one of the
    /// `couriers` has something left to carry stays, unless there are more than twice as many. Returns how many rows went.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be written; [`StoreError::Fenced`] where another replica does this.
    pub async fn prune(
        &self,
        now: Timestamp,
        history: SignedDuration,
        most: u32,
        couriers: &[&str],
    ) -> Result<u64, StoreError> {
        let before = |age| now.saturating_sub(age).unwrap_or(Timestamp::MIN).as_microsecond();
        let (old, forgotten) = (before(history), before(history.max(EVENTS_KEPT)));
        let over = self.beyond(u64::from(most)).await?;
        let mut carried = i64::MAX;
        for courier in couriers {
            carried = carried.min(self.courier(courier).await?);
        }
        let uncarried = self.prune_runs(self.beyond(2 * u64::from(most)).await?, i64::MAX).await?;
        if uncarried > 0 {
            tracing::warn!(
                rows = uncarried,
                "runs beyond twice `history_runs` are deleted, whether they were carried or not"
            );
        }
        let mut deleted = uncarried + self.prune_runs(old.max(over), carried).await?;
        for (statement, us) in [
            (Statement::PruneEvents, forgotten),
            (Statement::PruneDeployments, before(history.max(EVENTS_KEPT).max(MAX_COOL_DOWN))),
            (Statement::PruneQuarantine, old),
        ] {
            deleted += self.write_one(Writer::Active, statement, &(us, PRUNE_BATCH)).await?;
        }
        Ok(deleted)
    }

    /// Deletes some of the events that opened nothing and that are neither among the newest `most` of all events nor younger
    /// than [`UNMATCHED_KEPT`], the oldest first of those that were received at an instant or since. Returns how many went,
    /// and when the last of them was received; `None` when none is left.
    ///
    /// # Errors
    /// As [`SqlStore::prune`].
    pub async fn prune_unmatched(
        &self,
        now: Timestamp,
        most: u32,
        since: Timestamp,
    ) -> Result<Option<(usize, Timestamp)>, StoreError> {
        let newest: Option<(i64,)> = self.database.first(Statement::LastKeptEvent, &[most]).await?;
        let Some((newest,)) = newest else { return Ok(None) };
        let recent = now.saturating_sub(UNMATCHED_KEPT).unwrap_or(Timestamp::MIN).as_microsecond();
        let before = recent.min(newest.saturating_add(1));
        let mut tx = self.write(Writer::Active).await?;
        let deleted = [since.as_microsecond(), before, PRUNE_BATCH];
        let deleted: Vec<(i64,)> = tx.rows(Statement::PruneUnmatched, &deleted).await?;
        tx.commit().await?;
        let last = deleted.iter().map(|(us,)| *us).max();
        last.map(|us| Ok((deleted.len(), from_us("events", us)?))).transpose()
    }

    /// Returns before when the finished runs ended that are beyond the newest `most`; those that ended at the very instant of
    /// the newest of them go with it.
    async fn beyond(&self, most: u64) -> Result<i64, StoreError> {
        let newest: Option<(i64,)> = self.database.first(Statement::LastKept, &[most]).await?;
        Ok(newest.map_or(i64::MIN, |(us,)| us.saturating_add(1)))
    }

    /// Deletes some of the runs that ended before an instant, with their journal, if that is at a position or before it.
    async fn prune_runs(&self, us: i64, carried: i64) -> Result<u64, StoreError> {
        let mut deleted = 0;
        for statement in [Statement::PruneJournal, Statement::PruneRuns] {
            deleted += self.write_one(Writer::Active, statement, &(us, PRUNE_BATCH, carried)).await?;
        }
        Ok(deleted)
    }
}

impl Journal for SqlStore {
    fn is_active(&self) -> bool {
        Self::is_active(self)
    }

    async fn courier(&self, name: &'static str) -> Result<i64, StoreError> {
        Self::courier(self, name).await
    }

    async fn move_courier(&self, name: &'static str, seq: i64) -> Result<(), StoreError> {
        Self::move_courier(self, name, seq).await
    }

    async fn move_courier_to_end(&self, name: &'static str) -> Result<(), StoreError> {
        Self::move_courier_to_end(self, name).await
    }

    async fn journal_after(&self, seq: i64, limit: u32) -> Result<Vec<Placed>, StoreError> {
        Self::journal_after(self, seq, limit).await
    }

    async fn run(&self, id: &RunId) -> Result<Option<Run>, StoreError> {
        Self::run(self, id).await
    }

    async fn journal(&self, id: &RunId) -> Result<Vec<JournalEntry>, StoreError> {
        Self::journal(self, id).await
    }
}

/// Reads a row of the quarantine; of an old one the body is taken to be whole.
pub(super) fn quarantined(row: QuarantineColumns) -> Result<QuarantinedMessage, StoreError> {
    let (Text(queue), Text(message_id), us, Text(reason), Text(body), bytes) = row;
    let received_at = from_us("quarantine", us)?;
    let kept = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let body_bytes = bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or(kept);
    Ok(QuarantinedMessage { queue, message_id, received_at, reason, body, body_bytes })
}

fn entry(row: EntryColumns) -> Result<JournalEntry, StoreError> {
    let (seq, us, id, observation, explained) = row;
    let place = format!("journal, entry {seq}");
    Ok(JournalEntry {
        seq,
        at: from_us(&place, us)?,
        run: RunId::from_text(&id),
        observation: from_json(&place, &observation)?,
        explained: explained.map(|text| from_json(&place, &text)).transpose()?.unwrap_or_default(),
    })
}

fn exported(row: ExportedColumns) -> Result<Exported, StoreError> {
    let (seq, us, run, observation, explained, experiment, kind, key) = row;
    let place = format!("journal, entry {seq}");
    Ok(Exported {
        seq,
        at: from_us(&place, us)?,
        run: RunId::from_text(&run),
        experiment: experiment.map(|text| text.0),
        trigger: kind.zip(key).map(|(kind, key)| ExportedTrigger { kind: kind.0, key: key.0 }),
        observation: from_json(&place, &observation)?,
        explained: explained.map(|text| from_json(&place, &text)).transpose()?,
    })
}
