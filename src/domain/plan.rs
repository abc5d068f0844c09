//! The planner: every rule of what to do next, and when to look again.
//!
//! Pure. [`plan`] and [`next_wake`] read the same survey of the rows, so an effect that is due later and the instant at
//! which it becomes due cannot disagree. The daemon, the recovery after a crash and the forecast all call them; nobody
//! else decides. Slots are opened in `slots`, starts are judged in `start`, what runs is watched in `watch`.

mod deploy;
mod guards;
mod place;
mod slots;
mod start;
mod turn;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

pub use self::{
    guards::{Beside, Explained, explain, explain_beside, paused, standing},
    place::{PLACE_FACTS_MAX_AGE, Places},
    slots::{Cursor, Cursors, MISSED_COUNT_LIMIT},
    start::{DOUBT_LOOKS, FACTS_MAX_AGE, Looked, is_looked_for_first, left_nothing},
    watch::{LOST_AFTER, LOST_AFTER_FAILURES, LOST_AFTER_UNKNOWN, NOT_FOUND_LOST_AFTER},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    deployment::{Deployed, DeployedKey},
    experiment::{Place, Rules, TemplateSelector, Ties},
    ids::{ExperimentName, RunId, ScheduleName},
    ledger::Ledger,
    lever::{self, HeldLever, Standing},
    place::{PlaceFacts, Wanted},
    run::{Observation, Run, RunState, StopCause},
    template::TemplateFacts,
};

/// Key of a schedule's cursor: the experiment and the schedule's [`timetable`](super::schedule::Schedule::timetable).
pub type ScheduleKey = (ExperimentName, ScheduleName);

/// All rows that decisions rest on, at one instant.
#[derive(Debug, Clone)]
pub struct Snapshot<'a> {
    /// The configuration.
    pub rules: &'a Rules,
    /// The last slot handled, per schedule.
    pub cursors: Cursors,
    /// Every run that is not over, oldest first.
    pub runs: Vec<Run>,
    /// The global halt, if it is on.
    pub halt: Option<Halt>,
    /// Stops that operators asked for.
    pub stops: BTreeMap<RunId, StopRequest>,
    /// What past runs left behind, by experiment.
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    /// Experiments that are or were paused.
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    /// What is remembered of what open runs are about.
    pub deployed: BTreeMap<DeployedKey, Deployed>,
    /// Whether the agent may begin anything.
    pub mode: Mode,
    /// When FIS last told of an experiment, unasked, by its id.
    pub hints: BTreeMap<String, Timestamp>,
    /// Runs with a call under way that does not give way: nothing else is done to them meanwhile.
    pub busy: BTreeSet<RunId>,
    /// Whether places are read before something starts in them.
    pub places: Places,
    /// What nothing begins of.
    pub withheld: Withheld,
    /// When the rows were last taken back from a backup: what happened since that was made they do not know.
    pub restored_at: Option<Timestamp>,
    /// When something was read that may be older than it says, whatever the clock shows by now; see [`Looked`].
    pub aged: BTreeSet<Timestamp>,
}

/// What nothing begins of, since a row about it cannot be read. It is as if nobody had looked: what is due is decided when the
/// row can be read again. What runs is looked after all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Withheld {
    /// These experiments.
    Some(BTreeSet<ExperimentName>),
    /// Every experiment: nobody knows which the row is about, or what runs beside them.
    All,
}

impl Default for Withheld {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Withheld {
    /// Withholds an experiment too; all where it is not known.
    pub fn add(&mut self, experiment: Option<ExperimentName>) {
        match (self, experiment) {
            (Self::Some(names), Some(name)) => _ = names.insert(name),
            (of, _) => *of = Self::All,
        }
    }

    /// Tells whether nothing of an experiment begins.
    pub fn holds(&self, experiment: &ExperimentName) -> bool {
        match self {
            Self::Some(names) => names.contains(experiment),
            Self::All => true,
        }
    }
}

/// All chaos is halted: nothing starts, and what runs is stopped unless told otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halt {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// What happens to runs that are going on.
    pub running: HaltRunning,
    /// Safety levers that it engages besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levers: Vec<HeldLever>,
}

/// What a halt does to runs that are going on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HaltRunning {
    /// They are stopped.
    #[default]
    Stop,
    /// They may finish.
    Finish,
}

/// A change of the halt's row. It is made of what the row is by then, whoever changed it since anybody looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halting {
    /// All is halted anew. Levers of a halt that is on stay its own, under their mark.
    Halt(Halt),
    /// How far the halt that was `seen` has come with some of its levers.
    Note {
        /// The halt, as it was before they were moved.
        seen: Halt,
        /// Those that were.
        moved: Vec<HeldLever>,
    },
    /// The halt that was `seen` is lifted.
    Lift {
        /// The halt, as it was before its levers were let go.
        seen: Halt,
        /// Those that could not be let go: with one of them it stands.
        left: Vec<HeldLever>,
    },
    /// Any halt is lifted, whatever levers it holds.
    Resume,
}

impl Halting {
    /// Returns the row after the change.
    pub fn after(self, row: Option<Halt>) -> Option<Halt> {
        match (self, row) {
            (Self::Resume | Self::Note { .. } | Self::Lift { .. }, None) | (Self::Resume, Some(_)) => None,
            (Self::Halt(mut halt), row) => {
                let mut levers = row.map(|row| row.levers).unwrap_or_default();
                halt.levers.retain(|asked| !lever::holds(&levers, &asked.place));
                levers.append(&mut halt.levers);
                Some(Halt { levers, ..halt })
            }
            (Self::Note { seen, moved }, Some(mut row)) => {
                for held in row.levers.iter_mut().filter(|held| row.at == seen.at && seen.levers.contains(held)) {
                    *held = moved.iter().find(|moved| moved.place == held.place).unwrap_or(held).clone();
                }
                Some(row)
            }
            (Self::Lift { seen, left }, Some(mut row)) if row.at == seen.at => {
                // What somebody asked for or noted meanwhile was not let go.
                row.levers.retain(|held| !seen.levers.contains(held));
                let left = left.into_iter().filter(|left| !lever::holds(&row.levers, &left.place)).collect::<Vec<_>>();
                row.levers.extend(left);
                (!row.levers.is_empty()).then_some(row)
            }
            // Somebody halted anew meanwhile, and what was let go of its levers is asked for again.
            (Self::Lift { seen, .. }, Some(mut row)) => {
                for held in row.levers.iter_mut().filter(|held| lever::holds(&seen.levers, &held.place)) {
                    held.standing = Standing::Asked;
                }
                Some(row)
            }
        }
    }
}

/// An experiment's row of pauses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PauseRow {
    /// The pause, also when its time is over.
    pub pause: Option<Pause>,
}

/// An experiment is paused: nothing of it starts, what runs goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// When it ends by itself (exclusive); `None` when somebody has to resume it.
    pub until: Option<Timestamp>,
}

/// A change of an experiment's row of pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pausing {
    /// It is paused.
    Pause(Pause),
    /// It is resumed, and its failures up to then are forgotten.
    Resume,
}

impl PauseRow {
    /// Returns the row after a change.
    pub fn after(change: Pausing) -> Self {
        match change {
            Pausing::Pause(pause) => Self { pause: Some(pause) },
            Pausing::Resume => Self { pause: None },
        }
    }

    /// Returns the pause that is in force at an instant.
    pub fn in_force(&self, now: Timestamp) -> Option<&Pause> {
        self.pause.as_ref().filter(|pause| pause.until.is_none_or(|until| now < until))
    }
}

/// An operator's wish to stop a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

/// Whether the agent may begin anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It may.
    #[default]
    Active,
    /// It shuts down: it opens and starts nothing, and watches what runs.
    Draining,
    /// It shuts down and stops what runs.
    DrainingWithStop,
}

/// What the planner asks for. The shell performs it and records what it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// A schedule is new, or back with nothing due meanwhile: remember that slots up to `at` are none of its business.
    AdoptSchedule {
        /// Which.
        schedule: ScheduleKey,
        /// Its cursor.
        at: Timestamp,
    },
    /// A schedule has left the configuration: remember since when.
    LeaveSchedule {
        /// Which.
        schedule: ScheduleKey,
        /// When that is seen.
        at: Timestamp,
    },
    /// A schedule has been gone for long: forget its cursor, so that it is new if it comes back.
    ForgetSchedule {
        /// Which.
        schedule: ScheduleKey,
    },
    /// Slots are due: record their runs and move the cursor in one transaction.
    OpenSlots {
        /// Which schedule.
        schedule: ScheduleKey,
        /// Its cursor afterwards.
        cursor: Timestamp,
        /// The runs.
        runs: Vec<Run>,
    },
    /// Something was decided without asking anybody: record it.
    Record {
        /// Which run.
        run: RunId,
        /// What.
        observation: Observation,
    },
    /// Ask FIS what the template says.
    ReadTemplate {
        /// For which run.
        run: RunId,
        /// Where.
        place: Place,
        /// Which template.
        template: TemplateSelector,
    },
    /// Ask AWS what a start wants to know of its place.
    Probe {
        /// For which run.
        run: RunId,
        /// Which place.
        place: Place,
        /// What.
        wanted: Wanted,
    },
    /// Record the intent, then call StartExperiment.
    Start {
        /// Which run.
        run: RunId,
        /// Where.
        place: Place,
        /// `EXT…`.
        template_id: String,
        /// Tags for the FIS experiment besides the run's own.
        tags: BTreeMap<String, String>,
        /// What was read of the template for another run of the experiment, where this one is judged by it.
        facts: Option<TemplateFacts>,
        /// What was read of the place, by which it is judged; `None` when places are assumed to be fine.
        place_facts: Option<Box<PlaceFacts>>,
        /// What holds for it from now on, should its experiment leave the configuration.
        ties: Box<Ties>,
    },
    /// Look for the run's FIS experiment by tag.
    Look {
        /// Which run.
        run: RunId,
    },
    /// Ask FIS how the experiment is.
    Poll {
        /// Which run.
        run: RunId,
    },
    /// Record the intent if it is new, then call StopExperiment.
    Stop {
        /// Which run.
        run: RunId,
        /// Why.
        cause: StopCause,
    },
}

impl Effect {
    /// Returns the run that it is about, if it is about one.
    pub fn run(&self) -> Option<&RunId> {
        match self {
            Self::Record { run, .. } => Some(run),
            other => other.call_for(),
        }
    }

    /// Returns the run that somebody is to be asked about; `None` when the effect concerns only rows.
    pub fn call_for(&self) -> Option<&RunId> {
        match self {
            Self::ReadTemplate { run, .. }
            | Self::Probe { run, .. }
            | Self::Start { run, .. }
            | Self::Look { run }
            | Self::Poll { run }
            | Self::Stop { run, .. } => Some(run),
            Self::AdoptSchedule { .. }
            | Self::LeaveSchedule { .. }
            | Self::ForgetSchedule { .. }
            | Self::OpenSlots { .. }
            | Self::Record { .. } => None,
        }
    }
}

/// Returns everything that is to be done now.
pub fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Vec<Effect> {
    survey(snapshot, now).effects
}

/// Returns the next instant at which [`plan`] may have something new to do, if no row changes before; `None` when only
/// a changed row can make it so. Never before `now`.
pub fn next_wake(snapshot: &Snapshot<'_>, now: Timestamp) -> Option<Timestamp> {
    plan_and_wake(snapshot, now).1
}

/// Answers as [`plan`] and [`next_wake`] do, for the price of one of them.
pub fn plan_and_wake(snapshot: &Snapshot<'_>, now: Timestamp) -> (Vec<Effect>, Option<Timestamp>) {
    let survey = survey(snapshot, now);
    let wake = survey.wake.into_iter().chain(survey.poll).min();
    (survey.effects, wake.map(|wake| wake.max(now)))
}

/// As [`plan_and_wake`], for someone who knows how FIS's experiments go on: polls do not count.
pub fn look(snapshot: &Snapshot<'_>, now: Timestamp) -> (Vec<Effect>, Option<Timestamp>) {
    let survey = survey(snapshot, now);
    (survey.effects, survey.wake.map(|wake| wake.max(now)))
}

/// Returns which runs have to be stopped now whatever the store says by then, and why: a window, a halt, its length, or
/// somebody's wish ends each of them. Nothing makes room for another run, which could not begin.
pub fn stops(snapshot: &Snapshot<'_>, now: Timestamp) -> Vec<(RunId, StopCause)> {
    let mut survey = Survey::default();
    for run in snapshot.runs.iter().filter(|run| !snapshot.busy.contains(&run.id)) {
        watch::survey(snapshot, &[], run, now, &mut survey);
    }
    let stop = |effect| match effect {
        Effect::Stop { cause: StopCause::Replaced { .. }, .. } => None,
        Effect::Stop { run, cause } => Some((run, cause)),
        _ => None,
    };
    survey.effects.into_iter().filter_map(stop).collect()
}

/// What is due, and when something else will be.
#[derive(Debug, Default)]
struct Survey {
    effects: Vec<Effect>,
    wake: Option<Timestamp>,
    /// When FIS is asked next.
    poll: Option<Timestamp>,
    /// What is to be known of places.
    asks: place::Asks,
}

impl Survey {
    /// Asks for another look at an instant.
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// Asks for another look when a poll is due.
    fn poll_at(&mut self, at: Timestamp) {
        self.poll = Some(self.poll.map_or(at, |poll| poll.min(at)));
    }

    fn record(&mut self, run: &Run, observation: Observation) {
        self.effects.push(Effect::Record { run: run.id.clone(), observation });
    }
}

/// Lists the runs of which a FIS experiment exists or may exist.
pub fn going<'a>(snapshot: &'a Snapshot<'_>) -> Vec<&'a Run> {
    snapshot.runs.iter().filter(|run| run.may_be_running()).collect()
}

fn survey(snapshot: &Snapshot<'_>, now: Timestamp) -> Survey {
    let mut survey = Survey::default();
    // Runs that begin in this very pass count as going on for those behind them.
    let mut beside = Beside::of(snapshot, now);
    let informed: Vec<_> = snapshot.runs.iter().map(|run| beside.informed(snapshot, run, now)).collect();
    let judged = snapshot.runs.iter().zip(&informed).map(|(run, informed)| informed.as_ref().unwrap_or(run));
    let held: Vec<&Run> = judged.filter(|run| matches!(run.state, RunState::Held { .. })).collect();
    for (run, informed) in snapshot.runs.iter().zip(&informed).filter(|(run, _)| !snapshot.busy.contains(&run.id)) {
        match &run.state {
            RunState::Requested | RunState::Settling | RunState::Held { .. } => {
                if start::survey(snapshot, run, informed.as_ref(), &beside, now, &mut survey) == start::Begins::Now {
                    beside.going.push(informed.as_ref().unwrap_or(run));
                }
            }
            RunState::Starting { .. } => start::survey_again(snapshot, run, &beside, now, &mut survey),
            RunState::Running { .. } | RunState::Stopping { .. } => {
                watch::survey(snapshot, &held, run, now, &mut survey)
            }
            RunState::Finished { .. } | RunState::Skipped { .. } => {}
        }
    }
    let asks = std::mem::take(&mut survey.asks);
    survey.effects.extend(asks.effects(snapshot, now));
    // Nothing is to be done when a pause ends, but it is to be told.
    let pauses = snapshot.pauses.values().filter_map(|row| row.in_force(now)?.until);
    pauses.for_each(|until| survey.wake_at(until));
    // Last, so that what goes on is looked after first.
    slots::survey(snapshot, now, &mut survey);
    survey
}
