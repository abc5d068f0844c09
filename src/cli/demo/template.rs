//! The demo's template: our own file in the shape that the AWS CLI takes, with the ChaosEngine specs kept as YAML beside
//! it and embedded when it is applied.

use std::collections::HashMap;

use anyhow::{Context, bail};
use aws_sdk_fis::{
    Client,
    types::{
        AccountTargeting, CreateExperimentTemplateActionInput, CreateExperimentTemplateExperimentOptionsInput,
        CreateExperimentTemplateStopConditionInput, CreateExperimentTemplateTargetInput, EmptyTargetResolutionMode,
    },
};
use serde::Deserialize;

/// The files that make up the demo, as they are shipped in `config/demo`.
pub const CONFIG: &str = include_str!("../../../config/demo/firedrill.toml");
const TEMPLATE: &str = include_str!("../../../config/demo/template.json");
const SPECS: &[(&str, &str)] = &[
    ("@pod-cpu-stress.yaml", include_str!("../../../config/demo/pod-cpu-stress.yaml")),
    ("@pod-delete.yaml", include_str!("../../../config/demo/pod-delete.yaml")),
];

/// Longest value of an action's parameter (botocore's model of the FIS API, 2020-12-01).
const MAX_PARAMETER: usize = 1024;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Template {
    description: String,
    role_arn: String,
    stop_conditions: Vec<StopCondition>,
    experiment_options: ExperimentOptions,
    targets: HashMap<String, Target>,
    actions: HashMap<String, Action>,
    tags: HashMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ExperimentOptions {
    account_targeting: String,
    empty_target_resolution_mode: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StopCondition {
    source: String,
    value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Target {
    resource_type: String,
    selection_mode: String,
    resource_arns: Option<Vec<String>>,
    resource_tags: Option<HashMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Action {
    action_id: String,
    description: Option<String>,
    #[serde(default)]
    parameters: HashMap<String, String>,
    targets: Option<HashMap<String, String>>,
    start_after: Option<Vec<String>>,
}

/// Creates the template in FIS and returns its id.
///
/// # Errors
/// When a file does not fit together, or FIS refuses the template.
pub async fn apply(client: &Client) -> anyhow::Result<String> {
    let template: Template = serde_json::from_str(TEMPLATE).context("config/demo/template.json")?;
    let options = CreateExperimentTemplateExperimentOptionsInput::builder()
        .account_targeting(AccountTargeting::from(template.experiment_options.account_targeting.as_str()))
        .empty_target_resolution_mode(EmptyTargetResolutionMode::from(
            template.experiment_options.empty_target_resolution_mode.as_str(),
        ))
        .build();
    let mut call = client
        .create_experiment_template()
        .client_token("firedrill-demo")
        .description(template.description)
        .role_arn(template.role_arn)
        .experiment_options(options)
        .set_tags(Some(template.tags));
    for stop in template.stop_conditions {
        let condition = CreateExperimentTemplateStopConditionInput::builder().source(stop.source);
        call = call.stop_conditions(condition.set_value(stop.value).build()?);
    }
    for (name, target) in template.targets {
        let input = CreateExperimentTemplateTargetInput::builder()
            .resource_type(target.resource_type)
            .selection_mode(target.selection_mode)
            .set_resource_arns(target.resource_arns)
            .set_resource_tags(target.resource_tags);
        call = call.targets(name, input.build()?);
    }
    for (name, action) in template.actions {
        let parameters = action.parameters.into_iter().map(|(key, value)| Ok((key, embedded(value)?)));
        let input = CreateExperimentTemplateActionInput::builder()
            .action_id(action.action_id)
            .set_description(action.description)
            .set_parameters(Some(parameters.collect::<anyhow::Result<_>>()?))
            .set_targets(action.targets)
            .set_start_after(action.start_after);
        call = call.actions(name, input.build()?);
    }
    let answer = call.send().await.map_err(anyhow::Error::from).context("FIS refused the demo's template")?;
    answer.experiment_template.and_then(|template| template.id).context("FIS told no id")
}

/// Replaces a reference to a YAML file by its content as JSON on one line.
fn embedded(value: String) -> anyhow::Result<String> {
    let Some((name, yaml)) = SPECS.iter().find(|(name, _)| *name == value) else { return Ok(value) };
    let spec: serde_json::Value = serde_yaml_ng::from_str(yaml).with_context(|| format!("config/demo/{name}"))?;
    let json = spec.to_string();
    if json.len() > MAX_PARAMETER {
        bail!("config/demo/{name} has {} characters as JSON, FIS takes {MAX_PARAMETER}", json.len());
    }
    Ok(json)
}
