//! The cursors of schedules in a world: adopted, left and forgotten, with a note of each.

use firedrill::{
    domain::plan::{Cursor, ScheduleKey},
    engine::ports::Committed,
};
use jiff::Timestamp;

use super::tables::{Durable, Tables};
use crate::sim::{planted::Bug, troubles::unread::Row};

impl Tables {
    pub(super) fn adopt(&mut self, key: ScheduleKey, at: Timestamp, ms: u64) -> Committed {
        let before = self.cursors.get(&key).copied();
        if before.is_some_and(|known| known.left_at.is_none()) {
            return Committed::Stale;
        }
        self.log.push((ms, Durable::Adopted { key: key.clone(), before, at }));
        let at = before.map_or(at, |known| at.max(known.at));
        self.cursors.insert(key, at.into());
        Committed::Done
    }

    pub(super) fn leave(&mut self, key: ScheduleKey, at: Timestamp, ms: u64) -> Committed {
        if self.bug == Bug::LeavingForgets {
            return self.remove(key, ms);
        }
        if let Some(known) = self.cursors.get_mut(&key) {
            known.left_at = Some(at);
        }
        Committed::Done
    }

    pub(super) fn forget(&mut self, key: ScheduleKey, ms: u64) -> Committed {
        match self.cursors.get(&key) {
            Some(Cursor { left_at: Some(_), .. }) => self.remove(key, ms),
            _ => Committed::Done,
        }
    }

    fn remove(&mut self, key: ScheduleKey, ms: u64) -> Committed {
        let left_at = self.cursors.remove(&key).and_then(|known| known.left_at);
        self.log.push((ms, Durable::Forgotten { key: key.clone(), left_at }));
        self.mend(&Row::Cursor(key), ms);
        Committed::Done
    }
}
