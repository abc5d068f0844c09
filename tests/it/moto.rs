//! Proof that moto does what other tests rest on: SQS, and EventBridge rules that lead to it.

use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_sqs::types::QueueAttributeName;

use crate::support::moto::{Moto, sdk};

async fn received(sqs: &aws_sdk_sqs::Client, queue: &str) -> Vec<String> {
    let answer = sqs.receive_message().queue_url(queue).max_number_of_messages(10).wait_time_seconds(5).send().await;
    let messages = answer.expect("messages").messages.unwrap_or_default();
    messages.into_iter().filter_map(|message| message.body).collect()
}

#[tokio::test]
async fn moto_keeps_messages_and_leads_matching_events_to_a_queue() {
    let moto = Moto::start();
    let config = sdk(moto.url());
    let sqs = aws_sdk_sqs::Client::new(&config);
    let created = sqs.create_queue().queue_name("deployments").send().await.expect("a queue");
    let queue = created.queue_url.expect("a URL");
    sqs.send_message().queue_url(&queue).message_body("hello").send().await.expect("sent");
    assert_eq!(received(&sqs, &queue).await, ["hello"]);

    let second = sqs.create_queue().queue_name("events").send().await.expect("a queue").queue_url.expect("a URL");
    let asked = sqs.get_queue_attributes().queue_url(&second).attribute_names(QueueAttributeName::QueueArn);
    let attributes = asked.send().await.expect("attributes").attributes.expect("attributes");
    let target = Target::builder().id("queue").arn(&attributes[&QueueAttributeName::QueueArn]).build().expect("target");
    let events = aws_sdk_eventbridge::Client::new(&config);
    let pattern = r#"{"source": ["aws.ecs"], "detail": {"eventName": [{"prefix": "SERVICE_DEPLOYMENT_"}]}}"#;
    events.put_rule().name("deployments").event_pattern(pattern).send().await.expect("a rule");
    events.put_targets().rule("deployments").targets(target).send().await.expect("a target");
    let entry = |name: &str| {
        PutEventsRequestEntry::builder()
            .source("aws.ecs")
            .detail_type("ECS Deployment State Change")
            .detail(serde_json::json!({ "eventName": name }).to_string())
            .build()
    };
    let put = events.put_events().entries(entry("SERVICE_DEPLOYMENT_COMPLETED")).entries(entry("SOMETHING_ELSE"));
    assert_eq!(put.send().await.expect("put").failed_entry_count, 0);
    let bodies = received(&sqs, &second).await;
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    let event: serde_json::Value = serde_json::from_str(&bodies[0]).expect("JSON");
    assert_eq!(event["detail"]["eventName"], "SERVICE_DEPLOYMENT_COMPLETED");
    assert_eq!(event["detail-type"], "ECS Deployment State Change");
}
