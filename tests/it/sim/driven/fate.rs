//! What is to befall a process: when it is killed, stands still, or has ended for long enough.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep};

/// What is to befall a process.
#[derive(Debug, Default)]
pub struct Fate {
    /// Polls until it is killed, if it is to be.
    polls_left: Option<u64>,
    /// Polls of what is asked of it until it is killed, if it is to be.
    asks_left: Option<u64>,
    /// How long it is away after it ended.
    pub down_ms: u64,
    /// Polls until it stands still, if it is to, and for how long.
    stands: Option<(u64, u64)>,
    /// For how long it may go on though it was told to end.
    drains: Option<Pin<Box<Sleep>>>,
}

impl Fate {
    /// It is killed after so many polls.
    pub fn falls(&mut self, polls: u64, down_ms: u64) {
        (self.polls_left, self.down_ms) = (Some(polls), down_ms);
    }

    /// It is killed after so many polls of what is asked of it.
    pub fn is_cut_short_after(&mut self, polls: u64, down_ms: u64) {
        (self.asks_left, self.down_ms) = (Some(polls), down_ms);
    }

    /// It stands still after so many polls.
    pub fn stands(&mut self, polls: u64, for_ms: u64) {
        self.stands = Some((polls, for_ms));
    }

    /// It was told to end, and is killed if it has not within so many milliseconds.
    pub fn is_gone_within(&mut self, ms: u64) {
        let until = Instant::now() + Duration::from_millis(ms);
        self.drains = Some(Box::pin(tokio::time::sleep_until(until)));
    }

    /// Whether it was told to end within some time.
    pub fn is_to_be_gone(&self) -> bool {
        self.drains.is_some()
    }

    /// Whether it is killed before it is polled again.
    pub fn is_over(&mut self, context: &mut Context<'_>) -> bool {
        let is_late = self.drains.as_mut().is_some_and(|until| until.as_mut().poll(context) == Poll::Ready(()));
        is_late || is_down(&mut self.polls_left)
    }

    /// Whether it is killed before what was asked of it is polled again.
    pub fn is_cut_short(&mut self) -> bool {
        is_down(&mut self.asks_left)
    }

    /// How long it stands still from now on, if it begins to.
    pub fn begins_to_stand(&mut self) -> Option<u64> {
        let (left, for_ms) = self.stands?;
        self.stands = (left > 0).then(|| (left - 1, for_ms));
        (left == 0).then_some(for_ms)
    }
}

/// Counts down, if anything is counted; tells whether nothing was left.
fn is_down(left: &mut Option<u64>) -> bool {
    let Some(left) = left else { return false };
    let is_over = *left == 0;
    *left = left.saturating_sub(1);
    is_over
}
