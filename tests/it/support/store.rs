//! A store of one's own.

use firedrill::store::SqlStore;
use tempfile::TempDir;

/// An empty store in a folder that goes with it.
pub async fn empty() -> (TempDir, SqlStore) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqlStore::open(&folder.path().join("state")).await.expect("a store");
    (folder, store)
}
