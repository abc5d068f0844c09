//! When a run follows an event, and which of these times contradict each other.

use jiff::SignedDuration;

use super::super::{
    super::{path::KeyPath, raw::RawTrigger},
    Check,
    values::{DAY, HOUR, MAX_DELAY, MINUTE, SECOND, shown},
};
use crate::domain::{deployment::MAX_COOL_DOWN, event::presets::Preset};

/// How `max_age` is switched off.
const ANY_AGE: &str = "none";

/// The times of a trigger.
pub(super) struct Pace {
    pub(super) settle: SignedDuration,
    pub(super) settle_limit: Option<SignedDuration>,
    pub(super) hold_for: SignedDuration,
    pub(super) start_deadline: SignedDuration,
    pub(super) min_age: SignedDuration,
    pub(super) max_age: Option<SignedDuration>,
    pub(super) cool_down: SignedDuration,
}

impl Check<'_> {
    pub(super) fn pace(&mut self, path: &KeyPath, raw: &RawTrigger, preset: Option<&Preset>) -> Pace {
        let zero = SignedDuration::ZERO;
        let mut read = |key: &str, text: &Option<String>, default, limits| {
            self.duration(&path.key(key), text.clone(), default, limits)
        };
        let settle = read("settle", &raw.settle, preset.map_or(zero, |preset| preset.settle), zero..=DAY);
        let settle_limit = read("settle_limit", &raw.settle_limit, MAX_DELAY, zero..=MAX_DELAY);
        let hold_for = read("hold_for", &raw.hold_for, zero, zero..=MAX_DELAY);
        let start_deadline = read("start_deadline", &raw.start_deadline, MINUTE * 10, SECOND..=MAX_DELAY);
        let min_age = read("min_age", &raw.min_age, zero, zero..=DAY);
        let cool_down = read("cool_down", &raw.cool_down, zero, zero..=MAX_COOL_DOWN);
        let earliest = settle.max(min_age);
        let max_age = match &raw.max_age {
            Some(text) if text == ANY_AGE => None,
            written => {
                let default = HOUR.max(earliest.saturating_add(start_deadline));
                Some(read("max_age", written, default, SECOND..=MAX_DELAY))
            }
        };
        if settle_limit < settle {
            let message = format!("is less than `settle`, which is {}", shown(settle));
            self.problem(&path.key("settle_limit"), message, Some("raise it, or lower `settle`".to_owned()));
        }
        if let Some(max_age) = max_age.filter(|max_age| *max_age < earliest) {
            let longest = if settle >= min_age { "settle" } else { "min_age" };
            let message = format!(
                "is {}, less than `{longest}`, which is {}: every event is too old before a run may start",
                shown(max_age),
                shown(earliest)
            );
            let hint = format!("raise it, lower `{longest}`, or write `max_age = \"{ANY_AGE}\"`");
            self.problem(&path.key("max_age"), message, Some(hint));
        }
        let settle_limit = raw.settle_limit.is_some().then_some(settle_limit);
        Pace { settle, settle_limit, hold_for, start_deadline, min_age, max_age, cool_down }
    }
}
