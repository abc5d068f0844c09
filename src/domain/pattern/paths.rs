//! The places that patterns name, as a tree of names.

use std::collections::HashMap;

/// More names than this are looked up rather than compared one by one.
const FEW: usize = 16;

/// A tree of names; its root is node 0.
#[derive(Debug)]
pub(super) struct Paths {
    nodes: Vec<Node>,
    /// Number of places.
    count: usize,
}

/// A node of the tree.
#[derive(Debug, Default)]
pub(super) struct Node {
    few: Vec<(Name, u32)>,
    /// A bit for each name below, by [`trace`]: a name whose bit is not set is none of them.
    traces: u64,
    /// Whether any name below leads further, so that a name with dots may.
    is_deep: bool,
    /// All names below.
    all: HashMap<Box<[u8]>, u32>,
    /// Number of the place that ends here.
    pub(super) place: Option<u32>,
    /// Whether the values of numbers are read here.
    pub(super) numbers: bool,
}

/// A name, its first bytes as a number so that most comparisons are one.
#[derive(Debug)]
struct Name {
    head: u64,
    length: usize,
    rest: Box<[u8]>,
}

/// One bit that tells most names apart.
#[inline]
fn trace(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| usize::from(*byte));
    1 << ((first + 5 * name.len()) % 64)
}

/// Bytes of a name that are compared as a number.
const HEAD: usize = 8;

/// The first bytes of a part of a text; zeros where it has fewer.
#[inline]
fn head(text: &[u8], start: usize, end: usize) -> u64 {
    if let Some(eight) = text.get(start..).and_then(|rest| rest.first_chunk::<HEAD>()) {
        let unused = 64 - 8 * (end - start).min(HEAD);
        return u64::from_le_bytes(*eight) & u64::MAX.checked_shr(u32::try_from(unused).unwrap_or(64)).unwrap_or(0);
    }
    text[start..end].iter().rev().fold(0, |head, byte| head << 8 | u64::from(*byte))
}

impl Default for Paths {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], count: 0 }
    }
}

/// A number as index.
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// An index as number; what has so many entries was refused long before.
pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

impl Node {
    /// Tells whether a name may be one with dots that leads further.
    #[inline]
    pub(super) fn splits(&self, name: &[u8]) -> bool {
        self.is_deep && name.contains(&b'.')
    }

    /// Tells whether any name leads further.
    pub(super) fn is_inner(&self) -> bool {
        !self.few.is_empty()
    }

    /// The node that a name without dots leads to.
    fn child(&self, name: &[u8]) -> Option<u32> {
        self.child_at(name, 0, name.len())
    }

    /// The same for a name that is a part of a text, `[start, end)`.
    #[inline]
    pub(super) fn child_at(&self, text: &[u8], start: usize, end: usize) -> Option<u32> {
        if self.traces & trace(&text[start..end]) == 0 {
            return None;
        }
        self.find(text, start, end)
    }

    fn find(&self, text: &[u8], start: usize, end: usize) -> Option<u32> {
        if self.all.len() <= FEW {
            let head = head(text, start, end);
            let length = end - start;
            let is_rest = |own: &Name| length <= HEAD || *own.rest == text[start + HEAD..end];
            let is = |own: &Name| own.head == head && own.length == length && is_rest(own);
            self.few.iter().find(|(own, _)| is(own)).map(|(_, node)| *node)
        } else {
            self.all.get(&text[start..end]).copied()
        }
    }
}

impl Paths {
    pub(super) fn node(&self, number: u32) -> &Node {
        &self.nodes[index(number)]
    }

    /// Number of nodes.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Number of places.
    pub(super) fn places(&self) -> usize {
        self.count
    }

    /// The node that a name, which may have dots, leads to from a node.
    #[inline]
    pub(super) fn follow<'s>(&'s self, node: &'s Node, name: &[u8]) -> Option<u32> {
        if name.contains(&b'.') { self.follow_dots(node, name) } else { node.child(name) }
    }

    #[cold]
    fn follow_dots<'s>(&'s self, mut node: &'s Node, name: &[u8]) -> Option<u32> {
        let mut last = None;
        for part in name.split(|byte| *byte == b'.') {
            last = node.child(part);
            node = self.node(last?);
        }
        last
    }

    /// Adds a path, or finds it, and returns the number of its place.
    pub(super) fn insert(&mut self, path: &str, numbers: bool) -> u32 {
        let (mut at, mut before) = (0, None);
        for name in path.split('.') {
            let name = name.as_bytes();
            if let Some(before) = before.replace(at) {
                self.nodes[before].is_deep = true;
            }
            at = match self.nodes[at].child(name) {
                Some(child) => index(child),
                None => {
                    let child = number(self.nodes.len());
                    self.nodes.push(Node::default());
                    let node = &mut self.nodes[at];
                    if node.all.len() < FEW {
                        let rest = name.get(HEAD..).unwrap_or_default().into();
                        node.few.push((Name { head: head(name, 0, name.len()), length: name.len(), rest }, child));
                    }
                    node.all.insert(name.into(), child);
                    node.traces |= trace(name);
                    index(child)
                }
            };
        }
        let node = &mut self.nodes[at];
        node.numbers |= numbers;
        *node.place.get_or_insert_with(|| {
            self.count += 1;
            number(self.count - 1)
        })
    }
}
