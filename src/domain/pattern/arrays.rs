//! Array consistency: whether fields whose values lie in arrays can be satisfied by values of the same elements.
//!
//! From the event down to its innermost elements: at each array, all fields that lie in it and are not satisfied yet must
//! be satisfied in one element. Each element is asked at most once, so the cost is elements times fields.

use super::{
    leaves::{Context, Leaves},
    matcher::Test,
    paths::index,
};

/// A set of fields, of which a pattern has at most [`super::MAX_FIELDS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Set([u64; 4]);

impl Set {
    fn with(self, field: usize) -> Self {
        let mut set = self;
        set.0[field / 64] |= 1 << (field % 64);
        set
    }

    #[inline]
    fn zip(self, other: Self, operation: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|part| operation(self.0[part], other.0[part])))
    }

    fn or(self, other: Self) -> Self {
        self.zip(other, |own, other| own | other)
    }

    fn and(self, other: Self) -> Self {
        self.zip(other, |own, other| own & other)
    }

    fn without(self, other: Self) -> Self {
        self.zip(other, |own, other| own & !other)
    }

    fn any(self) -> bool {
        self != Self::default()
    }
}

/// What an array element holds of the fields asked for.
#[derive(Debug, Clone, Copy, Default)]
struct Holding {
    /// Fields with a value in the element itself.
    here: Set,
    /// Fields with a value in the element itself that satisfies them.
    fits: Set,
    /// The same as `here`, elements inside it included.
    below: Set,
    /// The same as `fits`, elements inside it included.
    fits_below: Set,
}

/// How an element satisfies fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    No,
    /// Only by having no value for any of them; binds no element.
    Absent,
    /// By a value for at least one of them.
    Present,
}

/// Memory of [`consistent`]. Reused from call to call.
#[derive(Debug, Default)]
pub(super) struct Holdings(Vec<Holding>);

/// Tells whether fields can be satisfied together. Fields of which no value lies in an array need not be asked for.
pub(super) fn consistent<'t>(
    tests: impl Iterator<Item = &'t Test>,
    leaves: &Leaves,
    event: &[u8],
    Holdings(holdings): &mut Holdings,
) -> bool {
    holdings.clear();
    holdings.resize(leaves.contexts.len(), Holding::default());
    let (mut all, mut absent) = (Set::default(), Set::default());
    for (field, test) in tests.enumerate() {
        all = all.with(field);
        if test.condition().absent {
            absent = absent.with(field);
        }
        for leaf in leaves.of(test.place) {
            let holding = &mut holdings[index(leaf.context)];
            holding.here = holding.here.with(field);
            if test.condition().takes(&leaves.scalar(leaf, event)) {
                holding.fits = holding.fits.with(field);
            }
        }
    }
    for own in (0..holdings.len()).rev() {
        let holding = &mut holdings[own];
        holding.below = holding.below.or(holding.here);
        holding.fits_below = holding.fits_below.or(holding.fits);
        let Holding { below, fits_below, .. } = *holding;
        if let Some(parent) = holdings.get_mut(index(leaves.contexts[own].parent)) {
            parent.below = parent.below.or(below);
            parent.fits_below = parent.fits_below.or(fits_below);
        }
    }
    let wanted = Wanted { open: all, optional: Set::default(), absent };
    Elements { holdings, contexts: &leaves.contexts }.judge(0, wanted) != Verdict::No
}

struct Elements<'e> {
    holdings: &'e [Holding],
    contexts: &'e [Context],
}

/// What is asked of an element.
#[derive(Clone, Copy)]
struct Wanted {
    /// Fields that must be satisfied.
    open: Set,
    /// Fields that are satisfied further out, and may be satisfied here instead.
    optional: Set,
    /// Fields that no value satisfies, as long as none was found.
    absent: Set,
}

impl Elements<'_> {
    fn judge(&self, own: usize, wanted: Wanted) -> Verdict {
        let holding = &self.holdings[own];
        let fits = holding.fits.and(wanted.open.or(wanted.optional));
        let mut open = wanted.open.without(fits);
        let absent = wanted.absent.without(holding.here);
        let (inside, twice) = self.inside(own);
        if open.without(inside).without(absent).any() {
            return Verdict::No;
        }
        open = open.and(inside);
        // Fields in several arrays of the same place are judged by themselves.
        let loose = open.and(twice);
        if loose.without(holding.fits_below).any() {
            return Verdict::No;
        }
        let mut present = fits.any() || loose.any();
        let optional = wanted.optional.or(fits).without(twice);
        let wanted = Wanted { open: open.without(twice), optional, absent };
        for array in self.arrays(own) {
            match self.judge_array(array, wanted) {
                Verdict::No => return Verdict::No,
                Verdict::Present => present = true,
                Verdict::Absent => {}
            }
        }
        if present { Verdict::Present } else { Verdict::Absent }
    }

    fn judge_array(&self, array: std::ops::Range<usize>, wanted: Wanted) -> Verdict {
        let held = self.elements(array.clone()).fold(Set::default(), |held, own| held.or(self.holdings[own].below));
        let wanted = Wanted { open: wanted.open.and(held), optional: wanted.optional.and(held), ..wanted };
        let mut verdict = Verdict::Absent;
        if !wanted.open.or(wanted.optional).any() {
            return verdict;
        }
        for own in self.elements(array) {
            match self.judge(own, wanted) {
                Verdict::Present => return Verdict::Present,
                Verdict::No => verdict = Verdict::No,
                Verdict::Absent => {}
            }
        }
        verdict
    }

    /// Fields with values in arrays of an element, and those with values in several of its arrays.
    fn inside(&self, own: usize) -> (Set, Set) {
        let (mut inside, mut twice) = (Set::default(), Set::default());
        for array in self.arrays(own) {
            let held = self.elements(array).fold(Set::default(), |held, own| held.or(self.holdings[own].below));
            twice = twice.or(inside.and(held));
            inside = inside.or(held);
        }
        (inside, twice)
    }

    /// The first number behind an element and all in it.
    fn end(&self, own: usize) -> usize {
        index(self.contexts[own].end).min(self.contexts.len())
    }

    /// The arrays of an element, each as the numbers of its elements and of what is in them.
    fn arrays(&self, own: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        let (mut next, end) = (own + 1, self.end(own));
        std::iter::from_fn(move || {
            let first = (next < end).then_some(next)?;
            while next < end && self.contexts[next].array == self.contexts[first].array {
                next = self.end(next);
            }
            Some(first..next)
        })
    }

    fn elements(&self, array: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
        let mut next = array.start;
        std::iter::from_fn(move || {
            let own = (next < array.end).then_some(next)?;
            next = self.end(own);
            Some(own)
        })
    }
}
