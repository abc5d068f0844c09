//! What each action's time means to a run of it, from the shared catalogue.
//!
//! The catalogue tells hold, cap, instant, post-action and delay apart (AWS FIS user guide, fis-actions-reference). How
//! long work without a declared time takes is the simulator's own choice, and said so below.

use jiff::SignedDuration;

use super::{FailureCause, kubernetes};
use crate::{
    domain::catalogue::{self, Action, DurationKind},
    simulator::{
        cloudwatch::{AlarmState, Alarms},
        fis::template::ActionSpec,
    },
};

/// Time that a call without a hold time takes. The simulator's choice; AWS's own is some seconds.
pub(in crate::simulator::fis) const INSTANT_WORK: SignedDuration = SignedDuration::from_secs(1);

/// Part of `maxDuration` that capped work takes when the parameters do not tell. The simulator's choice.
const CAP_FRACTION: i32 = 3;

/// Time that stopped instances take to start again. The simulator's choice.
const RESTART: SignedDuration = SignedDuration::from_secs(30);

/// Time that a network takes to be restored after a disruption. The simulator's choice.
const NETWORK_RESTORATION: SignedDuration = SignedDuration::from_secs(10);

/// Spot instances get their notice so long before the interruption (AWS FIS user guide, fis-actions-reference).
const SPOT_NOTICE: SignedDuration = SignedDuration::from_mins(2);

/// Most of one action (AWS FIS user guide, fis-quotas).
pub(in crate::simulator::fis) const MAX_ACTION_DURATION: SignedDuration = SignedDuration::from_hours(12);

/// Reason users report for a capped action that takes too long.
const CAP_EXCEEDED: &str = "Action exceeded the specified maximum duration.";

/// How an action will go when nothing disturbs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator::fis) struct Course {
    /// Declared time from its start until its work is over.
    pub(in crate::simulator::fis) work: SignedDuration,
    /// Declared time of the post action behind it, which a stop does not spare.
    pub(in crate::simulator::fis) post: SignedDuration,
    /// Why it ends badly, if it does.
    pub(in crate::simulator::fis) failure: Option<FailureCause>,
}

impl Course {
    pub(in crate::simulator::fis) fn of(work: SignedDuration) -> Self {
        Self { work, post: SignedDuration::ZERO, failure: None }
    }

    fn then(self, post: SignedDuration) -> Self {
        Self { post, ..self }
    }

    pub(in crate::simulator::fis) fn failing(work: SignedDuration, reason: impl Into<String>) -> Self {
        // Which of AWS's codes these failures carry is not documented.
        let cause = FailureCause { code: "ConfigurationFailure".to_owned(), reason: reason.into() };
        Self { failure: Some(cause), ..Self::of(work) }
    }
}

/// Foresees the course of an action that starts now.
pub(in crate::simulator::fis) fn course(spec: &ActionSpec, alarms: &Alarms) -> Course {
    let known = catalogue::action(&spec.action_id);
    let declared = known.and_then(|action| declared_duration(action, spec));
    let kind = known.map_or(DurationKind::Instant, |action| action.duration_kind);
    match (kind, declared) {
        (DurationKind::Hold, Some(length)) if known.is_some_and(Action::has_post_action) => {
            Course::of(length).then(NETWORK_RESTORATION)
        }
        (DurationKind::Hold, Some(length)) => Course::of(length),
        (DurationKind::PostAction, Some(length)) => Course::of(length).then(RESTART),
        (DurationKind::DelayBeforeEffect, Some(length)) => {
            Course::of(length.saturating_sub(SPOT_NOTICE).max(INSTANT_WORK))
        }
        (DurationKind::Cap, Some(cap)) => capped(spec, cap),
        (_instant, _) if spec.action_id == "aws:cloudwatch:assert-alarm-state" => asserted(spec, alarms),
        (_instant, _) => Course::of(INSTANT_WORK),
    }
}

/// The time an action declares, if it does and it can be read.
pub(in crate::simulator::fis) fn declared_duration(action: &Action, spec: &ActionSpec) -> Option<SignedDuration> {
    let name = action.duration_parameter.as_deref()?;
    spec.parameters.get(name)?.parse().ok()
}

fn capped(spec: &ActionSpec, cap: SignedDuration) -> Course {
    let known = match kubernetes::work(spec) {
        kubernetes::Work::NotKubernetes | kubernetes::Work::NotTold => None,
        kubernetes::Work::Unsupported(reason) => return Course::failing(INSTANT_WORK.min(cap), reason),
        kubernetes::Work::Takes(time) => Some(time),
    };
    let work = known.unwrap_or(cap / CAP_FRACTION);
    if work > cap { Course::failing(cap, CAP_EXCEEDED) } else { Course::of(work) }
}

/// Looks at the alarms of aws:cloudwatch:assert-alarm-state. That the action fails when one is in none of the states, or
/// is not there, follows from its name; the words are the simulator's.
fn asserted(spec: &ActionSpec, alarms: &Alarms) -> Course {
    let listed = |name: &str| {
        let text = spec.parameters.get(name).map_or("", String::as_str);
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>()
    };
    let states = listed("alarmStates");
    for arn in listed("alarmArns") {
        match alarms.state_of(arn).map(AlarmState::as_str) {
            None => return Course::failing(INSTANT_WORK, format!("Alarm {arn} does not exist.")),
            Some(state) if !states.contains(&state) => {
                let text = format!("Alarm {arn} is in state {state}, not in {}.", states.join(" or "));
                return Course::failing(INSTANT_WORK, text);
            }
            Some(_) => {}
        }
    }
    Course::of(INSTANT_WORK)
}
