//! Comparison that ignores case: character by character, by the pairs of upper and lower case that are one character
//! each (so `ß` is no `ss`, and `Σ`, `σ` and `ς` are one).

/// A text of a pattern, its case folded away.
#[derive(Debug, Clone)]
pub(super) struct Folded {
    characters: Vec<char>,
    /// Whether all of it is ASCII.
    ascii: bool,
}

/// Which part of a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    All,
    Begin,
    End,
}

fn fold(character: char) -> char {
    fn single(mut mapped: impl Iterator<Item = char>, otherwise: char) -> char {
        match (mapped.next(), mapped.next()) {
            (Some(one), None) => one,
            _several => otherwise,
        }
    }
    let upper = single(character.to_uppercase(), character);
    single(upper.to_lowercase(), upper)
}

impl Folded {
    /// Folds a text.
    pub(super) fn new(text: &str) -> Self {
        Self { characters: text.chars().map(fold).collect(), ascii: text.is_ascii() }
    }

    /// Tells whether a part of a value is equal to the text.
    pub(super) fn takes(&self, value: &[u8], part: Part) -> bool {
        let length = self.characters.len();
        let compared = match part {
            Part::All => Some(value),
            Part::Begin => value.get(..length),
            Part::End => value.len().checked_sub(length).map(|from| &value[from..]),
        };
        if self.ascii && compared.is_some_and(<[u8]>::is_ascii) {
            let letters = compared.unwrap_or_default().iter();
            return letters.len() == length
                && letters.zip(&self.characters).all(|(byte, own)| char::from(byte.to_ascii_lowercase()) == *own);
        }
        self.takes_any(value, part)
    }

    /// The same for texts that are not ASCII; a surrogate alone is equal to nothing.
    fn takes_any(&self, value: &[u8], part: Part) -> bool {
        let chunks = value.utf8_chunks();
        let characters = chunks.flat_map(|chunk| {
            let broken = (!chunk.invalid().is_empty()).then_some(None);
            chunk.valid().chars().map(|character| Some(fold(character))).chain(broken)
        });
        let own = || self.characters.iter().copied().map(Some);
        match part {
            Part::All => characters.eq(own()),
            Part::Begin => characters.take(self.characters.len()).eq(own()),
            Part::End => {
                let characters: Vec<_> = characters.collect();
                characters.len() >= self.characters.len()
                    && characters[characters.len() - self.characters.len()..].iter().copied().eq(own())
            }
        }
    }
}
