//! The lease of a world and the seats at its store: who may decide, in which term, and who did.
//!
//! Times are true time: nobody looks at a clock that is set. Whoever stands by takes the lease after it has seen it stay
//! the same for as long as it lasts.

use std::sync::{Arc, Mutex};

use firedrill::engine::ports::{Lease, StoreError};
use tokio::time::Instant;

use super::{
    nature::Nature,
    planted::Bug,
    store::{MemoryStore, Tables},
};

/// A process at the store. One that comes back after a crash is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Seat {
    /// Counts processes.
    pub number: u64,
    /// Which replica's it is.
    pub replica: usize,
}

/// Who held the lease from when on.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub from: u64,
    pub fence: u64,
    pub seat: Seat,
    /// When it was given back.
    pub released: Option<u64>,
}

/// A write that only the holder may make.
#[derive(Debug, Clone, Copy)]
pub struct Written {
    /// Under which number it was made.
    pub fence: u64,
    pub seat: Seat,
}

/// The row of the lease.
#[derive(Debug, Clone, Default)]
pub struct LeaseRow {
    /// How long it lasts without a renewal, in milliseconds; `None` when the lock of a file is the lease.
    pub ttl_ms: Option<u64>,
    renewed_at: u64,
    /// Counts renewals.
    renewals: u64,
    /// Every term there was; the last one goes on unless it was given back.
    pub terms: Vec<Held>,
    /// Every write that only the holder may make.
    pub writes: Vec<Written>,
}

impl LeaseRow {
    /// The term that goes on, whether or not it has run out.
    pub fn holder(&self) -> Option<&Held> {
        self.terms.last().filter(|term| term.released.is_none())
    }

    /// Who holds it and need not have it renewed yet.
    pub fn valid_holder(&self, now: u64) -> Option<Seat> {
        let lasts = self.ttl_ms.is_none_or(|ttl| now < self.renewed_at + ttl);
        self.holder().filter(|_| lasts).map(|term| term.seat)
    }

    /// Takes or keeps the lease; tells the number of the term, or whose it is.
    fn hold(&mut self, seat: Seat, seen: &mut Option<Seen>, now: u64, bug: Bug) -> Result<u64, Seat> {
        let fence = match self.terms.last().copied() {
            Some(term) if term.seat == seat && term.released.is_none() => {
                self.renew(now);
                return Ok(term.fence);
            }
            Some(term) => {
                let is_held = self.ttl_ms.is_some_and(|ttl| !self.was_seen_for(ttl, seen, now));
                if term.released.is_none() && (is_held || bug == Bug::DeadHoldLease) {
                    return Err(term.seat);
                }
                term.fence + 1
            }
            None => 1,
        };
        self.renew(now);
        self.terms.push(Held { from: now, fence, seat, released: None });
        Ok(fence)
    }

    fn renew(&mut self, now: u64) {
        self.renewed_at = now;
        self.renewals += 1;
    }

    /// Tells whether somebody has seen it stay the same for so long, and notes what is seen.
    fn was_seen_for(&self, ttl_ms: u64, seen: &mut Option<Seen>, now: u64) -> bool {
        match seen {
            Some(seen) if seen.renewals == self.renewals => now >= seen.since + ttl_ms,
            _ => {
                *seen = Some(Seen { renewals: self.renewals, since: now });
                false
            }
        }
    }
}

/// What one process saw of another's lease, and since when it has been so.
#[derive(Debug, Clone, Copy)]
struct Seen {
    renewals: u64,
    since: u64,
}

/// What one process knows of its place at the store.
#[derive(Debug, Default)]
pub struct Place {
    pub seat: Seat,
    /// The number of the term in which it last held the lease.
    fence: Mutex<u64>,
    seen: Arc<Mutex<Option<Seen>>>,
}

impl MemoryStore {
    /// The same rows, as another process sees them.
    pub fn seat(&self, seat: Seat) -> Self {
        let place = Place { seat, ..Place::default() };
        Self { nature: self.nature.clone(), tables: Arc::clone(&self.tables), before: Arc::clone(&self.before), place }
    }

    pub(super) async fn hold_lease(&self) -> Result<Lease, StoreError> {
        let seat = self.place.seat;
        let Some(ttl) = self.with(|tables| tables.lease.ttl_ms) else {
            let now = self.nature.elapsed();
            let taken = self.with(|tables| tables.lease.hold(seat, &mut None, now, self.nature.bug()));
            *self.place.fence.lock().expect("one thread") = taken.unwrap_or_default();
            return Ok(Lease::Held { until: None });
        };
        let asked = Instant::now();
        let (nature, seen) = (self.nature.clone(), Arc::clone(&self.place.seen));
        let taken = self.write(move |tables, now| tables.take_lease(seat, &seen, now, &nature)).await?;
        let (bug, ttl) = (self.nature.bug(), std::time::Duration::from_millis(ttl));
        Ok(match taken {
            Ok(fence) => {
                *self.place.fence.lock().expect("one thread") = fence;
                Lease::Held { until: Some(asked + ttl) }
            }
            Err(_) if bug == Bug::StandbyActs => Lease::Held { until: Some(asked + ttl) },
            Err(holder) => Lease::Elsewhere { holder: format!("replica-{}", holder.replica) },
        })
    }

    pub(super) async fn release_lease(&self) -> Result<(), StoreError> {
        let seat = self.place.seat;
        let nature = self.nature.clone();
        self.write(move |tables, now| {
            if let Some(term) = tables.lease.terms.last_mut().filter(|term| term.seat == seat) {
                nature.say(|| format!("store: replica {} gives the lease back", seat.replica));
                term.released.get_or_insert(now);
            }
        })
        .await
    }

    /// Whether the lease is another's; if it is not, somebody who may writes.
    pub(super) fn is_fenced(&self, tables: &mut Tables) -> bool {
        if tables.lease.ttl_ms.is_none() {
            return false;
        }
        let fence = *self.place.fence.lock().expect("one thread");
        let is_mine = tables.lease.holder().is_some_and(|term| term.fence == fence && term.seat == self.place.seat);
        if is_mine {
            tables.lease.writes.push(Written { fence, seat: self.place.seat });
        }
        !is_mine
    }
}

impl Tables {
    fn take_lease(&mut self, seat: Seat, seen: &Mutex<Option<Seen>>, now: u64, nature: &Nature) -> Result<u64, Seat> {
        let before = self.lease.terms.len();
        let taken = self.lease.hold(seat, &mut seen.lock().expect("one thread"), now, nature.bug());
        if self.lease.terms.len() > before {
            nature.say(|| format!("store: replica {} takes the lease, {taken:?}", seat.replica));
        }
        taken
    }
}
