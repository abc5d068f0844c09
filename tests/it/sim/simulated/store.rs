//! The store of a world: its rows in memory, with the promises of the real store and its ways to fail.
//!
//! They outlive a crash of the agent. What a write makes of them stands in [`super::tables`].

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use firedrill::{
    domain::{
        ids::{ExperimentName, Name, RunId},
        plan::{Halt, Halting, PauseRow, Pausing, StopRequest},
        run::Run,
    },
    engine::ports::{Arrival, Change, Committed, Found, Lease, QuarantinedMessage, Recorded, Rows, Store, StoreError},
    store::sql::MAX_QUARANTINED,
};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::{
    lease::{Place, Post},
    nature::Nature,
    tables::{Durable, Tables},
};
use crate::sim::{
    planted::Bug,
    troubles::{halts::Halts, unread::Row},
};

/// Longest time that a slow query takes, in milliseconds.
pub const SLOW_MS: u64 = 1_500;

/// Planted: how long what was acknowledged is not on the disk yet, in milliseconds.
const UNSYNCED_MS: u64 = 5_000;

/// The rows, as one process sees them.
pub struct MemoryStore {
    pub nature: Arc<Nature>,
    pub tables: Arc<Mutex<Tables>>,
    pub place: Place,
    /// Planted: the rows before the last write, as long as that is not on the disk.
    pub before: Arc<Mutex<Option<(u64, Tables)>>>,
    /// What is on its way, of any process.
    pub post: Arc<Mutex<Post>>,
    /// Somebody gave the lease back.
    pub freed: Arc<Notify>,
}

pub fn failed(action: &'static str) -> StoreError {
    StoreError::Query { action, source: "simulated".into() }
}

impl MemoryStore {
    pub fn new(nature: Arc<Nature>) -> Self {
        let tables = Arc::new(Mutex::new(Tables { bug: nature.bug(), ..Tables::default() }));
        Self {
            nature,
            tables,
            place: Place::default(),
            before: Arc::default(),
            post: Arc::default(),
            freed: Arc::default(),
        }
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut Tables) -> T) -> T {
        let mut tables = self.tables.lock().expect("one thread");
        self.deliver(&mut tables);
        look(&mut tables)
    }

    /// A process is gone, and with it what was never written.
    pub fn crash(&self) {
        let before = self.before.lock().expect("one thread").take();
        let now = self.nature.elapsed();
        self.with(|tables| {
            tables.unwritten.clear();
            tables.later.clear();
            match tables.bug {
                Bug::AcknowledgedTooEarly => {
                    if let Some((_, before)) = before.filter(|(at, _)| at + UNSYNCED_MS > now) {
                        *tables = before;
                    }
                }
                Bug::HaltForgotten => tables.halt = None,
                Bug::PausesForgotten => tables.pauses.clear(),
                Bug::CursorsForgotten => tables.cursors.clear(),
                Bug::EventsForgotten => tables.events.clear(),
                Bug::CouriersForgotten => tables.couriers.forget(),
                _ => {}
            }
        });
    }

    /// One transaction: it may fail before, or be done and not answered.
    pub async fn write<T>(&self, change: impl FnOnce(&mut Tables, u64) -> T) -> Result<T, StoreError> {
        self.nature.pause().await;
        self.reach("write").await?;
        let weather = self.nature.weather();
        if self.nature.draw(|c| c.permille(weather.store / 4)) {
            self.with(|tables| tables.faults.push(self.nature.elapsed()));
            self.nature.let_pass(self.nature.draw(|c| c.between(1, SLOW_MS))).await;
        }
        let now = self.nature.elapsed();
        let out = now < weather.read_only_until.max(weather.store_out_until);
        if out || self.nature.draw(|c| c.permille(weather.store)) {
            self.with(|tables| tables.faults.push(now));
            self.nature.say(|| "store: write failed".to_owned());
            return Err(failed("write"));
        }
        let done = self.with(|tables| {
            if matches!(tables.bug, Bug::AcknowledgedTooEarly | Bug::StaleRevisionAccepted) {
                *self.before.lock().expect("one thread") = Some((now, tables.clone()));
            }
            tables.make_up(now);
            let done = change(tables, now);
            tables.tear(&self.nature, now);
            done
        });
        self.nature.pause().await;
        if self.is_cut() || self.nature.draw(|c| c.permille(weather.store)) {
            self.with(|tables| tables.faults.push(now));
            self.nature.say(|| "store: written, answer lost".to_owned());
            return Err(failed("write"));
        }
        Ok(done)
    }
}

impl Store for MemoryStore {
    async fn hold(&self, _: &str) -> Result<Lease, StoreError> {
        self.hold_lease().await
    }

    async fn release(&self, leaves_it_for: std::time::Duration) -> Result<(), StoreError> {
        self.release_lease(leaves_it_for).await
    }

    async fn freed(&self) {
        self.hear_of_the_lease().await;
    }

    async fn load(&self) -> Result<Rows, StoreError> {
        self.look(|tables| self.loaded(tables)).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Vec<Committed>, StoreError> {
        self.commit_fenced(changes).await
    }

    async fn record_events(&self, arrivals: Vec<Arrival>) -> Result<Vec<Recorded>, StoreError> {
        self.write(move |tables, ms| {
            tables.may_open(arrivals.iter().flat_map(|arrival| &arrival.runs), ms)?;
            Ok(arrivals.into_iter().map(|arrival| tables.arrive(arrival, ms)).collect())
        })
        .await?
    }

    async fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> Result<(), StoreError> {
        self.write(move |tables, _| {
            let keyed =
                messages.into_iter().map(|message| ((message.queue.clone(), message.message_id.clone()), message));
            let new: BTreeMap<_, _> = keyed.rev().filter(|(key, _)| !tables.quarantined.contains_key(key)).collect();
            let is_full = tables.quarantine_is_full || tables.quarantined.len() + new.len() > MAX_QUARANTINED as usize;
            if is_full && !new.is_empty() {
                return if tables.bug == Bug::FullQuarantineForgets { Ok(()) } else { Err(StoreError::Full) };
            }
            let is_kept = tables.bug != Bug::UnreadableForgotten;
            tables.quarantined.extend(new.into_iter().filter(|_| is_kept));
            Ok(())
        })
        .await?
    }

    async fn quarantined_message(
        &self,
        queue: &str,
        message_id: &str,
    ) -> Result<Option<QuarantinedMessage>, StoreError> {
        let key = (queue.to_owned(), message_id.to_owned());
        Ok(self.with(|tables| tables.quarantined.get(&key).cloned()))
    }

    async fn forget_quarantined(&self, queue: &str, message_id: &str) -> Result<Found, StoreError> {
        let key = (queue.to_owned(), message_id.to_owned());
        self.write(move |tables, _| if tables.quarantined.remove(&key).is_some() { Found::Yes } else { Found::No })
            .await
    }

    async fn request_runs(&self, runs: Vec<Run>) -> Result<Recorded, StoreError> {
        self.write(move |tables, ms| {
            tables.may_open(&runs, ms)?;
            let new = runs.into_iter().filter(|run| tables.insert(run.clone(), run.opened_at, ms) == Recorded::New);
            Ok(if new.count() > 0 { Recorded::New } else { Recorded::Known })
        })
        .await?
    }

    async fn request_stop(&self, run: RunId, request: StopRequest) -> Result<Found, StoreError> {
        self.write(move |tables, _| {
            if tables.runs.get(&run).is_none_or(Run::is_over) {
                return Found::No;
            }
            if tables.bug != Bug::StopForgotten {
                tables.stops.entry(run).or_insert(request);
            }
            Found::Yes
        })
        .await
    }

    async fn halted(&self) -> Result<Option<Halt>, StoreError> {
        self.nature.pause().await;
        self.reach("read").await?;
        self.with(|tables| tables.unread(&Row::Halt, self.nature.elapsed()).map(|()| tables.halt.clone()))
    }

    async fn set_halt(&self, change: Halting) -> Result<Option<Halt>, StoreError> {
        self.write(move |tables, ms| {
            let asked = Halts::of(&change);
            let row = match (tables.unread(&Row::Halt, ms), &change) {
                (Err(_), Halting::Halt(_) | Halting::Resume) => None,
                (is_read, _) => is_read.map(|()| tables.halt.take())?,
            };
            tables.mend(&Row::Halt, ms);
            tables.halt = match (tables.bug, change) {
                (Bug::HaltWrittenBack, Halting::Note { seen, .. }) => Some(seen),
                (Bug::HaltWrittenBack, Halting::Lift { .. }) => None,
                (_, change) => change.after(row),
            };
            let row = tables.halt.as_ref().map(|halt| halt.at);
            tables.log.push((ms, Durable::Halts { asked, row }));
            Ok(tables.halt.clone())
        })
        .await?
    }

    async fn set_pause(&self, experiment: ExperimentName, change: Pausing) -> Result<(), StoreError> {
        self.write(move |tables, ms| {
            if let (Pausing::Resume, Some(_)) = (&change, tables.ledgers.get(&experiment)) {
                tables.unread(&Row::Ledger(experiment.clone()), ms)?;
                tables.ledgers.entry(experiment.clone()).or_default().forgive();
            }
            tables.mend(&Row::Pause(experiment.clone()), ms);
            let row = PauseRow::after(change);
            tables.log.push((ms, Durable::Paused { experiment: experiment.clone(), row: row.clone() }));
            tables.pauses.insert(experiment, row);
            Ok(())
        })
        .await?
    }

    async fn retell_ledger(
        &self,
        experiment: &ExperimentName,
        groups: Vec<Name>,
        now: Timestamp,
    ) -> Result<Found, StoreError> {
        self.write(|tables, ms| tables.retell(experiment, groups, now, ms)).await
    }
}
