//! What the agent leaves to others: no file that they could read, no folder, no memory.

use std::{
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::{Path, PathBuf},
};

use firedrill::domain::run::Run;

use crate::support::{PATIENCE, agent::Home, stage::Stage};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a mode");
}

/// Everything below a folder, and the folder.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        if path.is_dir() {
            found.extend(std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
        next += 1;
    }
    found
}

#[test]
fn nothing_is_readable_by_others_whatever_the_umask_of_the_caller() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n"));
    let agent = home.answering(home.spawned(home.command_after("umask 0", &["run"])));
    home.json(&["start", "drill"]);
    home.wait_for("the end of a run", Run::is_over);
    assert!(agent.told_by_system("status").lines().any(|line| line == "Umask:\t0077"));
    let found = all_below(&home.state());
    for path in &found {
        let private = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(path), private, "{}", path.display());
    }
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    for name in ["firedrill.db", "firedrill.db-wal", "firedrill.sock"] {
        assert!(names.contains(&name), "{names:?}");
    }
    // Temporary files would be in this folder, which is also `TMPDIR`.
    let ours = [home.config(), home.path().join("agent.log"), home.state(), home.path().to_owned()];
    let others = all_below(home.path()).into_iter().filter(|path| !found.contains(path) && !ours.contains(path));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn state_folder_that_is_open_to_others_is_closed_and_that_is_told() {
    let home = Home::new("http://127.0.0.1:9", "");
    assert_eq!(home.agent().terminate(), 0);
    assert!(!home.log().contains("open to other users"), "{}", home.log());
    // A file system may have put something of its own there.
    std::fs::create_dir(home.state().join("lost+found")).expect("a folder");
    std::fs::write(home.state().join(".nfs0000000000a1"), "").expect("a file");
    set_mode(&home.state(), 0o755);
    let _agent = home.agent();
    assert_eq!(mode(&home.state()), 0o700);
    home.wait_for_log("the state directory was open to other users; it is 0700 now");
}

#[test]
fn state_folder_that_is_shared_is_refused_and_left_alone() {
    let home = Home::new("http://127.0.0.1:9", "");
    std::fs::create_dir(home.state()).expect("a folder");
    std::fs::write(home.state().join("of-others"), "").expect("a file");
    set_mode(&home.state(), 0o777);
    let mut agent = home.spawn();
    assert_eq!(agent.ends(PATIENCE).code(), Some(1));
    for said in ["(mode 777)", "`of-others`", "make it 0700, or name a folder below it"] {
        assert!(home.log().contains(said), "{said}: {}", home.log());
    }
    assert_eq!(mode(&home.state()), 0o777);
    assert_eq!(std::fs::read_dir(home.state()).expect("a folder").count(), 1, "nothing was written");
    set_mode(&home.state(), 0o700);
    assert_eq!(home.agent().terminate(), 0, "a private folder may hold what it likes");
}

#[test]
fn crash_leaves_no_memory_behind() {
    let home = Home::new("http://127.0.0.1:9", "");
    let mut command = home.command_after("ulimit -c $(ulimit -H -c)", &["run"]);
    command.current_dir(home.path());
    let mut agent = home.answering(home.spawned(command));
    let limits = agent.told_by_system("limits");
    let core: Vec<&str> = limits.lines().filter(|line| line.starts_with("Max core file size")).collect();
    assert_eq!(core.len(), 1, "{limits}");
    assert_eq!(core[0].split_whitespace().skip(4).collect::<Vec<_>>(), ["0", "0", "bytes"]);
    agent.signal("ABRT");
    let ended = agent.ends(PATIENCE);
    assert_eq!((ended.signal(), ended.core_dumped()), (Some(6), false), "{ended:?}");
    let dumps = all_below(home.path()).into_iter().filter(|path| path.to_string_lossy().contains("/core"));
    assert_eq!(dumps.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}
