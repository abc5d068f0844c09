//! Event triggers in the configuration: every key, what needs or excludes what, and what could never work.

use firedrill::domain::{
    deployment::Supersede,
    experiment::{EventTrigger, Rollbacks},
    ids::Name,
};
use jiff::SignedDuration;
use serde_json::json;

use super::{GOOD, loaded, refused};

/// A configuration with triggers, each of them given by its keys, and one queue.
fn with(triggers: &[&str]) -> String {
    let tables = triggers.iter().map(|keys| format!("[[experiments.checkout.triggers]]\n{keys}\n"));
    format!("[queues.deployments]\nurl = \"https://sqs.invalid/1/deployments\"\n{GOOD}{}", tables.collect::<String>())
}

fn trigger(keys: &str) -> EventTrigger {
    let settings = loaded(&[("a.toml", &with(&[keys]))], &[]).settings;
    settings.rules.experiments[&Name::parse("checkout").expect("a name")].triggers[0].clone()
}

/// Checks the pattern that keys make.
#[track_caller]
fn check(keys: &str, expected: serde_json::Value) {
    assert_eq!(trigger(keys).pattern.source(), &expected);
}

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn preset_brings_pattern_key_and_version() {
    let trigger = trigger("on = \"codedeploy-success\"");
    let codedeploy = json!({
        "source": ["aws.codedeploy"],
        "detail-type": ["CodeDeploy Deployment State-change Notification"],
        "detail": { "state": ["SUCCESS"] },
    });
    assert_eq!(trigger.pattern.source(), &codedeploy);
    assert_eq!(trigger.reading.key, ["/account", "/region", "/detail/application", "/detail/deploymentGroup"]);
    assert_eq!(trigger.reading.version, ["/detail/deploymentId"]);
    assert!(trigger.reading.rollback.is_some());
    assert_eq!((trigger.settle, trigger.max_age), (SignedDuration::ZERO, Some(MINUTE * 60)));
    assert_eq!((trigger.settle_limit, trigger.sources.len(), trigger.one_in), (None, 0, 1));
}

#[test]
fn filters_narrow_the_pattern_of_a_preset() {
    let codedeploy = |detail: serde_json::Value| {
        json!({
            "source": ["aws.codedeploy"],
            "detail-type": ["CodeDeploy Deployment State-change Notification"],
            "detail": detail,
        })
    };
    check(
        "on = \"codedeploy-success\"\napplication = \"shop\"\nenvironment = [\"prod\", \"prod-*\"]",
        codedeploy(json!({
            "state": ["SUCCESS"],
            "application": ["shop"],
            "deploymentGroup": ["prod", { "prefix": "prod-" }],
        })),
    );
    // A star that holds everything asks only that there is something.
    check(
        "on = \"codedeploy-success\"\napplication = \"*\"",
        codedeploy(json!({ "state": ["SUCCESS"], "application": [{ "exists": true }] })),
    );
}

#[test]
fn every_key_is_taken_over() {
    let trigger = trigger(
        r#"pattern = '{"source": ["ci"]}'
queues = ["deployments"]
key = ["/detail/app", "/detail/a~1b"]
version = "/detail/sha"
deployment_id = ["/detail/run", "/id"]
rollback = { detail = { rollback = [true] } }
settle = "5m"
settle_limit = "30m"
hold_for = "2h"
start_deadline = "20m"
min_age = "1m"
max_age = "3h"
rollbacks = "skip"
supersede = "running"
cool_down = "4h"
one_in = 5"#,
    );
    assert_eq!(trigger.sources, [Name::parse("deployments").expect("a name")]);
    assert_eq!(trigger.reading.key, ["/detail/app", "/detail/a~1b"]);
    assert_eq!(trigger.reading.version, ["/detail/sha"]);
    assert_eq!(trigger.reading.id, ["/detail/run", "/id"]);
    let rollback = trigger.reading.rollback.expect("a pattern");
    assert!(rollback.matches(&json!({ "detail": { "rollback": true } })));
    assert_eq!((trigger.settle, trigger.settle_limit), (MINUTE * 5, Some(MINUTE * 30)));
    assert_eq!((trigger.hold_for, trigger.start_deadline), (MINUTE * 120, MINUTE * 20));
    assert_eq!((trigger.min_age, trigger.max_age), (MINUTE, Some(MINUTE * 180)));
    assert_eq!((trigger.rollbacks, trigger.supersede), (Rollbacks::Skip, Supersede::Running));
    assert_eq!((trigger.cool_down, trigger.one_in), (MINUTE * 240, 5));
}

#[test]
fn event_may_be_an_hour_old_or_as_old_as_settling_makes_it() {
    let max_age = |keys: &str| trigger(&format!("on = \"ecr-push\"\n{keys}")).max_age;
    assert_eq!(max_age(""), Some(MINUTE * 60));
    assert_eq!(max_age("settle = \"55m\""), Some(MINUTE * 65));
    assert_eq!(max_age("settle = \"55m\"\nmin_age = \"2h\"\nstart_deadline = \"30m\""), Some(MINUTE * 150));
    assert_eq!(max_age("max_age = \"none\""), None);
    assert_eq!(max_age("settle = \"55m\"\nmax_age = \"55m\""), Some(MINUTE * 55));
}

#[test]
fn what_comes_before_the_change_settles_by_itself() {
    let settle = |keys: &str| trigger(&format!("on = \"eks-nodegroup-updated\"\n{keys}")).settle;
    assert_eq!(settle(""), MINUTE * 15);
    assert_eq!(settle("settle = \"0s\""), SignedDuration::ZERO);
}

#[test]
fn what_a_trigger_takes_is_said_once() {
    let text = with(&[
        "settle = \"1m\"",
        "on = \"codedeploy-sucess\"",
        "on = \"kubernetes\"",
        "on = \"ecr-push\"\npattern = { source = [\"aws.ecr\"] }",
        "on = \"codedeploy-success\"\nservice = \"x\"\nbranch = \"main\"",
        "pattern = { source = [\"x\"] }\napplication = \"x\"",
        "on = \"ecr-push\"\nservice = \"\"\nbranch = []",
        "on = \"ecr-push\"\nservice = 7\nbranch = [7]",
        "pattern = \"{\"",
        "pattern = { source = \"aws.ecr\", detail = { state = [] } }",
        "on = \"ecr-push\"\nqueues = [\"deploymnts\", \"elsewhere\"]",
    ]);
    insta::assert_snapshot!(refused(&[("a.toml", &text)], &[]), @r#"
    a.toml:5:1 experiments.checkout.triggers[0].on: is missing
      hint: say which events it takes: `on = "codedeploy-success"` or `pattern = { … }`; `firedrill event presets` lists what `on` may be
    a.toml:8:6 experiments.checkout.triggers[1].on: there is no preset `codedeploy-sucess`
      hint: did you mean `codedeploy-success`?
    a.toml:10:6 experiments.checkout.triggers[2].on: there is no preset `kubernetes`
      hint: `firedrill event presets` lists them
    a.toml:13:11 experiments.checkout.triggers[3].pattern: `on` and `pattern` exclude each other
      hint: remove one of them
    a.toml:16:11 experiments.checkout.triggers[4].service: `codedeploy-success` has no filter `service`
      hint: it has `application`, `environment`
    a.toml:17:10 experiments.checkout.triggers[4].branch: `codedeploy-success` has no filter `branch`
      hint: it has `application`, `environment`
    a.toml:20:15 experiments.checkout.triggers[5].application: goes with `on` only
      hint: write what it is compared with into `pattern`
    a.toml:23:11 experiments.checkout.triggers[6].service: a filter has 1 to 256 bytes, and this has 0
    a.toml:24:10 experiments.checkout.triggers[6].branch: a list has 1 to 50 entries here, and this has 0
    a.toml:27:11 experiments.checkout.triggers[7].service: expected a text in quotes or a list of them, found the number 7
    a.toml:28:11 experiments.checkout.triggers[7].branch[0]: expected a text in quotes, found the number 7
    a.toml:30:11 experiments.checkout.triggers[8].pattern: not JSON at byte 1: expected a name in quotes
    a.toml:32:52 experiments.checkout.triggers[9].pattern.detail.state: Empty arrays are not allowed
    a.toml:35:11 experiments.checkout.triggers[10].queues[0]: there is no queue or webhook `deploymnts`
      hint: did you mean `deployments`?
    a.toml:35:25 experiments.checkout.triggers[10].queues[1]: there is no queue or webhook `elsewhere`
    "#);
}

#[test]
fn what_needs_a_key_or_a_rollback_says_so() {
    let text = with(&[
        "pattern = { source = [\"x\"] }\nversion = \"/a\"\ndeployment_id = \"/b\"\nsettle_limit = \"1m\"\nsupersede = \
         \"running\"\ncool_down = \"1m\"\nrollbacks = \"skip\"",
        "on = \"ecr-push\"\nrollbacks = \"skip\"\ncool_down = \"1m\"",
        "pattern = { source = [\"x\"] }\nkey = [\"detail.app\", \"$.detail.items[0].name\", \"\", \"/a~2\", \"/a~\"]",
        "pattern = { source = [\"x\"] }\nkey = []\nversion = [\"/1\", \"/2\", \"/3\", \"/4\", \"/5\", \"/6\", \"/7\", \
         \"/8\", \"/9\"]",
        "on = \"ecr-push\"\nrollback = { detail = [] }\nrollbacks = \"never\"\nsupersede = \"all\"",
    ]);
    insta::assert_snapshot!(refused(&[("a.toml", &text)], &[]), @r#"
    a.toml:7:11 experiments.checkout.triggers[0].version: has no meaning without a `key`
      hint: say where it stands what is deployed: `key = "/detail/application"`
    a.toml:8:17 experiments.checkout.triggers[0].deployment_id: has no meaning without a `key`
      hint: say where it stands what is deployed: `key = "/detail/application"`
    a.toml:9:16 experiments.checkout.triggers[0].settle_limit: has no meaning without a `key`
      hint: say where it stands what is deployed: `key = "/detail/application"`
    a.toml:10:13 experiments.checkout.triggers[0].supersede: has no meaning without a `key`
      hint: say where it stands what is deployed: `key = "/detail/application"`
    a.toml:11:13 experiments.checkout.triggers[0].cool_down: has no meaning without a `key`
      hint: say where it stands what is deployed: `key = "/detail/application"`
    a.toml:12:13 experiments.checkout.triggers[0].rollbacks: nothing says which events tell of a rollback
      hint: give an event pattern: `rollback = { detail = { rollback = [true] } }`
    a.toml:15:13 experiments.checkout.triggers[1].rollbacks: nothing says which events tell of a rollback
      hint: give an event pattern: `rollback = { detail = { rollback = [true] } }`
    a.toml:19:8 experiments.checkout.triggers[2].key[0]: `detail.app` is not a JSON pointer
      hint: write `/detail/app`
    a.toml:19:22 experiments.checkout.triggers[2].key[1]: `$.detail.items[0].name` is not a JSON pointer
      hint: write `/detail/items/0/name`
    a.toml:19:48 experiments.checkout.triggers[2].key[2]: `` is not a JSON pointer
      hint: write `/detail/application`
    a.toml:19:52 experiments.checkout.triggers[2].key[3]: `/a~2` is not a JSON pointer: a `~` stands alone
      hint: in a pointer `~0` stands for `~` and `~1` for `/`
    a.toml:19:60 experiments.checkout.triggers[2].key[4]: `/a~` is not a JSON pointer: a `~` stands alone
      hint: in a pointer `~0` stands for `~` and `~1` for `/`
    a.toml:22:7 experiments.checkout.triggers[3].key: a list has 1 to 8 entries here, and this has 0
    a.toml:23:11 experiments.checkout.triggers[3].version: a list has 1 to 8 entries here, and this has 9
    a.toml:26:23 experiments.checkout.triggers[4].rollback.detail: Empty arrays are not allowed
    a.toml:27:13 experiments.checkout.triggers[4].rollbacks: `never` is not one of `run` or `skip`
    a.toml:28:13 experiments.checkout.triggers[4].supersede: `all` is not one of `pending` or `running`
    "#);
}

#[test]
fn times_that_contradict_each_other_are_refused() {
    let text = with(&[
        "on = \"ecr-push\"\nsettle = \"2h\"\nsettle_limit = \"1h\"\nmax_age = \"90m\"",
        "on = \"eks-nodegroup-updated\"\nmax_age = \"10m\"\nsettle_limit = \"1m\"",
        "on = \"ecr-push\"\nmin_age = \"2h\"\nmax_age = \"1h\"",
        "on = \"ecr-push\"\nmax_age = \"never\"\nmin_age = \"2d\"\ncool_down = \"91d\"\none_in = 0",
        "on = \"ecr-push\"\nmax_age = \"0s\"\none_in = 10001",
        "on = \"ecr-push\"\none_in = \"two\"",
    ]);
    insta::assert_snapshot!(refused(&[("a.toml", &text)], &[]), @r#"
    a.toml:8:16 experiments.checkout.triggers[0].settle_limit: is less than `settle`, which is 2h
      hint: raise it, or lower `settle`
    a.toml:9:11 experiments.checkout.triggers[0].max_age: is 1h 30m, less than `settle`, which is 2h: every event is too old before a run may start
      hint: raise it, lower `settle`, or write `max_age = "none"`
    a.toml:12:11 experiments.checkout.triggers[1].max_age: is 10m, less than `settle`, which is 15m: every event is too old before a run may start
      hint: raise it, lower `settle`, or write `max_age = "none"`
    a.toml:13:16 experiments.checkout.triggers[1].settle_limit: is less than `settle`, which is 15m
      hint: raise it, or lower `settle`
    a.toml:17:11 experiments.checkout.triggers[2].max_age: is 1h, less than `min_age`, which is 2h: every event is too old before a run may start
      hint: raise it, lower `min_age`, or write `max_age = "none"`
    a.toml:20:11 experiments.checkout.triggers[3].max_age: `never` is not a duration
      hint: write numbers with units, such as `90s`, `1h 30m` or `90d`
    a.toml:21:11 experiments.checkout.triggers[3].min_age: `2d` is out of range: from 0s to 24h is possible
    a.toml:22:13 experiments.checkout.triggers[3].cool_down: `91d` is out of range: from 0s to 90d is possible
    a.toml:23:10 experiments.checkout.triggers[3].one_in: `0` is out of range: from 1 to 10000 is possible
    a.toml:26:11 experiments.checkout.triggers[4].max_age: `0s` is out of range: from 1s to 7d is possible
    a.toml:27:10 experiments.checkout.triggers[4].one_in: `10001` is out of range: from 1 to 10000 is possible
    a.toml:30:10 experiments.checkout.triggers[5].one_in: expected a whole number, found the text "two"
    "#);
}

#[test]
fn cool_down_that_keeps_runs_from_being_superseded_is_doubted() {
    let warnings = |keys: &str| {
        let keys = format!("on = \"ecr-push\"\nsupersede = \"running\"\n{keys}");
        loaded(&[("a.toml", &with(&[&keys]))], &[]).warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let warned = warnings("cool_down = \"1h\"");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains("triggers[0].cool_down: a newer version within it is skipped"), "{warned:?}");
    assert_eq!(warnings("cool_down = \"0s\""), Vec::<String>::new());
}

#[test]
fn rollbacks_that_a_preset_never_takes_are_doubted() {
    let warnings =
        loaded(&[("a.toml", &with(&["on = \"asg-refresh-succeeded\"\nrollbacks = \"skip\""]))], &[]).warnings;
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("rollbacks come as events that it does not take"), "{warnings:?}");
}

#[test]
fn filters_of_the_environment_may_be_lists() {
    let env = [("FIREDRILL__EXPERIMENTS__CHECKOUT__TRIGGERS", "[{ on = \"ecr-push\", service = [\"a\", \"b\"] }]")];
    let settings = loaded(&[("a.toml", GOOD)], &env).settings;
    let trigger = &settings.rules.experiments[&Name::parse("checkout").expect("a name")].triggers[0];
    assert_eq!(trigger.pattern.source()["detail"]["repository-name"], json!(["a", "b"]));
}

/// The mappings of a configuration, as `name: source`.
fn mappings(text: &str) -> Vec<String> {
    let rules = loaded(&[("a.toml", text)], &[]).settings.rules;
    rules.mappings.iter().map(|mapping| format!("{}: {:?}", mapping.name, mapping.source)).collect()
}

const MAPPING: &str = "when = { app = [{ exists = true }] }\nsource = \"/from\"\ndetail_type = \"Deployed\"\n";

#[test]
fn mappings_come_in_the_order_of_names_and_before_those_of_presets() {
    let triggers = with(&["on = \"github-deployment\"", "on = \"argocd-synced\"", "on = \"argocd-synced\""]);
    let text = format!("{triggers}[mappings.z]\n{MAPPING}[mappings.b]\n{MAPPING}");
    let own = "At(\"/from\")";
    assert_eq!(
        mappings(&text),
        [
            format!("b: {own}"),
            format!("z: {own}"),
            "argocd: Literal(\"argocd\")".to_owned(),
            "github: Literal(\"github\")".to_owned()
        ]
    );
    // One of the same name replaces that of a preset.
    assert_eq!(
        mappings(&format!("{triggers}[mappings.argocd]\n{MAPPING}")),
        [format!("argocd: {own}"), "github: Literal(\"github\")".to_owned()]
    );
    assert_eq!(mappings(&with(&["on = \"ecr-push\""])), Vec::<String>::new());
}

#[test]
fn mistakes_in_mappings_are_named() {
    let text = format!(
        "{GOOD}[mappings.empty]\n[mappings.\"bad name\"]\n{MAPPING}[mappings.wrong]\nwhen = {{ app = [] }}\nsource = \
         \"\"\ndetail_type = \"/a~\"\nid = \"run.id\"\ntime = 7\n[mappings.long]\nwhen = '[]'\nsource = \
         \"{}\"\ndetail_type = \"x\"\nidd = \"/id\"\n",
        "s".repeat(129)
    );
    insta::assert_snapshot!(refused(&[("a.toml", &text)], &[]), @r#"
    a.toml:3:1 mappings.empty.detail_type: is missing
    a.toml:3:1 mappings.empty.source: is missing
    a.toml:3:1 mappings.empty.when: is missing
    a.toml:4:1 mappings."bad name": `bad name` is not a name: use 1 to 64 letters, digits, `_`, `-` or `.`, a letter or digit first
    a.toml:9:16 mappings.wrong.when.app: Empty arrays are not allowed
    a.toml:10:10 mappings.wrong.source: a text has 1 to 128 bytes here, and this has 0
      hint: or write a JSON pointer: `/detail/source`
    a.toml:11:15 mappings.wrong.detail_type: `/a~` is not a JSON pointer: a `~` stands alone
      hint: in a pointer `~0` stands for `~` and `~1` for `/`
    a.toml:12:6 mappings.wrong.id: `run.id` is not a JSON pointer
      hint: write `/run/id`
    a.toml:13:8 mappings.wrong.time: expected a text in quotes, found the number 7
    a.toml:15:8 mappings.long.when: Filter is not an object; a pattern must be an object
    a.toml:16:10 mappings.long.source: a text has 1 to 128 bytes here, and this has 129
      hint: or write a JSON pointer: `/detail/source`
    a.toml:18:1 mappings.long.idd: unknown key `idd`
      hint: did you mean `id`?
    "#);
    let many: String = (0..101).map(|n| format!("[mappings.m{n}]\n{MAPPING}")).collect();
    let said = refused(&[("a.toml", &format!("{GOOD}{many}"))], &[]);
    assert!(said.contains("mappings: there are up to 100 mappings, and these are 101"), "{said}");
    let files =
        [("a.toml", format!("{GOOD}[mappings.ci]\n{MAPPING}")), ("b.toml", format!("[mappings.ci]\n{MAPPING}"))];
    let said = refused(&[(files[0].0, &files[0].1), (files[1].0, &files[1].1)], &[]);
    assert!(said.contains("mapping `ci` is declared twice"), "{said}");
}

#[test]
fn pattern_that_eventbridge_would_refuse_is_doubted() {
    let stars = "\"*a*b*c*d*\"".to_owned();
    let keys = format!(
        "pattern = {{ source = [\"ci\"], detail = {{ a = [{{ wildcard = {stars} }}, {{ wildcard = {stars} }}, {{ wildcard = {stars} }}] }} }}"
    );
    let warnings = loaded(&[("a.toml", &with(&[&keys]))], &[]).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains("experiments.checkout.triggers[0].pattern: "), "{warnings:?}");
}
