//! A wall clock that is set while the agent runs, by minutes, hours and a day, forth and back: nothing twice, nothing lost,
//! nothing where a window is closed. `libfaketime` shows it to the agent alone; timers go on as they do.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use firedrill::{cli::context::now, domain::run::Run};
use jiff::SignedDuration;

use super::{
    scene::{SETTLES, Scene, Schedules, StoreKind},
    size,
};
use crate::support::{agent::Home, disk, eventually, let_pass, stage::Stage, within};

/// What the clock shows, in seconds ahead of the true time, one after the other.
const STEPS: [i64; 9] = [0, 150, -150, 3_600, -3_600, 0, 86_400, -86_400, 172_800];

/// How long it is left at each of them.
const STAYS: Duration = Duration::from_secs(1);

/// How far it jumps, and how often, while all comes to rest: a start in doubt is looked for 26 times, each of them five seconds
/// after the one before by the clock that the agent sees.
const LEAP: i64 = 5;
const LEAPS_EVERY: Duration = Duration::from_millis(300);

/// Finds the library in the folder of this machine's architecture.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").expect("a folder").flatten().map(|entry| entry.path());
    let mut found = folders.map(|folder| folder.join("faketime/libfaketime.so.1")).filter(|path| path.exists());
    found.next().expect("libfaketime is missing; tests/run installs it")
}

/// Sets the clock that is shown; nobody sees half of it.
fn set(file: &Path, ahead: i64) {
    let new = file.with_extension("new");
    std::fs::write(&new, format!("{ahead:+}\n")).expect("a file");
    std::fs::rename(&new, file).expect("a file");
}

/// Shows the agent another time from now on.
fn show(scene: &mut Scene, file: &Path, ahead: i64) {
    set(file, ahead);
    scene.clock_was_set(SignedDuration::from_secs(ahead));
}

/// Lets what is started from now on see the clock of a file.
fn wrap(home: &mut Home) -> PathBuf {
    let file = home.path().join("clock");
    let (library, shown) = (library().display().to_string(), file.display().to_string());
    home.wrap(&[
        "env",
        &format!("LD_PRELOAD={library}"),
        &format!("FAKETIME_TIMESTAMP_FILE={shown}"),
        "FAKETIME_NO_CACHE=1",
        "FAKETIME_DONT_FAKE_MONOTONIC=1",
        "DONT_FAKE_MONOTONIC=1",
    ]);
    file
}

fn scene(store: StoreKind) -> (Scene, PathBuf) {
    let mut scene = Scene::around(store, 300.0, &STEPS.into());
    let file = wrap(&mut scene.home);
    (scene, file)
}

fn clock_steps(store: StoreKind) {
    let (mut scene, file) = scene(store);
    show(&mut scene, &file, 0);
    let mut agent = scene.home.agent();
    eventually("a first experiment", || scene.stage.experiments().into_iter().next());
    for (n, ahead) in (0..size("CLOCK_ROUNDS", 1)).flat_map(|_| STEPS).enumerate() {
        // One settles while the clock is set, one runs, and one begins after it.
        scene.send(&format!("before-{n}"), 1);
        let was = scene.stage.experiments().len();
        assert!(scene.start());
        within(SETTLES, "a run under way", || (scene.stage.experiments().len() > was).then_some(()));
        show(&mut scene, &file, ahead);
        scene.send(&format!("after-{n}"), 2);
        let_pass(STAYS);
        if n % 2 == 1 {
            // As if the machine had been asleep.
            agent.kill_nine();
            agent = scene.home.agent();
            scene.kills += 1;
        }
    }
    assert_eq!(agent.terminate(), 0);
    scene.configure(Schedules::Off);
    let agent = scene.home.agent();
    let mut ahead = STEPS[STEPS.len() - 1];
    within(SETTLES, "every run over and the queue empty", || {
        ahead += LEAP;
        show(&mut scene, &file, ahead);
        agent.signal("HUP");
        let_pass(LEAPS_EVERY);
        scene.is_at_rest().then_some(())
    });
    assert_eq!(agent.terminate(), 0);
    let shown = scene.home.runs().iter().map(|run| run.opened_at).max().expect("runs");
    assert!(shown > now() + SignedDuration::from_hours(24), "the agent saw no other time: {shown}");
    assert!(scene.home.runs().iter().filter(|run| run.fis.is_some()).any(is_of_slot), "no slot was run");
    scene.verdict("clock steps");
}

#[test]
fn clock_steps_start_nothing_twice_and_nothing_in_a_blackout() {
    clock_steps(StoreKind::asked());
}

/// A lease goes by a clock that nobody sets.
#[test]
fn clock_steps_start_nothing_twice_over_postgres() {
    clock_steps(StoreKind::Postgres);
}

/// Before its clock is right a machine may think that it is another year. What was old before goes all the same.
#[test]
fn agent_that_starts_with_a_clock_far_ahead_keeps_its_history() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let tables = format!("history = \"1d\"\n[experiments.drill]\ntemplate = \"{template}\"\n");
    let mut home = Home::new(&stage.url(), &tables);
    let agent = home.agent();
    for _ in 0..2 {
        assert_eq!(home.json(&["start", "drill", "--wait"])["state"]["phase"], "finished");
    }
    assert_eq!(agent.terminate(), 0);
    let newest = home.runs()[0].id.clone();
    disk::execute(
        &home,
        "UPDATE runs SET changed_at_us = changed_at_us - 172800000000 WHERE opened_at_us = (SELECT MIN(opened_at_us) FROM runs)",
    );

    let file = wrap(&mut home);
    // Housekeeping comes seventeen seconds after the eleventh minute of an hour.
    let to_minute = |minute: i64| 200 * 86_400 + (minute * 60 - now().as_second()).rem_euclid(3_600);
    let ahead = to_minute(10);
    set(&file, ahead);
    let agent = home.agent();
    set(&file, ahead + 70);
    home.wait_for_log("old history deleted");
    assert_eq!(home.runs().into_iter().map(|run| run.id).collect::<Vec<_>>(), [newest]);
    assert_eq!(agent.terminate(), 0);
}

fn is_of_slot(run: &Run) -> bool {
    run.trigger.kind() == "slot"
}
