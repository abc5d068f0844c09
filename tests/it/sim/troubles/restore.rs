//! A store that is taken back from a backup while every agent is down: what happened since the backup it does not know.
//!
//! Until the restore a world is judged by all that its store knew. After it, it is judged as if every agent had been down since
//! the backup and somebody else had begun in FIS what ran meanwhile: nothing of that begins a second time, and what is found by
//! its tag is watched to its end. Nothing starts until somebody resumes. FIS does not know the tokens of that time any more: how long it does nobody says.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::{
    domain::{
        fis::FailureClass,
        ids::RunId,
        plan::{Halt, HaltRunning, Halting},
        run::{Adopted, JournalEntry, Observation, Run, RunState, Trigger, WindowRule},
    },
    engine::ports::{Journaled, Store},
};
use jiff::{SignedDuration, Timestamp};

use super::halts::Halts;
use crate::{
    sim::{
        drawn::{
            happening::Happening,
            scenario::{APART_MS, MINUTE_MS, SECOND_MS},
        },
        driven::world::World,
        judged::check::{self, Evidence},
        planted::Bug,
        simulated::{
            couriers,
            fis::SETTLED_MS,
            tables::{Durable, Tables},
            truth::Experiment,
        },
    },
    support::chance::Chance,
};

/// The first numbers of requests, so that they are nobody else's.
const FIRST_REQUEST: u64 = 200;

/// Runs of slots and events up to so long after the restore are looked for by their tag first.
const LOOKED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What was kept in a backup, with what the world knew then that was promised.
pub struct Backup {
    at: u64,
    tables: Tables,
    deleted: BTreeSet<(&'static str, u64)>,
    unreadable: BTreeSet<String>,
    stops_taken: Vec<(u64, RunId)>,
    released: BTreeSet<u64>,
}

/// When a backup was made and taken back.
#[derive(Debug, Clone, Copy)]
pub struct Restored {
    from: u64,
    pub at: u64,
    /// What the clock showed.
    wall: Timestamp,
}

fn chance(seed: u64) -> Chance {
    Chance::new(seed.rotate_left(8) ^ !0)
}

/// Whether a store is taken back: in one of eight worlds.
pub fn is_in(seed: u64) -> bool {
    chance(seed).one_in(8)
}

/// Draws when a backup is made and taken back in a world of so many milliseconds.
pub fn happenings(seed: u64, length_ms: u64) -> Vec<(u64, Happening)> {
    if !is_in(seed) {
        return Vec::new();
    }
    let mut c = chance(!seed);
    let (at, after) = (c.between(0, length_ms * 3 / 4), c.between(0, 5 * MINUTE_MS));
    let down_ms = c.between(2 * MINUTE_MS, 4 * MINUTE_MS);
    let mut all = vec![(at, Happening::Backup), (at + after, Happening::Restore { down_ms })];
    // Some begins right after the backup.
    for experiment in 0..3 {
        let (request, windows) = (FIRST_REQUEST + experiment, WindowRule::Overridden);
        let before = c.between(0, SECOND_MS);
        all.push((at.saturating_sub(before), Happening::StartByHand { request, experiment, windows }));
        // And some right before it is taken back: of that nobody knows afterwards.
        let (request, before) = (request + 3, c.between(3, 30) * SECOND_MS);
        all.push((at + after.saturating_sub(before), Happening::StartByHand { request, experiment, windows }));
    }
    all.retain(|(at, _)| *at < length_ms);
    all
}

impl World {
    pub fn back_up(&mut self) {
        self.backup = Some(Box::new(Backup {
            at: self.nature.elapsed(),
            tables: self.store.with(|tables| tables.clone()),
            deleted: self.deleted.clone(),
            unreadable: self.unreadable.clone(),
            stops_taken: self.stops_taken.clone(),
            released: self.released.clone(),
        }));
    }

    /// Ends every process, takes the backup back, if there is one, after a while, and starts all processes.
    pub async fn restore(&mut self, down_ms: u64) {
        let Some(backup) = self.backup.take() else { return };
        for replica in &mut self.replicas {
            replica.fall(&self.nature, &self.store);
            replica.go_on();
            replica.restart_at = None;
        }
        self.until(self.nature.elapsed() + down_ms).await;
        let evidence = Evidence::new(self);
        let mut broken = check::broken_so_far(&evidence);
        couriers::check_passed(&evidence, &mut broken);
        self.broken.extend(broken);
        self.seen.clear();
        let Backup { at: from, tables, deleted, unreadable, stops_taken, released } = *backup;
        let (at, wall) = (self.nature.elapsed(), self.nature.now());
        (self.deleted, self.unreadable, self.stops_taken) = (deleted, unreadable, stops_taken);
        self.released = released;
        self.store.post.lock().expect("one thread").clear();
        self.store.with(|now| {
            let before = std::mem::replace(now, tables);
            (now.lease, now.faults, now.broken, now.torn) = (before.lease, before.faults, before.broken, before.torn);
            now.refusals = before.refusals;
            now.mend_all(at);
            if now.bug == Bug::CouriersNotTakenBack {
                now.couriers = before.couriers;
            }
            if now.bug != Bug::RestoreNotNoted {
                now.note_restore(wall, at);
            }
            now.halt_restored(wall, at);
        });
        self.told_before();
        self.store.crash();
        self.fis.with(|state| {
            state.calls.retain(|call| call.at <= from);
            state.tokens_since = at.saturating_sub(SETTLED_MS);
        });
        self.restored = Some(Restored { from, at, wall });
        for replica in &mut self.replicas {
            replica.down_since = Some(replica.down_since.map_or(from, |since| since.min(from)));
        }
        self.nature.say(|| format!("-- the store is as it was at {from} ms"));
        // Somebody resumes as soon as an agent answers, before that looks at its rows, or some time after.
        let is_at_once = self.nature.draw(|c| !c.one_in(4)) && self.store.set_halt(Halting::Resume).await.is_ok();
        self.restart();
        self.ask_for_strays();
        if !is_at_once {
            let later = self.nature.draw(|c| c.between(0, 5 * MINUTE_MS));
            self.schedule(self.nature.elapsed() + later, Happening::Resume);
        }
    }
}

impl Tables {
    /// Notes that they are taken back when the clock shows an instant, and of each run that was to be started that nobody knows
    /// what was asked since.
    fn note_restore(&mut self, wall: Timestamp, ms: u64) {
        let newest = self.journal.iter().map(|(_, entry)| entry.at).max();
        let at = newest.map_or(wall, |newest| newest.max(wall));
        self.restored_at = Some(at);
        for run in self.open().cloned().collect::<Vec<_>>() {
            let RunState::Starting { asked_at: look_at, .. } = run.state else { continue };
            let message = "the store was taken back".to_owned();
            let observation = Observation::StartUnclear { class: FailureClass::Unreadable, message, look_at };
            let id = run.id.clone();
            let Ok(run) = run.apply(&observation, at) else { continue };
            let entry = JournalEntry { seq: 0, at, run: id, observation, explained: Vec::new() };
            self.advance(run, entry, Journaled::Yes, None, ms);
        }
    }
}

impl Tables {
    /// All is halted in what was taken back, until somebody resumes it.
    fn halt_restored(&mut self, wall: Timestamp, ms: u64) {
        if self.halt.is_some() {
            return;
        }
        let (by, running) = ("the restore".to_owned(), HaltRunning::Finish);
        let asked = Halts::Made { at: wall, running };
        self.log.push((ms, Durable::Halts { asked, row: Some(wall) }));
        let halt = Halt { at: wall, by, reason: None, running, levers: Vec::new() };
        self.halt = (self.bug != Bug::RestoreNotHalted).then_some(halt);
    }
}

type Journal = BTreeMap<RunId, Vec<(u64, Timestamp, Observation)>>;

/// Finds the experiments that began since the backup and of whose beginning nothing is known.
fn unknown<'e>(
    restored: Restored,
    experiments: &'e [Experiment],
    journal: &'e Journal,
) -> impl Iterator<Item = &'e Experiment> {
    let asked = move |e: &Experiment, (ms, _, seen): &(u64, Timestamp, Observation)| {
        matches!(seen, Observation::StartAsked { .. }) && *ms <= e.created_at
    };
    let is_known = move |e: &Experiment| journal.get(&e.run()).into_iter().flatten().any(|entry| asked(e, entry));
    experiments.iter().filter(move |e| e.created_at > restored.from && !is_known(e))
}

/// Leaves out the experiments of whose beginning nothing is known, but for those that have to be found by their tag since their
/// runs are to be started again where they are; lists these.
pub fn found(
    world: &World,
    experiments: &mut Vec<Experiment>,
    runs: &BTreeMap<RunId, Run>,
    journal: &Journal,
) -> BTreeSet<String> {
    let Some(restored) = world.restored else { return BTreeSet::new() };
    let has_to_be_found = |e: &Experiment| {
        let asks = |(ms, _, seen): &(u64, Timestamp, Observation)| {
            let Observation::StartAsked { place, template_id, .. } = seen else { return false };
            *ms >= restored.at && *place == e.place && *template_id == e.request.template_id
        };
        let is_asked = journal.get(&e.run()).into_iter().flatten().any(asks);
        is_asked && !e.is_forgotten && runs.get(&e.run()).is_some_and(|run| is_looked_for(restored, run))
    };
    let unknown: Vec<&Experiment> = unknown(restored, experiments, journal).collect();
    let (found, lost): (Vec<&Experiment>, Vec<&Experiment>) = unknown.into_iter().partition(|e| has_to_be_found(e));
    let [found, lost] = [found, lost].map(|all| all.into_iter().map(|e| e.id.clone()).collect::<BTreeSet<_>>());
    experiments.retain(|e| !lost.contains(&e.id));
    found
}

fn is_looked_for(restored: Restored, run: &Run) -> bool {
    let of = match &run.trigger {
        Trigger::Slot { at, .. } | Trigger::Event { event_time: Some(at), .. } => (*at).min(run.opened_at),
        _ => run.opened_at,
    };
    let apart = SignedDuration::from_millis(APART_MS as i64);
    of <= restored.wall + LOOKED_FOR - apart
}

/// Names what came of a restore.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let Some(restored) = evidence.world.restored else { return BTreeSet::new() };
    let is_adopted = |e: &&Experiment| {
        let mut entries = evidence.journal.get(&e.run()).into_iter().flatten();
        let is_by_tag = |seen: &Observation| matches!(seen, Observation::Started { adopted: Adopted::ByTag, .. });
        evidence.found.contains(&e.id) && entries.any(|(ms, _, seen)| *ms >= restored.at && is_by_tag(seen))
    };
    let is_found = evidence.experiments.iter().any(|e| is_adopted(&e));
    ["restored"].into_iter().chain(is_found.then_some("found after a restore")).collect()
}
