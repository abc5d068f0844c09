//! The presets that there are.
//!
//! Sources: the user guides of CodeDeploy, CodePipeline, ECS, ECR, CloudFormation, AppConfig, EC2 Auto Scaling and
//! CloudTrail on their EventBridge events; Flux notification-controller (providers, v1beta3); Argo CD notifications (SQS
//! service); GitHub's webhook event `deployment_status`.

use jiff::SignedDuration;
use serde_json::json;

use super::{
    Filter,
    FilterKey::{Application, Branch, Environment, Service},
    Form, Preset, PresetMapping, Rollback,
};

const APPLICATION: &[Form] = &[Form { keys: &[Application], loose: &["{application}"], exact: &["{application}"] }];
const SERVICE: &[Form] = &[Form { keys: &[Service], loose: &["{service}"], exact: &["{service}"] }];
const BRANCH: &[Form] = &[Form { keys: &[Branch], loose: &["{branch}"], exact: &["{branch}"] }];
const ENVIRONMENT: &[Form] = &[Form { keys: &[Environment], loose: &["{environment}"], exact: &["{environment}"] }];

/// ARN of an ECS service: `…:service/CLUSTER/SERVICE`. The name alone also fits ARNs of the old form, without a cluster.
const ECS_SERVICE: &[Form] = &[
    Form { keys: &[Service], loose: &["*:service/*/{service}"], exact: &["*/{service}"] },
    Form { keys: &[Environment], loose: &["*:service/{environment}/*"], exact: &["*:service/{environment}/*"] },
    Form {
        keys: &[Service, Environment],
        loose: &["*:service/{environment}/{service}"],
        exact: &["*:service/{environment}/{service}"],
    },
];

/// ARN of a stack: `…:stack/NAME/UUID`.
const STACK: &[Form] =
    &[Form { keys: &[Application], loose: &["*:stack/{application}/*"], exact: &["*:stack/{application}/*"] }];

/// A Lambda function by name, or by an ARN without a qualifier.
const FUNCTION: &[Form] = &[Form {
    keys: &[Service],
    loose: &["{service}", "*:function:{service}"],
    exact: &["{service}", "*:function:{service}"],
}];

/// A revision of Flux: `BRANCH@sha1:COMMIT`.
const FLUX_BRANCH: &[Form] = &[Form { keys: &[Branch], loose: &["{branch}@*"], exact: &["{branch}@*"] }];

const NONE: SignedDuration = SignedDuration::ZERO;

/// All presets, in the order of the documentation.
pub const PRESETS: &[Preset] =
    &[CODEDEPLOY, CODEPIPELINE, ECS, ECR, CLOUDFORMATION, APPCONFIG, AUTO_SCALING, EKS, LAMBDA, ARGO_CD, FLUX, GITHUB];

const CODEDEPLOY: Preset = Preset {
    name: "codedeploy-success",
    about: "A CodeDeploy deployment succeeded. The event names no revision, so the deployment's id stands for the version. \
            A rollback is known by a `creator` of `codeDeployRollback`, which CodeDeploy's API tells and its documented event \
            does not: do not rely on it. `environment` is the deployment group.",
    pattern: || {
        json!({
            "source": ["aws.codedeploy"],
            "detail-type": ["CodeDeploy Deployment State-change Notification"],
            "detail": { "state": ["SUCCESS"] },
        })
    },
    key: &["/account", "/region", "/detail/application", "/detail/deploymentGroup"],
    version: &["/detail/deploymentId"],
    deployment_id: &["/detail/deploymentId"],
    rollback: Rollback::Told(|| json!({ "detail": { "creator": ["codeDeployRollback"] } })),
    settle: NONE,
    filters: &[
        Filter { path: &["detail", "application"], forms: APPLICATION },
        Filter { path: &["detail", "deploymentGroup"], forms: ENVIRONMENT },
    ],
    mapping: None,
};

const CODEPIPELINE: Preset = Preset {
    name: "codepipeline-succeeded",
    about: "A CodePipeline execution succeeded, whatever its stages did. The event names no revision, so the execution's id \
            stands for the version. `application` is the pipeline.",
    pattern: || {
        json!({
            "source": ["aws.codepipeline"],
            "detail-type": ["CodePipeline Pipeline Execution State Change"],
            "detail": { "state": ["SUCCEEDED"] },
        })
    },
    key: &["/account", "/region", "/detail/pipeline"],
    version: &["/detail/execution-id"],
    deployment_id: &["/detail/execution-id"],
    rollback: Rollback::Untold,
    settle: NONE,
    filters: &[Filter { path: &["detail", "pipeline"], forms: APPLICATION }],
    mapping: None,
};

const ECS: Preset = Preset {
    name: "ecs-deployment-completed",
    about: "The rollout of an ECS service completed. The event names no image, so the deployment's id stands for the version. \
            A rollback completes too and is known by the text of `reason`, which ECS documents for its begin only: it may look \
            like any other rollout. `environment` is the cluster.",
    pattern: || {
        json!({
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "detail": { "eventName": ["SERVICE_DEPLOYMENT_COMPLETED"] },
        })
    },
    key: &["/resources/0"],
    version: &["/detail/deploymentId"],
    deployment_id: &["/detail/deploymentId"],
    rollback: Rollback::Told(|| {
        let texts = ["*rolling back*", "*rolled back*", "*rollback*", "*Rolling back*", "*Rolled back*", "*Rollback*"];
        json!({ "detail": { "reason": texts.map(|text| json!({ "wildcard": text })) } })
    }),
    settle: NONE,
    filters: &[Filter { path: &["resources"], forms: ECS_SERVICE }],
    mapping: None,
};

const ECR: Preset = Preset {
    name: "ecr-push",
    about: "An image was pushed to ECR. That is not yet a deployment: settle for as long as yours takes, or wait for its own \
            event. `service` is the repository, `branch` the tag.",
    pattern: || {
        json!({
            "source": ["aws.ecr"],
            "detail-type": ["ECR Image Action"],
            "detail": { "action-type": ["PUSH"], "result": ["SUCCESS"] },
        })
    },
    key: &["/account", "/region", "/detail/repository-name"],
    version: &["/detail/image-digest"],
    deployment_id: &[],
    rollback: Rollback::Untold,
    settle: NONE,
    filters: &[
        Filter { path: &["detail", "repository-name"], forms: SERVICE },
        Filter { path: &["detail", "image-tag"], forms: BRANCH },
    ],
    mapping: None,
};

const CLOUDFORMATION: Preset = Preset {
    name: "cloudformation-complete",
    about: "A stack was created, updated or imported into. Nested stacks tell of themselves too, each under its own name: give \
            the `application`, which is the name of the stack. The event names no version, so every update counts.",
    pattern: || {
        json!({
            "source": ["aws.cloudformation"],
            "detail-type": ["CloudFormation Stack Status Change"],
            "detail": { "status-details": { "status": ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"] } },
        })
    },
    key: &["/detail/stack-id"],
    version: &[],
    deployment_id: &[],
    rollback: Rollback::NotTaken,
    settle: NONE,
    filters: &[Filter { path: &["detail", "stack-id"], forms: STACK }],
    mapping: None,
};

const APPCONFIG: Preset = Preset {
    name: "appconfig-complete",
    about: "An AppConfig deployment completed. AppConfig tells of it only once its EventBridge extension is associated, and \
            on the default bus. `service` is the configuration profile.",
    pattern: || {
        json!({
            "source": ["aws.appconfig"],
            "detail-type": ["On Deployment Complete"],
            "detail": { "Type": ["OnDeploymentComplete"] },
        })
    },
    key: &[
        "/account",
        "/region",
        "/detail/Application/Name",
        "/detail/Environment/Name",
        "/detail/ConfigurationProfile/Name",
    ],
    version: &["/detail/ConfigurationVersion"],
    deployment_id: &["/detail/DeploymentNumber"],
    rollback: Rollback::NotTaken,
    settle: NONE,
    filters: &[
        Filter { path: &["detail", "Application", "Name"], forms: APPLICATION },
        Filter { path: &["detail", "Environment", "Name"], forms: ENVIRONMENT },
        Filter { path: &["detail", "ConfigurationProfile", "Name"], forms: SERVICE },
    ],
    mapping: None,
};

const AUTO_SCALING: Preset = Preset {
    name: "asg-refresh-succeeded",
    about: "An instance refresh of an Auto Scaling group succeeded. The event names no launch template, so the refresh's id \
            stands for the version. `service` is the group.",
    pattern: || {
        json!({
            "source": ["aws.autoscaling"],
            "detail-type": ["EC2 Auto Scaling Instance Refresh Succeeded"],
        })
    },
    key: &["/account", "/region", "/detail/AutoScalingGroupName"],
    version: &["/detail/InstanceRefreshId"],
    deployment_id: &["/detail/InstanceRefreshId"],
    rollback: Rollback::NotTaken,
    settle: NONE,
    filters: &[Filter { path: &["detail", "AutoScalingGroupName"], forms: SERVICE }],
    mapping: None,
};

const EKS: Preset = Preset {
    name: "eks-nodegroup-updated",
    about: "The update of a managed node group of EKS was asked for. No event of EKS is known for its end: this is CloudTrail's \
            record of the call (it needs a trail), the begin of the change, so it settles 15m unless told otherwise. \
            `environment` is the cluster, `service` the node group. Its shape is put together from documented parts and was \
            not seen as a whole.",
    pattern: || {
        json!({
            "source": ["aws.eks"],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "eventSource": ["eks.amazonaws.com"],
                "eventName": ["UpdateNodegroupVersion"],
                "errorCode": [{ "exists": false }],
            },
        })
    },
    key: &["/account", "/region", "/detail/requestParameters/name", "/detail/requestParameters/nodegroupName"],
    version: &["/detail/responseElements/update/id"],
    deployment_id: &["/detail/responseElements/update/id"],
    rollback: Rollback::Untold,
    settle: SignedDuration::from_mins(15),
    filters: &[
        Filter { path: &["detail", "requestParameters", "name"], forms: ENVIRONMENT },
        Filter { path: &["detail", "requestParameters", "nodegroupName"], forms: SERVICE },
    ],
    mapping: None,
};

const LAMBDA: Preset = Preset {
    name: "lambda-updated",
    about: "The code of a Lambda function was updated, a version published or an alias moved. It is CloudTrail's record of the \
            call (it needs a trail) and comes before the new code is in use: it settles 1m unless told otherwise, which also \
            makes one run of the calls of one deployment. `service` is the function; one that some call by its name and others \
            by its ARN has two keys.",
    pattern: || {
        // The names of the calls carry the version of the API: UpdateFunctionCode20150331v2.
        let calls = ["UpdateFunctionCode", "PublishVersion", "UpdateAlias"];
        json!({
            "source": ["aws.lambda"],
            "detail-type": ["AWS API Call via CloudTrail"],
            "detail": {
                "eventSource": ["lambda.amazonaws.com"],
                "eventName": calls.map(|call| json!({ "prefix": call })),
                "errorCode": [{ "exists": false }],
                "requestParameters": { "dryRun": [false, null, { "exists": false }] },
            },
        })
    },
    key: &["/account", "/region", "/detail/requestParameters/functionName"],
    version: &["/detail/responseElements/codeSha256", "/detail/responseElements/functionVersion"],
    deployment_id: &["/detail/requestID"],
    rollback: Rollback::Untold,
    settle: SignedDuration::from_mins(1),
    filters: &[Filter { path: &["detail", "requestParameters", "functionName"], forms: FUNCTION }],
    mapping: None,
};

const ARGO_CD: Preset = Preset {
    name: "argocd-synced",
    about: "Argo CD synced an application and found it healthy. Argo CD sends what its notification template renders: let it \
            be JSON with `app`, `revision`, `phase`, `syncStatus`, `healthStatus` and `finishedAt`.",
    pattern: || {
        json!({
            "detail-type": ["Argo CD Sync"],
            "detail": { "phase": ["Succeeded"], "syncStatus": ["Synced"], "healthStatus": ["Healthy"] },
        })
    },
    key: &["/detail/app"],
    version: &["/detail/revision"],
    deployment_id: &[],
    rollback: Rollback::Untold,
    settle: NONE,
    filters: &[Filter { path: &["detail", "app"], forms: APPLICATION }],
    mapping: Some(PresetMapping {
        name: "argocd",
        when: || json!({ "app": [{ "exists": true }], "phase": [{ "exists": true }], "syncStatus": [{ "exists": true }] }),
        source: "argocd",
        detail_type: "Argo CD Sync",
        id: None,
        time: Some("/finishedAt"),
    }),
};

const FLUX: Preset = Preset {
    name: "flux-reconciled",
    about: "Flux reconciled a Kustomization, or installed, upgraded or rolled back a HelmRelease. `application` is its name, \
            `environment` its namespace, `branch` that of the revision of a Kustomization, `main@sha1:…`.",
    pattern: || {
        let reasons = ["ReconciliationSucceeded", "InstallSucceeded", "UpgradeSucceeded", "RollbackSucceeded"];
        json!({
            "detail-type": ["Flux Event"],
            "detail": {
                "involvedObject": { "kind": ["Kustomization", "HelmRelease"] },
                "severity": ["info"],
                "reason": reasons,
            },
        })
    },
    key: &["/detail/involvedObject/kind", "/detail/involvedObject/namespace", "/detail/involvedObject/name"],
    version: &[
        "/detail/metadata/kustomize.toolkit.fluxcd.io~1revision",
        "/detail/metadata/helm.toolkit.fluxcd.io~1revision",
        "/detail/metadata/revision",
    ],
    deployment_id: &[],
    rollback: Rollback::Told(|| json!({ "detail": { "reason": ["RollbackSucceeded"] } })),
    settle: NONE,
    filters: &[
        Filter { path: &["detail", "involvedObject", "name"], forms: APPLICATION },
        Filter { path: &["detail", "involvedObject", "namespace"], forms: ENVIRONMENT },
        Filter { path: &["detail", "metadata", "kustomize.toolkit.fluxcd.io/revision"], forms: FLUX_BRANCH },
    ],
    mapping: Some(PresetMapping {
        name: "flux",
        when: || json!({ "involvedObject": { "kind": [{ "exists": true }] }, "reason": [{ "exists": true }] }),
        source: "flux",
        detail_type: "Flux Event",
        id: None,
        time: Some("/timestamp"),
    }),
};

const GITHUB: Preset = Preset {
    name: "github-deployment",
    about: "A deployment of GitHub succeeded: its webhook event `deployment_status`. `application` is `OWNER/REPOSITORY`, \
            `branch` the ref that was deployed.",
    pattern: || {
        json!({
            "source": ["github"],
            "detail-type": ["deployment_status"],
            "detail": { "deployment_status": { "state": ["success"] } },
        })
    },
    key: &["/detail/repository/full_name", "/detail/deployment/environment"],
    version: &["/detail/deployment/sha"],
    deployment_id: &["/detail/deployment/id"],
    rollback: Rollback::Untold,
    settle: NONE,
    filters: &[
        Filter { path: &["detail", "repository", "full_name"], forms: APPLICATION },
        Filter { path: &["detail", "deployment", "ref"], forms: BRANCH },
        Filter { path: &["detail", "deployment", "environment"], forms: ENVIRONMENT },
    ],
    mapping: Some(PresetMapping {
        name: "github",
        when: || {
            json!({
                "deployment_status": { "state": [{ "exists": true }] },
                "repository": { "full_name": [{ "exists": true }] },
            })
        },
        source: "github",
        detail_type: "deployment_status",
        id: Some("/deployment_status/node_id"),
        time: Some("/deployment_status/created_at"),
    }),
};
