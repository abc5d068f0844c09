//! Queues that cannot be used: what is said, how often, and what happens when they can be again.

use serde_json::json;

use super::scene::{Scene, health, recorded, wait_for_health};
use crate::{
    process::deployment,
    support::{PATIENCE, disk::Lock, eventually, tap::Refusal, within},
};

fn queue_that_is_deleted_and_made_again_is_read_again(scene: &Scene) {
    let queue = scene.queue("gone", json!({}));
    let home = scene.home(&queue, 2);
    let _agent = home.agent();
    wait_for_health(&home, "ready");
    scene.sqs("DeleteQueue", &json!({"QueueUrl": queue}));
    // Moto finds the queue gone when the polls that are under way are over.
    let said = within(PATIENCE * 2, "a queue that is gone", || {
        Some(health(&home)).filter(|said| said.contains("it is looked for again and again"))
    });
    assert!(said.starts_with("not-found: "), "{said}");
    scene.skip_a_minute();
    assert_eq!(scene.queue("gone", json!({})), queue);
    scene.send(&queue, &deployment("e-1"));
    scene.wait_until_empty(&queue);
    wait_for_health(&home, "ready");
    assert_eq!(recorded(&home), ["e-1"]);
    assert_eq!(home.log().matches("queue cannot be used").count(), 1, "{}", home.log());
    assert_eq!(home.log().matches("queue can be used again").count(), 1, "{}", home.log());
}

super::shown_of_both! { queue_that_is_deleted_and_made_again_is_read_again }

#[test]
fn errors_of_kms_and_policies_are_named_with_what_helps() {
    let scene = Scene::simulator();
    let queue = scene.queue("sealed", json!({}));
    let home = scene.home(&queue, 1);
    let refuse = |code, query, message| {
        scene.tap.meddle("ReceiveMessage", move |_| Some(Refusal(code, query, message)));
    };
    refuse("KmsAccessDenied", "KMS.AccessDeniedException", "The ciphertext refers to a key that you may not use");
    let _agent = home.agent();
    let said = wait_for_health(&home, "kms:Decrypt");
    assert!(said.starts_with("denied: KMS.AccessDeniedException: The ciphertext refers to"), "{said}");
    refuse("KmsDisabled", "KMS.DisabledException", "arn:aws:kms:us-east-1:123456789012:key/k is disabled.");
    wait_for_health(&home, "the key that encrypts the queue is disabled: enable it");
    refuse("AccessDeniedException", "AccessDeniedException", "not authorized to perform: sqs:receivemessage");
    wait_for_health(&home, "the agent needs sqs:ReceiveMessage");
    scene.tap.leave("ReceiveMessage");
    scene.send(&queue, &deployment("e-1"));
    scene.wait_until_empty(&queue);
    assert_eq!(home.log().matches("queue cannot be used").count(), 3, "each once: {}", home.log());
}

#[test]
fn deletes_that_are_denied_are_said_and_lose_nothing() {
    let scene = Scene::simulator();
    let queue = scene.queue("undeletable", json!({"VisibilityTimeout": "1"}));
    let denied = || Some(Refusal("AccessDenied", "AccessDenied", "not authorized to perform: sqs:deletemessage"));
    scene.tap.meddle("DeleteMessageBatch", move |_| denied());
    scene.send(&queue, &deployment("e-1"));
    let home = scene.home(&queue, 1);
    let _agent = home.agent();
    wait_for_health(&home, "sqs:deletemessage; the agent needs");
    scene.tap.leave("DeleteMessageBatch");
    scene.wait_until_empty(&queue);
    wait_for_health(&home, "ready");
    assert_eq!(recorded(&home), ["e-1"]);
}

#[test]
fn extension_that_is_denied_is_said_once_and_delays_nothing() {
    let scene = Scene::simulator();
    let queue = scene.queue("unextended", json!({}));
    let home = scene.home(&queue, 1);
    scene.tap.meddle("ChangeMessageVisibilityBatch", |_| {
        Some(Refusal("AccessDenied", "AccessDenied", "not authorized to perform: sqs:changemessagevisibility"))
    });
    let _agent = home.agent();
    wait_for_health(&home, "ready");
    for id in ["e-1", "e-2"] {
        let lock = Lock::take(&home);
        let asked = scene.tap.calls("ChangeMessageVisibilityBatch").len();
        scene.send(&queue, &deployment(id));
        eventually("an extension", || (scene.tap.calls("ChangeMessageVisibilityBatch").len() > asked).then_some(()));
        drop(lock);
        scene.wait_until_empty(&queue);
    }
    assert_eq!(recorded(&home), ["e-1", "e-2"]);
    assert_eq!(home.log().matches("may not be kept hidden").count(), 1, "{}", home.log());
}
