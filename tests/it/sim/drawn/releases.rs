//! Releases in a world: what is deployed when, what their events say, when the queue delivers those, and what triggers ask.
//!
//! Events are sent late and out of order, some of them twice under ids of their own, unless they go through a FIFO queue.

use firedrill::domain::{
    deployment::{Reading, Supersede},
    event,
    experiment::{EventTrigger, Rollbacks},
    pattern::Pattern,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::scenario::{HOUR_MS, MINUTE_MS, SECOND_MS, SOURCES, minutes};
use crate::{sim::simulated::nature::Nature, support::chance::Chance};

/// What is deployed.
const APPS: [&str; 3] = ["web", "api", FIFO_APP];

/// The one whose events come in the order in which they happened.
pub const FIFO_APP: &str = "core";

/// How far ahead the clock of a sender may be.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// What an event says of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stamp {
    /// The truth, to the second.
    True,
    /// An instant that lies ahead.
    Ahead,
    /// Nothing.
    None,
}

/// A release, and the event that tells of it.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// Which event.
    pub event: u64,
    pub source: &'static str,
    pub app: &'static str,
    pub version: u64,
    pub is_rollback: bool,
    /// When it happened, in true time.
    pub happened_ms: u64,
    pub stamp: Stamp,
}

impl Release {
    pub fn id(&self) -> String {
        format!("d{}", self.event)
    }

    pub fn version(&self) -> String {
        format!("v{}", self.version)
    }

    pub fn is_in_order(&self) -> bool {
        self.app == FIFO_APP
    }

    /// What its event says of its time.
    pub fn time(&self, nature: &Nature) -> Option<Timestamp> {
        let second = nature.true_wall_at(self.happened_ms).as_second();
        let time = Timestamp::from_second(second).expect("an instant");
        match self.stamp {
            Stamp::True => Some(time),
            Stamp::Ahead => Some(time + AHEAD),
            Stamp::None => None,
        }
    }

    /// When a queue that keeps the order got it.
    pub fn sent_at(&self, nature: &Nature) -> Timestamp {
        nature.true_wall_at(self.happened_ms)
    }

    pub fn body(&self, nature: &Nature) -> String {
        let mut body = json!({
            "id": self.id(), "source": self.source, "detail-type": "Deployment",
            "detail": { "state": "done", "app": self.app, "version": self.version(), "rollback": self.is_rollback },
        });
        if let Some(time) = self.time(nature) {
            body["time"] = json!(time.to_string());
        }
        assert!(event::read(&body.to_string(), "m", &[]).is_ok(), "{body}");
        body.to_string()
    }

    /// Whether a trigger is about it.
    pub fn is_for(&self, trigger: &EventTrigger) -> bool {
        trigger.pattern.source()["source"] == json!([self.source])
    }
}

/// Draws what is released within so long, and when each event is delivered.
pub fn releases(c: &mut Chance, length_ms: u64) -> Vec<(u64, Release)> {
    let mut all = Vec::new();
    let mut event = 0;
    for app in APPS.into_iter().filter(|_| !c.one_in(3)).collect::<Vec<_>>() {
        let source = c.pick(&SOURCES);
        let mut version = 1;
        let mut happened_ms = c.between(0, length_ms / 2);
        // Some go back and forth.
        let is_restless = c.one_in(3);
        for _ in 0..c.between(0, 8) {
            let gaps = [SECOND_MS, 20 * SECOND_MS, MINUTE_MS, 2 * MINUTE_MS, 3 * MINUTE_MS, 9 * MINUTE_MS, HOUR_MS / 2];
            let gap = if is_restless { 12 * MINUTE_MS } else { c.pick(&gaps) };
            happened_ms += gap + c.between(0, 3_000);
            let is_rollback = version > 1 && (is_restless || c.one_in(6));
            version = match c.between(0, 5) {
                _ if is_rollback => version - 1,
                0 => version,
                _ => version + 1,
            };
            let stamp = c.pick(&[Stamp::True, Stamp::True, Stamp::True, Stamp::True, Stamp::Ahead, Stamp::None]);
            let release = Release { event, source, app, version, is_rollback, happened_ms, stamp };
            let again = if c.one_in(5) { 2 } else { 1 };
            for copy in 0..again {
                // Each has a place of its own in a queue that keeps the order.
                let release = Release { event, happened_ms: happened_ms + copy, ..release };
                event += 1;
                let late = c.pick(&[SECOND_MS, SECOND_MS, SECOND_MS, MINUTE_MS, 15 * MINUTE_MS]);
                let late = if release.is_in_order() { 0 } else { c.between(0, late * (1 + copy)) };
                let deliveries = if release.is_in_order() { 1 } else { c.pick(&[1, 1, 2]) };
                all.extend((0..deliveries).map(|n| (happened_ms + late + n * 7 * SECOND_MS, release)));
            }
        }
    }
    all
}

/// Draws what a trigger asks of releases.
pub fn asking(c: &mut Chance, trigger: EventTrigger) -> EventTrigger {
    let pointer = |text: &str| vec![text.to_owned()];
    let rollback = Pattern::parse(&json!({ "detail": { "rollback": [true] } })).expect("a pattern");
    let reading = Reading {
        key: pointer("/detail/app"),
        version: pointer("/detail/version"),
        id: Vec::new(),
        rollback: Some(rollback),
    };
    EventTrigger {
        reading,
        settle: minutes(c.pick(&[0, 0, 1, 5])),
        settle_limit: c.one_in(2).then(|| minutes(c.pick(&[1, 2, 6]))),
        min_age: minutes(c.pick(&[0, 0, 0, 0, 2, 10])),
        max_age: c.pick(&[None, None, Some(10), Some(60)]).map(minutes),
        rollbacks: c.pick(&[Rollbacks::Run, Rollbacks::Run, Rollbacks::Skip]),
        supersede: c.pick(&[Supersede::Pending, Supersede::Running, Supersede::Running]),
        cool_down: minutes(c.pick(&[0, 0, 0, 3, 30])),
        one_in: c.pick(&[1, 1, 1, 1, 3]),
        ..trigger
    }
}
