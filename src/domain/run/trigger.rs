//! Triggers: why a run exists.
//!
//! Pure.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    deployment::{Deployment, Terms},
    ids::ScheduleName,
};

/// Why a run exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Trigger {
    /// A schedule named an instant.
    Slot {
        /// Which schedule.
        schedule: ScheduleName,
        /// Which instant.
        at: Timestamp,
        /// Of one record of slots that passed: the timetable that named them. Such a record has an identity beside the runs of
        /// its schedule's name, of which one may have had this very slot.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timetable: Option<ScheduleName>,
    },
    /// A deployment event arrived.
    Event {
        /// `source` of the event.
        source: String,
        /// `id` of the event.
        event_id: String,
        /// `detail-type` of the event.
        detail_type: String,
        /// When it was received.
        received_at: Timestamp,
        /// `time` of the event, where it has a readable one.
        event_time: Option<Timestamp>,
        /// Trace that the sender belonged to.
        parent: Option<TraceParent>,
        /// What was deployed, where the event says.
        #[serde(default)]
        deployment: Option<Box<Deployment>>,
        /// What the trigger asked for then.
        #[serde(default)]
        terms: Terms,
    },
    /// Somebody asked.
    Manual {
        /// Identity of the request, from the caller: a repeated request is the same run.
        request: String,
        /// Who asked.
        by: String,
        /// Why.
        reason: Option<String>,
        /// Whether windows hold for it.
        #[serde(default)]
        windows: WindowRule,
    },
    /// Somebody asked for a slot of the past.
    Backfill {
        /// Which schedule.
        schedule: ScheduleName,
        /// Which instant.
        at: Timestamp,
        /// Identity of the request, from the caller: a repeated request is the same runs.
        request: String,
        /// Who asked.
        by: String,
        /// Why.
        reason: Option<String>,
    },
}

/// Whether windows hold for a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowRule {
    /// They do.
    #[default]
    Hold,
    /// Whoever asked for it overrode them, with a reason.
    Overridden,
}

/// W3C trace context of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceParent {
    /// Trace id.
    pub trace_id: [u8; 16],
    /// Id of the parent span.
    pub span_id: [u8; 8],
    /// Whether the sender sampled the trace.
    pub sampled: bool,
}

impl Trigger {
    /// Returns the text that identifies this trigger among all triggers of an experiment.
    pub fn key(&self) -> String {
        match self {
            Self::Slot { schedule, at, timetable } => format!("slot:{}:{at}", timetable.as_ref().unwrap_or(schedule)),
            // A source is foreign text: without a colon of its own, no two events share a key.
            Self::Event { source, event_id, .. } => {
                format!("event:{}:{event_id}", source.replace('%', "%25").replace(':', "%3A"))
            }
            Self::Manual { request, .. } => format!("manual:{request}"),
            // Names hold no colon, so that a foreign text stands last.
            Self::Backfill { schedule, at, request, .. } => format!("backfill:{schedule}:{at}:{request}"),
        }
    }

    /// Returns the kind, as metrics and tables name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Slot { .. } => "slot",
            Self::Event { .. } => "event",
            Self::Manual { .. } => "manual",
            Self::Backfill { .. } => "backfill",
        }
    }

    /// Tells whether windows hold for the run.
    pub fn windows(&self) -> WindowRule {
        match self {
            Self::Manual { windows, .. } => *windows,
            Self::Slot { .. } | Self::Event { .. } | Self::Backfill { .. } => WindowRule::Hold,
        }
    }
}
