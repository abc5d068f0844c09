//! One deployment, end to end and with parts that are not ours: CodeDeploy's event through moto's EventBridge and SQS,
//! credentials from moto's STS, the experiment on the simulator, and the AWS CLI to look at it.

use std::process::Command;

use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_sqs::types::QueueAttributeName;
use firedrill::domain::{
    ids::RUN_TAG,
    run::{Run, RunState},
};
use serde_json::{Value, json};

use crate::support::{
    agent::{Home, Said},
    eventually,
    moto::{Moto, sdk},
    otlp,
    stage::Stage,
    venv::aws_cli,
};

const ROLE: &str = "arn:aws:iam::123456789012:role/drill";
const KIND: &str = "CodeDeploy Deployment State-change Notification";

/// Creates a queue in moto that CodeDeploy's events are led to, and returns its URL.
async fn deployments(moto: &Moto) -> String {
    let config = sdk(moto.url());
    let sqs = aws_sdk_sqs::Client::new(&config);
    let queue = sqs.create_queue().queue_name("deployments").send().await.expect("a queue").queue_url.expect("a URL");
    let asked = sqs.get_queue_attributes().queue_url(&queue).attribute_names(QueueAttributeName::QueueArn);
    let attributes = asked.send().await.expect("attributes").attributes.expect("attributes");
    let events = aws_sdk_eventbridge::Client::new(&config);
    let pattern = json!({"source": ["aws.codedeploy"]}).to_string();
    events.put_rule().name("deployments").event_pattern(pattern).send().await.expect("a rule");
    let target = Target::builder().id("q").arn(&attributes[&QueueAttributeName::QueueArn]).build().expect("a target");
    events.put_targets().rule("deployments").targets(target).send().await.expect("a target");
    queue
}

async fn deploy(moto: &Moto, state: &str) {
    let detail = json!({
        "region": "eu-central-1", "deploymentId": "d-TV0QEXAMPLE", "instanceGroupId": "9fd2fbef-2157-40d8-91e7-6845af69e2d2",
        "state": state, "application": "checkout", "deploymentGroup": "pre-production",
    });
    let entry = PutEventsRequestEntry::builder().source("aws.codedeploy").detail_type(KIND).detail(detail.to_string());
    let events = aws_sdk_eventbridge::Client::new(&sdk(moto.url()));
    let put = events.put_events().entries(entry.build()).send().await.expect("put");
    assert_eq!(put.failed_entry_count, 0);
}

fn rules(moto: &Moto, queue: &str, template: &str) -> String {
    format!(
        "[queues.deployments]\nurl = \"{queue}\"\nregion = \"eu-central-1\"\nendpoint_url = \"{}\"\n\
         [experiments.checkout]\ntemplate = \"{template}\"\nrole_arn = \"{ROLE}\"\n[[experiments.checkout.triggers]]\n\
         pattern = {{ source = [\"aws.codedeploy\"], detail = {{ state = [\"SUCCESS\"], application = [\"checkout\"] }} }}\n",
        moto.url()
    )
}

fn get_experiment(stage: &Stage, id: &str) -> Value {
    let mut command = Command::new(aws_cli());
    command
        .args(["fis", "get-experiment", "--id", id, "--endpoint-url", &stage.url(), "--region", "us-east-1"])
        .args(["--output", "json"])
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test");
    let said = Said::by(&mut command);
    assert_eq!(said.code, 0, "{said:?}");
    serde_json::from_str(&said.stdout).expect("JSON")
}

#[test]
fn codedeploy_event_runs_the_experiment_that_the_aws_cli_shows() {
    let (stage, moto) = (Stage::start(600.0), Moto::start());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let queue = runtime.block_on(deployments(&moto));
    let template = stage.template(&[("first", "PT1M", &[]), ("second", "PT1M", &["first"])]);
    let mut home = Home::new(&stage.url(), &rules(&moto, &queue, &template));
    home.set("AWS_ENDPOINT_URL_STS", moto.url());
    let _agent = home.agent();
    runtime.block_on(async {
        deploy(&moto, "FAILURE").await;
        deploy(&moto, "SUCCESS").await;
    });
    let run = home.wait_for("the end of the run", Run::is_over);
    assert!(matches!(run.state, RunState::Finished { .. }), "{run:#?}");
    let shown = get_experiment(&stage, &run.fis.as_ref().expect("an experiment").id);
    let experiment = &shown["experiment"];
    assert_eq!(experiment["tags"][RUN_TAG], json!(run.id));
    assert_eq!(experiment["state"]["status"], "completed");
    assert_eq!(experiment["actions"]["second"]["state"]["status"], "completed");
    assert_eq!((home.runs().len(), stage.experiments().len()), (1, 1));
}

#[test]
fn without_the_role_nothing_is_asked_of_fis() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let mut home =
        Home::new(&stage.url(), &format!("[experiments.drill]\ntemplate = \"{template}\"\nrole_arn = \"{ROLE}\"\n"));
    home.set("AWS_ENDPOINT_URL_STS", &otlp::refused_url());
    let _agent = home.agent();
    home.json(&["start", "drill"]);
    eventually("a run held for want of credentials", || {
        let run = home.runs().pop()?;
        let RunState::Held { reason, .. } = &run.state else { return None };
        format!("{reason:?}").contains("Credentials").then_some(())
    });
    assert!(stage.experiments().is_empty());
}
