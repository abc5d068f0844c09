//! What is demanded of templates, as it is written.

use std::collections::BTreeMap;

use firedrill::domain::policy::{Demand, TemplatePolicy};
use jiff::SignedDuration;

use super::{GOOD, REFERENCE, loaded, refused};

/// The policy of the experiment of a configuration.
fn of(text: &str) -> TemplatePolicy {
    let experiments = loaded(&[("a.toml", text)], &[]).settings.rules.experiments;
    experiments.into_values().next().expect("one").policy
}

#[test]
fn everything_is_demanded_by_default_as_the_reference_says() {
    let own = of(GOOD);
    assert_eq!((own.stop_condition, own.bounded_targets), (Demand::Required, Demand::Required));
    assert_eq!(own.tags, BTreeMap::from([("firedrill".to_owned(), "allowed".to_owned())]));
    let reference = firedrill::config::load(std::path::Path::new(REFERENCE), []).expect("the reference loads");
    assert_eq!(reference.settings.rules.experiments.into_values().next().expect("one").policy, own);
}

#[test]
fn policies_are_switched_for_all_and_for_one() {
    let none = "[policy]\nrequire_stop_condition = false\nallow_all_targets = true\nrequire_tags = {}\n";
    assert!(of(&format!("{none}{GOOD}")).demands_nothing());
    let stricter = of(&format!("{none}{GOOD}policy = {{ require_stop_condition = true }}\n"));
    assert_eq!((stricter.stop_condition, stricter.exception), (Demand::Required, None));
    let exempt = of(&format!("{GOOD}policy = {{ allow_all_targets = true, reason = \" one idle host \" }}\n"));
    assert_eq!((exempt.stop_condition, exempt.bounded_targets), (Demand::Required, Demand::Waived));
    assert_eq!(exempt.exception.as_deref(), Some("one idle host"));
    assert_eq!(exempt.to_string(), "stop condition, tag firedrill=allowed; exception: one idle host");
}

#[test]
fn exception_without_a_reason_is_refused_and_a_reason_without_an_exception_doubted() {
    for less in ["require_stop_condition = false", "allow_all_targets = true", "require_tags = {}"] {
        let text = format!("{GOOD}policy = {{ {less}, reason = \" \" }}\n");
        let said = refused(&[("a.toml", &text)], &[]);
        assert!(said.starts_with("a.toml:3:"), "{said}");
        assert!(said.contains("experiments.checkout.policy.reason: demands less than `policy` does of all"), "{said}");
    }
    let idle = loaded(&[("a.toml", &format!("{GOOD}policy = {{ reason = \"none\" }}\n"))], &[]).warnings;
    assert!(idle.iter().any(|doubt| doubt.path == "experiments.checkout.policy.reason"), "{idle:?}");
}

#[test]
fn longest_run_is_bounded_for_all_and_is_what_an_experiment_says_nothing_of() {
    let policy = "[policy]\nmax_duration = \"2h\"\n";
    let longest = |text: &str| {
        let experiments = loaded(&[("a.toml", text)], &[]).settings.rules.experiments;
        experiments.into_values().next().expect("one").max_duration
    };
    assert_eq!(longest(GOOD), SignedDuration::from_hours(12));
    assert_eq!(longest(&format!("{policy}{GOOD}")), SignedDuration::from_hours(2));
    assert_eq!(longest(&format!("{policy}{GOOD}max_duration = \"1h\"\n")), SignedDuration::from_hours(1));
    let said = refused(&[("a.toml", &format!("{policy}{GOOD}max_duration = \"3h\"\n"))], &[]);
    assert_eq!(said, "a.toml:5:16 experiments.checkout.max_duration: `3h` is out of range: from 1s to 2h is possible");
    let said = refused(&[("a.toml", &format!("[policy]\nmax_duration = \"13h\"\n{GOOD}"))], &[]);
    assert!(said.starts_with("a.toml:2:16 policy.max_duration: `13h` is out of range"), "{said}");
}
