//! How many bytes all queues hold together, so that nobody fills the memory with messages.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Most bytes of messages in all queues; what comes on top is refused.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// The bytes that are held.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// The bytes of one message; they are free again when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    of: Budget,
    bytes: usize,
}

impl Budget {
    /// Takes bytes; `None` when there are not so many. Only one takes at a time.
    pub(super) fn take(&self, bytes: usize) -> Option<Share> {
        let held = self.0.load(Ordering::Relaxed).saturating_add(bytes);
        (held <= MAX_BYTES).then(|| {
            self.0.store(held, Ordering::Relaxed);
            Share { of: self.clone(), bytes }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.of.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, MAX_BYTES};

    #[test]
    fn what_is_dropped_can_be_taken_again() {
        let budget = Budget::default();
        let most = budget.take(MAX_BYTES - 1).expect("there is enough");
        assert!(budget.take(2).is_none());
        let last = budget.take(1).expect("one is left");
        drop(most);
        assert!(budget.take(MAX_BYTES).is_none());
        drop(last);
        assert!(budget.take(MAX_BYTES).is_some());
    }
}
