//! Strays: FIS experiments of ours that go on and that no run here looks after, told by log, status and metrics.
//!
//! Only by the active replica, which looks when it has become that, after a reload, and every few minutes. Nothing is
//! stopped: see [`crate::domain::stray`], also for why FIS is asked before the rows are.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, stream};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    identities::{AT_ONCE, named},
    witness::chain,
};
use crate::{
    aws::{place::tagged, sdk::Places},
    domain::{
        experiment::{Place, Rules},
        stray::{self, is_stray},
    },
    engine::ports::{Poke, StoreError},
    http::status::{Role, Status, Stray},
    store::SqlStore,
    telemetry::logs,
};

/// Time between two looks: a look lists all that FIS keeps of 120 days.
const EVERY: Duration = Duration::from_secs(5 * 60);
/// The same while there is a stray, which somebody may just be stopping, and after a failure.
const SOON: Duration = Duration::from_secs(30);
/// Longest time that listing one place may take.
const LISTING: Duration = Duration::from_secs(60);

/// Looks and tells.
pub(super) struct Strays {
    pub(super) store: Arc<SqlStore>,
    pub(super) places: Arc<Places>,
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) status: watch::Sender<Arc<Status>>,
    /// The engine's, whose next pass tells metrics.
    pub(super) poke: Arc<Poke>,
}

/// Strays by their FIS id.
type Found = BTreeMap<String, Stray>;

impl Strays {
    /// Never ends.
    pub(super) async fn run(self) {
        let mut status = self.status.subscribe();
        while status.wait_for(|status| status.role == Role::Active).await.is_ok() {
            let loaded_at = self.status.borrow().config_loaded_at;
            let wait = self.look().await;
            let is_other = |status: &Arc<Status>| status.role != Role::Active || status.config_loaded_at != loaded_at;
            tokio::select! {
                biased;
                Ok(_) = status.wait_for(is_other) => {}
                () = sleep(wait) => {}
            }
        }
    }

    /// Looks into every place, and tells; returns when to look again. Of a place that cannot be read, what was known stands.
    async fn look(&self) -> Duration {
        let rules = self.rules.borrow().clone();
        let places: BTreeSet<Place> = rules.experiments.values().map(|experiment| experiment.place.clone()).collect();
        let looks = stream::iter(places).map(async |place| {
            let found = self.strays_of(&rules, &place).await;
            (named(&place), found)
        });
        let looks: Vec<_> = looks.buffer_unordered(AT_ONCE).collect().await;
        let before = self.status.borrow().clone();
        let (mut strays, mut unknown) = (Found::new(), BTreeMap::new());
        for (place, found) in looks {
            match found {
                Ok(found) => strays.extend(found),
                Err(failure) => {
                    let known = before.strays.iter().filter(|(_, stray)| stray.place == place);
                    strays.extend(known.map(|(id, stray)| (id.clone(), stray.clone())));
                    unknown.insert(place, failure);
                }
            }
        }
        let wait = if strays.is_empty() && unknown.is_empty() { EVERY } else { SOON };
        let is_told = self.status.send_if_modified(|status| {
            let is_news = status.strays != strays || status.strays_unknown != unknown;
            // Where another replica has taken over, it tells.
            let is_told = is_news && status.role == Role::Active;
            if is_told {
                let status = Arc::make_mut(status);
                (status.strays, status.strays_unknown) = (strays.clone(), unknown.clone());
            }
            is_told
        });
        if is_told {
            say(&before, &strays, &unknown);
            self.poke.notify_one();
        }
        wait
    }

    async fn strays_of(&self, rules: &Rules, place: &Place) -> Result<Found, String> {
        let listed = timeout(LISTING, tagged(&self.places, place)).await;
        let listed = listed.map_err(|_elapsed| format!("FIS did not list all within {} s", LISTING.as_secs()))?;
        let mut strays = Found::new();
        for (id, tags) in listed.map_err(|failure| failure.to_string())? {
            let Some((run, experiment)) = stray::named(tags, rules) else { continue };
            let is_stray = match self.store.run(&run).await {
                Ok(row) => is_stray(&id, row.as_ref()),
                // There is one; that it cannot be read the engine tells.
                Err(StoreError::Row { .. }) => false,
                Err(error) => return Err(chain(&error)),
            };
            if is_stray {
                let region = place.region.as_ref().map_or_else(String::new, |region| format!(" --region {region}"));
                let stop_command = format!("aws fis stop-experiment --id {id}{region}");
                strays.insert(id, Stray { place: named(place), run, experiment, stop_command });
            }
        }
        Ok(strays)
    }
}

/// Says what is new, and what is no more.
fn say(before: &Status, strays: &Found, unknown: &BTreeMap<String, String>) {
    for (id, stray) in strays.iter().filter(|(id, _)| !before.strays.contains_key(*id)) {
        let Stray { place, run, experiment, stop_command } = stray;
        logs::run_span(run).in_scope(|| {
            tracing::warn!(place, fis_experiment = id, %experiment,
                "an experiment goes on that no run here watches or stops; end it, unless another agent of these names does: `{stop_command}`");
        });
    }
    for (id, stray) in before.strays.iter().filter(|(id, _)| !strays.contains_key(*id)) {
        logs::run_span(&stray.run).in_scope(|| {
            tracing::info!(fis_experiment = id, "no longer a stray: it has ended, or a run watches it");
        });
    }
    for (place, failure) in unknown.iter().filter(|(place, _)| !before.strays_unknown.contains_key(*place)) {
        tracing::warn!(place, error = failure, "could not look for experiments that no run here watches; trying on");
    }
    for place in before.strays_unknown.keys().filter(|place| !unknown.contains_key(*place)) {
        tracing::info!(place, "could look for experiments that no run here watches again");
    }
}
