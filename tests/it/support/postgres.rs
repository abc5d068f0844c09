//! A PostgreSQL server of the test's own: in a temporary folder, on a socket there, gone with the test.
//!
//! A shell stands between it and the test and ends it as soon as the test's end of a pipe is closed, so that it cannot outlive
//! even a test that is killed. The server refuses to run as root: root's tests run it as another user.

use std::{
    fs::{self, Permissions},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::{agent::send_signal, within};

/// Longest wait for a server to come up, or to end, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where Debian puts the programs, by version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Who may run a server in place of root: the first of them that there is.
const USERS: [&str; 2] = ["postgres", "nobody"];

/// Starts the server and ends it, when the standard input ends, at once. A shell's background has SIGQUIT ignored until the
/// server says otherwise, so that one signal may be one too few.
const SUPERVISE: &str = "\
exec 3<&0
\"$@\" </dev/null 3<&- &
server=$!
cat <&3 >/dev/null
while kill -s CONT $server && kill -s QUIT $server; do sleep 0.1; done 2>/dev/null
wait $server";

/// Waits until a client of the database commits.
const COMMITS: &str = "DO $$ BEGIN
    WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'
                      AND query LIKE '%COMMIT' AND pid <> pg_backend_pid()) LOOP
        PERFORM pg_stat_clear_snapshot();
    END LOOP;
END $$";

/// A running server; it is stopped and removed when dropped.
pub struct Postgres {
    folder: TempDir,
    port: Option<u16>,
    settings: Vec<String>,
    supervisor: Option<Child>,
}

impl Postgres {
    /// Starts a server that does not wait for the disk.
    pub fn start() -> Self {
        Self::with(&["fsync=off", "full_page_writes=off"], None)
    }

    /// Starts a server with settings such as `fsync=off`, on a port too if one is given.
    pub fn with(settings: &[&str], port: Option<u16>) -> Self {
        let mut server = Self::empty(settings.iter().map(|&setting| setting.to_owned()).collect(), port);
        let data = server.data().display().to_string();
        let arguments = ["-D", &data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"];
        done(program("initdb").args(arguments));
        server.run();
        server
    }

    /// Starts a standby of a server, which from now on acknowledges nothing that this one does not have.
    pub fn following(primary: &Self) -> Self {
        let mut standby = Self::empty(primary.settings.clone(), None);
        let (data, from) = (standby.data().display().to_string(), primary.folder.path().display().to_string());
        let arguments = ["-D", &data, "-h", &from, "-U", "postgres", "-R", "-X", "stream", "-c", "fast", "--no-sync"];
        done(program("pg_basebackup").args(arguments));
        standby.run();
        primary.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = '*'");
        primary.sql("postgres", "SELECT pg_reload_conf()");
        let state = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'";
        within(PATIENCE, "a standby that is waited for", || (primary.sql("postgres", state) == "sync").then_some(()));
        standby
    }

    /// Lets a standby take over for good; the server that it followed is gone.
    pub fn promote(&self) {
        assert_eq!(self.sql("postgres", "SELECT pg_promote()"), "t");
    }

    fn empty(settings: Vec<String>, port: Option<u16>) -> Self {
        let folder = tempfile::Builder::new().prefix("firedrill-pg-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("a mode");
        if let Some((uid, gid)) = stand_in() {
            chown(folder.path(), Some(uid), Some(gid)).expect("root may");
        }
        Self { folder, port, settings, supervisor: None }
    }

    /// A port that was free a moment ago: the server cannot choose one itself.
    pub fn free_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    }

    /// The folder of the server, which it may read.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of its data.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts it, again after [`Postgres::end`], and waits until it answers.
    pub fn run(&mut self) {
        assert!(self.supervisor.is_none(), "it runs already");
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("log")).expect("a log");
        let listens = if self.port.is_some() { "127.0.0.1" } else { "" };
        let mut command = Command::new("sh");
        command.args(["-c", SUPERVISE, "sh"]).arg(programs().join("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path()).args(["-h", listens]);
        command.args(["-p", &self.port.unwrap_or(5432).to_string()]);
        // Few and small: many servers may run at once.
        for setting in ["shared_buffers=8MB", "max_connections=40", "max_wal_size=64MB", "jit=off"] {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        as_stand_in(&mut command);
        let err = log.try_clone().expect("a log");
        let started = command.process_group(0).stdin(Stdio::piped()).stdout(log).stderr(err).spawn();
        self.supervisor = Some(started.expect("a shell runs"));
        within(PATIENCE, "a server that answers", || self.try_sql("postgres", "SELECT 1").ok());
    }

    /// Where a database is, over the socket.
    pub fn url(&self, database: &str) -> String {
        let port = self.port.unwrap_or(5432);
        format!("postgres:///{database}?host={}&port={port}&user=postgres", self.folder.path().display())
    }

    /// Makes an empty database, and returns where it is.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Runs SQL in a database; returns what it says, a row a line.
    #[track_caller]
    pub fn sql(&self, database: &str, sql: &str) -> String {
        self.try_sql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}\n{}", self.log()))
    }

    /// As [`Postgres::sql`], for a server that may not answer.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let host = self.folder.path().display().to_string();
        let port = self.port.unwrap_or(5432).to_string();
        let mut command = Command::new(programs().join("psql"));
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &host, "-p", &port, "-U", "postgres"]);
        let said = command.args(["-d", database, "-c", sql]).stdin(Stdio::null()).output().expect("psql runs");
        match said.status.success() {
            true => Ok(String::from_utf8_lossy(&said.stdout).trim_end().to_owned()),
            false => Err(String::from_utf8_lossy(&said.stderr).into_owned()),
        }
    }

    /// Waits until a commit is under way in a database, which takes long from now on.
    pub fn commits(&self, database: &str) {
        self.sql("postgres", "ALTER SYSTEM SET commit_delay = 100000");
        self.sql("postgres", "SELECT pg_reload_conf()");
        self.sql(database, COMMITS);
    }

    /// Lets commits take no longer than they do.
    pub fn commits_at_once(&self) {
        self.sql("postgres", "ALTER SYSTEM RESET commit_delay");
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    /// Who holds the lease of a database with rows, and its number; nobody and 0 before there is one.
    pub fn lease(&self, database: &str) -> (String, i64) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let looked = runtime.block_on(async {
            let mut connection = PgConnection::connect(&self.url(database)).await?;
            sqlx::query_as("SELECT COALESCE(holder, ''), fence FROM lease").fetch_one(&mut connection).await
        });
        looked.unwrap_or_default()
    }

    /// What the server has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The process id of the server itself.
    pub fn pid(&self) -> u32 {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).expect("a running server");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// Sends a signal by name, such as `STOP`, to the server and all that it has forked.
    pub fn signal(&self, name: &str) {
        send_signal(name, &self.pid().to_string());
        signal_all(name, &self.processes());
    }

    /// The server and all that it has forked.
    fn processes(&self) -> Vec<String> {
        let server = self.pid().to_string();
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        children.split_whitespace().map(str::to_owned).chain([server]).collect()
    }

    /// Kills it and all that it has forked in one moment, whatever they are at.
    pub fn kill_nine(&mut self) {
        // What stands still forks nothing more.
        self.signal("STOP");
        let all = self.processes();
        signal_all("KILL", &all);
        self.is_gone(&all);
    }

    /// Ends it by a signal: `INT` cuts off its clients and writes everything down, `QUIT` ends it as it stands.
    pub fn stop(&mut self, signal: &str) {
        let all = self.processes();
        send_signal(signal, &self.pid().to_string());
        self.is_gone(&all);
    }

    /// Waits until none of its processes is left, so that it can be started again.
    fn is_gone(&mut self, all: &[String]) {
        let runs = |process: &String| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.starts_with(" Z"))
        };
        within(PATIENCE, "a server that is gone", || (!all.iter().any(runs)).then_some(()));
        if let Some(mut supervisor) = self.supervisor.take() {
            drop(supervisor.stdin.take());
            supervisor.wait().expect("an end");
        }
    }

    /// Ends it at once, as a power cut of everything but the disk would; nothing is lost that was acknowledged.
    pub fn end(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else { return };
        if supervisor.try_wait().expect("a child").is_none() {
            // What is stopped does not hear that it is to end.
            self.signal("CONT");
        }
        drop(supervisor.stdin.take());
        supervisor.wait().expect("an end");
    }
}

/// Signals processes of which some may have ended meanwhile.
fn signal_all(name: &str, processes: &[String]) {
    let mut sent = Command::new("sh");
    sent.args(["-c", "name=$1; shift; kill -s \"$name\" -- \"$@\"", "sh", name]).args(processes).stderr(Stdio::null());
    let _sent_or_gone = sent.status().expect("a shell");
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of PostgreSQL\n{}---", self.log());
        }
        self.end();
    }
}

/// Where the programs are; panics with what to do when there are none.
fn programs() -> PathBuf {
    let versions = fs::read_dir(VERSIONS).into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("initdb").exists());
    let version =
        |bin: &PathBuf| bin.components().rev().nth(1).and_then(|name| name.as_os_str().to_str()?.parse().ok());
    found
        .max_by_key(|bin| version(bin).unwrap_or(0_u32))
        .unwrap_or_else(|| panic!("PostgreSQL is not installed in {VERSIONS}: run `tests/run`, which installs it"))
}

fn program(name: &str) -> Command {
    let mut command = Command::new(programs().join(name));
    command.stdin(Stdio::null()).current_dir("/");
    as_stand_in(&mut command);
    command
}

/// Runs a program to its good end.
#[track_caller]
fn done(command: &mut Command) {
    let said = command.output().expect("a program of PostgreSQL runs");
    assert!(said.status.success(), "{command:?}: {}", String::from_utf8_lossy(&said.stderr));
}

fn as_stand_in(command: &mut Command) {
    if let Some((uid, gid)) = stand_in() {
        // Groups of root go with it.
        command.uid(uid).gid(gid);
    }
}

/// User and group that run the server when the test is root's.
pub fn stand_in() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(USERS.iter().find_map(|name| ids(name)).expect("a user that is not root"))
}
