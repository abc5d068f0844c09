//! ReceiveMessage's long poll: the one operation that waits, so it takes the lock for each look anew.

use std::time::Duration;

use serde_json::{Value, json};

use super::messages::Found;
use crate::simulator::{Shared, clock::until, wire::Answer};

/// ReceiveMessage: looks, and waits for news until the wait is over.
pub(in crate::simulator) async fn receive(shared: &Shared, body: &Value) -> Answer {
    let receive = shared.with(|state, _now| state.queues.receiver(body))?;
    // The wait is the client's, so it passes whatever the simulator's clock does.
    let wait = Duration::try_from(receive.wait).unwrap_or_default();
    let mut over = std::pin::pin!(tokio::time::sleep(wait));
    loop {
        // Made before the look, so that what is sent between the look and the wait is not missed.
        let news = shared.news.notified();
        let (found, now) = shared.with(|state, now| (state.queues.receive(&receive, now), now));
        let next = match found? {
            Found::Messages(messages) => return Ok(json!({"Messages": messages})),
            Found::NothingUntil(_) if over.is_elapsed() => return Ok(json!({})),
            Found::NothingUntil(next) => until(next, now, shared.scene.look),
        };
        tokio::select! {
            biased;
            () = news => {}
            () = &mut over => {}
            () = tokio::time::sleep(next) => {}
        }
    }
}
