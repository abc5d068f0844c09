//! What is known of events besides the samples.

/// Detail-types that every service may have.
pub(super) const CLOUDTRAIL: &[&str] =
    &["AWS API Call via CloudTrail", "AWS Service Event via CloudTrail", "AWS Console Action via CloudTrail"];

/// Own detail-types by source.
pub(super) const DETAIL_TYPES: &[(&str, &[&str])] = &[
    (
        "aws.codedeploy",
        &["CodeDeploy Deployment State-change Notification", "CodeDeploy Instance State-change Notification"],
    ),
    (
        "aws.codepipeline",
        &[
            "CodePipeline Pipeline Execution State Change",
            "CodePipeline Stage Execution State Change",
            "CodePipeline Action Execution State Change",
        ],
    ),
    (
        "aws.ecs",
        &[
            "ECS Deployment State Change",
            "ECS Service Action",
            "ECS Task State Change",
            "ECS Container Instance State Change",
        ],
    ),
    (
        "aws.ecr",
        &[
            "ECR Image Action",
            "ECR Image Scan",
            "ECR Scan Resource Change",
            "ECR Pull Through Cache Action",
            "ECR Replication Action",
            "ECR Image Tag Mutability Change",
        ],
    ),
    ("aws.lambda", &[]),
    ("aws.eks", &["EKS Fargate Pod Scheduled Termination"]),
    (
        "aws.cloudformation",
        &[
            "CloudFormation Stack Status Change",
            "CloudFormation Resource Status Change",
            "CloudFormation Drift Detection Status Change",
            "CloudFormation StackSet Status Change",
            "CloudFormation StackSet StackInstance Status Change",
            "CloudFormation StackSet Operation Status Change",
            "CloudFormation Hook Invocation Progress",
        ],
    ),
    (
        "aws.appconfig",
        &[
            "On Deployment Start",
            "On Deployment Step",
            "On Deployment Baking",
            "On Deployment Complete",
            "On Deployment Rolled Back",
        ],
    ),
    (
        "aws.autoscaling",
        &[
            "EC2 Auto Scaling Instance Refresh Started",
            "EC2 Auto Scaling Instance Refresh Succeeded",
            "EC2 Auto Scaling Instance Refresh Failed",
            "EC2 Auto Scaling Instance Refresh Cancelled",
            "EC2 Auto Scaling Instance Refresh Rollback Started",
            "EC2 Auto Scaling Instance Refresh Rollback Succeeded",
            "EC2 Auto Scaling Instance Refresh Rollback Failed",
            "EC2 Auto Scaling Instance Refresh Checkpoint Reached",
            "EC2 Instance Launch Successful",
            "EC2 Instance Launch Unsuccessful",
            "EC2 Instance Terminate Successful",
            "EC2 Instance Terminate Unsuccessful",
            "EC2 Instance-launch Lifecycle Action",
            "EC2 Instance-terminate Lifecycle Action",
        ],
    ),
    ("aws.fis", &["FIS Experiment State Change"]),
];

/// Every value that a field is known to have: source, detail-type, field, values.
pub(super) const VALUES: &[(&str, &str, &str, &[&str])] = &[
    (
        "aws.codedeploy",
        "CodeDeploy Deployment State-change Notification",
        "detail.state",
        &["START", "SUCCESS", "FAILURE", "STOP", "READY"],
    ),
    (
        "aws.codepipeline",
        "CodePipeline Pipeline Execution State Change",
        "detail.state",
        &["CANCELED", "FAILED", "RESUMED", "STARTED", "STOPPED", "STOPPING", "SUCCEEDED", "SUPERSEDED"],
    ),
    (
        "aws.ecs",
        "ECS Deployment State Change",
        "detail.eventName",
        &["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"],
    ),
    ("aws.ecr", "ECR Image Action", "detail.action-type", &["PUSH", "DELETE"]),
    ("aws.ecr", "ECR Image Action", "detail.result", &["SUCCESS", "FAILURE"]),
    (
        "aws.cloudformation",
        "CloudFormation Stack Status Change",
        "detail.status-details.status",
        &[
            "CREATE_IN_PROGRESS",
            "CREATE_COMPLETE",
            "CREATE_FAILED",
            "DELETE_IN_PROGRESS",
            "DELETE_COMPLETE",
            "DELETE_FAILED",
            "REVIEW_IN_PROGRESS",
            "ROLLBACK_IN_PROGRESS",
            "ROLLBACK_COMPLETE",
            "ROLLBACK_FAILED",
            "UPDATE_IN_PROGRESS",
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_COMPLETE",
            "UPDATE_FAILED",
            "UPDATE_ROLLBACK_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
            "UPDATE_ROLLBACK_COMPLETE",
            "UPDATE_ROLLBACK_FAILED",
            "IMPORT_IN_PROGRESS",
            "IMPORT_COMPLETE",
            "IMPORT_ROLLBACK_IN_PROGRESS",
            "IMPORT_ROLLBACK_COMPLETE",
            "IMPORT_ROLLBACK_FAILED",
        ],
    ),
    ("aws.appconfig", "On Deployment Complete", "detail.Type", &["OnDeploymentComplete"]),
    (
        "aws.fis",
        "FIS Experiment State Change",
        "detail.new-state.status",
        // `cancelled` is not among the documented ones; a pattern for it is doubted for that.
        &["initiating", "running", "completed", "stopping", "stopped", "failed"],
    ),
    (
        "aws.fis",
        "FIS Experiment State Change",
        "detail.old-state.status",
        &["pending", "initiating", "running", "stopping"],
    ),
];

/// Kinds whose samples are known to have all fields: source, detail-type.
pub(super) const CLOSED: &[(&str, &str)] = &[
    ("aws.codedeploy", "CodeDeploy Deployment State-change Notification"),
    ("aws.fis", "FIS Experiment State Change"),
];

/// Values that look right and never come: source, field, value, what would be right.
pub(super) const TRAPS: &[(&str, &str, &str, &str)] = &[
    ("aws.lambda", "detail.eventName", "UpdateFunctionCode", VERSIONED),
    ("aws.lambda", "detail.eventName", "PublishVersion", VERSIONED),
    ("aws.lambda", "detail.eventName", "UpdateAlias", VERSIONED),
];

const VERSIONED: &str = "the names of Lambda's calls carry a version, `UpdateFunctionCode20150331v2`: use `prefix`";
