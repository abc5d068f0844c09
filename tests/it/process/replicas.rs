//! Several agents on one server: one is active, the others stand by, and whatever becomes of the active one, nothing is lost
//! and nothing is started twice.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use firedrill::domain::{
    ids::RUN_TAG,
    run::{Run, Trigger},
};
use serde_json::{Value, json};

use super::deployment;
use crate::support::{
    agent::{Agent, Home},
    eventually,
    postgres::Postgres,
    stage::Stage,
    within,
};

/// Longest time from a crash of the active replica until another one is.
const TAKEOVER: Duration = Duration::from_secs(10);
/// Longest time from the end of a clean stop until another replica is seen active, which it is at once.
const HANDOVER: Duration = Duration::from_secs(3);
/// A replica that stands by looks at the lease no sooner than this after it did, in seconds, unless it hears of it.
const LOOKS_AGAIN_S: f64 = 0.8;
/// Takeovers tried, and how many of them have to come before the next look would have.
const TAKEOVERS: usize = 10;
const UNLOOKED_FOR: usize = 3;
/// Longest time until everything has come to rest.
const SETTLES: Duration = Duration::from_secs(60);
/// Most events sent until both replicas have had one.
const MOST_EVENTS: usize = 200;

fn rules(queue: &str, template: &str, schedule: &str) -> String {
    format!(
        "[telemetry]\nlog_filter = \"info\"\n[queues.deployments]\nurl = \"{queue}\"\n\
         [experiments.often]\ntemplate = \"{template}\"\noverlap = \"allow\"\n{schedule}\n\
         [experiments.after-deployment]\ntemplate = \"{template}\"\noverlap = \"allow\"\n\
         triggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n"
    )
}

const OFTEN: &str = "schedules = [{ name = \"often\", cron = \"*/2 * * * * *\" }]";

pub fn role(home: &Home) -> Value {
    let said = home.run(&["status", "-o", "json"]);
    serde_json::from_str::<Value>(&said.stdout).map_or(Value::Null, |status| status["role"].clone())
}

pub fn is_active(home: &Home) -> Option<()> {
    (role(home) == json!("active")).then_some(())
}

/// Waits until a replica stands by for another, and answers as one that is ready.
#[track_caller]
fn stands_by(home: &Home, holder: &str) {
    eventually("a standby", || (role(home)["standby"]["holder"] == holder).then_some(()));
    let said = home.run(&["status"]);
    assert!(said.stdout.contains(&format!("standby; active is {holder}")), "{said:?}");
    eventually("a standby that is ready", || home.run(&["status"]).stdout.contains(" ready, since").then_some(()));
    assert_eq!(home.run(&["runs"]).code, 0, "it answers reads");
}

/// Sends events until both replicas have taken some in; returns their ids.
fn events_to_both(stage: &Stage, queue: &str, homes: &[Home; 2]) -> Vec<String> {
    let mut sent = Vec::new();
    while !homes.iter().all(|home| home.log().contains("event opened a run")) {
        assert!(sent.len() < MOST_EVENTS, "one replica takes no events in");
        for _ in 0..10 {
            let id = format!("event-{}", sent.len());
            stage.send(queue, &deployment(&id));
            sent.push(id);
        }
        eventually("an empty queue", || (stage.depth(queue) == 0).then_some(()));
    }
    sent
}

/// Has the active one end in some way, and tells after how long the other one was active.
#[track_caller]
fn taken_over(patience: Duration, what: &str, next: &Home, end: impl FnOnce()) {
    end();
    let ended = Instant::now();
    within(patience, what, || is_active(next));
    println!("{what}: active after {:.1} s", ended.elapsed().as_secs_f64());
}

#[test]
fn replica_takes_over_from_one_that_is_killed_paused_or_stopped_and_nothing_starts_twice() {
    let stage = Stage::start(600.0);
    let queue = stage.queue("deployments");
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let server = Postgres::start();
    let url = server.database("drills");
    let tables = rules(&queue, &template, OFTEN);
    let homes = ["one", "two"].map(|replica| Home::on(&stage.url(), &tables, &url, replica));
    let [one, two] = &homes;

    let first = one.agent();
    eventually("the first one active", || is_active(one));
    let second = two.agent();
    stands_by(two, "one");
    let sent = events_to_both(&stage, &queue, &homes);

    taken_over(TAKEOVER, "killed", two, || first.kill_nine());
    let first = one.agent();
    stands_by(one, "two");

    taken_over(TAKEOVER, "paused", one, || second.signal("STOP"));
    second.signal("CONT");
    stands_by(two, "one");

    taken_over(HANDOVER, "stopped", two, || assert_eq!(first.terminate(), 0));
    let first = one.agent();
    stands_by(one, "two");

    // Slots come no more; what is open goes on.
    let quiet = rules(&queue, &template, "");
    homes.iter().for_each(|home| home.configure(&quiet));
    assert!([second, first].map(Agent::terminate).iter().all(|code| *code == 0));
    let last = one.agent();
    within(SETTLES, "every run over", || one.runs().iter().all(Run::is_over).then_some(()));
    assert_eq!(last.terminate(), 0);
    check(&stage, &one.runs(), &sent);
}

/// Each time that a server was asked something: the line of its log, since two may fall into one millisecond, and when, by its
/// own clock in seconds.
fn asked(server: &Postgres, what: &str) -> Vec<(usize, f64)> {
    let log = server.log();
    let lines = log.lines().enumerate().filter(|(_, line)| line.contains(what));
    let time = |line: &str| line.split(' ').next().and_then(|time| time.parse().ok()).expect("a time");
    lines.map(|(number, line)| (number, time(line))).collect()
}

/// What the lease is asked: by who stands by, by who takes it, and by who gives it back.
const LOOKS: &str = "SELECT COALESCE(holder, ''), fence, (EXTRACT";
const TAKES: &str = "UPDATE lease SET holder = $1";
const GIVES_BACK: &str = "UPDATE lease SET holder = NULL";

/// By its looks alone it would find a lease that was given back only at the next of them.
#[test]
fn replica_that_stands_by_hears_that_the_active_one_was_stopped() {
    let stage = Stage::start(600.0);
    let tables = format!("[experiments.drill]\ntemplate = \"{}\"\n", stage.template(&[("wait", "PT1M", &[])]));
    let server = Postgres::with(&["fsync=off", "log_statement=all", "log_line_prefix=%n [%p] "], None);
    let url = server.database("drills");
    let homes = ["one", "two"].map(|replica| Home::on(&stage.url(), &tables, &url, replica));
    let mut active = homes[0].agent();
    eventually("the first one active", || is_active(&homes[0]));
    let mut sooner = 0;
    for n in 0..TAKEOVERS {
        let next = &homes[(n + 1) % 2];
        let standby = next.agent();
        eventually("who listens", || (asked(&server, "LISTEN").len() >= n + 2).then_some(()));
        let looks = asked(&server, LOOKS).len();
        eventually("a look", || (asked(&server, LOOKS).len() > looks).then_some(()));
        assert_eq!(active.terminate(), 0);
        eventually("the other one active", || is_active(next));
        let (line, given_back) = asked(&server, GIVES_BACK).pop().expect("a lease that is given back");
        let (_, looked) = asked(&server, LOOKS).into_iter().rfind(|(at, _)| *at < line).expect("a look before");
        let (_, taken) = asked(&server, TAKES).into_iter().find(|(at, _)| *at > line).expect("a lease that is taken");
        println!("given back {:.3} s after a look, taken after {:.3} s", given_back - looked, taken - looked);
        sooner += usize::from(taken - looked < LOOKS_AGAIN_S);
        active = standby;
        if sooner == UNLOOKED_FOR {
            break;
        }
    }
    assert_eq!(sooner, UNLOOKED_FOR, "it was not told, and looked");
    assert_eq!(active.terminate(), 0);
}

fn check(stage: &Stage, runs: &[Run], sent: &[String]) {
    let experiments = stage.experiments();
    let started: Vec<&String> = experiments.iter().map(|one| one.tags.get(RUN_TAG).expect("a tag")).collect();
    let once: BTreeSet<&String> = started.iter().copied().collect();
    assert_eq!(started.len(), once.len(), "started twice: {started:?}");
    let owners: BTreeSet<String> = runs.iter().filter(|run| run.fis.is_some()).map(|run| run.id.to_string()).collect();
    assert_eq!(owners, started.into_iter().cloned().collect(), "what was started is what runs own");
    for id in sent {
        let of_event = |run: &&Run| matches!(&run.trigger, Trigger::Event { event_id, .. } if event_id == id);
        assert_eq!(runs.iter().filter(of_event).count(), 1, "{id}");
    }
    let slots = runs.iter().filter(|run| matches!(run.trigger, Trigger::Slot { .. }) && run.fis.is_some()).count();
    assert!(slots > 0, "the schedule was not tried: {runs:?}");
}
