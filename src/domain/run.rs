//! Runs: one attempt at an experiment each, from its trigger to its recorded end.
//!
//! Pure. A run changes only through [`Run::apply`]; every observation applied is also its journal entry, so the journal
//! explains every row. What to do next is not decided here but in [`crate::domain::plan`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    experiment::Place,
    fis::{FailureClass, FisExperiment},
    ids::{ExperimentName, RunId, ScheduleName, WindowName},
    outcome::Outcome,
    template::TemplateFacts,
};

/// One attempt at an experiment, also when it is skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Identity, derived from `experiment` and `trigger`.
    pub id: RunId,
    /// Which experiment.
    pub experiment: ExperimentName,
    /// Why it exists.
    pub trigger: Trigger,
    /// When it was recorded.
    pub opened_at: Timestamp,
    /// It may not start before this instant (inclusive).
    pub not_before: Timestamp,
    /// It may not start after this instant (inclusive).
    pub start_by: Timestamp,
    /// Until when it may wait for a blackout to lift; `None` when it is skipped instead.
    pub hold_until: Option<Timestamp>,
    /// What is known of its template.
    pub facts: Option<TemplateFacts>,
    /// The FIS experiment inside it as last seen.
    pub fis: Option<FisExperiment>,
    /// Where it stands.
    pub state: RunState,
    /// How often it changed; the store refuses a write that was computed from an older one.
    pub revision: u64,
}

/// Why a run exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trigger {
    /// A schedule named an instant.
    Slot {
        /// Which schedule.
        schedule: ScheduleName,
        /// Which instant.
        at: Timestamp,
    },
    /// A deployment event arrived.
    Event {
        /// `source` of the event.
        source: String,
        /// `id` of the event.
        event_id: String,
        /// `detail-type` of the event.
        detail_type: String,
        /// When it was received.
        received_at: Timestamp,
        /// `time` of the event, where it has a readable one.
        event_time: Option<Timestamp>,
        /// Trace that the sender belonged to.
        parent: Option<TraceParent>,
    },
    /// Somebody asked.
    Manual {
        /// Identity of the request, from the caller: a repeated request is the same run.
        request: String,
        /// Who asked.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

/// W3C trace context of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceParent {
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Id of the parent span.
    pub span_id: [u8; 8],
    /// Whether the sender sampled the trace.
    pub sampled: bool,
}

impl Trigger {
    /// Returns the text that identifies this trigger among all triggers of an experiment.
    pub fn key(&self) -> String {
        match self {
            Self::Slot { schedule, at } => format!("slot:{schedule}:{at}"),
            Self::Event { source, event_id, .. } => format!("event:{source}:{event_id}"),
            Self::Manual { request, .. } => format!("manual:{request}"),
        }
    }

    /// Returns the kind, as metrics and tables name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slot { .. } => "slot",
            Self::Event { .. } => "event",
            Self::Manual { .. } => "manual",
        }
    }
}

/// Where a run stands. Each variant holds what is true only then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "kebab-case")]
pub enum RunState {
    /// Recorded, not judged yet.
    Requested,
    /// Waiting for the rollout to come to rest.
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
        /// What is known of the last call.
        doubt: Doubt,
    },
    /// The FIS experiment exists and has not ended.
    Running {
        /// Where.
        place: Place,
        /// When we first saw it.
        since: Timestamp,
        /// How it is watched.
        watch: Watch,
    },
    /// We asked FIS to stop it.
    Stopping {
        /// Where.
        place: Place,
        /// When we first saw it.
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
    },
}

/// How an experiment is watched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// When FIS last answered or failed to.
    pub asked_at: Option<Timestamp>,
    /// Polls that failed in a row.
    pub failures: u32,
    /// When the first of them failed.
    pub failing_since: Option<Timestamp>,
    /// How the last of them failed.
    pub last_failure: Option<FailureClass>,
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
    },
    /// FIS answered it.
    Taken,
}

/// Why a run waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum HoldReason {
    /// A window is or would be in the way.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
    },
    /// The template could not be read now.
    TemplateUnread {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
        /// Reads that failed in a row, counting this one.
        failures: u32,
    },
}

/// Why we stop, or FIS stopped, an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum StopCause {
    /// One of the template's stop conditions (AWS's alarm).
    StopCondition,
    /// The safety lever was engaged.
    SafetyLever,
    /// An operator asked us.
    Operator {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
    /// All chaos was halted.
    Halt {
        /// Who.
        by: String,
    },
    /// A blackout opens, or an allowed window ends.
    Closed {
        /// Which.
        window: WindowName,
    },
    /// It went on longer than the experiment's `max_duration`.
    MaxDuration,
    /// The agent shuts down and is told to leave nothing behind.
    Shutdown,
    /// Somebody else called StopExperiment, or nobody can tell.
    Outside,
}

/// Why a run was never started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "kebab-case")]
pub enum SkipReason {
    /// Its slot and the ones up to `through` passed unseen and are not made up for.
    Missed {
        /// The last of them (inclusive).
        through: Timestamp,
        /// How many, up to a limit.
        count: u32,
    },
    /// It could not start within its deadline.
    Late {
        /// The deadline.
        start_by: Timestamp,
        /// What it waited for last.
        waited_for: Option<HoldReason>,
    },
    /// All chaos is halted.
    Halted {
        /// By whom.
        by: String,
    },
    /// A window is open.
    Closed {
        /// Which.
        window: WindowName,
        /// When it lifts, if known.
        until: Option<Timestamp>,
    },
    /// It could still be running when a window opens.
    WouldCross {
        /// Which.
        window: WindowName,
        /// When that opens.
        opens: Timestamp,
        /// When the run would have ended at the latest, the time to stop it included.
        ends: Timestamp,
    },
    /// Another run of the experiment is going on.
    Overlap {
        /// Which.
        with: RunId,
    },
    /// The template cannot be used: missing, denied, ambiguous.
    Template {
        /// Kind of failure.
        class: FailureClass,
        /// The failure's own words.
        message: String,
    },
    /// The experiment is no longer in the configuration.
    Removed,
    /// An operator took it back before it was started.
    Withdrawn {
        /// Who.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

impl SkipReason {
    /// Returns the name used in metrics, events and filters.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Missed { .. } => "missed",
            Self::Late { .. } => "late",
            Self::Halted { .. } => "halted",
            Self::Closed { .. } => "closed",
            Self::WouldCross { .. } => "would-cross",
            Self::Overlap { .. } => "overlap",
            Self::Template { .. } => "template",
            Self::Removed => "removed",
            Self::Withdrawn { .. } => "withdrawn",
        }
    }
}

/// Something that happened to a run: what [`Run::apply`] takes and the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "observed", rename_all = "kebab-case")]
pub enum Observation {
    /// The run was recorded (a journal entry only, never applied).
    Opened,
    /// The template was read.
    TemplateRead {
        /// What it says.
        facts: TemplateFacts,
    },
    /// It was judged and waits.
    Held {
        /// Why.
        reason: HoldReason,
        /// When it is judged again.
        look_at: Timestamp,
    },
    /// It was judged and is not run.
    Skipped {
        /// Why.
        reason: SkipReason,
    },
    /// StartExperiment is about to be called.
    StartAsked {
        /// Where.
        place: Place,
        /// `EXT…`.
        template_id: String,
    },
    /// StartExperiment was refused and may be tried again.
    StartRefused {
        /// Why.
        class: FailureClass,
        /// AWS's words.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// StartExperiment failed in a way that leaves its effect open.
    StartUnclear {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
        /// When to look for the experiment by tag.
        look_at: Timestamp,
    },
    /// A look by tag found no experiment of this run.
    NotFound,
    /// A look by tag failed.
    LookFailed {
        /// How.
        class: FailureClass,
        /// When to look again.
        look_at: Timestamp,
    },
    /// The FIS experiment exists: FIS answered the start, or a look by tag found it.
    Started {
        /// It.
        fis: FisExperiment,
        /// Whether it was found by tag rather than answered.
        adopted: Adopted,
    },
    /// FIS told how the experiment is.
    Polled {
        /// It.
        fis: FisExperiment,
    },
    /// FIS did not tell.
    PollFailed {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
    },
    /// StopExperiment is about to be called.
    StopAsked {
        /// Why.
        cause: StopCause,
    },
    /// FIS took the stop request.
    StopTaken,
    /// The stop request failed.
    StopFailed {
        /// How.
        class: FailureClass,
        /// The failure's words.
        message: String,
        /// When to try again.
        retry_at: Timestamp,
    },
    /// It ended.
    Finished {
        /// How.
        outcome: Outcome,
    },
}

/// Whether a FIS experiment was found by its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopted {
    /// FIS answered StartExperiment.
    No,
    /// It was found by tag after a lost answer or a crash.
    ByTag,
}

/// An observation that cannot follow the state that a run is in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("run {run} is {state} and cannot take `{observation}`")]
pub struct InvalidTransition {
    /// Which run.
    pub run: RunId,
    /// The state's name.
    pub state: &'static str,
    /// The observation's name.
    pub observation: &'static str,
}

impl Run {
    /// Opens a run: its identity follows from the experiment and the trigger.
    pub fn open(experiment: ExperimentName, trigger: Trigger, state: RunState, times: RunTimes) -> Self {
        let RunTimes { opened_at, not_before, start_by, hold_until } = times;
        Self {
            id: RunId::derive(&experiment, &trigger.key()),
            experiment,
            trigger,
            opened_at,
            not_before,
            start_by,
            hold_until,
            facts: None,
            fis: None,
            state,
            revision: 0,
        }
    }

    /// Applies an observation made at an instant.
    ///
    /// # Errors
    /// [`InvalidTransition`] when it cannot follow the run's state; the run is not changed then.
    pub fn apply(mut self, observation: &Observation, at: Timestamp) -> Result<Self, InvalidTransition> {
        use Observation as O;
        let refused =
            InvalidTransition { run: self.id.clone(), state: self.state.as_str(), observation: observation.as_str() };
        match observation {
            O::TemplateRead { facts } => self.facts = Some(facts.clone()),
            O::Started { fis, .. } | O::Polled { fis } => self.fis = Some(fis.clone()),
            _ => {}
        }
        self.state = self.state.after(observation, at).ok_or(refused)?;
        self.revision += 1;
        Ok(self)
    }

    /// Returns what opening the run amounts to: a run may be over as soon as it is recorded.
    pub fn opening(&self) -> Observation {
        match &self.state {
            RunState::Skipped { reason, .. } => Observation::Skipped { reason: reason.clone() },
            _ => Observation::Opened,
        }
    }

    /// Tells whether nothing more will happen to this run.
    pub fn is_over(&self) -> bool {
        matches!(self.state, RunState::Finished { .. } | RunState::Skipped { .. })
    }

    /// Tells whether a FIS experiment of this run exists or may exist.
    pub fn may_be_running(&self) -> bool {
        matches!(self.state, RunState::Starting { .. } | RunState::Running { .. } | RunState::Stopping { .. })
    }
}

/// The instants that bound a run's start; see the fields of [`Run`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTimes {
    /// See [`Run::opened_at`].
    pub opened_at: Timestamp,
    /// See [`Run::not_before`].
    pub not_before: Timestamp,
    /// See [`Run::start_by`].
    pub start_by: Timestamp,
    /// See [`Run::hold_until`].
    pub hold_until: Option<Timestamp>,
}

/// The fields of [`RunState::Starting`], to compute what follows it.
struct StartKnown {
    place: Place,
    template_id: String,
    attempt: u32,
    asked_at: Timestamp,
    unclear_at: Option<Timestamp>,
    doubt: Doubt,
}

impl StartKnown {
    fn apply(mut self, observation: &Observation, at: Timestamp) -> Option<RunState> {
        use Observation as O;
        self.doubt = match (observation, &self.doubt) {
            (O::StartAsked { .. }, Doubt::NotFound { .. } | Doubt::Refused { .. }) => {
                self.attempt = self.attempt.saturating_add(1);
                self.asked_at = at;
                Doubt::Unanswered { look_at: at }
            }
            (O::StartRefused { class, message, retry_at }, Doubt::Unanswered { .. }) => {
                Doubt::Refused { class: *class, message: message.clone(), retry_at: *retry_at }
            }
            (O::StartUnclear { look_at, .. } | O::LookFailed { look_at, .. }, Doubt::Unanswered { .. }) => {
                self.unclear_at = Some(self.asked_at);
                Doubt::Unanswered { look_at: *look_at }
            }
            // A look that fails or finds nothing after a refusal says nothing new about the refused call.
            (O::LookFailed { look_at, .. }, _) => Doubt::Unanswered { look_at: *look_at },
            (O::NotFound, Doubt::Unanswered { .. }) => {
                self.unclear_at = Some(self.asked_at);
                Doubt::NotFound { looked_at: at }
            }
            (O::NotFound, _) => Doubt::NotFound { looked_at: at },
            (O::Started { .. }, _) => {
                let watch = Watch { asked_at: Some(at), ..Watch::default() };
                return Some(RunState::Running { place: self.place, since: at, watch });
            }
            (O::Skipped { reason }, Doubt::NotFound { .. } | Doubt::Refused { .. }) => {
                return Some(RunState::Skipped { reason: reason.clone(), at });
            }
            (O::Finished { outcome }, Doubt::NotFound { .. } | Doubt::Refused { .. }) => {
                return Some(RunState::Finished { outcome: outcome.clone(), at });
            }
            _ => return None,
        };
        let Self { place, template_id, attempt, asked_at, unclear_at, doubt } = self;
        Some(RunState::Starting { place, template_id, attempt, asked_at, unclear_at, doubt })
    }
}

impl Watch {
    fn after(self, observation: &Observation, at: Timestamp) -> Self {
        match observation {
            Observation::PollFailed { class, .. } => Self {
                asked_at: Some(at),
                failures: self.failures.saturating_add(1),
                failing_since: self.failing_since.or(Some(at)),
                last_failure: Some(*class),
            },
            _ => Self { asked_at: Some(at), ..Self::default() },
        }
    }
}

impl RunState {
    /// Computes the state that follows; `None` when the observation cannot be made in this one.
    fn after(self, observation: &Observation, at: Timestamp) -> Option<Self> {
        use Observation as O;
        Some(match (self, observation) {
            (state @ (Self::Requested | Self::Settling | Self::Held { .. }), O::TemplateRead { .. }) => state,
            (Self::Requested | Self::Settling | Self::Held { .. }, O::Held { reason, look_at }) => {
                Self::Held { reason: reason.clone(), look_at: *look_at }
            }
            (Self::Requested | Self::Settling | Self::Held { .. }, O::Skipped { reason }) => {
                Self::Skipped { reason: reason.clone(), at }
            }
            (Self::Requested | Self::Settling | Self::Held { .. }, O::StartAsked { place, template_id }) => {
                Self::Starting {
                    place: place.clone(),
                    template_id: template_id.clone(),
                    attempt: 1,
                    asked_at: at,
                    unclear_at: None,
                    doubt: Doubt::Unanswered { look_at: at },
                }
            }
            (Self::Starting { place, template_id, attempt, asked_at, unclear_at, doubt }, observation) => {
                let known = StartKnown { place, template_id, attempt, asked_at, unclear_at, doubt };
                return known.apply(observation, at);
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
                request: StopRequestState::Due { at, failures: 0 },
                watch,
            },
            (Self::Stopping { place, since, cause, asked_at, request, watch }, observation) => {
                let (request, watch) = match (observation, request) {
                    (O::Polled { .. } | O::PollFailed { .. }, request) => (request, watch.after(observation, at)),
                    (O::StopTaken, _) => (StopRequestState::Taken, watch),
                    (O::StopFailed { retry_at, .. }, StopRequestState::Due { failures, .. }) => {
                        (StopRequestState::Due { at: *retry_at, failures: failures.saturating_add(1) }, watch)
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

impl Observation {
    /// Returns the observation's name, as the journal and messages show it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::TemplateRead { .. } => "template-read",
            Self::Held { .. } => "held",
            Self::Skipped { .. } => "skipped",
            Self::StartAsked { .. } => "start-asked",
            Self::StartRefused { .. } => "start-refused",
            Self::StartUnclear { .. } => "start-unclear",
            Self::NotFound => "not-found",
            Self::LookFailed { .. } => "look-failed",
            Self::Started { .. } => "started",
            Self::Polled { .. } => "polled",
            Self::PollFailed { .. } => "poll-failed",
            Self::StopAsked { .. } => "stop-asked",
            Self::StopTaken => "stop-taken",
            Self::StopFailed { .. } => "stop-failed",
            Self::Finished { .. } => "finished",
        }
    }
}

/// One entry of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Position in the journal, rising, never reused.
    pub seq: i64,
    /// When it was observed.
    pub at: Timestamp,
    /// Which run.
    pub run: RunId,
    /// What happened.
    pub observation: Observation,
}
