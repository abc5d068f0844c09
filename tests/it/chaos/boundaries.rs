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

/// Agents side by side.
const LANES: usize = 4;

/// How many boundaries of each phase are tried in CI; a long run tries all.
const TRIED: u64 = 4;

/// As many on a server, where each agent waits for the lease of the one before.
const TRIED_ON_A_SERVER: u64 = 1;

/// Most further tries for a phase that none of them hit: what else the agent does moves the boundaries a little.
const FURTHER: usize = 16;

/// How far a start has come: what the store says, and whether FIS has begun an experiment.
type Phase = (&'static str, bool);

/// Those in which a kill counts, in their order.
const PHASES: [Phase; 4] = [("unknown", false), ("requested", false), ("starting", false), ("starting", true)];

/// The phase in which nothing is in doubt any more.
const RECORDED: Phase = ("recorded", true);

/// A start is not looked at more often than this to see whether it is recorded.
const RECORDED_AFTER: Duration = Duration::from_millis(500);

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

/// What became of a start: the calls that were begun, the last one not made, and how far it had come.
struct Tried {
    calls: Vec<String>,
    phase: Phase,
}

impl Lane {
    fn new(store: StoreKind) -> Self {
        let mut scene = Scene::new(store, 1_500.0, Schedules::Off);
        let trace = scene.home.path().join("trace");
        let held = format!("inject={CALLS}:delay_enter={HELD_US}");
        let path = trace.display().to_string();
        // The store is made without being watched.
        assert_eq!(scene.home.agent().terminate(), 0);
        // As a grandchild it may trace whom it is not the parent of, wherever tracing one's own children is allowed.
        scene.home.wrap(&["strace", "-D", "-f", "-qq", "-o", &path, "-e", &format!("trace={CALLS}"), "-e", &held]);
        Self { scene, trace }
    }

    /// Starts an agent, asks it for a run, and kills it when it is time: told of how many calls it has begun since, and of
    /// how many experiments there were before.
    fn watch(&mut self, mut is_time: impl FnMut(&Scene, usize, usize) -> bool) -> Tried {
        std::fs::write(&self.trace, "").expect("a trace");
        let agent = self.scene.home.agent();
        self.scene.comes_to_rest();
        let (before, from) = (self.scene.stage.experiments().len(), calls(&self.trace).len());
        let mut cli = self.scene.home.plain(&["start", "by-hand"]);
        let asked = cli.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let since = Instant::now();
        while !is_time(&self.scene, calls(&self.trace).len() - from, before) {
            assert!(since.elapsed() < PATIENCE, "neither recorded nor killed: {}", self.scene.home.log());
            let_pass(LOOK);
        }
        agent.kill_nine();
        self.scene.kills += 1;
        let calls = calls(&self.trace).split_off(from);
        let output = asked.wait_with_output().expect("what it said");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let run = said.split_whitespace().nth(1).filter(|_| output.status.success()).map(str::to_owned);
        self.scene.done.promised.extend(run);
        Tried { calls, phase: phase(&self.scene, before) }
    }

    /// Kills it before the n-th call, unless the start is recorded before that.
    fn attempt(&mut self, n: usize) -> Tried {
        let mut looked = Instant::now();
        self.watch(|scene, begun, before| {
            // A look at the store may take longer than a call is held.
            let is_due = begun < n && looked.elapsed() > RECORDED_AFTER;
            if is_due {
                looked = Instant::now();
            }
            begun >= n || (is_due && phase(scene, before) == RECORDED)
        })
    }

    /// Kills it as soon as the start has come so far, or is recorded.
    fn catch(&mut self, wanted: Phase) -> Tried {
        self.watch(|scene, _, before| [wanted, RECORDED].contains(&phase(scene, before)))
    }

    /// Lets a start go by, and returns how many calls it had begun when each phase was first and last seen.
    fn outline(&mut self) -> (BTreeMap<Phase, (usize, usize)>, Vec<String>) {
        let mut seen: BTreeMap<Phase, (usize, usize)> = BTreeMap::new();
        let tried = self.watch(|scene, begun, before| {
            let phase = phase(scene, before);
            seen.entry(phase).or_insert((begun, begun)).1 = begun;
            phase == RECORDED
        });
        (seen, tried.calls)
    }
}

/// How far the newest start has come; there were so many experiments before it.
fn phase(scene: &Scene, before: usize) -> Phase {
    let began = scene.stage.experiments().len() > before;
    let open = scene.home.runs().into_iter().find(|run| !run.is_over());
    match open.as_ref().map(|run| run.state.as_str()) {
        Some("requested" | "held") => ("requested", began),
        Some("starting") => ("starting", began),
        None if !began => ("unknown", false),
        _recorded => RECORDED,
    }
}

/// Tells which boundaries to try, given when each phase was seen: so many of each, evenly, and those around each change; or
/// all there are.
fn chosen(seen: &BTreeMap<Phase, (usize, usize)>, of_each: usize) -> BTreeSet<usize> {
    let most = seen.get(&RECORDED).map_or(0, |(first, _)| *first);
    if of_each >= most {
        return (1..=most).collect();
    }
    let within = |(first, last): &(usize, usize)| {
        let (first, length) = (*first, last - first + 1);
        (0..of_each).map(move |n| first + n * length / of_each).chain([first + 1, first + 2])
    };
    PHASES.iter().filter_map(|phase| seen.get(phase)).flat_map(within).filter(|n| *n > 0).collect()
}

/// What is still to be tried, and what was hit.
struct Plan {
    targets: Vec<usize>,
    further: usize,
    hit: BTreeMap<Phase, BTreeMap<String, usize>>,
}

impl Plan {
    fn next(&mut self) -> Option<Aim> {
        self.targets.pop().map(Aim::Before).or_else(|| {
            let missing = PHASES.iter().find(|phase| !self.hit.contains_key(*phase))?;
            self.further = self.further.checked_sub(1)?;
            Some(Aim::In(*missing))
        })
    }
}

/// When an agent is killed.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// Before the n-th call.
    Before(usize),
    /// As soon as the start is seen to have come so far.
    In(Phase),
}

fn strace_works() {
    let said = Said::by(Command::new("strace").args(["-D", "-f", "-qq", "-e", "trace=none", "true"]));
    assert_eq!(said.code, 0, "strace cannot trace a program here; a container must allow ptrace: {said:?}");
}

/// Kills agents at so many boundaries of each phase.
fn kills(store: StoreKind, of_each: u64) {
    strace_works();
    let mut first = Lane::new(store);
    let (seen, whole) = first.outline();
    let targets = chosen(&seen, usize::try_from(of_each).expect("a number"));
    println!("a start: {seen:?}\n{} boundaries, {} tried, of {whole:?}", whole.len(), targets.len());
    let targets = targets.into_iter().collect();
    let plan = Mutex::new(Plan { targets, further: FURTHER, hit: BTreeMap::new() });
    let work = |mut lane: Lane| {
        while let Some(aim) = { plan.lock().expect("no panic").next() } {
            let Tried { calls, phase } = match aim {
                Aim::Before(n) => lane.attempt(n),
                Aim::In(phase) => lane.catch(phase),
            };
            let kind = calls.last().cloned().unwrap_or_default();
            *plan.lock().expect("no panic").hit.entry(phase).or_default().entry(kind).or_default() += 1;
        }
        lane.scene.home.wrap(&[]);
        let agent = lane.scene.home.agent();
        lane.scene.comes_to_rest();
        assert_eq!(agent.terminate(), 0);
        lane.scene.verdict("boundaries");
    };
    std::thread::scope(|scope| {
        for _ in 1..LANES {
            scope.spawn(|| work(Lane::new(store)));
        }
        work(first);
    });
    let hit = plan.into_inner().expect("no panic").hit;
    println!("killed before: {hit:?}");
    for phase in PHASES {
        assert!(hit.contains_key(&phase), "no kill found the start {phase:?}: {hit:?}");
    }
}

#[test]
fn kill_at_each_boundary_of_a_start_starts_nothing_twice() {
    kills(StoreKind::asked(), size("BOUNDARIES", TRIED));
}

#[test]
fn kill_at_boundaries_of_a_start_starts_nothing_twice_over_postgres() {
    kills(StoreKind::Postgres, TRIED_ON_A_SERVER);
}
