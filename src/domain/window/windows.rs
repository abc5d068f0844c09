//! All windows of a configuration, with what was computed of them.
//!
//! Pure.

use std::{collections::BTreeMap, ops::Deref, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::Window;
use crate::domain::{calendar::reading::Reading, ids::CalendarName};

/// The windows of a configuration, in name order. Cheap to clone; reads like a slice.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    list: Arc<[Window]>,
    longest_stop_lead: SignedDuration,
}

impl Windows {
    /// Returns the longest time before a window's opening at which any of them stops what runs.
    pub fn longest_stop_lead(&self) -> SignedDuration {
        self.longest_stop_lead
    }

    /// Returns the same windows with what is now known of their calendars; a calendar without a reading keeps its own.
    #[must_use]
    pub fn with_readings(&self, readings: &BTreeMap<CalendarName, Reading>) -> Self {
        let mut list = self.list.to_vec();
        for reading in list.iter_mut().flat_map(|window| &mut window.calendars) {
            if let Some(new) = readings.get(&reading.calendar) {
                reading.content.clone_from(&new.content);
                reading.failure.clone_from(&new.failure);
            }
        }
        list.into()
    }

    /// Returns the same windows as if their calendars were read again and again, or never again, depending on whether
    /// they are believed at `now`: for a look into the future.
    #[must_use]
    pub fn judged_at(&self, now: Timestamp) -> Self {
        let mut list = self.list.to_vec();
        for reading in list.iter_mut().flat_map(|window| &mut window.calendars) {
            reading.judge_at(now);
        }
        list.into()
    }
}

impl From<Vec<Window>> for Windows {
    fn from(list: Vec<Window>) -> Self {
        let longest = list.iter().map(|window| window.on_entry.lead()).max();
        Self { list: list.into(), longest_stop_lead: longest.unwrap_or(SignedDuration::ZERO) }
    }
}

impl FromIterator<Window> for Windows {
    fn from_iter<I: IntoIterator<Item = Window>>(windows: I) -> Self {
        windows.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Windows {
    type Target = [Window];
    fn deref(&self) -> &[Window] {
        &self.list
    }
}
