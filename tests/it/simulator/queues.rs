//! Queues and rules under the simulator's clock: what takes minutes, hours or days at AWS.

use aws_sdk_eventbridge::types::{InputTransformer, PutEventsRequestEntry, RuleState, SqsParameters, Target};
use aws_sdk_sqs::types::{Message, MessageSystemAttributeName, QueueAttributeName as Name};

use super::*;

async fn created(world: &World, name: &str, attributes: &[(Name, &str)]) -> String {
    let create = world.sqs.create_queue().queue_name(name);
    let create = attributes.iter().fold(create, |create, (name, value)| create.attributes(name.clone(), *value));
    create.send().await.expect("a queue").queue_url.expect("a URL")
}

async fn one(world: &World, queue: &str) -> Option<Message> {
    let all = MessageSystemAttributeName::All;
    let received = world.sqs.receive_message().queue_url(queue).message_system_attribute_names(all).send().await;
    received.expect("a receive").messages.and_then(|messages| messages.into_iter().next())
}

#[test]
fn messages_follow_the_clock() {
    simulated(fast(), async |world| {
        world.freeze().await;
        let dead = created(&world, "dead", &[]).await;
        let policy = r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": "1"}"#;
        let attributes = [(Name::VisibilityTimeout, "600"), (Name::RedrivePolicy, policy), (Name::DelaySeconds, "900")];
        let queue = created(&world, "q", &attributes).await;
        world.sqs.send_message().queue_url(&queue).message_body("x").send().await.expect("sent");
        assert!(one(&world, &queue).await.is_none(), "it is delayed");
        world.jump("PT15M").await;
        let first = one(&world, &queue).await.expect("it is there");
        world.jump("PT9M59S").await;
        assert!(one(&world, &queue).await.is_none(), "it is hidden");
        world.jump("PT1S").await;
        assert!(one(&world, &queue).await.is_none(), "it goes to the dead-letter queue");
        let again = one(&world, &dead).await.expect("it has arrived");
        assert_eq!(again.message_id(), first.message_id());
        let attributes = again.attributes().expect("attributes");
        assert_eq!(attributes[&MessageSystemAttributeName::ApproximateReceiveCount], "2");
        let source = &attributes[&MessageSystemAttributeName::DeadLetterQueueSourceArn];
        assert_eq!(source, "arn:aws:sqs:us-east-1:123456789012:q");
        // A message of a standard queue keeps its age when it moves.
        world.jump("PT95H35M").await;
        assert!(one(&world, &dead).await.is_none(), "it has expired after four days");
        world
    });
}

#[test]
fn fifo_queues_forget_after_five_minutes() {
    simulated(fast(), async |world| {
        world.freeze().await;
        let queue =
            created(&world, "q.fifo", &[(Name::FifoQueue, "true"), (Name::ContentBasedDeduplication, "true")]).await;
        let send = || world.sqs.send_message().queue_url(&queue).message_body("x").message_group_id("g").send();
        let first = send().await.expect("sent");
        world.jump("PT4M59S").await;
        assert_eq!(send().await.expect("taken").message_id(), first.message_id());
        world.jump("PT1S").await;
        let second = send().await.expect("sent");
        assert_ne!(second.message_id(), first.message_id());
        assert!(second.sequence_number() > first.sequence_number(), "numbers rise");
        let message = one(&world, &queue).await.expect("a message");
        let attributes = message.attributes().expect("attributes");
        assert_eq!(attributes[&MessageSystemAttributeName::MessageGroupId], "g");
        assert_eq!(attributes[&MessageSystemAttributeName::MessageDeduplicationId].len(), 64);
        assert_eq!(Some(attributes[&MessageSystemAttributeName::SequenceNumber].as_str()), first.sequence_number());
        world
    });
}

#[test]
fn a_deleted_queue_ends_polls_and_rests_a_minute() {
    simulated(drowsy(fast()), async |world| {
        world.freeze().await;
        let queue = created(&world, "q", &[]).await;
        let poll = world.polling(&queue).await;
        world.sqs.delete_queue().queue_url(&queue).send().await.expect("deleted");
        let polled = poll.await.expect("no panic").expect_err("gone").into_service_error();
        assert!(polled.is_queue_does_not_exist(), "{polled:?}");
        let again = || world.sqs.create_queue().queue_name("q").send();
        world.jump("PT59S").await;
        assert!(again().await.expect_err("too soon").into_service_error().is_queue_deleted_recently());
        world.jump("PT1S").await;
        again().await.expect("created");
        world
    });
}

#[test]
fn queues_are_listed_in_pages() {
    simulated(fast(), async |world| {
        for name in ["a-1", "a-2", "a-3", "b-1"] {
            created(&world, name, &[]).await;
        }
        let list = || world.sqs.list_queues().queue_name_prefix("a").max_results(2);
        let first = list().send().await.expect("a page");
        let second = list().set_next_token(first.next_token.clone()).send().await.expect("a page");
        assert_eq!((first.queue_urls().len(), second.queue_urls().len()), (2, 1));
        assert!(second.next_token().is_none() && second.queue_urls()[0].ends_with("/a-3"));
        list().next_token("moon").send().await.expect_err("a token of no page");
        world
    });
}

#[test]
fn fifo_targets_disabled_rules_and_what_is_refused() {
    simulated(fast(), async |world| {
        let queue =
            created(&world, "q.fifo", &[(Name::FifoQueue, "true"), (Name::ContentBasedDeduplication, "true")]).await;
        let arn = "arn:aws:sqs:us-east-1:123456789012:q.fifo";
        world.events.create_event_bus().name("own").send().await.expect("a bus");
        let rule = || world.events.put_rule().name("r").event_bus_name("own").event_pattern(r#"{"source": ["s"]}"#);
        let rule_arn = rule().send().await.expect("a rule").rule_arn;
        assert_eq!(rule_arn.as_deref(), Some("arn:aws:events:us-east-1:123456789012:rule/own/r"));
        let target = || Target::builder().id("t").arn(arn);
        let group = SqsParameters::builder().message_group_id("g").build();
        let transformer = InputTransformer::builder().input_template("<x>").build().expect("a transformer");
        for (target, reason) in [
            (target(), "SqsParameters must be specified"),
            (target().sqs_parameters(group.clone()).input("{}"), "does not support Input "),
            (target().sqs_parameters(group.clone()).input_path("$.detail"), "does not support InputPath"),
            (
                target().sqs_parameters(group.clone()).input_transformer(transformer),
                "does not support InputTransformer",
            ),
        ] {
            let put =
                world.events.put_targets().rule("r").event_bus_name("own").targets(target.build().expect("a target"));
            let error = put.send().await.expect_err("refused").into_service_error();
            assert!(error.to_string().contains(reason) || format!("{error:?}").contains(reason), "{error:?}");
        }
        let target = target().sqs_parameters(group).build().expect("a target");
        world.events.put_targets().rule("r").event_bus_name("own").targets(target).send().await.expect("a target");
        let named = world.events.list_rule_names_by_target().target_arn(arn).event_bus_name("own").send().await;
        assert_eq!(named.expect("names").rule_names(), ["r"]);
        let put = async |number: &str| {
            let entry = PutEventsRequestEntry::builder().source("s").detail_type("d").event_bus_name("own");
            let entry = entry.detail(json!({"n": number}).to_string()).build();
            let put = world.events.put_events().entries(entry).send().await.expect("an answer");
            assert_eq!(put.failed_entry_count(), 0);
        };
        put("1").await;
        world.events.disable_rule().name("r").event_bus_name("own").send().await.expect("disabled");
        put("2").await;
        let described = world.events.describe_rule().name("r").event_bus_name("own").send().await.expect("found");
        assert_eq!(described.state(), Some(&RuleState::Disabled));
        world.events.enable_rule().name("r").event_bus_name("own").send().await.expect("enabled");
        put("3").await;
        let bodies = world.bodies(&queue, 2).await;
        let numbers: Vec<_> = bodies.iter().map(|body| body["detail"]["n"].as_str().unwrap_or_default()).collect();
        assert_eq!(numbers, ["1", "3"]);
        assert!(world.events.delete_event_bus().name("own").send().await.is_err(), "it has a rule");
        world
    });
}

#[test]
fn a_queue_with_a_policy_gets_what_that_lets_rules_send() {
    simulated(fast(), async |world| {
        let queue = world.subscribed("s").await;
        let arn = "arn:aws:sqs:us-east-1:123456789012:events";
        let rule = "arn:aws:events:us-east-1:123456789012:rule/all";
        let allow = json!({"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage", "Resource": arn, "Condition": {"ArnEquals": {"aws:SourceArn": rule}}});
        let with = |member: &str, value: Value| {
            let mut statement = allow.clone();
            statement[member] = value;
            json!([statement])
        };
        let tls = json!({"Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}}});
        let mut deny = allow.clone();
        deny["Effect"] = json!("Deny");
        for (number, (statements, expected)) in [
            (json!([allow, tls]), true),
            (json!(allow), true),
            (with("Principal", json!("*")), true),
            (with("Action", json!(["sqs:*"])), true),
            (with("Resource", json!("*")), true),
            (with("Condition", json!({"ArnLike": {"aws:SourceArn": ["x", "arn:aws:events:*:rule/*"]}})), true),
            (with("Condition", json!({"StringEquals": {"aws:SourceAccount": "123456789012"}})), true),
            (with("Condition", json!({"StringEquals": {"aws:SourceAccount": "210987654321"}})), false),
            (with("Condition", json!({"ArnEquals": {"aws:SourceArn": format!("{rule}-2")}})), false),
            (with("Condition", json!({"StringEquals": {"aws:PrincipalTag/x": "y"}})), false),
            (with("Principal", json!({"Service": "sns.amazonaws.com"})), false),
            (with("Action", json!("sqs:ReceiveMessage")), false),
            (with("Resource", json!(format!("{arn}-2"))), false),
            (json!([allow, deny]), false),
            (json!([]), false),
        ]
        .into_iter()
        .enumerate()
        {
            let policy = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
            let set = world.sqs.set_queue_attributes().queue_url(&queue).attributes(Name::Policy, &policy);
            set.send().await.expect("set");
            let entry = PutEventsRequestEntry::builder().source("s").detail_type("d");
            let entry = entry.detail(json!({"n": number}).to_string()).build();
            world.events.put_events().entries(entry).send().await.expect("put");
            let got = world.sqs.receive_message().queue_url(&queue).send().await.expect("a receive");
            assert_eq!(got.messages().len(), usize::from(expected), "{policy}");
            for message in got.messages() {
                let receipt = message.receipt_handle().expect("a receipt");
                world.sqs.delete_message().queue_url(&queue).receipt_handle(receipt).send().await.expect("deleted");
            }
        }
        world
    });
}

#[test]
fn rules_come_in_pages_and_patterns_are_tried() {
    simulated(fast(), async |world| {
        for name in ["a", "b", "c"] {
            world.events.put_rule().name(name).event_pattern(r#"{"source": ["s"]}"#).send().await.expect("a rule");
        }
        let first = world.events.list_rules().limit(2).send().await.expect("a page");
        let rest =
            world.events.list_rules().limit(2).set_next_token(first.next_token.clone()).send().await.expect("a page");
        assert_eq!((first.rules().len(), rest.rules().len(), rest.next_token()), (2, 1, None));
        let whole = json!({"id": "1", "account": "1", "source": "s", "time": "2026-01-01T00:00:00Z", "region": "r",
            "resources": [], "detail-type": "d"});
        let test = |event: Value| {
            world.events.test_event_pattern().event_pattern(r#"{"source": ["s"]}"#).event(event.to_string()).send()
        };
        assert!(test(whole.clone()).await.expect("tried").result());
        let mut part = whole;
        part.as_object_mut().expect("an object").remove("region");
        test(part).await.expect_err("an event without a region is none");
        world
    });
}

#[test]
fn a_dead_letter_queue_chooses_its_sources() {
    simulated(fast(), async |world| {
        let policy = r#"{"deadLetterTargetArn": "arn:aws:sqs:us-east-1:123456789012:dead", "maxReceiveCount": 3}"#;
        let by_queue =
            r#"{"redrivePermission": "byQueue", "sourceQueueArns": ["arn:aws:sqs:us-east-1:123456789012:q"]}"#;
        let dead = created(&world, "dead", &[]).await;
        let queue = created(&world, "q", &[]).await;
        for (allow, accepted) in [
            (r#"{"redrivePermission": "denyAll"}"#, false),
            (by_queue, true),
            (&by_queue.replace(":q\"", ":other\""), false),
            (r#"{"redrivePermission": "allowAll"}"#, true),
        ] {
            let set = world.sqs.set_queue_attributes().queue_url(&dead).attributes(Name::RedriveAllowPolicy, allow);
            set.send().await.expect("set");
            let set = world.sqs.set_queue_attributes().queue_url(&queue).attributes(Name::RedrivePolicy, policy);
            assert_eq!(set.send().await.is_ok(), accepted, "{allow}");
        }
        world
    });
}
