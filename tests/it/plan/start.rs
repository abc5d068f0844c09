//! Runs that were not started: the guards, their order, and their exact edges.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Overlap, Place, Rules, TemplateSelector},
    fis::FailureClass,
    ledger::Definition,
    plan::{self, Effect, HaltRunning, Mode, Withheld},
    react,
    run::{HoldReason, Observation, Run},
    window::{NameGlob, OnEntry, Scope, WindowKind, Windows},
};
use jiff::SignedDuration;

use super::check;
use crate::support::{
    runs::name,
    world::{World, applied, blackout, event_run, experiment, read, running, slot_run, t, trigger, window},
};

const FINISH: OnEntry = OnEntry::Finish;

/// A world with one run due at 10:00 whose template was read then and takes ten minutes.
fn due() -> World {
    World::of(experiment(), vec![read(slot_run("10:00:00"), "10:00:00", 600)])
}

/// As [`due`], by an event of 10:00 that may wait half an hour for a blackout to lift.
fn holding() -> World {
    World::of(experiment(), vec![read(event_run("10:00:00", trigger("deploy", 0, 1800)), "10:00:00", 600)])
}

/// The run after a read of its template failed.
fn unread(run: Run, at: &str, class: FailureClass) -> Run {
    let failure = firedrill::domain::fis::CallFailure { class, message: "no".to_owned() };
    let observed = react::template(&run, Err(failure), t(at));
    applied(run, &[(at, observed)])
}

#[test]
fn template_is_read_first_and_then_the_run_starts() {
    check(&World::of(experiment(), vec![slot_run("10:00:00")]), "10:00:00", &["A read template"]);
    check(&due(), "10:00:00", &["A start EXT1"]);
}

#[test]
fn facts_older_than_five_minutes_or_from_the_future_are_read_again() {
    check(&due(), "10:05:00", &["A start EXT1"]);
    check(&due(), "10:05:00.000000001", &["A read template"]);
    let ahead = World::of(experiment(), vec![read(slot_run("10:00:00"), "10:00:01", 600)]);
    check(&ahead, "10:00:00", &["A read template"]);
}

#[test]
fn what_was_read_by_what_a_reload_replaced_is_read_again() {
    let declared = |template: TemplateSelector, place: Place| {
        World::of(Experiment { template, place, ..experiment() }, due().runs)
    };
    let tags = |team: &str| TemplateSelector::Tags(BTreeMap::from([("team".to_owned(), team.to_owned())]));
    let elsewhere = Place { region: Some("eu-west-1".to_owned()), ..Place::default() };
    check(&declared(experiment().template, Place::default()), "10:00:00", &["A start EXT1"]);
    check(&declared(experiment().template, elsewhere), "10:00:00", &["A read template"]);
    check(&declared(tags("shop"), Place::default()), "10:00:00", &["A read template"]);
    let by = |world: &mut World, team: &str| {
        let facts = world.runs[0].facts.as_mut().expect("facts");
        facts.read_by = Some(Box::new(Definition { template: tags(team), place: Place::default() }));
    };
    for (team, expected) in [("shop", "A start EXT1"), ("search", "A read template")] {
        let mut world = declared(tags("shop"), Place::default());
        by(&mut world, team);
        check(&world, "10:00:00", &[expected]);
    }
}

#[test]
fn what_was_read_for_one_run_is_good_for_the_others_of_its_experiment() {
    let experiment = || Experiment { overlap: Overlap::Allow, ..experiment() };
    let other = read(slot_run("09:58:00"), "09:58:00", 600);
    let world = World::of(experiment(), vec![running(other.clone(), "09:58:00"), slot_run("10:00:00")]);
    check(&world, "10:00:00", &["A poll", "B start EXT1"]);
    check(&world, "10:03:00", &["A poll", "B start EXT1"]);
    check(&world, "10:03:00.000000001", &["A poll", "B read template"]);
    // It is judged by it, and keeps it.
    let crossed = world.clone().with_window(window("freeze", WindowKind::Blackout, "10:05:00", "11:00:00", FINISH));
    let why = "B skipped: it could run until 10:10:00Z, but window `freeze` forbids it from 10:05:00Z";
    check(&crossed, "10:00:00", &["A poll", why]);
    let lent = plan::plan(&world.snapshot(), t("10:00:00")).into_iter().find_map(|effect| match effect {
        Effect::Start { facts, .. } => facts,
        _ => None,
    });
    assert_eq!(lent, other.facts);
    let explained = plan::explain(&world.snapshot(), &world.runs[1], t("10:00:00"));
    assert!(explained.iter().all(|rule| rule.passes), "{explained:?}");
    // Not when another template is configured by now, nor for another experiment.
    let template = TemplateSelector::Id("EXT2".to_owned());
    let changed = World::of(Experiment { template, ..experiment() }, world.runs.clone());
    check(&changed, "10:00:00", &["A poll", "B read template"]);
    let place = Place { region: Some("eu-west-1".to_owned()), ..Place::default() };
    let moved = World::of(Experiment { place, ..experiment() }, world.runs.clone());
    check(&moved, "10:00:00", &["A poll", "B read template"]);
    let template = TemplateSelector::Tags(BTreeMap::from([("team".to_owned(), "shop".to_owned())]));
    let tagged = World::of(Experiment { template, ..experiment() }, world.runs.clone());
    check(&tagged, "10:00:00", &["A poll", "B read template"]);
    let mut apart = World::of(experiment(), world.runs.clone());
    apart.runs[0].experiment = name("another");
    apart.rules.experiments.insert(name("another"), Experiment { name: name("another"), ..experiment() });
    check(&apart, "10:00:00", &["A poll", "B read template"]);
}

#[test]
fn run_with_a_call_under_way_is_left_alone() {
    let mut world = due();
    world.busy.insert(world.runs[0].id.clone());
    check(&world, "10:00:00", &[]);
}

#[test]
fn run_that_is_not_due_waits_until_it_is() {
    let settling = World::of(experiment(), vec![event_run("10:00:00", trigger("deploy", 90, 0))]);
    check(&settling, "10:00:00", &["wake 10:01:30"]);
    check(&settling, "10:01:29.999999999", &["wake 10:01:30"]);
    check(&settling, "10:01:30", &["A read template"]);
    check(&settling.clone().with_halt(HaltRunning::Stop), "10:00:00", &["A skipped: all chaos is halted by ann"]);
    check(&settling.with_stop(), "10:00:00", &["A skipped: taken back by bob"]);
}

#[test]
fn guards_are_asked_in_one_order() {
    let closed = "A skipped: window `freeze` forbids it until 11:00:00Z";
    let late = "A skipped: it could not start by 10:10:00Z";
    let overlap = |mut world: World| {
        world.runs.push(running(slot_run("09:50:00"), "09:50:00"));
        world
    };
    let all = overlap(due()).with_window(blackout("09:00:00", "11:00:00")).with_halt(HaltRunning::Finish).with_stop();
    let mut gone = all.clone();
    gone.rules.experiments.clear();
    let first = |world: &World, now: &str| world.says(t(now))[0].clone();
    assert_eq!(first(&gone, "10:20:00"), "A skipped: the experiment is no longer in the configuration");
    assert_eq!(first(&all, "10:20:00"), "A skipped: taken back by bob");
    let no_stop = World { stops: BTreeMap::new(), ..all };
    assert_eq!(first(&no_stop, "10:20:00"), "A skipped: all chaos is halted by ann");
    let no_halt = World { halt: None, ..no_stop };
    assert_eq!(first(&no_halt, "10:20:00"), late);
    assert_eq!(first(&no_halt, "10:10:00"), closed);
    let no_window = World { rules: Rules { windows: Windows::default(), ..no_halt.rules.clone() }, ..no_halt };
    assert_eq!(first(&no_window, "10:10:00"), "A skipped: run B of the same experiment is going on");
}

#[test]
fn nothing_begins_while_the_agent_shuts_down() {
    for mode in [Mode::Draining, Mode::DrainingWithStop] {
        check(&World { mode, ..due() }, "10:00:00", &[]);
        check(&World { mode, ..due() }, "12:00:00", &[]);
    }
}

#[test]
fn nothing_begins_of_what_a_row_that_cannot_be_read_is_about() {
    for withheld in [Withheld::All, Withheld::Some([name("probe")].into())] {
        check(&World { withheld: withheld.clone(), ..due() }, "10:00:00", &[]);
        check(&World { withheld, ..due() }, "12:00:00", &[]);
    }
    let another = Withheld::Some([name("another")].into());
    check(&World { withheld: another, ..due() }, "10:00:00", &["A start EXT1"]);
}

#[test]
fn start_deadline_is_inclusive() {
    let world = World::of(experiment(), vec![read(slot_run("10:00:00"), "10:10:00", 600)]);
    check(&world, "10:10:00", &["A start EXT1"]);
    check(&world, "10:10:00.000000001", &["A skipped: it could not start by 10:10:00Z"]);
}

#[test]
fn start_in_a_blackout_is_refused_and_allowed_exactly_at_its_end() {
    let at_end = due().with_window(blackout("09:00:00", "10:00:00"));
    check(&at_end, "10:00:00", &["A start EXT1"]);
    let longer = due().with_window(blackout("09:00:00", "10:00:01"));
    check(&longer, "10:00:00", &["A skipped: window `freeze` forbids it until 10:00:01Z"]);
    check(&longer, "10:00:01", &["A start EXT1"]);
    let finishing = due().with_window(window("soft", WindowKind::Blackout, "09:00:00", "11:00:00", FINISH));
    check(&finishing, "10:00:00", &["A skipped: window `soft` forbids it until 11:00:00Z"]);
    let outside = due().with_window(window("office", WindowKind::Allowed, "08:00:00", "09:00:00", FINISH));
    check(&outside, "10:00:00", &["A skipped: window `office` forbids it"]);
    let inside = due().with_window(window("office", WindowKind::Allowed, "08:00:00", "12:00:00", FINISH));
    check(&inside, "10:00:00", &["A start EXT1"]);
}

#[test]
fn window_that_is_about_others_does_not_matter() {
    let scope = Scope { experiments: vec![NameGlob::new("other*")], ..Scope::default() };
    let foreign = firedrill::domain::window::Window { scope, ..blackout("09:00:00", "11:00:00") };
    check(&due().with_window(foreign), "10:00:00", &["A start EXT1"]);
}

#[test]
fn run_that_could_still_be_going_when_a_window_opens_is_refused() {
    let crossing = "A skipped: it could run until 10:10:00Z, but window `freeze` forbids it from 10:09:59Z";
    check(&due().with_window(blackout("10:09:59", "11:00:00")), "10:00:00", &[crossing]);
    // Its end is not part of it, so it may end exactly when the window opens.
    check(&due().with_window(blackout("10:10:00", "11:00:00")), "10:00:00", &["A start EXT1"]);
    let short = blackout("10:05:00", "10:05:01");
    let crossed = "A skipped: it could run until 10:10:00Z, but window `freeze` forbids it from 10:05:00Z";
    check(&due().with_window(short), "10:00:00", &[crossed]);
}

#[test]
fn time_to_stop_counts_as_part_of_the_run() {
    let lead = OnEntry::Stop { lead: SignedDuration::from_mins(2) };
    let with_lead = |opens: &str| due().with_window(window("freeze", WindowKind::Blackout, opens, "11:00:00", lead));
    let refused = "A skipped: it could run until 10:12:00Z, but window `freeze` forbids it from 10:11:59Z";
    check(&with_lead("10:11:59"), "10:00:00", &[refused]);
    check(&with_lead("10:12:00"), "10:00:00", &["A start EXT1"]);
}

#[test]
fn end_of_an_allowed_window_is_crossed_like_a_beginning_blackout() {
    let allowed = |to: &str| due().with_window(window("office", WindowKind::Allowed, "08:00:00", to, FINISH));
    let refused = "A skipped: it could run until 10:10:00Z, but window `office` forbids it from 10:09:59Z";
    check(&allowed("10:09:59"), "10:00:00", &[refused]);
    check(&allowed("10:10:00"), "10:00:00", &["A start EXT1"]);
    // One allowed window may take over from another.
    let next = window("evening", WindowKind::Allowed, "10:05:00", "20:00:00", FINISH);
    check(&allowed("10:05:00").with_window(next), "10:00:00", &["A start EXT1"]);
}

#[test]
fn template_of_unknown_length_is_taken_to_last_as_long_as_it_may() {
    let mut world = due();
    let facts = world.runs[0].facts.as_mut().expect("facts");
    facts.actions.get_mut("wait").expect("the action").action_id = "aws:new:thing".to_owned();
    let crossing = "A skipped: it could run until 11:00:00Z, but window `freeze` forbids it from 10:59:59Z";
    check(&world.clone().with_window(blackout("10:59:59", "12:00:00")), "10:00:00", &[crossing]);
    check(&world.with_window(blackout("11:00:00", "12:00:00")), "10:00:00", &["A start EXT1"]);
    let limited = Experiment { max_duration: SignedDuration::from_mins(5), ..experiment() };
    let limited = World::of(limited, due().runs).with_window(blackout("10:05:00", "12:00:00"));
    check(&limited, "10:00:00", &["A start EXT1"]);
}

#[test]
fn run_with_patience_is_held_until_the_blackout_lifts_and_judged_again() {
    let world = holding().with_window(blackout("09:00:00", "10:20:00"));
    let held = "A held: window `freeze` forbids it until 10:20:00Z; look 10:20:00";
    check(&world, "10:00:00", &[held]);
    let run = hold(&world, "10:20:00", "10:20:00");
    let world = World { runs: vec![run], ..world };
    check(&world, "10:00:00", &["wake 10:20:00"]);
    check(&world, "10:19:59", &["wake 10:20:00"]);
    check(&world, "10:20:00", &["A read template"]);
    let crossing = world.clone().with_window(window("next", WindowKind::Blackout, "10:25:00", "12:00:00", FINISH));
    let crossed = "A skipped: it could run until 10:30:00Z, but window `next` forbids it from 10:25:00Z";
    check(&crossing, "10:20:00", &["A read template"]);
    let informed = World { runs: vec![read(crossing.runs[0].clone(), "10:20:00", 600)], ..crossing };
    check(&informed, "10:20:00", &[crossed]);
    let rules = World::of(experiment(), Vec::new()).with_window(blackout("09:00:00", "10:25:00")).rules;
    let longer = World { rules, ..world };
    check(&longer, "10:20:00", &["A held: window `freeze` forbids it until 10:25:00Z; look 10:25:00"]);
}

/// Run A after it was held for the blackout `freeze`.
fn hold(world: &World, until: &str, look_at: &str) -> Run {
    let reason = HoldReason::Closed { window: name("freeze"), until: Some(t(until)), unknown: None };
    applied(world.runs[0].clone(), &[("10:00:00", Observation::Held { reason, look_at: t(look_at) })])
}

#[test]
fn hold_expires_when_the_blackout_does_not_lift_in_time() {
    let world = holding().with_window(blackout("09:00:00", "12:00:00"));
    check(&world, "10:00:00", &["A held: window `freeze` forbids it until 12:00:00Z; look 10:30:00"]);
    let world = World { runs: vec![hold(&world, "12:00:00", "10:30:00")], ..world };
    check(&world, "10:29:59", &["wake 10:30:00"]);
    check(&world, "10:30:00", &["A skipped: window `freeze` forbids it until 12:00:00Z"]);
    // The agent was away when it expired.
    let late = "A skipped: it could not start by 10:30:00Z: window `freeze` forbids it until 12:00:00Z";
    check(&world, "13:00:00", &[late]);
}

#[test]
fn run_that_would_cross_is_held_when_the_window_lifts_in_time() {
    let world = holding().with_window(blackout("10:05:00", "10:15:00"));
    check(&world, "10:00:00", &["A held: window `freeze` forbids it until 10:15:00Z; look 10:15:00"]);
    let beyond = holding().with_window(blackout("10:05:00", "10:30:01"));
    let crossed = "A skipped: it could run until 10:10:00Z, but window `freeze` forbids it from 10:05:00Z";
    check(&beyond, "10:00:00", &[crossed]);
}

#[test]
fn patience_is_for_blackouts_and_not_for_the_agents_absence() {
    // The agent was away for twenty minutes, the deadline is ten, nothing was closed.
    check(&holding(), "10:20:00", &["A skipped: it could not start by 10:10:00Z"]);
}

#[test]
fn second_run_of_an_experiment_is_skipped_or_allowed() {
    let going = running(slot_run("09:50:00"), "09:50:00");
    let with = |overlap| {
        let runs = vec![read(slot_run("10:00:00"), "10:00:00", 600), going.clone()];
        World::of(Experiment { overlap, ..experiment() }, runs)
    };
    assert_eq!(with(Overlap::Skip).says(t("10:00:00"))[0], "A skipped: run B of the same experiment is going on");
    assert_eq!(with(Overlap::Allow).says(t("10:00:00"))[0], "A start EXT1");
}

#[test]
fn two_runs_due_at_once_do_not_both_begin() {
    let mut world = due();
    world.runs.push(read(event_run("10:00:00", trigger("deploy", 0, 0)), "10:00:00", 600));
    check(&world, "10:00:00", &["A start EXT1", "B skipped: run A of the same experiment is going on"]);
    world.rules.experiments.get_mut(&name("probe")).expect("it").overlap = Overlap::Allow;
    check(&world, "10:00:00", &["A start EXT1", "B start EXT1"]);
}

#[test]
fn template_that_cannot_be_read_now_is_read_again_with_growing_pauses() {
    let unavailable = FailureClass::Unavailable;
    let once = unread(slot_run("10:00:00"), "10:00:00", unavailable);
    let world = World::of(experiment(), vec![once.clone()]);
    check(&world, "10:00:01.999", &["wake 10:00:02"]);
    check(&world, "10:00:02", &["A read template"]);
    let twice = unread(once, "10:00:02", unavailable);
    check(&World::of(experiment(), vec![twice.clone()]), "10:00:02", &["wake 10:00:06"]);
    check(&World::of(experiment(), vec![twice.clone()]), "09:00:00", &["wake 10:00:00"]);
    let good = read(twice, "10:00:06", 600);
    check(&World::of(experiment(), vec![good]), "10:00:06", &["A start EXT1"]);
}

#[test]
fn template_that_stays_unread_makes_the_run_late_with_its_reason() {
    let run = unread(slot_run("10:00:00"), "10:09:59", FailureClass::Timeout);
    let world = World::of(experiment(), vec![run]);
    check(&world, "10:09:59", &["wake 10:10:00.000000001"]);
    let late = "A skipped: it could not start by 10:10:00Z: the template could not be read (timeout, 1 times): no";
    check(&world, "10:10:00.000000001", &[late]);
}

#[test]
fn template_that_is_missing_or_denied_ends_the_run() {
    for class in [FailureClass::Denied, FailureClass::NotFound, FailureClass::Invalid] {
        let run = unread(slot_run("10:00:00"), "10:00:00", class);
        assert_eq!(run.state.as_str(), "skipped", "{class}");
    }
}
