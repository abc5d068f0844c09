//! What holds for all runs of an experiment: pauses, failures of the past, limits of runs and money; what an override
//! overrides; and that every guard says what it looked at.

use std::collections::BTreeMap;

use firedrill::domain::{
    cost::{Budget, OnExceeded, Usd},
    experiment::{Experiment, Limits, OnFailure, Place, TemplateSelector},
    fis::{FailureClass, FisExperiment, FisStatus},
    ledger::{Definition, Failing, Ledger, Noted, Trouble},
    outcome::Outcome,
    plan::{Pause, PauseRow, Pausing, explain},
    run::{HoldReason, Observation, Run, RunState, RunTimes, SkipReason, StopCause, Trigger, WindowRule},
};
use jiff::SignedDuration;

use super::check;
use crate::support::{
    runs::name,
    world::{World, applied, asked, blackout, experiment, facts, fis, read, running, slot_run, t},
};

fn due() -> World {
    World::of(experiment(), vec![read(slot_run("10:00:00"), "10:00:00", 600)])
}

fn paused(until: Option<&str>) -> PauseRow {
    let pause =
        Pause { at: t("09:00:00"), by: "ann".to_owned(), reason: Some("migration".to_owned()), until: until.map(t) };
    PauseRow::after(Pausing::Pause(pause))
}

#[test]
fn paused_experiment_starts_nothing_until_it_is_resumed_or_the_time_is_over() {
    let mut world = due();
    world.pauses.insert(name("probe"), paused(None));
    check(&world, "10:00:00", &["A skipped: it is paused by ann: migration"]);
    world.pauses.insert(name("probe"), paused(Some("10:00:01")));
    check(&world, "10:00:00", &["A skipped: it is paused by ann until 10:00:01Z: migration"]);
    check(&world, "10:00:01", &["A start EXT1"]);
    world.pauses.insert(name("probe"), PauseRow::after(Pausing::Resume));
    check(&world, "10:00:00", &["A start EXT1"]);
    // What runs goes on.
    let going = World::of(experiment(), vec![running(slot_run("09:30:00"), "09:30:00")]);
    let pauses = BTreeMap::from([(name("probe"), paused(None))]);
    check(&World { pauses, ..going }, "09:59:00", &["A poll"]);
}

fn failed(trouble: Trouble, count: u32, at: &str) -> Ledger {
    let of = Some(Definition::of(&experiment()));
    Ledger { failing: Some(Failing { trouble, count, at: t(at), of }), ..Ledger::default() }
}

fn after_failure(on_failure: OnFailure, ledger: Ledger) -> World {
    let limits = Limits { on_failure, ..Limits::default() };
    let mut world = World::of(Experiment { limits, ..experiment() }, due().runs);
    world.ledgers.insert(name("probe"), ledger);
    world
}

#[test]
fn failures_pause_only_where_they_are_asked_to() {
    let unhealthy = || failed(Trouble::Unhealthy, 1, "09:00:00");
    check(&after_failure(OnFailure::Continue, unhealthy()), "10:00:00", &["A start EXT1"]);
    let waits = "A skipped: the last run failed; it waits for `resume`";
    check(&after_failure(OnFailure::Pause, unhealthy()), "10:00:00", &[waits]);
    let mut forgiven = unhealthy();
    forgiven.forgive();
    let resumed = after_failure(OnFailure::Pause, forgiven);
    check(&resumed, "10:00:00", &["A start EXT1"]);
}

#[test]
fn unhealthy_runs_wait_longer_after_each_failure() {
    let at = |count, at: &str| after_failure(OnFailure::Classify, failed(Trouble::Unhealthy, count, at));
    check(&at(1, "09:00:00.000000001"), "10:00:00", &["A skipped: the last run failed; it waits until 10:00:00Z"]);
    check(&at(1, "09:00:00"), "10:00:00", &["A start EXT1"]);
    check(&at(3, "06:00:01"), "10:00:00", &["A skipped: the last 3 runs failed; it waits until 10:00:01Z"]);
    check(&at(3, "06:00:00"), "10:00:00", &["A start EXT1"]);
    let longest = at(u32::MAX, "2026-02-23T10:00:01Z");
    assert!(longest.says(t("10:00:00"))[0].ends_with("it waits until 10:00:01Z"), "{:?}", longest.says(t("10:00:00")));
}

#[test]
fn what_fis_refused_for_good_waits_for_another_template_or_place() {
    let world = after_failure(OnFailure::Classify, failed(Trouble::Configuration, 2, "01:00:00"));
    let waits = "A skipped: the last 2 runs could not start; it waits for another template or place, or for `resume`";
    check(&world, "10:00:00", &[waits]);
    let mut moved = world;
    let declared = moved.rules.experiments.get_mut(&name("probe")).expect("one");
    declared.place = Place { region: Some("eu-west-1".to_owned()), ..Place::default() };
    let read_by = Definition::of(declared);
    check(&moved, "10:00:00", &["A read template"]);
    moved.runs[0].facts.as_mut().expect("facts").read_by = Some(Box::new(read_by));
    check(&moved, "10:00:00", &["A start EXT1 in eu-west-1"]);
}

/// A ledger after a run ended so.
fn noted(outcome: Outcome) -> (Ledger, Noted) {
    let run = running(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
    let finished = Observation::Finished { outcome };
    let run = applied(run, &[("10:07:00", finished.clone())]);
    let mut ledger = Ledger::default();
    let changed = ledger.note(&run, &finished, t("10:07:00"), Some(&Definition::of(&experiment())));
    (ledger, changed)
}

#[test]
fn ledger_tells_what_failed_from_what_was_stopped() {
    let trouble = |outcome| noted(outcome).0.failing.map(|failing| failing.trouble);
    let stopped = |cause| Outcome::Stopped { cause };
    let failure = Outcome::Failed { code: "Any".to_owned(), reason: String::new() };
    assert_eq!(trouble(failure), Some(Trouble::Unhealthy));
    assert_eq!(trouble(stopped(StopCause::StopCondition)), Some(Trouble::Unhealthy));
    assert_eq!(trouble(Outcome::Lost { class: FailureClass::Timeout }), Some(Trouble::Unhealthy));
    for cause in [StopCause::SafetyLever, StopCause::MaxDuration, StopCause::Outside, StopCause::Shutdown] {
        assert_eq!(trouble(stopped(cause)), None);
    }
    // The safety lever says nothing about the experiment.
    assert_eq!(trouble(Outcome::Cancelled), None);
    for class in [FailureClass::Denied, FailureClass::NotFound, FailureClass::Invalid, FailureClass::Throttled] {
        let refused = Outcome::NotStarted { class, message: String::new() };
        let expected = (class != FailureClass::Throttled).then_some(Trouble::Configuration);
        let run = asked(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
        let refusal = Observation::StartRefused { class, message: String::new(), retry_at: t("10:00:30") };
        let finished = Observation::Finished { outcome: refused };
        let run = applied(run, &[("10:00:00", refusal), ("10:00:30", finished.clone())]);
        let mut ledger = Ledger::default();
        ledger.note(&run, &finished, t("10:00:30"), None);
        assert_eq!(ledger.failing.map(|failing| failing.trouble), expected, "{class}");
    }
}

#[test]
fn ledger_counts_failures_until_a_run_completes_or_something_else_is_run() {
    let run = running(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
    let lost = Observation::Finished { outcome: Outcome::Lost { class: FailureClass::Timeout } };
    let (ours, other) = (
        Definition::of(&experiment()),
        Definition { template: TemplateSelector::Id("EXT2".to_owned()), place: Place::default() },
    );
    let mut ledger = Ledger::default();
    let count = |ledger: &mut Ledger, observation: &Observation, of: &Definition| {
        let over = applied(run.clone(), &[("10:07:00", observation.clone())]);
        ledger.note(&over, observation, t("10:07:00"), Some(of));
        ledger.failing.as_ref().map_or(0, |failing| failing.count)
    };
    assert_eq!(count(&mut ledger, &lost, &ours), 1);
    assert_eq!(count(&mut ledger, &lost, &ours), 2);
    assert_eq!(count(&mut ledger, &lost, &other), 1);
    assert_eq!(count(&mut ledger, &Observation::Finished { outcome: Outcome::Cancelled }, &other), 1);
    assert_eq!(count(&mut ledger, &Observation::Finished { outcome: Outcome::Completed }, &other), 0);
}

#[test]
fn ledger_learns_lengths_of_completed_runs_only() {
    let (completed, changed) = noted(Outcome::Completed);
    assert_eq!((completed.lengths.len(), changed), (1, Noted::Changed));
    assert_eq!(completed.lengths[0].took, SignedDuration::from_mins(7));
    assert_eq!(completed.ended_at, Some(t("10:07:00")));
    assert_eq!(noted(Outcome::Stopped { cause: StopCause::MaxDuration }).0.lengths, []);
    assert_eq!(noted(Outcome::CompletedPartly { skipped: Vec::new() }).0.lengths, []);
    let mut ledger = Ledger::default();
    for minutes in 1..=30 {
        let mut run = running(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
        if let Some(fis) = &mut run.fis {
            fis.ended_at = Some(t("10:00:00") + SignedDuration::from_mins(minutes));
        }
        let completed = Observation::Finished { outcome: Outcome::Completed };
        let run = applied(run, &[("11:00:00", completed.clone())]);
        ledger.note(&run, &completed, t("11:00:00"), None);
    }
    assert_eq!(ledger.learned(&facts(600, t("10:00:00"))), Some(SignedDuration::from_mins(30)));
    assert_eq!(ledger.learned(&facts(601, t("10:00:00"))), None, "another template's lengths say nothing");
}

#[test]
fn schedule_begins_as_many_runs_as_it_may() {
    let mut schedule =
        crate::support::world::schedule("nightly", "0 10 * * *", firedrill::domain::schedule::MissedPolicy::Latest);
    schedule.max_runs = Some(3);
    let mut world = World::of(Experiment { schedules: vec![schedule], ..experiment() }, due().runs)
        .with_cursor("nightly", "10:00:00");
    let begun = |count| Ledger { begun: BTreeMap::from([(name("nightly"), count)]), ..Ledger::default() };
    world.ledgers.insert(name("probe"), begun(2));
    check(&world, "10:00:00", &["A start EXT1"]);
    world.ledgers.insert(name("probe"), begun(3));
    check(&world, "10:00:00", &["A skipped: schedule `nightly` has begun all 3 runs that it may"]);
    // The last one is counted when it is begun, and is not refused for that when its start has to be tried again.
    let refusal =
        Observation::StartRefused { class: FailureClass::Throttled, message: String::new(), retry_at: t("10:00:05") };
    let last = applied(asked(world.runs[0].clone(), "10:00:00"), &[("10:00:01", refusal)]);
    let retried = World { runs: vec![last], ..world.clone() };
    check(&retried, "10:00:05", &["A start EXT1"]);
    // Those that begin in one pass count for each other.
    let mut many = world.clone();
    many.ledgers.insert(name("probe"), begun(2));
    many.runs.push(read(slot_run("09:59:00"), "10:00:00", 600));
    let declared = many.rules.experiments.get_mut(&name("probe")).expect("one");
    declared.overlap = firedrill::domain::experiment::Overlap::Allow;
    check(&many, "10:00:00", &["A start EXT1", "B skipped: schedule `nightly` has begun all 3 runs that it may"]);
    let mut ledger = begun(2);
    let run = asked(read(slot_run("10:00:00"), "10:00:00", 600), "10:00:00");
    let again = Observation::StartAsked {
        place: Place::default(),
        template_id: "EXT1".to_owned(),
        facts: None,
        place_facts: None,
        ties: None,
    };
    assert_eq!(ledger.note(&run, &again, t("10:00:00"), None), Noted::Changed);
    assert_eq!(ledger.begun[&name("nightly")], 3);
}

#[test]
fn month_that_is_used_up_starts_nothing_more() {
    // Ten action-minutes at 0.10.
    let mut world = due();
    let spent =
        |minutes| Ledger { action_minutes: BTreeMap::from([("2026-03".to_owned(), minutes)]), ..Ledger::default() };
    world.rules.budget = Budget { monthly: Some(Usd::from_cents(500)), ..Budget::default() };
    world.ledgers.insert(name("gone"), spent(40));
    check(&world, "10:00:00", &["A start EXT1"]);
    world.ledgers.insert(name("gone"), spent(41));
    check(
        &world,
        "10:00:00",
        &["A skipped: it may cost 1.00 USD, and 4.10 of the month's 5.00 USD are spent or going on"],
    );
    let february = Ledger { action_minutes: BTreeMap::from([("2026-02".to_owned(), 400)]), ..Ledger::default() };
    let ledgers = BTreeMap::from([(name("gone"), february)]);
    check(&World { ledgers, ..world.clone() }, "10:00:00", &["A start EXT1"]);
    world.rules.budget.on_exceeded = OnExceeded::Warn;
    check(&world, "10:00:00", &["A start EXT1"]);
}

fn asked_for(windows: WindowRule) -> Run {
    let now = t("10:00:00");
    let trigger =
        Trigger::Manual { request: "r".to_owned(), by: "ann".to_owned(), reason: Some("audit".to_owned()), windows };
    let times = RunTimes { opened_at: now, not_before: now, start_by: now, hold_until: None };
    read(Run::open(name("probe"), trigger, RunState::Requested, times), "10:00:00", 600)
}

#[test]
fn override_holds_against_windows_and_against_nothing_else() {
    let closed =
        |windows| World::of(experiment(), vec![asked_for(windows)]).with_window(blackout("09:00:00", "11:00:00"));
    check(&closed(WindowRule::Hold), "10:00:00", &["A skipped: window `freeze` forbids it until 11:00:00Z"]);
    check(&closed(WindowRule::Overridden), "10:00:00", &["A start EXT1"]);
    let mut paused_too = closed(WindowRule::Overridden);
    paused_too.pauses.insert(name("probe"), paused(None));
    check(&paused_too, "10:00:00", &["A skipped: it is paused by ann: migration"]);
    let going = |windows| {
        let polled = Observation::Polled { fis: fis(FisStatus::Running, t("10:00:00")) };
        let run = applied(running(asked_for(windows), "10:00:00"), &[("10:00:30", polled)]);
        World::of(experiment(), vec![run]).with_window(blackout("10:00:30", "11:00:00"))
    };
    check(&going(WindowRule::Hold), "10:00:30", &["A stop: window `freeze`"]);
    assert!(going(WindowRule::Overridden).says(t("10:00:30"))[0].starts_with("wake"));
    // Its own limit still holds.
    assert_eq!(going(WindowRule::Overridden).says(t("11:00:00")), ["A stop: its `max_duration`"]);
}

#[test]
fn every_guard_says_what_it_looked_at_and_the_first_that_refuses_is_the_decision() {
    let mut world = due().with_window(blackout("09:00:00", "11:00:00"));
    world.pauses.insert(name("probe"), paused(None));
    let said = explain(&world.snapshot(), &world.runs[0], t("10:00:00"));
    assert_eq!(said.len(), 22);
    assert!(said.iter().all(|rule| !rule.input.is_empty() && !rule.answer.is_empty()), "{said:?}");
    let refusing: Vec<(&str, &str)> =
        said.iter().filter(|rule| !rule.passes).map(|rule| (rule.rule.as_str(), rule.answer.as_str())).collect();
    assert_eq!(refusing.len(), 3, "{refusing:?}");
    assert_eq!(refusing[0], ("pause", "refuses: it is paused by ann: migration"));
    assert_eq!((refusing[1].0, refusing[2].0), ("window", "look-ahead"));
    let nobody = World::default();
    let said = explain(&nobody.snapshot(), &world.runs[0], t("10:00:00"));
    assert_eq!((said.len(), said[0].rule.as_str(), said[0].passes), (1, "configuration", false));
}

#[test]
fn rows_of_an_older_version_can_be_read() {
    let ledger: Ledger = serde_json::from_str("{}").expect("a ledger");
    assert_eq!(ledger, Ledger::default());
    let trigger: Trigger =
        serde_json::from_str(r#"{"kind":"manual","request":"r","by":"ann","reason":null}"#).expect("a trigger");
    assert_eq!(trigger.windows(), WindowRule::Hold);
    let reasons = [
        serde_json::to_string(&SkipReason::Gap { until: t("10:00:00"), group: Some(name("db")) }),
        serde_json::to_string(&HoldReason::Gap { until: t("10:00:00"), group: None, give_up_at: t("10:00:00") }),
    ];
    let texts = reasons.map(|reason| reason.expect("JSON"));
    assert!(
        serde_json::from_str::<SkipReason>(&texts[0]).is_ok() && serde_json::from_str::<HoldReason>(&texts[1]).is_ok()
    );
}

#[test]
fn run_has_ended_by_our_clock_when_we_see_that_it_has() {
    let ahead = FisExperiment { ended_at: Some(t("10:10:05")), ..fis(FisStatus::Completed, t("10:00:05")) };
    let completed = Observation::Finished { outcome: Outcome::Completed };
    let seen = [("10:10:00", Observation::Polled { fis: ahead }), ("10:10:01", completed.clone())];
    let run = applied(running(slot_run("10:00:00"), "10:00:00"), &seen);
    let mut ledger = Ledger::default();
    assert_eq!(ledger.note(&run, &completed, t("10:10:01"), None), Noted::Changed);
    assert_eq!(ledger.ended_at, Some(t("10:10:01")));
    // What was seen before the clock was set back does not hide what was seen since.
    ledger.ended_at = Some(t("11:00:00"));
    assert_eq!(ledger.note(&run, &completed, t("10:10:01"), None), Noted::Changed);
    assert_eq!(ledger.ended_at, Some(t("10:10:01")));
}
