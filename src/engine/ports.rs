//! Ports: what the engine and the ingest need from the world. Each has a real implementor and a simulated one.

mod carry;
mod lease;
mod poke;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::Arc,
    time::Duration,
};

pub use carry::{EventSink, Journal, Outbound, Placed, TraceSink};
use jiff::Timestamp;
pub use lease::{Configuration, Lease};
pub use poke::{Hints, Poke};

use crate::domain::{
    deployment::{Deployed, DeployedKey},
    experiment::{Place, TemplateSelector},
    fis::{CallFailure, FisExperiment},
    ids::{ExperimentName, Name, RunId},
    ledger::{Definition, Ledger},
    place::{PlaceFacts, Wanted},
    plan::{Cursors, Explained, Halt, Halting, PauseRow, Pausing, ScheduleKey, Snapshot, StopRequest, Withheld},
    run::{Observation, Run},
    template::TemplateFacts,
};

/// Rows that survive everything. A change is either wholly there or not at all, and stays once it was acknowledged.
///
/// What decides is written by the holder of the lease alone: [`Store::commit`]. What comes from outside any replica may
/// write, as often as it likes.
pub trait Store: Send + Sync + 'static {
    /// Takes the lease where nobody holds it, or keeps it; the fingerprint is of the configuration that is decided by.
    fn hold(&self, fingerprint: &str) -> impl Future<Output = Result<Lease, StoreError>> + Send;

    /// Gives the lease back, if it is held, so that another takes it at once. For so long after that this one takes a lease
    /// that is free only where nobody else does.
    fn release(&self, leaves_it_for: Duration) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits until another replica gives the lease back. It may be missed: whoever stands by also looks now and then.
    fn freed(&self) -> impl Future<Output = ()> + Send;

    /// Loads all rows that decisions rest on, as one consistent picture.
    fn load(&self) -> impl Future<Output = Result<Rows, StoreError>> + Send;

    /// Makes changes, each of another row, in one transaction, and tells of each whether it was made. One that is stale
    /// does not keep the others from being made.
    ///
    /// Rows that forbid a start may have been written since they were loaded, by any replica. So that none is asked for
    /// after a halt, a pause or a stop was acknowledged, a run's [`Observation::StartAsked`] is stale while there is a halt,
    /// its experiment's pause is in force at the instant of the change, or it is to be stopped. A row that cannot be read
    /// forbids as well.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when the lease is another's.
    fn commit(&self, changes: &[Change]) -> impl Future<Output = Result<Vec<Committed>, StoreError>> + Send;

    /// Records events with the runs that they open, all in one transaction, and tells of each whether anything was new. A
    /// further copy of an event opens only what no copy has opened before (another queue's triggers, say), also within
    /// `arrivals`.
    fn record_events(&self, arrivals: Vec<Arrival>) -> impl Future<Output = Result<Vec<Recorded>, StoreError>> + Send;

    /// Keeps messages that could not be read, in one transaction; [`StoreError::Full`] where those among them that it does not
    /// have would be more than it keeps. Of those that are handed in at the same time it may keep a few more.
    fn quarantine(&self, messages: Vec<QuarantinedMessage>) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns a message that could not be read.
    fn quarantined_message(
        &self,
        queue: &str,
        message_id: &str,
    ) -> impl Future<Output = Result<Option<QuarantinedMessage>, StoreError>> + Send;

    /// Forgets a message that could not be read; tells whether it was there.
    fn forget_quarantined(
        &self,
        queue: &str,
        message_id: &str,
    ) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// Records runs that somebody asked for, in one transaction; known ones are left as they are. Tells whether any was new.
    fn request_runs(&self, runs: Vec<Run>) -> impl Future<Output = Result<Recorded, StoreError>> + Send;

    /// Records that a run is to be stopped; tells whether that run exists and is not over.
    fn request_stop(&self, run: RunId, request: StopRequest) -> impl Future<Output = Result<Found, StoreError>> + Send;

    /// Returns the global halt, if it is on, without a look at any other row.
    fn halted(&self) -> impl Future<Output = Result<Option<Halt>, StoreError>> + Send;

    /// Changes the global halt in one transaction, without a look at any other row; returns what it is then.
    fn set_halt(&self, change: Halting) -> impl Future<Output = Result<Option<Halt>, StoreError>> + Send;

    /// Pauses an experiment, or resumes it at an instant, which also forgives its failures up to then.
    fn set_pause(
        &self,
        experiment: ExperimentName,
        change: Pausing,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Replaces an experiment's ledger that cannot be read, if it is one, by [`Ledger::retold`]; tells whether it was.
    fn retell_ledger(
        &self,
        experiment: &ExperimentName,
        groups: Vec<Name>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Found, StoreError>> + Send;
}

/// The rows of one [`Store::load`].
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// The last slot handled, per schedule.
    pub cursors: Cursors,
    /// Every run that is not over, oldest first.
    pub runs: Vec<Run>,
    /// The global halt, if it is on.
    pub halt: Option<Halt>,
    /// Stops asked for, of runs that are not over.
    pub stops: BTreeMap<RunId, StopRequest>,
    /// What past runs left behind, by experiment.
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    /// Experiments that are or were paused.
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    /// What is remembered of what open runs are about.
    pub deployed: BTreeMap<DeployedKey, Deployed>,
    /// When the rows were last taken back from a backup.
    pub restored_at: Option<Timestamp>,
    /// What rows that cannot be read are about. A halt among them counts as one that stops what runs, a stop as a stop.
    pub withheld: Withheld,
    /// Runs among those rows that may be running: nobody is told of them by [`Rows::runs`].
    pub unread: BTreeSet<RunId>,
    /// The first of those rows; a [`StoreError::Row`].
    pub unreadable: Option<Arc<StoreError>>,
}

/// One change of rows.
#[expect(clippy::large_enum_variant, reason = "one at a time, on its way to the disk")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the cursor of a schedule that has none; moves that of one that had left, never back.
    AdoptSchedule {
        /// Which.
        schedule: ScheduleKey,
        /// Its cursor.
        at: Timestamp,
    },
    /// Notes of a cursor that its schedule has left.
    LeaveSchedule {
        /// Which.
        schedule: ScheduleKey,
        /// When that was seen.
        at: Timestamp,
    },
    /// Removes a cursor whose schedule has left; one that is back by now stays, however late this arrives.
    ForgetSchedule {
        /// Which.
        schedule: ScheduleKey,
    },
    /// Inserts runs (known ones are left as they are) and moves the cursor, never back; its schedule is there.
    OpenSlots {
        /// Which schedule.
        schedule: ScheduleKey,
        /// Its cursor afterwards.
        cursor: Timestamp,
        /// The runs.
        runs: Vec<Run>,
        /// When.
        at: Timestamp,
    },
    /// Replaces a run whose stored revision is one lower, and notes the observation in its experiment's ledger.
    Advance {
        /// The run as it is afterwards.
        run: Box<Run>,
        /// What happened.
        observation: Observation,
        /// Whether it goes into the journal.
        journal: Journaled,
        /// What the experiment runs by now; `None` when it is no longer configured.
        definition: Option<Box<Definition>>,
        /// What each guard said, where it is a decision.
        explained: Vec<Explained>,
        /// When.
        at: Timestamp,
    },
}

impl Change {
    /// Says of what happened to a run that a row is in the way of its being written.
    pub(super) fn unwritten(&self, error: StoreError) -> StoreError {
        match (self, error) {
            (Self::Advance { run, .. }, row @ StoreError::Row { .. }) => {
                StoreError::Unwritten { run: run.id.clone(), state: run.state.as_str(), source: Box::new(row) }
            }
            (_, error) => error,
        }
    }
}

/// Whether a change goes into the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Journaled {
    /// It does.
    Yes,
    /// It does not: a poll that saw nothing new.
    No,
}

/// Whether a change was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// It was.
    Done,
    /// It was not: the stored row had changed since it was loaded, or what forbids a start had.
    Stale,
}

/// Whether a row was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// It was, and is durable now.
    New,
    /// It was there already; nothing was written.
    Known,
}

/// Whether a row was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// It was.
    Yes,
    /// It was not.
    No,
}

/// An event as recorded, whether it matched or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// `source`.
    pub source: String,
    /// `id`.
    pub event_id: String,
    /// `detail-type`.
    pub detail_type: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// By which queue or webhook, by our name; `None` of one that came before this was kept.
    pub queue: Option<String>,
    /// The event, where it is to be kept.
    pub body: Option<String>,
}

/// An event that has arrived, with what it opens.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The event.
    pub event: EventRow,
    /// The runs it opens if it is new.
    pub runs: Vec<Run>,
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedMessage {
    /// Which queue, by our name.
    pub queue: String,
    /// The queue's id of it; a redelivery is kept once.
    pub message_id: String,
    /// When it was received.
    pub received_at: Timestamp,
    /// Why it could not be read.
    pub reason: String,
    /// Its body, cut at a limit.
    pub body: String,
    /// How long the body was before, in bytes.
    pub body_bytes: u64,
}

impl QuarantinedMessage {
    /// Tells whether a part of the body is gone.
    pub fn is_cut(&self) -> bool {
        u64::try_from(self.body.len()).is_ok_and(|kept| kept < self.body_bytes)
    }
}

/// The store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A query failed.
    #[error("could not {action} the store")]
    Query {
        /// What was tried: "read", "write".
        action: &'static str,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It works, and does not take a row.
    #[error("the store refused a row")]
    Refused {
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It keeps as many messages that cannot be read as it may; nothing was written.
    #[error("the quarantine is full; `firedrill queue quarantine` takes in or drops what is in it")]
    Full,
    /// The lease is another replica's by now; nothing was written.
    #[error("another replica holds the lease")]
    Fenced,
    /// A row holds what this version cannot read.
    #[error("the store's row `{row}` cannot be read; `firedrill store check` names all such rows")]
    Row {
        /// Which: its table, and what names it there.
        row: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What happened to a run would change a row that cannot be read, and so is in none.
    #[error("run {run} is {state}, which cannot be written; until then it counts as before")]
    Unwritten {
        /// Which run.
        run: RunId,
        /// The state that it has come to.
        state: &'static str,
        /// The row that is in the way.
        #[source]
        source: Box<StoreError>,
    },
    /// Rows of runs that may be running are among those that cannot be read.
    #[error("{}", unwatched(.known, .unknown))]
    Unwatched {
        /// Runs of which is known from before where they run, and as what.
        known: Vec<RunId>,
        /// Runs of which nothing is known.
        unknown: Vec<RunId>,
        /// The first row that cannot be read.
        #[source]
        source: Arc<StoreError>,
    },
}

/// Most runs that are named where they are not watched.
const MAX_NAMED: usize = 10;

fn unwatched(known: &[RunId], unknown: &[RunId]) -> String {
    let named = |runs: &[RunId], what: &str| {
        let names: Vec<&str> = runs.iter().take(MAX_NAMED).map(RunId::as_str).collect();
        let more = runs.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!runs.is_empty()).then(|| format!("{what}: {}{more}", names.join(", ")))
    };
    let parts = [
        named(known, "their end is not seen, and they are stopped by what was known of them"),
        named(unknown, "neither watched nor stopped, end them in FIS"),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    format!("runs that may be running have rows that cannot be read; {}", parts.join("; "))
}

/// What the store did. That it can be read proves nothing about writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreDid {
    /// It carried a whole pass, with whatever that had to write.
    Pass,
    /// It took a change.
    Write,
}

impl StoreError {
    /// Returns what proves that this failure is over.
    pub fn is_over_after(&self) -> StoreDid {
        match self {
            Self::Query { action: "write", .. } | Self::Refused { .. } | Self::Full => StoreDid::Write,
            Self::Query { .. } | Self::Row { .. } | Self::Unwritten { .. } | Self::Unwatched { .. } | Self::Fenced => {
                StoreDid::Pass
            }
        }
    }

    /// Tells whether the store works, and it is a row that is in the way: that of one change, and of no other.
    pub fn is_of_a_row(&self) -> bool {
        let is_refusal = matches!(self, Self::Refused { .. } | Self::Full);
        is_refusal || matches!(self, Self::Row { .. } | Self::Unwritten { .. } | Self::Unwatched { .. })
    }
}

/// FIS, as far as the engine needs it.
pub trait FaultInjector: Send + Sync + 'static {
    /// Reads the template that a selector names.
    fn read_template(
        &self,
        place: &Place,
        template: &TemplateSelector,
    ) -> impl Future<Output = Result<TemplateFacts, CallFailure>> + Send;

    /// Asks what a start wants to know of a place. When that is read and of which place the caller notes.
    fn probe(&self, place: &Place, wanted: &Wanted) -> impl Future<Output = Result<PlaceFacts, CallFailure>> + Send;

    /// Calls StartExperiment.
    fn start(
        &self,
        place: &Place,
        request: &StartRequest,
    ) -> impl Future<Output = Result<FisExperiment, CallFailure>> + Send;

    /// Looks for the experiment of a run by its tag, among all experiments of the template. `None` says that the place in
    /// which it was asked for has none, not that nothing is seen of that place.
    fn find(
        &self,
        place: &Place,
        template_id: &str,
        run: &RunId,
    ) -> impl Future<Output = Result<Option<FisExperiment>, CallFailure>> + Send;

    /// Calls GetExperiment for an experiment of a template. [`NotFound`](crate::domain::fis::FailureClass::NotFound) says as
    /// much as `None` of [`find`](Self::find).
    fn get(
        &self,
        place: &Place,
        fis_id: &str,
        template_id: &str,
    ) -> impl Future<Output = Result<FisExperiment, CallFailure>> + Send;

    /// Calls StopExperiment.
    fn stop(&self, place: &Place, fis_id: &str) -> impl Future<Output = Result<(), CallFailure>> + Send;
}

/// What StartExperiment is called with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// `EXT…`.
    pub template_id: String,
    /// The run's own token, the same for every attempt.
    pub client_token: String,
    /// Tags, the run's own among them.
    pub tags: BTreeMap<String, String>,
}

/// The clock, and what wakes the engine.
pub trait WakeSource: Send + Sync + 'static {
    /// Returns the wall clock's time.
    fn now(&self) -> Timestamp;

    /// Returns at or soon after an instant, or earlier: a wake-up too many does no harm.
    fn wait(&self, until: Option<Timestamp>) -> impl Future<Output = ()> + Send;
}

/// Told of everything that happened, after it is durable. Must not block and must not fail.
pub trait Witness: Send + Sync + 'static {
    /// A run was opened or changed.
    fn committed(&self, run: &Run, observation: &Observation, at: Timestamp);

    /// The engine has looked at all rows, and there was nothing to record.
    fn surveyed(&self, rows: &Snapshot<'_>, at: Timestamp);

    /// A call was answered, or not.
    fn called(&self, operation: &'static str, result: &'static str, took: Duration);

    /// The store failed; nothing starts while it does.
    fn store_failed(&self, error: &StoreError);

    /// The store did what it was asked.
    fn store_worked(&self, did: StoreDid);

    /// The store does not answer, and what runs is looked after without it.
    fn looks_after_runs(&self);

    /// Another replica holds the lease: this one decides nothing until it holds it.
    fn standing_by(&self, holder: &str, configuration: Configuration);

    /// The lease is given back, because FIS does not answer when that run is to be stopped, or looked for.
    fn handing_over(&self, _run: &RunId, _failure: &CallFailure) {}
}
