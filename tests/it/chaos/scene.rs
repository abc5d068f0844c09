//! One agent with plenty to do: slots every second or two, events, starts by hand, and windows that close again and again.

use std::{
    collections::BTreeSet,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use firedrill::{
    cli::context::now,
    domain::{
        fis::FisStatus,
        ids::EXPERIMENT_TAG,
        run::{Run, RunState, SkipReason, Trigger},
    },
    simulator::ExperimentRecord,
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::record::Done;
use crate::{
    process::deployment,
    support::{
        agent::{Agent, Home},
        chance::Chance,
        eventually,
        postgres::Postgres,
        stage::Stage,
        within,
    },
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
pub const SCHEDULED: [(&str, i64); 3] = [("in-the-gaps", 1), ("side-by-side", 2), (ONE_BY_ONE, 1)];

/// What goes on for longer than the time between its slots, never beside itself, and is stopped where a window closes.
pub const ONE_BY_ONE: &str = "one-by-one";

/// How long that goes on if nobody stops it, in seconds: longer than it may where a window closes. FIS has a limit of its own,
/// here less what it takes besides, in minutes.
const LONG: f64 = 6.0;
const LONGEST_MINUTES: f64 = 700.0;

/// How long the windows are that are declared at short notice.
pub const BLACKOUT: SignedDuration = SignedDuration::from_secs(8);

/// Rate of FIS's events that are lost, that come twice, and that the next one overtakes; and how late they are, in seconds.
const BAD_EVENTS: f64 = 0.2;
const LATE: f64 = 0.3;

/// What may go wrong with a call: nothing that ends a run for good.
const FAULTS: [(&str, &str); 12] = [
    ("StartExperiment", "throttle"),
    ("StartExperiment", "500-after"),
    ("StartExperiment", "reset-after"),
    ("StartExperiment", "lost-reply"),
    ("StartExperiment", "null-in-map"),
    ("ListExperiments", "throttle"),
    ("ListExperiments", "reset-before"),
    ("GetExperiment", "500-before"),
    ("GetExperimentTemplate", "reset-after"),
    ("ReceiveMessage", "reset-after"),
    ("DeleteMessageBatch", "500-before"),
    ("DeleteMessageBatch", "reset-after"),
];

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
    pub done: Done,
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
    long_template: String,
    schedules: Schedules,
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
        let minutes = (LONG * speed / 60.0).min(LONGEST_MINUTES);
        let long_template = stage.template_of("long", &[("all", &format!("PT{minutes:.0}M"), &[])]);
        stage.lead("aws.fis", "deployments");
        stage.unreliable_events(BAD_EVENTS, SignedDuration::from_secs_f64((LATE * speed).round()));
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
        let mut scene = Self {
            done: Done::new(store, schedules, begun, closed),
            server,
            standby,
            home,
            other: None,
            stage,
            queue,
            heard,
            template,
            long_template,
            schedules,
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
    pub fn configure(&mut self, schedules: Schedules) {
        self.schedules = schedules;
        let local = |at: &Timestamp| at.to_zoned(TimeZone::UTC).datetime().to_string();
        let dates = |of: &[(Timestamp, Timestamp)]| {
            let dates: Vec<_> =
                of.iter().map(|(from, until)| format!("\"{} - {}\"", local(from), local(until))).collect();
            dates.join(", ")
        };
        let mut tables = format!(
            "[telemetry]\nlog_filter = \"warn\"\n[event_bus]\nname = \"default\"\n[queues.deployments]\nurl = \"{}\"\n\
             [windows.closed]\ndates = [{}]\non_entry = \"finish\"\nexperiments = [\"in-the-gaps\"]\n",
            self.queue,
            dates(&self.done.closed)
        );
        if !self.done.blackouts.is_empty() {
            tables += &format!(
                "[windows.blackout]\ndates = [{}]\nstop_lead = \"0s\"\nexperiments = [\"{ONE_BY_ONE}\"]\n",
                dates(&self.done.blackouts)
            );
        }
        let experiment = |name: &str, rest: &str| {
            let (overlap, template) =
                if name == ONE_BY_ONE { ("skip", &self.long_template) } else { ("allow", &self.template) };
            format!("[experiments.{name}]\ntemplate = \"{template}\"\noverlap = \"{overlap}\"\n{rest}\n")
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

    /// Closes a window over `one-by-one` now, of which nobody knew; the agents read of it.
    pub fn close(&mut self, agents: &[&Agent]) {
        let from = now();
        let whole = |at: SignedDuration| from.round(jiff::Unit::Second).expect("an instant") + at;
        self.done.blackouts.push((whole(SignedDuration::ZERO), whole(BLACKOUT)));
        self.configure(self.schedules);
        self.done.reloads.push(from);
        agents.iter().for_each(|agent| agent.signal("HUP"));
    }

    /// Closes a window under an experiment that goes on, right after something else was done, and waits until it is stopped.
    pub fn cuts_off(&mut self, agents: &[&Agent], amid: impl FnOnce(&mut Self)) {
        self.all_is_well();
        let going = within(SETTLES, "an experiment that has just begun", || {
            let is_new = |of: &ExperimentRecord| now().duration_since(of.created_at) < UNDER_WAY / 2;
            let going = |of: &ExperimentRecord| named(of) == ONE_BY_ONE && of.status == FisStatus::Running;
            self.stage.experiments().into_iter().find(|of| going(of) && is_new(of))
        });
        amid(self);
        self.close(agents);
        let ended = eventually("its end", || {
            let experiments = self.stage.experiments();
            experiments.into_iter().find(|of| of.id == going.id && of.status.is_terminal())
        });
        assert_eq!(ended.status, FisStatus::Stopped, "{ended:?}: {}", self.home.log());
    }

    /// Lets some calls go wrong, and experiments stay where they are for a while.
    pub fn meddle(&mut self, chance: &mut Chance) {
        for _ in 0..chance.between(0, 2) {
            let (operation, fault) = chance.pick(&FAULTS);
            self.stage.fault(operation, fault, 1);
            self.done.lost_answers += usize::from(operation == "StartExperiment");
        }
        let states = chance.pick(&[&[][..], &[], &[], &["initiating"], &["stopping"], &["initiating", "stopping"]]);
        self.sticks(states);
    }

    /// Lets no experiment leave these states from now on; with none of them, all go on.
    pub fn sticks(&mut self, states: &[&str]) {
        self.stage.stuck(states);
        self.done.stuck.push((now(), !states.is_empty()));
    }

    /// Lets FIS and SQS answer, and do as they are told.
    fn all_is_well(&mut self) {
        self.stage.no_faults();
        self.sticks(&[]);
    }

    /// Puts an event into the queue, so often.
    pub fn send(&mut self, id: &str, copies: u64) {
        (0..copies).for_each(|_| self.stage.send(&self.queue, &deployment(id)));
        self.done.sent.push(id.to_owned());
    }

    /// Asks for a start by hand; tells whether the agent acknowledged it.
    pub fn start(&mut self) -> bool {
        let said = self.home.run(&["start", "by-hand"]);
        let run = said.stdout.split_whitespace().nth(1).filter(|_| said.code == 0).map(str::to_owned);
        let acknowledged = run.is_some();
        self.done.promised.extend(run);
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
        // Nobody waits for what takes long.
        self.all_is_well();
        self.close(&[&agent]);
        let is_left = |of: &ExperimentRecord| named(of) == ONE_BY_ONE && !of.status.is_terminal();
        eventually("the end of what takes long", || (!self.stage.experiments().iter().any(is_left)).then_some(()));
        assert_eq!(agent.terminate(), 0);
        self.configure(Schedules::Off);
        let agent = self.home.agent();
        self.comes_to_rest();
        assert_eq!(agent.terminate(), 0);
    }

    /// Notes that all that the store knew is lost: the events that came before, too.
    pub fn forgets(&mut self) {
        self.done.forgotten = Some(now());
        self.done.sent.clear();
    }

    /// Notes that the agent's clock shows another time from now on, so far ahead of the true one.
    pub fn clock_was_set(&mut self, ahead: SignedDuration) {
        self.done.clock.push((now(), ahead));
    }

    fn events_are_known(&self, runs: &[Run]) -> bool {
        let known: BTreeSet<_> = runs.iter().filter_map(event).collect();
        self.done.sent.iter().all(|id| known.contains(id.as_str()))
    }

    /// Waits until every event is known, every run over and the queue empty; slots must come no more.
    pub fn comes_to_rest(&mut self) {
        self.all_is_well();
        within(SETTLES, "every run over and the queue empty", || self.is_at_rest().then_some(()));
    }

    /// Tells whether every event is known, every run over and the queue empty.
    pub fn is_at_rest(&self) -> bool {
        let runs = self.home.runs();
        let over = self.events_are_known(&runs) && runs.iter().all(Run::is_over);
        over && self.stage.depth(&self.queue) == 0
    }
}

/// Where the rows are: on a server, or on the one of two that takes writes.
fn url<'a>(servers: impl Iterator<Item = &'a Postgres>) -> String {
    let folders = servers.map(|server| server.folder().display().to_string());
    format!("postgres:///{DATABASE}?host={}&user=postgres", folders.collect::<Vec<_>>().join(","))
}

/// The name of the experiment that one of FIS's belongs to.
pub fn named(experiment: &ExperimentRecord) -> &str {
    experiment.tags.get(EXPERIMENT_TAG).map_or("", String::as_str)
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
