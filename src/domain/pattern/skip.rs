//! Moves behind values that nobody asks for, as fast as their brackets and quotes can be found.

use super::text::{self, UnreadableText, not_json};

/// Returns the place behind the value that begins at `at`.
///
/// # Errors
/// [`UnreadableText`] when a string or a bracket is not closed, or nothing is there.
#[inline]
pub(super) fn value(bytes: &[u8], at: usize) -> Result<usize, UnreadableText> {
    match bytes.get(at) {
        Some(b'"') => Ok(text::string(bytes, at + 1)?.end + 1),
        Some(b'{' | b'[') => container(bytes, at),
        _scalar => scalar(bytes, at),
    }
}

fn scalar(bytes: &[u8], at: usize) -> Result<usize, UnreadableText> {
    let rest = bytes.get(at..).unwrap_or_default();
    let length =
        rest.iter().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')).count();
    if length == 0 { Err(not_json(at, "a value")) } else { Ok(at + length) }
}

/// Skips an object or an array. Which bracket closes which is not looked at.
fn container(bytes: &[u8], start: usize) -> Result<usize, UnreadableText> {
    let mut depth = 0_usize;
    let mut at = start;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = text::string(bytes, at + 1)?.end,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _other => {}
        }
        at += 1;
    }
    Err(not_json(start, "the end of what begins here"))
}
