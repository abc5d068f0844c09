//! `firedrill store` on the files of a real agent, beside it and without it.

mod moves;
mod restored;
mod unreadable;

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use firedrill::domain::run::{Run, RunState};
use serde_json::{Value, json};

use crate::support::{
    agent::{Home, Said},
    disk,
    stage::Stage,
};

/// An experiment that goes on, and one that is over soon.
pub fn tables(stage: &Stage) -> String {
    let (short, long) = (stage.template(&[("wait", "PT1M", &[])]), stage.template(&[("wait", "PT10H", &[])]));
    format!("[experiments.quick]\ntemplate = \"{short}\"\n[experiments.slow]\ntemplate = \"{long}\"\n")
}

#[track_caller]
pub fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stdout.contains(words) || said.stderr.contains(words), "no `{words}` in {said:?}");
}

pub fn is_running(run: &Run) -> bool {
    matches!(run.state, RunState::Running { .. })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Names of the files in a folder that begin with a text.
fn files(folder: &Path, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).filter(|name| name.starts_with(prefix)).collect()
}

#[test]
fn migrate_tells_then_does_then_has_nothing_to_do() {
    let home = Home::new("http://127.0.0.1:9", "");
    exits(&home.run(&["store", "check"]), 3, "no agent has run with it");
    exits(&home.run(&["store", "migrate", "--dry-run"]), 5, "would have schema 9; there was none");
    assert!(!home.state().exists(), "nothing is made");
    let done = home.json(&["store", "migrate"]);
    assert_eq!((&done["from"], &done["to"], &done["done"]), (&Value::Null, &json!(9), &json!(true)), "{done}");
    exits(&home.run(&["store", "migrate"]), 0, "is up to date: schema 9");
    exits(&home.run(&["store", "migrate", "--dry-run"]), 0, "is up to date");

    // As a version of before has left it.
    disk::execute(&home, "DROP TABLE schema");
    disk::execute(&home, "ALTER TABLE cursors DROP COLUMN left_at_us");
    disk::execute(&home, "DELETE FROM _sqlx_migrations WHERE version > 6");
    exits(&home.run(&["store", "check"]), 1, "has schema 6, and this program knows 9");
    exits(&home.run(&["store", "check"]), 1, "`firedrill store migrate` brings it up to date");
    let old = text(&home.path().join("old.db"));
    exits(&home.run(&["store", "backup", &old]), 0, "schema 6");
    exits(&home.run(&["store", "migrate", "--dry-run"]), 5, "7  schema");
    let lock = File::open(home.state().join("firedrill.lock")).expect("a lock");
    lock.lock().expect("a lock");
    exits(&home.run(&["store", "migrate"]), 1, "is in use by another agent");
    drop(lock);
    std::thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| home.run(&["store", "migrate"])));
        for said in both.map(|said| said.join().expect("no panic")) {
            assert!(said.code == 0 || said.stderr.contains("is in use by another"), "{said:?}");
        }
    });
    exits(&home.run(&["store", "migrate"]), 0, "is up to date: schema 9");
    exits(&home.run(&["store", "restore", "--force", &old]), 0, "0 runs");
    exits(&home.run(&["store", "check"]), 0, "is sound");

    disk::execute(&home, "UPDATE schema SET version = 9999");
    exits(&home.run(&["store", "migrate"]), 0, "up to date");
    disk::execute(&home, "UPDATE schema SET oldest = 9999");
    for command in [&["migrate"][..], &["migrate", "--dry-run"], &["check"], &["export"]] {
        let said = home.run(&[&["store"], command].concat());
        exits(&said, 1, "it takes a program that knows schema 9999, and this one knows 9");
    }
}

#[test]
fn backup_under_an_agent_is_taken_back_and_what_ran_goes_on() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    exits(&home.run(&["store", "check"]), 0, "is sound: 2 runs");

    let file = home.path().join("backup.db");
    let made = home.json(&["store", "backup", &text(&file)]);
    assert_eq!(made["rows"]["runs"], 2, "{made}");
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
    exits(&home.run(&["store", "backup", &text(&file)]), 2, "`--force` replaces it");
    exits(&home.run(&["store", "check", &text(&file)]), 0, "is sound: 2 runs");
    assert_eq!(files(home.path(), "backup.db"), ["backup.db"], "reading a backup leaves nothing beside it");
    assert_eq!(files(home.path(), ".firedrill"), [] as [&str; 0]);
    exits(&home.run(&["store", "restore", "--force", &text(&file)]), 1, "is in use by another agent");

    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    agent.kill_nine();
    exits(&home.run(&["store", "restore", &text(&file)]), 2, "3 rows in `runs`");
    let restored = home.run(&["store", "restore", "--force", &text(&file)]);
    for words in [
        "2 runs",
        "all is halted by firedrill store restore: nothing starts until `firedrill resume`",
        "decided by `missed`",
        "looked for by its tag",
        "1 run may be running",
        "what was there before is",
    ] {
        exits(&restored, 0, words);
    }
    let aside = files(&home.state(), "firedrill.db.before-");
    assert_eq!(aside.len(), 1, "{aside:?}");
    exits(&home.run(&["store", "check", &text(&home.state().join(&aside[0]))]), 0, "is sound: 3 runs");
    assert_eq!(files(&home.state(), ".firedrill"), [] as [&str; 0]);
    assert_eq!(home.runs().len(), 2);

    // Nobody knows whether all was halted since the backup: nothing starts, and what runs goes on.
    let agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 12, "halted");
    assert!(home.runs().iter().any(|run| run.id == slow.id && is_running(run)), "{:?}", home.runs());
    exits(&home.run(&["resume"]), 0, "resumed");
    exits(&home.run(&["stop", &slow.id.to_string(), "--reason", "enough"]), 0, "is being stopped");
    let over = home.wait_for("the end of what ran", |run| run.id == slow.id && run.is_over());
    assert_eq!(over.fis.map(|fis| fis.id), slow.fis.map(|fis| fis.id), "it is the same experiment");
    assert_eq!(stage.experiments().len(), 3, "nothing was started again");
    assert_eq!(agent.terminate(), 0);
    exits(&home.run(&["store", "check"]), 0, "is sound: 3 runs");
}

#[test]
fn backup_that_is_no_good_is_refused_and_the_store_stays() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    assert_eq!(agent.terminate(), 0);
    let path = |name: &str| home.path().join(name);
    exits(&home.run(&["store", "backup", &text(&path("good.db"))]), 0, "1 run");
    let good = fs::read(path("good.db")).expect("a file");
    fs::write(path("short.db"), &good[..good.len() / 2]).expect("a file");
    fs::write(path("empty.db"), "").expect("a file");
    fs::write(path("text.db"), "this is not a database ".repeat(500)).expect("a file");
    let mut damaged = good.clone();
    for page in damaged.chunks_mut(4096).skip(2) {
        page[..512].fill(0x5a);
    }
    fs::write(path("damaged.db"), damaged).expect("a file");
    disk::execute_on(&path("other.db"), "CREATE TABLE runs (id INTEGER)");
    fs::copy(path("good.db"), path("newer.db")).expect("a file");
    disk::execute_on(&path("newer.db"), "UPDATE schema SET version = 9999");
    let before = fs::read(home.state().join("firedrill.db")).expect("a file");
    for (file, words) in [
        ("short.db", "malformed"),
        ("empty.db", "is not a store of firedrill"),
        ("text.db", "file is not a database"),
        ("damaged.db", "malformed"),
        ("other.db", "is not a store of firedrill"),
        ("newer.db", "has schema 9999, and this program knows 9"),
        ("none.db", "No such file"),
    ] {
        let said = home.run(&["store", "restore", "--force", &text(&path(file))]);
        exits(&said, 1, words);
        assert!(said.stderr.contains(file), "it is named: {said:?}");
        assert_eq!(fs::read(home.state().join("firedrill.db")).expect("a file"), before, "{file}");
        assert_eq!(files(&home.state(), ".firedrill"), [] as [&str; 0], "{file}");
    }
    for file in ["short.db", "damaged.db"] {
        let said = home.run(&["store", "check", &text(&path(file))]);
        assert!([1, 8].contains(&said.code), "{said:?}");
    }
    exits(&home.run(&["store", "check", &text(&path("text.db"))]), 1, "file is not a database");
    exits(&home.run(&["store", "check", &text(&path("other.db"))]), 1, "is not a store of firedrill");
}

#[test]
fn backup_without_room_leaves_nothing_behind() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let _agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    let file = text(&home.path().join("backup.db"));
    // No file may be longer than 32 KiB.
    let mut small = home.command_after("ulimit -f 64 && trap '' XFSZ", &["store", "backup", &file]);
    let said = Said::by(&mut small);
    exits(&said, 1, "could not");
    assert_eq!(files(home.path(), "backup"), [] as [&str; 0], "{said:?}");
    assert_eq!(files(home.path(), ".firedrill"), [] as [&str; 0]);
    fs::write(&file, "what was there").expect("a file");
    let mut small = home.command_after("ulimit -f 64 && trap '' XFSZ", &["store", "backup", "--force", &file]);
    exits(&Said::by(&mut small), 1, "could not");
    assert_eq!(fs::read_to_string(&file).expect("a file"), "what was there");
    exits(&home.run(&["store", "backup", &text(&home.path().join("none/backup.db"))]), 1, "none");
    exits(&home.run(&["store", "backup", "--force", &file]), 0, "1 run");
    exits(&home.run(&["store", "check", &file]), 0, "is sound");
}

#[test]
fn journal_is_exported_in_order_and_page_by_page() {
    let stage = Stage::start(600.0);
    let home = Home::new(&stage.url(), &tables(&stage));
    let _agent = home.agent();
    exits(&home.run(&["start", "quick", "--wait"]), 0, "completed");
    home.json(&["start", "slow"]);
    let slow = home.wait_for("a run", is_running);
    let lines = |args: &[&str]| -> Vec<Value> {
        let said = home.run(&[&["store", "export"], args].concat());
        assert_eq!(said.code, 0, "{said:?}");
        said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let all = lines(&[]);
    let journals: usize = home.runs().iter().map(|run| home.journal(run).len()).sum();
    assert!(all.len() >= journals - 1 && all.len() <= journals, "{} {journals}", all.len());
    assert!(all.is_sorted_by_key(|line| line["seq"].as_i64()), "{all:?}");
    let first = &all[0];
    assert_eq!((&first["experiment"], &first["trigger"]["kind"]), (&json!("quick"), &json!("manual")), "{first}");
    assert_eq!(first["observation"]["observed"], "opened");
    assert!(all.iter().any(|line| line["explained"].is_array()), "what rules said is there");
    let slows = lines(&["--run", &slow.id.as_str()[..12]]);
    assert!(!slows.is_empty() && slows.iter().all(|line| line["run"] == slow.id.as_str()), "{slows:?}");
    assert_eq!(lines(&["--experiment", "slow"]).len(), slows.len());
    let since = slow.opened_at.to_string();
    let later = lines(&["--since", &since]);
    assert!(!later.is_empty() && later.len() < all.len(), "{later:?}");
    exits(&home.run(&["store", "export", "--run", "ffff"]), 4, "there is no run");

    // Long enough for several pages, and for a pipe to be full.
    disk::execute(
        &home,
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO journal (at_us, run, kind, observation)
         SELECT 1, 'of-nobody', 'not-found', '{\"observed\":\"not-found\"}' FROM n",
    );
    let all = lines(&[]);
    assert!(all.len() >= 3000 + slows.len(), "{}", all.len());
    assert!(all.is_sorted_by_key(|line| line["seq"].as_i64()));
    let said = Said::by(
        &mut home
            .command_after("exec 3>&1; { \"$0\" \"$@\"; echo $? >&2; } | head -n 1; exit; true", &["store", "export"]),
    );
    assert_eq!((said.stdout.lines().count(), said.stderr.as_str()), (1, "0\n"), "{said:?}");
    exits(&home.run(&["store", "check"]), 8, "3000 entries of a run that is not there");
    let told = home.run(&["store", "check", "-o", "json"]);
    let told: Value = serde_json::from_str(&told.stdout).expect("JSON");
    assert_eq!((&told["count"], &told["findings"][0]["key"]), (&json!(1), &json!("of-nobody")), "{told}");

    disk::execute(&home, "UPDATE journal SET observation = '{' WHERE seq = 2");
    let said = home.run(&["store", "export"]);
    exits(&said, 1, "journal, entry 2");
    exits(&said, 1, "`firedrill store check` names every row");
}
