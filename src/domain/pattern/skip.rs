//! Moves behind values that nobody asks for, 64 bytes at a time.
//!
//! Of a block it is known, bit by bit, where quotes and brackets stand. What lies between quotes is masked, and the
//! brackets left are counted. Blocks with backslashes are read byte by byte.

use wide::u8x16;

use super::text::{Stops, UnreadableText, not_json};

const BLOCK: usize = 64;

/// Returns the place behind the value that begins at `at`.
///
/// # Errors
/// [`UnreadableText`] when a string or a bracket is not closed, or nothing is there.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize, stops: &mut Stops) -> Result<usize, UnreadableText> {
    match bytes.get(at) {
        Some(b'"') => Ok(stops.string(bytes, at + 1)?.end + 1),
        Some(b'{' | b'[') => container(bytes, at).ok_or(not_json(at, "the end of what begins here")),
        _scalar => scalar(bytes, at),
    }
}

#[inline]
fn scalar(bytes: &[u8], at: usize) -> Result<usize, UnreadableText> {
    let letter = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
    let length = bytes.get(at..).unwrap_or_default().iter().take_while(letter).count();
    if length == 0 { Err(not_json(at, "a value")) } else { Ok(at + length) }
}

/// Where what counts stands in a block, a bit for each byte.
struct Marks {
    quotes: u64,
    opened: u64,
    closed: u64,
    backslashes: bool,
}

impl Marks {
    #[inline]
    fn of(block: &[u8; BLOCK]) -> Self {
        let mut marks = Self { quotes: 0, opened: 0, closed: 0, backslashes: false };
        let mut backslashes = u8x16::ZERO;
        for (part, sixteen) in block.as_chunks::<16>().0.iter().enumerate() {
            let bytes = u8x16::new(*sixteen);
            // `{` and `[`, `}` and `]` are one bit apart.
            let folded = bytes | u8x16::splat(0x20);
            let bits = |found: u8x16| u64::from(found.to_bitmask()) << (part * 16);
            marks.quotes |= bits(bytes.simd_eq(u8x16::splat(b'"')));
            marks.opened |= bits(folded.simd_eq(u8x16::splat(b'{')));
            marks.closed |= bits(folded.simd_eq(u8x16::splat(b'}')));
            backslashes |= bytes.simd_eq(u8x16::splat(b'\\'));
        }
        marks.backslashes = backslashes.to_bitmask() != 0;
        marks
    }
}

/// Sets every bit from an odd quote on to the one before the next quote.
#[inline]
fn between(quotes: u64) -> u64 {
    [1, 2, 4, 8, 16, 32].iter().fold(quotes, |bits, by| bits ^ (bits << by))
}

/// How far a container was skipped.
struct Skipping {
    at: usize,
    /// Brackets that are open.
    depth: u32,
    /// All ones inside a string, else zero.
    inside: u64,
}

/// Skips an object or an array, and returns the place behind it if it ends. Which bracket closes which is not looked at.
fn container(bytes: &[u8], start: usize) -> Option<usize> {
    let mut skipping = Skipping { at: start + 1, depth: 1, inside: 0 };
    let mut last = [b' '; BLOCK];
    loop {
        let rest = bytes.get(skipping.at..).filter(|rest| !rest.is_empty())?;
        let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
            last[..rest.len()].copy_from_slice(rest);
            &last
        });
        let marks = Marks::of(block);
        let end = if marks.backslashes { skipping.bytes(bytes) } else { skipping.block(&marks) };
        if end.is_some() {
            return end;
        }
    }
}

impl Skipping {
    /// Skips a block without backslashes, or returns the place behind the bracket that ends it all.
    #[inline]
    fn block(&mut self, marks: &Marks) -> Option<usize> {
        let strings = between(marks.quotes) ^ self.inside;
        let (opened, mut closed) = (marks.opened & !strings, marks.closed & !strings);
        if closed.count_ones() >= self.depth {
            let mut before = 0;
            while closed != 0 {
                // Brackets opened before the next one that closes, less those closed.
                let next = closed.trailing_zeros();
                before += 1;
                if self.depth + (opened & ((1 << next) - 1)).count_ones() == before {
                    return Some(self.at + next as usize + 1);
                }
                closed &= closed - 1;
            }
            closed = marks.closed & !strings;
        }
        self.depth = self.depth + opened.count_ones() - closed.count_ones();
        self.inside = (strings.cast_signed() >> 63).cast_unsigned();
        self.at += BLOCK;
        None
    }

    /// Does the same with a block's worth of any bytes.
    #[cold]
    fn bytes(&mut self, bytes: &[u8]) -> Option<usize> {
        let end = self.at + BLOCK;
        while self.at < end {
            let byte = *bytes.get(self.at)?;
            self.at += 1;
            match (byte, self.inside) {
                (b'"', inside) => self.inside = !inside,
                (b'\\', 1..) => self.at += 1,
                (b'{' | b'[', 0) => self.depth += 1,
                (b'}' | b']', 0) => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(self.at);
                    }
                }
                _other => {}
            }
        }
        None
    }
}
