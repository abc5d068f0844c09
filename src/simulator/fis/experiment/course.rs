//! How the actions of an experiment go: begin, end, fail, and are skipped.

use jiff::Timestamp;

use super::{
    ActionsMode, Change, Ending, Experiment, Failure, FailureCause, Plan, State, World,
    log::Named,
    resolution::NO_TARGETS,
    work::{self, Course},
};
use crate::{domain::fis::FisStatus, simulator::choices::AtTwelveHours};

/// Reasons of experiments and actions.
pub(super) const RUNNING: &str = "Experiment is running.";
const ACTION_COMPLETED: &str = "Action was completed.";
const ACTION_STOPPED: &str = "Action was stopped.";
const TOO_LONG: &str = "Experiment exceeded the maximum duration.";

/// Most of one experiment, counted from `running` on (AWS FIS user guide, fis-quotas).
pub(super) const TOO_LONG_AFTER: jiff::SignedDuration = crate::domain::experiment::FIS_MAX_DURATION;

impl Experiment {
    /// Skips the actions that have no targets, or all of them in a preview.
    pub(super) fn skip_actions(&mut self, at: Timestamp) {
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

    /// Starts the actions whose predecessors are all done. A skipped predecessor counts as done.
    pub(super) fn start_ready(&mut self, world: World<'_>, at: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        let done = |status: &FisStatus| matches!(status, FisStatus::Completed | FisStatus::Skipped);
        let settled: Vec<String> =
            self.actions.iter().filter(|(_, run)| done(&run.state.status)).map(|(name, _)| name.clone()).collect();
        for (name, run) in &mut self.actions {
            let Some(spec) = self.template.definition.actions.get(name) else { continue };
            if run.state.status != FisStatus::Pending || !spec.start_after.iter().all(|other| settled.contains(other)) {
                continue;
            }
            let Course { work, post, failure } = work::course(spec, world.alarms);
            let work_ends = world.pace.after(at, work);
            run.state = State::new(FisStatus::Running, "");
            run.started = Some(at);
            run.plan = Some(match run.doom.take() {
                Some(doom) => Plan { work_ends: at, ends: at, failure: Some(doom) },
                None => Plan { work_ends, ends: world.pace.after(work_ends, post), failure },
            });
            if let Some(log) = &mut self.log {
                log.action_start(Named { name, id: &spec.action_id }, &spec.targets, &spec.parameters, at);
            }
        }
    }

    /// Ends the actions that end by now, and what follows from that.
    pub(super) fn run(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        let mut failed = None;
        let ending: Vec<String> =
            self.actions.iter().filter(|(_, run)| run.ends_by(at)).map(|(n, _)| n.clone()).collect();
        for name in ending {
            if let Some(cause) = self.end_action(&name, world, at) {
                failed.get_or_insert((name, cause));
            }
        }
        if let Some((action, cause)) = failed {
            self.fail(Some(action), cause, world, at);
        }
        self.start_ready(world, at);
        self.complete_if_done(world, at, changes);
        if self.is_active() && self.ending.is_none() && self.due.is_some_and(|due| due <= at) {
            match world.choices.at_twelve_hours {
                AtTwelveHours::Stopped => {
                    changes.extend(self.stop(TOO_LONG, world, at));
                    self.wind_down();
                }
                AtTwelveHours::Failed => {
                    let code = "QuotaExceededFailure".to_owned();
                    self.fail(None, FailureCause { code, reason: TOO_LONG.to_owned() }, world, at);
                    self.complete_if_done(world, at, changes);
                }
            }
        }
    }

    /// Ends an action as its plan or the end of the experiment wants it; returns why when it failed.
    fn end_action(&mut self, name: &str, world: World<'_>, at: Timestamp) -> Option<FailureCause> {
        let run = self.actions.get_mut(name)?;
        let plan = run.plan.take()?;
        run.ended = Some(at);
        run.state = match (&run.state.status, &plan.failure) {
            (FisStatus::Stopping, _) => State::new(FisStatus::Stopped, ACTION_STOPPED),
            (_running, None) => State::new(FisStatus::Completed, ACTION_COMPLETED),
            (_running, Some(cause)) => State::new(FisStatus::Failed, cause.reason.clone()),
        };
        let state = run.state.clone();
        let failed = state.status == FisStatus::Failed;
        self.log_end(name, &state, world, at);
        plan.failure.filter(|_| failed)
    }

    pub(super) fn log_end(&mut self, name: &str, state: &State, world: World<'_>, at: Timestamp) {
        let (Some(spec), Some(log)) = (self.template.definition.actions.get(name), &mut self.log) else { return };
        let action = Named { name, id: &spec.action_id };
        if state.status == FisStatus::Failed {
            let hit = spec.targets.values().filter_map(|target| self.resolved.get(target)).flatten();
            let mut accounts: Vec<&str> =
                hit.map(|resource| resource.account()).filter(|own| !own.is_empty()).collect();
            accounts.sort_unstable();
            accounts.dedup();
            if accounts.is_empty() {
                accounts.push(world.account.account);
            }
            for account in accounts {
                log.action_error(action, account, state, at);
            }
        }
        log.action_end(action, state, at);
    }

    /// Notes a failure: running actions are being stopped, waiting ones cancelled, and the experiment fails once all
    /// have ended. That the experiment stays `running` meanwhile is the simulator's choice. The first failure counts.
    fn fail(&mut self, location: Option<String>, cause: FailureCause, world: World<'_>, at: Timestamp) {
        if self.ending.is_some() {
            return;
        }
        let account = world.account.account.to_owned();
        self.ending = Some(Ending::Fail(cause.reason, Failure { account, code: cause.code, location }));
        self.due = None;
        self.let_go(world.pace, world.choices, at);
        self.wind_down();
    }

    pub(super) fn complete_if_done(&mut self, world: World<'_>, at: Timestamp, changes: &mut Vec<Change>) {
        if !self.actions.values().all(|run| run.state.status.is_terminal()) {
            return;
        }
        let change = match self.ending.take() {
            None => self.finish(FisStatus::Completed, "Experiment completed.", world, at),
            Some(Ending::Fail(reason, failure)) => {
                self.error = Some(failure);
                self.finish(FisStatus::Failed, &reason, world, at)
            }
            Some(Ending::Stop(reason)) if self.due.is_none_or(|due| due <= at) => {
                self.finish(FisStatus::Stopped, reason, world, at)
            }
            stopping @ Some(Ending::Stop(_)) => {
                self.ending = stopping;
                return;
            }
        };
        changes.push(change);
    }
}
