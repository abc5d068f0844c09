//! The letters of JSON: where a string or a number ends, and what a string's escapes stand for.
//!
//! Pure, and shared by the reader of patterns and the scanner of events, so that both take the same texts for JSON.
//! Sources: RFC 8259; lone surrogates are kept as in WTF-8, so that no text of a pattern is ever equal to one.

use wide::u8x16;

/// A text that is not JSON, or not JSON that is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableText {
    /// It breaks JSON's grammar.
    #[error("not JSON at byte {at}: expected {expected}")]
    NotJson {
        /// Where, counted from 0.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
    /// It is JSON, but no object.
    #[error("an event must be a JSON object")]
    NotAnObject,
    /// It is nested too deeply at a place that a pattern names.
    #[error("nested too deeply")]
    TooDeep,
    /// It has more bytes than can be looked at.
    #[error("it has {bytes} bytes, more than {}", super::MAX_EVENT_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// Makes the error of a place.
pub(super) fn not_json(at: usize, expected: &'static str) -> UnreadableText {
    UnreadableText::NotJson { at, expected }
}

/// A string between its quotes: `[start, end)`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quoted {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it has escapes.
    pub(super) escaped: bool,
}

/// Where the plain letters of strings end: a `"`, a `\` or a control character. Known for 64 bytes at a time, so that the
/// short strings of a block cost a look at its bits each.
#[derive(Debug)]
pub(super) struct Stops {
    base: usize,
    mask: u64,
}

const BLOCK: usize = 64;

impl Default for Stops {
    /// Nothing is known yet: no text is so long that the block is one of its own.
    fn default() -> Self {
        Self { base: usize::MAX - 2 * BLOCK, mask: 0 }
    }
}

impl Stops {
    /// Returns the first stop from `at` on, or the length.
    #[inline]
    fn next(&mut self, bytes: &[u8], mut at: usize) -> usize {
        loop {
            let offset = at.wrapping_sub(self.base);
            if offset < BLOCK {
                let rest = self.mask >> offset;
                if rest != 0 {
                    return at + rest.trailing_zeros() as usize;
                }
                at = self.base + BLOCK;
            }
            if at >= bytes.len() {
                return bytes.len();
            }
            *self = Self { base: at, mask: Self::mask(&bytes[at..]) };
        }
    }

    #[inline]
    fn mask(rest: &[u8]) -> u64 {
        // Whatever ends the text ends its strings.
        let mut last = [b'"'; BLOCK];
        let block = rest.first_chunk::<BLOCK>().unwrap_or_else(|| {
            last[..rest.len()].copy_from_slice(rest);
            &last
        });
        let mut mask = 0;
        for (part, sixteen) in block.as_chunks::<16>().0.iter().enumerate() {
            let sixteen = u8x16::new(*sixteen);
            // One bit changed, `"` comes next to the control characters.
            let changed = sixteen ^ u8x16::splat(2);
            let stops = changed.min(u8x16::splat(0x20)).simd_eq(changed) | sixteen.simd_eq(u8x16::splat(b'\\'));
            mask |= u64::from(stops.to_bitmask()) << (part * 16);
        }
        mask
    }

    /// Reads a string whose opening quote lies before `start`.
    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8], start: usize) -> Result<Quoted, UnreadableText> {
        let end = self.next(bytes, start);
        if bytes.get(end) == Some(&b'"') {
            Ok(Quoted { start, end, escaped: false })
        } else {
            self.escaped(bytes, start, end)
        }
    }

    #[cold]
    fn escaped(&mut self, bytes: &[u8], start: usize, mut at: usize) -> Result<Quoted, UnreadableText> {
        loop {
            match bytes.get(at) {
                Some(b'"') => return Ok(Quoted { start, end: at, escaped: true }),
                Some(b'\\') => match bytes.get(at + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => at += 2,
                    Some(b'u') if unit(bytes, at + 2).is_some() => at += 6,
                    _other => return Err(not_json(at, "an escape that JSON knows")),
                },
                Some(_control) => return Err(not_json(at, "no control character inside a string")),
                None => return Err(not_json(at, "the end of a string")),
            }
            at = self.next(bytes, at);
        }
    }
}

/// The UTF-16 unit that four hexadecimal digits stand for.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
}

/// Appends what a string's text (already read by [`Stops::string`]) stands for.
pub(super) fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while at < text.len() {
        let plain = memchr::memchr(b'\\', &text[at..]).map_or(text.len(), |found| at + found);
        out.extend_from_slice(&text[at..plain]);
        let Some(letter) = text.get(plain + 1) else { return };
        at = plain + 2;
        match letter {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => at = unicode(text, at, out),
            other => out.push(*other),
        }
    }
}

/// Appends the character whose digits begin at `at`, and returns the place behind it.
fn unicode(text: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let Some(first) = unit(text, at) else { return text.len() };
    let behind = at + 4;
    if let 0xD800..0xDC00 = first
        && text.get(behind..behind + 2) == Some(b"\\u".as_slice())
        && let Some(second @ 0xDC00..0xE000) = unit(text, behind + 2)
    {
        let character = char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00));
        out.extend_from_slice(character.unwrap_or_default().encode_utf8(&mut [0; 4]).as_bytes());
        return behind + 6;
    }
    match char::from_u32(first) {
        Some(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        // A surrogate alone: three bytes that no valid text holds.
        None => out.extend([0xED, 0x80 | (first >> 6 & 0x3F) as u8, 0x80 | (first & 0x3F) as u8]),
    }
    behind
}

/// Returns the place behind the number that begins at `at`.
#[inline]
pub(super) fn number(bytes: &[u8], mut at: usize) -> Result<usize, UnreadableText> {
    let digits = |mut at: usize| {
        let from = at;
        while bytes.get(at).is_some_and(u8::is_ascii_digit) {
            at += 1;
        }
        if at > from { Ok(at) } else { Err(not_json(at, "a digit")) }
    };
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(at)?;
    }
    Ok(at)
}

/// Returns the first place from `at` on that holds no white space.
#[inline]
pub(super) fn behind_space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}
