//! Turns: which runs may go on at the same time, who waits for whom, and how long after one the next may begin.

use std::collections::BTreeMap;

use firedrill::domain::{
    experiment::{Experiment, Group, Limits, MAX_QUEUED, Overlap, Place, Targets, TemplateSelector, Ties},
    fis::FailureClass,
    ids::Name,
    ledger::Ledger,
    plan::{self, Effect},
    run::{Conflict, HoldReason, Observation, Run, RunState, RunTimes, StopCause, Trigger},
    template::TargetFacts,
};
use jiff::SignedDuration;

use super::check;
use crate::support::{
    runs::name,
    world::{World, applied, blackout, experiment, read, running, slot_run, t},
};

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// A world in which run A goes on since 10:00, and run B is due at 10:05 and has read its template.
fn met(overlap: Overlap) -> World {
    let due = read(slot_run("10:05:00"), "10:05:00", 600);
    World::of(Experiment { overlap, ..experiment() }, vec![running_at("10:00:00"), due])
}

/// The run of a slot, running since then and asked about at 10:05.
fn running_at(slot: &str) -> Run {
    let polled =
        Observation::Polled { fis: crate::support::world::fis(firedrill::domain::fis::FisStatus::Running, t(slot)) };
    applied(running(read(slot_run(slot), slot, 600), slot), &[("10:05:00", polled)])
}

/// The run after it was told to wait for another.
fn waiting(run: Run, at: &str, with: &Run) -> Run {
    let give_up_at = run.not_before + HOUR * 12;
    let reason = HoldReason::Busy { with: with.id.clone(), conflict: Conflict::Experiment, give_up_at };
    applied(run, &[(at, Observation::Held { reason, look_at: give_up_at })])
}

/// A due run of another experiment.
fn of(label: &str, slot: &str) -> Run {
    let run = slot_run(slot);
    let times =
        RunTimes { opened_at: run.opened_at, not_before: run.not_before, start_by: run.start_by, hold_until: None };
    Run::open(name(label), run.trigger, RunState::Requested, times)
}

fn with_experiment(mut world: World, declared: Experiment) -> World {
    world.rules.experiments.insert(declared.name.clone(), declared);
    world
}

fn in_groups(label: &str, groups: &[&str]) -> Experiment {
    let groups: Vec<Name> = groups.iter().map(|group| name(group)).collect();
    Experiment { name: name(label), limits: Limits { groups, ..Limits::default() }, ..experiment() }
}

fn ended(at: &str) -> Ledger {
    Ledger { ended_at: Some(t(at)), ..Ledger::default() }
}

#[test]
fn overlap_says_what_happens_to_a_run_that_meets_another() {
    let busy = "B held: run A is going on and shares the same experiment with it; look 22:05:00.000000001";
    check(&met(Overlap::Skip), "10:05:00", &["B skipped: run A of the same experiment is going on"]);
    check(&met(Overlap::QueueOne), "10:05:00", &[busy]);
    check(&met(Overlap::QueueAll), "10:05:00", &[busy]);
    check(&met(Overlap::StopOther), "10:05:00", &[busy]);
    check(&met(Overlap::Allow), "10:05:00", &["B start EXT1"]);
}

#[test]
fn nothing_makes_room_for_a_run_whose_template_nobody_has_read() {
    let world = World { runs: vec![running_at("09:50:00"), slot_run("10:05:00")], ..met(Overlap::StopOther) };
    check(&world, "10:05:00", &["B read template"]);
    let explained = plan::explain(&world.snapshot(), &world.runs[1], t("10:05:00"));
    let refuses: Vec<_> = explained.iter().filter(|rule| !rule.passes).map(|rule| rule.rule.as_str()).collect();
    assert_eq!(refuses[..1], ["template"], "{explained:?}");
}

#[test]
fn queue_of_one_takes_one_and_a_queue_of_all_is_bounded() {
    let mut world = met(Overlap::QueueOne);
    world.runs[1] = waiting(world.runs[1].clone(), "10:05:00", &world.runs[0].clone());
    world.runs.push(read(slot_run("10:05:01"), "10:05:01", 600));
    check(&world, "10:05:01", &["C skipped: a run waits for its turn already"]);
    for experiment in world.rules.experiments.values_mut() {
        experiment.overlap = Overlap::QueueAll;
    }
    let held = "C held: run A is going on and shares the same experiment with it; look 22:05:01.000000001";
    check(&world, "10:05:01", &[held]);
    let going = world.runs[0].clone();
    world.runs.truncate(1);
    for second in 0..MAX_QUEUED {
        let at = format!("09:{:02}:{:02}", second / 60, second % 60);
        world.runs.push(waiting(slot_run(&at), "10:05:00", &going));
    }
    let last = slot_run("10:05:01");
    world.runs.push(last.clone());
    let said = world.says(t("10:05:01"));
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].ends_with("skipped: 100 runs wait for their turn already"), "{said:?}");
}

/// A run by an event that settled meanwhile was opened first, and has not been waiting for longer.
#[test]
fn who_is_due_later_finds_the_place_taken_though_it_was_opened_first() {
    let mut world = met(Overlap::QueueOne);
    let going = world.runs[0].clone();
    let earlier = waiting(world.runs.remove(1), "10:05:00", &going);
    world.runs.extend([read(slot_run("10:05:01"), "10:05:01", 600), earlier]);
    check(&world, "10:05:01", &["B skipped: a run waits for its turn already"]);
}

#[test]
fn oldest_waiting_run_is_first_and_the_others_wait_for_it() {
    let mut world = met(Overlap::QueueAll);
    let going = world.runs.remove(0);
    world.runs = vec![
        waiting(read(slot_run("10:01:00"), "10:05:00", 600), "10:05:00", &going),
        waiting(read(slot_run("10:02:00"), "10:05:00", 600), "10:05:00", &going),
    ];
    let first = "A start EXT1";
    let second = "B held: run A is going on and shares the same experiment with it; look 22:02:00.000000001";
    check(&world, "10:05:00", &[first, second]);
}

#[test]
fn turn_that_does_not_come_in_time_is_given_up() {
    let mut world = met(Overlap::QueueOne);
    let reason =
        HoldReason::Busy { with: world.runs[0].id.clone(), conflict: Conflict::Experiment, give_up_at: t("10:35:00") };
    let held = Observation::Held { reason, look_at: t("10:35:00") };
    world.runs[1] = applied(world.runs[1].clone(), &[("10:05:00", held)]);
    let late = "B skipped: it could not start by 10:35:00Z: run A is going on and shares the same experiment with it";
    assert!(world.says(t("10:35:00")).iter().all(|line| !line.starts_with("B skipped")));
    assert!(world.says(t("10:35:00.000000001")).contains(&late.to_owned()));
}

#[test]
fn patience_is_granted_by_waiting_and_by_nothing_else() {
    // A start that FIS refuses for the moment is tried up to the start deadline, however long runs may queue.
    let queueing = Experiment { overlap: Overlap::QueueAll, ..experiment() };
    let refusal = Observation::StartRefused {
        class: firedrill::domain::fis::FailureClass::Throttled,
        message: String::new(),
        retry_at: t("10:14:00"),
    };
    let run = crate::support::world::asked(read(slot_run("10:05:00"), "10:05:00", 600), "10:05:00");
    let run = applied(run, &[("10:05:01", refusal)]);
    assert_eq!(run.deadline(), t("10:15:00"));
    let world = World::of(queueing, vec![run]);
    check(&world, "10:15:00.000000001", &["A skipped: it could not start by 10:15:00Z"]);
    // What waited for its turn may start late, also when the template cannot be read just then.
    let waited = waiting(slot_run("10:05:00"), "10:05:00", &running_at("10:00:00"));
    let failure = firedrill::domain::fis::CallFailure {
        class: firedrill::domain::fis::FailureClass::Throttled,
        message: String::new(),
    };
    let unread = firedrill::domain::react::template(&waited, Err(failure), t("11:00:00"));
    assert_eq!(applied(waited, &[("11:00:00", unread)]).deadline(), t("22:05:00"));
}

#[test]
fn turn_inside_a_span_ends_with_the_span() {
    let mut schedule =
        crate::support::world::schedule("nightly", "0 10 * * *", firedrill::domain::schedule::MissedPolicy::Latest);
    schedule.spread = firedrill::domain::schedule::Spread::Within(HOUR);
    let mut world = met(Overlap::QueueOne);
    let declared = Experiment { schedules: vec![schedule], overlap: Overlap::QueueOne, ..experiment() };
    world = with_experiment(world, declared).with_cursor("nightly", "10:05:00");
    let trigger = Trigger::Slot { schedule: name("nightly"), at: t("10:00:00"), timetable: None };
    let times =
        RunTimes { opened_at: t("10:00:00"), not_before: t("10:05:00"), start_by: t("11:00:00"), hold_until: None };
    let run = Run::open(name("probe"), trigger, RunState::Requested, times);
    world.runs[1] = read(run, "10:05:00", 600);
    world.runs[0] = running_at("09:50:00");
    let said = world.says(t("10:05:00"));
    let held = "B held: run A is going on and shares the same experiment with it; look 11:00:00.000000001";
    assert!(said.contains(&held.to_owned()), "{said:?}");
}

#[test]
fn span_that_a_reload_cut_short_takes_back_no_turn_that_was_granted() {
    let mut schedule =
        crate::support::world::schedule("nightly", "0 10 * * *", firedrill::domain::schedule::MissedPolicy::Latest);
    schedule.spread = firedrill::domain::schedule::Spread::Within(SignedDuration::from_mins(1));
    let mut world = met(Overlap::QueueOne);
    let declared = Experiment { schedules: vec![schedule], overlap: Overlap::QueueOne, ..experiment() };
    world = with_experiment(world, declared).with_cursor("nightly", "10:05:00");
    let trigger = Trigger::Slot { schedule: name("nightly"), at: t("10:00:00"), timetable: None };
    let times =
        RunTimes { opened_at: t("10:00:00"), not_before: t("10:00:00"), start_by: t("10:15:00"), hold_until: None };
    world.runs[0] = running_at("09:50:00");
    world.runs[1] = read(Run::open(name("probe"), trigger, RunState::Requested, times), "10:05:00", 600);
    // The span ended at 10:01; the run may start until 10:15, and is not asked to look again at once and for ever.
    let said = world.says(t("10:05:00"));
    let held = "B held: run A is going on and shares the same experiment with it; look 10:15:00.000000001";
    assert!(said.contains(&held.to_owned()), "{said:?}");
}

#[test]
fn run_that_stops_the_other_does_so_only_when_it_may_start_itself() {
    let mut world = met(Overlap::StopOther);
    let going = world.runs[0].clone();
    world.runs[1] = waiting(world.runs[1].clone(), "10:05:00", &going);
    let stop = "A stop: run B, which takes its place";
    check(&world, "10:05:00", &[stop]);
    // Who would reach into a window is refused before it stops anybody.
    let mut paused = world.clone();
    let pause = firedrill::domain::plan::Pause { at: t("10:04:00"), by: "ann".to_owned(), reason: None, until: None };
    let row = firedrill::domain::plan::PauseRow { pause: Some(pause) };
    paused.pauses.insert(name("probe"), row);
    check(&paused, "10:05:00", &["B skipped: it is paused by ann"]);
    let mut closed = met(Overlap::StopOther).with_window(blackout("10:20:00", "11:00:00"));
    let crosses = "B skipped: it could run until 10:16:30Z, but window `freeze` forbids it from 10:20:00Z";
    closed.rules.windows = firedrill::domain::window::Windows::from(vec![blackout("10:10:00", "11:00:00")]);
    assert_eq!(closed.says(t("10:05:00"))[0][..9], crosses[..9]);
    assert!(!closed.says(t("10:05:00")).iter().any(|line| line.contains("stop")), "{:?}", closed.says(t("10:05:00")));
}

#[test]
fn experiments_of_one_group_exclude_each_other() {
    let mut world = World {
        runs: vec![running_at("10:00:00"), read(of("other", "10:05:00"), "10:05:00", 600)],
        ..World::default()
    };
    world = with_experiment(world, in_groups("probe", &["db", "eu"]));
    world = with_experiment(world, in_groups("other", &["db"]));
    check(&world, "10:05:00", &["B skipped: run A is going on and shares group `db` with it"]);
    let queueing = Experiment { overlap: Overlap::QueueOne, ..in_groups("other", &["db"]) };
    let world = with_experiment(world, queueing);
    check(&world, "10:05:00", &["B held: run A is going on and shares group `db` with it; look 22:05:00.000000001"]);
    let world = with_experiment(world, in_groups("other", &["us"]));
    check(&world, "10:05:00", &["B start EXT1"]);
}

/// Run A as it was begun under what the world declares of it, which has left the configuration since.
fn left(mut world: World) -> World {
    let gone = world.rules.experiments.remove(&world.runs[0].experiment).expect("it is declared");
    world.runs[0].ties = Some(Box::new(Ties::of(&gone)));
    world
}

#[test]
fn start_notes_what_holds_for_its_run_and_rows_of_before_can_be_read() {
    let due = read(slot_run("10:05:00"), "10:05:00", 600);
    let world = with_experiment(World { runs: vec![due.clone()], ..World::default() }, in_groups("probe", &["db"]));
    let started = plan::plan(&world.snapshot(), t("10:05:00")).pop();
    let Some(Effect::Start { place, template_id, facts, place_facts, ties, .. }) = started else {
        panic!("{started:?}");
    };
    let asked = Observation::StartAsked { place, template_id, facts, place_facts, ties: Some(ties) };
    let run = applied(due, &[("10:05:00", asked)]);
    assert_eq!(run.ties.as_deref(), world.rules.experiments.get(&name("probe")).map(Ties::of).as_ref());
    let mut row = serde_json::to_value(&run).expect("a row");
    assert!(row.as_object_mut().and_then(|row| row.remove("ties")).is_some());
    assert_eq!(serde_json::from_value::<Run>(row).expect("a row of before"), Run { ties: None, ..run });
}

#[test]
fn run_whose_experiment_left_the_configuration_keeps_its_groups() {
    let runs = vec![running_at("10:00:00"), read(of("other", "10:05:00"), "10:05:00", 600)];
    let other = |groups: &[&str]| Experiment {
        template: TemplateSelector::Id("EXT2".to_owned()),
        ..in_groups("other", groups)
    };
    let world = with_experiment(World { runs, ..World::default() }, in_groups("probe", &["db", "eu"]));
    let with = |groups: &[&str]| left(with_experiment(world.clone(), other(groups)));
    check(&with(&["db"]), "10:05:00", &["B skipped: run A is going on and shares group `db` with it"]);
    check(&with(&["us"]), "10:05:00", &["B read template"]);
    // It may have been one of the other as well: both may run the same template.
    let same = Experiment { overlap: Overlap::Allow, ..in_groups("other", &["db"]) };
    let same = left(with_experiment(world.clone(), same));
    check(&same, "10:05:00", &["B skipped: run A is going on and shares group `db` with it"]);
    // A version wrote its row that noted nothing.
    let mut unknown = with(&["db"]);
    unknown.runs[0].ties = None;
    check(&unknown, "10:05:00", &["B read template"]);
}

#[test]
fn run_whose_experiment_was_renamed_is_in_the_way_of_the_same_one() {
    let runs = vec![running_at("10:00:00"), read(of("other", "10:05:00"), "10:05:00", 600)];
    let world = with_experiment(World { runs, ..World::default() }, experiment());
    let with = |other: Experiment| with_experiment(world.clone(), Experiment { name: name("other"), ..other });
    check(&with(experiment()), "10:05:00", &["B start EXT1"]);
    check(&left(with(experiment())), "10:05:00", &["B skipped: run A of the same experiment is going on"]);
    let allowing = Experiment { overlap: Overlap::Allow, ..experiment() };
    check(&left(with(allowing)), "10:05:00", &["B start EXT1"]);
    let elsewhere = Place { region: Some("eu-west-1".to_owned()), ..Place::default() };
    check(&left(with(Experiment { place: elsewhere, ..experiment() })), "10:05:00", &["B read template"]);
}

#[test]
fn two_of_a_group_that_are_due_together_start_one_after_the_other() {
    let runs = vec![read(slot_run("10:05:00"), "10:05:00", 600), read(of("other", "10:05:00"), "10:05:00", 600)];
    let world = World { runs, ..World::default() };
    let world = with_experiment(with_experiment(world, in_groups("probe", &["db"])), in_groups("other", &["db"]));
    check(&world, "10:05:00", &["A start EXT1", "B skipped: run A is going on and shares group `db` with it"]);
}

/// The run with its template aimed at what carries a tag.
fn aimed_at(mut run: Run, value: &str) -> Run {
    let tags = BTreeMap::from([("system".to_owned(), value.to_owned())]);
    let target = TargetFacts { resource_type: "aws:ec2:instance".to_owned(), tags, ..TargetFacts::default() };
    if let Some(facts) = &mut run.facts {
        facts.targets = BTreeMap::from([("t".to_owned(), target)]);
    }
    run
}

#[test]
fn experiments_that_share_a_target_exclude_each_other_unless_both_allow_it() {
    let due = |value: &str| aimed_at(read(of("other", "10:05:00"), "10:05:00", 600), value);
    let going = aimed_at(running_at("10:00:00"), "shop");
    let world = World { runs: vec![going.clone(), due("shop")], ..World::default() };
    let declared = |label: &str, targets| Experiment {
        name: name(label),
        limits: Limits { targets, ..Limits::default() },
        ..experiment()
    };
    let with = |a, b| with_experiment(with_experiment(world.clone(), declared("probe", a)), declared("other", b));
    let refused = "B skipped: run A is going on and shares tag system=shop with it";
    check(&with(Targets::Exclusive, Targets::Exclusive), "10:05:00", &[refused]);
    check(&with(Targets::Shared, Targets::Exclusive), "10:05:00", &[refused]);
    check(&with(Targets::Exclusive, Targets::Shared), "10:05:00", &[refused]);
    check(&with(Targets::Shared, Targets::Shared), "10:05:00", &["B start EXT1"]);
    // Neither the template that was named before nor what one said long ago keeps it from anything.
    let mut renamed = with(Targets::Exclusive, Targets::Exclusive);
    let elsewhere =
        Experiment { template: TemplateSelector::Id("EXT2".to_owned()), ..declared("other", Targets::Exclusive) };
    renamed = with_experiment(renamed, elsewhere);
    check(&renamed, "10:05:00", &["B read template"]);
    check(&with(Targets::Exclusive, Targets::Exclusive), "10:10:01", &["A poll", "B read template"]);
    let mut apart = with(Targets::Exclusive, Targets::Exclusive);
    apart.runs[1] = due("search");
    check(&apart, "10:05:00", &["B start EXT1"]);
}

#[test]
fn run_whose_experiment_left_the_configuration_shares_its_targets_as_before() {
    let due = aimed_at(read(of("other", "10:05:00"), "10:05:00", 600), "shop");
    let runs = vec![aimed_at(running_at("10:00:00"), "shop"), due];
    let declared = |label: &str, template: &str, targets| Experiment {
        name: name(label),
        template: TemplateSelector::Id(template.to_owned()),
        limits: Limits { targets, ..Limits::default() },
        ..experiment()
    };
    let with = |targets| {
        let world =
            with_experiment(World { runs: runs.clone(), ..World::default() }, declared("probe", "EXT0", targets));
        left(with_experiment(world, declared("other", "EXT1", Targets::Shared)))
    };
    check(&with(Targets::Exclusive), "10:05:00", &["B skipped: run A is going on and shares tag system=shop with it"]);
    check(&with(Targets::Shared), "10:05:00", &["B start EXT1"]);
}

#[test]
fn gap_counts_from_the_end_of_the_last_run() {
    let limits = Limits { min_gap: HOUR, ..Limits::default() };
    let due = |slot: &str| vec![read(slot_run(slot), slot, 600)];
    let mut world = World::of(Experiment { limits: limits.clone(), ..experiment() }, due("10:05:00"));
    world.ledgers.insert(name("probe"), ended("09:05:01"));
    check(&world, "10:05:00", &["A skipped: its `min_gap` lasts until 10:05:01Z"]);
    check(&world, "10:05:01", &["A start EXT1"]);
    let queueing = Experiment { limits, overlap: Overlap::QueueOne, ..experiment() };
    let world = with_experiment(world, queueing);
    check(&world, "10:05:00", &["A held: its `min_gap` lasts until 10:05:01Z; look 10:05:01"]);
}

#[test]
fn gap_of_a_group_counts_from_the_end_of_any_of_it() {
    let world = World { runs: vec![read(slot_run("10:05:00"), "10:05:00", 600)], ..World::default() };
    let mut world = with_experiment(with_experiment(world, in_groups("probe", &["db"])), in_groups("other", &["db"]));
    world.rules.groups.insert(name("db"), Group { min_gap: HOUR });
    world.ledgers.insert(name("probe"), ended("09:00:00"));
    world.ledgers.insert(name("other"), ended("09:30:00"));
    check(&world, "10:05:00", &["A skipped: the gap between runs of group `db` lasts until 10:30:00Z"]);
    // It leaves the configuration, and keeps the groups that its last run was begun in.
    world.rules.experiments.remove(&name("other"));
    check(&world, "10:05:00", &["A start EXT1"]);
    world.ledgers.insert(name("other"), Ledger { groups: vec![name("db")], ..ended("09:30:00") });
    check(&world, "10:05:00", &["A skipped: the gap between runs of group `db` lasts until 10:30:00Z"]);
    world.ledgers.remove(&name("other"));
    check(&world, "10:05:00", &["A start EXT1"]);
}

#[test]
fn ledger_knows_the_groups_in_which_the_run_that_ended_last_was_begun() {
    let mut run = running_at("10:00:00");
    run.ties = Some(Box::new(Ties::of(&in_groups("probe", &["db"]))));
    let finished = Observation::Finished { outcome: firedrill::domain::outcome::Outcome::Completed };
    let mut ledger = Ledger::default();
    ledger.note(&applied(run, &[("10:10:00", finished.clone())]), &finished, t("10:10:00"), None);
    assert_eq!((ledger.ended_at, ledger.groups), (Some(t("10:10:00")), vec![name("db")]));
}

#[test]
fn slots_of_the_past_wait_for_their_turn_whatever_overlap_says() {
    let backfilled = |slot: &str| {
        let trigger = Trigger::Backfill {
            schedule: name("nightly"),
            at: t(slot),
            request: "again".to_owned(),
            by: "ann".to_owned(),
            reason: None,
        };
        let now = t("10:05:00");
        let start_by = now + HOUR * 24;
        let times = RunTimes { opened_at: now, not_before: now, start_by, hold_until: Some(start_by) };
        read(Run::open(name("probe"), trigger, RunState::Requested, times), "10:05:00", 600)
    };
    let world = World::of(experiment(), vec![backfilled("08:00:00"), backfilled("09:00:00")]);
    let said = world.says(t("10:05:00"));
    assert_eq!(said[0], "A start EXT1");
    assert!(said[1].starts_with("B held: run A is going on and shares the same experiment with it"), "{said:?}");
    // Those that wait take no room from a slot of today.
    let mut today = met(Overlap::QueueOne);
    today.runs.insert(1, waiting(backfilled("09:00:00"), "10:05:00", &today.runs[0].clone()));
    let said = today.says(t("10:05:00"));
    assert!(said.iter().any(|line| line.starts_with("C held: run A is going on")), "{said:?}");
}

/// Where FIS denies a stop, what begins could not be stopped either.
#[test]
fn nothing_starts_where_a_stop_is_denied_until_fis_takes_it() {
    let denied = |class| {
        let message = "AccessDeniedException: not authorized".to_owned();
        Observation::StopFailed { class, message, retry_at: t("10:06:00") }
    };
    let asked = Observation::StopAsked { cause: StopCause::MaxDuration };
    let stopping = applied(running_at("10:00:00"), &[("10:04:00", asked)]);
    let world = |observed: &[(&str, Observation)], place: Place, overlap| {
        let runs = vec![applied(stopping.clone(), observed), read(of("other", "10:05:00"), "10:05:00", 600)];
        let other = Experiment { name: name("other"), place, overlap, ..experiment() };
        with_experiment(World { runs, ..met(Overlap::Skip) }, other)
    };
    let here = |observed: &[(&str, Observation)]| world(observed, Place::default(), Overlap::Skip);
    let once = ("10:04:01", denied(FailureClass::Denied));
    let shares = "run A is going on and shares a place in which FIS denies StopExperiment with it";
    check(&here(&[]), "10:05:00", &["A stop: its `max_duration`", "B start EXT1"]);
    check(&here(std::slice::from_ref(&once)), "10:05:00", &[&format!("B skipped: {shares}")]);
    let queued = world(std::slice::from_ref(&once), Place::default(), Overlap::QueueOne);
    check(&queued, "10:05:00", &[&format!("B held: {shares}; look 22:05:00.000000001")]);
    // What fails otherwise proves nothing of what FIS would say.
    let throttled = [once.clone(), ("10:04:03", denied(FailureClass::Throttled))];
    check(&here(&throttled), "10:05:00", &[&format!("B skipped: {shares}")]);
    check(&here(&throttled[1..]), "10:05:00", &["B start EXT1"]);
    check(&here(&[once.clone(), ("10:04:03", Observation::StopTaken)]), "10:05:00", &["B start EXT1"]);
    let west = Place { region: Some("us-west-2".to_owned()), ..Place::default() };
    check(&world(&[once], west, Overlap::Skip), "10:05:00", &["B read template"]);
}
