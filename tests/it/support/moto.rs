//! SQS and EventBridge, played by moto on a loopback port (FIS is not: the simulator plays it).

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use aws_smithy_http_client::tls;

use super::venv::python;

/// Longest wait for a Python server to come up on a busy machine.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Serves on a port of the system's choice, and ends when its standard input does: it cannot outlive the test, even one
/// that is killed.
const SERVE: &str = "\
import os, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
from moto.server import main
main(['-H', '127.0.0.1', '-p', '0'])
";

/// What the server says before its address.
const READY: &str = "Running on ";

/// A running server; it ends when dropped.
pub struct Moto {
    server: Child,
    url: String,
}

impl Moto {
    /// Starts a server; panics with what to do when it is not installed.
    pub fn start() -> Self {
        let python = python();
        let mut server = Command::new(&python)
            .args(["-c", SERVE])
            .env_remove("MOTO_PORT")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not run ({error}): run `tests/run` once", python.display()));
        let lines = BufReader::new(server.stderr.take().expect("a pipe")).lines();
        let (tell, told) = mpsc::channel();
        // Reads to the end, or the server would block on a full pipe.
        std::thread::spawn(move || {
            let mut before = Vec::new();
            for line in lines.map_while(Result::ok) {
                if let Some((_, url)) = line.split_once(READY) {
                    // Only the first of them is waited for.
                    let _waited_for = tell.send(Ok(url.trim().to_owned()));
                } else if before.len() < 50 {
                    before.push(line);
                }
            }
            let _waited_for = tell.send(Err(before.join("\n")));
        });
        let told = told.recv_timeout(START_PATIENCE);
        match told {
            Ok(Ok(url)) => Self { server, url },
            other => {
                server.kill().expect("an end");
                panic!("moto does not start; run `tests/run`, which installs it: {other:?}");
            }
        }
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        self.server.kill().expect("an end");
        self.server.wait().expect("an end");
    }
}

/// Returns the configuration of SDK clients of a server.
pub fn sdk(url: &str) -> aws_config::SdkConfig {
    let client = aws_smithy_http_client::Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let credentials = aws_sdk_sqs::config::Credentials::new("test", "test", None, None, "test");
    aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-central-1"))
        .credentials_provider(aws_sdk_sqs::config::SharedCredentialsProvider::new(credentials))
        .http_client(client)
        .endpoint_url(url)
        .build()
}
