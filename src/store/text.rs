//! Texts of rows. PostgreSQL cannot hold the character NUL, which foreign keys and bodies may have: there it is written as a
//! sign of two characters, and read back.

use sqlx::{
    Decode, Postgres, Sqlite, Type,
    error::BoxDynError,
    postgres::{PgTypeInfo, PgValueRef},
    sqlite::{SqliteTypeInfo, SqliteValueRef},
};

/// Begins a sign; Unicode names no character here, and what has it nevertheless is written as a sign too.
const MARK: char = '\u{10ffff}';
/// Behind the mark: NUL.
const NUL: char = '0';
/// Behind the mark: the mark itself.
const ITSELF: char = '1';

/// A text column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text(pub String);

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Writes the texts of a JSON document as PostgreSQL can hold them. Texts within a text stay as they are.
pub fn to_postgres(json: String) -> String {
    if !json.contains("\\u0000") && !json.contains(MARK) {
        return json;
    }
    let mut written = String::with_capacity(json.len() + 16);
    let mut rest = json.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' if rest.as_str().starts_with("u0000") => {
                written.extend([MARK, NUL]);
                rest = rest.as_str()["u0000".len()..].chars();
            }
            // What an escape is made of begins none.
            '\\' => written.extend([Some(c), rest.next()].into_iter().flatten()),
            MARK => written.extend([MARK, ITSELF]),
            _ => written.push(c),
        }
    }
    written
}

/// Reads such a text.
fn from_postgres(text: &str) -> String {
    if !text.contains(MARK) {
        return text.to_owned();
    }
    let (mut read, mut rest) = (String::with_capacity(text.len()), text.chars());
    while let Some(c) = rest.next() {
        match (c, rest.as_str().chars().next()) {
            (MARK, Some(NUL)) => read.push('\0'),
            (MARK, Some(ITSELF)) => read.push(MARK),
            _ => {
                read.push(c);
                continue;
            }
        }
        rest.next();
    }
    read
}

impl Type<Sqlite> for Text {
    fn type_info() -> SqliteTypeInfo {
        <str as Type<Sqlite>>::type_info()
    }

    fn compatible(ty: &SqliteTypeInfo) -> bool {
        <str as Type<Sqlite>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Sqlite> for Text {
    fn decode(value: SqliteValueRef<'r>) -> Result<Self, BoxDynError> {
        <String as Decode<'r, Sqlite>>::decode(value).map(Self)
    }
}

impl Type<Postgres> for Text {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(ty: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(ty)
    }
}

impl<'r> Decode<'r, Postgres> for Text {
    fn decode(value: PgValueRef<'r>) -> Result<Self, BoxDynError> {
        <&str as Decode<'r, Postgres>>::decode(value).map(|text| Self(from_postgres(text)))
    }
}
