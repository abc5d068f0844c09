//! Places that forbid starts at times: nothing starts by what is not known, or was read too long ago.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::{Place, Rules},
    lever::{Found, Stands},
    place::{Alarm, AlarmState, Health, Identity, PlaceFacts, Wanted},
    plan::PLACE_FACTS_MAX_AGE,
    run::Observation,
};
use jiff::SignedDuration;

use super::{
    check::{Evidence, PASS_MS},
    fis::State,
    nature::Nature,
    scenario::{MINUTE_MS, SECOND_MS},
};
use crate::support::{chance::Chance, world::fine};

const ACCOUNT: &str = "111111111111";
const ALARM: &str = "errors";

/// How long after it was decided on a start may be called for, in milliseconds.
const AWAY_MS: u64 = 10 * SECOND_MS;

/// Draws what a world demands of its places, and when its lever is engaged and its alarm on; with a chance of its own, so
/// that nothing else of the world depends on it.
pub fn amiss(seed: u64, length: u64, rules: &mut Rules) -> [Vec<(u64, u64)>; 2] {
    let mut c = Chance::new(!seed);
    demand(&mut c, rules);
    [times(&mut c, length), times(&mut c, length)]
}

/// Draws when something is amiss in a world of so many milliseconds: in one of five worlds, once or twice.
fn times(c: &mut Chance, length: u64) -> Vec<(u64, u64)> {
    if !c.one_in(5) {
        return Vec::new();
    }
    let drawn = |c: &mut Chance| {
        let from = c.between(0, length);
        (from, (from + c.between(0, 20 * MINUTE_MS)).min(length))
    };
    let mut times: Vec<_> = (0..c.between(1, 2)).map(|_| drawn(c)).collect();
    times.sort_unstable();
    times
}

/// Draws what a world demands of its places.
fn demand(c: &mut Chance, rules: &mut Rules) {
    if c.one_in(4) {
        rules.limits.accounts = Some([ACCOUNT.to_owned()].into());
    }
    if c.one_in(6) {
        rules.limits.max_active = Some(u32::try_from(c.between(1, 2)).expect("few"));
    }
    for declared in rules.experiments.values_mut() {
        if !c.one_in(4) {
            continue;
        }
        let ok_for = SignedDuration::from_mins(i64::try_from(c.between(0, 3)).expect("few"));
        declared.health = Some(Health { alarms: [ALARM.to_owned()].into(), ok_for });
    }
}

/// What is told of a place at a true time.
pub fn facts(state: &State, place: &Place, wanted: &Wanted, now: u64, nature: &Nature) -> PlaceFacts {
    let is_within = |times: &[(u64, u64)]| times.iter().any(|(from, until)| (*from..*until).contains(&now));
    let mut facts = fine(place);
    if is_within(&state.engaged) {
        facts.lever = Found { stands: Stands::Engaged, reason: "simulated".to_owned() };
    }
    let identity = || Identity { account: ACCOUNT.to_owned(), region: place.region.clone() };
    facts.identity = wanted.identity.then(identity);
    facts.active = wanted.active.then(|| {
        let active = state.experiments.iter().filter(|e| e.place == *place && e.listed_at <= now && !e.has_ended(now));
        active.map(|e| (e.id.clone(), Some(e.run()))).collect()
    });
    let ok_since = state.alarmed.iter().map(|(_, until)| *until).filter(|until| *until <= now).max().unwrap_or(0);
    let alarm = match is_within(&state.alarmed) {
        true => Alarm { state: AlarmState::Alarm, since: None },
        false => Alarm { state: AlarmState::Ok, since: Some(nature.true_wall_at(ok_since)) },
    };
    facts.alarms = wanted.alarms.iter().map(|name| (name.clone(), alarm.clone())).collect();
    facts
}

/// Checks every start against what was read of its place, and against what the place was like in truth.
pub fn check(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    for (id, entries) in &evidence.journal {
        for (ms, at, observation) in entries {
            let Observation::StartAsked { place, place_facts, .. } = observation else { continue };
            let Some(facts) = place_facts.as_ref().filter(|facts| facts.place == *place) else {
                found.push(format!("unknown: {id} starts in a place that nobody asked of"));
                continue;
            };
            let age = at.duration_since(facts.read_at);
            if age.is_negative() || age > PLACE_FACTS_MAX_AGE {
                found.push(format!("unknown: {id} starts in a place that was asked {age:?} ago"));
            }
            if facts.lever.stands != Stands::Disengaged {
                found.push(format!("lever: {id} starts though it is {:?}", facts.lever));
            }
            let is_met = |rules: &&Rules| {
                let declared = rules.experiments.get(&evidence.runs[id].experiment);
                let is_well = |health: &Health| {
                    let is_ok = |alarm: &Alarm| {
                        let long = alarm.since.is_some_and(|since| at.duration_since(since) >= health.ok_for);
                        alarm.state == AlarmState::Ok && (long || health.ok_for.is_zero())
                    };
                    health.alarms.iter().all(|alarm| facts.alarms.get(alarm).is_some_and(is_ok))
                };
                let is_allowed =
                    !rules.limits.restrict() || facts.identity.as_ref().is_some_and(|i| rules.limits.allow(i));
                let others = facts
                    .active
                    .as_ref()
                    .map(|active| active.values().flatten().filter(|run| *run != id).collect::<BTreeSet<_>>().len());
                let is_free = |limit: u32| others.is_some_and(|others| others < limit as usize);
                let is_free = rules.limits.max_active.is_none_or(is_free);
                declared.is_some_and(|declared| declared.health.as_ref().is_none_or(is_well)) && is_allowed && is_free
            };
            if !evidence.rules_about(*ms).iter().any(is_met) {
                found.push(format!("place: {id} starts against the rules by {facts:?}"));
            }
        }
    }
    in_truth(evidence, found);
}

/// No start is called for while the lever has been engaged for longer than what was read of it is good for, as far as an
/// agent can know whose clock steps; nor while an alarm has not been OK for as long.
fn in_truth(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let age = u64::try_from(PLACE_FACTS_MAX_AGE.as_millis()).expect("a length") + PASS_MS + AWAY_MS;
    let steps = evidence.world.nature.steps();
    evidence.world.fis.with(|state| {
        for call in state.calls.iter().filter(|call| call.operation == "StartExperiment") {
            let since = call.at.saturating_sub(age);
            if steps.iter().any(|step| (since..=call.at).contains(&step.at)) {
                continue;
            }
            let lasted = |times: &[(u64, u64)]| times.iter().any(|(from, until)| *from < since && call.at < *until);
            if lasted(&state.engaged) {
                found.push(format!("lever: {:?} is started at {} ms while it is engaged", call.run, call.at));
            }
            let Some(run) = call.run.as_ref().and_then(|run| evidence.runs.get(run)) else { continue };
            let asks = |rules: &&Rules| rules.experiments.get(&run.experiment).is_some_and(|e| e.health.is_some());
            if lasted(&state.alarmed) && evidence.rules_about(call.at).iter().all(asks) {
                found.push(format!("health: {:?} is started at {} ms while an alarm is on", call.run, call.at));
            }
        }
    });
}
