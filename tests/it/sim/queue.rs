//! The queues of a world: what they deliver, and what they deliver again.

use firedrill::ingest::event::Message;

use super::{
    planted::Bug,
    releases::Release,
    scenario::{Happening, SECOND_MS},
    world::World,
};
use crate::support::runs::name;

pub fn message(id: &str, body: String) -> Message {
    Message {
        queue: name("deployments"),
        id: id.to_owned(),
        body,
        parent: None,
        group: None,
        sent_at: None,
        envelope: None,
    }
}

impl Happening {
    /// Whether a queue delivers something that stays in it until it is deleted.
    pub fn is_delivery(&self) -> bool {
        matches!(self, Self::Deliver { .. } | Self::DeliverNoise { .. } | Self::Release(_) | Self::DeliverNext)
    }
}

impl World {
    /// Delivers a message that stays in its queue until it is deleted; tells whether it is.
    async fn hand_over(&mut self, message: Message) -> bool {
        let id = message.id.clone();
        if self.nature.bug() == Bug::RefusedForEver && self.waiting.contains(&id) {
            return false;
        }
        let is_taken = self.take_in(vec![message]).await;
        if is_taken {
            self.waiting.remove(&id)
        } else {
            self.waiting.insert(id)
        };
        is_taken
    }

    /// A standard queue delivers what FIS tells.
    pub async fn fis_tells(&mut self, now: u64) {
        let count = self.fis.with(|state| state.experiments.len());
        let body = serde_json::json!({
            "id": format!("f{now}"), "source": "aws.fis", "detail-type": "FIS Experiment State Change",
            "detail": {"experiment-id": format!("EXP{count}"), "new-state": {"status": "completed"}},
        });
        self.take_in(vec![message(&format!("m{now}"), body.to_string())]).await;
    }

    /// A standard queue delivers what is no event.
    pub async fn deliver_noise(&mut self, id: u64) {
        let name = format!("n{id}");
        if self.hand_over(message(&name, "no event at all".to_owned())).await {
            self.unreadable.insert(name);
        } else {
            self.schedule(self.nature.elapsed() + 30 * SECOND_MS, Happening::DeliverNoise { id });
        }
    }

    /// A standard queue delivers an event.
    pub async fn deliver(&mut self, event: u64, source: &'static str) {
        let body = serde_json::json!({
            "id": format!("e{event}"), "source": source, "detail-type": "Deployment", "time": "2026-03-01T02:00:00Z",
            "detail": {"state": if event % 5 == 4 { "begun" } else { "done" }},
        });
        let is_taken = self.hand_over(message(&format!("m{event}-{source}"), body.to_string())).await;
        let again = self.nature.draw(|c| c.one_in(4));
        if is_taken {
            self.deleted.insert((source, event));
        }
        if !is_taken || again {
            // Not deleted, or delivered at least once more all the same.
            self.schedule(self.nature.elapsed() + 30 * SECOND_MS, Happening::Deliver { event, source });
        }
    }

    /// A standard queue delivers the event of a release.
    pub async fn release(&mut self, release: Release) {
        self.releases.insert(release.event, release);
        let is_taken = self.hand_over(message(&release.id(), release.body(&self.nature))).await;
        if is_taken {
            self.released.insert(release.event);
        }
        if !is_taken || self.nature.draw(|c| c.one_in(8)) {
            let later = self.nature.draw(|c| c.between(30, 200)) * SECOND_MS;
            self.schedule(self.nature.elapsed() + later, Happening::Release(release));
        }
    }

    /// Nothing overtakes what was not deleted.
    pub async fn deliver_next(&mut self) {
        while let Some(release) = self.in_order.front().copied() {
            let message = message(&release.id(), release.body(&self.nature));
            let sent_at = Some(release.sent_at(&self.nature));
            if !self.hand_over(Message { group: Some(release.app.to_owned()), sent_at, ..message }).await {
                return self.schedule(self.nature.elapsed() + 30 * SECOND_MS, Happening::DeliverNext);
            }
            self.released.insert(release.event);
            self.in_order.pop_front();
        }
    }
}
