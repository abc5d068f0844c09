//! One agent with plenty to do: slots every second or two, events, starts by hand, and windows that close again and again.

use std::{
    collections::BTreeSet,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use firedrill::{
    cli::context::now,
    domain::run::{Run, RunState, SkipReason, Trigger},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use crate::{
    process::deployment,
    support::{agent::Home, eventually, postgres::Postgres, stage::Stage, within},
};

/// Longest time until everything has come to rest: a start in doubt is looked for 26 times, 5 s apart, and only then tried
/// again.
pub const SETTLES: Duration = Duration::from_secs(240);

/// A call that was decided before a window closed, or before the clock was set, may arrive so long after.
pub const UNDER_WAY: SignedDuration = SignedDuration::from_secs(1);

/// The windows: one begins so long after the other, and lasts so long.
const CLOSES_EVERY: i64 = 7;
const CLOSED_FOR: i64 = 3;

/// How many of them there are: enough for the longest run.
const WINDOWS: i64 = 300;

/// As many where the clock is set to and fro.
const WINDOWS_AROUND: i64 = 18;

/// What has slots, and the time between two of them.
pub const SCHEDULED: [(&str, i64); 3] = [("in-the-gaps", 1), ("side-by-side", 2), ("one-by-one", 2)];

/// The database on the server.
pub const DATABASE: &str = "drills";

/// Where the agent keeps its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// A file in the state directory.
    Sqlite,
    /// A server of the scene's own.
    Postgres,
    /// Two of them, one of which follows the other.
    Followed,
}

impl StoreKind {
    /// What `tests/chaos --store` asks for; SQLite where nothing is said.
    pub fn asked() -> Self {
        match std::env::var("FIREDRILL_CHAOS_STORE").as_deref() {
            Err(_) | Ok("sqlite") => Self::Sqlite,
            Ok("postgres") => Self::Postgres,
            Ok(other) => panic!("chaos knows no store `{other}`; there are `sqlite` and `postgres`"),
        }
    }
}

/// Whether schedules are configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedules {
    On,
    Off,
}

/// An agent's world, and what was done to it.
pub struct Scene {
    pub store: StoreKind,
    pub stage: Stage,
    /// Where the rows are, if not in a file.
    pub server: Option<Postgres>,
    /// What follows it.
    pub standby: Option<Postgres>,
    pub home: Home,
    /// The home of a second replica.
    pub other: Option<Home>,
    pub queue: String,
    /// Where the agent's own events arrive.
    pub heard: String,
    template: String,
    pub begun: Timestamp,
    /// When nothing may start in `in-the-gaps`: `[from, until)`.
    pub closed: Vec<(Timestamp, Timestamp)>,
    /// Ids of the events that were sent.
    pub sent: Vec<String>,
    /// Runs that the agent acknowledged to whoever asked for them.
    pub promised: Vec<String>,
    /// Since when the agent's clock is so far ahead of the true time.
    clock: Vec<(Timestamp, SignedDuration)>,
    /// How often the agent was killed, stopped or robbed.
    pub kills: u64,
    pub takeovers: u64,
    pub longest_recovery: Duration,
    /// Longest time without an active replica after one was killed.
    pub longest_gap: Duration,
}

impl Scene {
    /// Sets a stage that is so many times as fast as AWS; no agent runs yet.
    pub fn new(store: StoreKind, speed: f64, schedules: Schedules) -> Self {
        Self::set(store, speed, schedules, &[0], WINDOWS)
    }

    /// As [`Scene::new`], with slots and with windows around each time that the clock will show, so many seconds ahead.
    pub fn around(store: StoreKind, speed: f64, steps: &BTreeSet<i64>) -> Self {
        let steps: Vec<i64> = steps.iter().copied().collect();
        Self::set(store, speed, Schedules::On, &steps, WINDOWS_AROUND)
    }

    fn set(store: StoreKind, speed: f64, schedules: Schedules, steps: &[i64], windows: i64) -> Self {
        let stage = Stage::start(speed);
        let (queue, heard) = (stage.queue("deployments"), stage.subscribe("firedrill", "heard"));
        let template = stage.template(&[("first", "PT5M", &[]), ("second", "PT5M", &["first"])]);
        let begun = now();
        let whole = Timestamp::from_second(begun.as_second()).expect("an instant");
        let window = |ahead: i64, n: i64| {
            let from = whole + SignedDuration::from_secs(ahead + n * CLOSES_EVERY);
            (from, from + SignedDuration::from_secs(CLOSED_FOR))
        };
        let closed = steps.iter().flat_map(|&ahead| (1..=windows).map(move |n| window(ahead, n))).collect();
        let (server, standby, home) = match store {
            StoreKind::Sqlite => (None, None, Home::new(&stage.url(), "")),
            StoreKind::Postgres | StoreKind::Followed => {
                // Commits are waited for on disk, and may be told to take long.
                let server = Postgres::with(&["commit_siblings=0"], None);
                server.database(DATABASE);
                let standby = (store == StoreKind::Followed).then(|| Postgres::following(&server));
                let home = Home::on(&stage.url(), "", &url([&server].into_iter().chain(&standby)), "one");
                (Some(server), standby, home)
            }
        };
        let scene = Self {
            store,
            server,
            standby,
            home,
            other: None,
            stage,
            queue,
            heard,
            template,
            begun,
            closed,
            clock: vec![(Timestamp::MIN, SignedDuration::ZERO)],
            sent: Vec::new(),
            promised: Vec::new(),
            kills: 0,
            takeovers: 0,
            longest_recovery: Duration::ZERO,
            longest_gap: Duration::ZERO,
        };
        scene.configure(schedules);
        scene
    }

    /// Adds a second replica; it does not run yet.
    pub fn with_a_second_replica(mut self) -> Self {
        // It finds the one that takes writes behind the one that does not.
        let url = url(self.standby.iter().chain(&self.server));
        self.other = Some(Home::on(&self.stage.url(), "", &url, "two"));
        self.configure(Schedules::On);
        self
    }

    /// The server that the rows are on.
    #[track_caller]
    pub fn server(&self) -> &Postgres {
        self.server.as_ref().expect("a server")
    }

    /// The homes of all replicas.
    pub fn homes(&self) -> impl Iterator<Item = &Home> {
        [&self.home].into_iter().chain(&self.other)
    }

    /// Writes the configuration; an agent reads it at its start, or when it is told to.
    pub fn configure(&self, schedules: Schedules) {
        let local = |at: &Timestamp| at.to_zoned(TimeZone::UTC).datetime().to_string();
        let dates: Vec<_> =
            self.closed.iter().map(|(from, until)| format!("\"{} - {}\"", local(from), local(until))).collect();
        let mut tables = format!(
            "[telemetry]\nlog_filter = \"warn\"\n[event_bus]\nname = \"default\"\n[queues.deployments]\nurl = \"{}\"\n\
             [windows.closed]\ndates = [{}]\non_entry = \"finish\"\nexperiments = [\"in-the-gaps\"]\n",
            self.queue,
            dates.join(", ")
        );
        let experiment = |name: &str, rest: &str| {
            let overlap = if name == "one-by-one" { "skip" } else { "allow" };
            format!("[experiments.{name}]\ntemplate = \"{}\"\noverlap = \"{overlap}\"\n{rest}\n", self.template)
        };
        for (name, seconds) in SCHEDULED {
            let often = format!("schedules = [{{ name = \"often\", cron = \"*/{seconds} * * * * *\" }}]");
            tables += &experiment(name, if schedules == Schedules::On { &often } else { "" });
        }
        tables += &experiment("by-hand", "");
        let trigger =
            "triggers = [{ pattern = { source = [\"com.example.ci\"] }, max_age = \"none\", settle = \"1s\" }]";
        tables += &experiment("after-deployment", trigger);
        self.homes().for_each(|home| home.configure(&tables));
    }

    /// Puts an event into the queue, so often.
    pub fn send(&mut self, id: &str, copies: u64) {
        (0..copies).for_each(|_| self.stage.send(&self.queue, &deployment(id)));
        self.sent.push(id.to_owned());
    }

    /// Asks for a start by hand; tells whether the agent acknowledged it.
    pub fn start(&mut self) -> bool {
        let said = self.home.run(&["start", "by-hand"]);
        let run = said.stdout.split_whitespace().nth(1).filter(|_| said.code == 0).map(str::to_owned);
        let acknowledged = run.is_some();
        self.promised.extend(run);
        acknowledged
    }

    /// Waits until the agent has decided all that was due or sent when it was started, and notes how long that took.
    pub fn catches_up(&mut self, started: Instant) {
        self.answers();
        let due = now();
        within(SETTLES, "an agent that has caught up", || {
            let runs = self.home.runs();
            let slots = SCHEDULED.iter().all(|(name, _)| {
                runs.iter().filter(|run| run.experiment.as_str() == *name).any(|run| slots(run).1 >= due)
            });
            (slots && self.events_are_known(&runs)).then_some(())
        });
        self.longest_recovery = self.longest_recovery.max(started.elapsed());
    }

    /// Waits until an agent listens.
    pub fn answers(&self) {
        let socket = self.home.state().join("firedrill.sock");
        eventually("an agent that answers", || UnixStream::connect(&socket).ok());
    }

    /// Lets slots come no more, what is left end, and the agent with it; an agent has decided everything before.
    pub fn ends(&mut self) {
        let started = Instant::now();
        let agent = self.home.agent();
        self.catches_up(started);
        assert_eq!(agent.terminate(), 0);
        self.configure(Schedules::Off);
        let agent = self.home.agent();
        self.comes_to_rest();
        assert_eq!(agent.terminate(), 0);
    }

    /// Notes that the agent's clock shows another time from now on, so far ahead of the true one.
    pub fn clock_was_set(&mut self, ahead: SignedDuration) {
        self.clock.push((now(), ahead));
    }

    /// What the agent's clock may have shown when it decided on a call that arrived at an instant.
    pub fn shown(&self, at: Timestamp) -> Vec<Timestamp> {
        let ends = self.clock.iter().skip(1).map(|(from, _)| *from + UNDER_WAY).chain([Timestamp::MAX]);
        let held = self.clock.iter().zip(ends).filter(|((from, _), end)| *from <= at && at < *end);
        held.map(|((_, ahead), _)| at + *ahead).collect()
    }

    fn events_are_known(&self, runs: &[Run]) -> bool {
        let known: BTreeSet<_> = runs.iter().filter_map(event).collect();
        self.sent.iter().all(|id| known.contains(id.as_str()))
    }

    /// Waits until every event is known, every run over and the queue empty; slots must come no more.
    pub fn comes_to_rest(&self) {
        self.stage.no_faults();
        within(SETTLES, "every run over and the queue empty", || {
            let runs = self.home.runs();
            let over = self.events_are_known(&runs) && runs.iter().all(Run::is_over);
            (over && self.stage.depth(&self.queue) == 0).then_some(())
        });
    }
}

/// Where the rows are: on a server, or on the one of two that takes writes.
fn url<'a>(servers: impl Iterator<Item = &'a Postgres>) -> String {
    let folders = servers.map(|server| server.folder().display().to_string());
    format!("postgres:///{DATABASE}?host={}&user=postgres", folders.collect::<Vec<_>>().join(","))
}

/// The event that opened a run.
pub fn event(run: &Run) -> Option<&str> {
    match &run.trigger {
        Trigger::Event { event_id, .. } => Some(event_id),
        _ => None,
    }
}

/// The first and the last slot that a run of a schedule decides.
pub fn slots(run: &Run) -> (Timestamp, Timestamp) {
    match (&run.trigger, &run.state) {
        (Trigger::Slot { at, .. }, RunState::Skipped { reason: SkipReason::Missed { through, .. }, .. }) => {
            (*at, *through)
        }
        (Trigger::Slot { at, .. }, _) => (*at, *at),
        other => panic!("{other:?}"),
    }
}
