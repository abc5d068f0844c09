//! The names of the operations that the simulator has, by service: a fault that waits for another would wait for ever.

/// All of them.
pub(super) const OPERATIONS: [&str; 71] = [
    // FIS.
    "CreateExperimentTemplate",
    "GetExperimentTemplate",
    "UpdateExperimentTemplate",
    "DeleteExperimentTemplate",
    "ListExperimentTemplates",
    "StartExperiment",
    "GetExperiment",
    "StopExperiment",
    "ListExperiments",
    "ListExperimentResolvedTargets",
    "ListExperimentTargetAccountConfigurations",
    "GetExperimentTargetAccountConfiguration",
    "CreateTargetAccountConfiguration",
    "UpdateTargetAccountConfiguration",
    "DeleteTargetAccountConfiguration",
    "GetTargetAccountConfiguration",
    "ListTargetAccountConfigurations",
    "ListActions",
    "GetAction",
    "ListTargetResourceTypes",
    "GetTargetResourceType",
    "GetSafetyLever",
    "UpdateSafetyLeverState",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    // SQS.
    "CreateQueue",
    "GetQueueUrl",
    "ListQueues",
    "DeleteQueue",
    "PurgeQueue",
    "SendMessage",
    "SendMessageBatch",
    "ReceiveMessage",
    "DeleteMessage",
    "DeleteMessageBatch",
    "ChangeMessageVisibility",
    "ChangeMessageVisibilityBatch",
    "GetQueueAttributes",
    "SetQueueAttributes",
    "ListDeadLetterSourceQueues",
    "ListQueueTags",
    "TagQueue",
    "UntagQueue",
    // EventBridge.
    "PutEvents",
    "PutRule",
    "DescribeRule",
    "DeleteRule",
    "EnableRule",
    "DisableRule",
    "ListRules",
    "ListRuleNamesByTarget",
    "PutTargets",
    "RemoveTargets",
    "ListTargetsByRule",
    "TestEventPattern",
    "CreateEventBus",
    "DeleteEventBus",
    "DescribeEventBus",
    "ListEventBuses",
    // CloudWatch.
    "PutMetricAlarm",
    "SetAlarmState",
    "DescribeAlarms",
    "DeleteAlarms",
    // SSM.
    "CreateDocument",
    "UpdateDocument",
    "DeleteDocument",
    "GetDocument",
    "GetCalendarState",
    // STS.
    "GetCallerIdentity",
    "AssumeRole",
];

/// The name that is most like another one.
pub(super) fn likeliest(name: &str) -> &'static str {
    let likeness = |known: &&str| strsim::jaro_winkler(known, name);
    OPERATIONS.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).unwrap_or_default()
}
