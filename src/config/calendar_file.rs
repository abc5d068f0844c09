//! Calendar files: reading one, in bounded time and memory.

use std::{fs, io, io::Read, path::Path};

use jiff::Timestamp;

use crate::domain::calendar::{
    MAX_TEXT,
    found::{Found, FoundError},
    reading::Content,
};

/// A file that is no calendar.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// A folder, a pipe or a device.
    #[error("it is not a regular file")]
    Irregular,
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It has too much in it.
    #[error("it is larger than {MAX_TEXT} bytes")]
    TooLong,
    /// Not text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// Text that is no calendar.
    #[error(transparent)]
    Calendar(#[from] FoundError),
}

/// Reads a file's text; what names no zone in it is in `timezone`.
///
/// # Errors
/// [`FileError`].
pub fn read(path: &Path, timezone: &str) -> Result<Found, FileError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => FileError::Missing,
        _ => FileError::Read(error),
    };
    // A pipe would not even be opened without somebody at its other end.
    if !fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(FileError::Irregular);
    }
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX).saturating_add(1);
    fs::File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() > MAX_TEXT {
        return Err(FileError::TooLong);
    }
    let text = String::from_utf8(bytes).map_err(|_| FileError::NotText)?;
    Ok(Found::File { text, timezone: timezone.to_owned() })
}

/// Reads a file and what it means.
///
/// # Errors
/// [`FileError`].
pub fn load(path: &Path, timezone: &str) -> Result<(Found, Content), FileError> {
    let read_at = now();
    let found = read(path, timezone)?;
    let content = found.content(read_at)?;
    Ok((found, content))
}

/// How old a reading is counts from here.
#[expect(clippy::disallowed_methods, reason = "the edge where the outside world is observed")]
fn now() -> Timestamp {
    Timestamp::now()
}
