//! `firedrill queue export`: read by the tools it is for, deployed on moto, and then found to be what `apply` makes.

use std::process::Command;

use super::*;
use crate::support::venv::python;

/// Deploys a template.
const DEPLOY: &str = "\
import boto3, sys
aws = boto3.client('cloudformation', endpoint_url=sys.argv[1], region_name='us-east-1', aws_access_key_id='test', aws_secret_access_key='test')
aws.create_stack(StackName='queues', TemplateBody=open(sys.argv[2]).read())
status = aws.describe_stacks(StackName='queues')['Stacks'][0]['StackStatus']
assert status == 'CREATE_COMPLETE', status
";

/// Reads HCL and prints `type name` of each resource, and the expressions of the patterns.
const READ: &str = "\
import hcl2, sys
for resource in hcl2.load(open(sys.argv[1]))['resource']:
    for kind, named in resource.items():
        for name, body in named.items():
            print(kind.strip('\"'), name.strip('\"'), body.get('event_pattern', ''))
";

fn python_says(script: &str, arguments: &[&str]) -> String {
    let said = Said::by(Command::new(python()).args(["-c", script]).args(arguments));
    assert_eq!(said.code, 0, "{said:?}");
    said.stdout
}

/// Two queues, one of them FIFO on a bus of its own, and a pattern with all that has to be escaped.
fn tables(cloud: &Cloud) -> String {
    let more = format!(
        "[queues.\"or.ders\"]\nurl = \"{}\"\nprovision = {{ bus = \"own\", kms_key = \"alias/own\" }}\n",
        cloud.queue_url("orders.fifo")
    );
    let odd = "[[experiments.drill.triggers]]\npattern = { source = [\"odd\"], detail = { s = [\"${x} %{y} \\\"\\\\\\n\\u0007ü\", 1.5] } }\n";
    format!("{}{odd}{more}", cloud.tables("deployments", "", &["ci"]))
}

fn exported(home: &Home, format: &str, file: &str) -> String {
    let said = home.run(&["queue", "export", "--format", format]);
    assert_eq!(said.code, 0, "{said:?}");
    let path = home.path().join(file);
    std::fs::write(&path, said.stdout).expect("a file");
    path.display().to_string()
}

#[test]
fn cloudformation_passes_its_linter_deploys_and_is_what_apply_makes() {
    let moto = Moto::start();
    let cloud = Cloud::at(moto.url());
    cloud.runtime.block_on(cloud.events.create_event_bus().name("own").send()).expect("a bus");
    let home = Home::new(moto.url(), &tables(&cloud));
    let path = exported(&home, "cloudformation", "queues.json");
    let lint = Said::by(Command::new(python().with_file_name("cfn-lint")).arg(&path));
    assert_eq!((lint.code, lint.stdout.as_str()), (0, ""), "{lint:?}");

    python_says(DEPLOY, &[moto.url(), &path]);
    let said = home.run(&["queue", "plan", "-o", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let changes = plan["queues"].as_array().expect("queues").iter().flat_map(|queue| queue["changes"].as_array());
    let details: Vec<&Value> = changes.flatten().flat_map(|c| c["details"].as_array()).flatten().collect();
    // moto does not know AWS::SQS::QueuePolicy, and makes nothing of it.
    assert_eq!(details.len(), 4, "{plan:#}");
    assert!(details.iter().all(|detail| detail["name"] == "Policy" && detail["old"].is_null()), "{plan:#}");

    cloud.put("ci", r#"{"s": "ok"}"#);
    cloud.put("odd", r#"{"s": "${x} %{y} \"\\\n\u0007ü"}"#);
    cloud.put("odd", r#"{"s": "x"}"#);
    assert_eq!(cloud.bodies(&cloud.queue_url("deployments")).len(), 2);
}

#[test]
fn terraform_is_hcl_with_every_resource() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = Home::new(&stage.url(), &tables(&cloud));
    let path = exported(&home, "terraform", "queues.tf");
    let read = python_says(READ, &[&path]);
    let kinds = |kind: &str| read.lines().filter(|line| line.split(' ').next() == Some(kind)).count();
    assert_eq!((kinds("aws_sqs_queue"), kinds("aws_sqs_queue_policy")), (4, 4), "{read}");
    // FIS's events are on the default bus only.
    assert_eq!((kinds("aws_cloudwatch_event_rule"), kinds("aws_cloudwatch_event_target")), (5, 5), "{read}");
    assert!(read.contains(r#"["$${x} %%{y} \"\\\n\u0007ü", 1.5]"#) || read.contains(r"$${x} %%{y}"), "{read}");
    let names: BTreeSet<&str> = read.lines().map(|line| line.split(' ').nth(1).expect("a name")).collect();
    assert_eq!(names.len(), 4 + 5, "{read}");
    let text = std::fs::read_to_string(&path).expect("the file");
    for name in names {
        assert!(text.contains(&format!(".{name}.")), "nothing refers to {name}");
    }
}

#[test]
fn export_calls_nobody_and_refuses_what_apply_would() {
    let nowhere = Cloud::at("http://127.0.0.1:9");
    let home = nowhere.home("deployments", "", &["ci"]);
    exits(&home.run(&["queue", "export", "--format", "terraform"]), 0, "aws_sqs_queue");
    exits(&home.run(&["queue", "export", "--format", "terraform", "other"]), 4, "there is no queue `other`");
    let long = "x".repeat(3_000);
    home.configure(&nowhere.tables("deployments", "", &[&long]));
    exits(&home.run(&["queue", "export", "--format", "cloudformation"]), 2, "a pattern has 3037 bytes");
}
