//! Webhooks in the configuration: never without a secret, a listener and a name of their own.

use std::os::unix::fs::PermissionsExt;

use firedrill::config::load;

use super::{refused, with_files};

const GOOD: &str = "\
[http]
listen = \"127.0.0.1:9810\"
[http.webhooks.github]
signature = \"github\"
secret_file = \"github.secret\"
";

#[test]
fn webhook_needs_a_signature_a_secret_a_listener_and_a_name_of_its_own() {
    let text = "\
[http.webhooks.deployments]
[http.webhooks.github]
signature = \"gitlab\"
secret_file = \"missing.secret\"
[http.webhooks.flux]
signature = \"flux\"
secret_file = \"empty.secret\"
[http.webhooks.short]
signature = \"flux\"
secret_file = \"short.secret\"
[queues.deployments]
url = \"https://sqs.eu-west-1.amazonaws.com/123456789012/deployments\"
";
    insta::assert_snapshot!(refused(&[("a.toml", text), ("empty.secret", "\n"), ("short.secret", "hunter2\r\n")], &[]), @"
    a.toml:1:1 http.webhooks.deployments: there is a queue `deployments` too: a source's name is one of all
    a.toml:1:1 http.webhooks.deployments.secret_file: is missing
    a.toml:1:1 http.webhooks.deployments.signature: is missing
    a.toml:1:7 http.webhooks: nothing would reach them: the agent has no listener
      hint: set `http.listen`, such as `0.0.0.0:9810`, and put TLS before it
    a.toml:3:13 http.webhooks.github.signature: `gitlab` is not one of `github` or `flux`
      hint: did you mean `github`?
    a.toml:4:15 http.webhooks.github.secret_file: `missing.secret`: there is no such file
    a.toml:7:15 http.webhooks.flux.secret_file: `empty.secret`: it is empty
    a.toml:10:15 http.webhooks.short.secret_file: `short.secret`: its secret has 7 bytes and could be guessed: take 32 random ones, at least 16
    ");
}

/// Loads a configuration with a secret in a file of this mode, and returns the warnings about the file.
fn doubts(secret: &str, mode: u32) -> Vec<String> {
    with_files(&[("a.toml", GOOD), ("github.secret", secret)], |folder| {
        let file = folder.join("github.secret");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("a mode");
        let loaded = load(folder, []).expect("a good configuration");
        assert!(!format!("{:?}", loaded.settings).contains(secret.trim()), "a secret is not shown");
        let warnings = loaded.warnings.iter().map(ToString::to_string).filter(|said| said.contains("github.secret"));
        warnings.map(|said| said.replace(&folder.display().to_string(), ".")).collect()
    })
}

#[test]
fn secret_that_others_read_is_warned_of() {
    assert_eq!(doubts("0f2a4b7c9d1e3f5a6b8c0d2e\n", 0o600), [""; 0]);
    insta::assert_snapshot!(doubts("0f2a4b7c9d1e3f5a6b8c0d2e\n", 0o644).join("\n"), @"./a.toml:5:15 http.webhooks.github.secret_file: `./github.secret`: everybody on this machine can read or change it (mode 644)");
}
