//! The last answer of a search, so that the same question, or one from the same stretch of time, costs next to nothing.
//!
//! A memo of a pure function: it changes what an answer costs, never what it is.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::Slot;

/// The first slot after an instant, and after every other instant up to that slot.
#[derive(Debug, Default)]
pub struct Memo(Mutex<Option<(Timestamp, Option<Slot>)>>);

impl Memo {
    /// Answers from memory, or asks and remembers.
    pub fn answer(&self, after: Timestamp, ask: impl FnOnce() -> Option<Slot>) -> Option<Slot> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match *known {
            Some((from, None)) if after >= from => None,
            // What was lost is lost between a slot and the next; from a later instant on it may lie in the past.
            Some((from, Some(slot))) if after == from || (after > from && after < slot.at && !slot.after_lost) => {
                Some(slot)
            }
            _ => {
                let slot = ask();
                *known = Some((after, slot));
                slot
            }
        }
    }
}

impl Clone for Memo {
    /// A copy remembers nothing yet.
    fn clone(&self) -> Self {
        Self::default()
    }
}
