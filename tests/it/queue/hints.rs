//! FIS's own events on the queue: an end is noticed when it is told, not when the next poll would come.

use std::time::Duration;

use firedrill::domain::run::{Run, RunState};
use jiff::SignedDuration;

use crate::support::{agent::Home, disk::execute, eventually, stage::Stage, within};

/// Sets the beginning of what runs two minutes back, so that it is polled each ten seconds.
const LONG_GOING: &str = "UPDATE runs SET body = json_set(body, '$.state.since',
                          strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-2 minutes')) WHERE is_open = 1";

/// Less than the time between two polls.
const SOON: Duration = Duration::from_secs(5);

/// A run that is polled each ten seconds, right after a poll.
fn seldom_polled(home: &Home) -> Run {
    let running = |run: Run| match run.state {
        RunState::Running { since, watch, .. } => watch.asked_at.map(|asked| (since, asked, run)),
        _ => None,
    };
    let now = || home.runs().into_iter().find_map(running);
    let (.., run) = eventually("a running experiment", now);
    let is_old = |run: &Run| matches!(run.state, RunState::Running { since, .. } if since < run.opened_at);
    eventually("one that is old", || {
        // The agent may have written its own in between.
        execute(home, LONG_GOING);
        now().filter(|(.., run)| is_old(run))
    });
    eventually("a poll that knows it", || {
        now().filter(|(since, asked, later)| {
            is_old(later)
                && later.revision > run.revision
                && asked.duration_since(*since) > SignedDuration::from_mins(1)
        })
    });
    run
}

#[test]
fn end_of_an_experiment_is_noticed_when_fis_tells_of_it() {
    let stage = Stage::start(20.0);
    let template = stage.template(&[("wait", "PT1H", &[])]);
    let queue = stage.subscribe("aws.fis", "fis");
    let tables = format!("[queues.fis]\nurl = \"{queue}\"\n[experiments.drill]\ntemplate = \"{template}\"\n");
    let home = Home::new(&stage.url(), &tables);
    let _agent = home.agent();
    home.json(&["start", "drill"]);
    let run = seldom_polled(&home);
    stage.fail_action(&run.fis.expect("an experiment").id, "wait");
    within(SOON, "the end of the run", || home.runs().into_iter().find(Run::is_over));
}
