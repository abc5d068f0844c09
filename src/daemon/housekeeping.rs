//! Housekeeping: deletes what is old, every hour, by a time that something vouches for.
//!
//! Which rows that are [`SqlStore::prune`] and [`SqlStore::prune_unmatched`] decide. It never goes by the wall clock alone.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, time::Instant};

use super::{
    courier::{EVENT_BUS, TRACES},
    heartbeat,
    witness::chain,
};
use crate::{config::settings::Settings, engine::ports::StoreError, store::SqlStore};

/// The time that what is old is deleted by: a wall clock that was set ahead, before this process began or since, is no reason
/// to delete anything.
///
/// It is the last time that the store told of before this process, and as long after that as this process has lived by a clock
/// that nobody sets. What nobody wrote anything in, or a machine slept through, is kept as much longer.
#[derive(Debug)]
pub struct Vouched {
    told: Timestamp,
    at: Instant,
}

impl Vouched {
    /// Begins with the last time that the store tells of.
    pub fn since(told: Timestamp, at: Instant) -> Self {
        Self { told, at }
    }

    /// Returns the wall clock's time, as far as anything vouches for it.
    pub fn now(&self, wall: Timestamp, at: Instant) -> Timestamp {
        let lived = SignedDuration::try_from(at.duration_since(self.at)).unwrap_or_default();
        wall.min(self.told.saturating_add(lived).unwrap_or(self.told))
    }
}

/// Deletes what is old.
#[derive(Debug)]
pub struct Housekeeper {
    store: Arc<SqlStore>,
    clock: Vouched,
    history: SignedDuration,
    most: u32,
    couriers: &'static [&'static str],
}

impl Housekeeper {
    /// Asks what the store tells before this process writes anything. Where it does not, nothing is ever old enough.
    pub async fn new(store: Arc<SqlStore>, settings: &Settings, now: Timestamp) -> Self {
        let told = store.last_told().await.unwrap_or_else(|error| {
            tracing::warn!(
                error = chain(&error),
                "nothing is deleted for its age: the store does not tell its last time"
            );
            Some(Timestamp::MIN)
        });
        let clock = Vouched::since(told.unwrap_or(now), Instant::now());
        let couriers = if settings.event_bus.is_some() { &[TRACES, EVENT_BUS][..] } else { &[TRACES] };
        Self { store, clock, history: settings.history, most: settings.history_runs, couriers }
    }

    /// Deletes whenever it is `wanted`. Never ends.
    pub async fn run(self, wanted: Arc<Notify>) -> &'static str {
        loop {
            wanted.notified().await;
            match self.delete(self.clock.now(heartbeat::now(), Instant::now())).await {
                // The active replica does it.
                Ok(()) | Err(StoreError::Fenced) => {}
                Err(error) => tracing::warn!(error = chain(&error), "old history could not be deleted"),
            }
        }
    }

    /// Deletes batch by batch, so that the engine's own writes come between.
    async fn delete(&self, now: Timestamp) -> Result<(), StoreError> {
        loop {
            match self.store.prune(now, self.history, self.most, self.couriers).await? {
                0 => break,
                rows => tracing::info!(rows, "old history deleted"),
            }
        }
        // Each batch goes on where the one before ended, past what stays, which may be much.
        let mut since = Timestamp::MIN;
        while let Some((rows, last)) = self.store.prune_unmatched(now, self.most, since).await? {
            tracing::info!(rows, "old events deleted that had opened no run");
            since = last;
        }
        Ok(())
    }
}
