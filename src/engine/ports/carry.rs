//! What couriers need: the journal, and who is told of what is in it.

use std::future::Future;

use jiff::Timestamp;

use super::StoreError;
use crate::domain::{
    fis::CallFailure,
    ids::RunId,
    run::{JournalEntry, Run},
};

/// A position in the journal and the entry there, or why it cannot be read.
pub type Placed = (i64, Result<JournalEntry, StoreError>);

/// The journal and how far each courier has come in it. A position never goes back, and only the active replica moves it.
pub trait Journal: Send + Sync + 'static {
    /// Tells whether this replica is the active one, as far as it knows.
    fn is_active(&self) -> bool;

    /// Returns the position of a courier; zero at first.
    fn courier(&self, name: &'static str) -> impl Future<Output = Result<i64, StoreError>> + Send;

    /// Records how far a courier has come.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] when another replica carries.
    fn move_courier(&self, name: &'static str, seq: i64) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Moves a courier to the end of the journal.
    ///
    /// # Errors
    /// As [`Journal::move_courier`].
    fn move_courier_to_end(&self, name: &'static str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Returns the journal behind a position, oldest entry first, at most so many: each with its position, and an error in
    /// the place of one that cannot be read.
    fn journal_after(&self, seq: i64, limit: u32) -> impl Future<Output = Result<Vec<Placed>, StoreError>> + Send;

    /// Returns a run.
    fn run(&self, id: &RunId) -> impl Future<Output = Result<Option<Run>, StoreError>> + Send;

    /// Returns a run's journal, oldest entry first.
    fn journal(&self, id: &RunId) -> impl Future<Output = Result<Vec<JournalEntry>, StoreError>> + Send;
}

/// Takes traces of runs that are over.
pub trait TraceSink: Send + Sync + 'static {
    /// Tells whether anybody is sent traces.
    fn are_wanted(&self) -> bool;

    /// Takes the trace of a run that is over, to be sent with the next [`TraceSink::flush`] at the latest.
    fn export(&self, run: &Run, journal: &[JournalEntry]);

    /// Sends what was exported so far, as far as the collector takes it.
    fn flush(&self) -> impl Future<Output = ()> + Send;
}

/// Takes run events.
pub trait EventSink: Send + Sync + 'static {
    /// Puts an event where others read it.
    ///
    /// # Errors
    /// [`CallFailure`] when it may not be there.
    fn put(&self, event: &Outbound) -> impl Future<Output = Result<(), CallFailure>> + Send;
}

/// One event to be put.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// When it happened.
    pub at: Timestamp,
    /// `detail`, as JSON text.
    pub detail: String,
}
