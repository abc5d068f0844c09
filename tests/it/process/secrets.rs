//! Canaries: no secret that the agent is given shows up in what it says, sends on, answers or stores, whatever goes wrong
//! and however much it is told to log.
//!
//! What is searched: its log at `trace`, everything over OTLP, every file of the state directory while its write-ahead log is
//! there, run events on the bus, answers of the socket and the port, what the commands print, and `Debug` of the settings.

mod database;
mod whole;

use std::{io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use base64::prelude::{BASE64_STANDARD, Engine};
use firedrill::domain::run::{Run, RunState};

use crate::support::{
    agent::Home,
    eventually,
    keys::{CANARY, Keys},
    otlp::Collector,
    stage::Stage,
};

/// What is searched, by where it was found.
#[derive(Default)]
struct Outputs(Vec<(String, Vec<u8>)>);

impl Outputs {
    fn add(&mut self, from: impl Into<String>, output: impl Into<Vec<u8>>) {
        self.0.push((from.into(), output.into()));
    }

    fn add_folder(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            // A socket cannot be read.
            if let Ok(bytes) = std::fs::read(&path) {
                self.add(path.display().to_string(), bytes);
            }
        }
    }

    /// Runs commands and keeps what they print.
    fn add_commands(&mut self, home: &Home, commands: &[&[&str]]) {
        for command in commands {
            for more in [&[][..], &["-o", "json"]] {
                let said = home.run(&[command, more].concat());
                self.add(format!("{command:?}"), format!("{}\n{}", said.stdout, said.stderr));
            }
        }
    }

    fn add_collected(&mut self, collector: &Collector) {
        let (spans, metrics) = (collector.spans(), collector.metrics());
        assert!(!spans.is_empty() && !metrics.is_empty(), "nothing arrived");
        self.add("spans", format!("{spans:?}"));
        self.add("metrics", format!("{metrics:?}"));
        self.add("logs", format!("{:?}", collector.logs()));
        self.add("resources", format!("{:?}", collector.resources()));
    }

    /// Fails where a text is in any of its spellings.
    #[track_caller]
    fn lack(&self, text: &str) {
        let spellings = spellings(text);
        for (from, output) in &self.0 {
            for spelling in &spellings {
                let found = output.windows(spelling.len()).position(|window| window == spelling.as_bytes());
                if let Some(at) = found {
                    let shown = &output[at.saturating_sub(600)..output.len().min(at + 100)];
                    panic!("`{text}` as `{spelling}` in {from}: …{}…", String::from_utf8_lossy(shown));
                }
            }
        }
    }

    /// As [`Outputs::lack`], for what the store may keep and show but nobody else.
    fn logged(self) -> Self {
        let is_log = |from: &str| ["log", "logs", "spans", "metrics", "resources"].contains(&from);
        Self(self.0.into_iter().filter(|(from, _)| is_log(from)).collect())
    }
}

/// A text as it is, in hexadecimal digits, as `Debug` writes bytes, and as it looks inside of Base64.
fn spellings(text: &str) -> Vec<String> {
    let bytes = text.as_bytes();
    let decimal: Vec<String> = bytes.iter().map(ToString::to_string).collect();
    let mut spellings =
        vec![text.to_owned(), bytes.iter().map(|byte| format!("{byte:02x}")).collect(), decimal.join(", ")];
    for before in 0..3 {
        let encoded = BASE64_STANDARD.encode(format!("{}{text}", &"xx"[..before.min(2)]));
        // Characters at the ends also depend on what stands beside.
        let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
        spellings.push(encoded[from..to].to_owned());
    }
    spellings
}

#[test]
fn canaries_are_found_in_every_spelling() {
    let secret = format!("{CANARY}x");
    let basic = |user: &str| BASE64_STANDARD.encode(format!("{user}:{secret}"));
    let hex: String = secret.bytes().map(|byte| format!("{byte:02X}").to_lowercase()).collect();
    for output in [secret.clone(), format!("{:?}", secret.as_bytes()), basic("a"), basic("ab"), basic("abc"), hex] {
        let mut outputs = Outputs::default();
        outputs.add("log", output.clone());
        let found = std::panic::catch_unwind(|| outputs.lack(CANARY));
        assert!(found.is_err(), "{output}");
    }
}

/// Tables that every home has: everything is logged, one experiment runs with the agent's credentials and one with a role's.
fn tables(template: &str) -> String {
    format!(
        "[telemetry]\nlog_filter = \"trace\"\nmetric_interval = \"1s\"\n\
         [experiments.plain]\ntemplate = \"{template}\"\n\
         [experiments.role]\ntemplate = \"{template}\"\nrole_arn = \"arn:aws:iam::123456789012:role/x\"\n"
    )
}

fn write(path: &Path, text: &str, mode: u32) {
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(mode).open(path).expect("a file");
    file.write_all(text.as_bytes()).expect("a write");
}

/// What becomes of the run that needs the credentials.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Credentials {
    /// They are had; this is heard on the wire, so they were used.
    Had(&'static str),
    /// They are not.
    Wanting,
}

/// Starts an agent whose credentials come from a profile or from variables (`KEYS` stands for the server that hands some
/// out, `HOME` for the folder), lets it run one experiment with them and one with a role, and searches everything.
fn check_source(variables: &[(&str, &str)], expected: Credentials) {
    let (stage, keys) = (Stage::start(600.0), Keys::start());
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let mut home = Home::new(&stage.url(), &tables(&template));
    let folder = home.path().display().to_string();
    for (name, value) in [("AWS_ENDPOINT_URL_STS", "KEYS"), ("AWS_ENDPOINT_URL_SSO", "KEYS"), ("AWS_ACCESS_KEY_ID", "")]
        .iter()
        .chain(variables)
    {
        home.set(name, &value.replace("KEYS", keys.url()).replace("HOME", &folder));
    }
    write_profiles(&home);
    let agent = home.agent();
    for experiment in ["plain", "role"] {
        home.json(&["start", experiment]);
    }
    match expected {
        Credentials::Had(heard) => {
            eventually("both runs", || (home.runs().iter().filter(|run| run.is_over()).count() == 2).then_some(()));
            assert_eq!(stage.experiments().len(), 2, "{:#?}", home.runs());
            assert!(keys.heard().contains(heard), "{heard}: {}", keys.heard());
        }
        Credentials::Wanting => {
            let held = |run: &Run| matches!(&run.state, RunState::Held { .. });
            home.wait_for("a run without credentials", held);
        }
    }
    let mut outputs = Outputs::default();
    outputs.add_commands(&home, &[&["status"], &["runs"], &["why", "plain"], &["why", "role"], &["check"]]);
    outputs.add_folder(&home.state());
    assert_eq!(agent.terminate(), 0);
    outputs.add("log", home.log());
    assert!(home.log().contains("DEBUG aws_"), "others log too");
    outputs.lack(CANARY);
}

/// Profiles of every kind, with the files that they need.
fn write_profiles(home: &Home) {
    let folder = home.path().join(".aws");
    let script = |name: &str, text: &str| {
        let path = home.path().join(name);
        write(&path, &format!("#!/bin/sh\n{text}\n"), 0o700);
        path.display().to_string()
    };
    let good = script(
        "good",
        "echo '{\"Version\": 1, \"AccessKeyId\": \"ASIAPROCESS\", \"SecretAccessKey\": \"canary0processsecret\", \
         \"SessionToken\": \"canary0processtoken\", \"Expiration\": \"2036-01-01T00:00:00Z\"}'; echo canary0chatter >&2",
    );
    let broken = script("broken", "echo '{\"Version\": 1, \"SecretAccessKey\": \"canary0broken\"'");
    let failing = script("failing", "echo '{\"SecretAccessKey\": \"canary0out\"}'; echo canary0err >&2; exit 3");
    let profiles = format!(
        "[profile fixed]\naws_access_key_id=AKIAFIXED\naws_secret_access_key=canary0fixedsecret\n\
         aws_session_token=canary0fixedtoken\n\
         [profile chained]\nrole_arn=arn:aws:iam::123456789012:role/first\nsource_profile=fixed\n\
         [profile good]\ncredential_process={good} --password canary0argument\n\
         [profile broken]\ncredential_process={broken} --password canary0argument\n\
         [profile failing]\ncredential_process={failing} --password canary0argument\n\
         [profile identity]\nsso_session=drill\nsso_account_id=123456789012\nsso_role_name=x\n\
         [sso-session drill]\nsso_region=us-east-1\nsso_start_url=https://d-1234567890.awsapps.com/start\n"
    );
    write(&folder.join("config"), &profiles, 0o600);
    write(&home.path().join("malformed"), "[default]\naws_secret_access_key canary0malformed\n", 0o600);
    write(&home.path().join("web-identity"), "canary0webidentity", 0o600);
    // The file's name is the SHA-1 of the session's.
    let cached = "{\"accessToken\": \"canary0access\", \"refreshToken\": \"canary0refresh\", \"clientId\": \"c\", \
                  \"clientSecret\": \"canary0client\", \"registrationExpiresAt\": \"2036-01-01T00:00:00Z\", \
                  \"expiresAt\": \"2036-01-01T00:00:00Z\", \"region\": \"us-east-1\", \
                  \"startUrl\": \"https://d-1234567890.awsapps.com/start\"}";
    write(&folder.join("sso/cache/12e014092855ffa74e381ebd16531ccd486f7b85.json"), cached, 0o600);
}

#[test]
fn credentials_of_variables_stay_secret() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKIAVARIABLE"),
        ("AWS_SECRET_ACCESS_KEY", "canary0variablesecret"),
        ("AWS_SESSION_TOKEN", "canary0variabletoken"),
    ];
    check_source(&variables, Credentials::Had("canary0variabletoken"));
}

#[test]
fn credentials_of_a_profile_stay_secret() {
    check_source(&[("AWS_PROFILE", "fixed")], Credentials::Had("canary0fixedtoken"));
}

#[test]
fn credentials_of_a_chain_of_roles_stay_secret() {
    check_source(&[("AWS_PROFILE", "chained")], Credentials::Had("canary0roletoken"));
}

#[test]
fn credentials_of_a_process_stay_secret() {
    check_source(&[("AWS_PROFILE", "good")], Credentials::Had("canary0processtoken"));
}

#[test]
fn credentials_of_a_container_stay_secret() {
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "KEYS/container"),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "canary0containerauthorization"),
    ];
    check_source(&variables, Credentials::Had("canary0containerauthorization"));
}

#[test]
fn credentials_of_a_web_identity_stay_secret() {
    let variables =
        [("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod"), ("AWS_WEB_IDENTITY_TOKEN_FILE", "HOME/web-identity")];
    check_source(&variables, Credentials::Had("canary0webidentity"));
}

#[test]
fn credentials_of_identity_center_stay_secret() {
    check_source(&[("AWS_PROFILE", "identity")], Credentials::Had("canary0access"));
}

#[test]
fn process_that_fails_or_says_nonsense_is_not_quoted() {
    check_source(&[("AWS_PROFILE", "broken")], Credentials::Wanting);
    check_source(&[("AWS_PROFILE", "failing")], Credentials::Wanting);
}

#[test]
fn credentials_file_that_cannot_be_read_is_not_quoted() {
    check_source(&[("AWS_SHARED_CREDENTIALS_FILE", "HOME/malformed")], Credentials::Wanting);
}
