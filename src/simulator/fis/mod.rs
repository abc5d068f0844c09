//! FIS's operations on the state: templates, experiments, the safety lever, tags.
//!
//! Which request is which operation is decided in [`routes`]; how an experiment lives in [`experiment`].

mod accounts;
mod actions;
pub(super) mod experiment;
mod inventory;
mod kubernetes;
mod log;
mod pods;
mod render;
mod report;
pub(super) mod routes;
mod shelf;
pub(super) mod targets;
mod template;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    experiment::{ActionsMode, Change, Experiment, FailureCause, Lever, Order, World},
    shelf::Shelf,
    template::{Definition, Template},
};
pub use self::{
    inventory::{Inventory, InventoryError, Resource},
    log::KeepLog,
    render::{ActionRecord, ExperimentRecord},
};
use super::{
    choices::{Choices, StopOfEnded, Told},
    clock::Pace,
    ids::Ids,
    wire::{self, Answer, ApiError, Query},
};
use crate::domain::fis::FisStatus;

/// Active experiments per account and Region (AWS FIS user guide, fis-quotas).
const MAX_ACTIVE: usize = 5;
/// Templates per account and Region (same page).
const MAX_TEMPLATES: usize = 500;
/// Log lines kept until somebody takes them; older ones are dropped.
const MAX_LOG_LINES: usize = 100_000;
/// Experiments kept; older ones that have ended are forgotten.
const MAX_KEPT: usize = 10_000;

/// FIS's part of the state.
#[derive(Debug, Default)]
pub(super) struct Fis {
    templates: BTreeMap<String, Arc<Template>>,
    experiments: Shelf,
    /// Token and digest of every create and start, and the id they led to.
    tokens: HashMap<(Kind, String), (Digest, String)>,
    lever: SafetyLever,
    /// Events not yet put on the bus.
    outbox: Vec<Emission>,
    /// Experiment log lines not yet taken, each with the id of its experiment.
    log: VecDeque<(String, String)>,
}

/// SHA-256 of a request.
type Digest = [u8; 32];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Template,
    Experiment,
}

#[derive(Debug, Default)]
enum SafetyLever {
    #[default]
    Untouched,
    Disengaged(String),
    /// Engaging until nothing runs any more, then engaged.
    Engaged(String),
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CreateIdentity {
    client_token: String,
    #[serde(default)]
    tags: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct LeverUpdate {
    state: LeverState,
}

#[derive(Deserialize)]
struct LeverState {
    status: String,
    reason: String,
}

#[derive(Deserialize)]
struct TagUpdate {
    tags: BTreeMap<String, String>,
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
        for gone in self.experiments.outdated(world.pace, now) {
            self.tokens.remove(&(Kind::Experiment, gone.client_token));
        }
    }

    /// Moves what is still to come when the pace changes.
    pub(super) fn change_pace(&mut self, old: Pace, new: Pace, now: Timestamp) {
        self.experiments.for_open(|experiment| experiment.change_pace(old, new, now));
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

    /// CreateExperimentTemplate.
    pub(super) fn create_template(&mut self, body: &Value, world: World<'_>, ids: &mut Ids, now: Timestamp) -> Answer {
        let identity: CreateIdentity = wire::parsed(body)?;
        if let Some(id) = self.repeated(Kind::Template, &identity.client_token, body)? {
            return self.get_template(&id);
        }
        let definition = Definition::parse(body)?;
        template::check_tags(&identity.tags)?;
        if self.templates.len() >= MAX_TEMPLATES {
            return Err(ApiError::quota(format!("At most {MAX_TEMPLATES} experiment templates are allowed.")));
        }
        let id = ids.template();
        let arn = format!("{}:experiment-template/{id}", world.account.fis_arn());
        let template = Template {
            id: id.clone(),
            arn,
            definition,
            tags: identity.tags,
            accounts: BTreeMap::new(),
            created: now,
            updated: now,
        };
        self.templates.insert(id.clone(), Arc::new(template));
        self.tokens.insert((Kind::Template, identity.client_token), (digest(body), id.clone()));
        self.get_template(&id)
    }

    /// GetExperimentTemplate.
    pub(super) fn get_template(&self, id: &str) -> Answer {
        Ok(json!({"experimentTemplate": self.template(id)?.rendered()}))
    }

    /// UpdateExperimentTemplate: the members given replace those stored, options one by one.
    pub(super) fn update_template(&mut self, id: &str, body: &Value, now: Timestamp) -> Answer {
        let mut merged = json!(self.template(id)?.definition);
        let members = body.as_object().ok_or_else(|| ApiError::validation("the body must be an object"))?;
        for (key, value) in members {
            match (key.as_str(), value.as_object()) {
                ("experimentOptions", Some(options)) => {
                    for (option, value) in options {
                        merged[key][option] = value.clone();
                    }
                }
                _whole => merged[key] = value.clone(),
            }
        }
        let definition = Definition::parse(&merged)?;
        if let Some(template) = self.templates.get_mut(id).map(Arc::make_mut) {
            template.definition = definition;
            template.updated = now;
        }
        self.get_template(id)
    }

    /// DeleteExperimentTemplate.
    pub(super) fn delete_template(&mut self, id: &str) -> Answer {
        let answer = self.get_template(id)?;
        self.templates.remove(id);
        Ok(answer)
    }

    /// ListExperimentTemplates.
    pub(super) fn list_templates(&self, query: &Query) -> Answer {
        let items = self.templates.values().map(|template| (template.id.clone(), template.summary())).collect();
        wire::page("experimentTemplates", items, query)
    }

    fn template(&self, id: &str) -> Result<&Arc<Template>, ApiError> {
        self.templates.get(id).ok_or_else(|| ApiError::not_found(format!("Experiment template {id} does not exist.")))
    }

    /// The id that a token led to before; a conflict when it came with another request.
    fn repeated(&self, kind: Kind, token: &str, body: &Value) -> Result<Option<String>, ApiError> {
        if token.is_empty() || token.len() > 1024 || token.contains(char::is_whitespace) {
            return Err(ApiError::validation("clientToken must have 1 to 1024 characters and no space"));
        }
        match self.tokens.get(&(kind, token.to_owned())) {
            None => Ok(None),
            Some((known, id)) if *known == digest(body) => Ok(Some(id.clone())),
            Some(_) => Err(ApiError::conflict("The client token was used with other parameters.")),
        }
    }

    /// StartExperiment.
    pub(super) fn start(&mut self, body: &Value, world: World<'_>, ids: &mut Ids, now: Timestamp) -> Answer {
        let start: Start = wire::parsed(body)?;
        if let Some(id) = self.repeated(Kind::Experiment, &start.client_token, body)? {
            return self.get(&id);
        }
        let template = Arc::clone(self.template(&start.experiment_template_id)?);
        template::check_tags(&start.tags)?;
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
        let lever = match self.lever {
            SafetyLever::Engaged(_) => Lever::Engaged,
            SafetyLever::Untouched | SafetyLever::Disengaged(_) => Lever::Disengaged,
        };
        let (experiment, change) = Experiment::accept(order, lever, world, now);
        emit(&mut self.outbox, &experiment, change, world.choices);
        let answer = json!({"experiment": experiment.rendered()});
        self.tokens.insert((Kind::Experiment, start.client_token), (digest(body), experiment.id.clone()));
        self.keep(experiment);
        Ok(answer)
    }

    fn keep(&mut self, experiment: Experiment) {
        let full = self.experiments.len() >= MAX_KEPT;
        if let Some(forgotten) = self.experiments.pop_oldest_if(|oldest| full && !oldest.is_active()) {
            self.tokens.remove(&(Kind::Experiment, forgotten.client_token));
        }
        self.experiments.push(experiment);
    }

    fn experiment(&self, id: &str) -> Result<&Experiment, ApiError> {
        self.experiments.get(id).ok_or_else(|| no_experiment(id))
    }

    fn experiment_mut(&mut self, id: &str) -> Result<&mut Experiment, ApiError> {
        self.experiments.get_mut(id).ok_or_else(|| no_experiment(id))
    }

    /// GetExperiment.
    pub(super) fn get(&self, id: &str) -> Answer {
        Ok(json!({"experiment": self.experiment(id)?.rendered()}))
    }

    /// StopExperiment.
    pub(super) fn stop(&mut self, id: &str, world: World<'_>, now: Timestamp) -> Answer {
        let experiment = self.experiment_mut(id)?;
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
        if let Some(change) = change {
            let detail = experiment.change_detail(&change);
            let resource = experiment.arn.clone();
            self.outbox.push(Emission { at: change.at, resource, detail });
        }
        Ok(answer)
    }

    /// ListExperiments, youngest first. AWS's order is not documented.
    pub(super) fn list(&self, query: &Query) -> Answer {
        let wanted = query.get("experimentTemplateId");
        let listed = self.experiments.iter().rev();
        let listed = listed.filter(|experiment| wanted.is_none_or(|id| experiment.template.id == id));
        wire::page(
            "experiments",
            listed.map(|experiment| (experiment.id.clone(), experiment.summary())).collect(),
            query,
        )
    }

    /// ListExperimentResolvedTargets.
    pub(super) fn resolved_targets(&self, id: &str, query: &Query) -> Answer {
        let experiment = self.experiment(id)?;
        let wanted = query.get("targetName");
        let mut items = Vec::new();
        for (name, resources) in &experiment.resolved {
            for resource in resources.iter().filter(|_| wanted.is_none_or(|target| target == name)) {
                let item = json!({
                    "resourceType": resource.resource_type,
                    "targetName": name,
                    "targetInformation": targets::information(resource),
                });
                items.push((format!("{name}/{}", resource.arn), item));
            }
        }
        wire::page("resolvedTargets", items, query)
    }

    /// Target account configurations: the simulator has a single account.
    pub(super) fn account_configurations(&self, experiment: &str) -> Answer {
        self.experiment(experiment)?;
        Ok(json!({"targetAccountConfigurations": []}))
    }

    /// Makes an action of an experiment fail.
    pub(super) fn fail_action(&mut self, id: &str, action: &str, cause: FailureCause, now: Timestamp) -> Answer {
        if self.experiment_mut(id)?.doom(action, cause, now) {
            Ok(json!({}))
        } else {
            Err(ApiError::conflict(format!("Action {action} of {id} does not exist or has ended.")))
        }
    }

    /// GetSafetyLever.
    pub(super) fn safety_lever(&self, id: &str, world: World<'_>) -> Answer {
        let (status, reason) = match &self.lever {
            _other if id != "default" => return Err(ApiError::not_found(format!("Safety lever {id} does not exist."))),
            SafetyLever::Untouched => ("disengaged", ""),
            SafetyLever::Disengaged(reason) => ("disengaged", reason.as_str()),
            SafetyLever::Engaged(reason) if self.is_engaging() => ("engaging", reason.as_str()),
            SafetyLever::Engaged(reason) => ("engaged", reason.as_str()),
        };
        let arn = format!("{}:safety-lever/default", world.account.fis_arn());
        Ok(json!({"safetyLever": {"id": id, "arn": arn, "state": {"status": status, "reason": reason}}}))
    }

    fn is_engaging(&self) -> bool {
        self.experiments.active().any(Experiment::is_ending)
    }

    /// UpdateSafetyLeverState.
    pub(super) fn update_safety_lever(&mut self, id: &str, body: &Value, world: World<'_>, now: Timestamp) -> Answer {
        let LeverState { status, reason } = wire::parsed::<LeverUpdate>(body)?.state;
        self.safety_lever(id, world)?;
        if matches!(self.lever, SafetyLever::Engaged(_)) && self.is_engaging() {
            return Err(ApiError::conflict("The safety lever is engaging."));
        }
        match status.as_str() {
            "engaged" => {
                self.lever = SafetyLever::Engaged(reason);
                self.end_all(world, now);
            }
            "disengaged" => self.lever = SafetyLever::Disengaged(reason),
            _other => return Err(ApiError::validation("state.status must be engaged or disengaged")),
        }
        self.safety_lever(id, world)
    }

    fn end_all(&mut self, world: World<'_>, now: Timestamp) {
        let (outbox, log) = (&mut self.outbox, &mut self.log);
        self.experiments.for_open(|experiment| {
            let change = experiment.cancel(world, now);
            let change = change.or_else(|| experiment.stop("Experiment stopped by the safety lever.", world, now));
            experiment.wind_down();
            emit(outbox, experiment, change, world.choices);
            record(log, experiment);
        });
    }

    fn tags_of(&mut self, arn: &str) -> Result<&mut BTreeMap<String, String>, ApiError> {
        let id = arn.rsplit('/').next().unwrap_or(arn);
        let template = self.templates.get_mut(id).filter(|template| template.arn == arn);
        let experiment = self.experiments.get_mut(id).filter(|experiment| experiment.arn == arn);
        let found = template.map(|template| &mut Arc::make_mut(template).tags);
        let found = found.or(experiment.map(|experiment| &mut experiment.tags));
        found.ok_or_else(|| ApiError::not_found(format!("Resource {arn} does not exist.")))
    }

    /// TagResource.
    pub(super) fn tag(&mut self, arn: &str, body: &Value) -> Answer {
        let update: TagUpdate = wire::parsed(body)?;
        let tags = self.tags_of(arn)?;
        let mut merged = tags.clone();
        merged.extend(update.tags);
        template::check_tags(&merged)?;
        *tags = merged;
        Ok(json!({}))
    }

    /// UntagResource. Without keys all tags go, as an example of the AWS CLI says.
    pub(super) fn untag(&mut self, arn: &str, query: &Query) -> Answer {
        let keys: Vec<_> = query.all("tagKeys").collect();
        self.tags_of(arn)?.retain(|key, _| !keys.is_empty() && !keys.contains(&key.as_str()));
        Ok(json!({}))
    }

    /// ListTagsForResource.
    pub(super) fn list_tags(&mut self, arn: &str) -> Answer {
        Ok(json!({"tags": self.tags_of(arn)?}))
    }
}

/// Digest of a request; members of objects are in the order of their names.
fn digest(body: &Value) -> Digest {
    use sha2::Digest as _;
    sha2::Sha256::digest(body.to_string()).into()
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
