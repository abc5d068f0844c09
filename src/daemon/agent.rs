//! The agent: every part put together, every task spawned here with a name and a policy.
//!
//! A task that ends unasked stops the agent: an agent without an engine, a queue reader or its socket must not look alive.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    path::PathBuf,
    sync::{Arc, Once},
};

use jiff::Timestamp;
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};
use tokio_cron_scheduler::{JobScheduler, JobSchedulerError};

use super::{
    calendars::Calendars,
    courier::{Courier, Load},
    directory::{self, DirectoryError},
    heartbeat::{self, Heartbeat},
    housekeeping::Housekeeper,
    identities::Identities,
    levers::LeverKeeper,
    reload::Reloader,
    strays::Strays,
    witness::{Teller, chain},
};
use crate::{
    aws::{
        eventbridge::Bus,
        fis::AwsFis,
        lever::Levers,
        sdk::Places,
        sqs::{QueueHealth, QueueReader},
    },
    config::settings::{OnShutdown, Settings, Webhook},
    domain::{experiment::Rules, ids::Name, plan::Mode},
    engine::{
        ports::{Hints, Poke, Store, WakeSource},
        run_loop::Engine,
    },
    http::{
        api::{self, Api, LeverWish},
        serve,
        status::{QUEUE_READY, Status},
        webhook::{self, Hooks},
    },
    ingest::{event::EventIngest, manual::ManualIngest, quarantine::Quarantine},
    store::{OpenError, SqlStore},
    telemetry::Telemetry,
};

/// Why the agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no folder for the state.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The store was not opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A listener was not opened.
    #[error("could not listen on `{address}`")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The heartbeat was not started.
    #[error("could not start the heartbeat")]
    Heartbeat(#[from] JobSchedulerError),
}

/// A running agent.
pub struct Agent {
    tasks: JoinSet<&'static str>,
    engine: AbortHandle,
    engine_done: oneshot::Receiver<()>,
    /// Ends when the last reader of a queue has.
    readers_done: mpsc::Receiver<Infallible>,
    mode: watch::Sender<Mode>,
    status: watch::Receiver<Arc<Status>>,
    /// Signs of life of the engine.
    alive: watch::Receiver<Instant>,
    reload: mpsc::Sender<oneshot::Sender<api::ReloadAnswer>>,
    store: Arc<SqlStore>,
    scheduler: JobScheduler,
    socket: PathBuf,
    on_shutdown: OnShutdown,
}

/// Parts that several tasks share.
struct Shared {
    store: Arc<SqlStore>,
    places: Arc<Places>,
    rules: watch::Receiver<Arc<Rules>>,
    poke: Arc<Poke>,
    hints: Arc<Hints>,
    journal_grew: Arc<Notify>,
    teller: Arc<Teller>,
    status: watch::Sender<Arc<Status>>,
    alive: watch::Receiver<Instant>,
    mode: watch::Receiver<Mode>,
    webhooks: watch::Sender<Arc<BTreeMap<Name, Webhook>>>,
}

impl Shared {
    fn events(&self) -> EventIngest<SqlStore> {
        EventIngest::new(self.store.clone(), self.rules.clone(), self.poke.clone(), self.hints.clone())
    }
}

impl Agent {
    /// Starts every part. The configuration has been loaded from `path` with `env`; a reload reads both again.
    ///
    /// # Errors
    /// [`StartError`]; nothing runs then.
    pub async fn start(
        settings: Settings,
        path: PathBuf,
        env: Vec<(String, String)>,
        telemetry: &Telemetry,
    ) -> Result<Self, StartError> {
        Self::start_with(settings, path, env, telemetry, Places::default()).await
    }

    /// Starts every part with given clients' configurations.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_with(
        mut settings: Settings,
        path: PathBuf,
        env: Vec<(String, String)>,
        telemetry: &Telemetry,
        places: Places,
    ) -> Result<Self, StartError> {
        directory::keep_private(&settings.state.directory)?;
        let store = Arc::new(SqlStore::open_at(&settings.state).await?);
        let (alive_to, alive) = watch::channel(Instant::now());
        let heartbeat = Heartbeat::new(alive_to.clone());
        let now = heartbeat.now();
        // Before anything is written by a clock that may be wrong.
        let housekeeper = Housekeeper::new(store.clone(), &settings, now).await;
        let (rules_to, rules) = watch::channel(Arc::new(std::mem::take(&mut settings.rules)));
        let (status_to, status) = watch::channel(Arc::new(first_status(&settings, now)));
        let journal_grew = Arc::new(Notify::new());
        let metrics = telemetry.metrics().clone();
        let teller = Arc::new(Teller::new(metrics, rules.clone(), status_to.clone(), journal_grew.clone(), alive_to));
        let (mode, mode_seen) = watch::channel(Mode::Active);
        let shared = Shared {
            store: store.clone(),
            places: Arc::new(places),
            rules,
            poke: Arc::default(),
            hints: Arc::new(Hints::default()),
            journal_grew,
            teller,
            status: status_to,
            alive: alive.clone(),
            mode: mode_seen,
            webhooks: watch::Sender::new(Arc::new(settings.webhooks.clone())),
        };
        let mut tasks = JoinSet::new();
        let housekeeping = Arc::new(Notify::new());
        let scheduler = heartbeat.start(housekeeping.clone()).await?;
        tasks.spawn(housekeeper.run(housekeeping));
        let (reload, reloads) = mpsc::channel(1);
        let socket = spawn_listeners(&mut tasks, &shared, &settings, &status, &reload).await?;
        spawn_couriers(&mut tasks, &shared, &settings, telemetry);
        let readers_done = spawn_queues(&mut tasks, &shared, &settings);
        let calendars = spawn_calendars(&mut tasks, &shared, &settings, rules_to).await;
        let on_shutdown = settings.on_shutdown;
        let (webhooks, told) = (shared.webhooks.clone(), shared.status.clone());
        let store_to = store.clone();
        let reloader = Reloader { path, env, started: settings, calendars, webhooks, store: store_to, status: told };
        tasks.spawn(answer_reloads(reloader, reloads));
        spawn_lookouts(&mut tasks, &shared);
        let (engine, engine_done) = spawn_engine(&mut tasks, shared, heartbeat);
        Ok(Self {
            tasks,
            engine,
            engine_done,
            readers_done,
            mode,
            status,
            alive,
            reload,
            store,
            scheduler,
            socket,
            on_shutdown,
        })
    }

    /// Returns the agent's status as it changes.
    pub fn status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Returns the engine's signs of life as they come.
    pub fn alive(&self) -> watch::Receiver<Instant> {
        self.alive.clone()
    }

    /// Returns the way to ask for a reload.
    pub fn reloader(&self) -> mpsc::Sender<oneshot::Sender<api::ReloadAnswer>> {
        self.reload.clone()
    }

    /// Waits until a task ends that should not; returns its name and how it ended.
    pub async fn failed(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(name)) => format!("task `{name}` ended"),
            Some(Err(panic)) => format!("a task died: {panic}"),
            None => "no task is left".to_owned(),
        }
    }

    /// Stops: begins nothing more, waits for calls and messages under way (and, if so configured, until nothing runs), then ends. To be
    /// bounded by the caller; dropped half-way it loses nothing that a next start would not find.
    ///
    /// # Errors
    /// When the engine died instead of ending.
    pub async fn drain(&mut self) -> Result<(), oneshot::error::RecvError> {
        let mode = match self.on_shutdown {
            OnShutdown::Leave => Mode::Draining,
            OnShutdown::Stop => Mode::DrainingWithStop,
        };
        self.mode.send_replace(mode);
        let (engine, _no_reader) = tokio::join!(&mut self.engine_done, self.readers_done.recv());
        engine
    }

    /// Ends every task at once and closes the store.
    pub async fn end(mut self) {
        self.engine.abort();
        if let Err(error) = self.scheduler.shutdown().await {
            tracing::debug!(%error, "heartbeat");
        }
        self.tasks.shutdown().await;
        // Also where the engine was cut off: nothing of this process calls anybody any more.
        if let Err(error) = self.store.release().await {
            tracing::warn!(
                error = chain(&error),
                "the lease could not be given back; another replica waits until it ends"
            );
        }
        self.store.close().await;
        if let Err(error) = std::fs::remove_file(&self.socket) {
            tracing::debug!(%error, "socket");
        }
    }
}

fn first_status(settings: &Settings, now: Timestamp) -> Status {
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: now,
        queues: settings.queues.iter().map(|queue| (queue.name.to_string(), "unknown".to_owned())).collect(),
        config_loaded_at: now,
        ..Status::default()
    }
}

async fn spawn_listeners(
    tasks: &mut JoinSet<&'static str>,
    shared: &Shared,
    settings: &Settings,
    status: &watch::Receiver<Arc<Status>>,
    reload: &mpsc::Sender<oneshot::Sender<api::ReloadAnswer>>,
) -> Result<PathBuf, StartError> {
    let manual = ManualIngest::new(shared.store.clone(), shared.rules.clone(), shared.poke.clone());
    let ingest = shared.events();
    let quarantine = Quarantine::new(shared.store.clone(), ingest);
    let levers = spawn_levers(tasks, shared, manual.clone());
    let (status, alive) = (status.clone(), shared.alive.clone());
    let api = Api { manual, quarantine, status, alive, levers, reload: reload.clone() };
    // Nobody is heard before all is open: whoever is answered talks to an agent that stays.
    let port = match settings.http_listen {
        Some(address) => {
            let listen = |source| StartError::Listen { address: address.to_string(), source };
            Some(serve::open_port(address).await.map_err(listen)?)
        }
        None => None,
    };
    let (listener, path) = serve::open_socket(&settings.state.directory).map_err(|source| StartError::Listen {
        address: settings.state.directory.join(serve::SOCKET_FILE).display().to_string(),
        source,
    })?;
    let routes = api::operator_routes(api.clone());
    tasks.spawn(async move {
        log_end("socket", serve::serve_socket(listener, routes).await);
        "socket"
    });
    if let Some(listener) = port {
        let hooks =
            Hooks { webhooks: shared.webhooks.subscribe(), ingest: shared.events(), witness: shared.teller.clone() };
        let routes = api::probe_routes(api).merge(webhook::routes(hooks));
        tasks.spawn(async move {
            serve::serve_port(listener, routes).await;
            "http"
        });
    }
    Ok(path)
}

/// Starts the keeper of safety levers, and returns the way to ask it.
fn spawn_levers(
    tasks: &mut JoinSet<&'static str>,
    shared: &Shared,
    manual: ManualIngest<SqlStore>,
) -> mpsc::Sender<LeverWish> {
    let (wishes, asked) = mpsc::channel(1);
    let keeper = LeverKeeper { manual, levers: Levers::new(shared.places.clone()) };
    tasks.spawn(async move {
        keeper.run(asked).await;
        "safety levers"
    });
    wishes
}

/// Starts those who look into places, and listen for the lease, by themselves, and only tell.
fn spawn_lookouts(tasks: &mut JoinSet<&'static str>, shared: &Shared) {
    let (places, rules, status) = (shared.places.clone(), shared.rules.clone(), shared.status.clone());
    let identities = Identities { places: places.clone(), rules: rules.clone(), status: status.clone() };
    tasks.spawn(async move {
        identities.run().await;
        "identities"
    });
    let strays = Strays { store: shared.store.clone(), places, rules, status, poke: shared.poke.clone() };
    tasks.spawn(async move {
        strays.run().await;
        "strays"
    });
    let store = shared.store.clone();
    tasks.spawn(async move {
        store.listen().await;
        "lease"
    });
}

fn log_end(task: &'static str, ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(task, %error, "listener failed");
    }
}

/// Starts the engine. What it returns ends when the engine does.
fn spawn_engine(
    tasks: &mut JoinSet<&'static str>,
    shared: Shared,
    heartbeat: Heartbeat,
) -> (AbortHandle, oneshot::Receiver<()>) {
    let engine = Engine {
        store: shared.store,
        injector: Arc::new(AwsFis::new(shared.places)),
        time: Arc::new(heartbeat),
        witness: shared.teller,
        rules: shared.rules,
        mode: shared.mode,
        poke: shared.poke,
        hints: shared.hints,
    };
    let (done, engine_done) = oneshot::channel();
    let engine = tasks.spawn(async move {
        engine.run().await;
        // Nobody waits for it when the agent is dropped.
        let _gone = done.send(());
        "engine"
    });
    (engine, engine_done)
}

fn spawn_couriers(tasks: &mut JoinSet<&'static str>, shared: &Shared, settings: &Settings, telemetry: &Telemetry) {
    let events = settings.event_bus.clone().map(|bus| Load::Events(Bus::new(shared.places.clone(), bus)));
    for load in events.into_iter().chain([Load::Traces(telemetry.traces().clone())]) {
        let (store, grew) = (shared.store.clone(), shared.journal_grew.clone());
        let courier = Courier { store, load, grew, now: Box::new(heartbeat::now) };
        tasks.spawn(async move {
            let name = courier.name();
            courier.run().await;
            name
        });
    }
}

/// Starts the readers of all queues. What it returns ends when the last of them does.
fn spawn_queues(tasks: &mut JoinSet<&'static str>, shared: &Shared, settings: &Settings) -> mpsc::Receiver<Infallible> {
    let (reading, readers_done) = mpsc::channel(1);
    for queue in settings.queues.clone() {
        let (health, mut seen) = watch::channel(QueueHealth::default());
        let (name, status) = (queue.name.to_string(), shared.status.clone());
        tasks.spawn(async move {
            while seen.changed().await.is_ok() {
                let said = match &*seen.borrow_and_update() {
                    QueueHealth::Unknown => "unknown".to_owned(),
                    QueueHealth::Ready => QUEUE_READY.to_owned(),
                    QueueHealth::Failing { said, .. } => said.clone(),
                };
                status.send_if_modified(|status| {
                    let is_news = status.queues.get(&name) != Some(&said);
                    if is_news {
                        Arc::make_mut(status).queues.insert(name.clone(), said);
                    }
                    is_news
                });
            }
            "queue health"
        });
        let ingest = shared.events();
        let (places, witness, mode) = (shared.places.clone(), shared.teller.clone(), shared.mode.clone());
        let receivers = queue.concurrency;
        let hide_refused = Arc::new(Once::new());
        let reader = QueueReader { queue, places, ingest, witness, health, mode, hide_refused };
        for _ in 0..receivers {
            let (reader, reading) = (reader.clone(), reading.clone());
            tasks.spawn(async move {
                reader.run().await;
                drop(reading);
                "queue"
            });
        }
    }
    readers_done
}

/// Puts what the store knows of calendars into force before the engine begins, then reads them.
async fn spawn_calendars(
    tasks: &mut JoinSet<&'static str>,
    shared: &Shared,
    settings: &Settings,
    rules: watch::Sender<Arc<Rules>>,
) -> Arc<Calendars> {
    let (store, places) = (shared.store.clone(), shared.places.clone());
    let calendars = Calendars::start(store, places, settings.calendars.clone(), rules, shared.status.clone()).await;
    let reading = calendars.clone();
    tasks.spawn(async move {
        reading.run().await;
        "calendars"
    });
    calendars
}

async fn answer_reloads(
    mut reloader: Reloader,
    mut reloads: mpsc::Receiver<oneshot::Sender<api::ReloadAnswer>>,
) -> &'static str {
    while let Some(answer) = reloads.recv().await {
        let said = reloader.reload(heartbeat::now()).await;
        // Whoever asked may have gone; the log says it too.
        let _gone = answer.send(said);
    }
    "reload"
}
