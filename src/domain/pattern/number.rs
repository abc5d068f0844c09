//! Numbers of JSON: when two are equal, and which one is larger.
//!
//! By value, so that 1, 1.0 and 1e0 are one number and 0 is -0.0. A number that is not the shortest decimal of a double
//! (2^53 + 1, thirty digits, 1e400) has no value that can be trusted: it is equal to its own text only. What is larger is
//! decided by all digits.

use std::cmp::Ordering;

/// Digits that every double keeps.
const SAFE_DIGITS: usize = 15;

/// A number as written, and the double nearest to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'t> {
    text: &'t [u8],
    value: f64,
}

/// A number of a pattern.
#[derive(Debug, Clone)]
pub(super) struct OwnNumber {
    text: Box<[u8]>,
    value: f64,
}

impl OwnNumber {
    /// Keeps a number whose text follows JSON's grammar.
    pub(super) fn new(text: &str) -> Self {
        Self { text: text.as_bytes().into(), value: value(text.as_bytes()) }
    }

    /// Tells whether it is within a double's range.
    pub(super) fn is_finite(&self) -> bool {
        self.value.is_finite()
    }

    /// The number, borrowed.
    pub(super) fn get(&self) -> Number<'_> {
        Number { text: &self.text, value: self.value }
    }
}

/// Returns the double nearest to a number that follows JSON's grammar.
pub(super) fn value(text: &[u8]) -> f64 {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
}

impl<'t> Number<'t> {
    /// Puts together a number and its [`value`].
    pub(super) fn new(text: &'t [u8], value: f64) -> Self {
        Self { text, value }
    }

    /// Tells whether two numbers are equal.
    pub(super) fn equals(&self, other: Number<'_>) -> bool {
        if self.value != other.value {
            return false;
        }
        if self.is_safe() && other.is_safe() {
            return true;
        }
        match (self.is_shortest(), other.is_shortest()) {
            (true, true) => true,
            (false, false) => self.text == other.text,
            _one_has_no_value => false,
        }
    }

    /// Tells which number is larger.
    #[inline]
    pub(super) fn compare(&self, other: Number<'_>) -> Ordering {
        match self.value.partial_cmp(&other.value) {
            Some(Ordering::Less) => Ordering::Less,
            Some(Ordering::Greater) => Ordering::Greater,
            _same if self.is_safe() && other.is_safe() => Ordering::Equal,
            _same => Decimal::of(self.text).compare(&Decimal::of(other.text)),
        }
    }

    /// Tells, without a look at the digits, whether the double says all.
    fn is_safe(&self) -> bool {
        let mantissa = self.text.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
        let digits = mantissa.filter(|byte| byte.is_ascii_digit());
        if self.value == 0.0 {
            return digits.into_iter().all(|digit| *digit == b'0');
        }
        self.value.is_normal() && digits.count() <= SAFE_DIGITS
    }

    /// Tells whether it is the shortest decimal of its double.
    fn is_shortest(&self) -> bool {
        self.value.is_finite() && Decimal::of(self.text) == Decimal::of(format!("{:e}", self.value).as_bytes())
    }
}

/// All digits of a number: 0.`digits` times ten to the power of `exponent`, no zeros at either end.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    digits: Vec<u8>,
    exponent: i64,
}

impl Decimal {
    fn of(text: &[u8]) -> Self {
        let (mantissa, power) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&text[..at], power(&text[at + 1..])),
            None => (text, 0),
        };
        let whole = mantissa.iter().take_while(|byte| **byte != b'.').filter(|byte| byte.is_ascii_digit()).count();
        let mut digits: Vec<u8> = mantissa.iter().copied().filter(u8::is_ascii_digit).collect();
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..zeros);
        while digits.last() == Some(&b'0') {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { negative: false, digits, exponent: 0 };
        }
        let point = i64::try_from(whole).unwrap_or(i64::MAX).saturating_sub(i64::try_from(zeros).unwrap_or(i64::MAX));
        Self { negative: text.first() == Some(&b'-'), digits, exponent: point.saturating_add(power) }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let sign = |decimal: &Self| match (decimal.digits.is_empty(), decimal.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        let size = if self.negative { size.reverse() } else { size };
        sign(self).cmp(&sign(other)).then(if self.digits.is_empty() { Ordering::Equal } else { size })
    }
}

/// The power of ten behind `e`; what no 64 bits hold is cut to them.
fn power(text: &[u8]) -> i64 {
    let negative = text.first() == Some(&b'-');
    let digits = text.iter().filter(|byte| byte.is_ascii_digit());
    let size = digits.fold(0_i64, |size, digit| size.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    if negative { -size } else { size }
}
