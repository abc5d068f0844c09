//! `firedrill queue dlq` and `firedrill queue quarantine`: what got stuck is told, moved back or dropped.

use super::*;
use crate::support::eventually;

impl Cloud {
    fn send(&self, queue: &str, body: &str) {
        let mut send = self.sqs.send_message().queue_url(self.queue_url(queue)).message_body(body);
        if queue.ends_with(".fifo") {
            send = send.message_group_id("g");
        }
        self.runtime.block_on(send.send()).expect("sent");
    }

    /// Receives from a queue without ever deleting, until all its messages went to the dead-letter queue.
    fn neglect(&self, queue: &str) {
        eventually("an empty queue", || self.bodies(&self.queue_url(queue)).is_empty().then_some(()));
    }

    /// Receives and deletes all of a queue, in the order in which it comes.
    fn drained(&self, queue: &str) -> Vec<String> {
        let url = self.queue_url(queue);
        let mut bodies = Vec::new();
        loop {
            let receive = self.sqs.receive_message().queue_url(&url).max_number_of_messages(10);
            let messages = self
                .runtime
                .block_on(receive.wait_time_seconds(0).send())
                .expect("a receive")
                .messages
                .unwrap_or_default();
            if messages.is_empty() {
                return bodies;
            }
            for message in messages {
                let delete = self.sqs.delete_message().queue_url(&url).set_receipt_handle(message.receipt_handle);
                self.runtime.block_on(delete.send()).expect("a delete");
                bodies.push(message.body.expect("a body"));
            }
        }
    }
}

/// Ids and reasons, as `dlq list` tells them.
fn listed(home: &Home) -> Vec<(String, String)> {
    let shown = home.json(&["queue", "dlq", "list", "deployments"]);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let messages = shown["messages"].as_array().expect("messages").iter();
    messages.map(|message| (text(&message["id"]), text(&message["why"]))).collect()
}

const EVENT: &str = r#"{"source": "ci", "detail-type": "Deployment", "id": "e-1", "detail": {"s": "ok"}}"#;

#[test]
fn dead_letters_are_told_moved_back_and_dropped() {
    on_both(|cloud| {
        let home = cloud.home("deployments", "max_receives = 1", &["ci"]);
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
        for body in [EVENT, "hello", "again"] {
            cloud.send("deployments", body);
        }
        cloud.neglect("deployments");
        cloud.send("deployments-dlq", EVENT);
        let said = listed(&home);
        let whys: Vec<&str> = said.iter().map(|(_, why)| why.as_str()).collect();
        let count = |words: &str| whys.iter().filter(|why| why.contains(words)).count();
        // moto does not tell where a dead letter came from.
        let came = (count("received once without being deleted"), count("sent here by somebody"));
        assert!([(3, 1), (0, 4)].contains(&came), "{whys:?}");
        assert_eq!((said.len(), count("it is no event: the body is not JSON")), (4, 2), "{whys:?}");
        let ids: BTreeSet<String> = said.into_iter().map(|(id, _)| id).collect();
        let again: BTreeSet<String> = listed(&home).into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, again, "what was looked at is there at once");

        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        exits(&home.run(&["queue", "dlq", "redrive", "deployments", ids[0]]), 0, "1 message moved back");
        assert_eq!((cloud.drained("deployments").len(), listed(&home).len()), (1, 3));
        let said = home.run(&["queue", "dlq", "drop", "deployments", ids[1], "nobody", "--yes"]);
        exits(&said, 4, "1 message done; not found in queue `deployments-dlq`: nobody");
        exits(&home.run(&["queue", "dlq", "drop", "deployments", "--all"]), 2, "nothing was done");
        assert_eq!(listed(&home).len(), 2);
        exits(&home.run(&["queue", "dlq", "drop", "deployments", "--all", "--yes"]), 0, "2 messages dropped");
        exits(&home.run(&["queue", "dlq", "list", "deployments"]), 0, "holds no message that can be seen");
    });
}

#[test]
fn fifo_dead_letters_move_back_in_their_order() {
    on_both(|cloud| {
        let home = cloud.home("deployments.fifo", "max_receives = 1", &["ci"]);
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
        let bodies: Vec<String> = (0..25).map(|number| format!("body {number:02}")).collect();
        for body in &bodies {
            cloud.send("deployments-dlq.fifo", body);
        }
        exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 0, "25 messages moved back");
        assert_eq!(cloud.drained("deployments.fifo"), bodies);
        exits(&home.run(&["queue", "dlq", "list", "deployments"]), 0, "no message");
    });
}

#[test]
fn dead_letter_that_cannot_be_sent_stays_where_it_is() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    exits(&home.run(&["queue", "dlq", "list", "deployments"]), 1, "failed to read queue");
    cloud.make("deployments", "theirs");
    exits(&home.run(&["queue", "dlq", "list", "deployments"]), 4, "queue `deployments` has no dead-letter queue");
    exits(&home.run(&["queue", "dlq", "list", "other"]), 4, "there is no queue `other`");
    exits(&home.run(&["queue", "dlq", "redrive", "deployments"]), 2, "<ID>");
    let tag = cloud.sqs.tag_queue().queue_url(cloud.queue_url("deployments"));
    cloud.runtime.block_on(tag.tags("firedrill:managed-by", "deployments").send()).expect("tagged");
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");

    for number in 0..3 {
        cloud.send("deployments-dlq", &format!("body {number}"));
    }
    stage.fault("SendMessage", "500-before", 1);
    let said = home.run(&["queue", "dlq", "redrive", "deployments", "--all"]);
    exits(&said, 1, "0 messages done: failed to send message");
    assert_eq!(listed(&home).len(), 3, "all are there at once");
    // Sent but not deleted: it is there twice rather than not at all.
    stage.fault("DeleteMessage", "500-before", 1);
    exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 1, "failed to delete message");
    assert_eq!((listed(&home).len(), cloud.bodies(&cloud.queue_url("deployments")).len()), (3, 1));
}

#[test]
fn dead_letter_that_moves_back_starts_its_run() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    home.configure(&cloud.tables("deployments", "", &["ci"]).replace("EXT1a2b3c4d5e6f7", &template));
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
    let _agent = home.agent();
    for _copy in 0..120 {
        cloud.send("deployments-dlq", EVENT);
    }
    exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 0, "100 messages so far");
    home.wait_for("the run of the event", |run| run.is_over());
    eventually("an empty queue", || (stage.depth(&cloud.queue_url("deployments")) == 0).then_some(()));
    assert_eq!((stage.experiments().len(), home.runs().len()), (1, 1));
}

/// SQS gives what moves back another id, and an event without one of its own is known by that of its message.
#[test]
fn dead_letter_without_an_id_of_its_own_starts_one_run_however_often_it_moves() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    home.configure(&cloud.tables("deployments", "", &["ci"]).replace("EXT1a2b3c4d5e6f7", &template));
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
    cloud.send("deployments-dlq", &EVENT.replace(r#""id": "e-1", "#, ""));
    stage.fault("DeleteMessage", "500-before", 1);
    exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 1, "failed to delete message");
    exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 0, "1 message moved back");
    assert_eq!(stage.depth(&cloud.queue_url("deployments")), 2);
    let _agent = home.agent();
    home.wait_for("the run of the event", |run| run.is_over());
    eventually("an empty queue", || (stage.depth(&cloud.queue_url("deployments")) == 0).then_some(()));
    assert_eq!((stage.experiments().len(), home.runs().len()), (1, 1));
}

#[test]
fn quarantine_is_told_redriven_by_the_agent_and_dropped() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    exits(&home.run(&["queue", "quarantine", "list"]), 3, "no agent has run");
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
    let agent = home.agent();
    exits(&home.run(&["queue", "quarantine", "list"]), 0, "no message is in quarantine");
    cloud.send("deployments", "hello\n world");
    cloud.send("deployments", &"x".repeat(300_000));
    let messages = || home.json(&["queue", "quarantine", "list"])["messages"].as_array().expect("messages").clone();
    eventually("two messages", || (messages().len() == 2).then_some(()));
    let id = |cut: bool| {
        let found = messages().into_iter().find(|message| message["cut"] == cut).expect("a message");
        found["id"].as_str().expect("an id").to_owned()
    };
    let (whole, cut) = (id(false), id(true));
    let table = home.run(&["queue", "quarantine", "list"]);
    exits(&table, 0, "(cut, 300000 bytes)");
    exits(&table, 0, "hello world");
    exits(&home.run(&["queue", "quarantine", "redrive", &whole[..8]]), 1, "quarantined: the body is not JSON");
    exits(&home.run(&["queue", "quarantine", "redrive", &cut]), 1, "kept: its body had 300000 bytes, of which 16384");
    exits(&home.run(&["queue", "quarantine", "redrive", "nobody"]), 4, "no message `nobody` is in quarantine");
    exits(&home.run(&["queue", "quarantine", "redrive", ""]), 4, "several messages in quarantine begin with ``");
    assert_eq!(messages().len(), 2);
    // What can be read by a configuration that learnt to is taken in by it.
    cloud.send("deployments", r#"{"pipeline": "checkout", "status": "deployed"}"#);
    let later = eventually("one more message", || {
        let id = messages()[0]["id"].as_str().expect("an id").to_owned();
        (messages().len() == 3 && id != whole && id != cut).then_some(id)
    });
    let mapping = "[mappings.own]\nwhen = { pipeline = [\"checkout\"] }\nsource = \"ci\"\ndetail_type = \"done\"\n";
    let trigger =
        "[[experiments.drill.triggers]]\npattern = { source = [\"ci\"], detail = { status = [\"deployed\"] } }\n";
    home.configure(&(cloud.tables("deployments", "", &["ci"]) + trigger + mapping));
    exits(&home.run(&["reload"]), 0, "in force");
    exits(&home.run(&["queue", "quarantine", "redrive", &later]), 0, &format!("{later} matched, run "));
    assert_eq!((messages().len(), home.runs().len()), (2, 1));
    exits(&home.run(&["queue", "quarantine", "drop", &whole]), 2, "nothing was done");
    exits(&home.run(&["queue", "quarantine", "drop", &whole, "--yes"]), 0, "1 message dropped");
    exits(&home.run(&["queue", "quarantine", "drop", "--all", "--queue", "other", "--yes"]), 0, "0 messages dropped");
    exits(&home.run(&["queue", "quarantine", "drop", "--all", "--yes"]), 0, "1 message dropped");
    assert_eq!(messages().len(), 0);
    assert_eq!(agent.terminate(), 0);
    exits(&home.run(&["queue", "quarantine", "list"]), 0, "no message is in quarantine");
}
