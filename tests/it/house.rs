//! The house rules, as far as a text can be checked for them.

use crate::support::repository;
use std::{collections::BTreeSet, path::PathBuf, process::Command};

/// Longest file, in lines.
const MAX_LINES: usize = 500;

/// Longest function, in lines, its signature and closing brace included.
const MAX_FUNCTION_LINES: usize = 72;

/// What may stand at the top of the repository; dot-files are free.
const TOP_LEVEL: [&str; 8] = ["Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "src", "config", "systemd", "deploy"];

/// Which of our modules each module may name, besides itself. `*` stands for all. Longer paths go first.
const DIRECTION: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("config", &["domain"]),
    ("engine", &["domain"]),
    ("ingest", &["domain", "engine::ports"]),
    ("store", &["domain", "engine::ports", "config::settings"]),
    ("aws/sqs", &["domain", "engine::ports", "config::settings", "ingest"]),
    ("aws", &["domain", "engine::ports", "config::settings"]),
    ("http", &["domain", "engine::ports", "config::settings", "ingest"]),
    ("telemetry", &["domain", "engine::ports", "config::settings"]),
    ("simulator", &["domain"]),
    ("daemon", &["*"]),
    ("cli", &["*"]),
    ("main", &["*"]),
    ("lib", &["*"]),
];

/// Words that the core must not contain: it is told the time and the environment.
const IMPURE: [&str; 8] = ["now()", "SystemTime", "Instant::", "std::env", "rand::", "tokio::", "std::fs", "std::net"];

/// A source file: its path below the repository, and its text.
struct Source {
    path: String,
    text: String,
}

fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![repository().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("text");
                let path = path.strip_prefix(repository()).expect("below the root").display().to_string();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

impl Source {
    /// The lines that are code, with their numbers; from a file's own tests on nothing counts as code.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        lines.take_while(|(_, line)| *line != "#[cfg(test)]").filter(|(_, line)| !line.starts_with("//"))
    }

    /// `src/aws/sqs/poll.rs` is `aws/sqs/poll`.
    fn module(&self) -> &str {
        let inner = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inner.strip_suffix(".rs").unwrap_or(inner)
    }
}

#[track_caller]
fn none(what: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

/// Finds the lines of code that contain a text.
fn naming(sources: &[Source], texts: &[&str]) -> Vec<String> {
    let hit = |line: &str| texts.iter().any(|text| line.contains(text));
    let hits = sources.iter().flat_map(|source| source.code().map(move |line| (source, line)));
    hits.filter(|(_, (_, line))| hit(line)).map(|(source, (n, line))| format!("{}:{n}: {line}", source.path)).collect()
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let (mut long, mut silent) = (Vec::new(), Vec::new());
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            long.push(format!("{}: {lines} lines", source.path));
        }
        if !source.text.starts_with("//!") {
            silent.push(source.path);
        }
    }
    none("longer than 500 lines", long);
    none("do not open with `//!`", silent);
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        let lines: Vec<&str> = source.text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let length = function_lines(line, &lines[start..]);
            if length > MAX_FUNCTION_LINES {
                long.push(format!("{}:{}: {length} lines", source.path, start + 1));
            }
        }
    }
    none("functions longer than 70 lines", long);
}

/// Counts the lines of the function that a line begins; zero when it begins none or declares one only. Relies on rustfmt.
fn function_lines(first: &str, lines: &[&str]) -> usize {
    let code = first.trim_start();
    let words = code.split_whitespace().take_while(|word| word.starts_with("pub") || ["async", "const"].contains(word));
    if code.split_whitespace().nth(words.count()) != Some("fn") {
        return 0;
    }
    let indent = &first[..first.len() - code.len()];
    let is_end = |line: &&str| {
        let own = line.strip_prefix(indent).is_some_and(|rest| !rest.starts_with(' '));
        own && (*line == format!("{indent}}}") || line.ends_with(';') || line.ends_with('}'))
    };
    lines.iter().position(is_end).map_or(0, |end| end + 1)
}

#[test]
fn modules_name_only_what_their_direction_allows() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        let module = source.module().to_owned();
        let within = |folder: &str| module == folder || module.starts_with(&format!("{folder}/"));
        let Some((home, allowed)) = DIRECTION.iter().find(|(folder, _)| within(folder)) else {
            wrong.push(format!("{}: a module without a direction", source.path));
            continue;
        };
        if allowed.contains(&"*") {
            continue;
        }
        let own = home.split('/').next().unwrap_or(home);
        for (used, line) in used_paths(&source) {
            let permitted = |path: &str| used == path || used.starts_with(&format!("{path}::"));
            if !permitted(own) && !allowed.iter().any(|path| permitted(path)) {
                wrong.push(format!("{}:{line}: crate::{used}", source.path));
            }
        }
    }
    none("against the direction", wrong);
}

/// Finds what a file names of our crate: `use crate::{a::b, c}` names `a::b` and `c`.
fn used_paths(source: &Source) -> Vec<(String, usize)> {
    let mut code = String::new();
    let mut starts = Vec::new();
    for (number, line) in source.code() {
        starts.push((code.len(), number));
        code.push_str(line);
    }
    let line_of = |at: usize| starts.iter().rev().find(|(start, _)| *start <= at).map_or(0, |(_, number)| *number);
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        for path in expand(rest) {
            used.push((path, line_of(at)));
        }
    }
    used
}

/// Expands the text behind `crate::` into paths of at most two segments each.
fn expand(text: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    if let Some(list) = text.strip_prefix('{') {
        return items(list).iter().flat_map(|item| expand(item)).collect();
    }
    let first = word(text);
    match text[first.len()..].strip_prefix("::") {
        Some(rest) if rest.starts_with('{') => {
            items(&rest[1..]).iter().map(|item| format!("{first}::{}", word(item))).collect()
        }
        Some(rest) => vec![format!("{first}::{}", word(rest))],
        None => vec![first],
    }
}

/// Splits a list at its own commas, up to the brace that closes it.
fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut from, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(list[from..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(list[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

#[test]
fn lists_of_imports_are_read_as_the_compiler_does() {
    let check = |text: &str, expected: &[&str]| assert_eq!(expand(text), expected, "{text}");
    check("domain::run::Run;", &["domain::run"]);
    check(
        "{config::settings::{LogFormat, Telemetry},domain::ids::RunId,};use x;",
        &["config::settings", "domain::ids"],
    );
    check("engine::{ports, step::{a, b}};", &["engine::ports", "engine::step"]);
    check("store;", &["store"]);
}

#[test]
fn core_knows_neither_clock_nor_environment() {
    none("impure", naming(&sources("src/domain"), &IMPURE));
}

/// Every manifest forbids unsafe code, and `forbid` cannot be taken back in a file.
#[test]
fn no_code_of_ours_is_unsafe() {
    let listed = Command::new("git").args(["ls-files", "-z", "*Cargo.toml"]).current_dir(repository()).output();
    let listed = String::from_utf8(listed.expect("git").stdout).expect("text");
    let manifests: Vec<&str> = listed.split_terminator('\0').collect();
    assert!(manifests.contains(&"Cargo.toml") && manifests.contains(&"tests/fuzz/Cargo.toml"), "{manifests:?}");
    for manifest in manifests {
        let text = std::fs::read_to_string(repository().join(manifest)).expect("text");
        let manifest: toml::Table = text.parse().unwrap_or_else(|error| panic!("{manifest}: {error}"));
        assert_eq!(manifest["lints"]["rust"]["unsafe_code"].as_str(), Some("forbid"), "{manifest}");
    }
}

#[test]
fn nothing_in_the_program_panics_by_choice() {
    none("panics", naming(&sources("src"), &[".unwrap()", "todo!(", "unimplemented!(", "panic!("]));
}

#[test]
fn tests_neither_sleep_nor_get_ignored() {
    let ours = |source: &Source| source.path != "tests/it/house.rs";
    let tests: Vec<Source> = sources("tests").into_iter().chain(sources("src")).filter(ours).collect();
    let everything = |text: &str| -> Vec<String> {
        tests.iter().filter(|source| source.text.contains(text)).map(|source| source.path.clone()).collect()
    };
    none("ignored tests", everything("#[ignore"));
    let it: Vec<Source> = sources("tests/it")
        .into_iter()
        .filter(|source| ours(source) && source.path != "tests/it/support/mod.rs")
        .collect();
    none("sleeps", naming(&it, &["sleep("]));
    none("environment variables set", naming(&tests, &["set_var(", "remove_var("]));
}

#[test]
fn top_level_shows_only_what_belongs_there() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(repository()).output().expect("git");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("text");
    let shown: BTreeSet<&str> =
        listed.split('\0').filter_map(|path| path.split('/').next()).filter(|name| !name.is_empty()).collect();
    let allowed: BTreeSet<&str> = TOP_LEVEL.into_iter().chain(["tests"]).collect();
    let strangers = shown.difference(&allowed).filter(|name| !name.starts_with('.'));
    none("at the top of the repository", strangers.map(|name| (*name).to_owned()).collect());
}
