//! States: where a run stands, and what follows an observation.
//!
//! Pure. Each variant holds what is true only then; what cannot follow is refused.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{HoldReason, Observation, SkipReason, StopCause};
use crate::domain::{
    experiment::Place,
    fis::{FailureClass, FisExperiment, FisStatus},
    outcome::Outcome,
};

/// Where a run stands. Each variant holds what is true only then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum RunState {
    /// Recorded, not judged yet.
    Requested,
    /// Waiting for the rollout to come to rest, or for the time that its schedule drew.
    Settling,
    /// Judged, may not start now, judged again later.
    Held {
        /// Why.
        reason: HoldReason,
        /// When it is judged again.
        look_at: Timestamp,
    },
    /// StartExperiment was or is about to be called; it may have been accepted.
    Starting {
        /// Where.
        place: Place,
        /// `EXT…`.
        template_id: String,
        /// How often it was called, counting from 1.
        attempt: u32,
        /// When it was last called.
        asked_at: Timestamp,
        /// When the latest call was made whose effect is not known, if there is one.
        unclear_at: Option<Timestamp>,
        /// When the first such call was made.
        unclear_since: Option<Timestamp>,
        /// Looks by tag that found nothing of the latest such call.
        #[serde(default)]
        looks: u32,
        /// What is known of the last call.
        doubt: Doubt,
    },
    /// The FIS experiment exists and has not ended.
    Running {
        /// Where.
        place: Place,
        /// When it began.
        since: Timestamp,
        /// How it is watched.
        watch: Watch,
    },
    /// We asked FIS to stop it.
    Stopping {
        /// Where.
        place: Place,
        /// When it began.
        since: Timestamp,
        /// Why.
        cause: StopCause,
        /// When we first wanted it stopped.
        asked_at: Timestamp,
        /// Whether FIS took the request, and when the next one is due otherwise.
        request: StopRequestState,
        /// How it is watched.
        watch: Watch,
    },
    /// It ended.
    Finished {
        /// How.
        outcome: Outcome,
        /// When.
        at: Timestamp,
    },
    /// It was never started.
    Skipped {
        /// Why.
        reason: SkipReason,
        /// When.
        at: Timestamp,
    },
}

/// What is known of the last call of StartExperiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "known", rename_all = "kebab-case")]
pub enum Doubt {
    /// No readable answer was recorded: an experiment may exist.
    Unanswered {
        /// When to look for it.
        look_at: Timestamp,
        /// Looks by tag that failed in a row.
        #[serde(default)]
        failed: u32,
        /// When a look by tag, because of an earlier call without an answer, last found none.
        #[serde(default)]
        looked_at: Option<Timestamp>,
    },
    /// A look by tag found none.
    NotFound {
        /// When that look was.
        looked_at: Timestamp,
    },
    /// FIS refused, so there is none.
    Refused {
        /// Why.
        class: FailureClass,
        /// AWS's words.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
        /// When a look by tag, because of an earlier call without an answer, last found none.
        #[serde(default)]
        looked_at: Option<Timestamp>,
    },
}

impl Doubt {
    /// Returns when a look by tag last found none, if one has since anything about an effect was unclear.
    pub fn looked_at(&self) -> Option<Timestamp> {
        match self {
            Self::NotFound { looked_at } => Some(*looked_at),
            Self::Unanswered { looked_at, .. } | Self::Refused { looked_at, .. } => *looked_at,
        }
    }
}

/// How an experiment is watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// When FIS last answered or failed to.
    pub asked_at: Option<Timestamp>,
    /// Polls that failed in a row.
    pub failures: u32,
    /// How many of them were told that there is no such experiment.
    pub denials: u32,
    /// When the first of those was.
    pub denied_since: Option<Timestamp>,
    /// How the last of them failed.
    pub last_failure: Option<FailureClass>,
    /// Answers in a row with a status that this version does not know.
    #[serde(default)]
    pub unknown: u32,
}

/// Whether FIS took a stop request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum StopRequestState {
    /// To be sent at this instant, after so many failures.
    Due {
        /// When.
        at: Timestamp,
        /// Calls that failed.
        failures: u32,
        /// Since when FIS has refused it as denied; what else failed since does not prove that it would be taken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        denied_since: Option<Timestamp>,
    },
    /// FIS answered it.
    Taken {
        /// When.
        at: Timestamp,
    },
}

/// The fields of [`RunState::Starting`], to compute what follows it.
struct StartKnown {
    place: Place,
    template_id: String,
    attempt: u32,
    asked_at: Timestamp,
    unclear_at: Option<Timestamp>,
    unclear_since: Option<Timestamp>,
    looks: u32,
    doubt: Doubt,
}

impl StartKnown {
    /// Notes that nobody can tell whether the last call had an effect.
    fn is_unclear(&mut self) {
        if self.unclear_at != Some(self.asked_at) {
            self.looks = 0;
        }
        self.unclear_at = Some(self.asked_at);
        self.unclear_since.get_or_insert(self.asked_at);
    }

    /// When an experiment that was seen at an instant began: FIS's word for it, but not before its run was there, which a
    /// restored store may know longer than the call. If that is not over yet the two clocks differ, and it is the first call
    /// that can have begun it, so that it is never stopped too late.
    fn begun(&self, fis: &FisExperiment, due_from: Timestamp, seen_at: Timestamp) -> Timestamp {
        let asked = self.unclear_since.unwrap_or(self.asked_at);
        let told = fis.created_at.filter(|created| *created <= seen_at);
        // The clock was set back since it was asked for: nothing but FIS tells when that was.
        if asked > seen_at {
            return told.unwrap_or(seen_at);
        }
        told.map_or(asked, |created| created.max(due_from.min(asked)))
    }

    fn apply(mut self, observation: &Observation, due_from: Timestamp, at: Timestamp) -> Option<RunState> {
        use Observation as O;
        if matches!((observation, &self.doubt), (O::NotFound, Doubt::Unanswered { .. })) {
            self.is_unclear();
        }
        self.looks = self.looks.saturating_add(u32::from(*observation == O::NotFound));
        self.doubt = match (observation, &self.doubt) {
            (O::TemplateRead { .. } | O::Probed { .. }, doubt) => doubt.clone(),
            (O::StartAsked { .. }, Doubt::NotFound { .. } | Doubt::Refused { .. }) => {
                self.attempt = self.attempt.saturating_add(1);
                self.asked_at = at;
                Doubt::Unanswered { look_at: at, failed: 0, looked_at: self.doubt.looked_at() }
            }
            (O::StartRefused { class, message, retry_at }, &Doubt::Unanswered { looked_at, .. }) => {
                Doubt::Refused { class: *class, message: message.clone(), retry_at: *retry_at, looked_at }
            }
            // Of a restored store that holds whatever was known before, and looks of before say nothing.
            (O::StartUnclear { look_at, .. }, _) => {
                self.is_unclear();
                self.looks = 0;
                Doubt::Unanswered { look_at: *look_at, failed: 0, looked_at: None }
            }
            (O::LookFailed { look_at, .. }, &Doubt::Unanswered { failed, looked_at, .. }) => {
                self.is_unclear();
                Doubt::Unanswered { look_at: *look_at, failed: failed.saturating_add(1), looked_at }
            }
            // Nothing came of a refused call; what failed after it says nothing else.
            (O::LookFailed { look_at, .. }, Doubt::Refused { class, message, looked_at, .. })
                if self.unclear_at.is_none() =>
            {
                let (class, message, looked_at) = (*class, message.clone(), *looked_at);
                Doubt::Refused { class, message, retry_at: *look_at, looked_at }
            }
            (O::LookFailed { look_at, .. }, doubt) => {
                Doubt::Unanswered { look_at: *look_at, failed: 1, looked_at: doubt.looked_at() }
            }
            (O::NotFound, Doubt::Unanswered { .. } | Doubt::NotFound { .. }) => Doubt::NotFound { looked_at: at },
            // A look after a refusal is about an earlier call; the refusal stands.
            (O::NotFound, Doubt::Refused { class, message, retry_at, .. }) => {
                Doubt::Refused { class: *class, message: message.clone(), retry_at: *retry_at, looked_at: Some(at) }
            }
            (O::Started { fis, .. }, _) => {
                let watch = Watch { asked_at: Some(at), ..Watch::default() };
                return Some(RunState::Running { since: self.begun(fis, due_from, at), place: self.place, watch });
            }
            (O::Skipped { reason }, Doubt::NotFound { .. } | Doubt::Refused { .. }) => {
                return Some(RunState::Skipped { reason: reason.clone(), at });
            }
            (O::Finished { outcome }, Doubt::NotFound { .. } | Doubt::Refused { .. })
            | (O::Finished { outcome: outcome @ Outcome::Lost { .. } }, Doubt::Unanswered { .. }) => {
                return Some(RunState::Finished { outcome: outcome.clone(), at });
            }
            _ => return None,
        };
        let Self { place, template_id, attempt, asked_at, unclear_at, unclear_since, looks, doubt } = self;
        Some(RunState::Starting { place, template_id, attempt, asked_at, unclear_at, unclear_since, looks, doubt })
    }
}

impl Watch {
    fn after(self, observation: &Observation, at: Timestamp) -> Self {
        match observation {
            Observation::PollFailed { class, .. } => {
                let is_denied = *class == FailureClass::NotFound;
                Self {
                    asked_at: Some(at),
                    failures: self.failures.saturating_add(1),
                    denials: self.denials.saturating_add(u32::from(is_denied)),
                    denied_since: self.denied_since.or(is_denied.then_some(at)),
                    last_failure: Some(*class),
                    unknown: self.unknown,
                }
            }
            Observation::Polled { fis } if matches!(fis.status, FisStatus::Unknown(_)) => {
                Self { asked_at: Some(at), unknown: self.unknown.saturating_add(1), ..Self::default() }
            }
            _ => Self { asked_at: Some(at), ..Self::default() },
        }
    }
}

impl RunState {
    /// Computes the state that follows in a run that was not there before an instant; `None` when the observation cannot be
    /// made in this one.
    pub(super) fn after(self, observation: &Observation, due_from: Timestamp, at: Timestamp) -> Option<Self> {
        use Observation as O;
        Some(match (self, observation) {
            (
                state @ (Self::Requested | Self::Settling | Self::Held { .. }),
                O::TemplateRead { .. } | O::Probed { .. },
            ) => state,
            (Self::Requested | Self::Settling | Self::Held { .. }, O::Held { reason, look_at }) => {
                Self::Held { reason: reason.clone(), look_at: *look_at }
            }
            (Self::Requested | Self::Settling | Self::Held { .. }, O::Skipped { reason }) => {
                Self::Skipped { reason: reason.clone(), at }
            }
            (Self::Requested | Self::Settling | Self::Held { .. }, O::StartAsked { place, template_id, .. }) => {
                Self::Starting {
                    place: place.clone(),
                    template_id: template_id.clone(),
                    attempt: 1,
                    asked_at: at,
                    unclear_at: None,
                    unclear_since: None,
                    looks: 0,
                    doubt: Doubt::Unanswered { look_at: at, failed: 0, looked_at: None },
                }
            }
            (
                Self::Starting { place, template_id, attempt, asked_at, unclear_at, unclear_since, looks, doubt },
                observation,
            ) => {
                let known =
                    StartKnown { place, template_id, attempt, asked_at, unclear_at, unclear_since, looks, doubt };
                return known.apply(observation, due_from, at);
            }
            (Self::Running { .. } | Self::Stopping { .. }, O::Finished { outcome }) => {
                Self::Finished { outcome: outcome.clone(), at }
            }
            (Self::Running { place, since, watch }, O::Polled { .. } | O::PollFailed { .. }) => {
                Self::Running { place, since, watch: watch.after(observation, at) }
            }
            (Self::Running { place, since, watch }, O::StopAsked { cause }) => Self::Stopping {
                place,
                since,
                cause: cause.clone(),
                asked_at: at,
                request: StopRequestState::Due { at, failures: 0, denied_since: None },
                watch,
            },
            (Self::Stopping { place, since, cause, asked_at, request, watch }, observation) => {
                let (request, watch) = match (observation, request) {
                    (O::Polled { .. } | O::PollFailed { .. }, request) => (request, watch.after(observation, at)),
                    (O::StopTaken, _) => (StopRequestState::Taken { at }, watch),
                    (O::StopFailed { class, retry_at, .. }, request) => {
                        let (failures, denied_since) = match request {
                            StopRequestState::Due { failures, denied_since, .. } => (failures, denied_since),
                            StopRequestState::Taken { .. } => (0, None),
                        };
                        let denied_since = denied_since.or((*class == FailureClass::Denied).then_some(at));
                        let failures = failures.saturating_add(1);
                        (StopRequestState::Due { at: *retry_at, failures, denied_since }, watch)
                    }
                    _ => return None,
                };
                Self::Stopping { place, since, cause, asked_at, request, watch }
            }
            _ => return None,
        })
    }

    /// Returns the state's name, as rows, tables and messages show it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Settling => "settling",
            Self::Held { .. } => "held",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Stopping { .. } => "stopping",
            Self::Finished { .. } => "finished",
            Self::Skipped { .. } => "skipped",
        }
    }
}
