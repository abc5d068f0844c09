//! The alert rules that are shipped: Prometheus takes them, each fires on what it is about, and what they ask for is what the
//! agent exports.

use std::{collections::BTreeSet, process::Command};

use firedrill::telemetry::names;

use super::support::{agent::Said, repository, venv::promtool};

#[track_caller]
fn promtool_says(arguments: &[&str]) {
    let said = Said::by(Command::new(promtool()).args(arguments).current_dir(repository()));
    assert_eq!(said.code, 0, "{said:?}");
}

#[test]
fn alert_rules_fire_on_what_they_are_about_and_on_nothing_else() {
    promtool_says(&["check", "rules", "deploy/alerts.yml"]);
    promtool_says(&["test", "rules", "tests/it/alerts/alerts.yml"]);
}

/// A metric as OTLP names it, in Prometheus's words: units in braces only say what is counted.
fn translated(name: &str, suffix: &str) -> String {
    format!("{}{suffix}", name.replace('.', "_"))
}

#[test]
fn alert_rules_ask_for_metrics_and_labels_that_the_agent_exports() {
    let metrics = [
        translated(names::METRIC_STEPS, "_total"),
        translated(names::METRIC_STALENESS, "_seconds"),
        translated(names::METRIC_AHEAD, "_seconds"),
        translated(names::METRIC_SLOTS_EXPECTED, "_total"),
        translated(names::METRIC_SLOTS_DECIDED, "_total"),
        translated(names::METRIC_WAITING, ""),
        translated(names::METRIC_STRAYS, ""),
        translated(names::METRIC_DENIED, ""),
        translated(names::METRIC_DIFFERS, ""),
        translated(names::METRIC_EVENTS, "_total"),
        translated(names::METRIC_CALENDAR_AGE, "_seconds"),
    ];
    let labels = [names::EXPERIMENT, names::SCHEDULE, names::REASON, names::CALENDAR, names::OPERATION, names::RESULT]
        .map(|label| translated(label, ""));
    let known: BTreeSet<String> = metrics.into_iter().chain(labels).collect();
    let rules = std::fs::read_to_string(repository().join("deploy/alerts.yml")).expect("the rules");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named = rules.split(|c| !is_name(c)).filter(|word| word.starts_with("firedrill_"));
    assert_eq!(named.map(str::to_owned).collect::<BTreeSet<_>>(), known);
}
