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

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use self::cluster::{Cluster, clusters};
use self::world::World;
use super::{
    cost::Cost,
    deployment::{Deployed, DeployedKey},
    experiment::Rules,
    ids::{ExperimentName, RunId},
    ledger::Ledger,
    plan::{Cursors, Explained, Halt, PauseRow, StopRequest},
    run::{HoldReason, Run},
    template::TemplateFacts,
};

/// Most passes that one experiment may take; beyond, its forecast ends early and says so.
pub const MAX_PASSES: usize = 200_000;

/// Most passes of all experiments together, shared out evenly.
const MAX_PASSES_OF_ALL: usize = 8_000_000;

/// Most looks at an experiment that one cluster may take: a pass looks at all of its experiments.
const MAX_LOOKS: usize = 200_000_000;

/// How far clusters go on at a time.
const STRIDE: SignedDuration = SignedDuration::from_hours(24 * 32);

/// What a forecast starts from.
#[derive(Debug, Clone, Default)]
pub struct Outlook {
    /// Cursors of schedules; those without one begin at the forecast's start.
    pub cursors: Cursors,
    /// Runs that are not over. One that goes on is assumed to take its longest time.
    pub runs: Vec<Run>,
    /// Stops that operators asked for.
    pub stops: BTreeMap<RunId, StopRequest>,
    /// The halt, if it is on; it is assumed to stay.
    pub halt: Option<Halt>,
    /// What past runs left behind; the forecast adds its own.
    pub ledgers: BTreeMap<ExperimentName, Ledger>,
    /// What is remembered of what open runs are about.
    pub deployed: BTreeMap<DeployedKey, Deployed>,
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
    pub run: Box<Run>,
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
    let own: Vec<Rules> = clusters.iter().map(|cluster| rules_of(rules, cluster)).collect();
    let mut worlds: Vec<World<'_>> = own
        .iter()
        .zip(clusters)
        .map(|(own, cluster)| {
            let passes = share.saturating_mul(cluster.len()).min(MAX_LOOKS / cluster.len().max(1));
            World::new(own, outlook, cluster, from, passes)
        })
        .collect();
    // All of them go on together, as what is known of windows is kept for the time that is being looked at.
    let mut until = from;
    while until < to {
        until = until.saturating_add(STRIDE).unwrap_or(to).min(to);
        worlds.iter_mut().for_each(|world| world.advance(until));
    }
    let mut forecast = Forecast { runs: Vec::new(), until: to, cut: BTreeMap::new() };
    for (world, cluster) in worlds.into_iter().zip(clusters) {
        if let Some(cut) = world.cut() {
            forecast.cut.extend(cluster.iter().map(|name| (name.clone(), cut)));
        }
        forecast.runs.extend(world.finish());
    }
    merged([forecast], to)
}

/// The rules of a cluster alone.
fn rules_of(rules: &Rules, cluster: &Cluster) -> Rules {
    let declared = cluster.iter().filter_map(|name| rules.experiments.get_key_value(name));
    let experiments = declared.map(|(name, experiment)| (name.clone(), experiment.clone())).collect();
    Rules {
        experiments,
        windows: rules.windows.clone(),
        budget: rules.budget,
        groups: rules.groups.clone(),
        ..Rules::default()
    }
}

/// Forecasts one slot of an experiment, from `from` up to `to` (exclusive), with every rule that its last decision was
/// made by; `None` when there is no such slot in it, or it lies too far ahead.
pub fn explain(
    rules: &Rules,
    outlook: &Outlook,
    (experiment, slot): (&ExperimentName, Timestamp),
    from: Timestamp,
    to: Timestamp,
) -> Option<(Expected, Vec<Explained>)> {
    let cluster = clusters(rules, outlook).into_iter().find(|cluster| cluster.contains(experiment))?;
    let own = rules_of(rules, &cluster);
    let mut world = World::new(&own, outlook, &cluster, from, MAX_PASSES.saturating_mul(cluster.len()));
    world.asked = Some((experiment, slot));
    world.advance(to);
    let explained = std::mem::take(&mut world.explained);
    let runs = world.finish();
    let expected = runs.into_iter().find(|run| run.run.experiment == *experiment && run.slot == slot)?;
    Some((expected, explained))
}

/// Puts forecasts of different clusters up to the same `to` together.
pub fn merged(parts: impl IntoIterator<Item = Forecast>, to: Timestamp) -> Forecast {
    let mut parts = parts.into_iter();
    let mut all = parts.next().unwrap_or(Forecast { runs: Vec::new(), until: to, cut: BTreeMap::new() });
    for part in parts {
        all.runs.extend(part.runs);
        all.cut.extend(part.cut);
    }
    all.until = all.cut.values().min().copied().unwrap_or(to);
    all.runs.sort_by(|a, b| (a.slot, &a.run.experiment).cmp(&(b.slot, &b.run.experiment)));
    all
}
