//! Where the store is: a folder, or a server, whose URL must not hold a password.

use std::{os::unix::fs::PermissionsExt, path::PathBuf};

use super::{
    super::{
        path::KeyPath,
        settings::{MAX_HOSTS, Postgres, State},
    },
    Check,
};

/// What a URL may say behind its question mark.
const PARAMETERS: [&str; 8] = ["sslmode", "sslrootcert", "sslcert", "sslkey", "host", "port", "user", "dbname"];

/// Ways to encrypt a connection, or not.
const SSL_MODES: [&str; 4] = ["disable", "require", "verify-ca", "verify-full"];

/// Bits of a file's mode that let everybody read or change it.
const OTHERS: u32 = 0o006;

/// Longest name of a replica, in bytes.
const MAX_REPLICA: usize = 128;

/// Finished runs that are kept when nothing is said; with their journals they take about 2 GB.
const DEFAULT_HISTORY_RUNS: u32 = 200_000;

/// Fewest and most finished runs that may be kept.
const LEAST_HISTORY_RUNS: u32 = 1_000;
const MOST_HISTORY_RUNS: u32 = 100_000_000;

impl Check<'_> {
    /// Checks where the store is, beside its folder.
    pub(super) fn state(
        &mut self,
        state: State,
        url: Option<String>,
        password_file: Option<String>,
        replica: Option<String>,
    ) -> State {
        let root = KeyPath::default();
        if url.is_none() {
            for (key, value) in [("state_password_file", &password_file), ("replica", &replica)] {
                if value.is_some() {
                    let hint = "set `state`, such as `postgres://firedrill@db.example/firedrill`".to_owned();
                    self.problem(&root.key(key), "means nothing without `state`".to_owned(), Some(hint));
                }
            }
        }
        let replica = replica.filter(|name| {
            let is_name = !name.is_empty() && name.len() <= MAX_REPLICA && !name.chars().any(char::is_control);
            if !is_name {
                let message = format!("is no name of 1 to {MAX_REPLICA} bytes without control characters");
                self.problem(&root.key("replica"), message, None);
            }
            is_name
        });
        let path = root.key("state_password_file");
        let password_file = password_file.and_then(|file| self.beside(&path, &file));
        let mode =
            password_file.as_ref().and_then(|file| std::fs::metadata(file).ok()).map(|file| file.permissions().mode());
        if let Some(mode) = mode.filter(|mode| mode & OTHERS != 0) {
            self.warn(&path, format!("everybody on this machine can read or change it (mode {:03o})", mode & 0o777));
        }
        let postgres = url
            .and_then(|url| self.server(&root.key("state"), &url).then_some(Postgres { url, password_file, replica }));
        State { postgres, ..state }
    }

    /// Checks how many finished runs, and events that opened none, are kept.
    pub(super) fn history_runs(&mut self, path: &KeyPath, runs: Option<i64>) -> u32 {
        let most = self.number(path, runs, DEFAULT_HISTORY_RUNS, MOST_HISTORY_RUNS);
        if most < LEAST_HISTORY_RUNS {
            self.problem(path, format!("`{most}` is out of range: from {LEAST_HISTORY_RUNS} is possible"), None);
        }
        most
    }

    /// Tells whether a URL is one of a server. It is never shown: it might hold a password.
    fn server(&mut self, path: &KeyPath, url: &str) -> bool {
        let example = || {
            Some(
                "write `postgres://USER@HOST/DATABASE?sslmode=verify-full`; a folder is named by `state_directory`"
                    .to_owned(),
            )
        };
        let rest = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let Some(rest) = rest else {
            self.problem(path, "is not the URL of a PostgreSQL server".to_owned(), example());
            return false;
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let parameters: Vec<(&str, &str)> = query
            .split('&')
            .filter(|text| !text.is_empty())
            .map(|text| text.split_once('=').unwrap_or((text, "")))
            .collect();
        let account = place.rsplit_once('@').map_or("", |(account, _)| account);
        if account.contains(':') || parameters.iter().any(|(key, _)| *key == "password") {
            let hint = "put it into a file of its own, and name that: `state_password_file = \"…\"`".to_owned();
            self.problem(path, "has a password in it, which everybody would see".to_owned(), Some(hint));
            return false;
        }
        let before = self.problems.len();
        if url.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#') {
            self.problem(path, "is not a URL".to_owned(), example());
        }
        if place.rsplit_once('/').is_none_or(|(_, database)| database.is_empty())
            && !parameters.iter().any(|(key, _)| *key == "dbname")
        {
            self.problem(path, "names no database".to_owned(), example());
        }
        let authority = place.rsplit_once('@').map_or(place, |(_, authority)| authority);
        let lists = [Some(authority.split('/').next().unwrap_or_default())].into_iter().chain(
            ["host", "port"].map(|key| parameters.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)),
        );
        let counts: Vec<usize> =
            lists.flatten().map(|list| list.split(',').count()).filter(|count| *count > 1).collect();
        if counts.iter().any(|count| *count != counts[0] || *count > MAX_HOSTS) {
            let hint = format!("name up to {MAX_HOSTS} hosts, and one port or one for each of them");
            self.problem(path, "has lists of hosts and ports that do not fit each other".to_owned(), Some(hint));
        }
        for (key, value) in parameters {
            if !PARAMETERS.contains(&key) {
                let hint = Some(format!("possible are {}", PARAMETERS.join(", ")));
                self.problem(path, format!("has an unknown parameter `{key}`"), hint);
            } else if key == "sslmode" && !SSL_MODES.contains(&value) {
                let hint = Some(format!("possible are {}", SSL_MODES.join(", ")));
                self.problem(path, format!("`sslmode={value}` is unknown, or does not tell what it comes to"), hint);
            }
        }
        self.problems.len() == before
    }
}

/// Returns where the store is as the configuration has it, whether or not it is right.
pub fn state(state: State, url: Option<String>, password_file: Option<PathBuf>) -> State {
    let postgres = url.map(|url| Postgres { url, password_file, replica: None });
    State { postgres, ..state }
}
