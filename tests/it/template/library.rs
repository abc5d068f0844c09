//! Facts measured on AWS's own template library (aws-samples/fis-template-library), as templates of our own with the same
//! actions and times.

use std::collections::BTreeMap;

use firedrill::domain::{
    cost::{Budget, cost},
    estimate::{Estimate, FIS_OVERHEAD, INSTANT_ALLOWANCE},
    experiment::{EstimateKind, Experiment, FIS_MAX_DURATION},
    template::{TemplateAction, TemplateFacts},
};
use jiff::SignedDuration;

use super::{action, automation, named, wait};
use crate::support::world::experiment;

fn of(actions: &[(&str, TemplateAction)]) -> TemplateFacts {
    named(actions.iter().map(|(name, action)| ((*name).to_owned(), action.clone())).collect::<BTreeMap<_, _>>())
}

/// Four automations of at most an hour in a row, which last longer and longer, with waits between them.
fn sqs_queue_impairment() -> TemplateFacts {
    let impair = |told: &str, after: &[&str]| automation("PT1H", &format!(r#"{{"duration": "{told}"}}"#), after);
    of(&[
        ("impair-2", impair("PT2M", &[])),
        ("wait-1", wait("PT3M", &["impair-2"])),
        ("impair-5", impair("PT5M", &["wait-1"])),
        ("wait-2", wait("PT3M", &["impair-5"])),
        ("impair-7", impair("PT7M", &["wait-2"])),
        ("wait-3", wait("PT2M", &["impair-7"])),
        ("impair-15", impair("PT15M", &["wait-3"])),
    ])
}

/// One automation that cleans up after itself within three hours.
fn database_blocking_locks() -> TemplateFacts {
    let told = r#"{"ExperimentDuration": "PT10M", "RampTime": "PT1M", "RampSteps": "10"}"#;
    of(&[("lock", automation("PT180M", told, &[]))])
}

fn cloudfront_impairment() -> TemplateFacts {
    of(&[("impair", automation("PT1H", r#"{"duration": "PT10M"}"#, &[]))])
}

/// An automation beside lost packets; tasks are stopped after a minute.
fn ecs_fargate_az_impairment() -> TemplateFacts {
    of(&[
        ("packet-loss", action("aws:ecs:task-network-packet-loss", &[("duration", "PT15M")], &[])),
        ("remove-subnet", automation("PT40M", r#"{"Duration": "PT15M"}"#, &[])),
        ("wait", wait("PT1M", &[])),
        ("stop-tasks", action("aws:ecs:stop-task", &[], &["wait"])),
    ])
}

/// Checks the ceiling and the nominal estimate in minutes, and what each costs: action-minutes and dollars.
#[track_caller]
fn check(facts: &TemplateFacts, ceiling: (i64, u64, &str), nominal: (i64, u64, &str)) {
    let costs = |estimate| {
        let declared = Experiment { estimate, max_duration: FIS_MAX_DURATION, ..experiment() };
        let cost = cost(&declared, facts, &Budget::default());
        (cost.action_minutes.expect("known"), cost.usd().expect("known").to_string())
    };
    let takes = |minutes| Estimate::Known(SignedDuration::from_mins(minutes) + FIS_OVERHEAD);
    assert_eq!(facts.ceiling(), takes(ceiling.0));
    assert_eq!(costs(EstimateKind::Ceiling), (ceiling.1, ceiling.2.to_owned()));
    assert_eq!(facts.nominal(), takes(nominal.0));
    assert_eq!(costs(EstimateKind::Nominal), (nominal.1, nominal.2.to_owned()));
}

#[test]
fn ceilings_of_the_library_are_far_from_what_its_documents_do() {
    check(&sqs_queue_impairment(), (248, 248, "24.80"), (37, 37, "3.70"));
    check(&database_blocking_locks(), (180, 180, "18.00"), (10, 10, "1.00"));
    check(&cloudfront_impairment(), (60, 60, "6.00"), (10, 10, "1.00"));
    // 56 action-minutes are declared; the stop of tasks ends by itself and is allowed one.
    assert_eq!(INSTANT_ALLOWANCE, SignedDuration::from_mins(1));
    check(&ecs_fargate_az_impairment(), (40, 57, "5.70"), (15, 32, "3.20"));
}
