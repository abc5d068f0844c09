//! What must hold in every world: each promise, checked against the truth that the simulated FIS and store kept.
//!
//! The windows are judged here by asking each for each instant, not by the planner's own closures. What an agent that is
//! away, a clock that steps, or a FIS that does not answer makes impossible is granted, by name and no further.

use std::collections::{BTreeMap, BTreeSet};

use firedrill::domain::{
    estimate::expected,
    experiment::Rules,
    ids::RunId,
    outcome::Outcome,
    plan::{Explained, FACTS_MAX_AGE},
    run::{
        Adopted, Doubt, HoldReason, JournalEntry, Observation, Run, RunState, SkipReason, StopCause, Trigger, Watch,
        WindowRule,
    },
};
use jiff::{SignedDuration, Timestamp};

use super::{closing, heeded, latest, opened, past, replicas, turns};
use crate::sim::{
    drawn::{edges, scenario::SECOND_MS},
    driven::world::{MAX_PASSES_A_SECOND, World},
    simulated::{
        couriers,
        tables::{Durable, slot_of},
        truth::{Experiment, LONGEST_MS},
    },
    troubles::{denials, endings, halts, places, policies, refused, restore, returns, strays, unread},
};

/// A pass may begin before what changes the rows or the rules, and record so much later, in milliseconds.
pub const PASS_MS: u64 = 5 * SECOND_MS;

/// Most calls for one run within ten seconds: polls every two, and a start and a stop with their retries.
const MAX_CALLS_IN_TEN_SECONDS: usize = 14;

/// Lists every promise that a world broke.
pub fn broken(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = evidence.world.broken.clone();
    found.extend(evidence.world.store.with(|tables| tables.broken.clone()));
    found.extend(broken_so_far(evidence));
    evidence.ends(&mut found);
    latest::check(evidence, &mut found);
    couriers::check(evidence, &mut found);
    found
}

/// Lists every promise that a world has broken by now, while no agent is there.
pub fn broken_so_far(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = Vec::new();
    evidence.never_twice(&mut found);
    evidence.starts(&mut found);
    evidence.slots(&mut found);
    opened::check(evidence, &mut found);
    evidence.events(&mut found);
    evidence.journal(&mut found);
    evidence.pace(&mut found);
    closing::stops(evidence, &mut found);
    heeded::check(evidence, &mut found);
    turns::check(evidence, &mut found);
    past::check(evidence, &mut found);
    places::check(evidence, &mut found);
    policies::check(evidence, &mut found);
    denials::check(evidence, &mut found);
    endings::check(evidence, &mut found);
    unread::check(evidence, &mut found);
    replicas::check(evidence, &mut found);
    halts::check(evidence.world, &mut found);
    refused::check(evidence, &mut found);
    strays::check(evidence, &mut found);
    found
}

/// Lists every promise that a world of nothing but events broke.
pub fn broken_by_events(evidence: &Evidence<'_>) -> Vec<String> {
    let mut found = evidence.world.broken.clone();
    found.extend(evidence.world.store.with(|tables| tables.broken.clone()));
    evidence.never_twice(&mut found);
    evidence.starts(&mut found);
    evidence.ends(&mut found);
    evidence.journal(&mut found);
    latest::check(evidence, &mut found);
    found
}

/// Names what happened to the runs of a world.
pub fn seen(evidence: &Evidence<'_>) -> BTreeSet<String> {
    let name = |observation: &Observation| match observation {
        Observation::Started { adopted: Adopted::ByTag, .. } => "adopted".to_owned(),
        Observation::Skipped { reason } => format!("skipped {}", reason.as_str()),
        Observation::Held { reason, .. } => format!("held {}", reason.as_str()),
        Observation::StopAsked { cause } => format!("stop {}", cause.as_str()),
        Observation::Finished { outcome } => format!("finished {}", outcome.as_str()),
        other => other.as_str().to_owned(),
    };
    let besides = latest::seen(evidence).into_iter().chain(replicas::seen(evidence)).chain(unread::seen(evidence));
    let besides = besides.chain(restore::seen(evidence)).chain(edges::seen(evidence)).chain(heeded::seen(evidence));
    let besides = besides.chain(couriers::seen(evidence.world)).chain(halts::seen(evidence.world));
    let besides = besides.chain(denials::seen(evidence)).chain(endings::seen(evidence));
    let besides = besides.chain(returns::seen(evidence));
    let besides = besides.chain(evidence.world.met.iter().copied());
    let besides = besides.map(str::to_owned).chain(refused::seen(evidence.world));
    evidence.world.store.with(|tables| {
        let seen = tables.journal.iter().flat_map(|(_, entry)| {
            let trigger = tables.runs.get(&entry.run).map(|run| &run.trigger);
            let is_excepted = |told: &Explained| told.rule == "policy" && told.input.contains("; exception: ");
            let special = match (&entry.observation, trigger) {
                (Observation::StartAsked { .. }, _) if entry.explained.iter().any(is_excepted) => {
                    Some("started by an exception")
                }
                (Observation::Started { .. }, Some(Trigger::Backfill { .. })) => Some("started again"),
                (Observation::Started { .. }, Some(Trigger::Manual { windows: WindowRule::Overridden, .. })) => {
                    Some("started over windows")
                }
                (
                    Observation::Skipped { reason: SkipReason::Closed { unknown: Some(_), .. } }
                    | Observation::StopAsked { cause: StopCause::Closed { unknown: Some(_), .. } },
                    _,
                ) => Some(if matches!(entry.observation, Observation::Skipped { .. }) {
                    "skipped unknown"
                } else {
                    "stop unknown"
                }),
                _ => None,
            };
            [Some(name(&entry.observation)), special.map(str::to_owned)]
        });
        seen.flatten().chain(besides).collect()
    })
}

/// Everything that was seen, to be judged.
pub struct Evidence<'a> {
    pub world: &'a World,
    pub experiments: Vec<Experiment>,
    pub runs: BTreeMap<RunId, Run>,
    /// The journal with the true time of each entry, by run.
    pub journal: BTreeMap<RunId, Vec<(u64, Timestamp, Observation)>>,
    /// Experiments that began in a time of which a restored store knows nothing, and that are found again.
    pub found: BTreeSet<String>,
}

impl<'a> Evidence<'a> {
    pub fn new(world: &'a World) -> Self {
        let mut journal: BTreeMap<RunId, Vec<_>> = BTreeMap::new();
        let runs = world.store.with(|tables| {
            for (ms, entry) in &tables.journal {
                journal.entry(entry.run.clone()).or_default().push((*ms, entry.at, entry.observation.clone()));
            }
            tables.runs.clone()
        });
        let mut experiments = world.fis.with(|state| state.experiments.clone());
        let found = restore::found(world, &mut experiments, &runs, &journal);
        Self { world, experiments, runs, journal, found }
    }

    /// The configurations that a pass which recorded something at a true time may have seen.
    pub fn rules_about(&self, ms: u64) -> Vec<&Rules> {
        self.rules_between(self.began(ms), ms)
    }

    /// The configurations that some replica may have had between two true times.
    pub fn rules_between(&self, from: u64, to: u64) -> Vec<&Rules> {
        let entries = self.world.history.iter().enumerate();
        let about = entries.filter(|(n, (since, _))| *since <= to && self.world.reached(n + 1) >= from);
        about.map(|(_, (_, rules))| &**rules).collect()
    }

    fn entries(&self, id: &RunId) -> &[(u64, Timestamp, Observation)] {
        self.journal.get(id).map_or(&[], Vec::as_slice)
    }

    /// One run for each slot, event and request of an experiment; one experiment a run, under the run's own token.
    fn never_twice(&self, found: &mut Vec<String>) {
        let mut opened = BTreeMap::new();
        for (id, run) in &self.runs {
            let of = (&run.experiment, run.trigger.key());
            if let Some(before) = opened.insert(of.clone(), id) {
                found.push(format!("doubled: {before} and {id} are both for {of:?}"));
            }
        }
        let mut seen = BTreeSet::new();
        for experiment in &self.experiments {
            let run = experiment.run();
            if !seen.insert(run.clone()) {
                found.push(format!("twice: {run} has a second experiment {}", experiment.id));
            }
            if experiment.request.client_token != run.client_token() {
                found.push(format!("twice: {run} was started with another token"));
            }
        }
    }

    /// Every decision to start was allowed when it was made.
    fn starts(&self, found: &mut Vec<String>) {
        for (id, entries) in &self.journal {
            let mut read_at = None;
            let mut is_first = true;
            for (ms, at, observation) in entries {
                match observation {
                    Observation::TemplateRead { facts } => read_at = Some(facts),
                    Observation::StartAsked { facts: lent, place, .. } => {
                        read_at = lent.as_ref().or(read_at);
                        let Some(facts) = read_at else {
                            found.push(format!("unknown: {id} starts with an unread template"));
                            continue;
                        };
                        let age = at.duration_since(facts.read_at);
                        if is_first && (age.is_negative() || age > FACTS_MAX_AGE) {
                            found.push(format!("unknown: {id} starts with a template read {age:?} ago"));
                        }
                        is_first = false;
                        let run = &self.runs[id];
                        let allowed = |rules: &&Rules| {
                            let declared = rules.experiments.get(&run.experiment);
                            declared.is_some_and(|declared| {
                                if run.trigger.windows() == WindowRule::Overridden {
                                    return true;
                                }
                                let ends = *at + expected(declared, facts, None);
                                !closing::is_closed_within(rules, &closing::at_place(declared, place), *at, ends)
                            })
                        };
                        if !self.rules_about(*ms).iter().any(allowed) {
                            found.push(format!("blackout: {id} is started at {at} against the rules"));
                        }
                        // Events of the same key postpone a start, but not for ever.
                        if *at < run.not_before && run.trigger.terms().settle_limit.is_none() {
                            found.push(format!("early: {id} is started at {at}, before {}", run.not_before));
                        }
                        if self.is_halted(*ms, *ms) {
                            found.push(format!("halt: {id} is started at {at}"));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether a halt has been durable from before a true time to another.
    pub fn is_halted(&self, from: u64, to: u64) -> bool {
        let mut halted = None;
        for (when, running) in halts::changes(self.world).into_iter().filter(|(when, _)| *when <= to) {
            halted = running.and(halted.or(Some(when)));
        }
        halted.is_some_and(|since| since < from)
    }

    /// Every experiment belongs to a run that knew of it and recorded its end, and its end was not made up.
    fn ends(&self, found: &mut Vec<String>) {
        for experiment in &self.experiments {
            let id = experiment.run();
            let Some(run) = self.runs.get(&id) else {
                found.push(format!("lost: nobody knows {id} of {}", experiment.id));
                continue;
            };
            if let Some(fis) = run.fis.as_ref().filter(|fis| fis.id != experiment.id && !self.is_second(experiment)) {
                found.push(format!("adopted: {id} has {} and watches {}", experiment.id, fis.id));
            }
            let recorded_at = self.entries(&id).last().map_or(0, |(ms, ..)| *ms);
            match &run.state {
                // What FIS denies and does not list cannot be known.
                RunState::Finished { outcome: Outcome::Lost { .. } | Outcome::NotStarted { .. }, .. }
                | RunState::Skipped { .. }
                    if experiment.is_forgotten => {}
                RunState::Finished { outcome: Outcome::NotStarted { .. }, .. } | RunState::Skipped { .. } => {
                    found.push(format!("lost: {} runs for {id}, which is {:?}", experiment.id, run.state));
                }
                // FIS did not tell of it, and has ended everything by then.
                RunState::Finished { outcome: Outcome::Lost { .. }, .. }
                    if experiment.untold.is_some() && recorded_at >= experiment.created_at + LONGEST_MS => {}
                RunState::Finished { outcome: Outcome::Lost { class }, .. } => {
                    found.push(format!("lost: {id} was given up ({class}), {} can be read", experiment.id));
                }
                RunState::Finished { .. } if recorded_at < experiment.end() => {
                    found.push(format!("lost: {id} ended before {}", experiment.id));
                }
                RunState::Finished { outcome, .. } if outcome.as_str() != experiment.outcome().as_str() => {
                    let truth = experiment.outcome();
                    found.push(format!("outcome: {id} is said to be {outcome:?}, {} is {truth:?}", experiment.id));
                }
                RunState::Finished { .. } => {}
                open => found.push(format!("lost: {id} is left {}", open.as_str())),
            }
        }
    }

    /// Whether a run has an earlier experiment, which is another promise.
    fn is_second(&self, experiment: &Experiment) -> bool {
        self.experiments.iter().take_while(|e| e.id != experiment.id).any(|e| e.run() == experiment.run())
    }

    /// Every slot that a cursor passed is a run, or inside a range that is said to be missed.
    fn slots(&self, found: &mut Vec<String>) {
        self.world.store.with(|tables| {
            for (ms, durable) in &tables.log {
                let Durable::Opened { key, before: Some(before), after, .. } = durable else { continue };
                let known = self.runs.values().filter(|run| run.experiment == key.0);
                let mut decided = BTreeSet::new();
                let mut missed: Vec<(Timestamp, Timestamp)> = Vec::new();
                for (run, slot) in known.filter_map(|run| Some((run, slot_of(run, &key.1)?))) {
                    decided.insert(slot);
                    if let RunState::Skipped { reason: SkipReason::Missed { through, .. }, .. } = &run.state {
                        missed.push((slot, *through));
                    }
                }
                let is_covered = |rules: &&Rules| {
                    let declared = rules.experiments.get(&key.0);
                    let schedule = declared.and_then(|e| e.schedules.iter().find(|s| *s.timetable() == key.1));
                    schedule.is_some_and(|schedule| {
                        let mut slot = schedule.next_after(before.at);
                        while let Some(at) = slot.map(|slot| slot.at).filter(|at| at <= after) {
                            let is_missed = missed.iter().any(|(first, through)| *first <= at && at <= *through);
                            if !decided.contains(&at) && !is_missed {
                                return false;
                            }
                            slot = schedule.next_after(at);
                        }
                        true
                    })
                };
                if !self.rules_about(*ms).iter().any(is_covered) {
                    found.push(format!("lost: a slot of {key:?} between {} and {after} was never decided", before.at));
                }
            }
        });
    }

    /// Every event that the queue was told to delete is recorded.
    fn events(&self, found: &mut Vec<String>) {
        self.world.store.with(|tables| {
            for (source, event) in &self.world.deleted {
                match tables.events.get(&((*source).to_owned(), format!("e{event}"))) {
                    None => found.push(format!("lost: event {event} of {source} was deleted and is not known")),
                    Some((_, runs)) => {
                        for run in runs.iter().filter(|run| !self.runs.contains_key(run)) {
                            found.push(format!("lost: event {event} opened {run}, which is not there"));
                        }
                    }
                }
            }
            let is_kept = |id: &&String| tables.quarantined.keys().any(|(_, kept)| kept == *id);
            let gone = self.world.unreadable.iter().filter(|id| !is_kept(id));
            found.extend(gone.map(|id| format!("lost: unreadable message {id} was deleted and is not kept")));
        });
    }

    /// The journal tells every row, but for idle polls and looks that tell nothing new, which are not journaled; each decision
    /// is explained; and rows can be written down.
    fn journal(&self, found: &mut Vec<String>) {
        for (id, stored) in &self.runs {
            if let Err(why) = told(stored, self.entries(id)) {
                found.push(format!("journal: {id}: {why}"));
            }
            let text = serde_json::to_string(stored).expect("a row can be written");
            if serde_json::from_str::<Run>(&text).ok().as_ref() != Some(stored) {
                found.push(format!("journal: {id} does not survive being written: {text}"));
            }
        }
        self.world.store.with(|tables| {
            for (_, entry) in &tables.journal {
                if !is_explained(entry, self.entries(&entry.run)) {
                    found.push(format!("journal: {} is not explained: {:?}", entry.run, entry.explained));
                }
            }
        });
    }

    /// The engine neither spins nor hammers FIS.
    fn pace(&self, found: &mut Vec<String>) {
        let passes = self.world.passes();
        if passes.peak > MAX_PASSES_A_SECOND {
            found.push(format!("pace: {} passes in one second", passes.peak));
        }
        let mut calls: BTreeMap<RunId, Vec<u64>> = BTreeMap::new();
        self.world.fis.with(|state| {
            for call in &state.calls {
                if let Some(run) = &call.run {
                    calls.entry(run.clone()).or_default().push(call.at);
                }
            }
        });
        for (run, times) in calls {
            let busiest = times.windows(MAX_CALLS_IN_TEN_SECONDS).find(|w| w[w.len() - 1] - w[0] < 10 * SECOND_MS);
            if let Some(busiest) = busiest {
                found.push(format!("pace: {run} made {} calls within 10 s at {} ms", busiest.len(), busiest[0]));
            }
        }
    }
}

/// Checks that the entries of a run tell all of its row.
fn told(stored: &Run, entries: &[(u64, Timestamp, Observation)]) -> Result<(), String> {
    let [(_, opened_at, opening), rest @ ..] = entries else { return Err("nothing is told of it".to_owned()) };
    let state = match opening {
        Observation::Opened => RunState::Requested,
        Observation::Skipped { reason } => RunState::Skipped { reason: reason.clone(), at: *opened_at },
        other => return Err(format!("it opens with {other:?}")),
    };
    let mut run = Run { facts: None, ties: None, fis: None, waited_until: None, state, ..stored.clone() };
    for (_, at, observation) in rest {
        let before = run.state.clone();
        run.take(observation, *at).map_err(|invalid| invalid.to_string())?;
        if !may_follow(&before, &run.state) {
            return Err(format!("{before:?} becomes {:?} by {observation:?}", run.state));
        }
    }
    // How a run waits for rest is not told.
    if stored.state == RunState::Settling && run.state == RunState::Requested {
        run.state = RunState::Settling;
    }
    let row = |run: &Run| Run { revision: 0, place_facts: None, state: unwatched(&run.state), ..run.clone() };
    let (kept, told) = (row(stored), row(&run));
    if kept == told { Ok(()) } else { Err(format!("it is {kept:?}, its journal says {told:?}")) }
}

/// A state without when FIS was last asked.
fn unwatched(state: &RunState) -> RunState {
    let mut state = state.clone();
    if let RunState::Running { watch, .. } | RunState::Stopping { watch, .. } = &mut state {
        *watch = Watch::default();
    }
    state
}

/// Which state may come after which.
fn may_follow(before: &RunState, after: &RunState) -> bool {
    use RunState as S;
    let waits = |state: &RunState| matches!(state, S::Requested | S::Settling | S::Held { .. });
    match (before, after) {
        (S::Requested | S::Settling | S::Held { .. }, S::Held { .. } | S::Starting { .. } | S::Skipped { .. }) => true,
        (before, after) if waits(before) => before == after,
        // Nothing came of any call, for certain.
        (S::Starting { doubt, .. }, S::Skipped { .. }) => !matches!(doubt, Doubt::Unanswered { .. }),
        (S::Starting { doubt, .. }, S::Finished { outcome: Outcome::NotStarted { .. }, .. }) => {
            !matches!(doubt, Doubt::Unanswered { .. })
        }
        (S::Starting { .. }, S::Finished { outcome, .. }) => matches!(outcome, Outcome::Lost { .. }),
        (S::Starting { .. }, after) => matches!(after, S::Starting { .. } | S::Running { .. }),
        // What ran has run.
        (S::Running { .. } | S::Stopping { .. }, S::Finished { outcome, .. }) => {
            !matches!(outcome, Outcome::NotStarted { .. })
        }
        (S::Running { .. }, after) => matches!(after, S::Running { .. } | S::Stopping { .. }),
        (S::Stopping { .. }, after) => matches!(after, S::Stopping { .. }),
        _ => false,
    }
}

/// Whether a decision is told with what led to it. One that is the answer to a call is its own reason, and so is the opening.
fn is_explained(entry: &JournalEntry, entries: &[(u64, Timestamp, Observation)]) -> bool {
    let passes = entry.explained.iter().all(|told| told.passes) && !entry.explained.is_empty();
    let opens = entries.first().is_some_and(|(_, at, first)| *at == entry.at && *first == entry.observation);
    match &entry.observation {
        Observation::StartAsked { .. } => passes,
        Observation::Held { reason: HoldReason::TemplateUnread { .. } | HoldReason::PlaceUnread { .. }, .. }
        | Observation::Skipped { reason: SkipReason::Template { .. } } => true,
        Observation::Held { .. } => entry.explained.iter().any(|told| !told.passes),
        Observation::Skipped { .. } => opens || entry.explained.iter().any(|told| !told.passes),
        _ => true,
    }
}

/// Adds milliseconds to an instant.
pub fn plus(at: Timestamp, ms: u64) -> Timestamp {
    at + SignedDuration::from_millis(i64::try_from(ms).expect("a world ends"))
}
