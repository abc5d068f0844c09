//! FIS's state, and the operations on experiments.
//!
//! Which request is which operation is decided in [`routes`]; the other operations are in [`template`], [`accounts`],
//! [`lever`], [`tags`] and [`catalogue`]. How an experiment lives is decided in [`experiment`].

mod accounts;
mod catalogue;
mod dump;
pub(super) mod experiment;
mod lever;
mod model;
mod page;
mod render;
pub(super) mod routes;
mod shelf;
mod tags;
pub(super) mod targets;
mod template;
mod tokens;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

pub(in crate::simulator) use self::experiment::log::KeepLog;
use self::{
    experiment::{ActionsMode, Change, Experiment, FailureCause, Order, World},
    lever::SafetyLever,
    model::Input,
    page::page,
    shelf::Shelf,
    tags::Tags,
    template::Template,
    tokens::{Kind, Tokens},
};
pub use self::{
    render::{ActionRecord, ExperimentRecord},
    targets::inventory::{Inventory, InventoryError, Resource},
};
use super::{
    choices::{Choices, StopOfEnded, Told},
    clock::Pace,
    ids::Ids,
    wire::{Answer, ApiError},
};
use crate::domain::fis::FisStatus;

/// Active experiments per account and Region (AWS FIS user guide, fis-quotas).
const MAX_ACTIVE: usize = 5;
/// Log lines kept until somebody takes them; older ones are dropped.
const MAX_LOG_LINES: usize = 100_000;
/// Experiments kept; of more, those that ended first are forgotten.
const MAX_KEPT: usize = 10_000;

/// FIS's part of the state.
#[derive(Debug, Default)]
pub(super) struct Fis {
    templates: BTreeMap<String, Arc<Template>>,
    experiments: Shelf,
    tokens: Tokens,
    lever: SafetyLever,
    /// By action id.
    action_tags: BTreeMap<String, Tags>,
    /// Events not yet put on the bus.
    outbox: Vec<Emission>,
    /// Experiment log lines not yet taken, each with the id of its experiment.
    log: VecDeque<(String, String)>,
}

/// An event about an experiment.
#[derive(Debug)]
pub(super) struct Emission {
    pub(super) at: Timestamp,
    pub(super) resource: String,
    pub(super) detail: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    client_token: String,
    experiment_template_id: String,
    #[serde(default)]
    experiment_options: StartOptions,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StartOptions {
    actions_mode: ActionsMode,
}

impl Fis {
    /// Brings all experiments up to `now`.
    pub(super) fn advance(&mut self, world: World<'_>, now: Timestamp) {
        let (outbox, log) = (&mut self.outbox, &mut self.log);
        self.experiments.for_open(|experiment| {
            let changes = experiment.advance(world, now);
            emit(outbox, experiment, changes, world.choices);
            record(log, experiment);
        });
        self.experiments.settle(world.pace);
        while let Some(gone) = self.experiments.forget(MAX_KEPT, now) {
            self.tokens.forget(Kind::Experiment, &gone.client_token);
        }
    }

    /// Moves what is still to come when the pace changes.
    pub(super) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        self.experiments.for_open(|experiment| experiment.change_pace(old, new, now));
        self.experiments.change_pace(old, new, now);
    }

    /// Next instant at which something happens by itself.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.experiments.open().filter_map(Experiment::next_due).min()
    }

    /// Takes the events that have not been put on the bus.
    pub(super) fn take_outbox(&mut self) -> Vec<Emission> {
        std::mem::take(&mut self.outbox)
    }

    /// Takes the experiment log lines made since the last call, each with the id of its experiment.
    pub(super) fn take_log(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.log).into()
    }

    /// All experiments in the order of their start.
    pub(super) fn experiments(&self) -> impl Iterator<Item = &Experiment> {
        self.experiments.iter()
    }

    /// StartExperiment.
    fn start(&mut self, input: &Input, world: World<'_>, ids: &mut Ids, now: Timestamp) -> Answer {
        let start: Start = input.parsed()?;
        if let Some(id) = self.tokens.repeated(Kind::Experiment, &start.client_token, input)? {
            return self.get(&id);
        }
        let template = Arc::clone(self.template(&start.experiment_template_id)?);
        tags::check(&start.tags)?;
        if self.experiments.active().count() >= MAX_ACTIVE {
            return Err(ApiError::quota(format!("At most {MAX_ACTIVE} experiments can be active.")));
        }
        let id = ids.experiment();
        let order = Order {
            arn: format!("{}:experiment/{id}", world.account.fis_arn()),
            id,
            number: self.experiments.number(),
            template,
            client_token: start.client_token.clone(),
            tags: start.tags,
            mode: start.experiment_options.actions_mode,
        };
        let (experiment, change) = Experiment::accept(order, self.lever.position(), world, now);
        emit(&mut self.outbox, &experiment, change, world.choices);
        let answer = json!({"experiment": experiment.rendered()});
        self.tokens.remember(Kind::Experiment, &start.client_token, input, &experiment.id);
        self.experiments.push(experiment);
        Ok(answer)
    }

    fn experiment(&self, id: &str) -> Result<&Experiment, ApiError> {
        self.experiments.get(id).ok_or_else(|| no_experiment(id))
    }

    fn experiment_mut(&mut self, id: &str) -> Result<&mut Experiment, ApiError> {
        self.experiments.get_mut(id).ok_or_else(|| no_experiment(id))
    }

    /// GetExperiment.
    fn get(&self, id: &str) -> Answer {
        Ok(json!({"experiment": self.experiment(id)?.rendered()}))
    }

    /// StopExperiment.
    fn stop(&mut self, id: &str, world: World<'_>, now: Timestamp) -> Answer {
        let experiment = self.experiments.get_mut(id).ok_or_else(|| no_experiment(id))?;
        if !experiment.is_active() {
            if world.choices.stop_of_ended == StopOfEnded::Answer {
                return self.get(id);
            }
            let status = experiment.state.status.as_str();
            return Err(ApiError::validation(format!("Experiment {id} cannot be stopped, it is {status}.")));
        }
        let change = experiment.stop("Experiment stopped.", world, now);
        let answer = json!({"experiment": experiment.rendered()});
        experiment.wind_down();
        emit(&mut self.outbox, experiment, change, world.choices);
        Ok(answer)
    }

    /// ListExperiments, youngest first. AWS's order is not documented.
    fn list(&self, input: &Input) -> Answer {
        let wanted = input.optional("experimentTemplateId");
        let listed = self.experiments.iter().rev();
        let listed = listed.filter(|experiment| wanted.is_none_or(|id| experiment.template.id == id));
        let key = |experiment: &&Experiment| format!("{:020}", u64::MAX - experiment.number);
        page(input, "experiments", listed, key, Experiment::summary)
    }

    /// ListExperimentResolvedTargets.
    fn resolved_targets(&self, input: &Input) -> Answer {
        let experiment = self.experiment(input.text("experimentId"))?;
        let wanted = input.optional("targetName");
        let targets = experiment.resolved.iter().filter(|(name, _)| wanted.is_none_or(|wanted| wanted == *name));
        let items = targets.flat_map(|(name, found)| found.iter().enumerate().map(move |item| (name, item)));
        let key = |(name, (index, _)): &(&String, (usize, &Resource))| format!("{name}\0{index:09}");
        let render = |(name, (_, resource)): (&String, (usize, &Resource))| {
            json!({
                "resourceType": resource.resource_type,
                "targetName": name,
                "targetInformation": targets::information(resource),
            })
        };
        page(input, "resolvedTargets", items, key, render)
    }

    /// Makes an action of an experiment fail.
    pub(super) fn fail_action(&mut self, id: &str, action: &str, cause: FailureCause, now: Timestamp) -> Answer {
        if self.experiment_mut(id)?.doom(action, cause, now) {
            Ok(json!({}))
        } else {
            Err(ApiError::conflict(format!("Action {action} of {id} does not exist or has ended.")))
        }
    }
}

fn no_experiment(id: &str) -> ApiError {
    ApiError::not_found(format!("Experiment {id} does not exist."))
}

/// Takes what an experiment's log has to tell.
fn record(log: &mut VecDeque<(String, String)>, experiment: &mut Experiment) {
    let lines = experiment.take_log();
    log.extend(lines.into_iter().map(|line| (experiment.id.clone(), line)));
    log.drain(..log.len().saturating_sub(MAX_LOG_LINES));
}

/// Queues the events of changes; the guide lists none for `cancelled` (AWS FIS user guide, monitoring-eventbridge).
fn emit(
    outbox: &mut Vec<Emission>,
    experiment: &Experiment,
    changes: impl IntoIterator<Item = Change>,
    choices: &Choices,
) {
    let told = |change: &Change| change.new.status != FisStatus::Cancelled || choices.cancelled_event == Told::Yes;
    for change in changes.into_iter().filter(told) {
        let detail = experiment.change_detail(&change);
        outbox.push(Emission { at: change.at, resource: experiment.arn.clone(), detail });
    }
}
