//! What a change of the configuration does, slot by slot.

use firedrill::domain::{
    experiment::{Experiment, Rules},
    forecast::{
        Forecast,
        diff::{self, Changes},
    },
    schedule::MissedPolicy,
};

use super::{between, cron, known, rules};
use crate::support::{
    runs::name,
    world::{blackout, schedule, short, t},
};

fn morning(rules: &Rules) -> Forecast {
    between(rules, &known(600), t("08:00:00"), t("12:00:00"))
}

fn told(changes: &Changes<'_>) -> Vec<String> {
    let added = changes.added.iter().map(|run| format!("+ {}", short(run.slot)));
    let dropped = changes.dropped.iter().map(|run| format!("- {}", short(run.slot)));
    let moved = changes.moved.iter().map(|(old, new)| format!("{} -> {}", short(old.slot), short(new.slot)));
    let state = |run: &firedrill::domain::run::Run| run.state.as_str();
    let decided = changes
        .decided
        .iter()
        .map(|(old, new)| format!("{} {} -> {}", short(old.slot), state(&old.run), state(&new.run)));
    let same = std::iter::once(format!("= {}", changes.same));
    added.chain(dropped).chain(moved).chain(decided).chain(same).collect()
}

#[track_caller]
fn check(old: &Rules, new: &Rules, expected: &[&str]) {
    let (old, new) = (morning(old), morning(new));
    assert_eq!(told(&diff::compare(&old, &new)), expected);
}

#[test]
fn unchanged_configuration_changes_nothing() {
    let rules = rules(cron("0 * * * *"), Vec::new());
    check(&rules, &rules, &["= 4"]);
}

#[test]
fn slots_of_a_schedule_that_is_edited_move() {
    let (old, new) = (rules(cron("0 * * * *"), Vec::new()), rules(cron("20 * * * *"), Vec::new()));
    let moved = ["08:00:00 -> 08:20:00", "09:00:00 -> 09:20:00", "10:00:00 -> 10:20:00", "11:00:00 -> 11:20:00", "= 0"];
    check(&old, &new, &moved);
    let fewer = rules(cron("5 9,11 * * *"), Vec::new());
    check(&old, &fewer, &["- 08:00:00", "- 10:00:00", "09:00:00 -> 09:05:00", "11:00:00 -> 11:05:00", "= 0"]);
    check(&fewer, &old, &["+ 08:00:00", "+ 10:00:00", "09:05:00 -> 09:00:00", "11:05:00 -> 11:00:00", "= 0"]);
    let more = rules(cron("0,30 * * * *"), Vec::new());
    check(&old, &more, &["+ 08:30:00", "+ 09:30:00", "+ 10:30:00", "+ 11:30:00", "= 4"]);
}

#[test]
fn slots_of_a_schedule_with_another_name_are_others() {
    let old = rules(cron("0 9 * * *"), Vec::new());
    let new = rules(vec![schedule("daily", "0 9 * * *", MissedPolicy::Latest)], Vec::new());
    check(&old, &new, &["+ 09:00:00", "- 09:00:00", "= 0"]);
}

#[test]
fn slots_that_a_new_window_refuses_are_decided_otherwise() {
    let old = rules(cron("0 * * * *"), Vec::new());
    let new = rules(cron("0 * * * *"), vec![blackout("09:30:00", "10:30:00")]);
    check(&old, &new, &["10:00:00 finished -> skipped", "= 3"]);
}

#[test]
fn experiment_with_another_name_and_the_same_template_is_pointed_out() {
    let old = rules(cron("0 9 * * *"), Vec::new());
    let mut new = Rules::default();
    new.experiments
        .insert(name("probe-2"), Experiment { name: name("probe-2"), ..old.experiments[&name("probe")].clone() });
    let (probe, probe_2) = (name("probe"), name("probe-2"));
    assert_eq!(diff::renamed(&old, &new), [(&probe, &probe_2)]);
    assert_eq!(diff::renamed(&old, &old), []);
    check(&old, &new, &["+ 09:00:00", "- 09:00:00", "= 0"]);
}
