//! The simulator's clock: the one place where it reads the time.
//!
//! AWS's clock is a wall clock, and so is this one; it can be frozen and made to jump ahead, so that clients meet an
//! AWS that does not agree with their own clock, and nobody waits for 120 days. Everything else takes `now` as an
//! argument. Declared durations are divided by the pace, instants are not scaled. Only signatures are checked against the
//! wall clock whatever this one shows, as clients sign with theirs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The clock of a simulated AWS.
#[derive(Debug)]
pub(super) struct Clock {
    /// How far it is ahead of the wall clock.
    ahead: SignedDuration,
    /// Set while it stands still.
    frozen: Option<Timestamp>,
    pace: Pace,
}

impl Clock {
    /// A clock that agrees with the wall clock.
    pub(super) fn new(pace: Pace) -> Self {
        Self { ahead: SignedDuration::ZERO, frozen: None, pace }
    }

    /// The instant it shows.
    pub(super) fn now(&self) -> Timestamp {
        self.frozen.unwrap_or_else(|| later(wall(), self.ahead))
    }

    /// How fast declared durations pass.
    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    /// Moves it ahead, frozen or not; it never goes back.
    pub(super) fn jump(&mut self, ahead: SignedDuration) {
        self.ahead = self.ahead.saturating_add(ahead.max(SignedDuration::ZERO));
        self.frozen = self.frozen.map(|at| later(at, ahead));
    }

    /// Makes it stand still.
    pub(super) fn freeze(&mut self) {
        self.frozen = Some(self.now());
    }

    /// Lets it go on from where it stands.
    pub(super) fn thaw(&mut self) {
        if let Some(at) = self.frozen.take() {
            self.ahead = at.duration_since(wall());
        }
    }

    /// Sets the pace and returns the former one.
    pub(super) fn set_pace(&mut self, pace: Pace) -> Pace {
        std::mem::replace(&mut self.pace, pace)
    }

    /// What it shows and how it goes, for the state page.
    pub(super) fn rendered(&self) -> Value {
        json!({"now": self.now().to_string(), "frozen": self.frozen.is_some(), "speed": self.pace.speed})
    }
}

/// Reads the wall clock.
#[expect(clippy::disallowed_methods, reason = "the one clock of the simulator")]
pub(super) fn wall() -> Timestamp {
    Timestamp::now()
}

/// An instant after another one; the end of time when there is none.
pub(super) fn later(at: Timestamp, time: SignedDuration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

/// An instant in whole seconds, as most of AWS's records have it.
pub(super) fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

/// Real time from `now` until the next look: at `next`, if that comes within `look`.
pub(super) fn until(next: Option<Timestamp>, now: Timestamp, look: Duration) -> Duration {
    let left = next.map(|next| next.duration_since(now).max(SignedDuration::ZERO));
    left.and_then(|left| Duration::try_from(left).ok()).map_or(look, |left| left.min(look))
}

/// How much faster than AWS the simulator lives.
#[derive(Debug, Clone, Copy, PartialEq)]
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
        later(from, divided(declared, self.speed))
    }

    /// Where an instant that was set at the pace `self` lies at another one, when the change comes at `now`. What is
    /// over stays where it was.
    pub(super) fn moved(self, at: Timestamp, new: Self, now: Timestamp) -> Timestamp {
        let left = at.duration_since(now);
        if left.is_positive() { later(now, divided(left, new.speed / self.speed)) } else { at }
    }
}

fn divided(time: SignedDuration, by: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(time.as_secs_f64().max(0.0) / by).unwrap_or(SignedDuration::MAX)
}
