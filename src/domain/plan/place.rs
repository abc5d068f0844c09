//! Guards that rest on facts of a place: the safety lever, whose account it is, what is active in it, how alarms are.
//!
//! Asked last, so that AWS is asked for no run that another rule refuses. One reading serves every run of the place that
//! wants no more than was asked for; while one is under way, or failed a short time ago, nobody asks again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Effect, Snapshot,
    guards::{Case, Judgement, found},
    start::{has_facts, has_fresh_facts, is_due, is_fresh},
    turn,
};
use crate::domain::{
    civil::later,
    experiment::Place,
    ids::RunId,
    lever::Stands,
    place::{Alarm, AlarmState, Health, Identity, PlaceFacts, Wanted},
    react::BACKOFF_LIMIT,
    run::{Doubt, HoldReason, Run, RunState, SkipReason},
};

/// What was read of a place is good for this long (inclusive); older, or from the future after a clock step, it is read
/// again.
pub const PLACE_FACTS_MAX_AGE: SignedDuration = SignedDuration::from_secs(30);

/// Whether places are read at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Places {
    /// They are, and what is not known never allows a start.
    #[default]
    Read,
    /// They cannot be, and are assumed to allow every start: a forecast has no facts of what is ahead.
    AssumedFine,
}

/// What is known of places at one instant.
#[derive(Debug, Default)]
pub(super) struct Around<'a> {
    /// What was read lately.
    facts: BTreeMap<&'a Place, Vec<&'a PlaceFacts>>,
    /// When it was last read whose the credentials are, and whose: whatever goes on by them goes on there for longer than
    /// what was read is good for.
    identities: BTreeMap<&'a Place, (Timestamp, &'a Identity)>,
    /// What could not be read lately, and when it is tried again.
    unread: Vec<(&'a Place, Wanted, Timestamp)>,
}

impl<'a> Around<'a> {
    /// Gathers what some runs know of their places.
    pub(super) fn of(snapshot: &'a Snapshot<'_>, now: Timestamp) -> Self {
        let mut around = Self::default();
        if snapshot.places == Places::AssumedFine {
            return around;
        }
        let is_known = |facts: &PlaceFacts| is_fresh(snapshot, facts.read_at, PLACE_FACTS_MAX_AGE, now);
        for run in &snapshot.runs {
            if let Some(facts) = run.place_facts.as_deref()
                && let Some(identity) = &facts.identity
            {
                let known = around.identities.entry(&facts.place).or_insert((facts.read_at, identity));
                *known = if facts.read_at > known.0 { (facts.read_at, identity) } else { *known };
            }
            if let Some(facts) = run.place_facts.as_deref().filter(|facts| is_known(facts)) {
                let known = around.facts.entry(&facts.place).or_default();
                if !known.contains(&facts) {
                    known.push(facts);
                }
            }
            let RunState::Held { reason: HoldReason::PlaceUnread { .. }, look_at } = &run.state else { continue };
            let Some(experiment) = snapshot.rules.experiments.get(&run.experiment) else { continue };
            if !is_due(*look_at, BACKOFF_LIMIT, now) {
                let failed = (&experiment.place, Wanted::of(snapshot.rules, experiment), *look_at);
                if !around.unread.contains(&failed) {
                    around.unread.push(failed);
                }
            }
        }
        around
    }

    /// The newest that tells all that is wanted.
    fn facts(&self, place: &Place, wanted: &Wanted) -> Option<&'a PlaceFacts> {
        let known = self.facts.get(place)?.iter().copied();
        known.filter(|facts| facts.tell(wanted)).max_by_key(|facts| facts.read_at)
    }

    /// Whose the credentials of a place are, as far as that was ever asked.
    fn identity(&self, place: &Place) -> Option<&'a Identity> {
        self.identities.get(place).map(|(_, identity)| *identity)
    }

    /// Until when it is not asked again for something, since it could not be read.
    fn unread_until(&self, place: &Place, wanted: &Wanted) -> Option<Timestamp> {
        let failed = self.unread.iter().filter(|(of, what, _)| *of == place && wanted.covers(what));
        failed.map(|(_, _, until)| *until).max()
    }
}

/// What runs need to know of places in this pass.
#[derive(Debug, Default)]
pub(super) struct Asks(Vec<(RunId, Place, Wanted)>);

impl Asks {
    /// Notes that a run needs to know of its place.
    pub(super) fn note(&mut self, case: &Case<'_>) {
        self.0.push((case.run.id.clone(), of(case).clone(), Wanted::of(case.snapshot.rules, case.experiment)));
    }

    /// Asks once for all of a place that want the same, and not while that is being asked. Who asks changes with every
    /// second: a run whose row cannot be written learns nothing, and must not be in the way of others.
    pub(super) fn effects(self, snapshot: &Snapshot<'_>, now: Timestamp) -> Vec<Effect> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let mut asked = under_way(snapshot, now);
        let mut alike: Vec<(Place, Wanted, Vec<RunId>)> = Vec::new();
        for (run, place, wanted) in self.0 {
            match alike.iter_mut().find(|(of, what, _)| *of == place && *what == wanted) {
                Some((.., runs)) => runs.push(run),
                None => alike.push((place, wanted, vec![run])),
            }
        }
        let mut effects = Vec::new();
        for (place, wanted, mut runs) in alike {
            if asked.iter().any(|(of, what)| *of == place && what.covers(&wanted)) {
                continue;
            }
            let turn = usize::try_from(now.as_second().unsigned_abs()).unwrap_or_default() % runs.len();
            let run = runs.swap_remove(turn);
            asked.push((place.clone(), wanted.clone()));
            effects.push(Effect::Probe { run, place, wanted });
        }
        effects
    }
}

/// Lists what is being asked: a run that knows its template and is not being started waits for nothing else.
fn under_way(snapshot: &Snapshot<'_>, now: Timestamp) -> Vec<(Place, Wanted)> {
    let busy = snapshot.runs.iter().filter(|run| snapshot.busy.contains(&run.id));
    let asked = busy.filter_map(|run| {
        let experiment = snapshot.rules.experiments.get(&run.experiment)?;
        let place = match &run.state {
            RunState::Starting { doubt: Doubt::Unanswered { .. }, .. } => return None,
            RunState::Starting { place, .. } => Some(place).filter(|_| has_fresh_facts(snapshot, run, now)),
            _ => Some(&experiment.place).filter(|_| !run.may_be_running() && has_facts(snapshot, experiment, run, now)),
        };
        Some((place?.clone(), Wanted::of(snapshot.rules, experiment)))
    });
    asked.collect()
}

/// Where a run starts: where it was first tried, whatever the configuration says by now.
pub(super) fn of<'a>(case: &Case<'a>) -> &'a Place {
    case.run.place().unwrap_or(&case.experiment.place)
}

/// What is known of a run's place.
pub(super) fn read<'a>(case: &Case<'a>) -> Option<&'a PlaceFacts> {
    case.around.facts(of(case), &Wanted::of(case.snapshot.rules, case.experiment))
}

/// Judges by the facts of a run's place, which have to be there.
fn judged(case: &Case<'_>, judge: impl FnOnce(&PlaceFacts) -> Judgement) -> Judgement {
    if case.snapshot.places == Places::AssumedFine {
        return Judgement::Clear;
    }
    if let Some(facts) = read(case) {
        return judge(facts);
    }
    match case.around.unread_until(of(case), &Wanted::of(case.snapshot.rules, case.experiment)) {
        // What failed is tried again at its own time only.
        Some(until) => Judgement::Wait(until.min(late(case.run.deadline()))),
        None => Judgement::NeedsPlace,
    }
}

/// Says what the facts of a run's place tell.
fn told(case: &Case<'_>, tell: impl FnOnce(&PlaceFacts) -> String) -> String {
    match case.snapshot.places {
        Places::AssumedFine => "assumed to allow it".to_owned(),
        Places::Read => found(read(case), tell),
    }
}

/// Refuses what FIS would cancel.
pub(super) fn lever(case: &Case<'_>) -> Judgement {
    judged(case, |facts| match &facts.lever.stands {
        Stands::Disengaged => Judgement::Clear,
        _ => Judgement::Skip(SkipReason::SafetyLever { found: facts.lever.clone() }),
    })
}

pub(super) fn lever_input(case: &Case<'_>) -> String {
    told(case, |facts| format!("{} at {}", facts.lever.stands.as_str(), facts.read_at))
}

/// Refuses accounts and Regions that are not allowed.
pub(super) fn account(case: &Case<'_>) -> Judgement {
    let limits = &case.snapshot.rules.limits;
    if !limits.restrict() {
        return Judgement::Clear;
    }
    judged(case, |facts| match &facts.identity {
        Some(identity) if limits.allow(identity) => Judgement::Clear,
        Some(identity) => Judgement::Skip(SkipReason::NotAllowed { identity: identity.clone() }),
        None => Judgement::NeedsPlace,
    })
}

pub(super) fn account_input(case: &Case<'_>) -> String {
    if !case.snapshot.rules.limits.restrict() {
        return "any account and Region is allowed".to_owned();
    }
    told(case, |facts| found(facts.identity.as_ref(), ToString::to_string))
}

/// How many FIS experiments are active in the account and Region of a run's place: those that were listed, but for runs of
/// ours that are known there, and those runs, by whatever role they were started. One whose credentials are another account's
/// by now counts in both. The one whose place this run takes does not count, since it ends first.
fn active(case: &Case<'_>, facts: &PlaceFacts) -> Option<u32> {
    let place = of(case);
    let is_here = |run: &&&Run| {
        // Credentials may be another account's by now: what began by them stays where it was begun.
        let began_as = run.place_facts.as_deref().filter(|facts| Some(&facts.place) == run.place());
        let began_as = began_as.and_then(|facts| facts.identity.as_ref());
        // Otherwise it begins in this very pass.
        let begins_at = || case.snapshot.rules.experiments.get(&run.experiment).map(|experiment| &experiment.place);
        let runs_at = run.place().or_else(begins_at);
        let is_same = |other: &Place| {
            let is_known = |identity: Option<&Identity>| identity.is_some() && identity == facts.identity.as_ref();
            other == place || is_known(case.around.identity(other)) || is_known(began_as)
        };
        run.id != case.run.id && runs_at.is_some_and(is_same)
    };
    let ours: BTreeSet<&RunId> = case.going.iter().filter(is_here).map(|run| &run.id).collect();
    let is_other = |run: &&Option<RunId>| run.as_ref().is_none_or(|run| !ours.contains(run) && *run != case.run.id);
    let others = facts.active.as_ref()?.values().filter(is_other).count();
    let ends = turn::replaces(case).filter(|run| ours.contains(&run.id)).map_or(0, |_| 1);
    Some(u32::try_from(others + ours.len() - ends).unwrap_or(u32::MAX))
}

/// Waits while as many experiments are active as may be, whoever started them.
pub(super) fn crowd(case: &Case<'_>) -> Judgement {
    let Some(limit) = case.snapshot.rules.limits.max_active else { return Judgement::Clear };
    judged(case, |facts| match active(case, facts) {
        Some(active) if active < limit => Judgement::Clear,
        Some(active) => {
            let give_up_at = turn::patience(case);
            let reason = HoldReason::Crowded { active, limit, give_up_at };
            Judgement::Hold(reason, read_again_at(facts).min(late(give_up_at)))
        }
        None => Judgement::NeedsPlace,
    })
}

pub(super) fn crowd_input(case: &Case<'_>) -> String {
    let Some(limit) = case.snapshot.rules.limits.max_active else { return "no limit".to_owned() };
    told(case, |facts| found(active(case, facts), |active| format!("{active} of {limit} active")))
}

/// Waits until every alarm is OK, and has been for long enough.
pub(super) fn health(case: &Case<'_>) -> Judgement {
    let Some(health) = &case.experiment.health else { return Judgement::Clear };
    judged(case, |facts| {
        let unwell = health.alarms.iter().find_map(|alarm| unwell(alarm, health, facts, case.now));
        let Some((reason, again)) = unwell else { return Judgement::Clear };
        Judgement::Hold(reason, again.min(late(case.run.deadline())))
    })
}

/// Why an alarm forbids a start, and when that is looked at again.
fn unwell(alarm: &str, health: &Health, facts: &PlaceFacts, now: Timestamp) -> Option<(HoldReason, Timestamp)> {
    let Alarm { state, since } =
        facts.alarms.get(alarm).cloned().unwrap_or(Alarm { state: AlarmState::Missing, since: None });
    let fine_at = match (&state, since) {
        (AlarmState::Ok, _) if health.ok_for.is_zero() => return None,
        (AlarmState::Ok, Some(since)) => Some(later(since, health.ok_for)),
        _ => None,
    };
    if fine_at.is_some_and(|fine_at| fine_at <= now) {
        return None;
    }
    let again = fine_at.unwrap_or_else(|| read_again_at(facts));
    Some((HoldReason::Unwell { alarm: alarm.to_owned(), state, until: fine_at }, again))
}

pub(super) fn health_input(case: &Case<'_>) -> String {
    let Some(health) = &case.experiment.health else { return "no alarm is asked for".to_owned() };
    told(case, |facts| {
        let shown = facts.alarms.iter().filter(|(alarm, _)| health.alarms.contains(*alarm)).map(|(alarm, is)| {
            let since = is.since.map_or_else(String::new, |since| format!(" since {since}"));
            format!("`{alarm}` {}{since}", is.state.as_str())
        });
        shown.collect::<Vec<_>>().join(", ")
    })
}

/// When facts are too old.
fn read_again_at(facts: &PlaceFacts) -> Timestamp {
    late(later(facts.read_at, PLACE_FACTS_MAX_AGE))
}

/// The first instant after another.
fn late(at: Timestamp) -> Timestamp {
    later(at, SignedDuration::from_nanos(1))
}
