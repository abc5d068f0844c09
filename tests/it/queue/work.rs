//! A batch in work: recorded, hidden, deleted.

use std::time::Duration;

use serde_json::json;

use super::scene::{self, Scene, health, recorded, wait_for_health};
use crate::{
    process::deployment,
    support::{disk::Lock, eventually, let_pass},
};

fn batch_is_taken_in_and_deleted_with_one_call(scene: &Scene) {
    let queue = scene.queue("batch", json!({}));
    for n in 0..10 {
        scene.send(&queue, &deployment(&format!("e-{n}")));
    }
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    scene.wait_until_empty(&queue);
    assert_eq!(recorded(&home).len(), 10);
    let deletes = scene.tap.calls("DeleteMessageBatch");
    assert_eq!(deletes.len(), 1, "{deletes:?}");
    assert_eq!(deletes[0]["Entries"].as_array().map(Vec::len), Some(10));
    assert!(scene.tap.calls("ChangeMessageVisibilityBatch").is_empty(), "what is taken in at once needs no extension");
}

/// Spoils the receipts of the first entries of every call that deletes.
fn spoil(scene: &Scene, entries: usize, mut calls: u32) {
    scene.tap.meddle("DeleteMessageBatch", move |body| {
        if calls > 0 {
            calls -= 1;
            for entry in body["Entries"].as_array_mut().into_iter().flatten().take(entries) {
                scene::spoil(entry);
            }
        }
        None
    });
}

fn entries_that_could_not_be_deleted_are_deleted_again(scene: &Scene) {
    let queue = scene.queue("again", json!({}));
    for n in 0..5 {
        scene.send(&queue, &deployment(&format!("e-{n}")));
    }
    spoil(scene, 2, 1);
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    scene.wait_until_empty(&queue);
    let sizes: Vec<_> =
        scene.tap.calls("DeleteMessageBatch").iter().map(|c| c["Entries"].as_array().map(Vec::len)).collect();
    assert_eq!(sizes, [Some(5), Some(2)], "only those that failed are told again");
    assert!(!home.log().contains("not deleted"), "{}", home.log());
}

fn message_that_cannot_be_deleted_comes_again_and_is_known(scene: &Scene) {
    let queue = scene.queue("undeleted", json!({"VisibilityTimeout": "1"}));
    scene.send(&queue, &deployment("e-1"));
    scene.send(&queue, &deployment("e-2"));
    spoil(scene, 1, 3);
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    home.wait_for_log("messages were taken in and not deleted; they come again");
    scene.wait_until_empty(&queue);
    assert_eq!(recorded(&home), ["e-1", "e-2"]);
    assert_eq!(health(&home), "ready", "others are read meanwhile");
}

fn batch_that_cannot_be_recorded_stays_hidden_until_it_is(scene: &Scene) {
    let queue = scene.queue("hidden", json!({"VisibilityTimeout": "3"}));
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    wait_for_health(&home, "ready");
    let lock = Lock::take(&home);
    scene.send(&queue, &deployment("e-1"));
    let extended = eventually("an extension", || scene.tap.calls("ChangeMessageVisibilityBatch").first().cloned());
    assert_eq!(extended["Entries"][0]["VisibilityTimeout"], json!(60));
    wait_for_health(&home, "messages cannot be recorded");
    // Longer than the queue itself would hide it.
    let_pass(Duration::from_secs(4));
    assert_eq!(scene.receive(&queue), Vec::<String>::new());
    drop(lock);
    scene.wait_until_empty(&queue);
    assert_eq!(recorded(&home), ["e-1"]);
    assert_eq!(home.log().matches("could not be recorded").count(), 1, "said once");
    wait_for_health(&home, "ready");
}

fn stop_ends_a_poll_at_once(scene: &Scene) {
    let queue = scene.queue("stop", json!({}));
    let home = scene.home(&queue, 3);
    let mut agent = home.agent();
    wait_for_health(&home, "ready");
    let waits = || scene.tap.calls("ReceiveMessage").iter().filter(|call| call["WaitTimeSeconds"] == json!(20)).count();
    eventually("three long polls", || (waits() >= 3).then_some(()));
    agent.signal("TERM");
    assert_eq!(agent.ends(Duration::from_secs(5)).code(), Some(0), "{}", home.log());
}

fn stop_hands_back_what_cannot_be_recorded(scene: &Scene) {
    let queue = scene.queue("back", json!({"VisibilityTimeout": "3600"}));
    let home = scene.home(&queue, 1);
    let mut agent = home.agent();
    wait_for_health(&home, "ready");
    let lock = Lock::take(&home);
    scene.send(&queue, &deployment("e-1"));
    wait_for_health(&home, "messages cannot be recorded");
    agent.signal("TERM");
    agent.ends(crate::support::PATIENCE);
    assert_eq!(scene.receive(&queue), [deployment("e-1")], "visible an hour before its time");
    drop(lock);
    assert_eq!(recorded(&home), Vec::<String>::new());
}

super::shown_of_both! {
    batch_is_taken_in_and_deleted_with_one_call
    entries_that_could_not_be_deleted_are_deleted_again
    message_that_cannot_be_deleted_comes_again_and_is_known
    batch_that_cannot_be_recorded_stays_hidden_until_it_is
    stop_ends_a_poll_at_once
    stop_hands_back_what_cannot_be_recorded
}
