//! The scanner: reads an event's text once, keeps the values at the places that patterns name, and skips all else.
//!
//! What is looked at must be JSON; of what is skipped the strings and brackets must close. Skipping has no depth.

use super::{
    MAX_EVENT_BYTES, MAX_EVENT_DEPTH,
    json::Literal,
    leaves::{Context, Kind, Leaves, NONE},
    number,
    paths::{Node, Paths, index, number as numbered},
    skip,
    text::{self, Stops, UnreadableText, not_json},
};

/// What was seen of a name, so that its value can be forgotten when the name comes again: the object, by number, and the
/// leaves of the value, `[from, to)`.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    object: u32,
    from: usize,
    to: usize,
}

/// What a scan leaves behind. Reused from event to event.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    pub(super) leaves: Leaves,
    /// By node. Objects of one node do not nest, so the last one's entry is all that is needed.
    seen: Vec<Seen>,
    /// By node, for names with dots, which lead from several objects to one node.
    dotted: Vec<(u32, Seen)>,
    /// Objects so far, of all events.
    objects: u32,
}

struct Scanner<'s> {
    bytes: &'s [u8],
    at: usize,
    paths: &'s Paths,
    scratch: &'s mut Scratch,
    stops: Stops,
}

/// Where a value stands: the node of its name, the array element around it, and how deep.
#[derive(Clone, Copy)]
struct Place<'s> {
    node: &'s Node,
    context: u32,
    depth: usize,
}

/// Scans an event.
///
/// # Errors
/// [`UnreadableText`] for what is not a JSON object, as far as it is looked at.
pub(super) fn scan(event: &str, paths: &Paths, scratch: &mut Scratch) -> Result<(), UnreadableText> {
    let bytes = event.as_bytes();
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(UnreadableText::TooLarge { bytes: bytes.len() });
    }
    scratch.leaves.clear(paths.places());
    scratch.dotted.clear();
    if scratch.objects > u32::MAX / 2 {
        (scratch.seen, scratch.objects) = (Vec::new(), 0);
    }
    if scratch.seen.len() < paths.len() {
        scratch.seen.resize(paths.len(), Seen::default());
    }
    let mut scanner = Scanner { bytes, at: 0, paths, scratch, stops: Stops::default() };
    if scanner.next() != Some(b'{') {
        // Anything else is told apart only so far: JSON of another kind, or no JSON.
        let is_value =
            matches!(scanner.next(), Some(b'[' | b'"' | b'-' | b'0'..=b'9')) || Literal::at(bytes, scanner.at).is_ok();
        return Err(if is_value { UnreadableText::NotAnObject } else { not_json(scanner.at, "an object") });
    }
    scanner.object(Place { node: paths.node(0), context: 0, depth: 1 })?;
    if scanner.next().is_some() {
        return Err(not_json(scanner.at, "nothing behind the object"));
    }
    scanner.scratch.leaves.finish();
    Ok(())
}

impl<'s> Scanner<'s> {
    /// Moves over white space, and returns what stands behind it.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        if byte > b' ' {
            return Some(byte);
        }
        self.at = text::behind_space(self.bytes, self.at);
        self.bytes.get(self.at).copied()
    }

    /// Reads an object whose brace is the next byte.
    fn object(&mut self, place: Place<'s>) -> Result<(), UnreadableText> {
        self.scratch.objects += 1;
        let own = self.scratch.objects;
        let dotted_before = self.scratch.dotted.len();
        self.at += 1;
        if self.next() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            if self.next() != Some(b'"') {
                return Err(not_json(self.at, "a name in quotes"));
            }
            let name = self.stops.string(self.bytes, self.at + 1)?;
            self.at = name.end + 1;
            if self.next() != Some(b':') {
                return Err(not_json(self.at, "`:`"));
            }
            self.at += 1;
            let (node, dotted) = self.named(place.node, name);
            match node {
                Some(node) => self.member(node, dotted, own, place)?,
                None if self.bytes.get(self.at) == Some(&b'"') => {
                    self.at = self.stops.string(self.bytes, self.at + 1)?.end + 1;
                }
                None => self.skip()?,
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b'}') => break self.at += 1,
                _other => return Err(not_json(self.at, "`,` or `}`")),
            }
        }
        self.scratch.dotted.truncate(dotted_before);
        Ok(())
    }

    /// The node that a name leads to, and whether the name has dots.
    #[inline]
    fn named(&mut self, node: &'s Node, name: text::Quoted) -> (Option<u32>, bool) {
        let raw = &self.bytes[name.start..name.end];
        if name.escaped {
            let mut decoded = Vec::new();
            text::unescape(raw, &mut decoded);
            return (self.paths.follow(node, &decoded), decoded.contains(&b'.'));
        }
        match node.child_at(self.bytes, name.start, name.end) {
            None if node.splits(raw) => (self.paths.follow(node, raw), true),
            child => (child, false),
        }
    }

    /// Reads the value of a name that leads somewhere.
    fn member(&mut self, node: u32, dotted: bool, object: u32, place: Place<'s>) -> Result<(), UnreadableText> {
        let from = self.scratch.leaves.list.len();
        self.value(Place { node: self.paths.node(node), depth: place.depth + 1, ..place })?;
        let seen = Seen { object, from, to: self.scratch.leaves.list.len() };
        let before = if dotted {
            self.before_dotted(node, seen)
        } else {
            std::mem::replace(&mut self.scratch.seen[index(node)], seen)
        };
        if before.object == object && before.to > before.from {
            self.scratch.leaves.forget(before.from, before.to);
        }
        Ok(())
    }

    /// What was seen before of a name with dots; entries of the innermost object are the last ones.
    #[cold]
    fn before_dotted(&mut self, node: u32, seen: Seen) -> Seen {
        let own = self.scratch.dotted.iter_mut().rev().take_while(|(_, other)| other.object == seen.object);
        match own.into_iter().find(|(other, _)| *other == node) {
            Some((_, before)) => std::mem::replace(before, seen),
            None => {
                self.scratch.dotted.push((node, seen));
                Seen::default()
            }
        }
    }

    fn value(&mut self, place: Place<'s>) -> Result<(), UnreadableText> {
        match self.next() {
            Some(b'{' | b'[') if place.depth > MAX_EVENT_DEPTH => Err(UnreadableText::TooDeep),
            Some(b'{') if place.node.is_inner() => self.object(place),
            Some(b'[') => self.array(place),
            Some(b'{') => self.skip(),
            _scalar => match place.node.place {
                Some(own) => self.leaf(own, place),
                None => self.skip(),
            },
        }
    }

    /// Reads an array whose bracket is the next byte.
    fn array(&mut self, place: Place<'s>) -> Result<(), UnreadableText> {
        self.at += 1;
        if self.next() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        let mut array = NONE;
        loop {
            match self.next() {
                Some(b'{' | b'[') => {
                    let leaves = &mut self.scratch.leaves;
                    let (own, before) = (numbered(leaves.contexts.len()), leaves.list.len());
                    let first = if array == NONE { own } else { array };
                    leaves.contexts.push(Context { parent: place.context, array: first, end: NONE });
                    self.value(Place { context: own, depth: place.depth + 1, ..place })?;
                    let leaves = &mut self.scratch.leaves;
                    if leaves.list.len() == before {
                        // It holds nothing that is wanted.
                        leaves.contexts.truncate(index(own));
                    } else {
                        leaves.contexts[index(own)].end = numbered(leaves.contexts.len());
                        array = first;
                    }
                }
                _scalar => match place.node.place {
                    Some(own) => self.leaf(own, place)?,
                    None => self.skip()?,
                },
            }
            match self.next() {
                Some(b',') => self.at += 1,
                Some(b']') => break self.at += 1,
                _other => return Err(not_json(self.at, "`,` or `]`")),
            }
        }
        Ok(())
    }

    /// Keeps a scalar.
    #[inline]
    fn leaf(&mut self, own: u32, place: Place<'s>) -> Result<(), UnreadableText> {
        let start = self.at;
        let leaves = &mut self.scratch.leaves;
        match self.bytes.get(start) {
            Some(b'"') => {
                let quoted = self.stops.string(self.bytes, start + 1)?;
                self.at = quoted.end + 1;
                if quoted.escaped {
                    let from = leaves.decoded.len();
                    text::unescape(&self.bytes[quoted.start..quoted.end], &mut leaves.decoded);
                    let range = (from, leaves.decoded.len());
                    leaves.push(own, Kind::Decoded, range, 0.0, place.context);
                } else {
                    leaves.push(own, Kind::Plain, (quoted.start, quoted.end), 0.0, place.context);
                }
            }
            Some(b'-' | b'0'..=b'9') => {
                self.at = text::number(self.bytes, start)?;
                let value = if place.node.numbers { number::value(&self.bytes[start..self.at]) } else { 0.0 };
                leaves.push(own, Kind::Number, (start, self.at), value, place.context);
            }
            _word => {
                let literal = Literal::at(self.bytes, start)?;
                self.at = start + literal.word().len();
                leaves.push(own, Kind::Literal(literal), (start, self.at), 0.0, place.context);
            }
        }
        Ok(())
    }

    /// Moves behind a value that nobody asks for.
    fn skip(&mut self) -> Result<(), UnreadableText> {
        self.next();
        self.at = skip::value(self.bytes, self.at, &mut self.stops)?;
        Ok(())
    }
}
