//! The forecast: the planner in virtual time.
//!
//! Pure. Not a second opinion but the same [`plan`](super::plan) over rows that are kept in memory: what it says of a slot
//! is what the daemon would decide with the same rows and the same configuration. A run is assumed to take its longest
//! time. Experiments that cannot influence each other are forecast apart ([`clusters`]), so that a caller may spread them
//! over its cores; `world` is one such cluster's virtual time.

mod cluster;
pub mod diff;
mod world;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

pub use self::cluster::{Cluster, clusters};
use self::world::World;
use super::{
    cost::Cost,
    experiment::Rules,
    ids::{ExperimentName, RunId},
    ledger::Ledger,
    plan::{Halt, PauseRow, ScheduleKey, StopRequest},
    run::{HoldReason, Run},
    template::TemplateFacts,
};

/// Most passes that one experiment may take; beyond, its forecast ends early and says so.
pub const MAX_PASSES: usize = 200_000;

/// Most passes of all experiments together, shared out evenly.
const MAX_PASSES_OF_ALL: usize = 8_000_000;

/// What a forecast starts from.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// Cursors of schedules; those without one begin at the forecast's start.
    pub cursors: BTreeMap<ScheduleKey, Timestamp>,
    /// Runs that are not over. One that goes on is assumed to take its longest time.
    pub runs: Vec<Run>,
    /// Stops that operators asked for.
    pub stops: BTreeMap<RunId, StopRequest>,
    /// The halt, if it is on; it is assumed to stay.
    pub halt: Option<Halt>,
    /// What past runs left behind; the forecast adds its own.
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    /// Experiments that are paused.
    pub pauses: BTreeMap<ExperimentName, PauseRow>,
    /// What is known of templates, by experiment. Without it a run is assumed to take the experiment's `max_duration`.
    pub facts: BTreeMap<ExperimentName, TemplateFacts>,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// Every slot's run, over or not, in the order of their slots.
    pub runs: Vec<Expected>,
    /// The instant up to which slots of every experiment were considered (exclusive), earlier than asked for when there
    /// were too many.
    pub until: Timestamp,
    /// Experiments whose forecast ends earlier than asked for, with its end (exclusive).
    pub cut: BTreeMap<ExperimentName, Timestamp>,
}

/// A run that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its slot.
    pub slot: Timestamp,
    /// The run as it will be, without what is known of its template and its FIS experiment.
    pub run: Run,
    /// When it starts and ends at the latest; `None` when it is not started.
    pub runs_from_to: Option<(Timestamp, Timestamp)>,
    /// What its end rests on.
    pub basis: Basis,
    /// What it waited for last, if it had to.
    pub waited_for: Option<HoldReason>,
    /// What it costs; `None` when it is not started.
    pub cost: Option<Cost>,
}

/// What an expected end rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The template as it was last read.
    Template,
    /// The experiment's `max_duration`: the template was never read, or does not tell.
    #[serde(rename = "max-duration")]
    Limit,
}

/// Forecasts every slot in `[from, to)`.
pub fn forecast(rules: &Rules, outlook: &Outlook, from: Timestamp, to: Timestamp) -> Forecast {
    of(rules, outlook, &clusters(rules, outlook), from, to)
}

/// Forecasts the slots of some clusters in `[from, to)`.
pub fn of(rules: &Rules, outlook: &Outlook, clusters: &[Cluster], from: Timestamp, to: Timestamp) -> Forecast {
    let share = (MAX_PASSES_OF_ALL / rules.experiments.len().max(1)).min(MAX_PASSES);
    let mut forecast = Forecast { runs: Vec::new(), until: to, cut: BTreeMap::new() };
    // One set of windows for all of them: what it finds out of a year is worth keeping.
    let mut own = rules.clone();
    for cluster in clusters {
        let declared = cluster.iter().filter_map(|name| rules.experiments.get_key_value(name));
        own.experiments = declared.map(|(name, experiment)| (name.clone(), experiment.clone())).collect();
        let world = World::new(&own, outlook, cluster, from);
        let (runs, until) = world.run_until(to, share.saturating_mul(cluster.len()));
        forecast.runs.extend(runs);
        if until < to {
            forecast.cut.extend(cluster.iter().map(|name| (name.clone(), until)));
        }
    }
    merged([forecast], to)
}

/// Puts forecasts of different clusters up to the same `to` together.
pub fn merged(parts: impl IntoIterator<Item = Forecast>, to: Timestamp) -> Forecast {
    let mut all = Forecast { runs: Vec::new(), until: to, cut: BTreeMap::new() };
    for part in parts {
        all.runs.extend(part.runs);
        all.cut.extend(part.cut);
    }
    all.until = all.cut.values().min().copied().unwrap_or(to);
    all.runs.sort_by(|a, b| (a.slot, &a.run.experiment).cmp(&(b.slot, &b.run.experiment)));
    all
}
