//! Reload: a new configuration takes effect as a whole, or the old one stays and it is said why.
//!
//! Applying a configuration starts nothing: a schedule that is new begins with the next slot after it.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};

use super::{calendars::Calendars, witness::chain};
use crate::{
    config::{
        self, Loaded,
        problem::{Problem, Problems},
        settings::{Settings, Telemetry, Webhook},
    },
    domain::{departed, experiment::Rules, ids::Name},
    engine::ports::Store,
    http::{api::ReloadAnswer, status::Status},
    store::SqlStore,
};

/// How long the store is waited for until whoever asked for a reload is told that it does not answer.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// Where the configuration comes from, and who is told of a new one.
pub struct Reloader {
    /// File or folder.
    pub path: PathBuf,
    /// The environment, as it was at the start.
    pub env: Vec<(String, String)>,
    /// What the agent was started with, but for its rules: some of it is only read then.
    pub started: Settings,
    /// Who puts the planner's part of it into force, with what is known of its calendars.
    pub calendars: Arc<Calendars>,
    /// Webhooks in force.
    pub webhooks: watch::Sender<Arc<BTreeMap<Name, Webhook>>>,
    /// The store, which knows what is paused.
    pub store: Arc<SqlStore>,
    /// The status.
    pub status: watch::Sender<Arc<Status>>,
}

impl Reloader {
    /// Loads the configuration anew. Returns what to tell the one who asked.
    pub async fn reload(&mut self, now: Timestamp) -> ReloadAnswer {
        match self.load() {
            Ok(loaded) => {
                let mut warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
                warnings.extend(self.needs_restart(&loaded.settings));
                warnings.extend(departed::taken_away(&self.calendars.rules(), &loaded.settings.rules));
                let (rules, experiments) = (loaded.settings.rules.clone(), loaded.settings.rules.experiments.len());
                self.webhooks.send_replace(Arc::new(loaded.settings.webhooks));
                self.calendars.reconfigure(loaded.settings.rules, loaded.settings.calendars).await;
                self.tell(|status| {
                    status.config_loaded_at = now;
                    status.config_refused = None;
                });
                tracing::info!(experiments, "configuration loaded");
                // In force by now: what a window forbids does not wait for the store.
                warnings.extend(self.still_paused(&rules, now).await);
                for warning in &warnings {
                    tracing::warn!(warning, "configuration");
                }
                Ok(warnings)
            }
            Err(problems) => {
                let problems: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
                for problem in &problems {
                    tracing::error!(problem, "configuration refused; the old one stays in force");
                }
                self.tell(|status| status.config_refused = Some(problems.join("\n")));
                Err(problems)
            }
        }
    }

    /// Loads the configuration. One that has no experiment any more is more likely cut off than meant.
    fn load(&self) -> Result<Loaded, Problems> {
        let loaded = config::load(&self.path, self.env.clone())?;
        let before = self.calendars.rules().experiments.len();
        if before == 0 || !loaded.settings.rules.experiments.is_empty() {
            return Ok(loaded);
        }
        let message = format!("there is no experiment any more, where there were {before}: is it all there?");
        let hint =
            "`firedrill halt` has nothing start; an agent that is started anew takes a configuration without any";
        Err(Problems(vec![Problem {
            place: Some(self.path.as_path().into()),
            path: String::new(),
            message,
            hint: Some(hint.to_owned()),
        }]))
    }

    /// Names what is paused and is in the configuration no more.
    async fn still_paused(&self, new: &Rules, now: Timestamp) -> Vec<String> {
        let why = match timeout(STORE_PATIENCE, self.store.load()).await {
            Ok(Ok(rows)) => {
                let paused = departed::still_paused(new, &rows.pauses, now);
                return paused.into_iter().map(|(name, why)| format!("experiment `{name}`: {why}")).collect();
            }
            Ok(Err(error)) => chain(&error),
            Err(_) => "it did not answer in time".to_owned(),
        };
        vec![format!("the store does not tell what is paused: {why}")]
    }

    fn tell(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| change(Arc::make_mut(status)));
    }

    /// Names what differs but is only read at the start.
    fn needs_restart(&self, new: &Settings) -> Vec<String> {
        let old = &self.started;
        let agent = |settings: &Settings| (settings.on_shutdown, settings.drain_timeout);
        // The replica's name is one of the state.
        let telemetry = |settings: &Settings| Telemetry { replica: None, ..settings.telemetry.clone() };
        let changed = [
            ("state_directory", old.state.directory != new.state.directory),
            ("state", old.state.postgres != new.state.postgres),
            ("history", old.history != new.history),
            ("history_runs", old.history_runs != new.history_runs),
            ("agent", agent(old) != agent(new)),
            ("queues", old.queues != new.queues),
            ("event_bus", old.event_bus != new.event_bus),
            ("http", old.http_listen != new.http_listen),
            ("telemetry", telemetry(old) != telemetry(new)),
        ];
        let warning =
            |(key, _): &(&str, bool)| format!("`{key}` has changed: it takes effect when the agent is restarted");
        changed.iter().filter(|(_, differs)| *differs).map(warning).collect()
    }
}
