//! Places that forbid starts at times: nothing starts by what is not known, or was read too long ago.

use std::collections::BTreeSet;

use firedrill::domain::{
    experiment::{Place, Rules},
    ids::RunId,
    lever::{Found, Stands},
    place::{Alarm, AlarmState, Health, Identity, PlaceFacts, Wanted},
    plan::PLACE_FACTS_MAX_AGE,
    run::Observation,
};
use jiff::SignedDuration;

use crate::{
    sim::{
        drawn::scenario::{APART_MS, MINUTE_MS, SECOND_MS},
        judged::check::{Evidence, PASS_MS},
        planted::Bug,
        simulated::{fis::State, nature::Nature, truth::Experiment},
    },
    support::{chance::Chance, world::fine},
};

const ACCOUNT: &str = "111111111111";
const ALARM: &str = "errors";

/// Another role of the account than the one that is used where none is named.
const ROLE: &str = "arn:aws:iam::111111111111:role/other";

/// Who else has credentials.
const STRANGER: &str = "999999999999";

/// How long after it was decided on a start may be called for, in milliseconds.
pub const AWAY_MS: u64 = 10 * SECOND_MS;

/// Times in true milliseconds, each from and until (exclusive), earliest first.
pub type Times = Vec<(u64, u64)>;

/// When something is amiss with every place.
#[derive(Debug, Clone, Default)]
pub struct Amiss {
    /// The safety lever is engaged.
    pub engaged: Times,
    /// The alarm is not OK.
    pub alarmed: Times,
    /// The credentials are of another account.
    pub strange: Times,
    /// Somebody else has an experiment there.
    pub others: Times,
}

/// Draws what a world demands of its places, and when something is amiss with them; with a chance of its own, so that nothing
/// else of the world depends on it.
pub fn amiss(seed: u64, length: u64, rules: &mut Rules) -> Amiss {
    let mut c = Chance::new(!seed);
    demand(&mut c, rules);
    let mut amiss = Amiss { engaged: times(&mut c, length, 5), alarmed: times(&mut c, length, 5), ..Amiss::default() };
    if rules.experiments.values().any(|declared| declared.health.is_some()) {
        amiss.alarmed.extend(times(&mut c, length, 1));
        amiss.alarmed.sort_unstable();
    }
    if rules.limits.accounts.is_some() {
        amiss.strange = times(&mut c, length, 2);
    }
    if rules.limits.max_active.is_some() {
        amiss.others = times(&mut c, length, 1);
        let mut c = Chance::new(seed.rotate_left(56) ^ !0);
        let by_the_other = rules.experiments.values_mut().filter(|_| c.one_in(2));
        by_the_other.for_each(|declared| declared.place.role_arn = Some(ROLE.to_owned()));
    }
    amiss
}

/// Whether two places are the same account and Region: there is one account, whatever the role.
pub fn are_one(place: &Place, other: &Place) -> bool {
    place.region == other.region
}

/// Draws when something is amiss in a world of so many milliseconds: in one of so many worlds, once or twice.
fn times(c: &mut Chance, length: u64, one_in: u64) -> Times {
    if !c.one_in(one_in) {
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

pub fn is_within(times: &Times, at: u64) -> bool {
    times.iter().any(|(from, until)| (*from..*until).contains(&at))
}

/// What is told of a place at a true time.
pub fn facts(state: &State, place: &Place, wanted: &Wanted, now: u64, nature: &Nature) -> PlaceFacts {
    let (mut facts, amiss, bug) = (fine(place), &state.amiss, nature.bug());
    let now = if bug == Bug::PlaceToldLate { now.saturating_sub(4 * MINUTE_MS) } else { now };
    if is_within(&amiss.engaged, now) && bug != Bug::LeverUnseen {
        facts.lever = Found { stands: Stands::Engaged, reason: "simulated".to_owned() };
    }
    let is_strange = is_within(&amiss.strange, now) && bug != Bug::AccountUnchecked;
    let account = if is_strange { STRANGER } else { ACCOUNT }.to_owned();
    let role = place.role_arn.as_deref().filter(|_| bug == Bug::RolesCountTheirOwn).unwrap_or_default();
    facts.identity = wanted.identity.then(|| Identity { account: account + role, region: place.region.clone() });
    facts.active = wanted.active.then(|| {
        let is_here =
            |e: &&Experiment| are_one(&e.place, place) && (bug != Bug::RolesCountTheirOwn || e.place == *place);
        let active = state.experiments.iter().filter(is_here).filter(|e| e.listed_at <= now && !e.has_ended(now));
        let others = amiss.others.iter().filter(|(from, until)| (*from..*until).contains(&now));
        let others = others.filter(|_| bug != Bug::OthersUncounted).map(|(from, _)| (format!("OTHER{from}"), None));
        active.map(|e| (e.id.clone(), Some(e.run()))).chain(others).collect()
    });
    let ok_since = amiss.alarmed.iter().map(|(_, until)| *until).filter(|until| *until <= now).max().unwrap_or(0);
    let on_since = amiss.alarmed.iter().find(|(from, until)| (*from..*until).contains(&now)).map(|(from, _)| *from);
    let alarm = on_since.map_or(AlarmState::Ok, alarm_state);
    let alarm = if bug == Bug::AlarmUnknownIsOk && alarm != AlarmState::Alarm { AlarmState::Ok } else { alarm };
    let since = (alarm == AlarmState::Ok).then(|| nature.true_wall_at(ok_since));
    facts.alarms = wanted.alarms.iter().map(|name| (name.clone(), Alarm { state: alarm.clone(), since })).collect();
    facts
}

/// How an alarm is that is not OK from a true time on: any way that is not.
fn alarm_state(from: u64) -> AlarmState {
    match from % 4 {
        0 => AlarmState::Missing,
        1 => AlarmState::Unknown("NEW".to_owned()),
        2 => AlarmState::InsufficientData,
        _ => AlarmState::Alarm,
    }
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

/// How long something may have been so until a start that it forbids is not called for any more, in milliseconds, where what is
/// read of it is good for so long.
pub fn known_for(good_for: SignedDuration) -> u64 {
    u64::try_from(good_for.as_millis()).expect("a length") + PASS_MS + AWAY_MS + 2 * APART_MS
}

/// Whether no clock was set between two true times: then an agent knows how old is what it read.
pub fn is_steady(evidence: &Evidence<'_>, since: u64, at: u64) -> bool {
    !evidence.world.nature.steps().iter().any(|step| (since..=at).contains(&step.at))
}

/// No start is called for while something has been amiss for longer than what was read of it is good for, as far as an agent
/// can know whose clock steps.
fn in_truth(evidence: &Evidence<'_>, found: &mut Vec<String>) {
    let age = known_for(PLACE_FACTS_MAX_AGE);
    let asked = asked(evidence);
    evidence.world.fis.with(|state| {
        for call in state.calls.iter().filter(|call| call.operation == "StartExperiment") {
            let since = call.at.saturating_sub(age);
            let Some(run) = call.run.as_ref().and_then(|run| evidence.runs.get(run)) else { continue };
            if !is_steady(evidence, since, call.at) {
                continue;
            }
            let lasted = |times: &Times| times.iter().filter(|(from, until)| *from < since && call.at < *until).count();
            let about = evidence.rules_between(evidence.began(since), call.at);
            let mut forbids = |promise, is_amiss: bool, asks: &dyn Fn(&Rules) -> bool| {
                if is_amiss && about.iter().all(|rules| asks(rules)) {
                    found.push(format!("{promise}: {} is started at {} ms against the truth", run.id, call.at));
                }
            };
            let amiss = &state.amiss;
            forbids("lever", lasted(&amiss.engaged) > 0, &|_| true);
            forbids("account", lasted(&amiss.strange) > 0, &|rules| rules.limits.accounts.is_some());
            let has_health = |rules: &Rules| rules.experiments.get(&run.experiment).is_some_and(|e| e.health.is_some());
            forbids("health", lasted(&amiss.alarmed) > 0, &has_health);
            let active = lasted(&amiss.others) + ours_beside(evidence, &asked, &run.id, call.at);
            let is_full = |rules: &Rules| rules.limits.max_active.is_some_and(|limit| active >= limit as usize);
            forbids("crowd", active > 0, &is_full);
        }
    });
}

/// Every decision to start, in the order of the journal: when in true time, and of which run.
fn asked(evidence: &Evidence<'_>) -> Vec<(u64, RunId)> {
    evidence.world.store.with(|tables| {
        let asks =
            tables.journal.iter().filter(|(_, entry)| matches!(entry.observation, Observation::StartAsked { .. }));
        asks.map(|(ms, entry)| (*ms, entry.run.clone())).collect()
    })
}

/// How many experiments go on, when a run is started, in its account and Region of whose start it was known when its own was
/// decided on, by whatever role.
fn ours_beside(evidence: &Evidence<'_>, asked: &[(u64, RunId)], run: &RunId, at: u64) -> usize {
    let Some(decided) = asked.iter().rposition(|(ms, of)| of == run && *ms <= at) else { return 0 };
    let place = evidence.journal[run].iter().rev().find_map(|(ms, _, seen)| match seen {
        Observation::StartAsked { place, .. } if *ms <= at => Some(place),
        _ => None,
    });
    let begun = |e: &&Experiment| asked[..decided].iter().any(|(_, of)| *of == e.run());
    let is_here = |e: &&Experiment| place.is_some_and(|place| are_one(&e.place, place));
    let goes_on = |e: &&Experiment| e.created_at <= at && !e.has_ended(at) && !e.is_forgotten && e.run() != *run;
    evidence.experiments.iter().filter(goes_on).filter(is_here).filter(begun).count()
}
