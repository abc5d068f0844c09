//! What an experiment is judged by, as plain data: what was done to the agent's world, what FIS says became of it, and what the
//! agent's rows say. `verdict` judges it, and `judges` shows bad ones to each judge.

use std::collections::BTreeMap;

use firedrill::{
    cli::context::now,
    domain::run::{JournalEntry, Run},
    simulator::ExperimentRecord,
};
use jiff::{SignedDuration, Timestamp};

use super::scene::{Scene, Schedules, StoreKind, UNDER_WAY};
use crate::support::{agent::Presence, disk};

/// What was done to an agent's world.
#[derive(Debug, Clone)]
pub struct Done {
    pub store: StoreKind,
    /// Whether there were schedules at the beginning.
    pub scheduled: Schedules,
    pub begun: Timestamp,
    /// When nothing may start in `in-the-gaps`: `[from, until)`.
    pub closed: Vec<(Timestamp, Timestamp)>,
    /// When nothing may go on in `one-by-one`, declared when they began: `[from, until)`.
    pub blackouts: Vec<(Timestamp, Timestamp)>,
    /// When the agents were told to read their configuration again.
    pub reloads: Vec<Timestamp>,
    /// Since when experiments stay in some state whatever they are told, or no more.
    pub stuck: Vec<(Timestamp, bool)>,
    /// How often an answer to StartExperiment was to be lost.
    pub lost_answers: usize,
    /// When the store was lost with all that it knew.
    pub forgotten: Option<Timestamp>,
    /// Ids of the events that were sent.
    pub sent: Vec<String>,
    /// Runs that the agent acknowledged to whoever asked for them.
    pub promised: Vec<String>,
    /// Since when the agent's clock is so far ahead of the true time.
    pub clock: Vec<(Timestamp, SignedDuration)>,
}

impl Done {
    /// Nothing yet.
    pub fn new(store: StoreKind, scheduled: Schedules, begun: Timestamp, closed: Vec<(Timestamp, Timestamp)>) -> Self {
        Self {
            store,
            scheduled,
            begun,
            closed,
            blackouts: Vec::new(),
            reloads: Vec::new(),
            stuck: Vec::new(),
            lost_answers: 0,
            forgotten: None,
            sent: Vec::new(),
            promised: Vec::new(),
            clock: vec![(Timestamp::MIN, SignedDuration::ZERO)],
        }
    }

    /// What the agent's clock may have shown when it decided on a call that arrived at an instant.
    pub fn shown(&self, at: Timestamp) -> Vec<Timestamp> {
        let ends = self.clock.iter().skip(1).map(|(from, _)| *from + UNDER_WAY).chain([Timestamp::MAX]);
        let held = self.clock.iter().zip(ends).filter(|((from, _), end)| *from <= at && at < *end);
        held.map(|((_, ahead), _)| at + *ahead).collect()
    }
}

/// All that an experiment is judged by.
#[derive(Debug, Clone)]
pub struct Record {
    pub done: Done,
    /// What FIS was made to start.
    pub experiments: Vec<ExperimentRecord>,
    /// When agents came and went.
    pub presences: Vec<Presence>,
    /// What the agents said.
    pub log: String,
    /// When all this was read.
    pub read_at: Timestamp,
    /// By their ids.
    pub runs: BTreeMap<String, Run>,
    /// The journal of each.
    pub journals: BTreeMap<String, Vec<JournalEntry>>,
    /// Of each event that was sent, how many runs each row of it has opened.
    pub arrived: Vec<Vec<usize>>,
    /// What is wrong with the store itself.
    pub damage: Vec<String>,
}

impl Scene {
    /// What FIS tells, and nothing of a store, which may not be one any more.
    pub fn record_of_fis(&self) -> Record {
        Record {
            done: self.done.clone(),
            experiments: self.stage.experiments(),
            presences: self.homes().flat_map(|home| home.presences()).collect(),
            log: self.home.log(),
            read_at: now(),
            runs: BTreeMap::new(),
            journals: BTreeMap::new(),
            arrived: Vec::new(),
            damage: Vec::new(),
        }
    }

    /// All that there is; nothing runs any more.
    pub fn record(&self) -> Record {
        let runs: BTreeMap<_, _> = self.home.runs().into_iter().map(|run| (run.id.to_string(), run)).collect();
        let arrived = self.home.read(async |store| {
            let mut arrived = Vec::new();
            for id in &self.done.sent {
                let events = store.events(id).await.expect("events");
                arrived.push(events.iter().map(|event| event.runs.len()).collect());
            }
            arrived
        });
        let checked = self.home.run(&["store", "check"]);
        let mut damage: Vec<_> = (checked.code != 0).then(|| format!("{checked:?}")).into_iter().collect();
        if self.done.store == StoreKind::Sqlite {
            let integrity = disk::integrity(&self.home);
            damage.extend((integrity != "ok").then_some(integrity));
        }
        Record {
            journals: runs.keys().cloned().zip(self.home.journals(runs.values())).collect(),
            runs,
            arrived: arrived.expect("a store"),
            damage,
            ..self.record_of_fis()
        }
    }
}
