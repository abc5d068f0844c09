//! How an experiment ends before its time: by request, by an alarm, by the safety lever, by a failure.
//!
//! Outstanding post actions are completed before an experiment is stopped (AWS FIS user guide, stop-experiment).

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{ActionRun, CANCELLED, Change, Ending, Experiment, FailureCause, Plan, State, World};
use crate::{
    domain::fis::FisStatus,
    simulator::{choices::Choices, clock::Pace, cloudwatch::AlarmState, fis::template::StopCondition},
};

/// Reasons of experiments and actions.
pub(super) const HALTED: &str = "Experiment halted by stop condition.";
const STOPPING: &str = "Stopping Experiment.";
const ACTION_STOPPING: &str = "Stopping action.";
const ACTION_CANCELLED: &str = "Action was cancelled.";

impl ActionRun {
    /// Whether it ends by itself by now.
    pub(super) fn ends_by(&self, at: Timestamp) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.ends <= at)
    }
}

impl Experiment {
    /// Begins to stop it; nothing changes when its end is decided already. Actions stay as they are until
    /// [`wind_down`](Self::wind_down), since the reply of StopExperiment shows them so.
    pub(in crate::simulator::fis) fn stop(
        &mut self,
        reason: &'static str,
        world: World<'_>,
        now: Timestamp,
    ) -> Option<Change> {
        let stoppable = matches!(self.state.status, FisStatus::Pending | FisStatus::Initiating | FisStatus::Running);
        if !stoppable || self.ending.is_some() {
            return None;
        }
        self.ending = Some(Ending::Stop(reason));
        self.let_go(world.pace, world.choices, now);
        let last = self.actions.values().filter_map(|run| Some(run.plan.as_ref()?.ends)).max();
        let due = stopped_at(world.pace, world.choices, now);
        self.due = Some(last.map_or(due, |last| last.max(due)));
        Some(self.turn(FisStatus::Stopping, STOPPING, now))
    }

    /// Plans the end of the running actions: once what is stopped is stopped and post actions are done.
    pub(super) fn let_go(&mut self, pace: Pace, choices: &Choices, now: Timestamp) {
        let due = stopped_at(pace, choices, now);
        for plan in self.actions.values_mut().filter_map(|run| run.plan.as_mut()) {
            let post = plan.ends.duration_since(plan.work_ends);
            let restored = plan.work_ends.min(now).saturating_add(post).unwrap_or(Timestamp::MAX);
            *plan = Plan { work_ends: plan.work_ends.min(now), ends: restored.max(due), failure: None };
        }
    }

    /// Once its end is decided, running actions are stopping and waiting ones cancelled.
    pub(in crate::simulator::fis) fn wind_down(&mut self) {
        if self.ending.is_none() {
            return;
        }
        for run in self.actions.values_mut() {
            match &run.state.status {
                FisStatus::Running => run.state = State::new(FisStatus::Stopping, ACTION_STOPPING),
                FisStatus::Pending => run.state = State::new(FisStatus::Cancelled, ACTION_CANCELLED),
                _settled => {}
            }
        }
    }

    /// Stops it when an alarm of its stop conditions is in ALARM while it runs.
    pub(super) fn heed(&mut self, world: World<'_>, now: Timestamp, changes: &mut Vec<Change>) {
        let mut arns = self.template.definition.stop_conditions.iter().filter_map(StopCondition::alarm);
        let alarmed = arns.any(|arn| world.alarms.state_of(arn) == Some(AlarmState::Alarm));
        if alarmed && self.state.status == FisStatus::Running {
            changes.extend(self.stop(HALTED, world, now));
            self.wind_down();
        }
    }

    /// Ends it as cancelled, as an engaged lever does before its actions began.
    pub(in crate::simulator::fis) fn cancel(&mut self, world: World<'_>, now: Timestamp) -> Option<Change> {
        matches!(self.state.status, FisStatus::Pending | FisStatus::Initiating)
            .then(|| self.finish(FisStatus::Cancelled, CANCELLED, world, now))
    }

    /// Makes an action fail: now if it runs, else as soon as it does. Returns whether it can still fail.
    pub(in crate::simulator::fis) fn doom(&mut self, action: &str, cause: FailureCause, now: Timestamp) -> bool {
        let open = self.ending.is_none();
        let Some(run) = self.actions.get_mut(action).filter(|run| open && !run.state.status.is_terminal()) else {
            return false;
        };
        match &mut run.plan {
            Some(plan) => *plan = Plan { work_ends: now, ends: now, failure: Some(cause) },
            None => run.doom = Some(cause),
        }
        true
    }

    /// Ends the experiment; the actions that have not begun are cancelled.
    pub(super) fn finish(&mut self, status: FisStatus, reason: &str, world: World<'_>, at: Timestamp) -> Change {
        for run in self.actions.values_mut().filter(|run| !run.state.status.is_terminal()) {
            run.state = State::new(FisStatus::Cancelled, ACTION_CANCELLED);
        }
        self.ended = Some(at);
        self.due = None;
        self.ending = None;
        if status == FisStatus::Cancelled {
            self.report.withdraw();
        }
        let configuration = json!(self.template.definition.experiment_report_configuration);
        self.report.schedule(&configuration, world.pace, at);
        let change = self.turn(status, reason, at);
        if let Some(log) = &mut self.log {
            log.experiment_end(&self.state, at);
        }
        change
    }
}

/// When what is stopped now is stopped.
fn stopped_at(pace: Pace, choices: &Choices, now: Timestamp) -> Timestamp {
    pace.after(now, SignedDuration::from_secs(choices.stopping_seconds.into()))
}
