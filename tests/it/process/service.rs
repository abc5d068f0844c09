//! The process as systemd and operators handle it: signals, notifications, reloads, the watchdog.

use std::{net::TcpListener, os::unix::net::UnixDatagram, time::Duration};

use firedrill::domain::{
    fis::FisStatus,
    outcome::Outcome,
    run::{Run, RunState, StopCause},
};

use crate::support::{PATIENCE, agent::Home, disk::Lock, eventually, stage::Stage, wire::Wire, within};

fn by_hand(template: &str) -> String {
    format!("[experiments.drill]\ntemplate = \"{template}\"\n")
}

fn is_running(run: &Run) -> bool {
    matches!(run.state, RunState::Running { .. })
}

fn outcome(run: &Run) -> Option<&Outcome> {
    match &run.state {
        RunState::Finished { outcome, .. } => Some(outcome),
        _ => None,
    }
}

#[test]
fn sigterm_leaves_the_experiment_running_and_the_next_start_watches_it() {
    let stage = Stage::start(60.0);
    let home = Home::new(&stage.url(), &by_hand(&stage.template(&[("wait", "PT4M", &[])])));
    let agent = home.agent();
    home.json(&["start", "drill"]);
    home.wait_for("a running run", is_running);
    assert_eq!(agent.terminate(), 0);
    assert!(!stage.experiments()[0].status.is_terminal());
    assert!(is_running(&home.runs()[0]));

    let _agent = home.agent();
    let run = home.wait_for("the end of the run", Run::is_over);
    assert_eq!(outcome(&run), Some(&Outcome::Completed));
    assert_eq!(stage.experiments().len(), 1);
}

#[test]
fn sigterm_stops_the_experiment_where_so_configured() {
    let stage = Stage::start(60.0);
    let tables = by_hand(&stage.template(&[("wait", "PT1H", &[])]));
    let home = Home::new(&stage.url(), &format!("{tables}[agent]\non_shutdown = \"stop\"\n"));
    let agent = home.agent();
    home.json(&["start", "drill"]);
    home.wait_for("a running run", is_running);
    assert_eq!(agent.terminate(), 0);
    assert_eq!(stage.experiments()[0].status, FisStatus::Stopped);
    assert_eq!(outcome(&home.runs()[0]), Some(&Outcome::Stopped { cause: StopCause::Shutdown }));
}

#[test]
fn second_sigterm_ends_at_once_and_the_next_start_adopts() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &by_hand(&stage.template(&[("wait", "PT1M", &[])])));
    let mut agent = home.agent();
    stage.fault("StartExperiment", "hang", 1);
    home.json(&["start", "drill"]);
    eventually("the experiment nobody answers for", || stage.experiments().first().cloned());
    agent.signal("TERM");
    home.wait_for_log("a second signal ends at once");
    assert!(agent.is_running(), "a call under way is waited for");
    agent.signal("TERM");
    assert_eq!(agent.ends(Duration::from_secs(5)).code(), Some(0));

    let _agent = home.agent();
    let run = home.wait_for("the end of the run", Run::is_over);
    assert_eq!(outcome(&run), Some(&Outcome::Completed));
    assert_eq!(stage.experiments().len(), 1);
}

/// A configuration with five mistakes.
pub const MISTAKES: &str = "\
[http]
listen = \"nowhere\"
[windows.freeze]
timezone = \"Europe/Berlun\"
weekly = [\"Mon-Fry\"]
[experiments.drill]
template = \"EXT1a2b3c4d5e6f7\"
overlapp = \"skip\"
[[experiments.drill.schedules]]
cron = \"61 * * * *\"
";

/// Where they are, and what is said of two of them.
pub const PLACES: [&str; 7] = [
    ":6:10 http.listen",
    ":8:12 ",
    ":9:11 ",
    ":12:1 ",
    ":14:8 ",
    "did you mean `Europe/Berlin`?",
    "did you mean `Fri`?",
];

#[test]
fn sighup_takes_a_good_configuration_and_refuses_one_with_mistakes() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(&stage.url(), &by_hand(&template));
    let agent = home.agent();
    assert_eq!(home.json(&["status"])["next_slots"], serde_json::json!({}));
    let later = format!("[experiments.later]\ntemplate = \"{template}\"\nschedules = [{{ cron = \"@yearly\" }}]\n");
    home.configure(&later);
    agent.signal("HUP");
    eventually("the new schedule", || home.json(&["status"])["next_slots"]["later"].as_str().map(str::to_owned));

    home.configure(MISTAKES);
    agent.signal("HUP");
    let refused = eventually("the refusal", || home.json(&["status"])["config_refused"].as_str().map(str::to_owned));
    for place in PLACES {
        assert!(refused.contains(place), "{place}: {refused}");
    }
    assert!(home.log().contains("configuration refused; the old one stays in force"));
    assert!(home.json(&["status"])["next_slots"]["later"].is_string(), "the old one stays");
    let asked = home.run(&["reload"]);
    assert_eq!(asked.code, 2, "{asked:?}");

    home.configure(&by_hand(&template));
    assert_eq!(home.json(&["reload"])["reloaded"], true);
    assert_eq!(home.json(&["status"])["config_refused"], serde_json::Value::Null);
    assert!(stage.experiments().is_empty(), "applying a configuration starts nothing");
}

/// What systemd is told.
struct Systemd {
    socket: UnixDatagram,
    told: Vec<String>,
}

impl Systemd {
    /// Listens, and lets the agents of a home know.
    fn listen(home: &mut Home, watchdog_us: &str) -> Self {
        let path = home.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_nonblocking(true).expect("non-blocking");
        home.set("NOTIFY_SOCKET", &path.display().to_string());
        home.set("WATCHDOG_USEC", watchdog_us);
        Self { socket, told: Vec::new() }
    }

    /// Takes in what was said meanwhile.
    fn hear(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.told.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
        &self.told
    }

    /// Waits for a message, from a position on, that holds a line; returns the position behind it.
    #[track_caller]
    fn wait_for(&mut self, line: &str, from: usize) -> usize {
        eventually(line, || {
            let found = self.hear()[from..].iter().position(|told| told.lines().any(|told| told.starts_with(line)));
            found.map(|at| from + at + 1)
        })
    }

    fn fed(&mut self) -> usize {
        self.hear().iter().filter(|told| told.contains("WATCHDOG=1")).count()
    }
}

#[test]
fn systemd_is_told_of_every_turn() {
    let stage = Stage::start(600.0);
    let tables = format!("{}[agent]\ndrain_timeout = \"50s\"\n", by_hand(&stage.template(&[("wait", "PT1M", &[])])));
    let mut home = Home::new(&stage.url(), &tables);
    let mut systemd = Systemd::listen(&mut home, "2000000");
    let agent = home.spawn();
    let ready = systemd.wait_for("READY=1", 0);
    assert!(systemd.told[ready - 1].contains("STATUS="), "{:?}", systemd.told);
    within(PATIENCE, "a fed watchdog", || (systemd.fed() >= 3).then_some(()));
    let from = systemd.told.len();
    agent.signal("HUP");
    let reloading = systemd.wait_for("RELOADING=1", from);
    assert!(systemd.told[reloading - 1].contains("MONOTONIC_USEC="), "{:?}", systemd.told);
    let ready = systemd.wait_for("READY=1", reloading);
    assert_eq!(agent.terminate(), 0);
    let stopping = systemd.wait_for("STOPPING=1", ready);
    let takes = "EXTEND_TIMEOUT_USEC=65000000";
    assert!(systemd.told[stopping - 1].lines().any(|line| line == takes), "{:?}", systemd.told);
}

#[test]
fn a_locked_store_starts_nothing_says_so_and_recovers() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let often = format!(
        "{}schedules = [{{ cron = \"* * * * * *\" }}]\noverlap = \"allow\"\n[http]\nlisten = \"{port}\"\n",
        by_hand(&template)
    );
    let mut home = Home::new(&stage.url(), &often);
    let http = Wire::new(format!("http://{port}"));
    let probe = |path: &str| {
        let answer = stage.wait(http.get(path));
        (answer.status, answer.text)
    };
    let mut systemd = Systemd::listen(&mut home, "1000000");
    let _agent = home.agent();
    eventually("a first experiment", || stage.experiments().first().cloned());
    eventually("a ready agent", || (probe("/readyz").0 == 200).then_some(()));

    let lock = Lock::take(&home);
    // What was asked of FIS before the lock was there may still arrive.
    let failure = || home.json(&["status"])["store_failure"].as_str().map(str::to_owned);
    eventually("the failure in the status", failure);
    let (started, fed) = (stage.experiments().len(), systemd.fed());
    let until = std::time::Instant::now() + Duration::from_secs(8);
    within(PATIENCE, "eight seconds", || {
        let why = failure().unwrap_or_else(|| panic!("the status forgets the failure: {}", home.log()));
        let (status, said) = probe("/readyz");
        assert!(status == 503 && said.contains(&why), "{status} {said}: {why}");
        assert_eq!(probe("/healthz").0, 200, "whoever ends the process ends what stops runs");
        (std::time::Instant::now() > until).then_some(())
    });
    assert_eq!(stage.experiments().len(), started, "nothing starts without a record");
    // A healthy engine feeds it about once a second; this one is held up for seconds by every write.
    assert!(systemd.fed() - fed <= 4, "a stuck engine feeds no watchdog: {:?}", systemd.told);
    let asked = home.run(&["start", "drill"]);
    assert_eq!(asked.code, 1, "{asked:?}");

    drop(lock);
    eventually("a start after the lock", || (stage.experiments().len() > started).then_some(()));
    assert_eq!(failure(), None);
    assert_eq!(probe("/readyz").0, 200);
    let log = home.log();
    for said in ["the store failed; nothing starts", "the store can be used again"] {
        assert_eq!(log.matches(said).count(), 1, "{said}");
    }
}

#[test]
fn a_damaged_store_is_refused() {
    let home = Home::new("http://127.0.0.1:9", "");
    assert_eq!(home.agent().terminate(), 0);
    std::fs::write(home.state().join("firedrill.db"), "no database at all".repeat(1_000)).expect("a file");
    let mut agent = home.spawn();
    assert_eq!(agent.ends(PATIENCE).code(), Some(1));
    assert!(home.log().contains("the store"), "{}", home.log());
}
