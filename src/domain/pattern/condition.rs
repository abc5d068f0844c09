//! What a pattern wants of a field: alternatives, of which one must take one of the field's values.

use std::{cmp::Ordering, collections::HashSet};

use super::{
    fold::{Folded, Part},
    json::Literal,
    network::Network,
    number::{Number, OwnNumber},
    wildcard::Wildcard,
};

/// More texts than this are looked up rather than compared one by one.
const FEW: usize = 8;

/// A value of an event. Texts are bytes, because a surrogate alone is no character.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'t> {
    Text(&'t [u8]),
    Number(Number<'t>),
    Literal(Literal),
}

/// The alternatives of a field.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) texts: Texts,
    pub(super) others: Vec<Alternative>,
    /// Whether having no value satisfies it.
    pub(super) absent: bool,
    /// The alternatives as written, compact.
    pub(super) wanted: String,
}

/// An alternative that is no plain text.
#[derive(Debug)]
pub(super) enum Alternative {
    Literal(Literal),
    Number(OwnNumber),
    Range(Range),
    Text(TextTest),
    Network(Network),
    /// `anything-but` texts.
    NoText(Texts, Vec<TextTest>),
    /// `anything-but` numbers.
    NoNumber(Vec<OwnNumber>),
    Present,
}

/// A test of a text.
#[derive(Debug)]
pub(super) enum TextTest {
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Folded(Folded, Part),
    Wildcard(Wildcard),
}

/// Numbers between two bounds.
#[derive(Debug, Default)]
pub(super) struct Range {
    pub(super) lower: Option<Bound>,
    pub(super) upper: Option<Bound>,
}

/// A bound, and whether it belongs to the range itself.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) number: OwnNumber,
    pub(super) inclusive: bool,
}

/// Plain texts.
#[derive(Debug, Default)]
pub(super) struct Texts {
    few: Vec<Box<[u8]>>,
    /// All of them, where they are more than a few.
    many: HashSet<Box<[u8]>>,
}

impl Texts {
    pub(super) fn insert(&mut self, text: &str) {
        let text: Box<[u8]> = text.as_bytes().into();
        if self.many.is_empty() && self.few.len() < FEW {
            if !self.few.contains(&text) {
                self.few.push(text);
            }
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(text);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.few.iter().chain(&self.many).map(|text| &**text)
    }

    #[inline]
    fn contains(&self, text: &[u8]) -> bool {
        self.few.iter().any(|own| own.last() == text.last() && **own == *text)
            || (!self.many.is_empty() && self.many.contains(text))
    }
}

impl Condition {
    /// Tells whether a value satisfies it.
    #[inline]
    pub(super) fn takes(&self, scalar: &Scalar<'_>) -> bool {
        matches!(scalar, Scalar::Text(text) if !self.texts.is_empty() && self.texts.contains(text))
            || self.others.iter().any(|alternative| alternative.takes(scalar))
    }

    /// Tells whether plain texts are all that satisfies it.
    pub(super) fn is_exact(&self) -> bool {
        self.others.is_empty() && !self.absent
    }

    /// Tells whether it looks at the values of numbers.
    pub(super) fn reads_numbers(&self) -> bool {
        let reads = |alternative: &Alternative| {
            matches!(alternative, Alternative::Number(_) | Alternative::Range(_) | Alternative::NoNumber(_))
        };
        self.others.iter().any(reads)
    }

    /// Wildcards inside it.
    pub(super) fn wildcards(&self) -> impl Iterator<Item = &Wildcard> {
        let tests = self.others.iter().flat_map(|alternative| match alternative {
            Alternative::Text(test) => std::slice::from_ref(test),
            Alternative::NoText(_, tests) => tests,
            _other => &[],
        });
        tests.filter_map(|test| if let TextTest::Wildcard(wildcard) = test { Some(wildcard) } else { None })
    }
}

impl Alternative {
    #[inline]
    fn takes(&self, scalar: &Scalar<'_>) -> bool {
        match (self, scalar) {
            (Self::Present, _) => true,
            (Self::Literal(wanted), Scalar::Literal(literal)) => wanted == literal,
            (Self::Number(wanted), Scalar::Number(number)) => number.equals(wanted.get()),
            (Self::Range(range), Scalar::Number(number)) => range.takes(number),
            (Self::Text(test), Scalar::Text(text)) => test.takes(text),
            (Self::Network(network), Scalar::Text(text)) => network.takes(text),
            (Self::NoText(texts, tests), Scalar::Text(text)) => {
                !texts.contains(text) && !tests.iter().any(|test| test.takes(text))
            }
            (Self::NoNumber(unwanted), Scalar::Number(number)) => {
                !unwanted.iter().any(|unwanted| number.equals(unwanted.get()))
            }
            (Self::NoText(..) | Self::NoNumber(_), _other) => true,
            _other_kind => false,
        }
    }
}

impl TextTest {
    #[inline]
    fn takes(&self, text: &[u8]) -> bool {
        match self {
            // The bytes that most often differ are compared first, without a call.
            Self::Prefix(prefix) => prefix.is_empty() || text.first() == prefix.first() && text.starts_with(prefix),
            Self::Suffix(suffix) => suffix.is_empty() || text.last() == suffix.last() && text.ends_with(suffix),
            Self::Folded(folded, part) => folded.takes(text, *part),
            Self::Wildcard(wildcard) => wildcard.takes(text),
        }
    }
}

impl Range {
    #[inline]
    fn takes(&self, number: &Number<'_>) -> bool {
        let within = |bound: &Option<Bound>, side: Ordering| {
            bound.as_ref().is_none_or(|bound| match number.compare(bound.number.get()) {
                Ordering::Equal => bound.inclusive,
                found => found == side,
            })
        };
        within(&self.lower, Ordering::Greater) && within(&self.upper, Ordering::Less)
    }
}
