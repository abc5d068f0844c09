//! The state directory: nobody but the agent's user may look into it.
//!
//! The files in it are 0600 as well; the folder hides their names too, and keeps others from putting their own in place of
//! them.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Mode of the folder.
const PRIVATE: u32 = 0o700;
/// What of a mode concerns anybody but the owner.
const OTHERS: u32 = 0o077;
/// What the names of all our files begin with; those that are not finished have a dot before it.
const OURS: &str = "firedrill";
/// What file systems put into folders by themselves: every new one of the ext family, and NFS for files that somebody still has
/// open.
const OF_THE_FILE_SYSTEM: [&str; 2] = ["lost+found", ".nfs"];

/// Why a folder cannot hold the state.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be made, read or changed.
    #[error("could not make or read the state directory `{}`", path.display())]
    Unusable {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can look into it, and it is not for us to change that.
    #[error(
        "the state directory `{}` is open to other users (mode {mode:03o}) and {reason}: make it 0700, or name a folder \
         below it, which the agent makes itself",
        path.display()
    )]
    Open {
        /// Which one.
        path: PathBuf,
        /// Its mode.
        mode: u32,
        /// Why it is not made private.
        reason: String,
    },
}

/// Makes the folder where there is none. One that is open to others is closed to them, with a warning, when nothing but our
/// files is in it: a folder like `/tmp` is not ours to close.
///
/// # Errors
/// [`DirectoryError`]; no state may be written then.
pub fn keep_private(path: &Path) -> Result<(), DirectoryError> {
    let unusable = |source| DirectoryError::Unusable { path: path.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(PRIVATE).create(path).map_err(unusable)?;
    let mode = fs::metadata(path).map_err(unusable)?.permissions().mode() & 0o777;
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let open = |reason: String| DirectoryError::Open { path: path.to_owned(), mode, reason };
    if let Some(name) = stranger(path).map_err(unusable)? {
        return Err(open(format!("holds what is not the agent's, such as `{name}`")));
    }
    let closed = fs::set_permissions(path, fs::Permissions::from_mode(PRIVATE));
    closed.map_err(|error| open(format!("could not be closed to them: {error}")))?;
    tracing::warn!(path = %path.display(), mode = format!("{mode:03o}"), "the state directory was open to other users; it is 0700 now");
    Ok(())
}

/// Finds something in a folder that the agent did not put there.
fn stranger(path: &Path) -> io::Result<Option<String>> {
    for entry in fs::read_dir(path)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let is_ours = name.trim_start_matches('.').starts_with(OURS);
        if !is_ours && !OF_THE_FILE_SYSTEM.iter().any(|known| name.starts_with(known)) {
            return Ok(Some(name));
        }
    }
    Ok(None)
}
