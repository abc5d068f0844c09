//! A simulator of FIS, SQS and EventBridge on one loopback port, for the demo and for tests.
//!
//! It speaks AWS's wire protocols, so the agent, the AWS CLI and the SDKs use it unchanged. Requests come in at
//! `server`; operations are plain functions on the state, under one lock that is never held over an await; an
//! experiment's life is the pure machine in `experiment`. It must never be reachable from another machine, as it checks
//! no credentials. Where AWS's behaviour is not documented, a comment at the place says that the choice is the
//! simulator's.

mod choices;
mod clock;
mod cloudwatch;
mod control;
mod dispatch;
mod eventbridge;
mod faults;
mod fis;
mod ids;
mod line;
mod md5;
mod server;
mod sqs;
mod wire;

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{net::TcpListener, sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use self::{
    choices::Choices,
    fis::{ActionRecord, ExperimentRecord, Inventory, InventoryError, KeepLog, Resource},
};
use self::{
    clock::{Clock, Pace},
    cloudwatch::Alarms,
    eventbridge::{Buses, Delivery},
    faults::Faults,
    fis::{
        Fis,
        experiment::{Experiment, World},
        targets::Account,
    },
    ids::Ids,
    line::{Lines, Switch},
    sqs::Queues,
};
use crate::domain::fis::FisStatus;

/// Longest wait for open connections at shutdown; what is still open then is dropped.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// How the simulator is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; it must be a loopback address. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Declared durations are divided by this; finite and more than zero.
    pub speed: f64,
    /// Region in ARNs and events.
    pub region: String,
    /// Account in ARNs and events.
    pub account: String,
    /// Resources that targets can resolve to.
    pub inventory: Inventory,
    /// Seed of every choice that is random at AWS. Ids differ at each start all the same.
    pub seed: u64,
    /// What the simulator does where AWS's documents are silent.
    pub choices: Choices,
    /// Whether experiment logs are recorded, see [`Simulator::take_log`].
    pub keep_log: KeepLog,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            speed: 1.0,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            inventory: Inventory::Invented,
            seed: 0,
            choices: Choices::default(),
            keep_log: KeepLog::No,
        }
    }
}

/// A running simulator. Dropping it stops it; [`shutdown`](Self::shutdown) also waits for the end.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What does not change while the simulator runs.
#[derive(Debug)]
struct Scene {
    addr: SocketAddr,
    region: String,
    account: String,
    seed: u64,
}

/// What every experiment depends on beside itself, and what can be changed from outside.
#[derive(Debug)]
struct Setting {
    clock: Clock,
    choices: Choices,
    alarms: Alarms,
    inventory: Inventory,
    /// Statuses that no experiment leaves.
    stuck: BTreeSet<FisStatus>,
    keep_log: KeepLog,
}

/// Everything that changes.
#[derive(Debug)]
struct State {
    setting: Setting,
    fis: Fis,
    queues: Queues,
    buses: Buses,
    faults: Faults,
    ids: Ids,
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    scene: Scene,
    state: Mutex<State>,
    /// Told when a message may have become receivable.
    news: Notify,
    /// Told when the next due time of an experiment may have changed.
    plans: Notify,
    stopping: CancellationToken,
}

/// Starts a simulator.
///
/// # Errors
/// `InvalidInput` when the address is not a loopback address or the speed is not a finite number above zero; otherwise
/// what binding the port says.
pub async fn start(options: Options) -> io::Result<Simulator> {
    let refused = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if !options.listen.ip().is_loopback() {
        return Err(refused(format!("the simulator listens on loopback addresses only, not on {}", options.listen)));
    }
    let pace = Pace::new(options.speed)
        .ok_or_else(|| refused(format!("speed must be a finite number above zero, not {}", options.speed)))?;
    let listener = TcpListener::bind(options.listen).await?;
    let scene =
        Scene { addr: listener.local_addr()?, region: options.region, account: options.account, seed: options.seed };
    let state = State {
        setting: Setting {
            clock: Clock::new(pace),
            choices: options.choices,
            alarms: Alarms::default(),
            inventory: options.inventory,
            stuck: BTreeSet::new(),
            keep_log: options.keep_log,
        },
        fis: Fis::default(),
        queues: Queues::default(),
        buses: Buses::default(),
        faults: Faults::default(),
        ids: Ids::new(options.seed, clock::wall()),
    };
    let shared = Arc::new(Shared {
        scene,
        state: Mutex::new(state),
        news: Notify::new(),
        plans: Notify::new(),
        stopping: CancellationToken::new(),
    });
    let service = server::router(Arc::clone(&shared)).into_make_service_with_connect_info::<Switch>();
    let stopping = shared.stopping.clone().cancelled_owned();
    let serving = async move {
        // Serving ends only by the signal: accept errors are retried in `line`.
        if let Err(error) = axum::serve(Lines(listener), service).with_graceful_shutdown(stopping).await {
            tracing::error!("the simulator stopped serving: {error}");
        }
    };
    let tasks = vec![tokio::spawn(serving), tokio::spawn(server::tick(Arc::clone(&shared)))];
    Ok(Simulator { shared, tasks })
}

impl Simulator {
    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.shared.scene.addr
    }

    /// The endpoint URL for FIS, SQS and EventBridge clients, without a slash at the end.
    pub fn url(&self) -> String {
        self.shared.scene.url()
    }

    /// Every experiment that was started, in that order, as of now.
    pub fn experiments(&self) -> Vec<ExperimentRecord> {
        self.shared.with(|state, _now| state.fis.experiments().map(Experiment::record).collect())
    }

    /// Takes the lines of experiment logs recorded since the last call, each with the id of its experiment.
    pub fn take_log(&self) -> Vec<(String, String)> {
        self.shared.with(|state, _now| state.fis.take_log())
    }

    /// Stops it and waits until its tasks have ended; connections that do not close in time are dropped.
    pub async fn shutdown(mut self) {
        self.shared.stopping.cancel();
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(SHUTDOWN_PATIENCE, &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
    }
}

impl Shared {
    /// Brings the state up to the present, calls `act` on it, puts events on the bus and wakes whoever waits for them.
    fn with<R>(&self, act: impl FnOnce(&mut State, Timestamp) -> R) -> R {
        // A panic elsewhere leaves the state as usable as it was: each operation checks before it changes.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.setting.clock.now();
        let due = state.advance(&self.scene, now);
        let result = act(&mut state, now);
        // An alarm that was just set stops experiments at once; a jump of the clock is seen at once.
        let now = state.setting.clock.now();
        let plans = state.advance(&self.scene, now);
        let news = state.queues.take_news();
        drop(state);
        if news {
            self.news.notify_waiters();
        }
        if plans != due {
            self.plans.notify_one();
        }
        result
    }
}

impl State {
    /// Brings experiments up to `now`, publishes what happened, and returns when something happens next.
    fn advance(&mut self, scene: &Scene, now: Timestamp) -> Option<Timestamp> {
        self.fis.advance(self.setting.world(scene), now);
        self.publish(scene, now);
        self.fis.next_due()
    }

    fn publish(&mut self, scene: &Scene, now: Timestamp) {
        for emission in self.fis.take_outbox() {
            let mut delivery = Delivery { queues: &mut self.queues, ids: &mut self.ids, scene, now };
            self.buses.put_emission(emission, &mut delivery);
        }
    }
}

impl Setting {
    fn world<'a>(&'a self, scene: &'a Scene) -> World<'a> {
        let account =
            Account { inventory: &self.inventory, region: &scene.region, account: &scene.account, seed: scene.seed };
        World {
            pace: self.clock.pace(),
            account,
            choices: &self.choices,
            alarms: &self.alarms,
            stuck: &self.stuck,
            keep_log: self.keep_log,
        }
    }
}

impl Scene {
    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.url(), self.account)
    }

    fn bus_arn(&self, name: &str) -> String {
        format!("arn:aws:events:{}:{}:event-bus/{name}", self.region, self.account)
    }

    /// A rule of a bus of its own carries the bus in its ARN.
    fn rule_arn(&self, bus: &str, name: &str) -> String {
        let bus = if bus == "default" { String::new() } else { format!("{bus}/") };
        format!("arn:aws:events:{}:{}:rule/{bus}{name}", self.region, self.account)
    }
}
