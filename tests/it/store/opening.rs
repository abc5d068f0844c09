//! Opening: one writer, private files, and a refusal of what is damaged or not there.

use std::{
    io::{Seek, SeekFrom, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use firedrill::{
    domain::plan::{HaltRunning, Halting},
    engine::ports::{Store, StoreError},
    store::{
        OpenError, SqlStore,
        open::{DATABASE_FILE, LOCK_FILE},
    },
};
use sqlx::{Connection, SqliteConnection};

use super::{AT, advance, commit, empty, failing::Working, rows, stored};
use crate::support::{
    soon,
    world::{facts, halt, halting, read, slot_run, t},
};

/// Checks that a folder is not opened, and why.
async fn check(folder: &Path, expected: fn(&OpenError) -> bool) {
    let refused = SqlStore::open(folder).await.expect_err("a refusal");
    assert!(expected(&refused), "{refused:?}");
}

pub async fn connect(folder: &Path) -> SqliteConnection {
    let url = format!("sqlite://{}", folder.join(DATABASE_FILE).display());
    SqliteConnection::connect(&url).await.expect("a connection")
}

#[tokio::test]
async fn folder_and_files_are_private() {
    let (folder, store) = empty().await;
    store.set_halt(halting(HaltRunning::Stop)).await.expect("a write");
    let state = folder.path().join("state");
    let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    let mut files: Vec<String> = Vec::new();
    for entry in std::fs::read_dir(&state).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        files.push(path.file_name().expect("a name").to_string_lossy().into_owned());
    }
    files.sort();
    assert_eq!(files, ["firedrill.db", "firedrill.db-shm", "firedrill.db-wal", LOCK_FILE]);
}

#[tokio::test]
async fn second_writer_is_refused_and_readers_are_not() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    check(&state, |refused| matches!(refused, OpenError::InUse { .. })).await;
    let reader = SqlStore::open_to_read(&state).await.expect("a reader");
    assert_eq!(rows(&reader).await.runs, [slot_run(AT)]);
    let refused = reader.set_halt(Halting::Resume).await.expect_err("read only");
    assert!(matches!(refused, StoreError::Query { action: "write", .. }), "{refused:?}");
    store.close().await;
    drop(store);
    SqlStore::open(&state).await.expect("free again");
}

#[tokio::test]
async fn everything_survives_a_reopening() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    let (run, change) =
        advance(&slot_run(AT), firedrill::domain::run::Observation::TemplateRead { facts: facts(60, t(AT)) });
    commit(&store, change).await;
    store.set_halt(halting(HaltRunning::Finish)).await.expect("a write");
    // Not closed: as after a crash, what was acknowledged is on disk.
    drop(store);
    let again = SqlStore::open(&state).await.expect("a store");
    assert_eq!(rows(&again).await.halt, halt(HaltRunning::Finish));
    assert_eq!(stored(&again, &run.id).await, run);
}

#[tokio::test]
async fn leavings_of_a_restore_that_was_killed_are_deleted_and_nothing_else_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for name in [".firedrill-restore-Ab3", ".firedrill-restore-Ab3-journal", "mine", ".firedrill-backup-x"] {
        std::fs::write(path(name), "half").expect("a file");
    }
    SqlStore::open(folder.path()).await.expect("a store");
    assert!(!path(".firedrill-restore-Ab3").exists() && !path(".firedrill-restore-Ab3-journal").exists());
    assert!(path("mine").exists() && path(".firedrill-backup-x").exists());
}

#[tokio::test]
async fn reader_without_a_store_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = SqlStore::open_to_read(folder.path()).await.expect_err("nothing there");
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused:?}");
    assert!(!folder.path().join(DATABASE_FILE).exists(), "reading makes nothing");
    // As an agent leaves it that was killed in its first moment.
    std::fs::write(folder.path().join(DATABASE_FILE), "").expect("a file");
    let refused = SqlStore::open_to_read(folder.path()).await.expect_err("an empty file");
    assert!(matches!(refused, OpenError::Missing { .. }), "{refused:?}");
}

#[tokio::test]
async fn file_that_is_no_database_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(DATABASE_FILE);
    let garbage = "this is not a database ".repeat(500);
    std::fs::write(&path, &garbage).expect("a file");
    check(folder.path(), |refused| matches!(refused, OpenError::Database { .. })).await;
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), garbage);
}

#[tokio::test]
async fn damaged_page_is_found_at_opening() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    for minute in 10..40 {
        store.request_runs(vec![slot_run(&format!("10:{minute}:00"))]).await.expect("a write");
    }
    store.close().await;
    drop(store);
    let path = state.join(DATABASE_FILE);
    let mut file = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
    let pages = std::fs::metadata(&path).expect("the file").len() / 4096;
    for page in 2..pages {
        file.seek(SeekFrom::Start(page * 4096)).expect("a seek");
        file.write_all(&[0x5a; 512]).expect("a write");
    }
    drop(file);
    check(&state, |refused| matches!(refused, OpenError::Damaged { .. } | OpenError::Database { .. })).await;
}

#[tokio::test]
async fn schema_of_a_newer_version_is_refused_only_where_this_one_must_know_it() {
    let (folder, store) = empty().await;
    let state = folder.path().join("state");
    store.close().await;
    drop(store);
    let newer = async |sql: &'static str| {
        let mut newer = connect(&state).await;
        sqlx::query(sql).execute(&mut newer).await.expect("a row");
        newer.close().await.expect("a close");
    };
    // A newer version has been here, and has only added what this one can do without.
    newer("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'later', 1, x'00', 0)").await;
    newer("UPDATE schema SET version = 9999").await;
    let store = SqlStore::open(&state).await.expect("a store to work on");
    store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    store.close().await;
    drop(store);
    // It has taken away what this one needs.
    newer("UPDATE schema SET oldest = 9999").await;
    check(&state, |refused| matches!(refused, OpenError::Outdated { .. })).await;
    let refused = SqlStore::open_to_read(&state).await.expect_err("a refusal");
    assert!(matches!(refused, OpenError::Outdated { .. }), "{refused:?}");
    let source = std::error::Error::source(&refused).expect("a source").to_string();
    assert_eq!(
        source,
        "a newer version has changed the store: it takes a program that knows schema 9999, and this one knows 9"
    );
}

#[tokio::test]
async fn folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let refused = SqlStore::open(&file.join("state")).await.expect_err("a refusal");
    assert!(refused.to_string().ends_with("file/state`"), "{refused}");
}

/// The clock may have been set back while nobody was there: then what looks young is old.
#[tokio::test]
async fn nothing_starts_by_what_a_process_of_before_has_read() {
    let (_folder, store) = empty().await;
    let run = read(slot_run(AT), AT, 600);
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let working = Working::on(store, Vec::new());
    let runs = async || working.store.run(&run.id).await.ok()?.filter(|run| run.fis.is_some());
    soon("a start", runs).await;
    let journal = working.store.journal(&run.id).await.expect("a journal");
    let told: Vec<&str> = journal.iter().map(|entry| entry.observation.as_str()).collect();
    assert_eq!(told[..5], ["opened", "template-read", "probed", "start-asked", "started"]);
}
