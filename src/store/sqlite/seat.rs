//! The file behind an open database: whether it is still the one that was opened.
//!
//! SQLite goes on with a file that was deleted or replaced under it, and what it then calls durable is gone with the process.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use crate::engine::ports::StoreError;

/// Where a file was when it was opened, and which it is.
#[derive(Debug)]
pub(in crate::store) struct Seat {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// Why nothing is written to a file that can be written to.
#[derive(Debug, thiserror::Error)]
enum Unseated {
    #[error("`{}` was removed under the agent; restart it to begin with what is there then", path.display())]
    Removed {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("`{}` was replaced under the agent; restart it to go on with the new one", path.display())]
    Replaced { path: PathBuf },
}

impl Seat {
    /// Notes which file is at a path.
    ///
    /// # Errors
    /// What the operating system says.
    pub(in crate::store) fn of(path: &Path) -> io::Result<Self> {
        let file = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: file.dev(), inode: file.ino() })
    }

    /// Holds that it is still there.
    ///
    /// # Errors
    /// [`StoreError::Query`]; what would be written now would be lost.
    pub(in crate::store) fn check(&self) -> Result<(), StoreError> {
        let path = self.path.clone();
        let unseated = match std::fs::metadata(&self.path) {
            Ok(file) if (file.dev(), file.ino()) == (self.device, self.inode) => return Ok(()),
            Ok(_other) => Unseated::Replaced { path },
            Err(source) => Unseated::Removed { path, source },
        };
        Err(StoreError::Query { action: "write", source: Box::new(unseated) })
    }
}
