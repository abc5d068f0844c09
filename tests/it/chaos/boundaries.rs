//! kill −9 at each boundary of a start: before every system call by which the agent writes, sends or makes durable what it
//! does between being asked and having recorded the answer.
//!
//! `strace` holds each such call for some milliseconds before it is made, and whoever reads its trace kills the agent in the
//! n-th one. The kernel does not make a call that it was killed before.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use firedrill::domain::run::Run;

use super::{
    scene::{Scene, Schedules, StoreKind},
    size,
};
use crate::support::{PATIENCE, agent::Said, let_pass};

/// What others can see of a process: bytes written and sent, files made durable, cut or removed.
const CALLS: &str =
    "write,writev,pwrite64,sendto,sendmsg,fsync,fdatasync,ftruncate,connect,shutdown,unlink,unlinkat,rename";

/// How long each of them is held.
const HELD_US: u32 = 10_000;

/// Time between two looks at the trace.
const LOOK: Duration = Duration::from_millis(1);

/// After so long without a call the start may be over.
const QUIET: Duration = Duration::from_millis(300);

/// Agents side by side.
const LANES: usize = 4;

/// How many boundaries are tried in CI; all of them in a long run.
const TRIED: u64 = 24;

/// Most boundaries that a start can have; it has about a hundred.
const MOST: usize = 1_000;

/// How far a start had come when the agent was killed: in the store, and whether FIS has begun it.
type Phase = (&'static str, bool);

/// The calls in a trace, in the order in which they were begun.
fn calls(trace: &Path) -> Vec<String> {
    let text = String::from_utf8_lossy(&std::fs::read(trace).unwrap_or_default()).into_owned();
    let name = |line: &str| {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start();
        let (name, _) = call.split_once('(')?;
        CALLS.split(',').any(|known| known == name).then(|| name.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// One lane: an agent that is killed at its boundaries, restarted, and killed again.
struct Lane {
    scene: Scene,
    trace: PathBuf,
}

/// What became of a start.
struct Tried {
    /// The calls from the asking to the end, the last one not made.
    calls: Vec<String>,
    /// `None`: it went by without a kill.
    phase: Option<Phase>,
}

impl Lane {
    fn new() -> Self {
        let mut scene = Scene::new(StoreKind::asked(), 1_500.0, Schedules::Off);
        let trace = scene.home.path().join("trace");
        let held = format!("inject={CALLS}:delay_enter={HELD_US}");
        let path = trace.display().to_string();
        // The store is made without being watched.
        assert_eq!(scene.home.agent().terminate(), 0);
        // As a grandchild it may trace whom it is not the parent of, wherever tracing one's own children is allowed.
        scene.home.wrap(&["strace", "-D", "-f", "-qq", "-o", &path, "-e", &format!("trace={CALLS}"), "-e", &held]);
        Self { scene, trace }
    }

    /// Starts an agent, asks it for a run, and kills it before its n-th call since.
    fn attempt(&mut self, n: usize) -> Tried {
        std::fs::write(&self.trace, "").expect("a trace");
        let agent = self.scene.home.agent();
        self.scene.comes_to_rest();
        let (before, from) = (self.scene.stage.experiments().len(), calls(&self.trace).len());
        let mut cli = self.scene.home.plain(&["start", "by-hand"]);
        let asked = cli.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let is_hit = self.reaches(from + n, before);
        agent.kill_nine();
        let killed = calls(&self.trace).split_off(from);
        self.scene.kills += 1;
        let output = asked.wait_with_output().expect("what it said");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let run = said.split_whitespace().nth(1).filter(|_| output.status.success()).map(str::to_owned);
        self.scene.promised.extend(run);
        let phase = (is_hit && !self.is_recorded(before)).then(|| {
            let open = self.scene.home.runs().into_iter().find(|run| !run.is_over());
            let state = open.as_ref().map_or("unknown", |run| run.state.as_str());
            (state, self.scene.stage.experiments().len() > before)
        });
        Tried { calls: killed, phase }
    }

    /// Tells whether FIS began an experiment and the store knows of it.
    fn is_recorded(&self, before: usize) -> bool {
        let waits = |run: &Run| matches!(run.state.as_str(), "requested" | "held" | "starting");
        self.scene.stage.experiments().len() > before && !self.scene.home.runs().iter().any(waits)
    }

    /// Waits until so many calls have been begun; `false` when the start is recorded before.
    fn reaches(&self, count: usize, before: usize) -> bool {
        let (mut seen, mut grown) = (0, Instant::now());
        loop {
            let begun = calls(&self.trace).len();
            if begun >= count {
                return true;
            }
            if begun > seen {
                (seen, grown) = (begun, Instant::now());
            } else if grown.elapsed() > QUIET && self.is_recorded(before) {
                return false;
            }
            assert!(grown.elapsed() < PATIENCE, "neither recorded nor killed after {begun} calls");
            let_pass(LOOK);
        }
    }
}

/// Tells which boundaries to try of a start that makes these calls: all, or so many evenly chosen and the first and last of
/// each kind.
fn chosen(calls: &[String], tried: usize) -> BTreeSet<usize> {
    let mut chosen: BTreeSet<usize> = (0..tried).map(|n| 1 + n * calls.len() / tried).collect();
    for kind in calls {
        chosen.extend(calls.iter().position(|call| call == kind).map(|at| at + 1));
        chosen.extend(calls.iter().rposition(|call| call == kind).map(|at| at + 1));
    }
    chosen
}

fn strace_works() {
    let said = Said::by(Command::new("strace").args(["-D", "-f", "-qq", "-e", "trace=none", "true"]));
    assert_eq!(said.code, 0, "strace cannot trace a program here; a container must allow ptrace: {said:?}");
}

#[test]
fn kill_at_each_boundary_of_a_start_starts_nothing_twice() {
    strace_works();
    let mut first = Lane::new();
    let whole = first.attempt(MOST);
    assert!(whole.phase.is_none() && whole.calls.len() > 20, "a start makes more calls than {:?}", whole.calls);
    let tried = usize::try_from(size("BOUNDARIES", TRIED)).expect("a number").min(whole.calls.len());
    let targets = chosen(&whole.calls, tried);
    println!("{} boundaries of a start, {} tried: {:?}", whole.calls.len(), targets.len(), whole.calls);
    let left = Mutex::new(targets.into_iter().collect::<Vec<_>>());
    let hit: Mutex<BTreeMap<Phase, BTreeMap<String, usize>>> = Mutex::default();
    let work = |mut lane: Lane| {
        while let Some(n) = { left.lock().expect("no panic").pop() } {
            let tried = lane.attempt(n);
            let Some(phase) = tried.phase else { continue };
            let kind = tried.calls.last().expect("a call").clone();
            *hit.lock().expect("no panic").entry(phase).or_default().entry(kind).or_default() += 1;
        }
        lane.scene.home.wrap(&[]);
        let agent = lane.scene.home.agent();
        lane.scene.comes_to_rest();
        assert_eq!(agent.terminate(), 0);
        lane.scene.verdict("boundaries");
    };
    std::thread::scope(|scope| {
        for lane in std::iter::once(first).chain((1..LANES).map(|_| Lane::new())) {
            scope.spawn(move || work(lane));
        }
    });
    let hit = hit.into_inner().expect("no panic");
    println!("killed before: {hit:#?}");
    for phase in [("unknown", false), ("starting", false), ("starting", true)] {
        assert!(hit.contains_key(&phase), "no kill found the start {phase:?}: {hit:#?}");
    }
}
