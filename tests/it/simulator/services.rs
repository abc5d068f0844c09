//! The services around FIS that have no client in Rust here: alarms, calendars and identities through boto3, and which
//! protocol a request is answered in.

use std::{process::Command, sync::LazyLock};

use aws_sdk_fis::types::CreateExperimentTemplateStopConditionInput;
use reqwest::header::{CONTENT_TYPE, HeaderMap};

use super::*;
use crate::support::venv::python;

/// What every script begins with; a script fills `seen`.
const PRELUDE: &str = r#"
import boto3, datetime, json, sys
from botocore.config import Config
from botocore.exceptions import ClientError
def client(service, key="key", secret="secret", token=None):
    return boto3.client(service, endpoint_url=sys.argv[1], region_name="us-east-1", aws_access_key_id=key,
        aws_secret_access_key=secret, aws_session_token=token, config=Config(retries={"total_max_attempts": 1}, parameter_validation=False))
def code(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]]
    return "ok"
seen = []
"#;

const ALARMS: &str = r#"
alarms = client("cloudwatch")
whole = dict(AlarmName="errors", MetricName="Errors", Namespace="App", Statistic="Sum", Period=60, EvaluationPeriods=1,
    Threshold=1.5, ComparisonOperator="GreaterThanThreshold", Dimensions=[{"Name": "Service", "Value": "shop"}])
seen.append(code(alarms.put_metric_alarm, **whole))
for name in ["errors-2", "latency"]:
    alarms.put_metric_alarm(**{**whole, "AlarmName": name})
[alarm] = alarms.describe_alarms(AlarmNames=["errors"])["MetricAlarms"]
seen.append([alarm["AlarmArn"], alarm["StateValue"], alarm["Threshold"], alarm["Period"], alarm["Dimensions"],
    type(alarm["StateUpdatedTimestamp"]).__name__])
seen.append(code(alarms.set_alarm_state, AlarmName="errors", StateValue="ALARM", StateReason="test"))
alarms.put_metric_alarm(**{**whole, "Threshold": 2})
[alarm] = alarms.describe_alarms(StateValue="ALARM")["MetricAlarms"]
seen.append([alarm["AlarmName"], alarm["Threshold"], alarm["StateReason"]])
pages = alarms.get_paginator("describe_alarms").paginate(AlarmNamePrefix="e", PaginationConfig={"PageSize": 1})
seen.append([[alarm["AlarmName"] for alarm in page["MetricAlarms"]] for page in pages])
seen.append(code(alarms.set_alarm_state, AlarmName="none", StateValue="OK", StateReason="test"))
seen.append(code(alarms.set_alarm_state, AlarmName="errors", StateValue="OK", StateReason="test", StateReasonData="{"))
seen.append(code(alarms.put_metric_alarm, AlarmName="half"))
seen.append(code(alarms.put_metric_alarm, **{**whole, "Period": 45}))
seen.append(code(alarms.delete_alarms, AlarmNames=["errors", "none"]))
seen.append(code(alarms.delete_alarms, AlarmNames=["errors", "errors-2"]))
seen.append([alarm["AlarmName"] for alarm in alarms.describe_alarms()["MetricAlarms"]])
"#;

const CALENDARS: &str = r#"
ssm = client("ssm")
def calendar(kind, event):
    return "\r\n".join(["BEGIN:VCALENDAR", "PRODID:-//AWS//Change Calendar 1.0//EN", "VERSION:2.0",
        "X-CALENDAR-TYPE:" + kind, "BEGIN:VTODO", "SUMMARY:Add events to this calendar.", "END:VTODO",
        "BEGIN:VEVENT", *event, "END:VEVENT", "END:VCALENDAR", ""])
def create(name, content, kind="ChangeCalendar", format="TEXT"):
    return code(ssm.create_document, Name=name, Content=content, DocumentType=kind, DocumentFormat=format)
freeze = calendar("DEFAULT_OPEN", ["DTSTART:20261124T000000Z", "DTEND:20261127T000000Z"])
hours = calendar("DEFAULT_CLOSED", ["DTSTART;TZID=Europe/Berlin:20260105T090000", "DURATION:PT8H",
    "RRULE:FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"])
seen.append([create("freeze", freeze), create("hours", hours), create("run", "{}", "Command", "JSON")])
def state(at, *names):
    answer = ssm.get_calendar_state(CalendarNames=list(names), AtTime=at)
    return [answer["State"], answer.get("NextTransitionTime")]
arn = "arn:aws:ssm:us-east-1:123456789012:document/hours"
seen.append(state("2026-11-23T12:00:00Z", "freeze"))
seen.append(state("2026-11-24T00:00:00Z", "freeze"))
seen.append(state("2026-11-27T00:00:00Z", "freeze"))
seen.append(state("2026-11-23T09:00:00+0100", arn))
seen.append(state("2026-11-23T07:59:59Z", arn))
seen.append(state("2026-11-23T20:00:00Z", "freeze", arn))
seen.append([code(ssm.get_calendar_state, CalendarNames=["none"]), code(ssm.get_calendar_state, CalendarNames=["run"])])
seen.append([create("freeze", freeze), create("bad", freeze.replace("END:VEVENT\r\n", "")), create("aws-x", freeze),
    create("often", calendar("DEFAULT_OPEN", ["DTSTART:20260101T000000Z", "DURATION:PT1S", "RRULE:FREQ=MINUTELY"]))])
seen.append(code(ssm.update_document, Name="freeze", Content=freeze, DocumentVersion="$LATEST"))
seen.append(code(ssm.update_document, Name="freeze", Content=freeze.replace("20261124", "20261125"), DocumentVersion="1"))
seen.append(state("2026-11-24T00:00:00Z", "freeze"))
document = ssm.get_document(Name="freeze", DocumentVersion="$LATEST")
seen.append([document["DocumentVersion"], document["DocumentType"], document["DocumentFormat"], "20261125" in document["Content"]])
seen.append([code(ssm.delete_document, Name="freeze"), code(ssm.get_document, Name="freeze")])
"#;

const IDENTITIES: &str = r#"
sts = client("sts")
seen.append(sts.get_caller_identity()["Arn"])
role = dict(RoleArn="arn:aws:iam::210987654321:role/team/drill", RoleSessionName="me", DurationSeconds=900)
before = datetime.datetime.now(datetime.timezone.utc)
answer = sts.assume_role(**role)
keys = answer["Credentials"]
seen.append([answer["AssumedRoleUser"]["Arn"], 890 < (keys["Expiration"] - before).total_seconds() < 1000])
assumed = client("sts", keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]).get_caller_identity()
seen.append([assumed["Arn"], assumed["Account"]])
seen.append([code(sts.assume_role, **{**role, "RoleArn": "arn:aws:iam::1:user/drill<&>"}),
    code(sts.assume_role, **{**role, "DurationSeconds": 60}), code(sts.get_session_token)])
"#;

/// Runs a script with the Python that has boto3, and compares what it saw.
async fn check(world: &World, script: &str, expected: Value) {
    let (url, script) = (world.simulator.url(), format!("{PRELUDE}{script}\nprint(json.dumps(seen))"));
    let run = tokio::task::spawn_blocking(move || {
        Command::new(python()).args(["-c", &script, &url]).output().expect("Python runs")
    });
    let output = run.await.expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(seen, expected, "{seen:#}");
}

#[test]
fn alarms_are_kept_through_cbor() {
    simulated(fast(), async |world| {
        let dimensions = json!([{"Name": "Service", "Value": "shop"}]);
        let arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors";
        let expected = json!([
            "ok",
            [arn, "INSUFFICIENT_DATA", 1.5, 60, dimensions, "datetime"],
            "ok",
            ["errors", 2, "test"],
            [["errors"], ["errors-2"]],
            ["ResourceNotFound", 404],
            ["InvalidFormat", 400],
            ["ValidationError", 400],
            ["ValidationError", 400],
            ["ResourceNotFound", 404],
            "ok",
            ["latency"],
        ]);
        check(&world, ALARMS, expected).await;
        world
    });
}

#[test]
fn calendars_are_open_when_all_are() {
    simulated(fast(), async |world| {
        let expected = json!([
            ["ok", "ok", "ok"],
            ["OPEN", "2026-11-24T00:00:00Z"],
            ["CLOSED", "2026-11-27T00:00:00Z"],
            ["OPEN", null],
            ["OPEN", "2026-11-23T16:00:00Z"],
            ["CLOSED", "2026-11-23T08:00:00Z"],
            ["CLOSED", "2026-11-27T08:00:00Z"],
            [["InvalidDocument", 400], ["InvalidDocumentType", 400]],
            [
                ["DocumentAlreadyExists", 400],
                ["InvalidDocumentContent", 400],
                ["ValidationException", 400],
                ["InvalidDocumentContent", 400]
            ],
            ["DuplicateDocumentContent", 400],
            "ok",
            ["OPEN", "2026-11-25T00:00:00Z"],
            ["2", "ChangeCalendar", "TEXT", true],
            ["ok", ["InvalidDocument", 400]],
        ]);
        check(&world, CALENDARS, expected).await;
        world
    });
}

#[test]
fn roles_are_assumed_and_callers_named() {
    simulated(fast(), async |world| {
        let role = "arn:aws:sts::210987654321:assumed-role/drill/me";
        let expected = json!([
            "arn:aws:iam::123456789012:user/simulator",
            [role, true],
            [role, "210987654321"],
            [["ValidationError", 400], ["ValidationError", 400], ["InvalidAction", 400]],
        ]);
        check(&world, IDENTITIES, expected).await;
        world
    });
}

/// One for all requests: making one takes longer than an answer.
static CLIENT: LazyLock<reqwest::blocking::Client> = LazyLock::new(plain_client);

/// Sends a request as it is, and returns status, content type and body.
async fn raw(world: &World, path: &str, headers: &[(&'static str, &str)], body: &[u8]) -> (u16, String, Vec<u8>) {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, value.parse().expect("a value"));
    }
    let (url, body) = (format!("{}{path}", world.simulator.url()), body.to_vec());
    let request = tokio::task::spawn_blocking(move || {
        let answer = CLIENT.post(url).headers(all).body(body).send().expect("an answer");
        let kind = answer.headers()[CONTENT_TYPE].to_str().expect("text").to_owned();
        (answer.status().as_u16(), kind, answer.bytes().expect("a body").to_vec())
    });
    request.await.expect("it ends")
}

/// The head of a signature for a service.
fn signed(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=key/20261122/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}

const JSON_1_0: &str = "application/x-amz-json-1.0";
const JSON_1_1: &str = "application/x-amz-json-1.1";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const RPC: (&str, &str) = ("smithy-protocol", "rpc-v2-cbor");
const ALARM_PATH: &str = "/service/GraniteServiceVersion20100801/operation/DescribeAlarms";

/// A request: path, service that it is signed for, a header, and body.
type Call = (&'static str, &'static str, Option<(&'static str, &'static str)>, &'static str);

/// Requests, and status, content type and a part of the answer.
#[rustfmt::skip]
const CALLS: &[(Call, (u16, &str, &str))] = &[
    (("/", "nothing", Some(("x-amz-target", "Nothing.Do")), "{}"), (404, JSON_1_1, r#""__type":"UnknownOperationException""#)),
    (("/", "sqs", Some(("x-amz-target", "AmazonSQS.No")), "{}"), (404, JSON_1_0, "com.amazonaws.sqs#UnknownOperationException")),
    (("/", "events", None, "{}"), (404, JSON_1_1, "UnknownOperationException")),
    (("/", "fis", None, "{}"), (404, "application/json", "message")),
    (("/", "sqs", Some(FORM), "Action=ListQueues&Version=2012-11-05"), (400, "text/xml", "use a newer client")),
    (("/", "sts", Some(FORM), "Action=No%3CW&Version=1"), (400, "text/xml", "Could not find operation No&lt;W for version 1")),
    (("/service/GraniteServiceVersion20100801/operation/No", "monitoring", Some(RPC), ""), (404, "application/cbor", "UnknownOperationException")),
    ((ALARM_PATH, "monitoring", Some(RPC), "{"), (400, "application/cbor", "SerializationException")),
    (("/", "monitoring", Some(("x-amz-target", "GraniteServiceVersion20100801.DescribeAlarms")), "{}"), (200, JSON_1_0, "MetricAlarms")),
    (("/service/AmazonSQS/operation/ListQueues", "sqs", Some(RPC), ""), (404, "application/cbor", "UnknownOperationException")),
    (("/", "ssm", Some(("x-amz-target", "AmazonSSM.GetDocument")), "[]"), (400, JSON_1_1, "SerializationException")),
];

#[test]
fn each_caller_is_answered_in_its_protocol() {
    simulated(fast(), async |world| {
        for ((path, service, header, body), (status, kind, part)) in CALLS {
            let signature = signed(service);
            let mut headers = vec![("authorization", signature.as_str())];
            headers.extend(header);
            let (seen, seen_kind, answer) = raw(&world, path, &headers, body.as_bytes()).await;
            let text = String::from_utf8_lossy(&answer);
            assert_eq!((seen, seen_kind.as_str()), (*status, *kind), "{path} {headers:?}: {text}");
            assert!(text.contains(part), "{path} {headers:?}: {text}");
        }
        world
    });
}

/// Operations by the prefix of their target.
#[rustfmt::skip]
const OPERATIONS: &[(&str, &[&str])] = &[
    ("AmazonSQS", &["CreateQueue", "GetQueueUrl", "ListQueues", "SendMessage", "ReceiveMessage",
        "DeleteMessage", "ChangeMessageVisibility", "SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch",
        "GetQueueAttributes", "SetQueueAttributes", "ListDeadLetterSourceQueues", "ListQueueTags", "TagQueue", "UntagQueue",
        "PurgeQueue", "DeleteQueue"]),
    ("AWSEvents", &["PutEvents", "PutRule", "DescribeRule", "DeleteRule", "EnableRule", "DisableRule", "ListRules",
        "ListRuleNamesByTarget", "PutTargets", "RemoveTargets", "ListTargetsByRule", "TestEventPattern", "CreateEventBus",
        "DeleteEventBus", "DescribeEventBus", "ListEventBuses"]),
    ("GraniteServiceVersion20100801", &["PutMetricAlarm", "SetAlarmState", "DescribeAlarms", "DeleteAlarms"]),
    ("AmazonSSM", &["CreateDocument", "UpdateDocument", "DeleteDocument", "GetDocument", "GetCalendarState"]),
];

#[test]
fn no_input_is_answered_with_a_fault_of_ours() {
    simulated(fast(), async |world| {
        let url = world.sqs.create_queue().queue_name("q").send().await.expect("a queue").queue_url.expect("a URL");
        let members = [
            "Entries",
            "Attributes",
            "AttributeNames",
            "Tags",
            "TagKeys",
            "MessageBody",
            "MessageAttributes",
            "Targets",
            "Ids",
            "MessageSystemAttributes",
            "EventPattern",
            "Event",
            "Limit",
            "NextToken",
            "MaxResults",
            "CalendarNames",
            "AtTime",
            "AlarmNames",
            "Dimensions",
            "MaxNumberOfMessages",
            "VisibilityTimeout",
            "WaitTimeSeconds",
            "ReceiptHandle",
        ];
        let odd =
            [json!(null), json!(-1), json!(1e300), json!("ä"), json!([]), json!([null]), json!([{}]), json!({"a": {}})];
        for (prefix, operations) in OPERATIONS {
            for operation in *operations {
                for value in &odd {
                    let mut body =
                        json!({"QueueUrl": url, "Name": "q", "QueueName": "q", "Rule": "q", "AlarmName": "q"});
                    for member in members {
                        body[member] = value.clone();
                    }
                    let (target, signature) = (format!("{prefix}.{operation}"), signed("sqs"));
                    let headers = [("x-amz-target", target.as_str()), ("authorization", signature.as_str())];
                    let (status, _, answer) = raw(&world, "/", &headers, body.to_string().as_bytes()).await;
                    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
                    assert!(matches!(status, 200 | 400 | 403 | 404), "{target} {body}: {status} {answer}");
                    assert!(status == 200 || answer["__type"].is_string(), "{target} {body}: {answer}");
                    let code = answer["__type"].as_str().unwrap_or_default();
                    assert!(!code.ends_with("UnknownOperationException"), "{target}");
                }
            }
        }
        world
    });
}

#[test]
fn an_alarm_that_is_set_stops_its_experiment() {
    simulated(fast(), async |world| {
        let call = async |operation: &str, body: Value| {
            let (target, signature) = (format!("GraniteServiceVersion20100801.{operation}"), signed("monitoring"));
            let headers = [("x-amz-target", target.as_str()), ("authorization", signature.as_str())];
            let (status, _, answer) = raw(&world, "/", &headers, body.to_string().as_bytes()).await;
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        };
        let alarm = json!({"AlarmName": "errors", "MetricName": "Errors", "Namespace": "App", "Statistic": "Sum", "Period": 60,
            "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"});
        call("PutMetricAlarm", alarm).await;
        let set = |state: &str| json!({"AlarmName": "errors", "StateValue": state, "StateReason": "test"});
        call("SetAlarmState", set("OK")).await;
        let arn = "arn:aws:cloudwatch:us-east-1:123456789012:alarm:errors";
        let condition = CreateExperimentTemplateStopConditionInput::builder().source("aws:cloudwatch:alarm").value(arn);
        let conditions = vec![condition.build().expect("a source")];
        let created = world.draft([wait("w", HOURS, &[])]).set_stop_conditions(Some(conditions)).send().await;
        let template = created.expect("accepted").experiment_template.and_then(|template| template.id).expect("an id");
        let id = world.start(&template, "t").await;
        world.until(&id, FisStatus::Running).await;
        call("SetAlarmState", set("ALARM")).await;
        world.until(&id, FisStatus::Stopped).await;
        world
    });
}
