//! Exit codes. They are documented in the README and in `firedrill help`, and tested.

use std::process::ExitCode;

use crate::domain::{outcome::Outcome, run::RunState};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// What was asked for is done; `start --wait`: the run completed.
    Done,
    /// Something failed that is not named below.
    Internal,
    /// The arguments or the configuration have mistakes.
    Usage,
    /// No agent answers, or there is no store.
    NoAgent,
    /// What was asked about does not exist.
    NotFound,
    /// `queue plan`, `store migrate --dry-run`: something is to be changed.
    Changes,
    /// `event match`: the event does not match.
    NoMatch,
    /// `halt --lever`, `resume`: a safety lever could not be moved.
    LeverStuck,
    /// `store check`: something is wrong with the store. `plan`: a row cannot be read.
    Unsound,
    /// `start --wait`: the run was stopped.
    Stopped,
    /// `start --wait`: the run failed, was cancelled by the safety lever, was not started or was lost.
    Failed,
    /// `start --wait`: the run was skipped.
    Skipped,
    /// `start --wait`: the run is still going on after `--timeout`.
    TimedOut,
    /// `simulator --exec`: as the command ended.
    Command(u8),
}

/// Codes and their meanings, as `firedrill help` prints them.
pub const HELP: &str = "Exit codes:
   0  done; with `start --wait`: the run completed
   1  something failed; `halt --lever`: the halt is not recorded, levers may be engaged
   2  the arguments or the configuration have mistakes
   3  no agent answers, or there is no store
   4  what was asked about does not exist
   5  `queue plan`, `store migrate --dry-run`: something is to be changed
   6  `event match`: the event does not match
   7  `halt --lever`, `resume`: a safety lever could not be moved
   8  `store check`: something is wrong with the store; `plan`: a row cannot be read
  10  `start --wait`: the run was stopped
  11  `start --wait`: the run failed, was cancelled, was not started or was lost
  12  `start --wait`: the run was skipped
  13  `start --wait`: the run goes on after --timeout
   n  `simulator --exec`: the command's own; 128 + n when signal n ended it";

impl Exit {
    /// Returns the code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Internal => 1,
            Self::Usage => 2,
            Self::NoAgent => 3,
            Self::NotFound => 4,
            Self::Changes => 5,
            Self::NoMatch => 6,
            Self::LeverStuck => 7,
            Self::Unsound => 8,
            Self::Stopped => 10,
            Self::Failed => 11,
            Self::Skipped => 12,
            Self::TimedOut => 13,
            Self::Command(code) => code,
        }
    }

    /// Reads the code off a run; `None` while it goes on.
    pub fn of_run(state: &RunState) -> Option<Self> {
        match state {
            RunState::Skipped { .. } => Some(Self::Skipped),
            RunState::Finished { outcome, .. } => Some(match outcome {
                Outcome::Completed | Outcome::CompletedPartly { .. } | Outcome::Previewed => Self::Done,
                Outcome::Stopped { .. } => Self::Stopped,
                Outcome::Failed { .. } | Outcome::Cancelled | Outcome::NotStarted { .. } | Outcome::Lost { .. } => {
                    Self::Failed
                }
            }),
            _ => None,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// A command that failed: what to say, and how to end.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What is said.
    pub error: anyhow::Error,
}

impl Failure {
    /// Something failed that has no code of its own.
    pub fn internal(error: anyhow::Error) -> Self {
        Self { exit: Exit::Internal, error }
    }

    /// A failure with a code.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// A failure that is only words.
    pub fn say(exit: Exit, text: impl std::fmt::Display) -> Self {
        Self { exit, error: anyhow::anyhow!("{text}") }
    }
}
