//! What a scan found of an event: its values at the places that patterns name, and the array elements that hold them.

use super::{
    condition::Scalar,
    json::Literal,
    number::Number,
    paths::{index, number},
};

/// No leaf, or no context.
pub(super) const NONE: u32 = u32::MAX;

/// How a leaf is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text without escapes: a range of the event.
    Plain,
    /// A text with escapes: a range of the texts without them.
    Decoded,
    /// A number, and the double nearest to it where its place reads numbers.
    Number,
    Literal(Literal),
    /// Replaced by a later value of the same name.
    Gone,
}

/// A value.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
    pub(super) value: f64,
    place: u32,
    /// The array element that holds it.
    pub(super) context: u32,
    /// The next leaf of the same place.
    next: u32,
}

/// An element of an array that is an object or an array itself; number 0 is the event, which is none. Numbers follow the
/// text, so that those from an element's own to its `end` lie inside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    pub(super) parent: u32,
    /// Number of the array's first element.
    pub(super) array: u32,
    /// First number behind it.
    pub(super) end: u32,
}

/// The leaves of a place.
#[derive(Debug, Clone, Copy)]
struct Head {
    first: u32,
    last: u32,
    /// Whether any of them lies in an array element.
    bound: bool,
}

const EMPTY: Head = Head { first: NONE, last: NONE, bound: false };

/// All leaves of an event. Reused from event to event.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub(super) list: Vec<Leaf>,
    heads: Vec<Head>,
    pub(super) contexts: Vec<Context>,
    pub(super) decoded: Vec<u8>,
    /// Whether any leaf was forgotten.
    forgotten: bool,
}

impl Leaves {
    /// Makes room for another event.
    pub(super) fn clear(&mut self, places: usize) {
        self.list.clear();
        self.heads.clear();
        self.heads.resize(places, EMPTY);
        self.contexts.clear();
        self.contexts.push(Context { parent: NONE, array: NONE, end: NONE });
        self.decoded.clear();
        self.forgotten = false;
    }

    /// Adds a leaf of a place.
    #[inline]
    pub(super) fn push(&mut self, place: u32, kind: Kind, (start, end): (usize, usize), value: f64, context: u32) {
        let own = number(self.list.len());
        self.list.push(Leaf { kind, start: number(start), end: number(end), value, place, context, next: NONE });
        self.link(place, own, context);
    }

    #[inline]
    fn link(&mut self, place: u32, own: u32, context: u32) {
        let head = &mut self.heads[index(place)];
        if head.first == NONE {
            head.first = own;
        } else {
            self.list[index(head.last)].next = own;
        }
        head.last = own;
        head.bound |= context != 0;
    }

    /// Forgets leaves `[from, to)`, because a later value has the same name; [`finish`](Self::finish) makes it so.
    #[cold]
    pub(super) fn forget(&mut self, from: usize, to: usize) {
        self.forgotten = true;
        for leaf in &mut self.list[from..to] {
            leaf.kind = Kind::Gone;
        }
    }

    /// Ends a scan.
    pub(super) fn finish(&mut self) {
        if !std::mem::take(&mut self.forgotten) {
            return;
        }
        self.heads.fill(EMPTY);
        for own in 0..self.list.len() {
            self.list[own].next = NONE;
            if self.list[own].kind != Kind::Gone {
                self.link(self.list[own].place, number(own), self.list[own].context);
            }
        }
    }

    /// Tells whether any leaf of a place lies in an array element.
    #[inline]
    pub(super) fn is_bound(&self, place: u32) -> bool {
        self.heads[index(place)].bound
    }

    /// The first leaf of a place.
    #[inline]
    pub(super) fn first(&self, place: u32) -> Option<&Leaf> {
        self.list.get(index(self.heads[index(place)].first))
    }

    /// The next leaf of the same place.
    #[inline]
    pub(super) fn after(&self, leaf: &Leaf) -> Option<&Leaf> {
        self.list.get(index(leaf.next))
    }

    /// The leaves of a place, in the order of the text.
    pub(super) fn of(&self, place: u32) -> impl Iterator<Item = &Leaf> {
        std::iter::successors(self.first(place), |leaf| self.after(leaf))
    }

    /// The value of a leaf.
    #[inline]
    pub(super) fn scalar<'t>(&'t self, leaf: &Leaf, event: &'t [u8]) -> Scalar<'t> {
        let range = index(leaf.start)..index(leaf.end);
        match leaf.kind {
            Kind::Plain => Scalar::Text(&event[range]),
            Kind::Decoded => Scalar::Text(&self.decoded[range]),
            Kind::Number => Scalar::Number(Number::new(&event[range], leaf.value)),
            Kind::Literal(literal) => Scalar::Literal(literal),
            Kind::Gone => Scalar::Text(&[]),
        }
    }
}
