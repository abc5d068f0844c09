//! EventBridge: puts what happened to runs on a bus.

use std::sync::Arc;

use aws_sdk_eventbridge::{Client, primitives::DateTime, types::PutEventsRequestEntry};

use super::{
    classify::{failure, of_answer},
    sdk::{CallKind, Places},
};
use crate::{
    config::settings::EventBus,
    domain::fis::CallFailure,
    engine::ports::{EventSink, Outbound},
};

/// `source` of our events.
pub const SOURCE: &str = "firedrill";
/// `detail-type` of our events.
pub const DETAIL_TYPE: &str = "Firedrill Run State Change";

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
}

impl EventSink for Bus {
    async fn put(&self, event: &Outbound) -> Result<(), CallFailure> {
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
