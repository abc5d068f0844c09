//! Wildcards: `*` for any run of characters, `\*` and `\\` for themselves.
//!
//! Each text between stars is searched once and never again, so that a match costs the length of the value and of the
//! wildcard, whatever either holds.

use memchr::memmem::Finder;

/// A parsed wildcard.
#[derive(Debug, Clone)]
pub(super) struct Wildcard {
    head: Box<[u8]>,
    middle: Vec<Finder<'static>>,
    /// `None` without a star: the head is all.
    tail: Option<Box<[u8]>>,
}

impl Wildcard {
    /// Parses a wildcard.
    ///
    /// # Errors
    /// What is wrong, in EventBridge's words; it counts bytes and the opening quote, so the first byte is 1.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bytes = text.as_bytes();
        let mut parts = vec![Vec::new()];
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            match (byte, bytes.get(at + 1)) {
                (b'*', Some(b'*')) => return Err(format!("Consecutive wildcard characters at pos {}", at + 1)),
                (b'*', _) => parts.push(Vec::new()),
                (b'\\', Some(escaped @ (b'*' | b'\\'))) => {
                    parts.iter_mut().last().into_iter().for_each(|part| part.push(*escaped));
                    at += 1;
                }
                (b'\\', _) => return Err(format!("Invalid escape character at pos {}", at + 1)),
                (byte, _) => parts.iter_mut().last().into_iter().for_each(|part| part.push(*byte)),
            }
            at += 1;
        }
        let tail = if parts.len() > 1 { parts.pop() } else { None };
        let mut parts = parts.into_iter();
        let head = parts.next().unwrap_or_default().into_boxed_slice();
        let middle = parts.map(|part| Finder::new(&part).into_owned()).collect();
        Ok(Self { head, middle, tail: tail.map(Vec::into_boxed_slice) })
    }

    /// Tells whether a text matches.
    pub(super) fn takes(&self, text: &[u8]) -> bool {
        let Some(tail) = &self.tail else { return *text == *self.head };
        let fits = |part: &[u8], found: Option<&[u8]>| part.is_empty() || found == Some(part);
        let Some(spare) = text.len().checked_sub(self.head.len() + tail.len()) else { return false };
        if !fits(&self.head, text.get(..self.head.len())) || !fits(tail, text.get(self.head.len() + spare..)) {
            return false;
        }
        let mut rest = &text[self.head.len()..self.head.len() + spare];
        for part in &self.middle {
            let Some(found) = part.find(rest) else { return false };
            rest = &rest[found + part.needle().len()..];
        }
        true
    }

    /// Returns about what EventBridge counts as a wildcard's complexity: one, its stars, and every text behind a star
    /// that begins as an earlier one does.
    pub(super) fn complexity(&self) -> usize {
        let Some(tail) = &self.tail else { return 1 };
        let behind = self.middle.iter().map(Finder::needle).chain([&**tail]);
        let mut begun = [false; 256];
        let again =
            behind.filter_map(<[u8]>::first).filter(|first| std::mem::replace(&mut begun[usize::from(**first)], true));
        1 + self.middle.len() + 1 + again.count()
    }
}
