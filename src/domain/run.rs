//! Runs: one attempt at an experiment each, from its trigger to its recorded end.
//!
//! Pure. A run changes only through [`Run::apply`]; every observation applied is also its journal entry, so the journal
//! explains every row. What to do next is not decided here but in [`crate::domain::plan`].

mod journal;
mod reason;
mod state;
mod trigger;

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    journal::{Adopted, JournalEntry, Observation},
    reason::{Away, Conflict, HoldReason, SkipReason, StopCause},
    state::{Doubt, RunState, StopRequestState, Watch},
    trigger::{TraceParent, Trigger, WindowRule},
};
use super::{
    experiment::{Experiment, Labels, Limits, Place, Rules, Ties},
    fis::{FailureClass, FisExperiment},
    ids::{ExperimentName, RunId},
    ledger::Definition,
    place::PlaceFacts,
    template::TemplateFacts,
};

/// AWS's name of the call that stops an experiment.
pub const STOP_OPERATION: &str = "StopExperiment";

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
    /// Until when it may start (inclusive) though `start_by` has passed, since it had to wait for a blackout or its turn.
    #[serde(default)]
    pub waited_until: Option<Timestamp>,
    /// What is known of its template.
    pub facts: Option<TemplateFacts>,
    /// What is known of the place that it starts in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place_facts: Option<Box<PlaceFacts>>,
    /// What holds for it should its experiment leave the configuration, as of when its start was last asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ties: Option<Box<Ties>>,
    /// The FIS experiment inside it as last seen.
    pub fis: Option<FisExperiment>,
    /// Where it stands.
    pub state: RunState,
    /// How often it changed; the store refuses a write that was computed from an older one.
    pub revision: u64,
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
            waited_until: None,
            facts: None,
            place_facts: None,
            ties: None,
            fis: None,
            state,
            revision: 0,
        }
    }

    /// Returns the earliest instant at which anything of the run can have begun, whichever store knew of it.
    pub fn due_from(&self) -> Timestamp {
        match &self.trigger {
            Trigger::Slot { at, .. } | Trigger::Event { event_time: Some(at), .. } => (*at).min(self.opened_at),
            Trigger::Event { .. } | Trigger::Manual { .. } | Trigger::Backfill { .. } => self.opened_at,
        }
    }

    /// Applies an observation made at an instant.
    ///
    /// # Errors
    /// [`InvalidTransition`] when it cannot follow the run's state; the run is not changed then.
    pub fn apply(mut self, observation: &Observation, at: Timestamp) -> Result<Self, InvalidTransition> {
        self.take(observation, at)?;
        Ok(self)
    }

    /// As [`apply`](Self::apply), in place.
    ///
    /// # Errors
    /// [`InvalidTransition`] when it cannot follow the run's state; the run is not changed then.
    pub fn take(&mut self, observation: &Observation, at: Timestamp) -> Result<(), InvalidTransition> {
        use Observation as O;
        let Some(state) = self.state.clone().after(observation, self.due_from(), at) else {
            let (state, observation) = (self.state.as_str(), observation.as_str());
            return Err(InvalidTransition { run: self.id.clone(), state, observation });
        };
        match observation {
            O::TemplateRead { facts } => self.facts = Some(facts.clone()),
            O::Probed { facts } => self.place_facts = Some(facts.clone()),
            O::StartAsked { facts, place_facts, ties, .. } => {
                self.facts = facts.clone().or(self.facts.take());
                self.ties = ties.clone().or(self.ties.take());
                self.place_facts = place_facts.clone().or(self.place_facts.take());
            }
            O::Started { fis, .. } | O::Polled { fis } => self.fis = Some(fis.clone()),
            O::Held { reason, .. } => self.waited_until = self.waited_until.max(self.granted(reason)),
            _ => {}
        }
        self.state = state;
        self.revision += 1;
        Ok(())
    }

    /// Until when a run that is held for a reason may wait.
    fn granted(&self, reason: &HoldReason) -> Option<Timestamp> {
        match reason {
            HoldReason::Closed { .. } => self.hold_until,
            HoldReason::Crowded { give_up_at, .. }
            | HoldReason::Busy { give_up_at, .. }
            | HoldReason::Gap { give_up_at, .. } => Some(*give_up_at),
            HoldReason::TemplateUnread { .. } | HoldReason::PlaceUnread { .. } | HoldReason::Unwell { .. } => None,
        }
    }

    /// The last instant at which it may start. Time to wait for a blackout to lift or for its turn is granted by being held
    /// for that, not to a run that nobody looked at in time, or whose template or start failed.
    pub fn deadline(&self) -> Timestamp {
        let held = match &self.state {
            // As a version wrote it that did not note what it granted.
            RunState::Held { reason, .. } => self.granted(reason),
            _ => None,
        };
        self.waited_until.max(held).map_or(self.start_by, |until| until.max(self.start_by))
    }

    /// Returns what opening the run amounts to: a run may be over as soon as it is recorded.
    pub fn opening(&self) -> Observation {
        match &self.state {
            RunState::Skipped { reason, .. } => Observation::Skipped { reason: reason.clone() },
            _ => Observation::Opened,
        }
    }

    /// Where it was asked for, once it was: it goes on there whatever the configuration says by now.
    pub fn place(&self) -> Option<&Place> {
        match &self.state {
            RunState::Starting { place, .. } | RunState::Running { place, .. } | RunState::Stopping { place, .. } => {
                Some(place)
            }
            _ => None,
        }
    }

    /// Returns the experiment that it is judged by: as it is declared, but where the run was begun, or as it was begun where
    /// that has left the configuration.
    pub fn under<'a>(&self, rules: &'a Rules) -> Cow<'a, Experiment> {
        if let Some(declared) = rules.experiments.get(&self.experiment) {
            let Some(place) = self.place().filter(|place| **place != declared.place) else {
                return Cow::Borrowed(declared);
            };
            // Without a role the account is the agent's own, which a configuration may name.
            let is_same = place.role_arn == declared.place.role_arn;
            let account = if is_same { declared.account.clone() } else { place.account() };
            return Cow::Owned(Experiment { place: place.clone(), account, ..declared.clone() });
        }
        let place = self.place().cloned().unwrap_or_default();
        let account = place.account();
        let gone =
            Experiment { place, account, labels: Labels::Forgotten, ..Experiment::gone(self.experiment.clone()) };
        // As a version wrote it that did not note them.
        let Some(Ties { template, groups, targets, max_duration }) = self.ties.as_deref().cloned() else {
            return Cow::Owned(gone);
        };
        let limits = Limits { groups, targets, ..Limits::default() };
        Cow::Owned(Experiment { template, limits, max_duration, ..gone })
    }

    /// Tells whether it is one of a declared experiment. It may be where its own has left the configuration and ran the same
    /// template in the same place: that may be the same one under an earlier name.
    pub fn is_of(&self, experiment: &Experiment, rules: &Rules) -> bool {
        let may_be = || Definition::of(&self.under(rules)) == Definition::of(experiment);
        self.experiment == experiment.name || !rules.experiments.contains_key(&self.experiment) && may_be()
    }

    /// Tells whether nothing more will happen to this run.
    pub fn is_over(&self) -> bool {
        matches!(self.state, RunState::Finished { .. } | RunState::Skipped { .. })
    }

    /// Returns the FIS experiment that is watched, and when FIS last answered of it or failed to; `None` while there is none.
    pub fn watched(&self) -> Option<(&str, Option<Timestamp>)> {
        match (&self.state, &self.fis) {
            (RunState::Running { watch, .. } | RunState::Stopping { watch, .. }, Some(fis)) => {
                Some((&fis.id, watch.asked_at))
            }
            _ => None,
        }
    }

    /// Returns AWS's name of what FIS refuses, as denied, to do about the experiment: without the one it cannot be stopped,
    /// without the other nobody sees its end.
    pub fn denied(&self) -> Option<&'static str> {
        match &self.state {
            RunState::Stopping { request: StopRequestState::Due { denied_since: Some(_), .. }, .. } => {
                Some(STOP_OPERATION)
            }
            RunState::Running { watch, .. } | RunState::Stopping { watch, .. } => {
                (watch.last_failure == Some(FailureClass::Denied)).then_some("GetExperiment")
            }
            _ => None,
        }
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
