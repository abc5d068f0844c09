//! A disk that is full or read-only, and a store that is deleted or overwritten under the agent: nothing is started without
//! a record, and what cannot be trusted is refused.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write as _},
    os::unix::{
        fs::{FileExt, MetadataExt},
        process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firedrill::cli::context::now;

use super::scene::{Scene, Schedules, StoreKind};
use crate::support::{
    PATIENCE,
    agent::{Agent, Home},
    eventually, let_pass, within,
};

/// Size of the small disk; the store has about a megabyte of it.
const DISK: &str = "size=8m";

/// Longest time for which the disk of a running agent is read-only; who is not root cannot end it before.
const READ_ONLY_FOR: Duration = Duration::from_secs(20);

/// How long it is watched that nothing starts.
const WATCHED: Duration = Duration::from_secs(2);

/// The agent's state on a file system of its own, in a mount namespace that lives as long as this.
struct SmallDisk {
    keeper: Agent,
    state: PathBuf,
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").expect("a process").uid() == 0
}

/// How `nsenter` gets there.
fn enter() -> &'static [&'static str] {
    if is_root() { &["-m"] } else { &["-U", "-m", "--preserve-credentials"] }
}

impl SmallDisk {
    /// Mounts it over the state directory of a home whose commands see it from now on.
    fn mount(home: &mut Home) -> Self {
        std::fs::create_dir_all(home.state()).expect("a folder");
        let state = home.state().display().to_string();
        let mount = format!("mount -t tmpfs -o {DISK},mode=0700 tmpfs \"$0\" && echo mounted && exec sleep infinity");
        let mut command = Command::new("unshare");
        command.args([if is_root() { "-m" } else { "-rm" }, "sh", "-c", &mount, &state]);
        let spawned = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("unshare runs");
        let (output, errors) = (child.stdout.take().expect("a pipe"), child.stderr.take());
        let keeper = Agent::wrap(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        if line.trim() != "mounted" {
            let mut said = String::new();
            errors.expect("a pipe").read_to_string(&mut said).expect("text");
            panic!("a tmpfs cannot be mounted here; it takes CAP_SYS_ADMIN or user namespaces: {said}");
        }
        let pid = keeper.pid().to_string();
        home.wrap(&[&["nsenter", "-t", &pid], enter()].concat());
        Self { state: PathBuf::from(format!("/proc/{pid}/root{state}")), keeper }
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut ballast = File::create(self.state.join("ballast")).expect("a file");
        for size in [64 * 1024, 4 * 1024, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn relieve(&self) {
        std::fs::remove_file(self.state.join("ballast")).expect("a file");
    }

    fn remount(&self, home: &Home, how: &str) {
        let pid = self.keeper.pid().to_string();
        let option = format!("remount,bind,{how}");
        let args = [&["-t", &pid], enter(), &["mount", "-o", &option]].concat();
        let done = Command::new("nsenter").args(args).arg(home.state()).status().expect("nsenter runs");
        assert!(done.success(), "remount {how}");
    }

    /// Takes what is on it to the disk below; the agent has ended.
    fn unmount(self, home: &mut Home) {
        for entry in std::fs::read_dir(&self.state).expect("a folder").flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                std::fs::copy(entry.path(), home.state().join(entry.file_name())).expect("a copy");
            }
        }
        home.wrap(&[]);
    }
}

/// Waits until an agent in a namespace of its own answers.
fn answers(home: &Home) {
    eventually("an agent that answers", || (home.run(&["status"]).code == 0).then_some(()));
}

fn failure(home: &Home) -> Option<String> {
    home.json(&["status"])["store_failure"].as_str().map(str::to_owned)
}

/// Holds that nothing starts for a while; what was asked of FIS before may still arrive.
fn nothing_starts(scene: &Scene, why: &str) {
    let_pass(Duration::from_secs(1));
    let started = scene.stage.experiments().len();
    let until = Instant::now() + WATCHED;
    within(PATIENCE, "the time that it is watched", || {
        assert_eq!(scene.stage.experiments().len(), started, "{why}: {}", scene.home.log());
        (Instant::now() > until).then_some(())
    });
}

fn starts_again(scene: &Scene) {
    let started = scene.stage.experiments().len();
    eventually("a start", || (scene.stage.experiments().len() > started).then_some(()));
}

#[test]
fn a_full_disk_starts_nothing_loses_nothing_and_recovers() {
    let mut scene = Scene::new(StoreKind::Sqlite, 1_500.0, Schedules::On);
    let disk = SmallDisk::mount(&mut scene.home);
    let agent = scene.home.spawn();
    answers(&scene.home);
    starts_again(&scene);
    scene.cuts_off(&[&agent], |_| disk.fill());
    // The log of the database has some room of its own, for a while.
    within(PATIENCE * 2, "the failure in the status", || failure(&scene.home));
    scene.send("event-without-room", 2);
    nothing_starts(&scene, "a start without a record");
    assert!(!scene.start(), "a start that cannot be recorded is not acknowledged");
    disk.relieve();
    starts_again(&scene);
    eventually("an end of the failure", || failure(&scene.home).is_none().then_some(()));

    // It dies while there is no room, and comes up, or does not, as long as there is none.
    disk.fill();
    within(PATIENCE * 2, "the failure in the status", || failure(&scene.home));
    agent.kill_nine();
    scene.kills += 1;
    let agent = scene.home.spawn();
    nothing_starts(&scene, "a start without a record");
    disk.relieve();
    agent.kill_nine();
    scene.kills += 1;
    let agent = scene.home.spawn();
    answers(&scene.home);
    starts_again(&scene);
    assert_eq!(agent.terminate(), 0);
    disk.unmount(&mut scene.home);
    scene.ends();
    scene.verdict("disk full");
}

#[test]
fn a_read_only_disk_is_refused_at_the_start() {
    let mut scene = Scene::new(StoreKind::Sqlite, 1_500.0, Schedules::On);
    let disk = SmallDisk::mount(&mut scene.home);
    let agent = scene.home.spawn();
    answers(&scene.home);
    starts_again(&scene);
    agent.kill_nine();
    disk.remount(&scene.home, "ro");
    let started = scene.stage.experiments().len();
    let mut agent = scene.home.spawn();
    assert_eq!(agent.ends(PATIENCE).code(), Some(1), "{}", scene.home.log());
    assert_eq!(scene.stage.experiments().len(), started);
    assert!(scene.home.log().contains("Read-only file system"), "{}", scene.home.log());
    disk.remount(&scene.home, "rw");
    scene.kills += 1;
    let agent = scene.home.spawn();
    answers(&scene.home);
    starts_again(&scene);
    assert_eq!(agent.terminate(), 0);
    disk.unmount(&mut scene.home);
    scene.ends();
    scene.verdict("disk read-only");
}

/// Lets the agent's writes to files fail for a while, as if their file system had turned read-only.
fn writes_fail(agent: &Agent) -> Agent {
    let (seconds, pid) = (READ_ONLY_FOR.as_secs().to_string(), agent.pid().to_string());
    let calls = "pwrite64,ftruncate,fsync,fdatasync";
    let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error=EROFS"));
    let words =
        ["timeout", &seconds, "strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject, "-p", &pid];
    // The agent lets nobody else look into its memory.
    let words = [if is_root() { &[][..] } else { &["sudo", "-n"] }, &words].concat();
    Agent::wrap(Command::new(words[0]).args(&words[1..]).process_group(0).spawn().expect("strace runs"))
}

/// The file system turns read-only under the running agent, as after an error of the device: every write fails.
#[test]
fn a_disk_that_turns_read_only_starts_nothing_and_recovers() {
    let mut scene = Scene::new(StoreKind::Sqlite, 1_500.0, Schedules::On);
    let agent = scene.home.agent();
    starts_again(&scene);
    let mut strace = writes_fail(&agent);
    within(PATIENCE, "the failure in the status", || {
        assert!(strace.is_running(), "strace cannot trace the agent; root must be allowed to trace other processes");
        failure(&scene.home)
    });
    scene.send("event-that-cannot-be-kept", 2);
    nothing_starts(&scene, "a start without a record");
    assert!(!scene.start(), "a start that cannot be recorded is not acknowledged");
    if is_root() {
        strace.signal("TERM");
    }
    strace.ends(READ_ONLY_FOR);
    starts_again(&scene);
    eventually("an end of the failure", || failure(&scene.home).is_none().then_some(()));
    assert_eq!(agent.terminate(), 0);
    scene.ends();
    scene.verdict("disk turns read-only");
}

/// Removes the store under the agent; what is known is gone, so that only FIS can tell of doubles afterwards.
fn gone(experiment: &str, remove: impl FnOnce(&Home)) {
    let mut scene = Scene::new(StoreKind::Sqlite, 1_500.0, Schedules::On);
    let agent = scene.home.agent();
    scene.catches_up(Instant::now());
    // What the agent knows to go on is stopped all the same: that much is promised.
    scene.cuts_off(&[&agent], |scene| remove(&scene.home));
    scene.home.wait_for_log("the store failed; nothing starts");
    // What nobody may acknowledge is there for the next store.
    scene.forgets();
    scene.send("event-that-cannot-be-kept", 1);
    nothing_starts(&scene, "a start that only a deleted file knows of");
    agent.kill_nine();
    scene.kills += 1;
    // A new store begins: it does not make up for slots that it never knew, and what was begun before goes on to its end.
    scene.done.forgotten = Some(now());
    scene.ends();
    scene.verdict(experiment);
}

#[test]
fn a_store_deleted_under_the_agent_starts_nothing_more() {
    gone("store deleted", |home| {
        for file in ["firedrill.db", "firedrill.db-wal", "firedrill.db-shm"] {
            std::fs::remove_file(home.state().join(file)).expect("a file");
        }
    });
}

#[test]
fn a_state_directory_removed_under_the_agent_starts_nothing_more() {
    gone("state removed", |home| std::fs::remove_dir_all(home.state()).expect("a folder"));
}

/// Overwrites the file behind its header.
fn overwrite(home: &Home) {
    let file = File::options().write(true).open(home.state().join("firedrill.db")).expect("a file");
    let length = file.metadata().expect("a length").len();
    let garbage = vec![0xA5; usize::try_from(length - 4_096).expect("a length")];
    file.write_all_at(&garbage, 4_096).expect("written");
}

#[test]
fn a_store_overwritten_under_the_agent_starts_nothing_twice_and_is_refused_at_the_start() {
    let mut scene = Scene::new(StoreKind::Sqlite, 1_500.0, Schedules::On);
    let agent = scene.home.agent();
    scene.catches_up(Instant::now());
    assert_eq!(agent.terminate(), 0);
    let agent = scene.home.agent();
    scene.catches_up(Instant::now());
    scene.cuts_off(&[&agent], |scene| overwrite(&scene.home));
    // It may go on with what it has in memory for a while.
    scene.home.wait_for_log("the store failed; nothing starts");
    scene.send("event-after-the-damage", 2);
    nothing_starts(&scene, "a start that only a damaged file knows of");
    agent.kill_nine();
    scene.kills += 1;
    overwrite(&scene.home);
    let started = scene.stage.experiments().len();
    let mut agent = scene.home.spawn();
    assert_eq!(agent.ends(PATIENCE).code(), Some(1), "{}", scene.home.log());
    let log = scene.home.log();
    assert!(log.contains("is damaged") || log.contains("malformed"), "{log}");
    assert_eq!(scene.stage.experiments().len(), started, "a start from a damaged store");
    scene.verdict_of_fis("store overwritten");
}
