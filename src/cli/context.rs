//! What every command shares: where the configuration and the state are, and how to print.

use std::path::PathBuf;

use super::{
    args::{Arguments, Form, Output},
    exit::{Exit, Failure},
};
use crate::{
    config::{
        self, Loaded,
        problem::Problems,
        settings::{Settings, State},
    },
    daemon::calendars,
    domain::run::Run,
    engine::ports::StoreError,
    store::{OpenError, SqlStore},
};

/// What every command shares.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where the configuration is.
    pub config: PathBuf,
    /// The state directory, where it is said.
    pub state: Option<PathBuf>,
    /// How to print.
    pub output: Output,
}

impl Context {
    /// Reads the arguments that all commands share.
    pub fn new(arguments: &Arguments) -> Self {
        let output = match arguments.output {
            Form::Json => Output::Json,
            Form::Table | Form::Ics => Output::Table,
        };
        Self { config: arguments.config.clone(), state: arguments.state.clone(), output }
    }

    /// Loads the configuration.
    ///
    /// # Errors
    /// Every mistake in it, as text.
    pub fn load(&self) -> Result<Loaded, Failure> {
        config::load(&self.config, self.environment()).map_err(|problems| Failure::say(Exit::Usage, told(&problems)))
    }

    /// Loads the configuration, with its calendars as files hold them now and as the agent last read all others.
    ///
    /// # Errors
    /// As [`Context::load`]; [`Exit::Internal`] when there is a store that cannot be read.
    pub async fn settings(&self) -> Result<Settings, Failure> {
        let mut settings = self.load()?.settings;
        if settings.calendars.iter().all(|calendar| calendar.source.is_file()) {
            return Ok(settings);
        }
        let kept = match SqlStore::read_at(&settings.state).await {
            Ok(store) => calendars::kept(&store, &settings.calendars).await,
            Err(OpenError::Missing { .. }) => return Ok(settings),
            Err(error) => return Err(Failure::internal(error.into())),
        };
        let kept = kept.map_err(|error| Failure::internal(error.into()))?;
        let readings = kept.into_iter().map(|(name, (_, reading))| (name, reading)).collect();
        settings.rules.windows = settings.rules.windows.with_readings(&readings);
        Ok(settings)
    }

    /// Returns the environment over the configuration, with `--state` as an override that holds for every reload too.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = config::process_environment();
        if let Some(state) = &self.state {
            environment.push(("FIREDRILL__STATE_DIRECTORY".to_owned(), state.display().to_string()));
        }
        environment
    }

    /// Returns where the store and the socket are: the folder as said, or all as configured, also by a configuration with
    /// mistakes.
    ///
    /// # Errors
    /// What of the configuration could not be read, when the directory may be named in it.
    pub fn state(&self) -> Result<State, Failure> {
        let found = config::state(&self.config, &self.environment());
        found.map_err(|problems| {
            Failure::say(Exit::Usage, format!("{}\nhint: `--state DIR` needs none of it", told(&problems)))
        })
    }

    /// Opens the store to read.
    ///
    /// # Errors
    /// [`Exit::NoAgent`] when there is none yet.
    pub async fn store(&self) -> Result<SqlStore, Failure> {
        let opened = SqlStore::read_at(&self.state()?).await;
        opened.map_err(|error| match error {
            OpenError::Missing { .. } => Failure::new(Exit::NoAgent, error),
            other => Failure::internal(other.into()),
        })
    }
}

/// Writes every problem on lines of its own.
pub fn told(problems: &Problems) -> String {
    let count = problems.0.len();
    let mistakes = if count == 1 { "mistake" } else { "mistakes" };
    let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
    format!("the configuration has {count} {mistakes}\n{}", lines.join("\n"))
}

/// Finds the one run whose id begins with a text.
///
/// # Errors
/// [`Exit::NotFound`] when there is none, or more than one.
pub async fn find_run(store: &SqlStore, prefix: &str) -> Result<Run, Failure> {
    only_run(store.runs_by_prefix(prefix).await, prefix)
}

/// Takes the one run among those that were found by a prefix.
///
/// # Errors
/// As [`find_run`].
pub fn only_run(found: Result<Vec<Run>, StoreError>, prefix: &str) -> Result<Run, Failure> {
    let mut runs = found.map_err(|error| Failure::internal(error.into()))?;
    match (runs.pop(), runs.pop()) {
        (Some(run), None) => Ok(run),
        (None, _) => Err(Failure::say(Exit::NotFound, format!("there is no run `{prefix}`"))),
        (Some(_), Some(_)) => Err(Failure::say(Exit::NotFound, format!("several runs begin with `{prefix}`"))),
    }
}

/// The time at which a command runs.
#[expect(clippy::disallowed_methods, reason = "the edge where the outside world is observed")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
