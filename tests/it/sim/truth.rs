//! The truth about one FIS experiment: when it began, how it would end by itself, and how it did.

use std::collections::BTreeMap;

use firedrill::domain::{
    estimate::Estimate,
    experiment::Place,
    fis::{FisAction, FisError, FisExperiment, FisStatus},
    ids::{RUN_TAG, RunId},
    template::TemplateFacts,
};
use firedrill::engine::ports::StartRequest;

use super::nature::Nature;
use crate::support::chance::Chance;

const MINUTE_MS: u64 = 60_000;

/// A FIS experiment. Times are true time in milliseconds.
#[derive(Debug, Clone)]
pub struct Experiment {
    pub id: String,
    pub place: Place,
    pub request: StartRequest,
    pub created_at: u64,
    running_at: u64,
    ends_at: u64,
    ends: End,
    pub stopped_at: Option<u64>,
    stop_takes: u64,
    /// From when on a list shows it.
    pub listed_at: u64,
    /// FIS denies ever having had it.
    pub is_forgotten: bool,
    /// What each of its actions does.
    actions: BTreeMap<String, String>,
}

/// How it ends when nobody stops it.
#[derive(Debug, Clone, Copy)]
enum End {
    Completed,
    Failed,
    Alarm,
    Lever,
    Outsider,
}

/// Draws what will become of a new experiment.
pub fn drawn(
    c: &mut Chance,
    id: String,
    place: Place,
    request: StartRequest,
    facts: &TemplateFacts,
    at: u64,
) -> Experiment {
    let natural = match facts.ceiling() {
        Estimate::Known(length) => {
            let ceiling = u64::try_from(length.as_millis()).expect("a length");
            let tenths = if c.one_in(6) { c.between(10, 40) } else { c.between(4, 9) };
            ceiling * tenths / 10
        }
        Estimate::Unknown => c.between(MINUTE_MS, 90 * MINUTE_MS),
    };
    let ends = match c.between(0, 19) {
        0 => End::Failed,
        1 => End::Alarm,
        2 => End::Lever,
        3 => End::Outsider,
        _ => End::Completed,
    };
    let length = match ends {
        End::Completed => natural,
        End::Lever => c.between(0, 2_000),
        End::Failed | End::Alarm | End::Outsider => c.between(0, natural),
    };
    let stop_takes = if c.one_in(8) { c.between(MINUTE_MS, 15 * MINUTE_MS) } else { c.between(0, 20_000) };
    Experiment {
        id,
        place,
        request,
        created_at: at,
        running_at: at + c.between(500, 10_000),
        ends_at: at + length,
        ends,
        stopped_at: None,
        stop_takes,
        listed_at: at + if c.one_in(2) { 0 } else { c.between(0, 10_000) },
        is_forgotten: c.one_in(100),
        actions: facts.actions.iter().map(|(name, action)| (name.clone(), action.action_id.clone())).collect(),
    }
}

impl Experiment {
    pub fn run(&self) -> RunId {
        RunId::from_text(self.request.tags.get(RUN_TAG).map_or("", String::as_str))
    }

    /// When it is over.
    pub fn end(&self) -> u64 {
        match self.stopped_at {
            Some(stopped) if stopped < self.ends_at => stopped + self.stop_takes,
            _ => self.ends_at,
        }
    }

    pub fn has_ended(&self, at: u64) -> bool {
        at >= self.end()
    }

    fn status(&self, at: u64) -> (FisStatus, &'static str) {
        let is_stopped = self.stopped_at.is_some_and(|stopped| stopped <= at && stopped < self.ends_at);
        if !self.has_ended(at) {
            return match is_stopped {
                true => (FisStatus::Stopping, ""),
                false if at < self.running_at => (FisStatus::Initiating, ""),
                false => (FisStatus::Running, ""),
            };
        }
        match self.ends {
            _ if is_stopped => (FisStatus::Stopped, "Experiment stopped by user."),
            End::Completed => (FisStatus::Completed, "Experiment completed."),
            End::Failed => (FisStatus::Failed, "Failed to resolve targets."),
            End::Alarm => (FisStatus::Stopped, "Experiment halted by stop condition."),
            End::Lever => (FisStatus::Cancelled, "Cancelled by the safety lever."),
            End::Outsider => (FisStatus::Stopped, "Experiment stopped by user."),
        }
    }

    /// What FIS tells of an action: each goes on for as long as the experiment does, if that comes to it.
    fn action(&self, does: &str, at: u64, nature: &Nature) -> FisAction {
        let has_begun = at >= self.running_at && self.running_at < self.end();
        let (status, reason) = match self.status(at) {
            (FisStatus::Initiating, _) => (FisStatus::Pending, ""),
            (FisStatus::Stopping, _) if !has_begun => (FisStatus::Pending, ""),
            (FisStatus::Failed | FisStatus::Stopped, _) if !has_begun => (FisStatus::Cancelled, ""),
            status => status,
        };
        FisAction {
            action_id: does.to_owned(),
            status,
            reason: reason.to_owned(),
            start_after: Vec::new(),
            started_at: has_begun.then(|| nature.true_wall_at(self.running_at)),
            ended_at: (has_begun && self.has_ended(at)).then(|| nature.true_wall_at(self.end())),
        }
    }

    /// What FIS tells of it.
    pub fn shown(&self, at: u64, nature: &Nature) -> FisExperiment {
        let (status, reason) = self.status(at);
        let error =
            (status == FisStatus::Failed).then(|| FisError { code: "InvalidTarget".to_owned(), location: None });
        FisExperiment {
            id: self.id.clone(),
            template_id: self.request.template_id.clone(),
            status,
            reason: reason.to_owned(),
            error,
            preview: false,
            created_at: Some(nature.true_wall_at(self.created_at)),
            started_at: (at >= self.running_at).then(|| nature.true_wall_at(self.running_at)),
            ended_at: self.has_ended(at).then(|| nature.true_wall_at(self.end())),
            actions: self.actions.iter().map(|(name, does)| (name.clone(), self.action(does, at, nature))).collect(),
            lever_engaged: None,
        }
    }
}
