//! Reactions: what an answer of FIS, or its absence, means for a run.
//!
//! Pure. The shell calls FIS and hands the answer here; the result is the observation to record.

use jiff::{SignedDuration, Timestamp};

use super::{
    civil::later,
    fis::{CallFailure, FailureClass, FisExperiment},
    place::PlaceFacts,
    run::{Adopted, Doubt, HoldReason, Observation, Run, RunState, SkipReason, StopRequestState},
    template::TemplateFacts,
};

/// Time between two looks by tag, and before the same token is used again.
pub const LOOK_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// First wait after a refusal; doubled with every further one.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(2);
/// Longest wait after a refusal.
pub const BACKOFF_LIMIT: SignedDuration = SignedDuration::from_mins(1);
/// Returns the wait before the next try after so many failures in a row (at least one).
pub fn backoff(failures: u32) -> SignedDuration {
    let doublings = failures.saturating_sub(1).min(10);
    (BACKOFF_FIRST * 2_i32.pow(doublings)).min(BACKOFF_LIMIT)
}

/// What reading the template means.
pub fn template(run: &Run, answer: Result<TemplateFacts, CallFailure>, at: Timestamp) -> Observation {
    let CallFailure { class, message } = match answer {
        Ok(facts) => return Observation::TemplateRead { facts },
        Err(failure) => failure,
    };
    if let RunState::Starting { .. } = run.state {
        // A start was asked for already: whatever the template's failure is, it must first be known what that start did.
        return Observation::LookFailed { class, look_at: later(at, LOOK_INTERVAL) };
    }
    if !class.is_transient() {
        return Observation::Skipped { reason: SkipReason::Template { class, message } };
    }
    let failures = match &run.state {
        RunState::Held { reason: HoldReason::TemplateUnread { failures, .. }, .. } => failures.saturating_add(1),
        _ => 1,
    };
    let reason = HoldReason::TemplateUnread { class, message, failures };
    Observation::Held { reason, look_at: later(at, backoff(failures)) }
}

/// What asking of a place means. Whatever the failure is, the run waits: somebody may mend it in time.
pub fn place(run: &Run, answer: Result<PlaceFacts, CallFailure>, at: Timestamp) -> Observation {
    let CallFailure { class, message } = match answer {
        Ok(facts) => return Observation::Probed { facts: Box::new(facts) },
        Err(failure) => failure,
    };
    if let RunState::Starting { .. } = run.state {
        // As with the template: it must first be known what that start did.
        return Observation::LookFailed { class, look_at: later(at, LOOK_INTERVAL) };
    }
    let failures = match &run.state {
        RunState::Held { reason: HoldReason::PlaceUnread { failures, .. }, .. } => failures.saturating_add(1),
        _ => 1,
    };
    Observation::Held {
        reason: HoldReason::PlaceUnread { class, message, failures },
        look_at: later(at, backoff(failures)),
    }
}

/// What the answer to StartExperiment means.
pub fn start(run: &Run, answer: Result<FisExperiment, CallFailure>, at: Timestamp) -> Observation {
    let CallFailure { class, message } = match answer {
        Ok(fis) => return Observation::Started { fis, adopted: Adopted::No },
        Err(failure) => failure,
    };
    let attempt = match &run.state {
        RunState::Starting { attempt, .. } => *attempt,
        _ => 1,
    };
    if class.had_no_effect() {
        Observation::StartRefused { class, message, retry_at: later(at, backoff(attempt)) }
    } else {
        Observation::StartUnclear { class, message, look_at: at }
    }
}

/// What a look by tag means.
pub fn look(run: &Run, answer: Result<Option<FisExperiment>, CallFailure>, at: Timestamp) -> Observation {
    match answer {
        Ok(Some(fis)) => Observation::Started { fis, adopted: Adopted::ByTag },
        Ok(None) => Observation::NotFound,
        Err(CallFailure { class, .. }) => {
            let failed = match &run.state {
                RunState::Starting { doubt: Doubt::Unanswered { failed, .. }, .. } => failed.saturating_add(1),
                _ => 1,
            };
            Observation::LookFailed { class, look_at: later(at, backoff(failed).max(LOOK_INTERVAL)) }
        }
    }
}

/// What a poll means.
pub fn poll(answer: Result<FisExperiment, CallFailure>) -> Observation {
    match answer {
        Ok(fis) => Observation::Polled { fis },
        Err(CallFailure { class, message }) => Observation::PollFailed { class, message },
    }
}

/// What the answer to StopExperiment means. FIS may not know the experiment any more, or refuse because it has ended:
/// the next poll tells.
pub fn stop(run: &Run, answer: Result<(), CallFailure>, at: Timestamp) -> Observation {
    match answer {
        Ok(()) | Err(CallFailure { class: FailureClass::Invalid, .. }) => Observation::StopTaken,
        Err(CallFailure { class, message }) => {
            let failures = match &run.state {
                RunState::Stopping { request: StopRequestState::Due { failures, .. }, .. } => {
                    failures.saturating_add(1)
                }
                _ => 1,
            };
            Observation::StopFailed { class, message, retry_at: later(at, backoff(failures)) }
        }
    }
}
