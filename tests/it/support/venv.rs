//! The tools that the tests run, most of them Python's: where `tests/run` installs them.

use std::path::PathBuf;

/// Finds the Python that moto, boto3 and the AWS CLI are installed for.
pub fn python() -> PathBuf {
    let below_target = || PathBuf::from(env!("CARGO_TARGET_TMPDIR")).with_file_name("venv");
    let venv = std::env::var_os("FIREDRILL_TEST_VENV").map_or_else(below_target, PathBuf::from);
    let python = venv.join("bin/python3");
    assert!(
        venv.join("bin/moto_server").exists() && python.exists(),
        "moto is not installed in {}: run `tests/run`, or set FIREDRILL_TEST_VENV to a virtual environment with it",
        venv.display()
    );
    python
}

/// Finds Prometheus's tool that checks alert rules, which `tests/run` puts beside Python.
pub fn promtool() -> PathBuf {
    let tool = python().with_file_name("promtool");
    assert!(tool.exists(), "promtool is not at {}: run `tests/run`", tool.display());
    tool
}

/// Finds the AWS CLI.
pub fn aws_cli() -> PathBuf {
    python().with_file_name("aws")
}
