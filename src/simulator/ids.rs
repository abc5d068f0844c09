//! Ids in AWS's shapes, and choices that look random.
//!
//! Ids are drawn from SHA-256 over the seed, the start of the simulator and a counter, so that no two processes share
//! them. The order among resources depends on the seed and what is asked, see [`rank`].

use jiff::Timestamp;
use sha2::{Digest, Sha256};

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Source of ids.
#[derive(Debug)]
pub(super) struct Ids {
    origin: [u8; 32],
    drawn: u64,
}

impl Ids {
    /// Begins a source that shares no ids with any other process or start.
    pub(super) fn new(seed: u64, started: Timestamp) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(seed.to_be_bytes());
        hasher.update(started.as_nanosecond().to_be_bytes());
        hasher.update(std::process::id().to_be_bytes());
        Self { origin: hasher.finalize().into(), drawn: 0 }
    }

    fn draw(&mut self) -> [u8; 32] {
        self.drawn += 1;
        let mut hasher = Sha256::new();
        hasher.update(self.origin);
        hasher.update(self.drawn.to_be_bytes());
        hasher.finalize().into()
    }

    /// `EXP` and 16 characters of base 58, as FIS's experiment ids look.
    pub(super) fn experiment(&mut self) -> String {
        format!("EXP{}", base58(&self.draw(), 16))
    }

    /// `EXT` and 14 characters of base 58, as FIS's template ids look.
    pub(super) fn template(&mut self) -> String {
        format!("EXT{}", base58(&self.draw(), 14))
    }

    /// A UUID of version 4.
    pub(super) fn uuid(&mut self) -> String {
        let mut bytes = self.draw();
        bytes[6] = 0x40 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        let text = hex(&bytes[..16]);
        format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}

/// A number that depends on the seed and the parts alone.
pub(super) fn rank(seed: u64, parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_be_bytes());
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// Bytes as lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn base58(bytes: &[u8], length: usize) -> String {
    bytes.iter().take(length).map(|byte| char::from(BASE58[usize::from(*byte) % BASE58.len()])).collect()
}
