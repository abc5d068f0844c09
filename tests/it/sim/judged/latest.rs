//! From event to run in a world: of each thing that is released the newest version runs, once, at rest, and not too late.
//!
//! Judged by what was released when, by when its event was recorded, and by what FIS ran. Of several releases the one is newer
//! that happened later, as far as its event tells; where that tells nothing, the one that was recorded later.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    deployment::Supersede,
    experiment::{EventTrigger, Experiment, Rollbacks, Rules},
    ids::{ExperimentName, RunId},
    outcome::Outcome,
    run::{HoldReason, Observation, Run, RunState, SkipReason, StopCause, Trigger},
};
use jiff::Timestamp;

use super::{check::Evidence, replicas::LEAVES_WITHIN_MS};
use crate::sim::{
    drawn::releases::Release,
    simulated::{fis::CallLog, tables::Durable},
};

/// A run that the event of a release opened.
pub struct Told<'e> {
    pub run: &'e Run,
    pub release: &'e Release,
    /// When it was recorded, in true time.
    ms: u64,
    /// As the agent saw it.
    at: Timestamp,
    /// How many entries the journal had.
    place: usize,
    /// When it happened, as far as the event tells.
    happened: Timestamp,
    /// When a queue that keeps the order got its event.
    sent_at: Option<Timestamp>,
    /// The triggers that may have opened it.
    pub triggers: Vec<&'e EventTrigger>,
    entries: &'e [(u64, Timestamp, Observation)],
}

/// Runs about the same thing, in the order in which they were recorded.
type Group<'e> = Vec<Told<'e>>;

impl<'e> Told<'e> {
    /// Its place among the others of its group.
    fn order(&self) -> (Timestamp, Timestamp, usize) {
        (self.sent_at.unwrap_or(self.happened), self.at, self.place)
    }

    /// Whether some trigger that may have opened it allows something.
    fn some(&self, allows: impl Fn(&EventTrigger) -> bool) -> bool {
        self.triggers.iter().any(|trigger| allows(trigger))
    }

    /// Each time at which its start was asked for.
    fn asked(&self) -> impl Iterator<Item = &(u64, Timestamp, Observation)> {
        self.entries.iter().filter(|(.., seen)| matches!(seen, Observation::StartAsked { .. }))
    }

    /// When its start was first asked for.
    fn begun(&self) -> Option<(u64, Timestamp)> {
        self.asked().next().map(|(ms, at, _)| (*ms, *at))
    }

    /// Whether it is certain that nothing came of it.
    fn is_nothing(&self) -> bool {
        let outcome = |outcome: &Outcome| matches!(outcome, Outcome::NotStarted { .. });
        match &self.run.state {
            RunState::Finished { outcome: of, .. } => outcome(of),
            state => matches!(state, RunState::Skipped { .. }),
        }
    }

    /// Whether it waited for a blackout or its turn before a true time.
    fn was_held(&self, before: u64) -> bool {
        self.entries.iter().any(|(ms, _, seen)| {
            let template = matches!(
                seen,
                Observation::Held { reason: HoldReason::TemplateUnread { .. } | HoldReason::PlaceUnread { .. }, .. }
            );
            *ms < before && matches!(seen, Observation::Held { .. }) && !template
        })
    }

    /// When it is at rest and old enough, as a trigger has it, without regard to any limit.
    fn rests(&self, trigger: &EventTrigger) -> Timestamp {
        (self.at + trigger.settle).max(self.happened + trigger.min_age)
    }

    fn skipped(&self) -> Option<(u64, Timestamp, &'e SkipReason)> {
        match self.entries.last()? {
            (ms, at, Observation::Skipped { reason }) => Some((*ms, *at, reason)),
            _ => None,
        }
    }
}

pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    evidence.decided(found);
    let is_set_back = evidence.world.nature.steps().iter().any(|step| step.by_ms < 0);
    for group in evidence.groups().values() {
        for told in group {
            read(told, found);
            // Which of two events was recorded later cannot be told by a clock that was set back in between.
            if !is_set_back || told.sent_at.is_some() {
                newest(told, group, evidence, found);
            }
            if is_set_back {
                continue;
            }
            starts(told, group, found);
            reasons(told, group, found);
        }
        if !is_set_back {
            twice(group, evidence, found);
        }
        in_order(group, found);
    }
}

/// What was deployed is what the event says.
fn read(told: &Told<'_>, found: &mut Vec<String>) {
    let deployment = told.run.trigger.deployment();
    let is_right = deployment.is_some_and(|deployment| {
        deployment.key == told.release.app && deployment.version == Some(told.release.version())
    });
    if !is_right {
        found.push(format!("read: {} of {:?} is about {deployment:?}", told.run.id, told.release));
    }
}

/// Whoever starts is the newest that was known when that was decided, which a slow way to the store records later.
fn newest(told: &Told<'_>, group: &Group<'_>, evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let id = &told.run.id;
    for (ms, at, _) in told.asked() {
        let began = evidence.began(*ms);
        let newer = |other: &&Told<'_>| other.order() > told.order() && other.ms < began;
        if let Some(newer) = group.iter().find(newer) {
            found.push(format!("older: {id} is started at {at}, {} of {:?} is newer", newer.run.id, newer.release));
        }
    }
    // However late its row was: nothing leaves long after.
    let calls = evidence.world.fis.with(|state| state.calls.clone());
    let is_its = |call: &&CallLog| call.operation == "StartExperiment" && call.run.as_ref() == Some(id);
    for call in calls.iter().filter(is_its) {
        let before = call.at.saturating_sub(LEAVES_WITHIN_MS);
        let newer = |other: &&Told<'_>| other.order() > told.order() && other.ms < before;
        if let Some(newer) = group.iter().find(newer) {
            found.push(format!("older: the start of {id} leaves at {} ms, {} is newer", call.at, newer.run.id));
        }
    }
}

/// Whoever starts is at rest, fresh, and not too soon after the last one.
fn starts(told: &Told<'_>, group: &Group<'_>, found: &mut Vec<String>) {
    let id = &told.run.id;
    for (ms, at, _) in told.asked() {
        if !told.some(|trigger| *at >= earliest(told, group, trigger)) {
            found.push(format!("unsettled: {id} of {:?} is started at {at}", told.release));
        }
        let is_fresh = |trigger: &EventTrigger| trigger.max_age.is_none_or(|age| *at <= told.happened + age);
        if !told.was_held(*ms) && !told.some(is_fresh) {
            found.push(format!("stale: {id} of {:?} is started at {at}", told.release));
        }
    }
    let Some((ms, at)) = told.begun() else { return };
    for other in group.iter().filter(|other| other.run.id != *id && !other.is_nothing()) {
        let Some((_, begun)) = other.begun().filter(|(begun, _)| *begun < ms) else { continue };
        if !told.some(|trigger| at >= begun + trigger.cool_down) {
            found.push(format!("cool-down: {id} is started at {at}, {} at {begun}", other.run.id));
        }
    }
}

/// When a run may start at the earliest: quiet time after its event, or so long after the change began.
fn earliest(told: &Told<'_>, group: &Group<'_>, trigger: &EventTrigger) -> Timestamp {
    let ripe = told.happened + trigger.min_age;
    let quiet = told.at + trigger.settle;
    let Some(limit) = trigger.settle_limit else { return quiet.max(ripe) };
    let mut since = told.at;
    let mut newest: Option<&Told<'_>> = None;
    let mut changes = Vec::new();
    for other in group.iter().take_while(|other| other.place < told.place) {
        if newest.is_none_or(|newest| newest.order() < other.order()) {
            newest = Some(other);
            changes.push(other);
        }
    }
    for other in changes.into_iter().rev() {
        if !other.some(|trigger| other.rests(trigger) > since) {
            break;
        }
        since = other.at;
    }
    quiet.min((since + limit).max(told.at)).max(ripe)
}

/// Why a run was skipped is so.
fn reasons(told: &Told<'_>, group: &Group<'_>, found: &mut Vec<String>) {
    let must = told.release.is_rollback && told.triggers.iter().all(|trigger| trigger.rollbacks == Rollbacks::Skip);
    let skipped = told.skipped();
    if must && !matches!(skipped, Some((.., SkipReason::Rollback))) {
        found.push(format!("rollback: {} of {:?} is not skipped", told.run.id, told.release));
    }
    let Some((ms, at, reason)) = skipped else { return };
    let named = |id: &RunId| group.iter().find(|other| other.run.id == *id && *id != told.run.id);
    let begun_before = |other: &&Told<'_>| other.begun().is_some_and(|(begun, _)| begun <= ms) && !other.is_nothing();
    let is_so = match reason {
        SkipReason::Superseded { by, version } => named(by).is_some_and(|other| {
            other.order() > told.order() && other.ms <= ms && *version == Some(other.release.version())
        }),
        SkipReason::Repeated { run, version } => {
            let same = |other: &&Told<'_>| other.release.version == told.release.version;
            *version == told.release.version() && named(run).filter(begun_before).as_ref().is_some_and(same)
        }
        SkipReason::CoolingDown { after, until } => named(after).filter(begun_before).is_some_and(|other| {
            let begun = other.begun().map(|(_, begun)| begun);
            let cools = |trigger: &EventTrigger| begun.is_some_and(|begun| begun + trigger.cool_down == *until);
            at < *until && told.some(cools)
        }),
        SkipReason::Rollback => told.release.is_rollback && told.some(|t| t.rollbacks == Rollbacks::Skip),
        SkipReason::NotDrawn { one_in } => {
            let same = |other: &&Told<'_>| {
                let drawn = other.triggers.iter().all(|trigger| trigger.one_in == *one_in);
                drawn && other.release.version == told.release.version
            };
            let is_refused = |other: &Told<'_>| {
                matches!(other.skipped(), Some((.., SkipReason::NotDrawn { .. } | SkipReason::Rollback)))
            };
            *one_in > 1 && told.some(|t| t.one_in == *one_in) && group.iter().filter(same).all(is_refused)
        }
        SkipReason::Stale { fresh_until } => {
            at > *fresh_until && told.some(|t| t.max_age.is_some_and(|age| *fresh_until >= told.happened + age))
        }
        _ => true,
    };
    if !is_so {
        found.push(format!("reason: {} of {:?} is skipped at {at}: {reason:?}", told.run.id, told.release));
    }
}

/// The runs of a group that FIS ran, also those that it denies, in the order in which they were begun.
fn ran<'g, 'e>(group: &'g Group<'e>, evidence: &Evidence<'_>) -> Vec<&'g Told<'e>> {
    let known: BTreeSet<RunId> = evidence.experiments.iter().map(|e| e.run()).collect();
    let mut ran: Vec<_> = group.iter().filter(|told| known.contains(&told.run.id)).collect();
    ran.sort_by_key(|told| told.begun());
    ran
}

/// No version runs again unless another one ran in between.
fn twice(group: &Group<'_>, evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let denied: BTreeSet<RunId> = evidence.experiments.iter().filter(|e| e.is_forgotten).map(|e| e.run()).collect();
    for pair in ran(group, evidence).windows(2) {
        let is_denied = pair.iter().any(|told| denied.contains(&told.run.id));
        if pair[0].release.version == pair[1].release.version && !is_denied {
            let (one, other) = (pair[0], pair[1]);
            found.push(format!("twice: {} and {} both ran for {:?}", one.run.id, other.run.id, other.release));
        }
    }
}

/// A queue that keeps the order keeps it.
fn in_order(group: &Group<'_>, found: &mut Vec<String>) {
    for pair in group.windows(2).filter(|pair| pair[0].release.is_in_order()) {
        if pair[0].release.event > pair[1].release.event || pair[0].order() >= pair[1].order() {
            found.push(format!("order: {:?} stands before {:?}", pair[0].release, pair[1].release));
        }
    }
}

/// Names what happened besides what entries of the journal name.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<&'static str> {
    let mut seen = BTreeSet::new();
    for group in evidence.groups().values() {
        for told in group {
            let held = told.was_held(u64::MAX);
            let late = |by: &RunId| group.iter().any(|other| other.run.id == *by && other.place < told.place);
            match told.skipped().map(|(.., reason)| reason) {
                Some(SkipReason::Superseded { by, .. }) if late(by) => _ = seen.insert("deployment late"),
                Some(SkipReason::Superseded { .. }) if told.begun().is_some() => {
                    seen.insert("superseded while starting");
                }
                Some(SkipReason::Superseded { .. }) if held => _ = seen.insert("superseded while held"),
                Some(SkipReason::Closed { .. }) if held => _ = seen.insert("hold expired"),
                Some(SkipReason::NotDrawn { .. }) => _ = seen.insert("deployment not drawn"),
                _ => {}
            }
            let Some((_, at)) = told.begun() else { continue };
            if told.release.is_in_order() {
                seen.insert("started in order");
            }
            if told.triggers.iter().all(|trigger| at < told.rests(trigger)) {
                seen.insert("settling cut short");
            }
        }
        let ran = ran(group, evidence);
        let versions: BTreeSet<u64> = ran.iter().map(|told| told.release.version).collect();
        if versions.len() < ran.len() {
            seen.insert("version started again");
        }
    }
    for (id, entries) in &evidence.journal {
        for (.., observation) in entries {
            if let Observation::StopAsked { cause: StopCause::Replaced { by } } = observation
                && evidence.is_for_a_newer_version(id, by)
            {
                seen.insert("stop for a newer version");
            }
        }
    }
    seen
}

impl Evidence<'_> {
    /// The runs that releases opened and that are about a thing, by experiment and thing.
    fn groups(&self) -> BTreeMap<(&ExperimentName, &'static str), Group<'_>> {
        let mut groups: BTreeMap<_, Group<'_>> = BTreeMap::new();
        let places: BTreeMap<RunId, usize> = self.world.store.with(|tables| {
            let all = tables.journal.iter().enumerate().rev();
            all.map(|(place, (_, entry))| (entry.run.clone(), place)).collect()
        });
        for run in self.runs.values() {
            let Trigger::Event { event_id, .. } = &run.trigger else { continue };
            let number = event_id.strip_prefix('d').and_then(|number| number.parse::<u64>().ok());
            let Some(release) = number.and_then(|number| self.world.releases.get(&number)) else { continue };
            let entries = self.journal.get(&run.id).map_or(&[][..], Vec::as_slice);
            let Some(&(ms, at, _)) = entries.first() else { continue };
            let triggers = self.triggers(&run.experiment, release, ms);
            let has_key = |trigger: &&&EventTrigger| !trigger.reading.key.is_empty();
            // Where the trigger changed in this moment, what the run says tells which one it was.
            let triggers: Vec<_> =
                triggers.iter().filter(|t| has_key(t) == run.trigger.deployment().is_some()).copied().collect();
            if triggers.iter().any(|trigger| !trigger.reading.key.is_empty()) {
                let sent_at = release.is_in_order().then(|| release.sent_at(&self.world.nature));
                let time = release.time(&self.world.nature).or(sent_at);
                let happened = time.map_or(at, |time| time.min(sent_at.map_or(at, |sent_at| sent_at.max(at))));
                let told = Told { run, release, ms, at, place: places[&run.id], happened, sent_at, triggers, entries };
                groups.entry((&run.experiment, release.app)).or_default().push(told);
            }
        }
        groups.values_mut().for_each(|group| group.sort_by_key(|told| told.place));
        groups
    }

    /// The triggers of an experiment that may have taken the event of a release at a true time.
    fn triggers(&self, experiment: &ExperimentName, release: &Release, ms: u64) -> Vec<&EventTrigger> {
        let declared = self.rules_about(ms).into_iter().filter_map(|rules| rules.experiments.get(experiment));
        declared.filter_map(|declared| declared.triggers.iter().find(|trigger| release.is_for(trigger))).collect()
    }

    /// Every event that the queue was told to delete is known, and opened a run of each experiment that asks for it.
    fn decided(&self, found: &mut Vec<String>) {
        let arrived: BTreeMap<String, u64> = self.world.store.with(|tables| {
            let arrived = tables.log.iter().filter_map(|(ms, what)| match what {
                Durable::Arrived { event_id } => Some((event_id.clone(), *ms)),
                _ => None,
            });
            arrived.collect()
        });
        let mut opened: BTreeMap<&str, BTreeSet<&ExperimentName>> = BTreeMap::new();
        for run in self.runs.values() {
            if let Trigger::Event { event_id, .. } = &run.trigger {
                opened.entry(event_id).or_default().insert(&run.experiment);
            }
        }
        for event in &self.world.released {
            let release = &self.world.releases[event];
            let id = release.id();
            let Some(ms) = arrived.get(&id) else {
                found.push(format!("lost: event {id} was deleted and is not known"));
                continue;
            };
            let decided = opened.remove(id.as_str()).unwrap_or_default();
            let asks = |declared: &&Experiment| declared.triggers.iter().any(|trigger| release.is_for(trigger));
            // A copy of it opens later what nobody asked for at first.
            let asked = |rules: &&Rules| {
                rules.experiments.values().filter(asks).all(|declared| decided.contains(&declared.name))
            };
            let all = self.world.history.iter().flat_map(|(_, rules)| rules.experiments.values());
            let ever: BTreeSet<_> = all.filter(asks).map(|declared| &declared.name).collect();
            if !self.rules_about(*ms).iter().any(asked) || !decided.is_subset(&ever) {
                found.push(format!("lost: event {id} opened runs of {decided:?} only"));
            }
        }
    }

    /// Whether a run may be stopped for another one because that is about a newer version of the same.
    pub fn is_for_a_newer_version(&self, id: &RunId, by: &RunId) -> bool {
        if self.runs[id].trigger.deployment().is_none() {
            return false;
        }
        let groups = self.groups();
        groups.values().any(|group| {
            let find = |id: &RunId| group.iter().find(|told| told.run.id == *id);
            find(id).zip(find(by)).is_some_and(|(old, new)| {
                let takes_over = new.some(|trigger| trigger.supersede == Supersede::Running);
                takes_over && old.release.version != new.release.version
            })
        })
    }

    /// Whether a run waits for the end of another that is about an older version, whatever the overlap of its experiment.
    pub fn takes_over(&self, run: &Run) -> bool {
        if run.trigger.deployment().is_none() {
            return false;
        }
        let groups = self.groups();
        let all = groups.values().flatten().filter(|told| told.run.id == run.id);
        all.into_iter().any(|told| told.some(|trigger| trigger.supersede == Supersede::Running))
    }
}
