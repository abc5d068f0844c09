//! What a collector gets from the real binary, also from one that was killed in the middle.

use std::{collections::BTreeSet, time::Duration};

use firedrill::domain::run::{Run, RunState};
use serde_json::json;

use super::deployment;
use crate::support::{
    agent::Home,
    eventually,
    otlp::{self, Collector, Mode, points, refused_url},
    stage::Stage,
};

/// Longest time from SIGTERM to the end where nothing is under way, on a busy machine: telemetry has three seconds to leave.
const ENDS: Duration = Duration::from_secs(6);

const SENDER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn nanos(at: Option<jiff::Timestamp>) -> u64 {
    u64::try_from(at.expect("a time").as_nanosecond()).expect("after 1970")
}

/// The lines of a metric's points as they came last, of all exports.
pub fn lines(collector: &Collector, name: &str) -> Vec<String> {
    let metrics = collector.metrics();
    metrics.iter().rev().find(|metric| metric.name == name).map(points).unwrap_or_default()
}

#[test]
fn a_killed_agents_run_is_one_trace_with_the_times_of_fis() {
    let (stage, collector) = (Stage::start(60.0), Collector::start(Mode::Normal));
    let queue = stage.queue("deployments");
    let template = stage.template(&[("first", "PT1M", &[]), ("second", "PT2M", &["first"])]);
    let home = Home::new(
        &stage.url(),
        &format!(
            "[telemetry]\notlp_endpoint = \"{}\"\nmetric_interval = \"1s\"\n[queues.deployments]\nurl = \"{queue}\"\n\
             [experiments.drill]\ntemplate = \"{template}\"\ntriggers = [{{ pattern = {{ source = [\"com.example.ci\"] }}, max_age = \"none\" }}]\n\
             schedules = [{{ cron = \"@yearly\" }}]\n",
            collector.url()
        ),
    );
    let agent = home.agent();
    let mut event: serde_json::Value = serde_json::from_str(&deployment("e-1")).expect("JSON");
    event["detail"]["traceparent"] = json!(SENDER);
    stage.send(&queue, &event.to_string());
    home.wait_for("a running run", |run| matches!(run.state, RunState::Running { .. }));
    eventually("the event's metric", || {
        lines(&collector, "firedrill.events").contains(&EVENT.to_owned()).then_some(())
    });
    agent.kill_nine();
    let agent = home.agent();
    let run = home.wait_for("the end of the run", Run::is_over);
    let own = || collector.spans().into_iter().filter(|span| span.trace_id == run.id.trace_id()).collect::<Vec<_>>();
    eventually("the whole trace", || (own().len() >= 5).then_some(()));
    eventually("the run's metric", || lines(&collector, "firedrill.runs").pop());
    check_metrics(&collector);
    assert_eq!(agent.terminate(), 0);

    let spans = own();
    let ids: BTreeSet<&[u8]> = spans.iter().map(|span| span.span_id.as_slice()).collect();
    assert_eq!((spans.len(), ids.len()), (5, 5), "no span twice: {spans:#?}");
    let root = spans.iter().find(|span| span.name == "firedrill.run").expect("a root");
    assert_eq!((root.links.len(), root.parent_span_id.len()), (1, 0));
    let link = &root.links[0];
    assert_eq!(
        u128::from_be_bytes(link.trace_id.clone().try_into().expect("16 bytes")),
        0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c
    );
    assert_eq!(u64::from_be_bytes(link.span_id.clone().try_into().expect("8 bytes")), 0xb7ad_6b71_6920_3331);
    let fis = run.fis.as_ref().expect("an experiment");
    let record = &stage.experiments()[0];
    for (name, action) in &fis.actions {
        let span = spans.iter().find(|span| otlp::attribute(&span.attributes, "firedrill.action.name") == *name);
        let span = span.unwrap_or_else(|| panic!("no span of {name}"));
        assert_eq!(span.parent_span_id, root.span_id);
        let times = (span.start_time_unix_nano, span.end_time_unix_nano);
        assert_eq!(times, (nanos(action.started_at), nanos(action.ended_at)), "{name}");
        let truth = nanos(record.actions[name].started_at);
        assert!(times.0.abs_diff(truth) < 1_000_000, "{name}: {} and {truth}", times.0);
    }
}

const EVENT: &str = "{firedrill.result=matched} 1";

/// What the second agent counted: it saw the end, not the start.
fn check_metrics(collector: &Collector) {
    let labels = "firedrill.experiment=drill,firedrill.outcome=completed";
    assert_eq!(lines(collector, "firedrill.runs"), [format!("{{{labels},firedrill.trigger.kind=event}} 1")]);
    let duration = lines(collector, "firedrill.run.duration").pop().expect("a duration");
    let (count, seconds) = duration.rsplit_once(' ').and_then(|(_, value)| value.split_once('/')).expect("count/sum");
    let seconds: f64 = seconds.parse().expect("a number");
    assert!(count == "1" && (2.9..10.0).contains(&seconds), "{duration}");
    let calls = lines(collector, "firedrill.fis.calls").join("\n");
    assert!(calls.contains("{firedrill.operation=GetExperiment,firedrill.result=ok} "), "{calls}");
    let next = lines(collector, "firedrill.schedule.next_slot").pop().expect("a slot");
    assert!(next.starts_with("{firedrill.experiment=drill} "), "{next}");
    assert!(!lines(collector, "firedrill.engine.steps").is_empty());
}

#[test]
fn a_collector_that_is_down_or_hangs_hurts_no_run() {
    let stage = Stage::start(600.0);
    let template = stage.template(&[("wait", "PT1M", &[])]);
    let hanging = Collector::start(Mode::Hang);
    for url in [refused_url(), hanging.url()] {
        let home = Home::new(
            &stage.url(),
            &format!(
                "[telemetry]\notlp_endpoint = \"{url}\"\nmetric_interval = \"1s\"\n\
                 [experiments.drill]\ntemplate = \"{template}\"\n"
            ),
        );
        let mut agent = home.agent();
        assert_eq!(home.run(&["start", "drill", "--wait"]).code, 0);
        agent.signal("TERM");
        assert_eq!(agent.ends(ENDS).code(), Some(0));
        let log = home.log();
        let warnings: Vec<&str> =
            log.lines().filter(|line| line.contains(" WARN ") || line.contains("ERROR ")).collect();
        assert!(warnings.len() <= 1, "{warnings:#?}");
    }
}
