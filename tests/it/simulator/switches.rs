//! The event switches: what happens to FIS's events on their way to the bus.

use super::*;

/// A simulator that stands still, so that only what a test does moves it.
fn still() -> Options {
    Options { speed: 1.0, ..Options::default() }
}

impl World {
    async fn switched(&self, switches: Value) {
        assert_eq!(self.control("PUT", "events", switches).await.0, 200);
    }

    /// Runs an experiment from start to end in jumps and returns its id.
    async fn jumped(&self, token: &str) -> String {
        let template = self.template([wait("w", MINUTE, &[])]).await;
        let id = self.start(&template, token).await;
        self.jump("PT30S").await;
        self.jump("PT1M").await;
        assert_eq!(self.record(&id).status, FisStatus::Completed);
        id
    }

    /// Everything that is in a queue now: id and new status of each event.
    async fn taken(&self, queue: &str) -> Vec<(String, String)> {
        let mut taken = Vec::new();
        loop {
            let received = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).send().await;
            let received = received.expect("a receive");
            if received.messages().is_empty() {
                return taken;
            }
            for message in received.messages() {
                let event: Value = serde_json::from_str(message.body().expect("a body")).expect("JSON");
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                taken.push((text(&event["id"]), text(&event["detail"]["new-state"]["status"])));
                let receipt = message.receipt_handle().expect("a receipt");
                self.sqs.delete_message().queue_url(queue).receipt_handle(receipt).send().await.expect("a delete");
            }
        }
    }

    async fn statuses(&self, queue: &str) -> Vec<String> {
        self.taken(queue).await.into_iter().map(|(_, status)| status).collect()
    }
}

const ALL: [&str; 3] = ["initiating", "running", "completed"];

#[test]
fn switches_drop_double_and_overtake_events() {
    simulated(still(), async |world| {
        let queue = world.subscribed("aws.fis").await;
        world.freeze().await;
        world.jumped("none").await;
        assert_eq!(world.statuses(&queue).await, ALL);

        world.switched(json!({"drop": 1})).await;
        world.jumped("drop").await;
        assert!(world.statuses(&queue).await.is_empty());

        world.switched(json!({"duplicate": 1})).await;
        world.jumped("duplicate").await;
        let twice = world.taken(&queue).await;
        assert_eq!(twice.len(), 6);
        assert!(twice.chunks(2).all(|pair| pair[0] == pair[1]), "doubled events have one id: {twice:?}");

        world.switched(json!({"reorder": 1})).await;
        world.jumped("reorder").await;
        assert_eq!(world.statuses(&queue).await, ["running", "initiating"], "the third waits for one to overtake it");
        world.jump("PT1M").await;
        assert_eq!(world.statuses(&queue).await, ["completed"], "but not for ever");

        world.switched(json!({})).await;
        world.jumped("again").await;
        assert_eq!(world.statuses(&queue).await, ALL);
        world
    });
}

#[test]
fn late_events_follow_the_clock_and_are_never_lost() {
    simulated(Options { speed: 2.0, ..Options::default() }, async |world| {
        let queue = world.subscribed("aws.fis").await;
        world.freeze().await;
        world.switched(json!({"delay": "PT20M"})).await;
        world.jumped("delay").await;
        assert!(world.statuses(&queue).await.is_empty());
        let state = world.state().await;
        assert_eq!((&state["events"]["held"], &state["events"]["delay"]), (&json!(3), &json!("PT20M")));
        // Twenty minutes last ten at this speed, counted from the event; one and a half have passed since the first.
        world.jump("PT8M29S").await;
        assert!(world.statuses(&queue).await.is_empty());
        world.jump("PT1S").await;
        assert_eq!(world.statuses(&queue).await, ["initiating"]);
        // Four times as fast, what is left takes a quarter of the time.
        world.clock(json!({"speed": 8})).await;
        world.jump("PT9S").await;
        assert_eq!(world.statuses(&queue).await, ["running", "completed"]);
        world.jumped("held").await;
        assert!(world.statuses(&queue).await.is_empty());
        world.switched(json!({})).await;
        assert_eq!(world.statuses(&queue).await, ALL, "switching off lets go of what is held");
        world
    });
}

#[test]
fn late_events_come_when_nobody_calls() {
    simulated(drowsy(fast()), async |world| {
        let queue = world.subscribed("aws.fis").await;
        world.switched(json!({"delay": "PT20M"})).await;
        let template = world.template([wait("w", MINUTE, &[])]).await;
        let poll = world.polling(&queue).await;
        world.start(&template, "t").await;
        // The events are more than a second late: all that could bring them is the clock.
        let received = poll.await.expect("no panic").expect("a receive");
        assert_eq!(received.messages().len(), 1, "{received:?}");
        world
    });
}

#[test]
fn fates_depend_on_the_seed_alone() {
    let fates = std::cell::RefCell::new(Vec::new());
    for seed in [1, 1, 2] {
        simulated(Options { seed, ..still() }, async |world| {
            let queue = world.subscribed("aws.fis").await;
            world.freeze().await;
            world.switched(json!({"drop": 0.3, "duplicate": 0.3, "reorder": 0.3})).await;
            for round in 0..6 {
                world.jumped(&format!("t{round}")).await;
            }
            let statuses = world.statuses(&queue).await;
            fates.borrow_mut().push(statuses);
            world
        });
    }
    let fates = fates.into_inner();
    assert_eq!(fates[0], fates[1]);
    assert_ne!(fates[0], fates[2]);
    assert!((6..36).contains(&fates[0].len()), "{fates:?}");
}

#[test]
fn switches_that_make_no_sense_are_refused() {
    simulated(fast(), async |world| {
        for (switches, place) in [
            (json!({"drop": 1.5}), "drop"),
            (json!({"duplicate": -0.1}), "duplicate"),
            (json!({"delay": "-PT1S"}), "delay"),
            (json!({"delay": 5}), "delay"),
            (json!({"lose": 0.5}), "lose"),
        ] {
            let (status, answer) = world.control("PUT", "events", switches.clone()).await;
            let message = answer["message"].as_str().expect("a message");
            assert!(status == 400 && message.contains(place), "{switches}: {status} {message}");
        }
        let state = world.state().await;
        assert_eq!(state["events"]["drop"], json!(0.0));
        world
    });
}
