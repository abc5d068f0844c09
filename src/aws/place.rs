//! What a start wants to know of its place: the safety lever, whose the credentials are, what is active, how alarms are.
//!
//! Everything is asked at once, and one failure fails all: half an answer allows nothing. What the facts mean is judged in
//! [`crate::domain::plan`].

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_fis::Client;
use jiff::Timestamp;

use super::{
    classify::failure,
    cloudwatch,
    fis::{MAX_PAGES, PAGE_SIZE, unreadable},
    lever,
    sdk::{CallKind, Places},
};
use crate::domain::{
    experiment::Place,
    fis::{CallFailure, FailureClass, FisStatus},
    ids::{EXPERIMENT_TAG, RUN_TAG, RunId},
    place::{Identity, PlaceFacts, Wanted},
    stray::Tags,
};

/// What the names of AWS's hosts end with, partition by partition, and where it differs over IPv6 (AWS SDKs,
/// `partitions.json`).
const SUFFIXES: [&str; 14] = [
    "amazonaws.com",
    "api.aws",
    "amazonaws.com.cn",
    "api.amazonwebservices.com.cn",
    "amazonaws.eu",
    "api.amazonwebservices.eu",
    "c2s.ic.gov",
    "api.aws.ic.gov",
    "sc2s.sgov.gov",
    "api.aws.scloud",
    "cloud.adc-e.uk",
    "api.cloud-aws.adc-e.uk",
    "csp.hci.ic.gov",
    "api.aws.hci.ic.gov",
];

/// Most active experiments that are listed for a start; no limit of ours is higher.
const MAX_ACTIVE: usize = 100;

/// Asks what is wanted.
///
/// # Errors
/// [`CallFailure`] of the first call that failed, with its name.
pub(super) async fn probe(
    fis: &Client,
    config: &SdkConfig,
    place: &Place,
    wanted: &Wanted,
) -> Result<PlaceFacts, CallFailure> {
    let beside = beside_fis(config, place);
    let identity = async {
        if !wanted.identity {
            return Ok(None);
        }
        caller(config, place).await.map(Some)
    };
    let active = async {
        if !wanted.active {
            return Ok(None);
        }
        let active = active(fis, MAX_ACTIVE).await?;
        Ok(Some(active.into_iter().map(|(id, tags)| (id, tags.run)).collect()))
    };
    let alarms = async {
        let alarms = cloudwatch::alarms(&beside, &wanted.alarms).await;
        alarms.map_err(named("DescribeAlarms", "cloudwatch:DescribeAlarms"))
    };
    let lever = async { lever::read(fis).await.map_err(named("GetSafetyLever", "fis:GetSafetyLever")) };
    let (lever, identity, active, alarms) = tokio::try_join!(lever, identity, active, alarms)?;
    // The engine notes when it asked.
    Ok(PlaceFacts { read_at: Timestamp::UNIX_EPOCH, place: place.clone(), lever, identity, active, alarms })
}

/// Asks whose the credentials of a place are.
///
/// # Errors
/// [`CallFailure`]; nothing is known then.
pub async fn identity(places: &Places, place: &Place) -> Result<Identity, CallFailure> {
    caller(&places.config(place, CallKind::Short).await, place).await
}

async fn caller(config: &SdkConfig, place: &Place) -> Result<Identity, CallFailure> {
    let call = aws_sdk_sts::Client::new(&beside_fis(config, place)).get_caller_identity();
    let answer = call.send().await.map_err(|e| named("GetCallerIdentity", "sts:GetCallerIdentity")(failure(&e)))?;
    let account = answer.account.filter(|account| !account.is_empty());
    let account = account.ok_or_else(|| unreadable("the answer holds no account"))?;
    Ok(Identity { account, region: config.region().map(ToString::to_string) })
}

/// Lists what has not ended in a place, by FIS id, with what its tags say.
///
/// # Errors
/// [`CallFailure`]; nothing is known then.
pub async fn tagged(places: &Places, place: &Place) -> Result<BTreeMap<String, Tags>, CallFailure> {
    active(&Client::new(&places.config(place, CallKind::Short).await), usize::MAX).await
}

/// Lists the experiments that have not ended; of more than `most` not all.
async fn active(client: &Client, most: usize) -> Result<BTreeMap<String, Tags>, CallFailure> {
    let failed = named("ListExperiments", "fis:ListExperiments");
    let (mut active, mut token) = (BTreeMap::new(), None);
    for _ in 0..MAX_PAGES {
        let call = client.list_experiments().max_results(PAGE_SIZE).set_next_token(token);
        let page = call.send().await.map_err(|e| failed(failure(&e)))?;
        for summary in page.experiments() {
            let status = summary.state().and_then(|state| state.status());
            // What has no status, or one that nobody knows, may go on.
            let is_over = status.is_some_and(|status| FisStatus::from_text(status.as_str()).is_terminal());
            if let Some(id) = summary.id().filter(|_| !is_over) {
                let tag = |key| summary.tags().and_then(|tags| tags.get(key));
                let run = tag(RUN_TAG).map(|run| RunId::from_text(run));
                active.insert(id.to_owned(), Tags { run, experiment: tag(EXPERIMENT_TAG).cloned() });
            }
        }
        token = page.next_token;
        if token.is_none() || active.len() >= most {
            return Ok(active);
        }
    }
    // Not seen among a hundred thousand is not the same as not there.
    Err(failed(unreadable("the list of experiments did not end")))
}

/// The configuration for another service than FIS in the same place: an endpoint of AWS is that of one service, a simulator's
/// is that of all.
fn beside_fis(config: &SdkConfig, place: &Place) -> SdkConfig {
    let host = place.endpoint_url.as_deref().and_then(|url| reqwest::Url::parse(url).ok());
    let host = host.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
    if !is_of_aws(host) {
        return config.clone();
    }
    let mut builder = config.clone().into_builder();
    builder.set_endpoint_url(None);
    builder.build()
}

/// Tells whether a host is one of AWS's own, in any partition, over either version of IP.
pub fn is_of_aws(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    SUFFIXES.iter().any(|suffix| host.strip_suffix(suffix).is_some_and(|name| name.ends_with('.')))
}

/// Names the call that failed, and what is missing where it is not allowed.
fn named(operation: &'static str, action: &'static str) -> impl Fn(CallFailure) -> CallFailure {
    move |CallFailure { class, message }| {
        let hint = match class {
            FailureClass::Denied => format!("; allow the agent `{action}`"),
            _ => String::new(),
        };
        CallFailure { class, message: format!("{operation}: {message}{hint}") }
    }
}
