//! A simulator of FIS and what surrounds it on one loopback port, for the demo and for tests.
//!
//! It speaks AWS's wire protocols, so the agent, the AWS CLI and the SDKs use it unchanged. Operations are plain functions
//! on the state, under one lock that is never held over an await. It must never be reachable from another machine, as its
//! own interface answers anybody. Where AWS's behaviour is not documented, `choices` has a switch, or a comment at the
//! place says that the choice is the simulator's.
//!
//! A request comes in at `edge`, which reads it by `wire` and finds its operation: one of `fis` (an experiment's life is
//! the pure machine in `fis::experiment`), `sqs`, `eventbridge`, `cloudwatch`, `ssm`, `sts`, or of the simulator's own
//! interface in `control` with its `faults`. FIS's events go by `eventbridge::courier` to the bus, its experiments' logs
//! by `log_files` to files, and `calls` tells of each call whoever asked.

mod calls;
mod choices;
mod clock;
mod cloudwatch;
mod control;
mod edge;
mod eventbridge;
mod faults;
mod fis;
mod ids;
mod log_files;
mod page;
mod sqs;
mod ssm;
mod sts;
mod wire;

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{
    calls::Notices,
    clock::{Clock, Pace},
    cloudwatch::Alarms,
    eventbridge::{Buses, Delivery, courier::Courier},
    faults::Faults,
    fis::{
        Fis, KeepLog,
        experiment::{Experiment, World},
        targets::Account,
    },
    ids::Ids,
    log_files::Logs,
    sqs::Queues,
    ssm::Documents,
    sts::Sessions,
};
pub use self::{
    calls::{Notice, Served},
    choices::Choices,
    control::ENDPOINTS,
    edge::{
        connection::Limits,
        credentials::{ACCESS_KEY, SECRET_KEY, Signatures},
    },
    fis::{ActionRecord, ExperimentRecord, Inventory, InventoryError, Resource},
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
    /// The file that the inventory came from, to be read again on demand.
    pub inventory_file: Option<PathBuf>,
    /// Seed of every choice that is random at AWS. Ids differ at each start all the same.
    pub seed: u64,
    /// What the simulator does where AWS's documents are silent.
    pub choices: Choices,
    /// Folder for experiments' logs, one file each; `None` writes none.
    pub log_dir: Option<PathBuf>,
    /// Whether signatures are checked.
    pub signatures: Signatures,
    /// What clients may take at most.
    pub limits: Limits,
    /// Who is told of each call; with a full channel notices are dropped.
    pub notices: Option<mpsc::Sender<Notice>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            speed: 1.0,
            region: "us-east-1".to_owned(),
            account: "123456789012".to_owned(),
            inventory: Inventory::Invented,
            inventory_file: None,
            seed: 0,
            choices: Choices::default(),
            log_dir: None,
            signatures: Signatures::default(),
            limits: Limits::default(),
            notices: None,
        }
    }
}

/// A running simulator. Dropping it stops it; [`shutdown`](Self::shutdown) also waits for the end.
#[derive(Debug)]
pub struct Simulator {
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
    ticking: Option<JoinHandle<()>>,
    /// Ends the ticking, which outlives the serving: what the last call did is still logged.
    end: CancellationToken,
}

/// What does not change while the simulator runs.
#[derive(Debug)]
struct Scene {
    addr: SocketAddr,
    region: String,
    account: String,
    seed: u64,
    inventory_file: Option<PathBuf>,
    /// Longest time between two looks.
    look: Duration,
}

/// What every experiment depends on beside itself, and what can be changed from outside.
#[derive(Debug)]
struct Setting {
    clock: Clock,
    choices: Choices,
    alarms: Alarms,
    inventory: Inventory,
    /// States that experiments do not leave by themselves.
    stuck: BTreeSet<FisStatus>,
    keep_log: KeepLog,
}

/// Everything that changes.
#[derive(Debug)]
struct State {
    setting: Setting,
    fis: Fis,
    queues: Queues,
    courier: Courier,
    buses: Buses,
    documents: Documents,
    sessions: Sessions,
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
    notices: Notices,
    signatures: Signatures,
}

/// Starts a simulator.
///
/// # Errors
/// `InvalidInput` when the address is not a loopback address, the speed not a finite number above zero or the log folder
/// cannot be made; otherwise what binding the port says.
pub async fn start(options: Options) -> io::Result<Simulator> {
    let refused = |text: String| io::Error::new(io::ErrorKind::InvalidInput, text);
    if !options.listen.ip().is_loopback() {
        return Err(refused(format!("the simulator listens on loopback addresses only, not on {}", options.listen)));
    }
    let pace = Pace::new(options.speed)
        .ok_or_else(|| refused(format!("speed must be a finite number above zero, not {}", options.speed)))?;
    let logs = options.log_dir.map(Logs::open).transpose()?;
    let listener = TcpListener::bind(options.listen).await?;
    let scene = Scene {
        addr: listener.local_addr()?,
        region: options.region,
        account: options.account,
        seed: options.seed,
        inventory_file: options.inventory_file,
        look: options.limits.look,
    };
    let state = State {
        setting: Setting {
            clock: Clock::new(pace),
            choices: options.choices,
            alarms: Alarms::default(),
            inventory: options.inventory,
            stuck: BTreeSet::new(),
            keep_log: if logs.is_some() { KeepLog::Yes } else { KeepLog::No },
        },
        fis: Fis::default(),
        queues: Queues::default(),
        courier: Courier::new(options.seed),
        buses: Buses::default(),
        documents: Documents::default(),
        sessions: Sessions::default(),
        faults: Faults::default(),
        ids: Ids::new(options.seed, clock::wall()),
    };
    let shared = Arc::new(Shared {
        scene,
        state: Mutex::new(state),
        news: Notify::new(),
        plans: Notify::new(),
        stopping: CancellationToken::new(),
        notices: Notices::new(options.notices),
        signatures: options.signatures,
    });
    let end = CancellationToken::new();
    let serving = tokio::spawn(edge::connection::serve(listener, Arc::clone(&shared), options.limits));
    let ticking = tokio::spawn(edge::server::tick(Arc::clone(&shared), logs, end.clone()));
    Ok(Simulator { shared, serving: Some(serving), ticking: Some(ticking), end })
}

impl Simulator {
    /// The address it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.shared.scene.addr
    }

    /// The endpoint URL for clients of every service, without a slash at the end.
    pub fn url(&self) -> String {
        self.shared.scene.url()
    }

    /// Every experiment that was started, in that order, as of now.
    pub fn experiments(&self) -> Vec<ExperimentRecord> {
        self.shared.with(|state, _now| state.fis.experiments().map(Experiment::record).collect())
    }

    /// Stops it and waits until its tasks have ended; connections that do not close in time are dropped.
    pub async fn shutdown(mut self) {
        self.shared.stopping.cancel();
        ended(self.serving.take()).await;
        self.end.cancel();
        ended(self.ticking.take()).await;
    }
}

/// Waits for the end of a task, but not too long.
async fn ended(task: Option<JoinHandle<()>>) {
    let Some(mut task) = task else { return };
    if tokio::time::timeout(SHUTDOWN_PATIENCE, &mut task).await.is_err() {
        task.abort();
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.end.cancel();
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
        self.next_due()
    }

    /// When an experiment goes on or an event arrives by itself.
    fn next_due(&self) -> Option<Timestamp> {
        self.fis.next_due().into_iter().chain(self.courier.next_due()).min()
    }

    fn publish(&mut self, scene: &Scene, now: Timestamp) {
        self.courier.take(self.fis.take_outbox(), self.setting.clock.pace());
        for parcel in self.courier.arrived(now) {
            let mut delivery = Delivery { queues: &mut self.queues, ids: &mut self.ids, scene, now };
            self.buses.put_emission(parcel.emission, parcel.copies, &mut delivery);
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

/// The partition of a Region, as ARNs name it (AWS General Reference, ARNs).
fn partition(region: &str) -> &'static str {
    match region {
        china if china.starts_with("cn-") => "aws-cn",
        government if government.starts_with("us-gov-") => "aws-us-gov",
        _other => "aws",
    }
}

impl Scene {
    /// The beginning of the ARN of a service's resource.
    fn arn(&self, service: &str) -> String {
        format!("arn:{}:{service}:{}:{}", partition(&self.region), self.region, self.account)
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn queue_url(&self, name: &str) -> String {
        format!("{}/{}/{name}", self.url(), self.account)
    }

    fn bus_arn(&self, name: &str) -> String {
        format!("{}:event-bus/{name}", self.arn("events"))
    }

    /// A rule of a bus of its own carries the bus in its ARN.
    fn rule_arn(&self, bus: &str, name: &str) -> String {
        let bus = if bus == "default" { String::new() } else { format!("{bus}/") };
        format!("{}:rule/{bus}{name}", self.arn("events"))
    }
}
