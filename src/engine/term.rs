//! The term of a lease: until when this replica may change something outside, as its calls see it.
//!
//! The instant is monotonic and counted from before the store was asked, so that nobody else can have taken the lease
//! before it. It is looked at before every step of a call: what a paused process wakes up with belongs to its past.

use std::{
    future::Future,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use tokio::time::Instant;

/// With less of the lease left it is renewed before a call is made: an answer takes a while.
const ENOUGH: Duration = Duration::from_secs(2);

/// Least time between two renewals, so that a store that answers too late is not asked without end.
const PACE: Duration = Duration::from_millis(100);

/// A term, shared with the calls that are made in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Term(Arc<Mutex<End>>);

/// When a term ends.
#[derive(Debug, Clone, Copy, Default)]
enum End {
    /// It has ended, or never begun.
    #[default]
    Past,
    /// At this instant (exclusive).
    At(Instant),
    /// Not as long as the store is open.
    Never,
}

impl Term {
    /// Goes on until an instant (exclusive); `None` when it has no end.
    pub(super) fn extend(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until.map_or(End::Never, End::At);
    }

    fn left(&self) -> Duration {
        match *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            End::Past => Duration::ZERO,
            End::At(until) => until.saturating_duration_since(Instant::now()),
            End::Never => Duration::MAX,
        }
    }

    /// Tells whether it ends at some instant: then there may be other replicas.
    pub(super) fn has_end(&self) -> bool {
        self.left() < Duration::MAX
    }

    /// Tells whether another may hold the lease by now.
    pub(super) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Tells whether too little is left to make a call.
    pub(super) fn is_short(&self) -> bool {
        self.left() < ENOUGH
    }

    /// Returns when a third of what is left has passed: two renewals may fail.
    pub(super) async fn fades(&self) {
        match self.left() {
            Duration::MAX => std::future::pending().await,
            left => tokio::time::sleep((left / 3).max(PACE)).await,
        }
    }

    /// Goes on with a call only while the term lasts. After that it stands still until it is dropped.
    pub(super) async fn bounds<T>(self, call: impl Future<Output = T>) -> T {
        let mut call = pin!(call);
        std::future::poll_fn(|context| if self.is_over() { Poll::Pending } else { call.as_mut().poll(context) }).await
    }
}
