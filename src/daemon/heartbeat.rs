//! The heartbeat: tokio-cron-scheduler says "look" every second, and runs the housekeeping.
//!
//! It never decides and never holds a user's schedule. A tick that is lost, early or doubled does no harm, and behind it
//! stands a monotonic timer, since cron jobs stall when the clock is set back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use crate::engine::ports::WakeSource;

/// Longest time between two looks at the wall clock: timers do not see suspends and clock steps.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When the heartbeat beats: every second, in UTC.
const EVERY_SECOND: &str = "* * * * * *";
/// When old history is deleted: every hour, off the full hour.
const EVERY_HOUR: &str = "17 11 * * * *";

/// The wall clock and what wakes the engine.
#[derive(Debug)]
pub struct Heartbeat {
    beat: Arc<Notify>,
    /// When the engine last gave a sign of life; the watchdog and `/healthz` read it.
    alive: watch::Sender<Instant>,
}

impl Heartbeat {
    /// Makes a heartbeat that gives its signs of life to `alive`.
    pub fn new(alive: watch::Sender<Instant>) -> Self {
        Self { beat: Arc::new(Notify::new()), alive }
    }

    /// Starts the scheduler: the beat, and `housekeeping` every hour.
    ///
    /// # Errors
    /// [`JobSchedulerError`] when the scheduler cannot be set up.
    pub async fn start(&self, housekeeping: Arc<Notify>) -> Result<JobScheduler, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        for (expression, wanted) in [(EVERY_SECOND, self.beat.clone()), (EVERY_HOUR, housekeeping)] {
            let job = Job::new_async(expression, move |_, _| {
                let wanted = wanted.clone();
                Box::pin(async move { wanted.notify_one() })
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(scheduler)
    }
}

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one clock of the daemon")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

impl WakeSource for Heartbeat {
    fn now(&self) -> Timestamp {
        now()
    }

    async fn wait(&self, until: Option<Timestamp>) {
        let begun = self.now();
        loop {
            self.alive.send_replace(Instant::now());
            let now = self.now();
            // A clock set back may have made something due that a later wake-up would miss.
            if now < begun || until.is_some_and(|until| now >= until) {
                return;
            }
            let left = until.map_or(LOOK_AGAIN, |until| {
                Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO).min(LOOK_AGAIN)
            });
            tokio::select! {
                biased;
                () = self.beat.notified() => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}
