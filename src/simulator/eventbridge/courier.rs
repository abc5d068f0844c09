//! FIS's events on their way to the bus, and switches that make the way a bad one.
//!
//! EventBridge delivers best effort, so a client must survive events that are lost, come twice, late or in another
//! order. Without a switch every event goes straight through. Which event meets which fate depends on the seed and on
//! its number since the switches were set, nothing else, so a run can be repeated.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::simulator::{clock::Pace, fis::Emission, ids, wire::ApiError};

/// Declared time after which an event that was to be overtaken goes on although none came after it.
const LONGEST_OVERTAKING: SignedDuration = SignedDuration::from_mins(1);
/// Most events held; beyond, they go straight through.
const MAX_HELD: usize = 10_000;

/// What happens to events on their way. Rates are between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Switches {
    /// Rate of events that are lost.
    drop: f64,
    /// Rate of events that come twice, with the same id.
    duplicate: f64,
    /// Rate of events that the next event overtakes.
    reorder: f64,
    /// Declared time by which every event is late; the pace divides it.
    delay: SignedDuration,
}

/// Carries events from FIS to the bus.
#[derive(Debug)]
pub(in crate::simulator) struct Courier {
    seed: u64,
    switches: Switches,
    /// Events since the switches were set.
    seen: u64,
    held: Vec<Held>,
    /// Place of the event that the next one is to overtake.
    waiting: Option<u64>,
    next_place: u64,
}

#[derive(Debug)]
struct Held {
    due: Timestamp,
    /// Order among those due at the same instant.
    place: u64,
    copies: usize,
    emission: Emission,
}

/// An event that has arrived, so many times.
#[derive(Debug)]
pub(in crate::simulator) struct Parcel {
    pub(in crate::simulator) emission: Emission,
    pub(in crate::simulator) copies: usize,
}

impl Courier {
    /// A courier that loses nothing.
    pub(in crate::simulator) fn new(seed: u64) -> Self {
        Self { seed, switches: Switches::default(), seen: 0, held: Vec::new(), waiting: None, next_place: 0 }
    }

    /// Replaces all switches and lets go at `now` of what is held; a switch that is not named is off.
    ///
    /// # Errors
    /// `ValidationException` for a rate outside 0 to 1 or a delay below zero; nothing changes then.
    pub(in crate::simulator) fn set(&mut self, body: &Value, now: Timestamp) -> Result<Value, ApiError> {
        let switches: Switches = super::wire::parsed(body)?;
        for (name, rate) in [("drop", switches.drop), ("duplicate", switches.duplicate), ("reorder", switches.reorder)]
        {
            if !(0.0..=1.0).contains(&rate) {
                return Err(ApiError::validation(format!("{name}: a rate is between 0 and 1, not {rate}")));
            }
        }
        if switches.delay.is_negative() {
            return Err(ApiError::validation("delay: events cannot come before they happen; use a duration like PT5S"));
        }
        for held in &mut self.held {
            held.due = held.due.min(now);
        }
        (self.switches, self.seen, self.waiting) = (switches, 0, None);
        Ok(json!(switches))
    }

    /// Takes events over.
    pub(in crate::simulator) fn take(&mut self, emissions: Vec<Emission>, pace: Pace) {
        for emission in emissions {
            self.take_one(emission, pace);
        }
    }

    fn take_one(&mut self, emission: Emission, pace: Pace) {
        self.seen += 1;
        if self.chance("drop", self.switches.drop) {
            return;
        }
        let copies = if self.chance("duplicate", self.switches.duplicate) { 2 } else { 1 };
        let full = self.held.len() >= MAX_HELD;
        let delay = if full { SignedDuration::ZERO } else { self.switches.delay };
        let mut due = pace.after(emission.at, delay);
        let place = self.place();
        match self.waiting.take() {
            Some(overtaken) => {
                let behind = self.place();
                if let Some(held) = self.held.iter_mut().find(|held| held.place == overtaken) {
                    (held.due, held.place) = (due, behind);
                }
            }
            None if !full && self.chance("reorder", self.switches.reorder) => {
                due = pace.after(due, LONGEST_OVERTAKING);
                self.waiting = Some(place);
            }
            None => {}
        }
        self.held.push(Held { due, place, copies, emission });
    }

    fn place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    /// Draws the fate of the present event.
    #[expect(clippy::cast_precision_loss, reason = "a draw of 53 bits is exact, and fine enough")]
    fn chance(&self, fate: &str, rate: f64) -> bool {
        let [a, b, c, d, e, f, g, ..] = ids::rank(self.seed, &["event", fate, &self.seen.to_string()]);
        let drawn = u64::from_be_bytes([0, a, b, c, d, e, f, g]) >> 3;
        (drawn as f64) < rate * (1_u64 << 53) as f64
    }

    /// Hands over the events that have arrived by `now`, in the order of their arrival.
    pub(in crate::simulator) fn arrived(&mut self, now: Timestamp) -> Vec<Parcel> {
        if self.held.iter().all(|held| held.due > now) {
            return Vec::new();
        }
        let (mut arrived, held): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|held| held.due <= now);
        self.held = held;
        arrived.sort_by_key(|held| (held.due, held.place));
        arrived.into_iter().map(|held| Parcel { emission: held.emission, copies: held.copies }).collect()
    }

    /// When the next event arrives.
    pub(in crate::simulator) fn next_due(&self) -> Option<Timestamp> {
        self.held.iter().map(|held| held.due).min()
    }

    /// Moves what is still to come when the pace changes.
    pub(in crate::simulator) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        for held in &mut self.held {
            held.due = old.moved(held.due, new, now);
        }
    }

    /// The switches and how much is held, for the state page.
    pub(in crate::simulator) fn rendered(&self) -> Value {
        let mut body = json!(self.switches);
        body["held"] = json!(self.held.len());
        body
    }
}
