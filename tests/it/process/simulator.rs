//! `firedrill simulator` as people run it: alone, and for a command.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{
    PATIENCE,
    agent::{Agent, Home, Said},
    eventually,
    venv::{aws_cli, python},
};

fn home() -> Home {
    Home::new("http://127.0.0.1:9", "")
}

/// Runs the simulator for a command on a free port.
fn exec(home: &Home, switches: &[&str], command: &str) -> Said {
    home.run(&[&["simulator", "--listen", "127.0.0.1:0", "--exec", command], switches].concat())
}

/// Tells whether a process of this id is there.
fn lives(id: &str) -> bool {
    let said = Command::new("sh").args(["-c", "kill -s 0 \"$0\"", id]).stderr(Stdio::null()).status();
    said.expect("a shell").success()
}

#[test]
fn a_command_finds_the_simulator_and_its_code_is_passed_on() {
    let mut home = home();
    for (name, value) in [
        ("AWS_PROFILE", "production"),
        ("AWS_SESSION_TOKEN", "secret"),
        ("AWS_ENDPOINT_URL_FIS", "http://example.com"),
        ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"),
        ("AWS_PAGER", "cat"),
        ("NO_PROXY", "example.com"),
    ] {
        home.set(name, value);
    }
    let said = exec(&home, &["--region", "eu-west-1", "--quiet"], "env; exit 7");
    assert_eq!((said.code, said.stderr.as_str()), (7, ""), "{said:?}");
    let mut aws: Vec<&str> =
        said.stdout.lines().filter(|line| line.starts_with("AWS_") || line.starts_with("NO_PROXY")).collect();
    aws.sort_unstable();
    let endpoint = aws.iter().position(|line| line.starts_with("AWS_ENDPOINT_URL=http://127.0.0.1:"));
    aws.remove(endpoint.expect("an endpoint"));
    assert_eq!(
        aws,
        [
            "AWS_ACCESS_KEY_ID=simulator",
            "AWS_DEFAULT_REGION=eu-west-1",
            "AWS_EC2_METADATA_DISABLED=true",
            "AWS_PAGER=cat",
            "AWS_REGION=eu-west-1",
            "AWS_SECRET_ACCESS_KEY=simulator",
            "NO_PROXY=127.0.0.1,localhost,::1,example.com",
        ]
    );
    for (command, code) in [("true", 0), ("false", 1), ("kill -s KILL $$", 137), ("no-such-command", 127)] {
        assert_eq!(exec(&home, &["--quiet"], command).code, code, "{command}");
    }
}

#[test]
fn what_the_aws_tools_sign_is_verified_and_told() {
    let home = home();
    let cli = aws_cli();
    let script = "\
import boto3, urllib.error, urllib.request
fis, sqs, events = (boto3.client(name) for name in ('fis', 'sqs', 'events'))
fis.get_action(id='aws:ec2:stop-instances')
arn = fis.create_experiment_template(description='d', roleArn='arn:aws:iam::123456789012:role/r',
    stopConditions=[{'source': 'none'}],
    actions={'w': {'actionId': 'aws:fis:wait', 'parameters': {'duration': 'PT1M'}}})['experimentTemplate']['arn']
fis.tag_resource(resourceArn=arn, tags={'a b/ü': 'c+d'})
fis.untag_resource(resourceArn=arn, tagKeys=['a b/ü', 'x=y'])
queue = sqs.create_queue(QueueName='q')['QueueUrl']
sqs.send_message(QueueUrl=queue, MessageBody='ü & % +')
assert sqs.receive_message(QueueUrl=queue)['Messages'][0]['Body'] == 'ü & % +'
assert 'Messages' not in sqs.receive_message(QueueUrl=queue)
assert events.list_event_buses()['EventBuses'][0]['Name'] == 'default'
open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
presigned = fis.generate_presigned_url('list_experiments', Params={'maxResults': 3})
assert open_url(presigned).status == 200
try:
    open_url(presigned.replace('maxResults=3', 'maxResults=4'))
    raise SystemExit('a changed query was taken')
except urllib.error.HTTPError as refused:
    assert refused.code == 403, refused
try:
    fis.get_experiment(id='EXPnone')
except fis.exceptions.ResourceNotFoundException:
    pass
";
    std::fs::write(home.path().join("calls.py"), script).expect("a file");
    let command = format!(
        "set -e; cd {home}; {python} calls.py; {cli} fis list-experiments --max-results 3 --output text\n\
         {cli} fis get-action --id aws:fis:wait --query action.id --output text\n\
         {cli} sqs list-queues --endpoint-url $AWS_ENDPOINT_URL --output text\n\
         AWS_SECRET_ACCESS_KEY=wrong {cli} fis list-experiments || echo refused",
        home = home.path().display(),
        python = python().display(),
        cli = cli.display()
    );
    let said = exec(&home, &["--verify-signatures"], &command);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("aws:fis:wait\n") && said.stdout.ends_with("refused\n"), "{said:?}");
    assert!(said.stderr.contains("(InvalidSignatureException)"), "{said:?}");
    let told: Vec<Vec<&str>> = said
        .stderr
        .lines()
        .filter(|line| line.ends_with(" ms") || line.contains(" ms  "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let tells = |status: &str, words: &[&str]| {
        told.iter().any(|line| line.get(1) == Some(&status) && words.iter().all(|word| line.contains(word)))
    };
    assert!(tells("200", &["GetAction", "aws:ec2:stop-instances", "ms"]), "{said:?}");
    assert!(tells("200", &["SendMessage", "q", "ms"]), "{said:?}");
    assert!(tells("404", &["GetExperiment", "EXPnone", "ResourceNotFoundException:"]), "{said:?}");
    assert!(tells("403", &["ListExperiments", "InvalidSignatureException:"]), "{said:?}");
    let receives = told.iter().filter(|line| line.contains(&"ReceiveMessage")).count();
    assert_eq!(receives, 1, "a receive that found nothing is not told: {said:?}");
}

#[test]
fn a_folder_of_logs_tells_an_experiment_from_start_to_end() {
    let home = home();
    let script = "\
import boto3, os, urllib.request
fis = boto3.client('fis')
wait = {'actionId': 'aws:fis:wait', 'parameters': {'duration': 'PT1M'}}
template = fis.create_experiment_template(clientToken='t', description='d', actions={'w': wait},
    roleArn='arn:aws:iam::123456789012:role/r', stopConditions=[{'source': 'none'}])['experimentTemplate']['id']
print(fis.start_experiment(experimentTemplateId=template)['experiment']['id'])
urllib.request.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_simulator/clock', data=b'{\"jump\": \"PT2M\"}')
";
    std::fs::write(home.path().join("calls.py"), script).expect("a file");
    let folder = home.path().join("logs/fis");
    let command = format!("{} {}/calls.py", python().display(), home.path().display());
    let said = exec(&home, &["--log-dir", &folder.display().to_string()], &command);
    assert_eq!(said.code, 0, "{said:?}");
    let id = said.stdout.trim();
    let log = std::fs::read_to_string(folder.join(format!("{id}.log"))).expect("a log of the experiment");
    let records: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect("a record is a line")).collect();
    let kinds: Vec<_> = records.iter().map(|record| record["log_type"].as_str().unwrap_or_default()).collect();
    assert_eq!(kinds, ["experiment-start", "action-start", "action-end", "experiment-end"]);
    let members = ["id", "log_type", "event_timestamp", "version", "details"];
    for record in &records {
        let own: Vec<_> = record.as_object().expect("an object").keys().map(String::as_str).collect();
        assert!(own.len() == members.len() && members.iter().all(|member| own.contains(member)), "{record}");
        assert_eq!(record["id"], *id);
    }
    assert_eq!(records[3]["details"]["experiment_state"]["status"], "completed", "{log}");
}

#[test]
fn nothing_of_a_command_is_left() {
    let home = home();
    let said = exec(&home, &["--quiet"], "sleep 600 >/dev/null 2>&1 & echo $!");
    assert_eq!(said.code, 0, "{said:?}");
    eventually("the end of what went to the background", || (!lives(said.stdout.trim())).then_some(()));
}

#[test]
fn signals_are_passed_on_to_the_command() {
    for (signal, trap, code) in [
        ("TERM", "trap 'kill $!; exit 3' TERM", 3),
        ("INT", "trap 'kill $!; exit 4' INT", 4),
        // A shell that traps nothing dies of it.
        ("TERM", "", 143),
        ("HUP", "", 129),
    ] {
        let home = home();
        let command = format!("{trap}\nsleep 600 & echo ready $$; wait");
        let mut child = home
            .command(&["simulator", "--listen", "127.0.0.1:0", "--quiet", "--exec", &command])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut simulator = Agent::wrap(child);
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let shell = line.trim().strip_prefix("ready ").expect("ready");
        simulator.signal(signal);
        assert_eq!(simulator.ends(PATIENCE).code(), Some(code), "{signal} {trap}");
        assert!(!lives(shell), "{signal} {trap}");
    }
}

#[test]
fn a_command_that_does_not_listen_is_killed_by_the_second_signal() {
    let home = home();
    let mut child = home
        .command(&["simulator", "--listen", "127.0.0.1:0", "--quiet", "--exec"])
        .arg("trap 'echo heard' TERM; echo ready; while :; do sleep 0.01; done")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let mut simulator = Agent::wrap(child);
    let mut next = || lines.next().expect("a line").expect("text");
    assert_eq!(next(), "ready");
    simulator.signal("TERM");
    assert_eq!(next(), "heard");
    assert!(simulator.is_running());
    simulator.signal("TERM");
    assert_eq!(simulator.ends(PATIENCE).code(), Some(137));
}

#[test]
fn alone_it_prints_a_line_to_paste_and_serves_until_told() {
    let home = home();
    let (mut simulator, paste) = home.simulator();
    assert!(paste.starts_with("export AWS_ENDPOINT_URL=http://127.0.0.1:"), "{paste}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{paste}; {} fis get-experiment --id EXPnone", aws_cli().display())]);
    let used = Said::by(shell.env("HOME", home.path()));
    assert!(used.stderr.contains("ResourceNotFoundException"), "{used:?}");
    simulator.signal("TERM");
    assert_eq!(simulator.ends(PATIENCE).code(), Some(0));
    let told = home.log();
    assert!(told.contains(" 404 GetExperiment EXPnone  "), "{told}");
}

#[test]
fn switches_that_make_no_sense_are_refused() {
    let home = home();
    let missing = home.path().join("missing.toml").display().to_string();
    for (switches, text) in [
        (["--account", "12"], "12 digits"),
        (["--account", "12345678901x"], "12 digits"),
        (["--region", "useast"], "like eu-west-1"),
        (["--region", "US-EAST-1"], "like eu-west-1"),
        (["--speed", "0"], "above zero"),
        (["--speed", "-1"], "above zero"),
        (["--speed", "NaN"], "above zero"),
        (["--listen", "0.0.0.0:0"], "loopback"),
        (["--listen", "localhost"], "invalid"),
        (["--choice", "stop-of-ended"], "looks like"),
        (["--choice", "stop-of-end=answer"], "did you mean `stop-of-ended`?"),
        (["--choice", "stop-of-ended=shrug"], "expected `refuse` or `answer`"),
        (["--choice", "initiating-seconds=-1"], "initiating-seconds"),
        (["--inventory", &missing], "missing.toml"),
        (["--log-dir", "/proc/none"], "/proc/none"),
    ] {
        let said = match switches {
            ["--listen", address] => home.run(&["simulator", "--listen", address]),
            _other => exec(&home, &switches, "true"),
        };
        assert_eq!(said.code, 2, "{switches:?}: {said:?}");
        assert!(said.stderr.contains(text) && said.stdout.is_empty(), "{switches:?}: {said:?}");
    }
    let good = ["--choice", "stop-of-ended=answer", "--choice", "initiating-seconds=0", "--account", "000000000001"];
    let cli = aws_cli();
    let template = format!(
        "{} fis create-experiment-template --description d --stop-conditions source=none --query \
         experimentTemplate.arn --output text --role-arn arn:aws:iam::123456789012:role/r --actions \
         '{{\"w\": {{\"actionId\": \"aws:fis:wait\", \"parameters\": {{\"duration\": \"PT1M\"}}}}}}'",
        cli.display()
    );
    let said = exec(&home, &good, &template);
    assert!(said.code == 0 && said.stdout.contains(":000000000001:experiment-template/"), "{said:?}");
}
