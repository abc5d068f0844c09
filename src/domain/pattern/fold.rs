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

    /// Tells whether a part of a value is equal to the text. Of a long value only as much is looked at as can be equal.
    pub(super) fn takes(&self, value: &[u8], part: Part) -> bool {
        let length = self.characters.len();
        let is = |(byte, own): (&u8, &char)| char::from(byte.to_ascii_lowercase()) == *own;
        let edge = if part == Part::End {
            value.last().zip(self.characters.last())
        } else {
            value.first().zip(self.characters.first())
        };
        if edge.is_some_and(|(byte, own)| byte.is_ascii() && !is((byte, own))) {
            return false;
        }
        let compared = match part {
            Part::All => Some(value),
            Part::Begin => value.get(..length),
            Part::End => value.len().checked_sub(length).map(|from| &value[from..]),
        };
        if let Some(compared) = compared.filter(|compared| self.ascii && compared.is_ascii()) {
            return compared.len() == length && compared.iter().zip(&self.characters).all(is);
        }
        // A character has at most four bytes.
        let most = 4 * length;
        match part {
            Part::All => value.len() <= most && characters(value).eq(self.characters()),
            Part::Begin => characters(&value[..value.len().min(most)]).take(length).eq(self.characters()),
            Part::End => {
                let end: Vec<_> = characters(&value[value.len() - value.len().min(most)..]).collect();
                let end = end.len().checked_sub(length).map(|from| &end[from..]);
                end.is_some_and(|end| end.iter().copied().eq(self.characters()))
            }
        }
    }

    fn characters(&self) -> impl Iterator<Item = Option<char>> {
        self.characters.iter().copied().map(Some)
    }
}

/// The characters of a value, folded; `None` stands for bytes that are none, as of a surrogate alone, equal to nothing.
fn characters(value: &[u8]) -> impl Iterator<Item = Option<char>> {
    value.utf8_chunks().flat_map(|chunk| {
        let broken = (!chunk.invalid().is_empty()).then_some(None);
        chunk.valid().chars().map(|character| Some(fold(character))).chain(broken)
    })
}
