//! The life of one FIS experiment.
//!
//! A pure machine: [`Experiment::advance`] takes the time and returns the state changes up to it, each at the instant
//! it was due, whenever it is called. States and texts follow the FIS user guide (view-experiment-progress,
//! action-sequence, stop-experiment, safety-lever); where AWS is silent a comment says that the choice is the
//! simulator's.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    actions::{self, Course},
    inventory::Resource,
    targets::{self, Account},
    template::{EmptyTargetMode, StopCondition, Template},
};
use crate::{
    domain::fis::{FisError, FisStatus},
    simulator::{
        choices::Choices,
        clock::Pace,
        cloudwatch::{AlarmState, Alarms},
    },
};

/// Reasons of experiments and actions.
const PENDING: &str = "Experiment is pending.";
const INITIAL: &str = "Initial state";
const BEGINNING: &str = "Experiment is initiating.";
const NO_TARGETS: &str = "Target resolution returned empty set.";
const ACTION_STOPPED: &str = "Action was stopped.";
const ACTION_CANCELLED: &str = "Action was cancelled.";
const HALTED: &str = "Experiment halted by stop condition.";
const TOO_LONG: &str = "Experiment exceeded the maximum duration.";

/// What an experiment's course depends on beside itself.
#[derive(Debug, Clone, Copy)]
pub(in crate::simulator) struct World<'a> {
    pub(in crate::simulator) pace: Pace,
    pub(in crate::simulator) account: Account<'a>,
    pub(in crate::simulator) choices: &'a Choices,
    pub(in crate::simulator) alarms: &'a Alarms,
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
    /// When it ends by itself (once started), and how.
    end: Option<(Timestamp, Option<FailureCause>)>,
    /// Set from outside: it fails as soon as it runs.
    doom: Option<FailureCause>,
}

/// Why an action fails.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct FailureCause {
    pub(in crate::simulator) code: String,
    pub(in crate::simulator) reason: String,
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
    pub(super) error: Option<FisError>,
    pub(super) actions: BTreeMap<String, ActionRun>,
    pub(super) resolved: BTreeMap<String, Vec<Resource>>,
    /// When the present state ends by itself at the latest; `None` when nothing follows.
    due: Option<Timestamp>,
    /// Reason shown once stopped.
    stop_reason: &'static str,
}

/// `experimentOptions.actionsMode` of StartExperiment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
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
            end: None,
            doom: None,
        };
        let actions = order.template.definition.actions.keys().map(|name| (name.clone(), waiting.clone())).collect();
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
            due: Some(world.pace.after(now, SignedDuration::from_secs(world.choices.initiating_seconds.into()))),
            stop_reason: "",
        };
        let change = (lever == Lever::Disengaged).then(|| experiment.turn(FisStatus::Initiating, BEGINNING, now));
        (experiment, change)
    }

    /// Tells whether it counts against the quota of active experiments.
    pub(super) fn is_active(&self) -> bool {
        !self.state.status.is_terminal()
    }

    /// The next instant at which something happens by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        if !self.is_active() {
            return None;
        }
        let ends = self.actions.values().filter_map(|action| action.end.as_ref().map(|(at, _)| *at));
        let running = self.state.status == FisStatus::Running;
        ends.filter(|_| running).chain(self.due).min()
    }

    /// Moves what is still to come when the pace changes.
    pub(super) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        let ends = self.actions.values_mut().filter_map(|run| run.end.as_mut().map(|(at, _)| at));
        for at in ends.chain(self.due.as_mut()) {
            *at = old.moved(*at, new, now);
        }
    }

    /// Brings it up to `now` and returns the changes on the way, in order.
    pub(super) fn advance(&mut self, world: World<'_>, now: Timestamp) -> Vec<Change> {
        let mut changes = Vec::new();
        // Each step ends an action or a state, so the steps are few.
        while let Some(at) = self.next_due().filter(|at| *at <= now) {
            match &self.state.status {
                FisStatus::Initiating => self.begin(world, at, &mut changes),
                FisStatus::Running => self.run(world, at, &mut changes),
                FisStatus::Stopping => changes.push(self.finish(FisStatus::Stopped, self.stop_reason, at)),
                _pending => changes.push(self.finish(FisStatus::Cancelled, "Experiment was cancelled.", at)),
            }
        }
        if self.state.status == FisStatus::Running && self.is_halted_by(world.alarms) {
            changes.extend(self.stop(HALTED, world, now));
            self.wind_down();
        }
        changes
    }

    fn is_halted_by(&self, alarms: &Alarms) -> bool {
        let mut arns = self.template.definition.stop_conditions.iter().filter_map(StopCondition::alarm);
        arns.any(|arn| alarms.state_of(arn) == Some(AlarmState::Alarm))
    }

    fn begin(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        let definition = &self.template.definition;
        let mut empty = None;
        for name in definition.actions.values().flat_map(|action| action.targets.values()) {
            let Some(spec) = definition.targets.get(name).filter(|_| !self.resolved.contains_key(name)) else {
                continue;
            };
            let found = targets::resolved(spec, world.account, &format!("{}/{name}", self.id));
            let skippable = definition.experiment_options.empty_target_resolution_mode == EmptyTargetMode::Skip
                && spec.resource_arns.is_empty();
            if found.is_empty() && !skippable {
                empty = Some(name.clone());
            }
            self.resolved.insert(name.clone(), found);
        }
        if let Some(target) = empty {
            self.error = Some(FisError { code: "InvalidTarget".to_owned(), location: Some(target) });
            changes.push(self.finish(FisStatus::Failed, NO_TARGETS, at));
            return;
        }
        changes.push(self.turn(FisStatus::Running, "Experiment is running.", at));
        self.due = Some(world.pace.after(at, crate::domain::experiment::FIS_MAX_DURATION));
        self.skip_actions(at);
        self.start_ready(world.pace, at);
        self.complete_if_done(at, changes);
    }

    fn skip_actions(&mut self, at: Timestamp) {
        for (name, run) in &mut self.actions {
            let spec = self.template.definition.actions.get(name);
            let mut targets = spec.into_iter().flat_map(|spec| spec.targets.values());
            let empty = targets.any(|target| self.resolved.get(target).is_none_or(Vec::is_empty));
            let reason = match self.mode {
                ActionsMode::SkipAll => "Action was skipped because actionsMode is skip-all.",
                ActionsMode::RunAll if empty => NO_TARGETS,
                ActionsMode::RunAll => continue,
            };
            run.state = State::new(FisStatus::Skipped, reason);
            run.ended = Some(at);
        }
    }

    fn run(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        let mut failed = None;
        for (name, run) in &mut self.actions {
            let Some((_, failure)) = run.end.take_if(|(end, _)| *end <= at) else { continue };
            run.ended = Some(at);
            match failure {
                None => run.state = State::new(FisStatus::Completed, "Action was completed."),
                Some(cause) => {
                    run.state = State::new(FisStatus::Failed, cause.reason.clone());
                    failed.get_or_insert((name.clone(), cause));
                }
            }
        }
        if let Some((action, cause)) = failed {
            // Siblings end at once; what AWS does with them is not documented.
            self.error = Some(FisError { code: cause.code, location: Some(action) });
            changes.push(self.finish(FisStatus::Failed, &cause.reason, at));
            return;
        }
        self.start_ready(world.pace, at);
        self.complete_if_done(at, changes);
        if self.state.status == FisStatus::Running && self.due.is_some_and(|due| due <= at) {
            changes.extend(self.stop(TOO_LONG, world, at));
            self.wind_down();
        }
    }

    /// Starts the actions whose predecessors are all done. A skipped predecessor counts as done.
    fn start_ready(&mut self, pace: Pace, at: Timestamp) {
        let done = |run: &ActionRun| matches!(run.state.status, FisStatus::Completed | FisStatus::Skipped);
        let settled: Vec<String> =
            self.actions.iter().filter(|(_, run)| done(run)).map(|(name, _)| name.clone()).collect();
        for (name, run) in &mut self.actions {
            let Some(spec) = self.template.definition.actions.get(name) else { continue };
            if run.state.status != FisStatus::Pending || !spec.start_after.iter().all(|other| settled.contains(other)) {
                continue;
            }
            let Course { length, failure } = actions::course(spec);
            let failure = failure
                .map(|reason| FailureCause { code: "ConfigurationFailure".to_owned(), reason: reason.to_owned() });
            run.state = State::new(FisStatus::Running, "");
            run.started = Some(at);
            run.end = Some(match run.doom.take() {
                Some(doom) => (at, Some(doom)),
                None => (pace.after(at, length), failure),
            });
        }
    }

    fn complete_if_done(&mut self, at: Timestamp, changes: &mut Vec<Change>) {
        if self.actions.values().all(|run| run.state.status.is_terminal()) {
            changes.push(self.finish(FisStatus::Completed, "Experiment completed.", at));
        }
    }

    /// Begins to stop it; nothing changes when it is stopping or has ended. Actions stay as they are until
    /// [`wind_down`](Self::wind_down), since the reply of StopExperiment shows them so.
    pub(super) fn stop(&mut self, reason: &'static str, world: World<'_>, now: Timestamp) -> Option<Change> {
        if !matches!(self.state.status, FisStatus::Pending | FisStatus::Initiating | FisStatus::Running) {
            return None;
        }
        self.stop_reason = reason;
        let change = self.turn(FisStatus::Stopping, "Stopping Experiment.", now);
        let length = SignedDuration::from_secs(world.choices.stopping_seconds.into());
        self.due = Some(world.pace.after(now, length));
        Some(change)
    }

    /// Once stopping, running actions are stopping and waiting ones cancelled.
    pub(super) fn wind_down(&mut self) {
        if self.state.status != FisStatus::Stopping {
            return;
        }
        for run in self.actions.values_mut() {
            match &run.state.status {
                FisStatus::Running => run.state = State::new(FisStatus::Stopping, "Stopping action."),
                FisStatus::Pending => run.state = State::new(FisStatus::Cancelled, ACTION_CANCELLED),
                _settled => {}
            }
        }
    }

    /// Ends it as cancelled, as an engaged lever does before its actions began.
    pub(super) fn cancel(&mut self, now: Timestamp) -> Option<Change> {
        matches!(self.state.status, FisStatus::Pending | FisStatus::Initiating)
            .then(|| self.finish(FisStatus::Cancelled, "Experiment was cancelled.", now))
    }

    /// Makes an action fail: now if it runs, else as soon as it does. Returns whether it can still fail.
    pub(super) fn doom(&mut self, action: &str, cause: FailureCause, now: Timestamp) -> bool {
        let Some(run) = self.actions.get_mut(action).filter(|run| !run.state.status.is_terminal()) else {
            return false;
        };
        match run.end {
            Some(_) => run.end = Some((now, Some(cause))),
            None => run.doom = Some(cause),
        }
        true
    }

    fn turn(&mut self, status: FisStatus, reason: &str, at: Timestamp) -> Change {
        let new = State::new(status, reason);
        let old = std::mem::replace(&mut self.state, new.clone());
        Change { old, new, at }
    }

    /// Ends the experiment and every action that has not ended.
    fn finish(&mut self, status: FisStatus, reason: &str, at: Timestamp) -> Change {
        for run in self.actions.values_mut().filter(|run| !run.state.status.is_terminal()) {
            run.state = match run.started {
                Some(_) => State::new(FisStatus::Stopped, ACTION_STOPPED),
                None => State::new(FisStatus::Cancelled, ACTION_CANCELLED),
            };
            run.ended = run.started.map(|_| at);
            run.end = None;
        }
        self.ended = Some(at);
        self.due = None;
        self.turn(status, reason, at)
    }

    /// `detail` of the event that tells of a change (AWS FIS user guide, monitoring-eventbridge).
    pub(super) fn change_detail(&self, change: &Change) -> Value {
        serde_json::json!({
            "experiment-id": self.id,
            "experiment-template-id": self.template.id,
            "new-state": {"status": change.new.status.as_str(), "reason": change.new.reason},
            "old-state": {"status": change.old.status.as_str(), "reason": change.old.reason},
        })
    }
}
