//! The life of experiments: order, times, stops, tokens, quotas, targets and the safety lever.

use aws_sdk_fis::types::{
    ActionsMode, CreateExperimentTemplateExperimentOptionsInput, EmptyTargetResolutionMode, ExperimentStatus,
    SafetyLeverStatus, SafetyLeverStatusInput, StartExperimentExperimentOptionsInput, UpdateSafetyLeverStateInput,
};

use super::*;

#[test]
fn actions_follow_start_after_and_take_their_time() {
    simulated(fast(), async |world| {
        let acts = [
            wait("a", MINUTE, &[]),
            wait("b", TWO_MINUTES, &[]),
            wait("c", MINUTE, &["a", "b"]),
            wait("d", MINUTE, &["a"]),
        ];
        let template = world.template(acts).await;
        let id = world.start(&template, "t").await;
        let record = world.until(&id, FisStatus::Completed).await;
        let span = |name: &str| {
            let action = &record.actions[name];
            let since = |at: Option<jiff::Timestamp>| at.expect("a time").duration_since(record.created_at).as_millis();
            (since(action.started_at), since(action.ended_at))
        };
        // Ten declared seconds pass before the first action.
        assert_eq!([span("a"), span("b"), span("c"), span("d")], [(10, 70), (10, 130), (130, 190), (70, 130)]);
        let shown = world.fis.get_experiment().id(&id).send().await.expect("found").experiment.expect("an experiment");
        let state = shown.state().expect("a state");
        assert_eq!(state.status(), Some(&ExperimentStatus::Completed));
        assert_eq!(state.reason(), Some("Experiment completed."));
        assert!(shown.end_time().expect("an end").as_secs_f64() > shown.start_time().expect("a start").as_secs_f64());
        assert_eq!(shown.actions().expect("actions")["c"].start_after(), ["a", "b"]);
        world
    });
}

#[test]
fn a_start_replies_initiating_and_a_stop_replies_stopping() {
    simulated(fast(), async |world| {
        let template = world.template([wait("long", HOURS, &[]), wait("later", MINUTE, &["long"])]).await;
        let request = world.fis.start_experiment().experiment_template_id(&template).tags("firedrill:run", "r1");
        let started = request.send().await.expect("started").experiment.expect("an experiment");
        let state = started.state().expect("a state");
        assert_eq!(
            (state.status(), state.reason()),
            (Some(&ExperimentStatus::Initiating), Some("Experiment is initiating."))
        );
        assert_eq!(started.tags().expect("tags")["firedrill:run"], "r1");
        let id = started.id().expect("an id");
        world.until(id, FisStatus::Running).await;
        let stopped = world.fis.stop_experiment().id(id).send().await.expect("stopped").experiment.expect("it");
        assert_eq!(stopped.state().and_then(|state| state.status()), Some(&ExperimentStatus::Stopping));
        let record = world.until(id, FisStatus::Stopped).await;
        assert_eq!(record.actions["long"].status, FisStatus::Stopped);
        assert_eq!(record.actions["later"].status, FisStatus::Cancelled);
        let again = world.fis.stop_experiment().id(id).send().await.expect_err("it has ended").into_service_error();
        assert!(again.is_validation_exception(), "{again:?}");
        world
    });
}

#[test]
fn a_token_starts_one_experiment() {
    simulated(fast(), async |world| {
        let template = world.template([wait("w", MINUTE, &[])]).await;
        let first = world.start(&template, "token").await;
        world.until(&first, FisStatus::Completed).await;
        assert_eq!(world.start(&template, "token").await, first);
        let other = world.fis.start_experiment().experiment_template_id(&template).client_token("token").tags("a", "b");
        let error = other.send().await.expect_err("another request").into_service_error();
        assert!(error.is_conflict_exception(), "{error:?}");
        assert_eq!(world.simulator.experiments().len(), 1);
        world
    });
}

#[test]
fn a_sixth_active_experiment_is_over_quota() {
    simulated(fast(), async |world| {
        let template = world.template([wait("w", HOURS, &[])]).await;
        for n in 0..5 {
            world.start(&template, &format!("t{n}")).await;
        }
        let sixth = || world.fis.start_experiment().experiment_template_id(&template).client_token("t5").send();
        let error = sixth().await.expect_err("over quota").into_service_error();
        assert!(error.is_service_quota_exceeded_exception(), "{error:?}");
        let first = world.simulator.experiments().remove(0).id;
        world.fis.stop_experiment().id(&first).send().await.expect("stopped");
        world.until(&first, FisStatus::Stopped).await;
        sixth().await.expect("one has ended");
        world
    });
}

#[test]
fn lists_filter_and_page() {
    simulated(fast(), async |world| {
        let (one, two) =
            (world.template([wait("w", MINUTE, &[])]).await, world.template([wait("x", MINUTE, &[])]).await);
        for n in 0..3 {
            let id = world.start(&one, &format!("one-{n}")).await;
            world.until(&id, FisStatus::Completed).await;
        }
        world.start(&two, "two").await;
        let pages = world.fis.list_experiments().experiment_template_id(&one).max_results(2).into_paginator().items();
        let listed = pages.send().collect::<Result<Vec<_>, _>>().await.expect("pages");
        assert_eq!(listed.len(), 3);
        assert!(listed.iter().all(|summary| summary.experiment_template_id() == Some(one.as_str())));
        let bad = world.fis.list_experiments().next_token("nonsense").send().await.expect_err("refused");
        assert!(bad.into_service_error().is_validation_exception());
        let actions = world.fis.list_actions().into_paginator().items().send().collect::<Result<Vec<_>, _>>().await;
        assert_eq!(actions.expect("pages").len(), firedrill::domain::catalogue::all().actions.len());
        world
    });
}

async fn start_on(world: &World, mode: EmptyTargetResolutionMode, value: &str, selection: &str) -> String {
    let options = CreateExperimentTemplateExperimentOptionsInput::builder().empty_target_resolution_mode(mode).build();
    let stop = Act("stop", "aws:ec2:stop-instances", &[], Some(("Instances", "them")), &[]);
    let created = world
        .draft([stop, wait("after", MINUTE, &["stop"])])
        .targets("them", tagged("aws:ec2:instance", "env", value, selection))
        .experiment_options(options)
        .send();
    let template =
        created.await.expect("accepted").experiment_template.and_then(|template| template.id).expect("an id");
    world.start(&template, "t").await
}

fn listed() -> Options {
    let resources = ["i-1", "i-2", "i-3", "i-4", "i-5"].map(|id| instance(id, ("env", "test")));
    Options { inventory: Inventory::Listed(resources.into()), ..fast() }
}

#[test]
fn empty_targets_fail_the_experiment_by_default() {
    simulated(listed(), async |world| {
        let id = start_on(&world, EmptyTargetResolutionMode::Fail, "nowhere", "ALL").await;
        let record = world.until(&id, FisStatus::Failed).await;
        assert_eq!(record.reason, "Target resolution returned empty set.");
        assert!(record.actions.values().all(|action| action.status == FisStatus::Cancelled));
        let shown = world.fis.get_experiment().id(&id).send().await.expect("found").experiment.expect("it");
        let error = shown.state().and_then(|state| state.error()).expect("an error");
        assert_eq!((error.code(), error.location()), (Some("InvalidTarget"), Some("them")));
        world
    });
}

#[test]
fn empty_targets_can_be_skipped() {
    simulated(listed(), async |world| {
        let id = start_on(&world, EmptyTargetResolutionMode::Skip, "nowhere", "ALL").await;
        let record = world.until(&id, FisStatus::Completed).await;
        assert_eq!(record.actions["stop"].status, FisStatus::Skipped);
        assert_eq!(record.actions["after"].status, FisStatus::Completed);
        world
    });
}

#[test]
fn percentages_are_rounded_down() {
    simulated(listed(), async |world| {
        let id = start_on(&world, EmptyTargetResolutionMode::Fail, "test", "PERCENT(50)").await;
        world.until(&id, FisStatus::Completed).await;
        let resolved = world.fis.list_experiment_resolved_targets().experiment_id(&id).send().await.expect("found");
        assert_eq!(resolved.resolved_targets().len(), 2);
        let information = resolved.resolved_targets()[0].target_information().expect("information");
        assert!(information["arn"].starts_with("arn:aws:ec2:"));
        world
    });
}

#[test]
fn skip_all_previews_the_targets() {
    simulated(fast(), async |world| {
        let template = world.template([wait("w", HOURS, &[])]).await;
        let options = StartExperimentExperimentOptionsInput::builder().actions_mode(ActionsMode::SkipAll).build();
        let request = world.fis.start_experiment().experiment_template_id(&template).experiment_options(options);
        let id = request.send().await.expect("started").experiment.and_then(|experiment| experiment.id).expect("an id");
        let record = world.until(&id, FisStatus::Completed).await;
        assert!(record.preview);
        assert_eq!(record.actions["w"].status, FisStatus::Skipped);
        world
    });
}

#[test]
fn capped_actions_end_with_their_work_or_fail() {
    const SPEC: &str =
        r#"{"experiments":[{"spec":{"components":{"env":[{"name":"TOTAL_CHAOS_DURATION","value":"30"}]}}}]}"#;
    const LONG: &str =
        r#"{"experiments":[{"spec":{"components":{"env":[{"name":"TOTAL_CHAOS_DURATION","value":"90"}]}}}]}"#;
    const fn parameters(spec: &'static str) -> [(&'static str, &'static str); 5] {
        [
            ("kubernetesApiVersion", "litmuschaos.io/v1alpha1"),
            ("kubernetesKind", "ChaosEngine"),
            ("kubernetesNamespace", "litmus"),
            ("kubernetesSpec", spec),
            ("maxDuration", "PT1M"),
        ]
    }
    const FITS: &[(&str, &str)] = &parameters(SPEC);
    const EXCEEDS: &[(&str, &str)] = &parameters(LONG);
    simulated(fast(), async |world| {
        for (parameters, status, millis) in [(FITS, FisStatus::Completed, 40), (EXCEEDS, FisStatus::Failed, 60)] {
            let id = "aws:eks:inject-kubernetes-custom-resource";
            let draft = world.draft([Act("chaos", id, parameters, Some(("Cluster", "c")), &[])]);
            let target = CreateExperimentTemplateTargetInput::builder().resource_type("aws:eks:cluster");
            let arn = "arn:aws:eks:us-east-1:123456789012:cluster/test";
            let target = target.selection_mode("ALL").resource_arns(arn).build().expect("a target");
            let created = draft.targets("c", target).send().await.expect("accepted").experiment_template;
            let template = created.and_then(|template| template.id).expect("an id");
            let record = world.start(&template, status.as_str()).await;
            let record = world.until(&record, status.clone()).await;
            let action = &record.actions["chaos"];
            let length = action.ended_at.expect("an end").duration_since(action.started_at.expect("a start"));
            assert_eq!((action.status.clone(), length.as_millis()), (status, millis));
        }
        let failed = world.simulator.experiments().pop().expect("the last");
        assert_eq!(failed.reason, "Action exceeded the specified maximum duration.");
        world
    });
}

#[test]
fn a_failed_action_ends_the_experiment() {
    simulated(fast(), async |world| {
        let acts = [wait("a", HOURS, &[]), wait("b", HOURS, &[]), wait("c", MINUTE, &["a"])];
        let template = world.template(acts).await;
        let id = world.start(&template, "t").await;
        world.until(&id, FisStatus::Running).await;
        let path = format!("experiments/{id}/fail-action");
        let answer = world.control("POST", &path, json!({"action": "a", "reason": "Boom."})).await;
        assert_eq!(answer, (200, json!({})));
        let record = world.until(&id, FisStatus::Failed).await;
        let statuses: Vec<_> = record.actions.values().map(|action| action.status.as_str()).collect();
        assert_eq!((record.reason.as_str(), statuses), ("Boom.", vec!["failed", "stopped", "cancelled"]));
        let answer = world.control("POST", &path, json!({"action": "a", "reason": "Boom."})).await;
        assert_eq!(answer.0, 409);
        world
    });
}

async fn pull(world: &World, status: SafetyLeverStatusInput) -> SafetyLeverStatus {
    let state = UpdateSafetyLeverStateInput::builder().status(status).reason("a test").build().expect("a state");
    let answer = world.fis.update_safety_lever_state().id("default").state(state).send().await.expect("moved");
    let state = answer.safety_lever.and_then(|lever| lever.state).expect("a state");
    state.status().cloned().expect("a status")
}

#[test]
fn an_engaged_lever_stops_what_runs_and_cancels_what_comes() {
    simulated(fast(), async |world| {
        let template = world.template([wait("w", HOURS, &[])]).await;
        let running = world.start(&template, "one").await;
        world.until(&running, FisStatus::Running).await;
        assert_eq!(pull(&world, SafetyLeverStatusInput::Engaged).await, SafetyLeverStatus::Engaging);
        world.until(&running, FisStatus::Stopped).await;
        let lever = world.fis.get_safety_lever().id("default").send().await.expect("found").safety_lever;
        let state = lever.and_then(|lever| lever.state).expect("a state");
        assert_eq!(state.status(), Some(&SafetyLeverStatus::Engaged));
        let refused = world.start(&template, "two").await;
        let record = world.until(&refused, FisStatus::Cancelled).await;
        assert_eq!(record.actions["w"].status, FisStatus::Cancelled);
        assert_eq!(pull(&world, SafetyLeverStatusInput::Disengaged).await, SafetyLeverStatus::Disengaged);
        let accepted = world.start(&template, "three").await;
        world.until(&accepted, FisStatus::Running).await;
        world
    });
}
