//! The README: what it shows of the program is what the program says.

use std::process::Command;

use super::support::repository;

fn firedrill(arguments: &[&str], folder: &str) -> (String, String) {
    let folder = repository().join(folder);
    let output = Command::new(env!("CARGO_BIN_EXE_firedrill"))
        .args(arguments)
        .env("COLUMNS", "100")
        .env_remove("FIREDRILL_CONFIG")
        .current_dir(folder)
        .output()
        .expect("the binary runs");
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn readme() -> String {
    std::fs::read_to_string(repository().join("README.md")).expect("a README")
}

#[track_caller]
fn shows(text: &str) {
    assert!(readme().contains(text.trim_end()), "the README does not show:\n{text}");
}

#[test]
fn readme_shows_the_commands_and_exit_codes() {
    let (help, _) = firedrill(&["--help"], ".");
    let commands = help.split("Commands:\n").nth(1).and_then(|rest| rest.split("\n\nOptions:").next());
    shows(commands.expect("commands in the help"));
    let codes = help.split("Exit codes:\n").nth(1);
    shows(codes.expect("exit codes in the help"));
}

#[test]
fn readme_shows_the_simulators_own_interface() {
    let (help, _) = firedrill(&["simulator", "--help"], ".");
    let interface =
        help.split("for callers on this machine:\n").nth(1).and_then(|rest| rest.split("\n\nVersion").next());
    shows(interface.expect("the interface in the help"));
}

#[test]
fn readme_shows_what_a_broken_configuration_is_answered() {
    let (_, said) = firedrill(&["check", "--config", "broken.toml"], "tests/it/readme");
    shows(&said);
}

#[test]
fn readme_names_only_files_that_exist() {
    let readme = readme();
    let quoted = readme.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|text| {
        let first = text.split('/').next().unwrap_or_default();
        ["src", "config", "systemd", "deploy", "tests"].contains(&first) && text.contains('/') && !text.contains(' ')
    });
    for path in paths {
        assert!(repository().join(path).exists(), "the README names `{path}`, which does not exist");
    }
}

#[test]
fn readme_configuration_is_one_that_loads() {
    let readme = readme();
    let block = readme.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a TOML block");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("readme.toml");
    std::fs::write(&path, block).expect("a file");
    if let Err(problems) = firedrill::config::load(&path, []) {
        panic!("{problems}");
    }
}

#[test]
fn readme_promises_name_tests_that_exist() {
    let readme = readme();
    let promises = readme.split("## Promises").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("promises");
    let named: Vec<&str> = promises.split('`').skip(1).step_by(2).filter(|text| text.contains("::")).collect();
    assert!(named.len() >= 6, "the README names few tests: {named:?}");
    for name in named {
        let (module, test) = name.rsplit_once("::").expect("a path");
        let base = repository().join("tests/it").join(module.replace("::", "/"));
        let candidates = [base.with_extension("rs"), base.join("mod.rs")];
        let has = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path).is_ok_and(|text| text.contains(&format!("fn {test}")))
        };
        assert!(candidates.iter().any(has), "there is no test `{name}`");
    }
}
