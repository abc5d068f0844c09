//! Order, and who gets what: FIFO groups, many receivers, several agents, and events that come twice or late.

use std::collections::BTreeMap;

use firedrill::{domain::run::Run, store::sql::MAX_QUARANTINED};
use serde_json::json;

use super::scene::{self, Scene, recorded};
use crate::{
    process::deployment,
    support::{disk::execute, eventually, let_pass},
};

/// Groups of a FIFO queue, and events of each.
const GROUPS: usize = 6;
const EVENTS: usize = 12;

/// Sends events `e-GROUP-NUMBER`, one group after the other or in turns.
fn send_groups(scene: &Scene, queue: &str) {
    for n in 0..EVENTS {
        for group in 0..GROUPS {
            scene.send_to_group(queue, &format!("g{group}"), &deployment(&format!("e-{group}-{n:02}")));
        }
    }
}

/// The numbers of each group, as they were recorded.
fn by_group(recorded: &[String]) -> BTreeMap<&str, Vec<&str>> {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for event in recorded {
        let (group, number) = event.rsplit_once('-').expect("a number");
        groups.entry(group).or_default().push(number);
    }
    groups
}

#[track_caller]
fn assert_in_order(recorded: &[String]) {
    for (group, numbers) in by_group(recorded) {
        assert!(numbers.is_sorted(), "{group}: {numbers:?}");
    }
}

fn order_of_each_group_is_kept_by_many_receivers_that_fail(scene: &Scene) {
    let queue = scene.queue("groups.fifo", json!({"VisibilityTimeout": "2"}));
    send_groups(scene, &queue);
    // Every other delete fails for some of its messages, for good as far as this delivery goes.
    let mut calls = 0;
    scene.tap.meddle("DeleteMessageBatch", move |body| {
        calls += 1;
        let entries = body["Entries"].as_array_mut().expect("entries");
        for entry in entries.iter_mut().step_by(2).filter(|_| calls % 8 < 4) {
            scene::spoil(entry);
        }
        None
    });
    let home = scene.home(&queue, scene.many);
    let _agent = home.agent();
    eventually("every event", || (recorded(&home).len() == GROUPS * EVENTS).then_some(()));
    scene.tap.leave("DeleteMessageBatch");
    scene.wait_until_empty(&queue);
    assert_in_order(&recorded(&home));
    assert_eq!(recorded(&home).len(), GROUPS * EVENTS, "each once");
}

/// Lets the store refuse the event `e-bad`, whatever else it takes.
const REFUSE: &str = "CREATE TRIGGER refuse BEFORE INSERT ON events WHEN NEW.event_id LIKE 'e-bad%'
                      BEGIN SELECT RAISE(ABORT, 'refused'); END";

fn message_that_the_store_refuses_goes_to_the_dead_letter_queue(scene: &Scene) {
    let (queue, dead) = scene.with_redrive("refused", 3, 1);
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    execute(&home, REFUSE);
    for id in ["e-1", "e-bad", "e-2"] {
        scene.send(&queue, &deployment(id));
    }
    eventually("a dead letter", || (scene.depths(&dead).0 == 1).then_some(()));
    assert_eq!(scene.receive(&dead), [deployment("e-bad")]);
    scene.wait_until_empty(&queue);
    let mut taken = recorded(&home);
    taken.sort();
    assert_eq!(taken, ["e-1", "e-2"]);
    let told = home.log().matches("message cannot be recorded; it is left to the queue's redrive").count();
    assert_eq!(told, 3, "once a delivery");
}

/// Not shown of moto, which gives out the second of two messages before the first when both come again.
#[test]
fn refused_message_keeps_its_group_waiting_and_no_other() {
    let scene = Scene::simulator();
    let queue = scene.queue("waiting.fifo", json!({"VisibilityTimeout": "1"}));
    let home = scene.home(&queue, scene.many);
    let _agent = home.agent();
    execute(&home, REFUSE);
    for (group, id) in [("a", "e-1"), ("a", "e-bad"), ("a", "e-2"), ("b", "e-3"), ("a", "e-4"), ("b", "e-5")] {
        scene.send_to_group(&queue, group, &deployment(id));
    }
    eventually("what is not behind it", || (recorded(&home).len() == 3).then_some(()));
    home.wait_for_log("message cannot be recorded");
    // Time for a second delivery, in which what is behind it could slip through.
    let_pass(std::time::Duration::from_secs(2));
    let taken = recorded(&home);
    assert!(taken.iter().all(|id| ["e-1", "e-3", "e-5"].contains(&id.as_str())), "{taken:?}");
    execute(&home, "DROP TRIGGER refuse");
    scene.wait_until_empty(&queue);
    let taken = recorded(&home);
    let of_a: Vec<&String> = taken.iter().filter(|id| !["e-3", "e-5"].contains(&id.as_str())).collect();
    assert_eq!(of_a, ["e-1", "e-bad", "e-2", "e-4"]);
}

/// Fills the quarantine.
const FILL: &str = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 1000)
                    INSERT INTO quarantine (queue, message_id, received_at_us, reason, body, body_bytes)
                    SELECT 'q', 'm' || n, 0, 'no event', '', 0 FROM numbers";

/// What cannot be read has no place in an order: behind it nothing waits, also where it cannot be kept.
#[test]
fn message_that_a_full_quarantine_refuses_keeps_no_other_waiting() {
    assert_eq!(MAX_QUARANTINED, 1_000);
    let scene = Scene::simulator();
    let queue = scene.queue("full.fifo", json!({"VisibilityTimeout": "1"}));
    let home = scene.home(&queue, scene.many);
    let _agent = home.agent();
    execute(&home, FILL);
    for body in ["no event".to_owned(), deployment("e-1"), deployment("e-2")] {
        scene.send_to_group(&queue, "a", &body);
    }
    eventually("what is behind it", || (recorded(&home) == ["e-1", "e-2"]).then_some(()));
    home.wait_for_log("the quarantine is full");
    execute(&home, "DELETE FROM quarantine");
    scene.wait_until_empty(&queue);
    assert_eq!(home.read(async |store| store.quarantined(9).await.expect("rows").len()), Some(1));
}

fn events_that_come_twice_or_late_open_one_run_each(scene: &Scene) {
    let queue = scene.queue("twice", json!({"VisibilityTimeout": "1"}));
    // A redelivery: received by somebody who never deletes it.
    scene.send(&queue, &deployment("e-redelivered"));
    assert_eq!(scene.receive(&queue).len(), 1);
    // A duplicate, and the later event before the earlier one.
    for id in ["e-late", "e-doubled", "e-doubled", "e-early"] {
        scene.send(&queue, &deployment(id));
    }
    let home = scene.home(&queue, 2);
    let agent = home.agent();
    scene.wait_until_empty(&queue);
    let sent = |taken: &[String]| {
        let mut taken = taken.to_vec();
        taken.sort();
        taken == ["e-doubled", "e-early", "e-late", "e-redelivered"]
    };
    assert!(sent(&recorded(&home)), "{:?}", recorded(&home));
    // Killed in the middle of it all, and everything sent again.
    agent.kill_nine();
    for id in ["e-early", "e-late", "e-doubled", "e-redelivered"] {
        scene.send(&queue, &deployment(id));
    }
    let _agent = home.agent();
    scene.wait_until_empty(&queue);
    assert!(sent(&recorded(&home)), "{:?}", recorded(&home));
    home.wait_for("the end of a run", Run::is_over);
    eventually("four experiments", || (scene.stage.experiments().len() == 4).then_some(()));
}

/// Each agent has a store of its own, so each event goes to one of them: SQS gives a message to one receiver at a time.
/// What is delivered twice, once to each, opens a run at each: one queue an agent is the rule where that matters.
fn two_agents_on_one_queue_share_its_events(scene: &Scene) {
    let queue = scene.queue("shared", json!({}));
    let homes = [scene.home(&queue, 1), scene.home(&queue, 1)];
    let _agents = homes.each_ref().map(|home| home.agent());
    let sent: Vec<String> = (0..40).map(|n| format!("e-{n:02}")).collect();
    for id in &sent {
        scene.send(&queue, &deployment(id));
    }
    scene.wait_until_empty(&queue);
    let mut taken: Vec<String> = homes.iter().flat_map(recorded).collect();
    taken.sort();
    assert_eq!(taken, sent, "each event at one of them, none at both");
}

super::shown_of_both! {
    order_of_each_group_is_kept_by_many_receivers_that_fail
    message_that_the_store_refuses_goes_to_the_dead_letter_queue
    events_that_come_twice_or_late_open_one_run_each
    two_agents_on_one_queue_share_its_events
}
