//! Which resources a target takes: tags, filters, parameters, pods, modes, accounts and quotas.

use std::collections::BTreeMap;

use firedrill::domain::catalogue::{self, Action};

use super::{random::draw::parameters, script::*, *};
use crate::support::chance::Chance;

const CLUSTER: &str = "arn:aws:eks:us-east-1:123456789012:cluster/shop";

fn arn(service: &str, name: &str) -> String {
    format!("arn:aws:{service}:us-east-1:123456789012:{name}")
}

fn pod(name: &str, namespace: &str, app: &str) -> Resource {
    let attributes = json!({
        "clusterIdentifier": CLUSTER,
        "namespace": namespace,
        "podName": name,
        "deploymentName": app,
        "labels": {"app": app, "tier": "web"},
        "containers": ["main", "proxy"],
    });
    resource("aws:eks:pod", &arn("eks", &format!("pod/shop/{namespace}/{name}")), ("", ""), &attributes)
}

/// Five instances, some pods, subnets, tasks and buckets, and an instance of another account.
fn inventory() -> Inventory {
    let mut resources = Vec::new();
    for n in 1..=5 {
        let state = if n == 5 { "stopped" } else { "running" };
        let attributes = json!({
            "State": {"Name": state},
            "EbsOptimized": n == 1,
            "NetworkInterfaces": [{"SubnetId": "subnet-0"}, {"SubnetId": format!("subnet-{n}")}],
        });
        let mut instance =
            resource("aws:ec2:instance", &arn("ec2", &format!("instance/i-{n}")), ("env", "test"), &attributes);
        instance.tags.insert("team".to_owned(), if n < 3 { "a" } else { "" }.to_owned());
        resources.push(instance);
        let zone = if n < 4 { "us-east-1a" } else { "us-east-1b" };
        let attributes = json!({"AvailabilityZone": zone, "VpcId": "vpc-1"});
        resources.push(resource("aws:ec2:subnet", &arn("ec2", &format!("subnet/s-{n}")), ("env", "test"), &attributes));
    }
    let foreign = "arn:aws:ec2:us-east-1:210987654321:instance/i-9";
    resources.push(resource("aws:ec2:instance", foreign, ("env", "test"), &json!({})));
    let task = json!({"cluster": "shop", "service": "web"});
    resources.push(resource("aws:ecs:task", &arn("ecs", "task/shop/t-1"), ("env", "test"), &task));
    resources.push(resource("aws:s3:bucket", "arn:aws:s3:::b-1", ("env", "test"), &json!({})));
    resources.extend([pod("p-1", "app", "cart"), pod("p-2", "app", "till"), pod("p-3", "other", "cart")]);
    Inventory::Listed(resources)
}

/// What a preview of one target finds: the last part of each ARN, or how the experiment ends.
async fn found(world: &World, action: (&str, Value), target: &Value, options: &Value) -> String {
    let key = catalogue::action(action.0).expect("known").targets.keys().next().expect("a key");
    let action = json!({"actionId": action.0, "parameters": action.1, "targets": {key: "t"}});
    let parts = json!({"actions": {"a": action}, "targets": {"t": target}, "experimentOptions": options});
    let template = world.drafted(&parts).await;
    let id = world.begun(&template, "skip-all").await;
    world.jump("PT10S").await;
    let seen = world.seen(&id).await;
    if seen["state"]["status"] != "completed" {
        return look(&seen);
    }
    assert_eq!(look(&seen), "completed Experiment completed. | a skipped");
    assert!(world.record(&id).preview);
    let answer = world.wire.get(&format!("/experiments/{id}/resolvedTargets?maxResults=100")).await.good();
    let name = |resolved: &Value| {
        let information = &resolved["targetInformation"];
        let arn = information["arn"].as_str().or(information["pod_name"].as_str()).expect("a name");
        arn.rsplit(['/', ':']).next().unwrap_or(arn).to_owned()
    };
    let resolved = answer["resolvedTargets"].as_array().expect("a list");
    let mut names: Vec<_> = resolved.iter().map(name).collect();
    names.sort_unstable();
    names.join(" ")
}

const EMPTY: &str = "failed Target resolution returned empty set. (InvalidTarget at t) | a cancelled";

/// Members of an instance target beside its type, and what is found.
fn instances() -> Vec<(Value, &'static str)> {
    let filter = |path: &str, values: &[&str]| json!({"path": path, "values": values});
    let filtered = |filters: Value| json!({"resourceTags": {"env": "test"}, "filters": filters});
    let tagged = |mode: &str| json!({"resourceTags": {"env": "test"}, "selectionMode": mode});
    vec![
        (tagged("ALL"), "i-1 i-2 i-3 i-4 i-5"),
        (json!({"resourceTags": {"env": "test", "team": "a"}}), "i-1 i-2"),
        (json!({"resourceTags": {"env": "test", "team": ""}}), "i-3 i-4 i-5"),
        (json!({"resourceTags": {"env": ""}}), EMPTY),
        (filtered(json!([filter("State.Name", &["running"])])), "i-1 i-2 i-3 i-4"),
        (filtered(json!([filter("State.Name", &["running", "stopped"])])), "i-1 i-2 i-3 i-4 i-5"),
        (filtered(json!([filter("NetworkInterfaces.SubnetId", &["subnet-2", "subnet-5"])])), "i-2 i-5"),
        (
            filtered(json!([filter("State.Name", &["running"]), filter("NetworkInterfaces.SubnetId", &["subnet-5"])])),
            EMPTY,
        ),
        (filtered(json!([filter("EbsOptimized", &["true"])])), "i-1"),
        (filtered(json!([filter("State", &["running"])])), EMPTY),
        (json!({"resourceArns": [arn("ec2", "instance/i-4")]}), "i-4"),
        (json!({"resourceArns": [arn("ec2", "instance/i-77")]}), EMPTY),
        (json!({"resourceArns": [arn("ec2", "instance/i-4"), arn("ec2", "instance/i-77")]}), EMPTY),
        (json!({"resourceArns": [arn("ec2", "subnet/s-1")]}), EMPTY),
        (json!({"resourceArns": ["arn:aws:ec2:us-east-1:210987654321:instance/i-9"]}), EMPTY),
        (tagged("PERCENT(19)"), EMPTY),
        (tagged("COUNT(9)"), "i-1 i-2 i-3 i-4 i-5"),
    ]
}

fn pods() -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    vec![
        ("labelSelector", "app=cart", CLUSTER, "p-1"),
        ("labelSelector", "tier=web", "shop", "p-1 p-2"),
        ("labelSelector", "tier==web,app!=cart", "shop", "p-2"),
        ("labelSelector", "app in (cart, till),tier", "shop", "p-1 p-2"),
        ("labelSelector", "app notin (cart)", "shop", "p-2"),
        ("labelSelector", "!tier", "shop", EMPTY),
        ("labelSelector", "app=cart", "elsewhere", EMPTY),
        ("deploymentName", "till", CLUSTER, "p-2"),
        ("podName", "p-1", CLUSTER, "p-1"),
        ("podName", "p-3", CLUSTER, EMPTY),
    ]
}

#[test]
fn targets_find_what_the_inventory_holds() {
    simulated(Options { inventory: inventory(), ..slow() }, async |world| {
        world.freeze().await;
        let check = async |action: (&str, Value), target: Value, expected: &str| {
            let names = found(&world, action, &target, &json!({})).await;
            assert_eq!(names, expected, "{target}");
        };
        for (mut target, expected) in instances() {
            target["resourceType"] = json!("aws:ec2:instance");
            if target.get("selectionMode").is_none() {
                target["selectionMode"] = json!("ALL");
            }
            check(("aws:ec2:reboot-instances", json!({})), target, expected).await;
        }
        for (kind, value, cluster, expected) in pods() {
            let parameters =
                json!({"clusterIdentifier": cluster, "namespace": "app", "selectorType": kind, "selectorValue": value});
            let target = json!({"resourceType": "aws:eks:pod", "selectionMode": "ALL", "parameters": parameters});
            check(("aws:eks:pod-delete", json!({"kubernetesServiceAccount": "fis"})), target, expected).await;
        }
        let narrowed = |kind: &str, parameters: Value| json!({"resourceType": kind, "selectionMode": "ALL", "resourceTags": {"env": "test"}, "parameters": parameters});
        let disrupt = || ("aws:network:disrupt-connectivity", json!({"scope": "all", "duration": "PT1M"}));
        let zone = json!({"availabilityZoneIdentifier": "us-east-1a", "vpc": "vpc-1"});
        check(disrupt(), narrowed("aws:ec2:subnet", zone), "s-1 s-2 s-3").await;
        check(disrupt(), narrowed("aws:ec2:subnet", json!({"vpc": "vpc-2"})), EMPTY).await;
        let stop = || ("aws:ecs:stop-task", json!({}));
        let shop = arn("ecs", "cluster/shop");
        check(stop(), narrowed("aws:ecs:task", json!({"cluster": shop, "service": "web"})), "t-1").await;
        check(stop(), narrowed("aws:ecs:task", json!({"cluster": "shop", "service": "api"})), EMPTY).await;
        let pause = ("aws:s3:bucket-pause-replication", json!({"duration": "PT1M", "region": "us-west-2"}));
        check(pause, narrowed("aws:s3:bucket", json!({})), "b-1").await;
        world
    });
}

#[test]
fn pods_tell_what_they_are() {
    simulated(Options { inventory: inventory(), ..slow() }, async |world| {
        world.freeze().await;
        let parameters = json!({
            "clusterIdentifier": CLUSTER,
            "namespace": "app",
            "selectorType": "podName",
            "selectorValue": "p-1",
            "targetContainerName": "proxy",
        });
        let target = json!({"resourceType": "aws:eks:pod", "selectionMode": "ALL", "parameters": parameters});
        let delete = json!({
            "actionId": "aws:eks:pod-delete",
            "parameters": {"kubernetesServiceAccount": "fis"},
            "targets": {"Pods": "t"},
        });
        let template = world.drafted(&json!({"actions": {"a": delete}, "targets": {"t": target}})).await;
        let id = world.begun(&template, "run-all").await;
        world.jump("PT10S").await;
        let answer = world.wire.get(&format!("/experiments/{id}/resolvedTargets")).await.good();
        let expected = json!({
            "resourceType": "aws:eks:pod",
            "targetName": "t",
            "targetInformation": {
                "pod_name": "p-1",
                "namespace": "app",
                "cluster_arn": CLUSTER,
                "target_container_name": "proxy",
            },
        });
        assert_eq!(answer["resolvedTargets"], json!([expected]));
        world
    });
}

#[test]
fn what_is_not_there_counts_by_choice() {
    simulated(Options { inventory: inventory(), ..slow() }, async |world| {
        world.freeze().await;
        let choices = json!({"count-above-found": "take-none", "some-arns-missing": "take-found"});
        assert_eq!(world.control("PATCH", "choices", choices).await.0, 200);
        let arns = ["instance/i-4", "instance/i-77"].map(|name| arn("ec2", name));
        let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceArns": arns});
        assert_eq!(found(&world, ("aws:ec2:reboot-instances", json!({})), &target, &json!({})).await, "i-4");
        for (mode, expected) in [("COUNT(6)", EMPTY), ("COUNT(5)", "i-1 i-2 i-3 i-4 i-5")] {
            let target =
                json!({"resourceType": "aws:ec2:instance", "selectionMode": mode, "resourceTags": {"env": "test"}});
            let names = found(&world, ("aws:ec2:reboot-instances", json!({})), &target, &json!({})).await;
            assert_eq!(names, expected, "{mode}");
        }
        world
    });
}

#[test]
fn only_targets_without_unique_names_are_skipped() {
    simulated(Options { inventory: inventory(), ..slow() }, async |world| {
        world.freeze().await;
        let skip = json!({"emptyTargetResolutionMode": "skip"});
        let instance = |selector: Value| {
            let mut target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL"});
            target.as_object_mut().expect("an object").extend(selector.as_object().expect("an object").clone());
            (("aws:ec2:reboot-instances", json!({})), target)
        };
        let pod = |kind: &str| {
            let parameters = json!({
                "clusterIdentifier": CLUSTER, "namespace": "app", "selectorType": kind, "selectorValue": "none",
            });
            let target = json!({"resourceType": "aws:eks:pod", "selectionMode": "ALL", "parameters": parameters});
            (("aws:eks:pod-delete", json!({"kubernetesServiceAccount": "fis"})), target)
        };
        let cases = [
            (instance(json!({"resourceTags": {"env": "none"}})), ""),
            (instance(json!({"resourceArns": [arn("ec2", "instance/i-77")]})), EMPTY),
            (pod("deploymentName"), ""),
            (pod("podName"), EMPTY),
        ];
        for ((action, target), expected) in cases {
            assert_eq!(found(&world, action, &target, &skip).await, expected, "{target}");
        }
        world
    });
}

#[test]
fn the_seed_decides_what_is_drawn() {
    let draw = |seed: u64| {
        let drawn = std::cell::RefCell::new(Vec::new());
        simulated(Options { seed, inventory: inventory(), ..slow() }, async |world| {
            world.freeze().await;
            for _experiment in 0..4 {
                let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "COUNT(2)", "resourceTags": {"env": "test"}});
                let names = found(&world, ("aws:ec2:reboot-instances", json!({})), &target, &json!({})).await;
                assert_eq!(names.split(' ').count(), 2, "{names}");
                drawn.borrow_mut().push(names);
            }
            world
        });
        drawn.into_inner()
    };
    let (one, again, other) = (draw(1), draw(1), draw(2));
    assert_eq!(one, again);
    assert_ne!(one, other);
    assert!(one.iter().any(|names| *names != one[0]), "experiments draw anew: {one:?}");
}

/// What is drawn for an action and its target beside the type, so that nothing but the number of targets is at issue.
fn drawn(action: &Action, kind: &str, chance: &mut Chance) -> (Value, Value) {
    let mut parameters = parameters(&action.parameters, chance);
    if parameters.contains_key("scope") {
        // Any other scope has a quota of its own.
        parameters.insert("scope".to_owned(), json!("all"));
    }
    if kind == "aws:eks:pod" {
        let pods = json!({"clusterIdentifier": CLUSTER, "namespace": "app", "selectorType": "deploymentName"});
        let mut target = json!({"parameters": pods});
        target["parameters"]["selectorValue"] = json!("cart");
        return (Value::Object(parameters), target);
    }
    let needed = catalogue::resource_type(kind).into_iter().flat_map(|kind| &kind.parameters);
    let needed = needed.filter(|parameter| parameter.required).map(|parameter| (parameter.name.clone(), json!("x")));
    let mut target = json!({"resourceTags": {"env": "test"}});
    let needed: serde_json::Map<String, Value> = needed.collect();
    if !needed.is_empty() {
        target["parameters"] = Value::Object(needed);
    }
    (Value::Object(parameters), target)
}

/// Every limit of targets by tag: action, type of its target, parameters, target and limit.
fn limited() -> Vec<(&'static str, &'static str, Value, Value, usize)> {
    let mut chance = Chance::new(1);
    let mut all = Vec::new();
    for action in &catalogue::all().actions {
        let kind = action.targets.values().next();
        if let (Some(limit), Some(kind)) = (action.max_targets_by_tag, kind) {
            let (parameters, target) = drawn(action, kind, &mut chance);
            all.push((action.id.as_str(), kind.as_str(), parameters, target, limit));
        }
    }
    assert_eq!(all.len(), 41, "limits");
    let narrow = json!({"scope": "vpc", "duration": "PT1M"});
    let target = json!({"resourceTags": {"env": "test"}});
    all.push(("aws:network:disrupt-connectivity", "aws:ec2:subnet", narrow, target, 5));
    all
}

#[test]
fn more_targets_than_a_quota_fail_the_experiment() {
    const OVER: &str = "failed Target resolution exceeded the number of targets allowed for the action. \
                        (QuotaExceededFailure at t) | a cancelled";
    let limited = limited();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, kind, _, _, limit) in &limited {
        let count = counts.entry(kind).or_default();
        *count = (*count).max(limit + 1);
    }
    let listed = counts.into_iter().flat_map(|(kind, count)| {
        (0..count).map(move |n| match kind {
            "aws:eks:pod" => pod(&format!("p-{n}"), "app", "cart"),
            kind => {
                let zone = json!({"availabilityZoneIdentifier": "x"});
                resource(kind, &arn("x", &format!("x/{n:04}")), ("env", "test"), &zone)
            }
        })
    });
    let inventory = Inventory::Listed(listed.collect());
    simulated(Options { inventory, ..slow() }, async |world| {
        world.freeze().await;
        for (action, kind, parameters, mut target, limit) in limited {
            target["resourceType"] = json!(kind);
            for (mode, expected) in [("ALL".to_owned(), Some(OVER)), (format!("COUNT({limit})"), None)] {
                target["selectionMode"] = json!(mode);
                let end = found(&world, (action, parameters.clone()), &target, &json!({})).await;
                match expected {
                    Some(expected) => assert_eq!(end, expected, "{action}"),
                    None => assert!(!end.starts_with("failed"), "{action}: {end}"),
                }
            }
        }
        world
    });
}

#[test]
fn many_accounts_need_configurations() {
    simulated(slow(), async |world| {
        world.freeze().await;
        let target = json!({"resourceType": "aws:ec2:instance", "selectionMode": "ALL", "resourceTags": {"a": "b"}});
        let options = json!({"accountTargeting": "multi-account"});
        let end = found(&world, ("aws:ec2:reboot-instances", json!({})), &target, &options).await;
        let expected = "failed The experiment template has no target account configurations. (ConfigurationFailure at -) \
                        | a cancelled";
        assert_eq!(end, expected);
        world
    });
}

#[test]
fn wrong_inventories_are_refused_with_their_places() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        Inventory::from_file(&path)
    };
    let entry = |kind: &str, arn: &str| format!("[[resource]]\ntype = \"{kind}\"\narn = \"{arn}\"\n\n");
    let fine = arn("ec2", "instance/i-1");
    let toml = [
        entry("aws:ec2:instance", &fine),
        entry("aws:ec2:instances", &fine),
        entry("aws:ec2:instance", "i-2"),
        entry("aws:ec2:instance", &fine),
        entry("aws:ec2:spot-instance", &fine),
        entry("aws:moon:crater", "arn:aws:moon:::crater/1"),
        "[[resource]]\ntype = \"aws:eks:pod\"\n".to_owned(),
    ]
    .concat();
    let told = read("a.toml", &toml).expect_err("refused").to_string();
    let problems: Vec<_> = told.lines().skip(1).collect();
    let expected = [
        "line 5, resource[1]: unknown resource type `aws:ec2:instances`; did you mean `aws:ec2:instance`?".to_owned(),
        "line 9, resource[2]: `i-2` is not an ARN (arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE)".to_owned(),
        format!("line 13, resource[3]: `{fine}` stands at line 1, resource[0] already"),
        "line 21, resource[5]: unknown resource type `aws:moon:crater`".to_owned(),
        "line 25, resource[6]: a resource of type `aws:eks:pod` needs an arn, or clusterIdentifier (an ARN), namespace \
         and podName"
            .to_owned(),
    ];
    assert_eq!(problems, expected);
    let told = read("b.json", &json!([{"type": "aws:ec2:instance", "arn": ""}]).to_string()).expect_err("refused");
    assert!(told.to_string().contains("[0]: a resource of type `aws:ec2:instance` needs an arn"), "{told}");
    let pod = json!([{
        "type": "aws:eks:pod", "clusterIdentifier": CLUSTER, "namespace": "app", "podName": "p-1",
    }]);
    let Ok(Inventory::Listed(pods)) = read("c.json", &pod.to_string()) else { panic!("a pod without an ARN") };
    assert_eq!(pods[0].arn, arn("eks", "pod/shop/app/p-1"));
}
