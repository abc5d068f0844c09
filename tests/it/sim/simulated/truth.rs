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
use crate::{
    sim::{
        drawn::scenario::{HOUR_MS, MINUTE_MS},
        planted::Bug,
    },
    support::chance::Chance,
};

/// When FIS ends everything (AWS FIS quotas), in milliseconds.
pub const LONGEST_MS: u64 = 12 * HOUR_MS;

/// What is drawn of; strange words are polled for often, and so are seldom.
const UNTOLD: [Untold; 6] =
    [Untold::Strange, Untold::Silent, Untold::Silent, Untold::Silent, Untold::Silent, Untold::Silent];

/// A FIS experiment. Times are true time in milliseconds.
#[derive(Debug, Clone)]
pub struct Experiment {
    pub id: String,
    pub place: Place,
    pub request: StartRequest,
    pub created_at: u64,
    initiating_at: u64,
    running_at: u64,
    ends_at: u64,
    ends: End,
    /// When somebody's request to stop it was heeded.
    pub stopped_at: Option<u64>,
    /// When the safety lever, engaged, stops it.
    lever_at: Option<u64>,
    stop_takes: u64,
    /// Requests to stop it that are answered and not heeded.
    deaf: usize,
    /// When such a request was taken.
    pub unheeded: Vec<u64>,
    /// When FIS told after that that it goes on.
    pub told_going: Vec<u64>,
    /// From when on a list shows it.
    pub listed_at: u64,
    /// FIS denies ever having had it.
    pub is_forgotten: bool,
    /// What each of its actions does.
    actions: BTreeMap<String, String>,
    /// From when it runs on FIS does not tell how it is.
    pub untold: Option<Untold>,
}

/// How FIS does not tell of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Untold {
    /// Its words are none that anybody knows.
    Strange,
    /// It fails to answer.
    Silent,
}

/// How it ends when nobody stops it.
#[derive(Debug, Clone, Copy)]
enum End {
    Completed,
    Failed,
    Alarm,
    Lever,
    Outsider,
    /// Only by FIS's own limit.
    Endless,
}

/// What a new experiment meets.
pub struct Around {
    /// When it is created.
    pub at: u64,
    /// When the safety lever is engaged next, or is already.
    pub lever_at: Option<u64>,
    /// Whether calls fail these days.
    pub is_bad_day: bool,
    /// Whether it may be stuck, go on for ever, or not heed that it is stopped.
    pub is_moody: bool,
}

/// Draws what will become of a new experiment.
pub fn drawn(
    c: &mut Chance,
    id: String,
    place: Place,
    request: StartRequest,
    facts: &TemplateFacts,
    Around { at, lever_at, is_bad_day, is_moody }: Around,
) -> Experiment {
    let natural = match facts.ceiling() {
        Estimate::Known(length) => {
            let ceiling = u64::try_from(length.as_millis()).expect("a length");
            let tenths = if c.one_in(6) { c.between(10, 40) } else { c.between(4, 9) };
            ceiling * tenths / 10
        }
        Estimate::Unknown => c.between(MINUTE_MS, 90 * MINUTE_MS),
    };
    let ends = match c.between(0, 39) {
        0 | 1 => End::Failed,
        2 | 3 => End::Alarm,
        4 | 5 => End::Outsider,
        6 if is_moody => End::Endless,
        _ => End::Completed,
    };
    let length = match ends {
        End::Completed => natural,
        End::Endless => LONGEST_MS,
        End::Lever | End::Failed | End::Alarm | End::Outsider => c.between(0, natural),
    };
    // Some are stuck before they run.
    let mut stuck = || if is_moody && c.one_in(20) { c.between(MINUTE_MS, 10 * MINUTE_MS) } else { 0 };
    let (pending, initiating) = (stuck(), stuck());
    let initiating_at = at + pending + if c.one_in(4) { c.between(0, 2_000) } else { 0 };
    let running_at = initiating_at + initiating + c.between(500, 10_000);
    let ends_at = (at + pending + initiating + length).min(at + LONGEST_MS);
    let mut experiment = Experiment {
        id,
        place,
        request,
        created_at: at,
        initiating_at,
        running_at,
        ends_at,
        ends,
        stopped_at: None,
        lever_at,
        stop_takes: if c.one_in(8) { c.between(MINUTE_MS, 15 * MINUTE_MS) } else { c.between(0, 20_000) },
        deaf: if is_moody && c.one_in(8) { c.pick(&[1, 1, 2]) } else { 0 },
        unheeded: Vec::new(),
        told_going: Vec::new(),
        listed_at: at + if c.one_in(2) { 0 } else { c.between(0, 10_000) },
        is_forgotten: c.one_in(100),
        actions: facts.actions.iter().map(|(name, action)| (name.clone(), action.action_id.clone())).collect(),
        untold: (is_bad_day && c.one_in(60)).then(|| c.pick(&UNTOLD)),
    };
    if let Some(lever_at) = lever_at.filter(|lever_at| *lever_at < running_at.min(ends_at)) {
        let ends_at = lever_at + c.between(0, 2_000);
        experiment = Experiment { ends: End::Lever, ends_at, lever_at: None, ..experiment };
    }
    experiment
}

impl Experiment {
    pub fn run(&self) -> RunId {
        RunId::from_text(self.request.tags.get(RUN_TAG).map_or("", String::as_str))
    }

    /// When it begins to be stopped, if it is.
    fn stop(&self) -> Option<u64> {
        self.stopped_at.into_iter().chain(self.lever_at).min().filter(|at| *at < self.ends_at)
    }

    /// When it is over.
    pub fn end(&self) -> u64 {
        self.stop().map_or(self.ends_at, |stopped| stopped + self.stop_takes)
    }

    pub fn has_ended(&self, at: u64) -> bool {
        at >= self.end()
    }

    /// FIS takes a request to stop it, and heeds it, or does not.
    pub fn told_to_stop(&mut self, at: u64) {
        if self.unheeded.len() < self.deaf {
            self.unheeded.push(at);
        } else {
            self.stopped_at.get_or_insert(at);
        }
    }

    /// How it ended in the end.
    pub fn outcome(&self) -> FisStatus {
        self.status(u64::MAX).0
    }

    /// Whether FIS says that it goes on as if it had not been asked to stop.
    pub fn is_told_going(&self, at: u64) -> bool {
        let going = [FisStatus::Pending, FisStatus::Initiating, FisStatus::Running];
        going.contains(&self.status(at).0) && !self.is_untold(at)
    }

    fn is_untold(&self, at: u64) -> bool {
        self.untold.is_some() && at >= self.running_at
    }

    /// Whether FIS fails to answer how it is.
    pub fn is_silent(&self, at: u64) -> bool {
        self.untold == Some(Untold::Silent) && at >= self.running_at
    }

    fn status(&self, at: u64) -> (FisStatus, &'static str) {
        let stop = self.stop().filter(|stopped| *stopped <= at);
        if !self.has_ended(at) {
            return match stop {
                Some(_) => (FisStatus::Stopping, ""),
                None if at < self.initiating_at => (FisStatus::Pending, ""),
                None if at < self.running_at => (FisStatus::Initiating, ""),
                None => (FisStatus::Running, ""),
            };
        }
        match self.ends {
            _ if stop.is_some() => (FisStatus::Stopped, "Experiment stopped."),
            End::Completed => (FisStatus::Completed, "Experiment completed."),
            End::Failed => (FisStatus::Failed, "Failed to resolve targets."),
            End::Alarm => (FisStatus::Stopped, "Experiment halted by stop condition."),
            End::Lever => (FisStatus::Cancelled, "Cancelled by the safety lever."),
            End::Outsider => (FisStatus::Stopped, "Experiment stopped."),
            End::Endless => (FisStatus::Failed, "Experiment took too long."),
        }
    }

    /// What FIS tells of an action: each goes on for as long as the experiment does, if that comes to it.
    fn action(&self, does: &str, at: u64, nature: &Nature) -> FisAction {
        let has_begun = at >= self.running_at && self.running_at < self.end();
        let (status, reason) = match self.status(at) {
            (FisStatus::Pending | FisStatus::Initiating, _) => (FisStatus::Pending, ""),
            (FisStatus::Stopping, _) if !has_begun => (FisStatus::Pending, ""),
            (FisStatus::Failed | FisStatus::Stopped | FisStatus::Cancelled, _) if !has_begun => {
                (FisStatus::Cancelled, "")
            }
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
        let (status, reason) = match self.status(at) {
            _ if self.is_untold(at) => (FisStatus::Unknown("paused".to_owned()), ""),
            (FisStatus::Failed | FisStatus::Cancelled, _) if nature.bug() == Bug::EndsTakenForSuccess => {
                (FisStatus::Completed, "")
            }
            _ if nature.bug() == Bug::StopBelieved && self.is_told_going(at) && !self.unheeded.is_empty() => {
                (FisStatus::Stopping, "")
            }
            told => told,
        };
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
            ended_at: (self.has_ended(at) && !self.is_untold(at)).then(|| nature.true_wall_at(self.end())),
            actions: self.actions.iter().map(|(name, does)| (name.clone(), self.action(does, at, nature))).collect(),
            lever_engaged: None,
        }
    }
}
