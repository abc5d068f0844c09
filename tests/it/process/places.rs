//! Places through the real binary: what somebody else did to the account is asked before each start, and holds it.

use firedrill::{
    aws::place::is_of_aws,
    domain::run::{HoldReason, Run, RunState, SkipReason},
};
use serde_json::json;

use crate::support::{agent::Home, eventually, keys::Keys, stage::Stage};

/// A simulator, and an agent's home with an experiment `drill`.
fn scene(tables: &str) -> (Stage, Home) {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT10H", &[])]);
    let home = Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\n{tables}"));
    (stage, home)
}

fn is_running(run: &Run) -> bool {
    matches!(run.state, RunState::Running { .. })
}

fn skipped(run: &Run) -> Option<&SkipReason> {
    match &run.state {
        RunState::Skipped { reason, .. } => Some(reason),
        _ => None,
    }
}

fn held(run: &Run) -> Option<&HoldReason> {
    match &run.state {
        RunState::Held { reason, .. } => Some(reason),
        _ => None,
    }
}

#[test]
fn endpoint_of_aws_is_known_in_every_partition_and_a_simulators_is_none() {
    for host in [
        "fis.eu-west-1.amazonaws.com",
        "fis-fips.us-gov-west-1.amazonaws.com",
        "fis.eu-west-1.api.aws",
        "fis.cn-north-1.amazonaws.com.cn",
        "fis.cn-north-1.api.amazonwebservices.com.cn",
        "fis.eusc-de-east-1.amazonaws.eu",
        "fis.us-iso-east-1.c2s.ic.gov",
        "fis.us-isob-east-1.sc2s.sgov.gov",
        "vpce-1.fis.eu-west-1.vpce.amazonaws.com.",
        "FIS.EU-WEST-1.API.AWS",
    ] {
        assert!(is_of_aws(host), "{host}");
    }
    for host in
        ["", "127.0.0.1", "localhost", "amazonaws.com", "fis.notamazonaws.com", "api.aws.example.org", "my-api.aws"]
    {
        assert!(!is_of_aws(host), "{host}");
    }
}

#[test]
fn nothing_starts_while_somebody_else_holds_the_safety_lever() {
    let (stage, home) = scene("");
    let agent = home.agent();
    stage.pull("engaged", "incident 7");
    home.json(&["start", "drill"]);
    let run = home.wait_for("a run that is over", Run::is_over);
    let told = skipped(&run).expect("it is skipped").to_string();
    assert!(told == "the safety lever is engaged: incident 7" || told == "the safety lever is engaging: incident 7");
    assert!(stage.experiments().is_empty());
    stage.pull("disengaged", "over");
    home.json(&["start", "drill"]);
    home.wait_for("a run that goes on", is_running);
    assert_eq!(stage.experiments().len(), 1);
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn lever_that_may_not_be_read_forbids_starts_and_names_the_permission() {
    let (stage, home) = scene("");
    stage.fault("GetSafetyLever", "denied", 1);
    let agent = home.agent();
    home.json(&["start", "drill"]);
    let run = home.wait_for("a run that waits", |run| held(run).is_some());
    assert!(stage.experiments().is_empty());
    let told = held(&run).expect("it waits").to_string();
    assert!(told.ends_with("; allow the agent `fis:GetSafetyLever`"), "{told}");
    home.wait_for("a run that goes on", is_running);
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn nothing_starts_with_credentials_of_another_account_and_the_status_says_so() {
    let (stage, mut home) = scene("");
    home.set("FIREDRILL__AWS__ALLOWED_ACCOUNTS", "[\"210987654321\"]");
    let agent = home.agent();
    home.json(&["start", "drill"]);
    let run = home.wait_for("a run that is over", Run::is_over);
    let told = skipped(&run).expect("it is skipped").to_string();
    assert_eq!(told, "account 123456789012, Region us-east-1: nothing may start there");
    assert!(stage.experiments().is_empty());
    let status = eventually("an identity in the status", || {
        home.json(&["status"])["identities"]["us-east-1"].as_str().map(str::to_owned)
    });
    assert_eq!(status, "account 123456789012, Region us-east-1: NOT ALLOWED, nothing starts there");
    home.wait_for_log("nothing starts there");
    assert_eq!(agent.terminate(), 0);
}

/// Nobody asks whose credentials are as long as they are the same ones.
#[test]
fn new_credentials_are_asked_for_their_account_again() {
    let (stage, mut home) = scene("");
    let keys = Keys::start();
    keys.rotate("ASIAFIRST");
    home.set("FIREDRILL__AWS__ALLOWED_ACCOUNTS", "[\"123456789012\"]");
    home.set("AWS_ACCESS_KEY_ID", "");
    home.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/container", keys.url()));
    let identity = || home.json(&["status"])["identities"]["us-east-1"].as_str().map(str::to_owned);
    let agent = home.agent();
    assert_eq!(eventually("an identity in the status", identity), "account 123456789012, Region us-east-1");
    home.json(&["start", "drill"]);
    home.wait_for("a run that goes on", is_running);
    // Its experiment is polled, each time with what the credentials are by then.
    keys.rotate(&stage.key_of("210987654321"));
    let denied = "account 210987654321, Region us-east-1: NOT ALLOWED, nothing starts there";
    eventually("another identity", || (identity()? == denied).then_some(()));
    home.wait_for_log("credentials are of an account or Region that is not allowed: nothing starts there");
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn run_waits_while_others_use_up_the_place() {
    let (stage, mut home) = scene("");
    home.set("FIREDRILL__AWS__MAX_ACTIVE_EXPERIMENTS", "1");
    let template = stage.template(&[("other", "PT10H", &[])]);
    stage.start_as_somebody_else(&template);
    let agent = home.agent();
    home.json(&["start", "drill"]);
    let run = home.wait_for("a run that waits", |run| held(run).is_some());
    assert_eq!(
        held(&run).expect("it waits").to_string(),
        "1 of at most 1 experiments are active in its account and Region"
    );
    assert_eq!(stage.experiments().len(), 1);
    assert_eq!(agent.terminate(), 0);
}

#[test]
fn run_waits_until_its_alarms_are_ok() {
    let (stage, home) = scene("[experiments.drill.health]\nalarms = [\"errors\"]\n");
    let agent = home.agent();
    let waits = |told: &str| {
        home.json(&["start", "drill"]);
        let run = home.wait_for("a run that waits", |run| held(run).is_some());
        assert_eq!(held(&run).expect("it waits").to_string(), told);
        home.json(&["stop", run.id.as_str()]);
        home.wait_for("a run that is over", |other| other.id == run.id && other.is_over());
    };
    waits("alarm `errors` is missing");
    let alarm = json!({
        "AlarmName": "errors", "Namespace": "shop", "MetricName": "errors", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    stage.call("GraniteServiceVersion20100801.PutMetricAlarm", &alarm);
    waits("alarm `errors` is INSUFFICIENT_DATA");
    let set = |state: &str| {
        let state = json!({"AlarmName": "errors", "StateValue": state, "StateReason": "a test"});
        stage.call("GraniteServiceVersion20100801.SetAlarmState", &state);
    };
    set("ALARM");
    waits("alarm `errors` is ALARM");
    assert!(stage.experiments().is_empty());
    set("OK");
    home.json(&["start", "drill"]);
    home.wait_for("a run that goes on", is_running);
    assert_eq!(agent.terminate(), 0);
}
