//! Couriers: each reads the journal behind its own position and carries it outwards: run events at least once, traces as far
//! as the collector takes them.
//!
//! A courier never holds up a run: what it could not deliver waits in the journal, and only what is older than a limit is
//! given up, with a warning. So is what nobody can read: the rest goes on.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::Notify;

use super::witness::chain;
use crate::{
    domain::{
        deployment::{Deployment, Direction},
        fis::{CallFailure, FailureClass},
        run::{JournalEntry, Observation, Run, Trigger},
    },
    engine::ports::{EventSink, Journal, Outbound, StoreError, TraceSink},
};

/// Entries read at once.
const BATCH: u32 = 100;
/// Longest time between two looks at the journal.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Time between two looks whether this replica has become the active one.
const STAND_BY: Duration = Duration::from_secs(1);
/// First wait after a failed delivery; doubled up to [`BACKOFF_LIMIT`].
const BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest wait after a failed delivery.
const BACKOFF_LIMIT: Duration = Duration::from_secs(60);
/// An outbound event older than this is given up: EventBridge itself keeps trying for a day, not longer.
const GIVE_UP_AFTER: SignedDuration = SignedDuration::from_hours(24);

/// Names under which positions are kept.
pub const TRACES: &str = "traces";
/// As [`TRACES`].
pub const EVENT_BUS: &str = "event-bus";

/// What a courier carries, and where to.
pub enum Load<T, B> {
    /// Traces of runs that are over, to the collector.
    Traces(T),
    /// Run events, to a bus.
    Events(B),
}

/// One reader of the journal.
pub struct Courier<J, T, B> {
    /// Where the journal is.
    pub store: Arc<J>,
    /// What it carries.
    pub load: Load<T, B>,
    /// Notified when the journal has grown.
    pub grew: Arc<Notify>,
    /// The wall clock.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

impl<J: Journal, T: TraceSink, B: EventSink> Courier<J, T, B> {
    /// Returns the name under which the position is kept, and the task runs.
    pub fn name(&self) -> &'static str {
        match self.load {
            Load::Traces(_) => TRACES,
            Load::Events(_) => EVENT_BUS,
        }
    }

    /// Carries entry by entry, for ever; the position moves after each.
    pub async fn run(self) {
        loop {
            let grew = self.grew.notified();
            if !self.store.is_active() {
                // The active replica carries, from where this one has come.
                tokio::time::sleep(STAND_BY).await;
                continue;
            }
            let carried = match &self.load {
                // Whoever wants traces later is not sent those of the past.
                Load::Traces(traces) if !traces.are_wanted() => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                    self.store.move_courier_to_end(self.name()).await.map(|()| 1)
                }
                Load::Traces(_) | Load::Events(_) => self.carry_batch().await,
            };
            match carried {
                Ok(0) => {
                    // Events that a queue reader recorded are found without a notification.
                    let _either_is_fine = tokio::time::timeout(LOOK_AGAIN, grew).await;
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(courier = self.name(), error = chain(&error), "journal cannot be read or moved");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    async fn carry_batch(&self) -> Result<usize, StoreError> {
        let from = self.store.courier(self.name()).await?;
        let entries = self.store.journal_after(from, BATCH).await?;
        let (count, last) = (entries.len(), entries.last().map(|(seq, _)| *seq));
        let mut ended = false;
        for (seq, entry) in entries {
            ended |= entry.as_ref().is_ok_and(|entry| is_end(&entry.observation));
            match self.carry(entry).await {
                Err(error @ StoreError::Row { .. }) => {
                    let error = chain(&error);
                    tracing::warn!(courier = self.name(), entry = seq, error, "passed over what cannot be read");
                }
                carried => carried?,
            }
            if let Load::Events(_) = &self.load {
                self.store.move_courier(self.name(), seq).await?;
            }
        }
        if let (Load::Traces(traces), Some(last)) = (&self.load, last) {
            // Sent before the position moves: a crash between the two sends them again, under the same ids.
            if ended {
                traces.flush().await;
            }
            self.store.move_courier(self.name(), last).await?;
        }
        Ok(count)
    }

    /// Carries one entry, if it is of the kind. A run that has been pruned meanwhile has nothing left to tell, and half a
    /// journal would tell what was not.
    async fn carry(&self, entry: Result<JournalEntry, StoreError>) -> Result<(), StoreError> {
        let entry = &entry?;
        match &self.load {
            Load::Traces(traces) if is_end(&entry.observation) => {
                if let Some(run) = self.store.run(&entry.run).await? {
                    traces.export(&run, &self.store.journal(&run.id).await?);
                }
            }
            Load::Events(bus) if is_told(&entry.observation) => {
                if let Some(run) = self.store.run(&entry.run).await? {
                    self.deliver(bus, &outbound(&run, entry)).await;
                }
            }
            Load::Traces(_) | Load::Events(_) => {}
        }
        Ok(())
    }

    /// Puts an event on the bus, trying on until it works. One that is too old is given up, also before the first try: a
    /// bus that is configured late is not told of the past.
    async fn deliver(&self, bus: &B, event: &Outbound) {
        let mut wait = BACKOFF_FIRST;
        let mut warned = None;
        while (self.now)().duration_since(event.at) <= GIVE_UP_AFTER {
            let Err(CallFailure { class, message }) = bus.put(event).await else { return };
            if warned != Some(class) {
                tracing::warn!(class = %class, error = message, "run event could not be put on the bus");
                warned = Some(class);
            }
            // What EventBridge calls invalid will not become valid, and must not keep later events waiting.
            if class == FailureClass::Invalid {
                return;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(BACKOFF_LIMIT);
        }
        tracing::warn!(at = %event.at, "run event is more than a day old and is not put on the bus");
    }
}

fn is_end(observation: &Observation) -> bool {
    matches!(observation, Observation::Skipped { .. } | Observation::Finished { .. })
}

fn is_told(observation: &Observation) -> bool {
    use Observation as O;
    matches!(observation, O::Held { .. } | O::Skipped { .. } | O::Started { .. } | O::Finished { .. })
}

/// Shapes the event as `deploy/events/run-event.schema.json` says.
fn outbound(run: &Run, entry: &JournalEntry) -> Outbound {
    let (state, key, value) = match &entry.observation {
        Observation::Held { reason, .. } => ("held", "reason", Some(reason.as_str())),
        Observation::Skipped { reason } => ("skipped", "reason", Some(reason.as_str())),
        Observation::Finished { outcome } => ("finished", "outcome", Some(outcome.as_str())),
        _ => ("started", "", None),
    };
    let mut detail = json!({
        "run": run.id,
        "experiment": run.experiment,
        "trigger": { "kind": run.trigger.kind(), "key": run.trigger.key() },
        "state": state,
        "at": entry.at,
    });
    if let Some(value) = value {
        detail[key] = json!(value);
    }
    if let Trigger::Event { source, event_id, detail_type, .. } = &run.trigger {
        detail["event"] = json!({ "source": source, "id": event_id, "detail-type": detail_type });
    }
    if let Some(Deployment { key, version, id, direction, .. }) = run.trigger.deployment() {
        let is_rollback = *direction == Direction::Rollback;
        detail["deployment"] = json!({ "key": key, "version": version, "id": id, "rollback": is_rollback });
    }
    if let Some(fis) = &run.fis {
        detail["fis"] = json!({ "experiment-id": fis.id, "template-id": fis.template_id });
    }
    Outbound { at: entry.at, detail: detail.to_string() }
}
