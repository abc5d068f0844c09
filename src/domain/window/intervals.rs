//! The algebra of time behind every window: sets of instants as sorted half-open intervals that do not touch.
//!
//! Pure. Every operation returns such a set, whatever it is given; an interval that ends when it begins holds nothing.

use jiff::{SignedDuration, Timestamp};

/// A stretch of time, `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// First instant in it; not exact when it lies more than [`super::HORIZON`] before the instant asked for.
    pub start: Timestamp,
    /// First instant after it; [`Timestamp::MAX`] when none is known within [`super::HORIZON`].
    pub end: Timestamp,
}

impl Interval {
    /// All time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Returns the end, if there is a known one.
    pub fn known_end(&self) -> Option<Timestamp> {
        (self.end < Timestamp::MAX).then_some(self.end)
    }

    /// Tells whether an instant is in it.
    pub fn holds(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Returns what two intervals have in common, which may be nothing.
    fn and(self, other: Self) -> Self {
        Self { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// A set of instants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Interval>);

impl Intervals {
    /// Returns the instants that any of the intervals holds; they may overlap and come in any order.
    pub fn of(intervals: impl IntoIterator<Item = Interval>) -> Self {
        let pairs = intervals.into_iter().map(|interval| (interval.start, interval.end)).collect();
        Self(joined(pairs).into_iter().map(|(start, end)| Interval { start, end }).collect())
    }

    /// Returns the instants of either set.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied())
    }

    /// Returns the instants of both sets.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut common = Vec::new();
        while let (Some(&&first), Some(&&second)) = (a.peek(), b.peek()) {
            common.push(first.and(second));
            if first.end <= second.end {
                a.next();
            } else {
                b.next();
            }
        }
        Self::of(common)
    }

    /// Returns the instants of `within` that are not in the set.
    #[must_use]
    pub fn complement(&self, within: Interval) -> Self {
        let starts = std::iter::once(Timestamp::MIN).chain(self.0.iter().map(|interval| interval.end));
        let ends = self.0.iter().map(|interval| interval.start).chain([Timestamp::MAX]);
        Self::of(starts.zip(ends).map(|(start, end)| Interval { start, end }.and(within)))
    }

    /// Returns the instants of the set that are in `within`.
    #[must_use]
    pub fn clipped(&self, within: Interval) -> Self {
        Self(self.0.iter().map(|interval| interval.and(within)).filter(|i| i.start < i.end).collect())
    }

    /// Returns the set moved by a duration; what leaves the time that can be represented is cut off, and an edge at
    /// either end of time stays there.
    #[must_use]
    pub fn shifted(&self, by: SignedDuration) -> Self {
        let is_edge = |at: Timestamp| at == Timestamp::MIN || at == Timestamp::MAX;
        let moved = |at: Timestamp| if is_edge(at) { at } else { at.saturating_add(by).unwrap_or(at) };
        Self::of(self.0.iter().map(|i| Interval { start: moved(i.start), end: moved(i.end) }))
    }

    /// Finds the stretch that an instant lies in.
    pub fn covering(&self, at: Timestamp) -> Option<Interval> {
        let next = self.0.partition_point(|interval| interval.start <= at);
        self.0[..next].last().copied().filter(|interval| interval.holds(at))
    }

    /// Tells whether the set has no instant.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the stretches in order.
    pub fn as_slice(&self) -> &[Interval] {
        &self.0
    }
}

impl IntoIterator for Intervals {
    type Item = Interval;
    type IntoIter = std::vec::IntoIter<Interval>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Sorts `[start, end)` pairs of any kind of time and joins those that touch; empty ones are left out.
pub(super) fn joined<T: Ord + Copy>(mut pairs: Vec<(T, T)>) -> Vec<(T, T)> {
    pairs.retain(|(start, end)| start < end);
    pairs.sort_unstable();
    pairs.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    pairs
}
