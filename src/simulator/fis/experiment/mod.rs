//! The life of one FIS experiment.
//!
//! A pure machine: [`Experiment::advance`] takes the time and returns the state changes up to it, each at the instant
//! it was due, whenever it is called. States and texts follow the FIS user guide (view-experiment-progress,
//! action-sequence, stop-experiment, safety-lever); where AWS is silent a comment says that the choice is the
//! simulator's. What happens at the start is in [`resolution`], how actions go in [`course`], how all ends in [`stop`].

mod course;
pub(super) mod kubernetes;
pub(super) mod log;
pub(super) mod report;
mod resolution;
mod stop;
#[cfg(test)]
mod tests;
pub(super) mod work;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::{
    log::{KeepLog, Log},
    report::Report,
};
use super::{
    targets::{Account, inventory::Resource},
    template::Template,
};
use crate::{
    domain::fis::FisStatus,
    simulator::{choices::Choices, clock::Pace, cloudwatch::Alarms},
};

/// Reasons of experiments and actions.
const PENDING: &str = "Experiment is pending.";
const INITIAL: &str = "Initial state";
const BEGINNING: &str = "Experiment is initiating.";
const CANCELLED: &str = "Experiment was cancelled.";

/// What an experiment's course depends on beside itself.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator) struct World<'a> {
    pub(in crate::simulator) pace: Pace,
    pub(in crate::simulator) account: Account<'a>,
    pub(in crate::simulator) choices: &'a Choices,
    pub(in crate::simulator) alarms: &'a Alarms,
    /// `initiating` and `stopping`, where no experiment leaves them.
    pub(in crate::simulator) stuck: &'a BTreeSet<FisStatus>,
    pub(in crate::simulator) keep_log: KeepLog,
}

/// Status and its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) status: FisStatus,
    pub(super) reason: String,
}

impl State {
    fn new(status: FisStatus, reason: impl Into<String>) -> Self {
        Self { status, reason: reason.into() }
    }
}

/// A change of an experiment's state.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) old: State,
    pub(super) new: State,
    pub(super) at: Timestamp,
}

/// One action of an experiment.
#[derive(Debug, Clone)]
pub(super) struct ActionRun {
    pub(super) state: State,
    pub(super) started: Option<Timestamp>,
    pub(super) ended: Option<Timestamp>,
    /// What comes by itself, from its start to its end.
    plan: Option<Plan>,
    /// Set from outside: it fails as soon as it runs.
    doom: Option<FailureCause>,
}

/// What comes of a running action by itself.
#[derive(Debug, Clone)]
struct Plan {
    /// When its work is over and its post action begins.
    work_ends: Timestamp,
    /// When it ends.
    ends: Timestamp,
    failure: Option<FailureCause>,
}

/// Why an action fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::simulator) struct FailureCause {
    pub(in crate::simulator) code: String,
    pub(in crate::simulator) reason: String,
}

/// `state.error` of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) account: String,
    pub(super) code: String,
    /// The action or target it names.
    pub(super) location: Option<String>,
}

/// How an experiment that is being ended will end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Ending {
    /// Stopped, with this reason.
    Stop(&'static str),
    /// Failed, with this reason and error.
    Fail(String, Failure),
}

/// An experiment and all that was decided about it.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct Experiment {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) template: Arc<Template>,
    pub(super) client_token: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) mode: ActionsMode,
    pub(super) created: Timestamp,
    pub(super) ended: Option<Timestamp>,
    pub(super) state: State,
    pub(super) error: Option<Failure>,
    pub(super) actions: BTreeMap<String, ActionRun>,
    pub(super) resolved: BTreeMap<String, Vec<Resource>>,
    pub(super) report: Report,
    /// How many experiments were started before.
    pub(super) number: u64,
    /// When the present state ends by itself at the latest; `None` when nothing follows.
    due: Option<Timestamp>,
    /// When it runs; `None` once its targets are resolved.
    begins: Option<Timestamp>,
    ending: Option<Ending>,
    /// Whether its status is one that is stuck.
    held: bool,
    log: Option<Log>,
}

/// `experimentOptions.actionsMode` of StartExperiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ActionsMode {
    /// Actions run.
    #[default]
    RunAll,
    /// Target preview: every action is skipped.
    SkipAll,
}

/// What is given to a new experiment.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) arn: String,
    /// How many experiments were started before.
    pub(super) number: u64,
    pub(super) template: Arc<Template>,
    pub(super) client_token: String,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) mode: ActionsMode,
}

/// Where the safety lever stands when an experiment is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lever {
    /// Experiments run.
    Disengaged,
    /// Experiments are accepted and end as cancelled.
    Engaged,
}

impl Experiment {
    /// Accepts an experiment. With the lever engaged it is `pending` and will be cancelled (the simulator's choice; the
    /// guide only says that attempts are cancelled), and no change is reported.
    pub(super) fn accept(order: Order, lever: Lever, world: World<'_>, now: Timestamp) -> (Self, Option<Change>) {
        let waiting = ActionRun {
            state: State::new(FisStatus::Pending, INITIAL),
            started: None,
            ended: None,
            plan: None,
            doom: None,
        };
        let definition = &order.template.definition;
        let actions = definition.actions.keys().map(|name| (name.clone(), waiting.clone())).collect();
        let configuration = json!(definition.log_configuration);
        let log =
            (world.keep_log == KeepLog::Yes).then(|| Log::begin(&order.id, &order.template.id, &configuration, now));
        let report = match &definition.experiment_report_configuration {
            None => Report::Unwanted,
            Some(_) if order.mode == ActionsMode::SkipAll => Report::Cancelled,
            Some(_) => Report::Pending(None),
        };
        let choices = world.choices;
        let after = |seconds: u32| world.pace.after(now, SignedDuration::from_secs(seconds.into()));
        let mut experiment = Self {
            id: order.id,
            arn: order.arn,
            template: order.template,
            client_token: order.client_token,
            tags: order.tags,
            mode: order.mode,
            created: now,
            ended: None,
            state: State::new(FisStatus::Pending, PENDING),
            error: None,
            actions,
            resolved: BTreeMap::new(),
            report,
            number: order.number,
            due: Some(after(choices.resolving_seconds.min(choices.initiating_seconds))),
            begins: Some(after(choices.initiating_seconds)),
            ending: None,
            held: false,
            log,
        };
        let change = (lever == Lever::Disengaged).then(|| experiment.turn(FisStatus::Initiating, BEGINNING, now));
        (experiment, change)
    }

    /// Tells whether it counts against the quota of active experiments.
    pub(super) fn is_active(&self) -> bool {
        !self.state.status.is_terminal()
    }

    /// Tells whether something follows by itself; after the end that can be its report.
    pub(super) fn is_open(&self) -> bool {
        self.is_active() || matches!(self.report, Report::Pending(_))
    }

    /// The next instant at which something happens by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if self.held {
            return None;
        }
        if !self.is_active() {
            return self.report.due();
        }
        self.actions.values().filter_map(|run| Some(run.plan.as_ref()?.ends)).chain(self.due).min()
    }

    /// All instants that lie ahead.
    fn instants(&mut self) -> impl Iterator<Item = &mut Timestamp> {
        let plans = self.actions.values_mut().filter_map(|run| run.plan.as_mut());
        let ends = plans.flat_map(|plan| [&mut plan.work_ends, &mut plan.ends]);
        ends.chain(self.due.as_mut()).chain(self.begins.as_mut()).chain(self.report.due_mut())
    }

    /// Moves what is still to come when the pace changes.
    pub(super) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        self.instants().for_each(|at| *at = old.moved(*at, new, now));
    }

    /// Brings it up to `now` and returns the changes on the way, in order.
    pub(super) fn advance(&mut self, world: World<'_>, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        self.hold(world.stuck, now);
        // Each step ends an action or a state, so the steps are few.
        while let Some(at) = self.next_due().filter(|at| *at <= now) {
            match &self.state.status {
                FisStatus::Pending => changes.push(self.finish(FisStatus::Cancelled, CANCELLED, world, at)),
                FisStatus::Initiating => self.initiate(world, at, &mut changes),
                FisStatus::Running | FisStatus::Stopping => self.run(world, at, &mut changes),
                _ended => self.report = Report::Completed,
            }
            self.hold(world.stuck, now);
        }
        self.heed(world, now, &mut changes);
        changes
    }

    /// While its status is stuck, what follows it stays ahead, so that all goes on from the present afterwards.
    fn hold(&mut self, stuck: &BTreeSet<FisStatus>, now: Timestamp) {
        let status = &self.state.status;
        self.held = matches!(status, FisStatus::Initiating | FisStatus::Stopping) && stuck.contains(status);
        if self.held {
            self.instants().for_each(|at| *at = (*at).max(now));
        }
    }

    fn turn(&mut self, status: FisStatus, reason: &str, at: Timestamp) -> Change {
        let new = State::new(status, reason);
        let old = std::mem::replace(&mut self.state, new.clone());
        Change { old, new, at }
    }

    /// Takes the lines of its log that were made since the last call.
    pub(super) fn take_log(&mut self) -> Vec<String> {
        self.log.as_mut().map(Log::take).unwrap_or_default()
    }

    /// `detail` of the event that tells of a change (AWS FIS user guide, monitoring-eventbridge).
    pub(super) fn change_detail(&self, change: &Change) -> Value {
        json!({
            "experiment-id": self.id,
            "experiment-template-id": self.template.id,
            "new-state": {"status": change.new.status.as_str(), "reason": change.new.reason},
            "old-state": {"status": change.old.status.as_str(), "reason": change.old.reason},
        })
    }
}
