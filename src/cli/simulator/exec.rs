//! The command of `--exec`: it finds the simulator in its environment, and nothing of it is left when it has ended.

use std::{
    ffi::OsString,
    io::IsTerminal,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use tokio::process::Command;

use super::Signals;
use crate::{
    cli::exit::{Exit, Failure},
    simulator::{ACCESS_KEY, SECRET_KEY},
};

/// Variables of AWS's that say how a client behaves and not whom it calls; all others are kept from the command.
const HARMLESS: [&str; 5] =
    ["AWS_PAGER", "AWS_DEFAULT_OUTPUT", "AWS_RETRY_MODE", "AWS_MAX_ATTEMPTS", "AWS_CLI_AUTO_PROMPT"];
/// Names of this machine that no proxy can reach.
const NO_PROXY: &str = "127.0.0.1,localhost,::1";

/// Where the simulator is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Endpoint URL.
    pub url: &'a str,
    /// Region.
    pub region: &'a str,
}

/// Runs a command with `sh -c` in a process group of its own, and passes signals on to it. A second signal kills it.
///
/// # Errors
/// When there is no shell.
pub async fn run(command: &str, place: Place<'_>, signals: &mut Signals) -> Result<Exit, Failure> {
    let mut child = prepared(command, place)
        .spawn()
        .context("could not run sh for the command of --exec")
        .map_err(Failure::internal)?;
    let group = child.id();
    let mut told = false;
    let ended = loop {
        tokio::select! {
            biased;
            ended = child.wait() => break ended,
            signal = signals.next() => {
                send(if told { "KILL" } else { signal }, group).await;
                told = true;
            }
        }
    };
    // What the command left in the background goes with it.
    send("KILL", group).await;
    Ok(Exit::Command(code(ended.map_err(|error| Failure::internal(error.into()))?)))
}

fn prepared(command: &str, place: Place<'_>) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).process_group(0).kill_on_drop(true);
    if std::io::stdin().is_terminal() {
        // A group in the background that reads from a terminal is halted, for ever.
        shell.stdin(Stdio::null());
    }
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("AWS_") && !HARMLESS.contains(&text.as_ref()) {
            shell.env_remove(&name);
        }
    }
    for name in ["NO_PROXY", "no_proxy"] {
        let mut hosts = OsString::from(NO_PROXY);
        if let Some(set) = std::env::var_os(name).filter(|set| !set.is_empty()) {
            hosts.push(",");
            hosts.push(set);
        }
        shell.env(name, hosts);
    }
    shell.envs([
        ("AWS_ENDPOINT_URL", place.url),
        ("AWS_REGION", place.region),
        ("AWS_DEFAULT_REGION", place.region),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ]);
    shell
}

/// Sends a signal to a process group; that there is none any more is the best case.
async fn send(signal: &str, group: Option<u32>) {
    let Some(group) = group else { return };
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -s \"$0\" -- \"-$1\"", signal, &group.to_string()]);
    let _gone = kill.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
}

/// The code of an end, 128 and the signal's number for a violent one, as shells have it.
fn code(ended: ExitStatus) -> u8 {
    let code = ended.code().or_else(|| ended.signal().map(|signal| signal.saturating_add(128)));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}
