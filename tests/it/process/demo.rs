//! The demo as a visitor runs it: nothing is configured and nothing is left behind.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use crate::support::{
    agent::{Agent, Home, Said},
    eventually,
};

fn home() -> Home {
    Home::new("http://127.0.0.1:9", "")
}

/// How many the summary counts of what a line says.
#[track_caller]
fn counted(said: &Said, what: &str) -> usize {
    let line = said.stdout.lines().find(|line| line.trim_end().ends_with(what));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| panic!("no count of `{what}` in {said:?}"))
}

/// Nothing of the demo is left in its folder for temporary files.
fn leaves_nothing(home: &Home) {
    let left = std::fs::read_dir(home.path()).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("firedrill-demo")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_whole_demo_shows_all_it_promises() {
    let home = home();
    let said = home.run(&["demo", "--for", "60s"]);
    assert_eq!(said.code, 0, "{said:?}");
    for what in [
        "completed, started by the schedule",
        "completed, started by a deployment event",
        "refused because of a blackout",
        "stopped because a blackout opened",
        "superseded by a newer deployment",
    ] {
        assert!(counted(&said, what) >= 1, "{said:?}");
    }
    leaves_nothing(&home);
}

#[test]
fn a_short_demo_ends_by_itself_and_cleanly() {
    let (home, begun) = (home(), Instant::now());
    let said = home.run(&["demo", "--for", "3s"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.contains("summary"), "{said:?}");
    assert!(begun.elapsed() < Duration::from_secs(20));
    leaves_nothing(&home);
    assert_eq!(home.run(&["demo", "--for", "soon"]).code, 2);
}

#[test]
fn ctrl_c_ends_the_demo_with_its_summary() {
    for signal in ["INT", "TERM"] {
        let home = home();
        let output = std::fs::File::create(home.path().join("demo.out")).expect("a file");
        let child = home.command(&["demo"]).stdout(output).stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut demo = Agent::wrap(child);
        let shown = || std::fs::read_to_string(home.path().join("demo.out")).expect("text");
        eventually("the first deployment", || shown().contains("1.41.0").then_some(()));
        demo.signal(signal);
        assert_eq!(demo.ends(Duration::from_secs(20)).code(), Some(0), "{signal}: {}", shown());
        assert!(shown().contains("summary"), "{signal}: {}", shown());
        leaves_nothing(&home);
    }
}
