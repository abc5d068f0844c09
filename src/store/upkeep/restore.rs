//! Taking a backup back, into a store that has no rows: all of it or nothing, and never under an agent. What is taken back is
//! halted until a person resumes it.

use std::{
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tempfile::NamedTempFile;

use super::{
    Progress, Told, UpkeepError,
    backup::{self, Existing, Target},
    check::file_at,
    shown,
    snapshot::{Counts, Snapshot},
    sync_folder,
    tables::TABLES,
};
use crate::{
    config::settings,
    domain::{
        fis::FailureClass,
        plan::{Halt, HaltRunning},
        run::{Observation, RunState},
    },
    engine::ports::StoreError,
    store::{
        OpenError, changes,
        open::{DATABASE_FILE, RESTORE_PREFIX, lock},
        postgres::{self, lease::LEASE},
        rows::{from_json, read_failed, run, run_columns, to_json, write_failed},
        schema::{self, SCHEMA},
        sqlite,
        statement::Statement,
        text::Text,
    },
};

/// Who halts what is taken back.
const HALTED_BY: &str = "firedrill store restore";

/// A backup that was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Into which store.
    pub store: String,
    /// Rows of each table.
    pub rows: Counts,
    /// The newest entry of the journal: what happened later it does not know.
    pub known_until: Option<Timestamp>,
    /// Runs of which an experiment may be running.
    pub may_be_running: u64,
    /// The halt that is on: one that the backup holds, or that of the restore.
    pub halt: Halt,
    /// Where the file is that was there before.
    pub aside: Option<PathBuf>,
}

/// Takes a backup back at an instant.
///
/// # Errors
/// [`UpkeepError`]; the store is as it was then.
pub async fn restore(
    state: &settings::State,
    from: &Path,
    existing: Existing,
    now: Timestamp,
    told: Told<'_>,
) -> Result<Restored, UpkeepError> {
    // Kept to the end, so that no agent of this folder starts meanwhile.
    let _lock = lock(&state.directory)?;
    if let Some(path) = &state.postgres.is_none().then(|| state.directory.join(DATABASE_FILE)) {
        is_free(path, existing).await?;
    }
    let Staged { file, known_until, noted_at } = stage(from, &state.directory, now, told).await?;
    let mut snapshot = Snapshot::of_file(file.path()).await?;
    let failed = UpkeepError::store(&from.display().to_string());
    let open = "SELECT COUNT(*) FROM runs WHERE phase IN ('starting', 'running', 'stopping')";
    let (may_be_running,): (i64,) = snapshot.row(open.to_owned()).await.map_err(&failed)?;
    let (Text(halt),) = snapshot.row("SELECT body FROM halt".to_owned()).await.map_err(&failed)?;
    let halt = from_json("halt", &halt).map_err(&failed)?;
    let (rows, aside) = match &state.postgres {
        None => {
            let rows = snapshot.counts().await?;
            snapshot.close().await;
            told(Progress::Ending);
            (rows, put(file, &state.directory.join(DATABASE_FILE), now).await?)
        }
        Some(at) => {
            let rows = fill(at, &mut snapshot, noted_at, told).await?;
            snapshot.close().await;
            (rows, None)
        }
    };
    Ok(Restored {
        store: shown(state),
        rows,
        known_until,
        may_be_running: u64::try_from(may_be_running).unwrap_or_default(),
        halt,
        aside,
    })
}

/// A copy of a backup that is ready to be taken back.
struct Staged {
    file: NamedTempFile,
    /// The newest entry of its journal.
    known_until: Option<Timestamp>,
    /// When it is noted to have been taken back: not before what it knows of, though our clock may be behind.
    noted_at: Timestamp,
}

/// Copies a backup beside the store, brings the copy up to date, notes in it that it is taken back, and refuses one that is
/// not sound.
async fn stage(from: &Path, directory: &Path, now: Timestamp, told: Told<'_>) -> Result<Staged, UpkeepError> {
    let length = from.metadata().map_err(UpkeepError::file("read", from))?.len();
    if length == 0 {
        return Err(UpkeepError::NotAStore { store: from.display().to_string() });
    }
    let staged = tempfile::Builder::new().prefix(RESTORE_PREFIX).tempfile_in(directory);
    let staged = staged.map_err(UpkeepError::file("write a file in", directory))?;
    sqlite::copy(from, staged.path()).await?;
    let mut connection = sqlite::connect_to_new(staged.path()).await?;
    let schema = sqlite::allow(&mut connection, from).await?;
    let store = from.display().to_string();
    let Some(migrated) = sqlite::migrated(&mut connection, from).await? else {
        return Err(UpkeepError::NotAStore { store });
    };
    let version = schema.map_or(migrated, |schema| schema.version.max(migrated));
    if version > SCHEMA {
        let hint = "the program that made it takes it back";
        return Err(UpkeepError::Schema { store, version, hint });
    }
    let failed = UpkeepError::store(&store);
    let updated = schema::sqlite().run_direct(None, &mut connection, false).await;
    updated.map_err(|source| OpenError::Migrate { store, source })?;
    let newest = sqlx::query_scalar("SELECT MAX(at_us) FROM journal").fetch_one(&mut connection).await;
    let newest: Option<i64> = newest.map_err(sqlite::failed(from))?;
    let known_until = newest.and_then(|us| Timestamp::from_microsecond(us).ok());
    let noted_at = known_until.map_or(now, |known| known.max(now));
    note(&mut connection, noted_at).await.map_err(&failed)?;
    halt(&mut connection, known_until, noted_at).await.map_err(&failed)?;
    connection.close().await.map_err(sqlite::failed(from))?;
    let report = file_at(staged.path(), told).await?;
    match report.findings.into_iter().next() {
        None => Ok(Staged { file: staged, known_until, noted_at }),
        Some(first) => Err(UpkeepError::Unsound { path: from.to_owned(), count: report.count, first }),
    }
}

/// Notes in a copy that it is taken back at an instant; and of each run that was to be started that nobody knows what was
/// asked since, so that it is looked for first, whatever a look of before has found.
async fn note(connection: &mut SqliteConnection, at: Timestamp) -> Result<(), StoreError> {
    let noted = sqlx::query("UPDATE schema SET restored_at_us = ?1").bind(at.as_microsecond());
    noted.execute(&mut *connection).await.map_err(write_failed)?;
    let starting = sqlx::query_scalar("SELECT body FROM runs WHERE phase = 'starting'");
    let bodies: Vec<String> = starting.fetch_all(&mut *connection).await.map_err(read_failed)?;
    for body in bodies {
        // One that cannot be read is found by the check that follows.
        let Ok(run) = run(&body) else { continue };
        let RunState::Starting { asked_at, .. } = &run.state else { continue };
        let unclear = Observation::StartUnclear {
            class: FailureClass::Unreadable,
            message: "the store was taken back from a backup".to_owned(),
            look_at: *asked_at,
        };
        let Ok(run) = run.apply(&unclear, at) else { continue };
        let (row, entry) = ([run_columns(&run, at)?], [changes::entry(&run, &unclear, &[], at)?]);
        for (statement, rows) in
            [(Statement::Advance, to_json("runs", &row)?), (Statement::Append, to_json("journal", &entry)?)]
        {
            let query = sqlx::query(sqlite::statements::sql(statement)).bind(rows);
            query.execute(&mut *connection).await.map_err(write_failed)?;
        }
    }
    Ok(())
}

/// Halts all in a copy, unless it is halted: a halt, a pause or a stop that somebody made after the backup is lost, and what is
/// not known allows no start. What runs goes on: it is watched as before, a halt that is lost has ended what ran when it was
/// made, and what is ended in vain nobody can begin again where it was.
async fn halt(
    connection: &mut SqliteConnection,
    known_until: Option<Timestamp>,
    at: Timestamp,
) -> Result<(), StoreError> {
    let known = known_until.map_or_else(|| "nothing".to_owned(), |until| format!("what happened up to {until}"));
    let reason = Some(format!("restored from a backup that knows {known}: resume when you have looked"));
    let (by, running) = (HALTED_BY.to_owned(), HaltRunning::Finish);
    let body = to_json("halt", &Halt { at, by, reason, running, levers: Vec::new() })?;
    let halt = sqlx::query("INSERT INTO halt (id, body) VALUES (1, ?1) ON CONFLICT DO NOTHING").bind(body);
    halt.execute(connection).await.map_err(write_failed)?;
    Ok(())
}

/// Refuses to replace a file that has rows, unless that was said.
async fn is_free(path: &Path, existing: Existing) -> Result<(), UpkeepError> {
    if existing == Existing::Replace || path.metadata().is_ok_and(|file| file.len() == 0) || !path.exists() {
        return Ok(());
    }
    let mut snapshot = Snapshot::of_file(path).await?;
    let counts = snapshot.counts().await;
    let store = std::mem::take(&mut snapshot.store);
    snapshot.close().await;
    match first(&counts?) {
        None => Ok(()),
        Some((table, rows)) => {
            let hint = "`--force` puts the file aside under another name";
            Err(UpkeepError::NotEmpty { store, table, rows, hint })
        }
    }
}

/// The first table that has rows.
fn first(counts: &Counts) -> Option<(&'static str, u64)> {
    let count = |name| counts.get(name).copied().unwrap_or_default();
    TABLES.iter().map(|table| (table.name, count(table.name))).find(|(_, rows)| *rows > 0)
}

/// Puts a file where the store is to be; returns where the one that was there has gone.
async fn put(staged: NamedTempFile, path: &Path, now: Timestamp) -> Result<Option<PathBuf>, UpkeepError> {
    let failed = UpkeepError::file("replace", path);
    staged.as_file().sync_all().map_err(&failed)?;
    let aside = aside(path, now);
    let is_there = path.metadata().is_ok_and(|file| file.len() > 0);
    if is_there {
        take_in_log(path, &aside).await?;
        std::fs::hard_link(path, &aside).map_err(&failed)?;
    } else {
        // A log without its file would be taken for that of the new one.
        put_log_aside(path, &aside)?;
    }
    staged.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(super::folder(path))?;
    Ok(is_there.then_some(aside))
}

/// The name that a store's file gets when another takes its place.
fn aside(path: &Path, now: Timestamp) -> PathBuf {
    with(path, &format!(".before-{}", now.strftime("%Y%m%dT%H%M%SZ")))
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Writes everything that is in a store's log into its file, which only works while nobody else has it open. The log of one
/// that is damaged is put aside as it is.
async fn take_in_log(path: &Path, aside: &Path) -> Result<(), UpkeepError> {
    let alone = async {
        let mut connection = sqlite::connect_alone(path).await?;
        sqlx::query("PRAGMA journal_mode = DELETE").execute(&mut connection).await?;
        connection.close().await
    };
    let Err(error) = alone.await else { return Ok(()) };
    // SQLite, result codes: the low byte tells the kind.
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    match code.map(|code| code & 0xff) {
        Some(BUSY | LOCKED) => Err(UpkeepError::Read { path: path.to_owned() }),
        Some(CORRUPT | NOT_A_DATABASE) => put_log_aside(path, aside),
        _ => Err(OpenError::Database { store: path.display().to_string(), source: error }.into()),
    }
}

const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

/// Keeps a log, if there is one, beside the file that it belongs to, and forgets the index of it.
fn put_log_aside(path: &Path, aside: &Path) -> Result<(), UpkeepError> {
    let log = with(path, "-wal");
    let there = |done: io::Result<()>| match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    };
    there(std::fs::rename(&log, with(aside, "-wal"))).map_err(UpkeepError::file("put aside", &log))?;
    let index = with(path, "-shm");
    there(std::fs::remove_file(&index)).map_err(UpkeepError::file("delete", &index))
}

/// Fills a store on a server in one transaction.
async fn fill(
    at: &settings::Postgres,
    from: &mut Snapshot,
    noted_at: Timestamp,
    told: Told<'_>,
) -> Result<Counts, UpkeepError> {
    let mut connection = postgres::open::connect(at).await?;
    postgres::open::allow(&mut connection, at).await?;
    let migrated = schema::postgres().run_direct(None, &mut connection, false).await;
    migrated.map_err(|source| OpenError::Migrate { store: at.shown(), source })?;
    let failed = UpkeepError::store(&at.shown());
    let mut target = Target::Postgres(&mut connection);
    target.run(postgres::BEGIN).await.map_err(&failed)?;
    let rows = match filled(at, from, &mut connection, noted_at, told).await {
        Ok(rows) => rows,
        Err(error) => {
            // What the server was told is gone with the connection, whether it hears of it or not.
            drop(connection);
            return Err(error);
        }
    };
    told(Progress::Ending);
    Target::Postgres(&mut connection).run("COMMIT").await.map_err(&failed)?;
    // It is durable already.
    let _ended = connection.close().await;
    Ok(rows)
}

async fn filled(
    at: &settings::Postgres,
    from: &mut Snapshot,
    connection: &mut PgConnection,
    noted_at: Timestamp,
    told: Told<'_>,
) -> Result<Counts, UpkeepError> {
    let failed = |source| UpkeepError::store(&at.shown())(write_failed(source));
    // Whoever wants the lease waits, and finds that it has changed hands.
    let take = "UPDATE lease SET holder = NULL, fence = fence + 1 WHERE holder IS NULL
        OR renewed_at <= clock_timestamp() - make_interval(secs => $1)";
    let taken = sqlx::query(take).bind(LEASE.as_secs_f64()).execute(&mut *connection).await.map_err(failed)?;
    if taken.rows_affected() == 0 {
        let holder = sqlx::query_scalar("SELECT COALESCE(holder, '') FROM lease").fetch_one(&mut *connection).await;
        return Err(UpkeepError::Held { store: at.shown(), holder: holder.map_err(failed)? });
    }
    for table in &TABLES {
        let count = format!("SELECT COUNT(*) FROM {}", table.name);
        let count = sqlx::query_scalar(sqlx::AssertSqlSafe(count)).fetch_one(&mut *connection).await;
        let count: i64 = count.map_err(failed)?;
        let rows = u64::try_from(count).unwrap_or_default();
        if rows > 0 {
            let hint = "make another database, or drop this one's tables";
            return Err(UpkeepError::NotEmpty { store: at.shown(), table: table.name, rows, hint });
        }
    }
    // The only row that is not copied: the rest of it says what the tables here are like.
    let note = sqlx::query("UPDATE schema SET restored_at_us = $1").bind(noted_at.as_microsecond());
    note.execute(&mut *connection).await.map_err(failed)?;
    let rows = backup::copy(from, &mut Target::Postgres(connection), told).await?;
    let last = from.last_seq().await.map_err(UpkeepError::store(&from.store))?;
    // The next entry comes after every one that there ever was: couriers look behind their positions only.
    let go_on = "SELECT setval(pg_get_serial_sequence('journal', 'seq'), GREATEST($1, 1), $1 > 0)";
    sqlx::query(go_on).bind(last).execute(&mut *connection).await.map_err(failed)?;
    Ok(rows)
}
