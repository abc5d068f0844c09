//! Templates: what is stored, what the catalogue shows, and what a template may not say.

use super::*;
use crate::support::wire::{template, with};

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
        let listed = world.fis.list_experiment_templates().send().await.expect("listed");
        assert_eq!(listed.experiment_templates()[0].id(), Some(id.as_str()));
        let deleted = world.fis.delete_experiment_template().id(&id).send().await.expect("deleted").experiment_template;
        let deleted = deleted.expect("the whole template");
        assert_eq!((deleted.description(), deleted.actions().map(|all| all.len())), (Some("changed"), Some(1)));
        let error = get().await.expect_err("gone").into_service_error();
        assert!(error.is_resource_not_found_exception(), "{error:?}");
        assert!(error.meta().message().is_some_and(|text| text.contains(&id)));
        let update = world.fis.update_experiment_template().id(&id).send().await.expect_err("gone");
        assert!(update.into_service_error().is_resource_not_found_exception());
        let delete = world.fis.delete_experiment_template().id(&id).send().await.expect_err("gone");
        assert!(delete.into_service_error().is_resource_not_found_exception());
        world
    });
}

#[test]
fn a_token_makes_one_template_as_long_as_that_is_kept() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let id = wire.template(&template("token")).await;
        let path = format!("/experimentTemplates/{id}");
        assert_eq!(wire.call("PATCH", &path, &json!({"description": "changed"})).await.status, 200);
        let mut again = template("token");
        again["unknown"] = json!("not of the model, so not of the request");
        again["logConfiguration"] = Value::Null;
        let reply = wire.call("POST", "/experimentTemplates", &again).await;
        let found = &reply.body["experimentTemplate"];
        assert_eq!((&found["id"], &found["description"]), (&json!(id), &json!("changed")));
        let mut other = template("token");
        other["description"] = json!("other");
        wire.call("POST", "/experimentTemplates", &other).await.refuses(409, "client token", "another body");
        assert_eq!(wire.call("DELETE", &path, &Value::Null).await.status, 200);
        assert_ne!(wire.template(&template("token")).await, id);
        world
    });
}

#[test]
fn updates_take_what_the_model_lists() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let id = wire.template(&template("t")).await;
        let path = format!("/experimentTemplates/{id}");
        let update = json!({
            "experimentOptions": {"accountTargeting": "multi-account", "emptyTargetResolutionMode": "skip"},
            "logConfiguration": {"logSchemaVersion": 2, "s3Configuration": {"bucketName": "bucket", "moon": "full"}},
            "tags": {"a": "b"}, "clientToken": 5, "description": null,
        });
        let mut expected = wire.call("GET", &path, &Value::Null).await.body;
        let mut updated = wire.call("PATCH", &path, &update).await.body;
        for shown in [&mut expected, &mut updated] {
            shown["experimentTemplate"]["lastUpdateTime"] = Value::Null;
        }
        let template = &mut expected["experimentTemplate"];
        template["experimentOptions"]["emptyTargetResolutionMode"] = json!("skip");
        template["logConfiguration"] = json!({"logSchemaVersion": 2, "s3Configuration": {"bucketName": "bucket"}});
        assert_eq!(updated, expected);
        // The model lets an update leave an action's id out; what it would mean is not said.
        let nameless = wire.call("PATCH", &path, &json!({"actions": {"a": {"targets": {"Instances": "t"}}}})).await;
        nameless.refuses(400, "actions.a: missing field `actionId`", "no id");
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
        let unknown = world.fis.get_target_resource_type().resource_type("aws:eks:moon").send().await;
        assert!(unknown.expect_err("unknown").into_service_error().is_resource_not_found_exception());
        let types = world.fis.list_target_resource_types().into_paginator().items().send();
        let types = types.collect::<Result<Vec<_>, _>>().await.expect("pages");
        assert_eq!(types.len(), firedrill::domain::catalogue::all().target_resource_types.len());
        world
    });
}

#[test]
fn empty_optional_members_are_shown_as_aws_shows_them() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let id = wire.template(&template("t")).await;
        let shown = wire.call("GET", &format!("/experimentTemplates/{id}"), &Value::Null).await.body;
        let shown = &shown["experimentTemplate"];
        assert_eq!((&shown["tags"], &shown["actions"]["a"]["parameters"]), (&json!({}), &json!({})));
        let created = shown["creationTime"].to_string();
        assert!(created.parse::<f64>().is_ok_and(|seconds| seconds > 1e9 && seconds < 1e10), "{created}");
        assert!(created.split_once('.').is_some_and(|(_, fraction)| fraction.len() <= 3), "{created}");
        let action = wire.call("GET", "/actions/aws%3Afis%3Await", &Value::Null).await.body;
        assert_eq!((action["action"].get("targets"), &action["action"]["tags"]), (None, &json!({})));
        world
    });
}

/// An instance target, changed; a null takes a member out.
fn target(changes: Value) -> Value {
    let mut target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    let Value::Object(changes) = changes else { panic!("an object") };
    for (key, value) in changes {
        target[key] = value;
    }
    json!({"t": target})
}

/// One action that needs no target.
fn act(id: &str, parameters: Value) -> Value {
    json!({"a": {"actionId": id, "parameters": parameters}})
}

fn waits(count: usize, after: impl Fn(usize) -> Vec<usize>) -> Value {
    let entry = |n: usize| {
        let after: Vec<_> = after(n).iter().map(|n| format!("w{n}")).collect();
        let action = json!({"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}, "startAfter": after});
        (format!("w{n}"), action)
    };
    Value::Object((0..count).map(entry).collect())
}

/// A whole body around one action of an id on one target.
fn on(id: &str, parameters: Value, target: Value) -> Value {
    let key = firedrill::domain::catalogue::action(id).and_then(|action| action.targets.keys().next());
    let mut body = with("targets", json!({"t": target}));
    body["actions"] = json!({"a": {"actionId": id, "parameters": parameters, "targets": {key.expect("a key"): "t"}}});
    body
}

fn kubernetes(spec: &str, target: Value) -> Value {
    let parameters = json!({
        "kubernetesApiVersion": "example.com/v1", "kubernetesKind": "Mystery", "kubernetesNamespace": "n",
        "kubernetesSpec": spec, "maxDuration": "PT1M",
    });
    on("aws:eks:inject-kubernetes-custom-resource", parameters, target)
}

/// ARNs of so many clusters.
fn clusters(count: usize) -> Value {
    let arns: Vec<_> = (0..count).map(|n| format!("arn:aws:eks:us-east-1:123456789012:cluster/c{n}")).collect();
    json!({"resourceType": "aws:eks:cluster", "selectionMode": "ALL", "resourceArns": arns})
}

fn pods(parameters: Value) -> Value {
    let target = json!({"resourceType": "aws:eks:pod", "selectionMode": "ALL", "parameters": parameters});
    on("aws:eks:pod-delete", json!({"kubernetesServiceAccount": "sa"}), target)
}

const PODS: &str = r#"{"clusterIdentifier": "c", "namespace": "n", "selectorType": "podName", "selectorValue": "p"}"#;

fn some_pods(change: &str, value: Value) -> Value {
    let mut parameters: Value = serde_json::from_str(PODS).expect("JSON");
    parameters[change] = value;
    pods(parameters)
}

/// Rules of actions and their parameters: body, status, part of the message.
fn refused_actions() -> Vec<(Value, u16, &'static str)> {
    let actions = |actions: Value| with("actions", actions);
    let wait = |duration: &str| actions(act("aws:fis:wait", json!({"duration": duration})));
    let reboot = |targets: Value| actions(json!({"a": {"actionId": "aws:ec2:reboot-instances", "targets": targets}}));
    let alarms = |count: usize| json!({"alarmArns": vec!["x"; count].join(","), "alarmStates": "OK,ALARM"});
    let ssm = |document: &str| json!({"documentArn": "d", "maxDuration": "PT1M", "documentParameters": document});
    let volume = |percent: &str| {
        let target = json!({"resourceType": "aws:ec2:ebs-volume", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        on("aws:ebs:volume-io-latency", json!({"duration": "PT1S", "readIOPercentage": percent}), target)
    };
    let subnet = |scope: &str| {
        let target = json!({"resourceType": "aws:ec2:subnet", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        on("aws:network:disrupt-connectivity", json!({"duration": "PT1M", "scope": scope}), target)
    };
    let instances = |id: &str, parameters: Value| on(id, parameters, target(json!({}))["t"].clone());
    vec![
        (actions(json!({})), 400, "actions: must not be empty"),
        (actions(act("aws:ec2:explode", json!({}))), 400, "actions.a.actionId: there is no action aws:ec2:explode"),
        (actions(act("aws:fis:wait", json!({}))), 400, "actions.a.parameters.duration: is required"),
        (wait("soon"), 400, "actions.a.parameters.duration: must be an ISO 8601 duration"),
        (wait("1m"), 400, "actions.a.parameters.duration"),
        (wait("-PT1M"), 400, "actions.a.parameters.duration"),
        (wait("PT59S"), 400, "of at least PT1M and at most PT12H"),
        (wait("PT12H1S"), 400, "actions.a.parameters.duration"),
        (actions(act("aws:fis:wait", json!({"duration": "PT1M", "x": "y"}))), 400, "actions.a.parameters.x: aws:fis:"),
        (reboot(json!({"instances": "t"})), 400, "Unexpected target \"instances\" found in action \"a\"."),
        (reboot(json!({"Instances": "u"})), 400, "actions.a.targets.Instances: there is no target u"),
        (reboot(json!({})), 400, "actions.a.targets.Instances: is required"),
        (
            actions(act("aws:cloudwatch:assert-alarm-state", alarms(6))),
            400,
            "parameters.alarmArns: must have at most 5",
        ),
        (
            actions(act("aws:cloudwatch:assert-alarm-state", json!({"alarmArns": "x", "alarmStates": "OK,BAD"}))),
            400,
            "parameters.alarmStates: must be one of OK, ALARM",
        ),
        (actions(act("aws:ssm:start-automation-execution", ssm("[]"))), 400, "documentParameters: must be a JSON"),
        (actions(act("aws:ssm:start-automation-execution", ssm("{a}"))), 400, "documentParameters: must be a JSON"),
        (kubernetes("spec", clusters(1)), 400, "actions.a.parameters.kubernetesSpec: must be a JSON object"),
        (volume("0"), 400, "actions.a.parameters.readIOPercentage: must be a number from 0.1 to 100"),
        (volume("1e1"), 400, "actions.a.parameters.readIOPercentage"),
        (subnet("moon"), 400, "actions.a.parameters.scope: must be one of all"),
        (subnet("prefix-list"), 400, "actions.a.parameters.prefixListIdentifier: is required"),
        (
            instances("aws:ec2:stop-instances", json!({"completeIfInstancesTerminated": "yes"})),
            400,
            "actions.a.parameters.completeIfInstancesTerminated",
        ),
    ]
}

/// Rules of targets.
fn refused_targets() -> Vec<(Value, u16, &'static str)> {
    let targets = |changes: Value| with("targets", target(changes));
    let arns = ["arn:aws:ec2:us-east-1:123456789012:instance/i-1"];
    let bucket = json!({"resourceType": "aws:s3:bucket", "selectionMode": "ALL", "resourceArns": ["arn:aws:s3:::a-bucket-here"]});
    let role = json!({"resourceType": "aws:iam:role", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
    let capacity = json!({"duration": "PT1M", "availabilityZoneIdentifiers": "a,b", "percentage": "50"});
    let power = json!({"resourceType": "aws:elasticache:replicationgroup", "selectionMode": "ALL",
        "resourceArns": ["arn:aws:elasticache:us-east-1:123456789012:replicationgroup:g"]});
    let two = json!({"t": target(json!({}))["t"], "u": target(json!({}))["t"]});
    vec![
        (targets(json!({"selectionMode": "RANDOM(1)"})), 400, "targets.t.selectionMode"),
        (targets(json!({"selectionMode": "COUNT(0)"})), 400, "targets.t.selectionMode"),
        (targets(json!({"selectionMode": "PERCENT(+5)"})), 400, "targets.t.selectionMode"),
        (targets(json!({"selectionMode": "PERCENT(101)"})), 400, "targets.t.selectionMode"),
        (targets(json!({"resourceType": "aws:ec2:subnet"})), 400, "target t is aws:ec2:subnet, not aws:ec2:instance"),
        (targets(json!({"resourceTags": null})), 400, "targets.t: needs resourceArns"),
        (
            targets(json!({"resourceArns": arns})),
            400,
            "You cannot specify both resource ARNs and resource tags for target t.",
        ),
        (
            targets(json!({"resourceArns": arns, "resourceTags": {}, "filters": [{"path": "a", "values": ["b"]}]})),
            400,
            "targets.t.filters: must not",
        ),
        (targets(json!({"filters": [{"path": "State.Name", "values": []}]})), 400, "targets.t.filters[0].values"),
        (targets(json!({"resourceArns": ["i-12345678901234567890"], "resourceTags": null})), 400, "resourceArns[0]"),
        (targets(json!({"parameters": {"vpc": "v"}})), 400, "targets.t.parameters.vpc: aws:ec2:instance has no such"),
        (with("targets", two), 400, "targets.u: no action uses it"),
        (kubernetes("{}", clusters(2)), 400, "targets.t.resourceArns: aws:eks:inject-kubernetes-custom-resource takes"),
        (
            kubernetes(
                "{}",
                json!({"resourceType": "aws:eks:cluster", "selectionMode": "ALL", "resourceTags": {"a": "b"}}),
            ),
            400,
            "targets.t.resourceTags: aws:eks:inject-kubernetes-custom-resource does not",
        ),
        (
            on("aws:s3:bucket-pause-replication", json!({"duration": "PT1M", "region": "r"}), bucket),
            400,
            "targets.t.resourceArns",
        ),
        (on("aws:ec2:api-insufficient-instance-capacity-error", capacity, role), 400, "targets.t.resourceTags"),
        (
            on("aws:elasticache:replicationgroup-interrupt-az-power", json!({"duration": "PT1M"}), power),
            400,
            "targets.t.parameters.availabilityZoneIdentifier: is required",
        ),
        (some_pods("namespace", Value::Null), 400, "targets.t.parameters.namespace"),
        (
            some_pods("selectorType", json!("luck")),
            400,
            "targets.t.parameters.selectorType: must be one of labelSelector",
        ),
        (some_pods("moon", json!("m")), 400, "targets.t.parameters.moon"),
    ]
}

/// Rules of the order, and of all else.
fn refused_rest() -> Vec<(Value, u16, &'static str)> {
    // Actions need no target here.
    let plain = |member: &str, value: Value| {
        let mut body = with("targets", Value::Null);
        body["actions"] = waits(1, |_| Vec::new());
        body[member] = value;
        body
    };
    let actions = |value: Value| plain("actions", value);
    let alarm = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:a";
    let report = |changes: Value| {
        let mut report = json!({"outputs": {"s3Configuration": {"bucketName": "bucket"}}});
        report.as_object_mut().expect("an object").extend(changes.as_object().expect("an object").clone());
        plain("experimentReportConfiguration", report)
    };
    let log = |value: Value| plain("logConfiguration", value);
    vec![
        (actions(waits(2, |n| vec![n + 7])), 400, "actions.w0.startAfter: there is no action w7"),
        (actions(waits(1, |_| vec![0])), 400, "actions.w0.startAfter"),
        (actions(waits(3, |n| vec![(n + 1) % 3])), 400, "in a cycle"),
        (actions(waits(21, |n| (n > 0).then(|| n - 1).into_iter().collect())), 402, "20 actions"),
        (actions(waits(11, |_| Vec::new())), 402, "parallel"),
        // Ten at first, then nine of them and two that follow the tenth.
        (actions(waits(12, |n| if n < 10 { vec![] } else { vec![0] })), 402, "parallel"),
        // One first, then eleven.
        (actions(waits(12, |n| if n == 0 { vec![] } else { vec![0] })), 402, "parallel"),
        (plain("stopConditions", json!([])), 400, "stopConditions: must not be empty"),
        (plain("stopConditions", json!(vec![json!({"source": "none"}); 6])), 402, "5 stop conditions"),
        (plain("stopConditions", json!([{"source": "aws:cloudwatch:alarm"}])), 400, "stopConditions[0].value"),
        (plain("stopConditions", json!([{"source": "none"}, {"source": "moon"}])), 400, "stopConditions[1].source"),
        (plain("stopConditions", json!([{"source": "none", "value": alarm}])), 400, "stopConditions[0].value"),
        (
            plain(
                "stopConditions",
                json!([{"source": "aws:cloudwatch:alarm", "value": "arn:aws:sns:r:1:alarm:abcdef"}]),
            ),
            400,
            "stopConditions[0].value: must be the ARN of a CloudWatch alarm",
        ),
        (plain("roleArn", json!("arn:aws:iam::123456789012:user/drill")), 400, "roleArn: must be the ARN of a role"),
        (log(json!({"logSchemaVersion": 3, "s3Configuration": {"bucketName": "bucket"}})), 400, "logSchemaVersion"),
        (log(json!({"logSchemaVersion": 2})), 400, "logConfiguration: needs cloudWatchLogsConfiguration"),
        (
            log(
                json!({"logSchemaVersion": 2, "cloudWatchLogsConfiguration": {"logGroupArn": "arn:aws:logs:r:1:stream:x"}}),
            ),
            400,
            "logConfiguration.cloudWatchLogsConfiguration.logGroupArn",
        ),
        (report(json!({"outputs": {}})), 400, "experimentReportConfiguration.outputs.s3Configuration.bucketName"),
        (report(json!({"preExperimentDuration": "PT31M"})), 400, "preExperimentDuration: must be an ISO 8601"),
        (report(json!({"postExperimentDuration": "PT2H1S"})), 400, "postExperimentDuration"),
        (report(json!({"postExperimentDuration": "2 h"})), 400, "postExperimentDuration"),
        (
            report(
                json!({"dataSources": {"cloudWatchDashboards": [{"dashboardIdentifier": "a"}, {"dashboardIdentifier": "b"}]}}),
            ),
            400,
            "experimentReportConfiguration.dataSources.cloudWatchDashboards",
        ),
        (plain("tags", json!({"aws:x": "y"})), 400, "tags.aws:x"),
        (plain("tags", json!({"x": "<y>"})), 400, "tags.x"),
    ]
}

/// Creates and updates with a body that is refused; the template that was there stays as it was.
async fn check_refused(wire: &Wire, (body, status, part): (Value, u16, &str)) {
    wire.call("POST", "/experimentTemplates", &body).await.refuses(status, part, &body);
    if body.get("tags").is_some() {
        // An update has none.
        return;
    }
    let id = wire.template(&template("whole")).await;
    let path = format!("/experimentTemplates/{id}");
    let before = wire.call("GET", &path, &Value::Null).await.body;
    let mut update = body.clone();
    // Null leaves a member as it was, so that targets must be emptied.
    if update["targets"].is_null() {
        update["targets"] = json!({});
    }
    wire.call("PATCH", &path, &update).await.refuses(status, part, &update);
    assert_eq!(wire.call("GET", &path, &Value::Null).await.body, before);
}

#[test]
fn refused_templates_say_where_and_why() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let cases = [refused_actions(), refused_targets(), refused_rest()];
        for case in cases.into_iter().flatten() {
            check_refused(wire, case).await;
        }
        world
    });
}

/// Bodies at the edge of what is allowed.
fn accepted() -> Vec<Value> {
    let plain = |member: &str, value: Value| {
        let mut body = with("targets", Value::Null);
        body["actions"] = waits(1, |_| Vec::new());
        body[member] = value;
        body
    };
    let instances = |changes: Value| with("targets", target(changes));
    let arns: Vec<_> = (0..5).map(|n| format!("arn:aws:ec2:us-east-1:123456789012:instance/i-{n}")).collect();
    let function = json!({"resourceType": "aws:lambda:function", "selectionMode": "COUNT(1)",
        "resourceArns": ["arn:aws:lambda:us-east-1:123456789012:function:f"], "parameters": {"functionQualifier": "1"}});
    let database = json!({"resourceType": "aws:rds:db", "selectionMode": "PERCENT(100)",
        "resourceTags": {"a": ""}, "parameters": {"availabilityZoneIdentifiers": "us-east-1a,us-east-1b"}});
    let report = json!({"outputs": {"s3Configuration": {"bucketName": "bucket"}}, "preExperimentDuration": "PT30M",
        "postExperimentDuration": "PT2H", "dataSources": {"cloudWatchDashboards": [{"dashboardIdentifier": "d"}]}});
    vec![
        // The console's rule for names is not known to be the API's.
        plain("actions", json!({"1 é/": waits(1, |_| Vec::new())["w0"]})),
        plain("actions", waits(10, |_| Vec::new())),
        plain("actions", waits(20, |n| if n < 10 { vec![] } else { vec![n - 10] })),
        // Ten after one and one before ten more: never more than ten at once.
        plain(
            "actions",
            waits(20, |n| match n {
                0 => vec![],
                1..=9 => vec![0],
                10 => (1..=9).collect(),
                _ => vec![10],
            }),
        ),
        plain("actions", act("aws:fis:wait", json!({"duration": "PT12H"}))),
        plain("actions", act("aws:fis:wait", json!({"duration": "PT60S"}))),
        plain("experimentReportConfiguration", report),
        plain("logConfiguration", json!({"logSchemaVersion": 1, "s3Configuration": {"bucketName": "bucket"}})),
        plain("tags", json!({"Name": "é 1+1=2 a@b_c.d:/e-f", "empty": ""})),
        instances(json!({"resourceArns": arns, "resourceTags": {}, "filters": []})),
        instances(json!({"resourceTags": null, "filters": [{"path": "State.Name", "values": ["running"]}]})),
        on("aws:lambda:invocation-add-delay", json!({"duration": "PT1S"}), function),
        on("aws:rds:reboot-db-instances", json!({"forceFailover": "true"}), database),
        some_pods("selectorType", json!("labelSelector")),
        // An unknown kind fails when it runs. The longest specification there may be.
        kubernetes(&format!("{{\"a\": \"{}\"}}", "b ".repeat((1024 - 9) / 2)), clusters(1)),
        kubernetes("{}", clusters(1)),
    ]
}

#[test]
fn templates_at_the_edge_are_accepted() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        for (index, mut body) in accepted().into_iter().enumerate() {
            body["clientToken"] = json!(format!("t{index}"));
            let id = wire.template(&body).await;
            let update = wire.call("PATCH", &format!("/experimentTemplates/{id}"), &body).await;
            assert_eq!(update.status, 200, "{body}: {update:?}");
        }
        world
    });
}

#[test]
fn an_unknown_action_is_invalid_or_missing_by_choice() {
    simulated(fast(), async |world| {
        let create = || world.draft([Act("a", "aws:ec2:explode", &[], None, &[])]).send();
        assert!(create().await.expect_err("refused").into_service_error().is_validation_exception());
        let missing = json!({"unknown-action": "missing"});
        assert_eq!(world.control("PATCH", "choices", missing).await.0, 200);
        assert!(create().await.expect_err("refused").into_service_error().is_resource_not_found_exception());
        world
    });
}
