//! Experiments through the SDK for Rust: what its types make of replies, pages and errors.

use aws_sdk_fis::types::{CreateExperimentTemplateExperimentOptionsInput, EmptyTargetResolutionMode, ExperimentStatus};

use super::*;

#[test]
fn an_experiment_is_shown_as_it_is() {
    simulated(Options::default(), async |world| {
        world.freeze().await;
        let acts = [wait("a", MINUTE, &[]), wait("b", MINUTE, &[]), wait("c", MINUTE, &["a", "b"])];
        let template = world.template(acts).await;
        let start = world.fis.start_experiment().experiment_template_id(&template).tags("firedrill:run", "r1");
        let started = start.send().await.expect("started").experiment.expect("an experiment");
        let state = started.state().expect("a state");
        let expected = (Some(&ExperimentStatus::Initiating), Some("Experiment is initiating."));
        assert_eq!((state.status(), state.reason()), expected);
        assert_eq!(started.tags().expect("tags")["firedrill:run"], "r1");
        world.jump("PT10S").await;
        let id = started.id().expect("an id");
        let stopped = world.fis.stop_experiment().id(id).send().await.expect("stopped").experiment.expect("it");
        assert_eq!(stopped.state().and_then(|state| state.status()), Some(&ExperimentStatus::Stopping));
        world.jump("PT5S").await;
        let shown = world.fis.get_experiment().id(id).send().await.expect("found").experiment.expect("an experiment");
        let state = shown.state().expect("a state");
        assert_eq!((state.status(), state.reason()), (Some(&ExperimentStatus::Stopped), Some("Experiment stopped.")));
        let seconds = |time: Option<&aws_sdk_fis::primitives::DateTime>| time.expect("a time").as_secs_f64();
        let took = seconds(shown.end_time()) - seconds(shown.start_time());
        assert!((took - 15.0).abs() < 0.01, "{took}");
        assert_eq!(shown.actions().expect("actions")["c"].start_after(), ["a", "b"]);
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
fn arns_carry_the_partition_of_the_region() {
    for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")] {
        simulated(Options { region: region.to_owned(), ..fast() }, async |world| {
            let template = world.template([wait("w", MINUTE, &[])]).await;
            let shown = world.fis.get_experiment_template().id(&template).send().await.expect("found");
            let arn = shown.experiment_template.and_then(|template| template.arn).expect("an ARN");
            assert_eq!(arn, format!("arn:{partition}:fis:{region}:123456789012:experiment-template/{template}"));
            world
        });
    }
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

#[test]
fn targets_are_shown_as_found_or_missing() {
    let resources = ["i-1", "i-2", "i-3", "i-4", "i-5"].map(|id| instance(id, ("env", "test")));
    simulated(Options { inventory: Inventory::Listed(resources.into()), ..fast() }, async |world| {
        let start = async |mode, tag: &str| {
            let options = CreateExperimentTemplateExperimentOptionsInput::builder().empty_target_resolution_mode(mode);
            let draft = world
                .draft([Act("stop", "aws:ec2:stop-instances", &[], Some(("Instances", "them")), &[])])
                .targets("them", tagged("aws:ec2:instance", "env", tag, "PERCENT(50)"))
                .experiment_options(options.build());
            let template = draft.send().await.expect("accepted").experiment_template.and_then(|made| made.id);
            world.start(&template.expect("an id"), tag).await
        };
        let id = start(EmptyTargetResolutionMode::Skip, "test").await;
        world.until(&id, FisStatus::Completed).await;
        let resolved = world.fis.list_experiment_resolved_targets().experiment_id(&id).send().await.expect("found");
        assert_eq!(resolved.resolved_targets().len(), 2, "half of five, rounded down");
        let information = resolved.resolved_targets()[0].target_information().expect("information");
        assert!(information["arn"].starts_with("arn:aws:ec2:"));
        let id = start(EmptyTargetResolutionMode::Fail, "nowhere").await;
        world.until(&id, FisStatus::Failed).await;
        let shown = world.fis.get_experiment().id(&id).send().await.expect("found").experiment.expect("it");
        let error = shown.state().and_then(|state| state.error()).expect("an error");
        assert_eq!((error.code(), error.location()), (Some("InvalidTarget"), Some("them")));
        world
    });
}
