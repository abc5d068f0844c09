//! Presets: each takes its sample and no near miss, and reads key and version off it.

use std::collections::BTreeMap;

use firedrill::domain::{
    deployment::{Direction, Reading},
    event::{
        self, Envelope,
        catalogue::samples,
        mapping::{Mapping, Part},
        presets::{FilterKey, PRESETS, Preset, Rollback},
    },
    pattern::{Explanation, Pattern},
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::runs::name;

/// A body of GitHub's webhook, as far as the preset looks.
fn github(state: &str) -> Value {
    json!({
        "action": "created",
        "deployment_status": { "state": state, "node_id": "DES_1", "created_at": "2024-05-10T09:00:00Z" },
        "deployment": { "id": 7, "sha": "0f3a9c1d", "ref": "main", "environment": "prod" },
        "repository": { "full_name": "example/checkout" },
    })
}

pub fn sample(wanted: &str) -> Value {
    samples().find(|(name, _)| name == wanted).unwrap_or_else(|| panic!("a sample `{wanted}`")).1
}

fn preset(name: &str) -> &'static Preset {
    Preset::find(name).unwrap_or_else(|| panic!("a preset `{name}`"))
}

fn pattern(name: &str, filters: &[(FilterKey, &str)]) -> Pattern {
    let mut given: BTreeMap<FilterKey, Vec<String>> = BTreeMap::new();
    for (key, value) in filters {
        given.entry(*key).or_default().push((*value).to_owned());
    }
    Pattern::parse(&preset(name).pattern(&given)).expect("a pattern")
}

/// The mappings that presets bring along.
pub fn brought() -> Vec<Mapping> {
    let mapping = |preset: &Preset| {
        let brought = preset.mapping?;
        Some(Mapping {
            name: name(brought.name),
            when: Pattern::parse(&(brought.when)()).expect("a pattern"),
            source: Part::new(brought.source),
            detail_type: Part::new(brought.detail_type),
            id: brought.id.map(str::to_owned),
            time: brought.time.map(str::to_owned),
        })
    };
    PRESETS.iter().filter_map(mapping).collect()
}

/// The event that a body is read as.
fn read(body: &Value) -> Value {
    event::read(&body.to_string(), "message-1", &brought()).expect("an event").body
}

/// The samples that a preset takes, and what it reads off them: `key version id`.
#[track_caller]
fn check(name: &str, body: &Value, deployed: [&str; 3]) {
    let (preset, event) = (preset(name), read(body));
    assert_eq!(pattern(name, &[]).explain(&event.to_string()), Ok(Explanation::Match), "{name}");
    let own = |pointers: &[&str]| pointers.iter().map(|pointer| (*pointer).to_owned()).collect();
    let reading =
        Reading { key: own(preset.key), version: own(preset.version), id: own(preset.deployment_id), rollback: None };
    let read = reading.read(&event, Direction::Forward, Timestamp::UNIX_EPOCH).expect("a key");
    let none = || "none".to_owned();
    assert_eq!([read.key, read.version.unwrap_or_else(none), read.id.unwrap_or_else(none)], deployed);
}

const STACK: &str =
    "arn:aws:cloudformation:us-east-1:123456789012:stack/teststack/5e4d3c20-1a2b-11ee-9c5d-0a1b2c3d4e5f";

#[test]
fn each_preset_takes_its_sample_and_knows_what_was_deployed() {
    let codedeploy = sample("codedeploy-deployment-state-change");
    check(
        "codedeploy-success",
        &codedeploy,
        ["123456789012/us-east-1/myApplication/myDeploymentGroup", "d-123456789", "d-123456789"],
    );
    let execution = "12345678-1234-5678-abcd-12345678abcd";
    let pipeline = sample("codepipeline-pipeline-execution-state-change");
    check("codepipeline-succeeded", &pipeline, ["123456789012/us-east-1/myPipeline", execution, execution]);
    let (service, deployment) =
        ("arn:aws:ecs:us-west-2:111122223333:service/default/servicetest", "ecs-svc/1702860048778063437");
    for form in ["ecs-deployment-state-change", "sqs-body.raw-eventbridge", "sqs-body.sns-wrapped"] {
        check("ecs-deployment-completed", &sample(form), [service, deployment, deployment]);
    }
    let digest = "sha256:7f5b2640fe6fb4f46592dfd3410c4a79dac4f89e4782432e0378abcd1234";
    check("ecr-push", &sample("ecr-image-action"), ["123456789012/us-west-2/my-repository-name", digest, "none"]);
    check("cloudformation-complete", &sample("cloudformation-stack-status-change"), [STACK, "none", "none"]);
    check(
        "appconfig-complete",
        &sample("appconfig-on-deployment-complete"),
        ["111122223333/us-east-1/MyApp/MyEnv/MyConfigProfile", "1", "1"],
    );
    let refresh = "c613620e-07e2-4ed2-a9e2-ef8258911ade";
    check(
        "asg-refresh-succeeded",
        &sample("autoscaling-instance-refresh-succeeded"),
        ["123456789012/us-west-2/my-asg", refresh, refresh],
    );
    let update = "8c2d5f10-1a2b-3c4d-9e5f-60718293a4b5";
    let eks = sample("eks-update-nodegroup-version.cloudtrail");
    check("eks-nodegroup-updated", &eks, ["123456789012/us-east-1/my-cluster/workers", update, update]);
    let code = "qzPzPp1sEXAMPLEEXAMPLEEXAMPLEEXAMPLEEXAMPLE=";
    check(
        "lambda-updated",
        &sample("lambda-update-function-code.cloudtrail"),
        ["123456789012/us-east-1/my-function", code, "none"],
    );
    let commit = "0f3a9c1d2e4b5a6978c0d1e2f3a4b5c6d7e8f901";
    check("argocd-synced", &sample("argocd-sqs-message-body"), ["checkout", commit, "none"]);
    let revision = "main@sha1:731f7eaddfb6af01cb2173e18f0f75b0ba780ef1";
    let relayed = sample("custom-flux-via-eventbridge");
    check("flux-reconciled", &relayed, ["Kustomization/apps/webapp", revision, "none"]);
    check("flux-reconciled", &relayed["detail"], ["Kustomization/apps/webapp", revision, "none"]);
    check("github-deployment", &github("success"), ["example/checkout/prod", "0f3a9c1d", "7"]);
}

#[test]
fn what_two_regions_or_accounts_have_alike_has_two_keys() {
    for (form, preset) in [
        ("codedeploy-deployment-state-change", "codedeploy-success"),
        ("codepipeline-pipeline-execution-state-change", "codepipeline-succeeded"),
        ("ecr-image-action", "ecr-push"),
        ("appconfig-on-deployment-complete", "appconfig-complete"),
        ("autoscaling-instance-refresh-succeeded", "asg-refresh-succeeded"),
        ("eks-update-nodegroup-version.cloudtrail", "eks-nodegroup-updated"),
        ("lambda-update-function-code.cloudtrail", "lambda-updated"),
    ] {
        let key = self::preset(preset).key.iter().map(|pointer| (*pointer).to_owned()).collect();
        let reading = Reading { key, ..Reading::default() };
        let read = |event: &Value| reading.read(event, Direction::Forward, Timestamp::UNIX_EPOCH).expect("a key").key;
        let here = sample(form);
        for (part, other) in [("region", "eu-west-1"), ("account", "210987654321")] {
            let mut there = here.clone();
            there[part] = json!(other);
            assert_ne!(read(&here), read(&there), "{preset}: {part}");
        }
    }
}

#[test]
fn no_preset_takes_the_event_of_another_or_of_anything_else() {
    let own = |preset: &str| match preset {
        "ecs-deployment-completed" => &["ecs-deployment-state-change", "sqs-body.raw", "sqs-body.sns"][..],
        "eks-nodegroup-updated" => &["eks-update-nodegroup"],
        "appconfig-complete" => &["appconfig"],
        "asg-refresh-succeeded" => &["autoscaling"],
        "flux-reconciled" => &["custom-flux"],
        "argocd-synced" => &["argocd"],
        "github-deployment" => &["none"],
        "cloudformation-complete" => &["cloudformation"],
        "codedeploy-success" => &["codedeploy"],
        "codepipeline-succeeded" => &["codepipeline"],
        "ecr-push" => &["ecr"],
        "lambda-updated" => &["lambda"],
        other => panic!("`{other}` is new"),
    };
    let mut seen = 0;
    for (name, body) in samples() {
        let event = read(&body);
        for preset in PRESETS {
            let takes = pattern(preset.name, &[]).matches(&event);
            let is_own = own(preset.name).iter().any(|own| name.starts_with(own));
            assert_eq!(takes, is_own, "{} and {name}", preset.name);
        }
        seen += 1;
    }
    assert_eq!(seen, 26);
}

/// Tells that a preset does not take its sample once a value is another.
#[track_caller]
fn misses(preset: &str, body: &Value, pointer: &str, value: Value) {
    let mut event = read(body);
    *event.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value.clone();
    assert!(!pattern(preset, &[]).matches(&event), "{preset} takes {value} at {pointer}");
}

#[test]
fn near_misses_are_not_taken() {
    let codedeploy = sample("codedeploy-deployment-state-change");
    for state in ["START", "FAILURE", "STOP", "READY", "SUCCEEDED", "success"] {
        misses("codedeploy-success", &codedeploy, "/detail/state", json!(state));
    }
    let instance = json!("CodeDeploy Instance State-change Notification");
    misses("codedeploy-success", &codedeploy, "/detail-type", instance);
    let pipeline = sample("codepipeline-pipeline-execution-state-change");
    for state in ["STARTED", "RESUMED", "SUPERSEDED", "FAILED", "STOPPED"] {
        misses("codepipeline-succeeded", &pipeline, "/detail/state", json!(state));
    }
    let stage = json!("CodePipeline Stage Execution State Change");
    misses("codepipeline-succeeded", &pipeline, "/detail-type", stage);
    let ecs = sample("ecs-deployment-state-change");
    misses("ecs-deployment-completed", &ecs, "/detail/eventName", json!("SERVICE_DEPLOYMENT_IN_PROGRESS"));
    misses("ecs-deployment-completed", &ecs, "/detail/eventName", json!("SERVICE_DEPLOYMENT_FAILED"));
    misses("ecr-push", &sample("ecr-image-action"), "/detail/action-type", json!("DELETE"));
    misses("ecr-push", &sample("ecr-image-action"), "/detail/result", json!("FAILURE"));
    let stack = sample("cloudformation-stack-status-change");
    for status in
        ["UPDATE_IN_PROGRESS", "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE", "DELETE_COMPLETE"]
    {
        misses("cloudformation-complete", &stack, "/detail/status-details/status", json!(status));
    }
    let appconfig = sample("appconfig-on-deployment-complete");
    misses("appconfig-complete", &appconfig, "/detail-type", json!("On Deployment Rolled Back"));
    let refresh = sample("autoscaling-instance-refresh-succeeded");
    let rollback = json!("EC2 Auto Scaling Instance Refresh Rollback Succeeded");
    misses("asg-refresh-succeeded", &refresh, "/detail-type", rollback);
    let eks = sample("eks-update-nodegroup-version.cloudtrail");
    misses("eks-nodegroup-updated", &eks, "/detail/eventName", json!("DescribeNodegroup"));
    let lambda = sample("lambda-update-function-code.cloudtrail");
    misses("lambda-updated", &lambda, "/detail/eventName", json!("UpdateFunctionConfiguration20150331v2"));
    misses("lambda-updated", &lambda, "/detail/requestParameters/dryRun", json!(true));
    let argo = sample("argocd-sqs-message-body");
    misses("argocd-synced", &argo, "/detail/healthStatus", json!("Degraded"));
    misses("argocd-synced", &argo, "/detail/phase", json!("Failed"));
    let flux = sample("custom-flux-via-eventbridge");
    misses("flux-reconciled", &flux, "/detail/severity", json!("error"));
    misses("flux-reconciled", &flux, "/detail/involvedObject/kind", json!("GitRepository"));
    for state in ["failure", "in_progress", "inactive"] {
        misses("github-deployment", &github("success"), "/detail/deployment_status/state", json!(state));
    }
}

#[test]
fn refused_calls_deploy_nothing() {
    for (preset, form) in [
        ("eks-nodegroup-updated", "eks-update-nodegroup-version.cloudtrail"),
        ("lambda-updated", "lambda-update-function-code.cloudtrail"),
    ] {
        let mut event = sample(form);
        event["detail"]["errorCode"] = json!("AccessDeniedException");
        assert!(!pattern(preset, &[]).matches(&event), "{preset}");
    }
}

#[test]
fn rollbacks_are_told_where_the_event_tells() {
    let tells = |preset: &Preset, event: &Value| match preset.rollback {
        Rollback::Told(pattern) => Pattern::parse(&pattern()).expect("a pattern").matches(event),
        Rollback::NotTaken | Rollback::Untold => false,
    };
    for (_, body) in samples() {
        let event = read(&body);
        assert!(PRESETS.iter().all(|preset| !tells(preset, &event)), "{event}");
    }
    let mut ecs = sample("ecs-deployment-state-change");
    ecs["detail"]["reason"] = json!("ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.");
    assert!(tells(preset("ecs-deployment-completed"), &ecs));
    ecs["detail"]["reason"] = json!("ECS deployment ecs-svc/1 was rolled back by an alarm.");
    assert!(tells(preset("ecs-deployment-completed"), &ecs));
    let mut codedeploy = sample("codedeploy-deployment-state-change");
    codedeploy["detail"]["creator"] = json!("codeDeployRollback");
    assert!(tells(preset("codedeploy-success"), &codedeploy));
    let mut flux = sample("custom-flux-via-eventbridge");
    flux["detail"]["reason"] = json!("RollbackSucceeded");
    assert!(tells(preset("flux-reconciled"), &flux));
    assert!(pattern("flux-reconciled", &[]).matches(&flux));
}

#[test]
fn filters_take_names_and_stars_and_nothing_beside() {
    use FilterKey::{Application, Branch, Environment, Service};
    let ecs = sample("ecs-deployment-state-change");
    let stack = sample("cloudformation-stack-status-change");
    let lambda = sample("lambda-update-function-code.cloudtrail");
    let flux = sample("custom-flux-via-eventbridge");
    let mut by_arn = lambda.clone();
    by_arn["detail"]["requestParameters"]["functionName"] =
        json!("arn:aws:lambda:us-east-1:123456789012:function:my-function");
    let mut nested = stack.clone();
    nested["detail"]["stack-id"] = json!(STACK.replace("teststack", "teststack-Network-1A2B3C"));
    for (preset, event, filters, takes) in [
        ("ecs-deployment-completed", &ecs, &[(Service, "servicetest")][..], true),
        ("ecs-deployment-completed", &ecs, &[(Service, "test")], false),
        ("ecs-deployment-completed", &ecs, &[(Service, "other"), (Service, "servicetest")], true),
        ("ecs-deployment-completed", &ecs, &[(Service, "service*")], true),
        ("ecs-deployment-completed", &ecs, &[(Service, "def*")], false),
        ("ecs-deployment-completed", &ecs, &[(Environment, "default")], true),
        ("ecs-deployment-completed", &ecs, &[(Environment, "prod")], false),
        ("ecs-deployment-completed", &ecs, &[(Environment, "default"), (Service, "servicetest")], true),
        ("ecs-deployment-completed", &ecs, &[(Environment, "prod"), (Service, "servicetest")], false),
        ("ecs-deployment-completed", &ecs, &[(Environment, "*"), (Service, "*test")], true),
        ("cloudformation-complete", &stack, &[(Application, "teststack")], true),
        ("cloudformation-complete", &stack, &[(Application, "test")], false),
        ("cloudformation-complete", &nested, &[(Application, "teststack")], false),
        ("cloudformation-complete", &nested, &[(Application, "teststack-*")], true),
        ("lambda-updated", &lambda, &[(Service, "my-function")], true),
        ("lambda-updated", &by_arn, &[(Service, "my-function")], true),
        ("lambda-updated", &by_arn, &[(Service, "my-*")], true),
        ("lambda-updated", &by_arn, &[(Service, "function")], false),
        ("flux-reconciled", &flux, &[(Branch, "main"), (Application, "webapp"), (Environment, "apps")], true),
        ("flux-reconciled", &flux, &[(Branch, "mai")], false),
        ("flux-reconciled", &flux, &[(Branch, "ma*n")], true),
        ("ecr-push", &sample("ecr-image-action"), &[(Branch, "latest"), (Service, "my-*")], true),
        ("ecr-push", &sample("ecr-image-action"), &[(Branch, "v\\*")], false),
        ("github-deployment", &read(&github("success")), &[(Application, "example/*"), (Branch, "main")], true),
        ("github-deployment", &read(&github("success")), &[(Environment, "production")], false),
    ] {
        assert_eq!(pattern(preset, filters).matches(event), takes, "{preset} {filters:?}");
    }
}

#[test]
fn what_presets_make_is_what_eventbridge_takes() {
    for preset in PRESETS {
        for value in ["checkout", "check*", "*", "a**b", "\\*"] {
            let filters: Vec<(FilterKey, &str)> = preset.filter_keys().map(|key| (key, value)).collect();
            let pattern = pattern(preset.name, &filters);
            assert_eq!(pattern.warnings(), Vec::<String>::new(), "{} {value}", preset.name);
        }
        assert!(preset.filter_keys().all(|key| preset.field_of(key).is_some()), "{}", preset.name);
    }
}

#[test]
fn bodies_of_webhooks_fit_the_presets_with_and_without_their_mapping() {
    let flux = sample("custom-flux-via-eventbridge")["detail"].clone();
    for (preset, body, source, detail_type) in [
        ("github-deployment", github("success"), "github", "deployment_status"),
        ("flux-reconciled", flux, "flux", "Flux Event"),
    ] {
        let envelope = Envelope { source: source.to_owned(), detail_type: detail_type.to_owned() };
        for mappings in [brought(), Vec::new()] {
            let event = event::read_enveloped(&body.to_string(), "delivery", &mappings, &envelope).expect("an event");
            assert_eq!((event.source.as_str(), event.detail_type.as_str()), (source, detail_type));
            assert!(pattern(preset, &[]).matches(&event.body), "{preset}");
        }
    }
}
