//! The forecast: what the engine would do, found by the same planner in virtual time.

mod diff;
mod month;
mod reality;

use std::collections::BTreeMap;

use firedrill::domain::{
    cost::Usd,
    experiment::{Experiment, Group, Limits, Overlap, Rules, Targets, TemplateSelector, Ties},
    forecast::{self, Expected, Forecast, Outlook},
    ledger::Ledger,
    plan::HaltRunning,
    run::{Run, RunState},
    schedule::{Bounds, CronSchedule, MissedPolicy, Schedule, Timing},
    template::TargetFacts,
    window::{OnEntry, Span, Window, WindowKind},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::support::{
    runs::{instant, name},
    world::{blackout, experiment, facts, halt, read, running, schedule, short, slot_run, t, window},
};

fn rules(schedules: Vec<Schedule>, windows: Vec<Window>) -> Rules {
    let experiment = Experiment { schedules, ..experiment() };
    Rules {
        experiments: BTreeMap::from([(experiment.name.clone(), experiment)]),
        windows: windows.into(),
        ..Rules::default()
    }
}

fn cron(expression: &str) -> Vec<Schedule> {
    vec![schedule("nightly", expression, MissedPolicy::Latest)]
}

/// What is known: the template takes so many seconds.
fn known(takes_s: i64) -> Outlook {
    Outlook { facts: BTreeMap::from([(name("probe"), facts(takes_s, t("00:00:00")))]), ..Outlook::default() }
}

fn line(expected: &Expected) -> String {
    let slot = short(expected.slot);
    match (&expected.run.state, expected.runs_from_to) {
        (RunState::Skipped { reason, .. }, None) => format!("{slot} {}", reason.as_str()),
        (RunState::Finished { outcome, .. }, Some((from, to))) => {
            format!("{slot} {} {}-{}", outcome.as_str(), short(from), short(to))
        }
        (state, times) => format!("{slot} {} {}", state.as_str(), times.is_some()),
    }
}

fn between(rules: &Rules, outlook: &Outlook, from: Timestamp, to: Timestamp) -> Forecast {
    forecast::forecast(rules, outlook, from, to)
}

/// Checks the forecast of a morning, from 08:00 to 12:00.
#[track_caller]
fn check(rules: &Rules, outlook: &Outlook, expected: &[&str]) {
    let forecast = between(rules, outlook, t("08:00:00"), t("12:00:00"));
    let lines: Vec<String> = forecast.runs.iter().map(line).collect();
    assert_eq!(lines, expected);
    assert_eq!(forecast.until, t("12:00:00"));
}

#[test]
fn every_slot_of_the_span_is_there_its_end_excluded() {
    let expected = [
        "08:00:00 completed 08:00:00-08:10:00",
        "09:00:00 completed 09:00:00-09:10:00",
        "10:00:00 completed 10:00:00-10:10:00",
        "11:00:00 completed 11:00:00-11:10:00",
    ];
    check(&rules(cron("0 * * * *"), Vec::new()), &known(600), &expected);
    check(&rules(Vec::new(), Vec::new()), &known(600), &[]);
}

#[test]
fn blackouts_refuse_at_the_edges_that_the_daemon_knows() {
    let windows = vec![blackout("09:10:00", "10:00:00"), blackout("11:09:59", "11:30:00")];
    let expected = [
        "08:00:00 completed 08:00:00-08:10:00",
        "09:00:00 completed 09:00:00-09:10:00",
        "10:00:00 completed 10:00:00-10:10:00",
        "11:00:00 would-cross",
    ];
    check(&rules(cron("0 * * * *"), windows), &known(600), &expected);
    let closed = vec![blackout("08:30:00", "11:00:00")];
    let expected = [
        "08:00:00 completed 08:00:00-08:10:00",
        "09:00:00 closed",
        "10:00:00 closed",
        "11:00:00 completed 11:00:00-11:10:00",
    ];
    check(&rules(cron("0 * * * *"), closed), &known(600), &expected);
}

#[test]
fn overlap_is_forecast_as_the_policy_says() {
    let mut rules = rules(cron("*/30 9 * * *"), Vec::new());
    check(&rules, &known(1_801), &["09:00:00 completed 09:00:00-09:30:01", "09:30:00 overlap"]);
    rules.experiments.get_mut(&name("probe")).expect("it").overlap = Overlap::Allow;
    let both = ["09:00:00 completed 09:00:00-09:30:01", "09:30:00 completed 09:30:00-10:00:01"];
    check(&rules, &known(1_801), &both);
}

#[test]
fn run_that_ends_before_the_next_slot_leaves_it_free() {
    let expected = ["09:00:00 completed 09:00:00-09:29:59", "09:30:00 completed 09:30:00-09:59:59"];
    check(&rules(cron("*/30 9 * * *"), Vec::new()), &known(1_799), &expected);
}

#[test]
fn template_that_nobody_has_read_takes_as_long_as_the_experiment_may() {
    let windows = vec![blackout("10:59:59", "11:10:00")];
    let unknown = Outlook::default();
    let expected = ["08:00:00 completed 08:00:00-09:00:00", "10:00:00 would-cross"];
    check(&rules(cron("0 8,10 * * *"), windows), &unknown, &expected);
}

#[test]
fn template_that_was_exchanged_is_one_that_nobody_has_read() {
    let mut rules = rules(cron("0 8 * * *"), Vec::new());
    let probe = rules.experiments.get_mut(&name("probe")).expect("an experiment");
    probe.template = TemplateSelector::Id("EXT2".to_owned());
    check(&rules, &known(600), &["08:00:00 completed 08:00:00-09:00:00"]);
}

#[test]
fn template_longer_than_the_experiment_may_take_is_stopped() {
    check(&rules(cron("0 8 * * *"), Vec::new()), &known(3_601), &["08:00:00 stopped 08:00:00-09:00:00"]);
}

/// It takes two hours by its template, and ninety minutes by what it was begun under.
#[test]
fn run_whose_experiment_left_the_configuration_is_in_the_way_as_long_as_it_may_take() {
    let mut rules = rules(cron("0 9,10 * * *"), Vec::new());
    rules.experiments.get_mut(&name("probe")).expect("it").limits.groups = vec![name("db")];
    let begun = |groups| {
        let limits = Limits { groups, ..Limits::default() };
        let template = TemplateSelector::Id("EXT0".to_owned());
        let under = Experiment { max_duration: SignedDuration::from_mins(90), template, limits, ..experiment() };
        let run = running(read(slot_run("07:50:00"), "07:50:00", 7_200), "07:50:00");
        let run = Run { experiment: name("gone"), ties: Some(Box::new(Ties::of(&under))), ..run };
        Outlook { runs: vec![run], ..known(600) }
    };
    let last = "10:00:00 completed 10:00:00-10:10:00";
    check(&rules, &begun(vec![name("db")]), &["09:00:00 excluded", last]);
    check(&rules, &begun(vec![name("eu")]), &["09:00:00 completed 09:00:00-09:10:00", last]);
}

/// The gap that it left to its group is told as well.
#[test]
fn experiment_that_left_the_configuration_leaves_its_group_a_gap() {
    let mut rules = rules(cron("0 9,10 * * *"), Vec::new());
    rules.experiments.get_mut(&name("probe")).expect("it").limits.groups = vec![name("db")];
    rules.groups.insert(name("db"), Group { min_gap: SignedDuration::from_hours(2) });
    let ledger = Ledger { ended_at: Some(t("07:30:00")), groups: vec![name("db")], ..Ledger::default() };
    let outlook = Outlook { ledgers: BTreeMap::from([(name("gone"), ledger)]), ..known(600) };
    check(&rules, &outlook, &["09:00:00 gap", "10:00:00 completed 10:00:00-10:10:00"]);
}

#[test]
fn polls_take_no_passes_however_many_runs_go_on() {
    let template = rules(cron("0 * * * *"), vec![blackout("2026-03-10T00:00:00", "2026-03-11T00:00:00")]);
    let probe = &template.experiments[&name("probe")];
    let many = (0..20).map(|index| name(&format!("probe-{index:02}")));
    let many = many.map(|name| (name.clone(), Experiment { name, ..probe.clone() })).collect();
    let rules = Rules { experiments: many, windows: template.windows.clone(), ..Rules::default() };
    let to = instant("2026-03-12T00:00:00Z");
    let forecast = between(&rules, &Outlook::default(), t("00:00:00"), to);
    assert_eq!((forecast.until, forecast.runs.len()), (to, 20 * 24 * 10));
}

#[test]
fn budget_that_is_used_up_refuses_the_rest_of_the_month() {
    let mut rules = rules(cron("0 * * * *"), Vec::new());
    // Ten action-minutes a run, at ten cents each.
    rules.budget.monthly = Some(Usd::from_cents(250));
    let spent = ["08:00:00 completed 08:00:00-08:10:00", "09:00:00 completed 09:00:00-09:10:00"];
    check(&rules, &known(600), &[&spent[..], &["10:00:00 budget", "11:00:00 budget"]].concat());
}

#[test]
fn halt_is_taken_to_stay() {
    let outlook = Outlook { halt: halt(HaltRunning::Stop), ..known(600) };
    check(&rules(cron("0 8,10 * * *"), Vec::new()), &outlook, &["08:00:00 halted", "10:00:00 halted"]);
}

#[test]
fn slots_before_the_forecast_are_not_counted_as_missed() {
    let rules_at_ten = rules(cron("0 10 * * *"), Vec::new());
    let key = (name("probe"), rules_at_ten.experiments[&name("probe")].schedules[0].timetable().clone());
    let outlook =
        Outlook { cursors: BTreeMap::from([(key.clone(), instant("2026-01-01T00:00:00Z").into())]), ..known(600) };
    check(&rules(cron("0 10 * * *"), Vec::new()), &outlook, &["10:00:00 completed 10:00:00-10:10:00"]);
    // One that the daemon has handled already is not expected again.
    let ahead = Outlook { cursors: BTreeMap::from([(key, t("10:00:00").into())]), ..known(600) };
    check(&rules(cron("0 10 * * *"), Vec::new()), &ahead, &[]);
    let gone = Outlook { cursors: BTreeMap::from([((name("old"), name("old")), t("10:00:00").into())]), ..known(600) };
    check(&rules(cron("0 10 * * *"), Vec::new()), &gone, &["10:00:00 completed 10:00:00-10:10:00"]);
}

#[test]
fn run_that_goes_on_at_the_end_is_there_with_its_expected_end() {
    let expected = ["11:55:00 running true"];
    check(&rules(cron("55 11 * * *"), Vec::new()), &known(600), &expected);
}

#[test]
fn month_with_a_change_of_the_clock_has_one_fire_a_night() {
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    let nightly = CronSchedule::parse("30 2 * * *", berlin.clone(), "").expect("an expression");
    let schedules = vec![Schedule::new(&name("probe"), name("nightly"), Timing::Cron(nightly), Bounds::default())];
    let friday = Window {
        spans: vec![Span::parse_weekly("Fri 18:00 - Sat 12:00").expect("a span")],
        zone: berlin.clone(),
        ..blackout("00:00:00", "00:00:01")
    };
    let (from, to) = (instant("2026-02-28T23:00:00Z"), instant("2026-03-31T22:00:00Z"));
    let forecast = between(&rules(schedules, vec![friday]), &known(600), from, to);
    assert_eq!(forecast.runs.len(), 31);
    let refused: Vec<String> = forecast
        .runs
        .iter()
        .filter(|expected| expected.runs_from_to.is_none())
        .map(|expected| expected.slot.to_zoned(berlin.clone()).strftime("%a %d").to_string())
        .collect();
    assert_eq!(refused, ["Sat 07", "Sat 14", "Sat 21", "Sat 28"]);
    let on_the_29th: Vec<String> = forecast
        .runs
        .iter()
        .map(|expected| expected.slot.to_zoned(berlin.clone()).strftime("%d %H:%M").to_string())
        .filter(|slot| slot.starts_with("29"))
        .collect();
    assert_eq!(on_the_29th, ["29 03:00"]);
}

#[test]
fn several_experiments_are_listed_by_slot_and_then_by_name() {
    let mut rules = rules(cron("0 9,10 * * *"), Vec::new());
    let early = Experiment { name: name("alpha"), schedules: cron("0 9 * * *"), ..experiment() };
    rules.experiments.insert(name("alpha"), early);
    let soft = window("soft", WindowKind::Blackout, "09:59:00", "10:01:00", OnEntry::Finish);
    rules.windows = rules.windows.iter().cloned().chain([soft]).collect();
    let forecast = between(&rules, &known(600), t("08:00:00"), t("12:00:00"));
    let listed: Vec<_> = forecast.runs.iter().map(|e| format!("{} {}", short(e.slot), e.run.experiment)).collect();
    assert_eq!(listed, ["09:00:00 alpha", "09:00:00 probe", "10:00:00 probe"]);
}

#[test]
fn forecast_of_too_much_ends_early_and_says_so() {
    let every_second = rules(cron("* * * * * *"), Vec::new());
    let halted = Outlook { halt: halt(HaltRunning::Stop), ..Outlook::default() };
    let to = t("08:00:00") + SignedDuration::from_hours(24 * 365);
    let forecast = between(&every_second, &halted, t("08:00:00"), to);
    assert!(forecast.until < to, "{}", forecast.until);
    assert!(forecast.runs.iter().all(|expected| expected.slot <= forecast.until));
    assert!(forecast.runs.len() <= forecast::MAX_PASSES);
}

/// `probe` and its likes `alpha` and `beta`, each changed a little.
fn three(schedules: Vec<Schedule>, change: fn(&mut Experiment)) -> (Rules, Outlook) {
    let mut rules = rules(schedules, Vec::new());
    let probe = rules.experiments[&name("probe")].clone();
    for label in ["alpha", "beta"] {
        rules.experiments.insert(name(label), Experiment { name: name(label), ..probe.clone() });
    }
    rules.experiments.values_mut().for_each(change);
    let facts = rules.experiments.keys().map(|name| (name.clone(), facts(600, t("00:00:00")))).collect();
    (rules, Outlook { facts, ..Outlook::default() })
}

#[test]
fn of_those_that_are_due_at_once_the_one_that_was_opened_first_begins() {
    let (rules, outlook) = three(cron("*/30 * * * *"), |probe| probe.limits.groups = vec![name("db")]);
    let forecast = between(&rules, &outlook, t("08:00:00"), t("18:00:00"));
    for slot in forecast.runs.chunks(3) {
        // The planner opens them in the order of their names.
        let begun: Vec<_> = slot.iter().filter(|expected| expected.runs_from_to.is_some()).collect();
        assert_eq!(begun.iter().map(|expected| expected.run.experiment.as_str()).collect::<Vec<_>>(), ["alpha"]);
    }
}

#[test]
fn two_that_may_meet_are_forecast_with_a_third_that_may_meet_neither() {
    let (mut rules, mut outlook) = three(cron("0 9 * * *"), |probe| probe.limits.targets = Targets::Shared);
    rules.experiments.get_mut(&name("probe")).expect("it").limits.targets = Targets::Exclusive;
    for facts in outlook.facts.values_mut() {
        let target = TargetFacts { resource_type: "aws:ec2:instance".to_owned(), ..TargetFacts::default() };
        facts.targets.insert("all".to_owned(), target);
    }
    assert_eq!(forecast::clusters(&rules, &outlook).len(), 1);
    rules.experiments.remove(&name("probe"));
    assert_eq!(forecast::clusters(&rules, &outlook).len(), 2);
}
