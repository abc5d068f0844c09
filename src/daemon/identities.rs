//! Whose the credentials are, in every place that experiments run in: told, and logged, at the start, after a reload and
//! whenever the credentials of a place are new. Only where accounts or Regions are restricted.
//!
//! Nothing is decided here: each start is judged by what is asked right before it (see [`crate::domain::plan`]).

use std::{collections::BTreeSet, future::pending, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use crate::{
    aws::{place::identity, sdk::Places},
    domain::experiment::{Place, Rules},
    http::status::Status,
};

/// Places asked beside each other.
pub(super) const AT_ONCE: usize = 16;

/// Wait after a failure.
const RETRY: Duration = Duration::from_secs(60);

/// Asks, tells and logs.
pub(super) struct Identities {
    pub(super) places: Arc<Places>,
    pub(super) rules: watch::Receiver<Arc<Rules>>,
    pub(super) status: watch::Sender<Arc<Status>>,
}

/// Whether everybody was told of.
#[derive(PartialEq, Eq)]
enum Asked {
    All,
    Some,
}

impl Identities {
    /// Never ends.
    pub(super) async fn run(mut self) {
        let mut renewed = self.places.renewed();
        loop {
            renewed.mark_unchanged();
            let asked = self.ask().await;
            let again = async {
                match asked {
                    Asked::All => pending().await,
                    Asked::Some => tokio::time::sleep(RETRY).await,
                }
            };
            tokio::select! {
                biased;
                Ok(()) = self.rules.changed() => {}
                Ok(()) = renewed.changed() => {}
                () = again => {}
            }
        }
    }

    async fn ask(&mut self) -> Asked {
        let rules = self.rules.borrow_and_update().clone();
        let places: BTreeSet<Place> = match rules.limits.restrict() {
            true => rules.experiments.values().map(|experiment| experiment.place.clone()).collect(),
            false => BTreeSet::new(),
        };
        let answers = stream::iter(places).map(async |place| {
            let answer = identity(&self.places, &place).await;
            (place, answer)
        });
        let answers: Vec<_> = answers.buffer_unordered(AT_ONCE).collect().await;
        let is_all = answers.iter().all(|(_, answer)| answer.is_ok());
        let told = answers.into_iter().map(|(place, answer)| {
            let place = named(&place);
            let said = match answer {
                Ok(identity) if rules.limits.allow(&identity) => {
                    tracing::info!(place, %identity, "credentials are of an account and Region that are allowed");
                    identity.to_string()
                }
                Ok(identity) => {
                    tracing::error!(place, %identity, "credentials are of an account or Region that is not allowed: nothing starts there");
                    format!("{identity}: NOT ALLOWED, nothing starts there")
                }
                Err(failure) => {
                    tracing::warn!(place, error = %failure, "could not ask whose the credentials are: nothing starts there until that is known");
                    format!("not known, so nothing starts there: {failure}")
                }
            };
            (place, said)
        });
        let told = told.collect();
        self.status.send_if_modified(|status| {
            let is_news = status.identities != told;
            if is_news {
                Arc::make_mut(status).identities = told;
            }
            is_news
        });
        if is_all { Asked::All } else { Asked::Some }
    }
}

/// Names a place in words.
pub(super) fn named(place: &Place) -> String {
    let region = place.region.as_deref().unwrap_or("default Region");
    let role = place.role_arn.as_ref().map_or_else(String::new, |role| format!(" as {role}"));
    format!("{region}{role}")
}
