//! The simulator held against botocore's models of FIS, SQS, EventBridge and SSM, and against boto3 and the aws CLI for all
//! services, by the command that a user runs.

use crate::support::{
    agent::{Home, Said},
    repository,
    venv::python,
};

/// Where the checks are, below the repository.
const CHECKS: &str = "tests/conformance/run";

#[test]
fn botocore_and_the_aws_cli_take_the_simulator_for_aws() {
    let venv = python().ancestors().nth(2).expect("a virtual environment").to_owned();
    let home = Home::new("http://127.0.0.1:9", "");
    let mut command = home.command(&["simulator", "--quiet", "--listen", "127.0.0.1:0", "--exec", CHECKS]);
    let said = Said::by(command.current_dir(repository()).env("FIREDRILL_TEST_VENV", venv));
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
    assert!(said.stderr.contains("replies held against botocore's models"), "the checks did not run: {said:?}");
}
