//! Estimates: the critical path, what documents were told, what was learned, and which of them counts.

use std::collections::BTreeMap;

use firedrill::domain::{
    estimate::{self, Estimate, Estimates, FIS_OVERHEAD, INSTANT_ALLOWANCE, LEAST_LEARNED_FROM, learned_p95},
    experiment::{EstimateKind, Experiment},
    template::TemplateAction,
};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

use super::{action, automation, named, template, wait};
use crate::support::world::experiment;

/// Checks the estimate of actions named a, b, c, … in seconds, without FIS's own overhead; `None` is unknown.
#[track_caller]
fn check(actions: Vec<TemplateAction>, expected: Option<i64>) {
    assert_eq!(template(actions).ceiling(), with_overhead(expected));
}

fn with_overhead(seconds: Option<i64>) -> Estimate {
    seconds.map_or(Estimate::Unknown, |seconds| Estimate::Known(SignedDuration::from_secs(seconds) + FIS_OVERHEAD))
}

#[test]
fn longest_chain_counts() {
    check(Vec::new(), Some(0));
    check(vec![wait("PT5M", &[])], Some(300));
    check(vec![wait("PT5M", &[]), wait("PT7M", &[])], Some(420));
    check(vec![wait("PT5M", &[]), wait("PT7M", &["a"])], Some(720));
    // A diamond: a before b and c, both before d.
    let diamond = vec![wait("PT1M", &[]), wait("PT10M", &["a"]), wait("PT2M", &["a"]), wait("PT3M", &["b", "c"])];
    check(diamond, Some(840));
    // Named against the order of the alphabet.
    check(vec![wait("PT1M", &["b"]), wait("PT2M", &["c"]), wait("PT4M", &[])], Some(420));
}

#[test]
fn action_without_a_readable_length_makes_the_estimate_unknown() {
    check(vec![action("aws:new:thing", &[("duration", "PT5M")], &[])], None);
    check(vec![wait("PT5M", &[]), action("", &[], &[])], None);
    check(vec![action("aws:fis:wait", &[], &[])], None);
    for text in ["", "soon", "PT", "-PT5M", "P1M", "P1Y", "5", "PT5X"] {
        check(vec![wait(text, &[])], None);
    }
}

#[test]
fn durations_are_read_in_every_form_that_fis_takes() {
    for (text, seconds) in [("PT90S", 90), ("PT1M30S", 90), ("PT12H", 43_200), ("PT1H1M1S", 3_661), ("PT0S", 0)] {
        check(vec![wait(text, &[])], Some(seconds));
    }
}

#[test]
fn cycle_or_dangling_name_makes_the_estimate_unknown() {
    check(vec![wait("PT1M", &["a"])], None);
    check(vec![wait("PT1M", &["b"]), wait("PT1M", &["a"])], None);
    check(vec![wait("PT1M", &[]), wait("PT1M", &["nobody"])], None);
}

#[test]
fn each_kind_of_time_has_its_ceiling() {
    let minute = INSTANT_ALLOWANCE.as_secs();
    check(vec![action("aws:ec2:reboot-instances", &[], &[])], Some(minute));
    check(vec![action("aws:ec2:stop-instances", &[], &[])], Some(minute));
    check(vec![action("aws:ec2:stop-instances", &[("startInstancesAfterDuration", "PT10M")], &[])], Some(600 + minute));
    check(vec![action("aws:network:disrupt-connectivity", &[("duration", "PT5M")], &[])], Some(300 + minute));
    let cap = [("maxDuration", "PT10M")];
    check(vec![action("aws:eks:inject-kubernetes-custom-resource", &cap, &[])], Some(600));
    let delay = [("durationBeforeInterruption", "PT2M")];
    check(vec![action("aws:ec2:send-spot-instance-interruptions", &delay, &[])], Some(120));
    check(vec![action("aws:ssm:send-command", &[("duration", "PT5M")], &[])], Some(300));
}

#[test]
fn absurd_lengths_saturate() {
    let long = format!("PT{}S", i64::MAX);
    let template = template(vec![wait(&long, &[]), wait(&long, &["a"])]);
    assert!(matches!(template.ceiling(), Estimate::Known(length) if length > SignedDuration::from_hours(12)));
    assert_eq!(estimate::expected(&experiment(), &template, None), experiment().max_duration);
}

#[test]
fn expected_time_is_the_estimate_up_to_the_experiments_limit() {
    let expected = |actions| estimate::expected(&experiment(), &template(actions), None);
    assert_eq!(expected(vec![wait("PT5M", &[])]), SignedDuration::from_secs(330));
    assert_eq!(expected(vec![wait("PT2H", &[])]), SignedDuration::from_hours(1));
    assert_eq!(expected(vec![wait("soon", &[])]), SignedDuration::from_hours(1));
}

#[test]
fn demo_template_takes_what_its_longest_chain_takes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/demo/template.json");
    let demo: Value = serde_json::from_str(&std::fs::read_to_string(path).expect("the demo")).expect("JSON");
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    };
    let actions: BTreeMap<String, TemplateAction> = demo["actions"]
        .as_object()
        .expect("actions")
        .iter()
        .map(|(name, action)| {
            let parameters = action["parameters"].as_object().into_iter().flatten();
            let text = |(key, value): (&String, &Value)| (key.clone(), value.as_str().expect("a text").to_owned());
            let action = TemplateAction {
                action_id: action["actionId"].as_str().expect("an id").to_owned(),
                parameters: parameters.map(text).collect(),
                start_after: texts(&action["startAfter"]),
                ..TemplateAction::default()
            };
            (name.clone(), action)
        })
        .collect();
    assert_eq!(actions.len(), 6);
    // Ten minutes of stress, two actions of a moment, a wait and the load of five minutes each.
    let expected = SignedDuration::from_mins(10 + 1 + 1 + 5 + 5) + FIS_OVERHEAD;
    assert_eq!(named(actions).ceiling(), Estimate::Known(expected));
}

/// Checks the nominal estimate of one automation of at most an hour, in seconds, without FIS's own overhead.
#[track_caller]
fn told(document: &str, expected: i64) {
    let facts = template(vec![automation("PT1H", document, &[])]);
    assert_eq!(facts.nominal(), with_overhead(Some(expected)), "{document}");
    assert_eq!(facts.ceiling(), with_overhead(Some(3_600)), "{document}");
}

#[test]
fn nominal_estimate_reads_what_a_document_is_told() {
    told(r#"{"duration": "PT2M", "tagKey": "FIS-Ready"}"#, 120);
    told(r#"{"Duration": "PT15M"}"#, 900);
    told(r#"{"ExperimentDuration": "PT10M", "RampTime": "PT1M"}"#, 600);
    told(r#"{"DurationSeconds": "90"}"#, 90);
    told(r#"{"DurationSeconds": 90}"#, 90);
    told(r#"{"DurationSeconds": ["90"]}"#, 90);
    told(r#"{"DurationInMinutes": "2"}"#, 120);
    told(r#"{"durationMinutes": "2"}"#, 120);
    told(r#"{"duration": "10 min"}"#, 600);
    // Phases of one document follow each other.
    told(r#"{"WarmUpDuration": "PT1M", "FaultDuration": "PT5M", "CoolDownDurationSeconds": "30"}"#, 390);
    // A bound inside is not what is done.
    told(r#"{"MaxDuration": "PT50M", "minDuration": "PT1S", "duration": "PT4M"}"#, 240);
}

#[test]
fn nominal_estimate_without_a_readable_time_is_the_declared_one() {
    let unreadable = [
        "{}",
        "",
        "no JSON",
        "[1]",
        r#"{"tagKey": "FIS-Ready"}"#,
        r#"{"duration": "60"}"#,
        r#"{"duration": "-PT1M"}"#,
        r#"{"duration": ["PT1M", "PT2M"]}"#,
        r#"{"duration": null}"#,
        r#"{"DurationSeconds": "-1"}"#,
        r#"{"DurationSeconds": "1.5"}"#,
        r#"{"DurationSeconds": "99999999999999999999"}"#,
        r#"{"duration": "PT1M", "OtherDuration": "soon"}"#,
    ];
    for document in unreadable {
        told(document, 3_600);
    }
    // It is stopped at its bound, whatever it was told.
    told(r#"{"duration": "PT3H"}"#, 3_600);
    told(r#"{"DurationSeconds": "4294967295"}"#, 3_600);
    let silent = action("aws:ssm:start-automation-execution", &[("maxDuration", "PT1H")], &[]);
    assert_eq!(template(vec![silent]).nominal(), with_overhead(Some(3_600)));
}

#[test]
fn only_an_action_with_a_bound_may_end_before_its_declared_time() {
    // A command that ends early does not end its action.
    let command = [("duration", "PT5M"), ("documentParameters", r#"{"DurationSeconds": "60"}"#)];
    assert_eq!(template(vec![action("aws:ssm:send-command", &command, &[])]).nominal(), with_overhead(Some(300)));
    let chaos_mesh = [("maxDuration", "PT10M"), ("kubernetesSpec", r#"{"mode": "one", "duration": "60s"}"#)];
    let custom = action("aws:eks:inject-kubernetes-custom-resource", &chaos_mesh, &[]);
    assert_eq!(template(vec![custom]).nominal(), with_overhead(Some(60)));
    // Without a bound nothing is known, whatever the document is told.
    let boundless = action("aws:ssm:start-automation-execution", &command[1..], &[]);
    assert_eq!(template(vec![boundless.clone()]).nominal(), Estimate::Unknown);
    assert_eq!(template(vec![boundless]).ceiling(), Estimate::Unknown);
}

#[test]
fn nominal_estimate_of_a_litmus_engine_is_the_sum_of_its_experiments() {
    let spec = |variables: &[&str]| {
        let experiment = |text: &&str| {
            serde_json::json!({"spec": {"components": {"env": [
            {"name": "CPU_CORES", "value": "1"}, {"name": text, "value": "90"}]}}})
        };
        serde_json::json!({"engineState": "active", "experiments": variables.iter().map(experiment).collect::<Value>()})
    };
    let nominal = |spec: Value| {
        let parameters = [("maxDuration", "PT10M"), ("kubernetesSpec", &spec.to_string())];
        template(vec![action("aws:eks:inject-kubernetes-custom-resource", &parameters, &[])]).nominal()
    };
    let known = "TOTAL_CHAOS_DURATION";
    assert_eq!(nominal(spec(&[known])), with_overhead(Some(90)));
    assert_eq!(nominal(spec(&[known, known])), with_overhead(Some(180)));
    // One that says nothing may take as long as is allowed.
    assert_eq!(nominal(spec(&[known, "RAMP_TIME"])), with_overhead(Some(600)));
    assert_eq!(nominal(spec(&[])), with_overhead(Some(600)));
}

#[test]
fn shape_follows_from_what_a_runs_length_follows_from() {
    let facts = template(vec![wait("PT5M", &[]), wait("PT7M", &["a"])]);
    let same = firedrill::domain::template::TemplateFacts { description: "other".to_owned(), ..facts.clone() };
    assert_eq!(facts.shape(), same.shape());
    assert_eq!(facts.shape().len(), 16);
    for other in [
        vec![wait("PT5M", &[]), wait("PT8M", &["a"])],
        vec![wait("PT5M", &[]), wait("PT7M", &[])],
        vec![wait("PT5M", &[]), action("aws:fis:wait", &[], &["a"])],
        vec![wait("PT5M", &[])],
    ] {
        assert_ne!(facts.shape(), template(other).shape());
    }
}

#[test]
fn nominal_estimate_has_its_own_critical_path() {
    let two = vec![automation("PT1H", r#"{"duration": "PT1M"}"#, &[]), wait("PT30M", &[])];
    assert_eq!(template(two.clone()).ceiling(), with_overhead(Some(3_600)));
    assert_eq!(template(two).nominal(), with_overhead(Some(1_800)));
}

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

#[test]
fn chosen_estimate_gates_and_what_is_not_known_falls_back_to_the_safer_one() {
    let known = template(vec![automation("PT40M", r#"{"duration": "PT10M"}"#, &[])]);
    let unknown = template(vec![action("aws:new:thing", &[("duration", "PT1M")], &[])]);
    let judged = |estimate, facts, learned: Option<i64>| {
        estimate::expected(&Experiment { estimate, ..experiment() }, facts, learned.map(secs)).as_secs()
    };
    let limit = experiment().max_duration.as_secs();
    for (kind, learned, takes, takes_unknown) in [
        (EstimateKind::Ceiling, None, 2_430, limit),
        (EstimateKind::Ceiling, Some(700), 2_430, limit),
        (EstimateKind::Nominal, None, 630, limit),
        (EstimateKind::Nominal, Some(700), 630, limit),
        (EstimateKind::Learned, None, 2_430, limit),
        (EstimateKind::Learned, Some(700), 700, 700),
        (EstimateKind::Learned, Some(99_999), limit, limit),
    ] {
        assert_eq!(judged(kind, &known, learned), takes, "{kind:?} {learned:?}");
        assert_eq!(judged(kind, &unknown, learned), takes_unknown, "{kind:?} {learned:?}");
    }
    let all = Estimates::of(&known, Some(secs(700)));
    assert_eq!((all.nominal, all.ceiling), (Estimate::Known(secs(630)), Estimate::Known(secs(2_430))));
    assert_eq!(Estimates::of(&unknown, None).chosen(EstimateKind::Nominal), None);
}

#[test]
fn estimate_is_learned_from_nineteen_runs_on() {
    let runs = |count: usize| (1..).map(secs).take(count).collect::<Vec<_>>();
    assert_eq!(learned_p95(&[]), None);
    assert_eq!(learned_p95(&runs(LEAST_LEARNED_FROM - 1)), None);
    assert_eq!(learned_p95(&runs(LEAST_LEARNED_FROM)), Some(secs(19)));
    assert_eq!(learned_p95(&runs(39)), Some(secs(38)));
    assert_eq!(learned_p95(&runs(100)), Some(secs(96)));
    assert_eq!(learned_p95(&vec![secs(60); 50]), Some(secs(60)));
}

proptest! {
    #![proptest_config(crate::support::chance::cases(256))]

    /// Against the words: the shortest length that at least 95 of 100 runs keep to, when the next one is counted as if it
    /// did not.
    #[test]
    fn learned_estimate_is_the_naive_quantile(lengths in prop::collection::vec(0_i64..500, 0..150)) {
        let kept = |limit: i64| lengths.iter().filter(|length| **length <= limit).count() * 100;
        let naive = (0..500).find(|limit| kept(*limit) >= 95 * (lengths.len() + 1));
        let given: Vec<SignedDuration> = lengths.iter().copied().map(secs).collect();
        prop_assert_eq!(learned_p95(&given), naive.map(secs));
    }

    #[test]
    fn nominal_estimate_never_exceeds_the_ceiling(bound in 1_u32..200, told in 0_u32..400, pause in 1_u32..100) {
        let told = format!(r#"{{"duration": "PT{told}M"}}"#);
        let facts = template(vec![automation(&format!("PT{bound}M"), &told, &["b"]), wait(&format!("PT{pause}M"), &[])]);
        let (nominal, ceiling) = (facts.nominal().known(), facts.ceiling().known());
        prop_assert!(nominal.is_some() && nominal <= ceiling);
    }
}
