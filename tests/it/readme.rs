//! The README: what it shows of the program is what the program says.

use std::process::Command;

use super::support::{
    agent::{Home, Said},
    repository,
    stage::Stage,
    venv::aws_cli,
};

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

/// A text with the ids of templates and experiments replaced by their length and their place in the text.
fn shape(text: &str) -> String {
    let mut ids = Vec::new();
    let mut shaped = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let id = word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if id.len() > 10 && (id.starts_with("EXT") || id.starts_with("EXP")) {
            let known = ids.iter().position(|known| *known == id).unwrap_or_else(|| {
                ids.push(id);
                ids.len() - 1
            });
            shaped.push_str(&format!("{}-{}-{known}{}", &id[..3], id.len(), &word[id.len()..]));
        } else {
            shaped.push_str(word);
        }
    }
    shaped
}

#[test]
fn readme_lists_every_metric_and_no_other() {
    let names = std::fs::read_to_string(repository().join("src/telemetry/names.rs")).expect("names");
    let metrics = names.lines().filter(|line| line.starts_with("pub const METRIC_"));
    let mut named: Vec<&str> = metrics.filter_map(|line| line.split('"').nth(1)).collect();
    let readme = readme();
    let table = readme.split("| metric | kind, unit | by |").nth(1).and_then(|rest| rest.split("\n\n").next());
    let rows = table.expect("a table of metrics").lines();
    let mut listed: Vec<&str> = rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    named.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, named);
}

#[test]
fn readme_s_simulator_lines_do_what_they_show() {
    let readme = readme();
    let section = readme.split("## The simulator").nth(1).expect("a section of the simulator");
    let block = section.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("lines to paste");
    // The first two are what --exec does.
    let calls: Vec<_> = block.split("$ ").skip(3).filter_map(|call| call.split_once('\n')).collect();
    assert_eq!(calls.len(), 3, "{block}");
    let shown: String = calls.iter().map(|(_, output)| *output).collect();
    let mut script = "set -e\n".to_owned();
    for (number, (command, output)) in calls.iter().enumerate() {
        let command =
            calls[..number].iter().enumerate().fold((*command).to_owned(), |command, (before, (_, printed))| {
                command.replace(printed.trim().trim_matches('"'), &format!("$id{before}"))
            });
        let last = output.split_whitespace().next_back().unwrap_or_default();
        // Who pastes is not as fast as a script: an experiment needs its half second.
        let again = if last.contains('"') { "" } else { &format!("until {command} | grep -q '{last}$'; do :; done\n") };
        script.push_str(&format!(
            "{again}said=$({command})\nprintf '%s\\n' \"$said\"\nid{number}=$(printf '%s' \"$said\" | tr -d '\"')\n"
        ));
    }
    let home = Home::new("http://127.0.0.1:9", "");
    let tools = aws_cli();
    let path = format!("{}:/usr/bin:/bin", tools.parent().expect("a folder").display());
    let arguments = ["simulator", "--quiet", "--listen", "127.0.0.1:0", "--speed", "600", "--exec", &script];
    let said = Said::by(home.command(&arguments).env("PATH", path));
    assert_eq!((said.code, shape(&said.stdout)), (0, shape(&shown)), "{said:?}");
}

#[test]
fn readme_shows_what_a_broken_configuration_is_answered() {
    let (_, said) = firedrill(&["check", "--config", "broken.toml"], "tests/it/readme");
    shows(&said);
}

#[test]
fn readme_shows_what_is_said_of_time() {
    let said = |arguments: &[&str]| {
        let (out, err) = firedrill(arguments, "tests/it/readme");
        assert!(!out.is_empty(), "{err}");
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    };
    let days = ["--from", "2027-03-26T00:00:00Z", "--to", "2027-04-01T00:00:00Z"];
    let plan = said(&[&["plan", "--config", "time.toml", "--picture", "always"][..], &days].concat());
    shows(plan.split("\n\n SLOT").next().expect("a picture"));
    let at = ["--at", "2027-03-27T12:00:00Z", "--free", "2h", "--within", "7d"];
    shows(&said(&[&["window", "check", "--config", "time.toml"][..], &at].concat()));
    shows(&said(&["why", "--config", "time.toml", "checkout@2027-03-28T01:00:00Z"]));
    let next = ["--timezone", "Europe/Berlin", "--after", "2027-03-27T00:00:00Z", "--count", "3"];
    shows(&said(&[&["schedule", "next", "30 2 * * *"][..], &next].concat()));
}

#[test]
fn readme_shows_what_is_said_of_events() {
    let said = |arguments: &[&str]| {
        let (out, err) = firedrill(arguments, "tests/it/readme");
        assert!(!out.is_empty(), "{err}");
        shows(&out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    };
    let pattern = r#"{"detail":{"application":["search"],"state":["SUCCEEDED"]}}"#;
    said(&["event", "match", "--pattern", pattern, "--event", "@deployed.json"]);
    said(&["event", "match", "--config", "events.toml", "--event", "@deployed.json"]);
    let stage = Stage::start(1.0);
    let environment = [("FIREDRILL__AWS__ENDPOINT_URL", stage.url())];
    let planned = Home::new("http://127.0.0.1:9", "");
    let mut plan = planned.command(&["queue", "plan", "--config", "events.toml"]);
    let said = Said::by(plan.current_dir(repository().join("tests/it/readme")).envs(environment));
    shows(&said.stdout.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
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
    let folder = tempfile::tempdir().expect("a folder");
    let (path, secret) = (folder.path().join("readme.toml"), folder.path().join("secret"));
    std::fs::write(&secret, "0123456789abcdef0123456789abcdef").expect("a file");
    for (number, rest) in readme.split("```toml\n").skip(1).enumerate() {
        let block = rest.split("```").next().expect("a TOML block");
        // Later ones are about triggers of what the first one declares.
        let declared = if number == 0 { "" } else { "[experiments.checkout]\ntemplate = \"EXT1a2b3c4d5e6f7\"\n" };
        let files = ["/etc/firedrill/github.secret", "/run/credentials/firedrill.service/database"];
        let block = files.iter().fold(block.to_owned(), |b, file| b.replace(file, &secret.display().to_string()));
        // Keys of the file itself stand before its tables.
        let text = if block.starts_with('[') { declared.to_owned() + &block } else { block + declared };
        std::fs::write(&path, text).expect("a file");
        if let Err(problems) = firedrill::config::load(&path, []) {
            panic!("{problems}");
        }
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
