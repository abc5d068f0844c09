//! Verdicts: which triggers of the configuration take an event, and why the others do not.
//!
//! Pure. For people who ask; which runs an event opens is decided in [`opened_runs`](super::opened_runs).

use std::fmt;

use super::Event;
use crate::domain::{
    experiment::{EventTrigger, Rules},
    ids::{ExperimentName, Name},
    pattern::{Explanation, Mismatch},
};

/// What one trigger says to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The experiment.
    pub experiment: ExperimentName,
    /// Which of its triggers, from 0.
    pub trigger: usize,
    /// What it says.
    pub answer: Answer,
}

/// An answer. The order is from the nearest to the farthest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It takes the event.
    Takes,
    /// It would, but one before it does.
    TakenBefore {
        /// Which trigger of the experiment, from 0.
        by: usize,
    },
    /// It takes events from elsewhere only.
    OtherSource {
        /// From where.
        wanted: Vec<Name>,
    },
    /// Its pattern does not match.
    Mismatch(Mismatch),
    /// Its pattern cannot be compared with such a text.
    Unreadable(String),
}

impl Answer {
    fn of(trigger: &EventTrigger, body: &str, source: Option<&Name>) -> Self {
        match trigger.pattern.explain(body) {
            Err(unreadable) => Self::Unreadable(unreadable.to_string()),
            Ok(Explanation::NoMatch(mismatch)) => Self::Mismatch(mismatch),
            Ok(Explanation::Match) => match source {
                Some(source) if !trigger.sources.is_empty() && !trigger.sources.contains(source) => {
                    Self::OtherSource { wanted: trigger.sources.clone() }
                }
                _ => Self::Takes,
            },
        }
    }

    fn distance(&self) -> usize {
        match self {
            Self::Takes | Self::TakenBefore { .. } | Self::OtherSource { .. } => 0,
            Self::Mismatch(mismatch) => mismatch.failed,
            Self::Unreadable(_) => usize::MAX,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Takes => f.write_str("takes it"),
            Self::TakenBefore { by } => write!(f, "would take it, but trigger {by} of the experiment comes first"),
            Self::OtherSource { wanted } => {
                let names: Vec<String> = wanted.iter().map(|name| format!("`{name}`")).collect();
                write!(f, "takes it from {} only", names.join(", "))
            }
            Self::Mismatch(mismatch) => {
                write!(f, "{mismatch}")?;
                match mismatch.failed {
                    0 | 1 => Ok(()),
                    failed => write!(f, " (and {} more)", failed - 1),
                }
            }
            Self::Unreadable(reason) => f.write_str(reason),
        }
    }
}

/// Returns what every trigger says to an event, nearest first. Without a `source` it may have come from anywhere.
pub fn verdicts(rules: &Rules, event: &Event, source: Option<&Name>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for experiment in rules.experiments.values() {
        let mut taken = None;
        for (trigger, declared) in experiment.triggers.iter().enumerate() {
            let answer = match (Answer::of(declared, &event.text, source), taken) {
                (Answer::Takes, Some(by)) => Answer::TakenBefore { by },
                (answer, _) => answer,
            };
            if answer == Answer::Takes {
                taken = Some(trigger);
            }
            verdicts.push(Verdict { experiment: experiment.name.clone(), trigger, answer });
        }
    }
    verdicts.sort_by_key(|verdict| (verdict.answer != Answer::Takes, verdict.answer.distance()));
    verdicts
}
