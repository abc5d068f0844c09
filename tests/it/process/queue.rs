//! `firedrill queue` against moto and against the simulator: what is made, kept, refused and deleted.

mod export;
mod stuck;

use std::collections::BTreeSet;

use aws_sdk_eventbridge::types::{PutEventsRequestEntry, Target};
use aws_sdk_sqs::types::QueueAttributeName as Attribute;
use firedrill::domain::event::presets::{PRESETS, Preset};
use serde_json::Value;

use crate::support::{
    agent::{Home, Said},
    moto::{Moto, sdk},
    stage::Stage,
};

/// An AWS that is none, and clients of it that are not Firedrill's.
pub struct Cloud {
    pub url: String,
    pub sqs: aws_sdk_sqs::Client,
    pub events: aws_sdk_eventbridge::Client,
    pub runtime: tokio::runtime::Runtime,
}

impl Cloud {
    pub fn at(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = sdk(url).into_builder().region(aws_config::Region::new("us-east-1")).build();
        let (sqs, events) = (aws_sdk_sqs::Client::new(&config), aws_sdk_eventbridge::Client::new(&config));
        Self { url: url.to_owned(), sqs, events, runtime }
    }

    /// The queues and rules there are.
    fn names(&self) -> BTreeSet<String> {
        self.runtime.block_on(async {
            let queues = self.sqs.list_queues().send().await.expect("queues").queue_urls.unwrap_or_default();
            let queues = queues.iter().filter_map(|url| url.rsplit('/').next()).map(str::to_owned);
            let rules = self.events.list_rules().send().await.expect("rules").rules.unwrap_or_default();
            queues.chain(rules.into_iter().filter_map(|rule| rule.name)).collect()
        })
    }

    /// Makes a queue with a rule that leads to it, as somebody else would.
    fn make(&self, queue: &str, rule: &str) -> String {
        self.runtime.block_on(async {
            let made = self.sqs.create_queue().queue_name(queue).send().await.expect("a queue").queue_url;
            let put = self.events.put_rule().name(rule).event_pattern(r#"{"source": ["theirs"]}"#);
            put.send().await.expect("a rule");
            let arn = format!("arn:aws:sqs:us-east-1:123456789012:{queue}");
            let target = Target::builder().id("theirs").arn(arn).build().expect("a target");
            self.events.put_targets().rule(rule).targets(target).send().await.expect("a target");
            made.expect("a URL")
        })
    }

    fn attributes(&self, queue: &str) -> Value {
        let asked = self.sqs.get_queue_attributes().queue_url(queue).attribute_names(Attribute::All);
        let answer = self.runtime.block_on(asked.send()).expect("attributes").attributes.unwrap_or_default();
        answer.into_iter().map(|(name, value)| (name.as_str().to_owned(), value)).collect()
    }

    pub fn put(&self, source: &str, detail: &str) {
        let entry = PutEventsRequestEntry::builder().source(source).detail_type("Deployment").detail(detail).build();
        let put = self.runtime.block_on(self.events.put_events().entries(entry).send()).expect("put");
        assert_eq!(put.failed_entry_count, 0);
    }

    /// Messages of a queue, seen as little as can be.
    pub fn bodies(&self, queue: &str) -> Vec<String> {
        let receive = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).visibility_timeout(0);
        let messages =
            self.runtime.block_on(receive.wait_time_seconds(0).send()).expect("a receive").messages.unwrap_or_default();
        messages.into_iter().filter_map(|message| message.body).collect()
    }

    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/123456789012/{name}", self.url)
    }

    /// A configuration whose queue is to be made, with triggers for some sources.
    fn home(&self, queue: &str, provision: &str, sources: &[&str]) -> Home {
        let home = Home::new(&self.url, "");
        home.configure(&self.tables(queue, provision, sources));
        home
    }

    fn tables(&self, queue: &str, provision: &str, sources: &[&str]) -> String {
        let trigger = |source: &&str| {
            format!(
                "[[experiments.drill.triggers]]\npattern = {{ source = [\"{source}\"], detail = {{ s = [\"ok\"] }} }}\n"
            )
        };
        format!(
            "[queues.deployments]\nurl = \"{}\"\nprovision = {{ {provision} }}\n[experiments.drill]\n\
             template = \"EXT1a2b3c4d5e6f7\"\n{}",
            self.queue_url(queue),
            sources.iter().map(trigger).collect::<String>(),
        )
    }
}

/// Runs a test against the simulator, then against moto.
fn on_both(test: impl Fn(&Cloud)) {
    let stage = Stage::start(600.0);
    test(&Cloud::at(&stage.url()));
    let moto = Moto::start();
    test(&Cloud::at(moto.url()));
}

#[track_caller]
fn exits(said: &Said, code: i32, words: &str) {
    assert_eq!(said.code, code, "{said:?}");
    assert!(said.stdout.contains(words) || said.stderr.contains(words), "no `{words}` in {said:?}");
}

/// What `plan` shows: `create queue deployments`, and the attributes that become otherwise.
fn plan(home: &Home) -> (Vec<String>, Vec<String>) {
    let said = home.run(&["queue", "plan", "-o", "json"]);
    let shown: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    let changes = shown["queues"][0]["changes"].as_array().expect("changes").clone();
    assert_eq!(said.code, if changes.is_empty() { 0 } else { 5 }, "{said:?}");
    let text = |value: &Value| value.as_str().expect("a text").split('.').next().expect("a part").to_owned();
    let head = |c: &Value| format!("{} {} {}", text(&c["action"]), text(&c["kind"]), text(&c["name"]));
    let details = changes.iter().flat_map(|change| change["details"].as_array().expect("details"));
    (changes.iter().map(head).collect(), details.map(|detail| text(&detail["name"])).collect())
}

#[test]
fn applied_twice_changes_nothing_and_destroyed_leaves_nothing() {
    on_both(|cloud| {
        cloud.make("theirs", "firedrill-theirs");
        let home = cloud.home("deployments", "", &["ci", "cd"]);
        exits(&home.run(&["queue", "plan"]), 5, "4 to create, 0 to change, 0 to delete");
        exits(&home.run(&["queue", "apply"]), 2, "`--yes` answers the question");
        assert_eq!(cloud.names().len(), 2, "nothing was made yet");
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "[4/4] put rule `default/firedrill-deployments.");
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "nothing is to be changed");
        exits(&home.run(&["queue", "plan"]), 0, "nothing is to be changed");

        cloud.put("ci", r#"{"s": "ok"}"#);
        cloud.put("ci", r#"{"s": "no"}"#);
        assert_eq!(cloud.bodies(&cloud.queue_url("deployments")).len(), 1);
        exits(&home.run(&["queue", "destroy", "--yes"]), 2, "queue `deployments` still holds 1 messages");
        exits(&home.run(&["queue", "destroy", "--yes", "--with-messages"]), 0, "0 to change, 4 to delete");
        assert_eq!(cloud.names(), ["firedrill-theirs", "theirs"].map(str::to_owned).into());
        exits(&home.run(&["queue", "destroy", "--yes"]), 0, "nothing is to be changed");
    });
}

#[test]
fn changed_configuration_changes_what_must_and_no_more() {
    on_both(|cloud| {
        let home = cloud.home("deployments", "", &["ci"]);
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
        let check = |provision: &str, sources: &[&str], changes: &[&str], details: &[&str]| {
            home.configure(&cloud.tables("deployments", provision, sources));
            let shown = plan(&home);
            assert_eq!((shown.0, shown.1), (texts(changes), texts(details)), "{provision} {sources:?}");
            exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
            assert_eq!(plan(&home), (Vec::new(), Vec::new()), "{provision} {sources:?}");
        };
        let queue = "change queue deployments";
        check("max_receives = 9", &["ci"], &[queue], &["RedrivePolicy"]);
        check("max_receives = 9, retention = \"2d\"", &["ci"], &[queue], &["MessageRetentionPeriod"]);
        let (made, gone) = ("create rule default/firedrill-deployments", "delete rule default/firedrill-deployments");
        let all = ["Policy", "Policy", "EventPattern", "Targets", "EventPattern"];
        let changes = ["change queue deployments-dlq", queue, made, gone];
        check("max_receives = 9, retention = \"2d\"", &["ci", "cd"], &changes, &all);
        let attributes = cloud.attributes(&cloud.queue_url("deployments"));
        let policy = attributes["Policy"].as_str().expect("a policy");
        assert_eq!(policy.matches("rule/firedrill-").count(), 2, "{policy}");
        assert_eq!(cloud.names().len(), 4);
    });
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn what_is_not_ours_is_neither_changed_nor_deleted() {
    on_both(|cloud| {
        let url = cloud.make("deployments", "theirs");
        let before = cloud.attributes(&url);
        let home = cloud.home("deployments", "", &["ci"]);
        for command in ["plan", "apply"] {
            let said = home.run(&["queue", command]);
            exits(&said, 2, "queue `deployments` exists without the tag `firedrill:managed-by = deployments`");
        }
        exits(&home.run(&["queue", "destroy", "--yes", "--with-messages"]), 0, "nothing is to be changed");
        assert_eq!(cloud.attributes(&url), before);
        assert_eq!(cloud.names(), ["deployments", "theirs"].map(str::to_owned).into());
        // Who sets the tag hands it over.
        let tag = cloud.sqs.tag_queue().queue_url(&url).tags("firedrill:managed-by", "deployments");
        cloud.runtime.block_on(tag.send()).expect("tagged");
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "[2/4] set the attributes of queue `deployments`");
        assert_eq!(plan(&home), (Vec::new(), Vec::new()));
    });
}

#[test]
fn fifo_queue_own_bus_and_own_key_are_made_once() {
    on_both(|cloud| {
        let bus = cloud.events.create_event_bus().name("own");
        cloud.runtime.block_on(bus.send()).expect("a bus");
        let home = cloud.home("deployments.fifo", "bus = \"own\", kms_key = \"alias/own\"", &["ci"]);
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "[3/3] put rule `own/firedrill-deployments.");
        assert_eq!(plan(&home), (Vec::new(), Vec::new()));
        let attributes = cloud.attributes(&cloud.queue_url("deployments.fifo"));
        assert_eq!((&attributes["FifoQueue"], &attributes["KmsMasterKeyId"]), (&"true".into(), &"alias/own".into()));
        // Another bus: the rule on the old one goes.
        home.configure(&cloud.tables("deployments.fifo", "kms_key = \"alias/own\"", &["ci"]));
        let (changes, _) = plan(&home);
        assert_eq!(changes.iter().filter(|change| change.starts_with("delete rule own/")).count(), 1, "{changes:?}");
        exits(&home.run(&["queue", "destroy", "--yes"]), 0, "3 to delete");
        assert_eq!(cloud.names(), BTreeSet::new());
    });
}

#[test]
fn made_queue_brings_an_event_to_a_run() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    home.configure(&cloud.tables("deployments", "", &["ci"]).replace("EXT1a2b3c4d5e6f7", &template));
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
    let _agent = home.agent();
    cloud.put("ci", r#"{"s": "ok"}"#);
    let run = home.wait_for("the run of the event", |run| run.is_over());
    assert_eq!(run.trigger.kind(), "event");
    assert_eq!(stage.experiments().len(), 1);
}

#[test]
fn two_owners_of_one_local_name_leave_each_other_alone() {
    on_both(|cloud| {
        let (ours, theirs) = (cloud.home("team-a", "", &["ci"]), cloud.home("team-b", "", &["ci"]));
        exits(&ours.run(&["queue", "apply", "--yes"]), 0, "");
        exits(&theirs.run(&["queue", "apply", "--yes"]), 0, "4 to create, 0 to change, 0 to delete");
        assert_eq!((plan(&ours), plan(&theirs)), ((Vec::new(), Vec::new()), (Vec::new(), Vec::new())));
        exits(&theirs.run(&["queue", "destroy", "--yes"]), 0, "4 to delete");
        assert_eq!(plan(&ours), (Vec::new(), Vec::new()));
        assert_eq!(cloud.names().len(), 4);
    });
}

#[test]
fn what_cannot_be_made_any_more_can_still_be_destroyed() {
    on_both(|cloud| {
        let home = cloud.home("deployments", "", &["ci"]);
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
        home.configure(&cloud.tables("deployments", "", &[&"x".repeat(3_000)]));
        exits(&home.run(&["queue", "apply", "--yes"]), 2, "2048 are possible");
        let tables = cloud.tables("deployments", "bus = \"gone\"", &["ci"]);
        home.configure(&tables.replace("provision = { bus = \"gone\" }\n", ""));
        exits(&home.run(&["queue", "destroy", "--yes"]), 2, "no queue is made by firedrill");
        exits(&home.run(&["queue", "destroy", "deployments", "--yes"]), 0, "4 to delete");
        assert_eq!(cloud.names(), BTreeSet::new());
    });
}

#[test]
fn event_that_cannot_be_delivered_is_a_dead_letter() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let home = cloud.home("deployments", "", &["ci"]);
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
    let nobody = r#"{"Version": "2012-10-17", "Statement": []}"#;
    let set = cloud.sqs.set_queue_attributes().queue_url(cloud.queue_url("deployments"));
    cloud.runtime.block_on(set.attributes(Attribute::Policy, nobody).send()).expect("set");
    cloud.put("ci", r#"{"s": "ok"}"#);
    assert_eq!(cloud.bodies(&cloud.queue_url("deployments")).len(), 0);
    exits(&home.run(&["queue", "dlq", "list", "deployments"]), 0, "sent here by somebody");
    exits(&home.run(&["queue", "apply", "--yes"]), 0, "0 to create, 1 to change, 0 to delete");
    exits(&home.run(&["queue", "dlq", "redrive", "deployments", "--all"]), 0, "1 message moved back");
    assert_eq!(cloud.bodies(&cloud.queue_url("deployments")).len(), 1);
}

#[test]
fn every_preset_is_led_to_the_queue() {
    on_both(|cloud| {
        let home = cloud.home("deployments", "", &[]);
        let preset = |preset: &Preset| format!("[[experiments.drill.triggers]]\non = \"{}\"\n", preset.name);
        let triggers: String = PRESETS.iter().map(preset).collect();
        home.configure(&(cloud.tables("deployments", "", &[]) + &triggers));
        exits(&home.run(&["queue", "apply", "--yes"]), 0, "");
        assert_eq!(plan(&home), (Vec::new(), Vec::new()));
        // One each, and one for FIS's own events.
        assert_eq!(cloud.names().len(), 2 + PRESETS.len() + 1);
    });
}

#[test]
fn mistakes_are_named_before_anything_is_made() {
    let stage = Stage::start(600.0);
    let cloud = Cloud::at(&stage.url());
    let check = |queue: &str, provision: &str, code: i32, words: &str| {
        exits(&cloud.home(queue, provision, &["ci"]).run(&["queue", "apply", "--yes"]), code, words);
    };
    check("q", "bus = \"none\"", 1, "failed to find bus `none`: ");
    check("q", "bus = \"arn:aws:events:us-east-1:123456789012:event-bus/x\"", 2, "is not the name of a bus");
    check("q", "kms_key = \"alias/aws/sqs\"", 2, "EventBridge cannot send");
    check("q", "max_receives = 0", 2, "from 1 to 1000 is possible");
    check("q", "retention = \"15d\"", 2, "from 1m to 14d is possible");
    check("no/queue", "", 2, "does not end with an account and a name");
    let home = cloud.home("q", "", &["ci"]);
    exits(&home.run(&["queue", "plan", "other"]), 4, "there is no queue `other`");
    let tables = cloud.tables("q", "", &["ci"]);
    home.configure(&tables.replace("123456789012", "210987654321"));
    exits(
        &home.run(&["queue", "plan"]),
        2,
        "its `url` is of account 210987654321, the credentials are of 123456789012",
    );
    home.configure(&tables.replace("provision = {  }\n", ""));
    exits(&home.run(&["queue", "plan"]), 2, "no queue is made by firedrill\nhint: add a table");
    exits(&home.run(&["queue", "plan", "deployments"]), 2, "queue `deployments` is not made by firedrill");
    assert_eq!(cloud.names(), BTreeSet::new());
}
