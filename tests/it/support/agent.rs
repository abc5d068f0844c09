//! The real binary as a child process: configured by files in a folder of its own, killed with its group when dropped.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek},
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use firedrill::{
    cli::context::now,
    config::settings,
    domain::run::{JournalEntry, Run},
    store::{SqlStore, history::RunFilter},
};
use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use super::{eventually, looked, within};

/// Longest time for a command that ends by itself: the longest holds the simulator against all of boto3 and the AWS CLI.
const COMMAND_PATIENCE: Duration = Duration::from_secs(300);

/// The stage's templates only wait: nothing is demanded of them.
const NO_POLICY: &str = "policy = { require_stop_condition = false, require_tags = {} }\n";

/// Most runs looked at.
const MOST_RUNS: u32 = 100_000;

/// When a process came and went, by its id: also one that was told to end, or stands still, is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    pub at: Timestamp,
    pub pid: u32,
    pub is_there: bool,
}

/// What is noted of agents while they run.
type Presences = Arc<Mutex<Vec<Presence>>>;

/// A folder with a configuration and a state, and everything that is done to it.
pub struct Home {
    folder: TempDir,
    head: String,
    env: Vec<(String, String)>,
    wrapper: Vec<String>,
    server: Option<settings::Postgres>,
    presences: Presences,
    runtime: tokio::runtime::Runtime,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A running agent; it is killed when dropped.
pub struct Agent {
    child: Child,
    presences: Presences,
}

impl Home {
    /// Makes a folder whose configuration calls AWS at `endpoint`; `tables` is the rest of it.
    pub fn new(endpoint: &str, tables: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("firedrill-it-").tempdir().expect("a folder");
        let state = folder.path().join("state");
        let head = format!(
            "state_directory = \"{}\"\n{NO_POLICY}aws.region = \"us-east-1\"\naws.endpoint_url = \"{endpoint}\"\n",
            state.display()
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let presences = Presences::default();
        let home = Self { folder, head, env: Vec::new(), wrapper: Vec::new(), server: None, presences, runtime };
        home.configure(tables);
        home
    }

    /// As [`Home::new`], for a replica whose rows are in a database of a server.
    pub fn on(endpoint: &str, tables: &str, url: &str, replica: &str) -> Self {
        let mut home = Self::new(endpoint, tables);
        home.head = format!("state = \"{url}\"\nreplica = \"{replica}\"\n{}", home.head);
        home.server = Some(settings::Postgres { url: url.to_owned(), password_file: None, replica: None });
        home.configure(tables);
        home
    }

    /// Adds a variable to the environment of everything started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    /// Names what is called in place of AWS in the environment of everything started from now on, and not in the
    /// configuration: replicas may reach it in ways of their own, and runs do not remember it.
    pub fn reach(&mut self, endpoint: &str, tables: &str) {
        self.head = self
            .head
            .lines()
            .filter(|line| !line.contains("aws.endpoint_url"))
            .fold(String::new(), |head, line| head + line + "\n");
        self.set("AWS_ENDPOINT_URL", endpoint);
        self.configure(tables);
    }

    /// Lets everything started from now on be started by a program that becomes it, such as `prlimit`.
    pub fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    /// Replaces the tables of the configuration.
    pub fn configure(&self, tables: &str) {
        std::fs::write(self.config(), format!("{}{tables}", self.head)).expect("a file");
    }

    /// Replaces the tables of the configuration, whose policies are the default ones then.
    pub fn demand_policies(&self, tables: &str) {
        std::fs::write(self.config(), format!("{}{tables}", self.head.replace(NO_POLICY, ""))).expect("a file");
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("firedrill.toml")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Everything that agents said so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_file()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("agent.log")
    }

    /// The binary, with nothing of this process's own AWS or telemetry settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut words = self.wrapper.iter().cloned().chain([binary()]);
        let mut command = Command::new(words.next().expect("at least the binary"));
        command.args(words);
        self.dressed(command, args)
    }

    /// As [`Home::command`], started by nothing else whatever [`Home::wrap`] says.
    pub fn plain(&self, args: &[&str]) -> Command {
        self.dressed(Command::new(binary()), args)
    }

    /// The binary, run by a shell after commands of the shell's own, such as `umask 0`.
    pub fn command_after(&self, setup: &str, args: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{setup} && exec \"$0\" \"$@\""), &binary()]);
        self.dressed(shell, args)
    }

    fn dressed(&self, mut command: Command, args: &[&str]) -> Command {
        command.args(args).env_clear().stdin(Stdio::null()).process_group(0);
        for (name, value) in [
            ("HOME", self.folder.path().display().to_string().as_str()),
            ("PATH", "/usr/bin:/bin"),
            ("TMPDIR", &self.folder.path().display().to_string()),
            ("FIREDRILL_CONFIG", &self.config().display().to_string()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("USER", "tester"),
        ] {
            command.env(name, value);
        }
        command.envs(self.env.clone());
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Said {
        Said::by(&mut self.command(args))
    }

    /// Runs a command that should succeed, and reads its JSON.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let said = self.run(&[args, &["-o", "json"]].concat());
        assert_eq!(said.code, 0, "{args:?}: {said:?}");
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {said:?}"))
    }

    /// Starts an agent and does not wait for it.
    pub fn spawn(&self) -> Agent {
        self.spawned(self.command(&["run"]))
    }

    /// As [`Home::spawn`], for a command of this home.
    pub fn spawned(&self, mut command: Command) -> Agent {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let child = command.stdout(log.try_clone().expect("a log")).stderr(log).spawn().expect("the binary runs");
        let agent = Agent { child, presences: self.presences.clone() };
        agent.is_there(true);
        agent
    }

    /// Starts the simulator on a free port, and returns the line that it prints when it answers.
    pub fn simulator(&self) -> (Agent, String) {
        let log = File::options().create(true).append(true).open(self.log_file()).expect("a log");
        let mut child = self
            .command(&["simulator", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the binary runs");
        let output = child.stdout.take().expect("a pipe");
        let simulator = Agent::wrap(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).expect("a line");
        (simulator, line.trim().to_owned())
    }

    /// Starts an agent and waits until it answers.
    pub fn agent(&self) -> Agent {
        self.answering(self.spawn())
    }

    /// Waits until an agent answers.
    #[track_caller]
    pub fn answering(&self, mut agent: Agent) -> Agent {
        let socket = self.state().join("firedrill.sock");
        eventually("an agent that answers", || {
            assert_eq!(agent.child.try_wait().expect("a child"), None, "the agent ended: {}", self.log());
            UnixStream::connect(&socket).ok()
        });
        agent
    }

    /// Reads the agent's rows from outside; `None` while there is no store.
    pub fn read<T>(&self, read: impl AsyncFnOnce(&SqlStore) -> T) -> Option<T> {
        let state = settings::State { directory: self.state(), postgres: self.server.clone() };
        self.runtime.block_on(async {
            let store = SqlStore::read_at(&state).await.ok()?;
            let found = read(&store).await;
            store.close().await;
            Some(found)
        })
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Vec<Run> {
        let filter = RunFilter { limit: MOST_RUNS, ..RunFilter::default() };
        self.read(async |store| store.runs(&filter).await.expect("runs")).unwrap_or_default()
    }

    pub fn journal(&self, run: &Run) -> Vec<JournalEntry> {
        self.read(async |store| store.journal(&run.id).await.expect("a journal")).unwrap_or_default()
    }

    /// The journals of runs, in their order.
    pub fn journals<'a>(&self, runs: impl Iterator<Item = &'a Run>) -> Vec<Vec<JournalEntry>> {
        let read = self.read(async |store| {
            let mut journals = Vec::new();
            for run in runs {
                journals.push(store.journal(&run.id).await.expect("a journal"));
            }
            journals
        });
        read.unwrap_or_default()
    }

    /// When its agents came and went.
    pub fn presences(&self) -> Vec<Presence> {
        self.presences.lock().expect("no panic").clone()
    }

    /// Waits until there is a run of which something holds.
    #[track_caller]
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Run) -> bool) -> Run {
        eventually(what, || self.runs().into_iter().find(|run| holds(run)))
    }

    /// Waits until the agent's log says something.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        eventually(text, || self.log().contains(text).then_some(()));
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of the agent in {}\n{}---", self.folder.path().display(), self.log());
        }
    }
}

impl Said {
    /// Runs a command until it ends; one that does not in time is killed with its group.
    #[track_caller]
    pub fn by(command: &mut Command) -> Self {
        let (mut stdout, mut stderr) = (tempfile::tempfile().expect("a file"), tempfile::tempfile().expect("a file"));
        let out = stdout.try_clone().expect("a file");
        let err = stderr.try_clone().expect("a file");
        let mut child =
            Agent::wrap(command.process_group(0).stdout(out).stderr(err).spawn().expect("the command runs"));
        let status = looked(COMMAND_PATIENCE, || child.child.try_wait().expect("a child"));
        if status.is_none() {
            // What a simulator runs has a group of its own: the first signal is passed on to it, the second kills it.
            for _signal in 0..2 {
                child.signal("TERM");
                if looked(Duration::from_secs(1), || child.child.try_wait().expect("a child")).is_some() {
                    break;
                }
            }
        }
        drop(child);
        let said = Self {
            code: status.and_then(|status| status.code()).unwrap_or(-1),
            stdout: whole(&mut stdout),
            stderr: whole(&mut stderr),
        };
        assert!(status.is_some(), "not at its end after {COMMAND_PATIENCE:?}: {command:?}: {said:?}");
        said
    }
}

/// The binary under test: the one of these tests' own build, or the one that `FIREDRILL_TEST_BINARY` names.
fn binary() -> String {
    std::env::var("FIREDRILL_TEST_BINARY").unwrap_or(env!("CARGO_BIN_EXE_firedrill").to_owned())
}

fn whole(file: &mut File) -> String {
    let mut text = String::new();
    file.rewind().expect("a file");
    file.read_to_string(&mut text).expect("text");
    text
}

impl Agent {
    /// Takes a child that leads a process group.
    pub fn wrap(child: Child) -> Self {
        Self { child, presences: Presences::default() }
    }

    fn is_there(&self, is_there: bool) {
        let presence = Presence { at: now(), pid: self.child.id(), is_there };
        self.presences.lock().expect("no panic").push(presence);
    }

    /// What the system tells of it in a file, such as `status`.
    pub fn told_by_system(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("a process")
    }

    /// The most memory that it ever had, in bytes.
    pub fn peak_memory(&self) -> usize {
        let status = self.told_by_system("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
        line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        match name {
            "CONT" => self.is_there(true),
            "TERM" | "STOP" => self.is_there(false),
            _other => {}
        }
        send_signal(name, &self.child.id().to_string());
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub fn kill_nine(mut self) {
        self.is_there(false);
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
    }

    /// Waits until it ends by itself.
    #[track_caller]
    pub fn ends(&mut self, patience: Duration) -> ExitStatus {
        within(patience, "the agent ends", || self.child.try_wait().expect("a child"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Tells it to drain, and waits for that.
    #[track_caller]
    pub fn terminate(mut self) -> i32 {
        self.signal("TERM");
        self.ends(super::PATIENCE).code().unwrap_or(-1)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.is_there(false);
        if self.is_running() {
            // The whole group: a child of the agent must not outlive the test either.
            send_signal("KILL", &format!("-{}", self.child.id()));
            self.child.wait().expect("an end");
        }
    }
}

pub fn send_signal(name: &str, to: &str) {
    let sent = Command::new("sh").args(["-c", "kill -s \"$0\" -- \"$1\"", name, to]).status().expect("a shell");
    assert!(sent.success(), "signal {name} to {to}");
}
