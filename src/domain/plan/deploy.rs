//! Deployments: whether a run is still about what is deployed, and which running run it supersedes.
//!
//! What is remembered of a key ([`Deployed`]) decides, not the other rows: also a newer deployment that was skipped makes an
//! older run pointless.

use jiff::Timestamp;

use super::guards::{self, Case, Judgement};
use crate::domain::{
    civil::later,
    deployment::{Deployed, Deployment, Known, Supersede},
    react::LOOK_INTERVAL,
    run::{Run, RunState, SkipReason},
};

/// What is remembered of what a run is about.
fn known<'a>(case: &'a Case<'_>) -> Option<(&'a Deployment, &'a Deployed)> {
    let deployment = case.run.trigger.deployment()?;
    Some((deployment, case.snapshot.deployed.get(&Deployed::key(case.run)?)?))
}

/// Another run of the key, if the row names one.
fn other<'a>(case: &Case<'_>, known: Option<&'a Known>) -> Option<&'a Known> {
    known.filter(|known| known.run != case.run.id)
}

/// Asks whether the run is about the newest deployment of its key, and whether that version, or another one too short a time
/// ago, has been started already.
pub(super) fn deployment(case: &Case<'_>) -> Judgement {
    let Some((deployment, row)) = known(case) else { return Judgement::Clear };
    match superseded(case, row) {
        Judgement::Clear => repeated(case, deployment, row),
        other => other,
    }
}

fn superseded(case: &Case<'_>, row: &Deployed) -> Judgement {
    match other(case, row.newest.as_ref()) {
        Some(by) => Judgement::Skip(SkipReason::Superseded { by: by.run.clone(), version: by.version.clone() }),
        None => Judgement::Clear,
    }
}

fn repeated(case: &Case<'_>, deployment: &Deployment, row: &Deployed) -> Judgement {
    let Some(begun) = other(case, row.begun.as_ref()) else { return Judgement::Clear };
    // Nobody knows yet whether anything comes of that start; if nothing does, it was none.
    let is_unknown = |going: &&Run| going.id == begun.run && matches!(going.state, RunState::Starting { .. });
    if case.going.iter().any(is_unknown) {
        return Judgement::Wait(later(case.now, LOOK_INTERVAL));
    }
    if let Some(version) = deployment.version.as_ref().filter(|version| begun.version.as_ref() == Some(version)) {
        return Judgement::Skip(SkipReason::Repeated { run: begun.run.clone(), version: version.clone() });
    }
    let until = later(begun.at, case.run.trigger.terms().cool_down);
    // A start that lies ahead was noted before the clock was set back, and says nothing.
    if (begun.at..until).contains(&case.now.max(not_before(case))) {
        return Judgement::Skip(SkipReason::CoolingDown { after: begun.run.clone(), until });
    }
    Judgement::Clear
}

pub(super) fn input(case: &Case<'_>) -> String {
    let Some(deployment) = case.run.trigger.deployment() else { return "none".to_owned() };
    let version = deployment.version.as_deref().unwrap_or("without a version");
    let about = format!("`{}` {version}, of {}", deployment.key, deployment.order);
    let told = |known: &Known| {
        let version = known.version.as_deref().unwrap_or("without a version");
        format!("{version}, of {}, by run {}", known.order, known.run)
    };
    let row = known(case).map(|(_, row)| row);
    let newest = guards::found(row.and_then(|row| row.newest.as_ref()), told);
    let begun = guards::found(row.and_then(|row| row.begun.as_ref()), told);
    let cool_down = case.run.trigger.terms().cool_down;
    format!("{about}; newest known: {newest}; last begun: {begun}; cool-down {cool_down:#}")
}

/// When the run may start at the earliest: further events of the key postpone it by settling anew, but not for ever.
pub(super) fn not_before(case: &Case<'_>) -> Timestamp {
    let of_this = known(case).filter(|(_, row)| row.newest.as_ref().is_some_and(|newest| newest.run == case.run.id));
    of_this.and_then(|(_, row)| row.change).map_or(case.run.not_before, |change| change.until)
}

/// Asks whether the event is too old by now. Time that a run was allowed to wait is not held against it.
pub(super) fn freshness(case: &Case<'_>) -> Judgement {
    let Some(fresh_until) = case.run.trigger.terms().fresh_until else { return Judgement::Clear };
    let until = case.run.waited_until.map_or(fresh_until, |waited| waited.max(fresh_until));
    if case.now <= until { Judgement::Clear } else { Judgement::Skip(SkipReason::Stale { fresh_until: until }) }
}

pub(super) fn freshness_input(case: &Case<'_>) -> String {
    guards::found(case.run.trigger.terms().fresh_until, |until| format!("the event is fresh until {until}"))
}

/// The running run of the same key that this one supersedes, if its trigger asks for that.
pub(super) fn predecessor<'a>(case: &'a Case<'_>) -> Option<&'a Run> {
    if case.run.trigger.terms().supersede != Supersede::Running {
        return None;
    }
    let key = Deployed::key(case.run)?;
    case.going.iter().copied().find(|going| going.id != case.run.id && Deployed::key(going).as_ref() == Some(&key))
}
