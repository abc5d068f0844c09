//! A store on a server: opened once by many, encrypted, with a password of its own, and honest about what it cannot do.

use std::{error::Error, fs, os::unix::fs::symlink};

use firedrill::{
    domain::plan::Halting,
    engine::ports::{Committed, Lease, Store, StoreError},
    store::{OpenError, SqlStore},
};

use sqlx::{Connection, PgConnection};

use super::{
    AT, adopt, advance, arrival, at, commit, empty_on,
    failing::{Working, check_stop_while_away, open_window},
    open_slots, quarantined, record, rows, skip, stored,
};
use crate::support::{
    postgres::{Postgres, stand_in},
    runs::name,
    soon,
    world::{event_run, running, slot_run, t, trigger},
};

/// Two passwords, none of which may be shown.
const PASSWORDS: [&str; 2] = ["correct-horse-battery", "staple-of-another-day"];

#[tokio::test]
async fn replicas_that_update_a_server_at_once_all_find_the_schema_that_they_know() {
    let server = Postgres::start();
    let url = server.database("old");
    SqlStore::open_at(&at(&url, "first").1).await.expect("a store").close().await;
    // As a version of before has left it.
    let before = "ALTER TABLE schema DROP COLUMN restored_at_us; UPDATE schema SET version = 7;
        ALTER TABLE cursors DROP COLUMN left_at_us; ALTER TABLE lease DROP COLUMN configuration;
        DELETE FROM _sqlx_migrations WHERE version > 7";
    server.sql("old", before);
    let replicas = ["one", "two", "three", "four"].map(|replica| at(&url, replica));
    let opened = futures_util::future::join_all(replicas.iter().map(|(_, state)| SqlStore::open_at(state)));
    for opened in opened.await {
        opened.expect("a store").set_halt(Halting::Resume).await.expect("a write");
    }
    assert_eq!(server.sql("old", "SELECT version, oldest FROM schema"), "9|7");
    assert_eq!(server.sql("old", "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version"), "7\n8\n9");
}

#[tokio::test]
async fn replicas_that_open_an_empty_server_at_once_make_one_store() {
    let server = Postgres::start();
    let url = server.database("new");
    let missing = SqlStore::read_at(&at(&url, "reader").1).await.expect_err("nothing there");
    assert!(matches!(missing, OpenError::Missing { .. }), "{missing:?}");
    let states: Vec<_> = ["a", "b", "c"].map(|replica| at(&url, replica)).into();
    let (a, b, c) =
        tokio::join!(SqlStore::open_at(&states[0].1), SqlStore::open_at(&states[1].1), SqlStore::open_at(&states[2].1));
    let stores = [a, b, c].map(|opened| opened.expect("a store"));
    for store in &stores {
        store.request_runs(vec![slot_run(AT)]).await.expect("a write");
    }
    assert_eq!(server.sql("new", "SELECT version, oldest FROM schema"), "9|7");
    let refused = SqlStore::open_at(&states[0].1).await.expect_err("the folder is taken");
    assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
    let reader = SqlStore::read_at(&states[0].1).await.expect("a reader");
    assert_eq!(rows(&reader).await.runs, [slot_run(AT)]);
    let refused = reader.set_halt(Halting::Resume).await.expect_err("read only");
    assert!(matches!(refused, StoreError::Query { action: "write", .. }), "{refused:?}");
}

#[tokio::test]
async fn change_that_fails_half_way_leaves_nothing_and_is_refused_as_such() {
    let server = Postgres::start();
    let store = empty_on(&server, "full").await;
    commit(&store, adopt("09:00:00")).await;
    let known = slot_run("09:00:00");
    store.request_runs(vec![known.clone()]).await.expect("a write");
    let before = format!("{:?}", rows(&store).await);
    let (over, end) = advance(&known, skip());
    let refused =
        |failed: Result<(), StoreError>| assert!(matches!(failed, Err(StoreError::Refused { .. })), "{failed:?}");
    for table in ["runs", "journal"] {
        server.sql("full", &format!("ALTER TABLE {table} ADD CONSTRAINT full_disk CHECK (false) NOT VALID"));
        let slots = open_slots("11:00:00", vec![slot_run("10:00:00"), slot_run("11:00:00")]);
        refused(store.commit(&[slots]).await.map(|_| ()));
        let run = event_run(AT, trigger("deploy", 0, 0));
        refused(record(&store, arrival("deploy", "e-1", vec![run])).await.map(|_| ()));
        refused(store.request_runs(vec![slot_run("12:00:00")]).await.map(|_| ()));
        refused(store.commit(std::slice::from_ref(&end)).await.map(|_| ()));
        assert_eq!(format!("{:?}", rows(&store).await), before, "{table}");
        assert_eq!(store.events("e-1").await.expect("a read"), [], "the event is not taken for known");
        server.sql("full", &format!("ALTER TABLE {table} DROP CONSTRAINT full_disk"));
    }
    assert_eq!(commit(&store, end).await, Committed::Done);
    assert_eq!(stored(&store, &over.id).await, over);
    // What is too long for an index is the row's fault too.
    let long: String = (0..4_000_u32).map(|n| char::from_u32(0x4e00 + n * 5).expect("a character")).collect();
    refused(record(&store, arrival("deploy", &long, Vec::new())).await.map(|_| ()));
}

/// What takes connections and never says a word costs each who asks one wait, and is looked at by one of them.
#[tokio::test]
async fn server_that_does_not_answer_is_not_asked_by_everybody_at_once() {
    let port = Postgres::free_port();
    let mut server = Postgres::with(&[], Some(port));
    server.database("busy");
    let url = format!("postgres://postgres@127.0.0.1:{port}/busy?sslmode=disable");
    let (_folder, state) = at(&url, "one");
    let store = SqlStore::open_at(&state).await.expect("a store");
    server.end();
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("the port");
    let asked = futures_util::future::join_all((0..20).map(|_| store.load()));
    let mut taken = Vec::new();
    let mut asked = std::pin::pin!(asked);
    let refused = loop {
        tokio::select! {
            biased;
            Ok(connection) = silent.accept() => taken.push(connection),
            refused = &mut asked => break refused,
        }
    };
    for refused in refused {
        let refused = refused.expect_err("nobody answers");
        assert!(refused.source().is_some_and(|cause| cause.to_string().contains("timed out")), "{refused:?}");
    }
    // As many as there may be connections, and the look.
    assert!(taken.len() <= 7, "{} connections", taken.len());
}

#[tokio::test]
async fn server_that_is_gone_fails_what_is_asked_and_is_used_again_when_it_is_back() {
    let mut server = Postgres::with(&[], None);
    let store = empty_on(&server, "gone").await;
    assert_eq!(commit(&store, adopt("09:00:00")).await, Committed::Done);
    server.end();
    let failed = store.commit(&[adopt("08:00:00")]).await.expect_err("no server");
    assert!(matches!(failed, StoreError::Query { action: "write", .. }), "{failed:?}");
    let failed = store.load().await.expect_err("no server");
    assert!(matches!(failed, StoreError::Query { action: "read", .. }), "{failed:?}");
    server.run();
    soon("a lease", async || matches!(store.hold("").await, Ok(Lease::Held { .. })).then_some(())).await;
    let cursors = rows(&store).await.cursors;
    assert_eq!(cursors[&(name("probe"), name("nightly"))], t("09:00:00").into(), "what was acknowledged is there");
    assert_eq!(commit(&store, adopt("08:00:00")).await, Committed::Stale);
}

#[tokio::test]
async fn what_runs_in_a_blackout_is_stopped_while_the_server_does_not_answer_and_the_row_is_told_later() {
    let server = Postgres::start();
    let store = empty_on(&server, "still").await;
    let run = running(slot_run("09:50:00"), "09:50:00");
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let (away, back) = (async { server.signal("STOP") }, async { server.signal("CONT") });
    check_stop_while_away(Working::on(store, Vec::new()), &run, away, back).await;
}

/// Lets updates of runs wait for which a condition holds, until what is returned is closed.
async fn held_up(server: &Postgres, database: &str, when: &str) -> PgConnection {
    let waits = format!(
        "CREATE FUNCTION waits() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(99); RETURN NEW; END';
        CREATE TRIGGER waits BEFORE UPDATE ON runs FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION waits()"
    );
    server.sql(database, &waits);
    let mut other = PgConnection::connect(&server.url(database)).await.expect("a connection");
    sqlx::query("SELECT pg_advisory_lock(99)").execute(&mut other).await.expect("a lock");
    other
}

/// Waits until such an update does.
async fn waits(server: &Postgres, database: &str) {
    let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 99 AND NOT granted";
    soon("an update that waits", async || (server.sql(database, waiting) == "1").then_some(())).await;
}

/// A run of the same instant is in the way of the other, which is decided in the same pass and written after.
#[tokio::test]
async fn start_is_sent_before_all_else_that_was_decided_with_it_is_written() {
    let server = Postgres::start();
    let store = empty_on(&server, "slow").await;
    let other = held_up(&server, "slow", "NEW.phase = 'skipped'").await;
    store.request_runs(vec![slot_run("09:59:00"), slot_run(AT)]).await.expect("a write");
    let working = Working::on(store, Vec::new());
    waits(&server, "slow").await;
    assert_eq!(working.starts(), 1, "what forbids it may come any moment");
    other.close().await.expect("an end");
    working.end().await;
}

/// Tells what the journal says of a run while whose intent was written the engine was given something to read.
async fn told_of_a_start(reads: impl FnOnce(&Working)) -> String {
    let server = Postgres::start();
    let store = empty_on(&server, "race").await;
    let other = held_up(&server, "race", "NEW.phase = 'starting'").await;
    let run = slot_run(AT);
    store.request_runs(vec![run.clone()]).await.expect("a write");
    let working = Working::on(store, Vec::new());
    waits(&server, "race").await;
    reads(&working);
    other.close().await.expect("an end");
    let told = async || {
        let entries = working.store.journal(&run.id).await.ok()?;
        let told: Vec<_> = entries.iter().map(|entry| entry.observation.as_str()).collect();
        (told.contains(&"start-asked") && told.last() != Some(&"start-asked")).then(|| told.join(" "))
    };
    let told = soon("what comes of it", told).await;
    working.end().await;
    told
}

/// Its intent is written by the rules of before, and is not acted upon.
#[tokio::test]
async fn start_is_not_sent_when_a_reload_was_answered_while_its_intent_was_written() {
    let told = told_of_a_start(|working| working.reads(open_window())).await;
    assert!(told.ends_with("start-asked not-found"), "{told}");
}

#[tokio::test]
async fn start_is_sent_though_a_calendar_said_again_what_it_said_before() {
    let told = told_of_a_start(Working::reads_calendars).await;
    assert!(told.contains("start-asked started"), "{told}");
}

#[tokio::test]
async fn standby_behind_the_same_address_is_not_used_before_it_takes_writes() {
    let mut primary = Postgres::start();
    primary.database("moves");
    let standby = Postgres::following(&primary);
    let folder = tempfile::tempdir().expect("a folder");
    let address = folder.path().join("address");
    symlink(primary.folder(), &address).expect("an address");
    let url = format!("postgres:///moves?host={}&user=postgres", address.display());
    let store = SqlStore::open_at(&at(&url, "one").1).await.expect("a store");
    assert!(matches!(store.hold("").await, Ok(Lease::Held { .. })));
    assert_eq!(commit(&store, adopt("09:00:00")).await, Committed::Done);
    primary.kill_nine();
    fs::remove_file(&address).and_then(|()| symlink(standby.folder(), &address)).expect("an address");
    let failed = store.load().await.expect_err("a standby, whose rows may be old");
    assert!(said(&failed).contains("only follows another one"), "{}", said(&failed));
    standby.promote();
    let cursors = soon("rows", async || store.load().await.ok()).await.cursors;
    assert_eq!(cursors[&(name("probe"), name("nightly"))], t("09:00:00").into(), "what was acknowledged is there");
}

#[tokio::test]
async fn server_that_was_told_to_take_no_writes_is_left_and_tried_again() {
    let server = Postgres::start();
    let store = empty_on(&server, "still").await;
    let takes_writes = async |value: &str| {
        server.sql("still", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        server.sql("still", "SELECT pg_reload_conf()");
    };
    takes_writes("on").await;
    let why = "the server takes no writes";
    soon(why, async || {
        let failed = store.commit(&[adopt("09:00:00")]).await.err()?;
        said(&failed).contains(why).then_some(())
    })
    .await;
    takes_writes("off").await;
    soon("a write", async || store.commit(&[adopt("09:10:00")]).await.ok()).await;
}

/// What the certificate of the server says.
const CERTIFICATE: &str = "[req]
distinguished_name = name
x509_extensions = more
prompt = no
[name]
CN = localhost
[more]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost
";

/// A server that takes only encrypted connections with a password, and the certificate that it shows.
fn guarded() -> (Postgres, String) {
    let port = Postgres::free_port();
    let mut server = Postgres::with(&["fsync=off"], Some(port));
    let (key, certificate) = (server.data().join("server.key"), server.data().join("server.crt"));
    let wanted = server.folder().join("certificate");
    fs::write(&wanted, CERTIFICATE).expect("a file");
    let made = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
            "-config",
        ])
        .arg(&wanted)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .expect("openssl, which `tests/run` installs");
    assert!(made.status.success(), "{made:?}");
    if let Some((uid, gid)) = stand_in() {
        std::os::unix::fs::chown(&key, Some(uid), Some(gid)).expect("root may");
    }
    let root = server.folder().join("root.crt");
    fs::copy(&certificate, &root).expect("a copy");
    server.sql("postgres", &format!("CREATE ROLE drill LOGIN PASSWORD '{}'", PASSWORDS[0]));
    server.sql("postgres", "CREATE DATABASE drill OWNER drill");
    server.sql("postgres", "ALTER SYSTEM SET ssl = on");
    let rules = "local all postgres trust\nhostssl all drill 127.0.0.1/32 scram-sha-256\n";
    fs::write(server.data().join("pg_hba.conf"), rules).expect("a file");
    server.end();
    server.run();
    (server, format!("postgres://drill@localhost:{port}/drill?sslrootcert={}", root.display()))
}

/// All that an error says.
fn said(error: &dyn std::error::Error) -> String {
    let mut said = format!("{error:?} {error}");
    let mut source = error.source();
    while let Some(error) = source {
        said = format!("{said}: {error}");
        source = error.source();
    }
    said
}

#[tokio::test]
async fn connections_are_encrypted_verified_and_have_a_password_that_may_change() {
    let (server, url) = guarded();
    let (_folder, mut state) = at(&url, "one");
    let password = server.folder().join("password");
    let refused = async |state: &_, why: &str| {
        let error = SqlStore::open_at(state).await.expect_err("a refusal");
        let said = said(&error);
        assert!(said.contains(why) && said.contains("localhost"), "{said}");
        assert!(!PASSWORDS.iter().any(|password| said.contains(password)), "{said}");
    };
    refused(&state, "password").await;
    state.postgres.as_mut().expect("a server").password_file = Some(password.clone());
    let missing = SqlStore::open_at(&state).await.expect_err("no file");
    assert!(matches!(&missing, OpenError::File { path, .. } if *path == password), "{missing:?}");
    fs::write(&password, PASSWORDS[1]).expect("a file");
    refused(&state, "password authentication failed").await;
    fs::write(&password, format!("{}\n", PASSWORDS[0])).expect("a file");
    // Neither a name nor an authority that is not the server's, nor an open line.
    for wrong in [url.replace("localhost", "127.0.0.1"), url.split("?").next().expect("a URL").to_owned()] {
        let (_folder, mut other) = at(&wrong, "one");
        other.postgres.as_mut().expect("a server").password_file = Some(password.clone());
        SqlStore::open_at(&other).await.expect_err("a server that cannot be verified");
    }
    let (_folder, mut open) = at(&format!("{url}&sslmode=disable"), "one");
    open.postgres.as_mut().expect("a server").password_file = Some(password.clone());
    refused(&open, "no encryption").await;

    let store = SqlStore::open_at(&state).await.expect("a store");
    store.quarantine(vec![quarantined("q", "m", "bad")]).await.expect("a write");
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'drill'";
    assert_eq!(server.sql("postgres", encrypted), "t");
    assert!(!format!("{store:?} {state:?}").contains(PASSWORDS[0]), "it is shown");
    // The password changes, the file with it, and all connections are cut: new ones take the new one.
    server.sql("postgres", &format!("ALTER ROLE drill PASSWORD '{}'", PASSWORDS[1]));
    fs::write(&password, PASSWORDS[1]).expect("a file");
    server.sql("postgres", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'drill'");
    soon("a new connection", async || store.set_halt(Halting::Resume).await.ok()).await;
}
