//! EventBridge: puts what happened to runs on a bus.

use std::sync::Arc;

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};
use jiff::Timestamp;

use super::{
    classify::{failure, of_answer},
    sdk::{CallKind, Places},
};
use crate::{config::settings::EventBus, domain::fis::CallFailure};

/// `source` of our events.
pub const SOURCE: &str = "firedrill";
/// `detail-type` of our events.
pub const DETAIL_TYPE: &str = "Firedrill Run State Change";

/// One event to be put.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// When it happened.
    pub at: Timestamp,
    /// `detail`, as JSON text.
    pub detail: String,
}

/// A bus behind the SDK.
#[derive(Debug, Clone)]
pub struct Bus {
    places: Arc<Places>,
    bus: EventBus,
}

impl Bus {
    /// Makes a publisher to one bus.
    pub fn new(places: Arc<Places>, bus: EventBus) -> Self {
        Self { places, bus }
    }

    /// Puts an event on the bus.
    ///
    /// # Errors
    /// [`CallFailure`] when the call or its entry failed.
    pub async fn put(&self, event: &Outbound) -> Result<(), CallFailure> {
        let client = Client::new(&self.places.config(&self.bus.place, CallKind::Short).await);
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(&self.bus.name)
            .source(SOURCE)
            .detail_type(DETAIL_TYPE)
            .time(DateTime::from_secs(event.at.as_second()))
            .detail(&event.detail)
            .build();
        let answer = client.put_events().entries(entry).send().await.map_err(|e| failure(&e))?;
        match answer.entries().iter().find(|entry| entry.error_code().is_some()) {
            None => Ok(()),
            Some(entry) => Err(CallFailure {
                class: of_answer(entry.error_code(), 400),
                message: format!(
                    "{}: {}",
                    entry.error_code().unwrap_or_default(),
                    entry.error_message().unwrap_or_default()
                ),
            }),
        }
    }
}
