//! The services around FIS, spoken to by hand: which protocol a request is answered in, and that no input breaks them.

use super::*;

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
            let reply = world.wire.send("POST", path, &headers, *body).await;
            assert_eq!(
                (reply.status, reply.headers["content-type"].to_str().expect("text")),
                (*status, *kind),
                "{path} {headers:?}: {reply:?}"
            );
            assert!(reply.text.contains(part), "{path} {headers:?}: {reply:?}");
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
        "ListTagsForResource", "TagResource", "UntagResource", "DeleteEventBus", "DescribeEventBus", "ListEventBuses"]),
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
        let odd = [
            json!(null),
            json!(-1),
            json!(1e300),
            json!("ä"),
            json!([]),
            json!([null]),
            json!([{}]),
            json!([1]),
            json!({"a": {}}),
            json!([{"Time": 1e300, "Source": 5}]),
        ];
        for (prefix, operations) in OPERATIONS {
            for operation in *operations {
                for value in &odd {
                    let mut body =
                        json!({"QueueUrl": url, "Name": "q", "QueueName": "q", "Rule": "q", "AlarmName": "q"});
                    for member in members {
                        body[member] = value.clone();
                    }
                    let target = format!("{prefix}.{operation}");
                    let reply = world.wire.target(&target, &body).await;
                    assert!(matches!(reply.status, 200 | 400 | 403 | 404), "{target} {body}: {reply:?}");
                    assert!(reply.status == 200 || reply.body["__type"].is_string(), "{target} {body}: {reply:?}");
                    let code = reply.body["__type"].as_str().unwrap_or_default();
                    assert!(!code.ends_with("UnknownOperationException"), "{target}");
                }
            }
        }
        world
    });
}
