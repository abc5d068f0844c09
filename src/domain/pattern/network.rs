//! Ranges of IP addresses. A text is an address as the standard writes it, or it is none: nothing is ever looked up.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of the longest text of an address: one of version 6 that ends in one of version 4.
const LONGEST: usize = 45;

/// A range of addresses of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Network {
    V4 { address: u32, mask: u32 },
    V6 { address: u128, mask: u128 },
}

impl Network {
    /// Parses `address/bits`; bits of the host are masked.
    ///
    /// # Errors
    /// What is wrong, in EventBridge's words.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let (Some(address), Some(bits), None) = (parts.next(), parts.next(), parts.next()) else {
            return Err("Malformed CIDR, one '/' required".to_owned());
        };
        let digits = !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit());
        let bits: u32 = bits
            .parse()
            .ok()
            .filter(|_| digits)
            .ok_or_else(|| "Malformed CIDR, mask bits must be an integer".to_owned())?;
        let address: IpAddr = address.parse().map_err(|_| format!("Invalid IP address: {address}"))?;
        match address {
            IpAddr::V4(_) if bits > 31 => Err("IPv4 mask bits must be < 32".to_owned()),
            IpAddr::V6(_) if bits > 127 => Err("IPv6 mask bits must be < 128".to_owned()),
            IpAddr::V4(address) => {
                let mask = !(u32::MAX >> bits);
                Ok(Self::V4 { address: address.to_bits() & mask, mask })
            }
            IpAddr::V6(address) => {
                let mask = !(u128::MAX >> bits);
                Ok(Self::V6 { address: address.to_bits() & mask, mask })
            }
        }
    }

    /// Tells whether a text is an address of the range.
    pub(super) fn takes(self, text: &[u8]) -> bool {
        let text = text.get(..text.len().min(LONGEST + 1)).unwrap_or_default();
        let Ok(text) = std::str::from_utf8(text) else { return false };
        match self {
            Self::V4 { address, mask } => text.parse::<Ipv4Addr>().is_ok_and(|found| found.to_bits() & mask == address),
            Self::V6 { address, mask } => text.parse::<Ipv6Addr>().is_ok_and(|found| found.to_bits() & mask == address),
        }
    }
}
