//! Secret files: reading one, bounded, without ever showing what is in it.

use std::{fs, io, io::Read, os::unix::fs::PermissionsExt, path::Path};

use super::settings::Secret;

/// Largest file that is read, in bytes.
const MAX_BYTES: usize = 4 * 1024;

/// Shorter secrets can be guessed, in bytes.
const LEAST_BYTES: usize = 16;

/// Bits of a file's mode that let everybody read or change it.
const OTHERS: u32 = 0o006;

/// A file that holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// A folder, a pipe or a device.
    #[error("it is not a regular file")]
    Irregular,
    /// It is not this user's to read; the agent may be another one.
    #[error("this user may not read it")]
    NotOurs,
    /// It could not be read.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It has too much in it.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLong,
    /// Nothing is in it.
    #[error("it is empty")]
    Empty,
    /// It could be guessed.
    #[error("its secret has {bytes} bytes and could be guessed: take 32 random ones, at least {LEAST_BYTES}")]
    TooShort {
        /// Its length.
        bytes: usize,
    },
}

/// Reads a secret, without the end of its line, and what is to be said of it: that others can read it.
///
/// # Errors
/// [`SecretError`].
pub fn read(path: &Path) -> Result<(Secret, Vec<String>), SecretError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => SecretError::Missing,
        _ => SecretError::Read(error),
    };
    // A pipe would not even be opened without somebody at its other end.
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(SecretError::Irregular);
    }
    let file = match fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(SecretError::NotOurs),
        opened => opened.map_err(SecretError::Read)?,
    };
    let mut bytes = Vec::new();
    let most = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(SecretError::Read)?;
    if bytes.len() > MAX_BYTES {
        return Err(SecretError::TooLong);
    }
    let end = bytes.iter().rposition(|byte| !b"\r\n".contains(byte)).map_or(0, |last| last + 1);
    bytes.truncate(end);
    if bytes.is_empty() {
        return Err(SecretError::Empty);
    }
    if bytes.len() < LEAST_BYTES {
        return Err(SecretError::TooShort { bytes: bytes.len() });
    }
    let mut doubts = Vec::new();
    let mode = metadata.permissions().mode();
    if mode & OTHERS != 0 {
        doubts.push(format!("everybody on this machine can read or change it (mode {:03o})", mode & 0o777));
    }
    Ok((Secret::new(bytes), doubts))
}
