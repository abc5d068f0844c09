//! FIS by the SDK: the engine's fault injector.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use aws_sdk_fis::{
    Client,
    primitives::DateTime,
    types::{ActionsMode, Experiment, ExperimentTemplate, ExperimentTemplateAction, ExperimentTemplateTarget},
};
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio_util::task::AbortOnDropHandle;

use super::{
    classify::{failure, start_failure},
    lever, place,
    sdk::{CallKind, Places},
};
use crate::{
    domain::{
        experiment::{Place, TemplateSelector},
        fis::{CallFailure, FailureClass, FisAction, FisError, FisExperiment, FisStatus},
        ids::{RUN_TAG, RunId},
        lever::Stands,
        place::{PlaceFacts, Wanted},
        policy::Safeguards,
        template::{TargetFacts, TemplateAction, TemplateFacts},
    },
    engine::ports::{FaultInjector, StartRequest},
};

/// Pages read of one list (each of [`PAGE_SIZE`]); FIS keeps finished experiments for 120 days.
pub(super) const MAX_PAGES: usize = 1_000;
/// Entries of one page, the most FIS gives.
pub(super) const PAGE_SIZE: i32 = 100;

/// Source of a stop condition that is none (AWS FIS user guide, stop-conditions).
const NO_SOURCE: &str = "none";
/// Selection modes of a target that takes every resource (AWS FIS user guide, targets).
const SELECT_ALL: [&str; 2] = ["ALL", "PERCENT(100)"];

/// FIS behind the SDK.
#[derive(Debug, Clone)]
pub struct AwsFis {
    places: Arc<Places>,
    /// Clients by place: to make one takes longer than to make a request.
    clients: Arc<Mutex<HashMap<Place, Client>>>,
}

impl AwsFis {
    /// Makes an injector that shares clients' configurations.
    pub fn new(places: Arc<Places>) -> Self {
        Self { places, clients: Arc::default() }
    }

    async fn client(&self, place: &Place) -> Client {
        if let Some(client) = self.clients.lock().await.get(place) {
            return client.clone();
        }
        let config = self.places.config(place, CallKind::Short).await;
        let client = Client::new(&config);
        // Without a Region it is of no use later.
        if config.region().is_some() {
            self.clients.lock().await.insert(place.clone(), client.clone());
        }
        client
    }
}

/// Makes a call on whatever thread is free: the engine's own has rows to look at. Dropped, it ends.
async fn aside<T: Send + 'static>(
    call: impl Future<Output = Result<T, CallFailure>> + Send + 'static,
) -> Result<T, CallFailure> {
    let answer = AbortOnDropHandle::new(tokio::spawn(call)).await;
    answer.unwrap_or_else(|ended| Err(unreadable(&ended.to_string())))
}

impl FaultInjector for AwsFis {
    async fn read_template(&self, place: &Place, template: &TemplateSelector) -> Result<TemplateFacts, CallFailure> {
        let client = self.client(place).await;
        let id = match template {
            TemplateSelector::Id(id) => id.clone(),
            TemplateSelector::Tags(tags) => template_by_tags(&client, tags).await?,
        };
        let answer = client.get_experiment_template().id(id).send().await.map_err(|e| failure(&e))?;
        answer.experiment_template.map(facts).ok_or_else(|| unreadable("the answer holds no template"))
    }

    async fn probe(&self, place: &Place, wanted: &Wanted) -> Result<PlaceFacts, CallFailure> {
        let client = self.client(place).await;
        let config = self.places.config(place, CallKind::Short).await;
        let (place, wanted) = (place.clone(), wanted.clone());
        aside(async move { place::probe(&client, &config, &place, &wanted).await }).await
    }

    async fn start(&self, place: &Place, request: &StartRequest) -> Result<FisExperiment, CallFailure> {
        let client = self.client(place).await;
        let call = client
            .start_experiment()
            .client_token(&request.client_token)
            .experiment_template_id(&request.template_id)
            .set_tags(Some(request.tags.clone().into_iter().collect()));
        // Not aside: what polls this knows whether the request may still leave, and nothing else may send it.
        let answer = call.send().await.map_err(|e| start_failure(&e))?;
        answer.experiment.and_then(experiment).ok_or_else(|| unreadable("the answer holds no experiment"))
    }

    async fn find(&self, place: &Place, template_id: &str, run: &RunId) -> Result<Option<FisExperiment>, CallFailure> {
        let client = self.client(place).await;
        let mut token = None;
        for _ in 0..MAX_PAGES {
            let call = client.list_experiments().experiment_template_id(template_id).max_results(PAGE_SIZE);
            let page = call.set_next_token(token).send().await.map_err(|e| failure(&e))?;
            let hit = page.experiments().iter().find(|summary| {
                summary.tags().and_then(|tags| tags.get(RUN_TAG)).is_some_and(|tag| tag == run.as_str())
            });
            if let Some(id) = hit.and_then(|summary| summary.id()) {
                return self.get(place, id, template_id).await.map(Some);
            }
            token = page.next_token;
            if token.is_none() {
                return has_template(&client, template_id).await.map(|()| None);
            }
        }
        // Not seen among a hundred thousand is not the same as not there.
        Err(unreadable("the list of experiments did not end"))
    }

    async fn get(&self, place: &Place, fis_id: &str, template_id: &str) -> Result<FisExperiment, CallFailure> {
        let client = self.client(place).await;
        let (call, template_id) = (client.get_experiment().id(fis_id), template_id.to_owned());
        aside(async move {
            let answer = match call.send().await.map_err(|e| failure(&e)) {
                Err(gone) if gone.class == FailureClass::NotFound => {
                    return Err(has_template(&client, &template_id).await.err().unwrap_or(gone));
                }
                answer => answer?,
            };
            let found = answer.experiment.and_then(experiment);
            let mut fis = found.ok_or_else(|| unreadable("the answer holds no experiment"))?;
            if fis.status == FisStatus::Stopped {
                fis.lever_engaged = lever_engaged(&client).await;
            }
            Ok(fis)
        })
        .await
    }

    async fn stop(&self, place: &Place, fis_id: &str) -> Result<(), CallFailure> {
        let client = self.client(place).await;
        client.stop_experiment().id(fis_id).send().await.map(|_| ()).map_err(|e| failure(&e))
    }
}

/// Asks whether FIS has the template of an experiment that it does not find: by credentials of another account, or in another
/// Region, there is neither, though what was begun goes on.
async fn has_template(client: &Client, template_id: &str) -> Result<(), CallFailure> {
    let failure = match client.get_experiment_template().id(template_id).send().await {
        Ok(_) => return Ok(()),
        Err(error) => failure(&error),
    };
    Err(match failure.class {
        FailureClass::NotFound => unreadable(
            "neither the experiment nor its template is there; are these the account and Region it began in?",
        ),
        _ => failure,
    })
}

/// The failure of an answer that cannot be used.
pub(super) fn unreadable(message: &str) -> CallFailure {
    CallFailure { class: FailureClass::Unreadable, message: message.to_owned() }
}

/// Finds the one template that carries all tags.
async fn template_by_tags(client: &Client, tags: &BTreeMap<String, String>) -> Result<String, CallFailure> {
    let mut found = Vec::new();
    let mut token = None;
    for _ in 0..MAX_PAGES {
        let call = client.list_experiment_templates().max_results(PAGE_SIZE).set_next_token(token);
        let page = call.send().await.map_err(|e| failure(&e))?;
        for template in page.experiment_templates() {
            let carries = |(key, value)| template.tags().and_then(|t| t.get(key)) == Some(value);
            if tags.iter().all(carries) {
                found.extend(template.id().map(str::to_owned));
            }
        }
        token = page.next_token;
        if token.is_none() {
            break;
        }
    }
    let shown = || tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(", ");
    match found.as_slice() {
        [id] => Ok(id.clone()),
        [] => Err(CallFailure { class: FailureClass::NotFound, message: format!("no template carries {}", shown()) }),
        many => {
            let message = format!("{} templates carry {}: {}", many.len(), shown(), many.join(", "));
            Err(CallFailure { class: FailureClass::Invalid, message })
        }
    }
}

/// Asks for the safety lever; `None` when it does not answer, which only leaves a stop's cause open.
async fn lever_engaged(client: &Client) -> Option<bool> {
    match lever::read(client).await.map(|lever| lever.stands) {
        Ok(Stands::Engaged | Stands::Engaging) => Some(true),
        Ok(Stands::Disengaged) => Some(false),
        Ok(Stands::Unknown(_)) => None,
        Err(error) => {
            tracing::debug!(%error, "could not read the safety lever");
            None
        }
    }
}

fn facts(template: ExperimentTemplate) -> TemplateFacts {
    let action = |(name, action): (String, ExperimentTemplateAction)| {
        let action = TemplateAction {
            action_id: action.action_id.unwrap_or_default(),
            parameters: action.parameters.unwrap_or_default().into_iter().collect(),
            targets: action.targets.unwrap_or_default().into_iter().collect(),
            start_after: action.start_after.unwrap_or_default(),
        };
        (name, action)
    };
    let target = |(name, target): (String, ExperimentTemplateTarget)| {
        let target = TargetFacts {
            resource_type: target.resource_type.unwrap_or_default(),
            arns: target.resource_arns.unwrap_or_default(),
            tags: target.resource_tags.unwrap_or_default().into_iter().collect(),
        };
        (name, target)
    };
    let safeguards = safeguards(&template);
    // `arn:partition:fis:region:account:experiment-template/id`
    let region = template.arn.as_deref().and_then(|arn| arn.split(':').nth(3)).filter(|region| !region.is_empty());
    TemplateFacts {
        region: region.map(str::to_owned),
        id: template.id.unwrap_or_default(),
        description: template.description.unwrap_or_default(),
        actions: template.actions.unwrap_or_default().into_iter().map(action).collect(),
        targets: template.targets.unwrap_or_default().into_iter().map(target).collect(),
        target_accounts: template
            .target_account_configurations_count
            .map_or(0, |count| u64::try_from(count).unwrap_or(0)),
        safeguards: Some(safeguards),
        // The engine's clock replaces this when the answer is recorded.
        read_at: Timestamp::UNIX_EPOCH,
        read_by: None,
    }
}

/// Notes what a template says for its own safety.
fn safeguards(template: &ExperimentTemplate) -> Safeguards {
    let targets = template.targets.iter().flatten();
    let all = |target: &ExperimentTemplateTarget| {
        target.resource_arns().is_empty() && target.selection_mode().is_some_and(|mode| SELECT_ALL.contains(&mode))
    };
    let mut all_of: Vec<String> = targets.filter(|(_, target)| all(target)).map(|(name, _)| name.clone()).collect();
    all_of.sort();
    Safeguards {
        stop_condition: template.stop_conditions().iter().any(|stop| stop.source().is_some_and(|s| s != NO_SOURCE)),
        all_of,
        tags: template.tags.clone().unwrap_or_default().into_iter().collect(),
    }
}

/// Translates an experiment; `None` when it has no id.
fn experiment(experiment: Experiment) -> Option<FisExperiment> {
    let preview = experiment
        .experiment_options
        .as_ref()
        .is_some_and(|options| options.actions_mode == Some(ActionsMode::SkipAll));
    let (status, reason, error) = match experiment.state {
        Some(state) => {
            let error = state.error.map(|error| FisError {
                code: error.code.unwrap_or_else(|| "Unspecified".to_owned()),
                location: error.location,
            });
            (state.status.map(|s| FisStatus::from_text(s.as_str())), state.reason, error)
        }
        None => (None, None, None),
    };
    let action = |(name, action): (String, aws_sdk_fis::types::ExperimentAction)| {
        let (status, reason) = match action.state {
            Some(state) => (state.status.map(|s| FisStatus::from_text(s.as_str())), state.reason),
            None => (None, None),
        };
        let action = FisAction {
            action_id: action.action_id.unwrap_or_default(),
            status: status.unwrap_or_else(|| FisStatus::Unknown("missing".to_owned())),
            reason: reason.unwrap_or_default(),
            start_after: action.start_after.unwrap_or_default(),
            started_at: action.start_time.and_then(timestamp),
            ended_at: action.end_time.and_then(timestamp),
        };
        (name, action)
    };
    Some(FisExperiment {
        id: experiment.id?,
        template_id: experiment.experiment_template_id.unwrap_or_default(),
        status: status.unwrap_or_else(|| FisStatus::Unknown("missing".to_owned())),
        reason: reason.unwrap_or_default(),
        error,
        preview,
        created_at: experiment.creation_time.and_then(timestamp),
        started_at: experiment.start_time.and_then(timestamp),
        ended_at: experiment.end_time.and_then(timestamp),
        actions: experiment.actions.unwrap_or_default().into_iter().map(action).collect(),
        lever_engaged: None,
    })
}

fn timestamp(time: DateTime) -> Option<Timestamp> {
    let nanos = i32::try_from(time.subsec_nanos()).ok()?;
    Timestamp::new(time.secs(), nanos).ok()
}
