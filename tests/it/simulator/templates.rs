//! Templates: what is stored, and what is refused with which error.

use super::*;

#[test]
fn templates_are_stored_changed_listed_and_deleted() {
    simulated(fast(), async |world| {
        let id = world.template([wait("w", MINUTE, &[])]).await;
        let get = || world.fis.get_experiment_template().id(&id).send();
        let template = get().await.expect("found").experiment_template.expect("a template");
        assert_eq!(template.actions().expect("actions")["w"].action_id(), Some("aws:fis:wait"));
        assert_eq!(template.stop_conditions()[0].source(), Some("none"));
        let update = world.fis.update_experiment_template().id(&id).description("changed").send().await;
        assert_eq!(
            update.expect("updated").experiment_template.and_then(|t| t.description).as_deref(),
            Some("changed")
        );
        let arn = template.arn().expect("an ARN");
        world
            .fis
            .tag_resource()
            .resource_arn(arn)
            .tags("team", "core")
            .tags("env", "test")
            .send()
            .await
            .expect("tagged");
        world.fis.untag_resource().resource_arn(arn).tag_keys("env").send().await.expect("untagged");
        let tags = world.fis.list_tags_for_resource().resource_arn(arn).send().await.expect("found").tags;
        assert_eq!(tags.expect("tags").into_iter().collect::<Vec<_>>(), [("team".to_owned(), "core".to_owned())]);
        let listed = world.fis.list_experiment_templates().send().await.expect("listed");
        assert_eq!(listed.experiment_templates()[0].id(), Some(id.as_str()));
        world.fis.delete_experiment_template().id(&id).send().await.expect("deleted");
        let error = get().await.expect_err("gone").into_service_error();
        assert!(error.is_resource_not_found_exception(), "{error:?}");
        assert!(error.meta().message().is_some_and(|text| text.contains(&id)));
        world
    });
}

#[test]
fn actions_and_types_are_those_of_the_catalogue() {
    simulated(fast(), async |world| {
        let action = world.fis.get_action().id("aws:ec2:stop-instances").send().await.expect("found").action;
        let action = action.expect("an action");
        assert_eq!(action.targets().expect("targets")["Instances"].resource_type(), Some("aws:ec2:instance"));
        assert!(action.parameters().expect("parameters").contains_key("startInstancesAfterDuration"));
        let unknown = world.fis.get_action().id("aws:ec2:explode").send().await.expect_err("unknown");
        assert!(unknown.into_service_error().is_resource_not_found_exception());
        let kind = world.fis.get_target_resource_type().resource_type("aws:eks:pod").send().await.expect("found");
        let parameters = kind.target_resource_type.and_then(|kind| kind.parameters).expect("parameters");
        assert_eq!(parameters["namespace"].required(), Some(true));
        let types = world.fis.list_target_resource_types().into_paginator().items().send();
        let types = types.collect::<Result<Vec<_>, _>>().await.expect("pages");
        assert_eq!(types.len(), firedrill::domain::catalogue::all().target_resource_types.len());
        world
    });
}

/// A template body with one part replaced, as the wire has it.
fn body(member: &str, value: Value) -> Value {
    let mut body = json!({
        "clientToken": format!("{member}-{value}").chars().filter(|c| !c.is_whitespace()).take(60).collect::<String>(),
        "description": "d",
        "roleArn": "arn:aws:iam::123456789012:role/drill",
        "stopConditions": [{"source": "none"}],
        "targets": {"t": {"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}}},
        "actions": {"a": {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "t"}}},
    });
    body[member] = value;
    body
}

fn target(changes: &Value) -> Value {
    let mut target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    for (key, value) in changes.as_object().expect("an object") {
        target[key] = value.clone();
    }
    json!({"t": target})
}

fn waits(count: usize, chained: bool) -> Value {
    let after = |n: usize| if chained && n > 0 { json!([format!("w{}", n - 1)]) } else { json!([]) };
    let entry = |n: usize| {
        let action = json!({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": after(n)});
        (format!("w{n}"), action)
    };
    Value::Object((0..count).map(entry).collect())
}

/// What each refused body is answered with: member, its value, status, part of the message.
fn refusals() -> Vec<(&'static str, Value, u16, &'static str)> {
    let wait = |parameters: Value| json!({"a": {"actionId": "aws:fis:wait", "parameters": parameters}});
    let reboot = |targets: Value| json!({"a": {"actionId": "aws:ec2:reboot-instances", "targets": targets}});
    let cycle = json!({
        "a": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": ["b"]},
        "b": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": ["a"]},
    });
    let orphan = json!({"a": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": ["x"]}});
    let arns: Vec<_> = (0..6).map(|n| format!("arn:aws:ec2:us-east-1:123456789012:instance/i-{n}")).collect();
    vec![
        ("stopConditions", json!([]), 400, "stopConditions"),
        ("stopConditions", json!([{"source": "aws:cloudwatch:alarm"}]), 400, "stop condition"),
        ("stopConditions", json!(vec![json!({"source": "none"}); 6]), 402, "5 stop conditions"),
        ("roleArn", json!("drill"), 400, "roleArn"),
        ("roleArn", json!(5), 400, "roleArn"),
        ("description", json!("x".repeat(513)), 400, "512"),
        ("actions", json!({}), 400, "actions"),
        ("actions", json!({"a": {"actionId": "aws:ec2:explode"}}), 400, "Unknown action id"),
        ("actions", json!({"a b": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}}}), 400, "a b"),
        ("actions", wait(json!({})), 400, "needs parameter duration"),
        ("actions", wait(json!({"duration": "soon"})), 400, "ISO 8601"),
        ("actions", wait(json!({"duration": "PT13H"})), 400, "12 hours"),
        ("actions", wait(json!({"duration": "PT1M", "x": "y".repeat(1025)})), 400, "1024"),
        ("actions", reboot(json!({"instances": "t"})), 400, "Unexpected target \"instances\" found in action \"a\"."),
        ("actions", reboot(json!({"Instances": "u"})), 400, "unknown target"),
        ("actions", reboot(json!({})), 400, "needs target \"Instances\""),
        ("actions", orphan, 400, "unknown action \"x\""),
        ("actions", cycle, 400, "cycle"),
        ("actions", waits(21, true), 402, "20 actions"),
        ("actions", waits(11, false), 402, "parallel"),
        ("targets", target(&json!({"selectionMode": "RANDOM(1)"})), 400, "selectionMode"),
        ("targets", target(&json!({"selectionMode": "COUNT(0)"})), 400, "selectionMode"),
        ("targets", target(&json!({"selectionMode": "PERCENT(+5)"})), 400, "selectionMode"),
        ("targets", target(&json!({"resourceType": "aws:ec2:subnet"})), 400, "is aws:ec2:subnet, not aws:ec2:instance"),
        ("targets", target(&json!({"resourceType": "aws:ec2:moon"})), 400, "Unknown resource type"),
        ("targets", target(&json!({"resourceTags": {}})), 400, "needs resource ARNs"),
        ("targets", target(&json!({"resourceArns": arns.clone()})), 400, "both resource ARNs and resource tags"),
        ("targets", target(&json!({"resourceArns": arns, "resourceTags": {}})), 400, "more than 5"),
        ("experimentOptions", json!({"emptyTargetResolutionMode": "maybe"}), 400, "emptyTargetResolutionMode"),
        ("tags", json!({"aws:x": "y"}), 400, "tag key"),
        ("clientToken", json!(""), 400, "clientToken"),
    ]
}

#[test]
fn refused_templates_say_why() {
    simulated(fast(), async |world| {
        let url = format!("{}/experimentTemplates", world.simulator.url());
        let answers = tokio::task::spawn_blocking(move || {
            let client = plain_client();
            let post = |body: &Value| {
                let answer = client.post(&url).json(body).send().expect("an answer");
                (answer.status().as_u16(), answer.text().expect("a text"))
            };
            let accepted = post(&body("description", json!("fits")));
            assert_eq!(accepted.0, 200, "{}", accepted.1);
            refusals().into_iter().map(|case| (post(&body(case.0, case.1.clone())), case)).collect::<Vec<_>>()
        });
        for ((status, text), (member, value, expected, part)) in answers.await.expect("answers") {
            let message: Value = serde_json::from_str(&text).expect("JSON");
            let message = message["message"].as_str().unwrap_or_default();
            assert!(status == expected && message.contains(part), "{member} = {value}: {status} {text}");
        }
        world
    });
}
