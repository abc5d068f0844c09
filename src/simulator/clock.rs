//! The simulator's clock: the one place where it reads the time.
//!
//! AWS's clock is a wall clock, and so is this one. Everything else takes `now` as an argument.

use jiff::{SignedDuration, Timestamp};

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one clock of the simulator")]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// How much faster than AWS the simulator lives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    speed: f64,
}

impl Pace {
    /// Takes a factor; `None` unless it is finite and more than zero.
    pub(super) fn new(speed: f64) -> Option<Self> {
        (speed.is_finite() && speed > 0.0).then_some(Self { speed })
    }

    /// The instant at which a declared duration that begins at `from` is over, never before `from`.
    pub(super) fn after(self, from: Timestamp, declared: SignedDuration) -> Timestamp {
        let seconds = declared.as_secs_f64().max(0.0) / self.speed;
        let scaled = SignedDuration::try_from_secs_f64(seconds).unwrap_or(SignedDuration::MAX);
        from.saturating_add(scaled).unwrap_or(Timestamp::MAX)
    }
}
