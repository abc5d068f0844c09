//! PutEvents: the checks of each entry, and the event that it becomes.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Buses, DEFAULT_BUS, Delivery, no_bus, short_bus_name};
use crate::simulator::{
    clock::whole_seconds,
    wire::{self, Answer, ApiError},
};

const MAX_ENTRIES: usize = 10;
const MAX_SOURCE: usize = 256;
const MAX_DETAIL_TYPE: usize = 128;
const MAX_TRACE_HEADER: usize = 500;

/// An event on its way.
pub(super) struct Event {
    pub(super) envelope: Value,
    pub(super) trace_header: Option<String>,
}

/// What distinguishes one event from another.
pub(super) struct Envelope<'a> {
    pub(super) source: &'a str,
    pub(super) detail_type: &'a str,
    pub(super) at: Timestamp,
    pub(super) resources: &'a [String],
    pub(super) detail: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PutEvents {
    entries: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    source: Option<String>,
    detail_type: Option<String>,
    detail: Option<String>,
    event_bus_name: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    time: Option<f64>,
    trace_header: Option<String>,
}

impl Buses {
    /// Takes events, each on its own. EventBridge's limit of 1 MiB for all entries is that of any request here.
    pub(super) fn put_events(&mut self, body: &Value, delivery: &mut Delivery<'_>) -> Answer {
        let entries = wire::parsed::<PutEvents>(body)?.entries;
        if entries.is_empty() || entries.len() > MAX_ENTRIES {
            return Err(ApiError::validation(format!("Entries must have 1 to {MAX_ENTRIES} members")));
        }
        let mut failed = 0;
        let mut answers = Vec::new();
        for entry in entries {
            answers.push(match self.put_entry(entry, delivery) {
                Ok(id) => json!({"EventId": id}),
                Err(refusal) => {
                    failed += 1;
                    json!({"ErrorCode": refusal.code, "ErrorMessage": refusal.message})
                }
            });
        }
        Ok(json!({"FailedEntryCount": failed, "Entries": answers}))
    }

    fn put_entry(&mut self, entry: Entry, delivery: &mut Delivery<'_>) -> Result<String, ApiError> {
        let refused = |name: &str, reason: &str| {
            ApiError::bad("InvalidArgument", format!("Parameter {name} is not valid. Reason: {reason}"))
        };
        let given = |value: Option<String>, name: &str| {
            let value = value.filter(|text| !text.is_empty());
            value.ok_or_else(|| refused(name, &format!("{name} is a required argument.")))
        };
        let source = given(entry.source, "Source")?;
        let detail_type = given(entry.detail_type, "DetailType")?;
        let detail = given(entry.detail, "Detail")?;
        if source.starts_with("aws.") {
            let text = "Not authorized for the source.";
            return Err(ApiError::bad("NotAuthorizedForSourceException", text));
        }
        let trace_header = entry.trace_header;
        let lengths = [
            ("Source", source.as_str(), MAX_SOURCE),
            ("DetailType", detail_type.as_str(), MAX_DETAIL_TYPE),
            ("TraceHeader", trace_header.as_deref().unwrap_or_default(), MAX_TRACE_HEADER),
        ];
        if let Some((name, _, most)) = lengths.iter().find(|(_, text, most)| text.chars().count() > *most) {
            return Err(refused(name, &format!("it has more than {most} characters.")));
        }
        let detail: Value = serde_json::from_str(&detail)
            .ok()
            .filter(Value::is_object)
            .ok_or_else(|| ApiError::bad("MalformedDetail", "Detail is malformed."))?;
        let bus = short_bus_name(entry.event_bus_name.as_deref().unwrap_or(DEFAULT_BUS));
        if !self.buses.contains_key(&bus) {
            return Err(no_bus(&bus));
        }
        let time = entry.time.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok());
        let at = time.and_then(|since| Timestamp::from_duration(since).ok()).unwrap_or(delivery.now);
        let parts = Envelope { source: &source, detail_type: &detail_type, at, resources: &entry.resources, detail };
        let event = Event { envelope: parts.sealed(delivery), trace_header };
        self.put(&bus, &event, delivery);
        Ok(event.envelope["id"].as_str().unwrap_or_default().to_owned())
    }
}

impl Envelope<'_> {
    /// The whole event (EventBridge user guide, events structure): `time` has whole seconds.
    pub(super) fn sealed(self, delivery: &mut Delivery<'_>) -> Value {
        let scene = delivery.scene;
        json!({
            "version": "0",
            "id": delivery.ids.uuid(),
            "detail-type": self.detail_type,
            "source": self.source,
            "account": scene.account,
            "time": whole_seconds(self.at),
            "region": scene.region,
            "resources": self.resources,
            "detail": self.detail,
        })
    }
}
