//! Queues and buses: delivery, visibility, long polls, and the events that FIS emits.

use std::collections::HashMap;

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use aws_sdk_sqs::types::{
    DeleteMessageBatchRequestEntry, MessageSystemAttributeName, MessageSystemAttributeNameForSends,
    MessageSystemAttributeValue, QueueAttributeName, SendMessageBatchRequestEntry,
};

use super::*;

async fn queue(world: &World, name: &str) -> String {
    world.sqs.create_queue().queue_name(name).send().await.expect("a queue").queue_url.expect("a URL")
}

#[test]
fn state_changes_arrive_in_the_documented_shape() {
    simulated(fast(), async |world| {
        let queue = world.subscribed("aws.fis").await;
        let template = world.template([wait("w", MINUTE, &[])]).await;
        let id = world.start(&template, "t").await;
        let events = world.bodies(&queue, 3).await;
        let states: Vec<_> = events
            .iter()
            .map(|event| {
                let state = |which: &str| event["detail"][which]["status"].as_str().unwrap_or_default();
                (state("old-state"), state("new-state"))
            })
            .collect();
        assert_eq!(states, [("pending", "initiating"), ("initiating", "running"), ("running", "completed")]);
        let event = &events[2];
        assert_eq!(event["detail-type"], "FIS Experiment State Change");
        assert_eq!(event["resources"], json!([format!("arn:aws:fis:us-east-1:123456789012:experiment/{id}")]));
        assert_eq!(event["detail"]["experiment-id"], json!(id));
        assert_eq!(event["detail"]["experiment-template-id"], json!(template));
        assert_eq!(event["detail"]["new-state"]["reason"], "Experiment completed.");
        assert_eq!(
            (&event["version"], &event["account"], &event["region"]),
            (&json!("0"), &json!("123456789012"), &json!("us-east-1"))
        );
        let time = event["time"].as_str().expect("a time");
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        world
    });
}

#[test]
fn put_events_reach_the_queue_with_their_trace() {
    simulated(fast(), async |world| {
        let queue = world.subscribed("com.example").await;
        let entry = |source: &str, detail: &str| {
            PutEventsRequestEntry::builder()
                .source(source)
                .detail_type("Deployed")
                .detail(detail)
                .resources("r1")
                .trace_header("Root=1-63441c4a-abcdef012345678912345678")
                .build()
        };
        let put = world.events.put_events();
        let put = put.entries(entry("com.example", r#"{"v":1}"#)).entries(entry("other", "{}"));
        let put = put.entries(entry("com.example", "no json")).entries(entry("aws.ec2", "{}"));
        let put = put.entries(PutEventsRequestEntry::builder().source("com.example").build());
        let answer = put.send().await.expect("an answer");
        assert_eq!(answer.failed_entry_count(), 3);
        let codes: Vec<_> = answer.entries().iter().map(|entry| entry.error_code()).collect();
        let expected =
            [None, None, Some("MalformedDetail"), Some("NotAuthorizedForSourceException"), Some("InvalidArgument")];
        assert_eq!(codes, expected);
        let received = world
            .sqs
            .receive_message()
            .queue_url(&queue)
            .max_number_of_messages(10)
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .send();
        let messages = received.await.expect("a receive").messages.expect("messages");
        assert_eq!(messages.len(), 1);
        let body: Value = serde_json::from_str(messages[0].body().expect("a body")).expect("JSON");
        assert_eq!(body["id"].as_str(), answer.entries()[0].event_id());
        assert_eq!((&body["detail"], &body["resources"]), (&json!({"v": 1}), &json!(["r1"])));
        let attributes: &HashMap<_, _> = messages[0].attributes().expect("attributes");
        let trace = &attributes[&MessageSystemAttributeName::AwsTraceHeader];
        assert_eq!(trace, "Root=1-63441c4a-abcdef012345678912345678");
        world
    });
}

#[test]
fn rules_are_checked_and_removed() {
    simulated(fast(), async |world| {
        world.subscribed("com.example").await;
        let bad = world.events.put_rule().name("bad").event_pattern(r#"{"a":[{"wildcard":"**"}]}"#).send().await;
        let error = bad.expect_err("refused").into_service_error();
        assert!(error.is_invalid_event_pattern_exception(), "{error:?}");
        let described = world.events.describe_rule().name("all").send().await.expect("found");
        assert_eq!(described.event_pattern(), Some(r#"{"source":["com.example"]}"#));
        assert!(world.events.delete_rule().name("all").send().await.is_err());
        world.events.remove_targets().rule("all").ids("q").send().await.expect("removed");
        world.events.delete_rule().name("all").send().await.expect("deleted");
        assert!(world.events.list_rules().send().await.expect("listed").rules().is_empty());
        let error = world.events.describe_rule().name("all").send().await.expect_err("gone").into_service_error();
        assert!(error.is_resource_not_found_exception(), "{error:?}");
        world
    });
}

#[test]
fn a_message_is_hidden_then_comes_again_until_it_is_deleted() {
    simulated(fast(), async |world| {
        let queue = queue(&world, "q").await;
        let trace = MessageSystemAttributeValue::builder().data_type("String").string_value("Root=1-1-1");
        let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
        let trace = trace.build().expect("a value");
        let sent =
            world.sqs.send_message().queue_url(&queue).message_body("hello").message_system_attributes(name, trace);
        assert_eq!(sent.send().await.expect("sent").md5_of_message_body(), Some("5d41402abc4b2a76b9719d911017c592"));
        let receive = |hide: i32, wait: i32| {
            let request =
                world.sqs.receive_message().queue_url(&queue).visibility_timeout(hide).wait_time_seconds(wait);
            request.message_system_attribute_names(MessageSystemAttributeName::All).send()
        };
        let first = receive(1, 0).await.expect("a receive").messages.expect("a message").remove(0);
        assert!(receive(1, 0).await.expect("a receive").messages.is_none(), "it is hidden");
        let again = receive(30, 20).await.expect("a receive").messages.expect("visible again").remove(0);
        let attributes = again.attributes().expect("attributes");
        assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "2");
        assert_eq!(attributes[&MessageSystemAttributeName::AwsTraceHeader], "Root=1-1-1");
        let delete = |receipt: &str| world.sqs.delete_message().queue_url(&queue).receipt_handle(receipt).send();
        delete(first.receipt_handle().expect("a receipt")).await.expect("an old receipt is no error");
        assert_eq!(depth(&world, &queue, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "1");
        let receipt = again.receipt_handle().expect("a receipt");
        let show =
            world.sqs.change_message_visibility().queue_url(&queue).receipt_handle(receipt).visibility_timeout(0);
        show.send().await.expect("visible");
        assert_eq!(depth(&world, &queue, QueueAttributeName::ApproximateNumberOfMessages).await, "1");
        delete(receipt).await.expect("deleted");
        assert_eq!(depth(&world, &queue, QueueAttributeName::ApproximateNumberOfMessages).await, "0");
        assert!(delete("nonsense").await.expect_err("refused").into_service_error().is_receipt_handle_is_invalid());
        world
    });
}

async fn depth(world: &World, queue: &str, name: QueueAttributeName) -> String {
    let answer = world.sqs.get_queue_attributes().queue_url(queue).attribute_names(name.clone()).send().await;
    answer.expect("attributes").attributes.expect("attributes")[&name].clone()
}

#[test]
fn a_long_poll_ends_with_the_first_message() {
    simulated(drowsy(fast()), async |world| {
        let queue = queue(&world, "q").await;
        let poll = world.polling(&queue).await;
        world.sqs.send_message().queue_url(&queue).message_body("x").send().await.expect("sent");
        let received = poll.await.expect("no panic").expect("a receive");
        assert_eq!(received.messages()[0].body(), Some("x"));
        let empty = world.sqs.receive_message().queue_url(&queue).wait_time_seconds(1).send().await;
        assert!(empty.expect("a receive").messages.is_none());
        world
    });
}

#[test]
fn batches_are_performed_entry_by_entry() {
    simulated(fast(), async |world| {
        let queue = queue(&world, "q").await;
        let entry =
            |id: &str| SendMessageBatchRequestEntry::builder().id(id).message_body(id).build().expect("an entry");
        let sent =
            world.sqs.send_message_batch().queue_url(&queue).entries(entry("a")).entries(entry("b")).send().await;
        assert_eq!(sent.expect("sent").successful().len(), 2);
        let received = world.sqs.receive_message().queue_url(&queue).max_number_of_messages(10).send().await;
        let receipt = received.expect("a receive").messages()[0].receipt_handle().expect("a receipt").to_owned();
        let entry = |id: &str, receipt: &str| {
            DeleteMessageBatchRequestEntry::builder().id(id).receipt_handle(receipt).build().expect("an entry")
        };
        let deletes = world.sqs.delete_message_batch().queue_url(&queue);
        let answer = deletes.entries(entry("a", &receipt)).entries(entry("b", "bad")).send().await.expect("an answer");
        assert_eq!((answer.successful().len(), answer.failed().len()), (1, 1));
        let twice =
            world.sqs.delete_message_batch().queue_url(&queue).entries(entry("a", "x")).entries(entry("a", "y"));
        assert!(twice.send().await.expect_err("refused").into_service_error().is_batch_entry_ids_not_distinct());
        world.sqs.purge_queue().queue_url(&queue).send().await.expect("purged");
        assert_eq!(depth(&world, &queue, QueueAttributeName::ApproximateNumberOfMessagesNotVisible).await, "0");
        world
    });
}

#[test]
fn queues_have_urls_attributes_and_an_end() {
    simulated(fast(), async |world| {
        let queue = queue(&world, "q").await;
        let url = |name: &str| world.sqs.get_queue_url().queue_name(name).send();
        assert_eq!(url("q").await.expect("found").queue_url(), Some(queue.as_str()));
        let error = url("missing").await.expect_err("missing").into_service_error();
        assert!(error.is_queue_does_not_exist(), "{error:?}");
        assert_eq!(error.code(), Some("AWS.SimpleQueueService.NonExistentQueue"));
        let set = world.sqs.set_queue_attributes().queue_url(&queue);
        set.attributes(QueueAttributeName::VisibilityTimeout, "7").send().await.expect("set");
        assert_eq!(depth(&world, &queue, QueueAttributeName::VisibilityTimeout).await, "7");
        let same = world.sqs.create_queue().queue_name("q").send().await.expect("the same queue");
        assert_eq!(same.queue_url(), Some(queue.as_str()));
        assert_eq!(world.sqs.list_queues().send().await.expect("listed").queue_urls(), std::slice::from_ref(&queue));
        world.sqs.delete_queue().queue_url(&queue).send().await.expect("deleted");
        let gone = world.sqs.receive_message().queue_url(&queue).send().await.expect_err("gone");
        assert!(gone.into_service_error().is_queue_does_not_exist());
        world
    });
}
