//! The queues of a world: what they deliver, and what they deliver again.
//!
//! A replica has what was delivered to it in hand until it has taken it in. After a while a standard queue delivers it again,
//! also to somebody else, whether or not it is in somebody's hand still; and meanwhile the world goes on.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use firedrill::{
    domain::run::WindowRule,
    engine::ports::StoreError,
    ingest::event::{Message, Taken},
};

use super::{lease::Seat, nature::Nature, store::MemoryStore};
use crate::{
    sim::{
        drawn::{
            happening::Happening,
            releases::Release,
            scenario::{MINUTE_MS, SECOND_MS},
        },
        driven::{replica::Replica, world::World},
        planted::Bug,
    },
    support::{chance::Chance, runs::name},
};

/// When what was not deleted is delivered again, in milliseconds.
const VISIBLE_AFTER_MS: u64 = 30 * SECOND_MS;

/// The first numbers of requests of operators who meet deliveries, so that they are nobody else's.
const FIRST_REQUEST: u64 = 200;

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
        use Happening as H;
        matches!(self, H::Deliver { .. } | H::DeliverNoise { .. } | H::Release(_) | H::DeliverNext | H::VisibleAgain(_))
    }
}

/// What a queue delivers.
#[derive(Debug, Clone, Copy)]
pub enum Parcel {
    Event {
        event: u64,
        source: &'static str,
    },
    /// No event.
    Noise {
        id: u64,
    },
    Release(Release),
    /// What FIS tells of its `experiment`th, at a true time.
    Told {
        at: u64,
        experiment: usize,
    },
}

impl Parcel {
    fn id(self) -> String {
        match self {
            Self::Event { event, source } => format!("m{event}-{source}"),
            Self::Noise { id } => format!("n{id}"),
            Self::Release(release) => release.id(),
            Self::Told { at, .. } => format!("m{at}"),
        }
    }

    fn message(self, nature: &Nature) -> Message {
        let body = match self {
            Self::Event { event, source } => serde_json::json!({
                "id": format!("e{event}"), "source": source, "detail-type": "Deployment",
                "time": "2026-03-01T02:00:00Z", "detail": {"state": if event % 5 == 4 { "begun" } else { "done" }},
            })
            .to_string(),
            Self::Noise { .. } => "no event at all".to_owned(),
            Self::Release(release) => release.body(nature),
            Self::Told { at, experiment } => serde_json::json!({
                "id": format!("f{at}"), "source": "aws.fis", "detail-type": "FIS Experiment State Change",
                "detail": {"experiment-id": format!("EXP{experiment}"), "new-state": {"status": "completed"}},
            })
            .to_string(),
        };
        let message = message(&self.id(), body);
        match self {
            Self::Release(release) if release.is_in_order() => {
                Message { group: Some(release.app.to_owned()), sent_at: Some(release.sent_at(nature)), ..message }
            }
            _ => message,
        }
    }
}

type Answer = Result<Vec<Taken>, StoreError>;

type Taking = Pin<Box<dyn Future<Output = Answer>>>;

/// What a process has in hand.
pub struct InHand {
    number: u64,
    parcel: Parcel,
    pub seat: Seat,
    taking: Taking,
}

/// Who has what in hand.
#[derive(Default)]
pub struct Hands {
    count: u64,
    pub full: Vec<InHand>,
    /// What was let go of, and whether it may be deleted; `None` when the process was gone.
    let_go: Vec<(Parcel, Option<Answer>)>,
}

impl Hands {
    /// Goes on taking in what is in hand; tells whether something is not any more.
    pub fn poll(
        &mut self,
        context: &mut Context<'_>,
        replicas: &mut [Replica],
        (nature, store): (&Nature, &MemoryStore),
    ) -> bool {
        self.full.retain_mut(|hand| {
            let replica = &mut replicas[hand.seat.replica];
            let is_there = replica.agent.as_ref().is_some_and(|agent| agent.seat == hand.seat);
            if is_there && replica.is_still() {
                return true;
            }
            let done = if !is_there {
                None
            } else if replica.is_cut_short() {
                replica.fall(nature, store);
                None
            } else {
                match hand.taking.as_mut().poll(context) {
                    Poll::Pending => return true,
                    Poll::Ready(taken) => Some(taken),
                }
            };
            self.let_go.push((hand.parcel, done));
            false
        });
        !self.let_go.is_empty()
    }
}

impl World {
    /// Delivers a message to a replica.
    pub fn hand(&mut self, parcel: Parcel) {
        let replica = self.anybody();
        let is_refused = self.nature.bug() == Bug::RefusedForEver && self.waiting.contains(&parcel.id());
        let agent = self.replicas[replica].agent.as_ref().filter(|_| !is_refused);
        let Some(agent) = agent else { return self.is_let_go(parcel, false) };
        let (id, now) = (parcel.id(), self.nature.clock(replica));
        self.met.extend(self.hands.full.first().map(|_| "two ingests at once"));
        let twice = self.hands.full.iter().any(|hand| hand.parcel.id() == id && hand.seat.replica != replica);
        self.met.extend(twice.then_some("event in two hands"));
        let (events, message, seat) = (agent.events.clone(), parcel.message(&self.nature), agent.seat);
        let taking = Box::pin(async move { events.take(vec![message], now).await });
        self.hands.count += 1;
        let number = self.hands.count;
        self.hands.full.push(InHand { number, parcel, seat, taking });
        self.schedule(self.nature.elapsed() + VISIBLE_AFTER_MS, Happening::VisibleAgain(number));
    }

    /// A message is visible again: somebody has had it in hand for long.
    pub fn visible_again(&mut self, number: u64) {
        let Some(parcel) = self.hands.full.iter().find(|hand| hand.number == number).map(|hand| hand.parcel) else {
            return;
        };
        if !self.is_deleted(parcel) {
            self.hand(parcel);
        }
    }

    /// Whether its queue was told to delete it, or never has it again.
    fn is_deleted(&self, parcel: Parcel) -> bool {
        match parcel {
            Parcel::Event { event, source } => self.deleted.contains(&(source, event)),
            Parcel::Release(release) => self.released.contains(&release.event),
            Parcel::Noise { .. } => self.unreadable.contains(&parcel.id()),
            Parcel::Told { .. } => true,
        }
    }

    /// A queue delivers something.
    pub fn deliver(&mut self, delivery: Happening) {
        match delivery {
            Happening::Deliver { event, source } => self.hand(Parcel::Event { event, source }),
            Happening::DeliverNoise { id } => self.hand(Parcel::Noise { id }),
            Happening::Release(release) => self.release(release),
            Happening::VisibleAgain(number) => self.visible_again(number),
            _ => self.deliver_next(),
        }
    }

    /// Whoever got a message last stands still with it in hand.
    pub fn stand_in_hand(&mut self, for_ms: u64) {
        let Some(replica) = self.hands.full.last().map(|hand| hand.seat.replica) else { return };
        if let Some(agent) = &mut self.replicas[replica].agent {
            agent.fate.stands(0, for_ms);
        }
        self.replicas[replica].ring();
    }

    /// Deletes what may be deleted, and lets what may not be come again.
    pub fn empty_hands(&mut self) {
        for (parcel, taken) in std::mem::take(&mut self.hands.let_go) {
            self.nature.say(|| format!("-- queue: {}: {taken:?}", parcel.id()));
            self.met.extend(matches!(taken, Some(Err(StoreError::Full))).then_some("quarantine full"));
            let is_taken = matches!(taken, Some(Ok(_))) || self.nature.bug() == Bug::DeleteBeforeCommit;
            self.is_let_go(parcel, is_taken);
        }
    }

    fn is_let_go(&mut self, parcel: Parcel, is_taken: bool) {
        let now = self.nature.elapsed();
        let again = now + VISIBLE_AFTER_MS;
        match parcel {
            Parcel::Told { .. } => {}
            // Another hand may have been faster.
            _ if is_taken || self.is_deleted(parcel) => _ = self.waiting.remove(&parcel.id()),
            _ => _ = self.waiting.insert(parcel.id()),
        }
        match parcel {
            Parcel::Event { event, source } => {
                if is_taken {
                    self.deleted.insert((source, event));
                }
                // Not deleted, or delivered at least once more all the same.
                if self.nature.draw(|c| c.one_in(4)) || !is_taken {
                    self.schedule(again, Happening::Deliver { event, source });
                }
            }
            Parcel::Noise { .. } if is_taken => _ = self.unreadable.insert(parcel.id()),
            Parcel::Noise { id } => self.schedule(again, Happening::DeliverNoise { id }),
            Parcel::Told { .. } => {}
            Parcel::Release(release) if release.is_in_order() => {
                // Another hand may have been faster.
                if self.in_order.front().is_none_or(|front| front.event != release.event) {
                    return;
                }
                if !is_taken {
                    return self.schedule(again, Happening::DeliverNext);
                }
                self.released.insert(release.event);
                self.in_order.pop_front();
                self.deliver_next();
            }
            Parcel::Release(release) => {
                if is_taken {
                    self.released.insert(release.event);
                }
                if !is_taken || self.nature.draw(|c| c.one_in(8)) {
                    let later = self.nature.draw(|c| c.between(30, 200)) * SECOND_MS;
                    self.schedule(now + later, Happening::Release(release));
                }
            }
        }
    }

    /// Hands messages to a replica while nothing else happens; tells whether they may be deleted.
    pub async fn take_in(&mut self, messages: Vec<Message>) -> bool {
        let replica = self.anybody();
        let Some(events) = self.replicas[replica].agent.as_ref().map(|agent| agent.events.clone()) else {
            return false;
        };
        let now = self.nature.clock(replica);
        let taken = self.beside(Some(replica), async move { events.take(messages, now).await }).await;
        self.nature.say(|| format!("-- queue: replica {replica}: {taken:?}"));
        matches!(taken, Some(Ok(_))) || self.nature.bug() == Bug::DeleteBeforeCommit
    }

    /// A queue delivers the event of a release.
    pub fn release(&mut self, release: Release) {
        self.releases.insert(release.event, release);
        if !release.is_in_order() {
            return self.hand(Parcel::Release(release));
        }
        self.in_order.push_back(release);
        self.deliver_next();
    }

    /// Nothing overtakes what was not deleted.
    pub fn deliver_next(&mut self) {
        let Some(next) = self.in_order.front().copied().map(Parcel::Release) else { return };
        if !self.hands.full.iter().any(|hand| hand.parcel.id() == next.id()) {
            self.hand(next);
        }
    }
}

/// Whether messages that cannot be read find no room until somebody mends the store. With a chance of its own.
pub fn leaves_no_room(seed: u64) -> bool {
    Chance::new(seed.rotate_left(36) ^ !0).one_in(4)
}

/// Draws what meets deliveries of what was drawn, in some worlds: who has one in hand stands still, something else is
/// delivered, or an operator acts. With a chance of its own.
pub fn happenings(seed: u64, drawn: &[(u64, Happening)]) -> Vec<(u64, Happening)> {
    use Happening as H;
    let mut c = Chance::new(seed.rotate_left(24) ^ !0);
    let mut all = Vec::new();
    if !c.one_in(3) {
        return all;
    }
    let deliveries = drawn.iter().filter(|(_, what)| matches!(what, H::Deliver { .. } | H::Release(_)));
    let mut before: Option<&Happening> = None;
    for (request, (at, what)) in (FIRST_REQUEST..).zip(deliveries) {
        let soon = at + c.between(0, 6);
        match c.between(0, 6) {
            0 | 1 => all.push((soon, H::StandInHand(c.between(20, 90) * SECOND_MS))),
            2 => all.extend(
                before
                    .filter(|what| !matches!(what, H::Release(r) if r.is_in_order()))
                    .map(|what| (soon, what.clone())),
            ),
            3 => {
                let (experiment, windows) = (c.between(0, 3), WindowRule::Hold);
                let next = c.between(0, MINUTE_MS);
                match c.between(0, 3) {
                    0 => all.extend([(soon, H::Halt), (soon + next, H::Resume)]),
                    1 => all.push((soon, H::Pause { experiment, for_ms: Some(next) })),
                    2 => all.push((soon, H::StopByHand)),
                    _ => all.push((soon, H::StartByHand { request, experiment, windows })),
                }
            }
            4 => {
                let (polls, down_ms) = (c.between(0, 12), c.between(0, MINUTE_MS));
                all.push((at.saturating_sub(1), H::CutShort { polls, down_ms }));
            }
            _ => {}
        }
        before = Some(what);
    }
    all
}
