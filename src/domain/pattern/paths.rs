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
    few: Vec<(Box<[u8]>, u32)>,
    /// All names below, where they are more than a few.
    many: HashMap<Box<[u8]>, u32>,
    /// Number of the place that ends here.
    pub(super) place: Option<u32>,
    /// Whether the values of numbers are read here.
    pub(super) numbers: bool,
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
    /// Tells whether any name leads further.
    pub(super) fn is_inner(&self) -> bool {
        !self.few.is_empty() || !self.many.is_empty()
    }

    #[inline]
    pub(super) fn child(&self, name: &[u8]) -> Option<u32> {
        if self.many.is_empty() {
            self.few.iter().find(|(own, _)| **own == *name).map(|(_, node)| *node)
        } else {
            self.many.get(name).copied()
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
        node.child(name).or_else(|| if name.contains(&b'.') { self.follow_dots(node, name) } else { None })
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
        let mut at = 0;
        for name in path.split('.') {
            let name = name.as_bytes();
            at = match self.nodes[at].child(name) {
                Some(child) => index(child),
                None => {
                    let child = number(self.nodes.len());
                    self.nodes.push(Node::default());
                    let node = &mut self.nodes[at];
                    if node.many.is_empty() && node.few.len() < FEW {
                        node.few.push((name.into(), child));
                    } else {
                        node.many.extend(node.few.drain(..));
                        node.many.insert(name.into(), child);
                    }
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
