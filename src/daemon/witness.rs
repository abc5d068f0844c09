//! The witness: every committed change becomes a log line, metrics, and the status that people read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

use super::{heartbeat, life::Life};
use crate::{
    aws::sqs::{QueueCall, QueueWitness},
    config::settings::Queue,
    domain::{
        departed,
        experiment::Rules,
        fis::{CallFailure, FailureClass},
        ids::{Name, RunId},
        outcome::Outcome,
        plan::{self, Snapshot},
        run::{Observation, Run, SkipReason, Trigger},
        schedule::Schedule,
        window,
    },
    engine::ports::{Configuration, StoreDid, StoreError, Witness},
    http::{
        status::{Denied, HandedOver, Role, Status},
        webhook::HookWitness,
    },
    ingest::event::Taken,
    telemetry::{Metrics, logs},
};

/// Tells logs, metrics and the status.
pub struct Teller {
    metrics: Metrics,
    rules: watch::Receiver<Arc<Rules>>,
    life: Arc<Life>,
    status: watch::Sender<Arc<Status>>,
    /// Notified when the journal has grown.
    journal_grew: Arc<Notify>,
    /// Where the engine's signs of life go.
    alive: watch::Sender<Instant>,
    /// The failure of the store that lasts, and what would prove that it is over; each is logged once.
    store_failure: Mutex<Option<(String, StoreDid)>>,
}

impl Teller {
    /// Makes a teller.
    pub fn new(
        metrics: Metrics,
        rules: watch::Receiver<Arc<Rules>>,
        status: watch::Sender<Arc<Status>>,
        journal_grew: Arc<Notify>,
        alive: watch::Sender<Instant>,
    ) -> Self {
        let life = Arc::new(Life::new(rules.clone()));
        let asked = life.clone();
        metrics.prove_life(move || asked.slots(heartbeat::now()));
        Self { metrics, rules, life, status, journal_grew, alive, store_failure: Mutex::new(None) }
    }

    fn is_alive(&self) {
        self.alive.send_replace(Instant::now());
    }

    fn update(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| change(Arc::make_mut(status)));
    }

    /// Replaces what is said of the store, if `change` says so; tells whether it did.
    fn store_is(&self, change: impl FnOnce(Option<&(String, StoreDid)>) -> Option<Option<(String, StoreDid)>>) -> bool {
        let mut known = self.store_failure.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(news) = change(known.as_ref()) else { return false };
        let said = news.as_ref().map(|(failure, _)| failure.clone());
        *known = news;
        self.update(|status| status.store_failure = said);
        true
    }
}

impl Teller {
    /// Says that this replica decides, if it did not before.
    fn say_active(&self) {
        let before = self.status.borrow().role.clone();
        if before != Role::Active {
            tracing::info!("this replica is the active one");
        }
        if let Role::Standby { holder, configuration: Configuration::Differs } = before {
            tracing::warn!(holder, "the replica that was active before decided by another configuration");
        }
    }

    /// Says what a clock change did to a run's slot, or to the one before it.
    fn say_clock_change(&self, run: &Run) {
        let Trigger::Slot { schedule: name, at, .. } = &run.trigger else { return };
        let rules = self.rules.borrow().clone();
        let declared = rules.experiments.get(&run.experiment);
        let Some(schedule) = declared.and_then(|e| e.schedules.iter().find(|s| s.name() == name)) else { return };
        let Some(slot) = schedule.slot_at(*at) else { return };
        let (schedule, expression) = (name.as_str(), schedule.expression());
        if slot.shifted {
            tracing::info!(
                schedule,
                expression,
                dst = "shifted",
                "clocks skip the slot's time; it is the end of the gap"
            );
        }
        if slot.after_lost {
            tracing::warn!(schedule, expression, dst = "lost", "clocks skipped a time before this slot, which is lost");
        }
    }
}

impl Witness for Teller {
    fn committed(&self, run: &Run, observation: &Observation, at: Timestamp) {
        // A pass over many rows is long, not stuck.
        self.is_alive();
        self.metrics.observed(run, observation, at);
        logs::run_span(&run.id).in_scope(|| {
            say(run, observation);
            // Only at its opening, so that a shifted or lost time is said once.
            if run.revision == 0 {
                self.life.opened(run);
                self.say_clock_change(run);
            }
        });
        self.journal_grew.notify_waiters();
    }

    fn surveyed(&self, rows: &Snapshot<'_>, at: Timestamp) {
        self.life.surveyed(&rows.cursors, at);
        let rules = self.rules.borrow().clone();
        let mut open_runs: BTreeMap<String, u64> = BTreeMap::new();
        for run in &rows.runs {
            *open_runs.entry(run.state.as_str().to_owned()).or_default() += 1;
        }
        let next = |experiment: &crate::domain::experiment::Experiment| {
            let after = |schedule: &Schedule| {
                let cursor = rows.cursors.get(&(experiment.name.clone(), schedule.timetable().clone()));
                schedule.next_after(cursor.map_or(at, |cursor| at.max(cursor.at)))
            };
            experiment.schedules.iter().filter_map(after).map(|slot| slot.at).min()
        };
        let next_slots: BTreeMap<_, _> =
            rules.experiments.values().filter_map(|e| Some((e.name.clone(), next(e)?))).collect();
        let closed_by = |e| window::closed_at(&rules.windows, e, at).map(|closure| closure.window.to_string());
        let mut closed: Vec<String> = rules.experiments.values().filter_map(closed_by).collect();
        closed.sort();
        closed.dedup();
        let waits = |e: &crate::domain::experiment::Experiment| {
            Some((e.name.clone(), plan::standing(e, &rows.ledgers, &rows.pauses, at)?))
        };
        let waiting: Vec<_> = rules.experiments.values().filter_map(waits).collect();
        let denied: Vec<_> = rows.runs.iter().filter_map(|run| Some((run, run.denied()?))).collect();
        self.metrics.set_status(crate::telemetry::Status {
            is_active: true,
            differs: false,
            active_runs: open_runs.clone(),
            next_slots: next_slots.iter().map(|(name, at)| (name.to_string(), *at)).collect(),
            active_blackouts: closed.clone(),
            calendar_ages: calendar_ages(&self.status.borrow(), at),
            strays: strays(&self.status.borrow()),
            denied: counted(&denied),
            waiting: waiting.iter().map(|(name, why)| (name.to_string(), waits_for(why))).collect(),
        });
        let halt = rows.halt.clone();
        let refused = denied.iter().map(|(run, operation)| {
            let fis_experiment = run.fis.as_ref().map(|fis| fis.id.clone()).unwrap_or_default();
            let told =
                Denied { experiment: run.experiment.clone(), operation: (*operation).to_owned(), fis_experiment };
            (run.id.clone(), told)
        });
        let denied = refused.collect();
        let mut paused = departed::still_paused(&rules, &rows.pauses, at);
        paused.extend(waiting.into_iter().map(|(name, why)| (name, why.to_string())));
        self.say_active();
        self.update(|status| {
            status.role = Role::Active;
            status.surveyed_at = Some(at);
            status.halt = halt;
            status.paused = paused;
            status.open_runs = open_runs;
            status.next_slots = next_slots;
            status.closed_by = closed;
            status.denied = denied;
        });
    }

    fn called(&self, operation: &'static str, result: &'static str, took: Duration) {
        self.metrics.fis_call(operation, result, took.as_secs_f64());
        if result == "ok" && self.status.borrow().handed_over.is_some() {
            self.update(|status| status.handed_over = None);
        }
    }

    fn store_failed(&self, error: &StoreError) {
        let chain = chain(error);
        let news = Some((chain.clone(), error.is_over_after()));
        if self.store_is(|known| (known != news.as_ref()).then_some(news.clone())) {
            match error {
                StoreError::Row { .. } | StoreError::Unwritten { .. } | StoreError::Unwatched { .. } => {
                    tracing::error!(error = chain, "a row cannot be read; nothing starts that it may be about");
                }
                _ => tracing::error!(error = chain, "the store failed; nothing starts until it can be used again"),
            }
        }
    }

    fn store_worked(&self, did: StoreDid) {
        if did == StoreDid::Pass {
            self.metrics.step();
        }
        if self.store_is(|known| known.is_some_and(|(_, proof)| *proof == did).then_some(None)) {
            tracing::info!("the store can be used again");
        }
    }

    fn looks_after_runs(&self) {
        self.is_alive();
    }

    fn standing_by(&self, holder: &str, configuration: Configuration) {
        self.life.stands_by();
        // The lease could be asked for, and what this replica could not write is another's business.
        if self.store_is(|known| known.map(|_| None)) {
            tracing::info!("the store can be used again");
        }
        let role = Role::Standby { holder: holder.to_owned(), configuration };
        if self.status.borrow().role == role {
            return;
        }
        tracing::info!(holder, "another replica is the active one; standing by");
        let differs = configuration == Configuration::Differs;
        if differs {
            tracing::warn!(holder, "the active replica decides by another configuration; reload all by the same");
        }
        self.metrics.set_status(crate::telemetry::Status { differs, ..crate::telemetry::Status::default() });
        self.update(|status| {
            status.role = role;
            status.surveyed_at = None;
            status.open_runs.clear();
            status.next_slots.clear();
            status.closed_by.clear();
            status.denied.clear();
            status.strays.clear();
            status.strays_unknown.clear();
        });
    }

    fn handing_over(&self, run: &RunId, failure: &CallFailure) {
        let (run, error) = (run.as_str(), failure.to_string());
        tracing::warn!(
            run,
            error,
            "FIS does not answer when a run is to be stopped or looked for; the lease is given back to a replica that may reach it"
        );
        self.metrics.handed_over();
        let at = heartbeat::now();
        self.update(|status| status.handed_over = Some(HandedOver { at, why: format!("run {run}: {error}") }));
    }
}

/// Why an experiment starts nothing by itself, in a word of the metrics.
fn waits_for(why: &SkipReason) -> &'static str {
    match why {
        SkipReason::Failing { trouble, .. } => trouble.as_str(),
        other => other.as_str(),
    }
}

/// Seconds since each calendar was last read; of one never read, since the agent began.
fn calendar_ages(status: &Status, at: Timestamp) -> BTreeMap<String, u64> {
    let age = |since: Timestamp| u64::try_from(at.duration_since(since).as_secs()).unwrap_or_default();
    let calendars = status.calendars.iter();
    calendars.map(|(name, known)| (name.clone(), age(known.read_at.unwrap_or(status.started_at)))).collect()
}

/// Counts runs by experiment and by what FIS refuses.
fn counted(denied: &[(&Run, &'static str)]) -> BTreeMap<(String, &'static str), u64> {
    let mut counts = BTreeMap::new();
    for (run, operation) in denied {
        *counts.entry((run.experiment.to_string(), *operation)).or_default() += 1;
    }
    counts
}

/// Counts strays by experiment.
fn strays(status: &Status) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for stray in status.strays.values() {
        *counts.entry(stray.experiment.to_string()).or_default() += 1;
    }
    counts
}

impl Teller {
    /// Says what became of a message of a queue or webhook.
    fn say_taken(&self, source: &Name, message_id: &str, taken: &Taken) {
        self.metrics.event(taken.as_str());
        match taken {
            Taken::Matched { runs, lag_seconds } => {
                if let Some(lag) = lag_seconds {
                    self.metrics.event_lag(*lag);
                }
                for run in runs {
                    logs::run_span(&run.id).in_scope(|| {
                        tracing::info!(experiment = %run.experiment, queue = %source, "event opened a run");
                    });
                }
                self.journal_grew.notify_waiters();
            }
            Taken::Quarantined { reason } => {
                tracing::warn!(queue = %source, message = message_id, reason, "message put into quarantine");
            }
            Taken::Unmatched => tracing::debug!(queue = %source, message = message_id, "event matches no trigger"),
            Taken::Duplicate => tracing::debug!(queue = %source, message = message_id, "event is known"),
        }
    }
}

impl QueueWitness for Teller {
    fn taken(&self, queue: &Queue, message_id: &str, taken: &Taken) {
        self.say_taken(&queue.name, message_id, taken);
    }

    fn batch_taken(&self, queue: &Queue, took: Duration) {
        self.metrics.queue_processed(queue.aws_name(), took.as_secs_f64());
    }

    fn called(&self, queue: &Queue, call: QueueCall, answer: Result<usize, FailureClass>, took: Duration) {
        let answer = answer.map_err(FailureClass::as_str);
        let operation = match call {
            QueueCall::Receive => "receive",
            QueueCall::Hide => "change_visibility",
            QueueCall::Delete => "delete",
        };
        self.metrics.queue_call(queue.aws_name(), operation, answer, took.as_secs_f64());
    }

    fn queue_failed(&self, queue: &Queue, said: &str) {
        tracing::warn!(queue = %queue.name, error = said, "queue cannot be used; trying on");
    }

    fn queue_worked(&self, queue: &Queue) {
        tracing::info!(queue = %queue.name, "queue can be used again");
    }

    fn not_recorded(&self, queue: &Queue, error: &StoreError) {
        let error = chain(error);
        tracing::error!(queue = %queue.name, error, "messages could not be recorded; they stay in the queue");
    }

    fn refused(&self, queue: &Queue, message_id: &str, error: &StoreError) {
        self.metrics.event("refused");
        let error = chain(error);
        tracing::error!(queue = %queue.name, message = message_id, error, "message cannot be recorded; it is left to the queue's redrive");
    }

    fn not_hidden(&self, queue: &Queue, why: &str) {
        tracing::warn!(queue = %queue.name, error = why, "messages in work may not be kept hidden; they may be delivered again meanwhile");
    }

    fn not_deleted(&self, queue: &Queue, count: usize, why: &str) {
        tracing::warn!(queue = %queue.name, count, error = why, "messages were taken in and not deleted; they come again");
    }
}

impl HookWitness for Teller {
    fn answered(&self, route: &'static str, status: u16, took: Duration) {
        self.metrics.http_answer(route, status, took.as_secs_f64());
    }

    fn hook_taken(&self, hook: &Name, id: &str, taken: &Taken) {
        self.say_taken(hook, id, taken);
    }

    fn hook_not_recorded(&self, hook: &Name, error: &StoreError) {
        if error.is_of_a_row() {
            self.metrics.event("refused");
        }
        tracing::error!(webhook = %hook, error = chain(error), "event could not be recorded; its sender was told to send it again");
    }
}

/// Writes an error and its causes on one line.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ")
}

/// Says one change: `warn` where the agent carried on degraded, `info` where a run changed state.
fn say(run: &Run, observation: &Observation) {
    let experiment = run.experiment.as_str();
    match observation {
        Observation::Opened => tracing::info!(experiment, trigger = run.trigger.kind(), "run opened"),
        Observation::TemplateRead { facts } => {
            tracing::debug!(experiment, template = facts.id, "template read");
        }
        Observation::Probed { facts } => {
            tracing::debug!(experiment, lever = facts.lever.stands.as_str(), "place asked");
        }
        Observation::Held { reason, .. } => tracing::info!(experiment, reason = ?reason, "run held"),
        Observation::Skipped { reason } => {
            tracing::info!(experiment, reason = reason.as_str(), detail = %reason, "run skipped");
        }
        Observation::StartAsked { template_id, .. } => tracing::info!(experiment, template = template_id, "starting"),
        Observation::StartRefused { class, message, .. } => {
            tracing::warn!(experiment, class = %class, error = message, "start refused");
        }
        Observation::StartUnclear { class, message, .. } => {
            tracing::warn!(experiment, class = %class, error = message, "start got no clear answer; looking for it by tag");
        }
        Observation::NotFound => tracing::info!(experiment, "no FIS experiment carries this run's tag"),
        Observation::LookFailed { class, .. } => {
            tracing::warn!(experiment, class = %class, "could not look for the FIS experiment by tag");
        }
        Observation::Started { fis, adopted } => {
            tracing::info!(experiment, fis_experiment = fis.id, adopted = ?adopted, "running");
        }
        Observation::Polled { fis } => {
            tracing::debug!(experiment, status = fis.status.as_str(), reason = fis.reason, "FIS experiment changed");
        }
        Observation::PollFailed { class, message } => {
            tracing::warn!(experiment, class = %class, error = message, "FIS did not tell how the experiment is");
        }
        Observation::StopAsked { cause } => tracing::info!(experiment, cause = cause.as_str(), "stopping"),
        Observation::StopTaken => tracing::info!(experiment, "FIS took the stop"),
        Observation::StopFailed { class, message, .. } => {
            tracing::warn!(experiment, class = %class, error = message, "stop failed; trying again");
        }
        Observation::Finished { outcome } => match outcome {
            Outcome::Failed { .. } | Outcome::NotStarted { .. } | Outcome::Lost { .. } => {
                tracing::warn!(experiment, outcome = outcome.as_str(), detail = %outcome, "run finished");
            }
            _ => tracing::info!(experiment, outcome = outcome.as_str(), detail = %outcome, "run finished"),
        },
    }
}
