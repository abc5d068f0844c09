//! The simulator held against botocore's model of FIS, boto3 and the aws CLI, by the command that a user runs.

use std::process::Command;

use crate::support::{moto, repository};

/// Where the checks are, below the repository.
const CHECKS: &str = "tests/conformance/run";

#[test]
fn botocore_and_the_aws_cli_take_the_simulator_for_aws() {
    let venv = moto::python().ancestors().nth(2).expect("a virtual environment").to_owned();
    let output = Command::new(env!("CARGO_BIN_EXE_firedrill"))
        .args(["simulator", "--quiet", "--listen", "127.0.0.1:0", "--exec", CHECKS])
        .current_dir(repository())
        .env("FIREDRILL_TEST_VENV", venv)
        .output()
        .expect("the binary runs");
    let (said, problems) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{problems}", output.status);
    assert!(problems.contains("replies held against botocore's model"), "the checks did not run:\n{said}\n{problems}");
}
