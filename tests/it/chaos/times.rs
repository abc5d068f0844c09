//! What FIS's own times say: what is to go one by one does, nothing goes on where a window has closed, and slots are known from
//! the first agent on.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::{
    domain::run::{Adopted, Observation},
    simulator::ExperimentRecord,
};
use jiff::{SignedDuration, Timestamp};

use super::{
    record::Record,
    scene::{ONE_BY_ONE, StoreKind, UNDER_WAY, named},
};
use crate::support::agent::Presence;

/// How long an experiment may go on in a closed window while an agent is there that knows of it. The agent reads its
/// configuration anew and makes a pass; where the store does not answer it waits for that first; and a call that was refused is
/// repeated after two seconds.
const GRACE: SignedDuration = SignedDuration::from_secs(3);

/// How long an agent takes from its start until it works: it reads its rows.
const BEGINS: SignedDuration = SignedDuration::from_secs(3);

/// As much where there is a lease, which another one may hold: what the README promises of a takeover, and the rows.
const TAKES_OVER: SignedDuration = SignedDuration::from_secs(13);

/// A time, `[from, until)`, in which the same agents are there and FIS does as it is told.
#[derive(Debug, Clone, Copy)]
pub struct Calm {
    /// Since when an agent has been at work.
    pub from: Timestamp,
    pub until: Timestamp,
}

impl Record {
    /// The times in which agents are at work.
    pub fn calms(&self) -> Vec<Calm> {
        let begins = if self.done.store == StoreKind::Sqlite { BEGINS } else { TAKES_OVER };
        // The simulator's moods are noted as those of a process that there is not.
        let moods = self.done.stuck.iter().map(|&(at, is_stuck)| Presence { at, pid: 0, is_there: is_stuck });
        let mut changes: Vec<Presence> = self.presences.iter().copied().chain(moods).collect();
        changes.sort_by_key(|change| change.at);
        let ends: Vec<Timestamp> = changes.iter().skip(1).map(|change| change.at).chain([self.read_at]).collect();
        let (mut there, mut calms) = (BTreeSet::new(), Vec::new());
        let mut since = Timestamp::MIN;
        for (change, until) in changes.iter().zip(ends) {
            let is_change =
                if change.is_there { there.insert(change.pid) } else { there.remove(&change.pid) } && change.pid != 0;
            if is_change {
                since = change.at;
            }
            let from = change.at.max(since + begins);
            if !there.is_empty() && !there.contains(&0) && from < until {
                calms.push(Calm { from, until });
            }
        }
        calms
    }

    /// Finds experiments of `one-by-one` that were begun, or went on, in a window that was closed for them; some became known to
    /// the agent, by its own word, only later than they began.
    pub fn beyond(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (calms, known) = (self.calms(), self.known());
        for of in self.experiments.iter().filter(|of| named(of) == ONE_BY_ONE) {
            let end = of.ended_at.unwrap_or(Timestamp::MAX);
            let is_known = known.get(of.id.as_str()).copied().unwrap_or(of.created_at);
            for (opens, closes) in &self.done.blackouts {
                if *opens + GRACE <= of.created_at && of.created_at < *closes {
                    found.push(format!("{of:?} was begun in {opens} - {closes}"));
                }
                let stays =
                    |calm: &&Calm| calm.from.max(*opens).max(is_known) + GRACE < calm.until.min(*closes).min(end);
                let stays = calms.iter().find(stays);
                found.extend(stays.map(|calm| format!("{of:?} goes on in {opens} - {closes} through {calm:?}")));
            }
        }
        found
    }

    /// Finds experiments of `one-by-one` that went on beside each other. Of one that a lost store began nobody knows.
    pub fn side_by_side(&self) -> Vec<String> {
        let is_forgotten = |of: &&ExperimentRecord| self.done.forgotten.is_some_and(|at| of.created_at < at);
        let own: Vec<_> = self.experiments.iter().filter(|of| named(of) == ONE_BY_ONE).collect();
        let (forgotten, known): (Vec<&ExperimentRecord>, Vec<_>) = own.into_iter().partition(is_forgotten);
        let mut found = Vec::new();
        for mut of in [forgotten, known] {
            of.sort_by_key(|of| of.created_at);
            let pairs = of.windows(2).filter(|pair| pair[0].ended_at.is_none_or(|ended| pair[1].created_at < ended));
            found.extend(pairs.map(|pair| format!("{:?} beside {:?}", pair[1], pair[0])));
        }
        found
    }

    /// From when on all slots must be known: an agent has been at work since the beginning, or since its store was lost.
    pub fn is_watched_from(&self) -> Option<Timestamp> {
        let lost = self.done.forgotten.unwrap_or(Timestamp::MIN);
        self.calms().iter().find(|calm| calm.from >= lost).map(|calm| calm.from)
    }

    /// Counts runs whose start was in doubt, and of them those for which no process that was gone at that time can be blamed, nor
    /// a reload: a start by the rules of before is not sent, and looked for all the same.
    pub fn doubts(&self) -> (usize, usize) {
        let gone = self.presences.iter().map(|presence| presence.at);
        let gone: Vec<Timestamp> = gone.chain(self.done.reloads.iter().copied()).collect();
        let (mut all, mut unexplained) = (0, 0);
        for journal in self.journals.values() {
            let Some(doubt) = journal.iter().find(|entry| is_doubt(&entry.observation)) else { continue };
            let asked = journal.iter().find(|entry| matches!(entry.observation, Observation::StartAsked { .. }));
            let asked = asked.map_or(Timestamp::MIN, |entry| entry.at);
            all += 1;
            unexplained += usize::from(!gone.iter().any(|at| asked - UNDER_WAY <= *at && *at <= doubt.at));
        }
        (all, unexplained)
    }

    /// When the agent wrote down that an experiment goes on.
    fn known(&self) -> BTreeMap<&str, Timestamp> {
        let entries = self.journals.values().flatten();
        let started = entries.filter_map(|entry| match &entry.observation {
            Observation::Started { fis, .. } => Some((fis.id.as_str(), entry.at)),
            _ => None,
        });
        started.collect()
    }
}

/// Tells whether an observation is only made after a start whose answer was not recorded.
fn is_doubt(observation: &Observation) -> bool {
    matches!(observation, Observation::NotFound | Observation::Started { adopted: Adopted::ByTag, .. })
}
