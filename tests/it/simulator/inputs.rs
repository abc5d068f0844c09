//! The 26 operations: what their inputs may be, how requests find them, and how they page.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::support::wire::{template, with};

const MODEL: &str = include_str!("../../../src/simulator/fis/model.json");

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn the_model_agrees_with_itself() {
    let model: Value = serde_json::from_str(MODEL).expect("JSON");
    let (operations, shapes) =
        (model["operations"].as_object().expect("them"), model["shapes"].as_object().expect("them"));
    assert_eq!(operations.len(), 26);
    let mut used = BTreeSet::new();
    for structure in operations.values().chain(shapes.values()) {
        let members = structure["members"].as_object();
        let own: BTreeSet<&str> = members.into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        assert!(
            names(&structure["required"]).is_subset(&own) && names(&structure["query"]).is_subset(&own),
            "{structure}"
        );
        let path = structure["path"].as_str().unwrap_or_default().split('/');
        for label in path.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')) {
            assert!(names(&structure["required"]).contains(label), "{label} of {structure}");
        }
        let parts = ["member", "key", "value"].map(|part| &structure[part]);
        used.extend(members.into_iter().flatten().map(|(_, shape)| shape).chain(parts).filter_map(Value::as_str));
    }
    assert_eq!(used, shapes.keys().map(String::as_str).collect(), "each shape is there and used");
}

/// A path of an operation with something in the place of its labels.
fn filled(path: &str) -> String {
    let label =
        |segment: &str| if segment.starts_with('{') { "123456789012-45678901".to_owned() } else { segment.to_owned() };
    path.split('/').map(label).collect::<Vec<_>>().join("/")
}

#[test]
fn every_operation_is_known_and_asks_for_its_members() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let model: Value = serde_json::from_str(MODEL).expect("JSON");
        for (name, operation) in model["operations"].as_object().expect("them") {
            let (method, path) = (operation["method"].as_str().expect("it"), operation["path"].as_str().expect("it"));
            let reply = wire.call(method, &filled(path), &json!({})).await;
            assert_ne!(reply.code, "UnknownOperationException", "{name}");
            let required = names(&operation["required"]);
            let missing: Vec<_> =
                required.into_iter().filter(|member| !path.contains(&format!("{{{member}}}"))).collect();
            if missing.is_empty() {
                let expected = if path.contains('{') { 404 } else { 200 };
                assert_eq!(reply.status, expected, "{name}: {reply:?}");
            } else {
                let part = format!("{}: is required", missing.first().expect("one"));
                reply.refuses(400, &part, name);
            }
        }
        world
    });
}

/// What does not fit the model: method, path, body, and where the message says it is.
type Misfit = (&'static str, String, Value, &'static str);

fn x(count: usize) -> String {
    "x".repeat(count)
}

fn odd_members() -> Vec<Misfit> {
    let created = |member: &str, value: Value, place| -> Misfit {
        ("POST", "/experimentTemplates".to_owned(), with(member, value), place)
    };
    let tags: BTreeMap<String, &str> = (0..51).map(|n| (n.to_string(), "v")).collect();
    vec![
        created("clientToken", json!(""), "clientToken: must have at least 1"),
        created("clientToken", json!(" \t"), "clientToken: must not be blank"),
        created("clientToken", json!(x(1025)), "clientToken: must have at most 1024"),
        created("description", Value::Null, "description: is required"),
        created("description", json!(""), "description: must have at least 1"),
        created("description", json!("é".repeat(513)), "description: must have at most 512"),
        created("roleArn", json!(5), "roleArn: must be a string"),
        created("roleArn", json!(x(19)), "roleArn: must have at least 20"),
        created("stopConditions", json!("none"), "stopConditions: must be a list"),
        created("stopConditions", json!(["none"]), "stopConditions[0]: must be an object"),
        created("stopConditions", json!([{"source": "none"}, {}]), "stopConditions[1].source: is required"),
        created("actions", json!([]), "actions: must be an object"),
        created("actions", json!({" ": {"actionId": "aws:fis:wait"}}), "actions. : must not be blank"),
        created("actions", json!({x(65): {"actionId": "aws:fis:wait"}}), "xxx: must have at most 64 characters"),
        created("tags", json!(tags), "tags: must have at most 50 entries"),
        created("tags", json!({"": "v"}), "tags.: must have at least 1"),
        created("tags", json!({x(129): "v"}), "xxx: must have at most 128"),
        created("tags", json!({"k": x(257)}), "tags.k: must have at most 256"),
        created(
            "experimentOptions",
            json!({"accountTargeting": "all"}),
            "experimentOptions.accountTargeting: must be one of",
        ),
        created(
            "experimentOptions",
            json!({"emptyTargetResolutionMode": 1}),
            "emptyTargetResolutionMode: must be a string",
        ),
        created("logConfiguration", json!({}), "logConfiguration.logSchemaVersion: is required"),
        created(
            "logConfiguration",
            json!({"logSchemaVersion": "2"}),
            "logConfiguration.logSchemaVersion: must be an integer",
        ),
        created(
            "logConfiguration",
            json!({"logSchemaVersion": 2.5}),
            "logConfiguration.logSchemaVersion: must be an integer",
        ),
        created(
            "logConfiguration",
            json!({"logSchemaVersion": 2, "s3Configuration": {"bucketName": "ab"}}),
            "logConfiguration.s3Configuration.bucketName: must have at least 3",
        ),
    ]
}

fn odd_parts() -> Vec<Misfit> {
    let part = |map: &str, name: &str, member: &str, value: Value, place| -> Misfit {
        let mut body = template("t");
        body[map][name][member] = value;
        ("POST", "/experimentTemplates".to_owned(), body, place)
    };
    let action = |member: &str, value: Value, place| part("actions", "a", member, value, place);
    let target = |member: &str, value: Value, place| part("targets", "t", member, value, place);
    let arns = vec!["arn:aws:ec2:us-east-1:123456789012:instance/i-1"; 6];
    vec![
        action("actionId", Value::Null, "actions.a.actionId: is required"),
        action("description", json!(x(513)), "actions.a.description: must have at most 512"),
        action("parameters", json!({"duration": 60}), "actions.a.parameters.duration: must be a string"),
        action("parameters", json!({"duration": null}), "actions.a.parameters.duration: must be a string"),
        action("parameters", json!({"x": x(1025)}), "actions.a.parameters.x: must have at most 1024"),
        action("startAfter", json!(["b", ""]), "actions.a.startAfter[1]: must not be blank"),
        target("resourceType", json!(x(129)), "targets.t.resourceType: must have at most 128"),
        target("selectionMode", Value::Null, "targets.t.selectionMode: is required"),
        target("resourceArns", json!(arns), "targets.t.resourceArns: must have at most 5 items"),
        target("resourceArns", json!(["i-1"]), "targets.t.resourceArns[0]: must have at least 20"),
        target("filters", json!([{"path": "p"}]), "targets.t.filters[0].values: is required"),
        target(
            "filters",
            json!([{"path": "p", "values": ["v", x(129)]}]),
            "targets.t.filters[0].values[1]: must have at most",
        ),
        target("parameters", json!({"p": ""}), "targets.t.parameters.p: must have at least 1"),
    ]
}

fn odd_requests() -> Vec<Misfit> {
    let get = |path: String, place| ("GET", path, Value::Null, place);
    let started = |body: Value, place| ("POST", "/experiments".to_owned(), body, place);
    let lever =
        |state: Value, place| ("PATCH", "/safetyLevers/default/state".to_owned(), json!({"state": state}), place);
    let account = "/experimentTemplates/EXT1/targetAccountConfigurations";
    vec![
        get(format!("/experimentTemplates/{}", x(65)), "id: must have at most 64"),
        get("/experiments/%20%09".to_owned(), "id: must not be blank"),
        get(format!("/actions/{}", x(129)), "id: must have at most 128"),
        get("/tags/short".to_owned(), "resourceArn: must have at least 20"),
        get(format!("{account}/12345678901"), "accountId: must have at least 12"),
        get(format!("/experiments?experimentTemplateId={}", x(65)), "experimentTemplateId: must have at most"),
        get("/experiments/EXP1/resolvedTargets?targetName=%20".to_owned(), "targetName: must not be blank"),
        get("/experiments/EXP1/targetAccountConfigurations?nextToken=".to_owned(), "nextToken: must have at least 1"),
        get("/actions/%ff".to_owned(), "not UTF-8"),
        get("/actions/%4".to_owned(), "not UTF-8"),
        ("POST", format!("{account}/123456789012"), json!({}), "roleArn: is required"),
        (
            "PATCH",
            format!("{account}/123456789012"),
            json!({"description": x(513)}),
            "description: must have at most 512",
        ),
        (
            "PATCH",
            "/experimentTemplates/EXT1".to_owned(),
            json!({"logConfiguration": 1}),
            "logConfiguration: must be an object",
        ),
        started(json!({"experimentTemplateId": "EXT1"}), "clientToken: is required"),
        started(json!({"clientToken": "t"}), "experimentTemplateId: is required"),
        started(
            json!({"clientToken": "t", "experimentTemplateId": "EXT1", "experimentOptions": {"actionsMode": "run"}}),
            "experimentOptions.actionsMode: must be one of",
        ),
        lever(json!({"status": "engaging", "reason": "r"}), "state.status: must be one of disengaged, engaged"),
        lever(json!({"status": "engaged"}), "state.reason: is required"),
        ("PATCH", "/safetyLevers/default/state".to_owned(), json!({}), "state: is required"),
        ("POST", "/tags/arn%3Aaws%3Afis%3Aus-east-1".to_owned(), json!({}), "tags: is required"),
        (
            "DELETE",
            format!("/tags/{}?tagKeys=a&tagKeys={}", x(20), x(129)),
            Value::Null,
            "tagKeys[1]: must have at most 128",
        ),
    ]
}

#[test]
fn what_does_not_fit_the_model_is_refused_by_its_place() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        for (method, path, body, part) in [odd_members(), odd_parts(), odd_requests()].into_iter().flatten() {
            wire.call(method, &path, &body).await.refuses(400, part, (&path, &body));
        }
        world
    });
}

#[test]
fn huge_requests_are_refused_in_few_words() {
    simulated(fast(), async |world| {
        let wire = &world.wire;
        let many =
            |count: usize, item: &Value| -> Value { (0..count).map(|n| (format!("a{n}"), item.clone())).collect() };
        let create =
            async |member: &str, value: Value| wire.call("POST", "/experimentTemplates", &with(member, value)).await;
        create("actions", many(30_000, &json!({"actionId": "x"}))).await.refuses(402, "20 actions", "actions");
        create("tags", many(10_000, &json!("v"))).await.refuses(400, "tags", "tags");
        create("actions", json!({"a".repeat(1_000_000): {}})).await.refuses(400, "at most 64", "a name");
        let after = vec!["b"; 200_000];
        create("actions", json!({"a": {"actionId": "aws:fis:wait", "startAfter": after}})).await.refuses(
            400,
            "duration",
            "startAfter",
        );
        let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        let mut targets = many(9_000, &target);
        targets["t"] = target;
        create("targets", targets).await.refuses(400, "targets.a0: no action uses it", "targets");
        world
    });
}

#[test]
fn paths_are_routed_by_their_raw_segments() {
    simulated(fast(), async |world| {
        let arn = |id: &str| format!("arn:aws:fis:us-east-1:123456789012:experiment-template/{id}");
        let id = world.template([wait("w", MINUTE, &[])]).await;
        // The SDK encodes `:` and `/`.
        let action = world.fis.get_action().id("aws:fis:wait").send().await.expect("found").action;
        assert_eq!(action.and_then(|action| action.id).as_deref(), Some("aws:fis:wait"));
        world.fis.list_tags_for_resource().resource_arn(arn(&id)).send().await.expect("found");
        let wire = &world.wire;
        let encoded = arn(&id).replace(':', "%3A").replace('/', "%2F");
        let cases = [
            ("GET", format!("/tags/{encoded}"), 200),
            ("GET", format!("/tags/{}", arn(&id)), 404),
            ("GET", "/actions/aws:fis:wait".to_owned(), 200),
            ("GET", "/actions/".to_owned(), 404),
            ("GET", "//actions".to_owned(), 404),
            ("GET", "/actions/aws:fis:wait/".to_owned(), 404),
            ("GET", "/actions%2Faws:fis:wait".to_owned(), 404),
            ("PUT", format!("/experimentTemplates/{id}"), 404),
            ("GET", "/moon".to_owned(), 404),
        ];
        for (method, path, status) in cases {
            let reply = wire.call(method, &path, &Value::Null).await;
            let code = if status == 200 { "" } else { "UnknownOperationException" };
            assert_eq!((reply.status, reply.code.as_str()), (status, code), "{path}");
        }
        world
    });
}

/// Follows the pages of a list, some at a time, and returns how many items there were.
async fn follow(wire: &Wire, path: &str, member: &str, size: usize) -> usize {
    let (mut seen, mut token) = (Vec::new(), None::<String>);
    loop {
        let next = token.map(|token| format!("&nextToken={token}")).unwrap_or_default();
        let reply = wire.call("GET", &format!("{path}?maxResults={size}{next}"), &Value::Null).await;
        let items = reply.body[member].as_array().unwrap_or_else(|| panic!("{path}: {reply:?}"));
        assert!(items.len() <= size);
        for item in items {
            assert!(!seen.contains(item), "{path} shows twice: {item}");
            seen.push(item.clone());
        }
        token = reply.body["nextToken"].as_str().map(str::to_owned);
        match &token {
            None => return seen.len(),
            Some(token) => assert!(token.len() <= 1024 && items.len() == size, "{path}"),
        }
    }
}

#[test]
fn lists_are_paged_by_tokens() {
    let long = |n: usize| Resource {
        resource_type: "aws:ec2:instance".to_owned(),
        arn: format!("arn:aws:ec2:us-east-1:123456789012:instance/{}{n}", "i".repeat(1_900)),
        tags: [("a".to_owned(), "b".to_owned())].into(),
        attributes: serde_json::Map::new(),
    };
    simulated(Options { inventory: Inventory::Listed((0..7).map(long).collect()), ..fast() }, async |world| {
        let wire = &world.wire;
        for n in 1..5 {
            wire.template(&template(&format!("t{n}"))).await;
        }
        let mut named = template("named");
        named["targets"] = json!({"n".repeat(64): named["targets"]["t"]});
        named["actions"]["a"]["targets"]["Instances"] = json!("n".repeat(64));
        let id = wire.template(&named).await;
        let experiment = world.start(&id, "e").await;
        world.until(&experiment, FisStatus::Completed).await;
        let all = firedrill::domain::catalogue::all();
        let resolved = format!("/experiments/{experiment}/resolvedTargets");
        let lists = [
            ("/actions", "actions", all.actions.len()),
            ("/targetResourceTypes", "targetResourceTypes", all.target_resource_types.len()),
            ("/experimentTemplates", "experimentTemplates", 5),
            ("/experiments", "experiments", 1),
            (resolved.as_str(), "resolvedTargets", 7),
        ];
        for (path, member, count) in lists {
            for size in [1, 2, 100] {
                assert_eq!(follow(wire, path, member, size).await, count, "{path}");
            }
            for (query, part) in [
                ("maxResults=0", "maxResults: must be between 1 and 100"),
                ("maxResults=101", "maxResults"),
                ("maxResults=ten", "maxResults: must be an integer"),
                ("nextToken=moon", "nextToken"),
                ("nextToken=%ff", "nextToken"),
            ] {
                wire.call("GET", &format!("{path}?{query}"), &Value::Null).await.refuses(400, part, path);
            }
        }
        world
    });
}
