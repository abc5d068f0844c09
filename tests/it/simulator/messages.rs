//! Cases about queues for [`super::agreement`]: what a client does, sees, and should see by SQS's documents.

use aws_sdk_sqs::{
    error::{ProvideErrorMetadata, SdkError},
    operation::receive_message::builders::ReceiveMessageFluentBuilder,
    primitives::Blob,
    types::{
        DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        MessageSystemAttributeNameForSends, MessageSystemAttributeValue, QueueAttributeName as Name,
        SendMessageBatchRequestEntry,
    },
};
use serde_json::{Value, json};

use super::agreement::Side;
use crate::support::soon;

/// Names, and what is seen.
#[rustfmt::skip]
pub(super) const CASES: &[(&str, &str)] = &[
    ("checksums", r#"{"body": "5d41402abc4b2a76b9719d911017c592", "attributes": "a7e26b4ca6fa5cdb74802d0af9575453",
                      "received": ["hello", "5d41402abc4b2a76b9719d911017c592", "cad9906d26bcf852678eef681e352f16", ["a.one", "a.two"], "1", "Root=1-1-1"]}"#),
    ("checksum of the trace header", r#""a132d270109da0b7d3ec1ad014f37389""#),
    ("hidden", r#"["x", null]"#),
    ("visible again", r#"["x", "2"]"#),
    ("shown at once", r#"["x", "ok", "x"]"#),
    ("hidden for longer", r#"["x", "ok", null]"#),
    ("too long hidden", r#""InvalidParameterValue""#),
    ("visibility of what is not in flight", r#""AWS.SimpleQueueService.MessageNotInflight""#),
    ("deleted", r#"["x", "ok", "0", "0"]"#),
    ("deleted by an old receipt", r#"["ok", "1"]"#),
    ("receipts of nothing", r#"["ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid"]"#),
    ("purged", r#"["ok", "0", null]"#),
    ("purged twice", r#""AWS.SimpleQueueService.PurgeQueueInProgress""#),
    ("delayed", r#"[null, "1", "0"]"#),
    ("redrive", r#"["x", "x", null, "x", "0", 1]"#),
    ("redrive to nowhere", r#"["InvalidParameterValue", "InvalidParameterValue", "InvalidParameterValue"]"#),
    ("order of groups", r#"["a1", ["b1"], "ok", ["a2"]]"#),
    ("groups come back in order", r#"[["a1", "a2"], "ok", ["a1", "a2"]]"#),
    ("sent twice", r#""1""#),
    ("same body twice", r#""1""#),
    ("answers to what is sent twice", r#"[true, true]"#),
    ("fifo needs", r#"["MissingParameter", "InvalidParameterValue", "InvalidParameterValue", "InvalidParameterValue"]"#),
    ("too large", r#"["InvalidParameterValue", "ok"]"#),
    ("characters", r#"["InvalidMessageContents", "MissingParameter"]"#),
    ("attributes refused", r#"["InvalidParameterValue", "InvalidParameterValue", "InvalidParameterValue"]"#),
    ("batch", r#"[["a"], ["b", "InvalidParameterValue"], ["a"], ["z", "ReceiptHandleIsInvalid"]]"#),
    ("whole batch", r#"[["a", "b"], ["a", "b"], "0"]"#),
    ("batches refused", r#"["AWS.SimpleQueueService.EmptyBatchRequest", "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
                            "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "AWS.SimpleQueueService.InvalidBatchEntryId"]"#),
    ("queues", r#"["ok", "QueueAlreadyExists", "AWS.SimpleQueueService.NonExistentQueue"]"#),
    ("queues refused", r#"["InvalidAttributeName", "InvalidAttributeValue"]"#),
    ("deleted queue", r#"["ok", "AWS.SimpleQueueService.NonExistentQueue", "AWS.SimpleQueueService.QueueDeletedRecently"]"#),
    ("tags", r#"[{"a": "1", "b": "2"}, {"b": "2"}]"#),
    ("limits of a receive", r#"["InvalidParameterValue", "InvalidParameterValue", "InvalidParameterValue"]"#),
];

/// Does what a case is about, on queues of its own.
pub(super) async fn observe(side: &Side, case: &str) -> Value {
    let name = case.replace(' ', "-");
    match case {
        "checksums" | "checksum of the trace header" => checksums(side, case, &name).await,
        "order of groups" | "groups come back in order" | "sent twice" | "answers to what is sent twice" => {
            fifo(side, case, &name).await
        }
        "same body twice" | "fifo needs" => fifo(side, case, &name).await,
        "redrive" => redrive(side, &name).await,
        "redrive to nowhere" => redrive_to_nowhere(side, &name).await,
        "batch" => batch(side, &name).await,
        "whole batch" => whole_batch(side, &name).await,
        "batches refused" => batches_refused(side, &name).await,
        "queues" => queues(side, &name).await,
        "queues refused" => queues_refused(side, &name).await,
        "deleted queue" => deleted_queue(side, &name).await,
        "too large" | "characters" | "attributes refused" => refused(side, case, &name).await,
        "tags" => tags(side, &name).await,
        _visibility => visibility(side, case, &name).await,
    }
}

/// `ok`, or the code of the error.
fn code<T, E: ProvideErrorMetadata + std::fmt::Debug>(result: &Result<T, SdkError<E>>) -> Value {
    match result {
        Ok(_) => json!("ok"),
        Err(SdkError::ServiceError(error)) => json!(error.err().code()),
        Err(other) => panic!("no answer: {other:?}"),
    }
}

async fn created(side: &Side, name: &str, attributes: &[(Name, &str)]) -> String {
    let create = side.sqs.create_queue().queue_name(name);
    let create = attributes.iter().fold(create, |create, (name, value)| create.attributes(name.clone(), *value));
    create.send().await.expect("a queue").queue_url.expect("a URL")
}

async fn send(side: &Side, queue: &str, body: &str) {
    side.sqs.send_message().queue_url(queue).message_body(body).send().await.expect("sent");
}

fn receive(side: &Side, queue: &str, hide: i32) -> ReceiveMessageFluentBuilder {
    let all = MessageSystemAttributeName::All;
    side.sqs.receive_message().queue_url(queue).visibility_timeout(hide).message_system_attribute_names(all)
}

async fn one(side: &Side, queue: &str, hide: i32) -> Option<Message> {
    receive(side, queue, hide)
        .send()
        .await
        .expect("a receive")
        .messages
        .and_then(|messages| messages.into_iter().next())
}

async fn some(side: &Side, queue: &str, hide: i32) -> Vec<Message> {
    let received = receive(side, queue, hide).max_number_of_messages(10).send().await;
    received.expect("a receive").messages.unwrap_or_default()
}

fn body(message: &Option<Message>) -> Value {
    json!(message.as_ref().and_then(Message::body))
}

fn bodies(messages: &[Message]) -> Value {
    json!(messages.iter().map(Message::body).collect::<Vec<_>>())
}

fn system(message: &Message, name: MessageSystemAttributeName) -> Value {
    json!(message.attributes().and_then(|attributes| attributes.get(&name)))
}

fn receipt(message: &Option<Message>) -> String {
    message.as_ref().and_then(Message::receipt_handle).expect("a message").to_owned()
}

async fn count(side: &Side, queue: &str, name: Name) -> Value {
    let asked = side.sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone()).send().await;
    json!(asked.expect("attributes").attributes.expect("attributes")[&name])
}

async fn hide(side: &Side, queue: &str, receipt: &str, seconds: i32) -> Value {
    let change = side.sqs.change_message_visibility().queue_url(queue).receipt_handle(receipt);
    code(&change.visibility_timeout(seconds).send().await)
}

async fn delete(side: &Side, queue: &str, receipt: &str) -> Value {
    code(&side.sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await)
}

fn attribute(kind: &str, value: &str) -> MessageAttributeValue {
    MessageAttributeValue::builder().data_type(kind).string_value(value).build().expect("a value")
}

async fn checksums(side: &Side, case: &str, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    let bytes = MessageAttributeValue::builder().data_type("Binary").binary_value(Blob::new([0, 255, 16]));
    let trace = MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-1-1");
    let send = side.sqs.send_message().queue_url(&queue).message_body("hello");
    let send = send.message_attributes("a.one", attribute("String", "first"));
    let send = send.message_attributes("a.two", attribute("Number.int", "2"));
    let send = send.message_attributes("bytes", bytes.build().expect("a value"));
    let header = MessageSystemAttributeNameForSends::AwsTraceHeader;
    let sent = send.message_system_attributes(header, trace.build().expect("a value")).send().await.expect("sent");
    if case == "checksum of the trace header" {
        return json!(sent.md5_of_message_system_attributes());
    }
    let received = receive(side, &queue, 30).message_attribute_names("a.*").send().await.expect("a receive");
    let message = &received.messages()[0];
    let mut names: Vec<_> = message.message_attributes().into_iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    json!({
        "body": sent.md5_of_message_body(),
        "attributes": sent.md5_of_message_attributes(),
        "received": [
            message.body(),
            message.md5_of_body(),
            message.md5_of_message_attributes(),
            names,
            system(message, MessageSystemAttributeName::ApproximateReceiveCount),
            system(message, MessageSystemAttributeName::AwsTraceHeader),
        ],
    })
}

async fn visibility(side: &Side, case: &str, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    if case == "delayed" {
        let send = side.sqs.send_message().queue_url(&queue).message_body("x").delay_seconds(900);
        send.send().await.expect("sent");
        let delayed = count(side, &queue, Name::ApproximateNumberOfMessagesDelayed).await;
        let visible = count(side, &queue, Name::ApproximateNumberOfMessages).await;
        return json!([body(&one(side, &queue, 30).await), delayed, visible]);
    }
    send(side, &queue, "x").await;
    let first = one(side, &queue, if case == "visible again" { 1 } else { 30 }).await;
    let handle = receipt(&first);
    match case {
        "hidden" => json!([body(&first), body(&one(side, &queue, 30).await)]),
        "visible again" => {
            let again = soon("the message", async || one(side, &queue, 30).await).await;
            json!([again.body(), system(&again, MessageSystemAttributeName::ApproximateReceiveCount)])
        }
        "shown at once" => {
            json!([body(&first), hide(side, &queue, &handle, 0).await, body(&one(side, &queue, 30).await)])
        }
        "hidden for longer" => {
            json!([body(&first), hide(side, &queue, &handle, 600).await, body(&one(side, &queue, 30).await)])
        }
        "too long hidden" => hide(side, &queue, &handle, 43_201).await,
        "visibility of what is not in flight" => {
            hide(side, &queue, &handle, 0).await;
            hide(side, &queue, &handle, 30).await
        }
        "deleted" => {
            let deleted = delete(side, &queue, &handle).await;
            let visible = count(side, &queue, Name::ApproximateNumberOfMessages).await;
            let in_flight = count(side, &queue, Name::ApproximateNumberOfMessagesNotVisible).await;
            json!([body(&first), deleted, visible, in_flight])
        }
        "deleted by an old receipt" => {
            hide(side, &queue, &handle, 0).await;
            one(side, &queue, 30).await.expect("visible again");
            let deleted = delete(side, &queue, &handle).await;
            json!([deleted, count(side, &queue, Name::ApproximateNumberOfMessagesNotVisible).await])
        }
        "receipts of nothing" => {
            json!([delete(side, &queue, "nonsense").await, hide(side, &queue, "nonsense", 5).await])
        }
        "purged" => {
            send(side, &queue, "y").await;
            let purged = code(&side.sqs.purge_queue().queue_url(&queue).send().await);
            let visible = count(side, &queue, Name::ApproximateNumberOfMessages).await;
            json!([purged, visible, body(&one(side, &queue, 30).await)])
        }
        "purged twice" => {
            side.sqs.purge_queue().queue_url(&queue).send().await.expect("purged");
            code(&side.sqs.purge_queue().queue_url(&queue).send().await)
        }
        "limits of a receive" => {
            let many = receive(side, &queue, 30).max_number_of_messages(11).send().await;
            let long = receive(side, &queue, 30).wait_time_seconds(21).send().await;
            json!([code(&many), code(&long), code(&receive(side, &queue, 43_201).send().await)])
        }
        other => panic!("no such case: {other}"),
    }
}

async fn redrive(side: &Side, name: &str) -> Value {
    let dead = created(side, &format!("{name}-dead"), &[]).await;
    let policy = json!({"deadLetterTargetArn": side.arn(&dead).await, "maxReceiveCount": 2}).to_string();
    let queue = created(side, name, &[(Name::RedrivePolicy, &policy)]).await;
    send(side, &queue, "x").await;
    let mut seen = Vec::new();
    for _receive in 0..3 {
        seen.push(body(&one(side, &queue, 0).await));
    }
    seen.push(body(&one(side, &dead, 30).await));
    seen.push(count(side, &queue, Name::ApproximateNumberOfMessages).await);
    let sources = side.sqs.list_dead_letter_source_queues().queue_url(&dead).send().await.expect("sources");
    seen.push(json!(sources.queue_urls().len()));
    json!(seen)
}

async fn redrive_to_nowhere(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    let arn = side.arn(&queue).await;
    let mut seen = Vec::new();
    for policy in [
        json!({"deadLetterTargetArn": format!("{arn}-missing"), "maxReceiveCount": 2}),
        json!({"deadLetterTargetArn": arn, "maxReceiveCount": 0}),
        json!({"deadLetterTargetArn": arn}),
    ] {
        let set = side.sqs.set_queue_attributes().queue_url(&queue);
        seen.push(code(&set.attributes(Name::RedrivePolicy, policy.to_string()).send().await));
    }
    json!(seen)
}

async fn fifo(side: &Side, case: &str, name: &str) -> Value {
    let by_content = (Name::ContentBasedDeduplication, if case == "same body twice" { "true" } else { "false" });
    let queue = created(side, &format!("{name}.fifo"), &[(Name::FifoQueue, "true"), by_content]).await;
    let put = |group: &str, id: &str, body: &str| {
        let id = Some(id.to_owned()).filter(|id| !id.is_empty());
        let group = Some(group.to_owned()).filter(|group| !group.is_empty());
        let send = side.sqs.send_message().queue_url(&queue).message_body(body);
        send.set_message_group_id(group).set_message_deduplication_id(id)
    };
    if case.contains("group") {
        for body in ["a1", "a2", "b1"] {
            put(&body[..1], body, body).send().await.expect("sent");
        }
    }
    match case {
        "order of groups" => {
            let first = one(side, &queue, 30).await;
            let others = some(side, &queue, 30).await;
            let deleted = delete(side, &queue, &receipt(&first)).await;
            json!([body(&first), bodies(&others), deleted, bodies(&some(side, &queue, 30).await)])
        }
        "groups come back in order" => {
            let of_a = |messages: Vec<Message>| {
                messages.into_iter().filter(|message| message.body() != Some("b1")).collect::<Vec<_>>()
            };
            let first = of_a(some(side, &queue, 30).await);
            let mut shown = json!("ok");
            for message in &first {
                let changed = hide(side, &queue, message.receipt_handle().expect("a receipt"), 0).await;
                shown = if changed == "ok" { shown } else { changed };
            }
            json!([bodies(&first), shown, bodies(&of_a(some(side, &queue, 30).await))])
        }
        "sent twice" | "answers to what is sent twice" => {
            let first = put("g", "id", "one").send().await.expect("sent");
            let second = put("g", "id", "two").send().await.expect("taken, and kept once");
            let same = first.message_id() == second.message_id();
            let numbered = first.sequence_number().is_some() && first.sequence_number() == second.sequence_number();
            match case {
                "sent twice" => count(side, &queue, Name::ApproximateNumberOfMessages).await,
                _answers => json!([same, numbered]),
            }
        }
        "same body twice" => {
            for _time in 0..2 {
                put("g", "", "one").send().await.expect("taken, and kept once");
            }
            count(side, &queue, Name::ApproximateNumberOfMessages).await
        }
        "fifo needs" => {
            let no_suffix = side.sqs.create_queue().queue_name("needs").attributes(Name::FifoQueue, "true");
            json!([
                code(&put("", "id", "x").send().await),
                code(&put("g", "", "x").send().await),
                code(&put("g", "id", "x").delay_seconds(5).send().await),
                code(&no_suffix.send().await),
            ])
        }
        other => panic!("no such case: {other}"),
    }
}

async fn refused(side: &Side, case: &str, name: &str) -> Value {
    let queue = created(side, name, &[(Name::MaximumMessageSize, "1024")]).await;
    let put = |body: &str| side.sqs.send_message().queue_url(&queue).message_body(body);
    match case {
        "too large" => {
            let fits = put(&"x".repeat(1_024)).send().await;
            json!([code(&put(&"x".repeat(1_025)).send().await), code(&fits)])
        }
        "characters" => json!([code(&put("\u{1}").send().await), code(&put("").send().await)]),
        _attributes => {
            let mut seen = Vec::new();
            for (name, value) in
                [("aws.trace", attribute("String", "x")), ("a", attribute("Text", "x")), ("a", attribute("String", ""))]
            {
                seen.push(code(&put("x").message_attributes(name, value).send().await));
            }
            json!(seen)
        }
    }
}

async fn batch(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(id);
    let fits = entry("a").build().expect("an entry");
    let late = entry("b").delay_seconds(901).build().expect("an entry");
    let sent = side.sqs.send_message_batch().queue_url(&queue).entries(fits).entries(late).send().await;
    let Ok(sent) = &sent else { return code(&sent) };
    let ids: Vec<_> = sent.successful().iter().map(|entry| entry.id()).collect();
    let failed: Vec<_> = sent.failed().iter().flat_map(|entry| [entry.id(), entry.code()]).collect();
    let message = one(side, &queue, 30).await;
    let entry = |id: &str, receipt: &str| {
        DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().expect("an entry")
    };
    let delete = side.sqs.delete_message_batch().queue_url(&queue).entries(entry("a", &receipt(&message)));
    let deleted = delete.entries(entry("z", "nonsense")).send().await;
    let Ok(deleted) = &deleted else { return code(&deleted) };
    let deleted_ids: Vec<_> = deleted.successful().iter().map(|entry| entry.id()).collect();
    let not_deleted: Vec<_> = deleted.failed().iter().flat_map(|entry| [entry.id(), entry.code()]).collect();
    json!([ids, failed, deleted_ids, not_deleted])
}

async fn whole_batch(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    let entry = |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(id).build().expect("an entry");
    let send = side.sqs.send_message_batch().queue_url(&queue).entries(entry("a")).entries(entry("b"));
    let sent = send.send().await.expect("sent");
    let entries = some(side, &queue, 30).await.into_iter().map(|message| {
        let entry = DeleteMessageBatchRequestEntry::builder().id(message.body().expect("a body"));
        entry.receipt_handle(message.receipt_handle().expect("a receipt")).build().expect("an entry")
    });
    let delete = side.sqs.delete_message_batch().queue_url(&queue).set_entries(Some(entries.collect()));
    let deleted = delete.send().await.expect("deleted");
    json!([
        sent.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(),
        deleted.successful().iter().map(|entry| entry.id()).collect::<Vec<_>>(),
        count(side, &queue, Name::ApproximateNumberOfMessagesNotVisible).await,
    ])
}

async fn batches_refused(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    let mut seen = Vec::new();
    let many: Vec<_> = (0..11).map(|number| number.to_string()).collect();
    for ids in [vec![], many, vec!["a".to_owned(), "a".to_owned()], vec!["a b".to_owned()]] {
        let entries = ids
            .iter()
            .map(|id| SendMessageBatchRequestEntry::builder().id(id).message_body("x").build().expect("an entry"));
        let send = side.sqs.send_message_batch().queue_url(&queue).set_entries(Some(entries.collect()));
        seen.push(code(&send.send().await));
    }
    json!(seen)
}

async fn queues(side: &Side, name: &str) -> Value {
    created(side, name, &[(Name::VisibilityTimeout, "5")]).await;
    let create = |value: &str| side.sqs.create_queue().queue_name(name).attributes(Name::VisibilityTimeout, value);
    json!([
        code(&create("5").send().await),
        code(&create("6").send().await),
        code(&side.sqs.get_queue_url().queue_name("missing").send().await),
    ])
}

async fn queues_refused(side: &Side, name: &str) -> Value {
    let create = |suffix: &str, attribute: Name, value: &str| {
        side.sqs.create_queue().queue_name(format!("{name}-{suffix}")).attributes(attribute, value).send()
    };
    json!([code(&create("a", Name::from("Colour"), "red").await), code(&create("b", Name::DelaySeconds, "901").await),])
}

async fn deleted_queue(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    json!([
        code(&side.sqs.delete_queue().queue_url(&queue).send().await),
        code(&receive(side, &queue, 30).send().await),
        code(&side.sqs.create_queue().queue_name(name).send().await),
    ])
}

async fn tags(side: &Side, name: &str) -> Value {
    let queue = created(side, name, &[]).await;
    side.sqs.tag_queue().queue_url(&queue).tags("a", "1").tags("b", "2").send().await.expect("tagged");
    let both = side.sqs.list_queue_tags().queue_url(&queue).send().await.expect("tags");
    side.sqs.untag_queue().queue_url(&queue).tag_keys("a").send().await.expect("untagged");
    let rest = side.sqs.list_queue_tags().queue_url(&queue).send().await.expect("tags");
    json!([both.tags(), rest.tags()])
}
