//! Target account configurations, tags, the safety lever and quotas, through the SDK: successes and modelled errors.

use aws_sdk_fis::types::{
    AccountTargeting, CreateExperimentTemplateExperimentOptionsInput, SafetyLeverStatus, SafetyLeverStatusInput,
    UpdateExperimentTemplateStopConditionInput, UpdateSafetyLeverStateInput,
};

use super::*;
use crate::support::wire::{template, with};

const ACCOUNT: &str = "111122223333";
const ROLE: &str = "arn:aws:iam::111122223333:role/target";
const OTHER_ROLE: &str = "arn:aws:iam::111122223333:role/other";

async fn multi_account(world: &World) -> String {
    let options = CreateExperimentTemplateExperimentOptionsInput::builder();
    let options = options.account_targeting(AccountTargeting::MultiAccount).build();
    let created = world.draft([wait("w", MINUTE, &[])]).experiment_options(options).send().await.expect("accepted");
    created.experiment_template.and_then(|template| template.id).expect("an id")
}

#[test]
fn accounts_are_configured_changed_listed_and_removed() {
    simulated(fast(), async |world| {
        let id = multi_account(&world).await;
        let fis = &world.fis;
        let create = |account: &str, role: &str, token: &str| {
            let request = fis.create_target_account_configuration().experiment_template_id(&id).account_id(account);
            request.role_arn(role).client_token(token).send()
        };
        let created = create(ACCOUNT, ROLE, "one").await.expect("created").target_account_configuration.expect("it");
        assert_eq!((created.account_id(), created.role_arn()), (Some(ACCOUNT), Some(ROLE)));
        let update = fis.update_target_account_configuration().experiment_template_id(&id).account_id(ACCOUNT);
        let updated = update.role_arn(OTHER_ROLE).description("d").send().await.expect("updated");
        let updated = updated.target_account_configuration.expect("it");
        assert_eq!((updated.role_arn(), updated.description()), (Some(OTHER_ROLE), Some("d")));
        // The same token and request: the configuration as it is now.
        let again = create(ACCOUNT, ROLE, "one").await.expect("the same").target_account_configuration.expect("it");
        assert_eq!(again.role_arn(), Some(OTHER_ROLE));
        for (account, role, token) in [(ACCOUNT, OTHER_ROLE, "one"), (ACCOUNT, ROLE, "two")] {
            let error = create(account, role, token).await.expect_err("refused").into_service_error();
            assert!(error.is_conflict_exception(), "{account} {token}: {error:?}");
        }
        let get = || fis.get_target_account_configuration().experiment_template_id(&id).account_id(ACCOUNT).send();
        assert_eq!(get().await.expect("found").target_account_configuration, Some(updated));
        let list = || fis.list_target_account_configurations().experiment_template_id(&id).send();
        assert_eq!(list().await.expect("listed").target_account_configurations().len(), 1);
        let delete =
            || fis.delete_target_account_configuration().experiment_template_id(&id).account_id(ACCOUNT).send();
        let deleted = delete().await.expect("deleted").target_account_configuration.expect("it");
        assert_eq!(deleted.role_arn(), Some(OTHER_ROLE));
        assert!(list().await.expect("listed").target_account_configurations().is_empty());
        assert!(get().await.expect_err("gone").into_service_error().is_resource_not_found_exception());
        assert!(delete().await.expect_err("gone").into_service_error().is_resource_not_found_exception());
        let update = fis.update_target_account_configuration().experiment_template_id(&id).account_id(ACCOUNT).send();
        assert!(update.await.expect_err("gone").into_service_error().is_resource_not_found_exception());
        // A token is kept as long as what it made.
        create(ACCOUNT, OTHER_ROLE, "one").await.expect("made anew");
        world
    });
}

#[test]
fn accounts_are_refused_by_what_is_wrong() {
    simulated(fast(), async |world| {
        let (id, single) = (multi_account(&world).await, world.template([wait("w", MINUTE, &[])]).await);
        let create = |id: &str, account: &str, role: &str| {
            let request = world.fis.create_target_account_configuration().experiment_template_id(id);
            request.account_id(account).role_arn(role).send()
        };
        let error = create("EXTmissing", ACCOUNT, ROLE).await.expect_err("no template").into_service_error();
        assert!(error.is_resource_not_found_exception(), "{error:?}");
        let list = world.fis.list_target_account_configurations().experiment_template_id("EXTmissing").send().await;
        assert!(list.expect_err("no template").into_service_error().is_resource_not_found_exception());
        let error = create(&single, ACCOUNT, ROLE).await.expect_err("single account").into_service_error();
        assert!(error.is_validation_exception(), "{error:?}");
        assert!(error.meta().message().is_some_and(|text| text.contains("accountTargeting")), "{error:?}");
        let error = create(&id, ACCOUNT, "arn:aws:iam::111122223333:user/u").await.expect_err("no role");
        assert!(error.into_service_error().is_validation_exception());
        for n in 0..40 {
            create(&id, &format!("{:012}", n), ROLE).await.expect("within the quota");
        }
        let error = create(&id, ACCOUNT, ROLE).await.expect_err("over quota").into_service_error();
        assert!(error.is_service_quota_exceeded_exception(), "{error:?}");
        let pages = world.fis.list_target_account_configurations().experiment_template_id(&id).max_results(7);
        let listed = pages.into_paginator().items().send().collect::<Result<Vec<_>, _>>().await.expect("pages");
        assert_eq!(listed.len(), 40);
        world
    });
}

#[test]
fn experiments_keep_the_accounts_they_started_with() {
    simulated(fast(), async |world| {
        let id = multi_account(&world).await;
        for n in 0..25 {
            let request = world.fis.create_target_account_configuration().experiment_template_id(&id).role_arn(ROLE);
            request.account_id(format!("{n:012}")).send().await.expect("created");
        }
        let shown = world.fis.get_experiment_template().id(&id).send().await.expect("found").experiment_template;
        assert_eq!(shown.and_then(|shown| shown.target_account_configurations_count), Some(25));
        let experiment = world.start(&id, "t").await;
        let first = "000000000000";
        let delete = world.fis.delete_target_account_configuration().experiment_template_id(&id).account_id(first);
        delete.send().await.expect("deleted");
        let kept = world.fis.get_experiment_target_account_configuration().experiment_id(&experiment).account_id(first);
        let kept = kept.send().await.expect("found").target_account_configuration.expect("it");
        assert_eq!(kept.role_arn(), Some(ROLE));
        let (mut count, mut token) = (0, None);
        loop {
            let list = world.fis.list_experiment_target_account_configurations().experiment_id(&experiment);
            let page = list.set_next_token(token).send().await.expect("a page");
            count += page.target_account_configurations().len();
            token = page.next_token;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(count, 25);
        let shown = world.fis.get_experiment().id(&experiment).send().await.expect("found").experiment.expect("it");
        assert_eq!(shown.target_account_configurations_count(), Some(25));
        let get = |experiment: &str, account: &str| {
            let get = world.fis.get_experiment_target_account_configuration().experiment_id(experiment);
            get.account_id(account).send()
        };
        for (experiment, account) in [("EXPmissing", first), (&experiment, ACCOUNT)] {
            let error = get(experiment, account).await.expect_err("missing").into_service_error();
            assert!(error.is_resource_not_found_exception(), "{error:?}");
        }
        let list = world.fis.list_experiment_target_account_configurations().experiment_id("EXPmissing").send().await;
        assert!(list.expect_err("missing").into_service_error().is_resource_not_found_exception());
        world
    });
}

#[test]
fn templates_experiments_and_actions_have_tags() {
    simulated(fast(), async |world| {
        let template = world.template([wait("w", MINUTE, &[])]).await;
        let experiment = world.start(&template, "t").await;
        let arn = |resource: &str| format!("arn:aws:fis:us-east-1:123456789012:{resource}");
        let tags = async |arn: &str| {
            let listed = world.fis.list_tags_for_resource().resource_arn(arn).send().await.expect("found").tags;
            listed.expect("tags").into_iter().collect::<std::collections::BTreeMap<_, _>>()
        };
        let taggable = [
            format!("experiment-template/{template}"),
            format!("experiment/{experiment}"),
            "action/aws:fis:wait".to_owned(),
        ];
        for arn in taggable.map(|resource| arn(&resource)) {
            let request = world.fis.tag_resource().resource_arn(&arn).tags("team", "core").tags("env", "test");
            request.send().await.expect("tagged");
            world.fis.tag_resource().resource_arn(&arn).tags("env", "prod").send().await.expect("tagged");
            world.fis.untag_resource().resource_arn(&arn).tag_keys("team").send().await.expect("untagged");
            assert_eq!(tags(&arn).await, [("env".to_owned(), "prod".to_owned())].into(), "{arn}");
            let reserved = world.fis.tag_resource().resource_arn(&arn).tags("aws:x", "y").send().await;
            assert_eq!(reserved.expect_err("reserved").into_service_error().meta().code(), Some("ValidationException"));
            let many = (0..50).map(|n| (n.to_string(), String::new())).collect();
            let many = world.fis.tag_resource().resource_arn(&arn).set_tags(Some(many)).send().await;
            assert_eq!(many.expect_err("51 in all").into_service_error().meta().code(), Some("ValidationException"));
            assert_eq!(tags(&arn).await.len(), 1, "{arn}");
        }
        let action = world.fis.get_action().id("aws:fis:wait").send().await.expect("found").action.expect("it");
        assert_eq!(action.tags().expect("tags")["env"], "prod");
        for missing in ["experiment-template/EXT1", "experiment/EXP1", "action/aws:fis:moon", "safety-lever/default"] {
            let error =
                world.fis.list_tags_for_resource().resource_arn(arn(missing)).send().await.expect_err("missing");
            assert_eq!(error.into_service_error().meta().code(), Some("ResourceNotFoundException"), "{missing}");
        }
        let path = format!("/tags/{}", arn("action/aws:fis:wait").replace('/', "%2F"));
        let wire = &world.wire;
        // No keys: all tags go.
        for (method, body) in [("POST", json!({"tags": {"a": "b"}})), ("DELETE", Value::Null)] {
            let reply = wire.call(method, &path, &body).await;
            assert_eq!((reply.status, reply.body), (200, json!({})));
        }
        assert_eq!(wire.call("GET", &path, &Value::Null).await.body, json!({"tags": {}}));
        world
    });
}

#[test]
fn a_lever_that_is_engaging_cannot_be_moved() {
    simulated(fast(), async |world| {
        world.freeze().await;
        let template = world.template([wait("w", HOURS, &[])]).await;
        let experiment = world.start(&template, "t").await;
        world.jump("PT1S").await;
        world.until(&experiment, FisStatus::Running).await;
        let pull = |id: &str, status| {
            let state = UpdateSafetyLeverStateInput::builder().status(status).reason("why").build().expect("a state");
            world.fis.update_safety_lever_state().id(id).state(state).send()
        };
        let lever = pull("default", SafetyLeverStatusInput::Engaged).await.expect("pulled").safety_lever.expect("it");
        assert_eq!(lever.state().and_then(|state| state.status()), Some(&SafetyLeverStatus::Engaging));
        assert_eq!(world.state().await["safetyLever"]["status"], "engaging");
        for status in [SafetyLeverStatusInput::Disengaged, SafetyLeverStatusInput::Engaged] {
            let error = pull("default", status).await.expect_err("engaging").into_service_error();
            assert!(error.is_conflict_exception(), "{error:?}");
        }
        world.jump("PT1S").await;
        let lever = world.fis.get_safety_lever().id("default").send().await.expect("found").safety_lever.expect("it");
        let state = lever.state().expect("a state");
        assert_eq!((state.status(), state.reason()), (Some(&SafetyLeverStatus::Engaged), Some("why")));
        assert_eq!(lever.arn(), Some("arn:aws:fis:us-east-1:123456789012:safety-lever/default"));
        pull("default", SafetyLeverStatusInput::Disengaged).await.expect("it has engaged");
        let error = pull("other", SafetyLeverStatusInput::Engaged).await.expect_err("missing").into_service_error();
        assert!(error.is_resource_not_found_exception(), "{error:?}");
        let missing = world.fis.get_safety_lever().id("other").send().await.expect_err("missing").into_service_error();
        assert!(missing.is_resource_not_found_exception(), "{missing:?}");
        world
    });
}

/// Sends a request and expects its modelled error.
macro_rules! refused {
    ($request:expr, $kind:ident) => {{
        let error = $request.send().await.expect_err(stringify!($request)).into_service_error();
        assert!(error.$kind(), "{}: {error:?}", stringify!($request));
    }};
}

#[test]
fn errors_of_templates_arrive_typed() {
    simulated(fast(), async |world| {
        let fis = &world.fis;
        let acts = || [wait("w", MINUTE, &[])];
        let waits = |count: usize| {
            let action = CreateExperimentTemplateActionInput::builder().action_id("aws:fis:wait");
            let action = action.parameters("duration", "PT1M").build().expect("an action");
            Some((0..count).map(|n| (n.to_string(), action.clone())).collect())
        };
        refused!(world.draft(acts()).description("d".repeat(513)), is_validation_exception);
        refused!(world.draft(acts()).set_actions(waits(11)), is_service_quota_exceeded_exception);
        world.draft(acts()).client_token("t").send().await.expect("accepted");
        refused!(world.draft(acts()).client_token("t").description("other"), is_conflict_exception);
        let id = world.template(acts()).await;
        let (long, no) = ("x".repeat(65), "EXTmissing");
        refused!(fis.get_experiment_template().id(&long), is_validation_exception);
        refused!(fis.get_experiment_template().id(no), is_resource_not_found_exception);
        refused!(fis.update_experiment_template().id(&id).role_arn("drill"), is_validation_exception);
        refused!(fis.update_experiment_template().id(no), is_resource_not_found_exception);
        let none = UpdateExperimentTemplateStopConditionInput::builder().source("none").build().expect("a source");
        let update = fis.update_experiment_template().id(&id).set_stop_conditions(Some(vec![none; 6]));
        refused!(update, is_service_quota_exceeded_exception);
        refused!(fis.delete_experiment_template().id(&long), is_validation_exception);
        refused!(fis.list_experiment_templates().max_results(0), is_validation_exception);
        refused!(
            fis.list_target_account_configurations().experiment_template_id(&id).max_results(101),
            is_validation_exception
        );
        let account = fis.get_target_account_configuration().experiment_template_id(&id).account_id("1");
        refused!(account, is_validation_exception);
        let account = fis.update_target_account_configuration().experiment_template_id(&id).account_id("1");
        refused!(account, is_validation_exception);
        let account = fis.delete_target_account_configuration().experiment_template_id(&id).account_id("1");
        refused!(account, is_validation_exception);
        refused!(fis.get_action().id("a".repeat(129)), is_validation_exception);
        refused!(fis.list_actions().next_token("moon"), is_validation_exception);
        refused!(fis.get_target_resource_type().resource_type("a".repeat(129)), is_validation_exception);
        refused!(fis.list_target_resource_types().max_results(101), is_validation_exception);
        world
    });
}

#[test]
fn errors_of_experiments_arrive_typed() {
    simulated(fast(), async |world| {
        let fis = &world.fis;
        let (long, no) = ("x".repeat(65), "EXPmissing");
        refused!(fis.start_experiment().experiment_template_id(&long), is_validation_exception);
        refused!(fis.start_experiment().experiment_template_id("EXTmissing"), is_resource_not_found_exception);
        refused!(fis.get_experiment().id(&long), is_validation_exception);
        refused!(fis.get_experiment().id(no), is_resource_not_found_exception);
        refused!(fis.stop_experiment().id(no), is_resource_not_found_exception);
        refused!(fis.list_experiments().max_results(0), is_validation_exception);
        refused!(fis.list_experiment_resolved_targets().experiment_id(no), is_resource_not_found_exception);
        refused!(fis.list_experiment_resolved_targets().experiment_id(&long), is_validation_exception);
        let list = fis.list_experiment_target_account_configurations();
        refused!(list.experiment_id(&long), is_validation_exception);
        let get = fis.get_experiment_target_account_configuration();
        refused!(get.experiment_id(no).account_id("1"), is_validation_exception);
        let state = UpdateSafetyLeverStateInput::builder().status("engaging".into()).reason("r").build();
        let lever = fis.update_safety_lever_state().id("default").state(state.expect("a state"));
        refused!(lever, is_validation_exception);
        world
    });
}

#[test]
fn the_501st_template_is_over_quota() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let mut ids = Vec::new();
        for n in 0..500 {
            ids.push(wire.template(&template(&format!("t{n}"))).await);
        }
        let one_more = with("clientToken", json!("one more"));
        wire.call("POST", "/experimentTemplates", &one_more).await.refuses(402, "500", "one more");
        assert_eq!(wire.template(&template("t0")).await, ids[0], "a token that is known makes none");
        assert_eq!(wire.call("DELETE", &format!("/experimentTemplates/{}", ids[7]), &Value::Null).await.status, 200);
        wire.template(&one_more).await;
        world
    });
}
