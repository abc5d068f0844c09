//! Template policies: what is refused, what an exception waives, and that both are recorded; from the configuration, through
//! the real binary and the simulator, to what `why` says.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::Experiment,
    policy::{Breach, Demand, Safeguards, TemplatePolicy},
    run::{Observation, RunState, SkipReason},
    template::TemplateFacts,
};
use serde_json::{Value, json};

use super::support::{
    agent::Home,
    runs::name,
    stage::Stage,
    wire::drill,
    world::{World, applied, asked, experiment, facts, slot_run, t},
};

fn opt_in() -> BTreeMap<String, String> {
    BTreeMap::from([("firedrill".to_owned(), "allowed".to_owned())])
}

fn strict() -> TemplatePolicy {
    let required = Demand::Required;
    TemplatePolicy { stop_condition: required, bounded_targets: required, tags: opt_in(), exception: None }
}

fn safe() -> Safeguards {
    Safeguards { stop_condition: true, all_of: Vec::new(), tags: opt_in() }
}

/// A run that is due now, whose template was read and says so of its safety.
fn judged(policy: &TemplatePolicy, safeguards: Option<Safeguards>) -> World {
    let facts = TemplateFacts { safeguards, ..facts(60, t("10:00:00")) };
    let mut run = slot_run("10:00:00");
    run.facts = Some(facts);
    World::of(Experiment { policy: policy.clone(), ..experiment() }, vec![run])
}

#[track_caller]
fn check(world: World, expected: &str) {
    assert_eq!(world.says(t("10:00:00"))[0], expected);
}

#[test]
fn start_whose_row_an_older_version_wrote_reads_the_template_before_it_is_repeated() {
    let mut world = judged(&strict(), None);
    let asked = asked(world.runs[0].clone(), "10:00:00");
    world.runs[0] = applied(asked, &[("10:00:10", Observation::NotFound)]);
    assert_eq!(world.says(t("10:00:14")), ["wake 10:00:15"]);
    assert_eq!(world.says(t("10:00:15")), ["A read template"]);
    let facts = TemplateFacts { safeguards: Some(safe()), ..facts(60, t("10:00:15")) };
    world.runs[0] = applied(world.runs[0].clone(), &[("10:00:15", Observation::TemplateRead { facts })]);
    assert_eq!(world.says(t("10:00:15")), ["A start EXT1"]);
}

#[test]
fn each_policy_refuses_alone_and_can_be_waived_alone() {
    let refused = "A skipped: the template breaks a policy: ";
    let without_stop = Safeguards { stop_condition: false, ..safe() };
    let of_all = Safeguards { all_of: vec!["nodes".to_owned()], ..safe() };
    let untagged = Safeguards { tags: BTreeMap::from([("firedrill".to_owned(), "no".to_owned())]), ..safe() };
    let cases = [
        (without_stop, "it has no stop condition", TemplatePolicy { stop_condition: Demand::Waived, ..strict() }),
        (
            of_all,
            "its target `nodes` selects ALL of whatever is found",
            TemplatePolicy { bounded_targets: Demand::Waived, ..strict() },
        ),
        (untagged, "it does not carry the tag firedrill=allowed", TemplatePolicy { tags: BTreeMap::new(), ..strict() }),
    ];
    check(judged(&strict(), Some(safe())), "A start EXT1");
    for (found, words, waived) in cases {
        check(judged(&strict(), Some(found.clone())), &format!("{refused}{words}"));
        check(judged(&waived, Some(found)), "A start EXT1");
        assert!(waived.is_looser_than(&strict()) && !strict().is_looser_than(&waived), "{words}");
    }
}

#[test]
fn template_read_by_an_older_version_is_read_again_before_a_policy_lets_it_pass() {
    check(judged(&strict(), None), "A read template");
    check(judged(&TemplatePolicy::default(), None), "A start EXT1");
    let old = r#"{"id":"EXT1","description":"","actions":{},"read_at":"2026-03-02T10:00:00Z"}"#;
    assert_eq!(serde_json::from_str::<TemplateFacts>(old).expect("an older row").safeguards, None);
    let reason = SkipReason::Policy { breach: Breach::AllTargets { target: "nodes".to_owned() } };
    let stored = serde_json::to_value(&reason).expect("JSON");
    assert_eq!(stored, json!({"why": "policy", "breach": "all-targets", "target": "nodes"}));
    assert_eq!(serde_json::from_value::<SkipReason>(stored).expect("a reason"), reason);
}

/// A template that only waits, aimed at instances, with these members replaced.
fn template(stage: &Stage, token: &str, members: Value) -> String {
    let mut body = drill(token);
    body["actions"] = json!({
        "wait": {"actionId": "aws:fis:wait", "parameters": {"duration": "PT1M"}},
        "reboot": {"actionId": "aws:ec2:reboot-instances", "targets": {"Instances": "nodes"}, "startAfter": ["wait"]},
    });
    body["tags"] = json!({"firedrill": "allowed"});
    let ours = body.as_object_mut().expect("an object");
    ours.extend(members.as_object().expect("members").clone());
    stage.made(&body)
}

const LISTED: &str = "arn:aws:ec2:us-east-1:123456789012:instance/i-0123456789abcdef0";

#[test]
fn policies_hold_by_default_and_an_exception_is_recorded_with_its_reason() {
    let stage = Stage::start(600.0);
    let aim = |mode: &str, which: Value| {
        let mut target = json!({"resourceType": "aws:ec2:instance", "selectionMode": mode});
        target.as_object_mut().expect("an object").extend(which.as_object().expect("members").clone());
        json!({"nodes": target})
    };
    let found = json!({"resourceTags": {"team": "drill"}});
    let listed = json!({"resourceArns": [LISTED]});
    let some = template(&stage, "some", json!({"targets": aim("COUNT(1)", found.clone())}));
    let all = template(&stage, "all", json!({"targets": aim("ALL", found.clone())}));
    let whole = template(&stage, "whole", json!({"targets": aim("PERCENT(100)", found)}));
    let list = template(&stage, "list", json!({"targets": aim("ALL", listed.clone())}));
    let untagged = template(&stage, "untagged", json!({"targets": aim("ALL", listed), "tags": {}}));
    let waived = "policy = { require_stop_condition = false, reason = \"an idle host\" }";
    let tables = format!(
        "[experiments.bare]\ntemplate = \"{some}\"\n\
         [experiments.broad]\ntemplate = \"{all}\"\n{waived}\n\
         [experiments.whole]\ntemplate = \"{whole}\"\n{waived}\n\
         [experiments.untagged]\ntemplate = \"{untagged}\"\n{waived}\n\
         [experiments.listed]\ntemplate = \"{list}\"\n{waived}\n"
    );
    let home = Home::new(&stage.url(), "");
    home.demand_policies(&tables);
    let _agent = home.agent();
    for (experiment, words) in [
        ("bare", "it has no stop condition"),
        ("broad", "its target `nodes` selects ALL of whatever is found"),
        ("whole", "its target `nodes` selects ALL of whatever is found"),
        ("untagged", "it does not carry the tag firedrill=allowed"),
    ] {
        let said = home.run(&["start", experiment, "--wait"]);
        assert!(said.code == 12 && said.stdout.contains(words), "{experiment}: {said:?}");
    }
    assert_eq!(stage.experiments().len(), 0);
    let said = home.run(&["start", "listed"]);
    assert_eq!(said.code, 0, "{said:?}");
    let of_it = name("listed");
    let run = home.wait_for("a run by exception", |run| run.experiment == of_it && run.is_over());
    assert!(matches!(run.state, RunState::Finished { .. }) && stage.experiments().len() == 1, "{run:?}");
    let why = home.run(&["why", run.id.as_str()]);
    let policy = why.stdout.lines().find(|line| line.trim_start().starts_with("policy")).unwrap_or_default();
    let told = "demands no ALL, tag firedrill=allowed; exception: an idle host";
    assert!(policy.contains(told) && policy.contains("passes"), "{why:?}");
}
