//! Ledgers: what the runs of an experiment left behind that later decisions rest on.
//!
//! Pure. A ledger follows from the journal alone: the store calls [`Ledger::note`] in the transaction that writes the
//! entry, the forecast calls it for the runs it imagines. Guards read it (see [`super::plan`]); nothing else writes it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{
    cost::{self, Usd},
    estimate,
    experiment::{Experiment, Place, Rules, TemplateSelector},
    fis::{FailureClass, FisExperiment},
    ids::{ExperimentName, Name, ScheduleName},
    outcome::Outcome,
    run::{Observation, Run, RunState, SkipReason, StopCause, Trigger},
    template::TemplateFacts,
};

/// Lengths of completed runs that are kept, the newest ones.
const KEPT_LENGTHS: usize = 100;

/// Months of spending that are kept, the newest ones.
const KEPT_MONTHS: usize = 13;

/// What past runs of one experiment left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ledger {
    /// When the last FIS experiment of it ended.
    pub ended_at: Option<Timestamp>,
    /// The groups that it was in when the run of that experiment was begun: they keep their gap though it has left the
    /// configuration.
    pub groups: Vec<Name>,
    /// How many runs each schedule has begun.
    pub begun: BTreeMap<ScheduleName, u32>,
    /// Runs that failed in a row, if the last one did.
    pub failing: Option<Failing>,
    /// How long completed runs took, the newest last.
    pub lengths: Vec<Length>,
    /// Action-minutes by month (`2026-11`, UTC), as AWS bills them.
    pub action_minutes: BTreeMap<String, u64>,
}

/// How long a completed run took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Length {
    /// The template's [`shape`](TemplateFacts::shape).
    pub shape: String,
    /// From its start to its end by FIS's own times.
    pub took: SignedDuration,
}

/// Runs that failed in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// What is wrong.
    pub trouble: Trouble,
    /// How many in a row.
    pub count: u32,
    /// When the last of them was recorded.
    pub at: Timestamp,
    /// What was run; with another one the failures say nothing.
    pub of: Option<Definition>,
}

/// What is run, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// Which template.
    pub template: TemplateSelector,
    /// Where.
    pub place: Place,
}

impl Definition {
    /// Returns what an experiment runs.
    pub fn of(experiment: &Experiment) -> Self {
        Self { template: experiment.template.clone(), place: experiment.place.clone() }
    }
}

/// Kinds of failed runs, by what helps. FIS's own codes and reasons are not looked at: AWS says that they are for people
/// (AWS FIS user guide, troubleshooting).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trouble {
    /// FIS refused the template or the start for good: only a change helps.
    Configuration,
    /// It began and failed, was stopped by an alarm, or was lost: time may help.
    Unhealthy,
}

impl Trouble {
    /// Returns the name used in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Whether a ledger changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    /// It did.
    Changed,
    /// It did not.
    Nothing,
}

impl Ledger {
    /// Tells whether an observation may change a ledger.
    pub fn heeds(run: &Run, observation: &Observation) -> bool {
        match observation {
            Observation::StartAsked { .. } => matches!(run.trigger, Trigger::Slot { .. }),
            Observation::Skipped { reason: SkipReason::Template { .. } } | Observation::Finished { .. } => true,
            _ => false,
        }
    }

    /// Notes an observation; `run` is the run after it, `definition` what its experiment ran by then.
    pub fn note(
        &mut self,
        run: &Run,
        observation: &Observation,
        at: Timestamp,
        definition: Option<&Definition>,
    ) -> Noted {
        if !Self::heeds(run, observation) {
            return Noted::Nothing;
        }
        match observation {
            Observation::StartAsked { .. } => match (&run.state, &run.trigger) {
                (RunState::Starting { attempt: 1, .. }, Trigger::Slot { schedule, .. }) => {
                    let begun = self.begun.entry(schedule.clone()).or_default();
                    *begun = begun.saturating_add(1);
                }
                _ => return Noted::Nothing,
            },
            Observation::Skipped { reason: SkipReason::Template { .. } } => {
                self.failed(Trouble::Configuration, at, definition);
            }
            Observation::Finished { outcome } => {
                if let Some(fis) = &run.fis {
                    let accounts = run.facts.as_ref().map_or(1, |facts| facts.target_accounts.max(1));
                    self.ended(fis, accounts, at);
                    self.groups = run.ties.as_ref().map(|ties| ties.groups.clone()).unwrap_or_default();
                    if let (Outcome::Completed, Some(facts)) = (outcome, &run.facts) {
                        self.took(fis, facts, at);
                    }
                }
                match trouble(outcome) {
                    Some(trouble) => self.failed(trouble, at, definition),
                    None if matches!(outcome, Outcome::Completed | Outcome::CompletedPartly { .. }) => {
                        self.failing = None;
                    }
                    None => {}
                }
            }
            _ => return Noted::Nothing,
        }
        Noted::Changed
    }

    /// Returns what nineteen of twenty completed runs of a template kept to, once there are enough of them.
    pub fn learned(&self, facts: &TemplateFacts) -> Option<SignedDuration> {
        if self.lengths.len() < estimate::LEAST_LEARNED_FROM {
            return None;
        }
        let shape = facts.shape();
        let lengths = self.lengths.iter().filter(|length| length.shape == shape);
        estimate::learned_p95(&lengths.map(|length| length.took).collect::<Vec<_>>())
    }

    /// Makes one in the place of one that nobody can read, of what the experiment's `runs` still tell, in the order in which
    /// they were opened.
    ///
    /// When its last run ended, and in which groups, may be among what is lost: it counts as ended `now` and in all of `groups`,
    /// so that what the lost one would have forbidden stays forbidden. Its failures are forgiven.
    pub fn retold<'a>(runs: impl IntoIterator<Item = &'a Run>, groups: Vec<Name>, now: Timestamp) -> Self {
        let mut ledger = Self::default();
        for run in runs {
            if let Trigger::Slot { schedule, .. } = &run.trigger
                && (run.ties.is_some() || run.fis.is_some())
            {
                let begun = ledger.begun.entry(schedule.clone()).or_default();
                *begun = begun.saturating_add(1);
            }
            if let RunState::Finished { outcome, at } = &run.state {
                ledger.note(run, &Observation::Finished { outcome: outcome.clone() }, *at, None);
            }
        }
        Self { ended_at: Some(now), groups, failing: None, ..ledger }
    }

    /// Forgets the failures of the past.
    pub fn forgive(&mut self) {
        self.failing = None;
    }

    fn failed(&mut self, trouble: Trouble, at: Timestamp, definition: Option<&Definition>) {
        let before = self.failing.take().filter(|known| known.of.as_ref() == definition);
        let count = before.map_or(0, |known| known.count).saturating_add(1);
        self.failing = Some(Failing { trouble, count, at, of: definition.cloned() });
    }

    fn took(&mut self, fis: &FisExperiment, facts: &TemplateFacts, at: Timestamp) {
        let Some(start) = fis.started_at.or(fis.created_at) else { return };
        let took = fis.ended_at.unwrap_or(at).duration_since(start).max(SignedDuration::ZERO);
        self.lengths.push(Length { shape: facts.shape(), took });
        let surplus = self.lengths.len().saturating_sub(KEPT_LENGTHS);
        self.lengths.drain(..surplus);
    }

    fn ended(&mut self, fis: &FisExperiment, accounts: u64, at: Timestamp) {
        // FIS's clock may be ahead of ours: nothing that we have seen to be over ends later than that.
        let end = fis.ended_at.map_or(at, |ended| ended.min(at));
        // One that lies ahead was seen before our clock was set back, and would hide this one.
        let known = self.ended_at.filter(|known| *known <= at);
        self.ended_at = Some(known.map_or(end, |known| known.max(end)));
        let minutes = cost::billed_minutes(fis).saturating_mul(accounts);
        if minutes > 0 {
            let spent = self.action_minutes.entry(month(at)).or_default();
            *spent = spent.saturating_add(minutes);
        }
        while self.action_minutes.len() > KEPT_MONTHS {
            self.action_minutes.pop_first();
        }
    }
}

/// The month of an instant (UTC), as ledgers name it.
pub fn month(at: Timestamp) -> String {
    at.strftime("%Y-%m").to_string()
}

/// What all runs of a month have cost so far, also of experiments that are no longer declared.
pub fn spent(rules: &Rules, ledgers: &BTreeMap<ExperimentName, Ledger>, month: &str) -> Usd {
    let of = |(name, ledger): (&ExperimentName, &Ledger)| {
        let region = rules.experiments.get(name).and_then(|declared| declared.place.region.as_deref());
        let minutes = ledger.action_minutes.get(month).copied().unwrap_or_default();
        cost::price(&rules.budget, region).times(minutes)
    };
    ledgers.iter().map(of).fold(Usd::ZERO, Usd::plus)
}

/// What is wrong when a run ended so. The safety lever, operators, windows and shutdowns say nothing about the experiment.
fn trouble(outcome: &Outcome) -> Option<Trouble> {
    match outcome {
        Outcome::NotStarted { class, .. } => match class {
            FailureClass::Denied | FailureClass::NotFound | FailureClass::Invalid => Some(Trouble::Configuration),
            // These were tried again until it was too late, and say nothing about the experiment.
            FailureClass::Throttled
            | FailureClass::Quota
            | FailureClass::Credentials
            | FailureClass::Conflict
            | FailureClass::Unavailable
            | FailureClass::Timeout
            | FailureClass::Unreadable => None,
        },
        Outcome::Failed { .. } | Outcome::Lost { .. } | Outcome::Stopped { cause: StopCause::StopCondition } => {
            Some(Trouble::Unhealthy)
        }
        Outcome::Completed
        | Outcome::CompletedPartly { .. }
        | Outcome::Previewed
        | Outcome::Cancelled
        | Outcome::Stopped { .. } => None,
    }
}
