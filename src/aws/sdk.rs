//! Clients: one configuration a place (Region, endpoint, role), with a timeout on every call.

use std::{
    collections::HashMap,
    sync::{OnceLock, PoisonError},
    time::Duration,
};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, retry::RetryConfig, sts::AssumeRoleProvider, timeout::TimeoutConfig,
};
use aws_credential_types::provider::{ProvideCredentials, future};
use aws_sdk_fis::config::{Credentials, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::tls;
use tokio::sync::{Mutex, watch};

use crate::domain::experiment::Place;

/// Longest time of one attempt; the SDK itself has no limit.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest time of a call, the search for credentials included.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection without a call is kept: longer than the time between two polls.
const IDLE: Duration = Duration::from_secs(15);
/// Most connections without a call that are kept, by host.
const MAX_IDLE: usize = 4;

/// Which kind of call a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallKind {
    /// Answers at once.
    Short,
    /// Waits for messages at the server.
    LongPoll,
}

/// Longest time a long poll waits at the server (SQS's own limit).
pub const LONG_POLL: Duration = Duration::from_secs(20);

/// Configurations by place, each loaded once.
#[derive(Debug, Default)]
pub struct Places {
    loaded: Mutex<HashMap<(Place, CallKind), SdkConfig>>,
    /// One pool of connections for all.
    http: OnceLock<SharedHttpClient>,
    /// Credentials instead of those that the usual chain finds.
    credentials: Option<Credentials>,
    /// Counts the times at which a place got other credentials than before.
    renewed: watch::Sender<u64>,
}

/// Credentials of a place; tells when they are others than before.
#[derive(Debug)]
struct Watched {
    of: SharedCredentialsProvider,
    /// Access key of the last ones.
    last: std::sync::Mutex<Option<String>>,
    renewed: watch::Sender<u64>,
}

impl ProvideCredentials for Watched {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            let credentials = self.of.provide_credentials().await?;
            let key = Some(credentials.access_key_id().to_owned());
            let before = {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *last, key.clone())
            };
            if before.is_some() && before != key {
                self.renewed.send_modify(|count| *count += 1);
            }
            Ok(credentials)
        })
    }
}

impl Places {
    /// Uses fixed credentials everywhere, for a simulator.
    pub fn with_credentials(credentials: Credentials) -> Self {
        Self { credentials: Some(credentials), ..Self::default() }
    }

    /// Tells when the credentials of a place are others than before.
    pub fn renewed(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// Returns the configuration for a place. Credentials and Region come from the usual chain where the place does not
    /// name them.
    pub async fn config(&self, place: &Place, kind: CallKind) -> SdkConfig {
        let key = (place.clone(), kind);
        if let Some(config) = self.loaded.lock().await.get(&key) {
            return config.clone();
        }
        // Loaded outside the lock: two loads of one place do no harm, a slow one must not hold up others.
        let http = self.http.get_or_init(http_client).clone();
        let config = load(place, kind, http, self.credentials.clone()).await;
        let config = self.watched(config);
        if config.region().is_none() {
            // The source of the Region (the instance's metadata, say) was not there yet: ask again next time.
            return config;
        }
        self.loaded.lock().await.entry(key).or_insert(config).clone()
    }
}

impl Places {
    /// Makes a configuration tell when its credentials are others than before.
    fn watched(&self, config: SdkConfig) -> SdkConfig {
        let Some(of) = config.credentials_provider() else { return config };
        let watched = Watched { of, last: std::sync::Mutex::default(), renewed: self.renewed.clone() };
        config.into_builder().credentials_provider(SharedCredentialsProvider::new(watched)).build()
    }
}

/// Makes the HTTP client of AWS clients that share one TLS stack and one pool of connections. Each idle one holds a
/// descriptor, so few are kept, and not for long.
pub fn http_client() -> SharedHttpClient {
    aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MAX_IDLE)
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https()
}

async fn load(place: &Place, kind: CallKind, http: SharedHttpClient, credentials: Option<Credentials>) -> SdkConfig {
    let wait = match kind {
        CallKind::Short => Duration::ZERO,
        CallKind::LongPoll => LONG_POLL,
    };
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(ATTEMPT_TIMEOUT + wait)
        .operation_timeout(OPERATION_TIMEOUT + wait)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .timeout_config(timeouts)
        // One attempt a call: the planner owns the next try. A second attempt inside the SDK that is refused would hide a
        // first one that was accepted and lost its answer.
        .retry_config(RetryConfig::disabled());
    if let Some(region) = &place.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(credentials) = credentials {
        loader = loader.credentials_provider(credentials);
    }
    let config = loader.load().await;
    let mut builder = config.clone().into_builder();
    if let Some(role) = &place.role_arn {
        // Made of the configuration without our endpoint, which is the service's own: STS does not answer there.
        let provider =
            AssumeRoleProvider::builder(role.clone()).session_name("firedrill").configure(&config).build().await;
        builder = builder.credentials_provider(SharedCredentialsProvider::new(provider));
    }
    if let Some(url) = &place.endpoint_url {
        builder = builder.endpoint_url(url.clone());
    }
    builder.build()
}
