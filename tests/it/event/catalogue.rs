//! The catalogue: patterns that match no known event are doubted, all others are not.

use firedrill::domain::{
    event::{catalogue, presets::PRESETS},
    pattern::Pattern,
};
use serde_json::{Value, json};

fn doubts(pattern: &Value) -> Vec<String> {
    let doubts = catalogue::doubts(&Pattern::parse(pattern).expect("a pattern"));
    let told = |doubt: catalogue::Doubt| {
        format!(
            "{}: {}{}",
            doubt.path.join("."),
            doubt.message,
            doubt.hint.map_or_else(String::new, |h| format!("; {h}"))
        )
    };
    doubts.into_iter().map(told).collect()
}

/// Checks the one doubt of a pattern.
#[track_caller]
fn check(pattern: Value, expected: &str) {
    assert_eq!(doubts(&pattern), [expected]);
}

const CODEDEPLOY: &str = "CodeDeploy Deployment State-change Notification";

#[test]
fn every_sample_can_be_read() {
    assert_eq!(catalogue::samples().count(), 26);
}

#[test]
fn wrong_detail_type_is_doubted() {
    check(
        json!({ "source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-Change Notification"] }),
        "detail-type: no event of `aws.codedeploy` is known that has this detail-type; did you mean `CodeDeploy Deployment \
         State-change Notification`?",
    );
    check(
        json!({ "source": ["aws.fis"], "detail-type": ["AWS FIS Experiment State Change"] }),
        "detail-type: no event of `aws.fis` is known that has this detail-type; known are `FIS Experiment State Change`",
    );
    check(
        json!({ "source": ["aws.ecs"], "detail-type": [{ "prefix": "ECS Rollout" }] }),
        "detail-type: no event of `aws.ecs` is known that has this detail-type; known are `ECS Deployment State Change`, `ECS \
         Service Action`, `ECS Task State Change`, `ECS Container Instance State Change`",
    );
}

#[test]
fn misspelt_source_is_doubted_and_other_services_are_not() {
    for (wrong, meant) in [
        ("aws.codeDeploy", "aws.codedeploy"),
        ("aws.codedeply", "aws.codedeploy"),
        ("AWS.ecs", "aws.ecs"),
        ("aws.codepipelines", "aws.codepipeline"),
    ] {
        check(
            json!({ "source": [wrong], "detail": { "state": ["SUCCESS"] } }),
            &format!("source: no service is known that has the source `{wrong}`; did you mean `{meant}`?"),
        );
    }
    for other in
        ["aws.ec2", "aws.efs", "aws.codebuild", "aws.codecommit", "aws.cloudfront", "aws.cloudtrail", "aws.config"]
            .into_iter()
            .chain(["aws.appflow", "aws.application-autoscaling", "com.example.codedeploy"])
    {
        assert_eq!(doubts(&json!({ "source": [other] })), Vec::<String>::new(), "{other}");
    }
}

#[test]
fn state_that_never_comes_is_doubted() {
    check(
        json!({ "source": ["aws.codedeploy"], "detail-type": [CODEDEPLOY], "detail": { "state": ["SUCCEEDED"] } }),
        "detail.state: `detail.state` is known to be one of `START`, `SUCCESS`, `FAILURE`, `STOP`, `READY`; did you mean \
         `SUCCESS`?",
    );
    check(
        json!({ "source": ["aws.codepipeline"], "detail-type": ["CodePipeline Pipeline Execution State Change"],
            "detail": { "state": ["SUCCESS"] } }),
        "detail.state: `detail.state` is known to be one of `CANCELED`, `FAILED`, `RESUMED`, `STARTED`, `STOPPED`, `STOPPING`, \
         `SUCCEEDED`, `SUPERSEDED`; did you mean `SUCCEEDED`?",
    );
    check(
        json!({ "source": ["aws.lambda"], "detail": { "eventName": ["UpdateFunctionCode"] } }),
        "detail.eventName: `detail.eventName` is never exactly `UpdateFunctionCode`; the names of Lambda's calls carry a \
         version, `UpdateFunctionCode20150331v2`: use `prefix`",
    );
}

#[test]
fn field_that_no_event_has_is_doubted() {
    check(
        json!({ "source": ["aws.codedeploy"], "detail-type": [CODEDEPLOY], "detail": { "application-name": ["shop"] } }),
        "detail.application-name: no event of `aws.codedeploy` is known that has `detail.application-name`; did you mean \
         `detail.application`?",
    );
    let fis = |detail: Value| json!({ "source": ["aws.fis"], "detail-type": ["FIS Experiment State Change"], "detail": detail });
    check(
        fis(json!({ "state": { "status": ["completed"] } })),
        "detail.state.status: no event of `aws.fis` is known that has `detail.state.status`; did you mean \
         `detail.new-state.status`?",
    );
    check(
        fis(json!({ "experimentId": [{ "prefix": "EXP" }] })),
        "detail.experimentId: no event of `aws.fis` is known that has `detail.experimentId`; did you mean \
         `detail.experiment-id`?",
    );
}

#[test]
fn what_may_come_is_not_doubted() {
    for pattern in [
        json!({ "source": ["aws.unheard-of"], "detail-type": ["Anything"] }),
        json!({ "source": ["com.example.ci"], "detail": { "state": ["SUCCEEDED"] } }),
        json!({ "source": ["aws.codedeploy", "com.example.ci"], "detail-type": ["Anything"] }),
        json!({ "source": [{ "prefix": "aws.code" }], "detail-type": ["Anything"] }),
        json!({ "detail-type": ["Anything"], "detail": { "state": ["SUCCEEDED"] } }),
        json!({ "source": ["aws.codedeploy"], "detail": { "state": [{ "anything-but": "START" }] } }),
        json!({ "source": ["aws.codedeploy"], "detail": { "creator": [{ "exists": false }] } }),
        json!({ "source": ["aws.codedeploy"], "detail-type": ["AWS API Call via CloudTrail"], "detail": { "eventName": ["CreateDeployment"] } }),
        json!({ "source": ["aws.codepipeline", "aws.codedeploy"], "detail": { "state": ["SUCCESS", "SUCCEEDED"] } }),
        json!({ "source": ["aws.ecs"], "detail": { "clusterArn": ["x"], "desiredStatus": ["RUNNING"] } }),
        json!({ "source": ["aws.codedeploy"], "$or": [{ "detail": { "state": ["SUCCEEDED"] } }, { "detail": { "state": ["SUCCESS"] } }] }),
    ] {
        assert_eq!(doubts(&pattern), Vec::<String>::new(), "{pattern}");
    }
    for preset in PRESETS {
        assert_eq!(doubts(&(preset.pattern)()), Vec::<String>::new(), "{}", preset.name);
    }
}
