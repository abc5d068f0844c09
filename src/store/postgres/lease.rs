//! The lease: one row that says which replica is active. It is the active one's as long as it renews it; its number, the
//! fence, rises with each change of hands.
//!
//! No wall clock has a say, the server's least of all: whoever stands by takes the lease after it has seen it stay the same
//! for as long as it lasts, by a clock that is never set. The holder counts from before it asked for the renewal that was
//! seen, so its term ends first. And every write of the active replica finds its own number in the row, in the same
//! transaction.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{Postgres, Tx, answer};
use crate::{
    engine::ports::{Configuration, Lease, StoreError},
    store::{
        rows::write_failed,
        schema::{self, SCHEMA},
    },
};

/// How long a lease lasts after it was renewed, or was first seen as it is.
pub const LEASE: Duration = Duration::from_secs(5);
/// So much of it is not relied on: two clocks do not run alike.
const MARGIN: Duration = Duration::from_millis(500);
/// By then another has taken a lease that was handed over, if there is one: it looks every second.
const TAKEN_WITHIN: Duration = Duration::from_secs(2);
/// A younger lease is not renewed for its own sake.
const RENEW_AFTER: Duration = Duration::from_secs(1);

/// Takes the lease when it is ours, given back (unless it is left to others: `$6`), or still as it was seen (`$3`, `$4`), and
/// says what it decides by (`$7`), with its number: a program of before takes the lease and leaves what the holder before it
/// said. The time in the row is only what tells one renewal from the next. A new number is never one that was given before:
/// when a server is lost with what it had acknowledged, another begins from an older row, and whoever took the lost number
/// must not find it again. Not by a program that knows too old a schema (`$5`): it would keep the lease from one that could
/// work. Returns its number.
const HOLD: &str = "UPDATE lease SET holder = $1, renewed_at = clock_timestamp(), (fence, configuration) =
         (SELECT number, number || ' ' || $7 FROM (SELECT
             CASE WHEN fence = $2 AND holder IS NOT NULL THEN fence
             ELSE GREATEST(fence + 1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint) END AS number) AS taken)
     WHERE (holder IS NULL AND $6 OR fence = $2
            OR (fence = $3 AND (EXTRACT(EPOCH FROM renewed_at) * 1000000)::bigint = $4))
         AND $5 >= (SELECT oldest FROM schema)
     RETURNING fence";

/// Who has it, what tells whether it is renewed, what it decides by if it says so, and what the schema asks for.
const LOOK: &str = "SELECT COALESCE(holder, ''), fence, (EXTRACT(EPOCH FROM renewed_at) * 1000000)::bigint,
         COALESCE(substring(configuration FROM '^' || fence || ' (.*)$'), ''), (SELECT oldest FROM schema)
     FROM lease";

/// Keeps the lease from changing hands until the transaction ends, if it is ours.
const KEEP: &str = "SELECT (SELECT oldest FROM schema) FROM lease WHERE fence = $1 AND holder IS NOT NULL FOR SHARE";

/// Renews the lease if it is still ours.
const RENEW: &str = "UPDATE lease SET renewed_at = clock_timestamp() WHERE fence = $1 AND holder IS NOT NULL
     RETURNING (SELECT oldest FROM schema)";

/// Gives it back, and tells whoever listens once that is durable. Whoever leaves it to others sees it for the first time then.
const RELEASE: &str = "WITH freed AS (UPDATE lease SET holder = NULL, renewed_at = clock_timestamp()
         WHERE fence = $1 RETURNING fence)
     SELECT pg_notify('firedrill_lease', '') FROM freed";

/// Where it is told.
const FREED: &str = "firedrill_lease";
/// Longest time on one connection that only listens: it may be dead, and nobody says so.
const LISTENS: Duration = Duration::from_secs(60);
/// Wait after a failure of such a connection. Meanwhile the lease is looked at as often as without it.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// A number that no lease has.
const NONE: i64 = -1;

/// This replica's place.
#[derive(Debug)]
pub struct Seat {
    /// Its name, for people.
    replica: String,
    known: Mutex<Known>,
    /// What the row says that this replica decides by, since it last asked for the lease.
    said: Mutex<String>,
    /// Until when a lease that is free is left to others.
    leaves_it_until: Mutex<Option<Instant>>,
    /// Another replica has given the lease back.
    freed: Notify,
}

/// What was known of the lease when the server was last asked.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    Nothing,
    /// It is ours.
    Held {
        fence: i64,
        /// Before the server was asked for it, or to renew it.
        asked: Instant,
    },
    /// It was ours, and is left to others.
    Left {
        fence: i64,
        /// Since when.
        at: Instant,
    },
    /// It is another's, or free and left to others.
    Elsewhere {
        fence: i64,
        renewed_at_us: i64,
        /// When that was first seen.
        since: Instant,
    },
}

impl Seat {
    pub(super) fn new(replica: String) -> Self {
        Self {
            replica,
            known: Mutex::new(Known::Nothing),
            said: Mutex::default(),
            leaves_it_until: Mutex::default(),
            freed: Notify::new(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whether a lease that is free is taken.
    fn takes_free(&self) -> bool {
        let until = *self.leaves_it_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }

    /// Renews the lease within a transaction, or only keeps it until that ends.
    pub(super) async fn keep<'a>(&'a self, tx: &mut Tx<'a>, renews: bool) -> Result<(), StoreError> {
        let Known::Held { fence, .. } = *self.known() else { return Err(StoreError::Fenced) };
        let asked = Instant::now();
        let query = sqlx::query_scalar(if renews { RENEW } else { KEEP }).bind(fence);
        let oldest: Option<i64> = answer(query.fetch_optional(tx.get()?)).await.map_err(write_failed)?;
        let Some(oldest) = oldest else {
            self.lose(fence);
            return Err(StoreError::Fenced);
        };
        tx.renewed = renews.then_some((self, Known::Held { fence, asked }));
        schema::allows(oldest)
    }

    /// Notes that a transaction which renewed the lease is durable.
    pub(super) fn renewed(&self, renewed: Known) {
        let mut known = self.known();
        if let (Known::Held { fence: before, .. }, Known::Held { fence, .. }) = (*known, renewed)
            && before == fence
        {
            *known = renewed;
        }
    }

    fn lose(&self, lost: i64) {
        let mut known = self.known();
        if matches!(*known, Known::Held { fence, .. } if fence == lost) {
            *known = Known::Nothing;
        }
    }
}

fn held(asked: Instant) -> Lease {
    Lease::Held { until: Some(asked + LEASE - MARGIN) }
}

impl Postgres {
    /// Takes, keeps or renews the lease.
    ///
    /// # Errors
    /// [`StoreError::Query`] when the server cannot be asked, or its rows are no longer ours to work on.
    pub(in crate::store) async fn hold(&self, fingerprint: &str) -> Result<Lease, StoreError> {
        let asked = Instant::now();
        let known = *self.seat.known();
        let is_said = *self.seat.said.lock().unwrap_or_else(PoisonError::into_inner) == fingerprint;
        let (fence, still) = match known {
            // Commits renew it too, and do not tell of a reload.
            Known::Held { asked: before, .. } if is_said && asked.duration_since(before) < RENEW_AFTER => {
                return Ok(held(before));
            }
            Known::Held { fence, .. } => (fence, (NONE, 0)),
            Known::Left { fence, at } if at.elapsed() >= TAKEN_WITHIN => (fence, (NONE, 0)),
            Known::Elsewhere { fence, renewed_at_us, since } if asked.duration_since(since) >= LEASE => {
                (NONE, (fence, renewed_at_us))
            }
            Known::Elsewhere { .. } | Known::Left { .. } | Known::Nothing => (NONE, (NONE, 0)),
        };
        let mut connection = self.connection().await.map_err(write_failed)?;
        let query = sqlx::query_as(HOLD).bind(&self.seat.replica).bind(fence);
        let query = query.bind(still.0).bind(still.1).bind(SCHEMA).bind(self.seat.takes_free()).bind(fingerprint);
        let taken: Result<Option<(i64,)>, _> =
            answer(query.fetch_optional(connection.get().map_err(write_failed)?)).await;
        if let Ok(Some((fence,))) = taken {
            connection.after(&taken);
            *self.seat.known() = Known::Held { fence, asked };
            fingerprint.clone_into(&mut *self.seat.said.lock().unwrap_or_else(PoisonError::into_inner));
            return Ok(held(asked));
        }
        taken.map_err(write_failed)?;
        let looked: Result<(String, i64, i64, String, i64), _> =
            answer(sqlx::query_as(LOOK).fetch_one(connection.get().map_err(write_failed)?)).await;
        connection.after(&looked);
        let (holder, fence, renewed_at_us, other, oldest) = looked.map_err(write_failed)?;
        schema::allows(oldest)?;
        let now = match known {
            Known::Elsewhere { fence: f, renewed_at_us: us, .. } if (f, us) == (fence, renewed_at_us) => known,
            Known::Left { fence: left, .. } if left == fence => known,
            _ => Known::Elsewhere { fence, renewed_at_us, since: Instant::now() },
        };
        *self.seat.known() = now;
        if holder.is_empty() {
            return Ok(Lease::Free);
        }
        let differs = !other.is_empty() && !fingerprint.is_empty() && other != fingerprint;
        let configuration = if differs { Configuration::Differs } else { Configuration::Same };
        Ok(Lease::Elsewhere { holder, configuration })
    }

    /// Tells whether nobody else can have the lease by now, as far as is known without asking.
    pub(in crate::store) fn is_active(&self) -> bool {
        matches!(*self.seat.known(), Known::Held { asked, .. } if asked.elapsed() < LEASE - MARGIN)
    }

    /// Gives the lease back, if it is ours, and leaves one that is free to others for so long.
    ///
    /// # Errors
    /// [`StoreError::Query`] when the server cannot be asked: then the others wait until it has run out.
    pub(in crate::store) async fn release(&self, leaves_it_for: Duration) -> Result<(), StoreError> {
        let Known::Held { fence, .. } = std::mem::replace(&mut *self.seat.known(), Known::Nothing) else {
            return Ok(());
        };
        let mut connection = self.connection().await.map_err(write_failed)?;
        let query = sqlx::query(RELEASE).bind(fence);
        let done = answer(query.execute(connection.get().map_err(write_failed)?)).await;
        connection.after(&done);
        done.map_err(write_failed)?;
        let now = Instant::now();
        *self.seat.leaves_it_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(now + leaves_it_for);
        *self.seat.known() = Known::Left { fence, at: now };
        Ok(())
    }

    /// Waits until another replica has given the lease back, as far as [`Self::listen`] hears it.
    pub(in crate::store) async fn freed(&self) {
        self.seat.freed.notified().await;
    }

    /// Hears what others tell of the lease. Never ends.
    pub(in crate::store) async fn listen(&self) {
        loop {
            if let Ok(Err(error)) = timeout(LISTENS, self.listen_once()).await {
                tracing::debug!(%error, "cannot hear of the lease; it is looked at every second");
                sleep(LISTEN_AGAIN).await;
            }
        }
    }

    /// Listens on a connection of its own, to the host that takes writes as far as is known.
    async fn listen_once(&self) -> Result<(), sqlx::Error> {
        let options = self.pool.connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).acquire_timeout(LISTEN_AGAIN).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(FREED).await?;
        while listener.try_recv().await?.is_some() {
            self.seat.freed.notify_one();
        }
        Ok(())
    }
}
